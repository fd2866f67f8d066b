/* avx512.c: kernels for AVX-512 F, BW, VL and DQ. What is missing here avx2.c does.
 *
 * Few tokens: tables of 16-bit sums. A word permute looks up 32 rows at once and takes five
 * bits of each row's word as index (six from two registers), ignoring the others: 16 weights
 * of 32 rows are three lookups, two shifts and three additions, with nothing to widen or to
 * correct. The words are brought side by side by an 8 x 8 transpose in registers. Activations in
 * two planes take two tables and twice the lookups, but not twice the time. */
#include "kernels.h"

#include <immintrin.h>
#include <string.h>

#include "cpu.h"
#include "peak.h"
#include "mathfn.h"

/* ------------------------------------------------------------------ floats
 *
 * A register is the 16 lanes of a reduction; ends of arrays are handled by masks. */

enum {
    LANES = 16
};

static inline __mmask16 first(size_t n) { return (__mmask16)((1u << n) - 1); } /* n < 16 */

static inline float fold(__m512 lanes)
{
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

static float dot_f32(const float *a, const float *b, size_t n)
{
    __m512 lanes = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        lanes = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), lanes);
    __mmask16 rest = first(n - i);
    return fold(_mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(rest, a + i), _mm512_maskz_loadu_ps(rest, b + i), lanes, rest));
}

static void rmsnorm(float *y, const float *x, const float *w, size_t n, float eps)
{
    __m512 r = _mm512_set1_ps(1.0f / __builtin_sqrtf(dot_f32(x, x, n) / (float)n + eps));
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        _mm512_storeu_ps(y + i, _mm512_mul_ps(_mm512_mul_ps(_mm512_loadu_ps(x + i), r), _mm512_loadu_ps(w + i)));
    __mmask16 rest = first(n - i);
    _mm512_mask_storeu_ps(y + i, rest,
                          _mm512_mul_ps(_mm512_mul_ps(_mm512_maskz_loadu_ps(rest, x + i), r), _mm512_maskz_loadu_ps(rest, w + i)));
}

/* exp_f32 of mathfn.c, sixteen at a time, in two steps: exp(x) is 2^*n times what this returns.
 * The lowest bits of *t are those of *n as an integer. */
static inline __m512 exp_without_power(__m512 x, __m512 *t, __m512 *n)
{
    const __m512 one = _mm512_set1_ps(1.0f), round = _mm512_set1_ps(0x1.8p23f);
    *t = _mm512_fmadd_ps(x, _mm512_set1_ps(0x1.715476p+0f), round);
    *n = _mm512_sub_ps(*t, round);
    __m512 r = _mm512_fmadd_ps(*n, _mm512_set1_ps(-0x1.62e430p-1f), x);
    r = _mm512_fmadd_ps(*n, _mm512_set1_ps(0x1.05c610p-29f), r);
    __m512 p = _mm512_set1_ps(0x1.6a2426p-10f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.1239e8p-7f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.5558f2p-5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.555492p-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.fffffcp-2f));
    p = _mm512_fmadd_ps(p, r, one);
    return _mm512_fmadd_ps(p, r, one);
}

static inline __m512 exp_ps(__m512 x)
{
    __m512 t, n, p = exp_without_power(x, &t, &n);
    p = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), _mm512_slli_epi32(_mm512_castps_si512(t), 23)));
    p = _mm512_mask_mov_ps(p, _mm512_cmp_ps_mask(x, _mm512_set1_ps(88.72f), _CMP_GT_OQ), _mm512_set1_ps(__builtin_inff()));
    p = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.33f), _CMP_NLT_UQ), p);
    return _mm512_mask_mov_ps(p, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x);
}

static void silu_mul(float *y, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 part = n - i < LANES ? first(n - i) : 0xffff;
        __m512 g = _mm512_maskz_loadu_ps(part, gate + i);
        __m512 e = exp_ps(_mm512_xor_ps(g, _mm512_set1_ps(-0.0f)));
        __m512 s = _mm512_div_ps(g, _mm512_add_ps(_mm512_set1_ps(1.0f), e));
        _mm512_mask_storeu_ps(y + i, part, _mm512_mul_ps(s, _mm512_maskz_loadu_ps(part, up + i)));
    }
}

