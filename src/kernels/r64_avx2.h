/* r64_avx2.h: AVX2's nibble tables for 64 rows side by side (r64.h), and for many tokens. Included by
 * avx2.c; the includer defines first what its own tables share: packed form, interleave, gather_group, store_rows.
 * Layer: compute.
 *
 * The layout of r64.h needs no transpose. A block takes 39 ns when all is in L2 (29 GB/s a core). With
 * many tokens rows one behind the other are brought into that layout first, 256 rows of a group at a
 * time, so that the transpose is done once for all tokens and tables are read once for four blocks.
 * 4,096 columns from L2, one core, Gproducts/s:
 *
 *     tokens                                      1     2     4     8    16    64
 *     rows, transposed for every token           98   120   135   145
 *     rows, made blocks once                                147   169   186   195
 *     blocks                                    198               205         205
 *     maddubs                                    41         104         145   159
 */
#ifndef SIGNUM_R64_AVX2_H
#define SIGNUM_R64_AVX2_H

#include "kernels.h"

#include <immintrin.h>
#include <string.h>

/* Zen 4, two threads, as shares of a plain read of the same memory in the same rounds:
 *
 *     to L1 only, bytes ahead     none 61 %; 1152: 75; 2304: 78; 4608: 76
 *     to L1 1152, to L2 ahead     4608: 85 %; 8064: 93; 16128 as 8064
 *     to L1 2304, to L2 6912      92 %;  to L1 576, to L2 3456: 83
 *
 * (4096 columns; the best session of each.) */
enum {
    R64_NEAR = 1152, /* bytes from what is read to what is fetched into L1 */
    R64_FAR = 8064,  /* and into L2 */
    R64_FEW = 8,     /* tokens that blocks are multiplied with as they come from memory */
};

/* 64 rows side by side are read in ascending order. What comes `distance` bytes after `at`: in the
 * range that ends at `end`, or in what is multiplied next. A block from there is readable. */
static inline const char *r64_after(const uint8_t *at, const uint8_t *end, size_t distance, struct q1_next next)
{
    size_t left = (size_t)(end - at);
    if (left >= distance + R64_BLOCK_BYTES)
        return (const char *)at + distance;
    size_t beyond = left > distance ? 0 : distance - left;
    return (const char *)(beyond + R64_BLOCK_BYTES <= next.bytes ? next.data + beyond : at);
}

/* Blocks to be fetched into L1 and into L2 while one is multiplied, line by line. */
struct r64_ahead {
    const char *near, *far;
};

static inline void r64_fetch(struct r64_ahead ahead, size_t line)
{
    _mm_prefetch(ahead.near + line, _MM_HINT_T0);
    _mm_prefetch(ahead.far + line, _MM_HINT_T1);
}

/* One group: sums of low and high parts of 64 rows, [half] for rows 0..31 and 32..63. */
static inline void r64_group(__m256i even[2], __m256i odd[2], const uint8_t *block, const uint8_t *sums, const struct r64_ahead *ahead)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i low[2], low_next[2], high[2], high_next[2];
    UNROLL
    for (size_t half = 0; half < 2; half++) {
        low[half] = low_next[half] = _mm256_set1_epi16(-TABLES_BIAS);
        high[half] = high_next[half] = _mm256_setzero_si256();
    }
    const uint8_t *bytes = block + R64_SCALE_BYTES;
    NO_UNROLL
    for (size_t i = 0; i < 4; i++, sums += 256, bytes += 4 * R64_ROWS) {
        __m256i l[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()}, h[2] = {l[0], l[0]};
        UNROLL
        for (size_t k = 0; k < 4; k++) { /* 8 lookups of at most 31 fit a byte */
            const uint8_t *t = sums + 64 * k;
            __m256i t0 = table(t), t1 = table(t + 16), t2 = table(t + 32), t3 = table(t + 48);
            if (ahead)
                r64_fetch(*ahead, 256 * i + 64 * k);
            UNROLL
            for (size_t half = 0; half < 2; half++) {
                __m256i x = _mm256_loadu_si256((const __m256i *)(bytes + R64_ROWS * k + 32 * half));
                __m256i n0 = _mm256_and_si256(x, nibble), n1 = _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble);
                l[half] = _mm256_add_epi8(l[half], _mm256_add_epi8(_mm256_shuffle_epi8(t0, n0), _mm256_shuffle_epi8(t1, n1)));
                h[half] = _mm256_add_epi8(h[half], _mm256_add_epi8(_mm256_shuffle_epi8(t2, n0), _mm256_shuffle_epi8(t3, n1)));
            }
        }
        UNROLL
        for (size_t half = 0; half < 2; half++) {
            low[half] = _mm256_add_epi16(low[half], l[half]);
            low_next[half] = _mm256_add_epi16(low_next[half], _mm256_srli_epi16(l[half], 8));
            high[half] = _mm256_add_epi16(high[half], h[half]);
            high_next[half] = _mm256_add_epi16(high_next[half], _mm256_srli_epi16(h[half], 8));
        }
    }
    if (ahead) {
        r64_fetch(*ahead, 1024);
        r64_fetch(*ahead, 1088);
    }
    UNROLL
    for (size_t half = 0; half < 2; half++) {
        odd[half] = _mm256_add_epi16(_mm256_slli_epi16(high_next[half], 5), low_next[half]);
        even[half] = _mm256_sub_epi16(_mm256_add_epi16(_mm256_slli_epi16(high[half], 5), low[half]), _mm256_slli_epi16(odd[half], 8));
    }
}

