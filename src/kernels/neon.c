/* neon.c: kernels for AArch64 as every such CPU has it.
 *
 * Few tokens: 16 rows at a time, one byte lane each; the weights' bytes are brought side by
 * side by a transpose in registers, then `tbl` looks up sums of four weights for all rows.
 * Many tokens: sign_neon.h with a masked pairwise addition. */
#include "kernels.h"

#include <arm_neon.h>
#include <string.h>

#include "cpu.h"
#include "mathfn.h"

/* ------------------------------------------------------------------ floats
 *
 * Four registers are the 16 lanes of a reduction. */

enum { LANES = 16 };

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
        for (size_t l = 0; l < 4; l++)
            lanes[l] = vfmaq_f32(lanes[l], vld1q_f32(a + i + 4 * l), vld1q_f32(b + i + 4 * l));
    }
    if (i < n) {
        float lane[LANES];
        for (size_t l = 0; l < 4; l++)
            vst1q_f32(lane + 4 * l, lanes[l]);
        for (size_t l = 0; i < n; i++, l++)
            lane[l] = fma_f32(a[i], b[i], lane[l]);
        for (size_t l = 0; l < 4; l++)
            lanes[l] = vld1q_f32(lane + 4 * l);
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
static inline float32x4_t exp_ps(float32x4_t x)
{
    const float32x4_t one = vdupq_n_f32(1.0f), round = vdupq_n_f32(0x1.8p23f);
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
    uint32x4_t u = vaddq_u32(vreinterpretq_u32_f32(p), vshlq_n_u32(vreinterpretq_u32_f32(t), 23));
    u = vbslq_u32(vcgtq_f32(x, vdupq_n_f32(88.72f)), vdupq_n_u32(0x7f800000), u);
    u = vbicq_u32(u, vcltq_f32(x, vdupq_n_f32(-87.33f)));
    return vbslq_f32(vceqq_f32(x, x), vreinterpretq_f32_u32(u), x);
}

static void silu_mul(float *y, const float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t g = vld1q_f32(gate + i);
        float32x4_t s = vdivq_f32(g, vaddq_f32(vdupq_n_f32(1.0f), exp_ps(vnegq_f32(g))));
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
    for (; i + 4 <= n; i += 4)
        vst1_u16(dst + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(src + i))));
    for (; i < n; i++)
        dst[i] = f32_to_f16(src[i]);
}

static inline float32x4_t load_f16(const uint16_t *src) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(src))); }

static void f32_from_f16(float *dst, const uint16_t *src, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(dst + i, load_f16(src + i));
    for (; i < n; i++)
        dst[i] = f16_to_f32(src[i]);
}

static const uint32_t INFINITY_BITS = 0x7f800000; /* of a float without its sign: from here on not finite */

static inline uint32x4_t magnitude(float32x4_t v) { return vreinterpretq_u32_f32(vabsq_f32(v)); }

/* The greater of each; old where either is a NaN. */
static inline float32x4_t greater(float32x4_t v, float32x4_t old) { return vbslq_f32(vcgtq_f32(v, old), v, old); }

/* First the largest value, then where it comes first. */
static int64_t argmax(const float *x, size_t n)
{
    float32x4_t max = vdupq_n_f32(x[0]);
    uint32x4_t largest = vdupq_n_u32(0);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t v = vld1q_f32(x + i);
        max = greater(v, max);
        largest = vmaxq_u32(largest, magnitude(v));
    }
    float lane[4], best = x[0];
    vst1q_f32(lane, max);
    for (size_t l = 0; l < 4; l++)
        best = lane[l] > best ? lane[l] : best;
    bool finite = vmaxvq_u32(largest) < INFINITY_BITS;
    for (; i < n; i++) {
        finite &= __builtin_fabsf(x[i]) < __builtin_inff();
        best = x[i] > best ? x[i] : best;
    }
    if (!finite)
        return -1;
    i = 0;
    while (i + 4 <= n && vmaxvq_u32(vceqq_f32(vld1q_f32(x + i), vdupq_n_f32(best))) == 0)
        i += 4;
    while (x[i] != best)
        i++;
    return (int64_t)i;
}

/* ---------------------------------------------------------------- integers */