/* Nothing needs clamping: |x| * (127 / amax) is at most 127 and a few ulps, which rounds to 127. */
static bool quantize_i8(int8_t *q, float *scale, const float *x, size_t n)
{
    for (size_t group = 0; group < n / GROUP; group++, x += GROUP, q += GROUP) {
        __m512i largest = _mm512_setzero_si512(); /* floats without sign order as integers do */
        for (size_t i = 0; i < GROUP; i += LANES)
            largest = _mm512_max_epi32(largest, _mm512_and_si512(_mm512_loadu_si512(x + i), _mm512_set1_epi32(0x7fffffff)));
        __m256i eight = _mm256_max_epi32(_mm512_castsi512_si256(largest), _mm512_extracti64x4_epi64(largest, 1));
        __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
        four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
        int32_t bits = _mm_cvtsi128_si32(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
        float amax;
        memcpy(&amax, &bits, sizeof amax);
        if (bits >= 0x7f800000)
            return false;
        bool zero = amax < 0x1p-100f;
        __m512 inverse = _mm512_set1_ps(zero ? 0 : 127 / amax);
        scale[group] = zero ? 0 : amax / 127;
        for (size_t i = 0; i < GROUP; i += LANES)
            _mm_storeu_si128((__m128i *)(q + i), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), inverse))));
    }
    return true;
}

/* --------------------------------------------------------------- attention
 *
 * As in avx2.c: tiles of n_q queries by n_b registers, both constants. */

TEMPLATE __m512 load(const void *kv, size_t i, bool half)
{
    return half ? _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)((const uint16_t *)kv + i))) : _mm512_loadu_ps((const float *)kv + i);
}

TEMPLATE void score_tile(float *s, const float *q, size_t n_q, const void *k, size_t block, size_t n_b, size_t dim, float scale, bool half)
{
    __m512 acc[8];
    UNROLL
    for (size_t a = 0; a < n_q * n_b; a++)
        acc[a] = _mm512_setzero_ps();
    for (size_t i = 0; i < dim; i++) {
        __m512 y[4];
        UNROLL
        for (size_t b = 0; b < n_b; b++)
            y[b] = load(k, ((block + b) * dim + i) * ATTN_LANES, half);
        UNROLL
        for (size_t j = 0; j < n_q; j++) {
            __m512 x = _mm512_set1_ps(q[j * dim + i]);
            UNROLL
            for (size_t b = 0; b < n_b; b++)
                acc[j * n_b + b] = _mm512_fmadd_ps(x, y[b], acc[j * n_b + b]);
        }
    }
    UNROLL
    for (size_t a = 0; a < n_q * n_b; a++)
        _mm512_storeu_ps(s + a / n_b * ATTN_TILE + (block + a % n_b) * ATTN_LANES, _mm512_mul_ps(acc[a], _mm512_set1_ps(scale)));
}

/* One block after the other: with few queries K comes from memory, and several streams, each
 * as long as a page, would keep the CPU from guessing what is read next. */
TEMPLATE void scores(float *s, const float *q, size_t n_q, const void *k, size_t dim, float scale, bool half)
{
    enum {
        BLOCKS = ATTN_TILE / ATTN_LANES
    };
    size_t j = 0;
    for (; j + 8 <= n_q; j += 8)
        for (size_t block = 0; block < BLOCKS; block++)
            score_tile(s + j * ATTN_TILE, q + j * dim, 8, k, block, 1, dim, scale, half);
    for (; j + 4 <= n_q; j += 4)
        for (size_t block = 0; block < BLOCKS; block++)
            score_tile(s + j * ATTN_TILE, q + j * dim, 4, k, block, 1, dim, scale, half);
    for (; j + 2 <= n_q; j += 2)
        for (size_t block = 0; block < BLOCKS; block++)
            score_tile(s + j * ATTN_TILE, q + j * dim, 2, k, block, 1, dim, scale, half);
    for (; j < n_q; j++)
        for (size_t block = 0; block < BLOCKS; block++)
            score_tile(s + j * ATTN_TILE, q + j * dim, 1, k, block, 1, dim, scale, half);
}

static void attn_scores_f16(float *s, const float *q, size_t n_q, const uint16_t *k, size_t dim, float scale)
{
    scores(s, q, n_q, k, dim, scale, true);
}

static void attn_scores_f32(float *s, const float *q, size_t n_q, const float *k, size_t dim, float scale)
{
    scores(s, q, n_q, k, dim, scale, false);
}

/* exp_ps for what is not above 0, or NaN: nothing overflows, and scaling by a power of two keeps
 * NaN what it is. */
static inline __m512 exp_of_negative(__m512 x)
{
    __m512 t, n, p = exp_without_power(x, &t, &n);
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.33f), _CMP_NLT_UQ), p, n);
}

enum {
    TOGETHER = 4 /* queries whose softmax runs at once: one alone would wait for itself */
};

TEMPLATE __m512 combine(__m512 a, __m512 b, bool max) { return max ? _mm512_max_ps(a, b) : _mm512_add_ps(a, b); }

