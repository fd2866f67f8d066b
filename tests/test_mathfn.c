/* Accuracy against long double, specials, and fma_f32 against fmaf bit by bit. */
#include "mathfn.h"

#include <math.h>

#include "check.h"

static float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static double uniform(double low, double high) { return low + (high - low) * ((double)(test_random() >> 11) / 9007199254740992.0); }

static double worst;

/* Distance in units of the last place of the exact value. */
static void measure(double got, long double exact, int digits, int min_exponent)
{
    int e;
    frexpl(exact, &e);
    e = MAX(e, min_exponent);
    double ulps = (double)(fabsl((long double)got - exact) / ldexpl(1, e - digits));
    if (!(ulps <= worst)) /* a NaN sticks */
        worst = ulps;
}

TEST(mathfn_exp_f32)
{
    worst = 0;
    for (int i = 0; i < 400000; i++) {
        float x = (float)(i & 1 ? uniform(-87.33, 88.72) : uniform(-2, 2));
        measure((double)exp_f32(x), expl((long double)x), 24, -125);
    }
    CHECKF(worst < 1.5, "worst %.3f ulp", worst);
    CHECK(exp_f32(0.0f) == 1 && exp_f32(-0.0f) == 1);
    CHECK(exp_f32(0x1p-140f) == 1 && exp_f32(-0x1p-140f) == 1);
    CHECK(isfinite(exp_f32(88.72f)) && isinf(exp_f32(nextafterf(88.72f, 100))));
    CHECK(exp_f32(-87.33f) >= 0x1p-126f && bits_of(exp_f32(nextafterf(-87.33f, -100))) == 0);
    CHECK(isinf(exp_f32(INFINITY)) && bits_of(exp_f32(-INFINITY)) == 0);
    CHECK(isinf(exp_f32(3e38f)) && bits_of(exp_f32(-3e38f)) == 0);
    CHECK(isnan(exp_f32(NAN)) && isnan(exp_f32(-NAN)));
    size_t falling = 0; /* monotonic where softmax lives */
    for (int i = 0; i < 100000; i++) {
        float x = (float)uniform(-30, 0);
        falling += exp_f32(x) > exp_f32(nextafterf(x, 1)) * (1 + 0x1p-23f);
    }
    CHECK(falling == 0);
}

TEST(mathfn_double)
{
    worst = 0;
    for (int i = 0; i < 200000; i++) {
        double x = i & 1 ? uniform(-708, 709.78) : uniform(-1, 1);
        measure(exp_f64(x), expl((long double)x), 53, -1021);
    }
    CHECKF(worst < 2, "exp: worst %.3f ulp", worst);
    CHECK(exp_f64(0) == 1 && exp_f64(-709) == 0 && isinf(exp_f64(710)) && isfinite(exp_f64(709.78)));
    CHECK(exp_f64(-INFINITY) == 0 && isinf(exp_f64(INFINITY)) && isnan(exp_f64(NAN)));

    worst = 0;
    for (int i = 0; i < 200000; i++) {
        double x = i % 3 == 0   ? uniform(0.5, 2)
                   : i % 3 == 1 ? 1 + uniform(-1, 1) * ldexp(1, -(i % 50))
                                : ldexp(uniform(0.5, 1), (int)test_below(2098) - 1073);
        if (x > 0)
            measure(log_f64(x), logl((long double)x), 53, -1021);
    }
    CHECKF(worst < 2, "log: worst %.3f ulp", worst);
    CHECK(log_f64(1) == 0 && log_f64(0) == -INFINITY && log_f64(INFINITY) == INFINITY);
    CHECK(isnan(log_f64(-1)) && isnan(log_f64(NAN)) && isnan(log_f64(-INFINITY)));
    CHECK(fabs(log_f64(0x1p-1074) + 744.44007192138126) < 1e-12 && fabs(log_f64(0x1.fffffffffffffp1023) - 709.78271289338400) < 1e-12);

    worst = 0;
    for (int i = 0; i < 200000; i++) {
        double x = i & 1 ? uniform(0.001, 10000) : ldexp(uniform(1, 2), (int)test_below(2000) - 1000);
        double y = i % 3 ? uniform(-4, 4) : uniform(-200, 200);
        long double exact = powl((long double)x, (long double)y);
        if (exact > 1e-307L && exact < 1e308L)
            measure(pow_f64(x, y), exact, 53, -1021);
    }
    CHECKF(worst < 2, "pow: worst %.3f ulp", worst);
    CHECK(pow_f64(1e6, 0) == 1 && pow_f64(1, 1e300) == 1 && fabs(pow_f64(3, 4) - 81) < 3e-14);
    CHECK(isinf(pow_f64(10, 400)) && pow_f64(10, -400) == 0 && pow_f64(0, 2) == 0 && isinf(pow_f64(0, -2)));
    CHECK(isinf(pow_f64(INFINITY, 2)) && pow_f64(INFINITY, -1) == 0 && isnan(pow_f64(2, NAN)) && isnan(pow_f64(-2, 2)));
    CHECK(isinf(pow_f64(2, INFINITY)) && pow_f64(2, -INFINITY) == 0 && pow_f64(0.5, INFINITY) == 0);

    double off = 0;
    for (int i = 0; i < 200000; i++) {
        double x = i % 3 == 0 ? uniform(-4, 4) : i % 3 == 1 ? uniform(-300000, 300000) : uniform(-0x1p30, 0x1p30);
        if (i % 7 == 0) /* next to a zero of sine or cosine */
            x = rint(x * 0.6366) * 1.5707963267948966;
        double s, c;
        sincos_f64(x, &s, &c);
        off = fmax(off, fabs((double)((long double)s - sinl((long double)x))));
        off = fmax(off, fabs((double)((long double)c - cosl((long double)x))));
    }
    CHECKF(off < 1e-15, "sincos: worst %g", off);
    double s, c;
    sincos_f64(0, &s, &c);
    CHECK(s == 0 && c == 1);
}

