/* r64_avx2.h: AVX2's nibble tables for 64 rows side by side, which lie so in memory (r64.h) or are
 * brought so. Included by avx2.c; the includer defines first what this needs: the packed forms and
 * tables_few_rows, wide_tables_few_rows, table, load_f16, interleave, load_rows. Layer: compute.
 *
 * Rows one behind the other become blocks of r64.h, eight groups at a time: their 144 bytes of a
 * row are nine pieces of 16 bytes, all transposed alike, so that scales come along and need no
 * short moves of their own. For more than a few tokens a block is split into nibbles once. Zen 3,
 * 4,096 columns, Gproducts/s; from L2 on one core, from memory on two. Before, 32 rows were transposed
 * for every token up to 3, their scales moved one by one, and blocks were not split:
 *
 *     tokens                             1     2     4     8    16    32
 *     rows, L2, before                  69    87   107   130
 *     rows, L2                          92   120   141   164   169   185
 *     blocks, L2                       163   170   171   190   190   195
 *     rows, memory, before              82   116   116   162
 *     rows, memory                      96   165   199   238   211   235
 *
 * From memory, strips without the lines that are fetched into L1 (below): 89 instead of 96, and 75 where
 * the lines for L2 are fetched while rows are loaded. Four blocks at a time, to read tables once for
 * all of them, were slower: 190 at 8 tokens, 215 at 32. */
#ifndef SIGNUM_R64_AVX2_H
#define SIGNUM_R64_AVX2_H

#include "kernels.h"

#include <immintrin.h>
#include <string.h>

enum {
    STRIP = 8,   /* groups that are brought side by side together */
    PIECE = 16,  /* bytes of a row */
    HALVES = 2,  /* of 64 rows, a register each */
    QUARTERS = 4 /* of a half, as sums come out: lane j of quarter i is row 4 j + i */
};

/* --------------------------------------------------------------- ahead
 *
 * Zen 4, two threads, rows that lie side by side, as shares of a plain read of the same memory in
 * the same rounds (4,096 columns; the best session of each):
 *
 *     to L1 only, bytes ahead     none 61 %; 1152: 75; 2304: 78; 4608: 76
 *     to L1 1152, to L2 ahead     4608: 85 %; 8064: 93; 16128 as 8064
 *     to L1 2304, to L2 6912      92 %;  to L1 576, to L2 3456: 83
 */
enum {
    R64_NEAR = 1152, /* bytes from what is read to what is fetched into L1 */
    R64_FAR = 8064,  /* and into L2 */
    ROWS_NEAR = 96,  /* lines, of 64 rows one behind the other */
};

/* What is fetched while blocks are multiplied, a line of each at a time: into L1 `near` and what comes
 * every `step` bytes, until `end`, where it goes `back` to where the next line of the first row
 * is; into L2 `far` and the lines that follow it. */
struct fetch {
    uintptr_t near, end, far; /* numbers, since they may lie outside of any array */
    size_t step, back;
};

TEMPLATE void fetch_lines(struct fetch *f, size_t n)
{
    uintptr_t near = f->near, far = f->far;
    UNROLL
    for (size_t i = 0; i < n; i++, near += f->step) {
        _mm_prefetch((const char *)near, _MM_HINT_T0);
        _mm_prefetch((const char *)(far + 64 * i), _MM_HINT_T1);
    }
    if (near >= f->end) {
        near -= f->back;
        f->end += 64;
    }
    f->near = near;
    f->far = far + 64 * n;
}

/* 64 rows side by side are read in ascending order. What comes `distance` bytes after `at`: in the
 * range that ends at `end`, or in what is multiplied next. A block from there is readable. */
static inline uintptr_t r64_after(const uint8_t *at, const uint8_t *end, size_t distance, struct q1_next next)
{
    size_t left = (size_t)(end - at);
    if (left >= distance + R64_BLOCK_BYTES)
        return (uintptr_t)at + distance;
    size_t beyond = left > distance ? 0 : distance - left;
    return beyond + R64_BLOCK_BYTES <= next.bytes ? (uintptr_t)next.data + beyond : (uintptr_t)at;
}