/* acc[half][i][j] (row 32 half + 4 j + i) = fma(d * s, sum, acc). */
static inline void r64_add(float acc[2][4][8], const __m256i even[2], const __m256i odd[2], const uint8_t *block, float s)
{
    UNROLL
    for (size_t half = 0; half < 2; half++) {
        const __m256i sums[4] = {_mm256_srai_epi32(_mm256_slli_epi32(even[half], 16), 16),
                                 _mm256_srai_epi32(_mm256_slli_epi32(odd[half], 16), 16), _mm256_srai_epi32(even[half], 16),
                                 _mm256_srai_epi32(odd[half], 16)};
        UNROLL
        for (size_t i = 0; i < 4; i++) {
            __m256 d = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(block + 32 * i + 16 * half)));
            __m256 ds = _mm256_mul_ps(d, _mm256_set1_ps(s));
            _mm256_store_ps(acc[half][i], _mm256_fmadd_ps(ds, _mm256_cvtepi32_ps(sums[i]), _mm256_load_ps(acc[half][i])));
        }
    }
}

/* n results of a block. */
static inline void store_block(float *y, float acc[2][4][8], size_t n)
{
    _Alignas(32) float rows[R64_ROWS];
    store_rows(rows, acc[0]);
    store_rows(rows + 32, acc[1]);
    memcpy(y, rows, n * sizeof *y);
}

static void r64_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed, size_t tokens,
                    struct q1_next next)
{
    const float *s = tables_scales(packed, groups, tokens);
    const uint8_t *block = w + row0 / R64_ROWS * groups * R64_BLOCK_BYTES,
                  *end = w + DIV_UP(row1, (size_t)R64_ROWS) * groups * R64_BLOCK_BYTES;
    for (size_t r = row0; r < row1; r += R64_ROWS) {
        _Alignas(32) float acc[R64_FEW][2][4][8];
        memset(acc, 0, sizeof acc[0] * tokens);
        for (size_t g = 0; g < groups; g++, block += R64_BLOCK_BYTES) {
            const struct r64_ahead ahead = {r64_after(block, end, R64_NEAR, next), r64_after(block, end, R64_FAR, next)};
            for (size_t t = 0; t < tokens; t++) {
                __m256i even[2], odd[2];
                r64_group(even, odd, block, (const uint8_t *)packed + (g * tokens + t) * TABLES_GROUP, t == 0 ? &ahead : NULL);
                r64_add(acc[t], even, odd, block, s[g * tokens + t]);
            }
        }
        for (size_t t = 0; t < tokens; t++)
            store_block(y + t * y_stride + r, acc[t], MIN(row1 - r, (size_t)R64_ROWS));
    }
}

static const struct q1_family r64_tables = {"tables", R64_ROWS, R64_FEW, tables_bytes, tables_pack, r64_run};

/* ------------------------------------------------------------- many tokens */

enum {
    MANY_BLOCKS = 4,
    MANY_TOKENS = 32,
};

/* One group of 64 rows as a block. The lines at `ahead` are fetched to L2 meanwhile. */
static inline void make_block(uint8_t block[R64_BLOCK_BYTES], const uint8_t *w, size_t stride, const char *ahead)
{
    for (size_t half = 0; half < 2; half++) {
        __m256i x[16], bytes[4];
        _Alignas(16) uint16_t scales[4][8];
        gather_group(x, scales, w + 32 * half * stride, stride, ahead + 32 * half * Q1_BYTES);
        for (size_t i = 0; i < 4; i++) {
            memcpy(block + 32 * i + 16 * half, scales[i], sizeof scales[i]);
            interleave(bytes, x[i], x[i + 4], x[i + 8], x[i + 12]);
            for (size_t k = 0; k < 4; k++)
                _mm256_storeu_si256((__m256i *)(block + R64_SCALE_BYTES + (4 * i + k) * R64_ROWS + 32 * half), bytes[k]);
        }
    }
}

