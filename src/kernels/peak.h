/* peak.h: the loop behind peak_i8 and peak_f32: multiply-adds whose operands never leave the
 * registers, in more independent sums than any CPU needs to hide an instruction's latency.
 * What it reaches is what a matmul could reach if nothing else had to be done.
 * Layer: compute. */
#ifndef SIGNUM_PEAK_H
#define SIGNUM_PEAK_H

#include "kernels.h"

enum {
    PEAK_SUMS = 12
};

/* A register of some class ("v" of AVX-512, "x", "w" of AArch64) whose content the compiler
 * must not know: else it would compute a product once and add it ever after. */
#define PEAK_UNKNOWN(register_class, x) __asm__("" : "+" register_class(x))

/* uint64_t name(size_t rounds): step(sum, a, b) adds `products` products to a sum. A macro,
 * because types and register classes differ. */
#define PEAK_LOOP(name, type, register_class, zero, step, products) \
    static uint64_t name(size_t rounds)                             \
    {                                                               \
        type a = zero, b = zero, sum[PEAK_SUMS];                    \
        UNROLL                                                      \
        for (size_t i = 0; i < PEAK_SUMS; i++)                      \
            sum[i] = zero;                                          \
        for (size_t round = 0; round < rounds; round++) {           \
            PEAK_UNKNOWN(register_class, b);                        \
            UNROLL                                                  \
            for (size_t i = 0; i < PEAK_SUMS; i++) {                \
                PEAK_UNKNOWN(register_class, a);                    \
                sum[i] = step(sum[i], a, b);                        \
            }                                                       \
        }                                                           \
        UNROLL                                                      \
        for (size_t i = 0; i < PEAK_SUMS; i++)                      \
            __asm__ volatile("" : : register_class(sum[i]));        \
        return (uint64_t)rounds * PEAK_SUMS * (products);           \
    }

#endif
