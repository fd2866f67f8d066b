/* scalar.c: the specification. What a kernel computes is what these loops say, in portable
 * C; the other levels only get there faster. Written to be read first, but not to be slow:
 * on a CPU that no other level knows, this is the engine. */
#include "kernels.h"

#include "mathfn.h"
#include "peak.h"
#include "popcount.h"

/* ------------------------------------------------------------------ floats */

enum {
    LANES = 16
}; /* of every float reduction */

static float fold_lanes(float lane[LANES])
{
    for (size_t width = LANES / 2; width > 0; width /= 2)
        for (size_t l = 0; l < width; l++)
            lane[l] += lane[l + width];
    return lane[0];
}

static float dot_f32(const float *a, const float *b, size_t n)
{
    float lane[LANES] = {0};
    for (size_t i = 0; i < n; i++)
        lane[i % LANES] = fma_f32(a[i], b[i], lane[i % LANES]);
    return fold_lanes(lane);
}

static void rmsnorm(float *y, const float *x, const float *w, size_t n, float eps)
{
    float r = 1.0f / __builtin_sqrtf(dot_f32(x, x, n) / (float)n + eps);
    for (size_t i = 0; i < n; i++)
        y[i] = (x[i] * r) * w[i];
}

static void add(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void silu_mul(float *y, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (gate[i] / (1.0f + exp_f32(-gate[i]))) * up[i];
}

static void rope(float *x, const float *c, const float *s, size_t dim)
{
    size_t half = dim / 2;
    for (size_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = fma_f32(a, c[i], -(b * s[i]));
        x[i + half] = fma_f32(a, s[i], b * c[i]);
    }
}

static void f16_from_f32(uint16_t *dst, const float *src, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = f32_to_f16(src[i]);
}

static void f32_from_f16(float *dst, const uint16_t *src, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = f16_to_f32(src[i]);
}

static bool is_finite(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7f800000) != 0x7f800000;
}

static int64_t argmax(const float *x, size_t n)
{
    size_t best = 0;
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        finite &= is_finite(x[i]);
        if (x[i] > x[best])
            best = i;
    }
    return finite ? (int64_t)best : -1;
}

/* ---------------------------------------------------------------- integers */

/* What the codes -most..most of n numbers stand for: the scale, and its inverse by which
 * numbers are multiplied. NaN and 0 when some are not finite; 0 and 0 when all are tiny. */
static float find_scale(float *inverse, const float *x, size_t n, float most)
{
    float amax = 0;
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        finite &= is_finite(x[i]);
        amax = MAX(amax, __builtin_fabsf(x[i]));
    }
    bool zero = amax < 0x1p-100f;
    *inverse = !finite || zero ? 0 : most / amax;
    return !finite ? __builtin_nanf("") : zero ? 0 : amax / most;
}

static int32_t code(float x, float inverse, float most)
{
    if (inverse == 0)
        return 0;
    float rounded = (x * inverse + 0x1.8p23f) - 0x1.8p23f; /* rint, as default rounding is set */
    return (int32_t)MAX(-most, MIN(most, rounded));
}

static float quantize_head(int8_t *q, const float *x, size_t n)
{
    float inverse, scale = find_scale(&inverse, x, n, 127);
    for (size_t i = 0; i < n; i++)
        q[i] = (int8_t)code(x[i], inverse, 127);
    return scale;
}

static bool quantize_i8(int8_t *q, float *scale, const float *x, size_t n)
{
    for (size_t group = 0; group < n / GROUP; group++) {
        scale[group] = quantize_head(q + group * GROUP, x + group * GROUP, GROUP);
        if (!is_finite(scale[group]))
            return false;
    }
    return true;
}

static bool quantize_i16(int8_t *high, int8_t *low, float *scale, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += GROUP) {
        float inverse;
        scale[i / GROUP] = find_scale(&inverse, x + i, GROUP, WIDE_MOST);
        if (!is_finite(scale[i / GROUP]))
            return false;
        for (size_t j = i; j < i + GROUP; j++) {
            int32_t wide = code(x[j], inverse, WIDE_MOST);
            high[j] = (int8_t)(wide / WIDE_UNIT);
            low[j] = (int8_t)(wide % WIDE_UNIT);
        }
    }
    return true;
}

