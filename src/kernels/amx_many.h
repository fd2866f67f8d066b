/* amx_many.h: more than 16 tokens on AMX tiles. Layer: compute.
 *
 * Two groups of 64 rows at a time (one, of activations in two planes) are expanded into L1, where they
 * meet all tokens. A cell is 32 rows times 16 tokens: both tiles of rows share each load of activations. The
 * sums of a cell are added while the next one is multiplied, and those of that one stored after.
 *
 * Not timed. The model that amx_few.h speaks of counts, with 128 tokens, 61 cycles for 16 rows, 16 tokens and
 * a group, of which 32 multiply, and 69 if loads wait for stores at the same distance from a multiple of 4 KB. For
 * the kernel before, which loaded activations for each tile of rows and stored the sums of a group before it
 * added those of the last, 77 and 145. Cells of 2 x 2 tiles, more groups at a time, or weights expanded
 * between multiplications leave too little of L1. */
#ifndef SIGNUM_AMX_MANY_H
#define SIGNUM_AMX_MANY_H

#include "amx_tiles.h"

enum {
    ROW_TILES = 4,
    CELL_ROWS = 2, /* tiles */
    DEPTH = 2,     /* groups, or planes of one group */
    TOKENS = 128,
    TOKEN_TILES = TOKENS / SIDE,
};

struct many {
    _Alignas(64) float acc[ROW_TILES][TOKEN_TILES][SIDE][SIDE];
    uint8_t weights[ROW_TILES * DEPTH][2][TILE]; /* [tile of rows][group] */
    int32_t sums[CELL_ROWS][DEPTH][SIDE * SIDE]; /* of a cell: [group], or [plane] */
    uint16_t half[ROW_TILES][SIDE][QUAD];
    float d[2][ROW_TILES][QUAD][SIDE];
};

struct cell {
    size_t first, token_tile; /* tile of rows */
    size_t group, n;          /* groups [group, group + n) */
};

/* The sums of a group of a cell to tiles a and b; of two planes those of the low one to tiles 2 and 3. */
#define CELL_HALF(half, a, b, column)                         \
    tile_load(column, columns + (half)*TILE, 64);             \
    tile_load(4, weights[0][half], 64);                       \
    tile_dot(a, 4, column);                                   \
    tile_load(5, weights[depth][half], 64);                   \
    tile_dot(b, 5, column);                                   \
    if (planes == WIDE_PLANES) {                              \
        tile_load(column, columns + (2 + (half)) * TILE, 64); \
        tile_dot(2, 4, column);                               \
        tile_dot(3, 5, column);                               \
    }
TEMPLATE void multiply_cell(const struct many *m, struct cell cell, size_t g, const uint8_t *columns, size_t planes)
{
    const size_t depth = DEPTH / planes;
    const uint8_t(*const weights)[2][TILE] = m->weights + cell.first * depth + g;
    if (g == 0) {
        tile_zero(0);
        tile_zero(1);
    }
    if (g == 1 || planes == WIDE_PLANES) {
        tile_zero(2);
        tile_zero(3);
    }
    if (g == 0) {
        CELL_HALF(0, 0, 1, 6)
        CELL_HALF(1, 0, 1, 7)
    } else {
        CELL_HALF(0, 2, 3, 6)
        CELL_HALF(1, 2, 3, 7)
    }
}
#undef CELL_HALF

static inline void store_cell(struct many *m)
{
    tile_store(0, m->sums[0][0], 64);
    tile_store(1, m->sums[1][0], 64);
    tile_store(2, m->sums[0][1], 64);
    tile_store(3, m->sums[1][1], 64);
}

