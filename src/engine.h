/* engine.h: what the files that implement signum.h share. Layer: engine. */
#ifndef SIGNUM_ENGINE_H
#define SIGNUM_ENGINE_H

#include "arena.h"
#include "chat.h"
#include "forward.h"
#include "gguf.h"
#include "kv.h"
#include "model.h"
#include "pool.h"
#include "repack.h"
#include "sampler.h"
#include "tokenizer.h"
#include "trie.h"

struct sg_engine {
    struct gguf gguf;
    struct model model;
    struct tokenizer *tokenizer;
    enum chat_template chat;
    struct kernels kernels;
    struct pool *pool;
    struct kv_pool kv;
    struct arena scratch, repacked; /* repacked: weights, if it was asked for */
    struct forward forward;
    bool has_weights; /* false: opened with weights_unneeded */
    struct sg_info info;
    struct trie *trie; /* of the vocabulary; made when the first grammar is opened */
    char kernels_text[64];
    char *path;
    uint64_t hash[2]; /* of the model file; 0, 0: not computed yet (state.c) */
};

struct sg_session {
    struct sg_engine *engine;
    size_t n_ctx, length;
    int32_t *ids;             /* (n_ctx), lazily touched */
    struct kv_block **blocks; /* (DIV_UP(n_ctx, KV_BLOCK)) */
    size_t n_blocks;
    float *logits; /* (n_vocab) */
    bool has_logits;
    bool delivered;     /* logits was written by the evaluation that is going on */
    struct arena arena; /* owns all of the above but the blocks */
};

/* session.c: private bytes of a session without its KV, and rows per forward pass. */
size_t session_bytes(const struct sg_engine *e, size_t n_ctx);
size_t session_max_rows(void);
/* Keeps the first blocks only; makes blocks for `length` positions present, the one that is
 * written next the session's own. */
void session_drop(struct sg_session *s, size_t keep);
enum sg_status session_reserve(struct sg_session *s, size_t length, struct sg_error *err);

#endif
