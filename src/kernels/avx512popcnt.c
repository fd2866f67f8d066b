/* avx512popcnt.c: the "popcount" family with AVX-512 BITALG (a population count of every
 * byte) and VNNI, which weights the counts of eight planes of bits with 1, 2 .. 64, -128 and
 * adds them up in one instruction. */
#include "kernels.h"

#include <immintrin.h>
#include <string.h>

#include "cpu.h"

/* Packed: eight planes of 16 bytes for every group and token, [group][token]; then scales,
 * then sums of the group. Two's complement: plane 7 counts -128. */

enum {
    PLANES = 128,
    ROWS = 16,
    TOKENS = 16
};

static size_t popcount_bytes(size_t groups, size_t tokens) { return groups * tokens * (PLANES + sizeof(float) + sizeof(int32_t)); }

static void popcount_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    float *scales = (float *)((uint8_t *)packed + groups * tokens * PLANES);
    int32_t *sums = (int32_t *)(scales + groups * tokens);
    for (size_t g = group0; g < group1; g++) {
        for (size_t t = 0; t < tokens; t++) {
            const int8_t *x = q + (t * groups + g) * GROUP;
            size_t at = g * tokens + t;
            __m512i a = _mm512_loadu_si512(x), b = _mm512_loadu_si512(x + 64), sum = _mm512_setzero_si512();
            for (unsigned bit = 0; bit < 8; bit++) {
                __m512i test = _mm512_set1_epi8((char)(1u << bit));
                uint64_t plane[2] = {_mm512_test_epi8_mask(a, test), _mm512_test_epi8_mask(b, test)};
                memcpy((uint8_t *)packed + at * PLANES + bit * 16, plane, sizeof plane);
            }
            sum = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sum, _mm512_set1_epi8(1), a), _mm512_set1_epi8(1), b);
            int32_t part[16];
            _mm512_storeu_si512(part, sum);
            sums[at] = 0;
            for (size_t i = 0; i < 16; i++)
                sums[at] += part[i];
            scales[at] = scale[t * groups + g];
        }
    }
}

/* Sixteen registers of sixteen numbers to one: lane i is the sum of all lanes of s[i]. Every
 * step adds two halves that were brought side by side. */
TEMPLATE __m512i sum_lanes(__m512i s[16])
{
    UNROLL
    for (size_t i = 0; i < 8; i++) /* lanes of rows i, i + 8 alternate */
        s[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(s[i], s[i + 8]), _mm512_unpackhi_epi32(s[i], s[i + 8]));
    UNROLL
    for (size_t i = 0; i < 4; i++) /* i, i + 8, i + 4, i + 12 in every 128 bits */
        s[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(s[i], s[i + 4]), _mm512_unpackhi_epi64(s[i], s[i + 4]));
    __m512i a = _mm512_add_epi32(_mm512_shuffle_i32x4(s[0], s[1], 0x44), _mm512_shuffle_i32x4(s[0], s[1], 0xee));
    __m512i b = _mm512_add_epi32(_mm512_shuffle_i32x4(s[2], s[3], 0x44), _mm512_shuffle_i32x4(s[2], s[3], 0xee));
    /* a: 128 bits of s[0] twice, of s[1] twice */
    __m512i c = _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
    /* c: s[0], s[1], s[2], s[3]; within each rows i, i + 8, i + 4, i + 12 */
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15), c);
}

static void popcount_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                         size_t tokens, struct q1_next next)
{
    (void)next;
    const float *scales = (const float *)((const uint8_t *)packed + groups * tokens * PLANES);
    const int32_t *sums = (const int32_t *)(scales + groups * tokens);
    const __m512i low =
        _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi8(1)), _mm_set1_epi8(2), 1)),
                           _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi8(4)), _mm_set1_epi8(8), 1), 1);
    const __m512i high =
        _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi8(16)), _mm_set1_epi8(32), 1)),
                           _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi8(64)), _mm_set1_epi8(-128), 1), 1);
    size_t stride = groups * Q1_BYTES;
    for (size_t r = row0; r < row1; r += ROWS) {
        size_t n = MIN(row1 - r, (size_t)ROWS);
        const char *ahead = (const char *)w + MIN(r + ROWS, row1 - 1) * stride; /* the next rows, to L2 */
        _Alignas(64) float acc[TOKENS][ROWS] = {0};
        for (size_t g = 0; g < groups; g++) {
            const uint8_t *block = w + r * stride + g * Q1_BYTES;
            _Alignas(32) uint16_t halves[ROWS];
            __m128i bits[ROWS];
            for (size_t i = 0; i < ROWS; i++) {
                const uint8_t *row = block + MIN(i, n - 1) * stride;
                memcpy(&halves[i], row, sizeof halves[i]);
                bits[i] = _mm_loadu_si128((const __m128i *)(row + 2));
            }
            __m512 d = _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)halves));
            for (size_t line = 0; line < ROWS * Q1_BYTES; line += 64)
                _mm_prefetch(ahead + g * ROWS * Q1_BYTES + line, _MM_HINT_T1);
            for (size_t t = 0; t < tokens; t++) {
                size_t at = g * tokens + t;
                const uint8_t *plane = (const uint8_t *)packed + at * PLANES;
                __m512i p0 = _mm512_load_si512(plane), p1 = _mm512_load_si512(plane + 64), s[ROWS];
                UNROLL
                for (size_t i = 0; i < ROWS; i++) {
                    __m512i b = _mm512_broadcast_i32x4(bits[i]);
                    s[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_popcnt_epi8(_mm512_and_si512(b, p0)), low);
                    s[i] = _mm512_dpbusd_epi32(s[i], _mm512_popcnt_epi8(_mm512_and_si512(b, p1)), high);
                }
                __m512i isum = _mm512_sub_epi32(_mm512_slli_epi32(sum_lanes(s), 1), _mm512_set1_epi32(sums[at]));
                __m512 ds = _mm512_mul_ps(d, _mm512_set1_ps(scales[at]));
                _mm512_store_ps(acc[t], _mm512_fmadd_ps(ds, _mm512_cvtepi32_ps(isum), _mm512_load_ps(acc[t])));
            }
        }
        for (size_t t = 0; t < tokens; t++)
            memcpy(y + t * y_stride + r, acc[t], n * sizeof(float));
    }
}

static const struct q1_family popcount = {"popcount", ROWS, TOKENS, popcount_bytes, popcount_pack, popcount_run};

static const struct q1_family *pick_popcount(size_t tokens)
{
    (void)tokens;
    return &popcount;
}

const struct kernels kernels_avx512popcnt = {
    .level = "avx512popcnt",
    .needs = CPU_AVX2 | CPU_AVX512 | CPU_AVX512VNNI | CPU_BITALG,
    .q1 = {NULL, pick_popcount, NULL},
};
