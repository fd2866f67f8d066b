#include "automaton.h"

#include <stdlib.h>
#include <string.h>

#include "grow.h"
#include "utf8.h"

enum {
    MAX_STATES = 4000000,
    UNROLL = 64, /* counted repetitions of one character up to this are spelled out */
};

/* An edge that is not yet sorted by its origin. */
struct draft {
    uint32_t from;
    struct edge edge;
};

struct builder {
    const struct exprs *g;
    struct draft *edges;
    size_t n_edges, edges_cap;
    uint32_t n_states;
    struct loop *loops;
    size_t n_loops, loops_cap;
    struct rule *rules;        /* those of g, then one for every counted repetition's body */
    uint32_t *finals, *bodies; /* of every rule */
    size_t n_rules, rules_cap, finals_cap, bodies_cap;
    bool no_memory, too_large;
};

/* ----------------------------------------------------- from trees to states */

static uint32_t new_state(struct builder *b)
{
    if (b->n_states >= MAX_STATES) {
        b->too_large = true;
        return 0;
    }
    return b->n_states++;
}

static void add_edge(struct builder *b, uint32_t from, struct edge e)
{
    if (b->n_edges >= 2 * (size_t)MAX_STATES)
        b->too_large = true;
    struct draft *edges = b->too_large ? NULL : grown(b->edges, &b->edges_cap, b->n_edges, 1, sizeof *edges);
    if (!edges) {
        b->no_memory |= !b->too_large;
        return;
    }
    b->edges = edges;
    b->edges[b->n_edges++] = (struct draft){from, e};
}

static void add_epsilon(struct builder *b, uint32_t from, uint32_t to) { add_edge(b, from, (struct edge){.kind = EDGE_EPSILON, .to = to}); }

static void add_bytes(struct builder *b, uint32_t from, uint8_t lo, uint8_t hi, uint32_t to)
{
    add_edge(b, from, (struct edge){.kind = EDGE_BYTES, .lo = lo, .hi = hi, .to = to});
}

enum {
    TAILS = 4
}; /* a character has up to three continuation bytes */

/* tails[k]: reads k continuation bytes of any value, then is at tails[0]; 0: not made yet. */
static uint32_t tail(struct builder *b, uint32_t tails[TAILS], size_t k)
{
    for (size_t i = 1; i < TAILS && i <= k; i++) {
        if (!tails[i]) {
            tails[i] = new_state(b);
            add_bytes(b, tails[i], 0x80, 0xBF, tails[i - 1]);
        }
    }
    return tails[k];
}

/* Edges for the characters lo..hi, which UTF-8 spells with the same number of bytes. Where
 * the range does not cover whole blocks of 64, 4096 ... characters it is cut in pieces, so
 * that the bytes of a piece are independent of each other. */
static void add_characters(struct builder *b, uint32_t from, uint32_t lo, uint32_t hi, uint32_t tails[TAILS])
{
    char first[4], last[4];
    size_t n = utf8_encode(lo, first);
    for (size_t i = 1; i < n; i++) {
        uint32_t block = ((uint32_t)1 << 6 * i) - 1;
        if ((lo & ~block) == (hi & ~block))
            continue;
        if (lo & block) {
            add_characters(b, from, lo, lo | block, tails);
            add_characters(b, from, (lo | block) + 1, hi, tails);
            return;
        }
        if ((hi & block) != block) {
            add_characters(b, from, lo, (hi & ~block) - 1, tails);
            add_characters(b, from, hi & ~block, hi, tails);
            return;
        }
    }
    utf8_encode(hi, last);
    uint32_t at = from;
    for (size_t i = 0; i < n; i++) {
        bool any = true; /* all further bytes are free */
        for (size_t k = i + 1; k < n; k++)
            any &= (uint8_t)first[k] == 0x80 && (uint8_t)last[k] == 0xBF;
        uint32_t to = any ? tail(b, tails, n - 1 - i) : new_state(b);
        add_bytes(b, at, (uint8_t)first[i], (uint8_t)last[i], to);
        if (any)
            return;
        at = to;
    }
}

