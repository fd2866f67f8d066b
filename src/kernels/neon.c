/* neon.c: kernels for ARMv8 as it is everywhere: NEON with fma and binary16 conversions.
 *
 * One-bit weights are multiplied in place, from the mapped file, by "tables": 16 rows at a
 * time, one byte lane each. A transpose in registers brings byte k of all 16 rows into one
 * register; two tbl then look up the sums of four weights for all rows. A register holds
 * whole sums of different rows, so that the one fma per group that the contract fixes
 * serves four rows. Without dot products nothing else comes close, see q1_auto below. */
#include "kernels.h"

#include <arm_neon.h>

#include "cpu.h"
#include "mathfn.h"
#include "peak.h"
#include "popcount.h"
#include "q1_arm.h"

static inline int32x4_t dot4(int32x4_t sums, int8x16_t a, int8x16_t b)
{
    int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_high_s8(a, b);
    return vpadalq_s16(sums, vpaddq_s16(low, high)); /* two products are at most 2 * 128 * 127 */
}

#include "attn_q8_arm.h"

enum {
    LANES = 16
}; /* of float reductions: four registers */

/* ------------------------------------------------------------------ floats */

static inline float fold(const float32x4_t lanes[4])
{
    float32x4_t a = vaddq_f32(vaddq_f32(lanes[0], lanes[2]), vaddq_f32(lanes[1], lanes[3]));
    float32x2_t b = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(b, 0) + vget_lane_f32(b, 1);
}

static float dot_f32(const float *a, const float *b, size_t n)
{
    float32x4_t lanes[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        UNROLL
        for (size_t v = 0; v < 4; v++)
            lanes[v] = vfmaq_f32(lanes[v], vld1q_f32(a + i + 4 * v), vld1q_f32(b + i + 4 * v));
    }
    if (i < n) {
        float lane[LANES];
        for (size_t v = 0; v < 4; v++)
            vst1q_f32(lane + 4 * v, lanes[v]);
        for (size_t l = 0; i < n; i++, l++)
            lane[l] = fma_f32(a[i], b[i], lane[l]);
        for (size_t v = 0; v < 4; v++)
            lanes[v] = vld1q_f32(lane + 4 * v);
    }
    return fold(lanes);
}

static void rmsnorm(float *y, const float *x, const float *w, size_t n, float eps)
{
    float r = 1.0f / __builtin_sqrtf(dot_f32(x, x, n) / (float)n + eps);
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, vmulq_f32(vmulq_n_f32(vld1q_f32(x + i), r), vld1q_f32(w + i)));
    for (; i < n; i++)
        y[i] = (x[i] * r) * w[i];
}

static void add(float *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, vaddq_f32(vld1q_f32(y + i), vld1q_f32(x + i)));
    for (; i < n; i++)
        y[i] += x[i];
}

/* exp_f32 of mathfn.c, four at a time. */
static inline float32x4_t exp_four(float32x4_t x)
{
    const float32x4_t one = vdupq_n_f32(1), round = vdupq_n_f32(0x1.8p23f);
    float32x4_t t = vfmaq_f32(round, x, vdupq_n_f32(0x1.715476p+0f)), n = vsubq_f32(t, round);
    float32x4_t r = vfmaq_f32(x, n, vdupq_n_f32(-0x1.62e430p-1f));
    r = vfmaq_f32(r, n, vdupq_n_f32(0x1.05c610p-29f));
    float32x4_t p = vdupq_n_f32(0x1.6a2426p-10f);
    p = vfmaq_f32(vdupq_n_f32(0x1.1239e8p-7f), p, r);
    p = vfmaq_f32(vdupq_n_f32(0x1.5558f2p-5f), p, r);
    p = vfmaq_f32(vdupq_n_f32(0x1.555492p-3f), p, r);
    p = vfmaq_f32(vdupq_n_f32(0x1.fffffcp-2f), p, r);
    p = vfmaq_f32(one, p, r);
    p = vfmaq_f32(one, p, r);
    uint32x4_t bits = vaddq_u32(vreinterpretq_u32_f32(p), vshlq_n_u32(vreinterpretq_u32_f32(t), 23));
    bits = vbslq_u32(vcgtq_f32(x, vdupq_n_f32(88.72f)), vdupq_n_u32(0x7f800000), bits);
    bits = vbicq_u32(bits, vcltq_f32(x, vdupq_n_f32(-87.33f)));
    return vbslq_f32(vceqq_f32(x, x), vreinterpretq_f32_u32(bits), x);
}

static void silu_mul(float *y, const float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t g = vld1q_f32(gate + i);
        float32x4_t s = vdivq_f32(g, vaddq_f32(vdupq_n_f32(1), exp_four(vnegq_f32(g))));
        vst1q_f32(y + i, vmulq_f32(s, vld1q_f32(up + i)));
    }
    for (; i < n; i++)
        y[i] = (gate[i] / (1.0f + exp_f32(-gate[i]))) * up[i];
}

static void rope(float *x, const float *c, const float *s, size_t dim)
{
    size_t half = dim / 2, i = 0;
    for (; i + 4 <= half; i += 4) {
        float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + i + half), cos = vld1q_f32(c + i), sin = vld1q_f32(s + i);
        vst1q_f32(x + i, vfmaq_f32(vnegq_f32(vmulq_f32(b, sin)), a, cos));
        vst1q_f32(x + i + half, vfmaq_f32(vmulq_f32(b, cos), a, sin));
    }
    for (; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = fma_f32(a, c[i], -(b * s[i]));
        x[i + half] = fma_f32(a, s[i], b * c[i]);
    }
}

