/* act16_neon.h: NEON for activations in two planes: their quantization, and tables of three
 * parts. The includer defines first what it has for one plane: magnitude, round_eight, q8_scale
 * and nibble_sums. The tables are those of act16_tables.h. Layer: compute. */
#ifndef SIGNUM_ACT16_NEON_H
#define SIGNUM_ACT16_NEON_H

#include <arm_neon.h>

#include "act16_tables.h"

/* Nothing needs clamping: |x| * (WIDE_MOST / amax) is at most a few ulps above WIDE_MOST. */
static bool quantize_i16(int8_t *high, int8_t *low, float *scale, const float *x, size_t n)
{
    for (size_t g = 0; g < n; g += GROUP) {
        uint32x4_t largest = vdupq_n_u32(0);
        for (size_t i = g; i < g + GROUP; i += 4)
            largest = vmaxq_u32(largest, magnitude(x + i));
        float inverse, s = q8_scale(&inverse, vmaxvq_u32(largest), WIDE_MOST);
        if (!(s < __builtin_inff()))
            return false;
        scale[g / GROUP] = s;
        for (size_t i = g; i < g + GROUP; i += 8) {
            int16x8_t wide = round_eight(x + i, inverse), below = vshrq_n_s16(wide, 15);
            int16x8_t h = vshrq_n_s16(vaddq_s16(wide, vandq_s16(below, vdupq_n_s16(WIDE_UNIT - 1))), 7); /* toward 0 */
            vst1_s8(high + i, vmovn_s16(h));
            vst1_s8(low + i, vmovn_s16(vsubq_s16(wide, vshlq_n_s16(h, 7))));
        }
    }
    return true;
}

/* The three tables of one nibble, 32 bytes apart. */
static inline void wide_nibble_tables(uint8_t *out, int16x4_t high, int16x4_t low)
{
    uint16x8_t h[2], l[2], upper[2];
    nibble_sums(h, high, 508);
    nibble_sums(l, low, 512);
    for (size_t i = 0; i < 2; i++) /* of 128 h + l, less its lowest six bits */
        upper[i] = vaddq_u16(vshlq_n_u16(h[i], 1), vshrq_n_u16(l[i], 6));
    vst1q_u8(out, vandq_u8(vmovn_high_u16(vmovn_u16(l[0]), l[1]), vdupq_n_u8(63)));
    vst1q_u8(out + 32, vandq_u8(vmovn_high_u16(vmovn_u16(upper[0]), upper[1]), vdupq_n_u8(63)));
    vst1q_u8(out + 64, vshrn_high_n_u16(vshrn_n_u16(upper[0], 6), upper[1], 6));
}

static void wide_tables_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    float *scales = (float *)((uint8_t *)packed + groups * tokens * WIDE_GROUP);
    for (size_t g = group0; g < group1; g++) {
        for (size_t t = 0; t < tokens; t++) {
            const int8_t *x = q + (t * WIDE_PLANES * groups + g) * GROUP;
            uint8_t *out = (uint8_t *)packed + (g * tokens + t) * WIDE_GROUP;
            scales[g * tokens + t] = scale[t * groups + g];
            for (size_t k = 0; k < GROUP; k += 8, out += WIDE_BYTE) {
                int16x8_t high = vmovl_s8(vld1_s8(x + k)), low = vmovl_s8(vld1_s8(x + groups * GROUP + k));
                wide_nibble_tables(out, vget_low_s16(high), vget_low_s16(low));
                wide_nibble_tables(out + 16, vget_high_s16(high), vget_high_s16(low));
            }
        }
    }
}

static inline uint8x16_t look_up_both(const uint8_t *t, uint8x16_t n0, uint8x16_t n1)
{
    return vaddq_u8(vqtbl1q_u8(vld1q_u8(t), n0), vqtbl1q_u8(vld1q_u8(t + 16), n1));
}

static inline void widen(uint16x8_t sum[2], uint8x16_t bytes)
{
    sum[0] = vaddw_u8(sum[0], vget_low_u8(bytes));
    sum[1] = vaddw_high_u8(sum[1], bytes);
}

/* acc = fma(d * s, sum, acc) for 16 rows. */
static inline void add_wide_group(float acc[16], const uint8x16_t x[16], const float32x4_t d[4], const uint8_t *tables, float s)
{
    const uint8x16_t nibble = vdupq_n_u8(15);
    uint16x8_t low[2], middle[2], high[2]; /* of rows 0..7 and 8..15 */
    UNROLL
    for (size_t i = 0; i < 2; i++)
        low[i] = middle[i] = high[i] = vdupq_n_u16(0);
    UNROLL
    for (size_t i = 0; i < 16; i += 4) {
        uint8x16_t h = vdupq_n_u8(0);
        UNROLL
        for (size_t j = i; j < i + 4; j += 2) {
            uint8x16_t l = vdupq_n_u8(0), m = l;
            UNROLL
            for (size_t k = j; k < j + 2; k++, tables += WIDE_BYTE) {
                uint8x16_t n0 = vandq_u8(x[k], nibble), n1 = vshrq_n_u8(x[k], 4);
                l = vaddq_u8(l, look_up_both(tables, n0, n1));
                m = vaddq_u8(m, look_up_both(tables + 32, n0, n1));
                h = vaddq_u8(h, look_up_both(tables + 64, n0, n1));
            }
            widen(low, l);
            widen(middle, m);
        }
        widen(high, h);
    }
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        uint16x8_t upper = vaddq_u16(vshlq_n_u16(high[i / 2], 6), middle[i / 2]); /* at most 32 * 2047 */
        uint32x4_t sum = i % 2 ? vaddw_high_u16(vshll_high_n_u16(upper, 6), low[i / 2])
                               : vaddw_u16(vshll_n_u16(vget_low_u16(upper), 6), vget_low_u16(low[i / 2]));
        int32x4_t isum = vsubq_s32(vreinterpretq_s32_u32(sum), vdupq_n_s32(WIDE_BIAS));
        vst1q_f32(acc + 4 * i, vfmaq_f32(vld1q_f32(acc + 4 * i), vmulq_n_f32(d[i], s), vcvtq_f32_s32(isum)));
    }
}

#endif
