#include "constraint.h"

#include <stdlib.h>
#include <string.h>

#include "choice.h"
#include "file.h"

enum {
    MAX_FILE = 16 << 20,
    KEEP_GRAMMARS = 16, /* that no request has at the moment */
};
static const size_t KEEP_BYTES = (size_t)64 << 20;

/* A grammar as it was asked for. */
struct wish {
    enum sg_grammar_kind kind;
    const char *name;   /* of the flag or field, for messages; NULL: there is none */
    struct buf text;    /* all texts, one after the other */
    struct ids lengths; /* of each */
    enum sg_status status;
    struct sg_error *err;
};

static void wish_free(struct wish *w)
{
    buf_free(&w->text);
    ids_free(&w->lengths);
}

static void wish_fail(struct wish *w, const char *what)
{
    if (w->status == SG_OK)
        w->status = fail(w->err, SG_USAGE, "%s %s", w->name, what);
}

/* Notes a wish; a second one is a contradiction. */
static void wish_begin(struct wish *w, enum sg_grammar_kind kind, const char *name)
{
    if (w->name && w->status == SG_OK)
        w->status = fail(w->err, SG_USAGE, "%s and %s exclude each other", w->name, name);
    w->kind = kind;
    w->name = name;
}

static void wish_text(struct wish *w, const char *text, size_t len)
{
    if (len > INT32_MAX)
        wish_fail(w, "is too long");
    buf_append(&w->text, text, len);
    ids_push(&w->lengths, (int32_t)len);
}

static void wish_file(struct wish *w, const char *path)
{
    size_t before = w->text.len;
    if (w->status != SG_OK)
        return;
    w->status = file_read(&w->text, path, MAX_FILE, w->err);
    ids_push(&w->lengths, (int32_t)(w->text.len - before));
}

static struct form_name wish_name(const struct wish *w)
{
    static const char *const kinds[] = {[SG_GRAMMAR_SCHEMA] = "schema", [SG_GRAMMAR_FIELDS] = "fields", [SG_GRAMMAR_JSON] = "json",
                                        [SG_GRAMMAR_REGEX] = "regex",   [SG_GRAMMAR_GBNF] = "grammar",  [SG_GRAMMAR_CHOICES] = "choice"};
    struct form_name name = {""};
    uint64_t lengths = sg_derive_seed(0, (const char *)w->lengths.data, w->lengths.len * sizeof *w->lengths.data, 0);
    if (w->name)
        snprintf(name.text, sizeof name.text, "%s %016llx", kinds[w->kind],
                 (unsigned long long)sg_derive_seed(lengths, w->text.data, w->text.len, 0));
    return name;
}

static enum sg_status wish_open(struct wish *w, struct sg_engine *engine, struct sg_grammar **out)
{
    struct sg_error inner;
    size_t at = 0;
    *out = NULL;
    if (w->status != SG_OK || !w->name)
        return w->status;
    struct sg_str *texts = malloc((w->lengths.len + 1) * sizeof *texts);
    if (!texts || w->text.failed || w->lengths.failed) {
        free(texts);
        return fail_memory(w->err, w->text.len, "a grammar");
    }
    for (size_t i = 0; i < w->lengths.len; i++) {
        texts[i] = (struct sg_str){w->text.len ? w->text.data + at : "", (size_t)w->lengths.data[i]};
        at += texts[i].len;
    }
    enum sg_status status = sg_grammar_open(out, engine, w->kind, texts, w->lengths.len, &inner);
    free(texts);
    if (status != SG_OK)
        return fail(w->err, status, "%s: %s", w->name, inner.message);
    return SG_OK;
}

/* --------------------------------------------------------------------- flags */

static void read_choices(struct wish *w, const struct options *o)
{
    struct choice *choices;
    size_t n;
    if (w->status == SG_OK)
        w->status = choice_list(o, &choices, &n, w->err);
    if (w->status != SG_OK)
        return;
    for (size_t i = 0; i < n; i++)
        wish_text(w, choices[i].text.data, choices[i].text.len);
    free(choices);
}

