/* i8mm.c: kernels for ARMv8.6 with products of matrices of bytes (smmla): two rows times two
 * tokens, eight weights deep, 32 products at once. 8 rows of a group become bytes of 1 and -1
 * in the first cache and meet 8 tokens at once. Up to three tokens stay with dotprod.c: there
 * such bytes would cost more to make than they save. */
#include "kernels.h"

#include <arm_neon.h>

#include "cpu.h"
#include "peak.h"
#include "q1_arm.h"

enum {
    ROWS = 8,
    LINES = 64,
    STEPS = 16 /* of eight weights: bit b of bytes 0..7, then of 8..15 */
};

/* A token is a line of codes, or two, its planes, which then are a pair. Packed, lines padded
 * with zeros to an even number: [group][step][pair of lines][2][8]; then the scales, [group][line]
 * (of both planes the same). */
static size_t padded(size_t lines) { return ROUND_UP(lines, (size_t)2); }

TEMPLATE void pack_planes(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1,
                          size_t planes)
{
    size_t all = padded(tokens * planes);
    float *scales = (float *)((uint8_t *)packed + groups * all * GROUP);
    for (size_t g = group0; g < group1; g++) {
        for (size_t l = 0; l < all; l += 2) {
            int8_t *out = (int8_t *)packed + (g * all * STEPS + l) * 8;
            int8x16_t column[2][8];
            for (size_t i = 0; i < 2; i++) {
                static const int8_t zeros[GROUP];
                bool exists = l + i < tokens * planes;
                columns_of_group(column[i], exists ? q + ((l + i) * groups + g) * GROUP : zeros);
                scales[g * all + l + i] = exists ? scale[(l + i) / planes * groups + g] : 0;
            }
            for (size_t b = 0; b < 8; b++, out += 2 * all * 8) {
                int64x2_t first = vreinterpretq_s64_s8(column[0][b]), second = vreinterpretq_s64_s8(column[1][b]);
                vst1q_s8(out, vreinterpretq_s8_s64(vzip1q_s64(first, second)));
                vst1q_s8(out + all * 8, vreinterpretq_s8_s64(vzip2q_s64(first, second)));
            }
        }
    }
}

/* One group of 8 rows as bytes, -1 where a bit is set and 1 where not: [step][pair of rows][2][8];
 * and their scales, each twice. Rows beyond n repeat the last. */
static inline void expand_group(int8x16_t bytes[STEPS][4], float32x4_t d[4], const uint8_t *w, size_t stride, size_t n)
{
    const uint8_t *row[ROWS];
    UNROLL
    for (size_t i = 0; i < ROWS; i++)
        row[i] = w + MIN(i, n - 1) * stride;
    UNROLL
    for (size_t pair = 0; pair < 4; pair++) {
        uint64x2_t a = vreinterpretq_u64_u8(vld1q_u8(row[2 * pair] + 2)), b = vreinterpretq_u64_u8(vld1q_u8(row[2 * pair + 1] + 2));
        const uint8x16_t half[2] = {vreinterpretq_u8_u64(vzip1q_u64(a, b)), vreinterpretq_u8_u64(vzip2q_u64(a, b))};
        UNROLL
        for (size_t step = 0; step < STEPS; step++) {
            uint8x16_t mask = vtstq_u8(half[step % 2], vdupq_n_u8((uint8_t)(1 << step / 2)));
            bytes[step][pair] = vreinterpretq_s8_u8(vorrq_u8(mask, vdupq_n_u8(1)));
        }
    }
    UNROLL
    for (size_t four = 0; four < 2; four++) {
        const uint8_t *const *r = row + 4 * four;
        float32x4_t x = four_scales(r[0], r[1], r[2], r[3]);
        d[2 * four] = vzip1q_f32(x, x);
        d[2 * four + 1] = vzip2q_f32(x, x);
    }
}

/* acc = fma(d * s, sum, acc) for 8 rows and n pairs of lines; acc[pair of lines][pair of rows]
 * holds both lines of the first row, then of the second. The sums come out negative. Planes are
 * joined, 128 * high + low, and so stand twice where two tokens would. */
TEMPLATE void multiply_group(float32x4_t (*acc)[4], int8x16_t bytes[STEPS][4], const float32x4_t d[4], const int8_t *codes, size_t all,
                             const float *s, size_t n, size_t planes)
{
    int32x4_t sum[4][4];
    UNROLL
    for (size_t a = 0; a < 4 * n; a++)
        sum[a / 4][a % 4] = vdupq_n_s32(0);
    NO_UNROLL
    for (size_t step = 0; step < STEPS; step++, codes += all * 8) {
        UNROLL
        for (size_t a = 0; a < 4 * n; a++)
            sum[a / 4][a % 4] = vmmlaq_s32(sum[a / 4][a % 4], bytes[step][a % 4], vld1q_s8(codes + a / 4 * 16));
    }
    UNROLL
    for (size_t t = 0; t < n; t++) {
        float32x2_t two = vld1_f32(s + 2 * t);
        float32x4_t both = vcombine_f32(two, two);
        UNROLL
        for (size_t pair = 0; pair < 4; pair++) {
            int32x4_t isum = sum[t][pair];
            if (planes == WIDE_PLANES)
                isum = vmlaq_n_s32(vtrn2q_s32(isum, isum), vtrn1q_s32(isum, isum), WIDE_UNIT);
            acc[t][pair] = vfmsq_f32(acc[t][pair], vmulq_f32(d[pair], both), vcvtq_f32_s32(isum));
        }
    }
}