/* Nothing needs clamping: |x| * (127 / amax) is at most 127 and a few ulps, which rounds to 127. */
static bool quantize_i8(int8_t *q, float *scale, const float *x, size_t n)
{
    for (size_t group = 0; group < n / GROUP; group++, x += GROUP, q += GROUP) {
        uint32x4_t largest = vdupq_n_u32(0); /* floats without sign order as integers do */
        for (size_t i = 0; i < GROUP; i += 4)
            largest = vmaxq_u32(largest, magnitude(vld1q_f32(x + i)));
        uint32_t bits = vmaxvq_u32(largest);
        float amax;
        memcpy(&amax, &bits, sizeof amax);
        if (bits >= INFINITY_BITS)
            return false;
        bool zero = amax < 0x1p-100f;
        float inverse = zero ? 0 : 127 / amax;
        scale[group] = zero ? 0 : amax / 127;
        for (size_t i = 0; i < GROUP; i += 8) {
            int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i), inverse)), b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i + 4), inverse));
            vst1_s8(q + i, vmovn_s16(vcombine_s16(vmovn_s32(a), vmovn_s32(b))));
        }
    }
    return true;
}

static int32_t dot_i8(const int8_t *a, const int8_t *b, size_t n)
{
    int32x4_t sum = vdupq_n_s32(0);
    for (size_t i = 0; i < n; i += 16) {
        int8x16_t x = vld1q_s8(a + i), y = vld1q_s8(b + i);
        sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(x), vget_low_s8(y)));
        sum = vpadalq_s16(sum, vmull_high_s8(x, y));
    }
    return vaddvq_s32(sum);
}

/* --------------------------------------------------------------- attention
 *
 * Tiles of n_q queries by n_r registers of four lanes, both constants: 16 chains of fma. */

TEMPLATE float32x4_t load(const void *kv, size_t i, bool half)
{
    return half ? load_f16((const uint16_t *)kv + i) : vld1q_f32((const float *)kv + i);
}

TEMPLATE void score_tile(float *s, const float *q, size_t n_q, const void *k, size_t block, size_t n_r, size_t dim, float scale, bool half)
{
    float32x4_t acc[16];
    UNROLL
    for (size_t a = 0; a < n_q * n_r; a++)
        acc[a] = vdupq_n_f32(0);
    for (size_t i = 0; i < dim; i++) {
        UNROLL
        for (size_t l = 0; l < n_r; l++) {
            float32x4_t y = load(k, ((block + l / 4) * dim + i) * ATTN_LANES + l % 4 * 4, half);
            UNROLL
            for (size_t j = 0; j < n_q; j++)
                acc[j * n_r + l] = vfmaq_n_f32(acc[j * n_r + l], y, q[j * dim + i]);
        }
    }
    UNROLL
    for (size_t a = 0; a < n_q * n_r; a++)
        vst1q_f32(s + a / n_r * ATTN_TILE + block * ATTN_LANES + a % n_r * 4, vmulq_n_f32(acc[a], scale));
}

TEMPLATE void scores(float *s, const float *q, size_t n_q, const void *k, size_t dim, float scale, bool half)
{
    enum { BLOCKS = ATTN_TILE / ATTN_LANES };
    size_t j = 0;
    for (; j + 4 <= n_q; j += 4)
        for (size_t block = 0; block < BLOCKS; block++)
            score_tile(s + j * ATTN_TILE, q + j * dim, 4, k, block, 4, dim, scale, half);
    for (; j + 2 <= n_q; j += 2)
        for (size_t block = 0; block < BLOCKS; block += 2)
            score_tile(s + j * ATTN_TILE, q + j * dim, 2, k, block, 8, dim, scale, half);
    for (; j < n_q; j++)
        score_tile(s + j * ATTN_TILE, q + j * dim, 1, k, 0, 16, dim, scale, half);
}

static void attn_scores_f16(float *s, const float *q, size_t n_q, const uint16_t *k, size_t dim, float scale)
{
    scores(s, q, n_q, k, dim, scale, true);
}

static void attn_scores_f32(float *s, const float *q, size_t n_q, const float *k, size_t dim, float scale)
{
    scores(s, q, n_q, k, dim, scale, false);
}