/* Each x[j] folded as `fold` does it, by max or add; the result in all of 128-bit lane j. */
TEMPLATE __m512 fold_four(const __m512 x[TOGETHER], bool max)
{
    __m512 ab = combine(_mm512_shuffle_f32x4(x[0], x[1], 0x44), _mm512_shuffle_f32x4(x[0], x[1], 0xee), max);
    __m512 cd = combine(_mm512_shuffle_f32x4(x[2], x[3], 0x44), _mm512_shuffle_f32x4(x[2], x[3], 0xee), max);
    __m512 abcd = combine(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd), max);
    abcd = combine(abcd, _mm512_permute_ps(abcd, 0x4e), max);
    return combine(abcd, _mm512_permute_ps(abcd, 0xb1), max);
}

/* Number j of n to all of 128-bit lane j, and back. */
TEMPLATE __m512 spread(const float *x, size_t n)
{
    const __m512i lane = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    return _mm512_permutexvar_ps(lane, _mm512_maskz_loadu_ps(first(n), x));
}

TEMPLATE void gather(float *x, size_t n, __m512 v)
{
    const __m512i lane = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    _mm512_mask_storeu_ps(x, first(n), _mm512_permutexvar_ps(lane, v));
}

/* n queries, `whole` if all see all positions. */
TEMPLATE void softmax_some(float *s, float *factor, const size_t *n_valid, size_t n, bool whole, float *max, float *sum)
{
    enum {
        PARTS = ATTN_TILE / LANES
    };
    __mmask16 valid[TOGETHER][PARTS];
    __m512 lanes[TOGETHER];
    const __m512 before = spread(max, n), infinite = _mm512_set1_ps(-__builtin_inff());
    UNROLL
    for (size_t j = 0; j < TOGETHER; j++) {
        lanes[j] = infinite;
        UNROLL
        for (size_t i = 0; j < n && i < PARTS; i++) {
            size_t seen = whole || n_valid[j] >= (i + 1) * LANES ? LANES : n_valid[j] > i * LANES ? n_valid[j] - i * LANES : 0;
            valid[j][i] = seen == LANES ? 0xffff : first(seen);
            /* of a NaN and m: m */
            lanes[j] = _mm512_mask_max_ps(lanes[j], valid[j][i], _mm512_loadu_ps(s + j * ATTN_TILE + i * LANES), lanes[j]);
        }
    }
    /* Zeros of both signs may meet: + 0 makes them one. */
    const __m512 m = _mm512_add_ps(_mm512_max_ps(fold_four(lanes, true), before), _mm512_setzero_ps());
    const __m512 f = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(before, infinite, _CMP_NEQ_UQ), exp_of_negative(_mm512_sub_ps(before, m)));
    UNROLL
    for (size_t j = 0; j < TOGETHER; j++) {
        const __m512i all = _mm512_set1_epi32((int)j * 4);
        const __m512 largest = _mm512_permutexvar_ps(all, m);
        lanes[j] = _mm512_setzero_ps();
        UNROLL
        for (size_t i = 0; j < n && i < PARTS; i++) {
            float *part = s + j * ATTN_TILE + i * LANES;
            __m512 e = exp_of_negative(_mm512_sub_ps(_mm512_loadu_ps(part), largest));
            e = whole ? e : _mm512_maskz_mov_ps(valid[j][i], e);
            _mm512_storeu_ps(part, e);
            lanes[j] = _mm512_add_ps(lanes[j], e);
        }
    }
    gather(factor, n, f);
    gather(sum, n, _mm512_fmadd_ps(spread(sum, n), f, fold_four(lanes, false)));
    gather(max, n, m);
}

static void attn_softmax(float *s, float *factor, const size_t *n_valid, size_t n_q, float *max, float *sum)
{
    size_t j = 0;
    for (; j + TOGETHER <= n_q; j += TOGETHER) {
        bool whole = true;
        for (size_t l = 0; l < TOGETHER; l++)
            whole &= n_valid[j + l] == ATTN_TILE;
        if (whole)
            softmax_some(s + j * ATTN_TILE, factor + j, n_valid + j, TOGETHER, true, max + j, sum + j);
        else
            softmax_some(s + j * ATTN_TILE, factor + j, n_valid + j, TOGETHER, false, max + j, sum + j);
    }
    for (; j + 2 <= n_q; j += 2)
        softmax_some(s + j * ATTN_TILE, factor + j, n_valid + j, 2, false, max + j, sum + j);
    for (; j < n_q; j++)
        softmax_some(s + j * ATTN_TILE, factor + j, n_valid + j, 1, false, max + j, sum + j);
}

