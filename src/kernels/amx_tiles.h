/* amx_tiles.h: what the kernels on AMX tiles share. Layer: compute.
 *
 * Weights become bytes of +1 and -1 in place: the group's 16 bytes in all four lanes, and one
 * affine transform of bits whose matrix tests bit b in lane b, gives 64 of them. Activations are permuted
 * to match.
 *
 * Two kernels. Up to 16 tokens (amx_few.h) the work is to expand weights, and a tile has as many
 * columns as there are tokens, so that a vector of sums serves several rows. With more (amx_many.h) the
 * work is to multiply, and expanded weights meet all tokens while they stay in L1.
 *
 * Both keep what a tile instruction waits for well behind it. A multiplication takes 52 cycles, a tile
 * is loaded from memory only, not from stores that are still on their way, and sums come back through memory,
 * too: a kernel that expands, multiplies and adds group after group leaves all of it waiting in turn,
 * since the CPU looks ahead 512 instructions, which is two groups or three.
 *
 * Loads must also not come after stores that are still on their way and whose addresses are the same
 * but for multiples of 4,096, for the CPU takes them for the same at first: kernels load the sums of one step
 * before they store those of the next.
 *
 * The tile instructions are named by macros so that tests/amx_model.c can compile this
 * against a model of them, for CPUs that have AVX-512 but no tiles. */
#ifndef SIGNUM_AMX_TILES_H
#define SIGNUM_AMX_TILES_H

#include <immintrin.h>
#include <string.h>

#include "kernels.h"

#ifndef AMX_MODEL
/* gcc's intrinsic does not say that it reads memory: stores would move past it. */
#define memory_barrier() __asm__ volatile("" ::: "memory")
#define tile_configure(config) _tile_loadconfig(config)
#define tile_release() _tile_release()
#define tile_zero(t) _tile_zero(t)
#define tile_load(t, from, stride)    \
    do {                              \
        memory_barrier();             \
        _tile_loadd(t, from, stride); \
        memory_barrier();             \
    } while (0)
#define tile_store(t, to, stride) _tile_stored(t, to, stride)
#define tile_dot(sums, rows, columns) _tile_dpbssd(sums, rows, columns)
#define tile_dot_unsigned(sums, rows, columns) _tile_dpbusd(sums, rows, columns) /* rows are */
#endif

enum {
    SIDE = 16,        /* rows, and most tokens, of a tile */
    TILE = SIDE * 64, /* bytes */
    QUAD = 4,         /* groups whose scales are fetched at a time */
};

/* Packed: [group][token tile][plane][half of the group] tiles of activations: line k of a tile holds
 * positions 4 k .. 4 k + 3 of its tokens, position 16 b + i of half h being the activation of
 * bit 4 h + b of byte i. Then scales, [group][token]. A tile has `columns` tokens, padded with
 * zeros: 16, or in the only tile of few tokens also 4 or 8. */

/* 16 x 16 words of 32 bits: lane j of x[i] becomes lane i of x[j]. */
static inline void transpose(__m512i x[SIDE])
{
    __m512i y[SIDE];
    UNROLL
    for (size_t i = 0; i < SIDE; i += 4) { /* 4 x 4 of four rows, in every lane of 128 bits */
        __m512i a = _mm512_unpacklo_epi32(x[i], x[i + 1]), b = _mm512_unpackhi_epi32(x[i], x[i + 1]);
        __m512i c = _mm512_unpacklo_epi32(x[i + 2], x[i + 3]), d = _mm512_unpackhi_epi32(x[i + 2], x[i + 3]);
        y[i] = _mm512_unpacklo_epi64(a, c);
        y[i + 1] = _mm512_unpackhi_epi64(a, c);
        y[i + 2] = _mm512_unpacklo_epi64(b, d);
        y[i + 3] = _mm512_unpackhi_epi64(b, d);
    }
    UNROLL
    for (size_t i = 0; i < 4; i++) { /* 4 x 4 lanes */
        __m512i a = _mm512_shuffle_i32x4(y[i], y[4 + i], 0x88), b = _mm512_shuffle_i32x4(y[i], y[4 + i], 0xdd);
        __m512i c = _mm512_shuffle_i32x4(y[8 + i], y[12 + i], 0x88), d = _mm512_shuffle_i32x4(y[8 + i], y[12 + i], 0xdd);
        x[i] = _mm512_shuffle_i32x4(a, c, 0x88);
        x[4 + i] = _mm512_shuffle_i32x4(b, d, 0x88);
        x[8 + i] = _mm512_shuffle_i32x4(a, c, 0xdd);
        x[12 + i] = _mm512_shuffle_i32x4(b, d, 0xdd);
    }
}

