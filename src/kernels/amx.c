/* amx.c: AMX int8 tiles for three tokens and more. Weights become bytes of +1 and -1 in
 * place: the group's 16 bytes in all four lanes, and one affine transform of bits whose
 * matrix tests bit b in lane b, gives 64 of them. Activations are permuted to match. All else
 * is avx512vnni.c's and avx512.c's.
 *
 * The tile instructions are named by macros so that tests/amx_model.c can compile this file
 * against a model of them, for CPUs that have AVX-512 but no tiles. */
#include "kernels.h"

#include <immintrin.h>
#include <string.h>

#include "cpu.h"

#ifndef AMX_MODEL
#define tile_configure(config) _tile_loadconfig(config)
#define tile_release() _tile_release()
#define tile_zero(t) _tile_zero(t)
#define tile_load(t, from, stride) _tile_loadd(t, from, stride)
#define tile_store(t, to, stride) _tile_stored(t, to, stride)
#define tile_dot(sums, rows, columns) _tile_dpbssd(sums, rows, columns)
#endif

enum {
    SIDE = 16,        /* rows, and tokens, of a tile */
    TILE = SIDE * 64, /* bytes */
    DEPTH = 4,        /* groups whose weights are expanded at a time, into L1 */
    ROW_TILES = 2,    /* share the activations while these are in L1 */
    TOKENS = 128,
    TOKEN_TILES = TOKENS / SIDE,
};

/* Packed: [group][token tile][plane][half of the group] tiles of activations: line k of a tile holds
 * positions 4 k .. 4 k + 3 of 16 tokens, position 16 b + i of half h being the activation of
 * bit 4 h + b of byte i. Then scales, [group][token], tokens padded with zeros. */

static inline size_t padded(size_t tokens) { return ROUND_UP(tokens, (size_t)SIDE); }

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

TEMPLATE void pack_planes(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1,
                          size_t planes)
{
    size_t all = padded(tokens);
    float *scales = (float *)((uint8_t *)packed + groups * all * planes * GROUP);
    for (size_t g = group0; g < group1; g++) {
        for (size_t t = 0; t < all; t++)
            scales[g * all + t] = t < tokens ? scale[t * groups + g] : 0;
        for (size_t t = 0; t < all; t += SIDE) {
            uint8_t *out = (uint8_t *)packed + (g * all + t) * planes * GROUP;
            for (size_t plane = 0; plane < planes; plane++) {
                __m512i x[2][SIDE];
                for (size_t i = 0; i < SIDE; i++) {
                    __m512i both[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
                    if (t + i < tokens)
                        order_by_bits(both, q + (((t + i) * planes + plane) * groups + g) * GROUP);
                    x[0][i] = both[0];
                    x[1][i] = both[1];
                }
                for (size_t half = 0; half < 2; half++) {
                    transpose(x[half]);
                    for (size_t k = 0; k < SIDE; k++)
                        _mm512_store_si512(out + (plane * 2 + half) * TILE + k * 64, x[half][k]);
                }
            }
        }
    }
}

/* Rows to be fetched into L2, a line at a time in ascending order. */
struct ahead {
    const char *at;
    size_t lines;
};

static inline void fetch_line(struct ahead *ahead)
{
    if (ahead->lines > 0) {
        _mm_prefetch(ahead->at, _MM_HINT_T1);
        ahead->at += 64;
        ahead->lines--;
    }
}

/* One group of 16 rows as two tiles of +1 and -1, and the scales; rows beyond n repeat the last. With
 * few tokens weights come from memory, and 16 to 32 rows in turn are too many streams for the CPU to
 * guess: five lines are fetched here where 4.5 are read. */
static inline void expand(uint8_t out[2][TILE], float d[SIDE], const uint8_t *w, size_t stride, size_t n, struct ahead *ahead)
{
    /* Byte 7 - j of a matrix says which bits make bit j of the result. Bits 1..7 copy the tested
     * one, bit 0 none; 0xff inverts all. So a set bit becomes 0x01, a clear one 0xff. */
#define TEST(b) (INT64_C(0x0001010101010101) << (b))
    const __m512i lower = _mm512_setr_epi64(TEST(0), TEST(0), TEST(1), TEST(1), TEST(2), TEST(2), TEST(3), TEST(3));
    const __m512i upper = _mm512_setr_epi64(TEST(4), TEST(4), TEST(5), TEST(5), TEST(6), TEST(6), TEST(7), TEST(7));
#undef TEST
    _Alignas(32) uint16_t half[SIDE];
    for (size_t i = 0; i < SIDE; i++) {
        const uint8_t *row = w + MIN(i, n - 1) * stride;
        memcpy(&half[i], row, sizeof half[i]);
        __m512i bits = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(row + 2)));
        _mm512_store_si512(out[0] + 64 * i, _mm512_gf2p8affine_epi64_epi8(bits, lower, 0xff));
        _mm512_store_si512(out[1] + 64 * i, _mm512_gf2p8affine_epi64_epi8(bits, upper, 0xff));
        if (i % 3 == 0 && i > 0)
            fetch_line(ahead);
    }
    _mm512_store_ps(d, _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)half)));
}

