/* attention.h: grouped-query attention over KV tiles with an online softmax, split only
 * at absolute multiples of ATTN_SPAN. Layer: model. */
#ifndef SIGNUM_ATTENTION_H
#define SIGNUM_ATTENTION_H

#include "forward.h"

/* out (n, n_heads*head_dim) = attention of q (same shape, already normed and rotated) for
 * rows 0..n over their sessions' positions 0..pos, layer `layer`. */
void attention_run(struct forward *f, const struct row *rows, size_t n, size_t layer, const float *q, float *out);

/* Scratch in floats: per worker, and partials shared by all. */
size_t attention_worker_floats(const struct model *m);
size_t attention_partial_floats(const struct model *m);

#endif
