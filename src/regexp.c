#include "regexp.h"

#include <string.h>

#include "utf8.h"

enum {
    BEGINS = 1,
    ENDS = 2
}; /* EXPR_EMPTY nodes with this `min` stand for ^ and $ */
static const uint32_t MAX_COUNT = 1000000000;

struct parser {
    struct exprs *g;
    const char *text;
    size_t len, at;
    size_t depth;
    size_t n_anchors; /* met and not yet understood */
    struct sg_error *err;
};

static enum sg_status refuse(const struct parser *p, const char *what)
{
    return fail(p->err, SG_USAGE, "regular expression: %s at byte %zu", what, p->at);
}

static bool more(const struct parser *p) { return p->at < p->len; }

static bool next_is(const struct parser *p, char c) { return more(p) && p->text[p->at] == c; }

static bool skip(struct parser *p, const char *s)
{
    size_t n = strlen(s);
    if (p->len - p->at < n || memcmp(p->text + p->at, s, n) != 0)
        return false;
    p->at += n;
    return true;
}

static enum sg_status read_char(struct parser *p, uint32_t *c)
{
    size_t n = utf8_decode(p->text + p->at, p->len - p->at, c);
    if (*c == UTF8_REPLACEMENT && !(n == 3 && memcmp(p->text + p->at, "\xEF\xBF\xBD", 3) == 0))
        return refuse(p, "not UTF-8");
    p->at += n;
    return SG_OK;
}

/* Exactly n hexadecimal digits, or with n = 0 as many as there are. */
static enum sg_status read_hex(struct parser *p, size_t n, uint32_t *c)
{
    size_t i = 0;
    *c = 0;
    for (; more(p) && (n == 0 || i < n) && *c <= 0x10FFFF; i++) {
        char d = p->text[p->at];
        if (d >= '0' && d <= '9')
            *c = *c * 16 + (uint32_t)(d - '0');
        else if ((d | 0x20) >= 'a' && (d | 0x20) <= 'f')
            *c = *c * 16 + (uint32_t)((d | 0x20) - 'a' + 10);
        else
            break;
        p->at++;
    }
    if (i == 0 || i < n)
        return refuse(p, "missing hexadecimal digits");
    if (*c > 0x10FFFF)
        return refuse(p, "no such character");
    return SG_OK;
}

/* ------------------------------------------------------------------- classes */

