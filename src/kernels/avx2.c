/* avx2.c: kernels for AVX2, FMA and F16C.
 *
 * Multiplying one-bit weights in place, from the mapped file:
 *
 *   "tables"  64 rows at a time, one byte lane each. Their bytes are brought side by side by a
 *             transpose in registers, then two shuffles look up the sums of four weights for
 *             32 rows (the tables are built from the activations): r64_avx2.h. The fastest for any
 *             number of tokens.
 *   "sign"    16 rows at a time as bytes of 0 and 1, four tokens per load of them; the sum under
 *             signs is 2 * (sum under set bits) - (sum of all): sign_x86.h.
 *
 * Either way a register holds whole sums of different rows, so that the one fma per group
 * that the contract fixes serves eight rows. */
#include "kernels.h"

#include <immintrin.h>
#include <string.h>

#include "attn_q8_avx2.h"
#include "cpu.h"
#include "peak.h"
#include "mathfn.h"
#include "popcount.h"

enum {
    LANES = 16
}; /* of float reductions: two registers */

/* ------------------------------------------------------------------ floats */

static inline float fold(__m256 lanes0, __m256 lanes1)
{
    __m256 a = _mm256_add_ps(lanes0, lanes1);
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

static float dot_f32(const float *a, const float *b, size_t n)
{
    __m256 lanes0 = _mm256_setzero_ps(), lanes1 = lanes0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        lanes0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), lanes0);
        lanes1 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), lanes1);
    }
    if (i < n) {
        float lane[LANES];
        _mm256_storeu_ps(lane, lanes0);
        _mm256_storeu_ps(lane + 8, lanes1);
        for (size_t l = 0; i < n; i++, l++)
            lane[l] = fma_f32(a[i], b[i], lane[l]);
        lanes0 = _mm256_loadu_ps(lane);
        lanes1 = _mm256_loadu_ps(lane + 8);
    }
    return fold(lanes0, lanes1);
}

static void rmsnorm(float *y, const float *x, const float *w, size_t n, float eps)
{
    float r = 1.0f / __builtin_sqrtf(dot_f32(x, x, n) / (float)n + eps);
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(r)), _mm256_loadu_ps(w + i)));
    for (; i < n; i++)
        y[i] = (x[i] * r) * w[i];
}

static void add(float *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(y + i), _mm256_loadu_ps(x + i)));
    for (; i < n; i++)
        y[i] += x[i];
}

/* exp_f32 of mathfn.c, eight at a time. */
static inline __m256 exp_ps(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1.0f), round = _mm256_set1_ps(0x1.8p23f);
    __m256 t = _mm256_fmadd_ps(x, _mm256_set1_ps(0x1.715476p+0f), round), n = _mm256_sub_ps(t, round);
    __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-0x1.62e430p-1f), x);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(0x1.05c610p-29f), r);
    __m256 p = _mm256_set1_ps(0x1.6a2426p-10f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.1239e8p-7f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.5558f2p-5f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.555492p-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.fffffcp-2f));
    p = _mm256_fmadd_ps(p, r, one);
    p = _mm256_fmadd_ps(p, r, one);
    p = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_castps_si256(t), 23)));
    p = _mm256_blendv_ps(p, _mm256_set1_ps(__builtin_inff()), _mm256_cmp_ps(x, _mm256_set1_ps(88.72f), _CMP_GT_OQ));
    p = _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(-87.33f), _CMP_LT_OQ), p);
    return _mm256_blendv_ps(p, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}

static void silu_mul(float *y, const float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 g = _mm256_loadu_ps(gate + i);
        __m256 e = exp_ps(_mm256_xor_ps(g, _mm256_set1_ps(-0.0f)));
        __m256 s = _mm256_div_ps(g, _mm256_add_ps(_mm256_set1_ps(1.0f), e));
        _mm256_storeu_ps(y + i, _mm256_mul_ps(s, _mm256_loadu_ps(up + i)));
    }
    for (; i < n; i++)
        y[i] = (gate[i] / (1.0f + exp_f32(-gate[i]))) * up[i];
}