TEST(mathfn_fma_f32)
{
    for (int i = 0; i < 1000000; i++) {
        uint32_t u = (uint32_t)test_random(), v = (uint32_t)test_random(), w = (uint32_t)test_random();
        if (i & 1) { /* near each other, so that cancellation and ties happen */
            u = (u & 0x87ffffff) | 0x38000000;
            v = (v & 0x87ffffff) | 0x38000000;
            w = (w & 0x8fffffff) | 0x30000000;
        }
        if (i & 2) { /* few bits: exact results and halfway cases */
            u &= 0xfff00000;
            v &= 0xffff8000;
            w &= 0xfffff000;
        }
        float a = float_of(u), b = float_of(v), p = float_of(w);
        if (i % 5 == 0) /* a result among the subnormals */
            a = ldexpf(a, -100), b = ldexpf(b, -40), p = ldexpf(p, -140);
        if (i % 7 == 0)
            p = -a * b;
        float got = fma_f32(a, b, p), want = fmaf(a, b, p);
        CHECKF(bits_of(got) == bits_of(want) || (isnan(got) && isnan(want)), "fma(%a, %a, %a) = %a, not %a", (double)a, (double)b,
               (double)p, (double)got, (double)want);
    }
    CHECK(isinf(fma_f32(INFINITY, 1, 1)) && isnan(fma_f32(INFINITY, 0, 1)) && isnan(fma_f32(1, INFINITY, -INFINITY)));
    CHECK(fma_f32(1, 1, INFINITY) == INFINITY && isinf(fma_f32(3e38f, 3e38f, -3e38f)));
    CHECK(signbit(fma_f32(-0.0f, 1, -0.0f)) && !signbit(fma_f32(-0.0f, 1, 0.0f)));
}

/* The same bits from every compiler and processor: a hash over fixed inputs. */
TEST(mathfn_same_everywhere)
{
    uint64_t hash = 0xcbf29ce484222325u, state = 1;
    for (int i = 0; i < 20000; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        double u = (double)(int64_t)(state >> 11) * 0x1p-53, v[5];
        v[0] = (double)exp_f32((float)(u * 170 - 85));
        v[1] = exp_f64(u * 1400 - 700);
        v[2] = log_f64(u * u * 100 + 1e-300);
        v[3] = pow_f64(u * 1000 + 0.1, u * 20 - 10);
        sincos_f64(u * 0x1p29, &v[4], &u);
        for (int j = 0; j < 5; j++) {
            uint64_t bits;
            memcpy(&bits, &v[j], sizeof bits);
            hash = (hash ^ bits) * 0x100000001b3u;
        }
        uint64_t bits;
        memcpy(&bits, &u, sizeof bits);
        hash = (hash ^ bits) * 0x100000001b3u;
    }
    CHECKF(hash == 0x9da60dc95b13da60u, "%016llx", (unsigned long long)hash);
}
