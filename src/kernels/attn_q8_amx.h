/* attn_q8_amx.h: attention over a KV cache in int8 on AMX tiles. Layer: compute.
 *
 * 16 queries at a time, which with 128 dimensions cost 16 cycles of multiplication each per KV tile;
 * vpdpbusd, two of them a cycle, takes 128. K and V lie as the columns of a tile must (kernels.h):
 * four neighbours of a sum in turn, 16 sums side by side. Queries beyond the last 16, and heads whose
 * dimensions are no multiple of 64, are left to attn_q8_avx512vnni.h.
 *
 * Sums are made floats one step behind, see amx_tiles.h. Not timed; configuring tiles is said to take 204 cycles,
 * twice per KV tile, which 16 queries feel and 64, as many as attention.c takes at once, hardly. */
#ifndef SIGNUM_ATTN_Q8_AMX_H
#define SIGNUM_ATTN_Q8_AMX_H

#include "amx_tiles.h"
#include "attn_q8_avx512vnni.h"

enum {
    Q8_DEPTH = 64, /* bytes that a tile multiplies */
    TILE_QUERIES = 64,
};

/* Scores of 16 queries, whose sums are in their place, to floats. */
static inline void tiles_to_scores(float *s, const float *q_scale, const float *k_scale, float scale)
{
    __m512 of_keys[Q8_BLOCKS];
    UNROLL
    for (size_t b = 0; b < Q8_BLOCKS; b++)
        of_keys[b] = _mm512_loadu_ps(k_scale + b * ATTN_LANES);
    for (size_t j = 0; j < SIDE; j++, s += ATTN_TILE) {
        const __m512 of_query = _mm512_set1_ps(q_scale[j] * scale);
        UNROLL
        for (size_t b = 0; b < Q8_BLOCKS; b++) {
            __m512 sum = _mm512_cvtepi32_ps(_mm512_loadu_si512(s + b * ATTN_LANES));
            _mm512_storeu_ps(s + b * ATTN_LANES, _mm512_mul_ps(sum, _mm512_mul_ps(of_keys[b], of_query)));
        }
    }
}

static void amx_scores_q8(float *s, const int8_t *q, const float *q_scale, size_t n_q, const void *k, size_t dim, float scale)
{
    const int8_t *keys = k;
    const float *k_scale = (const float *)(const void *)(keys + ATTN_TILE * dim);
    size_t n = dim % Q8_DEPTH == 0 ? n_q / SIDE * SIDE : 0;
    if (n > 0) {
        tile_configure(&tiles_of_16);
        for (size_t j = 0; j < n; j += SIDE) {
            tile_zero(0);
            tile_zero(1);
            tile_zero(2);
            tile_zero(3);
            for (size_t i = 0; i < dim; i += Q8_DEPTH) {
                const int8_t *block = keys + i * ATTN_LANES;
                tile_load(4, q + j * dim + i, dim);
                tile_load(5, block, 64);
                tile_dot(0, 4, 5);
                tile_load(6, block + dim * ATTN_LANES, 64);
                tile_dot(1, 4, 6);
                tile_load(7, block + 2 * dim * ATTN_LANES, 64);
                tile_dot(2, 4, 7);
                tile_load(5, block + 3 * dim * ATTN_LANES, 64);
                tile_dot(3, 4, 5);
            }
            if (j > 0)
                tiles_to_scores(s + (j - SIDE) * ATTN_TILE, q_scale + j - SIDE, k_scale, scale);
            float *to = s + j * ATTN_TILE;
            tile_store(0, to, sizeof(float) * ATTN_TILE);
            tile_store(1, to + ATTN_LANES, sizeof(float) * ATTN_TILE);
            tile_store(2, to + 2 * ATTN_LANES, sizeof(float) * ATTN_TILE);
            tile_store(3, to + 3 * ATTN_LANES, sizeof(float) * ATTN_TILE);
        }
        tile_release();
        tiles_to_scores(s + (n - SIDE) * ATTN_TILE, q_scale + n - SIDE, k_scale, scale);
    }
    attn_scores_q8(s + n * ATTN_TILE, q + n * dim, q_scale + n, n_q - n, k, dim, scale);
}

/* o = fma(sums, unit, o * factor) for 16 queries and 64 dimensions. */
static inline void tiles_to_values(float *o, size_t dim, const int32_t *sums, const struct q8_weights *w, const float *factor)
{
    for (size_t j = 0; j < SIDE; j++, o += dim, sums += Q8_DEPTH) {
        const __m512 before = _mm512_set1_ps(factor[j]), unit = _mm512_set1_ps(w[j].unit);
        UNROLL
        for (size_t l = 0; l < Q8_DEPTH; l += SIDE) {
            __m512 sum = _mm512_cvtepi32_ps(_mm512_load_si512(sums + l));
            _mm512_storeu_ps(o + l, _mm512_fmadd_ps(sum, unit, _mm512_mul_ps(_mm512_loadu_ps(o + l), before)));
        }
    }
}

/* n queries, a multiple of 16 up to TILE_QUERIES. */
static void amx_values_some(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n, const int8_t *v, size_t dim)
{
    const float *v_scale = (const float *)(const void *)(v + ATTN_TILE * dim);
    _Alignas(64) int32_t sums[SIDE * Q8_DEPTH];
    struct q8_weights w[TILE_QUERIES];
    for (size_t j = 0; j < n; j++)
        q8_round(&w[j], prob + j * ATTN_TILE, v_scale, n_valid[j]);
    size_t last_j = 0, last_i = 0; /* where the sums belong */
    tile_configure(&tiles_of_16);
    for (size_t j = 0; j < n; j += SIDE) {
        for (size_t i = 0; i < dim; i += Q8_DEPTH) {
            tile_zero(0);
            tile_zero(1);
            tile_zero(2);
            tile_zero(3);
            tile_load(4, w[j].code, sizeof w[0]);
            tile_load(5, v + i * 4, dim * 4);
            tile_dot_unsigned(0, 4, 5);
            tile_load(6, v + (i + SIDE) * 4, dim * 4);
            tile_dot_unsigned(1, 4, 6);
            tile_load(7, v + (i + 2 * SIDE) * 4, dim * 4);
            tile_dot_unsigned(2, 4, 7);
            tile_load(5, v + (i + 3 * SIDE) * 4, dim * 4);
            tile_dot_unsigned(3, 4, 5);
            if (j + i > 0)
                tiles_to_values(o + last_j * dim + last_i, dim, sums, w + last_j, factor + last_j);
            last_j = j;
            last_i = i;
            tile_store(0, sums, sizeof(int32_t) * Q8_DEPTH);
            tile_store(1, sums + SIDE, sizeof(int32_t) * Q8_DEPTH);
            tile_store(2, sums + 2 * SIDE, sizeof(int32_t) * Q8_DEPTH);
            tile_store(3, sums + 3 * SIDE, sizeof(int32_t) * Q8_DEPTH);
        }
    }
    tile_release();
    tiles_to_values(o + last_j * dim + last_i, dim, sums, w + last_j, factor + last_j);
}

static void amx_values_q8(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n_q, const void *v, size_t dim)
{
    while (n_q >= SIDE && dim % Q8_DEPTH == 0) {
        size_t n = MIN(n_q / SIDE * SIDE, (size_t)TILE_QUERIES);
        amx_values_some(o, prob, factor, n_valid, n, v, dim);
        o += n * dim;
        prob += n * ATTN_TILE;
        factor += n;
        n_valid += n;
        n_q -= n;
    }
    attn_values_q8(o, prob, factor, n_valid, n_q, v, dim);
}

#endif
