#include "intersect.h"

#include <stdlib.h>
#include <string.h>

#include "grow.h"
#include "utf8.h"

enum {
    MAX_NFA_STATES = 20000,
    MAX_TUPLES = 100000,
    NO_STATE = 0,
};

/* A nondeterministic automaton over characters. A state reads one character, or goes on
 * without reading to two others, or is the final one (number 1). */
struct nfa_state {
    struct charset set; /* of a reading state: owned */
    bool reads;
    uint32_t to, other; /* other: only of a state that does not read, may be NO_STATE */
};
struct nfa {
    struct nfa_state *states;
    size_t n_states, cap;
    uint32_t *reach; /* scratch: reading and final states found from a state */
    size_t n_reach;
    uint32_t *stack, *seen, stamp;
    bool no_memory, too_large;
};

/* Where all automata are, and how many characters were read. */
struct tuple {
    uint32_t state[INTERSECT_MAX], count, rule;
};

struct product {
    struct jx *x;
    struct nfa nfa[INTERSECT_MAX];
    size_t n;
    uint32_t min, max;
    struct tuple *tuples;
    size_t n_tuples, cap;
    uint32_t *slots; /* hash table of tuple numbers + 1 */
    size_t n_slots;
};

/* ----------------------------------------------------------------- automata */

static uint32_t nfa_add(struct nfa *a, struct nfa_state s)
{
    struct nfa_state *states = a->n_states < MAX_NFA_STATES ? grown(a->states, &a->cap, a->n_states, 1, sizeof *states) : NULL;
    if (!states) {
        a->too_large |= a->n_states >= MAX_NFA_STATES;
        a->no_memory |= a->n_states < MAX_NFA_STATES;
        charset_free(&s.set);
        return NO_STATE;
    }
    a->states = states;
    a->states[a->n_states] = s;
    return (uint32_t)a->n_states++;
}

static uint32_t nfa_read(struct nfa *a, struct charset set, uint32_t to)
{
    charset_finish(&set);
    a->no_memory |= set.failed;
    return nfa_add(a, (struct nfa_state){.set = set, .reads = true, .to = to});
}

/* The state that reads what node matches and then is at `to`: built from the end. */
static uint32_t nfa_build(struct nfa *a, const struct exprs *g, uint32_t node, uint32_t to)
{
    if (a->no_memory || a->too_large || !node)
        return to;
    const struct expr *e = &g->nodes[node];
    switch (e->kind) {
    case EXPR_BYTES: {
        uint32_t chars[4], n = 0, at = e->first;
        while (at < e->last && n < ARRAY_LEN(chars)) /* regexp_parse makes literals of one character */
            at += (uint32_t)utf8_decode(g->bytes.data + at, e->last - at, &chars[n++]);
        while (n-- > 0) {
            struct charset one = {0};
            charset_add(&one, chars[n], chars[n]);
            to = nfa_read(a, one, to);
        }
        return to;
    }
    case EXPR_CLASS: {
        struct charset set = {0};
        for (uint32_t i = e->first; i < e->last; i++)
            charset_add(&set, g->ranges[i].lo, g->ranges[i].hi);
        return nfa_read(a, set, to);
    }
    case EXPR_ALT: {
        uint32_t all = NO_STATE;
        for (uint32_t child = e->first; child; child = g->nodes[child].next)
            all = nfa_add(a, (struct nfa_state){.to = nfa_build(a, g, child, to), .other = all});
        return all;
    }
    case EXPR_SEQ: {
        size_t n = 0;
        for (uint32_t child = e->first; child; child = g->nodes[child].next)
            n++;
        uint32_t *children = malloc((n + 1) * sizeof *children);
        if (!children) {
            a->no_memory = true;
            return to;
        }
        n = 0;
        for (uint32_t child = e->first; child; child = g->nodes[child].next)
            children[n++] = child;
        while (n > 0)
            to = nfa_build(a, g, children[--n], to);
        free(children);
        return to;
    }
    case EXPR_REPEAT: {
        uint32_t end = to;
        if (e->max == EXPR_UNLIMITED) {
            uint32_t head = nfa_add(a, (struct nfa_state){.other = to});
            uint32_t again = nfa_build(a, g, e->first, head);
            if (head)
                a->states[head].to = again;
            to = head;
        } else {
            for (uint32_t i = e->min; i < e->max && !a->too_large && !a->no_memory; i++)
                to = nfa_add(a, (struct nfa_state){.to = nfa_build(a, g, e->first, to), .other = end});
        }
        size_t before = a->n_states - 1;
        for (uint32_t i = 0; i < e->min && !a->too_large && !a->no_memory && before != a->n_states; i++) {
            before = a->n_states; /* a billion times nothing is nothing */
            to = nfa_build(a, g, e->first, to);
        }
        return to;
    }
    default:
        return to;
    }
}