static void f16_from_f32(uint16_t *dst, const float *src, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        float16x4_t low = vcvt_f16_f32(vld1q_f32(src + i));
        vst1q_u16(dst + i, vreinterpretq_u16_f16(vcvt_high_f16_f32(low, vld1q_f32(src + i + 4))));
    }
    for (; i < n; i++)
        dst[i] = f32_to_f16(src[i]);
}

static inline float16x8_t load_eight(const uint16_t *src) { return vreinterpretq_f16_u16(vld1q_u16(src)); }

static void f32_from_f16(float *dst, const uint16_t *src, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        float16x8_t v = load_eight(src + i);
        vst1q_f32(dst + i, vcvt_f32_f16(vget_low_f16(v)));
        vst1q_f32(dst + i + 4, vcvt_high_f32_f16(v));
    }
    for (; i < n; i++)
        dst[i] = f16_to_f32(src[i]);
}

static inline uint32x4_t magnitude(const float *x) { return vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x))); }

/* First the largest value, then where it comes first. */
static int64_t argmax(const float *x, size_t n)
{
    float32x4_t max[4] = {vdupq_n_f32(x[0]), vdupq_n_f32(x[0]), vdupq_n_f32(x[0]), vdupq_n_f32(x[0])};
    uint32x4_t largest = vdupq_n_u32(0);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        UNROLL
        for (size_t v = 0; v < 4; v++) {
            max[v] = vmaxq_f32(max[v], vld1q_f32(x + i + 4 * v));
            largest = vmaxq_u32(largest, magnitude(x + i + 4 * v));
        }
    }
    float best = vmaxvq_f32(vmaxq_f32(vmaxq_f32(max[0], max[1]), vmaxq_f32(max[2], max[3])));
    bool finite = vmaxvq_u32(largest) < 0x7f800000 /* infinity */;
    for (; i < n; i++) {
        finite &= __builtin_fabsf(x[i]) < __builtin_inff();
        best = x[i] > best ? x[i] : best;
    }
    if (!finite)
        return -1;
    for (i = 0; i + 4 <= n; i += 4)
        if (vmaxvq_u32(vceqq_f32(vld1q_f32(x + i), vdupq_n_f32(best))))
            break;
    while (x[i] != best)
        i++;
    return (int64_t)i;
}

/* ---------------------------------------------------------------- integers */

static inline int16x8_t round_eight(const float *x, float inverse)
{
    int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), inverse)), b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), inverse));
    return vcombine_s16(vmovn_s32(a), vmovn_s32(b));
}

/* Nothing needs clamping: |x| * (127 / amax) is at most 127 and a few ulps, which rounds to 127. */
static float quantize_head(int8_t *q, const float *x, size_t n)
{
    uint32x4_t largest[2] = {vdupq_n_u32(0), vdupq_n_u32(0)}; /* floats without sign order as integers do */
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        largest[0] = vmaxq_u32(largest[0], magnitude(x + i));
        largest[1] = vmaxq_u32(largest[1], magnitude(x + i + 4));
    }
    uint32_t top = vmaxvq_u32(vmaxq_u32(largest[0], largest[1])), bits;
    for (; i < n; i++) {
        memcpy(&bits, x + i, sizeof bits);
        top = MAX(top, bits & 0x7fffffff);
    }
    float inverse, scale = q8_scale(&inverse, top, 127);
    if (inverse == 0) { /* an infinity times 0 would be no number */
        memset(q, 0, n);
        return scale;
    }
    for (i = 0; i + 8 <= n; i += 8)
        vst1_s8(q + i, vmovn_s16(round_eight(x + i, inverse)));
    for (; i < n; i++)
        q[i] = (int8_t)vcvtns_s32_f32(x[i] * inverse);
    return scale;
}

static bool quantize_i8(int8_t *q, float *scale, const float *x, size_t n)
{
    for (size_t group = 0; group < n / GROUP; group++) {
        scale[group] = quantize_head(q + group * GROUP, x + group * GROUP, GROUP);
        if (!(scale[group] < __builtin_inff()))
            return false;
    }
    return true;
}

static int32_t dot_i8(const int8_t *a, const int8_t *b, size_t n)
{
    int32x4_t sum = vdupq_n_s32(0);
    for (size_t i = 0; i < n; i += 64) {
        int16x8_t products = vdupq_n_s16(0); /* at most 8 * 254 */
        UNROLL
        for (size_t v = 0; v < 64; v += 16) {
            int8x16_t x = vld1q_s8(a + i + v), y = vld1q_s8(b + i + v);
            products = vmlal_high_s8(vmlal_s8(products, vget_low_s8(x), vget_low_s8(y)), x, y);
        }
        sum = vpadalq_s16(sum, products);
    }
    return vaddvq_s32(sum);
}

/* --------------------------------------------------------------- attention
 *
 * A tile of n_q queries x n_b blocks of registers; both are constants where these are
 * called, so that the arrays become registers: 16 of the 32 for sums. */

TEMPLATE void load_sixteen(float32x4_t out[4], const void *kv, size_t i, bool half)
{
    if (half) {
        float16x8_t a = load_eight((const uint16_t *)kv + i), b = load_eight((const uint16_t *)kv + i + 8);
        out[0] = vcvt_f32_f16(vget_low_f16(a));
        out[1] = vcvt_high_f32_f16(a);
        out[2] = vcvt_f32_f16(vget_low_f16(b));
        out[3] = vcvt_high_f32_f16(b);
    } else {
        UNROLL
        for (size_t v = 0; v < 4; v++)
            out[v] = vld1q_f32((const float *)kv + i + 4 * v);
    }
}

