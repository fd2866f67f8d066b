/* attn_q8_avx512vnni.h: attention over a KV cache in int8, for AVX-512 with VNNI, whose
 * vpdpbusd adds four products of an unsigned and a signed byte to each of 16 sums.
 * Layer: compute.
 *
 * Scores: k + 128 is the unsigned byte; what that adds, 128 times the sum of the query's
 * bytes, is taken off in advance. Values: the probability is. Four queries share each load. */
#ifndef SIGNUM_ATTN_Q8_AVX512VNNI_H
#define SIGNUM_ATTN_Q8_AVX512VNNI_H

#include <immintrin.h>
#include <string.h>

#include "kernels.h"

enum {
    Q8_QUERIES = 4,
    Q8_BLOCKS = ATTN_TILE / ATTN_LANES
};

static inline __m512i q8_four(const void *src)
{
    int32_t four;
    memcpy(&four, src, sizeof four);
    return _mm512_set1_epi32(four);
}

/* The same value, in the register it is in: stops gcc from copying sums once per loop, which
 * costs values a sixth of their time. */
static inline __m512i q8_kept(__m512i v)
{
    __asm__("" : "+v"(v));
    return v;
}

/* Sum of n bytes, n a multiple of 4, in all lanes of the result after folding. */
static inline int32_t q8_sum(const int8_t *q, size_t n)
{
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i sum = _mm512_setzero_si512();
    size_t i = 0;
    for (; i + 64 <= n; i += 64)
        sum = _mm512_dpbusd_epi32(sum, ones, _mm512_loadu_si512(q + i));
    sum = _mm512_dpbusd_epi32(sum, ones, _mm512_maskz_loadu_epi32((__mmask16)((1u << (n - i) / 4) - 1), q + i));
    __m256i eight = _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

/* n queries with n_b blocks of K from `block` on. start: what their sums begin with. */
TEMPLATE void q8_score_tile(float *s, const int8_t *q, const float *q_scale, const int32_t *start, size_t n, const int8_t *tile,
                            size_t block, size_t n_b, size_t dim, float scale, bool ahead)
{
    const uintptr_t next = q8_next(tile, dim) + block * dim * ATTN_LANES;
    const float *k_scale = (const float *)(const void *)(tile + ATTN_TILE * dim);
    __m512i sum[Q8_QUERIES * Q8_BLOCKS];
    UNROLL
    for (size_t a = 0; a < n * n_b; a++)
        sum[a] = _mm512_set1_epi32(start[a / n_b]);
    for (size_t i = 0; i < dim; i += 4) {
        __m512i k[Q8_BLOCKS];
        UNROLL
        for (size_t b = 0; b < n_b; b++)
            k[b] = _mm512_xor_si512(_mm512_loadu_si512(tile + ((block + b) * dim + i) * ATTN_LANES), _mm512_set1_epi8(-128));
        UNROLL
        for (size_t j = 0; j < n; j++) {
            __m512i x = q8_four(q + j * dim + i);
            UNROLL
            for (size_t b = 0; b < n_b; b++)
                sum[j * n_b + b] = q8_kept(_mm512_dpbusd_epi32(sum[j * n_b + b], k[b], x));
        }
        if (ahead)
            _mm_prefetch((const char *)(next + i * ATTN_LANES), _MM_HINT_T1);
    }
    UNROLL
    for (size_t a = 0; a < n * n_b; a++) {
        size_t j = a / n_b, p = (block + a % n_b) * ATTN_LANES;
        __m512 unit = _mm512_mul_ps(_mm512_loadu_ps(k_scale + p), _mm512_set1_ps(q_scale[j] * scale));
        _mm512_storeu_ps(s + j * ATTN_TILE + p, _mm512_mul_ps(_mm512_cvtepi32_ps(sum[a]), unit));
    }
}

/* One block after the other where K comes from memory, and what follows fetched (see avx512.c). */
TEMPLATE void q8_scores(float *s, const int8_t *q, const float *q_scale, size_t n, bool few, bool ahead, const int8_t *tile, size_t dim,
                        float scale)
{
    int32_t start[Q8_QUERIES];
    for (size_t j = 0; j < n; j++)
        start[j] = -128 * q8_sum(q + j * dim, dim);
    if (!few) {
        q8_score_tile(s, q, q_scale, start, n, tile, 0, Q8_BLOCKS, dim, scale, false);
        return;
    }
    for (size_t block = 0; block < Q8_BLOCKS; block++)
        q8_score_tile(s, q, q_scale, start, n, tile, block, 1, dim, scale, ahead);
}

static void attn_scores_q8(float *s, const int8_t *q, const float *q_scale, size_t n_q, const void *k, size_t dim, float scale)
{
    size_t j = 0;
    bool few = n_q <= 8;
    if (n_q == ATTN_FEW) {
        q8_scores(s, q, q_scale, 4, true, true, k, dim, scale);
        return;
    }
    for (; j + 4 <= n_q; j += 4)
        q8_scores(s + j * ATTN_TILE, q + j * dim, q_scale + j, 4, few, false, k, dim, scale);
    for (; j + 2 <= n_q; j += 2)
        q8_scores(s + j * ATTN_TILE, q + j * dim, q_scale + j, 2, few, true, k, dim, scale);
    for (; j < n_q; j++)
        q8_scores(s + j * ATTN_TILE, q + j * dim, q_scale + j, 1, few, true, k, dim, scale);
}

/* Probabilities of one query. */
struct q8_weights {
    _Alignas(64) uint8_t code[ATTN_TILE]; /* a line of a tile in attn_q8_amx.h */
    float unit;                           /* what 1 stands for */
};

static inline void q8_round(struct q8_weights *out, const float *prob, const float *v_scale, size_t n_valid)
{
    const __m512i place = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15); /* undoes the packs */
    __m512 w[Q8_BLOCKS];
    __m512i largest = _mm512_setzero_si512(), c[Q8_BLOCKS]; /* floats without sign order as integers do */
    UNROLL
    for (size_t b = 0; b < Q8_BLOCKS; b++) {
        __mmask16 valid = _mm512_cmplt_epi32_mask(place, _mm512_set1_epi32((int)n_valid - (int)(b * ATTN_LANES)));
        w[b] = _mm512_maskz_mul_ps(valid, _mm512_loadu_ps(prob + b * ATTN_LANES), _mm512_loadu_ps(v_scale + b * ATTN_LANES));
        largest = _mm512_max_epi32(largest, _mm512_and_si512(_mm512_castps_si512(w[b]), _mm512_set1_epi32(0x7fffffff)));
    }
    __m256i eight = _mm256_max_epi32(_mm512_castsi512_si256(largest), _mm512_extracti64x4_epi64(largest, 1));
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    int32_t bits = _mm_cvtsi128_si32(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
    float most;
    memcpy(&most, &bits, sizeof most);
    bool finite = bits < 0x7f800000, zero = most < 0x1p-100f;
    __m512 inverse = _mm512_set1_ps(!finite || zero ? 0 : PROB_MAX / most);
    out->unit = !finite ? __builtin_nanf("") : zero ? 0 : most / PROB_MAX;
    UNROLL
    for (size_t b = 0; b < Q8_BLOCKS; b++)
        c[b] = _mm512_cvtps_epi32(_mm512_mul_ps(w[b], inverse));
    __m512i codes = _mm512_packus_epi16(_mm512_packs_epi32(c[0], c[1]), _mm512_packs_epi32(c[2], c[3]));
    _mm512_storeu_si512(out->code, _mm512_permutexvar_epi32(order, codes));
}

/* o = fma(sum, unit, o * factor) for n queries and n_v times 16 dimensions from i on, under a
 * mask, over the positions before 4 * steps. */
TEMPLATE void q8_value_tile(float *o, const struct q8_weights *w, const float *factor, size_t n, size_t steps, const int8_t *tile, size_t i,
                            size_t n_v, size_t dim, __mmask16 mask, bool ahead)
{
    const uintptr_t next = q8_next(tile, dim) + i * ATTN_TILE;
    __m512i sum[Q8_QUERIES][8];
    UNROLL
    for (size_t j = 0; j < n; j++) {
        UNROLL
        for (size_t l = 0; l < n_v; l++)
            sum[j][l] = _mm512_setzero_si512();
    }
    for (size_t p = 0; p < steps; p++) {
        __m512i v[8];
        UNROLL
        for (size_t l = 0; l < n_v; l++)
            v[l] = q8_kept(_mm512_maskz_loadu_epi32(mask, tile + (p * dim + i + l * 16) * 4));
        UNROLL
        for (size_t j = 0; j < n; j++) {
            __m512i c = q8_four(w[j].code + p * 4);
            UNROLL
            for (size_t l = 0; l < n_v; l++)
                sum[j][l] = q8_kept(_mm512_dpbusd_epi32(sum[j][l], c, v[l]));
        }
        if (ahead) {
            UNROLL
            for (size_t l = 0; l < n_v; l++)
                _mm_prefetch((const char *)(next + (p * n_v + l) * 64), _MM_HINT_T1);
        }
    }
    UNROLL
    for (size_t j = 0; j < n; j++) {
        UNROLL
        for (size_t l = 0; l < n_v; l++) {
            float *to = o + j * dim + i + l * 16;
            __m512 before = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, to), _mm512_set1_ps(factor[j]));
            _mm512_mask_storeu_ps(to, mask, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[j][l]), _mm512_set1_ps(w[j].unit), before));
        }
    }
}

