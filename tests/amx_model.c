/* amx_model.c: amx.c on a model of the tile instructions, as Intel's manual describes them,
 * so that its logic is tested on CPUs without tiles. Compiled with AVX-512 flags: whoever
 * uses kernels_amx_model checks the CPU first. */
#ifdef SIGNUM_HAVE_amx

#include <stdint.h>
#include <string.h>

static _Thread_local struct {
    uint8_t line[16][64];
} tiles[8];
static _Thread_local int configured; /* balanced: every configure has its release */

static void tile_configure(const void *config)
{
    const uint8_t *bytes = config;
    int good = bytes[0] == 1; /* palette */
    for (int i = 0; i < 8; i++)
        good &= bytes[16 + 2 * i] == 64 && bytes[17 + 2 * i] == 0 && bytes[48 + i] == 16;
    for (int i = 0; i < 8; i++) /* no tiles beyond the eighth, nothing in the reserved bytes */
        good &= bytes[32 + 2 * i] == 0 && bytes[33 + 2 * i] == 0 && bytes[56 + i] == 0;
    for (int i = 1; i < 16; i++)
        good &= bytes[i] == 0;
    configured = good;
    memset(tiles, 0xa5, sizeof tiles);
}

static void tile_release(void) { configured = 0; }

static void tile_zero(int t) { memset(&tiles[t], configured ? 0 : 0xa5, sizeof tiles[t]); }

static void tile_load(int t, const void *from, size_t stride)
{
    for (size_t i = 0; i < 16; i++)
        memcpy(tiles[t].line[i], (const uint8_t *)from + i * stride, 64);
}

__attribute__((noinline)) static void tile_store(int t, void *to, size_t stride)
{
    for (size_t i = 0; i < 16; i++)
        memcpy((uint8_t *)to + i * stride, tiles[t].line[i], 64);
}

/* TDPBSSD: sums[m][n] += the dot product of rows[m][4 k ..] and columns[k][4 n ..] over k. */
static void tile_dot(int sums, int rows, int columns)
{
    for (int m = 0; m < 16; m++) {
        for (int n = 0; n < 16; n++) {
            int32_t sum;
            memcpy(&sum, &tiles[sums].line[m][4 * n], sizeof sum);
            for (int k = 0; k < 16; k++)
                for (int i = 0; i < 4; i++)
                    sum += (int8_t)tiles[rows].line[m][4 * k + i] * (int8_t)tiles[columns].line[k][4 * n + i];
            memcpy(&tiles[sums].line[m][4 * n], &sum, sizeof sum);
        }
    }
}

extern const struct kernels kernels_amx_model;

#define AMX_MODEL
#include "../src/kernels/amx.c"

#endif