static void read_flags(struct wish *w, const struct options *o)
{
    const struct {
        const char *text, *path, *name;
        enum sg_grammar_kind kind;
    } flags[] = {
        {o->json_schema, NULL, "-j", SG_GRAMMAR_SCHEMA},  {NULL, o->json_schema_file, "-jf", SG_GRAMMAR_SCHEMA},
        {o->schema, NULL, "--schema", SG_GRAMMAR_FIELDS}, {o->regex, NULL, "--regex", SG_GRAMMAR_REGEX},
        {o->grammar, NULL, "--grammar", SG_GRAMMAR_GBNF}, {NULL, o->grammar_file, "--grammar-file", SG_GRAMMAR_GBNF},
    };
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (!flags[i].text && !flags[i].path)
            continue;
        wish_begin(w, flags[i].kind, flags[i].name);
        if (flags[i].path)
            wish_file(w, flags[i].path);
        else
            wish_text(w, flags[i].text, strlen(flags[i].text));
    }
    if (o->json_object)
        wish_begin(w, SG_GRAMMAR_JSON, "--json-object");
    if (o->choices.n) {
        wish_begin(w, SG_GRAMMAR_CHOICES, "--choice");
        read_choices(w, o);
    }
    if (o->choice_norm && !(o->score && o->choices.n) && w->status == SG_OK)
        w->status = fail(w->err, SG_USAGE, "--choice-norm is for --score with --choice");
    if (o->score && w->name && w->kind != SG_GRAMMAR_CHOICES && w->status == SG_OK)
        w->status = fail(w->err, SG_USAGE, "%s and --score exclude each other", w->name);
}

enum sg_status constraint_from_options(struct sg_engine *engine, const struct options *o, struct sg_grammar **out, struct buf *settings,
                                       struct form_name *name, struct sg_error *err)
{
    struct wish w = {.err = err};
    *out = NULL;
    read_flags(&w, o);
    enum sg_status status = w.status;
    if (status == SG_OK && settings && w.name) {
        buf_printf(settings, "form %d", (int)w.kind);
        buf_append(settings, w.lengths.data, w.lengths.len * sizeof *w.lengths.data);
        buf_append(settings, w.text.data, w.text.len);
    }
    if (status == SG_OK && name)
        *name = wish_name(&w);
    if (status == SG_OK && !o->score)
        status = wish_open(&w, engine, out);
    wish_free(&w);
    return status;
}

/* -------------------------------------------------------------------- bodies */

static const struct json_node *member(const struct json *j, const struct json_node *object, const char *key)
{
    const struct json_node *n = json_get(j, object, key);
    return n && n->type != JSON_NULL ? n : NULL;
}

/* A schema as a JSON object, or as a string that holds one. */
static void read_schema(struct wish *w, const struct json *j, const struct json_node *n, const char *name)
{
    struct buf text = {0};
    wish_begin(w, SG_GRAMMAR_SCHEMA, name);
    if (n->type == JSON_STRING)
        json_string(j, n, &text);
    else
        buf_append(&text, j->text + n->begin, n->end - n->begin);
    w->text.failed |= text.failed;
    wish_text(w, text.data ? text.data : "", text.len);
    buf_free(&text);
}

static void read_string(struct wish *w, enum sg_grammar_kind kind, const struct json *j, const struct json_node *n, const char *name)
{
    struct buf text = {0};
    wish_begin(w, kind, name);
    if (n->type != JSON_STRING)
        wish_fail(w, "is not a string");
    else
        json_string(j, n, &text);
    w->text.failed |= text.failed;
    wish_text(w, text.data ? text.data : "", text.len);
    buf_free(&text);
}

