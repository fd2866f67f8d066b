/* avx512vnni.c: AVX-512 with VNNI: the "sign" family for many tokens, 16 rows of bytes 0 and
 * 1 in a register, twelve tokens for each load of it. Few tokens take the 256-bit form that
 * AVX-VNNI has too. --matmul auto takes avx512.c's tables all the same, which win at any number of tokens
 * on Zen 4, by half from 16 on. All else is avx512.c's. */
#include "kernels.h"

#include <immintrin.h>

#include "attn_q8_avx512vnni.h"
#include "cpu.h"
#include "peak.h"

static inline __m256i sign_step(__m256i acc, __m256i weights, __m256i codes) { return _mm256_dpbusd_epi32(acc, weights, codes); }

static inline __m256i sign_twice(__m256i acc) { return _mm256_slli_epi32(acc, 1); }

#include "sign_x86.h"

enum {
    LINES = 12
}; /* at once: one accumulator each */

/* One group of 16 rows as bytes 0 and 1: [step][row][4]; rows beyond n repeat the last. */
TEMPLATE void expand_group(__m512i bytes[STEPS], float d[SIGN_ROWS], const uint8_t *w, size_t stride, size_t n)
{
    _Alignas(32) uint16_t scales[SIGN_ROWS];
    const __m512i one = _mm512_set1_epi8(1);
    const uint8_t *row[SIGN_ROWS];
    for (size_t i = 0; i < SIGN_ROWS; i++) {
        row[i] = w + MIN(i, n - 1) * stride;
        memcpy(&scales[i], row[i], sizeof scales[i]);
    }
    /* Rows i, i + 4, i + 8, i + 12 in the four lanes of z[i]; transposed by 32-bit words. */
    __m512i z[4];
    UNROLL
    for (size_t i = 0; i < 4; i++)
        z[i] = _mm512_inserti64x4(_mm512_castsi256_si512(sign_rows(row[i] + 2, row[i + 4] + 2)), sign_rows(row[i + 8] + 2, row[i + 12] + 2),
                                  1);
    __m512i ab = _mm512_unpacklo_epi32(z[0], z[1]), cd = _mm512_unpacklo_epi32(z[2], z[3]);
    __m512i ab_high = _mm512_unpackhi_epi32(z[0], z[1]), cd_high = _mm512_unpackhi_epi32(z[2], z[3]);
    const __m512i word[4] = {_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd), _mm512_unpacklo_epi64(ab_high, cd_high),
                             _mm512_unpackhi_epi64(ab_high, cd_high)};
    UNROLL
    for (size_t m = 0; m < 4; m++) {
        UNROLL
        for (unsigned b = 0; b < 8; b++)
            bytes[m * 8 + b] = _mm512_and_si512(_mm512_srli_epi32(word[m], b), one);
    }
    _mm512_store_ps(d, _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)scales)));
}

static inline __m512i kept(__m512i v)
{
    __asm__("" : "+v"(v));
    return v;
}

/* acc[t] (16 rows) = fma(d * s[t], 2 * (sum under set bits) - sum[t], acc[t]) for n lines. */
TEMPLATE void many_lines(float (*acc)[SIGN_ROWS], const __m512i bytes[STEPS], const float d[SIGN_ROWS], const uint8_t *codes,
                         const float *s, const int32_t *sum, size_t n, size_t planes)
{
    __m512i p[LINES];
    const size_t tokens = n / planes; /* under sanitizers a division in its condition keeps a loop from being unrolled */
    UNROLL
    for (size_t l = 0; l < n; l++)
        p[l] = _mm512_setzero_si512();
    for (size_t step = 0; step < STEPS; step++, codes += 16) {
        __m512i w = kept(bytes[step]);
        UNROLL
        for (size_t l = 0; l < n; l++) {
            int32_t four;
            memcpy(&four, codes + l / 4 * STEPS_QUAD + l % 4 * 4, sizeof four);
            p[l] = kept(_mm512_dpbusd_epi32(p[l], w, _mm512_set1_epi32(four)));
        }
    }
    UNROLL
    for (size_t t = 0; t < tokens; t++) {
        __m512i under = planes == 1 ? p[t] : _mm512_add_epi32(_mm512_slli_epi32(p[t * planes], 7), p[t * planes + planes - 1]);
        __m512i isum = _mm512_sub_epi32(_mm512_slli_epi32(under, 1), _mm512_set1_epi32(sum[t]));
        __m512 ds = _mm512_mul_ps(_mm512_load_ps(d), _mm512_set1_ps(s[t]));
        _mm512_store_ps(acc[t], _mm512_fmadd_ps(ds, _mm512_cvtepi32_ps(isum), _mm512_load_ps(acc[t])));
    }
}

