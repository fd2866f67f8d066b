/* avx512.c: kernels for AVX-512 F, BW, VL and DQ. What is missing here avx2.c does.
 *
 * One-bit weights are multiplied by tables of 16-bit sums at any number of tokens
 * (few_tables_avx512.h, many_tables_avx512.h). */
#include "kernels.h"

#include <immintrin.h>
#include <string.h>

#include "cpu.h"
#include "few_tables_avx512.h"
#include "many_tables_avx512.h"
#include "mathfn.h"
#include "peak.h"
#include "r64_avx512.h"

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
 * As in avx2.c: tiles of n_q queries by n_b registers, both constants; with few queries the next tile is
 * fetched, here into L2, since Intel's L1 has few places to wait for memory. On a Zen 3, with avx2.c's
 * kernels and two threads, reading 512 MB with 2 and 4 queries: 12.6 and 10.5 GB/s in f16 without, 15.6
 * and 16.1 into L2, 18.0 and 16.9 into L1; int8 6.5 and 5.6, 16.0 and 13.1, 14.4 and 14.9. */

TEMPLATE __m512 load(const void *kv, size_t i, bool half)
{
    return half ? _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)((const uint16_t *)kv + i))) : _mm512_loadu_ps((const float *)kv + i);
}

TEMPLATE void score_tile(float *s, const float *q, size_t n_q, const void *k, size_t block, size_t n_b, size_t dim, float scale, bool half,
                         bool ahead)
{
    const size_t row_bytes = ATTN_LANES * (half ? sizeof(uint16_t) : sizeof(float));
    const uintptr_t next = (uintptr_t)k + (ATTN_TILE / ATTN_LANES + block) * dim * row_bytes;
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
        if (ahead)
            _mm_prefetch((const char *)(next + i * row_bytes), _MM_HINT_T1);
    }
    UNROLL
    for (size_t a = 0; a < n_q * n_b; a++)
        _mm512_storeu_ps(s + a / n_b * ATTN_TILE + (block + a % n_b) * ATTN_LANES, _mm512_mul_ps(acc[a], _mm512_set1_ps(scale)));
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
    for (; j + 8 <= n_q; j += 8)
        score_blocks(s + j * ATTN_TILE, q + j * dim, 8, k, dim, scale, half, false);
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
                         size_t n_v, size_t dim, __mmask16 mask, bool half, bool ahead)
{
    const size_t size = half ? sizeof(uint16_t) : sizeof(float), row_bytes = n_v * LANES * size;
    const uintptr_t next = (uintptr_t)v + (dim + i) * ATTN_TILE * size;
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
        if (ahead) {
            UNROLL
            for (size_t byte = 0; byte < row_bytes; byte += 64)
                _mm_prefetch((const char *)(next + p * row_bytes + byte), _MM_HINT_T1);
        }
    }
    UNROLL
    for (size_t a = 0; a < n_q * n_v; a++)
        _mm512_mask_storeu_ps(o + a / n_v * dim + i + a % n_v * LANES, mask, acc[a]);
}

/* All dimensions of n_q queries. */
TEMPLATE void value_rows(float *o, const float *prob, const float *factor, size_t n_q, size_t begin, size_t end, const void *v, size_t dim,
                         bool half, bool ahead)
{
    size_t n_v = n_q == 8 ? 1 : MIN(16 / n_q, (size_t)8), i = 0; /* few queries: whole rows, as memory likes */
    for (; i + n_v * LANES <= dim; i += n_v * LANES)
        value_tile(o, prob, factor, n_q, begin, end, v, i, n_v, dim, 0xffff, half, ahead);
    for (; i < dim; i += LANES)
        value_tile(o, prob, factor, n_q, begin, end, v, i, 1, dim, dim - i < LANES ? first(dim - i) : 0xffff, half, false);
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
            value_rows(o_j, prob_j, factor + j, 8, 0, common, v, dim, half, false);
        else if (n == 4 && n_q > ATTN_FEW)
            value_rows(o_j, prob_j, factor + j, 4, 0, common, v, dim, half, false);
        else if (n == 4)
            value_rows(o_j, prob_j, factor + j, 4, 0, common, v, dim, half, true);
        else if (n == 2)
            value_rows(o_j, prob_j, factor + j, 2, 0, common, v, dim, half, true);
        else
            value_rows(o_j, prob_j, factor + j, 1, 0, common, v, dim, half, true);
        for (size_t l = 0; l < n; l++)
            if (n_valid[j + l] > common)
                value_rows(o_j + l * dim, prob_j + l * ATTN_TILE, &one, 1, common, n_valid[j + l], v, dim, half, false);
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
 * From L2 the one for many tokens leads from three on, from DRAM from eight: whole steps on two
 * threads, 8 rows of 8B 138 to 147 ms with few_tables and 140 to 164 with many_tables, 16 rows 289 to 380
 * and 234 to 304. Tables of 16 tokens pass through L2 with every tile, and take the next one's rows along.
 * Lower tiles and rows fetched eight groups ahead instead of a tile were no better. */

static const struct q1_family *pick_tables(size_t tokens) { return tokens <= FEW_TOKENS ? &tables : &many_tables; }

static const struct q1_family *pick_wide_tables(size_t tokens) { return tokens <= FEW_TOKENS ? &wide_tables : &wide_many_tables; }

/* Up to two tokens memory decides, and AVX2's kernel gets more out of it: 25 GB/s on one core of Zen 4,
 * where one like few_tables_avx512.h got 10. From L2 that one had 40 against 29: it runs so far ahead
 * that its loads take the buffers that prefetches need, which are then dropped. */
static const struct q1_family *pick_r64(size_t tokens) { return tokens <= 2 ? kernels_avx2.r64(tokens) : &r64_tables; }

static const struct q1_family *pick_wide_r64(size_t tokens) { return tokens <= 2 ? kernels_avx2.r64_wide(tokens) : NULL; }

static int q1_auto(size_t tokens)
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
    .q1_wide_auto = q1_auto,
    .r64 = pick_r64,
    .r64_wide = pick_wide_r64,
};
