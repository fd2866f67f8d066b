/* matmul.c: many tokens, which are packed and multiplied some at a time, against one at a time. */
#include "matmul.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cpu.h"

static struct sg_error error;

/* y (tokens, rows) by an engine that takes up to max_tokens at once. */
static void multiply(struct pool *pool, const struct kernels *kernels, enum sg_act act, const struct tensor *w, const float *x,
                     size_t tokens, size_t max_tokens, float *y)
{
    struct matmul m = {.kernels = kernels, .pool = pool, .act = act, .max_cols = w->cols, .max_tokens = max_tokens};
    struct arena a = {0};
    matmul_layout(&m, &a);
    CHECK(arena_map(&a, a.used));
    a.used = 0;
    matmul_layout(&m, &a);
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
    arena_unmap(&a);
}

/* 12,288 columns: with tables 200 tokens take 8 to 32 MB and are cut into several spans. */
TEST(matmul_spans)
{
    enum {
        COLS = 12288,
        ROWS = 70,
        TOKENS = 200
    };
    struct pool *pool;
    struct kernels kernels;
    CHECK(pool_open(&pool, 3, &error) == SG_OK && kernels_select(&kernels, cpu_features(), NULL));
    size_t bytes = (size_t)ROWS * COLS / GROUP * 18, n_y = (size_t)TOKENS * ROWS;
    uint8_t *data = test_guarded(bytes);
    float *x = malloc((size_t)TOKENS * COLS * sizeof *x), *y = malloc(2 * n_y * sizeof *y);
    for (size_t i = 0; i < bytes; i++) /* scales between 2^-8 and 2^-7 */
        data[i] = i % 18 == 1 ? 0x1c : (uint8_t)test_random();
    for (size_t i = 0; i < (size_t)TOKENS * COLS; i++)
        x[i] = test_normal();
    const struct tensor w = {.type = QUANT_Q1_0, .rows = ROWS, .cols = COLS, .row_bytes = (size_t)COLS / GROUP * 18, .data = data};
    for (enum sg_act act = SG_ACT_INT8; act <= SG_ACT_INT16; act++) {
        memset(y, 0xff, 2 * n_y * sizeof *y);
        multiply(pool, &kernels, act, &w, x, TOKENS, TOKENS, y);
        multiply(pool, &kernels, act, &w, x, TOKENS, 1, y + n_y);
        CHECKF(memcmp(y, y + n_y, n_y * sizeof *y) == 0, "activations %d", (int)act);
    }
    free(x);
    free(y);
    pool_close(pool);
}
