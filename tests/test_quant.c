/* What the bytes of weights mean: golden values, half precision exhaustively, damage found. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "quant.h"

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static const struct {
    const char *name;
    enum quant_type type;
    bool exact; /* else: within one unit in the last place */
} golden[] = {
    {"f16", QUANT_F16, true},     {"bf16", QUANT_BF16, true},     {"q8_0", QUANT_Q8_0, true},           {"q4_0", QUANT_Q4_0, true},
    {"q4_1", QUANT_Q4_1, false},  {"q4_k", QUANT_Q4_K, false},    {"q5_k", QUANT_Q5_K, false},          {"q6_k", QUANT_Q6_K, false},
    {"q1_0", QUANT_Q1_0, true},   {"q2_0", QUANT_Q2_0_G64, true}, {"q2_0_g128", QUANT_Q2_0_G128, true}, {"tq1_0", QUANT_TQ1_0, true},
    {"tq2_0", QUANT_TQ2_0, true},
};

TEST(quant_golden)
{
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        char name[64];
        size_t bytes, expected_bytes;
        snprintf(name, sizeof name, "dequant/%s.bin", golden[i].name);
        char *data = test_golden(name, &bytes);
        snprintf(name, sizeof name, "dequant/%s.f32", golden[i].name);
        char *expected_data = test_golden(name, &expected_bytes);
        size_t n = expected_bytes / 4;
        CHECKF(quant_row_bytes(golden[i].type, n) == bytes, "%s", golden[i].name);
        uint8_t *src = (uint8_t *)test_guarded(bytes); /* ends at a page that can not be read */
        memcpy(src, data, bytes);
        float *dst = test_guarded(expected_bytes);
        quant_dequantize(golden[i].type, dst, src, n);
        for (size_t k = 0; k < n; k++) {
            float expected;
            memcpy(&expected, expected_data + 4 * k, 4);
            if (isnan(expected)) {
                CHECKF(isnan(dst[k]), "%s weight %zu", golden[i].name, k);
                continue;
            }
            int64_t off = (int64_t)bits_of(dst[k]) - (int64_t)bits_of(expected);
            CHECKF(golden[i].exact ? off == 0 : off >= -1 && off <= 1, "%s weight %zu: %a, expected %a", golden[i].name, k, (double)dst[k],
                   (double)expected);
        }
    }
}

TEST(quant_codes_are_weights)
{
    for (int type = 0; type < QUANT_BY_ROW; type++) {
        const struct quant_traits *traits = &quant_traits[type];
        if (traits->piece == 0)
            continue;
        for (int round = 0; round < 20; round++) {
            size_t n = traits->block * (1 + test_below(5)), bytes = quant_row_bytes((enum quant_type)type, n);
            uint8_t *src = test_guarded(bytes);
            for (size_t i = 0; i < bytes; i++)
                src[i] = (uint8_t)test_random();
            int8_t *codes = test_guarded(n);
            float *scales = test_guarded(n / traits->piece * sizeof *scales), *weights = test_guarded(n * sizeof *weights);
            quant_codes((enum quant_type)type, codes, scales, src, n);
            quant_dequantize((enum quant_type)type, weights, src, n);
            for (size_t i = 0; i < n; i++) {
                float weight = scales[i / traits->piece] * (float)codes[i];
                CHECKF(codes[i] >= -1 && codes[i] <= 2 && (isnan(weight) ? isnan(weights[i]) : bits_of(weight) == bits_of(weights[i])),
                       "%s weight %zu", traits->name, i);
            }
        }
    }
}

/* The vectors of the formats' descriptions. */
TEST(quant_by_hand)
{
    float w[256];
    uint8_t q1[18] = {0x00, 0x3A, 0x96};
    static const float q1_expected[8] = {-0.75f, 0.75f, 0.75f, -0.75f, 0.75f, -0.75f, -0.75f, 0.75f};
    quant_dequantize(QUANT_Q1_0, w, q1, 128);
    CHECK(memcmp(w, q1_expected, sizeof q1_expected) == 0);
    uint8_t q2[34] = {0x00, 0x3C, 0xE4};
    quant_dequantize(QUANT_Q2_0_G64, w, q2, 64);
    CHECK(w[0] == -1 && w[1] == 0 && w[2] == 1 && w[3] == 2);
    quant_dequantize(QUANT_Q2_0_G128, w, q2, 128);
    CHECK(w[0] == -1 && w[1] == 0 && w[2] == 1 && w[3] == 2);

    /* TQ1_0: encode digits as the format says, in its order, and get them back. */
    uint8_t tq1[54] = {0};
    int digits[256];
    for (int i = 0; i < 256; i++)
        digits[i] = (int)test_below(3);
    for (int b = 0; b < 52; b++) {
        int run = b < 32 ? 32 : b < 48 ? 16 : 4, first = b < 32 ? b : b < 48 ? 160 + b - 32 : 240 + b - 48, n = b < 48 ? 5 : 4, q = 0;
        for (int k = 0; k < 5; k++)
            q = q * 3 + (k < n ? digits[first + run * k] : 0);
        tq1[b] = (uint8_t)((q * 256 + 242) / 243);
    }
    tq1[53] = 0x3C;
    quant_dequantize(QUANT_TQ1_0, w, tq1, 256);
    for (int i = 0; i < 256; i++)
        CHECKF(w[i] == (float)(digits[i] - 1), "weight %d", i);
}

