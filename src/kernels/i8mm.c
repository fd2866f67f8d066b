/* i8mm.c: AArch64 with 8-bit matrix multiplication: one instruction multiplies two rows with
 * two tokens, eight weights deep. One token alone takes the dot products of dotprod.c. */
#include "kernels.h"

#include <arm_neon.h>

#include "cpu.h"

typedef int32x4_t sign_sums;

static inline sign_sums sign_zero(void) { return vdupq_n_s32(0); }
static inline sign_sums sign_step(sign_sums sums, int8x16_t selected, int8x16_t codes) { return vdotq_s32(sums, selected, codes); }
static inline int32x4_t sign_words(sign_sums sums) { return sums; }

#include "sign_neon.h"

/* Packed: pairs of tokens, padded with zeros: for every group and pair 16 vectors, for bit b
 * bytes 0..7 of both tokens, then bytes 8..15. Then scales and sums of the group, [group][token],
 * tokens padded to an even number. */

enum { ROWS = 4, PAIRS = 4 /* of tokens at once */ };

static inline size_t padded(size_t tokens) { return ROUND_UP(tokens, (size_t)2); }

static size_t matrix_bytes(size_t groups, size_t tokens) { return sign_bytes(groups, padded(tokens)); }

static void matrix_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    size_t all = padded(tokens);
    float *scales = (float *)((uint8_t *)packed + groups * all * GROUP);
    int32_t *totals = (int32_t *)(scales + groups * all);
    for (size_t g = group0; g < group1; g++) {
        for (size_t t = 0; t < all; t++) {
            int8_t *out = (int8_t *)packed + (g * all + t / 2 * 2) * GROUP + t % 2 * 8;
            int32_t total = 0;
            const int8_t *x = t < tokens ? q + (t * groups + g) * GROUP : NULL;
            for (size_t i = 0; i < GROUP; i++) { /* activation i meets bit i % 8 of byte i / 8 */
                int8_t value = x ? x[i] : 0;
                out[(i % 8 * 2 + i / 64) * 16 + i / 8 % 8] = value;
                total += value;
            }
            scales[g * all + t] = x ? scale[t * groups + g] : 0;
            totals[g * all + t] = total;
        }
    }
}

/* One group of four rows times n pairs of tokens. */
TEMPLATE void matrix_group(float32x4_t *acc, const uint8_t *const row[4], const int8_t *codes, const float *s, const int32_t *total, size_t n)
{
    int32x4_t p[PAIRS][2];
    uint8x16_t w[2][2]; /* [rows 0 and 1, rows 2 and 3][bytes 0..7, bytes 8..15] */
    UNROLL
    for (size_t i = 0; i < 2; i++) {
        uint64x2_t a = vreinterpretq_u64_u8(vld1q_u8(row[2 * i] + 2)), b = vreinterpretq_u64_u8(vld1q_u8(row[2 * i + 1] + 2));
        w[i][0] = vreinterpretq_u8_u64(vzip1q_u64(a, b));
        w[i][1] = vreinterpretq_u8_u64(vzip2q_u64(a, b));
        UNROLL
        for (size_t t = 0; t < n; t++)
            p[t][i] = vdupq_n_s32(0);
    }
    UNROLL
    for (unsigned step = 0; step < 16; step++) {
        uint8x16_t bit = vdupq_n_u8((uint8_t)(1u << step / 2));
        int8x16_t upper = vreinterpretq_s8_u8(vtstq_u8(w[0][step % 2], bit)), lower = vreinterpretq_s8_u8(vtstq_u8(w[1][step % 2], bit));
        UNROLL
        for (size_t t = 0; t < n; t++) {
            int8x16_t q = vld1q_s8(codes + t * 2 * GROUP + 16 * step);
            p[t][0] = vmmlaq_s32(p[t][0], upper, q);
            p[t][1] = vmmlaq_s32(p[t][1], lower, q);
        }
    }
    float32x4_t d = sign_d(row);
    UNROLL
    for (size_t t = 0; t < n; t++) {
        /* p: row 0 token 0, row 0 token 1, row 1 token 0, row 1 token 1; selected is -1. */
        int32x4_t sum0 = vnegq_s32(vuzp1q_s32(p[t][0], p[t][1])), sum1 = vnegq_s32(vuzp2q_s32(p[t][0], p[t][1]));
        int32x4_t isum0 = vsubq_s32(vshlq_n_s32(sum0, 1), vdupq_n_s32(total[2 * t])), isum1 = vsubq_s32(vshlq_n_s32(sum1, 1), vdupq_n_s32(total[2 * t + 1]));
        acc[2 * t] = vfmaq_f32(acc[2 * t], vmulq_n_f32(d, s[2 * t]), vcvtq_f32_s32(isum0));
        acc[2 * t + 1] = vfmaq_f32(acc[2 * t + 1], vmulq_n_f32(d, s[2 * t + 1]), vcvtq_f32_s32(isum1));
    }
}

static void matrix_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed, size_t tokens)
{
    size_t all = padded(tokens), stride = groups * Q1_BYTES;
    const float *s = sign_scales(packed, groups, all);
    const int32_t *total = sign_totals(packed, groups, all);
    for (size_t r = row0; r < row1; r += ROWS) {
        size_t n = MIN(row1 - r, (size_t)ROWS);
        const uint8_t *row[4]; /* beyond the range the last one again */
        for (size_t i = 0; i < 4; i++)
            row[i] = w + (r + MIN(i, n - 1)) * stride;
        float32x4_t acc[SIGN_TOKENS];
        for (size_t t = 0; t < all; t++)
            acc[t] = vdupq_n_f32(0);
        for (size_t g = 0; g < groups; g++) {
            size_t at = g * all, t = 0;
            const int8_t *codes = (const int8_t *)packed + at * GROUP;
            for (; t + 2 * PAIRS <= all; t += 2 * PAIRS)
                matrix_group(acc + t, row, codes + t * GROUP, s + at + t, total + at + t, PAIRS);
            if (t + 4 <= all) {
                matrix_group(acc + t, row, codes + t * GROUP, s + at + t, total + at + t, 2);
                t += 4;
            }
            if (t < all)
                matrix_group(acc + t, row, codes + t * GROUP, s + at + t, total + at + t, 1);
            for (size_t i = 0; i < 4; i++)
                row[i] += Q1_BYTES;
        }
        for (size_t t = 0; t < tokens; t++) {
            float out[4];
            vst1q_f32(out, acc[t]);
            memcpy(y + t * y_stride + r, out, n * sizeof *out);
        }
    }
}

static const struct q1_family matrix = {"sign", ROWS, SIGN_TOKENS, matrix_bytes, matrix_pack, matrix_run};

static const struct q1_family *pick_sign(size_t tokens) { return tokens == 1 ? &sign : &matrix; }

static int q1_auto(size_t tokens)
{
    (void)tokens;
    return 0;
}

const struct kernels kernels_i8mm = {
    .level = "i8mm",
    .needs = CPU_NEON | CPU_DOTPROD | CPU_I8MM,
    .q1 = {pick_sign, NULL, NULL},
    .q1_auto = q1_auto,
};