static void add_class(struct builder *b, uint32_t from, const struct range *ranges, size_t n, uint32_t to)
{
    static const uint32_t longest[] = {0x7F, 0x7FF, 0xFFFF, 0x10FFFF}; /* of 1, 2, 3, 4 bytes */
    uint32_t tails[TAILS] = {to};
    for (size_t i = 0; i < n; i++) {
        uint32_t lo = ranges[i].lo;
        for (size_t k = 0; k < ARRAY_LEN(longest) && lo <= ranges[i].hi; k++) {
            if (lo > longest[k])
                continue;
            add_characters(b, from, lo, MIN(ranges[i].hi, longest[k]), tails);
            lo = longest[k] + 1;
        }
    }
}

/* The number of a rule whose body is node: the node's own rule if it is nothing else. */
static uint32_t rule_of(struct builder *b, uint32_t node)
{
    if (b->g->nodes[node].kind == EXPR_RULE)
        return b->g->nodes[node].min;
    struct rule *rules = grown(b->rules, &b->rules_cap, b->n_rules, 1, sizeof *rules);
    b->rules = rules ? rules : b->rules;
    uint32_t *finals = grown(b->finals, &b->finals_cap, b->n_rules, 1, sizeof *finals);
    b->finals = finals ? finals : b->finals;
    uint32_t *bodies = grown(b->bodies, &b->bodies_cap, b->n_rules, 1, sizeof *bodies);
    b->bodies = bodies ? bodies : b->bodies;
    if (!rules || !finals || !bodies) {
        b->no_memory = true;
        return 0;
    }
    uint32_t rule = (uint32_t)b->n_rules++;
    b->rules[rule] = (struct rule){.start = new_state(b)};
    b->finals[rule] = new_state(b);
    b->bodies[rule] = node;
    return rule;
}

static void compile(struct builder *b, uint32_t node, uint32_t from, uint32_t to);

static void compile_repeat(struct builder *b, const struct expr *e, uint32_t from, uint32_t to)
{
    enum expr_kind kind = b->g->nodes[e->first].kind;
    bool unlimited = e->max == EXPR_UNLIMITED;
    if (unlimited && e->min <= 1) {
        uint32_t head = new_state(b), again = e->min ? new_state(b) : head;
        add_epsilon(b, from, head);
        compile(b, e->first, head, again);
        if (e->min)
            add_epsilon(b, again, head);
        add_epsilon(b, again, to);
    } else if (e->max == 0) {
        add_epsilon(b, from, to);
    } else if (e->max == 1) {
        compile(b, e->first, from, to);
        if (e->min == 0)
            add_epsilon(b, from, to);
    } else if ((kind == EXPR_CLASS || kind == EXPR_BYTES) && (unlimited ? e->min : e->max) <= UNROLL) {
        uint32_t at = from;
        for (uint32_t i = 0; i < (unlimited ? e->min : e->max); i++) {
            uint32_t next = new_state(b);
            if (i >= e->min)
                add_epsilon(b, at, to);
            compile(b, e->first, at, next);
            at = next;
        }
        if (unlimited)
            compile(b, e->first, at, at); /* at is reached only by reading the child */
        add_epsilon(b, at, to);
    } else {
        uint32_t state = new_state(b);
        struct loop *loops = grown(b->loops, &b->loops_cap, b->n_loops, 1, sizeof *loops);
        if (!loops) {
            b->no_memory = true;
            return;
        }
        b->loops = loops;
        uint32_t index = (uint32_t)b->n_loops++;
        uint32_t rule = rule_of(b, e->first);
        b->loops[index] = (struct loop){rule, e->min, e->max};
        add_epsilon(b, from, state);
        add_edge(b, state, (struct edge){.kind = EDGE_LOOP, .rule = index, .to = to});
    }
}