static inline struct fetch r64_fetch(const uint8_t *at, const uint8_t *end, struct q1_next next)
{
    return (struct fetch){r64_after(at, end, R64_NEAR, next), UINTPTR_MAX, r64_after(at, end, R64_FAR, next), 64, 0};
}

/* 64 rows one behind the other: to L1 their lines as they will be read, to L2 what comes after. */
static inline struct fetch rows_fetch(const uint8_t *rows, size_t stride, const uint8_t *after)
{
    enum {
        ROW = ROWS_NEAR % R64_ROWS,
        LINE = ROWS_NEAR / R64_ROWS * 64
    };
    uintptr_t first = (uintptr_t)rows + LINE;
    return (struct fetch){first + ROW * stride, first + R64_ROWS * stride, (uintptr_t)after, stride, R64_ROWS * stride - 64};
}

/* What is multiplied after rows [row, row + 64): the last ones of the range may repeat some of them. */
static inline const uint8_t *rows_after(const uint8_t *w, size_t row, size_t row1, size_t stride, struct q1_next next)
{
    if (row + R64_ROWS < row1)
        return w + MIN(row + R64_ROWS, row1 - R64_ROWS) * stride;
    return next.bytes >= R64_ROWS * stride ? next.data : w + MIN(row, row1 - R64_ROWS) * stride;
}

/* -------------------------------------------------------- side by side */

/* 16 bytes of 32 rows, byte k of row r to out[64 k + r]. Not inlined: else gcc keeps more of it in memory. */
__attribute__((noinline)) static void bring_piece(uint8_t *out, const uint8_t *w, size_t stride)
{
    __m256i half[16];
    const size_t at[8] = {0, 4 * stride, 8 * stride, 12 * stride, 16 * stride, 20 * stride, 24 * stride, 28 * stride};
    UNROLL
    for (size_t i = 0; i < 4; i++, w += stride)
        interleave(half + 4 * i, load_rows(w, w + at[4]), load_rows(w + at[1], w + at[5]), load_rows(w + at[2], w + at[6]),
                   load_rows(w + at[3], w + at[7]));
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        __m256i x[4];
        interleave(x, half[i], half[i + 4], half[i + 8], half[i + 12]);
        UNROLL
        for (size_t k = 0; k < 4; k++)
            _mm256_store_si256((__m256i *)(out + (4 * i + k) * R64_ROWS), x[k]);
    }
}

/* The first bytes of 64 scales, then the second ones, to scales in the order of r64.h. */
static inline void order_scales(uint8_t *block)
{
#define QUARTER 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15
    const __m256i order = _mm256_setr_epi8(QUARTER, QUARTER);
#undef QUARTER
    __m256i first[HALVES], second[HALVES];
    for (size_t half = 0; half < HALVES; half++) {
        __m256i low = _mm256_load_si256((const __m256i *)(block + 32 * half));
        __m256i high = _mm256_load_si256((const __m256i *)(block + R64_ROWS + 32 * half));
        low = _mm256_shuffle_epi8(low, order);
        high = _mm256_shuffle_epi8(high, order);
        first[half] = _mm256_permute4x64_epi64(_mm256_unpacklo_epi8(low, high), 0xd8);
        second[half] = _mm256_permute4x64_epi64(_mm256_unpackhi_epi8(low, high), 0xd8);
    }
    _mm256_store_si256((__m256i *)block, _mm256_permute2x128_si256(first[0], first[1], 0x20));
    _mm256_store_si256((__m256i *)(block + 32), _mm256_permute2x128_si256(first[0], first[1], 0x31));
    _mm256_store_si256((__m256i *)(block + 64), _mm256_permute2x128_si256(second[0], second[1], 0x20));
    _mm256_store_si256((__m256i *)(block + 96), _mm256_permute2x128_si256(second[0], second[1], 0x31));
}

/* Group g of 64 rows as a block, which this returns. The blocks of a strip follow each other, and
 * the pieces that one begins with came with the one before; groups must ascend. */