/* acc[row] (16 tokens) = fma(d[row] * s, sums[row], acc[row]), planes joined. */
TEMPLATE void add_tile(__m512 acc[SIDE], const int32_t sums[WIDE_PLANES][SIDE][SIDE], const float d[SIDE], __m512 s, size_t planes)
{
    UNROLL
    for (size_t i = 0; i < SIDE; i++) {
        __m512i sum = _mm512_load_si512(sums[0][i]);
        if (planes == WIDE_PLANES)
            sum = _mm512_add_epi32(_mm512_slli_epi32(sum, 7), _mm512_load_si512(sums[1][i]));
        acc[i] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_set1_ps(d[i]), s), _mm512_cvtepi32_ps(sum), acc[i]);
    }
}

/* 16 rows times 16 tokens over n <= DEPTH groups. The scaling of a group comes after the
 * multiplications of the next one have been issued, so that both run at once. Tiles are named
 * by literals: a group's sums are made in tile `to`, those of a low plane, which meets the
 * weights that are already there, in `low`. */
TEMPLATE void multiply(float out[SIDE][SIDE], uint8_t weights[DEPTH][2][TILE], float d[DEPTH][SIDE], const uint8_t *codes,
                       size_t codes_stride, const float *s, size_t s_stride, size_t n, size_t planes)
{
    _Alignas(64) int32_t sums[DEPTH][WIDE_PLANES][SIDE][SIDE];
    __m512 acc[SIDE];
    UNROLL
    for (size_t i = 0; i < SIDE; i++)
        acc[i] = _mm512_load_ps(out[i]);
#define GROUP_SUMS(g, to, low)                             \
    if ((g) < n) {                                         \
        const uint8_t *columns = codes + (g)*codes_stride; \
        tile_zero(to);                                     \
        tile_load(4, weights[g][0], 64);                   \
        tile_load(5, columns, 64);                         \
        tile_dot(to, 4, 5);                                \
        tile_load(6, weights[g][1], 64);                   \
        tile_load(7, columns + TILE, 64);                  \
        tile_dot(to, 6, 7);                                \
        if (planes == WIDE_PLANES) {                       \
            tile_zero(low);                                \
            tile_load(5, columns + 2 * TILE, 64);          \
            tile_dot(low, 4, 5);                           \
            tile_load(7, columns + 3 * TILE, 64);          \
            tile_dot(low, 6, 7);                           \
            tile_store(low, sums[g][1], 64);               \
        }                                                  \
        tile_store(to, sums[g][0], 64);                    \
    }
#define ADD(g)   \
    if ((g) < n) \
        add_tile(acc, sums[g], d[g], _mm512_loadu_ps(s + (g)*s_stride), planes);
    GROUP_SUMS(0, 0, 2)
    GROUP_SUMS(1, 1, 3)
    ADD(0)
    GROUP_SUMS(2, 2, 0)
    ADD(1)
    GROUP_SUMS(3, 3, 1)
    ADD(2)
    ADD(3)
#undef GROUP_SUMS
#undef ADD
    UNROLL
    for (size_t i = 0; i < SIDE; i++)
        _mm512_store_ps(out[i], acc[i]);
}

/* Palette 1; every tile 16 lines of 64 bytes. */
static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t line_bytes[16];
    uint8_t lines[16];
} tiles_of_64 = {.palette = 1, .line_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .lines = {16, 16, 16, 16, 16, 16, 16, 16}};

