/* amx_model.c: amx.c and its headers on a model of the tile instructions, as Intel's manual describes them,
 * so that its logic is tested on CPUs without tiles. Compiled with AVX-512 flags: whoever
 * uses kernels_amx_model checks the CPU first. */
#ifdef SIGNUM_HAVE_amx

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static _Thread_local struct {
    uint8_t line[16][64];
    int lines, line_bytes;
} tiles[8];
static _Thread_local bool configured; /* every configure needs its release before the next */

static void tile_configure(const void *config)
{
    const uint8_t *bytes = config;
    bool good = bytes[0] == 1; /* palette */
    memset(tiles, 0xa5, sizeof tiles);
    for (int i = 0; i < 8; i++) {
        tiles[i].line_bytes = bytes[16 + 2 * i];
        tiles[i].lines = bytes[48 + i];
        good &= tiles[i].line_bytes <= 64 && bytes[17 + 2 * i] == 0 && tiles[i].lines <= 16;
    }
    for (int i = 0; i < 8; i++) /* no tiles beyond the eighth, nothing in the reserved bytes */
        good &= bytes[32 + 2 * i] == 0 && bytes[33 + 2 * i] == 0 && bytes[56 + i] == 0;
    for (int i = 1; i < 16; i++)
        good &= bytes[i] == 0;
    configured = good && !configured;
}

static void tile_release(void) { configured = false; }

/* Outside of configure and release nothing is right. */
static void spoil(int t)
{
    if (!configured)
        memset(tiles[t].line, 0xa5, sizeof tiles[t].line);
}

static void tile_zero(int t)
{
    memset(tiles[t].line, 0, sizeof tiles[t].line);
    spoil(t);
}

static void tile_load(int t, const void *from, size_t stride)
{
    memset(tiles[t].line, 0, sizeof tiles[t].line);
    for (int i = 0; i < tiles[t].lines; i++)
        memcpy(tiles[t].line[i], (const uint8_t *)from + (size_t)i * stride, (size_t)tiles[t].line_bytes);
    spoil(t);
}

__attribute__((noinline)) static void tile_store(int t, void *to, size_t stride)
{
    spoil(t);
    for (int i = 0; i < tiles[t].lines; i++)
        memcpy((uint8_t *)to + (size_t)i * stride, tiles[t].line[i], (size_t)tiles[t].line_bytes);
}

/* TDPBSSD, and TDPBUSD for bytes of rows without sign: sums[m][n] += the dot product of
 * rows[m][4 k ..] and columns[k][4 n ..] over k. Shapes must fit. */
static void multiply_tiles(int sums, int rows, int columns, bool is_signed)
{
    int n_lines = tiles[sums].lines, n_columns = tiles[sums].line_bytes / 4, depth = tiles[columns].lines;
    if (tiles[rows].lines != n_lines || tiles[columns].line_bytes != tiles[sums].line_bytes || tiles[rows].line_bytes != 4 * depth) {
        memset(tiles[sums].line, 0xa5, sizeof tiles[sums].line);
        return;
    }
    for (int m = 0; m < n_lines; m++) {
        for (int n = 0; n < n_columns; n++) {
            int32_t sum;
            memcpy(&sum, &tiles[sums].line[m][4 * n], sizeof sum);
            for (int k = 0; k < depth; k++) {
                for (int i = 0; i < 4; i++) {
                    uint8_t a = tiles[rows].line[m][4 * k + i];
                    sum += (is_signed ? (int8_t)a : a) * (int8_t)tiles[columns].line[k][4 * n + i];
                }
            }
            memcpy(&tiles[sums].line[m][4 * n], &sum, sizeof sum);
        }
    }
}

static void tile_dot(int sums, int rows, int columns) { multiply_tiles(sums, rows, columns, true); }

static void tile_dot_unsigned(int sums, int rows, int columns) { multiply_tiles(sums, rows, columns, false); }

extern const struct kernels kernels_amx_model;

#define AMX_MODEL
#include "../src/kernels/amx.c"

#endif