static inline const uint8_t *bring_group(uint8_t blocks[STRIP * R64_BLOCK_BYTES], const uint8_t *rows, size_t stride, size_t g,
                                         size_t groups)
{
    size_t i = g % STRIP;
    rows += (g - i) * Q1_BYTES;
    if (g - i + STRIP <= groups) {
        uint8_t *block = blocks + i * R64_BLOCK_BYTES;
        for (size_t at = ROUND_UP(i * Q1_BYTES, (size_t)PIECE); at < (i + 1) * Q1_BYTES; at += PIECE) {
            bring_piece(blocks + at * R64_ROWS, rows + at, stride);
            bring_piece(blocks + at * R64_ROWS + 32, rows + at + 32 * stride, stride);
        }
        order_scales(block);
        return block;
    }
    /* The row ends before a strip does. */
    rows += i * Q1_BYTES;
    bring_piece(blocks + R64_SCALE_BYTES, rows + 2, stride);
    bring_piece(blocks + R64_SCALE_BYTES + 32, rows + 2 + 32 * stride, stride);
    for (size_t r = 0; r < R64_ROWS; r++)
        memcpy(blocks + 2 * (r % 4 * 16 + r / 4), rows + r * stride, 2);
    return blocks;
}

/* ------------------------------------------------------------- one block */

/* A block whose bytes are split into nibbles, and its scales as floats. */
struct nibbles {
    _Alignas(64) uint8_t of[PIECE][2][R64_ROWS]; /* lower, upper */
    _Alignas(32) float d[HALVES][QUARTERS][8];
};

static inline __m256i lower_nibbles(__m256i x) { return _mm256_and_si256(x, _mm256_set1_epi8(15)); }
static inline __m256i upper_nibbles(__m256i x) { return lower_nibbles(_mm256_srli_epi16(x, 4)); }

static inline __m256 block_scales(const uint8_t *block, size_t half, size_t i)
{
    return load_f16((const uint16_t *)(const void *)(block + 32 * i + 16 * half));
}

static void split_block(struct nibbles *out, const uint8_t *block)
{
    for (size_t k = 0; k < PIECE; k++) {
        UNROLL
        for (size_t half = 0; half < HALVES; half++) {
            __m256i x = _mm256_loadu_si256((const __m256i *)(block + R64_SCALE_BYTES + R64_ROWS * k + 32 * half));
            _mm256_store_si256((__m256i *)(out->of[k][0] + 32 * half), lower_nibbles(x));
            _mm256_store_si256((__m256i *)(out->of[k][1] + 32 * half), upper_nibbles(x));
        }
    }
    for (size_t half = 0; half < HALVES; half++)
        for (size_t i = 0; i < QUARTERS; i++)
            _mm256_store_ps(out->d[half][i], block_scales(block, half, i));
}

/* The nibbles of byte k: of a block, or split. */
TEMPLATE void nibbles_of(__m256i n[2], const uint8_t *block, const struct nibbles *split, size_t k, size_t half)
{
    if (split) {
        n[0] = _mm256_load_si256((const __m256i *)(split->of[k][0] + 32 * half));
        n[1] = _mm256_load_si256((const __m256i *)(split->of[k][1] + 32 * half));
        __asm__("" : "+x"(n[0]), "+x"(n[1])); /* one load for two lookups: Zen 3 has no more to spare, 6 % */
    } else {
        __m256i x = _mm256_loadu_si256((const __m256i *)(block + R64_SCALE_BYTES + R64_ROWS * k + 32 * half));
        n[0] = lower_nibbles(x);
        n[1] = upper_nibbles(x);
    }
}

/* Sums of bytes in 16-bit lanes: of a row and 256 times the next one, and of the next one alone. */
struct pair_sums {
    __m256i both, next;
};

static inline void add_bytes(struct pair_sums *sum, __m256i bytes)
{
    sum->both = _mm256_add_epi16(sum->both, bytes);
    sum->next = _mm256_add_epi16(sum->next, _mm256_srli_epi16(bytes, 8));
}

/* Added at once: gcc would rather look up everything first, and keep it all in memory meanwhile, which costs
 * a fourth of the speed. */
static inline __m256i both_lookups(__m256i sum, __m256i t0, __m256i t1, const __m256i n[2])
{
    sum = _mm256_add_epi8(sum, _mm256_add_epi8(_mm256_shuffle_epi8(t0, n[0]), _mm256_shuffle_epi8(t1, n[1])));
    __asm__("" : "+x"(sum));
    return sum;
}