static void rope(float *x, const float *c, const float *s, size_t dim)
{
    size_t half = dim / 2, i = 0;
    for (; i + 8 <= half; i += 8) {
        __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + half), cos = _mm256_loadu_ps(c + i), sin = _mm256_loadu_ps(s + i);
        _mm256_storeu_ps(x + i, _mm256_fmsub_ps(a, cos, _mm256_mul_ps(b, sin)));
        _mm256_storeu_ps(x + i + half, _mm256_fmadd_ps(a, sin, _mm256_mul_ps(b, cos)));
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
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(dst + i), _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++)
        dst[i] = f32_to_f16(src[i]);
}

static inline __m256 load_f16(const uint16_t *src) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)src)); }

static void f32_from_f16(float *dst, const uint16_t *src, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(dst + i, load_f16(src + i));
    for (; i < n; i++)
        dst[i] = f16_to_f32(src[i]);
}

static inline int32_t max_epi32(__m256i v)
{
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}

static const int32_t INFINITY_BITS = 0x7f800000; /* of a float without its sign: from here on not finite */

/* First the largest value, then where it comes first. */
static int64_t argmax(const float *x, size_t n)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256 max = _mm256_set1_ps(x[0]);
    __m256i largest = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_loadu_ps(x + i);
        max = _mm256_max_ps(max, v);
        largest = _mm256_max_epi32(largest, _mm256_and_si256(_mm256_castps_si256(v), magnitude));
    }
    float lane[8], best = x[0];
    _mm256_storeu_ps(lane, max);
    for (size_t l = 0; l < 8; l++)
        best = lane[l] > best ? lane[l] : best;
    bool finite = max_epi32(largest) < INFINITY_BITS;
    for (; i < n; i++) {
        finite &= __builtin_fabsf(x[i]) < __builtin_inff();
        best = x[i] > best ? x[i] : best;
    }
    if (!finite)
        return -1;
    for (i = 0; i + 8 <= n; i += 8) {
        int equal = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(best), _CMP_EQ_OQ));
        if (equal)
            return (int64_t)i + __builtin_ctz((unsigned)equal);
    }
    while (x[i] != best)
        i++;
    return (int64_t)i;
}

/* ---------------------------------------------------------------- integers */

/* 16 numbers to 16-bit lanes, and 32 of those to bytes; packs work by lane, which the second undoes. */
static inline __m256i round_16(const float *x, __m256 inverse)
{
    __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
    return _mm256_packs_epi32(a, _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8), inverse)));
}

static inline void store_bytes(int8_t *q, __m256i a, __m256i b)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256((__m256i *)q, _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), order));
}

/* The scale of a group whose largest code is `most`, and its inverse; false: x is not finite.
 * Nothing needs clamping: |x| * (most / amax) is at most a few ulps more, which rounds to most. */
static inline bool group_scale(float *scale, __m256 *inverse, const float *x, float most)
{
    __m256i largest = _mm256_setzero_si256();
    for (size_t i = 0; i < GROUP; i += 8)
        largest = _mm256_max_epi32(largest, _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(x + i)), _mm256_set1_epi32(0x7fffffff)));
    int32_t bits = max_epi32(largest); /* floats without sign order as integers do */
    float amax;
    memcpy(&amax, &bits, sizeof amax);
    bool zero = amax < 0x1p-100f;
    *inverse = _mm256_set1_ps(zero ? 0 : most / amax);
    *scale = zero ? 0 : amax / most;
    return bits < INFINITY_BITS;
}

static bool quantize_i8(int8_t *q, float *scale, const float *x, size_t n)
{
    for (size_t group = 0; group < n / GROUP; group++, x += GROUP, q += GROUP) {
        __m256 inverse;
        if (!group_scale(scale + group, &inverse, x, 127))
            return false;
        for (size_t i = 0; i < GROUP; i += 32)
            store_bytes(q + i, round_16(x + i, inverse), round_16(x + i + 16, inverse));
    }
    return true;
}

