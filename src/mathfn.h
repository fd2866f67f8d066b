/* mathfn.h: exp, log, pow, sin and cos of our own. glibc picks variants at run
 * time, so its results differ between machines; these use only + - * / sqrt fma
 * rint and bit moves, so they do not. Layer: base.
 *
 * float: exp_f32 here is the specification that every vector kernel repeats
 * operation by operation (see kernels/kernels.h). */
#ifndef SIGNUM_MATHFN_H
#define SIGNUM_MATHFN_H

#include <string.h>

#include "base.h"

/* e^x, error below 1.5 ulp. exp(0) is exactly 1; 0 below -87.33 (no subnormal
 * results); +inf above 88.72; NaN for NaN. */
float exp_f32(float x);

/* a * b + c with one rounding: what fmaf promises, without a library call where the baseline
 * has no such instruction. The product of two floats is exact in double; the sum is rounded
 * there to odd (of the two neighbours of the true sum the one with an odd last bit), after
 * which the rounding to float cannot fall the wrong way: 53 bits are more than 24 + 2. */
static inline float fma_f32(float a, float b, float c)
{
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_fmaf(a, b, c);
#else
    double p = (double)a * (double)b, d = (double)c, s = p + d;
    double part = s - p, rest = (p - (s - part)) + (d - part); /* s + rest is the true sum */
    uint64_t bits, rest_bits;
    memcpy(&bits, &s, sizeof bits);
    memcpy(&rest_bits, &rest, sizeof rest_bits);
    uint64_t step = (uint64_t)((rest < 0) | (rest > 0)) & ~bits & 1; /* 0 for infinities and NaN */
    uint64_t towards_zero = (bits ^ rest_bits) >> 63;
    bits += step - ((towards_zero & step) << 1);
    memcpy(&s, &bits, sizeof s);
    return (float)s;
#endif
}

/* Double precision, error below 2 ulp where not said otherwise. */
double exp_f64(double x);                                /* flushes to 0 below -708, +inf above 709.78 */
double log_f64(double x);                                /* x > 0; log(0) = -inf, NaN below; exact 0 at 1 */
double pow_f64(double x, double y);                      /* x > 0, as exp(y log x) with the logarithm in two doubles */
void sincos_f64(double x, double *sin_x, double *cos_x); /* |x| < 2^30, absolute error below 1e-15 */

#endif
