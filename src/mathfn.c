/* mathfn.c: see mathfn.h. The double functions use no fma, which the x86-64 baseline
 * lacks; where more than a double is needed they carry a second one (Dekker's and
 * Veltkamp's exact products). */
#include "mathfn.h"

/* Adding 1.5 * 2^(mantissa bits) rounds to an integer, nearest even, and leaves that
 * integer in the low bits of the sum. */
#define ROUND_F32 0x1.8p23f
#define ROUND_F64 0x1.8p52

#define LN2_F64 0x1.62e42fefa39efp-1
#define LN2_REST_F64 0x1.abc9e3b39803fp-56

static uint32_t bits_f32(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static uint64_t bits_f64(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static double from_bits_f64(uint64_t u)
{
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* e^x = 2^n e^r, n the integer nearest to x / ln 2, so |r| <= ln 2 / 2. The polynomial is the
 * minimax one of the form 1 + r + r^2 P(r), relative error 3.1e-9; its value p lies in
 * [0.70, 1.42], so n can be added to its exponent: between the two limits of x the result is
 * always normal. */
float exp_f32(float x)
{
    if (x != x)
        return x;
    if (x > 88.72f)
        return __builtin_inff();
    if (x < -87.33f)
        return 0;
    float t = fma_f32(x, 0x1.715476p+0f, ROUND_F32), n = t - ROUND_F32;
    float r = fma_f32(n, -0x1.62e430p-1f, x);
    r = fma_f32(n, 0x1.05c610p-29f, r);
    float p = 0x1.6a2426p-10f;
    p = fma_f32(p, r, 0x1.1239e8p-7f);
    p = fma_f32(p, r, 0x1.5558f2p-5f);
    p = fma_f32(p, r, 0x1.555492p-3f);
    p = fma_f32(p, r, 0x1.fffffcp-2f);
    p = fma_f32(p, r, 1.0f);
    p = fma_f32(p, r, 1.0f);
    uint32_t u = bits_f32(p) + (bits_f32(t) << 23);
    memcpy(&p, &u, sizeof p);
    return p;
}

/* As exp_f32; r^14 / 14! < 2^-57. n * LN2_HIGH is exact: 11 bits times 32. */
double exp_f64(double x)
{
    const double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
    if (x != x)
        return x;
    if (x > 709.78)
        return __builtin_inf();
    if (x < -708)
        return 0;
    double t = x * 0x1.71547652b82fep+0 + ROUND_F64, n = t - ROUND_F64;
    double r = (x - n * ln2_high) - n * ln2_low;
    double p = 1.0 / 6227020800;
    p = p * r + 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = 1 + (r + r * r * p);
    return from_bits_f64(bits_f64(p) + (bits_f64(t) << 52));
}

/* A number as the unevaluated sum of two doubles, |low| at most half an ulp of high. */
struct two {
    double high, low;
};

static struct two fast_sum(double a, double b) /* |a| >= |b| */
{
    double s = a + b;
    return (struct two){s, b - (s - a)};
}

static struct two exact_product(double a, double b) /* finite, neither near overflow nor underflow */
{
    double ca = a * 134217729, cb = b * 134217729; /* 2^27 + 1 */
    double a1 = ca - (ca - a), b1 = cb - (cb - b), a2 = a - a1, b2 = b - b1;
    double p = a * b;
    return (struct two){p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2};
}

static struct two product(struct two a, struct two b)
{
    struct two p = exact_product(a.high, b.high);
    return fast_sum(p.high, p.low + (a.high * b.low + a.low * b.high));
}

/* log x for finite x > 0, relative error below 2^-63: x = 2^k m, m in [sqrt 1/2, sqrt 2),
 * s = (m - 1) / (m + 1), z = s^2 <= 0.0295, log m = 2 s (1 + z/3 + z^2/5 + z^3/7 ...).
 * From z^2 on a plain double is enough; z^13 / 27 is below 2^-70. */
static struct two log_two(double x)
{
    int64_t k = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        k = -54;
    }
    uint64_t bits = bits_f64(x);
    const uint64_t root_half = 0x3fe6a09e667f3bcdu;
    int64_t up = (int64_t)(bits - root_half) >> 52; /* floor: 0 for [sqrt 1/2, sqrt 2) */
    k += up;
    double m = from_bits_f64(bits - ((uint64_t)up << 52));

    double f = m - 1;                /* exact */
    struct two sum = fast_sum(2, f); /* m + 1 */
    double s = f / sum.high;
    struct two back = exact_product(s, sum.high);
    struct two ss = fast_sum(s, ((f - back.high) - back.low - s * sum.low) / sum.high);
    struct two z = product(ss, ss);
    double t = 1.0 / 25;
    t = t * z.high + 1.0 / 23;
    t = t * z.high + 1.0 / 21;
    t = t * z.high + 1.0 / 19;
    t = t * z.high + 1.0 / 17;
    t = t * z.high + 1.0 / 15;
    t = t * z.high + 1.0 / 13;
    t = t * z.high + 1.0 / 11;
    t = t * z.high + 1.0 / 9;
    t = t * z.high + 1.0 / 7;
    t = t * z.high + 1.0 / 5;
    t = t * z.high * z.high;
    struct two third = product(z, (struct two){0x1.5555555555555p-2, 0x1.5555555555555p-56});
    struct two a = fast_sum(1, third.high);
    a = fast_sum(a.high, a.low + (third.low + t));
    struct two log_m = product((struct two){2 * ss.high, 2 * ss.low}, a);
    if (k == 0)
        return log_m;
    struct two log_k = product((struct two){(double)k, 0}, (struct two){LN2_F64, LN2_REST_F64});
    struct two r = fast_sum(log_k.high, log_m.high); /* |k ln 2| >= ln 2 > 2 |log m| */
    return fast_sum(r.high, r.low + (log_k.low + log_m.low));
}

double log_f64(double x)
{
    if (!(x > 0))
        return x == 0 ? -__builtin_inf() : __builtin_nan("");
    if (x > 0x1.fffffffffffffp1023)
        return x;
    return log_two(x).high;
}

double pow_f64(double x, double y)
{
    if (y == 0 || x == 1)
        return 1;
    if (!(x > 0) || x > 0x1.fffffffffffffp1023 || y != y || y - y != 0)
        return exp_f64(y * log_f64(x));
    struct two l = log_two(x);
    double rough = y * l.high;
    if (!(rough > -709 && rough < 710))
        return exp_f64(rough);
    struct two e = exact_product(y, l.high);
    e = fast_sum(e.high, e.low + y * l.low);
    double p = exp_f64(e.high);
    return p > 0x1.fffffffffffffp1023 ? p : p + p * e.low;
}

/* x = n pi/2 + r, |r| <= pi/4. pi/2 in three pieces of 23 bits, whose products with n (30
 * bits) are exact, and a fourth for what remains; the first two differences are exact too. */
void sincos_f64(double x, double *sin_x, double *cos_x)
{
    double t = x * 0x1.45f306dc9c883p-1 + ROUND_F64, n = t - ROUND_F64;
    double r = (x - n * 0x1.921fb4p+0) - n * 0x1.4442dp-24;
    r -= n * 0x1.84698p-48 + n * 0x1.3198a2e037073p-69;

    double z = r * r, s = 1.0 / 355687428096000; /* r^19 / 19! < 1e-19 */
    s = s * z - 1.0 / 1307674368000;
    s = s * z + 1.0 / 6227020800;
    s = s * z - 1.0 / 39916800;
    s = s * z + 1.0 / 362880;
    s = s * z - 1.0 / 5040;
    s = s * z + 1.0 / 120;
    s = s * z - 1.0 / 6;
    s = r + r * z * s;
    double c = -1.0 / 6402373705728000; /* r^20 / 20! < 1e-20 */
    c = c * z + 1.0 / 20922789888000;
    c = c * z - 1.0 / 87178291200;
    c = c * z + 1.0 / 479001600;
    c = c * z - 1.0 / 3628800;
    c = c * z + 1.0 / 40320;
    c = c * z - 1.0 / 720;
    c = c * z + 1.0 / 24;
    c = 1 - (0.5 * z - z * z * c);

    unsigned quadrant = (unsigned)bits_f64(t) & 3;
    if (quadrant & 1) {
        double swap = s;
        s = c;
        c = swap;
    }
    *sin_x = quadrant & 2 ? -s : s;
    *cos_x = (quadrant + 1) & 2 ? -c : c;
}
