/* dry.h: finds the tokens that would prolong a repetition ("don't repeat yourself",
 * by p-e-w; definition: llama.cpp's). Layer: model. */
#ifndef SIGNUM_DRY_H
#define SIGNUM_DRY_H

#include "error.h"
#include "tokenizer.h"

struct dry;

/* last_n: how far to look back, SIZE_MAX: everything (up to DRY_MAX tokens). allowed: shorter
 * repetitions do not matter. breakers: texts across which nothing counts as repeated. t may
 * be NULL: no breakers. dry_close is safe after failure. */
enum {
    DRY_MAX = 1 << 22
};
enum sg_status dry_open(struct dry **out, size_t last_n, size_t allowed, const struct sg_str *breakers, size_t n_breakers, size_t n_vocab,
                        const struct tokenizer *t, struct sg_error *err);
void dry_close(struct dry *d); /* NULL is fine */

void dry_accept(struct dry *d, int32_t id);

/* Looks for repetitions that end here. *ids: the tokens that followed one before, each once;
 * returns how many. */
size_t dry_find(struct dry *d, const int32_t **ids);

/* After dry_find: the length of the longest repetition that id would prolong; false: none. */
bool dry_length(const struct dry *d, int32_t id, size_t *length);

#endif