/* o += prob * v for positions [begin, end), n_q queries, 16 * n_v dimensions from i on, the
 * last 16 of them under a mask. */
TEMPLATE void value_tile(float *o, const float *prob, const float *factor, size_t n_q, size_t begin, size_t end, const void *v, size_t i,
                         size_t n_v, size_t dim, __mmask16 mask, bool half)
{
    __m512 acc[16];
    UNROLL
    for (size_t a = 0; a < n_q * n_v; a++)
        acc[a] = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, o + a / n_v * dim + i + a % n_v * LANES), _mm512_set1_ps(factor[a / n_v]));
    for (size_t p = begin; p < end; p++) {
        __m512 y[8];
        UNROLL
        for (size_t l = 0; l < n_v; l++) {
            size_t at = p * dim + i + l * LANES;
            y[l] = half ? _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, (const uint16_t *)v + at))
                        : _mm512_maskz_loadu_ps(mask, (const float *)v + at);
        }
        UNROLL
        for (size_t j = 0; j < n_q; j++) {
            __m512 x = _mm512_set1_ps(prob[j * ATTN_TILE + p]);
            UNROLL
            for (size_t l = 0; l < n_v; l++)
                acc[j * n_v + l] = _mm512_fmadd_ps(x, y[l], acc[j * n_v + l]);
        }
    }
    UNROLL
    for (size_t a = 0; a < n_q * n_v; a++)
        _mm512_mask_storeu_ps(o + a / n_v * dim + i + a % n_v * LANES, mask, acc[a]);
}

/* All dimensions of n_q queries. */
TEMPLATE void value_rows(float *o, const float *prob, const float *factor, size_t n_q, size_t begin, size_t end, const void *v, size_t dim,
                         bool half)
{
    size_t n_v = n_q == 8 ? 1 : MIN(16 / n_q, (size_t)8), i = 0; /* few queries: whole rows, as memory likes */
    for (; i + n_v * LANES <= dim; i += n_v * LANES)
        value_tile(o, prob, factor, n_q, begin, end, v, i, n_v, dim, 0xffff, half);
    for (; i < dim; i += LANES)
        value_tile(o, prob, factor, n_q, begin, end, v, i, 1, dim, dim - i < LANES ? first(dim - i) : 0xffff, half);
}

TEMPLATE void values(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n_q, const void *v, size_t dim,
                     bool half)
{
    const float one = 1;
    for (size_t j = 0; j < n_q;) {
        /* Positions that all eight (four, two) see at once, then what single ones see beyond. */
        size_t n = n_q - j >= 8 ? 8 : n_q - j >= 4 ? 4 : n_q - j >= 2 ? 2 : 1, common = n_valid[j];
        for (size_t l = 1; l < n; l++)
            common = MIN(common, n_valid[j + l]);
        float *o_j = o + j * dim;
        const float *prob_j = prob + j * ATTN_TILE;
        if (n == 8)
            value_rows(o_j, prob_j, factor + j, 8, 0, common, v, dim, half);
        else if (n == 4)
            value_rows(o_j, prob_j, factor + j, 4, 0, common, v, dim, half);
        else if (n == 2)
            value_rows(o_j, prob_j, factor + j, 2, 0, common, v, dim, half);
        else
            value_rows(o_j, prob_j, factor + j, 1, 0, common, v, dim, half);
        for (size_t l = 0; l < n; l++)
            if (n_valid[j + l] > common)
                value_rows(o_j + l * dim, prob_j + l * ATTN_TILE, &one, 1, common, n_valid[j + l], v, dim, half);
        j += n;
    }
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
 * Packed: for every word of 16 weights and plane 64 sums of weights 0..5, 32 of 6..10, 32 of
 * 11..15; 2 KB a group and plane, [group][token][word][plane]; then the scales. */

enum {
    WORD_SUMS = 128, /* int16 for 16 weights */
    GROUP_SUMS = 8 * WORD_SUMS,
    TOKENS = 8,
};

/* Where the scales begin. */
static inline size_t tables_end(size_t groups, size_t tokens, size_t planes)
{
    return groups * tokens * planes * GROUP_SUMS * sizeof(int16_t);
}

/* Sums of q[0..4] under all patterns of five signs, lowest bit first. */
static inline __m512i five_sums(const int16_t *q)
{
    __m512i sum = _mm512_set1_epi16((int16_t) - (q[0] + q[1] + q[2] + q[3] + q[4]));
    sum = _mm512_mask_add_epi16(sum, 0xaaaaaaaa, sum, _mm512_set1_epi16((int16_t)(2 * q[0])));
    sum = _mm512_mask_add_epi16(sum, 0xcccccccc, sum, _mm512_set1_epi16((int16_t)(2 * q[1])));
    sum = _mm512_mask_add_epi16(sum, 0xf0f0f0f0, sum, _mm512_set1_epi16((int16_t)(2 * q[2])));
    sum = _mm512_mask_add_epi16(sum, 0xff00ff00, sum, _mm512_set1_epi16((int16_t)(2 * q[3])));
    return _mm512_mask_add_epi16(sum, 0xffff0000, sum, _mm512_set1_epi16((int16_t)(2 * q[4])));
}

static inline void word_sums(int16_t out[WORD_SUMS], const int8_t *x)
{
    int16_t wide[16];
    _mm256_storeu_si256((__m256i *)wide, _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)x)));
    __m512i five = five_sums(wide), sixth = _mm512_set1_epi16(wide[5]);
    _mm512_store_si512(out, _mm512_sub_epi16(five, sixth));
    _mm512_store_si512(out + 32, _mm512_add_epi16(five, sixth));
    _mm512_store_si512(out + 64, five_sums(wide + 6));
    _mm512_store_si512(out + 96, five_sums(wide + 11));
}

