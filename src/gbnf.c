#include "gbnf.h"

#include <stdlib.h>
#include <string.h>

#include "utf8.h"

static const uint32_t MAX_COUNT = 1000000000;

/* A rule's name in the text, for finding its number. */
struct name {
    const char *text;
    size_t len;
    uint32_t rule;
};

struct parser {
    struct exprs *g;
    const char *text;
    size_t len, at, depth;
    struct name *names; /* hash table, text NULL: empty */
    size_t n_names, n_slots;
    struct sg_error *err;
};

static enum sg_status refuse(const struct parser *p, const char *what)
{
    size_t line = 1;
    for (size_t i = 0; i < MIN(p->at, p->len); i++)
        line += p->text[i] == '\n';
    return fail(p->err, SG_USAGE, "grammar, line %zu: %s", line, what);
}

static bool next_is(const struct parser *p, char c) { return p->at < p->len && p->text[p->at] == c; }

static bool skip(struct parser *p, const char *s)
{
    size_t n = strlen(s);
    if (p->len - p->at < n || memcmp(p->text + p->at, s, n) != 0)
        return false;
    p->at += n;
    return true;
}

/* White space and comments; lines end a rule unless `lines` is true. */
static void skip_space(struct parser *p, bool lines)
{
    while (p->at < p->len) {
        char c = p->text[p->at];
        if (c == '#') {
            while (p->at < p->len && p->text[p->at] != '\n' && p->text[p->at] != '\r')
                p->at++;
        } else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r'))) {
            p->at++;
        } else {
            break;
        }
    }
}

/* --------------------------------------------------------------------- names */

static struct name *find_name(struct name *names, size_t n_slots, const char *text, size_t len)
{
    size_t h = 5381;
    for (size_t i = 0; i < len; i++)
        h = h * 33 + (unsigned char)text[i];
    h *= 0x9E3779B1u;
    size_t at = (h ^ h >> 16) & (n_slots - 1);
    while (names[at].text && (names[at].len != len || memcmp(names[at].text, text, len) != 0))
        at = (at + 1) & (n_slots - 1);
    return &names[at];
}

/* The rule of that name, made if it is new. */
static uint32_t rule_named(struct parser *p, const char *text, size_t len)
{
    if (p->n_names * 2 >= p->n_slots) {
        size_t n = p->n_slots ? p->n_slots * 2 : 64;
        struct name *names = calloc(n, sizeof *names);
        if (!names) {
            p->g->failure = EXPRS_NO_MEMORY;
            return 0;
        }
        for (size_t i = 0; i < p->n_slots; i++) {
            if (p->names[i].text)
                *find_name(names, n, p->names[i].text, p->names[i].len) = p->names[i];
        }
        free(p->names);
        p->names = names;
        p->n_slots = n;
    }
    struct name *name = find_name(p->names, p->n_slots, text, len);
    if (!name->text) {
        *name = (struct name){text, len, rule_new(p->g, text, len)};
        p->n_names++;
    }
    return name->rule;
}

static size_t read_name(struct parser *p)
{
    size_t begin = p->at;
    while (p->at < p->len) {
        char c = p->text[p->at];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            break;
        p->at++;
    }
    return p->at - begin;
}

/* ---------------------------------------------------------------- characters */

