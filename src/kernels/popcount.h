/* popcount.h: the "popcount" family on 64-bit words, compiled once for the baseline and once
 * for CPUs that count bits in one instruction. Layer: compute.
 *
 * The 128 activations of a group are kept as eight planes of bits, two's complement. With
 * P_b the number of set bits in plane b AND the weight's bits, the activations under set
 * bits sum to P_0 + 2 P_1 ... + 64 P_6 - 128 P_7; twice that less the sum of all is the
 * result. Wide activations are two such sets, as if they were two tokens. */
#ifndef SIGNUM_POPCOUNT_H
#define SIGNUM_POPCOUNT_H

#include "kernels.h"

#include "mathfn.h"

enum {
    POPCOUNT_TOKENS = 16
}; /* of one pack: they share each load of a weight */

struct planes {
    uint64_t bit[8][2];
    float scale;
    int32_t sum; /* of all activations of the group */
};

static size_t popcount_bytes(size_t groups, size_t tokens) { return tokens * groups * sizeof(struct planes); }

/* A byte of each of eight activations, 64 bits, as an 8 x 8 matrix of bits, transposed:
 * three rounds that swap squares of 1, 2 and 4 bits. */
static inline uint64_t transpose_bits(uint64_t x)
{
    uint64_t t = (x ^ x >> 7) & UINT64_C(0x00aa00aa00aa00aa);
    x ^= t ^ t << 7;
    t = (x ^ x >> 14) & UINT64_C(0x0000cccc0000cccc);
    x ^= t ^ t << 14;
    t = (x ^ x >> 28) & UINT64_C(0x00000000f0f0f0f0);
    return x ^ t ^ t << 28;
}

TEMPLATE void popcount_planes(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1,
                              size_t planes)
{
    for (size_t g = group0; g < group1; g++) {
        for (size_t t = 0; t < tokens * planes; t++) {
            struct planes p = {.scale = scale[t / planes * groups + g]};
            const int8_t *x = q + (t * groups + g) * GROUP;
            for (size_t i = 0; i < GROUP; i += 8) {
                uint64_t eight;
                memcpy(&eight, x + i, sizeof eight);
                eight = transpose_bits(eight);
                for (size_t b = 0; b < 8; b++)
                    p.bit[b][i / 64] |= (eight >> 8 * b & 0xff) << i % 64;
            }
            for (size_t i = 0; i < GROUP; i++)
                p.sum += x[i];
            ((struct planes *)packed)[g * tokens * planes + t] = p;
        }
    }
}

static void popcount_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1)
{
    popcount_planes(packed, q, scale, groups, tokens, group0, group1, 1);
}

#ifdef __POPCNT__
static inline int32_t masked_sum(const uint64_t bit[8][2], uint64_t w0, uint64_t w1)
{
#define PLANE(b) (int32_t)(__builtin_popcountll(bit[b][0] & w0) + __builtin_popcountll(bit[b][1] & w1))
    return PLANE(0) + 2 * PLANE(1) + 4 * PLANE(2) + 8 * PLANE(3) + 16 * (PLANE(4) + 2 * PLANE(5) + 4 * PLANE(6) - 8 * PLANE(7));
#undef PLANE
}
#else
#define EACH_2_BITS UINT64_C(0x5555555555555555)
#define EACH_4_BITS UINT64_C(0x3333333333333333)
#define EACH_BYTE UINT64_C(0x0f0f0f0f0f0f0f0f)
#define EACH_16 UINT64_C(0x00ff00ff00ff00ff)

/* Set bits of a and b by nibble, 0..8: the first steps of a population count. */
static inline uint64_t count_nibbles(uint64_t a, uint64_t b)
{
    a -= a >> 1 & EACH_2_BITS;
    b -= b >> 1 & EACH_2_BITS;
    return (a & EACH_4_BITS) + (a >> 2 & EACH_4_BITS) + (b & EACH_4_BITS) + (b >> 2 & EACH_4_BITS);
}

static inline uint64_t count_bytes(const uint64_t plane[2], uint64_t w0, uint64_t w1)
{
    uint64_t n = count_nibbles(plane[0] & w0, plane[1] & w1);
    return (n & EACH_BYTE) + (n >> 4 & EACH_BYTE); /* each 0..16 */
}

/* Eight population counts would each end in a horizontal sum. Instead the counts by byte
 * are weighted and added first; a byte holds 16 * (1 + 2 + 4 + 8) = 240. */
static inline int32_t masked_sum(const uint64_t bit[8][2], uint64_t w0, uint64_t w1)
{
    uint64_t low = count_bytes(bit[0], w0, w1) + (count_bytes(bit[1], w0, w1) << 1) + (count_bytes(bit[2], w0, w1) << 2) +
                   (count_bytes(bit[3], w0, w1) << 3);
    uint64_t high = UINT64_C(0x8080808080808080) + /* so that no byte borrows: 0..240 again */
                    count_bytes(bit[4], w0, w1) + (count_bytes(bit[5], w0, w1) << 1) + (count_bytes(bit[6], w0, w1) << 2) -
                    (count_bytes(bit[7], w0, w1) << 3);
    low = (low & EACH_16) + (low >> 8 & EACH_16) + (((high & EACH_16) + (high >> 8 & EACH_16)) << 4); /* at most 8160 */
    return (int32_t)(low * UINT64_C(0x0001000100010001) >> 48) - 16 * 8 * 0x80;
}
#endif

TEMPLATE void popcount_each(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                            size_t tokens, size_t planes)
{
    for (size_t r = row0; r < row1; r++) {
        float acc[POPCOUNT_TOKENS] = {0};
        const uint8_t *block = w + r * groups * Q1_BYTES;
        const struct planes *p = packed;
        for (size_t g = 0; g < groups; g++, block += Q1_BYTES) {
            uint64_t bits[2];
            memcpy(bits, block + 2, sizeof bits);
            float d = q1_scale(block);
            for (size_t t = 0; t < tokens; t++, p += planes) {
                int32_t sum = 2 * masked_sum(p->bit, bits[0], bits[1]) - p->sum;
                if (planes == WIDE_PLANES)
                    sum = WIDE_UNIT * sum + 2 * masked_sum(p[1].bit, bits[0], bits[1]) - p[1].sum;
                acc[t] = fma_f32(d * p->scale, (float)sum, acc[t]);
            }
        }
        for (size_t t = 0; t < tokens; t++)
            y[t * y_stride + r] = acc[t];
    }
}

static void popcount_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                         size_t tokens, struct q1_next next)
{
    (void)next;
    popcount_each(y, y_stride, w, row0, row1, groups, packed, tokens, 1);
}

static const struct q1_family popcount = {"popcount", 1, POPCOUNT_TOKENS, popcount_bytes, popcount_pack, popcount_run};

static size_t wide_popcount_bytes(size_t groups, size_t tokens) { return popcount_bytes(groups, tokens * WIDE_PLANES); }

static void wide_popcount_pack(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0,
                               size_t group1)
{
    popcount_planes(packed, q, scale, groups, tokens, group0, group1, WIDE_PLANES);
}

static void wide_popcount_run(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed,
                              size_t tokens, struct q1_next next)
{
    (void)next;
    popcount_each(y, y_stride, w, row0, row1, groups, packed, tokens, WIDE_PLANES);
}

static const struct q1_family wide_popcount = {"popcount", 1, POPCOUNT_TOKENS, wide_popcount_bytes, wide_popcount_pack, wide_popcount_run};

#endif