/* The activations of a group with those that meet bit 0 of the 16 bytes first, then bit 1 ..: out[0] bits 0..3. */
static inline void order_by_bits(__m512i out[2], const int8_t *q)
{
    /* Two bytes' activations lie in a lane of 128 bits: pairs first, then the pairs of all lanes. */
    const __m512i pairs = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
    _Alignas(64) static const uint16_t places[2][32] = {
#define OF_BIT(b) b, 8 + b, 16 + b, 24 + b, 32 + b, 40 + b, 48 + b, 56 + b
        {OF_BIT(0), OF_BIT(1), OF_BIT(2), OF_BIT(3)},
        {OF_BIT(4), OF_BIT(5), OF_BIT(6), OF_BIT(7)},
#undef OF_BIT
    };
    __m512i a = _mm512_shuffle_epi8(_mm512_loadu_si512(q), pairs), b = _mm512_shuffle_epi8(_mm512_loadu_si512(q + 64), pairs);
    for (size_t half = 0; half < 2; half++)
        out[half] = _mm512_permutex2var_epi16(a, _mm512_load_si512(places[half]), b);
}

/* The first `columns` of 16 words. */
TEMPLATE void store_line(uint8_t *to, __m512i line, size_t columns)
{
    if (columns == 4)
        _mm_store_si128((__m128i *)to, _mm512_castsi512_si128(line));
    else if (columns == 8)
        _mm256_store_si256((__m256i *)to, _mm512_castsi512_si256(line));
    else
        _mm512_store_si512(to, line);
}

TEMPLATE void pack_planes(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1,
                          size_t columns, size_t planes)
{
    size_t all = ROUND_UP(tokens, columns);
    float *scales = (float *)((uint8_t *)packed + groups * all * planes * GROUP);
    for (size_t g = group0; g < group1; g++) {
        for (size_t t = 0; t < all; t++)
            scales[g * all + t] = t < tokens ? scale[t * groups + g] : 0;
        for (size_t t = 0; t < all; t += columns) {
            uint8_t *out = (uint8_t *)packed + (g * all + t) * planes * GROUP;
            for (size_t plane = 0; plane < planes; plane++) {
                __m512i x[2][SIDE];
                for (size_t i = 0; i < SIDE; i++) {
                    __m512i both[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
                    if (i < columns && t + i < tokens)
                        order_by_bits(both, q + (((t + i) * planes + plane) * groups + g) * GROUP);
                    x[0][i] = both[0];
                    x[1][i] = both[1];
                }
                for (size_t half = 0; half < 2; half++) {
                    transpose(x[half]);
                    for (size_t k = 0; k < SIDE; k++)
                        store_line(out + ((plane * 2 + half) * SIDE + k) * columns * 4, x[half][k], columns);
                }
            }
        }
    }
}

static size_t bytes_of_planes(size_t groups, size_t tokens, size_t columns, size_t planes)
{
    return groups * ROUND_UP(tokens, columns) * (planes * GROUP + sizeof(float));
}

/* Rows to be fetched into L2 in ascending order, as many bytes with each group of 16 rows as it has. A
 * number, not a pointer, since nothing may be there: what is fetched is only a hint. */
struct ahead {
    uintptr_t at;
    size_t step;
};

/* What follows the rows that end at `after`: more of them, or what is multiplied next. */
static struct ahead rows_ahead(const uint8_t *w, size_t stride, size_t after, size_t row1, struct q1_next next)
{
    if (after < row1 || next.bytes > 0)
        return (struct ahead){(uintptr_t)(after < row1 ? w + after * stride : next.data), SIDE * Q1_BYTES};
    return (struct ahead){(uintptr_t)(w + (row1 - 1) * stride), 0};
}

/* 16 rows of weights; those beyond n repeat the last. */
struct rows {
    const uint8_t *at;
    size_t stride, n;
};

/* Row i of a group as a line of two tiles of +1 and -1. Weights may come from memory, and 16 to 64
 * rows in turn are too many streams for the CPU to guess: the 4.5 lines that as many rows have
 * later are fetched meanwhile. */
TEMPLATE void expand_row(uint8_t *first, uint8_t *second, const uint8_t *row, size_t i, struct ahead ahead)
{
    /* Byte 7 - j of a matrix says which bits make bit j of the result. Bits 1..7 copy the tested
     * one, bit 0 none; 0xff inverts all. So a set bit becomes 0x01, a clear one 0xff. */
#define TEST(b) (INT64_C(0x0001010101010101) << (b))
    const __m512i lower = _mm512_setr_epi64(TEST(0), TEST(0), TEST(1), TEST(1), TEST(2), TEST(2), TEST(3), TEST(3));
    const __m512i upper = _mm512_setr_epi64(TEST(4), TEST(4), TEST(5), TEST(5), TEST(6), TEST(6), TEST(7), TEST(7));
#undef TEST
    __m512i bits = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(row + 2)));
    _mm512_store_si512(first + 64 * i, _mm512_gf2p8affine_epi64_epi8(bits, lower, 0xff));
    _mm512_store_si512(second + 64 * i, _mm512_gf2p8affine_epi64_epi8(bits, upper, 0xff));
    if (i % 3 == 0 && i > 0)
        _mm_prefetch((const char *)(ahead.at + (i / 3 - 1) * 64), _MM_HINT_T1);
}

