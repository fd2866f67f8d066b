/* expr.h: grammars as trees. Every way of saying what an answer may look like (regular
 * expression, GBNF, JSON schema, list of choices) is read into this form, and
 * automaton.c turns it into states. Layer: model.
 *
 * Nodes are numbers, so that a tree of any size is a few arrays. 0 is "no node" and what
 * every function returns once something has failed: build freely, look at `failure` at the end. */
#ifndef SIGNUM_EXPR_H
#define SIGNUM_EXPR_H

#include "buf.h"
#include "error.h"

/* A set of Unicode scalar values: ascending, disjoint ranges after charset_finish. */
struct range {
    uint32_t lo, hi;
};
struct charset {
    struct range *ranges;
    size_t n, cap;
    bool failed; /* out of memory */
};

void charset_add(struct charset *s, uint32_t lo, uint32_t hi);
void charset_add_all(struct charset *s, const struct charset *other);
/* Sorts and joins; leaves out surrogates and what is above U+10FFFF. */
void charset_finish(struct charset *s);
/* The complement; s must be finished and stays so. */
void charset_negate(struct charset *s);
bool charset_has(const struct charset *s, uint32_t c);
void charset_free(struct charset *s);

enum expr_kind {
    EXPR_EMPTY,  /* the empty string */
    EXPR_BYTES,  /* literal text, whole UTF-8 characters */
    EXPR_CLASS,  /* one character out of a set; an empty set matches nothing */
    EXPR_SEQ,    /* children one after the other; none: the empty string */
    EXPR_ALT,    /* one of the children; none: nothing matches */
    EXPR_REPEAT, /* the child min to max times */
    EXPR_RULE,   /* a rule by its number */
};

#define EXPR_UNLIMITED UINT32_MAX

struct expr {
    enum expr_kind kind;
    uint32_t first, last; /* children; EXPR_BYTES and EXPR_CLASS: begin and end of the text or ranges */
    uint32_t next;        /* sibling */
    uint32_t min, max;    /* EXPR_REPEAT; EXPR_RULE: min is the rule */
};

struct expr_rule {
    uint32_t body; /* 0: not defined yet */
    uint32_t name; /* offset in names of a NUL-terminated text, for messages; 0: none */
};

enum {
    EXPR_MAX_NODES = 2000000,
    EXPR_MAX_RULES = 400000,
    EXPR_MAX_BYTES = 64 << 20,
    EXPR_MAX_DEPTH = 256, /* of brackets and of schemas inside each other */
};

struct exprs {
    struct expr *nodes;
    size_t n_nodes, nodes_cap;
    struct expr_rule *rules;
    size_t n_rules, rules_cap;
    struct range *ranges;
    size_t n_ranges, ranges_cap;
    struct buf bytes, names;
    enum {
        EXPRS_OK,
        EXPRS_NO_MEMORY,
        EXPRS_TOO_LARGE
    } failure;
};

void exprs_free(struct exprs *g);
/* SG_OK, or the sentence for g->failure. */
enum sg_status exprs_status(const struct exprs *g, struct sg_error *err);

uint32_t expr_empty(struct exprs *g);
uint32_t expr_bytes(struct exprs *g, const char *text, size_t len);
uint32_t expr_text(struct exprs *g, const char *text);
uint32_t expr_class(struct exprs *g, const struct charset *s); /* finished; copied */
uint32_t expr_range(struct exprs *g, uint32_t lo, uint32_t hi);
uint32_t expr_seq(struct exprs *g);
uint32_t expr_alt(struct exprs *g);
/* Appends a child to a sequence or alternative and returns that parent. A node has one parent. */
uint32_t expr_add(struct exprs *g, uint32_t parent, uint32_t child);
uint32_t expr_repeat(struct exprs *g, uint32_t child, uint32_t min, uint32_t max);
uint32_t expr_optional(struct exprs *g, uint32_t child);

/* A rule may be mentioned before it is defined. name (may be NULL) is for messages. */
uint32_t rule_new(struct exprs *g, const char *name, size_t len);
void rule_define(struct exprs *g, uint32_t rule, uint32_t body);
uint32_t expr_rule(struct exprs *g, uint32_t rule);

#endif
