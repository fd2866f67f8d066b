/* attn_q8_avx2.h: attention over a KV cache in int8, for AVX2. Layer: compute.
 *
 * Bytes are widened to 16 bits, once for four queries, because AVX2's products of bytes
 * would saturate; a multiply-add then takes 16 of them, four (positions or dimensions) of
 * which belong to one sum: two 32-bit lanes per sum, added at the end. */
#ifndef SIGNUM_ATTN_Q8_AVX2_H
#define SIGNUM_ATTN_Q8_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "q8_codes_avx2.h"

enum {
    Q8_QUERIES = 4, /* that share each widened vector */
};

/* Nothing needs clamping here: |x| * (most / amax) is at most `most` and a few ulps. */
static float quantize_head(int8_t *q, const float *x, size_t n)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i largest = _mm256_setzero_si256();
    size_t i = 0;
    int32_t bits;
    for (; i + 8 <= n; i += 8)
        largest = _mm256_max_epi32(largest, _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(x + i)), magnitude));
    int32_t top = q8_max(largest);
    for (; i < n; i++) {
        memcpy(&bits, x + i, sizeof bits);
        top = MAX(top, bits & 0x7fffffff);
    }
    float inverse, scale = q8_scale(&inverse, top, 127);
    if (inverse == 0) {
        memset(q, 0, n);
        return scale;
    }
    for (i = 0; i + 8 <= n; i += 8) {
        __m256i c = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(inverse)));
        __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(c), _mm256_extracti128_si256(c, 1));
        _mm_storel_epi64((__m128i *)(q + i), _mm_packs_epi16(words, words));
    }
    for (; i < n; i++)
        q[i] = (int8_t)_mm_cvtss_si32(_mm_set_ss(x[i] * inverse));
    return scale;
}

static inline __m256i q8_widen(const int8_t *src) { return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)src)); }

static inline __m256i q8_four(const int16_t *src)
{
    int64_t four;
    memcpy(&four, src, sizeof four);
    return _mm256_set1_epi64x(four);
}

/* Lanes 2 i and 2 i + 1 of a, then of b, added. */
static inline __m256i q8_pairs(__m256i a, __m256i b) { return _mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xd8); }

/* sum[j] (two vectors of 4 sums each) = over `steps` steps of four, the bytes of a step
 * `stride` apart, times n queries' words, `query` apart. With each step 32 bytes from `ahead` on are fetched, if it is not 0. */
static inline void q8_sums(__m256i sum[Q8_QUERIES][2], const int8_t *bytes, size_t stride, const int16_t *words, size_t query, size_t n,
                           size_t steps, uintptr_t ahead)
{
#pragma GCC unroll 4
    for (size_t j = 0; j < n; j++)
        sum[j][0] = sum[j][1] = _mm256_setzero_si256();
    UNROLL_4
    for (size_t i = 0; i < steps; i++, bytes += stride, words += 4) {
        __m256i b0 = q8_widen(bytes), b1 = q8_widen(bytes + 16);
#pragma GCC unroll 4
        for (size_t j = 0; j < n; j++) {
            __m256i w = q8_four(words + j * query);
            sum[j][0] = _mm256_add_epi32(sum[j][0], _mm256_madd_epi16(b0, w));
            sum[j][1] = _mm256_add_epi32(sum[j][1], _mm256_madd_epi16(b1, w));
        }
        if (ahead)
            _mm_prefetch((const char *)(ahead + 32 * i), _MM_HINT_T0);
    }
}

static inline void q8_scores(float *s, const int16_t *words, const float *q_scale, size_t n, const int8_t *tile, size_t dim, float scale,
                             bool few)
{
    const float *k_scale = (const float *)(const void *)(tile + ATTN_TILE * dim);
    for (size_t p = 0; p < ATTN_TILE; p += 8) {
        __m256i sum[Q8_QUERIES][2];
        q8_sums(sum, tile + p / ATTN_LANES * dim * ATTN_LANES + p % ATTN_LANES * 4, 4 * ATTN_LANES, words, dim, n, dim / 4,
                few ? q8_next(tile, dim) + p * dim : 0);
#pragma GCC unroll 4
        for (size_t j = 0; j < n; j++) {
            __m256 unit = _mm256_mul_ps(_mm256_loadu_ps(k_scale + p), _mm256_set1_ps(q_scale[j] * scale));
            _mm256_storeu_ps(s + j * ATTN_TILE + p, _mm256_mul_ps(_mm256_cvtepi32_ps(q8_pairs(sum[j][0], sum[j][1])), unit));
        }
    }
}