TEMPLATE void score_tile(float *s, const float *q, size_t n_q, const void *k, size_t block, size_t n_b, size_t dim, float scale, bool half)
{
    float32x4_t acc[16];
    UNROLL
    for (size_t a = 0; a < 16; a++)
        acc[a] = vdupq_n_f32(0);
    for (size_t i = 0; i < dim; i++) {
        UNROLL
        for (size_t b = 0; b < n_b; b++) {
            float32x4_t keys[4];
            load_sixteen(keys, k, ((block + b) * dim + i) * ATTN_LANES, half);
            UNROLL
            for (size_t j = 0; j < n_q; j++) {
                float x = q[j * dim + i];
                UNROLL
                for (size_t v = 0; v < 4; v++)
                    acc[(j * n_b + b) * 4 + v] = vfmaq_n_f32(acc[(j * n_b + b) * 4 + v], keys[v], x);
            }
        }
    }
    UNROLL
    for (size_t a = 0; a < 16; a++)
        vst1q_f32(s + a / (n_b * 4) * ATTN_TILE + block * ATTN_LANES + a % (n_b * 4) * 4, vmulq_n_f32(acc[a], scale));
}

TEMPLATE void scores(float *s, const float *q, size_t n_q, const void *k, size_t dim, float scale, bool half)
{
    enum {
        BLOCKS = ATTN_TILE / ATTN_LANES
    };
    size_t j = 0;
    for (; j + 4 <= n_q; j += 4)
        for (size_t block = 0; block < BLOCKS; block++)
            score_tile(s + j * ATTN_TILE, q + j * dim, 4, k, block, 1, dim, scale, half);
    for (; j + 2 <= n_q; j += 2)
        for (size_t block = 0; block < BLOCKS; block += 2)
            score_tile(s + j * ATTN_TILE, q + j * dim, 2, k, block, 2, dim, scale, half);
    for (; j < n_q; j++)
        score_tile(s + j * ATTN_TILE, q + j * dim, 1, k, 0, 4, dim, scale, half);
}

static void attn_scores_f16(float *s, const float *q, size_t n_q, const uint16_t *k, size_t dim, float scale)
{
    scores(s, q, n_q, k, dim, scale, true);
}

static void attn_scores_f32(float *s, const float *q, size_t n_q, const float *k, size_t dim, float scale)
{
    scores(s, q, n_q, k, dim, scale, false);
}