static int by_text(const void *a, const void *b)
{
    const struct sg_str *x = a, *y = b;
    int order = memcmp(x->data, y->data, MIN(x->len, y->len));
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

/* Literal alternatives as a tree of their bytes, so that a long list of choices is as cheap
 * as a short one. texts: (n), sorted here. */
static void compile_texts(struct builder *b, struct sg_str *texts, size_t n, uint32_t from, uint32_t to)
{
    size_t longest = 0, open = 0;
    for (size_t i = 0; i < n; i++)
        longest = MAX(longest, texts[i].len);
    uint32_t *path = malloc((longest + 1) * sizeof *path); /* states of the current text, from the root */
    if (!path) {
        b->no_memory = true;
        return;
    }
    qsort(texts, n, sizeof *texts, by_text);
    path[0] = from;
    for (size_t i = 0; i < n && !b->no_memory && !b->too_large; i++) {
        size_t keep = 0;
        while (i > 0 && keep < MIN(open, texts[i].len) && texts[i].data[keep] == texts[i - 1].data[keep])
            keep++;
        for (open = keep; open < texts[i].len; open++) {
            uint8_t c = (uint8_t)texts[i].data[open];
            path[open + 1] = new_state(b);
            add_bytes(b, path[open], c, c, path[open + 1]);
        }
        add_epsilon(b, path[open], to);
    }
    free(path);
}

static void compile_alternatives(struct builder *b, const struct expr *e, uint32_t from, uint32_t to)
{
    const struct exprs *g = b->g;
    struct sg_str *texts;
    size_t n = 0;
    for (uint32_t child = e->first; child; child = g->nodes[child].next)
        n += g->nodes[child].kind == EXPR_BYTES;
    texts = malloc((n + 1) * sizeof *texts);
    if (!texts) {
        b->no_memory = true;
        return;
    }
    n = 0;
    for (uint32_t child = e->first; child; child = g->nodes[child].next) {
        const struct expr *c = &g->nodes[child];
        if (c->kind == EXPR_BYTES)
            texts[n++] = (struct sg_str){c->last > c->first ? g->bytes.data + c->first : "", c->last - c->first};
        else
            compile(b, child, from, to);
    }
    compile_texts(b, texts, n, from, to);
    free(texts);
}

/* Adds states and edges so that from leads to `to` by reading what node matches. Edges are
 * added only to `from` and to new states, and nothing new leads back to `from`. */
static void compile(struct builder *b, uint32_t node, uint32_t from, uint32_t to)
{
    if (b->no_memory || b->too_large)
        return;
    const struct expr *e = &b->g->nodes[node];
    switch (e->kind) {
    case EXPR_EMPTY:
        add_epsilon(b, from, to);
        break;
    case EXPR_BYTES:
        for (uint32_t i = e->first; i < e->last; i++) {
            uint8_t c = (uint8_t)b->g->bytes.data[i];
            uint32_t next = i + 1 == e->last ? to : new_state(b);
            add_bytes(b, from, c, c, next);
            from = next;
        }
        if (e->first == e->last)
            add_epsilon(b, from, to);
        break;
    case EXPR_CLASS:
        add_class(b, from, b->g->ranges + e->first, e->last - e->first, to);
        break;
    case EXPR_SEQ:
        for (uint32_t child = e->first; child; child = b->g->nodes[child].next) {
            uint32_t next = b->g->nodes[child].next ? new_state(b) : to;
            compile(b, child, from, next);
            from = next;
        }
        if (!e->first)
            add_epsilon(b, from, to);
        break;
    case EXPR_ALT:
        compile_alternatives(b, e, from, to);
        break;
    case EXPR_REPEAT:
        compile_repeat(b, e, from, to);
        break;
    case EXPR_RULE:
        add_edge(b, from, (struct edge){.kind = EDGE_CALL, .rule = e->min, .to = to});
        break;
    }
}

/* ------------------------------------------------------------ what is useful */

/* Edges by their target and by the rule they need, for walking backwards. */
struct reverse {
    uint32_t *by_target, *target_begin; /* edge numbers; (n_states + 1) */
    uint32_t *by_rule, *rule_begin;     /* (n_rules + 1) */
};

static void reverse_free(struct reverse *r)
{
    free(r->by_target);
    free(r->target_begin);
    free(r->by_rule);
    free(r->rule_begin);
}

static bool needs_rule(const struct builder *b, const struct edge *e, uint32_t *rule)
{
    if (e->kind == EDGE_CALL)
        *rule = e->rule;
    else if (e->kind == EDGE_LOOP)
        *rule = b->loops[e->rule].rule;
    else
        return false;
    return true;
}

/* Counts into begin[1..], sums up, and places: begin[k] is then the first of bucket k. */
static bool reverse_build(const struct builder *b, struct reverse *r)
{
    *r = (struct reverse){
        .by_target = malloc(sizeof(uint32_t) * (b->n_edges + 1)),
        .target_begin = calloc((size_t)b->n_states + 2, sizeof(uint32_t)),
        .by_rule = malloc(sizeof(uint32_t) * (b->n_edges + 1)),
        .rule_begin = calloc(b->n_rules + 2, sizeof(uint32_t)),
    };
    if (!r->by_target || !r->target_begin || !r->by_rule || !r->rule_begin)
        return false;
    uint32_t rule;
    for (size_t i = 0; i < b->n_edges; i++) {
        r->target_begin[b->edges[i].edge.to + 2]++;
        if (needs_rule(b, &b->edges[i].edge, &rule))
            r->rule_begin[rule + 2]++;
    }
    for (size_t i = 2; i < (size_t)b->n_states + 2; i++)
        r->target_begin[i] += r->target_begin[i - 1];
    for (size_t i = 2; i < b->n_rules + 2; i++)
        r->rule_begin[i] += r->rule_begin[i - 1];
    for (size_t i = 0; i < b->n_edges; i++) {
        r->by_target[r->target_begin[b->edges[i].edge.to + 1]++] = (uint32_t)i;
        if (needs_rule(b, &b->edges[i].edge, &rule))
            r->by_rule[r->rule_begin[rule + 1]++] = (uint32_t)i;
    }
    return true;
}

/* Marks the states that can reach the end of their rule, and the rules whose start can:
 * with bytes, what is productive; without, what matches the empty string. */
static bool reach_end(const struct builder *b, const struct reverse *r, bool with_bytes, bool *state_ok, bool *rule_ok)
{
    uint32_t *stack = malloc(sizeof(uint32_t) * ((size_t)b->n_states + 1));
    uint32_t *rule_at = malloc(sizeof(uint32_t) * ((size_t)b->n_states + 1)); /* whose start a state is */
    if (!stack || !rule_at) {
        free(stack);
        free(rule_at);
        return false;
    }
    memset(rule_at, 0xFF, sizeof(uint32_t) * b->n_states);
    size_t n = 0;
    for (size_t i = 0; i < b->n_rules; i++) {
        rule_at[b->rules[i].start] = (uint32_t)i;
        state_ok[b->finals[i]] = true;
        stack[n++] = b->finals[i];
    }
    while (n) {
        uint32_t s = stack[--n], rule = rule_at[s];
        const uint32_t *lists[2] = {r->by_target + r->target_begin[s]};
        size_t lengths[2] = {r->target_begin[s + 1] - r->target_begin[s]};
        if (rule != UINT32_MAX) {
            rule_ok[rule] = true;
            lists[1] = r->by_rule + r->rule_begin[rule];
            lengths[1] = r->rule_begin[rule + 1] - r->rule_begin[rule];
        }
        for (size_t k = 0; k < 2; k++) {
            for (size_t i = 0; i < lengths[k]; i++) {
                const struct draft *d = &b->edges[lists[k][i]];
                if (state_ok[d->from] || !state_ok[d->edge.to])
                    continue;
                uint32_t needed;
                bool optional = d->edge.kind == EDGE_LOOP && b->loops[d->edge.rule].min == 0;
                if (d->edge.kind == EDGE_BYTES && !with_bytes)
                    continue;
                if (needs_rule(b, &d->edge, &needed) && !rule_ok[needed] && !optional)
                    continue;
                state_ok[d->from] = true;
                stack[n++] = d->from;
            }
        }
    }
    free(stack);
    free(rule_at);
    return true;
}

/* Drops edges that lead nowhere; a loop whose rule matches nothing is passed by. */
static void drop_useless(struct builder *b, const bool *state_ok, const bool *rule_ok)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_edges; i++) {
        struct draft d = b->edges[i];
        uint32_t rule;
        if (!state_ok[d.from] || !state_ok[d.edge.to])
            continue;
        if (needs_rule(b, &d.edge, &rule) && !rule_ok[rule]) {
            if (d.edge.kind == EDGE_CALL)
                continue;
            d.edge.kind = EDGE_EPSILON;
        }
        b->edges[n++] = d;
    }
    b->n_edges = n;
}

