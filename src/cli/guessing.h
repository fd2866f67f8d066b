/* guessing.h: speculation in a batch: which sequences check how many guesses in the next
 * step. Layer: cli.
 *
 * A step of B sequences gives B tokens. A guess adds a row to it, and a token with the chance
 * that it and those before it are right; so it pays when that chance is above what a further
 * row costs, as a share of what a token of the step costs. Alone a further row is cheap
 * (0.4 with nibble tables), among 16 others it costs nearly what they do (0.91): guessing
 * ends by itself where the batch is large. The price is measured while it runs. */
#ifndef SIGNUM_GUESSING_H
#define SIGNUM_GUESSING_H

#include "sequence.h"

enum {
    GUESS_ROWS = 32,   /* rows of sequences with guesses in one step, at most */
    GUESS_CLASSES = 8, /* of batch sizes, that share a price: 1, 2, 3..4, 5..8 ... */
};

struct guessing {
    size_t n_vocab;
    struct sg_draft **drafts; /* (n_free) that no sequence has */
    size_t n_free;
    float *rows;                 /* (GUESS_ROWS, n_vocab) */
    double *seconds;             /* (n_parallel + 1) of a step of so many sequences without guesses; 0: not known */
    double price[GUESS_CLASSES]; /* of a further row: share of a token's */
    size_t since_plain;          /* steps with guesses since the last one without */
};

enum sg_status guessing_open(struct guessing *g, const struct sg_engine *engine, size_t n_parallel, size_t n_ctx, struct sg_error *err);
void guessing_close(struct guessing *g); /* after guessing_leave of all sequences */

/* Gives a sequence that begins a draft, and takes it back. */
void guessing_join(struct guessing *g, struct sequence *s);
void guessing_leave(struct guessing *g, struct sequence *s);

/* Gives the answering ones among n sequences their guesses for the next step. */
void guessing_propose(struct guessing *g, struct sequence *sequences, size_t n);

/* What a step of n answering sequences (and nothing else) with so many guesses took. */
void guessing_timing(struct guessing *g, size_t n, size_t n_guesses, double seconds);

#endif
