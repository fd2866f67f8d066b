/* attn_q8_avxvnni.h: attention over a KV cache in int8, for AVX-VNNI, whose vpdpbusd adds four products
 * of an unsigned and a signed byte to each of 8 sums. Layer: compute.
 *
 * As attn_q8_avx512vnni.h does it in registers of twice the size: of scores k + 128 is the unsigned
 * byte, and what that adds is taken off in advance; of values the probability is. A register takes
 * 32 products an instruction where floats take 8 and widened bytes (attn_q8_avx2.h) 16. */
#ifndef SIGNUM_ATTN_Q8_AVXVNNI_H
#define SIGNUM_ATTN_Q8_AVXVNNI_H

#include "q8_codes_avx2.h"

enum {
    Q8_QUERIES = 4, /* that share each load */
    Q8_LANES = 8,   /* positions or dimensions of a register */
};

static inline __m256i q8_four(const void *src)
{
    int32_t four;
    memcpy(&four, src, sizeof four);
    return _mm256_set1_epi32(four);
}

/* The same value, in the register it is in: see attn_q8_avx512vnni.h. */
static inline __m256i q8_kept(__m256i v)
{
    __asm__("" : "+x"(v));
    return v;
}

/* n queries with 16 positions. start: what their sums begin with. */
TEMPLATE void q8_score_block(float *s, const int8_t *q, const float *q_scale, const int32_t *start, size_t n, const int8_t *tile,
                             size_t block, size_t dim, float scale, bool ahead)
{
    const uintptr_t next = q8_next(tile, dim) + block * dim * ATTN_LANES;
    const float *k_scale = (const float *)(const void *)(tile + ATTN_TILE * dim) + block * ATTN_LANES;
    const int8_t *k = tile + block * dim * ATTN_LANES;
    __m256i sum[Q8_QUERIES][2];
    UNROLL
    for (size_t j = 0; j < n; j++)
        sum[j][0] = sum[j][1] = _mm256_set1_epi32(start[j]);
    for (size_t i = 0; i < dim; i += 4, k += 4 * ATTN_LANES) {
        const __m256i flip = _mm256_set1_epi8(-128);
        __m256i k0 = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)k), flip);
        __m256i k1 = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(k + 32)), flip);
        UNROLL
        for (size_t j = 0; j < n; j++) {
            __m256i x = q8_four(q + j * dim + i);
            sum[j][0] = q8_kept(_mm256_dpbusd_avx_epi32(sum[j][0], k0, x));
            sum[j][1] = q8_kept(_mm256_dpbusd_avx_epi32(sum[j][1], k1, x));
        }
        if (ahead)
            _mm_prefetch((const char *)(next + i * ATTN_LANES), _MM_HINT_T1);
    }
    UNROLL
    for (size_t j = 0; j < n; j++) {
        UNROLL
        for (size_t l = 0; l < 2; l++) {
            __m256 unit = _mm256_mul_ps(_mm256_loadu_ps(k_scale + l * Q8_LANES), _mm256_set1_ps(q_scale[j] * scale));
            _mm256_storeu_ps(s + j * ATTN_TILE + block * ATTN_LANES + l * Q8_LANES, _mm256_mul_ps(_mm256_cvtepi32_ps(sum[j][l]), unit));
        }
    }
}

/* Sum of n bytes, n a multiple of 4: a loop over bytes takes as long as the products of a tile. */
static inline int32_t q8_sum(const int8_t *q, size_t n)
{
    const __m256i ones = _mm256_set1_epi8(1);
    __m256i sum = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 32 <= n; i += 32)
        sum = _mm256_dpbusd_avx_epi32(sum, ones, _mm256_loadu_si256((const __m256i *)(q + i)));
    for (; i < n; i += 4) {
        int32_t four;
        memcpy(&four, q + i, sizeof four);
        sum = _mm256_dpbusd_avx_epi32(sum, ones, _mm256_castsi128_si256(_mm_cvtsi32_si128(four)));
    }
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

/* ahead: the next tile is fetched meanwhile, see avx512.c. */
TEMPLATE void q8_scores(float *s, const int8_t *q, const float *q_scale, size_t n, const int8_t *tile, size_t dim, float scale, bool ahead)
{
    int32_t start[Q8_QUERIES];
    for (size_t j = 0; j < n; j++)
        start[j] = -128 * q8_sum(q + j * dim, dim);
    for (size_t block = 0; block < ATTN_TILE / ATTN_LANES; block++)
        q8_score_block(s, q, q_scale, start, n, tile, block, dim, scale, ahead);
}