/* A state whose only edge is an epsilon is replaced by what it leads to: shorter walks, and
 * a call before the end of a rule is seen to be its last act. */
static bool skip_epsilons(struct builder *b)
{
    uint32_t *skip = malloc(sizeof(uint32_t) * ((size_t)b->n_states + 1));
    uint32_t *degree = calloc((size_t)b->n_states + 1, sizeof(uint32_t));
    if (skip && degree) {
        for (uint32_t s = 0; s < b->n_states; s++)
            skip[s] = s;
        for (size_t i = 0; i < b->n_edges; i++) {
            if (degree[b->edges[i].from]++ == 0 && b->edges[i].edge.kind == EDGE_EPSILON)
                skip[b->edges[i].from] = b->edges[i].edge.to;
        }
        for (uint32_t s = 0; s < b->n_states; s++) {
            if (degree[s] != 1)
                skip[s] = s;
        }
        for (uint32_t s = 0; s < b->n_states; s++) {
            uint32_t to = s; /* a ring of epsilons reaches no end: drop_useless opened it */
            while (skip[to] != to)
                to = skip[to];
            for (uint32_t at = s, next; at != to; at = next) {
                next = skip[at];
                skip[at] = to;
            }
        }
        for (size_t i = 0; i < b->n_edges; i++)
            b->edges[i].edge.to = skip[b->edges[i].edge.to];
        for (size_t i = 0; i < b->n_rules; i++)
            b->rules[i].start = skip[b->rules[i].start];
    }
    bool ok = skip && degree;
    free(skip);
    free(degree);
    return ok;
}

