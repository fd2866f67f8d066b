/* few_tables_avx512.h: the "tables" family of avx512.c for up to eight tokens. Layer: compute.
 *
 * 16 weights of 32 rows are three lookups of 6, 5 and 5 bits, two shifts and three additions, with
 * nothing to widen or to correct. Activations in two planes take two tables and twice the
 * lookups, but not twice the time.
 *
 * Packed: for every word of 16 weights and plane 64 sums of weights 0..5, 32 of 6..10, 32 of
 * 11..15; 2 KB a group and plane, [group][token][word][plane]; then the scales. The sums are of 2 q
 * under set bits; those of weights 6..10 of a group's first word also have -(sum of all q). */
#ifndef SIGNUM_FEW_TABLES_AVX512_H
#define SIGNUM_FEW_TABLES_AVX512_H

#include <string.h>

#include "words_avx512.h"

enum {
    WORD_SUMS = 128, /* int16 for 16 weights */
    GROUP_SUMS = 8 * WORD_SUMS,
    FEW_TOKENS = 8,
};

/* Where the scales begin. */
static inline size_t tables_end(size_t groups, size_t tokens, size_t planes)
{
    return groups * tokens * planes * GROUP_SUMS * sizeof(int16_t);
}

/* The sums of a word, whose weights meet q of which x are twins of 2 q. */
static inline void word_sums(int16_t out[WORD_SUMS], const int32_t *x, __m512i base)
{
    five_sums(out, x, _mm512_setzero_si512());
    _mm512_store_si512(out + 32, _mm512_add_epi16(_mm512_load_si512(out), _mm512_set1_epi32(x[5])));
    five_sums(out + 64, x + 6, base);
    five_sums(out + 96, x + 11, _mm512_setzero_si512());
}

TEMPLATE void pack_planes(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1,
                          size_t planes)
{
    float *scales = (float *)((uint8_t *)packed + tables_end(groups, tokens, planes));
    for (size_t g = group0; g < group1; g++) {
        for (size_t t = 0; t < tokens; t++) {
            const int8_t *x = q + (t * planes * groups + g) * GROUP;
            int16_t *out = (int16_t *)packed + (g * tokens + t) * planes * GROUP_SUMS;
            scales[g * tokens + t] = scale[t * groups + g];
            for (size_t plane = 0; plane < planes; plane++) {
                _Alignas(64) int32_t twins[GROUP];
                const __m512i zero = _mm512_setzero_si512(), base = double_group(twins, x + plane * groups * GROUP);
                for (size_t word = 0; word < 8; word++)
                    word_sums(out + (word * planes + plane) * WORD_SUMS, twins + word * 16, word == 0 ? base : zero);
            }
        }
    }
}

/* The tables of a word and plane. */
struct word {
    __m512i a, b, c, d;
};

static inline struct word load_word(const int16_t *table)
{
    return (struct word){kept(_mm512_load_si512(table)), kept(_mm512_load_si512(table + 32)), kept(_mm512_load_si512(table + 64)),
                         kept(_mm512_load_si512(table + 96))};
}

static inline __m512i look_up(__m512i w, const struct word *t)
{
    __m512i five =
        _mm512_add_epi16(_mm512_permutexvar_epi16(_mm512_srli_epi16(w, 6), t->c), _mm512_permutexvar_epi16(_mm512_srli_epi16(w, 11), t->d));
    return _mm512_add_epi16(_mm512_permutex2var_epi16(t->a, w, t->b), five);
}

/* A tile being multiplied: up to four sets of 32 rows, which share every load of a table. */
enum {
    SETS = 4
};

struct tile {
    const uint8_t *w;
    size_t stride, sets, tokens;
    const int16_t *tables;
    const float *scale;
    const char *ahead, *ahead_end; /* what to fetch to L2 meanwhile */
    __m512i x[SETS][8];
    __m512i sum[FEW_TOKENS][WIDE_PLANES][SETS];
    _Alignas(64) float d[SETS][SET];
    _Alignas(64) float acc[FEW_TOKENS][SETS][SET];
};

/* 8 words of every row. */
static inline void gather_sets(struct tile *s, const uint8_t *w)
{
    for (size_t i = 0; i < s->sets; i++)
        gather_words(s->x[i], w + i * SET * s->stride, s->stride);
}

/* sum of every plane and set += what words x[begin..end) select; table is that of word x[begin].
 * With every set's lookups comes a line of what follows, and one more: 64 words bring 320 lines
 * of 128 rows, whose 8 groups have 288. More tokens than one share them. */