static void read_list(struct wish *w, const struct json *j, const struct json_node *list, const char *name)
{
    wish_begin(w, SG_GRAMMAR_CHOICES, name);
    if (list->type != JSON_ARRAY)
        wish_fail(w, "is not a list of strings");
    for (const struct json_node *n = list->type == JSON_ARRAY ? json_first(j, list) : NULL; n; n = json_next(j, list, n)) {
        struct buf text = {0};
        if (n->type != JSON_STRING)
            wish_fail(w, "is not a list of strings");
        else
            json_string(j, n, &text);
        w->text.failed |= text.failed;
        wish_text(w, text.data ? text.data : "", text.len);
        buf_free(&text);
    }
}

/* OpenAI's field. */
static void read_response_format(struct wish *w, const struct json *j, const struct json_node *format)
{
    const struct json_node *type = member(j, format, "type"), *holder = member(j, format, "json_schema");
    const struct json_node *schema = member(j, holder, "schema");
    bool object = type && json_string_equal(j, type, "json_object");
    if (object && !member(j, format, "schema")) {
        wish_begin(w, SG_GRAMMAR_JSON, "response_format");
    } else if (object) { /* llama.cpp's way */
        read_schema(w, j, member(j, format, "schema"), "response_format");
    } else if (type && json_string_equal(j, type, "json_schema")) {
        if (schema)
            read_schema(w, j, schema, "response_format");
        else
            wish_begin(w, SG_GRAMMAR_SCHEMA, "response_format");
        if (!schema)
            wish_fail(w, "lacks json_schema.schema");
    } else if (!type || !json_string_equal(j, type, "text")) {
        wish_begin(w, SG_GRAMMAR_JSON, "response_format");
        wish_fail(w, "is not of type text, json_object or json_schema");
    }
}

static void read_body(struct wish *w, const struct json *j, const struct json_node *body)
{
    const struct json_node *outputs = member(j, body, "structured_outputs"), *n;
    if ((n = member(j, body, "response_format")))
        read_response_format(w, j, n);
    if ((n = member(j, body, "json_schema")))
        read_schema(w, j, n, "json_schema");
    if ((n = member(j, body, "grammar")))
        read_string(w, SG_GRAMMAR_GBNF, j, n, "grammar");
    if ((n = member(j, body, "guided_json")))
        read_schema(w, j, n, "guided_json");
    if ((n = member(j, body, "guided_regex")))
        read_string(w, SG_GRAMMAR_REGEX, j, n, "guided_regex");
    if ((n = member(j, body, "guided_grammar")))
        read_string(w, SG_GRAMMAR_GBNF, j, n, "guided_grammar");
    if ((n = member(j, body, "guided_choice")))
        read_list(w, j, n, "guided_choice");
    if (outputs && outputs->type != JSON_OBJECT) {
        wish_begin(w, SG_GRAMMAR_JSON, "structured_outputs");
        wish_fail(w, "is not an object");
    }
    if ((n = member(j, outputs, "json")))
        read_schema(w, j, n, "structured_outputs.json");
    if ((n = member(j, outputs, "regex")))
        read_string(w, SG_GRAMMAR_REGEX, j, n, "structured_outputs.regex");
    if ((n = member(j, outputs, "grammar")))
        read_string(w, SG_GRAMMAR_GBNF, j, n, "structured_outputs.grammar");
    if ((n = member(j, outputs, "choice")))
        read_list(w, j, n, "structured_outputs.choice");
    if ((n = member(j, outputs, "json_object")) && n->type == JSON_TRUE)
        wish_begin(w, SG_GRAMMAR_JSON, "structured_outputs.json_object");
}

/* ------------------------------------------------------------------- sharing */

struct shared_grammar {
    struct shared_grammar *next;
    struct sg_grammar *grammar;
    struct wish wish;
    size_t users;
};

static void shared_free(struct shared_grammar *s)
{
    if (!s)
        return;
    sg_grammar_close(s->grammar);
    wish_free(&s->wish);
    free(s);
}

void constraints_init(struct constraints *c, struct sg_engine *engine) { *c = (struct constraints){.engine = engine}; }

