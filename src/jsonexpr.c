#include "jsonexpr.h"

#include <stdio.h>
#include <string.h>

#include "regexp.h"
#include "utf8.h"

/* A rule that is one regular expression, made when first wanted. */
static uint32_t pattern_rule(struct jx *x, uint32_t *rule, const char *pattern)
{
    struct exprs *g = x->g;
    if (!*rule) {
        uint32_t body = 0;
        *rule = rule_new(g, NULL, 0);
        regexp_parse(g, pattern, strlen(pattern), false, &body, NULL);
        rule_define(g, *rule, body);
    }
    return expr_rule(g, *rule);
}

uint32_t jx_space(struct jx *x) { return pattern_rule(x, &x->space, "( |\\n( {0,40}|\\t{1,10}))?"); }

uint32_t jx_gap(struct jx *x) { return expr_optional(x->g, expr_text(x->g, " ")); }

uint32_t jx_string_char(struct jx *x)
{
    /* As it is, or escaped; \u is one character (the first digit is not D, or the second
     * is below 8) or two surrogates that make one. */
    return pattern_rule(x, &x->string_char,
                        "[^\"\\\\\\x00-\\x1F]|\\\\([\"\\\\/bfnrt]|u("
                        "[0-9A-CEFa-cef][0-9A-Fa-f]{3}|[Dd][0-7][0-9A-Fa-f]{2}|"
                        "[Dd][89ABab][0-9A-Fa-f]{2}\\\\u[Dd][C-Fc-f][0-9A-Fa-f]{2}))");
}

uint32_t jx_string(struct jx *x)
{
    struct exprs *g = x->g;
    if (!x->string) {
        uint32_t all = expr_seq(g);
        x->string = rule_new(g, NULL, 0);
        expr_add(g, all, expr_text(g, "\""));
        expr_add(g, all, expr_repeat(g, jx_string_char(x), 0, EXPR_UNLIMITED));
        rule_define(g, x->string, expr_add(g, all, expr_text(g, "\"")));
    }
    return expr_rule(g, x->string);
}

uint32_t jx_integer(struct jx *x) { return pattern_rule(x, &x->integer, "-?(0|[1-9][0-9]{0,17})"); }

uint32_t jx_number(struct jx *x)
{
    /* with two digits of exponent at most it is never too large for a double */
    return pattern_rule(x, &x->number, "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,18})?([Ee][+-]?[0-9]{1,2})?");
}

uint32_t jx_list(struct jx *x, const char *brackets, uint32_t rule, uint32_t min, uint32_t max)
{
    struct exprs *g = x->g;
    uint32_t all = expr_seq(g);
    expr_add(g, all, expr_bytes(g, brackets, 1));
    expr_add(g, all, jx_space(x));
    if (max > 0) {
        uint32_t items = expr_seq(g), more = expr_seq(g);
        expr_add(g, more, expr_text(g, ","));
        expr_add(g, more, jx_space(x));
        expr_add(g, more, expr_rule(g, rule));
        expr_add(g, items, expr_rule(g, rule));
        expr_add(g, items, expr_repeat(g, more, min > 0 ? min - 1 : 0, max == EXPR_UNLIMITED ? max : max - 1));
        expr_add(g, items, jx_space(x));
        expr_add(g, all, min == 0 ? expr_optional(g, items) : items);
    }
    return expr_add(g, all, expr_bytes(g, brackets + 1, 1));
}

static uint32_t any_at(struct jx *x, size_t depth);

/* A key and a value of at most that depth. */
static uint32_t pair_at(struct jx *x, size_t depth)
{
    struct exprs *g = x->g;
    uint32_t rule = rule_new(g, NULL, 0), pair = expr_seq(g);
    expr_add(g, pair, jx_string(x));
    expr_add(g, pair, expr_text(g, ":"));
    expr_add(g, pair, jx_gap(x));
    rule_define(g, rule, expr_add(g, pair, expr_rule(g, any_at(x, depth))));
    return rule;
}

/* The rule for any value of at most that depth; recursion ends at JX_DEPTH. */
static uint32_t any_at(struct jx *x, size_t depth)
{
    struct exprs *g = x->g;
    if (!x->any[depth] && g->failure == EXPRS_OK) {
        uint32_t all = expr_alt(g), rule = x->any[depth] = rule_new(g, NULL, 0);
        expr_add(g, all, jx_string(x));
        expr_add(g, all, jx_number(x));
        expr_add(g, all, expr_text(g, "true"));
        expr_add(g, all, expr_text(g, "false"));
        expr_add(g, all, expr_text(g, "null"));
        if (depth > 0) {
            expr_add(g, all, jx_list(x, "{}", pair_at(x, depth - 1), 0, EXPR_UNLIMITED));
            expr_add(g, all, jx_list(x, "[]", any_at(x, depth - 1), 0, EXPR_UNLIMITED));
        }
        rule_define(g, rule, all);
    }
    return x->any[depth];
}

uint32_t jx_any(struct jx *x) { return expr_rule(x->g, any_at(x, JX_DEPTH)); }