TEMPLATE void multiply_planes(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                              size_t tokens, size_t planes, struct q1_next next)
{
    size_t all = padded(tokens), stride = groups * Q1_BYTES;
    size_t group_bytes = all * planes * GROUP;
    const float *scales = (const float *)((const uint8_t *)packed + groups * group_bytes);
    const __m512i column =
        _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32(SIDE));
    tile_configure(&tiles_of_64);
    for (size_t r = row0; r < row1; r += ROW_TILES * SIDE) {
        _Alignas(64) float acc[ROW_TILES][TOKEN_TILES][SIDE][SIDE];
        _Alignas(64) uint8_t weights[ROW_TILES][DEPTH][2][TILE];
        _Alignas(64) float d[ROW_TILES][DEPTH][SIDE];
        size_t row_tiles = MIN(DIV_UP(row1 - r, (size_t)SIDE), (size_t)ROW_TILES);
        const size_t after = r + ROW_TILES * SIDE; /* the rows of the next round, or what is multiplied next */
        struct ahead ahead = {(const char *)next.data, MIN(next.bytes, ROW_TILES * SIDE * stride) / 64};
        if (after < row1)
            ahead = (struct ahead){(const char *)w + after * stride, MIN(ROW_TILES * SIDE, row1 - after) * stride / 64};
        for (size_t i = 0; i < row_tiles; i++)
            memset(acc[i], 0, all / SIDE * sizeof acc[i][0]);
        for (size_t g0 = 0; g0 < groups; g0 += DEPTH) {
            size_t n = MIN(groups - g0, (size_t)DEPTH);
            for (size_t i = 0; i < row_tiles; i++)
                for (size_t g = 0; g < n; g++)
                    expand(weights[i][g], d[i][g], w + (r + i * SIDE) * stride + (g0 + g) * Q1_BYTES, stride,
                           MIN(row1 - r - i * SIDE, (size_t)SIDE), &ahead);
            const uint8_t *codes = (const uint8_t *)packed + g0 * group_bytes;
            for (size_t t = 0; t < all; t += SIDE)
                for (size_t i = 0; i < row_tiles; i++)
                    multiply(acc[i][t / SIDE], weights[i], d[i], codes + t * planes * GROUP, group_bytes, scales + g0 * all + t, all, n,
                             planes);
        }
        for (size_t i = 0; i < row_tiles; i++) {
            size_t n = MIN(row1 - r - i * SIDE, (size_t)SIDE);
            for (size_t t = 0; t < tokens; t++) {
                __m512 rows = _mm512_i32gather_ps(column, &acc[i][t / SIDE][0][t % SIDE], sizeof(float));
                _mm512_mask_storeu_ps(y + t * y_stride + r + i * SIDE, (__mmask16)((1u << n) - 1), rows);
            }
        }
    }
    tile_release();
}

static size_t amx_bytes(size_t groups, size_t tokens) { return groups * padded(tokens) * (GROUP + sizeof(float)); }

static void amx_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    pack_planes(packed, q, scale, groups, tokens, group0, group1, 1);
}

static void amx_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed, size_t tokens,
                    struct q1_next next)
{
    multiply_planes(y, y_stride, w, row0, row1, groups, packed, tokens, 1, next);
}

static const struct q1_family sign = {"sign", ROW_TILES *SIDE, TOKENS, amx_bytes, amx_pack, amx_run};

static const struct q1_family *pick_sign(size_t tokens)
{
    (void)tokens;
    return &sign;
}

static size_t wide_amx_bytes(size_t groups, size_t tokens) { return groups * padded(tokens) * (WIDE_PLANES * GROUP + sizeof(float)); }

static void wide_amx_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    pack_planes(packed, q, scale, groups, tokens, group0, group1, WIDE_PLANES);
}

static void wide_amx_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                         size_t tokens, struct q1_next next)
{
    multiply_planes(y, y_stride, w, row0, row1, groups, packed, tokens, WIDE_PLANES, next);
}

/* So many that the activations take what int8 ones do: to stay in L2. */
static const struct q1_family wide_sign = {"sign", ROW_TILES *SIDE, TOKENS / WIDE_PLANES, wide_amx_bytes, wide_amx_pack, wide_amx_run};

static const struct q1_family *pick_wide_sign(size_t tokens)
{
    (void)tokens;
    return &wide_sign;
}

/* Tiles cost the same for 3 tokens as for 16; two are about even. */
static int q1_auto(size_t tokens) { return tokens <= 2 ? 2 : 0; }

/* -------------------------------------------------------------------- peak */

/* Four sums in rotation, which hide a multiplication's latency. */
static uint64_t peak_i8(size_t rounds)
{
    tile_configure(&tiles_of_64);
    tile_zero(0);
    tile_zero(1);
    tile_zero(2);
    tile_zero(3);
    tile_zero(4);
    tile_zero(5);
    for (size_t round = 0; round < rounds; round++) {
        tile_dot(0, 4, 5);
        tile_dot(1, 4, 5);
        tile_dot(2, 4, 5);
        tile_dot(3, 4, 5);
    }
    tile_release();
    return (uint64_t)rounds * 4 * SIDE * TILE;
}

/* ------------------------------------------------------------------- table */

#ifdef AMX_MODEL
const struct kernels kernels_amx_model = {
#else
const struct kernels kernels_amx = {
#endif
    .level = "amx",
    .needs = CPU_AVX2 | CPU_AVX512 | CPU_AVX512VNNI | CPU_GFNI | CPU_AMX,
    .peak_i8 = peak_i8,
    .q1 = {pick_sign, NULL, NULL},
    .q1_auto = q1_auto,
    .q1_wide = {pick_wide_sign, NULL, NULL},
    .q1_wide_auto = q1_auto,
};