static float attn_softmax(float *s, size_t n_valid, float *max, float *sum)
{
    static const uint32_t place[4] = {0, 1, 2, 3};
    float before = *max, m = before, lane[4];
    float32x4_t largest = vdupq_n_f32(m), lanes[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    size_t p = 0;
    for (; p + 4 <= n_valid; p += 4)
        largest = greater(vld1q_f32(s + p), largest);
    vst1q_f32(lane, largest);
    for (size_t l = 0; l < 4; l++)
        m = lane[l] > m ? lane[l] : m;
    for (; p < n_valid; p++)
        m = s[p] > m ? s[p] : m;
    m += 0.0f;
    float factor = before == -__builtin_inff() ? 0 : exp_f32(before - m);
    UNROLL
    for (p = 0; p < ATTN_TILE; p += 4) {
        uint32x4_t valid = vcltq_u32(vaddq_u32(vld1q_u32(place), vdupq_n_u32((uint32_t)p)), vdupq_n_u32((uint32_t)n_valid));
        float32x4_t e = exp_ps(vsubq_f32(vld1q_f32(s + p), vdupq_n_f32(m)));
        e = vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(e), valid));
        vst1q_f32(s + p, e);
        lanes[p / 4 % 4] = vaddq_f32(lanes[p / 4 % 4], e);
    }
    *sum = fma_f32(*sum, factor, fold(lanes));
    *max = m;
    return factor;
}

/* o += prob * v for positions [begin, end), n_q queries, n_r * 4 dimensions from i on. */
TEMPLATE void value_tile(float *o, const float *prob, const float *factor, size_t n_q, size_t begin, size_t end, const void *v, size_t i, size_t n_r, size_t dim, bool half)
{
    float32x4_t acc[16];
    UNROLL
    for (size_t a = 0; a < n_q * n_r; a++)
        acc[a] = vmulq_n_f32(vld1q_f32(o + a / n_r * dim + i + a % n_r * 4), factor[a / n_r]);
    for (size_t p = begin; p < end; p++) {
        UNROLL
        for (size_t l = 0; l < n_r; l++) {
            float32x4_t y = load(v, p * dim + i + l * 4, half);
            UNROLL
            for (size_t j = 0; j < n_q; j++)
                acc[j * n_r + l] = vfmaq_n_f32(acc[j * n_r + l], y, prob[j * ATTN_TILE + p]);
        }
    }
    UNROLL
    for (size_t a = 0; a < n_q * n_r; a++)
        vst1q_f32(o + a / n_r * dim + i + a % n_r * 4, acc[a]);
}

/* One query, dimensions from i on. */
TEMPLATE void value_one(float *o, const float *prob, float factor, size_t begin, size_t end, const void *v, size_t i, size_t dim, bool half)
{
    for (; i + 32 <= dim; i += 32)
        value_tile(o, prob, &factor, 1, begin, end, v, i, 8, dim, half);
    for (; i + 4 <= dim; i += 4)
        value_tile(o, prob, &factor, 1, begin, end, v, i, 1, dim, half);
    for (; i < dim; i++) {
        float acc = o[i] * factor;
        for (size_t p = begin; p < end; p++)
            acc = fma_f32(prob[p], half ? f16_to_f32(((const uint16_t *)v)[p * dim + i]) : ((const float *)v)[p * dim + i], acc);
        o[i] = acc;
    }
}

TEMPLATE void values(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n_q, const void *v, size_t dim, bool half)
{
    size_t j = 0;
    for (; j + 4 <= n_q; j += 4) { /* positions that all four see, then what single ones see beyond */
        size_t common = MIN(MIN(n_valid[j], n_valid[j + 1]), MIN(n_valid[j + 2], n_valid[j + 3])), i = 0;
        for (; i + 16 <= dim; i += 16)
            value_tile(o + j * dim, prob + j * ATTN_TILE, factor + j, 4, 0, common, v, i, 4, dim, half);
        for (size_t l = j; l < j + 4; l++) {
            value_one(o + l * dim, prob + l * ATTN_TILE, factor[l], 0, common, v, i, dim, half);
            if (n_valid[l] > common)
                value_one(o + l * dim, prob + l * ATTN_TILE, 1, common, n_valid[l], v, 0, dim, half);
        }
    }
    for (; j < n_q; j++)
        value_one(o + j * dim, prob + j * ATTN_TILE, factor[j], 0, n_valid[j], v, 0, dim, half);
}

static void attn_values_f16(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n_q, const uint16_t *v, size_t dim)
{
    values(o, prob, factor, n_valid, n_q, v, dim, true);
}

static void attn_values_f32(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n_q, const float *v, size_t dim)
{
    values(o, prob, factor, n_valid, n_q, v, dim, false);
}

