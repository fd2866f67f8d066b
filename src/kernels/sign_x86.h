/* sign_x86.h: the "sign" family in 256-bit registers, for whoever can add dot products of
 * four bytes to 32-bit lanes: 16 rows as bytes of 0 and 1, four tokens for each load of them.
 * The includer defines first
 *     sign_step(acc, weights, codes)   acc + products; weights are 0 or 1, codes signed
 *     sign_twice(acc)                  twice the sums, in 32-bit lanes
 * Layer: compute. */
#ifndef SIGNUM_SIGN_X86_H
#define SIGNUM_SIGN_X86_H

#include <immintrin.h>
#include <string.h>

#include "kernels.h"

/* The same value, in the register it is in: stops gcc from reading memory again in every
 * instruction that uses it, and from copying accumulators once per loop. */
static inline __m256i kept_256(__m256i v)
{
    __asm__("" : "+x"(v));
    return v;
}

/* LINES. A token's activations are one line of codes, or two when they come in two planes, and
 * lines are multiplied like tokens of their own; only the last step, from sums to floats, joins
 * the planes.
 *
 * PACKED. The weights of one step (word m of a row's 16 bytes, bit b) are bit b of the bytes
 * 4 m .. 4 m + 3, because a shift and an AND make those at once. Steps ascend by m, then b.
 * Per group and four lines: [step][line][4 bytes], 512 bytes, lines padded with zeros to a
 * multiple of four; then scales and sums of the group (planes joined), [group][token]. */

enum {
    STEPS = 32,
    STEPS_QUAD = STEPS * 16 /* bytes of one group and four tokens */
};

static inline size_t steps_size(size_t groups, size_t tokens, size_t planes)
{
    return groups * ROUND_UP(tokens * planes, (size_t)4) * (GROUP + (sizeof(float) + sizeof(int32_t)) / planes);
}

struct steps {
    const uint8_t *codes; /* [group][quad][step][4 lines][4] */
    const float *scales;  /* [group][padded / planes] */
    const int32_t *sums;  /* the same */
    size_t padded;        /* lines */
    size_t tokens;        /* padded too */
};

static inline struct steps steps_of(const void *packed, size_t groups, size_t tokens, size_t planes)
{
    size_t padded = ROUND_UP(tokens * planes, (size_t)4), all = padded / planes;
    const uint8_t *codes = packed;
    const float *scales = (const float *)(codes + groups * padded * GROUP);
    return (struct steps){codes, scales, (const int32_t *)(scales + groups * all), padded, all};
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

TEMPLATE void steps_planes(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1,
                           size_t planes)
{
    const struct steps s = steps_of(packed, groups, tokens, planes);
    float *scales = (float *)((uint8_t *)packed + groups * s.padded * GROUP);
    int32_t *sums = (int32_t *)(scales + groups * s.tokens);
    const __m128i by_column = _mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    for (size_t g = group0; g < group1; g++) {
        for (size_t l0 = 0; l0 < s.padded; l0 += 4) {
            __m128i *out = (__m128i *)((uint8_t *)packed + (g * s.padded + l0) * GROUP);
            for (size_t m = 0; m < 4; m++, out += 8) { /* 32 activations, 4 x 8, by column, of 4 lines */
                __m128i low[4], high[4];
                for (size_t l = 0; l < 4; l++) {
                    low[l] = high[l] = _mm_setzero_si128();
                    if (l0 + l < tokens * planes) {
                        const __m128i *x = (const __m128i *)(q + ((l0 + l) * groups + g) * GROUP + m * 32);
                        __m128i a = _mm_shuffle_epi8(_mm_loadu_si128(x), by_column),
                                b = _mm_shuffle_epi8(_mm_loadu_si128(x + 1), by_column);
                        low[l] = _mm_unpacklo_epi16(a, b);
                        high[l] = _mm_unpackhi_epi16(a, b);
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
        }
        for (size_t t = 0; t < s.tokens; t++) {
            const int8_t *x = q + (t * planes * groups + g) * GROUP;
            int32_t sum = t < tokens ? sum_of_group(x) : 0;
            if (planes == WIDE_PLANES && t < tokens)
                sum = WIDE_UNIT * sum + sum_of_group(x + groups * GROUP);
            scales[g * s.tokens + t] = t < tokens ? scale[t * groups + g] : 0;
            sums[g * s.tokens + t] = sum;
        }
    }
}

static size_t steps_bytes(size_t groups, size_t tokens) { return steps_size(groups, tokens, 1); }

static void steps_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    steps_planes(packed, q, scale, groups, tokens, group0, group1, 1);
}

static size_t wide_steps_bytes(size_t groups, size_t tokens) { return steps_size(groups, tokens, WIDE_PLANES); }

static void wide_steps_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    steps_planes(packed, q, scale, groups, tokens, group0, group1, WIDE_PLANES);
}

/* ------------------------------------------------------------------- rows */

enum {
    SIGN_ROWS = 16,
    SIGN_TOKENS = 64
};

static inline __m256i sign_rows(const uint8_t *a, const uint8_t *b)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)a)), _mm_loadu_si128((const __m128i *)b), 1);
}

