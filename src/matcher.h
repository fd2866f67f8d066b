/* matcher.h: which tokens may follow. One matching holds what all answers under one grammar
 * share (the machine and its masks), a matcher is the place that one answer has reached.
 * A matching and its matchers belong to one thread at a time. Layer: model. */
#ifndef SIGNUM_MATCHER_H
#define SIGNUM_MATCHER_H

#include "machine.h"
#include "trie.h"

struct matching;

struct matcher {
    struct matching *matching;
    struct matcher *next, *previous;
    uint32_t set;
    char last;   /* byte of the text; 0: none yet */
    bool ended;  /* an end-of-turn token was accepted */
    bool failed; /* out of memory, or the grammar is too ambiguous to be followed */
};

/* a and t must stay. */
enum sg_status matching_open(struct matching **out, const struct automaton *a, const struct trie *t, struct sg_error *err);
void matching_close(struct matching *g); /* after all its matchers; NULL is fine */
size_t matching_bytes(const struct matching *g);

void matcher_start(struct matcher *m, struct matching *g);
void matcher_stop(struct matcher *m);

/* Clears the bits of tokens that may not follow; a token that ends the turn may when the text
 * is complete. False: nothing may follow, be it that the text is complete or that it
 * failed (see matcher_complete). */
bool matcher_mask(struct matcher *m, uint32_t *bits);
void matcher_accept(struct matcher *m, int32_t id);
/* Text that was not chosen token by token. */
void matcher_read(struct matcher *m, const char *text, size_t len);

/* Guesses what will follow, as far as the grammar leaves little choice, say the next key of an
 * object: at most max bytes into text; returns how many. Where white space may be or not be, one
 * space is expected after a colon or a comma and none elsewhere. */
size_t matcher_expect(struct matcher *m, char *text, size_t max);

/* Some text that may follow (be it none) makes it satisfy the grammar. */
bool matcher_alive(const struct matcher *m);
/* The text so far satisfies the grammar. */
bool matcher_complete(const struct matcher *m);

#endif
