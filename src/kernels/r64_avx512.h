/* r64_avx512.h: many_tables_avx512.h for 64 rows side by side (r64.h). Layer: compute.
 *
 * Bytes 2 j and 2 j + 1 of 64 rows, interleaved, are word j of all of them: two shuffles where rows
 * one behind the other need 48 and 64 short loads. All else is the same, the packed form too. From L2,
 * one core, 4,096 columns: 338 against 214 Gproducts/s at 2 tokens, 285 against 266 at 4, 312 against
 * 263 at 8, 320 against 290 at 16. */
#ifndef SIGNUM_R64_AVX512_H
#define SIGNUM_R64_AVX512_H

#include <string.h>

#include "many_tables_avx512.h"

enum {
    R64_SETS = R64_ROWS / SET
};

/* Word j of a block's rows. Its lanes are those of rows 0..7, 16..23, 32..39, 48..55, and of the others. */
static inline void r64_words(__m512i x[R64_SETS], const uint8_t *block, size_t j)
{
    const uint8_t *bytes = block + R64_SCALE_BYTES + 2 * j * R64_ROWS;
    __m512i even = _mm512_loadu_si512(bytes), odd = _mm512_loadu_si512(bytes + R64_ROWS);
    x[0] = _mm512_unpacklo_epi8(even, odd);
    x[1] = _mm512_unpackhi_epi8(even, odd);
}

/* The scales of a block's rows in the order of the lanes of words. */
static inline void r64_scales(float d[R64_SETS][SET], const uint8_t *block)
{
#define AT(r) (r) % 4 * 16 + (r) / 4
#define EIGHT(r) AT(r), AT((r) + 1), AT((r) + 2), AT((r) + 3), AT((r) + 4), AT((r) + 5), AT((r) + 6), AT((r) + 7)
    static const _Alignas(64)
        uint16_t places[R64_SETS][SET] = {{EIGHT(0), EIGHT(16), EIGHT(32), EIGHT(48)}, {EIGHT(8), EIGHT(24), EIGHT(40), EIGHT(56)}};
#undef EIGHT
#undef AT
    __m512i first = _mm512_loadu_si512(block), second = _mm512_loadu_si512(block + 64);
    UNROLL
    for (size_t i = 0; i < R64_SETS; i++) {
        __m512i half = _mm512_permutex2var_epi16(first, _mm512_load_si512(places[i]), second);
        _mm512_store_ps(d[i], _mm512_cvtph_ps(_mm512_castsi512_si256(half)));
        _mm512_store_ps(d[i] + 16, _mm512_cvtph_ps(_mm512_extracti64x4_epi64(half, 1)));
    }
}

/* n results of two sets, in the order of rows. */
static inline void r64_store(float *y, float acc[R64_SETS][SET], size_t n)
{
    float rows[R64_ROWS];
    for (size_t i = 0; i < R64_ROWS / 8; i++)
        memcpy(rows + 8 * i, acc[i % 2] + i / 2 * 8, 8 * sizeof *rows);
    memcpy(y, rows, n * sizeof *y);
}

static void r64_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed, size_t tokens,
                    struct q1_next next)
{
    struct many s;
    const size_t stride = groups * R64_BLOCK_BYTES; /* of 64 rows */
    const uint8_t *end = w + DIV_UP(row1, (size_t)R64_ROWS) * stride;
    for (size_t row = row0; row < row1; row += s.sets * SET) {
        size_t blocks = MIN(DIV_UP(row1 - row, (size_t)R64_ROWS), (size_t)MANY_SETS / R64_SETS);
        s.sets = blocks * R64_SETS;
        s.w = w + row / R64_ROWS * stride;
        const uint8_t *after = s.w + blocks * stride;
        fetch_while(&s, after < end ? (struct q1_next){after, (size_t)(end - after)} : next, blocks * stride);
        memset(s.acc, 0, sizeof s.acc[0] * tokens);
        for (size_t g = 0; g < groups; g++) {
            for (size_t b = 0; b < blocks; b++) {
                const uint8_t *block = s.w + b * stride + g * R64_BLOCK_BYTES;
                for (size_t j = 0; j < 8; j++) {
                    __m512i x[R64_SETS];
                    r64_words(x, block, j);
                    s.x[b * R64_SETS][1 + j] = x[0];
                    s.x[b * R64_SETS + 1][1 + j] = x[1];
                }
                r64_scales(s.d + b * R64_SETS, block);
            }
            multiply_group(&s, 0, g, groups, packed, tokens, 1);
        }
        for (size_t t = 0; t < tokens; t++)
            for (size_t b = 0; b < blocks; b++) {
                size_t first = row + b * R64_ROWS;
                r64_store(y + t * y_stride + first, s.acc[t] + b * R64_SETS, MIN(row1 - first, (size_t)R64_ROWS));
            }
    }
}

static const struct q1_family r64_tables = {"tables", MANY_SETS / 2 * SET, MANY_LINES, many_tables_bytes, many_tables_pack, r64_run};

#endif