/* One group of 16 rows as bytes 0 and 1: [step][row][4]; rows beyond n repeat the last. */
TEMPLATE void sign_expand(__m256i bytes[STEPS][2], float d[SIGN_ROWS], const uint8_t *w, size_t stride, size_t n)
{
    _Alignas(16) uint16_t scales[SIGN_ROWS];
    const __m256i one = _mm256_set1_epi8(1);
    const uint8_t *row[SIGN_ROWS];
    for (size_t i = 0; i < SIGN_ROWS; i++) {
        row[i] = w + MIN(i, n - 1) * stride;
        memcpy(&scales[i], row[i], sizeof scales[i]);
    }
    for (size_t eight = 0; eight < 2; eight++) {
        const uint8_t *const *r = row + 8 * eight;
        __m256i a = sign_rows(r[0] + 2, r[4] + 2), b = sign_rows(r[1] + 2, r[5] + 2), c = sign_rows(r[2] + 2, r[6] + 2),
                e = sign_rows(r[3] + 2, r[7] + 2);
        __m256i ab = _mm256_unpacklo_epi32(a, b), ce = _mm256_unpacklo_epi32(c, e), ab_high = _mm256_unpackhi_epi32(a, b),
                ce_high = _mm256_unpackhi_epi32(c, e);
        __m256i word[4] = {_mm256_unpacklo_epi64(ab, ce), _mm256_unpackhi_epi64(ab, ce), _mm256_unpacklo_epi64(ab_high, ce_high),
                           _mm256_unpackhi_epi64(ab_high, ce_high)};
        UNROLL
        for (size_t m = 0; m < 4; m++) {
            UNROLL
            for (int b8 = 0; b8 < 8; b8++)
                bytes[m * 8 + (size_t)b8][eight] = _mm256_and_si256(_mm256_srli_epi32(word[m], b8), one);
        }
    }
    _mm256_store_ps(d, _mm256_cvtph_ps(_mm_load_si128((const __m128i *)scales)));
    _mm256_store_ps(d + 8, _mm256_cvtph_ps(_mm_load_si128((const __m128i *)(scales + 8))));
}