/* --------------------------------------------------------- family "tables"
 *
 * The same tables as avx2.c's: 16 sums of four activations, plus 512, split into 32 * high +
 * low with both below 32, so that eight lookups fit a byte. For every weight byte: low table
 * of its lower nibble, low of its upper one, high, high. [group][token]; then the scales. */

enum { TABLES_GROUP = 1024, TABLES_BIAS = 512 * 32, TABLE_ROWS = 16, TABLE_TOKENS = 8 };

static size_t tables_bytes(size_t groups, size_t tokens) { return groups * tokens * (TABLES_GROUP + sizeof(float)); }

/* The 16 sums of one nibble: of the first two activations in the pattern of the index's lower
 * bits, plus of the other two in that of the upper. */
static inline void nibble_tables(uint8_t *low, uint8_t *high, const int8_t *q)
{
    int16_t a = q[0], b = q[1], c = q[2], d = q[3];
    const int16_t lower[8] = {(int16_t)(-a - b), (int16_t)(a - b), (int16_t)(b - a), (int16_t)(a + b),
                              (int16_t)(-a - b), (int16_t)(a - b), (int16_t)(b - a), (int16_t)(a + b)};
    int16x8_t x = vaddq_s16(vld1q_s16(lower), vdupq_n_s16(512));
    int16x8_t cd = vcombine_s16(vdup_n_s16((int16_t)(-c - d)), vdup_n_s16((int16_t)(c - d)));
    int16x8_t dc = vcombine_s16(vdup_n_s16((int16_t)(d - c)), vdup_n_s16((int16_t)(c + d)));
    uint16x8_t first = vreinterpretq_u16_s16(vaddq_s16(x, cd)), second = vreinterpretq_u16_s16(vaddq_s16(x, dc));
    vst1q_u8(low, vandq_u8(vuzp1q_u8(vreinterpretq_u8_u16(first), vreinterpretq_u8_u16(second)), vdupq_n_u8(31)));
    vst1q_u8(high, vcombine_u8(vshrn_n_u16(first, 5), vshrn_n_u16(second, 5)));
}

static void tables_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    float *scales = (float *)((uint8_t *)packed + groups * tokens * TABLES_GROUP);
    for (size_t g = group0; g < group1; g++) {
        for (size_t t = 0; t < tokens; t++) {
            const int8_t *x = q + (t * groups + g) * GROUP;
            uint8_t *out = (uint8_t *)packed + (g * tokens + t) * TABLES_GROUP;
            scales[g * tokens + t] = scale[t * groups + g];
            for (size_t k = 0; k < 16; k++, x += 8, out += 64) {
                nibble_tables(out, out + 32, x);
                nibble_tables(out + 16, out + 48, x + 4);
            }
        }
    }
}

/* Byte k of row i to byte i of x[k]: four perfect shuffles of sixteen registers. */
static inline void transpose_bytes(uint8x16_t x[16])
{
    uint8x16_t y[16];
    UNROLL
    for (size_t round = 0; round < 2; round++) {
        UNROLL
        for (size_t i = 0; i < 8; i++) {
            y[2 * i] = vzip1q_u8(x[i], x[i + 8]);
            y[2 * i + 1] = vzip2q_u8(x[i], x[i + 8]);
        }
        UNROLL
        for (size_t i = 0; i < 8; i++) {
            x[2 * i] = vzip1q_u8(y[i], y[i + 8]);
            x[2 * i + 1] = vzip2q_u8(y[i], y[i + 8]);
        }
    }
}

