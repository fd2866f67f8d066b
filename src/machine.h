/* machine.h: runs an automaton on bytes. Layer: model.
 *
 * Where a text has led is a set of configurations: a state, and a stack of the calls it is
 * in. Stacks share their lower parts, and all calls of one rule at one place in the text
 * are one node (a "graph-structured stack"), so ambiguity costs little. Nodes and sets are
 * interned: equal ones have the same number, and what a byte does to a set is computed once
 * and remembered. For a regular grammar this grows into its deterministic automaton.
 *
 * A call that is the last act of its rule pushes nothing, so lists written by recursion
 * come back to the same set instead of growing a stack. */
#ifndef SIGNUM_MACHINE_H
#define SIGNUM_MACHINE_H

#include "automaton.h"

enum {
    NODE_BOTTOM = 0, /* below it the text is complete */
    NODE_TOP = 1,    /* stands for an unknown rest of a stack */
    SET_DEAD = 0,
};
#define SET_UNKNOWN UINT32_MAX

/* A stack node: where to go on when the rule on top of it ends. */
struct frame {
    uint32_t ret;    /* state, or n_states: the end of everything, n_states + 1: into the unknown */
    uint32_t count;  /* if ret is a loop's state: how often its rule was read by then */
    uint32_t parent; /* node */
};
struct node {
    uint32_t first, n; /* frames, ascending */
    uint32_t shape;    /* the node that is as good as this one for the length of a token */
    uint32_t next;     /* in the hash chain */
};

/* Configurations are (node << 32 | state), ascending; only states that can read a byte. */
struct set {
    uint32_t first, n;
    uint32_t shape; /* likewise; SET_UNKNOWN: not computed yet */
    uint32_t next;
    int32_t mask; /* slot of its token mask, -1: none (matcher.c) */
    bool accept;  /* the text is complete */
    bool escapes; /* NODE_TOP was popped */
};

struct machine {
    const struct automaton *a;
    uint32_t reach; /* no more repetitions than this fit in a token: see shapes */
    struct node *nodes;
    struct frame *frames;
    struct set *sets;
    uint64_t *configs;
    uint32_t *steps; /* (n_sets, n_classes): the next set */
    size_t n_nodes, nodes_cap, n_frames, frames_cap, n_sets, sets_cap, n_configs, configs_cap, n_steps, steps_cap;
    uint32_t *node_heads, *set_heads; /* hash tables */
    size_t node_buckets, set_buckets;
    uint32_t start; /* the set before any byte */
    struct closure *closure;
    uint64_t work, budget; /* elementary steps since the caller set work to 0, and how many are allowed */
    bool failed;           /* out of memory, or over budget: results since then mean nothing */
};

/* a must stay. reach: the length of the longest token. NULL: out of memory. */
struct machine *machine_open(const struct automaton *a, size_t reach);
void machine_close(struct machine *m); /* NULL is fine */

size_t machine_bytes(const struct machine *m); /* memory in use */

/* The set before any byte, and the set after one more byte of some class. */
uint32_t machine_start(struct machine *m);
uint32_t machine_compute(struct machine *m, uint32_t set, size_t byte_class);
static inline uint32_t machine_step(struct machine *m, uint32_t set, size_t byte_class)
{
    uint32_t to = m->steps[set * m->a->n_classes + byte_class];
    return to == SET_UNKNOWN ? machine_compute(m, set, byte_class) : to;
}

/* A set that allows the same tokens. Distances of a count from its limits that no token can
 * bridge are made equal, so that a long bounded string does not differ at every character. */
uint32_t machine_shape(struct machine *m, uint32_t set);

/* Looks for the one node through which all stacks of a set go. If there is one other than the
 * bottom: true, *local is the set with the rest below that node unknown, and *below the
 * set that follows when the node is popped. */
bool machine_split(struct machine *m, uint32_t set, uint32_t *local, uint32_t *below);

/* Forgets everything but the given sets, whose numbers are changed in place. False: out of
 * memory, and nothing has changed. */
bool machine_collect(struct machine *m, uint32_t *const *keep, size_t n_keep);

#endif
