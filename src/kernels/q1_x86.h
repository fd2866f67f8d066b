/* q1_x86.h: the packed forms of activations that several x86 levels share. Needs AVX2.
 * Layer: compute.
 *
 * TABLES. Four weights have 16 patterns of signs, so the 128 activations of a group become
 * 32 tables ("nibbles") of 16 sums. A sum of four int8 lies in -508..508; 512 more makes it
 * 4..1020, which is split into 32 * high + low with both parts below 32. A byte shuffle then
 * looks up the sums of 16 rows per 16-byte lane, and eight lookups fit a byte when added. For
 * every weight byte k: low table of its lower nibble, low of its upper one, high, high: 64
 * bytes. A group takes 1 KB; all groups of all tokens, then the scales.
 *
 * STEPS. For dot products with rows in 32-bit lanes: lane = four weights as bytes 0 or 1.
 * The weights of one step (word m of the row's 16 bytes, bit b) are bit b of the bytes
 * 4 m .. 4 m + 3, because a shift and an AND make those at once. Steps ascend by m, then b.
 * Per group and four tokens: [step][token][4 bytes], 512 bytes; then scales and sums of
 * the group, [group][token], tokens padded with zeros to a multiple of four. */
#ifndef SIGNUM_Q1_X86_H
#define SIGNUM_Q1_X86_H

#include <immintrin.h>
#include <string.h>

#include "kernels.h"

/* ------------------------------------------------------------------ tables */

enum {
    TABLES_GROUP = 1024,                      /* bytes of one group and token */
    TABLES_BIAS = 512 * 32,                   /* what 32 lookups are too large by */
};

static size_t tables_bytes(size_t groups, size_t tokens) { return groups * tokens * (TABLES_GROUP + sizeof(float)); }

static inline const float *tables_scales(const void *packed, size_t groups, size_t tokens)
{
    return (const float *)((const uint8_t *)packed + groups * tokens * TABLES_GROUP);
}

/* The 16 sums of one nibble, plus 512, as 16-bit numbers in order. */
static inline __m256i nibble_sums(const int8_t *q, __m256i signs0, __m256i signs1)
{
    int32_t four;
    memcpy(&four, q, sizeof four);
    const __m256i ones = _mm256_set1_epi8(1), x = _mm256_set1_epi32(four);
    __m256i pairs0 = _mm256_maddubs_epi16(ones, _mm256_sign_epi8(x, signs0));
    __m256i pairs1 = _mm256_maddubs_epi16(ones, _mm256_sign_epi8(x, signs1));
    return _mm256_add_epi16(_mm256_hadd_epi16(pairs0, pairs1), _mm256_set1_epi16(512));
}

/* 11 instructions a nibble: 0.1 ns per activation, where a scalar builder takes 13. */
static void tables_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    /* Signs of pattern i, lowest bit first; hadd interleaves lanes, hence this order. */
#define S(i) ((i) & 1 ? 1 : -1), ((i) & 2 ? 1 : -1), ((i) & 4 ? 1 : -1), ((i) & 8 ? 1 : -1)
    const __m256i signs0 = _mm256_setr_epi8(S(0), S(1), S(2), S(3), S(8), S(9), S(10), S(11));
    const __m256i signs1 = _mm256_setr_epi8(S(4), S(5), S(6), S(7), S(12), S(13), S(14), S(15));
#undef S
    const __m256i low_mask = _mm256_set1_epi16(31);
    float *scales = (float *)((uint8_t *)packed + groups * tokens * TABLES_GROUP);
    for (size_t g = group0; g < group1; g++) {
        for (size_t t = 0; t < tokens; t++) {
            const int8_t *x = q + (t * groups + g) * GROUP;
            __m256i *out = (__m256i *)((uint8_t *)packed + (g * tokens + t) * TABLES_GROUP);
            scales[g * tokens + t] = scale[t * groups + g];
            for (size_t k = 0; k < 16; k++, x += 8, out += 2) {
                __m256i a = nibble_sums(x, signs0, signs1), b = nibble_sums(x + 4, signs0, signs1);
                __m256i low = _mm256_packus_epi16(_mm256_and_si256(a, low_mask), _mm256_and_si256(b, low_mask));
                __m256i high = _mm256_packus_epi16(_mm256_srli_epi16(a, 5), _mm256_srli_epi16(b, 5));
                _mm256_store_si256(out, _mm256_permute4x64_epi64(low, 0xd8));
                _mm256_store_si256(out + 1, _mm256_permute4x64_epi64(high, 0xd8));
            }
        }
    }
}

