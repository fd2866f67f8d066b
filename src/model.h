/* model.h: what Qwen3 is: hyperparameters and the weight table, checked against
 * each other. No arithmetic. Layer: model. */
#ifndef SIGNUM_MODEL_H
#define SIGNUM_MODEL_H

#include "gguf.h"
#include "matmul.h"

struct layer {
    const float *attn_norm;       /* (n_embd) */
    struct tensor q, k, v;        /* (n_heads*head_dim | n_kv_heads*head_dim, n_embd) */
    const float *q_norm, *k_norm; /* (head_dim) */
    struct tensor attn_output;    /* (n_embd, n_heads*head_dim) */
    const float *ffn_norm;        /* (n_embd) */
    struct tensor gate, up;       /* (n_ff, n_embd) */
    struct tensor down;           /* (n_embd, n_ff) */
};

struct model {
    size_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab, n_ctx_train;
    float rms_eps;
    double rope_base;
    double yarn_factor; /* 0: no YaRN */
    size_t yarn_original_ctx;
    double yarn_attn_factor, yarn_beta_fast, yarn_beta_slow, yarn_ext_factor;
    struct tensor token_embd; /* (n_vocab, n_embd) */
    struct tensor output;     /* the same tensor when tied */
    bool tied_output;
    const float *output_norm; /* (n_embd) */
    struct layer *layers;
    float *norms; /* owns the norm weights, copied out of the file as float32 */
    uint64_t n_params;
};

/* Reads and validates everything in the file that the forward pass needs: every
 * key, shape and type, cross-checked. Nothing keeps pointers into g but tensor data,
 * so g's map must stay. model_close is safe after failure. */
enum sg_status model_open(struct model *m, const struct gguf *g, struct sg_error *err);
void model_close(struct model *m);

#endif