/* a / 128, toward 0. */
static inline __m256i high_plane(__m256i a)
{
    return _mm256_srai_epi16(_mm256_add_epi16(a, _mm256_srli_epi16(_mm256_srai_epi16(a, 15), 9)), 7);
}

static bool quantize_i16(int8_t *high, int8_t *low, float *scale, const float *x, size_t n)
{
    for (size_t group = 0; group < n / GROUP; group++, x += GROUP, high += GROUP, low += GROUP) {
        __m256 inverse;
        if (!group_scale(scale + group, &inverse, x, WIDE_MOST))
            return false;
        for (size_t i = 0; i < GROUP; i += 32) {
            __m256i a = round_16(x + i, inverse), b = round_16(x + i + 16, inverse), ah = high_plane(a), bh = high_plane(b);
            store_bytes(high + i, ah, bh);
            store_bytes(low + i, _mm256_sub_epi16(a, _mm256_slli_epi16(ah, 7)), _mm256_sub_epi16(b, _mm256_slli_epi16(bh, 7)));
        }
    }
    return true;
}

static int32_t dot_i8(const int8_t *a, const int8_t *b, size_t n)
{
    __m256i sum = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i += 32) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(a + i)), y = _mm256_loadu_si256((const __m256i *)(b + i));
        /* One factor of maddubs is unsigned: move b's signs over, a's may stay. */
        __m256i products = _mm256_maddubs_epi16(_mm256_abs_epi8(y), _mm256_sign_epi8(x, y));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(products, _mm256_set1_epi16(1)));
    }
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

/* --------------------------------------------------------------- attention
 *
 * A tile of n_q queries x n_b blocks of registers; both are constants where these are
 * called, so that the arrays become registers. Eight chains of fma hide its latency. */

/* The loops over dimensions and positions are unrolled because a taken branch took 4.5 cycles on the machine
 * where this was measured: 64 queries, Zen 3, gcc: scores 44 instead of 40 GMAC/s, values 37 instead of 28.
 *
 * With few queries a tile comes from memory, and V's dimensions are read in columns, which the CPU does not
 * guess. So each kernel fetches what mostly follows its tile in memory (kv.h), as much as it reads itself: K's
 * the values of the same head, those the next head's K. Zen 3, 1.7B shape, two threads, one token at
 * 8,192: f16 14.5 instead of 10.4 tok/s, int8 19.0 instead of 12.0. */
TEMPLATE __m256 load(const void *kv, size_t i, bool half)
{
    return half ? load_f16((const uint16_t *)kv + i) : _mm256_loadu_ps((const float *)kv + i);
}

TEMPLATE void score_tile(float *s, const float *q, size_t n_q, const void *k, size_t block, size_t n_b, size_t dim, float scale, bool half,
                         bool ahead)
{
    const size_t row_bytes = ATTN_LANES * (half ? sizeof(uint16_t) : sizeof(float));
    const uintptr_t next = (uintptr_t)k + (ATTN_TILE / ATTN_LANES + block) * dim * row_bytes;
    __m256 acc[8];
    UNROLL
    for (size_t a = 0; a < n_q * n_b * 2; a++)
        acc[a] = _mm256_setzero_ps();
    UNROLL_4
    for (size_t i = 0; i < dim; i++) {
        __m256 x[4];
        UNROLL
        for (size_t j = 0; j < n_q; j++)
            x[j] = _mm256_broadcast_ss(q + j * dim + i);
        UNROLL
        for (size_t l = 0; l < 2 * n_b; l++) {
            __m256 y = load(k, ((block + l / 2) * dim + i) * ATTN_LANES + l % 2 * 8, half);
            UNROLL
            for (size_t j = 0; j < n_q; j++)
                acc[j * n_b * 2 + l] = _mm256_fmadd_ps(x[j], y, acc[j * n_b * 2 + l]);
        }
        if (ahead)
            _mm_prefetch((const char *)(next + i * row_bytes), _MM_HINT_T0);
    }
    UNROLL
    for (size_t a = 0; a < n_q * n_b * 2; a++)
        _mm256_storeu_ps(s + a / (n_b * 2) * ATTN_TILE + block * ATTN_LANES + a % (n_b * 2) * 8,
                         _mm256_mul_ps(acc[a], _mm256_set1_ps(scale)));
}