TEMPLATE void add_words(__m512i sum[WIDE_PLANES][SETS], struct tile *s, size_t begin, size_t end, const int16_t *table, size_t planes,
                        bool fetch)
{
    __m512i total[WIDE_PLANES][SETS];
    const char *ahead = s->ahead, *ahead_end = fetch ? s->ahead_end : ahead;
    UNROLL
    for (size_t i = 0; i < planes * SETS; i++)
        total[i / SETS][i % SETS] = sum[i / SETS][i % SETS];
    for (size_t j = begin; j < end; j++, table += planes * WORD_SUMS) {
        struct word t[WIDE_PLANES];
        UNROLL
        for (size_t plane = 0; plane < planes; plane++)
            t[plane] = load_word(table + plane * WORD_SUMS);
#define ADD(i)                                                                          \
    {                                                                                   \
        ahead = fetch_line(ahead, ahead_end);                                           \
        __m512i w = kept(s->x[i][j]);                                                   \
        UNROLL                                                                          \
        for (size_t plane = 0; plane < planes; plane++)                                 \
            total[plane][i] = _mm512_add_epi16(total[plane][i], look_up(w, &t[plane])); \
    }
        ahead = fetch_line(ahead, ahead_end);
        ADD(0)
        ADD(1)
        if (s->sets == SETS) {
            ADD(2)
            ADD(3)
        }
#undef ADD
    }
    if (fetch)
        s->ahead = ahead;
    UNROLL
    for (size_t i = 0; i < planes * SETS; i++)
        sum[i / SETS][i % SETS] = total[i / SETS][i % SETS];
}

/* acc (16 rows) = fma(d * s, sum, acc). */
static inline void add_rows(float *acc, const float *d, __m512i sum, __m512 s)
{
    __m512 ds = _mm512_mul_ps(_mm512_load_ps(d), s);
    _mm512_store_ps(acc, _mm512_fmadd_ps(ds, _mm512_cvtepi32_ps(sum), _mm512_load_ps(acc)));
}

TEMPLATE void add_group(struct tile *s, size_t t, __m512i sum[WIDE_PLANES][SETS], float scale, size_t planes)
{
    for (size_t i = 0; i < s->sets; i++) {
        add_rows(s->acc[t][i], s->d[i], join_planes(sum[0][i], sum[planes - 1][i], 0, planes), _mm512_set1_ps(scale));
        add_rows(s->acc[t][i] + 16, s->d[i] + 16, join_planes(sum[0][i], sum[planes - 1][i], 1, planes), _mm512_set1_ps(scale));
    }
}

/* Eight groups of a row are 72 words, so pieces of eight words move through them: piece c
 * holds the last c words of group c - 1, the scale of group c, and that group's first words.
 * Thus scales are transposed like any other word, where scalar moves took a fifth of all time. */
TEMPLATE void eight_groups(struct tile *s, size_t g, size_t planes)
{
    for (size_t c = 0; c < 9; c++) {
        gather_sets(s, s->w + g * Q1_BYTES + 16 * c);
        for (size_t t = 0; c > 0 && t < s->tokens; t++) {
            size_t at = (g + c - 1) * s->tokens + t;
            add_words(s->sum[t], s, 0, c, s->tables + (at * GROUP_SUMS + (8 - c) * WORD_SUMS) * planes, planes, t == 0);
            add_group(s, t, s->sum[t], s->scale[at], planes);
        }
        if (c == 8)
            break;
        for (size_t i = 0; i < s->sets; i++) {
            _mm512_store_ps(s->d[i], _mm512_cvtph_ps(_mm512_castsi512_si256(s->x[i][c])));
            _mm512_store_ps(s->d[i] + 16, _mm512_cvtph_ps(_mm512_extracti64x4_epi64(s->x[i][c], 1)));
        }
        for (size_t t = 0; t < s->tokens; t++) {
            memset(s->sum[t], 0, planes * sizeof s->sum[t][0]);
            add_words(s->sum[t], s, c + 1, 8, s->tables + ((g + c) * s->tokens + t) * planes * GROUP_SUMS, planes, t == 0);
        }
    }
}

