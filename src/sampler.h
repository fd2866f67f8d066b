/* sampler.h: from logits to a token. Definitions: llama.cpp's (see signum.h); numbers:
 * candidates ordered by logit descending then id, probabilities and running sums in
 * double in that order, random numbers counter-based: u = f(seed, position, attempt).
 * Layer: model. */
#ifndef SIGNUM_SAMPLER_H
#define SIGNUM_SAMPLER_H

#include "buf.h"
#include "error.h"
#include "kernels/kernels.h"
#include "tokenizer.h"

struct sampler;

/* params is copied, arrays included. t is for DRY's breakers and may be NULL. */
enum sg_status sampler_open(struct sampler **out, const struct sg_sampling *params, uint32_t attempt, size_t n_vocab,
                            const struct tokenizer *t, const struct kernels *k, struct sg_error *err);
void sampler_close(struct sampler *s); /* NULL is fine */

/* Records a token that precedes the next one (prompt and answer alike). */
void sampler_accept(struct sampler *s, int32_t id);

/* Chooses the token for `position` (the number of tokens before it). allowed: n_vocab bits
 * or NULL. -1: nothing may be chosen (all masked), -2: a logit is NaN or infinite.
 * Allocates nothing. */
int32_t sampler_choose(struct sampler *s, const float *logits, size_t position, const uint32_t *allowed);

/* Uniform in [0, 1), 53 bits. */
double sampler_uniform(uint64_t seed, uint64_t position, uint32_t attempt, uint32_t stream);

#endif
