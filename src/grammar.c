/* Grammars as signum.h offers them: text to expressions, to an automaton, to token masks. */
#include <stdlib.h>
#include <string.h>

#include "automaton.h"
#include "engine.h"
#include "gbnf.h"
#include "matcher.h"
#include "regexp.h"
#include "schema.h"
#include "utf8.h"

struct sg_grammar {
    struct automaton automaton;
    struct matching *matching;
};

struct sg_matcher {
    struct matcher m;
    struct sg_constraint constraint;
};

enum {
    MAX_TEXT = 16 << 20
};

/* ---------------------------------------------------------------- vocabulary */

static enum sg_status build_trie(struct sg_engine *e, struct sg_error *err)
{
    const struct tokenizer *t = e->tokenizer;
    size_t n = tokenizer_size(t), n_ends = 0;
    struct buf text = {0};
    struct sg_str *tokens = calloc(n + 1, sizeof *tokens);
    int32_t *ends = calloc(n + 1, sizeof *ends);
    e->trie = calloc(1, sizeof *e->trie);
    enum sg_status status = tokens && ends && e->trie ? SG_OK : fail_memory(err, n * sizeof *tokens, "the vocabulary's tree");
    for (size_t id = 0; status == SG_OK && id < n; id++) {
        enum token_type type = tokenizer_type(t, (int32_t)id);
        size_t before = text.len;
        if (tokenizer_is_eog(t, (int32_t)id))
            ends[n_ends++] = (int32_t)id;
        else if (type == TOKEN_NORMAL || type == TOKEN_BYTE) /* others mean something: they do not stand for their text */
            tokenizer_decode(t, (int32_t)id, false, &text);
        tokens[id].len = text.len - before;
    }
    for (size_t id = 0, at = 0; status == SG_OK && id < n; at += tokens[id++].len) /* the text has come to rest */
        tokens[id].data = text.data + at;
    if (status == SG_OK)
        status = text.failed ? fail_memory(err, text.len, "the vocabulary's tree") : trie_build(e->trie, tokens, n, ends, n_ends, err);
    if (status != SG_OK && e->trie) {
        trie_free(e->trie);
        free(e->trie);
        e->trie = NULL;
    }
    free(tokens);
    free(ends);
    buf_free(&text);
    return status;
}

/* ------------------------------------------------------------------ grammars */

static enum sg_status parse_choices(struct exprs *g, const struct sg_str *texts, size_t n, uint32_t *root, struct sg_error *err)
{
    uint32_t all = expr_alt(g);
    *root = rule_new(g, NULL, 0);
    if (n == 0)
        return fail(err, SG_USAGE, "there is nothing to choose from");
    for (size_t i = 0; i < n; i++) {
        if (texts[i].len == 0)
            return fail(err, SG_USAGE, "choice %zu is empty", i + 1);
        if (!utf8_valid(texts[i].data, texts[i].len))
            return fail(err, SG_USAGE, "choice %zu is not UTF-8", i + 1);
        expr_add(g, all, expr_bytes(g, texts[i].data, texts[i].len));
    }
    rule_define(g, *root, all);
    return SG_OK;
}