static int32_t dot_i8(const int8_t *a, const int8_t *b, size_t n)
{
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* --------------------------------------------------------------- attention */

/* Both KV types share the loops; only reading n numbers from the first-th on differs. */
typedef void read_fn(float *dst, const void *src, size_t first, size_t n);

static void read_f16(float *dst, const void *src, size_t first, size_t n) { f32_from_f16(dst, (const uint16_t *)src + first, n); }

static void read_f32(float *dst, const void *src, size_t first, size_t n) { memcpy(dst, (const float *)src + first, n * sizeof *dst); }

static inline void scores(float *s, const float *q, size_t n_q, const void *k, size_t dim, float scale, read_fn *read)
{
    float row[ATTN_LANES];
    memset(s, 0, n_q * ATTN_TILE * sizeof *s);
    for (size_t block = 0; block < ATTN_TILE / ATTN_LANES; block++) {
        for (size_t i = 0; i < dim; i++) {
            read(row, k, (block * dim + i) * ATTN_LANES, ATTN_LANES);
            for (size_t j = 0; j < n_q; j++) {
                float *acc = s + j * ATTN_TILE + block * ATTN_LANES;
                for (size_t l = 0; l < ATTN_LANES; l++)
                    acc[l] = fma_f32(q[j * dim + i], row[l], acc[l]);
            }
        }
    }
    for (size_t i = 0; i < n_q * ATTN_TILE; i++)
        s[i] *= scale;
}

static void attn_scores_f16(float *s, const float *q, size_t n_q, const uint16_t *k, size_t dim, float scale)
{
    scores(s, q, n_q, k, dim, scale, read_f16);
}

static void attn_scores_f32(float *s, const float *q, size_t n_q, const float *k, size_t dim, float scale)
{
    scores(s, q, n_q, k, dim, scale, read_f32);
}

static float softmax_of_one(float *s, size_t n_valid, float *max, float *sum)
{
    float m = *max, lane[LANES] = {0};
    for (size_t p = 0; p < n_valid; p++)
        m = s[p] > m ? s[p] : m;
    m += 0.0f; /* of -0 and 0, which compare equal, always 0 */
    float factor = *max == -__builtin_inff() ? 0 : exp_f32(*max - m);
    for (size_t p = 0; p < ATTN_TILE; p++) {
        s[p] = p < n_valid ? exp_f32(s[p] - m) : 0;
        lane[p % LANES] += s[p];
    }
    *sum = fma_f32(*sum, factor, fold_lanes(lane));
    *max = m;
    return factor;
}

static void attn_softmax(float *s, float *factor, const size_t *n_valid, size_t n_q, float *max, float *sum)
{
    for (size_t j = 0; j < n_q; j++)
        factor[j] = softmax_of_one(s + j * ATTN_TILE, n_valid[j], &max[j], &sum[j]);
}

static inline void values(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n_q, const void *v, size_t dim,
                          read_fn *read)
{
    float row[LANES];
    size_t most = 0;
    for (size_t j = 0; j < n_q; j++) {
        most = MAX(most, n_valid[j]);
        for (size_t i = 0; i < dim; i++)
            o[j * dim + i] *= factor[j];
    }
    for (size_t p = 0; p < most; p++) {
        for (size_t i0 = 0; i0 < dim; i0 += LANES) {
            size_t n = MIN(dim - i0, (size_t)LANES);
            read(row, v, p * dim + i0, n);
            for (size_t j = 0; j < n_q; j++) {
                for (size_t i = 0; p < n_valid[j] && i < n; i++)
                    o[j * dim + i0 + i] = fma_f32(prob[j * ATTN_TILE + p], row[i], o[j * dim + i0 + i]);
            }
        }
    }
}

static void attn_values_f16(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n_q, const uint16_t *v,
                            size_t dim)
{
    values(o, prob, factor, n_valid, n_q, v, dim, read_f16);
}

static void attn_values_f32(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n_q, const float *v, size_t dim)
{
    values(o, prob, factor, n_valid, n_q, v, dim, read_f32);
}

static void attn_scores_q8(float *s, const int8_t *q, const float *q_scale, size_t n_q, const void *k, size_t dim, float scale)
{
    const int8_t *tile = k;
    const float *k_scale = (const float *)(const void *)(tile + ATTN_TILE * dim);
    for (size_t j = 0; j < n_q; j++, q += dim, s += ATTN_TILE) {
        int32_t sum[ATTN_TILE] = {0};
        for (size_t block = 0; block < ATTN_TILE / ATTN_LANES; block++)
            for (size_t i = 0; i < dim; i += 4)
                for (size_t l = 0; l < ATTN_LANES; l++)
                    for (size_t d = 0; d < 4; d++)
                        sum[block * ATTN_LANES + l] += q[i + d] * tile[(block * dim + i) * ATTN_LANES + l * 4 + d];
        for (size_t p = 0; p < ATTN_TILE; p++)
            s[p] = (float)sum[p] * (k_scale[p] * (q_scale[j] * scale));
    }
}

static void attn_values_q8(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n_q, const void *v, size_t dim)
{
    const int8_t *tile = v;
    const float *v_scale = (const float *)(const void *)(tile + ATTN_TILE * dim);
    for (size_t j = 0; j < n_q; j++, prob += ATTN_TILE, o += dim) {
        float w[ATTN_TILE], inverse;
        int32_t c[ATTN_TILE];
        for (size_t p = 0; p < ATTN_TILE; p++)
            w[p] = p < n_valid[j] ? prob[p] * v_scale[p] : 0;
        float unit = find_scale(&inverse, w, ATTN_TILE, PROB_MAX);
        for (size_t p = 0; p < ATTN_TILE; p++)
            c[p] = code(w[p], inverse, PROB_MAX);
        for (size_t i = 0; i < dim; i++) {
            int32_t sum = 0;
            for (size_t p = 0; p < ATTN_TILE; p++)
                sum += c[p] * tile[p / 4 * dim * 4 + i * 4 + p % 4];
            o[i] = fma_f32((float)sum, unit, o[i] * factor[j]);
        }
    }
}

enum {
    TOKENS = 16
}; /* of one pack: they share each expansion of weights */

/* ------------------------------------------------------------- family "sign"
 *
 * Weights become bytes of +-1, once for all tokens. Packed: scales, then int8, in one plane
 * or two. */

TEMPLATE void pack_planes(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1,
                          size_t planes)
{
    float *scales = packed;
    int8_t *codes = (int8_t *)(scales + tokens * groups);
    for (size_t t = 0; t < tokens; t++)
        memcpy(scales + t * groups + group0, scale + t * groups + group0, (group1 - group0) * sizeof *scale);
    for (size_t t = 0; t < tokens * planes; t++)
        memcpy(codes + (t * groups + group0) * GROUP, q + (t * groups + group0) * GROUP, (group1 - group0) * GROUP);
}

TEMPLATE void multiply_planes(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                              size_t tokens, size_t planes)
{
    const float *scales = packed;
    const int8_t *codes = (const int8_t *)(scales + tokens * groups);
    for (size_t r = row0; r < row1; r++) {
        float acc[TOKENS] = {0};
        const uint8_t *block = w + r * groups * Q1_BYTES;
        for (size_t g = 0; g < groups; g++, block += Q1_BYTES) {
            int8_t sign[GROUP];
            for (size_t i = 0; i < GROUP; i++)
                sign[i] = block[2 + i / 8] >> i % 8 & 1 ? 1 : -1;
            float d = q1_scale(block);
            for (size_t t = 0; t < tokens; t++) {
                const int8_t *x = codes + (t * planes * groups + g) * GROUP;
                int32_t sum = dot_i8(sign, x, GROUP);
                if (planes == WIDE_PLANES)
                    sum = WIDE_UNIT * sum + dot_i8(sign, x + groups * GROUP, GROUP);
                acc[t] = fma_f32(d * scales[t * groups + g], (float)sum, acc[t]);
            }
        }
        for (size_t t = 0; t < tokens; t++)
            y[t * y_stride + r] = acc[t];
    }
}

static size_t sign_bytes(size_t groups, size_t tokens) { return tokens * groups * (sizeof(float) + GROUP); }

static void sign_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    pack_planes(packed, q, scale, groups, tokens, group0, group1, 1);
}