/* One block after the other: with few queries K comes from memory, and several streams, each
 * as long as a page, would keep the CPU from guessing what is read next. */
TEMPLATE void score_blocks(float *s, const float *q, size_t n_q, const void *k, size_t dim, float scale, bool half, bool ahead)
{
    for (size_t block = 0; block < ATTN_TILE / ATTN_LANES; block++)
        score_tile(s, q, n_q, k, block, 1, dim, scale, half, ahead);
}

TEMPLATE void scores(float *s, const float *q, size_t n_q, const void *k, size_t dim, float scale, bool half)
{
    size_t j = 0;
    for (; j + 4 <= n_q; j += 4) {
        if (n_q <= ATTN_FEW)
            score_blocks(s, q, 4, k, dim, scale, half, true);
        else
            score_blocks(s + j * ATTN_TILE, q + j * dim, 4, k, dim, scale, half, false);
    }
    for (; j + 2 <= n_q; j += 2)
        score_blocks(s + j * ATTN_TILE, q + j * dim, 2, k, dim, scale, half, true);
    for (; j < n_q; j++)
        score_blocks(s + j * ATTN_TILE, q + j * dim, 1, k, dim, scale, half, true);
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
    float before = *max;
    size_t p = 0;
    __m256 largest = _mm256_set1_ps(before);
    for (; p + 8 <= n_valid; p += 8)
        largest = _mm256_max_ps(_mm256_loadu_ps(s + p), largest); /* of a NaN and m: m */
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(largest), _mm256_extractf128_ps(largest, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    float m = _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
    for (; p < n_valid; p++)
        m = s[p] > m ? s[p] : m;
    m += 0.0f;
    /* Mostly an old maximum stays, and exp(0) is exactly 1. */
    float factor = before == -__builtin_inff() ? 0 : before - m == 0 ? 1 : _mm256_cvtss_f32(exp_ps(_mm256_set1_ps(before - m)));
    __m256 lanes[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    const __m256i place = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    for (p = 0; p < ATTN_TILE; p += 8) {
        __m256i valid = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n_valid - (int)p), place);
        __m256 e = exp_ps(_mm256_sub_ps(_mm256_loadu_ps(s + p), _mm256_set1_ps(m)));
        e = _mm256_and_ps(e, _mm256_castsi256_ps(valid));
        _mm256_storeu_ps(s + p, e);
        lanes[p / 8 % 2] = _mm256_add_ps(lanes[p / 8 % 2], e);
    }
    *sum = fma_f32(*sum, factor, fold(lanes[0], lanes[1]));
    *max = m;
    return factor;
}

static void attn_softmax(float *s, float *factor, const size_t *n_valid, size_t n_q, float *max, float *sum)
{
    for (size_t j = 0; j < n_q; j++)
        factor[j] = softmax_of_one(s + j * ATTN_TILE, n_valid[j], &max[j], &sum[j]);
}

/* o += prob * v for positions [begin, end), n_q queries, n_v * 8 dimensions from i on. ahead: as many bytes
 * of what is read next are fetched. */