static float softmax_of_one(float *s, size_t n_valid, float *max, float *sum)
{
    float before = *max, m = before, lane[4];
    float32x4_t largest = vdupq_n_f32(m);
    size_t p = 0;
    for (; p + 4 <= n_valid; p += 4) {
        float32x4_t v = vld1q_f32(s + p);
        largest = vbslq_f32(vcgtq_f32(v, largest), v, largest); /* a NaN is not greater; fmax would pass it on */
    }
    vst1q_f32(lane, largest);
    for (size_t l = 0; l < 4; l++)
        m = lane[l] > m ? lane[l] : m;
    for (; p < n_valid; p++)
        m = s[p] > m ? s[p] : m;
    m += 0.0f;
    float factor = before == -__builtin_inff() ? 0 : exp_f32(before - m);
    static const uint32_t first[4] = {0, 1, 2, 3};
    const uint32x4_t place = vld1q_u32(first);
    float32x4_t lanes[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    for (p = 0; p < ATTN_TILE; p += LANES) {
        UNROLL
        for (size_t v = 0; v < 4; v++) {
            float *x = s + p + 4 * v;
            uint32x4_t valid = vcltq_u32(vaddq_u32(place, vdupq_n_u32((uint32_t)(p + 4 * v))), vdupq_n_u32((uint32_t)n_valid));
            uint32x4_t e = vreinterpretq_u32_f32(exp_four(vsubq_f32(vld1q_f32(x), vdupq_n_f32(m))));
            float32x4_t masked = vreinterpretq_f32_u32(vandq_u32(e, valid));
            vst1q_f32(x, masked);
            lanes[v] = vaddq_f32(lanes[v], masked);
        }
    }
    *sum = fma_f32(*sum, factor, fold(lanes));
    *max = m;
    return factor;
}

static void attn_softmax(float *s, float *factor, const size_t *n_valid, size_t n_q, float *max, float *sum)
{
    for (size_t j = 0; j < n_q; j++)
        factor[j] = softmax_of_one(s + j * ATTN_TILE, n_valid[j], &max[j], &sum[j]);
}

/* o += prob * v for positions [begin, end) and 16 dimensions from i on. */
TEMPLATE void value_tile(float *o, const float *prob, const float *factor, size_t n_q, size_t begin, size_t end, const void *v, size_t i,
                         size_t dim, bool half)
{
    float32x4_t acc[16];
    UNROLL
    for (size_t a = 0; a < n_q * 4; a++)
        acc[a] = vmulq_n_f32(vld1q_f32(o + a / 4 * dim + i + a % 4 * 4), factor[a / 4]);
    for (size_t p = begin; p < end; p++) {
        float32x4_t row[4];
        load_sixteen(row, v, p * dim + i, half);
        UNROLL
        for (size_t a = 0; a < n_q * 4; a++)
            acc[a] = vfmaq_n_f32(acc[a], row[a % 4], prob[a / 4 * ATTN_TILE + p]);
    }
    UNROLL
    for (size_t a = 0; a < n_q * 4; a++)
        vst1q_f32(o + a / 4 * dim + i + a % 4 * 4, acc[a]);
}

static void value_rest(float *o, const float *prob, float factor, size_t n_valid, const void *v, size_t i, size_t dim, bool half)
{
    for (; i < dim; i++) {
        float acc = o[i] * factor;
        for (size_t p = 0; p < n_valid; p++)
            acc = fma_f32(prob[p], half ? f16_to_f32(((const uint16_t *)v)[p * dim + i]) : ((const float *)v)[p * dim + i], acc);
        o[i] = acc;
    }
}

TEMPLATE void values(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n_q, const void *v, size_t dim,
                     bool half)
{
    static const float ones[1] = {1};
    size_t j = 0;
    for (; j + 4 <= n_q; j += 4) { /* positions that all four see, then what single ones see beyond */
        size_t common = MIN(MIN(n_valid[j], n_valid[j + 1]), MIN(n_valid[j + 2], n_valid[j + 3]));
        for (size_t i = 0; i + 16 <= dim; i += 16) {
            value_tile(o + j * dim, prob + j * ATTN_TILE, factor + j, 4, 0, common, v, i, dim, half);
            for (size_t l = j; l < j + 4; l++)
                if (n_valid[l] > common)
                    value_tile(o + l * dim, prob + l * ATTN_TILE, ones, 1, common, n_valid[l], v, i, dim, half);
        }
    }
    for (; j < n_q; j++)
        for (size_t i = 0; i + 16 <= dim; i += 16)
            value_tile(o + j * dim, prob + j * ATTN_TILE, factor + j, 1, 0, n_valid[j], v, i, dim, half);
    for (j = 0; dim % 16 && j < n_q; j++)
        value_rest(o + j * dim, prob + j * ATTN_TILE, factor[j], n_valid[j], v, dim / 16 * 16, dim, half);
}

static void attn_values_f16(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n_q, const uint16_t *v,
                            size_t dim)
{
    values(o, prob, factor, n_valid, n_q, v, dim, true);
}

static void attn_values_f32(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n_q, const float *v, size_t dim)
{
    values(o, prob, factor, n_valid, n_q, v, dim, false);
}

/* --------------------------------------------------------- family "tables"
 *
 * Four weights have 16 patterns of signs, so the 128 activations of a group become 32 tables
 * of 16 sums. A sum of four int8 lies in -508..508; 512 more makes it 4..1020, which is split
 * into 32 * high + low, both below 32: eight lookups fit a byte when added, and tbl has 16
 * lanes of bytes. For every weight byte k: low table of its lower nibble, low of its upper
 * one, high, high: 64 bytes. 1 KB for a group and token; after all of them the scales. */

enum {
    TABLE_ROWS = 16,
    TABLE_TOKENS = 8,
    TABLE_BYTES = 1024,    /* of one group and token */
    TABLE_BIAS = 512 * 32, /* what 32 lookups are too large by */
};

static size_t tables_bytes(size_t groups, size_t tokens) { return groups * tokens * (TABLE_BYTES + sizeof(float)); }

/* The 16 sums of one nibble, whose activations are lanes 0..3 of q, and a bias. */
static inline void nibble_sums(uint16x8_t sums[2], int16x4_t q, int16_t bias)
{
    static const int16_t signs[3][8] = {{-1, 1, -1, 1, -1, 1, -1, 1}, {-1, -1, 1, 1, -1, -1, 1, 1}, {-1, -1, -1, -1, 1, 1, 1, 1}};
    int16x8_t three = vmlaq_lane_s16(vdupq_n_s16(bias), vld1q_s16(signs[0]), q, 0);
    three = vmlaq_lane_s16(three, vld1q_s16(signs[1]), q, 1);
    three = vmlaq_lane_s16(three, vld1q_s16(signs[2]), q, 2);
    sums[0] = vreinterpretq_u16_s16(vsubq_s16(three, vdupq_lane_s16(q, 3)));
    sums[1] = vreinterpretq_u16_s16(vaddq_s16(three, vdupq_lane_s16(q, 3)));
}

static inline void nibble_table(uint8_t *low, uint8_t *high, int16x4_t q)
{
    uint16x8_t sums[2];
    nibble_sums(sums, q, 512);
    vst1q_u8(low, vandq_u8(vmovn_high_u16(vmovn_u16(sums[0]), sums[1]), vdupq_n_u8(31)));
    vst1q_u8(high, vshrn_high_n_u16(vshrn_n_u16(sums[0], 5), sums[1], 5));
}

static void tables_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    float *scales = (float *)((uint8_t *)packed + groups * tokens * TABLE_BYTES);
    for (size_t g = group0; g < group1; g++) {
        for (size_t t = 0; t < tokens; t++) {
            const int8_t *x = q + (t * groups + g) * GROUP;
            uint8_t *out = (uint8_t *)packed + (g * tokens + t) * TABLE_BYTES;
            scales[g * tokens + t] = scale[t * groups + g];
            for (size_t k = 0; k < 16; k++, out += 64) {
                int16x8_t eight = vmovl_s8(vld1_s8(x + 8 * k));
                nibble_table(out, out + 32, vget_low_s16(eight));
                nibble_table(out + 16, out + 48, vget_high_s16(eight));
            }
        }
    }
}

/* Two of the four rounds of a 16 x 16 byte transpose: out = rows 4 i .. 4 i + 3 after them
 * when a, b, c, d are rows i, i + 4, i + 8, i + 12 before. */