static enum sg_status parse(struct exprs *g, enum sg_grammar_kind kind, const struct sg_str *texts, size_t n, uint32_t *root,
                            struct sg_error *err)
{
    struct buf expanded = {0};
    enum sg_status status = SG_OK;
    uint32_t body = 0;
    for (size_t i = 0; i < n; i++) {
        if (texts[i].len > MAX_TEXT)
            return fail(err, SG_USAGE, "a grammar or schema of %zu bytes is too large", texts[i].len);
    }
    switch (kind) {
    case SG_GRAMMAR_SCHEMA:
        return schema_parse(g, texts[0].data, texts[0].len, root, err);
    case SG_GRAMMAR_FIELDS:
        status = schema_expand(texts[0].data, texts[0].len, &expanded, err);
        if (status == SG_OK)
            status = schema_parse(g, expanded.data, expanded.len, root, err);
        buf_free(&expanded);
        return status;
    case SG_GRAMMAR_JSON:
        *root = schema_any(g, true);
        return SG_OK;
    case SG_GRAMMAR_REGEX:
        *root = rule_new(g, NULL, 0);
        TRY(regexp_parse(g, texts[0].data, texts[0].len, false, &body, err));
        rule_define(g, *root, body);
        return SG_OK;
    case SG_GRAMMAR_GBNF:
        return gbnf_parse(g, texts[0].data, texts[0].len, root, err);
    case SG_GRAMMAR_CHOICES:
        return parse_choices(g, texts, n, root, err);
    }
    return fail(err, SG_USAGE, "there is no such kind of grammar");
}

enum sg_status sg_grammar_open(struct sg_grammar **out, struct sg_engine *engine, enum sg_grammar_kind kind, const struct sg_str *texts,
                               size_t n_texts, struct sg_error *err)
{
    struct exprs g = {0};
    uint32_t root = 0;
    *out = NULL;
    if (n_texts != 1 && kind != SG_GRAMMAR_CHOICES && kind != SG_GRAMMAR_JSON)
        return fail(err, SG_USAGE, "a grammar is one text");
    if (!engine->trie)
        TRY(build_trie(engine, err));
    struct sg_grammar *grammar = calloc(1, sizeof *grammar);
    if (!grammar)
        return fail_memory(err, sizeof *grammar, "a grammar");
    enum sg_status status = parse(&g, kind, texts, n_texts, &root, err);
    if (status == SG_OK)
        status = automaton_build(&grammar->automaton, &g, root, err);
    if (status == SG_OK)
        status = matching_open(&grammar->matching, &grammar->automaton, engine->trie, err);
    exprs_free(&g);
    if (status != SG_OK) {
        sg_grammar_close(grammar);
        return status;
    }
    *out = grammar;
    return SG_OK;
}

void sg_grammar_close(struct sg_grammar *grammar)
{
    if (!grammar)
        return;
    matching_close(grammar->matching);
    automaton_free(&grammar->automaton);
    free(grammar);
}

size_t sg_grammar_bytes(const struct sg_grammar *grammar)
{
    const struct automaton *a = &grammar->automaton;
    return sizeof *grammar + matching_bytes(grammar->matching) + a->n_states * sizeof *a->states + a->n_edges * sizeof *a->edges +
           a->n_loops * sizeof *a->loops + a->n_rules * sizeof *a->rules;
}

/* ------------------------------------------------------------------ matchers */

static bool mask(void *arg, uint32_t *bits) { return matcher_mask(arg, bits); }
static void accept(void *arg, int32_t id) { matcher_accept(arg, id); }
static size_t expect(void *arg, char *text, size_t max) { return matcher_expect(arg, text, max); }

enum sg_status sg_matcher_open(struct sg_matcher **out, struct sg_grammar *grammar, struct sg_error *err)
{
    struct sg_matcher *matcher = *out = calloc(1, sizeof *matcher);
    if (!matcher)
        return fail_memory(err, sizeof *matcher, "a grammar");
    matcher_start(&matcher->m, grammar->matching);
    matcher->constraint = (struct sg_constraint){.arg = &matcher->m, .mask = mask, .accept = accept, .expect = expect};
    return SG_OK;
}

void sg_matcher_close(struct sg_matcher *matcher)
{
    if (!matcher)
        return;
    matcher_stop(&matcher->m);
    free(matcher);
}

const struct sg_constraint *sg_matcher_constraint(const struct sg_matcher *matcher) { return &matcher->constraint; }

bool sg_matcher_complete(const struct sg_matcher *matcher, bool *failed)
{
    if (failed)
        *failed = matcher->m.failed;
    return matcher_complete(&matcher->m);
}