/* acc (16 rows) = fma(d * s, sum, acc). */
static inline void add_group(float32x4_t acc[4], const uint8x16_t x[16], const float32x4_t d[4], const uint8_t *table, float s)
{
    uint16x8_t low0 = vdupq_n_u16(0), low1 = low0, high0 = low0, high1 = low0;
    for (size_t i = 0; i < 16; i += 4) {
        uint8x16_t l = vdupq_n_u8(0), h = l;
        UNROLL
        for (size_t k = i; k < i + 4; k++, table += 64) { /* 8 lookups of at most 31 fit a byte */
            uint8x16_t n0 = vandq_u8(x[k], vdupq_n_u8(15)), n1 = vshrq_n_u8(x[k], 4);
            l = vaddq_u8(l, vaddq_u8(vqtbl1q_u8(vld1q_u8(table), n0), vqtbl1q_u8(vld1q_u8(table + 16), n1)));
            h = vaddq_u8(h, vaddq_u8(vqtbl1q_u8(vld1q_u8(table + 32), n0), vqtbl1q_u8(vld1q_u8(table + 48), n1)));
        }
        low0 = vaddw_u8(low0, vget_low_u8(l));
        low1 = vaddw_high_u8(low1, l);
        high0 = vaddw_u8(high0, vget_low_u8(h));
        high1 = vaddw_high_u8(high1, h);
    }
    const uint16x8_t bias = vdupq_n_u16(TABLES_BIAS);
    int16x8_t sum0 = vreinterpretq_s16_u16(vsubq_u16(vaddq_u16(vshlq_n_u16(high0, 5), low0), bias));
    int16x8_t sum1 = vreinterpretq_s16_u16(vsubq_u16(vaddq_u16(vshlq_n_u16(high1, 5), low1), bias));
    const int32x4_t sums[4] = {vmovl_s16(vget_low_s16(sum0)), vmovl_high_s16(sum0), vmovl_s16(vget_low_s16(sum1)), vmovl_high_s16(sum1)};
    UNROLL
    for (size_t i = 0; i < 4; i++)
        acc[i] = vfmaq_f32(acc[i], vmulq_n_f32(d[i], s), vcvtq_f32_s32(sums[i]));
}

static void tables_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed, size_t tokens)
{
    const float *s = (const float *)((const uint8_t *)packed + groups * tokens * TABLES_GROUP);
    size_t stride = groups * Q1_BYTES;
    for (size_t r = row0; r < row1; r += TABLE_ROWS) {
        size_t n = MIN(row1 - r, (size_t)TABLE_ROWS);
        const uint8_t *row[TABLE_ROWS]; /* beyond the range the last one again */
        for (size_t i = 0; i < TABLE_ROWS; i++)
            row[i] = w + (r + MIN(i, n - 1)) * stride;
        float32x4_t acc[TABLE_TOKENS][4];
        for (size_t t = 0; t < tokens; t++)
            for (size_t i = 0; i < 4; i++)
                acc[t][i] = vdupq_n_f32(0);
        for (size_t g = 0; g < groups; g++) {
            uint8x16_t x[16];
            uint16_t half[TABLE_ROWS];
            float32x4_t d[4];
            UNROLL
            for (size_t i = 0; i < TABLE_ROWS; i++) {
                memcpy(&half[i], row[i] + g * Q1_BYTES, sizeof half[i]);
                x[i] = vld1q_u8(row[i] + g * Q1_BYTES + 2);
            }
            transpose_bytes(x);
            for (size_t i = 0; i < 4; i++)
                d[i] = load_f16(half + 4 * i);
            for (size_t t = 0; t < tokens; t++)
                add_group(acc[t], x, d, (const uint8_t *)packed + (g * tokens + t) * TABLES_GROUP, s[g * tokens + t]);
        }
        for (size_t t = 0; t < tokens; t++) {
            float out[TABLE_ROWS];
            for (size_t i = 0; i < 4; i++)
                vst1q_f32(out + 4 * i, acc[t][i]);
            memcpy(y + t * y_stride + r, out, n * sizeof *out);
        }
    }
}

static const struct q1_family tables = {"tables", TABLE_ROWS, TABLE_TOKENS, tables_bytes, tables_pack, tables_run};

static const struct q1_family *pick_tables(size_t tokens)
{
    (void)tokens;
    return &tables;
}

/* ----------------------------------------------------------- family "sign" */

typedef int16x8_t sign_sums; /* a group adds at most 16 * 127 to a lane */

static inline sign_sums sign_zero(void) { return vdupq_n_s16(0); }
static inline sign_sums sign_step(sign_sums sums, int8x16_t selected, int8x16_t codes) { return vpadalq_s8(sums, vandq_s8(selected, codes)); }
static inline int32x4_t sign_words(sign_sums sums) { return vnegq_s32(vpaddlq_s16(sums)); }

#include "sign_neon.h"

static const struct q1_family *pick_sign(size_t tokens)
{
    (void)tokens;
    return &sign;
}

/* ------------------------------------------------------- family "popcount"
 *
 * Eight planes of bits of the activations, two's complement, as in popcount.h; a byte holds
 * the weighted counts of four planes. Packed: [group][token][plane][16 bytes], scales, sums. */

enum { POPCOUNT_TOKENS = 16, PLANES = 8 };

