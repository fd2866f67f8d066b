/* forward.h: the Qwen3 forward pass over rows. Prefill is many rows of one session, chat
 * is one row, batch is one row per live session: one path. Layer: model. */
#ifndef SIGNUM_FORWARD_H
#define SIGNUM_FORWARD_H

#include "kv.h"
#include "model.h"

struct row {
    int32_t token;
    uint32_t pos;
    struct kv_block *const *blocks; /* of its session, enough for pos */
    uint32_t sequence;              /* rows of one session are adjacent and ascending, and share this number */
    bool want_logits;
};

struct forward {
    const struct model *model;
    struct kv_pool *kv;
    struct matmul mm;
    size_t max_rows, max_logit_rows;
    const volatile sig_atomic_t *interrupt;
    double *freq; /* (head_dim / 2) rotary frequencies, YaRN applied */
    double mscale;
    /* scratch, (max_rows, ...) */
    float *x, *h, *q, *k, *v, *attn, *gate, *up, *cos, *sin;
    float *partial; /* attention partials of decode */
    size_t max_partials;
    float *worker; /* attention scratch per thread */
    size_t worker_floats;
    float *logits;             /* (max_logit_rows, n_vocab) */
    struct sg_profile profile; /* where the time went since it was last reset */
    uint64_t lap;              /* when the last part ended, in nanoseconds */
};

/* Carves all scratch; measuring first. model, kv, mm's own settings and max_rows must be set. */
void forward_layout(struct forward *f, struct arena *a);

/* After layout with memory: fills in the rotary frequencies. */
void forward_init(struct forward *f);

/* Evaluates rows (n <= max_rows) and stores their keys and values. on_logits is called for
 * every row that wants logits, in order. Errors: SG_FAIL (non-finite numbers), SG_INTERRUPTED. */
typedef void forward_logits_fn(void *arg, size_t row, const float *logits);
enum sg_status forward_run(struct forward *f, const struct row *rows, size_t n, forward_logits_fn *on_logits, void *arg,
                           struct sg_error *err);

#endif
