/* automaton.h: a grammar as states over bytes: one small nondeterministic automaton per
 * rule, joined by calls. matcher.c runs it. Layer: model.
 *
 * What is left after automaton_build is useful and harmless: every state can reach the end
 * of its rule, no rule can call itself before a byte was read, UTF-8 is spelled out. */
#ifndef SIGNUM_AUTOMATON_H
#define SIGNUM_AUTOMATON_H

#include "error.h"
#include "expr.h"

enum edge_kind {
    EDGE_BYTES,   /* reads one byte lo..hi */
    EDGE_EPSILON, /* reads nothing */
    EDGE_CALL,    /* reads what a rule matches */
    EDGE_LOOP,    /* reads a rule min..max times; the only edge of its state */
};

struct edge {
    uint32_t to;
    uint32_t rule; /* EDGE_CALL; EDGE_LOOP: index into loops */
    uint8_t kind, lo, hi;
};

struct state {
    uint32_t first_edge; /* up to the next state's */
    bool final;          /* end of its rule; has no edges */
};

struct loop {
    uint32_t rule, min, max; /* min is 0 when the rule matches the empty string */
};

struct rule {
    uint32_t start;
    uint32_t rank; /* a rule that another can call before any byte ranks higher than that one */
    bool nullable; /* matches the empty string */
};

struct automaton {
    struct state *states; /* (n_states + 1) */
    struct edge *edges;
    struct loop *loops;
    struct rule *rules;
    size_t n_states, n_edges, n_loops, n_rules;
    uint32_t root; /* rule */
    /* Bytes that no edge tells apart are one class. */
    uint8_t class_of[256];
    uint8_t class_byte[256]; /* one byte of each class */
    size_t n_classes;
};

/* Errors: SG_USAGE (left recursion, matches nothing, too large), SG_NO_MEMORY. automaton_free
 * is safe after failure. */
enum sg_status automaton_build(struct automaton *a, const struct exprs *g, uint32_t root, struct sg_error *err);
void automaton_free(struct automaton *a);

#endif
