/* avxvnni_model.c: avxvnni.c on a model of vpdpbusd, as Intel's manual describes it, so that its
 * logic is tested on CPUs that have AVX2 alone: whoever uses kernels_avxvnni_model checks that. */
#ifdef SIGNUM_HAVE_avxvnni

#include <immintrin.h>

/* Lane i of sum plus the four products of the unsigned bytes of a and the signed ones of b in it. */
static inline __m256i model_dpbusd(__m256i sum, __m256i a, __m256i b)
{
    const __m256i ones = _mm256_set1_epi16(1), low = _mm256_set1_epi16(255);
    __m256i even = _mm256_mullo_epi16(_mm256_and_si256(a, low), _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
    __m256i odd = _mm256_mullo_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
    return _mm256_add_epi32(sum, _mm256_add_epi32(_mm256_madd_epi16(even, ones), _mm256_madd_epi16(odd, ones)));
}

extern const struct kernels kernels_avxvnni_model;

#define _mm256_dpbusd_avx_epi32 model_dpbusd
#define AVXVNNI_MODEL
#include "../src/kernels/avxvnni.c"

#endif
