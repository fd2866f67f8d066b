#include "kv.h"

#include <stdlib.h>
#include <string.h>

#include "arena.h"

/* Blocks are mapped a slab at a time: one block of a large model, many of a tiny one. */
struct kv_slab {
    struct kv_slab *next;
    uint8_t *memory;
    size_t bytes, n_blocks;
    struct kv_block blocks[];
};

static const size_t slab_bytes = (size_t)32 << 20; /* memory is only used where it is written; mostly whole huge pages */

/* Of dim numbers per position. */
static size_t tile_bytes(enum sg_kv_type type, size_t dim)
{
    if (type == SG_KV_Q8_0)
        return KV_BLOCK * (dim + sizeof(float));
    return KV_BLOCK * dim * (type == SG_KV_F32 ? 4 : 2);
}

void kv_pool_init(struct kv_pool *p, enum sg_kv_type type_k, enum sg_kv_type type_v, size_t n_layers, size_t n_kv_heads, size_t head_dim,
                  size_t budget)
{
    *p = (struct kv_pool){
        .type_k = type_k, .type_v = type_v, .n_layers = n_layers, .n_kv_heads = n_kv_heads, .head_dim = head_dim, .budget = budget};
    p->k_tile_bytes = tile_bytes(type_k, type_k == SG_KV_Q8_0 ? ROUND_UP(head_dim, (size_t)4) : head_dim);
    p->v_tile_bytes = tile_bytes(type_v, head_dim);
    p->block_bytes = n_layers * n_kv_heads * (p->k_tile_bytes + p->v_tile_bytes);
}

void kv_pool_close(struct kv_pool *p)
{
    while (p->slabs) {
        struct kv_slab *slab = p->slabs;
        p->slabs = slab->next;
        pages_unmap(slab->memory, slab->bytes);
        free(slab);
    }
    *p = (struct kv_pool){0};
}

static bool grow(struct kv_pool *p)
{
    size_t affordable = p->budget / p->block_bytes;
    if (p->n_blocks >= affordable)
        return false;
    size_t n = MIN(MAX(slab_bytes / p->block_bytes, (size_t)1), affordable - p->n_blocks);
    struct kv_slab *slab = malloc(sizeof *slab + n * sizeof slab->blocks[0]);
    if (!slab)
        return false;
    slab->bytes = n * p->block_bytes;
    slab->n_blocks = n;
    slab->memory = pages_map(slab->bytes);
    if (!slab->memory) {
        free(slab);
        return false;
    }
    slab->next = p->slabs;
    p->slabs = slab;
    p->n_blocks += n;
    for (size_t i = n; i-- > 0;) {
        slab->blocks[i] = (struct kv_block){.data = slab->memory + i * p->block_bytes, .next_free = p->free};
        p->free = &slab->blocks[i];
    }
    return true;
}

struct kv_block *kv_take(struct kv_pool *p)
{
    if (!p->free && !grow(p))
        return NULL;
    struct kv_block *b = p->free;
    p->free = b->next_free;
    b->next_free = NULL;
    b->refs = 1;
    return b;
}

struct kv_block *kv_share(struct kv_block *b)
{
    b->refs++;
    return b;
}

void kv_release(struct kv_pool *p, struct kv_block *b)
{
    if (--b->refs == 0) {
        b->next_free = p->free;
        p->free = b;
    }
}

/* As int8 into a tile of `width` numbers per position, four of which lie side by side: of
 * one position (K) or of four positions (V). Element i goes to at + i / run * step + i % run. */
static void store_q8(const struct kernels *kn, uint8_t *tile, size_t width, size_t slot, size_t at, size_t run, size_t step, const float *x,
                     size_t n)
{
    int8_t q[MAX_HEAD_DIM];
    float scale = kn->quantize_head(q, x, n);
    memcpy(tile + KV_BLOCK * width + slot * sizeof scale, &scale, sizeof scale);
    for (size_t i = 0; i < n; i++)
        tile[at + i / run * step + i % run] = (uint8_t)q[i];
}

static void store_k(const struct kv_pool *p, const struct kernels *kn, uint8_t *tile, size_t slot, const float *k)
{
    size_t dim = p->head_dim;
    /* [position / 16][dim][16], so that 16 positions lie side by side. */
    size_t first = slot / ATTN_LANES * dim * ATTN_LANES + slot % ATTN_LANES;
    if (p->type_k == SG_KV_Q8_0) {
        size_t width = ROUND_UP(dim, (size_t)4);
        store_q8(kn, tile, width, slot, slot / ATTN_LANES * width * ATTN_LANES + slot % ATTN_LANES * 4, 4, 4 * ATTN_LANES, k, dim);
    } else if (p->type_k == SG_KV_F32) {
        float *to = (float *)(void *)tile + first;
        for (size_t i = 0; i < dim; i++)
            to[i * ATTN_LANES] = k[i];
    } else {
        uint16_t half[MAX_HEAD_DIM], *to = (uint16_t *)(void *)tile + first;
        kn->f16_from_f32(half, k, dim);
        for (size_t i = 0; i < dim; i++)
            to[i * ATTN_LANES] = half[i];
    }
}

static void store_v(const struct kv_pool *p, const struct kernels *kn, uint8_t *tile, size_t slot, const float *v)
{
    size_t dim = p->head_dim;
    if (p->type_v == SG_KV_Q8_0)
        store_q8(kn, tile, dim, slot, slot / 4 * dim * 4 + slot % 4, 1, 4, v, dim);
    else if (p->type_v == SG_KV_F32)
        memcpy((float *)(void *)tile + slot * dim, v, dim * sizeof *v);
    else
        kn->f16_from_f32((uint16_t *)(void *)tile + slot * dim, v, dim);
}

void kv_store(const struct kv_pool *p, const struct kernels *kn, const struct kv_block *b, size_t layer, size_t head, size_t pos,
              const float *k, const float *v)
{
    store_k(p, kn, kv_k_tile(p, b, layer, head), pos % KV_BLOCK, k);
    store_v(p, kn, kv_v_tile(p, b, layer, head), pos % KV_BLOCK, v);
}
