/* q1_arm.h: the packed form of activations that the "sign" families of all ARM levels share.
 * Needs NEON. Layer: compute.
 *
 * COLUMNS. Bit b of each of the 16 bytes of a group are the weights b, b + 8 ... b + 120: one compare
 * (cmtst) makes bytes of 0 and -1 of them, so activations are kept in that order. A token has a line
 * of codes, or two when they come in two planes. Per group: [bit][line][16 bytes]; then the scales
 * and minus the sums of each group (planes joined), [group][token]. */
#ifndef SIGNUM_Q1_ARM_H
#define SIGNUM_Q1_ARM_H

#include <arm_neon.h>
#include <string.h>

#include "kernels.h"

static inline size_t columns_size(size_t groups, size_t tokens, size_t planes)
{
    return groups * tokens * (planes * GROUP + sizeof(float) + sizeof(int32_t));
}

struct columns {
    const int8_t *codes;       /* [group][bit][line][16] */
    const float *scales;       /* [group][token] */
    const int32_t *minus_sums; /* [group][token] */
};

static inline struct columns columns_of(const void *packed, size_t groups, size_t tokens, size_t planes)
{
    const int8_t *codes = packed;
    const float *scales = (const float *)(const void *)(codes + groups * tokens * planes * GROUP);
    return (struct columns){codes, scales, (const int32_t *)(const void *)(scales + groups * tokens)};
}

/* The activations that meet bit b of the bytes 0..15 to column[b]; returns the sum of all. */
static inline int32_t columns_of_group(int8x16_t column[8], const int8_t *x)
{
    int8x16x4_t low = vld4q_s8(x), high = vld4q_s8(x + 64); /* by the number modulo 4 */
    int16x8_t sum = vdupq_n_s16(0);
    UNROLL
    for (size_t b = 0; b < 4; b++) {
        column[b] = vuzp1q_s8(low.val[b], high.val[b]);
        column[b + 4] = vuzp2q_s8(low.val[b], high.val[b]);
        sum = vpadalq_s8(vpadalq_s8(sum, low.val[b]), high.val[b]);
    }
    return vaddlvq_s16(sum);
}

TEMPLATE void columns_planes(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1,
                             size_t planes)
{
    size_t lines = tokens * planes;
    float *scales = (float *)((uint8_t *)packed + groups * lines * GROUP);
    int32_t *minus_sums = (int32_t *)(scales + groups * tokens);
    for (size_t g = group0; g < group1; g++) {
        for (size_t t = 0; t < tokens; t++) {
            int32_t sum = 0;
            for (size_t l = t * planes; l < (t + 1) * planes; l++) {
                int8_t *out = (int8_t *)packed + (g * GROUP / 16 * lines + l) * 16;
                int8x16_t column[8];
                sum = WIDE_UNIT * sum + columns_of_group(column, q + (l * groups + g) * GROUP);
                for (size_t b = 0; b < 8; b++)
                    vst1q_s8(out + b * lines * 16, column[b]);
            }
            minus_sums[g * tokens + t] = -sum;
            scales[g * tokens + t] = scale[t * groups + g];
        }
    }
}

static inline size_t columns_bytes(size_t groups, size_t tokens) { return columns_size(groups, tokens, 1); }

static inline void columns_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0,
                                size_t group1)
{
    columns_planes(packed, q, scale, groups, tokens, group0, group1, 1);
}

static inline size_t wide_columns_bytes(size_t groups, size_t tokens) { return columns_size(groups, tokens, WIDE_PLANES); }

static inline void wide_columns_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0,
                                     size_t group1)
{
    columns_planes(packed, q, scale, groups, tokens, group0, group1, WIDE_PLANES);
}

static inline float one_scale(const uint8_t *w)
{
    __fp16 d;
    memcpy(&d, w, sizeof d);
    return d;
}

/* The scales of four rows. In registers, because a vector load of what was just stored
 * in pieces waits. */
static inline float32x4_t four_scales(const uint8_t *w0, const uint8_t *w1, const uint8_t *w2, const uint8_t *w3)
{
    uint16_t d[4];
    memcpy(&d[0], w0, sizeof *d);
    memcpy(&d[1], w1, sizeof *d);
    memcpy(&d[2], w2, sizeof *d);
    memcpy(&d[3], w3, sizeof *d);
    return vcvt_f32_f16(vreinterpret_f16_u64(vcreate_u64(d[0] | (uint64_t)d[1] << 16 | (uint64_t)d[2] << 32 | (uint64_t)d[3] << 48)));
}

#endif