/* The sums of a group under 64 rows' signs, as 32-bit numbers by half and quarter: tables of one plane. */
TEMPLATE void narrow_sums(__m256i out[HALVES][QUARTERS], const uint8_t *block, const struct nibbles *split, const uint8_t *tables,
                          struct fetch *fetch)
{
    struct pair_sums low[HALVES], high[HALVES];
    UNROLL
    for (size_t half = 0; half < HALVES; half++) {
        low[half].both = low[half].next = _mm256_set1_epi16(-TABLES_BIAS);
        high[half].both = high[half].next = _mm256_setzero_si256();
    }
    NO_UNROLL
    for (size_t k4 = 0; k4 < PIECE; k4 += 4) {
        __m256i l[HALVES] = {_mm256_setzero_si256(), _mm256_setzero_si256()}, h[HALVES] = {l[0], l[0]};
        UNROLL
        for (size_t k = 0; k < 4; k++) { /* 8 lookups of at most 31 fit a byte */
            const uint8_t *t = tables + 64 * (k4 + k);
            __m256i t0 = table(t), t1 = table(t + 16), t2 = table(t + 32), t3 = table(t + 48);
            UNROLL
            for (size_t half = 0; half < HALVES; half++) {
                __m256i n[2];
                nibbles_of(n, block, split, k4 + k, half);
                l[half] = both_lookups(l[half], t0, t1, n);
                h[half] = both_lookups(h[half], t2, t3, n);
            }
        }
        if (fetch)
            fetch_lines(fetch, 4);
        UNROLL
        for (size_t half = 0; half < HALVES; half++) {
            add_bytes(&low[half], l[half]);
            add_bytes(&high[half], h[half]);
        }
    }
    if (fetch)
        fetch_lines(fetch, 2);
    UNROLL
    for (size_t half = 0; half < HALVES; half++) {
        __m256i odd = _mm256_add_epi16(_mm256_slli_epi16(high[half].next, 5), low[half].next);
        __m256i even = _mm256_add_epi16(_mm256_slli_epi16(high[half].both, 5), low[half].both);
        even = _mm256_sub_epi16(even, _mm256_slli_epi16(odd, 8));
        out[half][0] = _mm256_srai_epi32(_mm256_slli_epi32(even, 16), 16);
        out[half][1] = _mm256_srai_epi32(_mm256_slli_epi32(odd, 16), 16);
        out[half][2] = _mm256_srai_epi32(even, 16);
        out[half][3] = _mm256_srai_epi32(odd, 16);
    }
}

/* The same of two planes, one half after the other: three tables leave no registers for both. */
TEMPLATE void wide_sums(__m256i out[HALVES][QUARTERS], const uint8_t *block, const struct nibbles *split, const uint8_t *tables,
                        struct fetch *fetch)
{
    const __m256i zero = _mm256_setzero_si256(), first = _mm256_set1_epi32(0xffff), bias = _mm256_set1_epi32(WIDE_BIAS);
    NO_UNROLL
    for (size_t half = 0; half < HALVES; half++) {
        struct pair_sums part[3] = {{zero, zero}, {zero, zero}, {zero, zero}};
        NO_UNROLL
        for (size_t k4 = 0; k4 < PIECE; k4 += 4) {
            __m256i high = zero;
            UNROLL
            for (size_t k2 = k4; k2 < k4 + 4; k2 += 2) {
                __m256i low = zero, middle = zero;
                UNROLL
                for (size_t k = k2; k < k2 + 2; k++) {
                    const uint8_t *t = tables + WIDE_BYTE * k;
                    __m256i n[2];
                    nibbles_of(n, block, split, k, half);
                    low = both_lookups(low, table(t), table(t + 16), n);
                    middle = both_lookups(middle, table(t + 32), table(t + 48), n);
                    high = both_lookups(high, table(t + 64), table(t + 80), n);
                }
                add_bytes(&part[0], low);
                add_bytes(&part[1], middle);
            }
            if (fetch)
                fetch_lines(fetch, 2);
            add_bytes(&part[2], high);
        }
        if (fetch)
            fetch_lines(fetch, 1);
        UNROLL
        for (size_t i = 0; i < 3; i++) /* even rows: what the next ones added to them is taken away again */
            part[i].both = _mm256_sub_epi16(part[i].both, _mm256_slli_epi16(part[i].next, 8));
        UNROLL
        for (size_t i = 0; i < QUARTERS; i++) {
            __m256i low = i % 2 ? part[0].next : part[0].both, middle = i % 2 ? part[1].next : part[1].both,
                    high = i % 2 ? part[2].next : part[2].both;
            __m256i upper = _mm256_add_epi16(_mm256_slli_epi16(high, 6), middle); /* at most 32 * 2047 */
            upper = i < 2 ? _mm256_and_si256(upper, first) : _mm256_srli_epi32(upper, 16);
            low = i < 2 ? _mm256_and_si256(low, first) : _mm256_srli_epi32(low, 16);
            out[half][i] = _mm256_sub_epi32(_mm256_add_epi32(_mm256_slli_epi32(upper, 6), low), bias);
        }
    }
}

