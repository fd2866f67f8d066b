/* sign_neon.h: the "sign" family of AArch64, rows in place: a test of bit b in each of a
 * row's 16 bytes gives 16 bytes of 0 or -1, which select activations. Four rows and up to
 * four tokens at once. The includer defines first
 *     sign_sums                          a register of partial sums, and
 *     sign_zero()                        an empty one
 *     sign_step(sums, selected, codes)   sums - selected * codes; selected is 0 or -1
 *     sign_words(sums)                   the same total in four 32-bit lanes
 * Layer: compute. */
#ifndef SIGNUM_SIGN_NEON_H
#define SIGNUM_SIGN_NEON_H

#include <arm_neon.h>
#include <string.h>

#include "kernels.h"

/* Packed: for every group and token eight vectors, the b-th with the activations that meet bit
 * b of bytes 0..15; [group][token]. Then scales and sums of the group, [group][token]. */

enum { SIGN_ROWS = 4, SIGN_TOKENS = 64 };

static size_t sign_bytes(size_t groups, size_t tokens) { return groups * tokens * (GROUP + sizeof(float) + sizeof(int32_t)); }

static inline const float *sign_scales(const void *packed, size_t groups, size_t tokens)
{
    return (const float *)((const uint8_t *)packed + groups * tokens * GROUP);
}

static inline const int32_t *sign_totals(const void *packed, size_t groups, size_t tokens)
{
    return (const int32_t *)(sign_scales(packed, groups, tokens) + groups * tokens);
}

static void sign_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    float *scales = (float *)((uint8_t *)packed + groups * tokens * GROUP);
    int32_t *totals = (int32_t *)(scales + groups * tokens);
    for (size_t g = group0; g < group1; g++) {
        for (size_t t = 0; t < tokens; t++) {
            const int8_t *x = q + (t * groups + g) * GROUP;
            int8_t *out = (int8_t *)packed + (g * tokens + t) * GROUP;
            /* 16 x 8 bytes transposed: every fourth, then every second of what came out. */
            int8x16x4_t a = vld4q_s8(x), b = vld4q_s8(x + 64);
            int16x8_t total = vdupq_n_s16(0);
            for (size_t i = 0; i < 4; i++) {
                vst1q_s8(out + 16 * i, vuzp1q_s8(a.val[i], b.val[i]));
                vst1q_s8(out + 16 * i + 64, vuzp2q_s8(a.val[i], b.val[i]));
                total = vpadalq_s8(vpadalq_s8(total, a.val[i]), b.val[i]);
            }
            scales[g * tokens + t] = scale[t * groups + g];
            totals[g * tokens + t] = vaddlvq_s16(total);
        }
    }
}

/* The scales of four rows. */
static inline float32x4_t sign_d(const uint8_t *const row[4])
{
    uint16_t half[4];
    for (size_t i = 0; i < 4; i++)
        memcpy(&half[i], row[i], sizeof half[i]);
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(half)));
}

/* One group of four rows times n tokens: acc[t] = fma(d * s, 2 * selected - total, acc[t]). */
TEMPLATE void sign_group(float32x4_t *acc, const uint8_t *const row[4], const int8_t *codes, const float *s, const int32_t *total, size_t n)
{
    uint8x16_t w[4];
    sign_sums p[4][4];
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        w[i] = vld1q_u8(row[i] + 2);
        UNROLL
        for (size_t t = 0; t < n; t++)
            p[t][i] = sign_zero();
    }
    UNROLL
    for (unsigned b = 0; b < 8; b++) {
        int8x16_t selected[4];
        UNROLL
        for (size_t i = 0; i < 4; i++)
            selected[i] = vreinterpretq_s8_u8(vtstq_u8(w[i], vdupq_n_u8((uint8_t)(1u << b))));
        UNROLL
        for (size_t t = 0; t < n; t++) {
            int8x16_t q = vld1q_s8(codes + t * GROUP + 16 * b);
            UNROLL
            for (size_t i = 0; i < 4; i++)
                p[t][i] = sign_step(p[t][i], selected[i], q);
        }
    }
    float32x4_t d = sign_d(row);
    UNROLL
    for (size_t t = 0; t < n; t++) {
        int32x4_t sum = vpaddq_s32(vpaddq_s32(sign_words(p[t][0]), sign_words(p[t][1])), vpaddq_s32(sign_words(p[t][2]), sign_words(p[t][3])));
        int32x4_t isum = vsubq_s32(vshlq_n_s32(vnegq_s32(sum), 1), vdupq_n_s32(total[t]));
        acc[t] = vfmaq_f32(acc[t], vmulq_n_f32(d, s[t]), vcvtq_f32_s32(isum));
    }
}

static void sign_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed, size_t tokens)
{
    const float *s = sign_scales(packed, groups, tokens);
    const int32_t *total = sign_totals(packed, groups, tokens);
    size_t stride = groups * Q1_BYTES;
    for (size_t r = row0; r < row1; r += SIGN_ROWS) {
        size_t n = MIN(row1 - r, (size_t)SIGN_ROWS);
        const uint8_t *row[4]; /* beyond the range the last one again */
        for (size_t i = 0; i < 4; i++)
            row[i] = w + (r + MIN(i, n - 1)) * stride;
        float32x4_t acc[SIGN_TOKENS];
        for (size_t t = 0; t < tokens; t++)
            acc[t] = vdupq_n_f32(0);
        for (size_t g = 0; g < groups; g++) {
            size_t at = g * tokens, t = 0;
            const int8_t *codes = (const int8_t *)packed + at * GROUP;
            for (; t + 4 <= tokens; t += 4)
                sign_group(acc + t, row, codes + t * GROUP, s + at + t, total + at + t, 4);
            if (t + 2 <= tokens) {
                sign_group(acc + t, row, codes + t * GROUP, s + at + t, total + at + t, 2);
                t += 2;
            }
            if (t < tokens)
                sign_group(acc + t, row, codes + t * GROUP, s + at + t, total + at + t, 1);
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

static const struct q1_family sign = {"sign", SIGN_ROWS, SIGN_TOKENS, sign_bytes, sign_pack, sign_run};

#endif
