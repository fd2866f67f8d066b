/* dotprod.c: kernels for ARMv8.2 with dot products (sdot): 16 products of bytes at once.
 * The family "sign" has two forms:
 *
 *   up to four tokens   rows in place: their bytes become masks of 0 and -1, bit by bit, in
 *                       registers, for four rows and all tokens.
 *   more                8 rows of a group become bytes of 1 and -1 in the first cache, four
 *                       weights of four rows to a register, and meet 8 tokens at once: no
 *                       sums across a register. */
#include "kernels.h"

#include <arm_neon.h>

#include "cpu.h"
#include "peak.h"
#include "q1_arm.h"

static inline int32x4_t dot4(int32x4_t sums, int8x16_t a, int8x16_t b) { return vdotq_s32(sums, a, b); }

#include "attn_q8_arm.h"

static int32_t dot_i8(const int8_t *a, const int8_t *b, size_t n)
{
    int32x4_t sum[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    for (size_t i = 0; i < n; i += 64) {
        UNROLL
        for (size_t v = 0; v < 4; v++)
            sum[v] = vdotq_s32(sum[v], vld1q_s8(a + i + 16 * v), vld1q_s8(b + i + 16 * v));
    }
    return vaddvq_s32(vaddq_s32(vaddq_s32(sum[0], sum[1]), vaddq_s32(sum[2], sum[3])));
}

/* ------------------------------------------------------ family "sign", few */

enum {
    FEW_ROWS = 4,
    FEW_LINES = 4
};

TEMPLATE void few_rows(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                       size_t tokens, size_t planes)
{
    const struct columns c = columns_of(packed, groups, tokens, planes);
    size_t lines = tokens * planes;
    size_t stride = groups * Q1_BYTES;
    for (size_t r = row0; r < row1; r += FEW_ROWS) {
        size_t n = MIN(row1 - r, (size_t)FEW_ROWS); /* rows beyond the range are the last one again */
        const uint8_t *row[FEW_ROWS] = {w + r * stride, w + (r + MIN(n - 1, (size_t)1)) * stride, w + (r + MIN(n - 1, (size_t)2)) * stride,
                                        w + (r + n - 1) * stride};
        const uint8_t *ahead =
            w + (r + 2 * FEW_ROWS <= row1 ? r + FEW_ROWS : r) * stride; /* the next rows are fetched meanwhile, in order */
        float32x4_t acc[FEW_LINES];
        UNROLL
        for (size_t t = 0; t < tokens; t++)
            acc[t] = vdupq_n_f32(0);
        for (size_t g = 0; g < groups; g++) {
            const int8_t *codes = c.codes + g * lines * GROUP;
            size_t at = g * Q1_BYTES;
            uint8x16_t bits[FEW_ROWS];
            int32x4_t sum[FEW_LINES][FEW_ROWS];
            UNROLL
            for (size_t i = 0; i < FEW_ROWS; i++) {
                bits[i] = vld1q_u8(row[i] + at + 2);
                UNROLL
                for (size_t l = 0; l < lines; l++)
                    sum[l][i] = vdupq_n_s32(0);
            }
            __builtin_prefetch(ahead + g * FEW_ROWS * Q1_BYTES, 0, 2);
            uint8x16_t bit = vdupq_n_u8(1);
            NO_UNROLL
            for (size_t b = 0; b < 8; b++, bit = vaddq_u8(bit, bit)) {
                int8x16_t mask[FEW_ROWS];
                UNROLL
                for (size_t i = 0; i < FEW_ROWS; i++)
                    mask[i] = vreinterpretq_s8_u8(vtstq_u8(bits[i], bit));
                UNROLL
                for (size_t l = 0; l < lines; l++) {
                    int8x16_t x = vld1q_s8(codes + (b * lines + l) * 16);
                    UNROLL
                    for (size_t i = 0; i < FEW_ROWS; i++)
                        sum[l][i] = vdotq_s32(sum[l][i], mask[i], x);
                }
            }
            float32x4_t d = four_scales(row[0] + at, row[1] + at, row[2] + at, row[3] + at);
            UNROLL
            for (size_t t = 0; t < tokens; t++) { /* sums under masks of -1 are negative */
                int32x4_t half = vdupq_n_s32(0);
                UNROLL
                for (size_t l = t * planes; l < (t + 1) * planes; l++)
                    half = vaddq_s32(vshlq_n_s32(half, 7), vpaddq_s32(vpaddq_s32(sum[l][0], sum[l][1]), vpaddq_s32(sum[l][2], sum[l][3])));
                int32x4_t isum = vsubq_s32(vdupq_n_s32(c.minus_sums[g * tokens + t]), vshlq_n_s32(half, 1));
                acc[t] = vfmaq_f32(acc[t], vmulq_n_f32(d, c.scales[g * tokens + t]), vcvtq_f32_s32(isum));
            }
        }
        UNROLL
        for (size_t t = 0; t < tokens; t++) {
            float four[FEW_ROWS];
            vst1q_f32(four, acc[t]);
            memcpy(y + t * y_stride + r, four, n * sizeof(float));
        }
    }
}

static void few_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed, size_t tokens,
                    struct q1_next next)
{
    (void)next;
    switch (tokens) {
    case 1:
        few_rows(y, y_stride, w, row0, row1, groups, packed, 1, 1);
        break;
    case 2:
        few_rows(y, y_stride, w, row0, row1, groups, packed, 2, 1);
        break;
    case 3:
        few_rows(y, y_stride, w, row0, row1, groups, packed, 3, 1);
        break;
    default:
        few_rows(y, y_stride, w, row0, row1, groups, packed, 4, 1);
    }
}