static void sign_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                     size_t tokens, struct q1_next next)
{
    (void)next;
    multiply_planes(y, y_stride, w, row0, row1, groups, packed, tokens, 1);
}

static const struct q1_family sign = {"sign", 1, TOKENS, sign_bytes, sign_pack, sign_run};

static const struct q1_family *pick_sign(size_t tokens)
{
    (void)tokens;
    return &sign;
}

static size_t wide_sign_bytes(size_t groups, size_t tokens) { return tokens * groups * (sizeof(float) + WIDE_PLANES * GROUP); }

static void wide_sign_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    pack_planes(packed, q, scale, groups, tokens, group0, group1, WIDE_PLANES);
}

static void wide_sign_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                          size_t tokens, struct q1_next next)
{
    (void)next;
    multiply_planes(y, y_stride, w, row0, row1, groups, packed, tokens, WIDE_PLANES);
}

static const struct q1_family wide_sign = {"sign", 1, TOKENS, wide_sign_bytes, wide_sign_pack, wide_sign_run};

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

/* --------------------------------------------------------- family "tables"
 *
 * For each of a group's 16 bytes of weights the sums of its eight activations under all 256
 * patterns of signs. Packed: [group][token][byte][pattern], 8 KB a group, then scales. Rows
 * go through a group in strips, while its tables are in the nearest cache. */

