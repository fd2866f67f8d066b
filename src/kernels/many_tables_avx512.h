/* many_tables_avx512.h: the "tables" family of avx512.c for more tokens than few_tables_avx512.h takes.
 * Layer: compute.
 *
 * A multiply-add of bytes does 64 products an instruction. A word permute looks up the sums of
 * five weights for 32 rows, 160 products, and one addition of words takes them in: where both
 * start once a cycle (Zen 4: 3.0 of these pairs a nanosecond, 3.6 dot products), tables have
 * twice the arithmetic of dpbusd. 256 rows of 4096 columns from L2, one core, int8 products:
 *
 *     tokens                2     4     8    16    64
 *     here                187   242   279   303   334 Gproducts/s
 *     dpbusd                -   117     -   179   203      (its peak: 232)
 *
 * A permute takes its index from the low five bits of each word. So of the 16 weights in a word
 * three lookups take five each, at shifts 0, 5 and 10, and the eight bits 15 of a group's words
 * are joined to two more indices: 26 lookups for 128 weights. The indices are made once for all
 * tokens and stay in 13 registers, half a group at a time; the tables are memory operands, so
 * that a lookup costs the one load that a cycle has, and TILE_LINES tokens' tables of a group stay in
 * L1 (20 KB) while the sets of rows come by.
 *
 * Packed: [group][token][plane] 26 tables of 32 sums: for words 0..3 those of weights 0..4, 5..9
 * and 10..14, then that of weights 15 of words 0..4; for words 4..7 the same, then that of weights
 * 15 of words 5..7. Then the scales, [group][token]. The tables add up 2 q under set bits; that
 * of bits 15 also -(sum of all q), which makes it the sum of +-q. */
#ifndef SIGNUM_MANY_TABLES_AVX512_H
#define SIGNUM_MANY_TABLES_AVX512_H

#include <string.h>

#include "words_avx512.h"

enum {
    HALF_TABLES = 13,
    TABLE_SUMS = 32,
    HALF_SUMS = HALF_TABLES * TABLE_SUMS,
    LINE_SUMS = 2 * HALF_SUMS, /* a group of one token and plane */
    MANY_LINES = 64,           /* tokens times planes */
    TILE_LINES = 12,
    MANY_SETS = 16,
    STREAM = 72, /* words of eight groups of a row, scales included */
};

static inline size_t many_end(size_t groups, size_t tokens, size_t planes)
{
    return groups * tokens * planes * LINE_SUMS * sizeof(int16_t);
}

TEMPLATE size_t many_bytes(size_t groups, size_t tokens, size_t planes)
{
    return many_end(groups, tokens, planes) + groups * tokens * sizeof(float);
}

/* ------------------------------------------------------------------- pack */

/* All tables of 128 activations. */
static inline void line_sums(int16_t out[LINE_SUMS], const int8_t *q)
{
    _Alignas(64) int32_t x[GROUP];
    const __m512i zero = _mm512_setzero_si512(), base = double_group(x, q);
    const int32_t last[2][5] = {{x[15], x[31], x[47], x[63], x[79]}, {x[95], x[111], x[127], 0, 0}};
    for (size_t half = 0; half < 2; half++, out += HALF_SUMS) {
        for (size_t i = 0; i < 4; i++) {
            const int32_t *word = x + (half * 4 + i) * 16;
            five_sums(out + 3 * i * TABLE_SUMS, word, zero);
            five_sums(out + (3 * i + 1) * TABLE_SUMS, word + 5, zero);
            five_sums(out + (3 * i + 2) * TABLE_SUMS, word + 10, zero);
        }
        five_sums(out + 12 * TABLE_SUMS, last[half], half == 0 ? base : zero);
    }
}

TEMPLATE void many_pack_planes(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0,
                               size_t group1, size_t planes)
{
    float *scales = (float *)((uint8_t *)packed + many_end(groups, tokens, planes));
    for (size_t g = group0; g < group1; g++) {
        for (size_t t = 0; t < tokens; t++) {
            int16_t *out = (int16_t *)packed + (g * tokens + t) * planes * LINE_SUMS;
            scales[g * tokens + t] = scale[t * groups + g];
            for (size_t plane = 0; plane < planes; plane++)
                line_sums(out + plane * LINE_SUMS, q + ((t * planes + plane) * groups + g) * GROUP);
        }
    }
}

/* -------------------------------------------------------------------- run */

/* A tile of up to MANY_SETS sets of 32 rows being multiplied with all tokens: 208 KB, on the stack. */
struct many {
    const uint8_t *w;
    size_t stride, sets;
    const char *ahead, *ahead_end; /* what to fetch to L2 meanwhile */
    __m512i x[MANY_SETS][STREAM];  /* the words of the rows, transposed */
    __m512i part[TILE_LINES];
    _Alignas(64) float d[MANY_SETS][SET];
    _Alignas(64) float acc[MANY_LINES][MANY_SETS][SET];
};

