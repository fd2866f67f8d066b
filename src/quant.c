#include "quant.h"

#include <string.h>

/* name, weights and bytes of a block, weights per scale pair if int8 activations are used */
const struct quant_traits quant_traits[QUANT_COUNT] = {
    [QUANT_F32] = {"F32", 1, 4, 0},
    [QUANT_F16] = {"F16", 1, 2, 0},
    [QUANT_BF16] = {"BF16", 1, 2, 0},
    [QUANT_Q8_0] = {"Q8_0", 32, 34, 0},
    [QUANT_Q4_0] = {"Q4_0", 32, 18, 0},
    [QUANT_Q4_1] = {"Q4_1", 32, 20, 0},
    [QUANT_Q4_K] = {"Q4_K", 256, 144, 0},
    [QUANT_Q5_K] = {"Q5_K", 256, 176, 0},
    [QUANT_Q6_K] = {"Q6_K", 256, 210, 0},
    [QUANT_Q1_0] = {"Q1_0", 128, 18, 128},
    [QUANT_Q2_0_G64] = {"Q2_0 (groups of 64)", 64, 18, 64},
    [QUANT_Q2_0_G128] = {"Q2_0 (groups of 128)", 128, 34, 128},
    [QUANT_TQ1_0] = {"TQ1_0", 256, 54, 128},
    [QUANT_TQ2_0] = {"TQ2_0", 256, 66, 128},
    [QUANT_Q1_0_R64] = {"Q1_0_R64", 128, 18, 128},
};

/* ------------------------------------------------------------- half precision */

static inline float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline uint16_t load_u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* No branches, so that loops over it become vector code. */
static inline float decode_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7FFF, shifted = rest << 13;
    /* The exponent's bias of 15 becomes 127; 31 (infinity, NaN) becomes 255. */
    uint32_t bits = shifted + (112u << 23) + ((rest >= 0x7C00 ? 112u : 0u) << 23);
    /* 1.mantissa - 1, both times 2^-14, is the subnormal, exactly, and touches no subnormal
     * float, which the caller's floating-point mode may flush to zero. */
    uint32_t subnormal = bits_of(float_of(shifted + (113u << 23)) - float_of(113u << 23));
    uint32_t is_subnormal = rest < 0x0400 ? UINT32_MAX : 0;
    return float_of(sign | (subnormal & is_subnormal) | (bits & ~is_subnormal));
}

float f16_to_f32(uint16_t h) { return decode_f16(h); }

uint16_t f32_to_f16(float f)
{
    uint32_t bits = bits_of(f), sign = bits >> 16 & 0x8000, rest = bits & 0x7FFFFFFF;
    if (rest > 0x7F800000) /* NaN: quiet, with the upper part of its payload, as processors do */
        return (uint16_t)(sign | 0x7E00 | (rest >> 13 & 0x3FF));
    if (rest >= 0x47800000) /* 65536 and above */
        return (uint16_t)(sign | 0x7C00);
    if (rest >= 0x38800000) /* normal; rounding may carry into the exponent, up to infinity */
        return (uint16_t)(sign | (rest - (112u << 23) + 0x0FFF + (rest >> 13 & 1)) >> 13);
    uint32_t shift = 126 - (rest >> 23); /* subnormal: a multiple of 2^-24 */
    if (shift > 25)
        return (uint16_t)sign;
    uint32_t mantissa = (rest & 0x7FFFFF) | 0x800000;
    return (uint16_t)(sign | (mantissa + (1u << (shift - 1)) - 1 + (mantissa >> shift & 1)) >> shift);
}

/* ------------------------------------------------------- plain and 8-bit floats */

static void dequantize_f16(float *restrict dst, const uint8_t *restrict src, size_t n)
{
    for (; n >= 16; n -= 16, dst += 16, src += 32)
        for (size_t i = 0; i < 16; i++)
            dst[i] = decode_f16(load_u16(src + 2 * i));
    for (size_t i = 0; i < n; i++)
        dst[i] = decode_f16(load_u16(src + 2 * i));
}

static void dequantize_bf16(float *restrict dst, const uint8_t *restrict src, size_t n)
{
    for (; n >= 16; n -= 16, dst += 16, src += 32)
        for (size_t i = 0; i < 16; i++)
            dst[i] = float_of((uint32_t)load_u16(src + 2 * i) << 16);
    for (size_t i = 0; i < n; i++)
        dst[i] = float_of((uint32_t)load_u16(src + 2 * i) << 16);
}