/* Sorts the edges by origin into a. */
static bool place(struct automaton *a, const struct builder *b)
{
    a->n_states = b->n_states;
    a->n_edges = b->n_edges;
    a->states = calloc(a->n_states + 2, sizeof *a->states);
    a->edges = malloc(sizeof *a->edges * (a->n_edges + 1));
    if (!a->states || !a->edges)
        return false;
    for (size_t i = 0; i < b->n_edges; i++)
        a->states[b->edges[i].from + 2].first_edge++;
    for (size_t s = 2; s < a->n_states + 2; s++)
        a->states[s].first_edge += a->states[s - 1].first_edge;
    for (size_t i = 0; i < b->n_edges; i++)
        a->edges[a->states[b->edges[i].from + 1].first_edge++] = b->edges[i].edge;
    for (size_t i = 0; i < b->n_rules; i++)
        a->states[b->finals[i]].final = true;
    return true;
}

/* ---------------------------------------------------------------- left calls */

/* Calls that a rule can make before it has read a byte, as lists of rules. */
struct left_calls {
    uint32_t *callees, *begin; /* (n_rules + 1) */
    size_t n, cap;
};

static bool find_left_calls(const struct automaton *a, struct left_calls *calls)
{
    uint32_t *seen = malloc(sizeof(uint32_t) * (a->n_states + 1)); /* by which rule, last */
    uint32_t *stack = malloc(sizeof(uint32_t) * (a->n_states + 1));
    calls->begin = malloc(sizeof(uint32_t) * (a->n_rules + 1));
    bool ok = seen && stack && calls->begin;
    if (ok)
        memset(seen, 0xFF, sizeof(uint32_t) * (a->n_states + 1));
    for (uint32_t rule = 0; ok && rule < a->n_rules; rule++) {
        size_t n = 0;
        calls->begin[rule] = (uint32_t)calls->n;
        stack[n++] = a->rules[rule].start;
        seen[a->rules[rule].start] = rule;
        while (n && ok) {
            uint32_t s = stack[--n];
            for (size_t i = a->states[s].first_edge; i < a->states[s + 1].first_edge; i++) {
                const struct edge *e = &a->edges[i];
                bool passes = e->kind == EDGE_EPSILON;
                if (e->kind == EDGE_CALL || e->kind == EDGE_LOOP) {
                    const struct loop *loop = e->kind == EDGE_LOOP ? &a->loops[e->rule] : NULL;
                    uint32_t callee = loop ? loop->rule : e->rule;
                    uint32_t *callees = grown(calls->callees, &calls->cap, calls->n, 1, sizeof *callees);
                    if (!callees) {
                        ok = false;
                        break;
                    }
                    calls->callees = callees;
                    calls->callees[calls->n++] = callee;
                    passes = loop ? loop->min == 0 : a->rules[callee].nullable;
                }
                if (passes && seen[e->to] != rule) {
                    seen[e->to] = rule;
                    stack[n++] = e->to;
                }
            }
        }
    }
    if (ok)
        calls->begin[a->n_rules] = (uint32_t)calls->n;
    free(seen);
    free(stack);
    return ok;
}