static const struct q1_family few = {"sign", FEW_ROWS, FEW_LINES, columns_bytes, columns_pack, few_run};

static void wide_few_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                         size_t tokens, struct q1_next next)
{
    (void)next;
    if (tokens == 1)
        few_rows(y, y_stride, w, row0, row1, groups, packed, 1, WIDE_PLANES);
    else
        few_rows(y, y_stride, w, row0, row1, groups, packed, 2, WIDE_PLANES);
}

static const struct q1_family wide_few = {"sign", FEW_ROWS, FEW_LINES / WIDE_PLANES, wide_columns_bytes, wide_columns_pack, wide_few_run};

/* ----------------------------------------------------- family "sign", many */

enum {
    MANY_ROWS = 8,
    MANY_TOKENS = 64
};

/* One group of 8 rows as bytes, -1 where a bit is set and 1 where not: [bit][word of the
 * group][four rows][4 bytes], twice for 8 rows. Rows beyond n repeat the last. */
static inline void expand_group(int8x16_t bytes[8][4][2], float32x4_t d[2], const uint8_t *w, size_t stride, size_t n)
{
    for (size_t quad = 0; quad < 2; quad++) {
        const uint8_t *row[4];
        uint32x4_t x[4];
        UNROLL
        for (size_t i = 0; i < 4; i++) {
            row[i] = w + MIN(4 * quad + i, n - 1) * stride;
            x[i] = vreinterpretq_u32_u8(vld1q_u8(row[i] + 2));
        }
        uint64x2_t a = vreinterpretq_u64_u32(vtrn1q_u32(x[0], x[1])), b = vreinterpretq_u64_u32(vtrn1q_u32(x[2], x[3]));
        uint64x2_t c = vreinterpretq_u64_u32(vtrn2q_u32(x[0], x[1])), e = vreinterpretq_u64_u32(vtrn2q_u32(x[2], x[3]));
        const uint64x2_t word[4] = {vzip1q_u64(a, b), vzip1q_u64(c, e), vzip2q_u64(a, b), vzip2q_u64(c, e)};
        UNROLL
        for (size_t m = 0; m < 4; m++) {
            UNROLL
            for (size_t bit = 0; bit < 8; bit++) {
                uint8x16_t mask = vtstq_u8(vreinterpretq_u8_u64(word[m]), vdupq_n_u8((uint8_t)(1 << bit)));
                bytes[bit][m][quad] = vreinterpretq_s8_u8(vorrq_u8(mask, vdupq_n_u8(1)));
            }
        }
        d[quad] = four_scales(row[0], row[1], row[2], row[3]);
    }
}

/* acc[t] (8 rows) = fma(d * s[t], sum, acc[t]) for n lines; the sums come out negative. */
TEMPLATE void many_lines(float (*acc)[MANY_ROWS], const int8x16_t bytes[8][4][2], const float32x4_t d[2], const int8_t *codes, size_t lines,
                         const float *s, size_t n, size_t planes)
{
    int32x4_t sum[8][2];
    UNROLL
    for (size_t l = 0; l < n; l++)
        sum[l][0] = sum[l][1] = vdupq_n_s32(0);
    NO_UNROLL
    for (size_t b = 0; b < 8; b++, codes += lines * 16) {
        int8x16_t x[8];
        UNROLL
        for (size_t l = 0; l < n; l++)
            x[l] = vld1q_s8(codes + 16 * l);
#define WORD(m)                                                          \
    UNROLL                                                               \
    for (size_t l = 0; l < n; l++) {                                     \
        sum[l][0] = vdotq_laneq_s32(sum[l][0], bytes[b][m][0], x[l], m); \
        sum[l][1] = vdotq_laneq_s32(sum[l][1], bytes[b][m][1], x[l], m); \
    }
        WORD(0)
        WORD(1)
        WORD(2)
        WORD(3)
#undef WORD
    }
    UNROLL
    for (size_t a = 0; a < 2 * n / planes; a++) {
        float *to = acc[a / 2] + a % 2 * 4;
        int32x4_t isum = sum[a / 2 * planes][a % 2];
        if (planes == WIDE_PLANES)
            isum = vaddq_s32(vshlq_n_s32(isum, 7), sum[a / 2 * planes + 1][a % 2]);
        vst1q_f32(to, vfmsq_f32(vld1q_f32(to), vmulq_n_f32(d[a % 2], s[a / 2]), vcvtq_f32_s32(isum)));
    }
}