/* Words 8 * piece .. of the rows' eight groups that begin with group g. */
static inline void gather_piece(struct many *s, size_t g, size_t piece)
{
    for (size_t i = 0; i < s->sets; i++)
        gather_words(s->x[i] + 8 * piece, s->w + i * SET * s->stride + g * Q1_BYTES + 16 * piece, s->stride);
}

/* Makes the scales and words of group g ready. Eight groups are 72 words or nine pieces of
 * eight, so that scales are transposed like any other word. */
static inline void bring_group(struct many *s, size_t g, size_t groups)
{
    size_t c = g % 8;
    if (g - c + 8 > groups) { /* eight do not divide the groups: the last ones singly */
        for (size_t i = 0; i < s->sets; i++) {
            const uint8_t *w = s->w + i * SET * s->stride + g * Q1_BYTES;
            gather_words(s->x[i] + 9 * c + 1, w + 2, s->stride);
            for (size_t r = 0; r < SET; r++)
                s->d[i][r] = q1_scale(w + r * s->stride);
        }
        return;
    }
    if (c == 0)
        gather_piece(s, g, 0);
    gather_piece(s, g - c, c + 1);
    for (size_t i = 0; i < s->sets; i++) {
        __m512i d = s->x[i][9 * c];
        _mm512_store_ps(s->d[i], _mm512_cvtph_ps(_mm512_castsi512_si256(d)));
        _mm512_store_ps(s->d[i] + 16, _mm512_cvtph_ps(_mm512_extracti64x4_epi64(d, 1)));
    }
}

/* A bit of one word moved to a place in the indices and added to them. */
TEMPLATE __m512i join_bit(__m512i indices, __m512i word, int place)
{
    const __m512i bit = _mm512_set1_epi16((int16_t)(1 << place));
    return _mm512_ternarylogic_epi32(indices, _mm512_srli_epi16(word, (unsigned)(15 - place)), bit, 0xf8); /* a | (b & c) */
}

/* The indices of half a group, w being its eight words. */
TEMPLATE void make_indices(__m512i index[HALF_TABLES], const __m512i *w, int half)
{
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        __m512i word = kept(w[half * 4 + (int)i]);
        index[3 * i] = word;
        index[3 * i + 1] = kept(_mm512_srli_epi16(word, 5));
        index[3 * i + 2] = kept(_mm512_srli_epi16(word, 10));
    }
    __m512i last = _mm512_srli_epi16(w[half ? 5 : 0], 15);
    last = join_bit(last, w[half ? 6 : 1], 1);
    last = join_bit(last, w[half ? 7 : 2], 2);
    if (half == 0) {
        last = join_bit(last, w[3], 3);
        last = join_bit(last, w[4], 4);
    }
    index[12] = kept(last);
}

TEMPLATE __m512i half_sum(const __m512i index[HALF_TABLES], const int16_t *sums)
{
    __m512i sum = _mm512_permutexvar_epi16(index[0], _mm512_load_si512(sums));
    UNROLL
    for (size_t i = 1; i < HALF_TABLES; i++)
        sum = _mm512_add_epi16(sum, _mm512_permutexvar_epi16(index[i], _mm512_load_si512(sums + i * TABLE_SUMS)));
    return sum;
}

/* Brings lines of what follows closer, 9 for each group of a set, evenly between the sums. */
static inline void fetch_some(struct many *s, size_t lines)
{
    for (size_t i = 0; i < lines; i++)
        s->ahead = fetch_line(s->ahead, s->ahead_end);
}

/* A tile of n tokens, the first of them number t0, times group c (of 8) of set i. */
TEMPLATE void multiply_set(struct many *s, size_t i, size_t c, size_t t0, size_t n, const int16_t *sums, const float *scale, size_t planes)
{
    __m512i index[HALF_TABLES];
    const __m512i *w = s->x[i] + 9 * c + 1;
    const size_t lines = t0 > 0 ? 0 : DIV_UP(5, n * planes);
    make_indices(index, w, 0);
    for (size_t line = 0; line < n * planes; line++) {
        fetch_some(s, lines);
        s->part[line] = half_sum(index, sums + line * LINE_SUMS);
    }
    make_indices(index, w, 1);
    const __m512 d[2] = {_mm512_load_ps(s->d[i]), _mm512_load_ps(s->d[i] + 16)};
    sums += HALF_SUMS;
    for (size_t t = 0; t < n; t++, sums += planes * LINE_SUMS) {
        __m512i sum[WIDE_PLANES];
        UNROLL
        for (size_t plane = 0; plane < planes; plane++) {
            fetch_some(s, lines);
            sum[plane] = _mm512_add_epi16(s->part[t * planes + plane], half_sum(index, sums + plane * LINE_SUMS));
        }
        UNROLL
        for (int half = 0; half < 2; half++) {
            float *acc = s->acc[t0 + t][i] + half * 16;
            __m512 isum = _mm512_cvtepi32_ps(join_planes(sum[0], sum[planes - 1], half, planes));
            __m512 ds = _mm512_mul_ps(d[half], _mm512_set1_ps(scale[t]));
            _mm512_store_ps(acc, _mm512_fmadd_ps(ds, isum, _mm512_load_ps(acc)));
        }
    }
}