/* Fills in a->reach. */
static void nfa_reach(struct nfa *a, uint32_t from)
{
    size_t n = 0;
    a->stamp++;
    a->n_reach = 0;
    a->stack[n++] = from;
    a->seen[from] = a->stamp;
    while (n) {
        uint32_t at = a->stack[--n];
        const struct nfa_state *s = &a->states[at];
        if (s->reads || at == 1) {
            a->reach[a->n_reach++] = at;
            continue;
        }
        uint32_t next[2] = {s->to, s->other};
        for (size_t i = 0; i < 2; i++) {
            if (next[i] != NO_STATE && a->seen[next[i]] != a->stamp) {
                a->seen[next[i]] = a->stamp;
                a->stack[n++] = next[i];
            }
        }
    }
}

static uint32_t nfa_open(struct nfa *a, const struct exprs *g, uint32_t node)
{
    nfa_add(a, (struct nfa_state){0}); /* NO_STATE */
    nfa_add(a, (struct nfa_state){0}); /* final */
    uint32_t start = nfa_build(a, g, node, 1);
    a->reach = malloc((a->n_states + 1) * sizeof *a->reach);
    a->stack = malloc((a->n_states + 1) * sizeof *a->stack);
    a->seen = calloc(a->n_states + 1, sizeof *a->seen);
    a->no_memory |= !a->reach || !a->stack || !a->seen;
    return start;
}

static void nfa_free(struct nfa *a)
{
    for (size_t i = 0; i < a->n_states; i++)
        charset_free(&a->states[i].set);
    free(a->states);
    free(a->reach);
    free(a->stack);
    free(a->seen);
}

/* ------------------------------------------------------------------ product */

static uint32_t *find_tuple(const struct product *p, const struct tuple *t)
{
    uint32_t h = t->count;
    for (size_t i = 0; i < p->n; i++)
        h = (h ^ t->state[i]) * 0x9E3779B1u;
    size_t at = (h ^ h >> 15) & (p->n_slots - 1);
    for (; p->slots[at]; at = (at + 1) & (p->n_slots - 1)) {
        const struct tuple *have = &p->tuples[p->slots[at] - 1];
        if (have->count == t->count && memcmp(have->state, t->state, sizeof t->state) == 0)
            break;
    }
    return &p->slots[at];
}

/* The rule for what may follow at a tuple; it is defined later, in turn. */
static uint32_t tuple_rule(struct product *p, const struct tuple *t)
{
    struct exprs *g = p->x->g;
    uint32_t *slot = find_tuple(p, t);
    if (*slot)
        return expr_rule(g, p->tuples[*slot - 1].rule);
    struct tuple *tuples = p->n_tuples < MAX_TUPLES ? grown(p->tuples, &p->cap, p->n_tuples, 1, sizeof *tuples) : NULL;
    if (!tuples) {
        g->failure = p->n_tuples < MAX_TUPLES ? EXPRS_NO_MEMORY : EXPRS_TOO_LARGE;
        return 0;
    }
    p->tuples = tuples;
    p->tuples[p->n_tuples] = *t;
    p->tuples[p->n_tuples].rule = rule_new(g, NULL, 0);
    *slot = (uint32_t)++p->n_tuples;
    return expr_rule(g, p->tuples[p->n_tuples - 1].rule);
}

