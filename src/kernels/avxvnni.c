/* avxvnni.c: AVX2 with AVX-VNNI: the dot products of the "sign" family and of attention over int8 in one
 * instruction where avx2.c takes two. All else is avx2.c's, and what --matmul auto takes: a Sapphire Rapids core
 * did 0.12 Tproducts/s with these dot products and 0.17 with nibble tables of side by side rows.
 *
 * tests/avxvnni_model.c compiles this file against a model of the instruction. */
#include "kernels.h"

#include <immintrin.h>

#include "attn_q8_avxvnni.h"
#include "cpu.h"
#include "peak.h"

static inline __m256i sign_step(__m256i acc, __m256i weights, __m256i codes) { return _mm256_dpbusd_avx_epi32(acc, weights, codes); }

static inline __m256i sign_twice(__m256i acc) { return _mm256_slli_epi32(acc, 1); }

#include "sign_x86.h"

static const struct q1_family *pick_sign(size_t tokens)
{
    (void)tokens;
    return &sign;
}

static const struct q1_family *pick_wide_sign(size_t tokens)
{
    (void)tokens;
    return &wide_sign;
}

/* -------------------------------------------------------------------- peak */

PEAK_LOOP(peak_i8, __m256i, "x", _mm256_setzero_si256(), sign_step, 32)

#ifdef AVXVNNI_MODEL
const struct kernels kernels_avxvnni_model = {
#else
const struct kernels kernels_avxvnni = {
#endif
    .level = "avxvnni",
    .needs = CPU_AVX2 | CPU_AVXVNNI,
    .attn_scores_q8 = attn_scores_q8,
    .attn_values_q8 = attn_values_q8,
    .peak_i8 = peak_i8,
    .q1 = {pick_sign, NULL, NULL},
    .q1_wide = {pick_wide_sign, NULL, NULL},
};