enum {
    PATTERNS = 256,
    GROUP_SUMS = 16 * PATTERNS,
    STRIP = 64,
    TABLE_TOKENS = 2
};

static size_t tables_bytes(size_t groups, size_t tokens) { return groups * tokens * (GROUP_SUMS * sizeof(int16_t) + sizeof(float)); }

static void tables_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    float *scales = (float *)(void *)((int16_t *)packed + groups * tokens * GROUP_SUMS);
    for (size_t g = group0; g < group1; g++) {
        for (size_t t = 0; t < tokens; t++) {
            const int8_t *x = q + (t * groups + g) * GROUP;
            int16_t *sums = (int16_t *)packed + (g * tokens + t) * GROUP_SUMS;
            scales[g * tokens + t] = scale[t * groups + g];
            for (size_t k = 0; k < 16; k++, x += 8, sums += PATTERNS) {
                sums[0] = 0;
                for (size_t j = 0; j < 8; j++)
                    sums[0] = (int16_t)(sums[0] - x[j]);
                for (size_t j = 0, half = 1; j < 8; j++, half *= 2) {
                    int16_t *upper = sums + half, twice = (int16_t)(2 * x[j]);
                    for (size_t i = 0; i < half; i++)
                        upper[i] = (int16_t)(sums[i] + twice);
                }
            }
        }
    }
}

static void tables_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                       size_t tokens, struct q1_next next)
{
    (void)next;
    const float *scales = (const float *)(const void *)((const int16_t *)packed + groups * tokens * GROUP_SUMS);
    for (size_t r = row0; r < row1; r += STRIP) {
        size_t n = MIN(row1 - r, (size_t)STRIP);
        float acc[TABLE_TOKENS][STRIP] = {0};
        for (size_t g = 0; g < groups; g++) {
            for (size_t t = 0; t < tokens; t++) {
                const int16_t *sums = (const int16_t *)packed + (g * tokens + t) * GROUP_SUMS;
                float s = scales[g * tokens + t];
                for (size_t i = 0; i < n; i++) {
                    const uint8_t *block = w + ((r + i) * groups + g) * Q1_BYTES, *bits = block + 2;
                    int32_t even = 0, odd = 0;
                    UNROLL
                    for (size_t k = 0; k < 16; k += 2) {
                        even += sums[k * PATTERNS + bits[k]];
                        odd += sums[(k + 1) * PATTERNS + bits[k + 1]];
                    }
                    acc[t][i] = fma_f32(q1_scale(block) * s, (float)(even + odd), acc[t][i]);
                }
            }
        }
        for (size_t t = 0; t < tokens; t++)
            memcpy(y + t * y_stride + r, acc[t], n * sizeof(float));
    }
}

