/* avx512.c: kernels for AVX-512 F, BW, VL and DQ. What is missing here avx2.c does.
 *
 * Few tokens: tables of 16-bit sums. A word permute looks up 32 rows at once and takes five
 * bits of each row's word as index (six from two registers), ignoring the others: 16 weights
 * of 32 rows are three lookups, two shifts and three additions, with nothing to widen or to
 * correct. The words are brought side by side by an 8 x 8 transpose in registers. */
#include "kernels.h"

#include <immintrin.h>
#include <string.h>

#include "cpu.h"
#include "mathfn.h"

/* --------------------------------------------------------- family "tables"
 *
 * Packed: for every word of 16 weights 64 sums of weights 0..5, 32 of 6..10, 32 of 11..15;
 * 2 KB a group, [group][token]; then the scales. */

enum {
    WORD_SUMS = 128,                /* int16 for 16 weights */
    GROUP_SUMS = 8 * WORD_SUMS,
    TOKENS = 8,
};

static size_t tables_bytes(size_t groups, size_t tokens) { return groups * tokens * (GROUP_SUMS * sizeof(int16_t) + sizeof(float)); }

/* Where the scales begin. */
static inline size_t tables_end(size_t groups, size_t tokens) { return groups * tokens * GROUP_SUMS * sizeof(int16_t); }

/* Sums of q[0..4] under all patterns of five signs, lowest bit first. */
static inline __m512i five_sums(const int16_t *q)
{
    __m512i sum = _mm512_set1_epi16((int16_t) - (q[0] + q[1] + q[2] + q[3] + q[4]));
    sum = _mm512_mask_add_epi16(sum, 0xaaaaaaaa, sum, _mm512_set1_epi16((int16_t)(2 * q[0])));
    sum = _mm512_mask_add_epi16(sum, 0xcccccccc, sum, _mm512_set1_epi16((int16_t)(2 * q[1])));
    sum = _mm512_mask_add_epi16(sum, 0xf0f0f0f0, sum, _mm512_set1_epi16((int16_t)(2 * q[2])));
    sum = _mm512_mask_add_epi16(sum, 0xff00ff00, sum, _mm512_set1_epi16((int16_t)(2 * q[3])));
    return _mm512_mask_add_epi16(sum, 0xffff0000, sum, _mm512_set1_epi16((int16_t)(2 * q[4])));
}

static void tables_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    float *scales = (float *)((uint8_t *)packed + tables_end(groups, tokens));
    for (size_t g = group0; g < group1; g++) {
        for (size_t t = 0; t < tokens; t++) {
            const int8_t *x = q + (t * groups + g) * GROUP;
            int16_t *out = (int16_t *)packed + (g * tokens + t) * GROUP_SUMS;
            scales[g * tokens + t] = scale[t * groups + g];
            for (size_t word = 0; word < 8; word++, x += 16, out += WORD_SUMS) {
                int16_t wide[16];
                _mm256_storeu_si256((__m256i *)wide, _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)x)));
                __m512i five = five_sums(wide), sixth = _mm512_set1_epi16(wide[5]);
                _mm512_store_si512(out, _mm512_sub_epi16(five, sixth));
                _mm512_store_si512(out + 32, _mm512_add_epi16(five, sixth));
                _mm512_store_si512(out + 64, five_sums(wide + 6));
                _mm512_store_si512(out + 96, five_sums(wide + 11));
            }
        }
    }
}

static inline __m512i load_rows(const uint8_t *w, size_t step)
{
#define ROW(i) _mm_loadu_si128((const __m128i *)(w + (i)*step))
    __m256i a = _mm256_inserti128_si256(_mm256_castsi128_si256(ROW(0)), ROW(1), 1);
    __m256i b = _mm256_inserti128_si256(_mm256_castsi128_si256(ROW(2)), ROW(3), 1);
#undef ROW
    return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
}

/* 16 bytes of 32 rows: word j of row r comes out as lane r of x[j]. Three perfect shuffles
 * of eight registers transpose 8 x 8 words in every 16-byte lane. */
static inline void gather_words(__m512i x[8], const uint8_t *w, size_t stride)
{
#define LOAD(i) load_rows(w + (i)*stride, 8 * stride) /* rows i, i + 8, i + 16, i + 24 */
#define LOW(a, b) _mm512_unpacklo_epi16(a, b)
#define HIGH(a, b) _mm512_unpackhi_epi16(a, b)
    __m512i a0 = LOAD(0), a1 = LOAD(1), a2 = LOAD(2), a3 = LOAD(3), a4 = LOAD(4), a5 = LOAD(5), a6 = LOAD(6), a7 = LOAD(7);
    __m512i b0 = LOW(a0, a4), b1 = HIGH(a0, a4), b2 = LOW(a1, a5), b3 = HIGH(a1, a5), b4 = LOW(a2, a6), b5 = HIGH(a2, a6), b6 = LOW(a3, a7), b7 = HIGH(a3, a7);
    __m512i c0 = LOW(b0, b4), c1 = HIGH(b0, b4), c2 = LOW(b1, b5), c3 = HIGH(b1, b5), c4 = LOW(b2, b6), c5 = HIGH(b2, b6), c6 = LOW(b3, b7), c7 = HIGH(b3, b7);
    x[0] = LOW(c0, c4);
    x[1] = HIGH(c0, c4);
    x[2] = LOW(c1, c5);
    x[3] = HIGH(c1, c5);
    x[4] = LOW(c2, c6);
    x[5] = HIGH(c2, c6);
    x[6] = LOW(c3, c7);
    x[7] = HIGH(c3, c7);
#undef LOAD
#undef LOW
#undef HIGH
}