/* acc[half][i][j] (row 32 half + 4 j + i) = fma(d * s, sum, acc). */
TEMPLATE void multiply_block(float acc[HALVES][QUARTERS][8], const uint8_t *block, const struct nibbles *split, const uint8_t *tables,
                             float s, size_t planes, struct fetch *fetch)
{
    __m256i sums[HALVES][QUARTERS];
    if (planes == 1)
        narrow_sums(sums, block, split, tables, fetch);
    else
        wide_sums(sums, block, split, tables, fetch);
    UNROLL
    for (size_t half = 0; half < HALVES; half++) {
        UNROLL
        for (size_t i = 0; i < QUARTERS; i++) {
            __m256 d = split ? _mm256_load_ps(split->d[half][i]) : block_scales(block, half, i);
            __m256 ds = _mm256_mul_ps(d, _mm256_set1_ps(s));
            _mm256_store_ps(acc[half][i], _mm256_fmadd_ps(ds, _mm256_cvtepi32_ps(sums[half][i]), _mm256_load_ps(acc[half][i])));
        }
    }
}

/* Row 4 j + i from acc[i][j]. */
static inline void store_half(float *y, float acc[QUARTERS][8])
{
    __m256 a = _mm256_load_ps(acc[0]), b = _mm256_load_ps(acc[1]), c = _mm256_load_ps(acc[2]), d = _mm256_load_ps(acc[3]);
    __m256d ab = _mm256_castps_pd(_mm256_unpacklo_ps(a, b)), cd = _mm256_castps_pd(_mm256_unpacklo_ps(c, d));
    __m256d ab_high = _mm256_castps_pd(_mm256_unpackhi_ps(a, b)), cd_high = _mm256_castps_pd(_mm256_unpackhi_ps(c, d));
    __m256d j0 = _mm256_unpacklo_pd(ab, cd), j1 = _mm256_unpackhi_pd(ab, cd);
    __m256d j2 = _mm256_unpacklo_pd(ab_high, cd_high), j3 = _mm256_unpackhi_pd(ab_high, cd_high);
    _mm256_storeu_ps(y, _mm256_castpd_ps(_mm256_permute2f128_pd(j0, j1, 0x20)));
    _mm256_storeu_ps(y + 8, _mm256_castpd_ps(_mm256_permute2f128_pd(j2, j3, 0x20)));
    _mm256_storeu_ps(y + 16, _mm256_castpd_ps(_mm256_permute2f128_pd(j0, j1, 0x31)));
    _mm256_storeu_ps(y + 24, _mm256_castpd_ps(_mm256_permute2f128_pd(j2, j3, 0x31)));
}

/* n results of a block. */
static inline void store_block(float *y, float acc[HALVES][QUARTERS][8], size_t n)
{
    float rows[R64_ROWS];
    store_half(rows, acc[0]);
    store_half(rows + 32, acc[1]);
    memcpy(y, rows, n * sizeof *y);
}

/* -------------------------------------------------------------- matrices */

enum {
    FEW_TOKENS = 4,   /* for whom a block is not split first */
    MANY_TOKENS = 32, /* whose tables stay in L2 */
};