/* acc[t] (16 rows) = fma(d * s[t], 2 * (sum under set bits) - sum[t], acc[t]) for n lines. */
TEMPLATE void sign_lines(float (*acc)[SIGN_ROWS], const __m256i bytes[STEPS][2], const float d[SIGN_ROWS], const uint8_t *codes,
                         const float *s, const int32_t *sum, size_t n, size_t planes)
{
    __m256i p[4][2];
    const size_t tokens = n / planes; /* under sanitizers a division in its condition keeps a loop from being unrolled */
    UNROLL
    for (size_t l = 0; l < n; l++)
        p[l][0] = p[l][1] = _mm256_setzero_si256();
    for (size_t step = 0; step < STEPS; step++, codes += 16) {
        __m256i w0 = bytes[step][0], w1 = bytes[step][1];
        UNROLL
        for (size_t l = 0; l < n; l++) {
            int32_t four;
            memcpy(&four, codes + 4 * l, sizeof four);
            __m256i q = _mm256_set1_epi32(four);
            p[l][0] = kept_256(sign_step(p[l][0], w0, q));
            p[l][1] = kept_256(sign_step(p[l][1], w1, q));
        }
    }
    UNROLL
    for (size_t t = 0; t < tokens; t++) {
        UNROLL
        for (size_t eight = 0; eight < 2; eight++) {
            float *a = acc[t] + 8 * eight;
            __m256i twice = sign_twice(p[t * planes][eight]);
            if (planes == WIDE_PLANES)
                twice = _mm256_add_epi32(_mm256_slli_epi32(twice, 7), sign_twice(p[t * planes + 1][eight]));
            __m256i isum = _mm256_sub_epi32(twice, _mm256_set1_epi32(sum[t]));
            __m256 ds = _mm256_mul_ps(_mm256_load_ps(d + 8 * eight), _mm256_set1_ps(s[t]));
            _mm256_store_ps(a, _mm256_fmadd_ps(ds, _mm256_cvtepi32_ps(isum), _mm256_load_ps(a)));
        }
    }
}

TEMPLATE void sign_planes(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                          size_t tokens, size_t planes)
{
    const struct steps s = steps_of(packed, groups, tokens, planes);
    size_t stride = groups * Q1_BYTES;
    for (size_t r = row0; r < row1; r += SIGN_ROWS) {
        size_t n = MIN(row1 - r, (size_t)SIGN_ROWS);
        const char *ahead = (const char *)w + MIN(r + SIGN_ROWS, row1 - 1) * stride; /* the next rows, to L2 */
        _Alignas(32) float acc[SIGN_TOKENS][SIGN_ROWS] = {0};
        for (size_t g = 0; g < groups; g++) {
            __m256i bytes[STEPS][2];
            _Alignas(32) float d[SIGN_ROWS];
            sign_expand(bytes, d, w + r * stride + g * Q1_BYTES, stride, n);
            for (size_t line = 0; line < SIGN_ROWS * Q1_BYTES; line += 64)
                _mm_prefetch(ahead + g * SIGN_ROWS * Q1_BYTES + line, _MM_HINT_T1);
            const uint8_t *codes = s.codes + g * s.padded * GROUP;
            for (size_t l = 0; l < tokens * planes; l += 4, codes += STEPS_QUAD) {
                const float *scale = s.scales + g * s.tokens + l / planes;
                const int32_t *sum = s.sums + g * s.tokens + l / planes;
                float(*to)[SIGN_ROWS] = acc + l / planes;
                size_t rest = MIN(tokens * planes - l, (size_t)4);
                if (planes == 1 && rest == 1)
                    sign_lines(to, bytes, d, codes, scale, sum, 1, planes);
                else if (rest == 2)
                    sign_lines(to, bytes, d, codes, scale, sum, 2, planes);
                else if (planes == 1 && rest == 3)
                    sign_lines(to, bytes, d, codes, scale, sum, 3, planes);
                else
                    sign_lines(to, bytes, d, codes, scale, sum, 4, planes);
            }
        }
        for (size_t t = 0; t < tokens; t++)
            memcpy(y + t * y_stride + r, acc[t], n * sizeof(float));
    }
}

static void sign_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                     size_t tokens, struct q1_next next)
{
    (void)next;
    sign_planes(y, y_stride, w, row0, row1, groups, packed, tokens, 1);
}

static const struct q1_family sign = {"sign", SIGN_ROWS, SIGN_TOKENS, steps_bytes, steps_pack, sign_run};

static void wide_sign_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                          size_t tokens, struct q1_next next)
{
    (void)next;
    sign_planes(y, y_stride, w, row0, row1, groups, packed, tokens, WIDE_PLANES);
}

static const struct q1_family wide_sign = {"sign", SIGN_ROWS, SIGN_TOKENS, wide_steps_bytes, wide_steps_pack, wide_sign_run};

#endif