TEMPLATE void multiply_planes(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                              size_t tokens, size_t planes)
{
    size_t all = padded(tokens * planes), stride = groups * Q1_BYTES;
    const int8_t *codes = packed;
    const float *s = (const float *)(const void *)(codes + groups * all * GROUP);
    for (size_t r = row0; r < row1; r += ROWS) {
        size_t n = MIN(row1 - r, (size_t)ROWS);
        float32x4_t acc[LINES / 2][4];
        memset(acc, 0, all / 2 * sizeof acc[0]);
        for (size_t g = 0; g < groups; g++) {
            int8x16_t bytes[STEPS][4];
            float32x4_t d[4];
            expand_group(bytes, d, w + r * stride + g * Q1_BYTES, stride, n);
            size_t l = 0;
            for (; l + 8 <= all; l += 8)
                multiply_group(acc + l / 2, bytes, d, codes + g * all * GROUP + l * 8, all, s + g * all + l, 4, planes);
            for (; l + 4 <= all; l += 4)
                multiply_group(acc + l / 2, bytes, d, codes + g * all * GROUP + l * 8, all, s + g * all + l, 2, planes);
            for (; l < all; l += 2)
                multiply_group(acc + l / 2, bytes, d, codes + g * all * GROUP + l * 8, all, s + g * all + l, 1, planes);
        }
        for (size_t t = 0; t < tokens; t++) {
            float out[ROWS];
            for (size_t i = 0; i < ROWS; i += 4) {
                size_t l = t * planes;
                float32x4_t a = acc[l / 2][i / 2], b = acc[l / 2][i / 2 + 1];
                vst1q_f32(out + i, l % 2 ? vuzp2q_f32(a, b) : vuzp1q_f32(a, b));
            }
            memcpy(y + t * y_stride + r, out, n * sizeof *out);
        }
    }
}

static size_t matrix_bytes(size_t groups, size_t tokens) { return groups * padded(tokens) * (GROUP + sizeof(float)); }

static void matrix_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    pack_planes(packed, q, scale, groups, tokens, group0, group1, 1);
}

static void matrix_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                       size_t tokens, struct q1_next next)
{
    (void)next;
    multiply_planes(y, y_stride, w, row0, row1, groups, packed, tokens, 1);
}

static const struct q1_family matrix = {"sign", ROWS, LINES, matrix_bytes, matrix_pack, matrix_run};

static const struct q1_family *pick_sign(size_t tokens) { return tokens <= 3 ? kernels_dotprod.q1[0](tokens) : &matrix; }

static size_t wide_matrix_bytes(size_t groups, size_t tokens) { return matrix_bytes(groups, tokens * WIDE_PLANES); }

static void wide_matrix_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    pack_planes(packed, q, scale, groups, tokens, group0, group1, WIDE_PLANES);
}

static void wide_matrix_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                            size_t tokens, struct q1_next next)
{
    (void)next;
    multiply_planes(y, y_stride, w, row0, row1, groups, packed, tokens, WIDE_PLANES);
}

static const struct q1_family wide_matrix = {"sign", ROWS, LINES / WIDE_PLANES, wide_matrix_bytes, wide_matrix_pack, wide_matrix_run};

static const struct q1_family *pick_wide_sign(size_t tokens) { return tokens == 1 ? kernels_dotprod.q1_wide[0](1) : &wide_matrix; }

/* Instructions per token for 128 weights of one row, on vectors in brackets, as in neon.c:
 *
 *               tables      sign
 *   2 tokens    22 (13)     24 (17), by dotprod.c
 *   4 tokens    19 (11)     18 (10)
 *   8 tokens    17 (11)     12 (8)
 *   64 tokens   17 (11)     8 (5) */
static int q1_auto(size_t tokens) { return tokens <= 3 ? 2 : 0; }

/* -------------------------------------------------------------------- peak */

static inline int8x16_t step_i8(int8x16_t sum, int8x16_t a, int8x16_t b)
{
    return vreinterpretq_s8_s32(vmmlaq_s32(vreinterpretq_s32_s8(sum), a, b));
}

PEAK_LOOP(peak_i8, int8x16_t, "w", vdupq_n_s8(0), step_i8, 32)

const struct kernels kernels_i8mm = {
    .level = "i8mm",
    .needs = CPU_NEON | CPU_DOTPROD | CPU_I8MM,
    .peak_i8 = peak_i8,
    .q1 = {pick_sign, NULL, NULL},
    .q1_auto = q1_auto,
    .q1_wide = {pick_wide_sign, NULL, NULL},
    .q1_wide_auto = q1_auto,
};