TEMPLATE void interleave(uint8x16_t out[4], uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d)
{
    uint8x16_t ac = vzip1q_u8(a, c), bd = vzip1q_u8(b, d);
    out[0] = vzip1q_u8(ac, bd);
    out[1] = vzip2q_u8(ac, bd);
    ac = vzip2q_u8(a, c);
    bd = vzip2q_u8(b, d);
    out[2] = vzip1q_u8(ac, bd);
    out[3] = vzip2q_u8(ac, bd);
}

/* One group of 16 rows: byte k of all rows in x[k], and their scales. */
TEMPLATE void gather_group(uint8x16_t x[16], float32x4_t d[4], const uint8_t *w, size_t stride)
{
    uint8x16_t half[16];
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        const uint8_t *bits = w + i * stride + 2;
        interleave(half + 4 * i, vld1q_u8(bits), vld1q_u8(bits + 4 * stride), vld1q_u8(bits + 8 * stride), vld1q_u8(bits + 12 * stride));
    }
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        interleave(x + 4 * i, half[i], half[i + 4], half[i + 8], half[i + 12]);
        const uint8_t *four = w + 4 * i * stride;
        d[i] = four_scales(four, four + stride, four + 2 * stride, four + 3 * stride);
    }
}

/* acc = fma(d * s, sum, acc) for 16 rows. */
TEMPLATE void add_group(float acc[TABLE_ROWS], const uint8x16_t x[16], const float32x4_t d[4], const uint8_t *tables, float s)
{
    const uint8x16_t nibble = vdupq_n_u8(15);
    /* Sums of the low and the high parts of rows 0..7 and 8..15; the bias is subtracted here. */
    uint16x8_t low[2], high[2];
    low[0] = low[1] = vdupq_n_u16((uint16_t)-TABLE_BIAS);
    high[0] = high[1] = vdupq_n_u16(0);
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        uint8x16_t l = vdupq_n_u8(0), h = l;
        UNROLL
        for (size_t k = 0; k < 4; k++) { /* 8 lookups of at most 31 fit a byte */
            const uint8_t *t = tables + 64 * (4 * i + k);
            uint8x16_t n0 = vandq_u8(x[4 * i + k], nibble), n1 = vshrq_n_u8(x[4 * i + k], 4);
            uint8x16_t l2 = vaddq_u8(vqtbl1q_u8(vld1q_u8(t), n0), vqtbl1q_u8(vld1q_u8(t + 16), n1));
            uint8x16_t h2 = vaddq_u8(vqtbl1q_u8(vld1q_u8(t + 32), n0), vqtbl1q_u8(vld1q_u8(t + 48), n1));
            l = k ? vaddq_u8(l, l2) : l2;
            h = k ? vaddq_u8(h, h2) : h2;
        }
        low[0] = vaddw_u8(low[0], vget_low_u8(l));
        low[1] = vaddw_high_u8(low[1], l);
        high[0] = vaddw_u8(high[0], vget_low_u8(h));
        high[1] = vaddw_high_u8(high[1], h);
    }
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        int16x8_t sums = vreinterpretq_s16_u16(vaddq_u16(low[i / 2], vshlq_n_u16(high[i / 2], 5)));
        int32x4_t isum = i % 2 ? vmovl_high_s16(sums) : vmovl_s16(vget_low_s16(sums));
        vst1q_f32(acc + 4 * i, vfmaq_f32(vld1q_f32(acc + 4 * i), vmulq_n_f32(d[i], s), vcvtq_f32_s32(isum)));
    }
}

#include "act16_neon.h"

TEMPLATE void tables_rows(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                          size_t tokens, size_t planes)
{
    const uint8_t *tables = packed;
    const float *s = (const float *)(const void *)(tables + groups * tokens * (planes == 1 ? TABLE_BYTES : WIDE_GROUP));
    for (size_t r = row0; r < row1; r += TABLE_ROWS) {
        size_t n = MIN(row1 - r, (size_t)TABLE_ROWS), stride = groups * Q1_BYTES;
        /* The next tile is fetched meanwhile, in order; after the last one nothing new. */
        const uint8_t *ahead = w + (r + 2 * TABLE_ROWS <= row1 ? r + TABLE_ROWS : r) * stride;
        float acc[TABLE_TOKENS][TABLE_ROWS] = {0};
        for (size_t g = 0; g < groups; g++) {
            const uint8_t *tile = w + r * stride + g * Q1_BYTES;
            uint8_t few[TABLE_ROWS * Q1_BYTES];
            uint8x16_t x[16];
            float32x4_t d[4];
            if (n < TABLE_ROWS) {
                memset(few, 0, sizeof few);
                for (size_t i = 0; i < n; i++)
                    memcpy(few + i * Q1_BYTES, tile + i * stride, Q1_BYTES);
            }
            gather_group(x, d, n < TABLE_ROWS ? few : tile, n < TABLE_ROWS ? (size_t)Q1_BYTES : stride);
            UNROLL
            for (size_t line = 0; line < TABLE_ROWS * Q1_BYTES; line += 64)
                __builtin_prefetch(ahead + g * TABLE_ROWS * Q1_BYTES + line, 0, 2);
            for (size_t t = 0; t < tokens; t++) {
                size_t at = g * tokens + t;
                if (planes == 1)
                    add_group(acc[t], x, d, tables + at * TABLE_BYTES, s[at]);
                else
                    add_wide_group(acc[t], x, d, tables + at * WIDE_GROUP, s[at]);
            }
        }
        for (size_t t = 0; t < tokens; t++)
            memcpy(y + t * y_stride + r, acc[t], n * sizeof(float));
    }
}

