/* attn_q8_arm.h: attention over a KV cache in int8. The includer defines first
 *     dot4(sums, a, b)   sums plus, in each 32-bit lane, four products of bytes
 * Layer: compute. */
#ifndef SIGNUM_ATTN_Q8_ARM_H
#define SIGNUM_ATTN_Q8_ARM_H

#include <arm_neon.h>
#include <string.h>

#include "kernels.h"

/* The scale and the factor of quantize_head's rule for numbers of which the largest has
 * these bits, without its sign. */
static inline float q8_scale(float *inverse, uint32_t bits, float most)
{
    float amax;
    memcpy(&amax, &bits, sizeof amax);
    bool finite = bits < 0x7f800000, zero = amax < 0x1p-100f;
    *inverse = !finite || zero ? 0 : most / amax;
    return !finite ? __builtin_nanf("") : zero ? 0 : amax / most;
}

static inline int8x16_t q8_four(const int8_t *src)
{
    int32_t four;
    memcpy(&four, src, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

/* sum[j][v] += the bytes of n_v vectors times the words of n queries, `query` apart, over
 * `steps` steps of four bytes; the vectors of a step are `stride` behind those before. */
TEMPLATE void q8_sums(int32x4_t sum[4][4], const int8_t *bytes, size_t stride, size_t n_v, const int8_t *words, size_t query, size_t n,
                      size_t steps)
{
    for (size_t i = 0; i < steps; i++, bytes += stride, words += 4) {
        int8x16_t b[4];
        UNROLL
        for (size_t v = 0; v < n_v; v++)
            b[v] = vld1q_s8(bytes + 16 * v);
        UNROLL
        for (size_t j = 0; j < n; j++) {
            int8x16_t w = q8_four(words + j * query);
            UNROLL
            for (size_t v = 0; v < n_v; v++)
                sum[j][v] = dot4(sum[j][v], b[v], w);
        }
    }
}

TEMPLATE void q8_score_tile(float *s, const int8_t *q, const float *q_scale, size_t n, const int8_t *tile, size_t dim, float scale)
{
    const float *k_scale = (const float *)(const void *)(tile + ATTN_TILE * dim);
    for (size_t block = 0; block < ATTN_TILE; block += ATTN_LANES) {
        int32x4_t sum[4][4];
        UNROLL
        for (size_t a = 0; a < 4 * n; a++)
            sum[a / 4][a % 4] = vdupq_n_s32(0);
        q8_sums(sum, tile + block * dim, 4 * ATTN_LANES, 4, q, dim, n, dim / 4);
        UNROLL
        for (size_t a = 0; a < 4 * n; a++) {
            float32x4_t unit = vmulq_n_f32(vld1q_f32(k_scale + block + a % 4 * 4), q_scale[a / 4] * scale);
            vst1q_f32(s + a / 4 * ATTN_TILE + block + a % 4 * 4, vmulq_f32(vcvtq_f32_s32(sum[a / 4][a % 4]), unit));
        }
    }
}

static void attn_scores_q8(float *s, const int8_t *q, const float *q_scale, size_t n_q, const void *k, size_t dim, float scale)
{
    size_t j = 0;
    for (; j + 4 <= n_q; j += 4)
        q8_score_tile(s + j * ATTN_TILE, q + j * dim, q_scale + j, 4, k, dim, scale);
    for (; j < n_q; j++)
        q8_score_tile(s + j * ATTN_TILE, q + j * dim, q_scale + j, 1, k, dim, scale);
}

/* Probabilities times scales as integers 0..255, less 128 so that they are signed bytes;
 * returns what 1 stands for. */
static inline float q8_weights(int8_t words[ATTN_TILE], const float *prob, const float *v_scale, size_t n_valid)
{
    float w[ATTN_TILE];
    uint32x4_t largest = vdupq_n_u32(0);
    static const uint32_t first[4] = {0, 1, 2, 3};
    for (size_t p = 0; p < ATTN_TILE; p += 4) {
        uint32x4_t valid = vcltq_u32(vaddq_u32(vld1q_u32(first), vdupq_n_u32((uint32_t)p)), vdupq_n_u32((uint32_t)n_valid));
        uint32x4_t x = vandq_u32(vreinterpretq_u32_f32(vmulq_f32(vld1q_f32(prob + p), vld1q_f32(v_scale + p))), valid);
        vst1q_f32(w + p, vreinterpretq_f32_u32(x));
        largest = vmaxq_u32(largest, vandq_u32(x, vdupq_n_u32(0x7fffffff)));
    }
    float inverse, unit = q8_scale(&inverse, vmaxvq_u32(largest), PROB_MAX);
    for (size_t p = 0; p < ATTN_TILE; p += 8) {
        uint32x4_t a = vcvtnq_u32_f32(vmulq_n_f32(vld1q_f32(w + p), inverse)),
                   b = vcvtnq_u32_f32(vmulq_n_f32(vld1q_f32(w + p + 4), inverse));
        uint8x8_t c = vmovn_u16(vcombine_u16(vmovn_u32(a), vmovn_u32(b)));
        vst1_s8(words + p, vreinterpret_s8_u8(veor_u8(c, vdup_n_u8(0x80))));
    }
    return unit;
}

/* o = fma(sum, unit, o * factor) for n queries and n_v vectors of four dimensions from i on.
 * What the words lack, 128 times the sum of the values, is common to all queries. */
TEMPLATE void q8_value_tile(float *o, const int8_t *words, const float *unit, const float *factor, size_t n, const int8_t *tile, size_t i,
                            size_t n_v, size_t dim)
{
    static const int8_t ones[ATTN_TILE] = {[0 ... ATTN_TILE - 1] = 1};
    int32x4_t all[4][4], sum[4][4];
    UNROLL
    for (size_t v = 0; v < n_v; v++)
        all[0][v] = vdupq_n_s32(0);
    q8_sums(all, tile + 4 * i, 4 * dim, n_v, ones, 0, 1, ATTN_TILE / 4);
    UNROLL
    for (size_t a = 0; a < n_v * n; a++)
        sum[a / n_v][a % n_v] = vshlq_n_s32(all[0][a % n_v], 7);
    q8_sums(sum, tile + 4 * i, 4 * dim, n_v, words, ATTN_TILE, n, ATTN_TILE / 4);
    UNROLL
    for (size_t a = 0; a < n_v * n; a++) {
        size_t j = a / n_v;
        float *to = o + j * dim + i + a % n_v * 4;
        vst1q_f32(to, vfmaq_n_f32(vmulq_n_f32(vld1q_f32(to), factor[j]), vcvtq_f32_s32(sum[j][a % n_v]), unit[j]));
    }
}

TEMPLATE void q8_values(float *o, const int8_t *words, const float *unit, const float *factor, size_t n, const int8_t *tile, size_t dim)
{
    size_t i = 0;
    for (; i + 16 <= dim; i += 16)
        q8_value_tile(o, words, unit, factor, n, tile, i, 4, dim);
    for (; i + 4 <= dim; i += 4)
        q8_value_tile(o, words, unit, factor, n, tile, i, 1, dim);
    for (; i < dim; i++) {
        for (size_t j = 0; j < n; j++) {
            int32_t sum = 0;
            for (size_t p = 0; p < ATTN_TILE; p++)
                sum += (words[j * ATTN_TILE + p] + 128) * tile[p / 4 * dim * 4 + i * 4 + p % 4];
            o[j * dim + i] = __builtin_fmaf((float)sum, unit[j], o[j * dim + i] * factor[j]);
        }
    }
}

static void attn_values_q8(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n_q, const void *v, size_t dim)
{
    const float *v_scale = (const float *)(const void *)((const int8_t *)v + ATTN_TILE * dim);
    for (size_t j = 0; j < n_q; j += 4) {
        size_t n = MIN(n_q - j, (size_t)4);
        int8_t words[4 * ATTN_TILE];
        float unit[4];
        for (size_t l = 0; l < n; l++)
            unit[l] = q8_weights(words + l * ATTN_TILE, prob + (j + l) * ATTN_TILE, v_scale, n_valid[j + l]);
        if (n == 4)
            q8_values(o + j * dim, words, unit, factor + j, 4, v, dim);
        else
            for (size_t l = j; l < n_q; l++)
                q8_values(o + l * dim, words + (l - j) * ATTN_TILE, unit + l - j, factor + l, 1, v, dim);
    }
}

#endif