/* All combinations of the states that can be reached from each automaton's `from`, as alternatives. */
static uint32_t combinations(struct product *p, const uint32_t *from, uint32_t count)
{
    struct exprs *g = p->x->g;
    uint32_t all = expr_alt(g);
    size_t at[INTERSECT_MAX] = {0};
    for (size_t i = 0; i < p->n; i++) {
        nfa_reach(&p->nfa[i], from[i]);
        if (p->nfa[i].n_reach == 0)
            return all;
    }
    for (;;) {
        struct tuple t = {.count = count};
        for (size_t i = 0; i < p->n; i++)
            t.state[i] = p->nfa[i].reach[at[i]];
        expr_add(g, all, tuple_rule(p, &t));
        size_t i = 0;
        while (i < p->n && ++at[i] == p->nfa[i].n_reach)
            at[i++] = 0;
        if (i == p->n || g->failure != EXPRS_OK)
            return all;
    }
}

static struct charset common(const struct charset *a, const struct charset *b)
{
    struct charset both = {.failed = a->failed || b->failed};
    for (size_t i = 0, k = 0; i < a->n && k < b->n;) {
        uint32_t lo = MAX(a->ranges[i].lo, b->ranges[k].lo), hi = MIN(a->ranges[i].hi, b->ranges[k].hi);
        if (lo <= hi)
            charset_add(&both, lo, hi);
        if (a->ranges[i].hi < b->ranges[k].hi)
            i++;
        else
            k++;
    }
    charset_finish(&both);
    return both;
}

static void define_tuple(struct product *p, struct tuple t)
{
    struct exprs *g = p->x->g;
    uint32_t all = expr_alt(g), to[INTERSECT_MAX] = {0};
    bool final = true, reads = t.count < p->max;
    for (size_t i = 0; i < p->n; i++) {
        const struct nfa_state *s = &p->nfa[i].states[t.state[i]];
        final &= t.state[i] == 1;
        reads &= s->reads;
        to[i] = s->to;
    }
    if (final && t.count >= p->min)
        expr_add(g, all, expr_empty(g));
    if (reads) {
        struct charset set = {0};
        charset_add(&set, 0, 0x10FFFF);
        charset_finish(&set);
        for (size_t i = 0; i < p->n; i++) {
            struct charset both = common(&set, &p->nfa[i].states[t.state[i]].set);
            charset_free(&set);
            set = both;
        }
        if (set.n) {
            uint32_t count = p->max == EXPR_UNLIMITED ? MIN(t.count + 1, p->min) : t.count + 1, step = expr_seq(g);
            expr_add(g, step, jx_class(p->x, &set));
            expr_add(g, step, combinations(p, to, count));
            expr_add(g, all, step);
        }
        if (set.failed)
            g->failure = EXPRS_NO_MEMORY;
        charset_free(&set);
    }
    rule_define(g, t.rule, all);
}

enum sg_status intersect(struct jx *x, const uint32_t *patterns, size_t n, uint32_t min, uint32_t max, uint32_t *out, struct sg_error *err)
{
    struct exprs *g = x->g;
    struct product p = {.x = x, .n = n, .min = min, .max = max, .n_slots = (size_t)2 << 17};
    uint32_t starts[INTERSECT_MAX] = {0};
    bool no_memory = false, too_large = false;
    p.slots = calloc(p.n_slots, sizeof *p.slots);
    no_memory |= !p.slots;
    for (size_t i = 0; i < n; i++) {
        starts[i] = nfa_open(&p.nfa[i], g, patterns[i]);
        no_memory |= p.nfa[i].no_memory;
        too_large |= p.nfa[i].too_large;
    }
    if (!no_memory && !too_large) {
        *out = combinations(&p, starts, 0);
        for (size_t i = 0; i < p.n_tuples && g->failure == EXPRS_OK; i++) /* n_tuples grows */
            define_tuple(&p, p.tuples[i]);
    } else if (no_memory) {
        g->failure = EXPRS_NO_MEMORY;
    }
    for (size_t i = 0; i < n; i++)
        nfa_free(&p.nfa[i]);
    free(p.tuples);
    free(p.slots);
    if (too_large || g->failure == EXPRS_TOO_LARGE)
        return fail(err, SG_USAGE, "a pattern with limits of length, or several patterns at once, is too large");
    return SG_OK;
}