void constraints_close(struct constraints *c)
{
    while (c->first) {
        struct shared_grammar *s = c->first;
        c->first = s->next;
        shared_free(s);
    }
}

static bool same_bytes(const void *a, const void *b, size_t n) { return n == 0 || memcmp(a, b, n) == 0; }

static bool same_wish(const struct wish *a, const struct wish *b)
{
    return a->kind == b->kind && a->text.len == b->text.len && a->lengths.len == b->lengths.len &&
           same_bytes(a->text.data, b->text.data, a->text.len) &&
           same_bytes(a->lengths.data, b->lengths.data, a->lengths.len * sizeof *a->lengths.data);
}

/* Closes those that were not asked for in the longest time and are lent to nobody. */
static void forget_old(struct constraints *c)
{
    size_t n = 0, bytes = 0;
    for (struct shared_grammar **at = &c->first; *at;) {
        struct shared_grammar *s = *at;
        bytes += sg_grammar_bytes(s->grammar);
        n += s->users == 0;
        if (s->users == 0 && (n > KEEP_GRAMMARS || bytes > KEEP_BYTES)) {
            *at = s->next;
            c->n--;
            shared_free(s);
        } else {
            at = &s->next;
        }
    }
}

/* Takes over the wish if it is the first of its kind. */
static enum sg_status borrow(struct constraints *c, struct wish *w, struct sg_grammar **out)
{
    struct shared_grammar **at = &c->first;
    while (*at && !same_wish(&(*at)->wish, w))
        at = &(*at)->next;
    struct shared_grammar *s = *at;
    if (s) {
        *at = s->next;
    } else {
        s = calloc(1, sizeof *s);
        if (!s)
            return fail_memory(w->err, sizeof *s, "a grammar");
        enum sg_status status = wish_open(w, c->engine, &s->grammar);
        if (status != SG_OK) {
            free(s);
            return status;
        }
        s->wish = *w;
        s->wish.err = NULL;
        *w = (struct wish){0};
        c->n++;
    }
    s->next = c->first;
    c->first = s;
    s->users++;
    *out = s->grammar;
    return SG_OK;
}

enum sg_status constraints_borrow(struct constraints *c, const struct json *j, const struct json_node *body, struct sg_grammar **out,
                                  struct form_name *name, struct sg_error *err)
{
    struct wish w = {.err = err};
    *out = NULL;
    read_body(&w, j, body);
    enum sg_status status = w.status;
    if (status == SG_OK && (w.text.failed || w.lengths.failed))
        status = fail_memory(err, w.text.len, "a grammar");
    if (status == SG_OK)
        *name = wish_name(&w);
    if (status == SG_OK && w.name)
        status = borrow(c, &w, out);
    wish_free(&w);
    return status;
}

void constraints_return(struct constraints *c, struct sg_grammar *grammar)
{
    for (struct shared_grammar *s = c->first; s && grammar; s = s->next) {
        if (s->grammar == grammar)
            s->users--;
    }
    forget_old(c);
}

/* ------------------------------------------------------------------- verdict */

enum sg_status constraint_verdict(const struct sg_matcher *matcher, const struct sg_reply_counts *counts, struct sg_error *err)
{
    bool failed;
    if (sg_matcher_complete(matcher, &failed))
        return SG_OK;
    if (failed)
        return fail(err, SG_FAIL, "the grammar is too ambiguous to be followed, or memory ran out for it");
    if (counts->finish == SG_FINISH_LENGTH)
        return fail(err, SG_FAIL, "the answer was cut off %sbefore it had the form that was asked for",
                    counts->length_in_thinking ? "in its thinking, " : "");
    if (counts->finish == SG_FINISH_LOOP)
        return fail(err, SG_FAIL, "the answer repeated itself and was ended before it had the form that was asked for");
    return fail(err, SG_FAIL, "the answer ended before it had the form that was asked for");
}