TEMPLATE void many_planes(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                          size_t tokens, size_t planes)
{
    const struct columns c = columns_of(packed, groups, tokens, planes);
    size_t lines = tokens * planes;
    size_t stride = groups * Q1_BYTES;
    for (size_t r = row0; r < row1; r += MANY_ROWS) {
        size_t n = MIN(row1 - r, (size_t)MANY_ROWS);
        float acc[MANY_TOKENS][MANY_ROWS] = {0};
        for (size_t g = 0; g < groups; g++) {
            int8x16_t bytes[8][4][2];
            float32x4_t d[2];
            expand_group(bytes, d, w + r * stride + g * Q1_BYTES, stride, n);
            const int8_t *codes = c.codes + g * lines * GROUP;
            const float *s = c.scales + g * tokens;
            size_t t = 0;
            for (; t + 8 / planes <= tokens; t += 8 / planes)
                many_lines(acc + t, bytes, d, codes + 16 * t * planes, lines, s + t, 8, planes);
            for (; t + 4 / planes <= tokens; t += 4 / planes)
                many_lines(acc + t, bytes, d, codes + 16 * t * planes, lines, s + t, 4, planes);
            for (; t < tokens; t++)
                many_lines(acc + t, bytes, d, codes + 16 * t * planes, lines, s + t, planes, planes);
        }
        for (size_t t = 0; t < tokens; t++)
            memcpy(y + t * y_stride + r, acc[t], n * sizeof(float));
    }
}

static void many_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                     size_t tokens, struct q1_next next)
{
    (void)next;
    many_planes(y, y_stride, w, row0, row1, groups, packed, tokens, 1);
}

static const struct q1_family many = {"sign", MANY_ROWS, MANY_TOKENS, columns_bytes, columns_pack, many_run};

static const struct q1_family *pick_sign(size_t tokens) { return tokens <= FEW_LINES ? &few : &many; }

static void wide_many_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                          size_t tokens, struct q1_next next)
{
    (void)next;
    many_planes(y, y_stride, w, row0, row1, groups, packed, tokens, WIDE_PLANES);
}

static const struct q1_family wide_many = {"sign", MANY_ROWS, MANY_TOKENS, wide_columns_bytes, wide_columns_pack, wide_many_run};

static const struct q1_family *pick_wide_sign(size_t tokens) { return tokens <= FEW_LINES / WIDE_PLANES ? &wide_few : &wide_many; }

/* Instructions per token for 128 weights of one row, on vectors in brackets, as in neon.c:
 *
 *               tables      sign
 *   1 token     25 (16)     34 (22)
 *   2 tokens    22 (13)     24 (17)
 *   4 tokens    19 (11)     18 (14)
 *   8 tokens    17 (11)     17 (12)
 *   16 tokens   17 (11)     14 (10)
 *   64 tokens   17 (11)     12 (9)
 *
 * Where vectors are the limit (two per cycle) tables lead up to eight tokens; beyond those
 * their activations, eight times as large, would also fall out of the caches. */
static int q1_auto(size_t tokens) { return tokens <= 8 ? 2 : 0; }

/* -------------------------------------------------------------------- peak */

static inline int8x16_t step_i8(int8x16_t sum, int8x16_t a, int8x16_t b)
{
    return vreinterpretq_s8_s32(vdotq_s32(vreinterpretq_s32_s8(sum), a, b));
}

PEAK_LOOP(peak_i8, int8x16_t, "w", vdupq_n_s8(0), step_i8, 16)

/* ------------------------------------------------------------------- table */

const struct kernels kernels_dotprod = {
    .level = "dotprod",
    .needs = CPU_NEON | CPU_DOTPROD,
    .dot_i8 = dot_i8,
    .attn_scores_q8 = attn_scores_q8,
    .attn_values_q8 = attn_values_q8,
    .peak_i8 = peak_i8,
    .q1 = {pick_sign, NULL, NULL},
    .q1_auto = q1_auto,
    .q1_wide = {pick_wide_sign, NULL, NULL},
    .q1_wide_auto = q1_auto,
};