static void tables_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                       size_t tokens, struct q1_next next)
{
    (void)next;
    if (tokens == 1) /* apart, because a loop over tokens keeps the nibbles in memory */
        tables_rows(y, y_stride, w, row0, row1, groups, packed, 1, 1);
    else
        tables_rows(y, y_stride, w, row0, row1, groups, packed, tokens, 1);
}

static const struct q1_family tables = {"tables", TABLE_ROWS, TABLE_TOKENS, tables_bytes, tables_pack, tables_run};

static const struct q1_family *pick_tables(size_t tokens)
{
    (void)tokens;
    return &tables;
}

static void wide_tables_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                            size_t tokens, struct q1_next next)
{
    (void)next;
    tables_rows(y, y_stride, w, row0, row1, groups, packed, tokens, WIDE_PLANES);
}

static const struct q1_family wide_tables = {"tables", TABLE_ROWS, TABLE_TOKENS, wide_tables_bytes, wide_tables_pack, wide_tables_run};

static const struct q1_family *pick_wide_tables(size_t tokens)
{
    (void)tokens;
    return &wide_tables;
}

/* ------------------------------------------------- "tables", 64 rows side by side
 *
 * The layout of r64.h, 16 rows in a register: no transpose. */

enum {
    R64_AHEAD = 2304, /* bytes from what is read to what is fetched; not measured on such a machine */
};

/* Byte k of 16 rows in x[k], and their scales: of rows 4 i .. 4 i + 3 in d[i]. */
TEMPLATE void r64_quarter(uint8x16_t x[16], float32x4_t d[4], const uint8_t *block, size_t quarter)
{
    float32x4_t s[4]; /* s[i]: of rows i, 4 + i, 8 + i, 12 + i */
    UNROLL
    for (size_t k = 0; k < 16; k++)
        x[k] = vld1q_u8(block + R64_SCALE_BYTES + R64_ROWS * k + 16 * quarter);
    UNROLL
    for (size_t i = 0; i < 4; i++)
        s[i] = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(block + 32 * i + 8 * quarter)));
    float32x4_t a = vzip1q_f32(s[0], s[2]), b = vzip1q_f32(s[1], s[3]), c = vzip2q_f32(s[0], s[2]), e = vzip2q_f32(s[1], s[3]);
    d[0] = vzip1q_f32(a, b);
    d[1] = vzip2q_f32(a, b);
    d[2] = vzip1q_f32(c, e);
    d[3] = vzip2q_f32(c, e);
}

TEMPLATE void r64_rows(float *y, size_t y_stride, const uint8_t *block, size_t n, size_t groups, const void *packed, size_t tokens)
{
    const uint8_t *sums = packed;
    const float *s = (const float *)(const void *)(sums + groups * tokens * TABLE_BYTES);
    float acc[TABLE_TOKENS][R64_ROWS] = {0};
    for (size_t g = 0; g < groups; g++, block += R64_BLOCK_BYTES) {
        for (size_t quarter = 0; quarter < 4; quarter++) {
            uint8x16_t x[16];
            float32x4_t d[4];
            r64_quarter(x, d, block, quarter);
            for (size_t line = 0; line < R64_BLOCK_BYTES / 4; line += 64) /* beyond the weights too: a hint never faults */
                __builtin_prefetch((const void *)((uintptr_t)block + R64_AHEAD + R64_BLOCK_BYTES / 4 * quarter + line), 0, 3);
            for (size_t t = 0; t < tokens; t++)
                add_group(acc[t] + 16 * quarter, x, d, sums + (g * tokens + t) * TABLE_BYTES, s[g * tokens + t]);
        }
    }
    for (size_t t = 0; t < tokens; t++)
        memcpy(y + t * y_stride, acc[t], n * sizeof(float));
}

static void r64_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed, size_t tokens,
                    struct q1_next next)
{
    (void)next;
    for (size_t r = row0; r < row1; r += R64_ROWS) {
        const uint8_t *block = w + r / R64_ROWS * groups * R64_BLOCK_BYTES;
        size_t n = MIN(row1 - r, (size_t)R64_ROWS);
        if (tokens == 1)
            r64_rows(y + r, y_stride, block, n, groups, packed, 1);
        else
            r64_rows(y + r, y_stride, block, n, groups, packed, tokens);
    }
}

static const struct q1_family r64_tables = {"tables", R64_ROWS, TABLE_TOKENS, tables_bytes, tables_pack, r64_run};

/* Without a transpose to share, more tokens cost as many times one; see q1_auto. */
static const struct q1_family *pick_r64(size_t tokens) { return tokens <= TABLE_TOKENS ? &r64_tables : NULL; }