TEMPLATE void pack_planes(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1,
                          size_t planes)
{
    float *scales = (float *)((uint8_t *)packed + tables_end(groups, tokens, planes));
    for (size_t g = group0; g < group1; g++) {
        for (size_t t = 0; t < tokens; t++) {
            const int8_t *x = q + (t * planes * groups + g) * GROUP;
            int16_t *out = (int16_t *)packed + (g * tokens + t) * planes * GROUP_SUMS;
            scales[g * tokens + t] = scale[t * groups + g];
            for (size_t word = 0; word < 8; word++)
                for (size_t plane = 0; plane < planes; plane++, out += WORD_SUMS)
                    word_sums(out, x + plane * groups * GROUP + word * 16);
        }
    }
}

static inline __m512i load_rows(const uint8_t *w, size_t step)
{
#define ROW(i) _mm_loadu_si128((const __m128i *)(w + (i)*step))
    __m256i a = _mm256_inserti128_si256(_mm256_castsi128_si256(ROW(0)), ROW(1), 1);
    __m256i b = _mm256_inserti128_si256(_mm256_castsi128_si256(ROW(2)), ROW(3), 1);
#undef ROW
    return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
}

/* 16 bytes of 32 rows: word j of row r comes out as lane r of x[j]. Three perfect shuffles
 * of eight registers transpose 8 x 8 words in every 16-byte lane. */
static inline void gather_words(__m512i x[8], const uint8_t *w, size_t stride)
{
#define LOAD(i) load_rows(w + (i)*stride, 8 * stride) /* rows i, i + 8, i + 16, i + 24 */
#define LOW(a, b) _mm512_unpacklo_epi16(a, b)
#define HIGH(a, b) _mm512_unpackhi_epi16(a, b)
    __m512i a0 = LOAD(0), a1 = LOAD(1), a2 = LOAD(2), a3 = LOAD(3), a4 = LOAD(4), a5 = LOAD(5), a6 = LOAD(6), a7 = LOAD(7);
    __m512i b0 = LOW(a0, a4), b1 = HIGH(a0, a4), b2 = LOW(a1, a5), b3 = HIGH(a1, a5), b4 = LOW(a2, a6), b5 = HIGH(a2, a6), b6 = LOW(a3, a7),
            b7 = HIGH(a3, a7);
    __m512i c0 = LOW(b0, b4), c1 = HIGH(b0, b4), c2 = LOW(b1, b5), c3 = HIGH(b1, b5), c4 = LOW(b2, b6), c5 = HIGH(b2, b6), c6 = LOW(b3, b7),
            c7 = HIGH(b3, b7);
    x[0] = LOW(c0, c4);
    x[1] = HIGH(c0, c4);
    x[2] = LOW(c1, c5);
    x[3] = HIGH(c1, c5);
    x[4] = LOW(c2, c6);
    x[5] = HIGH(c2, c6);
    x[6] = LOW(c3, c7);
    x[7] = HIGH(c3, c7);
#undef LOAD
#undef LOW
#undef HIGH
}

/* Makes gcc load a vector once: it would rather read memory again in every instruction, and
 * Zen 4 loads one register per cycle. */
static inline __m512i kept(__m512i v)
{
    __asm__("" : "+v"(v));
    return v;
}

/* The tables of a word and plane. */
struct word {
    __m512i a, b, c, d;
};

static inline struct word load_word(const int16_t *table)
{
    return (struct word){kept(_mm512_load_si512(table)), kept(_mm512_load_si512(table + 32)), kept(_mm512_load_si512(table + 64)),
                         kept(_mm512_load_si512(table + 96))};
}