/* Makes gcc load a vector once: it would rather read memory again in every instruction, and
 * Zen 4 loads one register per cycle. */
static inline __m512i kept(__m512i v)
{
    __asm__("" : "+v"(v));
    return v;
}

static inline __m512i look_up(__m512i w, __m512i a, __m512i b, __m512i c, __m512i d)
{
    __m512i five = _mm512_add_epi16(_mm512_permutexvar_epi16(_mm512_srli_epi16(w, 6), c), _mm512_permutexvar_epi16(_mm512_srli_epi16(w, 11), d));
    return _mm512_add_epi16(_mm512_permutex2var_epi16(a, w, b), five);
}

/* A tile being multiplied: up to four sets of 32 rows, which share every load of a table. */
enum { SET = 32, SETS = 4 };

struct tile {
    const uint8_t *w;
    size_t stride, sets, tokens;
    const int16_t *tables;
    const float *scale;
    const char *ahead; /* what to fetch to L2 meanwhile */
    __m512i x[SETS][8];
    __m512i sum[TOKENS][SETS];
    _Alignas(64) float d[SETS][SET];
    _Alignas(64) float acc[TOKENS][SETS][SET];
};

static inline void gather_sets(struct tile *s, const uint8_t *w, size_t bytes)
{
    for (size_t i = 0; i < s->sets; i++) {
        gather_words(s->x[i], w + i * SET * s->stride, s->stride);
        for (size_t line = 0; line < SET * bytes / 64; line++)
            _mm_prefetch(s->ahead + 64 * line, _MM_HINT_T1);
        s->ahead += SET * bytes;
    }
}

/* sum of every set += what words x[begin..end) select; table is that of word x[begin]. */
static inline void add_words(__m512i *sum, const struct tile *s, size_t begin, size_t end, const int16_t *table)
{
    __m512i sum0 = sum[0], sum1 = sum[1], sum2 = sum[2], sum3 = sum[3];
    for (size_t j = begin; j < end; j++, table += WORD_SUMS) {
        __m512i a = kept(_mm512_load_si512(table)), b = kept(_mm512_load_si512(table + 32));
        __m512i c = kept(_mm512_load_si512(table + 64)), d = kept(_mm512_load_si512(table + 96));
        sum0 = _mm512_add_epi16(sum0, look_up(kept(s->x[0][j]), a, b, c, d));
        sum1 = _mm512_add_epi16(sum1, look_up(kept(s->x[1][j]), a, b, c, d));
        if (s->sets == SETS) {
            sum2 = _mm512_add_epi16(sum2, look_up(kept(s->x[2][j]), a, b, c, d));
            sum3 = _mm512_add_epi16(sum3, look_up(kept(s->x[3][j]), a, b, c, d));
        }
    }
    sum[0] = sum0;
    sum[1] = sum1;
    sum[2] = sum2;
    sum[3] = sum3;
}

/* acc (16 rows) = fma(d * s, sum, acc). */
static inline void add_rows(float *acc, const float *d, __m256i sum, __m512 s)
{
    __m512 ds = _mm512_mul_ps(_mm512_load_ps(d), s);
    _mm512_store_ps(acc, _mm512_fmadd_ps(ds, _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(sum)), _mm512_load_ps(acc)));
}

static inline void add_group(struct tile *s, size_t t, const __m512i *sum, float scale)
{
    for (size_t i = 0; i < s->sets; i++) {
        add_rows(s->acc[t][i], s->d[i], _mm512_castsi512_si256(sum[i]), _mm512_set1_ps(scale));
        add_rows(s->acc[t][i] + 16, s->d[i] + 16, _mm512_extracti64x4_epi64(sum[i], 1), _mm512_set1_ps(scale));
    }
}

/* Eight groups of a row are 72 words, so pieces of eight words move through them: piece c
 * holds the last c words of group c - 1, the scale of group c, and that group's first words.
 * Thus scales are transposed like any other word, where scalar moves took a fifth of all time. */