static void rows_of_r64(uint8_t *rows, const uint8_t *blocks, size_t groups)
{
    size_t stride = groups * Q1_BYTES;
    for (size_t g = 0; g < groups; g++, blocks += R64_BLOCK_BYTES, rows += Q1_BYTES) {
        for (size_t quarter = 0; quarter < 4; quarter++) {
            uint8x16_t x[16], half[16], z[4];
            uint8_t *first = rows + 16 * quarter * stride + 2;
            UNROLL
            for (size_t k = 0; k < 16; k++)
                x[k] = vld1q_u8(blocks + R64_SCALE_BYTES + R64_ROWS * k + 16 * quarter);
            UNROLL
            for (size_t i = 0; i < 4; i++)
                interleave(half + 4 * i, x[i], x[i + 4], x[i + 8], x[i + 12]);
            UNROLL
            for (size_t i = 0; i < 4; i++) {
                interleave(z, half[i], half[i + 4], half[i + 8], half[i + 12]);
                UNROLL
                for (size_t k = 0; k < 4; k++)
                    vst1q_u8(first + (4 * i + k) * stride, z[k]);
            }
        }
        for (size_t i = 0; i < 4; i++)
            for (size_t j = 0; j < 16; j++)
                memcpy(rows + (4 * j + i) * stride, blocks + 2 * (16 * i + j), 2);
    }
}

/* ----------------------------------------------------------- family "sign"
 *
 * A row's bits become masks once, then select the activations of four tokens. */

enum {
    SIGN_TOKENS = 64
};

/* Eight 16-bit parts, each at most 16 * 127, of the sum of the activations under set bits. */
TEMPLATE int16x8_t sum_under(const int8x16_t mask[8], const int8_t *codes, size_t tokens)
{
    int16x8_t sum = vpaddlq_s8(vandq_s8(mask[0], vld1q_s8(codes)));
    UNROLL
    for (size_t b = 1; b < 8; b++)
        sum = vpadalq_s8(sum, vandq_s8(mask[b], vld1q_s8(codes + b * tokens * 16)));
    return sum;
}

/* The sums over the lanes of a, b, c, d; none of their parts may leave 16 bits. */
static inline int32x4_t four_sums(int16x8_t a, int16x8_t b, int16x8_t c, int16x8_t d)
{
    return vpaddlq_s16(vpaddq_s16(vpaddq_s16(a, b), vpaddq_s16(c, d)));
}

TEMPLATE void sign_planes(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                          size_t tokens, size_t planes)
{
    const struct columns c = columns_of(packed, groups, tokens, planes);
    size_t lines = tokens * planes;
    for (size_t r = row0; r < row1; r++) {
        float acc[SIGN_TOKENS] = {0};
        const uint8_t *block = w + r * groups * Q1_BYTES;
        for (size_t g = 0; g < groups; g++, block += Q1_BYTES) {
            const int8_t *codes = c.codes + g * lines * GROUP;
            const float *s = c.scales + g * tokens;
            const int32_t *minus_sum = c.minus_sums + g * tokens;
            float d = one_scale(block);
            int8x16_t mask[8];
            UNROLL
            for (int b = 0; b < 8; b++)
                mask[b] = vreinterpretq_s8_u8(vtstq_u8(vld1q_u8(block + 2), vdupq_n_u8((uint8_t)(1 << b))));
            size_t t = 0;
            for (; planes == 1 && t + 4 <= tokens; t += 4) {
                int32x4_t half = four_sums(sum_under(mask, codes + 16 * t, tokens), sum_under(mask, codes + 16 * t + 16, tokens),
                                           sum_under(mask, codes + 16 * t + 32, tokens), sum_under(mask, codes + 16 * t + 48, tokens));
                int32x4_t isum = vaddq_s32(vld1q_s32(minus_sum + t), vshlq_n_s32(half, 1));
                vst1q_f32(acc + t, vfmaq_f32(vld1q_f32(acc + t), vmulq_n_f32(vld1q_f32(s + t), d), vcvtq_f32_s32(isum)));
            }
            for (; t < tokens; t++) {
                int32_t under = 0;
                UNROLL
                for (size_t plane = 0; plane < planes; plane++)
                    under = WIDE_UNIT * under + vaddlvq_s16(sum_under(mask, codes + 16 * (t * planes + plane), lines));
                acc[t] = fma_f32(d * s[t], (float)(2 * under + minus_sum[t]), acc[t]);
            }
        }
        for (size_t t = 0; t < tokens; t++)
            y[t * y_stride + r] = acc[t];
    }
}

static void sign_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                     size_t tokens, struct q1_next next)
{
    (void)next;
    sign_planes(y, y_stride, w, row0, row1, groups, packed, tokens, 1);
}

static const struct q1_family sign = {"sign", 1, SIGN_TOKENS, columns_bytes, columns_pack, sign_run};

static const struct q1_family *pick_sign(size_t tokens)
{
    (void)tokens;
    return &sign;
}

static void wide_sign_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                          size_t tokens, struct q1_next next)
{
    (void)next;
    sign_planes(y, y_stride, w, row0, row1, groups, packed, tokens, WIDE_PLANES);
}

static const struct q1_family wide_sign = {"sign", 1, SIGN_TOKENS, wide_columns_bytes, wide_columns_pack, wide_sign_run};

static const struct q1_family *pick_wide_sign(size_t tokens)
{
    (void)tokens;
    return &wide_sign;
}

/* ------------------------------------------------------- family "popcount"
 *
 * popcount.h has the packed form; here four rows meet the planes of bits in registers. */

/* Eight parts of the sum of the activations under the set bits of w. Counts by byte are at
 * most 8, so that those of four planes, weighted, fit a byte: 8 * (1 + 2 + 4 + 8) = 120. */