uint32_t jx_object(struct jx *x)
{
    if (!x->object) {
        x->object = rule_new(x->g, NULL, 0);
        rule_define(x->g, x->object, jx_list(x, "{}", pair_at(x, JX_DEPTH - 1), 0, EXPR_UNLIMITED));
    }
    return expr_rule(x->g, x->object);
}

uint32_t jx_array(struct jx *x)
{
    if (!x->array) {
        x->array = rule_new(x->g, NULL, 0);
        rule_define(x->g, x->array, jx_list(x, "[]", any_at(x, JX_DEPTH - 1), 0, EXPR_UNLIMITED));
    }
    return expr_rule(x->g, x->array);
}

/* ----------------------------------------------------------- inside strings */

/* The one spelling of a character that can not stand for itself; false: it can. */
static bool spelling(uint32_t c, char out[8])
{
    static const char special[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *found = c && c < 0x80 ? strchr(special, (int)c) : NULL;
    if (found)
        snprintf(out, 8, "\\%c", letters[found - special]);
    else if (c < 0x20)
        snprintf(out, 8, "\\u%04x", (unsigned)c);
    else
        return false;
    return true;
}

uint32_t jx_class(struct jx *x, const struct charset *s)
{
    struct exprs *g = x->g;
    struct charset plain = {.failed = s->failed};
    uint32_t all = expr_alt(g);
    char text[8];
    for (uint32_t c = 0; c < 0x80; c++) {
        if (spelling(c, text) && charset_has(s, c))
            expr_add(g, all, expr_text(g, text));
    }
    for (size_t i = 0; i < s->n; i++) {
        uint32_t lo = MAX(s->ranges[i].lo, (uint32_t)0x20), hi = s->ranges[i].hi;
        /* cut around the quote and the backslash */
        if (lo <= MIN(hi, (uint32_t)'"' - 1))
            charset_add(&plain, lo, MIN(hi, (uint32_t)'"' - 1));
        if (MAX(lo, (uint32_t)'"' + 1) <= MIN(hi, (uint32_t)'\\' - 1))
            charset_add(&plain, MAX(lo, (uint32_t)'"' + 1), MIN(hi, (uint32_t)'\\' - 1));
        if (MAX(lo, (uint32_t)'\\' + 1) <= hi)
            charset_add(&plain, MAX(lo, (uint32_t)'\\' + 1), hi);
    }
    charset_finish(&plain);
    expr_add(g, all, expr_class(g, &plain));
    charset_free(&plain);
    return all;
}

static uint32_t encode_text(struct jx *x, struct expr e)
{
    struct exprs *g = x->g;
    struct buf out = {0};
    char text[8];
    for (uint32_t at = e.first; at < e.last;) {
        uint32_t c;
        size_t n = utf8_decode(g->bytes.data + at, e.last - at, &c);
        if (spelling(c, text))
            buf_puts(&out, text);
        else
            buf_append(&out, g->bytes.data + at, n);
        at += (uint32_t)n;
    }
    if (out.failed)
        g->failure = EXPRS_NO_MEMORY;
    uint32_t node = expr_bytes(g, out.data, out.len);
    buf_free(&out);
    return node;
}

uint32_t jx_encode(struct jx *x, uint32_t node)
{
    struct exprs *g = x->g;
    if (!node || g->failure != EXPRS_OK)
        return 0;
    struct expr e = g->nodes[node];
    switch (e.kind) {
    case EXPR_BYTES:
        return encode_text(x, e);
    case EXPR_CLASS: {
        struct charset s = {0};
        for (uint32_t i = e.first; i < e.last; i++)
            charset_add(&s, g->ranges[i].lo, g->ranges[i].hi);
        uint32_t encoded = jx_class(x, &s);
        charset_free(&s);
        return encoded;
    }
    case EXPR_REPEAT:
        return expr_repeat(g, jx_encode(x, e.first), e.min, e.max);
    case EXPR_SEQ:
    case EXPR_ALT: {
        uint32_t list = e.kind == EXPR_SEQ ? expr_seq(g) : expr_alt(g);
        for (uint32_t child = e.first; child; child = g->nodes[child].next)
            expr_add(g, list, jx_encode(x, child));
        return list;
    }
    default: /* EXPR_EMPTY; regular expressions have no rules */
        return expr_empty(g);
    }
}

uint32_t jx_quoted(struct jx *x, const char *text, size_t len)
{
    struct buf out = {0};
    json_put_string(&out, text, len);
    if (out.failed)
        x->g->failure = EXPRS_NO_MEMORY;
    uint32_t node = expr_bytes(x->g, out.data, out.len);
    buf_free(&out);
    return node;
}

uint32_t jx_literal(struct jx *x, const struct json *j, const struct json_node *value)
{
    struct buf out = {0};
    json_put_spaced(&out, j, value);
    if (out.failed)
        x->g->failure = EXPRS_NO_MEMORY;
    uint32_t node = expr_bytes(x->g, out.data, out.len);
    buf_free(&out);
    return node;
}
