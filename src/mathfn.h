/* mathfn.h: exp, log, pow, sin and cos of our own. glibc picks variants at run
 * time, so its results differ between machines; these use only + - * / sqrt fma
 * rint and bit moves, so they do not. Layer: base.
 *
 * float: exp_f32 here is the specification that every vector kernel repeats
 * operation by operation (see kernels/kernels.h). */
#ifndef SIGNUM_MATHFN_H
#define SIGNUM_MATHFN_H

#include "base.h"

/* e^x, error below 1.5 ulp. exp(0) is exactly 1; 0 below -87.33 (no subnormal
 * results); +inf above 88.72; NaN for NaN. */
float exp_f32(float x);

/* Double precision, error below 2 ulp where not said otherwise. */
double exp_f64(double x);           /* flushes to 0 below -708, +inf above 709.78 */
double log_f64(double x);           /* x > 0; log(0) = -inf, NaN below; exact 0 at 1 */
double pow_f64(double x, double y); /* x > 0, as exp(y log x) with the logarithm in two doubles */
void sincos_f64(double x, double *sin_x, double *cos_x); /* |x| < 2^30, absolute error below 1e-15 */

#endif