static size_t popcount_bytes(size_t groups, size_t tokens) { return groups * tokens * (GROUP + sizeof(float) + sizeof(int32_t)); }

static void popcount_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    float *scales = (float *)((uint8_t *)packed + groups * tokens * GROUP);
    int32_t *totals = (int32_t *)(scales + groups * tokens);
    for (size_t g = group0; g < group1; g++) {
        for (size_t t = 0; t < tokens; t++) {
            const int8_t *x = q + (t * groups + g) * GROUP;
            uint8_t *out = (uint8_t *)packed + (g * tokens + t) * GROUP;
            memset(out, 0, GROUP);
            int32_t total = 0;
            for (size_t i = 0; i < GROUP; i++) {
                total += x[i];
                for (size_t b = 0; b < PLANES; b++)
                    out[b * 16 + i / 8] |= (uint8_t)(((uint8_t)x[i] >> b & 1) << i % 8);
            }
            scales[g * tokens + t] = scale[t * groups + g];
            totals[g * tokens + t] = total;
        }
    }
}

static inline int16x8_t weighted_counts(uint8x16_t w, const uint8_t *planes)
{
    uint8x16_t count[PLANES];
    UNROLL
    for (size_t b = 0; b < PLANES; b++)
        count[b] = vcntq_u8(vandq_u8(w, vld1q_u8(planes + 16 * b)));
    uint8x16_t low = vaddq_u8(vaddq_u8(count[0], vshlq_n_u8(count[1], 1)), vaddq_u8(vshlq_n_u8(count[2], 2), vshlq_n_u8(count[3], 3)));
    int8x16_t high = vreinterpretq_s8_u8(vsubq_u8(vaddq_u8(vaddq_u8(count[4], vshlq_n_u8(count[5], 1)), vshlq_n_u8(count[6], 2)), vshlq_n_u8(count[7], 3)));
    return vaddq_s16(vreinterpretq_s16_u16(vpaddlq_u8(low)), vshlq_n_s16(vpaddlq_s8(high), 4));
}

static void popcount_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed, size_t tokens)
{
    const float *scales = (const float *)((const uint8_t *)packed + groups * tokens * GROUP);
    const int32_t *totals = (const int32_t *)(scales + groups * tokens);
    size_t stride = groups * Q1_BYTES;
    for (size_t r = row0; r < row1; r += 4) {
        size_t n = MIN(row1 - r, (size_t)4);
        const uint8_t *row[4]; /* beyond the range the last one again */
        for (size_t i = 0; i < 4; i++)
            row[i] = w + (r + MIN(i, n - 1)) * stride;
        float32x4_t acc[POPCOUNT_TOKENS];
        for (size_t t = 0; t < tokens; t++)
            acc[t] = vdupq_n_f32(0);
        for (size_t g = 0; g < groups; g++) {
            float32x4_t d = sign_d(row);
            for (size_t t = 0; t < tokens; t++) {
                size_t at = g * tokens + t;
                const uint8_t *planes = (const uint8_t *)packed + at * GROUP;
                int32x4_t part[4];
                UNROLL
                for (size_t i = 0; i < 4; i++)
                    part[i] = vpaddlq_s16(weighted_counts(vld1q_u8(row[i] + 2), planes));
                int32x4_t sum = vpaddq_s32(vpaddq_s32(part[0], part[1]), vpaddq_s32(part[2], part[3]));
                int32x4_t isum = vsubq_s32(vshlq_n_s32(sum, 1), vdupq_n_s32(totals[at]));
                acc[t] = vfmaq_f32(acc[t], vmulq_n_f32(d, scales[at]), vcvtq_f32_s32(isum));
            }
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

static const struct q1_family popcount = {"popcount", 4, POPCOUNT_TOKENS, popcount_bytes, popcount_pack, popcount_run};

static const struct q1_family *pick_popcount(size_t tokens)
{
    (void)tokens;
    return &popcount;
}

/* Per token tables take a third fewer instructions than "sign" here, but eight bytes for
 * each activation. */
static int q1_auto(size_t tokens) { return tokens <= 16 ? 2 : 0; }

/* ------------------------------------------------------------------- table */

const struct kernels kernels_neon = {
    .level = "neon",
    .needs = CPU_NEON,
    .quantize_i8 = quantize_i8,
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
    .q1 = {pick_sign, pick_popcount, pick_tables},
    .q1_auto = q1_auto,
};