/* f16 d; int8 q[32] */
static void dequantize_q8_0(float *restrict dst, const uint8_t *restrict src, size_t n)
{
    for (const float *end = dst + n; dst < end; dst += 32, src += 34) {
        float d = decode_f16(load_u16(src));
        for (size_t i = 0; i < 32; i++)
            dst[i] = d * (float)(int8_t)src[2 + i];
    }
}

/* ------------------------------------------------------------------------ 4 bits */

/* f16 d; 16 bytes: the low halves are weights 0..15, the high ones 16..31 */
static void dequantize_q4_0(float *restrict dst, const uint8_t *restrict src, size_t n)
{
    for (const float *end = dst + n; dst < end; dst += 32, src += 18) {
        float d = decode_f16(load_u16(src));
        for (size_t i = 0; i < 16; i++) {
            dst[i] = d * (float)((src[2 + i] & 15) - 8);
            dst[i + 16] = d * (float)((src[2 + i] >> 4) - 8);
        }
    }
}

/* f16 d, m; 16 bytes as above */
static void dequantize_q4_1(float *restrict dst, const uint8_t *restrict src, size_t n)
{
    for (const float *end = dst + n; dst < end; dst += 32, src += 20) {
        float d = decode_f16(load_u16(src)), m = decode_f16(load_u16(src + 2));
        for (size_t i = 0; i < 16; i++) {
            dst[i] = d * (float)(src[4 + i] & 15) + m;
            dst[i + 16] = d * (float)(src[4 + i] >> 4) + m;
        }
    }
}

/* --------------------------------------------------------- "K": blocks of 256 */

/* The twelve bytes that hold eight 6-bit scales and eight 6-bit minima. */
static void unpack_scales(uint8_t scale[8], uint8_t min[8], const uint8_t packed[12])
{
    for (size_t i = 0; i < 4; i++) {
        scale[i] = packed[i] & 63;
        min[i] = packed[i + 4] & 63;
        scale[i + 4] = (uint8_t)((packed[i + 8] & 15) | packed[i] >> 6 << 4);
        min[i + 4] = (uint8_t)(packed[i + 8] >> 4 | packed[i + 4] >> 6 << 4);
    }
}

/* f16 d, dmin; scales[12]; q[128]: 32 bytes hold weights 0..31 in the low and 32..63 in the high halves */
static void dequantize_q4_k(float *restrict dst, const uint8_t *restrict src, size_t n)
{
    for (const float *end = dst + n; dst < end; dst += 256, src += 144) {
        float d = decode_f16(load_u16(src)), dmin = decode_f16(load_u16(src + 2));
        uint8_t scale[8], min[8];
        unpack_scales(scale, min, src + 4);
        for (size_t pair = 0; pair < 4; pair++) {
            const uint8_t *q = src + 16 + 32 * pair;
            float *y = dst + 64 * pair;
            float d0 = d * (float)scale[2 * pair], m0 = dmin * (float)min[2 * pair];
            float d1 = d * (float)scale[2 * pair + 1], m1 = dmin * (float)min[2 * pair + 1];
            for (size_t i = 0; i < 32; i++) {
                y[i] = d0 * (float)(q[i] & 15) - m0;
                y[i + 32] = d1 * (float)(q[i] >> 4) - m1;
            }
        }
    }
}

/* as Q4_K, with high[32] before q: bit 2*pair and 2*pair+1 of byte i are the fifth bits */
static void dequantize_q5_k(float *restrict dst, const uint8_t *restrict src, size_t n)
{
    for (const float *end = dst + n; dst < end; dst += 256, src += 176) {
        float d = decode_f16(load_u16(src)), dmin = decode_f16(load_u16(src + 2));
        uint8_t scale[8], min[8];
        unpack_scales(scale, min, src + 4);
        const uint8_t *high = src + 16;
        for (size_t pair = 0; pair < 4; pair++) {
            const uint8_t *q = src + 48 + 32 * pair;
            float *y = dst + 64 * pair;
            float d0 = d * (float)scale[2 * pair], m0 = dmin * (float)min[2 * pair];
            float d1 = d * (float)scale[2 * pair + 1], m1 = dmin * (float)min[2 * pair + 1];
            for (size_t i = 0; i < 32; i++) {
                y[i] = d0 * (float)((q[i] & 15) + 16 * (high[i] >> 2 * pair & 1)) - m0;
                y[i + 32] = d1 * (float)((q[i] >> 4) + 16 * (high[i] >> (2 * pair + 1) & 1)) - m1;
            }
        }
    }
}