static void attn_scores_q8(float *s, const int8_t *q, const float *q_scale, size_t n_q, const void *k, size_t dim, float scale)
{
    size_t j = 0;
    if (n_q == ATTN_FEW) {
        q8_scores(s, q, q_scale, 4, k, dim, scale, true);
        return;
    }
    for (; j + 4 <= n_q; j += 4)
        q8_scores(s + j * ATTN_TILE, q + j * dim, q_scale + j, 4, k, dim, scale, false);
    for (; j + 2 <= n_q; j += 2)
        q8_scores(s + j * ATTN_TILE, q + j * dim, q_scale + j, 2, k, dim, scale, true);
    for (; j < n_q; j++)
        q8_scores(s + j * ATTN_TILE, q + j * dim, q_scale + j, 1, k, dim, scale, true);
}

/* Probabilities of one query. */
struct q8_weights {
    uint8_t code[ATTN_TILE];
    float unit; /* what 1 stands for */
};

static inline void q8_round(struct q8_weights *out, const float *prob, const float *v_scale, size_t n_valid)
{
    int16_t words[ATTN_TILE];
    out->unit = q8_words(words, prob, v_scale, n_valid);
    for (size_t i = 0; i < ATTN_TILE; i += 32) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(words + i)), b = _mm256_loadu_si256((const __m256i *)(words + i + 16));
        _mm256_storeu_si256((__m256i *)(out->code + i), _mm256_permute4x64_epi64(_mm256_packus_epi16(a, b), 0xd8));
    }
}

/* o = fma(sum, unit, o * factor) for n queries and n_v * 8 dimensions from i on, over the positions before 4 * steps. */
TEMPLATE void q8_value_tile(float *o, const struct q8_weights *w, const float *factor, size_t n, size_t steps, const int8_t *tile, size_t i,
                            size_t n_v, size_t dim, bool ahead)
{
    const uintptr_t next = q8_next(tile, dim) + i * ATTN_TILE;
    __m256i sum[Q8_QUERIES][8];
    UNROLL
    for (size_t j = 0; j < n; j++) {
        UNROLL
        for (size_t l = 0; l < n_v; l++)
            sum[j][l] = _mm256_setzero_si256();
    }
    for (size_t p = 0; p < steps; p++) {
        __m256i v[8];
        UNROLL
        for (size_t l = 0; l < n_v; l++)
            v[l] = q8_kept(_mm256_loadu_si256((const __m256i *)(tile + (p * dim + i + l * Q8_LANES) * 4)));
        UNROLL
        for (size_t j = 0; j < n; j++) {
            __m256i c = q8_four(w[j].code + p * 4);
            UNROLL
            for (size_t l = 0; l < n_v; l++)
                sum[j][l] = q8_kept(_mm256_dpbusd_avx_epi32(sum[j][l], c, v[l]));
        }
        if (ahead) {
            UNROLL
            for (size_t byte = 0; byte < n_v * 32; byte += 64)
                _mm_prefetch((const char *)(next + p * n_v * 32 + byte), _MM_HINT_T1);
        }
    }
    UNROLL
    for (size_t j = 0; j < n; j++) {
        UNROLL
        for (size_t l = 0; l < n_v; l++) {
            float *to = o + j * dim + i + l * Q8_LANES;
            __m256 before = _mm256_mul_ps(_mm256_loadu_ps(to), _mm256_set1_ps(factor[j]));
            _mm256_storeu_ps(to, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[j][l]), _mm256_set1_ps(w[j].unit), before));
        }
    }
}

/* Eight sums at a time; dimensions that fill no register one by one. */
TEMPLATE void q8_values(float *o, const struct q8_weights *w, const float *factor, size_t n, size_t steps, const int8_t *tile, size_t dim,
                        bool ahead)
{
    const size_t n_v = 8 / n;
    size_t i = 0;
    for (; i + n_v * Q8_LANES <= dim; i += n_v * Q8_LANES)
        q8_value_tile(o, w, factor, n, steps, tile, i, n_v, dim, ahead);
    for (; i + Q8_LANES <= dim; i += Q8_LANES)
        q8_value_tile(o, w, factor, n, steps, tile, i, 1, dim, false);
    for (; i < dim; i++) {
        for (size_t j = 0; j < n; j++) {
            int32_t sum = 0;
            for (size_t p = 0; p < 4 * steps; p++)
                sum += w[j].code[p] * tile[p / 4 * dim * 4 + i * 4 + p % 4];
            o[j * dim + i] = __builtin_fmaf((float)sum, w[j].unit, o[j * dim + i] * factor[j]);
        }
    }
}

static void attn_values_q8(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n_q, const void *v, size_t dim)
{
    const float *v_scale = (const float *)(const void *)((const int8_t *)v + ATTN_TILE * dim);
    for (size_t j = 0, n; j < n_q; j += n) {
        struct q8_weights w[Q8_QUERIES];
        size_t most = 0;
        n = n_q - j >= 4 ? 4 : n_q - j >= 2 ? 2 : 1;
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
    }
}

#endif