static inline __m512i look_up(__m512i w, const struct word *t)
{
    __m512i five =
        _mm512_add_epi16(_mm512_permutexvar_epi16(_mm512_srli_epi16(w, 6), t->c), _mm512_permutexvar_epi16(_mm512_srli_epi16(w, 11), t->d));
    return _mm512_add_epi16(_mm512_permutex2var_epi16(t->a, w, t->b), five);
}

/* A tile being multiplied: up to four sets of 32 rows, which share every load of a table. */
enum {
    SET = 32,
    SETS = 4
};

struct tile {
    const uint8_t *w;
    size_t stride, sets, tokens;
    const int16_t *tables;
    const float *scale;
    const char *ahead, *ahead_end; /* what to fetch to L2 meanwhile */
    __m512i x[SETS][8];
    __m512i sum[TOKENS][WIDE_PLANES][SETS];
    _Alignas(64) float d[SETS][SET];
    _Alignas(64) float acc[TOKENS][SETS][SET];
};

/* 8 words of every row. */
static inline void gather_sets(struct tile *s, const uint8_t *w)
{
    for (size_t i = 0; i < s->sets; i++)
        gather_words(s->x[i], w + i * SET * s->stride, s->stride);
}

/* Brings the next line of what follows to L2.
 *
 * One core of Zen 4 has 24 buffers for lines on their way to L1, which prefetches need too,
 * and drops a prefetch that finds none free. So they are issued between the lookups, which
 * read little besides their tables, and at a pace that just suffices. Whole decode steps of an
 * 8B model on two threads, as shares of what plain loads read at the same time:
 *
 *     between the row loads of a set       64 %   in bursts of 8 lines
 *     between lookups, 4 lines per word    62 %   does not quite suffice: 4.5 are needed
 *     5 lines per word                     73 %
 *     6; 8                            66; 64 %
 *     4, the rest by loads                 71 %   loads in between, all the way: 31 to 43 %
 *     5, each line once more later         73 %
 *     half with the row loads, half here   54 %   (where 4 lines have 57 %) */
static inline const char *fetch_line(const char *ahead, const char *end)
{
    if (ahead >= end)
        return ahead;
    _mm_prefetch(ahead, _MM_HINT_T1);
    return ahead + 64;
}

/* sum of every plane and set += what words x[begin..end) select; table is that of word x[begin].
 * With every set's lookups comes a line of what follows, and one more: 64 words bring 320 lines
 * of 128 rows, whose 8 groups have 288. More tokens than one share them. */
TEMPLATE void add_words(__m512i sum[WIDE_PLANES][SETS], struct tile *s, size_t begin, size_t end, const int16_t *table, size_t planes,
                        bool fetch)
{
    __m512i total[WIDE_PLANES][SETS];
    const char *ahead = s->ahead, *ahead_end = fetch ? s->ahead_end : ahead;
    UNROLL
    for (size_t i = 0; i < planes * SETS; i++)
        total[i / SETS][i % SETS] = sum[i / SETS][i % SETS];
    for (size_t j = begin; j < end; j++, table += planes * WORD_SUMS) {
        struct word t[WIDE_PLANES];
        UNROLL
        for (size_t plane = 0; plane < planes; plane++)
            t[plane] = load_word(table + plane * WORD_SUMS);
#define ADD(i)                                                                          \
    {                                                                                   \
        ahead = fetch_line(ahead, ahead_end);                                           \
        __m512i w = kept(s->x[i][j]);                                                   \
        UNROLL                                                                          \
        for (size_t plane = 0; plane < planes; plane++)                                 \
            total[plane][i] = _mm512_add_epi16(total[plane][i], look_up(w, &t[plane])); \
    }
        ahead = fetch_line(ahead, ahead_end);
        ADD(0)
        ADD(1)
        if (s->sets == SETS) {
            ADD(2)
            ADD(3)
        }
#undef ADD
    }
    if (fetch)
        s->ahead = ahead;
    UNROLL
    for (size_t i = 0; i < planes * SETS; i++)
        sum[i / SETS][i % SETS] = total[i / SETS][i % SETS];
}

/* acc (16 rows) = fma(d * s, sum, acc). */
static inline void add_rows(float *acc, const float *d, __m512i sum, __m512 s)
{
    __m512 ds = _mm512_mul_ps(_mm512_load_ps(d), s);
    _mm512_store_ps(acc, _mm512_fmadd_ps(ds, _mm512_cvtepi32_ps(sum), _mm512_load_ps(acc)));
}