static enum sg_status read_char(struct parser *p, uint32_t *c)
{
    if (p->at >= p->len)
        return refuse(p, "the text ends inside a literal");
    if (!next_is(p, '\\')) {
        size_t n = utf8_decode(p->text + p->at, p->len - p->at, c);
        if (*c == UTF8_REPLACEMENT && !(n == 3 && memcmp(p->text + p->at, "\xEF\xBF\xBD", 3) == 0))
            return refuse(p, "not UTF-8");
        p->at += n;
        return SG_OK;
    }
    static const char escapes[] = "nrt\\\"[]-^", meaning[] = "\n\r\t\\\"[]-^";
    p->at++;
    char e = p->at < p->len ? p->text[p->at] : 0;
    const char *found = e ? strchr(escapes, e) : NULL;
    size_t digits = e == 'x' ? 2 : e == 'u' ? 4 : e == 'U' ? 8 : 0;
    p->at++;
    if (found) {
        *c = (uint8_t)meaning[found - escapes];
        return SG_OK;
    }
    if (!digits)
        return refuse(p, "unknown escape");
    uint64_t value = 0;
    for (size_t i = 0; i < digits; i++, p->at++) {
        char d = p->at < p->len ? p->text[p->at] : 0;
        if (d >= '0' && d <= '9')
            value = value * 16 + (uint64_t)(d - '0');
        else if ((d | 0x20) >= 'a' && (d | 0x20) <= 'f')
            value = value * 16 + (uint64_t)((d | 0x20) - 'a' + 10);
        else
            return refuse(p, "missing hexadecimal digits");
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
        return refuse(p, "no such character");
    *c = (uint32_t)value;
    return SG_OK;
}

static enum sg_status parse_literal(struct parser *p, uint32_t *out)
{
    struct buf text = {0};
    enum sg_status status = SG_OK;
    while (status == SG_OK && !skip(p, "\"")) {
        uint32_t c;
        char bytes[4];
        status = next_is(p, '\n') ? refuse(p, "the line ends inside a literal") : read_char(p, &c);
        if (status == SG_OK)
            buf_append(&text, bytes, utf8_encode(c, bytes));
    }
    if (text.failed)
        p->g->failure = EXPRS_NO_MEMORY;
    if (status == SG_OK)
        *out = expr_bytes(p->g, text.data, text.len);
    buf_free(&text);
    return status;
}

static enum sg_status read_class(struct parser *p, struct charset *s)
{
    while (!skip(p, "]")) {
        uint32_t lo, hi;
        if (next_is(p, '\n'))
            return refuse(p, "the line ends inside a class");
        TRY(read_char(p, &lo));
        hi = lo;
        if (p->at + 1 < p->len && p->text[p->at] == '-' && p->text[p->at + 1] != ']') {
            p->at++;
            TRY(read_char(p, &hi));
        }
        if (hi < lo)
            return refuse(p, "a range runs backwards");
        charset_add(s, lo, hi);
    }
    return SG_OK;
}

static enum sg_status parse_class(struct parser *p, uint32_t *out)
{
    struct charset s = {0};
    bool negated = skip(p, "^");
    enum sg_status status = read_class(p, &s);
    charset_finish(&s);
    if (negated)
        charset_negate(&s);
    if (status == SG_OK)
        *out = expr_class(p->g, &s);
    charset_free(&s);
    return status;
}

/* --------------------------------------------------------------- expressions */

static enum sg_status parse_alternatives(struct parser *p, bool nested, uint32_t *out);

static enum sg_status parse_atom(struct parser *p, bool nested, uint32_t *out)
{
    if (skip(p, "\""))
        return parse_literal(p, out);
    if (skip(p, "["))
        return parse_class(p, out);
    if (skip(p, ".")) {
        struct charset s = {0};
        charset_negate(&s);
        *out = expr_class(p->g, &s);
        charset_free(&s);
        return SG_OK;
    }
    if (skip(p, "(")) {
        if (++p->depth > EXPR_MAX_DEPTH)
            return refuse(p, "brackets are nested too deeply");
        TRY(parse_alternatives(p, true, out));
        if (!skip(p, ")"))
            return refuse(p, "missing )");
        p->depth--;
        return SG_OK;
    }
    const char *name = p->text + p->at;
    size_t len = read_name(p);
    if (len) {
        *out = expr_rule(p->g, rule_named(p, name, len));
        return SG_OK;
    }
    if (next_is(p, '*') || next_is(p, '+') || next_is(p, '?') || next_is(p, '{'))
        return refuse(p, "nothing to repeat");
    if (next_is(p, '<'))
        return refuse(p, "tokens in a grammar are not supported");
    return refuse(p, nested ? "missing )" : "unexpected character");
}

static enum sg_status read_number(struct parser *p, uint32_t *n)
{
    size_t begin = p->at;
    for (*n = 0; p->at < p->len && p->text[p->at] >= '0' && p->text[p->at] <= '9'; p->at++)
        *n = *n > MAX_COUNT ? *n : *n * 10 + (uint32_t)(p->text[p->at] - '0');
    if (p->at == begin)
        return refuse(p, "a number is missing in { }");
    return *n > MAX_COUNT ? refuse(p, "a repetition count is above 1000000000") : SG_OK;
}

static enum sg_status parse_quantifiers(struct parser *p, bool nested, uint32_t *node)
{
    for (size_t n = 0;; n++) {
        size_t begin = p->at;
        uint32_t min = 0, max = EXPR_UNLIMITED;
        skip_space(p, nested);
        if (skip(p, "+")) {
            min = 1;
        } else if (skip(p, "?")) {
            max = 1;
        } else if (skip(p, "{")) {
            skip_space(p, nested);
            TRY(read_number(p, &min));
            max = min;
            skip_space(p, nested);
            if (skip(p, ",")) {
                skip_space(p, nested);
                max = EXPR_UNLIMITED;
                if (!next_is(p, '}'))
                    TRY(read_number(p, &max));
                skip_space(p, nested);
            }
            if (!skip(p, "}"))
                return refuse(p, "missing }");
            if (min > max)
                return refuse(p, "a repetition has its limits reversed");
        } else if (!skip(p, "*")) {
            p->at = begin;
            return SG_OK;
        }
        if (n == 8)
            return refuse(p, "too many repetitions of a repetition");
        *node = expr_repeat(p->g, *node, min, max);
    }
}

/* Ends before a closing bracket, at the end of the line, or of the text. */
static enum sg_status parse_alternatives(struct parser *p, bool nested, uint32_t *out)
{
    uint32_t all = expr_alt(p->g);
    do {
        uint32_t branch = expr_seq(p->g);
        skip_space(p, true); /* an alternative may begin on the next line */
        while (p->at < p->len && !next_is(p, '|') && !next_is(p, ')') && !next_is(p, '\n') && !next_is(p, '\r')) {
            uint32_t node = 0;
            TRY(parse_atom(p, nested, &node));
            TRY(parse_quantifiers(p, nested, &node));
            expr_add(p->g, branch, node);
            skip_space(p, nested);
        }
        expr_add(p->g, all, branch);
        if (!nested) { /* so may the bar before it */
            size_t begin = p->at;
            skip_space(p, true);
            if (!next_is(p, '|'))
                p->at = begin;
        }
    } while (skip(p, "|"));
    *out = all;
    return SG_OK;
}

static enum sg_status parse_rule(struct parser *p)
{
    const char *name = p->text + p->at;
    size_t len = read_name(p);
    uint32_t body = 0;
    if (!len)
        return refuse(p, "expected the name of a rule");
    uint32_t rule = rule_named(p, name, len);
    skip_space(p, false);
    if (!skip(p, "::="))
        return refuse(p, "expected ::=");
    TRY(parse_alternatives(p, false, &body));
    if (p->g->failure != EXPRS_OK)
        return SG_OK;
    if (p->g->rules[rule].body)
        return refuse(p, "this rule was defined before");
    rule_define(p->g, rule, body);
    skip_space(p, true);
    return next_is(p, ')') ? refuse(p, "unmatched )") : SG_OK;
}

static enum sg_status parse(struct parser *p, uint32_t *root)
{
    skip_space(p, true);
    while (p->at < p->len && p->g->failure == EXPRS_OK)
        TRY(parse_rule(p));
    if (p->g->failure != EXPRS_OK)
        return SG_OK;
    for (size_t i = 0; i < p->n_slots; i++) {
        const struct name *n = &p->names[i];
        char shown[ESCAPED_MAX];
        if (n->text && !p->g->rules[n->rule].body)
            return fail(p->err, SG_USAGE, "grammar: rule %s is not defined", escaped(shown, n->text, n->len));
    }
    const struct name *name = p->n_slots ? find_name(p->names, p->n_slots, "root", 4) : NULL;
    if (!name || !name->text)
        return fail(p->err, SG_USAGE, "grammar: there is no rule named root");
    *root = name->rule;
    return SG_OK;
}

enum sg_status gbnf_parse(struct exprs *g, const char *text, size_t len, uint32_t *root, struct sg_error *err)
{
    struct parser p = {.g = g, .text = text, .len = len, .err = err};
    enum sg_status status = parse(&p, root);
    free(p.names);
    return status;
}