/* The value of a half, from its definition. */
static double half_value(uint16_t h)
{
    int exponent = h >> 10 & 31, mantissa = h & 1023;
    double magnitude =
        exponent == 31 ? (mantissa ? NAN : INFINITY) : ldexp(exponent ? 1024 + mantissa : mantissa, (exponent ? exponent : 1) - 25);
    return h & 0x8000 ? -magnitude : magnitude;
}

TEST(quant_f16_to_f32)
{
    for (uint32_t h = 0; h < 65536; h++) {
        double expected = half_value((uint16_t)h);
        float got = f16_to_f32((uint16_t)h);
        CHECKF(isnan(expected) ? isnan(got) : (double)got == expected && !!signbit(got) == !!signbit(expected), "%04x", (unsigned)h);
        if (!isnan(expected))
            CHECKF(f32_to_f16(got) == h, "%04x and back", (unsigned)h);
        else
            CHECKF((f32_to_f16(got) & 0x7E00) == 0x7E00, "%04x: a NaN stays one", (unsigned)h);
    }
}

/* Nearest half, ties to the even one, by comparing with both neighbours. */
static uint16_t nearest_half(float f)
{
    uint16_t sign = signbit(f) ? 0x8000 : 0;
    double magnitude = fabs((double)f);
    if (magnitude >= 65520) /* halfway to the half that would come after 65504 */
        return sign | 0x7C00;
    uint32_t low = 0, high = 0x7BFF; /* the largest half that is not above */
    while (low < high) {
        uint32_t middle = (low + high + 1) / 2;
        if (half_value((uint16_t)middle) <= magnitude)
            low = middle;
        else
            high = middle - 1;
    }
    double below = half_value((uint16_t)low), above = low == 0x7BFF ? 65536 : half_value((uint16_t)(low + 1));
    double to_below = magnitude - below, to_above = above - magnitude;
    bool up = to_above < to_below || (to_above == to_below && (low & 1));
    return (uint16_t)(sign | (low + up));
}

TEST(quant_f32_to_f16)
{
    for (uint32_t h = 0; h < 0x7C00; h++) { /* every half, every tie, and a hair beside both */
        float at = f16_to_f32((uint16_t)h), next = h == 0x7BFF ? 65536.0f : f16_to_f32((uint16_t)(h + 1)), tie = 0.5f * (at + next);
        float cases[6] = {at, tie, nextafterf(at, -1e9f), nextafterf(at, 1e9f), nextafterf(tie, -1e9f), nextafterf(tie, 1e9f)};
        for (int i = 0; i < 6; i++)
            CHECKF(f32_to_f16(cases[i]) == nearest_half(cases[i]) && f32_to_f16(-cases[i]) == nearest_half(-cases[i]), "%a",
                   (double)cases[i]);
    }
    for (int i = 0; i < 100000; i++) {
        float f = float_of((uint32_t)test_random());
        if (!isnan(f))
            CHECKF(f32_to_f16(f) == nearest_half(f), "%a", (double)f);
    }
    CHECK(f32_to_f16(INFINITY) == 0x7C00 && f32_to_f16(-INFINITY) == 0xFC00 && f32_to_f16(FLT_MAX) == 0x7C00);
    CHECK(f32_to_f16(0x1p-25f) == 0 && f32_to_f16(nextafterf(0x1p-25f, 1)) == 1 && f32_to_f16(-0.0f) == 0x8000);
}

/* The compiler's own conversion, where it has one: NaN payloads as processors keep them. */
TEST(quant_f16_as_compiler)
{
#ifdef __FLT16_MAX__
    for (int i = 0; i < 200000; i++) {
        uint32_t bits = (uint32_t)test_random();
        if (test_below(4) == 0)
            bits |= 0x7F800000;
        float f = float_of(bits);
        _Float16 half = (_Float16)f;
        uint16_t expected;
        memcpy(&expected, &half, sizeof expected);
        CHECKF(isnan(f) ? (f32_to_f16(f) & 0x7E00) == 0x7E00 && (expected & 0x7C00) == 0x7C00 : f32_to_f16(f) == expected, "%08x",
               (unsigned)bits);
    }
#else
    CHECK(true);
#endif
}