static const struct q1_family tables = {"tables", STRIP, TABLE_TOKENS, tables_bytes, tables_pack, tables_run};

static const struct q1_family *pick_tables(size_t tokens)
{
    (void)tokens;
    return &tables;
}

/* The same for 64 rows side by side (r64.h), whose bytes need no gathering. */
static void r64_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed, size_t tokens,
                    struct q1_next next)
{
    (void)next;
    const float *scales = (const float *)(const void *)((const int16_t *)packed + groups * tokens * GROUP_SUMS);
    for (size_t r = row0; r < row1; r += R64_ROWS) {
        const uint8_t *block = w + r / R64_ROWS * groups * R64_BLOCK_BYTES;
        float acc[TABLE_TOKENS][R64_ROWS] = {0};
        for (size_t g = 0; g < groups; g++, block += R64_BLOCK_BYTES) {
            for (size_t t = 0; t < tokens; t++) {
                const int16_t *sums = (const int16_t *)packed + (g * tokens + t) * GROUP_SUMS;
                float s = scales[g * tokens + t];
                int16_t sum[R64_ROWS] = {0};
                for (size_t k = 0; k < 16; k++)
                    for (size_t i = 0; i < R64_ROWS; i++)
                        sum[i] = (int16_t)(sum[i] + sums[k * PATTERNS + block[R64_SCALE_BYTES + k * R64_ROWS + i]]);
                for (size_t i = 0; i < R64_ROWS; i++) {
                    uint16_t d;
                    memcpy(&d, block + 2 * (i % 4 * 16 + i / 4), sizeof d);
                    acc[t][i] = fma_f32(f16_to_f32(d) * s, (float)sum[i], acc[t][i]);
                }
            }
        }
        for (size_t t = 0; t < tokens; t++)
            memcpy(y + t * y_stride + r, acc[t], MIN(row1 - r, (size_t)R64_ROWS) * sizeof(float));
    }
}

static const struct q1_family r64_tables = {"tables", R64_ROWS, TABLE_TOKENS, tables_bytes, tables_pack, r64_run};

static const struct q1_family *pick_r64(size_t tokens) { return tokens <= 8 ? &r64_tables : NULL; }

static const struct q1_family *pick_wide_r64(size_t tokens)
{
    (void)tokens;
    return NULL;
}

static void rows_of_r64(uint8_t *rows, const uint8_t *blocks, size_t groups) { r64_to_rows(rows, blocks, R64_ROWS, groups); }

/* One Zen 4 core, built for the x86-64 baseline: tables 15 Gw/s, popcount 5.5. But tables
 * take 64 bytes for each activation. */
static int q1_auto(size_t tokens) { return tokens <= 8 ? 2 : 1; }

static int q1_wide_auto(size_t tokens)
{
    (void)tokens;
    return 1;
}

/* -------------------------------------------------------------------- peak */

static inline int32_t step_i8(int32_t sum, int32_t a, int32_t b) { return sum + a * b; }
static inline float step_f32(float sum, float a, float b) { return sum + a * b; }

#ifdef __x86_64__
#define FLOAT_REGISTER "x"
#else
#define FLOAT_REGISTER "w"
#endif

PEAK_LOOP(peak_i8, int32_t, "r", 0, step_i8, 1)
PEAK_LOOP(peak_f32, float, FLOAT_REGISTER, 0, step_f32, 1)

/* ------------------------------------------------------------------- table */

const struct kernels kernels_scalar = {
    .level = "scalar",
    .needs = 0,
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
    .q1_wide = {pick_wide_sign, pick_wide_popcount, NULL},
    .q1_wide_auto = q1_wide_auto,
    .r64 = pick_r64,
    .r64_wide = pick_wide_r64,
    .r64_to_rows = rows_of_r64,
};