TEMPLATE int16x8_t counted_under(const uint8x16_t plane[8], uint8x16_t w)
{
    uint8x16_t low = vcntq_u8(vandq_u8(plane[0], w)), high = vcntq_u8(vandq_u8(plane[4], w));
    UNROLL
    for (size_t b = 1; b < 4; b++)
        low = vmlaq_u8(low, vcntq_u8(vandq_u8(plane[b], w)), vdupq_n_u8((uint8_t)(1 << b)));
    high = vmlaq_u8(high, vcntq_u8(vandq_u8(plane[5], w)), vdupq_n_u8(2));
    high = vmlaq_u8(high, vcntq_u8(vandq_u8(plane[6], w)), vdupq_n_u8(4));
    high = vmlsq_u8(high, vcntq_u8(vandq_u8(plane[7], w)), vdupq_n_u8(8)); /* -64..56 */
    int16x8_t sum = vshlq_n_s16(vpaddlq_s8(vreinterpretq_s8_u8(high)), 4);
    return vpadalq_s8(sum, vreinterpretq_s8_u8(low));
}

static void popcount_rows(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                          size_t tokens, struct q1_next next)
{
    (void)next;
    for (size_t r = row0; r < row1; r += 4) {
        float32x4_t acc[POPCOUNT_TOKENS] = {vdupq_n_f32(0)};
        const uint8_t *row[4];
        for (size_t i = 0; i < 4; i++)
            row[i] = w + MIN(r + i, row1 - 1) * groups * Q1_BYTES;
        const struct planes *p = packed;
        for (size_t g = 0; g < groups; g++) {
            size_t at = g * Q1_BYTES;
            uint8x16_t bits[4];
            UNROLL
            for (size_t i = 0; i < 4; i++)
                bits[i] = vld1q_u8(row[i] + at + 2);
            float32x4_t d = four_scales(row[0] + at, row[1] + at, row[2] + at, row[3] + at);
            for (size_t t = 0; t < tokens; t++, p++) {
                uint8x16_t plane[8];
                UNROLL
                for (size_t b = 0; b < 8; b++)
                    plane[b] = vreinterpretq_u8_u64(vld1q_u64(p->bit[b]));
                int32x4_t half = four_sums(counted_under(plane, bits[0]), counted_under(plane, bits[1]), counted_under(plane, bits[2]),
                                           counted_under(plane, bits[3]));
                int32x4_t isum = vsubq_s32(vshlq_n_s32(half, 1), vdupq_n_s32(p->sum));
                acc[t] = vfmaq_f32(acc[t], vmulq_n_f32(d, p->scale), vcvtq_f32_s32(isum));
            }
        }
        for (size_t t = 0; t < tokens; t++) {
            float four[4];
            vst1q_f32(four, acc[t]);
            memcpy(y + t * y_stride + r, four, MIN(row1 - r, (size_t)4) * sizeof(float));
        }
    }
}

static const struct q1_family popcount_neon = {"popcount", 4, POPCOUNT_TOKENS, popcount_bytes, popcount_pack, popcount_rows};

static const struct q1_family *pick_popcount(size_t tokens)
{
    (void)tokens;
    return &popcount_neon;
}

/* Instructions per token for 128 weights of one row, gcc 12, counted in the disassembly; in
 * brackets those on vectors, of which common cores start two (Cortex-A76, Neoverse N1) to
 * four (Neoverse V1, Apple M) per cycle:
 *
 *               tables      sign        popcount
 *   1 token     25 (16)     77 (26)     36 (28)
 *   8 tokens    17 (11)     31 (20)     31 (28)
 *
 * More tokens share only the transpose (a pack has eight), and tables always lead. */
static int q1_auto(size_t tokens)
{
    (void)tokens;
    return 2;
}

/* -------------------------------------------------------------------- peak */

/* Sums of 16 bits. */
static inline int8x16_t step_i8(int8x16_t sum, int8x16_t a, int8x16_t b)
{
    int16x8_t low = vmlal_s8(vreinterpretq_s16_s8(sum), vget_low_s8(a), vget_low_s8(b));
    return vreinterpretq_s8_s16(vmlal_high_s8(low, a, b));
}
static inline float32x4_t step_f32(float32x4_t sum, float32x4_t a, float32x4_t b) { return vfmaq_f32(sum, a, b); }

PEAK_LOOP(peak_i8, int8x16_t, "w", vdupq_n_s8(0), step_i8, 16)
PEAK_LOOP(peak_f32, float32x4_t, "w", vdupq_n_f32(0), step_f32, 4)

/* ------------------------------------------------------------------- table */

const struct kernels kernels_neon = {
    .level = "neon",
    .needs = CPU_NEON,
    .quantize_i8 = quantize_i8,
    .quantize_i16 = quantize_i16,
    .quantize_head = quantize_head,
    .dot_f32 = dot_f32,
    .dot_i8 = dot_i8,
    .rmsnorm = rmsnorm,
    .add = add,
    .silu_mul = silu_mul,
    .rope = rope,
    .f16_from_f32 = f16_from_f32,
    .f32_from_f16 = f32_from_f16,
    .argmax = argmax,
    .attn_scores_f16 = attn_scores_f16,
    .attn_scores_f32 = attn_scores_f32,
    .attn_softmax = attn_softmax,
    .attn_values_f16 = attn_values_f16,
    .attn_values_f32 = attn_values_f32,
    .attn_scores_q8 = attn_scores_q8,
    .attn_values_q8 = attn_values_q8,
    .peak_i8 = peak_i8,
    .peak_f32 = peak_f32,
    .q1 = {pick_sign, pick_popcount, pick_tables},
    .r64 = pick_r64,
    .r64_to_rows = rows_of_r64,
    .q1_auto = q1_auto,
    .q1_wide = {pick_wide_sign, NULL, pick_wide_tables},
    .q1_wide_auto = q1_auto,
};
