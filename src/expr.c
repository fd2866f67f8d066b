#include "expr.h"

#include <stdlib.h>
#include <string.h>

#include "grow.h"

/* ----------------------------------------------------------------- charset */

void charset_add(struct charset *s, uint32_t lo, uint32_t hi)
{
    struct range *r = s->failed ? NULL : grown(s->ranges, &s->cap, s->n, 1, sizeof *r);
    if (!r) {
        s->failed = true;
        return;
    }
    s->ranges = r;
    s->ranges[s->n++] = (struct range){lo, hi};
}

void charset_add_all(struct charset *s, const struct charset *other)
{
    s->failed |= other->failed;
    for (size_t i = 0; i < other->n; i++)
        charset_add(s, other->ranges[i].lo, other->ranges[i].hi);
}

static int by_lo(const void *a, const void *b)
{
    const struct range *x = a, *y = b;
    return (x->lo > y->lo) - (x->lo < y->lo);
}

/* Sorts and joins overlapping and adjacent ranges. */
static void join(struct charset *s)
{
    if (s->n > 1)
        qsort(s->ranges, s->n, sizeof *s->ranges, by_lo);
    size_t out = 0;
    for (size_t i = 0; i < s->n; i++) {
        struct range r = s->ranges[i];
        if (out && r.lo <= s->ranges[out - 1].hi + 1)
            s->ranges[out - 1].hi = MAX(s->ranges[out - 1].hi, r.hi);
        else
            s->ranges[out++] = r;
    }
    s->n = out;
}

void charset_finish(struct charset *s)
{
    size_t n = s->n;
    for (size_t i = 0; i < n && !s->failed; i++) {
        struct range *r = &s->ranges[i];
        r->hi = MIN(r->hi, (uint32_t)0x10FFFF);
        if (r->lo < 0xD800 && r->hi > 0xDFFF) {
            uint32_t hi = r->hi;
            r->hi = 0xD7FF;
            charset_add(s, 0xE000, hi);
        } else if (r->lo >= 0xD800 && r->lo <= 0xDFFF) {
            r->lo = 0xE000;
        } else if (r->hi >= 0xD800 && r->hi <= 0xDFFF) {
            r->hi = 0xD7FF;
        }
    }
    size_t out = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->ranges[i].lo <= s->ranges[i].hi)
            s->ranges[out++] = s->ranges[i];
    }
    s->n = out;
    join(s);
}

void charset_negate(struct charset *s)
{
    struct charset rest = {.failed = s->failed};
    uint32_t from = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->ranges[i].lo > from)
            charset_add(&rest, from, s->ranges[i].lo - 1);
        from = s->ranges[i].hi + 1;
    }
    if (from <= 0x10FFFF)
        charset_add(&rest, from, 0x10FFFF);
    charset_finish(&rest);
    charset_free(s);
    *s = rest;
}

bool charset_has(const struct charset *s, uint32_t c)
{
    for (size_t i = 0; i < s->n; i++) {
        if (c >= s->ranges[i].lo && c <= s->ranges[i].hi)
            return true;
    }
    return false;
}

void charset_free(struct charset *s)
{
    free(s->ranges);
    *s = (struct charset){0};
}

/* ------------------------------------------------------------- expressions */

void exprs_free(struct exprs *g)
{
    free(g->nodes);
    free(g->rules);
    free(g->ranges);
    buf_free(&g->bytes);
    buf_free(&g->names);
    *g = (struct exprs){0};
}

enum sg_status exprs_status(const struct exprs *g, struct sg_error *err)
{
    if (g->failure == EXPRS_NO_MEMORY || g->bytes.failed || g->names.failed)
        return fail(err, SG_NO_MEMORY, "out of memory for the grammar");
    if (g->failure == EXPRS_TOO_LARGE)
        return fail(err, SG_USAGE, "the grammar is too large");
    return SG_OK;
}

static uint32_t node_new(struct exprs *g, struct expr e)
{
    if (g->failure != EXPRS_OK)
        return 0;
    if (g->n_nodes >= EXPR_MAX_NODES) {
        g->failure = EXPRS_TOO_LARGE;
        return 0;
    }
    struct expr *nodes = grown(g->nodes, &g->nodes_cap, g->n_nodes, 2, sizeof *nodes);
    if (!nodes) {
        g->failure = EXPRS_NO_MEMORY;
        return 0;
    }
    g->nodes = nodes;
    if (g->n_nodes == 0)
        g->nodes[g->n_nodes++] = (struct expr){0}; /* 0 is no node */
    g->nodes[g->n_nodes] = e;
    return (uint32_t)g->n_nodes++;
}