/* Numbers the rules so that a left call goes from a lower to a higher rank, by Kahn's
 * method. Returns a rule on a circle, or a->n_rules if there is none. */
static size_t rank_rules(struct automaton *a, const struct left_calls *calls, uint32_t *n_callers, uint32_t *queue)
{
    for (size_t i = 0; i < calls->n; i++)
        n_callers[calls->callees[i]]++;
    size_t head = 0, n = 0;
    for (size_t i = 0; i < a->n_rules; i++) {
        if (n_callers[i] == 0)
            queue[n++] = (uint32_t)i;
    }
    while (head < n) {
        uint32_t rule = queue[head];
        a->rules[rule].rank = (uint32_t)head++;
        for (size_t i = calls->begin[rule]; i < calls->begin[rule + 1]; i++) {
            if (--n_callers[calls->callees[i]] == 0)
                queue[n++] = calls->callees[i];
        }
    }
    if (n == a->n_rules)
        return n;
    /* What is left has a caller that is left: going back often enough ends on a circle. */
    size_t at = a->n_rules;
    uint32_t *caller = queue;
    for (uint32_t rule = 0; rule < a->n_rules; rule++) {
        if (n_callers[rule] == 0)
            continue;
        for (size_t i = calls->begin[rule]; i < calls->begin[rule + 1]; i++)
            caller[calls->callees[i]] = rule;
        at = rule;
    }
    for (size_t i = 0; i < a->n_rules; i++)
        at = caller[at];
    return at;
}

static enum sg_status refuse_left_recursion(struct automaton *a, const struct exprs *g, struct sg_error *err)
{
    struct left_calls calls = {0};
    uint32_t *n_callers = calloc(a->n_rules + 1, sizeof *n_callers), *queue = malloc(sizeof *queue * (a->n_rules + 1));
    enum sg_status status = SG_OK;
    if (!n_callers || !queue || !find_left_calls(a, &calls)) {
        status = fail(err, SG_NO_MEMORY, "out of memory for the grammar");
    } else {
        size_t rule = rank_rules(a, &calls, n_callers, queue);
        if (rule < a->n_rules && rule < g->n_rules && g->rules[rule].name) {
            const char *name = g->names.data + g->rules[rule].name;
            char shown[ESCAPED_MAX];
            status =
                fail(err, SG_USAGE, "the grammar is left-recursive: rule %s can begin with itself", escaped(shown, name, strlen(name)));
        } else if (rule < a->n_rules) {
            status = fail(err, SG_USAGE, "the grammar is left-recursive: a rule can begin with itself");
        }
    }
    free(calls.callees);
    free(calls.begin);
    free(n_callers);
    free(queue);
    return status;
}

/* -------------------------------------------------------------------- whole */

