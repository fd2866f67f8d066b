/* q8_codes_avx2.h: numbers rounded for a KV cache in int8, for AVX2 and AVX-VNNI. Layer: compute. */
#ifndef SIGNUM_Q8_CODES_AVX2_H
#define SIGNUM_Q8_CODES_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "kernels.h"

/* The scale and the factor of quantize_head's rule for numbers of which the largest has
 * these bits, without its sign. */
static inline float q8_scale(float *inverse, int32_t bits, float most)
{
    float amax;
    memcpy(&amax, &bits, sizeof amax);
    bool finite = bits < 0x7f800000, zero = amax < 0x1p-100f;
    *inverse = !finite || zero ? 0 : most / amax;
    return !finite ? __builtin_nanf("") : zero ? 0 : amax / most;
}

static inline int32_t q8_max(__m256i v)
{
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}

/* Probabilities times scales as integers; returns what 1 stands for. */
static inline float q8_words(int16_t words[ATTN_TILE], const float *prob, const float *v_scale, size_t n_valid)
{
    const __m256i place = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256 w[ATTN_TILE / 8];
    __m256i largest = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (size_t i = 0; i < ATTN_TILE / 8; i++) {
        __m256i valid = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n_valid - (int)i * 8), place);
        w[i] = _mm256_mul_ps(_mm256_loadu_ps(prob + i * 8), _mm256_loadu_ps(v_scale + i * 8));
        w[i] = _mm256_and_ps(w[i], _mm256_castsi256_ps(valid));
        largest = _mm256_max_epi32(largest, _mm256_and_si256(_mm256_castps_si256(w[i]), magnitude));
    }
    float inverse, unit = q8_scale(&inverse, q8_max(largest), PROB_MAX);
    __m256 factor = _mm256_set1_ps(inverse);
#pragma GCC unroll 4
    for (size_t i = 0; i < ATTN_TILE / 8; i += 2) {
        __m256i c =
            _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(w[i], factor)), _mm256_cvtps_epi32(_mm256_mul_ps(w[i + 1], factor)));
        _mm256_storeu_si256((__m256i *)(words + i * 8), _mm256_permute4x64_epi64(c, 0xd8));
    }
    return unit;
}

#endif