/* low[128], high[64], int8 scale[16], f16 d; two halves of 128 weights */
static void dequantize_q6_k(float *restrict dst, const uint8_t *restrict src, size_t n)
{
    for (const float *end = dst + n; dst < end; dst += 256, src += 210) {
        float d = decode_f16(load_u16(src + 208));
        for (size_t half = 0; half < 2; half++) {
            const uint8_t *low = src + 64 * half, *high = src + 128 + 32 * half, *scale = src + 192 + 8 * half;
            float *y = dst + 128 * half;
            for (size_t part = 0; part < 8; part++) { /* 16 weights with one scale; four 32s of a half share bytes */
                size_t quarter = part / 2, first = part % 2 * 16;
                const uint8_t *nibbles = low + 32 * (quarter & 1) + first, *top = high + first;
                unsigned shift = quarter < 2 ? 0 : 4, top_shift = 2 * (unsigned)quarter;
                float d0 = d * (float)(int8_t)scale[part];
                for (size_t i = 0; i < 16; i++)
                    y[16 * part + i] = d0 * (float)(((nibbles[i] >> shift & 15) | (top[i] >> top_shift & 3) << 4) - 32);
            }
        }
    }
}

/* ------------------------------------------------- one bit and ternary: codes, scales */

/* One-bit and two-bit fields are spread four at a time over the bytes of a word (little endian: the
 * lowest byte comes first): shifting by 8 less the field's width leaves each field at the start of its byte. */
static inline void store_minus_one(int8_t *codes, uint32_t fields)
{
    uint32_t word = ((fields | 0x80808080) - 0x01010101) ^ 0x80808080; /* minus 1 in every byte, no borrow across */
    memcpy(codes, &word, sizeof word);
}

/* f16 d; 16 bytes, weight i at bit i % 8 of byte i / 8: 1 is +d, 0 is -d */
static void codes_q1_0(int8_t *restrict codes, const uint8_t *restrict src)
{
    for (size_t i = 0; i < 16; i++) {
        uint32_t low = src[2 + i] & 15, high = src[2 + i] >> 4;
        store_minus_one(codes + 8 * i, ((low | low << 7 | low << 14 | low << 21) & 0x01010101) * 2);
        store_minus_one(codes + 8 * i + 4, ((high | high << 7 | high << 14 | high << 21) & 0x01010101) * 2);
    }
}

/* The 16 bytes of 64 weights, after f16 d and other such bytes: four each, low bits first: 0, 1, 2, 3 are -d, 0, d, 2d */
static void codes_q2_0(int8_t *restrict codes, const uint8_t *restrict src)
{
    for (size_t i = 0; i < 16; i++) {
        uint32_t q = src[i];
        store_minus_one(codes + 4 * i, (q | q << 6 | q << 12 | q << 18) & 0x03030303);
    }
}

/* Five (or for the last bytes four) trits to a byte, as a fraction in base 3: digit k of b is the integer
 * part of 3 * fraction(b * 3^k / 256). The k-th digits of the bytes of a run are consecutive weights. */
static inline void codes_trits(int8_t *restrict codes, const uint8_t *restrict src, size_t run, size_t digits)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    for (size_t k = 0; k < digits; k++)
        for (size_t i = 0; i < run; i++) {
            unsigned fraction = (uint8_t)(src[i] * power[k]);
            codes[k * run + i] = (int8_t)((fraction * 3 >> 8) - 1);
        }
}

/* 48 bytes of five trits in runs of 32 and 16, 4 bytes of four; f16 d */
static void codes_tq1_0(int8_t *restrict codes, const uint8_t *restrict src)
{
    codes_trits(codes, src, 32, 5);
    codes_trits(codes + 160, src + 32, 16, 5);
    codes_trits(codes + 240, src + 48, 4, 4);
}

/* 64 bytes, two runs of 32 whose k-th bit pairs are 32 consecutive weights; f16 d */
static void codes_tq2_0(int8_t *restrict codes, const uint8_t *restrict src)
{
    for (size_t run = 0; run < 2; run++)
        for (size_t k = 0; k < 4; k++)
            for (size_t i = 0; i < 32; i++)
                codes[128 * run + 32 * k + i] = (int8_t)((src[32 * run + i] >> 2 * k & 3) - 1);
}