TEMPLATE void many_planes(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                          size_t tokens, size_t planes)
{
    const struct steps s = steps_of(packed, groups, tokens, planes);
    size_t stride = groups * Q1_BYTES;
    for (size_t r = row0; r < row1; r += SIGN_ROWS) {
        size_t n = MIN(row1 - r, (size_t)SIGN_ROWS);
        const char *ahead = (const char *)w + MIN(r + SIGN_ROWS, row1 - 1) * stride; /* the next rows, to L2 */
        _Alignas(64) float acc[SIGN_TOKENS + LINES][SIGN_ROWS];
        memset(acc, 0, sizeof acc[0] * s.tokens);
        for (size_t g = 0; g < groups; g++) {
            __m512i bytes[STEPS];
            _Alignas(64) float d[SIGN_ROWS];
            expand_group(bytes, d, w + r * stride + g * Q1_BYTES, stride, n);
            for (size_t line = 0; line < SIGN_ROWS * Q1_BYTES; line += 64)
                _mm_prefetch(ahead + g * SIGN_ROWS * Q1_BYTES + line, _MM_HINT_T1);
            const uint8_t *codes = s.codes + g * s.padded * GROUP;
            const float *scale = s.scales + g * s.tokens;
            const int32_t *sum = s.sums + g * s.tokens;
            size_t l = 0;
#define SOME(n) many_lines(acc + l / planes, bytes, d, codes + l * GROUP, scale + l / planes, sum + l / planes, n, planes)
            for (; l + LINES <= s.padded; l += LINES)
                SOME(LINES);
            if (l + 8 <= s.padded)
                SOME(8);
            else if (l < s.padded)
                SOME(4);
#undef SOME
        }
        for (size_t t = 0; t < tokens; t++)
            memcpy(y + t * y_stride + r, acc[t], n * sizeof(float));
    }
}

static void many_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                     size_t tokens, struct q1_next next)
{
    (void)next;
    many_planes(y, y_stride, w, row0, row1, groups, packed, tokens, 1);
}

static const struct q1_family many = {"sign", SIGN_ROWS, SIGN_TOKENS, steps_bytes, steps_pack, many_run};

static const struct q1_family *pick_sign(size_t tokens) { return tokens <= 4 ? &sign : &many; }

static void wide_many_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                          size_t tokens, struct q1_next next)
{
    (void)next;
    many_planes(y, y_stride, w, row0, row1, groups, packed, tokens, WIDE_PLANES);
}

static const struct q1_family wide_many = {"sign", SIGN_ROWS, SIGN_TOKENS, wide_steps_bytes, wide_steps_pack, wide_many_run};

static const struct q1_family *pick_wide_sign(size_t tokens) { return tokens <= 2 ? &wide_sign : &wide_many; }

/* -------------------------------------------------------------------- peak */

static inline __m512i step_i8(__m512i sum, __m512i a, __m512i b) { return _mm512_dpbusd_epi32(sum, a, b); }

PEAK_LOOP(peak_i8, __m512i, "v", _mm512_setzero_si512(), step_i8, 64)

/* ------------------------------------------------------------------- table */

const struct kernels kernels_avx512vnni = {
    .level = "avx512vnni",
    .needs = CPU_AVX2 | CPU_AVX512 | CPU_AVX512VNNI,
    .attn_scores_q8 = attn_scores_q8,
    .attn_values_q8 = attn_values_q8,
    .peak_i8 = peak_i8,
    .q1 = {pick_sign, NULL, NULL},
    .q1_wide = {pick_wide_sign, NULL, NULL},
};
