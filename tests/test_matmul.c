/* matmul.c: many tokens, which are packed and multiplied some at a time, against one at a time. */
#include "matmul.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cpu.h"

static struct sg_error error;

/* y (tokens, rows) by an engine that takes up to max_tokens at once, and inputs of max_cols. */
static void multiply(struct pool *pool, const struct kernels *kernels, enum sg_act act, const struct tensor *w, size_t max_cols,
                     const float *x, size_t tokens, size_t max_tokens, float *y)
{
    struct matmul m = {.kernels = kernels, .pool = pool, .act = act, .max_cols = max_cols, .max_tokens = max_tokens};
    struct arena a = {0};
    matmul_layout(&m, &a);
    CHECK(arena_map(&a, a.used));
    a.used = 0;
    matmul_layout(&m, &a);
    /* What lies behind the packed input is not used with these weights. */
    size_t behind = (size_t)pool_threads(pool) * R64_ROWS * max_cols / GROUP * 18, spoiled = 0;
    memset(m.unpacked, 0x5a, behind);
    for (size_t t = 0; t < tokens; t += max_tokens) {
        size_t n = MIN(max_tokens, tokens - t), half = w->rows / 2;
        struct tensor upper = *w, lower = *w;
        upper.rows = half;
        lower.rows = w->rows - half;
        lower.data += half * w->row_bytes;
        CHECK(matmul_input(&m, x + t * w->cols, n, w->cols, (const struct tensor *const[]){w}, 1));
        for (int again = 0; again < 2; again++) /* the input stays what it is */
            matmul_run(&m, (const struct matmul_op[]){{&upper, y + t * w->rows, w->rows}, {&lower, y + t * w->rows + half, w->rows}}, 2,
                       again ? NULL : w);
    }
    for (size_t i = 0; i < behind; i++)
        spoiled += m.unpacked[i] != 0x5a;
    CHECKF(spoiled == 0, "%zu bytes behind the packed input were written", spoiled);
    arena_unmap(&a);
}

/* With tables 200 tokens of 12,288 columns take 8 to 32 MB and are cut into several spans, while more of fewer columns
 * go together. */
static void check_spans(const char *level, size_t cols, size_t tokens)
{
    enum {
        ROWS = 70,
        MAX_COLS = 12288
    };
    struct pool *pool;
    struct kernels kernels;
    if (!kernels_select(&kernels, cpu_features(), level))
        return;
    CHECK(pool_open(&pool, 3, &error) == SG_OK);
    size_t bytes = ROWS * cols / GROUP * 18, n_y = tokens * ROWS;
    uint8_t *data = test_guarded(bytes);
    float *x = malloc(tokens * cols * sizeof *x), *y = malloc(2 * n_y * sizeof *y);
    for (size_t i = 0; i < bytes; i++) /* scales between 2^-8 and 2^-7 */
        data[i] = i % 18 == 1 ? 0x1c : (uint8_t)test_random();
    for (size_t i = 0; i < tokens * cols; i++)
        x[i] = test_normal();
    const struct tensor w = {.type = QUANT_Q1_0, .rows = ROWS, .cols = cols, .row_bytes = cols / GROUP * 18, .data = data};
    for (enum sg_act act = SG_ACT_INT8; act <= SG_ACT_INT16; act++) {
        memset(y, 0xff, 2 * n_y * sizeof *y);
        multiply(pool, &kernels, act, &w, MAX_COLS, x, tokens, tokens, y);
        multiply(pool, &kernels, act, &w, MAX_COLS, x, tokens, 1, y + n_y);
        CHECKF(memcmp(y, y + n_y, n_y * sizeof *y) == 0, "%s activations %d columns %zu tokens %zu", kernels.level, (int)act, cols, tokens);
    }
    free(x);
    free(y);
    pool_close(pool);
}

TEST(matmul_spans)
{
    static const char *const levels[] = {NULL, "avx2", "avx512"};
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        check_spans(levels[i], 12288, 130);
        check_spans(levels[i], 2048, 256);
        for (int round = 0; round < 2; round++)
            check_spans(levels[i], (1 + test_below(40)) * GROUP, 1 + test_below(300));
    }
}

/* ------------------------------------------------------- inputs in succession */

enum {
    MIXED_ROWS = 70,
    MIXED_COLS = 40 * GROUP,
    MIXED_TOKENS = 300,
    MIXED = 3, /* matrices with the same input */
};

static const enum quant_type mixed_types[] = {QUANT_Q1_0, QUANT_Q1_0_R64, QUANT_Q2_0_G128, QUANT_F32};

/* A matrix of random weights with finite scales, at the end of so many bytes. */
static struct tensor random_matrix(enum quant_type type, size_t cols, uint8_t *data, size_t size)
{
    struct tensor w = {.type = type, .rows = MIXED_ROWS, .cols = cols, .row_bytes = quant_row_bytes(type, cols)};
    size_t bytes = type == QUANT_Q1_0_R64 ? (size_t)r64_bytes(MIXED_ROWS, cols) : w.rows * w.row_bytes,
           block = quant_traits[type].block_bytes;
    data += size - bytes;
    w.data = data;
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)test_random();
    for (size_t i = 0; i < bytes && type == QUANT_F32; i += sizeof(float)) {
        float x = test_normal();
        memcpy(data + i, &x, sizeof x);
    }
    for (size_t i = 1; i < bytes && (type == QUANT_Q1_0 || type == QUANT_Q2_0_G128); i += block)
        data[i] = 0x1c;
    for (size_t i = 0; i < bytes && type == QUANT_Q1_0_R64; i++)
        if (i % R64_BLOCK_BYTES < R64_SCALE_BYTES && i % 2 == 1)
            data[i] = 0x1c;
    return w;
}