TEST(quant_find_nonfinite)
{
    /* Where each type keeps its half-precision scales; floats are all scale. */
    static const struct {
        enum quant_type type;
        int scales[2];
    } types[] = {
        {QUANT_F16, {0, -1}},      {QUANT_Q8_0, {0, -1}},      {QUANT_Q4_0, {0, -1}},   {QUANT_Q4_1, {0, 2}},
        {QUANT_Q4_K, {0, 2}},      {QUANT_Q5_K, {0, 2}},       {QUANT_Q6_K, {208, -1}}, {QUANT_Q1_0, {0, -1}},
        {QUANT_Q2_0_G64, {0, -1}}, {QUANT_Q2_0_G128, {0, -1}}, {QUANT_TQ1_0, {52, -1}}, {QUANT_TQ2_0, {64, -1}},
    };
    static const uint16_t bad[] = {0x7C00, 0xFC00, 0x7E00, 0xFFFF, 0x7C01};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const struct quant_traits *traits = &quant_traits[types[i].type];
        size_t blocks = 5, n = blocks * traits->block, bytes = blocks * traits->block_bytes;
        uint8_t *src = test_guarded(bytes);
        for (size_t k = 0; k < bytes; k++)
            src[k] = (uint8_t)test_random();
        for (size_t b = 0; b < blocks; b++)
            for (int s = 0; s < 2; s++)
                if (types[i].scales[s] >= 0)
                    src[b * traits->block_bytes + (size_t)types[i].scales[s] + 1] &= 0xBF; /* exponent below 31 */
        CHECKF(quant_find_nonfinite(types[i].type, src, n) == n, "%s", traits->name);
        for (int s = 0; s < 2; s++) {
            if (types[i].scales[s] < 0)
                continue;
            size_t b = test_below(blocks);
            uint8_t *scale = src + b * traits->block_bytes + types[i].scales[s], kept[2];
            memcpy(kept, scale, 2);
            for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
                memcpy(scale, &bad[k], 2);
                CHECKF(quant_find_nonfinite(types[i].type, src, n) == b * traits->block, "%s %04x", traits->name, (unsigned)bad[k]);
            }
            memcpy(scale, kept, 2);
        }
    }
    float f[9] = {1, -2, 0, FLT_MAX, -FLT_MIN};
    CHECK(quant_find_nonfinite(QUANT_F32, (const uint8_t *)f, 9) == 9);
    f[6] = NAN;
    CHECK(quant_find_nonfinite(QUANT_F32, (const uint8_t *)f, 9) == 6);
    f[2] = -INFINITY;
    CHECK(quant_find_nonfinite(QUANT_F32, (const uint8_t *)f, 9) == 2);
    uint16_t b[4] = {0x3F80, 0x7F7F, 0xFF80, 0};
    CHECK(quant_find_nonfinite(QUANT_BF16, (const uint8_t *)b, 2) == 2);
    CHECK(quant_find_nonfinite(QUANT_BF16, (const uint8_t *)b, 4) == 2);
}

TEST(quant_find_nonzero)
{
    for (int type = 0; type < QUANT_BY_ROW; type++) {
        const struct quant_traits *traits = &quant_traits[type];
        size_t n = 7 * traits->block, bytes = 7 * traits->block_bytes;
        uint8_t *src = test_guarded(bytes);
        memset(src, 0, bytes);
        CHECKF(quant_find_nonzero((enum quant_type)type, src, n) == n, "%s", traits->name);
        memset(src, 0x55, bytes); /* every scale is something */
        CHECKF(quant_find_nonzero((enum quant_type)type, src, n) == 0, "%s", traits->name);
        size_t block = 1 + test_below(6);
        memset(src, 0, bytes);
        memset(src + block * traits->block_bytes, 0x55, traits->block_bytes);
        CHECKF(quant_find_nonzero((enum quant_type)type, src, n) == block * traits->block, "%s", traits->name);
    }
    uint8_t q1[18] = {0x00, 0x80, 0xFF, 0xFF, 0x12}; /* -0 is zero, whatever the signs */
    CHECK(quant_find_nonzero(QUANT_Q1_0, q1, 128) == 128);
    static const float f[3] = {0, -0.0f, 1e-45f};
    CHECK(quant_find_nonzero(QUANT_F32, (const uint8_t *)f, 2) == 2 && quant_find_nonzero(QUANT_F32, (const uint8_t *)f, 3) == 2);
    uint8_t q4_1[20] = {0, 0, 1, 0}; /* the second scale counts */
    CHECK(quant_find_nonzero(QUANT_Q4_1, q4_1, 32) == 0);
}