/* Where rows are missing. Apart, so that the usual case need not ask for each whether it is there: that
 * cost a third of the instructions. */
__attribute__((noinline)) static void expand_last(uint8_t *first, uint8_t *second, const struct rows *rows, size_t i0, size_t i1,
                                                  struct ahead ahead)
{
    NO_UNROLL
    for (size_t i = i0; i < i1; i++)
        expand_row(first, second, rows->at + MIN(i, rows->n - 1) * rows->stride, i, ahead);
}

/* Rows [i0, i1) of a group; constants. */
TEMPLATE void expand(uint8_t *first, uint8_t *second, const struct rows *rows, size_t i0, size_t i1, struct ahead ahead)
{
    if (rows->n < SIDE) {
        expand_last(first, second, rows, i0, i1, ahead);
        return;
    }
    const uint8_t *row = rows->at + i0 * rows->stride;
    UNROLL
    for (size_t i = i0; i < i1; i++, row += rows->stride)
        expand_row(first, second, row, i, ahead);
}

/* The scales of the n <= QUAD groups from rows->at on: one vector holds those of a row. */
__attribute__((noinline)) static void collect_scales(uint16_t out[SIDE][QUAD], const struct rows *rows, size_t n)
{
    const __m512i places = _mm512_castsi128_si512(_mm_setr_epi16(0, 9, 18, 27, 0, 0, 0, 0)); /* a group is 9 words */
    const __mmask64 bytes = n < QUAD ? (UINT64_C(1) << n * Q1_BYTES) - 1 : ~UINT64_C(0);
    const uint8_t *row = rows->at;
    UNROLL
    for (size_t i = 0; i < SIDE; i++) {
        __m512i words = _mm512_permutexvar_epi16(places, _mm512_maskz_loadu_epi8(bytes, row));
        _mm_storel_epi64((__m128i *)out[i], _mm512_castsi512_si128(words));
        row += i + 1 < rows->n ? rows->stride : 0;
    }
}

/* To floats, those of a group side by side. */
static inline void convert_scales(float d[QUAD][SIDE], const uint16_t half[SIDE][QUAD])
{
    _Alignas(64) static const uint16_t places[2][32] = {
#define OF_GROUP(g) g, 4 + g, 8 + g, 12 + g, 16 + g, 20 + g, 24 + g, 28 + g, 32 + g, 36 + g, 40 + g, 44 + g, 48 + g, 52 + g, 56 + g, 60 + g
        {OF_GROUP(0), OF_GROUP(1)},
        {OF_GROUP(2), OF_GROUP(3)},
#undef OF_GROUP
    };
    __m512i a = _mm512_load_si512(half[0]), b = _mm512_load_si512(half[SIDE / 2]);
    for (size_t i = 0; i < 2; i++) {
        __m512i two = _mm512_permutex2var_epi16(a, _mm512_load_si512(places[i]), b);
        _mm512_store_ps(d[2 * i], _mm512_cvtph_ps(_mm512_castsi512_si256(two)));
        _mm512_store_ps(d[2 * i + 1], _mm512_cvtph_ps(_mm512_extracti64x4_epi64(two, 1)));
    }
}

