/* amx.c: AMX int8 tiles for two tokens and more, and for attention over int8. All else is
 * avx512vnni.c's and avx512.c's. */
#include "kernels.h"

#include "cpu.h"

#include "amx_few.h"
#include "amx_many.h"
#include "attn_q8_amx.h"

/* ---------------------------------------------------------------- families */

#define FAMILY(NAME, RUN, ROWS, MOST, COLUMNS, PLANES)                                                                                     \
    static size_t NAME##_bytes(size_t groups, size_t tokens) { return bytes_of_planes(groups, tokens, COLUMNS, PLANES); }                  \
    static void NAME##_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1) \
    {                                                                                                                                      \
        pack_planes(packed, q, scale, groups, tokens, group0, group1, COLUMNS, PLANES);                                                    \
    }                                                                                                                                      \
    static void NAME##_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,       \
                           size_t tokens, struct q1_next next)                                                                             \
    {                                                                                                                                      \
        RUN;                                                                                                                               \
    }                                                                                                                                      \
    static const struct q1_family NAME = {"sign", ROWS, MOST, NAME##_bytes, NAME##_pack, NAME##_run};
#define FEW(NAME, COLUMNS, PLANES)                                                                                                       \
    FAMILY(NAME, run_few(y, y_stride, w, row0, row1, groups, packed, tokens, COLUMNS, PLANES, &tiles_of_##COLUMNS, next), SIDE, COLUMNS, \
           COLUMNS, PLANES)
/* Wide activations: so many that they take what those of int8 do, to stay in L2. */
#define MANY(NAME, PLANES)                                                                                                             \
    FAMILY(NAME, run_many(y, y_stride, w, row0, row1, groups, packed, tokens, PLANES, next), ROW_TILES *SIDE, TOKENS / (PLANES), SIDE, \
           PLANES)

FEW(few4, 4, 1)
FEW(few8, 8, 1)
FEW(few16, 16, 1)
MANY(many, 1)
FEW(wide_few4, 4, WIDE_PLANES)
FEW(wide_few8, 8, WIDE_PLANES)
FEW(wide_few16, 16, WIDE_PLANES)
MANY(wide_many, WIDE_PLANES)

static const struct q1_family *pick_sign(size_t tokens)
{
    return tokens <= 4 ? &few4 : tokens <= 8 ? &few8 : tokens <= 16 ? &few16 : &many;
}

static const struct q1_family *pick_wide_sign(size_t tokens)
{
    return tokens <= 4 ? &wide_few4 : tokens <= 8 ? &wide_few8 : tokens <= 16 ? &wide_few16 : &wide_many;
}

/* By the model of amx_few.h tiles of 2 to 8 tokens take less time than tables of one token, which wait for memory. */
static int q1_auto(size_t tokens) { return tokens <= 1 ? 2 : 0; }

/* -------------------------------------------------------------------- peak */

/* Four sums in rotation, which hide a multiplication's latency. */
static uint64_t peak_i8(size_t rounds)
{
    tile_configure(&tiles_of_16);
    tile_zero(0);
    tile_zero(1);
    tile_zero(2);
    tile_zero(3);
    tile_zero(4);
    tile_zero(5);
    for (size_t round = 0; round < rounds; round++) {
        tile_dot(0, 4, 5);
        tile_dot(1, 4, 5);
        tile_dot(2, 4, 5);
        tile_dot(3, 4, 5);
    }
    tile_release();
    return (uint64_t)rounds * 4 * SIDE * TILE;
}

/* ------------------------------------------------------------------- table */

#ifdef AMX_MODEL
const struct kernels kernels_amx_model = {
#else
const struct kernels kernels_amx = {
#endif
    .level = "amx",
    .needs = CPU_AVX2 | CPU_AVX512 | CPU_AVX512VNNI | CPU_GFNI | CPU_AMX,
    .attn_scores_q8 = amx_scores_q8,
    .attn_values_q8 = amx_values_q8,
    .peak_i8 = peak_i8,
    .q1 = {pick_sign, NULL, NULL},
    .q1_auto = q1_auto,
    .q1_wide = {pick_wide_sign, NULL, NULL},
    .q1_wide_auto = q1_auto,
};