/* Half of a set's sums in 32 bits, planes joined. */
TEMPLATE __m512i join_half(__m512i sum[WIDE_PLANES][SETS], size_t set, int half, size_t planes)
{
#define HALF(x) _mm512_cvtepi16_epi32(half ? _mm512_extracti64x4_epi64(x, 1) : _mm512_castsi512_si256(x))
    __m512i first = HALF(sum[0][set]);
    return planes == 1 ? first : _mm512_add_epi32(_mm512_slli_epi32(first, 7), HALF(sum[1][set]));
#undef HALF
}

TEMPLATE void add_group(struct tile *s, size_t t, __m512i sum[WIDE_PLANES][SETS], float scale, size_t planes)
{
    for (size_t i = 0; i < s->sets; i++) {
        add_rows(s->acc[t][i], s->d[i], join_half(sum, i, 0, planes), _mm512_set1_ps(scale));
        add_rows(s->acc[t][i] + 16, s->d[i] + 16, join_half(sum, i, 1, planes), _mm512_set1_ps(scale));
    }
}

/* Eight groups of a row are 72 words, so pieces of eight words move through them: piece c
 * holds the last c words of group c - 1, the scale of group c, and that group's first words.
 * Thus scales are transposed like any other word, where scalar moves took a fifth of all time. */
TEMPLATE void eight_groups(struct tile *s, size_t g, size_t planes)
{
    for (size_t c = 0; c < 9; c++) {
        gather_sets(s, s->w + g * Q1_BYTES + 16 * c);
        for (size_t t = 0; c > 0 && t < s->tokens; t++) {
            size_t at = (g + c - 1) * s->tokens + t;
            add_words(s->sum[t], s, 0, c, s->tables + (at * GROUP_SUMS + (8 - c) * WORD_SUMS) * planes, planes, t == 0);
            add_group(s, t, s->sum[t], s->scale[at], planes);
        }
        if (c == 8)
            break;
        for (size_t i = 0; i < s->sets; i++) {
            _mm512_store_ps(s->d[i], _mm512_cvtph_ps(_mm512_castsi512_si256(s->x[i][c])));
            _mm512_store_ps(s->d[i] + 16, _mm512_cvtph_ps(_mm512_extracti64x4_epi64(s->x[i][c], 1)));
        }
        for (size_t t = 0; t < s->tokens; t++) {
            memset(s->sum[t], 0, planes * sizeof s->sum[t][0]);
            add_words(s->sum[t], s, c + 1, 8, s->tables + ((g + c) * s->tokens + t) * planes * GROUP_SUMS, planes, t == 0);
        }
    }
}

/* For the groups that eight do not divide. */
TEMPLATE void one_group(struct tile *s, size_t g, size_t planes)
{
    const uint8_t *w = s->w + g * Q1_BYTES;
    gather_sets(s, w + 2);
    for (size_t i = 0; i < s->sets; i++) {
        _Alignas(64) uint16_t scales[SET];
        for (size_t r = 0; r < SET; r++)
            memcpy(&scales[r], w + (i * SET + r) * s->stride, sizeof scales[r]);
        _mm512_store_ps(s->d[i], _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)scales)));
        _mm512_store_ps(s->d[i] + 16, _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)(scales + 16))));
    }
    for (size_t t = 0; t < s->tokens; t++) {
        size_t at = g * s->tokens + t;
        memset(s->sum[t], 0, planes * sizeof s->sum[t][0]);
        add_words(s->sum[t], s, 0, 8, s->tables + at * planes * GROUP_SUMS, planes, t == 0);
        add_group(s, t, s->sum[t], s->scale[at], planes);
    }
}

/* Rows one at a time, for ranges shorter than a tile. */
TEMPLATE void tables_few_rows(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                              size_t tokens, size_t planes)
{
    const float *scales = (const float *)((const uint8_t *)packed + tables_end(groups, tokens, planes));
    for (size_t r = row0; r < row1; r++) {
        for (size_t t = 0; t < tokens; t++) {
            float acc = 0;
            for (size_t g = 0; g < groups; g++) {
                const uint8_t *block = w + (r * groups + g) * Q1_BYTES;
                const int16_t *table = (const int16_t *)packed + (g * tokens + t) * planes * GROUP_SUMS;
                int32_t sum = 0;
                for (size_t m = 0; m < 8 * planes; m++, table += WORD_SUMS) {
                    const uint8_t *bits = block + 2 + m / planes * 2;
                    unsigned word = bits[0] | (unsigned)bits[1] << 8;
                    int32_t part = table[word & 63] + table[64 + (word >> 6 & 31)] + table[96 + (word >> 11)];
                    sum += m % planes + 1 < planes ? WIDE_UNIT * part : part;
                }
                acc = __builtin_fmaf(q1_scale(block) * scales[g * tokens + t], (float)sum, acc);
            }
            y[t * y_stride + r] = acc;
        }
    }
}