/* All tokens times a group, which is group c (of 8) in s->x. */
TEMPLATE void multiply_group(struct many *s, size_t c, size_t g, size_t groups, const void *packed, size_t tokens, size_t planes)
{
    const float *scales = (const float *)((const uint8_t *)packed + many_end(groups, tokens, planes));
    for (size_t t = 0; t < tokens; t += TILE_LINES / planes) {
        size_t n = MIN(tokens - t, TILE_LINES / planes), at = g * tokens + t;
        for (size_t i = 0; i < s->sets; i++)
            multiply_set(s, i, c, t, n, (const int16_t *)packed + at * planes * LINE_SUMS, scales + at, planes);
    }
}

/* What follows a tile of so many bytes is brought to L2 meanwhile. */
static inline void fetch_while(struct many *s, struct q1_next next, size_t bytes)
{
    s->ahead = (const char *)next.data;
    s->ahead_end = next.bytes ? s->ahead + MIN(next.bytes, bytes) : s->ahead;
}

/* Rows one at a time, for ranges shorter than a set. */
TEMPLATE void many_few_rows(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                            size_t tokens, size_t planes)
{
    const float *scales = (const float *)((const uint8_t *)packed + many_end(groups, tokens, planes));
    for (size_t r = row0; r < row1; r++) {
        for (size_t t = 0; t < tokens; t++) {
            float acc = 0;
            for (size_t g = 0; g < groups; g++) {
                const uint8_t *block = w + (r * groups + g) * Q1_BYTES;
                const int16_t *line = (const int16_t *)packed + (g * tokens + t) * planes * LINE_SUMS;
                int32_t sum = 0;
                for (size_t plane = 0; plane < planes; plane++, line += LINE_SUMS) {
                    unsigned last = 0;
                    int32_t part = 0;
                    for (size_t i = 0; i < 8; i++) {
                        const int16_t *table = line + i / 4 * HALF_SUMS + i % 4 * 3 * TABLE_SUMS;
                        unsigned word = block[2 + 2 * i] | (unsigned)block[3 + 2 * i] << 8;
                        part += table[word & 31] + table[TABLE_SUMS + (word >> 5 & 31)] + table[2 * TABLE_SUMS + (word >> 10 & 31)];
                        last |= word >> 15 << i;
                    }
                    part += line[12 * TABLE_SUMS + (last & 31)] + line[HALF_SUMS + 12 * TABLE_SUMS + (last >> 5)];
                    sum += plane + 1 < planes ? WIDE_UNIT * part : part;
                }
                acc = __builtin_fmaf(q1_scale(block) * scales[g * tokens + t], (float)sum, acc);
            }
            y[t * y_stride + r] = acc;
        }
    }
}

TEMPLATE void many_run_planes(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                              size_t tokens, size_t planes, struct q1_next next)
{
    if (row1 - row0 < SET) {
        many_few_rows(y, y_stride, w, row0, row1, groups, packed, tokens, planes);
        return;
    }
    struct many s;
    s.stride = groups * Q1_BYTES;
    for (size_t row = row0; row < row1; row += s.sets * SET) {
        s.sets = MIN((row1 - row) / SET, (size_t)MANY_SETS);
        if (s.sets == 0) { /* the last set repeats some rows */
            row = row1 - SET;
            s.sets = 1;
        }
        size_t rows = s.sets * SET, left = row1 - row - rows;
        s.w = w + row * s.stride;
        fetch_while(&s, left > 0 ? (struct q1_next){s.w + rows * s.stride, left * s.stride} : next, rows * s.stride);
        memset(s.acc, 0, sizeof s.acc[0] * tokens);
        for (size_t g = 0; g < groups; g++) {
            bring_group(&s, g, groups);
            multiply_group(&s, g % 8, g, groups, packed, tokens, planes);
        }
        for (size_t t = 0; t < tokens; t++)
            memcpy(y + t * y_stride + row, s.acc[t], rows * sizeof(float));
    }
}

static size_t many_tables_bytes(size_t groups, size_t tokens) { return many_bytes(groups, tokens, 1); }

static void many_tables_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    many_pack_planes(packed, q, scale, groups, tokens, group0, group1, 1);
}

static void many_tables_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                            size_t tokens, struct q1_next next)
{
    many_run_planes(y, y_stride, w, row0, row1, groups, packed, tokens, 1, next);
}

static const struct q1_family many_tables = {"tables", 8 * SET, MANY_LINES, many_tables_bytes, many_tables_pack, many_tables_run};

static size_t wide_many_bytes(size_t groups, size_t tokens) { return many_bytes(groups, tokens, WIDE_PLANES); }

static void wide_many_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    many_pack_planes(packed, q, scale, groups, tokens, group0, group1, WIDE_PLANES);
}

static void wide_many_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                          size_t tokens, struct q1_next next)
{
    many_run_planes(y, y_stride, w, row0, row1, groups, packed, tokens, WIDE_PLANES, next);
}

static const struct q1_family wide_many_tables = {"tables",        8 * SET,        MANY_LINES / WIDE_PLANES,
                                                  wide_many_bytes, wide_many_pack, wide_many_run};

#endif
