/* rng.h: the mixer behind signum's random numbers. They are a function of what they
 * are for (seed, position ...), not of how many were drawn before. Layer: base. */
#ifndef SIGNUM_RNG_H
#define SIGNUM_RNG_H

#include "base.h"

/* A bijection in which every bit of x reaches every bit of the result: the finalizer of
 * splitmix64 (Steele, Lea, Flood 2014; constants: Stafford's variant 13). */
static inline uint64_t rng_mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

/* Takes one more word into a hash. */
static inline uint64_t rng_absorb(uint64_t state, uint64_t word) { return rng_mix((state ^ word) + 0x9E3779B97F4A7C15u); }

#endif
