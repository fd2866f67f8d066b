/* amx_few.h: up to 16 tokens on AMX tiles. Layer: compute.
 *
 * The groups of all rows go through one pipeline, one after the other. A step takes a plane of a group
 * through each of its stages: step x
 *
 *   expands the group three ahead,
 *   loads the second half of x and the first of x + 1,
 *   multiplies the first half of x and the second of x - 1,
 *   stores the sums of x - 2, and
 *   adds those of x - 3,
 *
 * with the expansion spread between the rest. So an instruction waits for one multiplication at most,
 * those before it being done.
 *
 * Not timed, for want of such a CPU. A model of one (tests/bench/README.md) counts for 16 rows of a
 * group 57 cycles with 8 tokens and 81 with 16; for the kernel before, which took four groups at a time
 * through one stage after the other and always had 16 columns, 123 or more. */
#ifndef SIGNUM_AMX_FEW_H
#define SIGNUM_AMX_FEW_H

#include "amx_tiles.h"

enum {
    RING = 4,       /* of tiles; expanded ones are written two steps before they are loaded, or three */
    SCALE_RING = 8, /* of QUADs: where a row is one group, seven are on their way */
    BEHIND = 3,     /* a step's sums are added so many steps later */
};

/* The two ends of the pipeline. */
struct few_expansion {
    const uint8_t *w;
    size_t row1, groups;
    struct q1_next next;
    struct rows rows; /* of the group to be expanded */
    size_t row, group, quad;
    struct ahead ahead;
};

struct few_sums {
    size_t row, group, quad;
};

static void begin_rows(struct few_expansion *e, size_t row)
{
    size_t stride = e->groups * Q1_BYTES;
    e->row = row;
    e->group = 0;
    if (row < e->row1) {
        e->rows = (struct rows){e->w + row * stride, stride, MIN(e->row1 - row, (size_t)SIDE)};
        e->ahead = rows_ahead(e->w, stride, row + SIDE, e->row1, e->next);
    }
}

/* Rows [i0, i1) of the next group; after the last its scales. */
TEMPLATE void expand_some(struct few_expansion *e, uint8_t weights[2][RING][TILE], size_t to, uint16_t scales[SCALE_RING][SIDE][QUAD],
                          size_t i0, size_t i1)
{
    expand(weights[0][to], weights[1][to], &e->rows, i0, i1, e->ahead);
    if (i1 < SIDE)
        return;
    if (e->group % QUAD == 0)
        collect_scales(scales[e->quad++ % SCALE_RING], &e->rows, MIN(e->groups - e->group, (size_t)QUAD));
    e->rows.at += Q1_BYTES;
    e->ahead.at += e->ahead.step;
    if (++e->group == e->groups)
        begin_rows(e, e->row + SIDE);
}

TEMPLATE void run_few(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                      size_t tokens, size_t columns, size_t planes, const struct tiles *shape, struct q1_next next)
{
    _Alignas(64) uint8_t weights[2][RING][TILE]; /* halves 4 KB apart: no load meets stores of its step at the same distance */
    _Alignas(64) int32_t sums[RING][SIDE * SIDE];
    _Alignas(64) uint16_t scales[SCALE_RING][SIDE][QUAD];
    _Alignas(64) float d[QUAD][SIDE];
    const size_t line = columns * sizeof(int32_t), tile = SIDE * line;
    const size_t units = DIV_UP(row1 - row0, (size_t)SIDE) * groups, steps = units * planes, of_rows = groups * planes;
    const float *s = (const float *)((const uint8_t *)packed + of_rows * 2 * tile);
    struct few_expansion ahead = {.w = w, .row1 = row1, .groups = groups, .next = next};
    struct few_sums at = {row0, 0, 0};
    __m512 acc[SIDE];
    UNROLL
    for (size_t i = 0; i < columns; i++)
        acc[i] = _mm512_setzero_ps();
    begin_rows(&ahead, row0);
    tile_configure(shape);
    for (size_t unit = 0; unit < MIN(units, (size_t)BEHIND); unit++)
        expand_some(&ahead, weights, unit, scales, 0, SIDE);
    tile_load(4, weights[0][0], 64);
    tile_load(5, packed, line);
    /* Tiles are named by literals: of four steps' sums `now` are this one's, `then` those of the step
     * before, `past` of the one before that. A share of the rows is expanded in each of four places. */
#define SHARE(i, k)                                                                                                      \
    if (x / planes + BEHIND < units)                                                                                     \
        expand_some(&ahead, weights, (x / planes + BEHIND) % RING, scales, ((i) % planes * 4 + (k)) * SIDE / 4 / planes, \
                    ((i) % planes * 4 + (k) + 1) * SIDE / 4 / planes);
#define STEP(i, now, then, past)                                                                                   \
    {                                                                                                              \
        const size_t x = x0 + (i);                                                                                 \
        const uint8_t *columns_now = (const uint8_t *)packed + of_now * 2 * tile;                                  \
        of_now = of_now + 1 == of_rows ? 0 : of_now + 1;                                                           \
        const uint8_t *columns_next = (const uint8_t *)packed + of_now * 2 * tile;                                 \
        if (x < steps) {                                                                                           \
            tile_zero(now);                                                                                        \
            tile_dot(now, 4, 5);                                                                                   \
        }                                                                                                          \
        SHARE(i, 0)                                                                                                \
        if (x + 1 < steps) {                                                                                       \
            if (((i) + 1) % planes == 0)                                                                           \
                tile_load(4, weights[0][(x + 1) / planes % RING], 64);                                             \
            tile_load(5, columns_next, line);                                                                      \
        }                                                                                                          \
        SHARE(i, 1)                                                                                                \
        if (x >= 1 && x - 1 < steps)                                                                               \
            tile_dot(then, 6, 7);                                                                                  \
        SHARE(i, 2)                                                                                                \
        if (x < steps) {                                                                                           \
            if ((i) % planes == 0)                                                                                 \
                tile_load(6, weights[1][x / planes % RING], 64);                                                   \
            tile_load(7, columns_now + tile, line);                                                                \
        }                                                                                                          \
        SHARE(i, 3)                                                                                                \
        if (x >= 2 && x - 2 < steps)                                                                               \
            tile_store(past, sums[(x - 2) % RING], line);                                                          \
        if (x >= BEHIND && x - BEHIND < steps && ((i) + RING - BEHIND) % planes == planes - 1) {                   \
            if (at.group % QUAD == 0)                                                                              \
                convert_scales(d, scales[at.quad++ % SCALE_RING]);                                                 \
            add_sums(acc, sums[(x - BEHIND - (planes - 1)) % RING], sums[(x - BEHIND) % RING], d[at.group % QUAD], \
                     token_scales(s + at.group * columns, columns), columns, planes);                              \
            if (++at.group == groups) {                                                                            \
                write_rows(y + at.row, y_stride, acc, MIN(row1 - at.row, (size_t)SIDE), tokens, columns);          \
                at.group = 0;                                                                                      \
                at.row += SIDE;                                                                                    \
                UNROLL                                                                                             \
                for (size_t j = 0; j < columns; j++)                                                               \
                    acc[j] = _mm512_setzero_ps();                                                                  \
            }                                                                                                      \
        }                                                                                                          \
    }
    size_t of_now = 0; /* x % of_rows */
    for (size_t x0 = 0; x0 < steps + BEHIND; x0 += RING) {
        STEP(0, 0, 3, 2)
        STEP(1, 1, 0, 3)
        STEP(2, 2, 1, 0)
        STEP(3, 3, 2, 1)
    }
#undef STEP
#undef SHARE
    tile_release();
}

#endif
