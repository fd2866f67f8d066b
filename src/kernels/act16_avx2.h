/* act16_avx2.h: the tables of AVX2 for activations in two planes. The includer defines first what
 * it has for tables of one plane: nibble_signs, nibble_sums, interleave, table and load_f16.
 * The tables are those of act16_tables.h. Layer: compute. */
#ifndef SIGNUM_ACT16_AVX2_H
#define SIGNUM_ACT16_AVX2_H

#include <immintrin.h>

#include "act16_tables.h"

/* The three parts of a nibble's 16 sums in 16-bit lanes. */
static inline void nibble_parts(__m256i part[3], const int8_t *high, const int8_t *low, __m256i signs0, __m256i signs1)
{
    const __m256i six = _mm256_set1_epi16(63);
    __m256i h = _mm256_sub_epi16(nibble_sums(high, signs0, signs1), _mm256_set1_epi16(4)); /* plus 508 */
    __m256i l = nibble_sums(low, signs0, signs1);                                          /* plus 512 */
    __m256i upper = _mm256_add_epi16(_mm256_slli_epi16(h, 1), _mm256_srli_epi16(l, 6));    /* of 128 h + l */
    part[0] = _mm256_and_si256(l, six);
    part[1] = _mm256_and_si256(upper, six);
    part[2] = _mm256_srli_epi16(upper, 6);
}

static void wide_tables_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    const __m256i signs0 = nibble_signs(0), signs1 = nibble_signs(1);
    float *scales = (float *)((uint8_t *)packed + groups * tokens * WIDE_GROUP);
    for (size_t g = group0; g < group1; g++) {
        for (size_t t = 0; t < tokens; t++) {
            const int8_t *high = q + (t * WIDE_PLANES * groups + g) * GROUP, *low = high + groups * GROUP;
            __m256i *out = (__m256i *)((uint8_t *)packed + (g * tokens + t) * WIDE_GROUP);
            scales[g * tokens + t] = scale[t * groups + g];
            for (size_t k = 0; k < GROUP; k += 8, out += 3) {
                __m256i a[3], b[3];
                nibble_parts(a, high + k, low + k, signs0, signs1);
                nibble_parts(b, high + k + 4, low + k + 4, signs0, signs1);
                for (size_t i = 0; i < 3; i++)
                    _mm256_store_si256(out + i, _mm256_permute4x64_epi64(_mm256_packus_epi16(a[i], b[i]), 0xd8));
            }
        }
    }
}

/* Rows one at a time, for ranges shorter than a tile. */
static void wide_tables_few_rows(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                                 size_t tokens)
{
    const float *scales = (const float *)((const uint8_t *)packed + groups * tokens * WIDE_GROUP);
    for (size_t r = row0; r < row1; r++) {
        for (size_t t = 0; t < tokens; t++) {
            float acc = 0;
            for (size_t g = 0; g < groups; g++) {
                const uint8_t *block = w + (r * groups + g) * Q1_BYTES;
                const uint8_t *table = (const uint8_t *)packed + (g * tokens + t) * WIDE_GROUP;
                int32_t sum = -WIDE_BIAS;
                for (size_t k = 0; k < 16; k++, table += WIDE_BYTE) {
                    const uint8_t *a = table + (block[2 + k] & 15), *b = table + 16 + (block[2 + k] >> 4);
                    sum += (a[0] + b[0]) + ((a[32] + b[32]) << 6) + ((a[64] + b[64]) << 12);
                }
                acc = __builtin_fmaf(q1_scale(block) * scales[g * tokens + t], (float)sum, acc);
            }
            y[t * y_stride + r] = acc;
        }
    }
}

/* Byte lanes added to 16-bit ones: sum[0] of a row and 256 times the next, sum[1] of the next. */
static inline void widen(__m256i sum[2], __m256i bytes)
{
    sum[0] = _mm256_add_epi16(sum[0], bytes);
    sum[1] = _mm256_add_epi16(sum[1], _mm256_srli_epi16(bytes, 8));
}

static inline __m256i look_up_both(const uint8_t *t, __m256i n0, __m256i n1)
{
    return _mm256_add_epi8(_mm256_shuffle_epi8(table(t), n0), _mm256_shuffle_epi8(table(t + 16), n1));
}

/* acc[i][j] (row 4 j + i) = fma(d * s, sum, acc). */
static inline void add_wide_group(float acc[4][8], const __m256i half[16], const uint16_t scales[4][8], const uint8_t *tables, float s)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i low[2], middle[2], high[2];
    for (size_t i = 0; i < 2; i++)
        low[i] = middle[i] = high[i] = _mm256_setzero_si256();
    NO_UNROLL
    for (size_t i = 0; i < 4; i++) {
        __m256i x[4], h = _mm256_setzero_si256();
        interleave(x, half[i], half[i + 4], half[i + 8], half[i + 12]);
        UNROLL
        for (size_t k = 0; k < 4; k += 2) {
            __m256i l = _mm256_setzero_si256(), m = l;
            UNROLL
            for (size_t j = k; j < k + 2; j++, tables += WIDE_BYTE) {
                __m256i n0 = _mm256_and_si256(x[j], nibble), n1 = _mm256_and_si256(_mm256_srli_epi16(x[j], 4), nibble);
                l = _mm256_add_epi8(l, look_up_both(tables, n0, n1));
                m = _mm256_add_epi8(m, look_up_both(tables + 32, n0, n1));
                h = _mm256_add_epi8(h, look_up_both(tables + 64, n0, n1));
            }
            widen(low, l);
            widen(middle, m);
        }
        widen(high, h);
    }
    /* Even rows: what the next ones added to them is taken away again. */
    low[0] = _mm256_sub_epi16(low[0], _mm256_slli_epi16(low[1], 8));
    middle[0] = _mm256_sub_epi16(middle[0], _mm256_slli_epi16(middle[1], 8));
    high[0] = _mm256_sub_epi16(high[0], _mm256_slli_epi16(high[1], 8));
    const __m256i first = _mm256_set1_epi32(0xffff), bias = _mm256_set1_epi32(WIDE_BIAS);
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        __m256i upper = _mm256_add_epi16(_mm256_slli_epi16(high[i % 2], 6), middle[i % 2]); /* at most 32 * 2047 */
        __m256i lower = low[i % 2];
        upper = i < 2 ? _mm256_and_si256(upper, first) : _mm256_srli_epi32(upper, 16);
        lower = i < 2 ? _mm256_and_si256(lower, first) : _mm256_srli_epi32(lower, 16);
        __m256i sum = _mm256_sub_epi32(_mm256_add_epi32(_mm256_slli_epi32(upper, 6), lower), bias);
        __m256 d = _mm256_mul_ps(load_f16(scales[i]), _mm256_set1_ps(s));
        _mm256_store_ps(acc[i], _mm256_fmadd_ps(d, _mm256_cvtepi32_ps(sum), _mm256_load_ps(acc[i])));
    }
}

#endif
