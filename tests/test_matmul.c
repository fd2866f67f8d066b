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