static void find_classes(struct automaton *a)
{
    bool starts[257] = {true};
    for (size_t i = 0; i < a->n_edges; i++) {
        if (a->edges[i].kind == EDGE_BYTES) {
            starts[a->edges[i].lo] = true;
            starts[a->edges[i].hi + 1] = true;
        }
    }
    for (size_t c = 0; c < 256; c++) {
        if (starts[c])
            a->class_byte[a->n_classes++] = (uint8_t)c;
        a->class_of[c] = (uint8_t)(a->n_classes - 1);
    }
}

static bool compile_all(struct builder *b, const struct exprs *g)
{
    b->n_rules = g->n_rules;
    b->rules = calloc(g->n_rules, sizeof *b->rules);
    b->finals = calloc(g->n_rules, sizeof *b->finals);
    b->bodies = calloc(g->n_rules, sizeof *b->bodies);
    b->rules_cap = b->finals_cap = b->bodies_cap = g->n_rules;
    if (!b->rules || !b->finals || !b->bodies)
        return false;
    new_state(b); /* 0 is no state: see tail() */
    for (size_t i = 0; i < g->n_rules; i++) {
        b->rules[i].start = new_state(b);
        b->finals[i] = new_state(b);
        b->bodies[i] = g->rules[i].body;
    }
    for (size_t i = 0; i < b->n_rules && !b->no_memory && !b->too_large; i++) { /* n_rules grows */
        if (b->bodies[i])
            compile(b, b->bodies[i], b->rules[i].start, b->finals[i]);
    }
    return !b->no_memory;
}

static enum sg_status build(struct automaton *a, struct builder *b, struct reverse *r, bool **marks, struct sg_error *err)
{
    if (!compile_all(b, b->g))
        return fail(err, SG_NO_MEMORY, "out of memory for the grammar");
    if (b->too_large)
        return fail(err, SG_USAGE, "the grammar is too large: it needs more than %d states", MAX_STATES);
    bool *state_ok = marks[0] = calloc((size_t)b->n_states + 1, 1), *rule_ok = marks[1] = calloc(b->n_rules, 1);
    bool *state_empty = marks[2] = calloc((size_t)b->n_states + 1, 1), *rule_empty = marks[3] = calloc(b->n_rules, 1);
    if (!state_ok || !rule_ok || !state_empty || !rule_empty || !reverse_build(b, r) || !reach_end(b, r, true, state_ok, rule_ok) ||
        !reach_end(b, r, false, state_empty, rule_empty))
        return fail(err, SG_NO_MEMORY, "out of memory for the grammar");
    if (!rule_ok[a->root])
        return fail(err, SG_USAGE, "the grammar matches nothing");
    drop_useless(b, state_ok, rule_ok);
    for (size_t i = 0; i < b->n_rules; i++)
        b->rules[i].nullable = rule_empty[i];
    for (size_t i = 0; i < b->n_loops; i++) {
        if (rule_empty[b->loops[i].rule])
            b->loops[i].min = 0;
    }
    if (!skip_epsilons(b) || !place(a, b))
        return fail(err, SG_NO_MEMORY, "out of memory for the grammar");
    a->rules = b->rules;
    a->n_rules = b->n_rules;
    a->loops = b->loops;
    a->n_loops = b->n_loops;
    b->rules = NULL;
    b->loops = NULL;
    find_classes(a);
    return refuse_left_recursion(a, b->g, err);
}

enum sg_status automaton_build(struct automaton *a, const struct exprs *g, uint32_t root, struct sg_error *err)
{
    *a = (struct automaton){.root = root};
    TRY(exprs_status(g, err));
    struct builder b = {.g = g};
    struct reverse r = {0};
    bool *marks[4] = {0};
    enum sg_status status = build(a, &b, &r, marks, err);
    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        free(marks[i]);
    reverse_free(&r);
    free(b.edges);
    free(b.loops);
    free(b.rules);
    free(b.finals);
    free(b.bodies);
    return status;
}

void automaton_free(struct automaton *a)
{
    free(a->states);
    free(a->edges);
    free(a->loops);
    free(a->rules);
    *a = (struct automaton){0};
}
