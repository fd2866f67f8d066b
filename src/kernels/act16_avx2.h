/* act16_avx2.h: the tables of AVX2 for activations in two planes. The includer defines first what
 * it has for tables of one plane: nibble_signs and nibble_sums.
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

#endif