static void eight_groups(struct tile *s, size_t g)
{
    for (size_t c = 0; c < 9; c++) {
        gather_sets(s, s->w + g * Q1_BYTES + 16 * c, 16);
        for (size_t t = 0; c > 0 && t < s->tokens; t++) {
            size_t at = (g + c - 1) * s->tokens + t;
            add_words(s->sum[t], s, 0, c, s->tables + at * GROUP_SUMS + (8 - c) * WORD_SUMS);
            add_group(s, t, s->sum[t], s->scale[at]);
        }
        if (c == 8)
            break;
        for (size_t i = 0; i < s->sets; i++) {
            _mm512_store_ps(s->d[i], _mm512_cvtph_ps(_mm512_castsi512_si256(s->x[i][c])));
            _mm512_store_ps(s->d[i] + 16, _mm512_cvtph_ps(_mm512_extracti64x4_epi64(s->x[i][c], 1)));
        }
        for (size_t t = 0; t < s->tokens; t++) {
            memset(s->sum[t], 0, sizeof s->sum[t]);
            add_words(s->sum[t], s, c + 1, 8, s->tables + ((g + c) * s->tokens + t) * GROUP_SUMS);
        }
    }
}

/* For the groups that eight do not divide. */
static void one_group(struct tile *s, size_t g)
{
    const uint8_t *w = s->w + g * Q1_BYTES;
    gather_sets(s, w + 2, Q1_BYTES);
    for (size_t i = 0; i < s->sets; i++) {
        _Alignas(64) uint16_t scales[SET];
        for (size_t r = 0; r < SET; r++)
            memcpy(&scales[r], w + (i * SET + r) * s->stride, sizeof scales[r]);
        _mm512_store_ps(s->d[i], _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)scales)));
        _mm512_store_ps(s->d[i] + 16, _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)(scales + 16))));
    }
    for (size_t t = 0; t < s->tokens; t++) {
        __m512i sum[SETS] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
        size_t at = g * s->tokens + t;
        add_words(sum, s, 0, 8, s->tables + at * GROUP_SUMS);
        add_group(s, t, sum, s->scale[at]);
    }
}

/* Rows one at a time, for ranges shorter than a tile. */
static void tables_few_rows(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed, size_t tokens)
{
    const float *scales = (const float *)((const uint8_t *)packed + tables_end(groups, tokens));
    for (size_t r = row0; r < row1; r++) {
        for (size_t t = 0; t < tokens; t++) {
            float acc = 0;
            for (size_t g = 0; g < groups; g++) {
                const uint8_t *block = w + (r * groups + g) * Q1_BYTES;
                const int16_t *table = (const int16_t *)packed + (g * tokens + t) * GROUP_SUMS;
                int32_t sum = 0;
                for (size_t m = 0; m < 8; m++, table += WORD_SUMS) {
                    unsigned word = block[2 + 2 * m] | (unsigned)block[3 + 2 * m] << 8;
                    sum += table[word & 63] + table[64 + (word >> 6 & 31)] + table[96 + (word >> 11)];
                }
                acc = __builtin_fmaf(q1_scale(block) * scales[g * tokens + t], (float)sum, acc);
            }
            y[t * y_stride + r] = acc;
        }
    }
}

static void tables_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed, size_t tokens)
{
    size_t sets = row1 - row0 >= SETS * SET ? SETS : 2, rows = sets * SET;
    if (row1 - row0 < rows) {
        tables_few_rows(y, y_stride, w, row0, row1, groups, packed, tokens);
        return;
    }
    struct tile s;
    s.stride = groups * Q1_BYTES;
    s.sets = sets;
    s.tokens = tokens;
    s.tables = packed;
    s.scale = (const float *)((const uint8_t *)packed + tables_end(groups, tokens));
    for (size_t row = row0; row < row1; row += rows) {
        size_t r = MIN(row, row1 - rows), g = 0; /* the last tile may repeat some rows */
        s.w = w + r * s.stride;
        s.ahead = (const char *)s.w + (r + 2 * rows <= row1 ? rows * s.stride : 0);
        memset(s.acc, 0, sizeof s.acc[0] * tokens);
        for (; g + 8 <= groups; g += 8)
            eight_groups(&s, g);
        for (; g < groups; g++)
            one_group(&s, g);
        for (size_t t = 0; t < tokens; t++)
            memcpy(y + t * y_stride + r, s.acc[t], rows * sizeof(float));
    }
}

static const struct q1_family tables = {"tables", SETS * SET, TOKENS, tables_bytes, tables_pack, tables_run};

static const struct q1_family *pick_tables(size_t tokens)
{
    (void)tokens;
    return &tables;
}

static int q1_auto(size_t tokens) { return tokens <= 32 ? 2 : 0; }

/* ------------------------------------------------------------------- table */

const struct kernels kernels_avx512 = {
    .level = "avx512",
    .needs = CPU_AVX2 | CPU_AVX512,
    .q1 = {NULL, NULL, pick_tables},
    .q1_auto = q1_auto,
};