/* Rows one at a time, for ranges shorter than a tile. */
static void tables_few_rows(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed, size_t tokens)
{
    const float *scales = tables_scales(packed, groups, tokens);
    for (size_t r = row0; r < row1; r++) {
        for (size_t t = 0; t < tokens; t++) {
            float acc = 0;
            for (size_t g = 0; g < groups; g++) {
                const uint8_t *block = w + (r * groups + g) * Q1_BYTES;
                const uint8_t *table = (const uint8_t *)packed + (g * tokens + t) * TABLES_GROUP;
                int32_t sum = -TABLES_BIAS;
                for (size_t k = 0; k < 16; k++, table += 64) {
                    uint8_t bits = block[2 + k];
                    sum += table[bits & 15] + table[16 + (bits >> 4)] + 32 * (table[32 + (bits & 15)] + table[48 + (bits >> 4)]);
                }
                acc = __builtin_fmaf(q1_scale(block) * scales[g * tokens + t], (float)sum, acc);
            }
            y[t * y_stride + r] = acc;
        }
    }
}

/* ------------------------------------------------------------------- steps */

enum { STEPS = 32, STEPS_QUAD = STEPS * 16 /* bytes of one group and four tokens */ };

static size_t steps_bytes(size_t groups, size_t tokens)
{
    return groups * ROUND_UP(tokens, (size_t)4) * (GROUP + sizeof(float) + sizeof(int32_t));
}

struct steps {
    const uint8_t *codes;  /* [group][quad][step][4 tokens][4] */
    const float *scales;   /* [group][padded tokens] */
    const int32_t *sums;   /* [group][padded tokens] */
    size_t padded;
};

static inline struct steps steps_of(const void *packed, size_t groups, size_t tokens)
{
    size_t padded = ROUND_UP(tokens, (size_t)4);
    const uint8_t *codes = packed;
    const float *scales = (const float *)(codes + groups * padded * GROUP);
    return (struct steps){codes, scales, (const int32_t *)(scales + groups * padded), padded};
}

static inline int32_t sum_of_group(const int8_t *q)
{
    __m256i sum = _mm256_setzero_si256();
    for (size_t i = 0; i < GROUP; i += 32)
        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(_mm256_set1_epi8(1), _mm256_loadu_si256((const __m256i *)(q + i))));
    sum = _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

static void steps_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    const struct steps s = steps_of(packed, groups, tokens);
    const __m128i by_column = _mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    for (size_t g = group0; g < group1; g++) {
        for (size_t t0 = 0; t0 < s.padded; t0 += 4) {
            __m128i *out = (__m128i *)((uint8_t *)packed + (g * s.padded + t0) * GROUP);
            for (size_t m = 0; m < 4; m++, out += 8) { /* 32 activations, 4 x 8, by column, of 4 tokens */
                __m128i low[4], high[4];
                for (size_t t = 0; t < 4; t++) {
                    low[t] = high[t] = _mm_setzero_si128();
                    if (t0 + t < tokens) {
                        const __m128i *x = (const __m128i *)(q + ((t0 + t) * groups + g) * GROUP + m * 32);
                        __m128i a = _mm_shuffle_epi8(_mm_loadu_si128(x), by_column), b = _mm_shuffle_epi8(_mm_loadu_si128(x + 1), by_column);
                        low[t] = _mm_unpacklo_epi16(a, b);
                        high[t] = _mm_unpackhi_epi16(a, b);
                    }
                }
                for (size_t half = 0; half < 2; half++) {
                    const __m128i *x = half ? high : low;
                    __m128i a = _mm_unpacklo_epi32(x[0], x[1]), b = _mm_unpacklo_epi32(x[2], x[3]);
                    __m128i c = _mm_unpackhi_epi32(x[0], x[1]), d = _mm_unpackhi_epi32(x[2], x[3]);
                    _mm_store_si128(out + half * 4, _mm_unpacklo_epi64(a, b));
                    _mm_store_si128(out + half * 4 + 1, _mm_unpackhi_epi64(a, b));
                    _mm_store_si128(out + half * 4 + 2, _mm_unpacklo_epi64(c, d));
                    _mm_store_si128(out + half * 4 + 3, _mm_unpackhi_epi64(c, d));
                }
            }
            for (size_t t = t0; t < t0 + 4; t++) {
                float *scales = (float *)((uint8_t *)packed + groups * s.padded * GROUP);
                int32_t *sums = (int32_t *)(scales + groups * s.padded);
                scales[g * s.padded + t] = t < tokens ? scale[t * groups + g] : 0;
                sums[g * s.padded + t] = t < tokens ? sum_of_group(q + (t * groups + g) * GROUP) : 0;
            }
        }
    }
}

#endif