static void prepare(struct matmul *m, struct arena *a)
{
    matmul_layout(m, a);
    CHECK(arena_map(a, a->used));
    a->used = 0;
    matmul_layout(m, a);
}

/* y[matrix] (tokens, MIXED_ROWS) by whatever m takes at once, each matrix alone or all together. up: NULL, or
 * the input is silu(x) * up, in whose place x may be after this. */
static void multiply_mixed(struct matmul *m, const struct tensor *w, size_t n, float *x, const float *up, size_t tokens, float *y)
{
    const struct tensor *weights[MIXED];
    for (size_t i = 0; i < n; i++)
        weights[i] = &w[i];
    for (size_t t = 0; t < tokens; t += m->max_tokens) {
        struct matmul_op ops[MIXED];
        for (size_t i = 0; i < n; i++)
            ops[i] = (struct matmul_op){&w[i], y + (i * tokens + t) * MIXED_ROWS, MIXED_ROWS};
        size_t at_once = test_below(2) ? n : 1;
        size_t some = MIN(m->max_tokens, tokens - t), at = t * w->cols;
        CHECK(up ? matmul_input_silu(m, x + at, up + at, some, w->cols, weights, n) : matmul_input(m, x + at, some, w->cols, weights, n));
        for (size_t i = 0; i < n; i += at_once)
            matmul_run(m, ops + i, at_once, test_below(2) ? &w[test_below(n)] : NULL);
    }
}

/* One engine multiplies inputs of all shapes with all types of weights, one after the other: nothing
 * of the last one may be left. Another one takes every token alone. */
static void check_mixed(const char *level, enum sg_act act, size_t rounds)
{
    struct pool *pool;
    struct kernels kernels;
    struct arena a = {0}, b = {0};
    enum {
        BYTES = MIXED_ROWS * MIXED_COLS * 4,
        N_Y = MIXED * MIXED_TOKENS * MIXED_ROWS
    };
    if (!kernels_select(&kernels, cpu_features(), level))
        return;
    CHECK(pool_open(&pool, 3, &error) == SG_OK);
    struct matmul many = {.kernels = &kernels, .pool = pool, .act = act, .max_cols = MIXED_COLS, .max_tokens = MIXED_TOKENS}, one = many;
    one.max_tokens = 1;
    prepare(&many, &a);
    prepare(&one, &b);
    uint8_t *data[MIXED];
    for (size_t i = 0; i < MIXED; i++)
        data[i] = test_guarded(BYTES);
    float *x = malloc(3 * MIXED_TOKENS * MIXED_COLS * sizeof *x), *y = malloc(2 * N_Y * sizeof *y);
    float *gate = x + MIXED_TOKENS * MIXED_COLS, *up = gate + MIXED_TOKENS * MIXED_COLS;
    for (size_t round = 0; round < rounds; round++) {
        size_t n = 1 + test_below(MIXED), cols = (1 + test_below(5 << test_below(4))) * GROUP, tokens = 1 + test_below(9 << test_below(6));
        bool large = round < 2; /* cut into spans */
        enum quant_type type = large ? QUANT_Q1_0_R64 : mixed_types[test_below(ARRAY_LEN(mixed_types))];
        struct tensor w[MIXED];
        n = large ? 1 + round : n;
        cols = large ? MIXED_COLS : cols;
        tokens = large ? 200 : tokens;
        for (size_t i = 0; i < n; i++) {
            w[i] = random_matrix(type, cols, data[i], BYTES);
            type = test_below(2) ? type : mixed_types[test_below(ARRAY_LEN(mixed_types))];
        }
        for (size_t i = 0; i < tokens * cols; i++)
            x[i] = test_normal();
        bool silu = round % 2 == 1;
        for (size_t i = 0; silu && i < tokens * cols; i++) {
            gate[i] = x[i];
            up[i] = test_normal();
        }
        if (silu)
            kernels_scalar.silu_mul(x, gate, up, tokens * cols);
        memset(y, 0xff, 2 * N_Y * sizeof *y);
        multiply_mixed(&many, w, n, silu ? gate : x, silu ? up : NULL, tokens, y);
        multiply_mixed(&one, w, n, x, NULL, tokens, y + N_Y);
        CHECKF(memcmp(y, y + N_Y, N_Y * sizeof *y) == 0, "%s activations %d columns %zu tokens %zu, %zu matrices from %s%s", kernels.level,
               (int)act, cols, tokens, n, quant_traits[w->type].name, silu ? ", silu" : "");
    }
    free(x);
    free(y);
    arena_unmap(&a);
    arena_unmap(&b);
    pool_close(pool);
}

TEST(matmul_mixed)
{
    static const char *const levels[] = {NULL, "avx2", "avx512"};
    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        for (enum sg_act act = SG_ACT_INT8; act <= SG_ACT_INT16; act++)
            check_mixed(levels[i], act, 12);
}