/* One tile of rows of a cell to acc. */
TEMPLATE void add_cell(struct many *m, struct cell cell, size_t i, const float *scales, size_t all, size_t planes)
{
    float(*out)[SIDE] = m->acc[cell.first + i][cell.token_tile];
    __m512 acc[SIDE];
    UNROLL
    for (size_t j = 0; j < SIDE; j++)
        acc[j] = _mm512_load_ps(out[j]);
    for (size_t g = 0; g < cell.n; g++) {
        size_t group = cell.group + g;
        const int32_t(*sums)[SIDE * SIDE] = m->sums[i];
        add_sums(acc, sums[g], sums[1], m->d[group / QUAD % 2][cell.first + i][group % QUAD],
                 _mm512_loadu_ps(scales + group * all + cell.token_tile * SIDE), SIDE, planes);
    }
    UNROLL
    for (size_t j = 0; j < SIDE; j++)
        _mm512_store_ps(out[j], acc[j]);
}

TEMPLATE void run_many(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                       size_t tokens, size_t planes, struct q1_next next)
{
    const size_t depth = DEPTH / planes;
    struct many many, *m = &many;
    size_t all = ROUND_UP(tokens, (size_t)SIDE), stride = groups * Q1_BYTES, group_bytes = all * planes * GROUP;
    const float *scales = (const float *)((const uint8_t *)packed + groups * group_bytes);
    tile_configure(&tiles_of_16);
    for (size_t r = row0; r < row1; r += ROW_TILES * SIDE) {
        size_t row_tiles = ROUND_UP(DIV_UP(MIN(row1 - r, (size_t)ROW_TILES * SIDE), (size_t)SIDE), (size_t)CELL_ROWS);
        struct ahead ahead = rows_ahead(w, stride, r + ROW_TILES * SIDE, row1, next);
        struct cell last = {.n = 0};
        for (size_t i = 0; i < row_tiles; i++)
            memset(m->acc[i], 0, all / SIDE * sizeof m->acc[i][0]);
        for (size_t g0 = 0; g0 < groups; g0 += depth) {
            size_t n = MIN(groups - g0, depth);
            for (size_t i = 0; i < row_tiles; i++) {
                size_t row = MIN(r + i * SIDE, row1 - 1); /* a last tile that has no rows repeats one, unseen */
                struct rows rows = {w + row * stride + g0 * Q1_BYTES, stride, MIN(row1 - row, (size_t)SIDE)};
                if (g0 % QUAD == 0)
                    collect_scales(m->half[i], &rows, MIN(groups - g0, (size_t)QUAD));
                for (size_t g = 0; g < n; g++, rows.at += Q1_BYTES, ahead.at += ahead.step)
                    expand(m->weights[i * depth + g][0], m->weights[i * depth + g][1], &rows, 0, SIDE, ahead);
            }
            for (size_t i = 0; i < row_tiles && g0 % QUAD == 0; i++)
                convert_scales(m->d[g0 / QUAD % 2][i], m->half[i]);
            for (size_t t = 0; t < all / SIDE; t++) {
                for (size_t i = 0; i < row_tiles; i += CELL_ROWS) {
                    struct cell cell = {i, t, g0, n};
                    const uint8_t *columns = (const uint8_t *)packed + g0 * group_bytes + t * SIDE * planes * GROUP;
                    multiply_cell(m, cell, 0, columns, planes);
                    add_cell(m, last, 0, scales, all, planes);
                    if (n > 1)
                        multiply_cell(m, cell, 1, columns + group_bytes, planes);
                    add_cell(m, last, 1, scales, all, planes);
                    store_cell(m);
                    last = cell;
                }
            }
        }
        add_cell(m, last, 0, scales, all, planes);
        add_cell(m, last, 1, scales, all, planes);
        for (size_t i = 0; i * SIDE < row1 - r && i < row_tiles; i++)
            for (size_t t = 0; t < tokens; t += SIDE)
                write_rows(y + t * y_stride + r + i * SIDE, y_stride, (const __m512 *)m->acc[i][t / SIDE],
                           MIN(row1 - r - i * SIDE, (size_t)SIDE), MIN(tokens - t, (size_t)SIDE), SIDE);
    }
    tile_release();
}

#endif