static void add_named(struct charset *s, char name)
{
    static const struct range digits[] = {{'0', '9'}}, word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    static const struct range space[] = {{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
                                         {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
    const struct range *ranges = (name | 0x20) == 'd' ? digits : (name | 0x20) == 'w' ? word : space;
    size_t n = (name | 0x20) == 'd' ? ARRAY_LEN(digits) : (name | 0x20) == 'w' ? ARRAY_LEN(word) : ARRAY_LEN(space);
    struct charset named = {0};
    for (size_t i = 0; i < n; i++)
        charset_add(&named, ranges[i].lo, ranges[i].hi);
    if (name >= 'A' && name <= 'Z')
        charset_negate(&named);
    charset_add_all(s, &named);
    charset_free(&named);
}

/* After a backslash: a class is added to s and *c set to UINT32_MAX, a character goes to *c. */
static enum sg_status read_escape(struct parser *p, struct charset *s, bool in_class, uint32_t *c)
{
    static const char simple[] = "tnrfv0", meaning[] = "\t\n\r\f\v\0";
    if (!more(p))
        return refuse(p, "a backslash ends it");
    char e = p->text[p->at];
    const char *found = strchr(simple, e);
    if (strchr("dDwWsS", e) && e) {
        p->at++;
        add_named(s, e);
        *c = UINT32_MAX;
        return SG_OK;
    }
    if (found && e) {
        p->at++;
        *c = (uint8_t)meaning[found - simple];
        return e == '0' && more(p) && p->text[p->at] >= '0' && p->text[p->at] <= '9' ? refuse(p, "octal escapes are not supported") : SG_OK;
    }
    if (e == 'b' && in_class) {
        p->at++;
        *c = '\b';
        return SG_OK;
    }
    if (e == 'x' || e == 'u') {
        p->at++;
        if (e == 'u' && skip(p, "{")) {
            TRY(read_hex(p, 0, c));
            return skip(p, "}") ? SG_OK : refuse(p, "missing }");
        }
        TRY(read_hex(p, e == 'x' ? 2 : 4, c));
        uint32_t low;
        if (*c >= 0xD800 && *c <= 0xDBFF && skip(p, "\\u")) {
            TRY(read_hex(p, 4, &low));
            if (low < 0xDC00 || low > 0xDFFF)
                return refuse(p, "unpaired surrogate");
            *c = 0x10000 + ((*c - 0xD800) << 10) + (low - 0xDC00);
        }
        return *c >= 0xD800 && *c <= 0xDFFF ? refuse(p, "unpaired surrogate") : SG_OK;
    }
    if (e >= '1' && e <= '9')
        return refuse(p, "back references are not supported");
    if (e == 'b' || e == 'B')
        return refuse(p, "word boundaries are not supported");
    if (e == 'p' || e == 'P')
        return refuse(p, "\\p is not supported");
    if ((e >= 'a' && e <= 'z') || (e >= 'A' && e <= 'Z'))
        return refuse(p, "unknown escape");
    return read_char(p, c);
}

static enum sg_status read_class_items(struct parser *p, struct charset *s)
{
    while (!next_is(p, ']')) {
        uint32_t lo = 0, hi = 0;
        if (!more(p))
            return refuse(p, "missing ]");
        TRY(skip(p, "\\") ? read_escape(p, s, true, &lo) : read_char(p, &lo));
        bool range = p->at + 1 < p->len && p->text[p->at] == '-' && p->text[p->at + 1] != ']';
        if (lo == UINT32_MAX) {
            if (range)
                return refuse(p, "a class can not begin a range");
            continue;
        }
        hi = lo;
        if (range) {
            p->at++;
            TRY(skip(p, "\\") ? read_escape(p, s, true, &hi) : read_char(p, &hi));
            if (hi == UINT32_MAX || hi < lo)
                return refuse(p, "a range runs backwards");
        }
        charset_add(s, lo, hi);
    }
    return SG_OK;
}

static enum sg_status parse_class(struct parser *p, uint32_t *out)
{
    struct charset s = {0};
    bool negated = skip(p, "^");
    if (next_is(p, ']'))
        return refuse(p, "empty character class");
    enum sg_status status = read_class_items(p, &s);
    if (status == SG_OK) {
        p->at++;
        charset_finish(&s);
        if (negated)
            charset_negate(&s);
        *out = expr_class(p->g, &s);
    }
    charset_free(&s);
    return status;
}

/* --------------------------------------------------------------- expressions */

static enum sg_status parse_alternatives(struct parser *p, uint32_t *out);

static enum sg_status parse_group(struct parser *p, uint32_t *out)
{
    if (++p->depth > EXPR_MAX_DEPTH)
        return refuse(p, "brackets are nested too deeply");
    if (skip(p, "?")) {
        if (next_is(p, '=') || next_is(p, '!') || (next_is(p, '<') && p->at + 1 < p->len && strchr("=!", p->text[p->at + 1])))
            return refuse(p, "look-ahead and look-behind are not supported");
        if (skip(p, "<")) {
            while (more(p) && !next_is(p, '>'))
                p->at++;
            if (!skip(p, ">"))
                return refuse(p, "missing >");
        } else if (!skip(p, ":")) {
            return refuse(p, "flags are not supported");
        }
    }
    TRY(parse_alternatives(p, out));
    if (!skip(p, ")"))
        return refuse(p, "missing )");
    p->depth--;
    return SG_OK;
}

static uint32_t anchor(struct parser *p, uint32_t which)
{
    uint32_t node = expr_empty(p->g);
    if (node)
        p->g->nodes[node].min = which;
    p->n_anchors++;
    return node;
}

static enum sg_status parse_atom(struct parser *p, uint32_t *out)
{
    struct charset s = {0};
    uint32_t c = 0;
    char text[4];
    if (skip(p, "("))
        return parse_group(p, out);
    if (skip(p, "["))
        return parse_class(p, out);
    if (next_is(p, '*') || next_is(p, '+') || next_is(p, '?'))
        return refuse(p, "nothing to repeat");
    if (skip(p, ".")) {
        charset_add(&s, '\n', '\n');
        charset_add(&s, '\r', '\r');
        charset_add(&s, 0x2028, 0x2029);
        charset_negate(&s);
        *out = expr_class(p->g, &s);
        charset_free(&s);
        return SG_OK;
    }
    enum sg_status status = skip(p, "\\") ? read_escape(p, &s, false, &c) : read_char(p, &c);
    if (status == SG_OK && c == UINT32_MAX) {
        charset_finish(&s);
        *out = expr_class(p->g, &s);
    } else if (status == SG_OK) {
        *out = expr_bytes(p->g, text, utf8_encode(c, text));
    }
    charset_free(&s);
    return status;
}

static bool read_number(struct parser *p, uint32_t *n)
{
    size_t begin = p->at;
    for (*n = 0; more(p) && p->text[p->at] >= '0' && p->text[p->at] <= '9'; p->at++)
        *n = *n > MAX_COUNT ? *n : *n * 10 + (uint32_t)(p->text[p->at] - '0');
    return p->at > begin;
}

/* {m}, {m,} or {m,n}; anything else after { is literal, as in JavaScript. */
static bool read_counts(struct parser *p, uint32_t *min, uint32_t *max)
{
    size_t begin = p->at;
    if (skip(p, "{") && read_number(p, min)) {
        *max = *min;
        if (skip(p, ",") && !read_number(p, max))
            *max = EXPR_UNLIMITED;
        if (skip(p, "}"))
            return true;
    }
    p->at = begin;
    return false;
}

static enum sg_status parse_quantifier(struct parser *p, uint32_t *node)
{
    uint32_t min = 0, max = EXPR_UNLIMITED;
    if (skip(p, "+"))
        min = 1;
    else if (skip(p, "?"))
        max = 1;
    else if (!skip(p, "*") && !read_counts(p, &min, &max))
        return SG_OK;
    if (min > MAX_COUNT || (max > MAX_COUNT && max != EXPR_UNLIMITED))
        return refuse(p, "a repetition count is above 1000000000");
    if (min > max)
        return refuse(p, "a repetition has its limits reversed");
    *node = expr_repeat(p->g, *node, min, max);
    skip(p, "?"); /* lazy: the same texts match */
    uint32_t ignored;
    if (next_is(p, '*') || next_is(p, '+') || next_is(p, '?') || read_counts(p, &ignored, &ignored))
        return refuse(p, "nothing to repeat");
    return SG_OK;
}

static enum sg_status parse_alternatives(struct parser *p, uint32_t *out)
{
    uint32_t all = expr_alt(p->g);
    do {
        uint32_t branch = expr_seq(p->g);
        while (more(p) && !next_is(p, '|') && !next_is(p, ')')) {
            uint32_t node = 0;
            if (skip(p, "^")) {
                node = anchor(p, BEGINS);
            } else if (skip(p, "$")) {
                node = anchor(p, ENDS);
            } else {
                TRY(parse_atom(p, &node));
                TRY(parse_quantifier(p, &node));
            }
            expr_add(p->g, branch, node);
        }
        expr_add(p->g, all, branch);
    } while (skip(p, "|"));
    *out = all;
    return SG_OK;
}

/* ------------------------------------------------------------------- anchors */

/* Rewrites a node at the edge of the whole expression so that any text may come before it
 * (after it), unless an anchor forbids that. Without `search`, anchors just say what is so anyway. */
static uint32_t open_edge(struct parser *p, uint32_t node, uint32_t edge, bool search)
{
    struct exprs *g = p->g;
    if (!node)
        return 0;
    struct expr e = g->nodes[node];
    if (e.kind == EXPR_EMPTY && e.min == edge) {
        g->nodes[node].min = 0;
        p->n_anchors--;
        return node;
    }
    if ((e.kind == EXPR_ALT || e.kind == EXPR_SEQ) && e.first) {
        uint32_t list = e.kind == EXPR_ALT ? expr_alt(g) : expr_seq(g);
        for (uint32_t child = e.first, next; child && g->failure == EXPRS_OK; child = next) {
            next = g->nodes[child].next;
            g->nodes[child].next = 0;
            bool outer = e.kind == EXPR_ALT || child == (edge == BEGINS ? e.first : e.last);
            expr_add(g, list, outer ? open_edge(p, child, edge, search) : child);
        }
        return list;
    }
    if (!search)
        return node;
    uint32_t all = expr_repeat(g, expr_class(g, &(struct charset){.ranges = (struct range[]){{0, 0xD7FF}, {0xE000, 0x10FFFF}}, .n = 2}), 0,
                               EXPR_UNLIMITED);
    uint32_t pair = expr_seq(g);
    expr_add(g, pair, edge == BEGINS ? all : node);
    return expr_add(g, pair, edge == BEGINS ? node : all);
}

enum sg_status regexp_parse(struct exprs *g, const char *text, size_t len, bool search, uint32_t *out, struct sg_error *err)
{
    struct parser p = {.g = g, .text = text, .len = len, .err = err};
    uint32_t node;
    TRY(parse_alternatives(&p, &node));
    if (more(&p))
        return refuse(&p, "unmatched )");
    node = open_edge(&p, node, BEGINS, search);
    *out = open_edge(&p, node, ENDS, search);
    if (p.n_anchors && g->failure == EXPRS_OK)
        return fail(err, SG_USAGE, "regular expression: ^ and $ are supported only where a whole alternative begins or ends");
    return SG_OK;
}