TEMPLATE void multiply_planes(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                              size_t tokens, size_t planes, struct q1_next next)
{
    size_t sets = row1 - row0 >= SETS * SET ? SETS : 2, rows = sets * SET;
    if (row1 - row0 < rows) {
        tables_few_rows(y, y_stride, w, row0, row1, groups, packed, tokens, planes);
        return;
    }
    struct tile s;
    s.stride = groups * Q1_BYTES;
    s.sets = sets;
    s.tokens = tokens;
    s.tables = packed;
    s.scale = (const float *)((const uint8_t *)packed + tables_end(groups, tokens, planes));
    for (size_t row = row0; row < row1; row += rows) {
        size_t r = MIN(row, row1 - rows), g = 0; /* the last tile may repeat some rows */
        s.w = w + r * s.stride;
        struct q1_next ahead = row + rows < row1 ? (struct q1_next){w + MIN(row + rows, row1 - rows) * s.stride, rows * s.stride} : next;
        s.ahead = (const char *)ahead.data;
        s.ahead_end = ahead.bytes ? s.ahead + MIN(ahead.bytes, rows * s.stride) : s.ahead;
        memset(s.acc, 0, sizeof s.acc[0] * tokens);
        for (; g + 8 <= groups; g += 8)
            eight_groups(&s, g, planes);
        for (; g < groups; g++)
            one_group(&s, g, planes);
        for (size_t t = 0; t < tokens; t++)
            memcpy(y + t * y_stride + r, s.acc[t], rows * sizeof(float));
    }
}

static size_t tables_bytes(size_t groups, size_t tokens) { return tables_end(groups, tokens, 1) + groups * tokens * sizeof(float); }

static void tables_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    pack_planes(packed, q, scale, groups, tokens, group0, group1, 1);
}

static void tables_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                       size_t tokens, struct q1_next next)
{
    multiply_planes(y, y_stride, w, row0, row1, groups, packed, tokens, 1, next);
}

static const struct q1_family tables = {"tables", SETS *SET, TOKENS, tables_bytes, tables_pack, tables_run};

static size_t wide_tables_bytes(size_t groups, size_t tokens)
{
    return tables_end(groups, tokens, WIDE_PLANES) + groups * tokens * sizeof(float);
}

static void wide_tables_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    pack_planes(packed, q, scale, groups, tokens, group0, group1, WIDE_PLANES);
}

static void wide_tables_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                            size_t tokens, struct q1_next next)
{
    multiply_planes(y, y_stride, w, row0, row1, groups, packed, tokens, WIDE_PLANES, next);
}

static const struct q1_family wide_tables = {"tables", SETS *SET, TOKENS, wide_tables_bytes, wide_tables_pack, wide_tables_run};

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

static int q1_auto(size_t tokens) { return tokens <= 32 ? 2 : 0; }

static int q1_wide_auto(size_t tokens) /* tables lead by a third at any number of tokens */
{
    (void)tokens;
    return 2;
}

/* -------------------------------------------------------------------- peak */

static inline __m512i step_i8(__m512i sum, __m512i a, __m512i b) { return _mm512_add_epi16(sum, _mm512_maddubs_epi16(a, b)); }
static inline __m512 step_f32(__m512 sum, __m512 a, __m512 b) { return _mm512_fmadd_ps(a, b, sum); }

PEAK_LOOP(peak_i8, __m512i, "v", _mm512_setzero_si512(), step_i8, 64)
PEAK_LOOP(peak_f32, __m512, "v", _mm512_setzero_ps(), step_f32, 16)

/* ------------------------------------------------------------------- table */

const struct kernels kernels_avx512 = {
    .level = "avx512",
    .needs = CPU_AVX2 | CPU_AVX512,
    .quantize_i8 = quantize_i8,
    .dot_f32 = dot_f32,
    .rmsnorm = rmsnorm,
    .silu_mul = silu_mul,
    .attn_scores_f16 = attn_scores_f16,
    .attn_scores_f32 = attn_scores_f32,
    .attn_softmax = attn_softmax,
    .attn_values_f16 = attn_values_f16,
    .attn_values_f32 = attn_values_f32,
    .peak_i8 = peak_i8,
    .peak_f32 = peak_f32,
    .q1 = {NULL, NULL, pick_tables},
    .q1_auto = q1_auto,
    .q1_wide = {NULL, NULL, pick_wide_tables},
    .q1_wide_auto = q1_wide_auto,
};
