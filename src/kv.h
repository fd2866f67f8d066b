/* kv.h: the memory of attention: blocks of a fixed number of positions from one pool
 * with a budget, reference-counted, so that sessions grow lazily and share prefixes.
 * Layer: model.
 *
 * A block holds KV_BLOCK positions of all layers and kv heads:
 *     [layer][kv head] { K tile, V tile }      (tile layout: kernels.h)
 * One block is one attention tile, so a tile is contiguous. */
#ifndef SIGNUM_KV_H
#define SIGNUM_KV_H

#include "error.h"
#include "kernels/kernels.h"
#include "signum.h"

enum {
    KV_BLOCK = ATTN_TILE
};

struct kv_block {
    uint8_t *data;
    uint32_t refs;
    struct kv_block *next_free;
};

struct kv_pool {
    enum sg_kv_type type_k, type_v;
    size_t n_layers, n_kv_heads, head_dim;
    size_t k_tile_bytes, v_tile_bytes, block_bytes;
    size_t budget, n_blocks; /* bytes, blocks existing now */
    struct kv_block *free;
    struct kv_slab *slabs; /* owns the memory */
};

void kv_pool_init(struct kv_pool *p, enum sg_kv_type type_k, enum sg_kv_type type_v, size_t n_layers, size_t n_kv_heads, size_t head_dim,
                  size_t budget);
void kv_pool_close(struct kv_pool *p);

/* A zeroed or reused block with one reference; NULL: budget or memory exhausted. */
struct kv_block *kv_take(struct kv_pool *p);
struct kv_block *kv_share(struct kv_block *b);          /* one reference more */
void kv_release(struct kv_pool *p, struct kv_block *b); /* one fewer; free at 0 */

static inline uint8_t *kv_k_tile(const struct kv_pool *p, const struct kv_block *b, size_t layer, size_t head)
{
    return b->data + (layer * p->n_kv_heads + head) * (p->k_tile_bytes + p->v_tile_bytes);
}
static inline uint8_t *kv_v_tile(const struct kv_pool *p, const struct kv_block *b, size_t layer, size_t head)
{
    return kv_k_tile(p, b, layer, head) + p->k_tile_bytes;
}

/* Stores one head's k and v (head_dim floats each) at position pos % KV_BLOCK of a block. */
void kv_store(const struct kv_pool *p, const struct kernels *kn, const struct kv_block *b, size_t layer, size_t head, size_t pos,
              const float *k, const float *v);

#endif
