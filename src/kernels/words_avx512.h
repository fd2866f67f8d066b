/* words_avx512.h: what the two "tables" kernels of avx512.c share. Layer: compute.
 *
 * A word permute looks up 32 rows at once and takes five bits of each row's word as index (six
 * from two registers), ignoring the others. So rows are brought side by side as words of 16 weights. */
#ifndef SIGNUM_WORDS_AVX512_H
#define SIGNUM_WORDS_AVX512_H

#include "kernels.h"

#include <immintrin.h>

enum {
    SET = 32 /* rows side by side */
};

/* Sums of what the set bits of an index select among x[0..4], plus base. The numbers are twins, each
 * twice in 32 bits: broadcasting words would cost an instruction more than the load. */
static inline void five_sums(int16_t out[32], const int32_t *x, __m512i base)
{
    __m512i sum = _mm512_mask_add_epi16(base, 0xaaaaaaaa, base, _mm512_set1_epi32(x[0]));
    sum = _mm512_mask_add_epi16(sum, 0xcccccccc, sum, _mm512_set1_epi32(x[1]));
    sum = _mm512_mask_add_epi16(sum, 0xf0f0f0f0, sum, _mm512_set1_epi32(x[2]));
    sum = _mm512_mask_add_epi16(sum, 0xff00ff00, sum, _mm512_set1_epi32(x[3]));
    _mm512_store_si512(out, _mm512_mask_add_epi16(sum, 0xffff0000, sum, _mm512_set1_epi32(x[4])));
}

/* 2 q of a group as twins; returns -(sum of all q) in every word: added to what bits select of 2 q, it
 * makes that the sum of +-q. Words may overflow on the way, since the sum does not. */
static inline __m512i double_group(int32_t x[GROUP], const int8_t *q)
{
    __m512i all = _mm512_setzero_si512();
    for (size_t i = 0; i < GROUP; i += 16) {
        __m512i v = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(q + i))), twice = _mm512_slli_epi32(v, 1);
        all = _mm512_add_epi32(all, v);
        _mm512_store_si512(x + i, _mm512_mask_blend_epi16(0xaaaaaaaa, twice, _mm512_slli_epi32(twice, 16)));
    }
    return _mm512_set1_epi16((int16_t)-_mm512_reduce_add_epi32(all));
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
    __m512i b0 = LOW(a0, a4), b1 = HIGH(a0, a4), b2 = LOW(a1, a5), b3 = HIGH(a1, a5), b4 = LOW(a2, a6), b5 = HIGH(a2, a6), b6 = LOW(a3, a7),
            b7 = HIGH(a3, a7);
    __m512i c0 = LOW(b0, b4), c1 = HIGH(b0, b4), c2 = LOW(b1, b5), c3 = HIGH(b1, b5), c4 = LOW(b2, b6), c5 = HIGH(b2, b6), c6 = LOW(b3, b7),
            c7 = HIGH(b3, b7);
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

/* Brings the next line of what follows to L2.
 *
 * One core of Zen 4 has 24 buffers for lines on their way to L1, which prefetches need too,
 * and drops a prefetch that finds none free. So they are issued between the lookups, which
 * read little besides their tables, and at a pace that just suffices. Whole decode steps of an
 * 8B model on two threads, as shares of what plain loads read at the same time:
 *
 *     between the row loads of a set       64 %   in bursts of 8 lines
 *     between lookups, 4 lines per word    62 %   does not quite suffice: 4.5 are needed
 *     5 lines per word                     73 %
 *     6; 8                            66; 64 %
 *     4, the rest by loads                 71 %   loads in between, all the way: 31 to 43 %
 *     5, each line once more later         73 %
 *     half with the row loads, half here   54 %   (where 4 lines have 57 %) */
static inline const char *fetch_line(const char *ahead, const char *end)
{
    if (ahead >= end)
        return ahead;
    _mm_prefetch(ahead, _MM_HINT_T1);
    return ahead + 64;
}

/* Half of a set's sums in 32 bits, planes joined. */
TEMPLATE __m512i join_planes(__m512i high, __m512i low, int half, size_t planes)
{
#define HALF(x) _mm512_cvtepi16_epi32(half ? _mm512_extracti64x4_epi64(x, 1) : _mm512_castsi512_si256(x))
    return planes == 1 ? HALF(high) : _mm512_add_epi32(_mm512_slli_epi32(HALF(high), 7), HALF(low));
#undef HALF
}

#endif