static void attn_scores_q8(float *s, const int8_t *q, const float *q_scale, size_t n_q, const void *k, size_t dim, float scale)
{
    int16_t words[Q8_QUERIES * MAX_HEAD_DIM];
    for (size_t j = 0; j < n_q; j += Q8_QUERIES) {
        size_t n = MIN(n_q - j, (size_t)Q8_QUERIES), total = n * dim, i = 0;
        for (; i + 16 <= total; i += 16)
            _mm256_storeu_si256((__m256i *)(words + i), q8_widen(q + j * dim + i));
        for (; i < total; i++)
            words[i] = q[j * dim + i];
        float *to = s + j * ATTN_TILE;
        switch (n) {
        case 1:
            q8_scores(to, words, q_scale + j, 1, k, dim, scale, n_q <= ATTN_FEW);
            break;
        case 2:
            q8_scores(to, words, q_scale + j, 2, k, dim, scale, n_q <= ATTN_FEW);
            break;
        case 3:
            q8_scores(to, words, q_scale + j, 3, k, dim, scale, n_q <= ATTN_FEW);
            break;
        default:
            q8_scores(to, words, q_scale + j, 4, k, dim, scale, n_q <= ATTN_FEW);
        }
    }
}

/* o = fma(sum, unit, o * factor) for n queries. */
static inline void q8_values(float *o, const int16_t *words, const float *unit, const float *factor, size_t n, const int8_t *tile,
                             size_t dim, bool few)
{
    size_t i = 0;
    for (; i + 8 <= dim; i += 8) {
        __m256i sum[Q8_QUERIES][2];
        q8_sums(sum, tile + i * 4, dim * 4, words, ATTN_TILE, n, ATTN_TILE / 4, few ? q8_next(tile, dim) + i * ATTN_TILE : 0);
#pragma GCC unroll 4
        for (size_t j = 0; j < n; j++) {
            float *to = o + j * dim + i;
            __m256 before = _mm256_mul_ps(_mm256_loadu_ps(to), _mm256_set1_ps(factor[j]));
            _mm256_storeu_ps(to, _mm256_fmadd_ps(_mm256_cvtepi32_ps(q8_pairs(sum[j][0], sum[j][1])), _mm256_set1_ps(unit[j]), before));
        }
    }
    for (; i < dim; i++) {
        for (size_t j = 0; j < n; j++) {
            int32_t sum = 0;
            for (size_t p = 0; p < ATTN_TILE; p++)
                sum += words[j * ATTN_TILE + p] * tile[p / 4 * dim * 4 + i * 4 + p % 4];
            o[j * dim + i] = __builtin_fmaf((float)sum, unit[j], o[j * dim + i] * factor[j]);
        }
    }
}

static void attn_values_q8(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n_q, const void *v, size_t dim)
{
    const float *v_scale = (const float *)(const void *)((const int8_t *)v + ATTN_TILE * dim);
    for (size_t j = 0; j < n_q; j += Q8_QUERIES) {
        size_t n = MIN(n_q - j, (size_t)Q8_QUERIES);
        int16_t words[Q8_QUERIES * ATTN_TILE];
        float unit[Q8_QUERIES];
        for (size_t l = 0; l < n; l++)
            unit[l] = q8_words(words + l * ATTN_TILE, prob + (j + l) * ATTN_TILE, v_scale, n_valid[j + l]);
        float *to = o + j * dim;
        switch (n) {
        case 1:
            q8_values(to, words, unit, factor + j, 1, v, dim, n_q <= ATTN_FEW);
            break;
        case 2:
            q8_values(to, words, unit, factor + j, 2, v, dim, n_q <= ATTN_FEW);
            break;
        case 3:
            q8_values(to, words, unit, factor + j, 3, v, dim, n_q <= ATTN_FEW);
            break;
        default:
            q8_values(to, words, unit, factor + j, 4, v, dim, n_q <= ATTN_FEW);
        }
    }
}

#endif
