/* quant.h: the block layouts of weights and their scalar decoding, which is the
 * definition of what the bytes mean. Layer: compute. */
#ifndef SIGNUM_QUANT_H
#define SIGNUM_QUANT_H

#include "base.h"

enum quant_type {
    QUANT_F32,
    QUANT_F16,
    QUANT_BF16,
    QUANT_Q8_0,
    QUANT_Q4_0,
    QUANT_Q4_1,
    QUANT_Q4_K,
    QUANT_Q5_K,
    QUANT_Q6_K,
    QUANT_Q1_0,      /* id 41: 128 weights, fp16 scale + 16 bytes of signs */
    QUANT_Q2_0_G64,  /* id 42, mainline: 64 weights in 18 bytes */
    QUANT_Q2_0_G128, /* id 42 (legacy) and 142 (PQ2_0): 128 weights in 34 bytes */
    QUANT_TQ1_0,
    QUANT_TQ2_0,
    QUANT_BY_ROW,                  /* so many types keep the weights of a row together: the functions below take them */
    QUANT_Q1_0_R64 = QUANT_BY_ROW, /* signum's own, 64 rows of Q1_0 side by side: see r64.h */
    QUANT_COUNT,
};

enum {
    GROUP = 128
}; /* weights that share a scale in Q1_0; activations that share a scale always */

/* Q1_0: a group of 128 weights in 18 bytes: binary16 scale d, then 16 bytes of bits; bit j of
 * byte i is weight 8 i + j, +d if set and -d if not. */
enum {
    Q1_BYTES = 18
};

struct quant_traits {
    const char *name;
    size_t block; /* weights per block */
    size_t block_bytes;
    size_t piece; /* weights in which both scales are constant, for the types that meet int8
                         * activations (Q1_0 and ternary); 0: the type runs in float */
};
extern const struct quant_traits quant_traits[QUANT_COUNT];

/* Bytes of a row of n weights; n must be a multiple of the block. */
static inline size_t quant_row_bytes(enum quant_type type, size_t n)
{
    return n / quant_traits[type].block * quant_traits[type].block_bytes;
}

/* Exactly what the format says, n a multiple of the block, src unaligned. */
void quant_dequantize(enum quant_type type, float *dst, const uint8_t *src, size_t n);

/* For types with a piece: codes[n] in -1..2 and one scale per piece, so that
 * weight = scale * code. */
void quant_codes(enum quant_type type, int8_t *codes, float *scales, const uint8_t *src, size_t n);

/* Finds a NaN or infinite scale (or value, for float types): the index of the
 * first bad weight, or n when there is none. */
size_t quant_find_nonfinite(enum quant_type type, const uint8_t *src, size_t n);

/* Likewise the first weight whose scale (or value) is not 0, or n when all are. */
size_t quant_find_nonzero(enum quant_type type, const uint8_t *src, size_t n);

/* IEEE binary16, exact; the reverse rounds to nearest even (overflow to infinity). */
float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);

#endif