TEMPLATE void value_tile(float *o, const float *prob, const float *factor, size_t n_q, size_t begin, size_t end, const void *v, size_t i,
                         size_t n_v, size_t dim, bool half, bool ahead)
{
    const size_t size = half ? sizeof(uint16_t) : sizeof(float), row_bytes = n_v * 8 * size;
    const uintptr_t next = (uintptr_t)v + (dim + i) * ATTN_TILE * size;
    __m256 acc[8];
    UNROLL
    for (size_t a = 0; a < n_q * n_v; a++)
        acc[a] = _mm256_mul_ps(_mm256_loadu_ps(o + a / n_v * dim + i + a % n_v * 8), _mm256_set1_ps(factor[a / n_v]));
    UNROLL_4
    for (size_t p = begin; p < end; p++) {
        __m256 x[4];
        UNROLL
        for (size_t j = 0; j < n_q; j++)
            x[j] = _mm256_broadcast_ss(prob + j * ATTN_TILE + p);
        UNROLL
        for (size_t l = 0; l < n_v; l++) {
            __m256 y = load(v, p * dim + i + l * 8, half);
            UNROLL
            for (size_t j = 0; j < n_q; j++)
                acc[j * n_v + l] = _mm256_fmadd_ps(x[j], y, acc[j * n_v + l]);
        }
        if (ahead) {
            UNROLL
            for (size_t byte = 0; byte < row_bytes; byte += 64)
                _mm_prefetch((const char *)(next + p * row_bytes + byte), _MM_HINT_T0);
        }
    }
    UNROLL
    for (size_t a = 0; a < n_q * n_v; a++)
        _mm256_storeu_ps(o + a / n_v * dim + i + a % n_v * 8, acc[a]);
}

/* One query, all whole registers of its dimensions. */
TEMPLATE void value_one(float *o, const float *prob, float factor, size_t begin, size_t end, const void *v, size_t dim, bool half,
                        bool ahead)
{
    size_t i = 0;
    for (; i + 64 <= dim; i += 64)
        value_tile(o, prob, &factor, 1, begin, end, v, i, 8, dim, half, ahead);
    for (; i + 8 <= dim; i += 8)
        value_tile(o, prob, &factor, 1, begin, end, v, i, 1, dim, half, false);
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
    const bool few = n_q <= ATTN_FEW;
    size_t j = 0;
    /* Positions that all four (or two) see at once, then what single ones see beyond. */
    while (n_q - j >= 2) {
        size_t n = n_q - j >= 4 ? 4 : 2, common = n_valid[j], i = 0;
        for (size_t l = 1; l < n; l++)
            common = MIN(common, n_valid[j + l]);
        for (; n == 4 && i + 16 <= dim; i += 16)
            value_tile(o + j * dim, prob + j * ATTN_TILE, factor + j, 4, 0, common, v, i, 2, dim, half, few);
        for (; n == 2 && i + 32 <= dim; i += 32)
            value_tile(o + j * dim, prob + j * ATTN_TILE, factor + j, 2, 0, common, v, i, 4, dim, half, few);
        for (size_t l = j; l < j + n; l++) {
            for (size_t rest = i; rest + 8 <= dim; rest += 8)
                value_tile(o + l * dim, prob + l * ATTN_TILE, factor + l, 1, 0, common, v, rest, 1, dim, half, false);
            if (n_valid[l] > common)
                value_one(o + l * dim, prob + l * ATTN_TILE, 1, common, n_valid[l], v, dim, half, false);
        }
        j += n;
    }
    if (j < n_q)
        value_one(o + j * dim, prob + j * ATTN_TILE, factor[j], 0, n_valid[j], v, dim, half, few);
    for (j = 0; dim % 8 && j < n_q; j++)
        value_rest(o + j * dim, prob + j * ATTN_TILE, factor[j], n_valid[j], v, dim / 8 * 8, dim, half);
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
 * into 32 * high + low with both parts below 32: eight lookups fit a byte when added. For
 * every weight byte k: low table of its lower nibble, low of its upper one, high, high: 64
 * bytes. A group takes 1 KB; all groups of all tokens, then the scales. */

enum {
    TABLES_GROUP = 1024,    /* bytes of one group and token */
    TABLES_BIAS = 512 * 32, /* what 32 lookups are too large by */
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

/* Signs of pattern i, lowest bit first; hadd interleaves lanes, hence this order. */
static inline __m256i nibble_signs(int second)
{
#define S(i) ((i)&1 ? 1 : -1), ((i)&2 ? 1 : -1), ((i)&4 ? 1 : -1), ((i)&8 ? 1 : -1)
    return second ? _mm256_setr_epi8(S(4), S(5), S(6), S(7), S(12), S(13), S(14), S(15))
                  : _mm256_setr_epi8(S(0), S(1), S(2), S(3), S(8), S(9), S(10), S(11));
#undef S
}

/* 11 instructions a nibble: 0.1 ns per activation, where a scalar builder takes 13. */
static void tables_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    const __m256i signs0 = nibble_signs(0), signs1 = nibble_signs(1);
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
static void tables_few_rows(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                            size_t tokens)
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

/* Two of the four rounds of a 16 x 16 byte transpose: out = rows 4 i .. 4 i + 3 after them
 * when a, b, c, d are rows i, i + 4, i + 8, i + 12 before. */
static inline void interleave(__m256i out[4], __m256i a, __m256i b, __m256i c, __m256i d)
{
    __m256i ac = _mm256_unpacklo_epi8(a, c), bd = _mm256_unpacklo_epi8(b, d);
    out[0] = _mm256_unpacklo_epi8(ac, bd);
    out[1] = _mm256_unpackhi_epi8(ac, bd);
    ac = _mm256_unpackhi_epi8(a, c);
    bd = _mm256_unpackhi_epi8(b, d);
    out[2] = _mm256_unpacklo_epi8(ac, bd);
    out[3] = _mm256_unpackhi_epi8(ac, bd);
}

static inline __m256i load_rows(const uint8_t *row, const uint8_t *row16)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)row)), _mm_loadu_si128((const __m128i *)row16),
                                   1);
}