/* Codes of one block; returns its scale. */
static float block_codes(enum quant_type type, int8_t *codes, const uint8_t *src)
{
    switch (type) {
    case QUANT_Q1_0:
        codes_q1_0(codes, src);
        return decode_f16(load_u16(src));
    case QUANT_Q2_0_G64:
        codes_q2_0(codes, src + 2);
        return decode_f16(load_u16(src));
    case QUANT_Q2_0_G128:
        codes_q2_0(codes, src + 2);
        codes_q2_0(codes + 64, src + 18);
        return decode_f16(load_u16(src));
    case QUANT_TQ1_0:
        codes_tq1_0(codes, src);
        return decode_f16(load_u16(src + 52));
    case QUANT_TQ2_0:
        codes_tq2_0(codes, src);
        return decode_f16(load_u16(src + 64));
    default:
        return 0; /* float types have no codes */
    }
}

void quant_codes(enum quant_type type, int8_t *codes, float *scales, const uint8_t *src, size_t n)
{
    const struct quant_traits *traits = &quant_traits[type];
    for (size_t i = 0; i < n; i += traits->block, src += traits->block_bytes) {
        float d = block_codes(type, codes + i, src);
        for (size_t piece = 0; piece < traits->block; piece += traits->piece)
            *scales++ = d;
    }
}

static void dequantize_codes(enum quant_type type, float *restrict dst, const uint8_t *restrict src, size_t n)
{
    const struct quant_traits *traits = &quant_traits[type];
    int8_t codes[256];
    for (size_t i = 0; i < n; i += traits->block, src += traits->block_bytes) {
        float d = block_codes(type, codes, src);
        for (size_t k = 0; k < traits->block; k += 64)
            for (size_t j = 0; j < 64; j++)
                dst[i + k + j] = d * (float)codes[k + j];
    }
}

/* --------------------------------------------------------------------- all types */

void quant_dequantize(enum quant_type type, float *dst, const uint8_t *src, size_t n)
{
    switch (type) {
    case QUANT_F32:
        memcpy(dst, src, n * sizeof *dst);
        break;
    case QUANT_F16:
        dequantize_f16(dst, src, n);
        break;
    case QUANT_BF16:
        dequantize_bf16(dst, src, n);
        break;
    case QUANT_Q8_0:
        dequantize_q8_0(dst, src, n);
        break;
    case QUANT_Q4_0:
        dequantize_q4_0(dst, src, n);
        break;
    case QUANT_Q4_1:
        dequantize_q4_1(dst, src, n);
        break;
    case QUANT_Q4_K:
        dequantize_q4_k(dst, src, n);
        break;
    case QUANT_Q5_K:
        dequantize_q5_k(dst, src, n);
        break;
    case QUANT_Q6_K:
        dequantize_q6_k(dst, src, n);
        break;
    default:
        dequantize_codes(type, dst, src, n);
    }
}

/* Where the half-precision scales of a block are; the second is the first where there is only one. */
static void scale_offsets(enum quant_type type, size_t at[2])
{
    at[0] = 0;
    if (type == QUANT_Q6_K || type == QUANT_TQ1_0 || type == QUANT_TQ2_0)
        at[0] = quant_traits[type].block_bytes - 2;
    at[1] = type == QUANT_Q4_1 || type == QUANT_Q4_K || type == QUANT_Q5_K ? 2 : at[0];
}

size_t quant_find_nonfinite(enum quant_type type, const uint8_t *src, size_t n)
{
    const struct quant_traits *traits = &quant_traits[type];
    if (type == QUANT_F32 || type == QUANT_BF16) { /* the exponent is in the last two bytes */
        for (size_t i = 0; i < n; i++)
            if ((load_u16(src + (i + 1) * traits->block_bytes - 2) & 0x7F80) == 0x7F80)
                return i;
        return n;
    }
    size_t at[2];
    scale_offsets(type, at);
    for (size_t i = 0; i < n; i += traits->block, src += traits->block_bytes)
        if ((load_u16(src + at[0]) & 0x7C00) == 0x7C00 || (load_u16(src + at[1]) & 0x7C00) == 0x7C00)
            return i;
    return n;
}

size_t quant_find_nonzero(enum quant_type type, const uint8_t *src, size_t n)
{
    const struct quant_traits *traits = &quant_traits[type];
    if (type == QUANT_F32) {
        for (size_t i = 0; i < n; i++)
            if (load_u16(src + 4 * i) != 0 || (load_u16(src + 4 * i + 2) & 0x7FFF) != 0)
                return i;
        return n;
    }
    size_t at[2];
    scale_offsets(type, at);
    for (size_t i = 0; i < n; i += traits->block, src += traits->block_bytes)
        if (((load_u16(src + at[0]) | load_u16(src + at[1])) & 0x7FFF) != 0)
            return i;
    return n;
}
