/* matmul.h: weights times activations for any weight type and any number of
 * tokens, on all threads. Decides which kernel family runs. Layer: compute. */
#ifndef SIGNUM_MATMUL_H
#define SIGNUM_MATMUL_H

#include <stdatomic.h>

#include "arena.h"
#include "kernels/kernels.h"
#include "pool.h"
#include "signum.h"

struct tensor {
    enum quant_type type;
    size_t rows, cols; /* y = W x: x has cols elements, y has rows */
    size_t row_bytes;  /* of QUANT_Q1_0_R64: on average */
    const uint8_t *data;
};

/* The weights of one row as floats. */
void tensor_row(float *dst, const struct tensor *t, size_t row);

struct matmul {
    const struct kernels *kernels;
    struct pool *pool;
    enum sg_act act;
    enum sg_matmul family;
    size_t max_cols, max_tokens;
    /* scratch: the current input in the forms that its weights need */
    const float *x;  /* (tokens, cols), the caller's */
    const float *up; /* NULL, or the input is silu(x) * up */
    float *product;  /* where that goes, if some weight wants floats; else NULL */
    size_t tokens, cols;
    int8_t *q;    /* (tokens, cols), or of wide activations (tokens, WIDE_PLANES, cols) */
    float *scale; /* (tokens, cols / 128) */
    void *packed;
    const struct q1_family *q1; /* NULL: no weight wants a packed input */
    size_t chunk;               /* tokens that are packed together */
    size_t span, span0;         /* tokens whose packed forms are there at a time, and the first of them */
    bool own_packed;            /* every thread packs for itself, when matmul_run begins */
    bool by_blocks;             /* q1 reads QUANT_Q1_0_R64 as it is */
    uint8_t *unpacked;          /* (threads, 64 rows of max_cols): else here, as Q1_0 */
    float *rows;                /* (threads, max_cols): a dequantized row per worker */
    int8_t *codes;              /* (threads, max_cols) */
    float *code_scales;
    atomic_bool *finite; /* whether all of the input is */
    atomic_bool *begun;  /* (threads) whether somebody has the unit that this worker begins with */
};

/* Carves the scratch for inputs up to max_tokens x max_cols. Call with a measuring
 * arena first. Everything but the scratch must be set. */
void matmul_layout(struct matmul *m, struct arena *a);

/* The family that multiplies Q1_0 weights with so many tokens. */
const struct q1_family *matmul_family(const struct matmul *m, size_t tokens);

/* Whether the wanted family exists at this level, for the wanted activations. */
bool matmul_has_family(const struct matmul *m);

/* Makes x (tokens, cols) the input of the following matmul_run calls with these
 * weights. False: x holds a NaN or an infinity. */
bool matmul_input(struct matmul *m, const float *x, size_t tokens, size_t cols, const struct tensor *const *weights, size_t n_weights);

/* The same for silu(gate) * up, which takes the place of gate only where weights want floats: with many
 * tokens both are larger than a cache, and reading them once is what their product costs. */
bool matmul_input_silu(struct matmul *m, float *gate, const float *up, size_t tokens, size_t cols, const struct tensor *const *weights,
                       size_t n_weights);

struct matmul_op {
    const struct tensor *w;
    float *y; /* (tokens, y_stride), columns 0 .. w->rows are written */
    size_t y_stride;
};
/* Runs several matrices that share the current input as one parallel loop. The weights of the
 * following call come closer meanwhile, when `then`, its first matrix, is not NULL. */
void matmul_run(struct matmul *m, const struct matmul_op *ops, size_t n_ops, const struct tensor *then);

#endif