/* w: rows, of which at least 64 are wanted, or, side_by_side, blocks. */
TEMPLATE void multiply_many(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                            size_t tokens, bool side_by_side, struct q1_next next)
{
    const float *s = tables_scales(packed, groups, tokens);
    const size_t stride = groups * Q1_BYTES; /* of a row, in either layout */
    for (size_t row = row0, n_blocks; row < row1; row += n_blocks * R64_ROWS) {
        _Alignas(32) float acc[MANY_TOKENS][MANY_BLOCKS][2][4][8];
        _Alignas(32) uint8_t made[MANY_BLOCKS][R64_BLOCK_BYTES];
        n_blocks = MIN((row1 - row) / R64_ROWS, (size_t)MANY_BLOCKS);
        if (n_blocks == 0) { /* the last block repeats some rows, or has padding */
            row = side_by_side ? row : row1 - R64_ROWS;
            n_blocks = 1;
        }
        const size_t rows = n_blocks * R64_ROWS, bytes = rows * stride;
        const uint8_t *tile = w + row * stride, *ahead = row + 2 * rows <= row1 ? tile + bytes : next.bytes >= bytes ? next.data : tile;
        memset(acc, 0, sizeof acc[0] * tokens);
        for (size_t g = 0; g < groups; g++) {
            const uint8_t *block[MANY_BLOCKS];
            for (size_t b = 0; b < n_blocks; b++) {
                const uint8_t *first = tile + b * R64_ROWS * stride;
                block[b] = side_by_side ? first + g * R64_BLOCK_BYTES : made[b];
                if (!side_by_side)
                    make_block(made[b], first + g * Q1_BYTES, stride, (const char *)ahead + (g * n_blocks + b) * R64_BLOCK_BYTES);
            }
            for (size_t t = 0; t < tokens; t++) {
                const uint8_t *sums = (const uint8_t *)packed + (g * tokens + t) * TABLES_GROUP;
                for (size_t b = 0; b < n_blocks; b++) {
                    __m256i even[2], odd[2];
                    r64_group(even, odd, block[b], sums, NULL);
                    r64_add(acc[t][b], even, odd, block[b], s[g * tokens + t]);
                }
            }
        }
        for (size_t t = 0; t < tokens; t++) {
            for (size_t b = 0; b < n_blocks; b++) {
                size_t first = row + b * R64_ROWS;
                store_block(y + t * y_stride + first, acc[t][b], MIN(row1 - first, (size_t)R64_ROWS));
            }
        }
    }
}

static void many_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                     size_t tokens, struct q1_next next)
{
    if (row1 - row0 < R64_ROWS)
        tables_few_rows(y, y_stride, w, row0, row1, groups, packed, tokens);
    else
        multiply_many(y, y_stride, w, row0, row1, groups, packed, tokens, false, next);
}

static const struct q1_family many_tables = {"tables", 2 * R64_ROWS, MANY_TOKENS, tables_bytes, tables_pack, many_run};

static void r64_many_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                         size_t tokens, struct q1_next next)
{
    multiply_many(y, y_stride, w, row0, row1, groups, packed, tokens, true, next);
}

static const struct q1_family r64_many_tables = {"tables", 2 * R64_ROWS, MANY_TOKENS, tables_bytes, tables_pack, r64_many_run};

static const struct q1_family *pick_r64(size_t tokens) { return tokens <= R64_FEW ? &r64_tables : &r64_many_tables; }

/* A transpose of 16 x 16 bytes in every 16-byte lane: two times what interleave does. */
static void rows_of_r64(uint8_t *rows, const uint8_t *blocks, size_t groups)
{
    size_t stride = groups * Q1_BYTES;
    for (size_t g = 0; g < groups; g++, blocks += R64_BLOCK_BYTES, rows += Q1_BYTES) {
        for (size_t half = 0; half < 2; half++) {
            __m256i x[16], y[16], z[4];
            for (size_t k = 0; k < 16; k++)
                x[k] = _mm256_loadu_si256((const __m256i *)(blocks + R64_SCALE_BYTES + R64_ROWS * k + 32 * half));
            UNROLL
            for (size_t i = 0; i < 4; i++)
                interleave(y + 4 * i, x[i], x[i + 4], x[i + 8], x[i + 12]);
            UNROLL
            for (size_t i = 0; i < 4; i++) {
                interleave(z, y[i], y[i + 4], y[i + 8], y[i + 12]);
                UNROLL
                for (size_t k = 0; k < 4; k++) {
                    uint8_t *row = rows + (32 * half + 4 * i + k) * stride + 2;
                    _mm_storeu_si128((__m128i *)row, _mm256_castsi256_si128(z[k]));
                    _mm_storeu_si128((__m128i *)(row + 16 * stride), _mm256_extracti128_si256(z[k], 1));
                }
            }
        }
        for (size_t i = 0; i < 4; i++)
            for (size_t j = 0; j < 16; j++)
                memcpy(rows + (4 * j + i) * stride, blocks + 2 * (16 * i + j), 2);
    }
}

#endif