/* For the groups that eight do not divide. */
TEMPLATE void one_group(struct tile *s, size_t g, size_t planes)
{
    const uint8_t *w = s->w + g * Q1_BYTES;
    gather_sets(s, w + 2);
    for (size_t i = 0; i < s->sets; i++) {
        _Alignas(64) uint16_t scales[SET];
        for (size_t r = 0; r < SET; r++)
            memcpy(&scales[r], w + (i * SET + r) * s->stride, sizeof scales[r]);
        _mm512_store_ps(s->d[i], _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)scales)));
        _mm512_store_ps(s->d[i] + 16, _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)(scales + 16))));
    }
    for (size_t t = 0; t < s->tokens; t++) {
        size_t at = g * s->tokens + t;
        memset(s->sum[t], 0, planes * sizeof s->sum[t][0]);
        add_words(s->sum[t], s, 0, 8, s->tables + at * planes * GROUP_SUMS, planes, t == 0);
        add_group(s, t, s->sum[t], s->scale[at], planes);
    }
}

/* Rows one at a time, for ranges shorter than a tile. */
TEMPLATE void tables_few_rows(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                              size_t tokens, size_t planes)
{
    const float *scales = (const float *)((const uint8_t *)packed + tables_end(groups, tokens, planes));
    for (size_t r = row0; r < row1; r++) {
        for (size_t t = 0; t < tokens; t++) {
            float acc = 0;
            for (size_t g = 0; g < groups; g++) {
                const uint8_t *block = w + (r * groups + g) * Q1_BYTES;
                const int16_t *table = (const int16_t *)packed + (g * tokens + t) * planes * GROUP_SUMS;
                int32_t sum = 0;
                for (size_t m = 0; m < 8 * planes; m++, table += WORD_SUMS) {
                    const uint8_t *bits = block + 2 + m / planes * 2;
                    unsigned word = bits[0] | (unsigned)bits[1] << 8;
                    int32_t part = table[word & 63] + table[64 + (word >> 6 & 31)] + table[96 + (word >> 11)];
                    sum += m % planes + 1 < planes ? WIDE_UNIT * part : part;
                }
                acc = __builtin_fmaf(q1_scale(block) * scales[g * tokens + t], (float)sum, acc);
            }
            y[t * y_stride + r] = acc;
        }
    }
}

TEMPLATE void multiply_planes(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                              size_t tokens, size_t planes, struct q1_next next)
{
    size_t sets = row1 - row0 >= SETS * SET ? SETS : 2, rows = sets * SET;
    if (row1 - row0 < rows) {
        tables_few_rows(y, y_stride, w, row0, row1, groups, packed, tokens, planes);
        return;
    }
    struct tile s;
    s.stride = groups * Q1_BYTES;
    s.sets = sets;
    s.tokens = tokens;
    s.tables = packed;
    s.scale = (const float *)((const uint8_t *)packed + tables_end(groups, tokens, planes));
    for (size_t row = row0; row < row1; row += rows) {
        size_t r = MIN(row, row1 - rows), g = 0; /* the last tile may repeat some rows */
        s.w = w + r * s.stride;
        struct q1_next ahead = row + rows < row1 ? (struct q1_next){w + MIN(row + rows, row1 - rows) * s.stride, rows * s.stride} : next;
        s.ahead = (const char *)ahead.data;
        s.ahead_end = ahead.bytes ? s.ahead + MIN(ahead.bytes, rows * s.stride) : s.ahead;
        memset(s.acc, 0, sizeof s.acc[0] * tokens);
        for (; g + 8 <= groups; g += 8)
            eight_groups(&s, g, planes);
        for (; g < groups; g++)
            one_group(&s, g, planes);
        for (size_t t = 0; t < tokens; t++)
            memcpy(y + t * y_stride + r, s.acc[t], rows * sizeof(float));
    }
}

static size_t tables_bytes(size_t groups, size_t tokens) { return tables_end(groups, tokens, 1) + groups * tokens * sizeof(float); }

static void tables_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    pack_planes(packed, q, scale, groups, tokens, group0, group1, 1);
}

static void tables_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                       size_t tokens, struct q1_next next)
{
    multiply_planes(y, y_stride, w, row0, row1, groups, packed, tokens, 1, next);
}

static const struct q1_family tables = {"tables", SETS *SET, FEW_TOKENS, tables_bytes, tables_pack, tables_run};

static size_t wide_tables_bytes(size_t groups, size_t tokens)
{
    return tables_end(groups, tokens, WIDE_PLANES) + groups * tokens * sizeof(float);
}

static void wide_tables_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    pack_planes(packed, q, scale, groups, tokens, group0, group1, WIDE_PLANES);
}

static void wide_tables_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                            size_t tokens, struct q1_next next)
{
    multiply_planes(y, y_stride, w, row0, row1, groups, packed, tokens, WIDE_PLANES, next);
}

static const struct q1_family wide_tables = {"tables", SETS *SET, FEW_TOKENS, wide_tables_bytes, wide_tables_pack, wide_tables_run};

#endif