/* The scales of a group's tokens, as often as they fit. */
TEMPLATE __m512 token_scales(const float *s, size_t columns)
{
    return columns == 4   ? _mm512_broadcast_f32x4(_mm_loadu_ps(s))
           : columns == 8 ? _mm512_broadcast_f32x8(_mm256_loadu_ps(s))
                          : _mm512_loadu_ps(s);
}

/* acc = fma(d * s, sums, acc) of 16 rows times `columns` tokens, one row after the other, planes joined.
 * low: the sums of the second plane. */
TEMPLATE void add_sums(__m512 *acc, const int32_t *sums, const int32_t *low, const float d[SIDE], __m512 s, size_t columns, size_t planes)
{
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i row = columns == 4 ? _mm512_srli_epi32(lane, 2) : _mm512_srli_epi32(lane, 3);
    UNROLL
    for (size_t i = 0; i < columns; i++) {
        __m512i sum = _mm512_load_si512(sums + i * SIDE);
        if (planes == WIDE_PLANES)
            sum = _mm512_add_epi32(_mm512_slli_epi32(sum, 7), _mm512_load_si512(low + i * SIDE));
        __m512 rows = columns == SIDE
                          ? _mm512_set1_ps(d[i])
                          : _mm512_permutexvar_ps(_mm512_add_epi32(row, _mm512_set1_epi32((int)(i * SIDE / columns))), _mm512_load_ps(d));
        acc[i] = _mm512_fmadd_ps(_mm512_mul_ps(rows, s), _mm512_cvtepi32_ps(sum), acc[i]);
    }
}

/* acc to y, which is that of the first of n rows. 16 columns leave by a transpose: gathered, they took
 * as many loads as a tenth of all the rest. */
TEMPLATE void write_rows(float *y, size_t y_stride, const __m512 *acc, size_t n, size_t tokens, size_t columns)
{
    const __mmask16 rows = (__mmask16)((1u << n) - 1);
    if (columns == SIDE) {
        __m512i x[SIDE];
        UNROLL
        for (size_t i = 0; i < SIDE; i++)
            x[i] = _mm512_castps_si512(acc[i]);
        transpose(x);
        UNROLL
        for (size_t t = 0; t < SIDE; t++)
            if (t < tokens)
                _mm512_mask_storeu_epi32(y + t * y_stride, rows, x[t]);
    } else {
        _Alignas(64) float out[SIDE * SIDE];
        const __m512i column =
            _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32((int)columns));
        UNROLL
        for (size_t i = 0; i < columns; i++)
            _mm512_store_ps(out + i * SIDE, acc[i]);
        for (size_t t = 0; t < tokens; t++)
            _mm512_mask_storeu_ps(y + t * y_stride, rows, _mm512_i32gather_ps(column, out + t, sizeof(float)));
    }
}

/* Palette 1: tiles 0..3 are sums, 4 and 6 weights, 5 and 7 activations; `many` needs no such difference. */
struct tiles {
    uint8_t palette, start_row, reserved[14];
    uint16_t line_bytes[16];
    uint8_t lines[16];
};
#define TILES(columns)                                                                                                                  \
    {                                                                                                                                   \
        .palette = 1, .line_bytes = {4 * (columns), 4 * (columns), 4 * (columns), 4 * (columns), 64, 4 * (columns), 64, 4 * (columns)}, \
        .lines = {                                                                                                                      \
            16,                                                                                                                         \
            16,                                                                                                                         \
            16,                                                                                                                         \
            16,                                                                                                                         \
            16,                                                                                                                         \
            16,                                                                                                                         \
            16,                                                                                                                         \
            16                                                                                                                          \
        }                                                                                                                               \
    }
static const struct tiles tiles_of_4 = TILES(4), tiles_of_8 = TILES(8), tiles_of_16 = TILES(16);

#endif
