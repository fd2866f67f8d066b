/* dotprod.c: AArch64 with the dot product extension: "sign" adds 16 products in one
 * instruction where neon.c takes two. Per group of 128 weights and row: 8 tests and 8 dot
 * products and a little, fewer than the tables of neon.c need even for one token. */
#include "kernels.h"

#include <arm_neon.h>

#include "cpu.h"

typedef int32x4_t sign_sums;

static inline sign_sums sign_zero(void) { return vdupq_n_s32(0); }
static inline sign_sums sign_step(sign_sums sums, int8x16_t selected, int8x16_t codes) { return vdotq_s32(sums, selected, codes); }
static inline int32x4_t sign_words(sign_sums sums) { return sums; }

#include "sign_neon.h"

static const struct q1_family *pick_sign(size_t tokens)
{
    (void)tokens;
    return &sign;
}

static int q1_auto(size_t tokens)
{
    (void)tokens;
    return 0;
}

static int32_t dot_i8(const int8_t *a, const int8_t *b, size_t n)
{
    int32x4_t sum0 = vdupq_n_s32(0), sum1 = sum0, sum2 = sum0, sum3 = sum0;
    for (size_t i = 0; i < n; i += 64) {
        sum0 = vdotq_s32(sum0, vld1q_s8(a + i), vld1q_s8(b + i));
        sum1 = vdotq_s32(sum1, vld1q_s8(a + i + 16), vld1q_s8(b + i + 16));
        sum2 = vdotq_s32(sum2, vld1q_s8(a + i + 32), vld1q_s8(b + i + 32));
        sum3 = vdotq_s32(sum3, vld1q_s8(a + i + 48), vld1q_s8(b + i + 48));
    }
    return vaddvq_s32(vaddq_s32(vaddq_s32(sum0, sum1), vaddq_s32(sum2, sum3)));
}

const struct kernels kernels_dotprod = {
    .level = "dotprod",
    .needs = CPU_NEON | CPU_DOTPROD,
    .dot_i8 = dot_i8,
    .q1 = {pick_sign, NULL, NULL},
    .q1_auto = q1_auto,
};