static inline __m256i table(const uint8_t *t) { return _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)t)); }

#include "act16_avx2.h"

#include "r64_avx2.h"

static const struct q1_family *pick_tables(size_t tokens)
{
    (void)tokens;
    return &tables;
}

static const struct q1_family *pick_wide_tables(size_t tokens)
{
    (void)tokens;
    return &wide_tables;
}

static const struct q1_family *pick_r64(size_t tokens)
{
    (void)tokens;
    return &r64_tables;
}

static const struct q1_family *pick_wide_r64(size_t tokens)
{
    (void)tokens;
    return &wide_r64_tables;
}

/* ----------------------------------------------------------- family "sign" */

/* 16-bit lanes: a group adds at most 32 * 254. */
static inline __m256i sign_step(__m256i acc, __m256i weights, __m256i codes)
{
    return _mm256_add_epi16(acc, _mm256_maddubs_epi16(weights, codes));
}

static inline __m256i sign_twice(__m256i acc) { return _mm256_madd_epi16(acc, _mm256_set1_epi16(2)); }

#include "sign_x86.h"

static const struct q1_family *pick_sign(size_t tokens)
{
    (void)tokens;
    return &sign;
}

static const struct q1_family *pick_wide_sign(size_t tokens)
{
    (void)tokens;
    return &wide_sign;
}

static const struct q1_family *pick_popcount(size_t tokens)
{
    (void)tokens;
    return &popcount;
}

static const struct q1_family *pick_wide_popcount(size_t tokens)
{
    (void)tokens;
    return &wide_popcount;
}

static int q1_auto(size_t tokens)
{
    (void)tokens;
    return 2;
}

/* -------------------------------------------------------------------- peak */

/* Sums of 16 bits, as the "sign" family has them. */
static inline __m256i step_i8(__m256i sum, __m256i a, __m256i b) { return _mm256_add_epi16(sum, _mm256_maddubs_epi16(a, b)); }
static inline __m256 step_f32(__m256 sum, __m256 a, __m256 b) { return _mm256_fmadd_ps(a, b, sum); }

PEAK_LOOP(peak_i8, __m256i, "x", _mm256_setzero_si256(), step_i8, 32)
PEAK_LOOP(peak_f32, __m256, "x", _mm256_setzero_ps(), step_f32, 8)

/* ------------------------------------------------------------------- table */

const struct kernels kernels_avx2 = {
    .level = "avx2",
    .needs = CPU_AVX2,
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
    .q1_auto = q1_auto,
    .r64 = pick_r64,
    .r64_wide = pick_wide_r64,
    .r64_to_rows = rows_of_r64,
    .q1_wide = {pick_wide_sign, pick_wide_popcount, pick_wide_tables},
    .q1_wide_auto = q1_auto,
};