uint32_t expr_empty(struct exprs *g) { return node_new(g, (struct expr){.kind = EXPR_EMPTY}); }

uint32_t expr_bytes(struct exprs *g, const char *text, size_t len)
{
    if (len > EXPR_MAX_BYTES - MIN(g->bytes.len, (size_t)EXPR_MAX_BYTES)) {
        g->failure = g->failure ? g->failure : EXPRS_TOO_LARGE;
        return 0;
    }
    uint32_t begin = (uint32_t)g->bytes.len;
    buf_append(&g->bytes, text, len);
    return node_new(g, (struct expr){.kind = EXPR_BYTES, .first = begin, .last = begin + (uint32_t)len});
}

uint32_t expr_text(struct exprs *g, const char *text) { return expr_bytes(g, text, strlen(text)); }

uint32_t expr_class(struct exprs *g, const struct charset *s)
{
    struct range *ranges = s->failed ? NULL : grown(g->ranges, &g->ranges_cap, g->n_ranges, s->n, sizeof *ranges);
    if (!ranges) {
        g->failure = EXPRS_NO_MEMORY;
        return 0;
    }
    g->ranges = ranges;
    if (g->n_ranges + s->n > EXPR_MAX_NODES) {
        g->failure = EXPRS_TOO_LARGE;
        return 0;
    }
    uint32_t begin = (uint32_t)g->n_ranges;
    if (s->n)
        memcpy(g->ranges + g->n_ranges, s->ranges, s->n * sizeof *s->ranges);
    g->n_ranges += s->n;
    return node_new(g, (struct expr){.kind = EXPR_CLASS, .first = begin, .last = begin + (uint32_t)s->n});
}

uint32_t expr_range(struct exprs *g, uint32_t lo, uint32_t hi)
{
    struct range r = {lo, hi};
    return expr_class(g, &(struct charset){.ranges = &r, .n = 1});
}

uint32_t expr_seq(struct exprs *g) { return node_new(g, (struct expr){.kind = EXPR_SEQ}); }

uint32_t expr_alt(struct exprs *g) { return node_new(g, (struct expr){.kind = EXPR_ALT}); }

uint32_t expr_add(struct exprs *g, uint32_t parent, uint32_t child)
{
    if (!parent || !child)
        return 0;
    struct expr *p = &g->nodes[parent];
    if (p->last)
        g->nodes[p->last].next = child;
    else
        p->first = child;
    p->last = child;
    return parent;
}

uint32_t expr_repeat(struct exprs *g, uint32_t child, uint32_t min, uint32_t max)
{
    if (!child)
        return 0;
    return node_new(g, (struct expr){.kind = EXPR_REPEAT, .first = child, .last = child, .min = min, .max = max});
}

uint32_t expr_optional(struct exprs *g, uint32_t child) { return expr_repeat(g, child, 0, 1); }

uint32_t rule_new(struct exprs *g, const char *name, size_t len)
{
    if (g->failure != EXPRS_OK)
        return 0;
    if (g->n_rules >= EXPR_MAX_RULES) {
        g->failure = EXPRS_TOO_LARGE;
        return 0;
    }
    struct expr_rule *rules = grown(g->rules, &g->rules_cap, g->n_rules, 1, sizeof *rules);
    if (!rules) {
        g->failure = EXPRS_NO_MEMORY;
        return 0;
    }
    g->rules = rules;
    uint32_t at = 0;
    if (name) {
        if (g->names.len == 0)
            buf_putc(&g->names, 0); /* 0 is no name */
        at = (uint32_t)g->names.len;
        buf_append(&g->names, name, len);
        buf_putc(&g->names, 0);
    }
    g->rules[g->n_rules] = (struct expr_rule){.name = at};
    return (uint32_t)g->n_rules++;
}

void rule_define(struct exprs *g, uint32_t rule, uint32_t body)
{
    if (g->failure == EXPRS_OK)
        g->rules[rule].body = body;
}

uint32_t expr_rule(struct exprs *g, uint32_t rule) { return node_new(g, (struct expr){.kind = EXPR_RULE, .min = rule}); }