/* Rows [row0, row1), of which at least 64 are wanted, or, side_by_side, blocks. */
TEMPLATE void multiply_rows(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                            size_t tokens, size_t planes, bool side_by_side, bool few, struct q1_next next)
{
    const size_t table_bytes = planes == 1 ? TABLES_GROUP : WIDE_GROUP;
    const float *s = (const float *)((const uint8_t *)packed + groups * tokens * table_bytes);
    const size_t stride = groups * Q1_BYTES; /* of a row, in either layout */
    for (size_t row = row0; row < row1; row += R64_ROWS) {
        _Alignas(32) float acc[MANY_TOKENS][HALVES][QUARTERS][8];
        _Alignas(64) uint8_t brought[STRIP * R64_BLOCK_BYTES];
        struct nibbles split;
        size_t first = side_by_side ? row : MIN(row, row1 - R64_ROWS); /* the last rows may be some of those before, or padding */
        const uint8_t *rows = w + first * stride, *block = rows;
        struct fetch fetch;
        if (!side_by_side)
            fetch = rows_fetch(rows, stride, rows_after(w, row, row1, stride, next));
        memset(acc, 0, sizeof acc[0] * tokens);
        for (size_t g = 0; g < groups; g++) {
            if (side_by_side) {
                block = rows + g * R64_BLOCK_BYTES;
                fetch = r64_fetch(block, w + ROUND_UP(row1, (size_t)R64_ROWS) * stride, next);
            } else {
                block = bring_group(brought, rows, stride, g, groups);
            }
            if (!few)
                split_block(&split, block);
            for (size_t t = 0; t < tokens; t++)
                multiply_block(acc[t], block, few ? NULL : &split, (const uint8_t *)packed + (g * tokens + t) * table_bytes,
                               s[g * tokens + t], planes, t == 0 ? &fetch : NULL);
        }
        for (size_t t = 0; t < tokens; t++)
            store_block(y + t * y_stride + first, acc[t], MIN(row1 - first, (size_t)R64_ROWS));
    }
}

TEMPLATE void multiply(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                       size_t tokens, size_t planes, bool side_by_side, struct q1_next next)
{
    if (tokens <= FEW_TOKENS)
        multiply_rows(y, y_stride, w, row0, row1, groups, packed, tokens, planes, side_by_side, true, next);
    else
        multiply_rows(y, y_stride, w, row0, row1, groups, packed, tokens, planes, side_by_side, false, next);
}

static void tables_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                       size_t tokens, struct q1_next next)
{
    if (row1 - row0 < R64_ROWS)
        tables_few_rows(y, y_stride, w, row0, row1, groups, packed, tokens);
    else
        multiply(y, y_stride, w, row0, row1, groups, packed, tokens, 1, false, next);
}

static void wide_tables_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                            size_t tokens, struct q1_next next)
{
    if (row1 - row0 < R64_ROWS)
        wide_tables_few_rows(y, y_stride, w, row0, row1, groups, packed, tokens);
    else
        multiply(y, y_stride, w, row0, row1, groups, packed, tokens, WIDE_PLANES, false, next);
}

static void r64_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed, size_t tokens,
                    struct q1_next next)
{
    multiply(y, y_stride, w, row0, row1, groups, packed, tokens, 1, true, next);
}

static void wide_r64_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                         size_t tokens, struct q1_next next)
{
    multiply(y, y_stride, w, row0, row1, groups, packed, tokens, WIDE_PLANES, true, next);
}

static const struct q1_family tables = {"tables", R64_ROWS, MANY_TOKENS, tables_bytes, tables_pack, tables_run};
static const struct q1_family r64_tables = {"tables", R64_ROWS, MANY_TOKENS, tables_bytes, tables_pack, r64_run};
static const struct q1_family wide_tables = {"tables",          R64_ROWS,         MANY_TOKENS / WIDE_PLANES,
                                             wide_tables_bytes, wide_tables_pack, wide_tables_run};
static const struct q1_family wide_r64_tables = {"tables",          R64_ROWS,         MANY_TOKENS / WIDE_PLANES,
                                                 wide_tables_bytes, wide_tables_pack, wide_r64_run};

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