TEMPLATE void q8_values(float *o, const struct q8_weights *w, const float *factor, size_t n, size_t steps, const int8_t *tile, size_t dim,
                        bool ahead)
{
    size_t i = 0;
    for (; n <= 2 && i + 128 <= dim; i += 128) /* few queries: whole rows, as memory likes */
        q8_value_tile(o, w, factor, n, steps, tile, i, 8, dim, 0xffff, ahead);
    for (; i + 64 <= dim; i += 64)
        q8_value_tile(o, w, factor, n, steps, tile, i, 4, dim, 0xffff, ahead);
    for (; i < dim; i += 16)
        q8_value_tile(o, w, factor, n, steps, tile, i, 1, dim, dim - i < 16 ? (__mmask16)((1u << (dim - i)) - 1) : 0xffff, false);
}

static void attn_values_q8(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n_q, const void *v, size_t dim)
{
    const float *v_scale = (const float *)(const void *)((const int8_t *)v + ATTN_TILE * dim);
    for (size_t j = 0; j < n_q;) {
        size_t n = n_q - j >= 4 ? 4 : n_q - j >= 2 ? 2 : 1, most = 0;
        struct q8_weights w[Q8_QUERIES];
        for (size_t l = 0; l < n; l++) {
            q8_round(&w[l], prob + (j + l) * ATTN_TILE, v_scale, n_valid[j + l]);
            most = MAX(most, n_valid[j + l]);
        }
        size_t steps = DIV_UP(most, (size_t)4); /* beyond them all are 0 */
        if (n == 4 && n_q > ATTN_FEW)
            q8_values(o + j * dim, w, factor + j, 4, steps, v, dim, false);
        else if (n == 4)
            q8_values(o + j * dim, w, factor + j, 4, steps, v, dim, true);
        else if (n == 2)
            q8_values(o + j * dim, w, factor + j, 2, steps, v, dim, true);
        else
            q8_values(o + j * dim, w, factor + j, 1, steps, v, dim, true);
        j += n;
    }
}

#endif
