/* Every entry of every level that this CPU has against scalar.c, bit by bit, and scalar.c
 * against the plainest loops. Inputs and packed forms end at guard pages; outputs are
 * poisoned and compared whole, so that writes outside a range show. */
#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cpu.h"
#include "mathfn.h"

/* Memory whose end is the end of what may be touched. */
enum {
    BUFFER = 12 << 20
};
enum {
    IN_A,
    IN_B,
    IN_C,
    OUT_A,
    OUT_B,
    STATE_A,
    STATE_B,
    PACKED_A,
    PACKED_B,
    BUFFERS
};
static uint8_t *buffers[BUFFERS];

static void make_buffers(void)
{
    for (size_t i = 0; i < BUFFERS; i++)
        buffers[i] = test_guarded(BUFFER);
}

static void *place(int buffer, size_t bytes) { return buffers[buffer] + BUFFER - bytes; }

static float *floats(int buffer, size_t n) { return place(buffer, n * sizeof(float)); }

/* Two equal outputs filled with the same noise. */
static void poison(size_t bytes)
{
    uint8_t *a = place(OUT_A, bytes);
    for (size_t i = 0; i < bytes; i++)
        a[i] = (uint8_t)(i * 167 + 13);
    memcpy(place(OUT_B, bytes), a, bytes);
}

static bool same_bytes(size_t bytes) { return memcmp(place(OUT_A, bytes), place(OUT_B, bytes), bytes) == 0; }

/* Bits, but any NaN equals any other: which operand's payload survives is not specified. */
static bool same_floats(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i])))
            return false;
    return true;
}

static float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* Kinds of numbers: 0 ordinary, 1 any finite, 2 any bits, 3 a few magnitudes, 4 exact ones. */
enum {
    KINDS = 5
};
static void fill(float *x, size_t n, size_t kind)
{
    float scale = ldexpf(1, (int)test_below(40) - 20);
    for (size_t i = 0; i < n; i++) {
        uint32_t u = (uint32_t)test_random();
        x[i] = kind == 0   ? test_normal() * scale
               : kind == 3 ? test_normal() * ldexpf(1, (int)test_below(120) - 60)
               : kind == 4 ? (float)((int)test_below(9) - 4) * 0.5f
                           : float_of(u);
        if (kind == 1 && !isfinite(x[i]))
            x[i] = 0;
    }
}

/* Calls check for every level that runs here, scalar.c included if asked for. */
typedef void level_fn(const struct kernels *k);
static void each_level(level_fn *check, bool scalar_too)
{
    unsigned features = cpu_features();
    make_buffers();
    for (size_t i = scalar_too ? 0 : 1; kernels_levels[i]; i++)
        if ((kernels_levels[i]->needs & ~features) == 0)
            check(kernels_levels[i]);
}

/* Lengths around vector widths, and some long ones. */
static size_t some_length(size_t multiple)
{
    static const size_t lengths[] = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 100, 127, 128, 129, 255, 257, 1000, 1024};
    return (test_below(3) ? lengths[test_below(ARRAY_LEN(lengths))] : test_below(300)) * multiple;
}

/* ----------------------------------------------------------------- vectors */

static void check_vectors(const struct kernels *k)
{
    const struct kernels *ref = &kernels_scalar;
    for (size_t round = 0; round < 3000; round++) {
        size_t n = some_length(1), kind = round % KINDS;
        float *x = floats(IN_A, n), *w = floats(IN_B, n);
        fill(x, n, kind);
        fill(w, n, kind);
        if (k->dot_f32) {
            float a = k->dot_f32(x, w, n), b = ref->dot_f32(x, w, n);
            CHECKF(same_floats(&a, &b, 1), "%s dot_f32 n %zu: %a, not %a", k->level, n, (double)a, (double)b);
        }
        if (k->rmsnorm && n > 0) {
            poison(n * 4 + 64);
            float *a = place(OUT_A, n * 4 + 64), *b = place(OUT_B, n * 4 + 64);
            k->rmsnorm(a + 8, x, w, n, 1e-6f);
            ref->rmsnorm(b + 8, x, w, n, 1e-6f);
            CHECKF(same_floats(a, b, n + 16), "%s rmsnorm n %zu", k->level, n);
            for (size_t i = 0; i < n; i++)
                a[8 + i] = x[i];
            k->rmsnorm(a + 8, a + 8, w, n, 1e-6f);
            CHECKF(same_floats(a, b, n + 16), "%s rmsnorm in place n %zu", k->level, n);
        }
        if (k->add) {
            poison(n * 4 + 64);
            float *a = place(OUT_A, n * 4 + 64), *b = place(OUT_B, n * 4 + 64);
            k->add(a + 8, x, n);
            ref->add(b + 8, x, n);
            CHECKF(same_floats(a, b, n + 16), "%s add n %zu", k->level, n);
        }
        if (k->silu_mul) {
            if (kind == 0)
                for (size_t i = 0; i < n; i++)
                    x[i] = test_normal() * 40;
            poison(n * 4 + 64);
            float *a = place(OUT_A, n * 4 + 64), *b = place(OUT_B, n * 4 + 64);
            k->silu_mul(a + 8, x, w, n);
            ref->silu_mul(b + 8, x, w, n);
            CHECKF(same_floats(a, b, n + 16), "%s silu_mul n %zu", k->level, n);
            for (size_t i = 0; i < n; i++)
                a[8 + i] = x[i];
            k->silu_mul(a + 8, a + 8, w, n);
            CHECKF(same_floats(a, b, n + 16), "%s silu_mul in place n %zu", k->level, n);
        }
        if (k->rope) {
            size_t dim = n * 2;
            poison(dim * 4);
            float *a = floats(OUT_A, dim), *b = floats(OUT_B, dim);
            fill(a, dim, kind);
            memcpy(b, a, dim * sizeof *a);
            k->rope(a, x, w, dim);
            ref->rope(b, x, w, dim);
            CHECKF(same_floats(a, b, dim), "%s rope dim %zu", k->level, dim);
        }
        if (k->argmax && n > 0) {
            if (round % 3 == 0) /* many equal ones */
                for (size_t i = 0; i < n; i++)
                    x[i] = (float)test_below(3) * (test_below(2) ? 1.0f : -1.0f);
            int64_t a = k->argmax(x, n), b = ref->argmax(x, n);
            CHECKF(a == b, "%s argmax n %zu: %lld, not %lld", k->level, n, (long long)a, (long long)b);
            static const float bad[] = {NAN, INFINITY, -INFINITY};
            x[test_below(n)] = bad[round % 3];
            CHECKF(k->argmax(x, n) == -1, "%s argmax overlooks %g", k->level, (double)bad[round % 3]);
        }
    }
}
TEST(kernels_vectors) { each_level(check_vectors, false); }

static void check_halves(const struct kernels *k)
{
    const struct kernels *ref = &kernels_scalar;
    enum {
        ALL = 1 << 16
    };
    uint16_t *half = place(IN_A, ALL * sizeof *half);
    for (size_t i = 0; i < ALL; i++)
        half[i] = (uint16_t)i;
    if (k->f32_from_f16) {
        k->f32_from_f16(floats(OUT_A, ALL), half, ALL);
        ref->f32_from_f16(floats(OUT_B, ALL), half, ALL);
        CHECKF(same_floats(floats(OUT_A, ALL), floats(OUT_B, ALL), ALL), "%s f32_from_f16", k->level);
    }
    for (size_t round = 0; k->f16_from_f32 && round < 64; round++) {
        /* The upper 16 bits of a float exhaustively; below them what decides rounding. */
        static const uint32_t low[] = {0, 1, 0x0fff, 0x1000, 0x1001, 0x2000, 0x3000, 0x7fff, 0x8000, 0xf000, 0xffff};
        float *x = floats(IN_B, ALL);
        for (size_t i = 0; i < ALL; i++)
            x[i] = float_of((uint32_t)i << 16 | (round < ARRAY_LEN(low) ? low[round] : (uint32_t)test_below(ALL)));
        poison(ALL * 2);
        k->f16_from_f32(place(OUT_A, ALL * 2), x, ALL);
        ref->f16_from_f32(place(OUT_B, ALL * 2), x, ALL);
        CHECKF(same_bytes(ALL * 2), "%s f16_from_f32", k->level);
    }
    for (size_t n = 0; n < 70; n++) { /* odd lengths */
        float *x = floats(IN_B, n);
        fill(x, n, 0);
        if (k->f16_from_f32) {
            poison(n * 2 + 32);
            k->f16_from_f32((uint16_t *)place(OUT_A, n * 2 + 32) + 8, x, n);
            ref->f16_from_f32((uint16_t *)place(OUT_B, n * 2 + 32) + 8, x, n);
            CHECKF(same_bytes(n * 2 + 32), "%s f16_from_f32 n %zu", k->level, n);
        }
        if (k->f32_from_f16) {
            poison(n * 4 + 64);
            k->f32_from_f16((float *)place(OUT_A, n * 4 + 64) + 8, half + ALL - n, n);
            ref->f32_from_f16((float *)place(OUT_B, n * 4 + 64) + 8, half + ALL - n, n);
            CHECKF(same_floats(place(OUT_A, n * 4 + 64), place(OUT_B, n * 4 + 64), n + 16), "%s f32_from_f16 n %zu", k->level, n);
        }
    }
}
TEST(kernels_halves) { each_level(check_halves, false); }

static void check_integers(const struct kernels *k)
{
    const struct kernels *ref = &kernels_scalar;
    for (size_t round = 0; k->quantize_i8 && round < 1500; round++) {
        size_t n = (size_t)test_below(7) * GROUP, groups = n / GROUP, kind = round % KINDS;
        float *x = floats(IN_A, n), *scale_a = floats(STATE_A, groups), *scale_b = floats(STATE_B, groups);
        fill(x, n, kind == 2 ? 1 : kind);
        if (round % 4 == 0) /* zero groups, groups at the limit of what counts, ties of rounding */
            for (size_t i = 0; i < n; i++)
                x[i] = round % 16 == 0   ? 0
                       : round % 16 == 4 ? ldexpf((float)((int)test_below(3) - 1), -100 - (int)(i / GROUP % 2))
                                         : (i % GROUP == 0 ? 127.0f : (float)((int)test_below(507) - 253) * 0.5f);
        poison(n);
        CHECK(k->quantize_i8(place(OUT_A, n), scale_a, x, n) && ref->quantize_i8(place(OUT_B, n), scale_b, x, n));
        CHECKF(same_bytes(n) && memcmp(scale_a, scale_b, groups * sizeof *scale_a) == 0, "%s quantize_i8 n %zu round %zu", k->level, n,
               round);
        if (n) {
            static const float bad[] = {NAN, INFINITY, -INFINITY};
            x[test_below(n)] = bad[round % 3];
            CHECKF(!k->quantize_i8(place(OUT_A, n), scale_a, x, n), "%s quantize_i8 overlooks %g", k->level, (double)bad[round % 3]);
            CHECK(!ref->quantize_i8(place(OUT_A, n), scale_a, x, n));
        }
    }
    for (size_t round = 0; k->quantize_i16 && round < 1500; round++) {
        size_t n = (size_t)test_below(7) * GROUP, groups = n / GROUP, kind = round % KINDS;
        float *x = floats(IN_A, n), *scale_a = floats(STATE_A, groups), *scale_b = floats(STATE_B, groups);
        fill(x, n, kind == 2 ? 1 : kind);
        if (round % 4 == 0) /* as above: ties lie at halves of WIDE_MOST */
            for (size_t i = 0; i < n; i++)
                x[i] = round % 16 == 0 ? 0
                       : round % 16 == 4
                           ? ldexpf((float)((int)test_below(3) - 1), -100 - (int)(i / GROUP % 2))
                           : (i % GROUP == 0 ? (float)WIDE_MOST : (float)((int)test_below(4 * WIDE_MOST) - 2 * WIDE_MOST) * 0.5f);
        poison(2 * n);
        int8_t *a = place(OUT_A, 2 * n), *b = place(OUT_B, 2 * n);
        CHECK(k->quantize_i16(a, a + n, scale_a, x, n) && ref->quantize_i16(b, b + n, scale_b, x, n));
        CHECKF(same_bytes(2 * n) && memcmp(scale_a, scale_b, groups * sizeof *scale_a) == 0, "%s quantize_i16 n %zu round %zu", k->level, n,
               round);
        if (n) {
            static const float bad[] = {NAN, INFINITY, -INFINITY};
            x[test_below(n)] = bad[round % 3];
            CHECKF(!k->quantize_i16(a, a + n, scale_a, x, n), "%s quantize_i16 overlooks %g", k->level, (double)bad[round % 3]);
        }
    }
    for (size_t round = 0; k->quantize_head && round < 1500; round++) {
        size_t n = some_length(1);
        float *x = floats(IN_A, n);
        fill(x, n, round % KINDS);
        for (size_t i = 0; round % 11 == 0 && i < n; i++)
            x[i] *= 0x1p-120f;
        poison(n);
        float a = k->quantize_head(place(OUT_A, n), x, n), b = ref->quantize_head(place(OUT_B, n), x, n);
        CHECKF(same_bytes(n) && same_floats(&a, &b, 1), "%s quantize_head n %zu round %zu", k->level, n, round);
    }
    for (size_t round = 0; k->dot_i8 && round < 500; round++) {
        size_t n = round == 0 ? 1 << 16 : (size_t)test_below(9) * 64;
        int8_t *a = place(IN_A, n), *b = place(IN_B, n);
        for (size_t i = 0; i < n; i++) {
            a[i] = (int8_t)(round % 5 == 0 ? 2 : round % 5 == 1 ? -1 : (int)test_below(4) - 1);
            b[i] = (int8_t)(round % 3 == 0 ? 127 : round % 3 == 1 ? -127 : (int)test_below(255) - 127);
        }
        CHECKF(k->dot_i8(a, b, n) == ref->dot_i8(a, b, n), "%s dot_i8 n %zu", k->level, n);
    }
}
TEST(kernels_integers) { each_level(check_integers, false); }

/* --------------------------------------------------------------- attention */

static void check_attention(const struct kernels *k)
{
    const struct kernels *ref = &kernels_scalar;
    static const size_t dims[] = {128, 64, 8, 1, 16, 24, 33, 80, 100, 7, 48};
    for (size_t round = 0; round < 250; round++) {
        size_t dim = dims[round % ARRAY_LEN(dims)], n_q = (size_t)test_below(10) + (round % 20 == 0 ? 20 : 0), size = ATTN_TILE * dim;
        size_t kind = round % 9 == 8 ? 1 : 0;
        float *q = floats(IN_A, n_q * dim), *kv = floats(IN_B, size), scale = fabsf(test_normal());
        uint16_t *half = place(IN_C, size * sizeof *half);
        fill(q, n_q * dim, kind);
        for (size_t i = 0; i < size; i++)
            kv[i] = test_normal();
        if (kind == 1)
            fill(kv, size, 1);
        ref->f16_from_f32(half, kv, size);

        size_t n_s = n_q * ATTN_TILE, bytes = n_s * sizeof(float) + 64;
        float *a = place(OUT_A, bytes), *b = place(OUT_B, bytes);
        if (k->attn_scores_f16) {
            poison(bytes);
            k->attn_scores_f16(a + 8, q, n_q, half, dim, scale);
            ref->attn_scores_f16(b + 8, q, n_q, half, dim, scale);
            CHECKF(same_floats(a, b, n_s + 16), "%s attn_scores_f16 dim %zu queries %zu", k->level, dim, n_q);
        }
        if (k->attn_scores_f32) {
            poison(bytes);
            k->attn_scores_f32(a + 8, q, n_q, kv, dim, scale);
            ref->attn_scores_f32(b + 8, q, n_q, kv, dim, scale);
            CHECKF(same_floats(a, b, n_s + 16), "%s attn_scores_f32 dim %zu queries %zu", k->level, dim, n_q);
        }

        float *prob = floats(STATE_A, n_s), *factor = floats(STATE_B, n_q);
        size_t n_valid[32];
        for (size_t i = 0; i < n_s; i++)
            prob[i] = fabsf(test_normal());
        for (size_t j = 0; j < n_q; j++) {
            n_valid[j] = round % 3 == 0 ? ATTN_TILE : test_below(ATTN_TILE + 1);
            factor[j] = test_below(4) == 0 ? 1 : fabsf(test_normal());
        }
        for (size_t type = 0; type < 2; type++) {
            if (type == 0 ? !k->attn_values_f16 : !k->attn_values_f32)
                continue;
            bytes = n_q * dim * sizeof(float) + 64;
            poison(bytes);
            a = place(OUT_A, bytes);
            b = place(OUT_B, bytes);
            fill(a + 8, n_q * dim, 0);
            for (size_t i = 0; i < n_q * dim; i++)
                b[8 + i] = a[8 + i];
            if (type == 0) {
                k->attn_values_f16(a + 8, prob, factor, n_valid, n_q, half, dim);
                ref->attn_values_f16(b + 8, prob, factor, n_valid, n_q, half, dim);
            } else {
                k->attn_values_f32(a + 8, prob, factor, n_valid, n_q, kv, dim);
                ref->attn_values_f32(b + 8, prob, factor, n_valid, n_q, kv, dim);
            }
            CHECKF(same_floats(a, b, n_q * dim + 16), "%s attn_values_%s dim %zu queries %zu", k->level, type ? "f32" : "f16", dim, n_q);
        }
    }
    for (size_t round = 0; k->attn_softmax && round < 1500; round++) {
        size_t n_q = 1 + test_below(9), n = n_q * ATTN_TILE, n_valid[9];
        float *a = floats(OUT_A, n), *b = floats(OUT_B, n), max_a[9], max_b[9], sum_a[9], sum_b[9], got[9], want[9];
        fill(a, n, round % 7 == 0 ? 1 + test_below(2) : round % 7 == 1 ? 4 : 0);
        for (size_t i = 0; round % 5 == 0 && i < n; i++)
            a[i] = test_below(2) ? 0.0f : -0.0f;
        memcpy(b, a, n * sizeof *a);
        for (size_t j = 0; j < n_q; j++) {
            n_valid[j] = test_below(2) ? ATTN_TILE : 1 + test_below(ATTN_TILE);
            max_a[j] = max_b[j] = test_below(3) ? test_normal() * 3 : -INFINITY;
            sum_a[j] = sum_b[j] = max_a[j] == -INFINITY ? 0 : 5;
        }
        k->attn_softmax(a, got, n_valid, n_q, max_a, sum_a);
        ref->attn_softmax(b, want, n_valid, n_q, max_b, sum_b);
        CHECKF(same_floats(a, b, n) && same_floats(got, want, n_q) && same_floats(max_a, max_b, n_q) && same_floats(sum_a, sum_b, n_q),
               "%s attn_softmax queries %zu round %zu", k->level, n_q, round);
    }
}

/* int8 tiles: extremes too, and scales of which those that nobody may use are not numbers. */
static void check_attention_q8(const struct kernels *k)
{
    const struct kernels *ref = &kernels_scalar;
    static const size_t dims[] = {128, 64, 8, 4, 16, 24, 36, 80, 100, 12, 48, 256, 1024};
    for (size_t round = 0; round < 300; round++) {
        size_t dim = dims[round % ARRAY_LEN(dims)], n_q = test_below(10) + (round % 20 == 0 ? 20 : round % 6 == 1 ? 16 * test_below(5) : 0);
        size_t codes = ATTN_TILE * dim, bytes = codes + ATTN_TILE * sizeof(float), n_s = n_q * ATTN_TILE;
        int8_t *tile = place(IN_B, bytes), *q = place(IN_A, n_q * dim);
        float *scales = floats(IN_B, ATTN_TILE), *q_scale = floats(IN_C, n_q), scale = fabsf(test_normal());
        for (size_t i = 0; i < codes; i++)
            tile[i] = (int8_t)(round % 7 == 0 ? 127 : round % 7 == 1 ? -127 : (int)test_below(255) - 127);
        for (size_t i = 0; i < n_q * dim; i++)
            q[i] = (int8_t)(round % 5 == 0 ? 127 : round % 5 == 1 ? -127 : (int)test_below(255) - 127);
        for (size_t p = 0; p < ATTN_TILE; p++)
            scales[p] = round % 9 == 8 ? NAN : test_below(9) ? fabsf(test_normal()) : 0;
        for (size_t j = 0; j < n_q; j++)
            q_scale[j] = fabsf(test_normal());
        size_t n_out = n_s * sizeof(float) + 64;
        float *a = place(OUT_A, n_out), *b = place(OUT_B, n_out);
        if (k->attn_scores_q8) {
            poison(n_out);
            k->attn_scores_q8(a + 8, q, q_scale, n_q, tile, dim, scale);
            ref->attn_scores_q8(b + 8, q, q_scale, n_q, tile, dim, scale);
            CHECKF(same_floats(a, b, n_s + 16), "%s attn_scores_q8 dim %zu queries %zu", k->level, dim, n_q);
        }
        if (!k->attn_values_q8)
            continue;
        dim -= round % 3 == 0 ? test_below(4) : 0; /* any number of dimensions */
        memmove(tile + (codes - ATTN_TILE * dim), tile, ATTN_TILE * dim);
        tile += codes - ATTN_TILE * dim;
        float *prob = floats(STATE_A, n_s), *factor = floats(STATE_B, n_q);
        size_t n_valid[80];
        for (size_t i = 0; i < n_s; i++)
            prob[i] = test_below(8) ? expf(-fabsf(test_normal()) * 5) : 0;
        for (size_t j = 0; j < n_q; j++) {
            n_valid[j] = round % 3 == 0 ? ATTN_TILE : 1 + test_below(ATTN_TILE);
            factor[j] = test_below(4) == 0 ? 1 : fabsf(test_normal());
            if (test_below(20) == 0)
                memset(prob + j * ATTN_TILE, 0, ATTN_TILE * sizeof *prob);
        }
        n_out = n_q * dim * sizeof(float) + 64;
        poison(n_out);
        a = place(OUT_A, n_out);
        b = place(OUT_B, n_out);
        fill(a + 8, n_q * dim, 0);
        memcpy(b + 8, a + 8, n_q * dim * sizeof *a);
        k->attn_values_q8(a + 8, prob, factor, n_valid, n_q, tile, dim);
        ref->attn_values_q8(b + 8, prob, factor, n_valid, n_q, tile, dim);
        CHECKF(same_floats(a, b, n_q * dim + 16), "%s attn_values_q8 dim %zu queries %zu", k->level, dim, n_q);
    }
}
TEST(kernels_attention_q8) { each_level(check_attention_q8, false); }
TEST(kernels_attention) { each_level(check_attention, false); }

/* ------------------------------------------------------- one-bit matrices */

static void plain_q1(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const int8_t *q,
                     const float *scale, size_t tokens, size_t planes)
{
    for (size_t r = row0; r < row1; r++) {
        for (size_t t = 0; t < tokens; t++) {
            float acc = 0;
            for (size_t g = 0; g < groups; g++) {
                const uint8_t *block = w + (r * groups + g) * 18;
                float d = f16_to_f32((uint16_t)(block[0] | block[1] << 8));
                const int8_t *x = q + (t * planes * groups + g) * GROUP;
                int32_t isum = 0;
                for (size_t i = 0; i < GROUP; i++) {
                    int32_t activation = planes == 2 ? 128 * x[i] + x[groups * GROUP + i] : x[i];
                    isum += (block[2 + i / 8] >> i % 8 & 1 ? 1 : -1) * activation;
                }
                acc = fmaf(d * scale[t * groups + g], (float)isum, acc);
            }
            y[t * y_stride + r] = acc;
        }
    }
}

static void fill_weights(uint8_t *w, size_t blocks)
{
    size_t bits = test_below(6), scales = test_below(6);
    for (size_t i = 0; i < blocks; i++, w += 18) {
        uint16_t d = (uint16_t)(0x1000 + test_below(0x2000)); /* 2^-11 .. 2^-3 */
        if (scales == 0 || test_below(50) == 0) {
            static const uint16_t odd[] = {0, 0x8000, 1, 0x8001, 0x03ff, 0x7bff, 0xfbff, 0x3c00};
            d = odd[test_below(ARRAY_LEN(odd))];
        } else if (scales == 1) {
            d = (uint16_t)test_random(); /* infinities and NaN too */
        } else if (scales == 2) {
            d |= (uint16_t)(test_below(2) << 15);
        }
        memcpy(w, &d, 2);
        for (size_t j = 0; j < 16; j++)
            w[2 + j] = bits == 0 ? 0xff : bits == 1 ? 0 : bits == 2 ? (uint8_t)(test_below(2) * 255) : (uint8_t)test_random();
    }
}

static void fill_scales(float *scale, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t kind = test_below(8);
        scale[i] = kind == 0 ? 0 : kind == 1 ? ldexpf(1, -130) : fabsf(test_normal()) * 0.02f;
    }
}

static void fill_activations(int8_t *q, size_t n_groups)
{
    for (size_t i = 0; i < n_groups; i++) {
        size_t kind = test_below(8);
        for (size_t j = 0; j < GROUP; j++)
            q[i * GROUP + j] = (int8_t)(kind == 0   ? 0
                                        : kind == 2 ? 127
                                        : kind == 3 ? -127
                                        : kind == 4 ? (test_below(2) ? 127 : -127)
                                                    : (int)test_below(255) - 127);
    }
}

static void check_family(const char *level, const struct q1_family *family, size_t tokens, size_t rows, size_t groups, size_t planes)
{
    uint8_t *w = place(IN_A, rows * groups * 18 + test_below(2));
    int8_t *q = place(IN_B, tokens * planes * groups * GROUP);
    float *scale = floats(IN_C, tokens * groups);
    fill_weights(w, rows * groups);
    fill_scales(scale, tokens * groups);
    fill_activations(q, tokens * planes * groups);
    size_t row0 = test_below(2) ? 0 : test_below(rows + 1), row1 = test_below(2) ? rows : row0 + test_below(rows - row0 + 1);
    row0 = MIN(row0, row1);

    size_t stride = rows + test_below(5), n_y = tokens * stride + 16;
    poison(n_y * sizeof(float));
    float *a = floats(OUT_A, n_y), *b = floats(OUT_B, n_y);
    plain_q1(b + 8, stride, w, row0, row1, groups, q, scale, tokens, planes);

    size_t packed_bytes = family->packed_bytes(groups, tokens);
    void *packed = place(PACKED_A, ROUND_UP(packed_bytes, (size_t)64));
    memset(packed, 0xcd, packed_bytes);
    size_t cut = test_below(groups + 1); /* packed by two threads */
    family->pack(packed, q, scale, groups, tokens, cut, groups);
    family->pack(packed, q, scale, groups, tokens, 0, cut);
    struct q1_next next = {w, test_below(2) ? test_below(rows * groups * 18 + 1) : 0}; /* any readable bytes, or none */
    family->run(a + 8, stride, w, row0, row1, groups, packed, tokens, next);
    CHECKF(same_floats(a, b, n_y), "%s %s planes %zu tokens %zu rows %zu [%zu, %zu) groups %zu", level, family->name, planes, tokens, rows,
           row0, row1, groups);
}

static void check_families(const char *level, q1_pick *const families[Q1_FAMILIES], size_t planes)
{
    static const char *const names[Q1_FAMILIES] = {"sign", "popcount", "tables"};
    for (size_t f = 0; f < Q1_FAMILIES; f++) {
        for (size_t tokens = 1; families[f] && tokens <= 300; tokens += tokens < 36 ? 1 : 37) {
            const struct q1_family *family = families[f](tokens);
            CHECKF(strcmp(family->name, names[f]) == 0, "%s %s", level, family->name);
            size_t n = MIN(tokens, family->max_tokens), tile = family->row_tile;
            const size_t rows[] = {
                0, 1, tile - 1, tile, tile + 1, 2 * tile + test_below(tile), 1 + test_below(100), 9 * tile + test_below(tile)};
            for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                if (n > 36 && i % 3 != (tokens + f) % 3)
                    continue; /* long ones cost much */
                /* Some kernels take eight groups at a time. */
                size_t groups = test_below(6) ? 1 + test_below(4) : 1 + test_below(17);
                check_family(level, family, n, rows[i], groups, planes);
            }
        }
    }
}

static void check_q1(const struct kernels *k)
{
    check_families(k->level, k->q1, 1);
    for (size_t tokens = 1; k->q1_auto && tokens <= 1000; tokens++) {
        struct kernels best;
        int f = k->q1_auto(tokens);
        CHECKF(kernels_select(&best, cpu_features(), k->level) && f >= 0 && f < Q1_FAMILIES && best.q1[f], "%s q1_auto %zu", k->level,
               tokens);
    }
}

static void check_q1_wide(const struct kernels *k)
{
    check_families(k->level, k->q1_wide, WIDE_PLANES);
    for (size_t tokens = 1; k->q1_wide_auto && tokens <= 1000; tokens++) {
        struct kernels best;
        int f = k->q1_wide_auto(tokens);
        CHECKF(kernels_select(&best, cpu_features(), k->level) && f >= 0 && f < Q1_FAMILIES && best.q1_wide[f], "%s q1_wide_auto %zu",
               k->level, tokens);
    }
}

TEST(kernels_q1) { each_level(check_q1, true); }
TEST(kernels_q1_wide) { each_level(check_q1_wide, true); }

/* 64 rows side by side: against the plain loops over the rows that they were made of. */
static void check_blocks(const char *level, q1_pick *pick, size_t planes)
{
    for (size_t round = 0; pick && round < 120; round++) {
        const struct q1_family *family = pick(1 + round % 80);
        if (!family)
            continue;
        size_t tokens = MIN(1 + round % 80, family->max_tokens), rows = 1 + test_below(300) + (round % 4 ? 0 : 500),
               groups = 1 + test_below(6);
        groups = test_below(10) ? groups : 100;
        rows = groups == 100 ? 65 : rows;
        size_t bytes = (size_t)r64_bytes(rows, groups * GROUP), row_bytes = groups * Q1_BYTES;
        uint8_t *w = place(IN_A, rows * row_bytes), *blocks = place(STATE_A, bytes + test_below(2));
        int8_t *q = place(IN_B, tokens * planes * groups * GROUP);
        float *scale = floats(IN_C, tokens * groups);
        fill_weights(w, rows * groups);
        fill_activations(q, tokens * planes * groups);
        fill_scales(scale, tokens * groups);
        for (size_t r = 0; r < rows; r += R64_ROWS)
            r64_from_rows(blocks + r * row_bytes, w + r * row_bytes, MIN(rows - r, (size_t)R64_ROWS), groups);
        size_t row0 = test_below(2) ? 0 : test_below(DIV_UP(rows, R64_ROWS)) * R64_ROWS, n_blocks = DIV_UP(rows - row0, (size_t)R64_ROWS);
        size_t row1 = row0 + (test_below(2) ? n_blocks : 1 + test_below(n_blocks)) * R64_ROWS, stride = rows + test_below(5),
               n_y = tokens * stride + 16;
        row1 = MIN(row1, rows);
        poison(n_y * sizeof(float));
        float *a = floats(OUT_A, n_y), *b = floats(OUT_B, n_y);
        plain_q1(b + 8, stride, w, row0, row1, groups, q, scale, tokens, planes);
        size_t packed_bytes = family->packed_bytes(groups, tokens), cut = test_below(groups + 1);
        void *packed = place(PACKED_A, ROUND_UP(packed_bytes, (size_t)64));
        memset(packed, 0xcd, packed_bytes);
        family->pack(packed, q, scale, groups, tokens, 0, cut);
        family->pack(packed, q, scale, groups, tokens, cut, groups);
        family->run(a + 8, stride, blocks, row0, row1, groups, packed, tokens, (struct q1_next){blocks, bytes});
        CHECKF(same_floats(a, b, n_y), "%s r64 planes %zu tokens %zu rows %zu [%zu, %zu) groups %zu", level, planes, tokens, rows, row0,
               row1, groups);
    }
}

static void check_r64(const struct kernels *k)
{
    for (size_t round = 0; k->r64_to_rows && round < 30; round++) {
        size_t groups = 1 + test_below(9), bytes = R64_ROWS * groups * Q1_BYTES;
        uint8_t *blocks = place(IN_A, groups * R64_BLOCK_BYTES + test_below(2));
        for (size_t i = 0; i < groups * R64_BLOCK_BYTES; i++)
            blocks[i] = (uint8_t)test_random();
        poison(bytes);
        k->r64_to_rows(place(OUT_A, bytes), blocks, groups);
        r64_to_rows(place(OUT_B, bytes), blocks, R64_ROWS, groups);
        CHECKF(same_bytes(bytes), "%s r64_to_rows groups %zu", k->level, groups);
    }
    check_blocks(k->level, k->r64, 1);
    check_blocks(k->level, k->r64_wide, WIDE_PLANES);
}
TEST(kernels_r64) { each_level(check_r64, true); }

#ifdef SIGNUM_HAVE_amx
extern const struct kernels kernels_amx_model; /* amx_model.c */

TEST(kernels_amx_model)
{
    unsigned needs = kernels_amx_model.needs & ~(unsigned)CPU_AMX;
    make_buffers();
    for (size_t round = 0; (needs & ~cpu_features()) == 0 && round < 60; round++) {
        size_t tokens = round < 36 ? round + 1 : 1 + test_below(128), rows = test_below(round < 36 ? 70 : 35), groups = 1 + test_below(9);
        check_family("amx model", kernels_amx_model.q1[0](tokens), tokens, rows, groups, 1);
        size_t wide = (tokens + 1) / WIDE_PLANES;
        check_family("amx model", kernels_amx_model.q1_wide[0](wide), wide, rows, groups, WIDE_PLANES);
        if (round % 4 == 0) { /* many rows of few groups: scales are far ahead */
            size_t n = 1 + test_below(16);
            check_family("amx model", kernels_amx_model.q1[0](n), n, 150 + test_below(60), 1 + test_below(3), 1);
        }
    }
    if ((needs & ~cpu_features()) == 0)
        check_attention_q8(&kernels_amx_model);
}
#endif

#ifdef SIGNUM_HAVE_avxvnni
extern const struct kernels kernels_avxvnni_model; /* avxvnni_model.c */

TEST(kernels_avxvnni_model)
{
    const struct kernels *k = &kernels_avxvnni_model;
    make_buffers();
    if (!(cpu_features() & CPU_AVX2))
        return;
    check_q1(k);
    check_q1_wide(k);
    check_attention_q8(k);
}
#endif

/* ------------------------------------------------- the specification itself */

TEST(kernels_scalar_plain)
{
    const struct kernels *k = &kernels_scalar;
    for (size_t round = 0; round < 300; round++) {
        float x[6 * GROUP], w[6 * GROUP], y[6 * GROUP], scale[6], lane[16] = {0};
        int8_t q[6 * GROUP];
        size_t n = 1 + test_below(6 * GROUP), groups = n / GROUP;
        fill(x, n, round % 2 * 3);
        fill(w, n, 0);
        for (size_t i = 0; i < n; i++)
            lane[i % 16] = fmaf(x[i], w[i], lane[i % 16]);
        float even = ((lane[0] + lane[8]) + (lane[4] + lane[12])) + ((lane[2] + lane[10]) + (lane[6] + lane[14]));
        float odd = ((lane[1] + lane[9]) + (lane[5] + lane[13])) + ((lane[3] + lane[11]) + (lane[7] + lane[15]));
        CHECK(k->dot_f32(x, w, n) == even + odd);

        k->rmsnorm(y, x, w, n, 1e-6f);
        float r = 1.0f / sqrtf(k->dot_f32(x, x, n) / (float)n + 1e-6f);
        CHECK(y[n - 1] == x[n - 1] * r * w[n - 1] && y[0] == x[0] * r * w[0]);

        memcpy(y, x, sizeof y);
        k->silu_mul(y, y, w, n);
        size_t i = test_below(n);
        CHECK(y[i] == x[i] / (1.0f + exp_f32(-x[i])) * w[i]);

        size_t half = n / 2;
        memcpy(y, x, sizeof y);
        k->rope(y, w, w + half, half * 2);
        i = half ? test_below(half) : 0;
        if (half) {
            CHECK(y[i] == fmaf(x[i], w[i], -(x[i + half] * w[i + half])));
            CHECK(y[i + half] == fmaf(x[i], w[i + half], x[i + half] * w[i]));
        }

        int8_t high[6 * GROUP], low[6 * GROUP];
        float wide_scale[6];
        CHECK(k->quantize_i8(q, scale, x, groups * GROUP) && k->quantize_i16(high, low, wide_scale, x, groups * GROUP));
        for (size_t g = 0; g < groups; g++) {
            float amax = 0;
            for (size_t j = 0; j < GROUP; j++)
                amax = fmaxf(amax, fabsf(x[g * GROUP + j]));
            CHECK(scale[g] == (amax < 0x1p-100f ? 0 : amax / 127) && wide_scale[g] == (amax < 0x1p-100f ? 0 : amax / 16383));
            for (size_t j = g * GROUP; j < (g + 1) * GROUP; j++) {
                CHECK(128 * high[j] + low[j] == (amax < 0x1p-100f ? 0 : fminf(16383, fmaxf(-16383, rintf(x[j] * (16383 / amax))))));
                CHECK(high[j] >= -127 && low[j] >= -127);
            }
            for (size_t j = 0; j < GROUP; j++)
                CHECK(q[g * GROUP + j] == (amax < 0x1p-100f ? 0 : fminf(127, fmaxf(-127, rintf(x[g * GROUP + j] * (127 / amax))))));
        }
    }
    /* One query over one tile, in double: softmax(q K) V. */
    for (size_t round = 0; round < 20; round++) {
        enum {
            DIM = 24
        };
        float q[DIM], kt[ATTN_TILE * DIM], v[ATTN_TILE * DIM], s[ATTN_TILE], o[DIM] = {0}, max = -INFINITY, sum = 0, factor;
        double exact[DIM] = {0}, total = 0;
        size_t n_valid = 1 + test_below(ATTN_TILE);
        fill(q, DIM, 4);
        fill(v, ATTN_TILE * DIM, 4);
        fill(kt, ATTN_TILE * DIM, 4);
        k->attn_scores_f32(s, q, 1, kt, DIM, 0.25f);
        for (size_t p = 0; p < n_valid; p++) {
            double dot = 0;
            for (size_t i = 0; i < DIM; i++)
                dot += (double)q[i] * (double)kt[p / 16 * DIM * 16 + i * 16 + p % 16];
            total += exp(dot * 0.25);
            for (size_t i = 0; i < DIM; i++)
                exact[i] += exp(dot * 0.25) * (double)v[p * DIM + i];
        }
        k->attn_softmax(s, &factor, &n_valid, 1, &max, &sum);
        CHECK(factor == 0);
        k->attn_values_f32(o, s, &factor, &n_valid, 1, v, DIM);
        for (size_t i = 0; i < DIM; i++)
            CHECKF(fabs((double)o[i] / (double)sum - exact[i] / total) < 2e-6, "%g, not %g", (double)(o[i] / sum), exact[i] / total);
    }
    /* The same in int8, against the numbers that the integers stand for. */
    for (size_t round = 0; round < 20; round++) {
        enum {
            DIM = 24
        };
        struct {
            int8_t code[ATTN_TILE * DIM];
            float scale[ATTN_TILE];
        } kt, v;
        float x[DIM], s[ATTN_TILE], o[DIM] = {0}, max = -INFINITY, sum = 0, factor, q_scale;
        double exact[DIM] = {0}, total = 0;
        int8_t q[DIM], code[DIM];
        size_t n_valid = 1 + test_below(ATTN_TILE);
        fill(x, DIM, 4);
        q_scale = k->quantize_head(q, x, DIM);
        for (size_t p = 0; p < ATTN_TILE; p++) {
            fill(x, DIM, 4);
            v.scale[p] = k->quantize_head(code, x, DIM);
            for (size_t i = 0; i < DIM; i++)
                v.code[p / 4 * DIM * 4 + i * 4 + p % 4] = code[i];
            fill(x, DIM, 4);
            kt.scale[p] = k->quantize_head(code, x, DIM);
            double dot = 0, unit = (double)kt.scale[p] * (double)q_scale * 0.25;
            for (size_t i = 0; i < DIM; i++) {
                kt.code[p / 16 * DIM * 16 + i / 4 * 64 + p % 16 * 4 + i % 4] = code[i];
                dot += unit * q[i] * code[i];
            }
            total += p < n_valid ? exp(dot) : 0;
            for (size_t i = 0; i < DIM && p < n_valid; i++)
                exact[i] += exp(dot) * (double)v.scale[p] * v.code[p / 4 * DIM * 4 + i * 4 + p % 4];
        }
        k->attn_scores_q8(s, q, &q_scale, 1, &kt, DIM, 0.25f);
        k->attn_softmax(s, &factor, &n_valid, 1, &max, &sum);
        k->attn_values_q8(o, s, &factor, &n_valid, 1, &v, DIM);
        float most = 0; /* each weight is rounded by at most half of most / PROB_MAX */
        for (size_t p = 0; p < n_valid; p++)
            most = fmaxf(most, s[p] * v.scale[p]);
        for (size_t i = 0; i < DIM; i++) {
            double bound = 1e-5, half = 0.5 * (double)most / PROB_MAX / (double)sum;
            for (size_t p = 0; p < n_valid; p++)
                bound += half * abs(v.code[p / 4 * DIM * 4 + i * 4 + p % 4]);
            CHECKF(fabs((double)o[i] / (double)sum - exact[i] / total) < bound, "%g, not %g to within %g", (double)(o[i] / sum),
                   exact[i] / total, bound);
        }
    }
    const float tied[] = {-1, 3, 0, 3, -3}, zero[] = {-0.0f, 0.0f}, none[] = {0, NAN};
    CHECK(k->argmax(tied, 5) == 1 && k->argmax(zero, 2) == 0 && k->argmax(none, 2) == -1);
}

/* --------------------------------------------------------------- dispatch */

TEST(kernels_select)
{
    unsigned features = cpu_features();
    struct kernels k, best;
    CHECK(kernels_select(&best, features, NULL));
    CHECK(kernels_select(&k, 0, NULL) && strcmp(k.level, "scalar") == 0);
    CHECK(!kernels_select(&k, features, "") && !kernels_select(&k, features, "sse9") && !kernels_select(&k, features, "AVX2"));
    for (size_t i = 0; kernels_levels[i]; i++) {
        const struct kernels *level = kernels_levels[i];
        bool runs = (level->needs & ~features) == 0;
        CHECKF(kernels_select(&k, features, level->level) == runs, "%s", level->level);
        if (!runs)
            continue;
        CHECK(strcmp(k.level, level->level) == 0);
        CHECK(!level->dot_f32 || k.dot_f32 == level->dot_f32);
        CHECK(k.quantize_i8 && k.dot_f32 && k.dot_i8 && k.rmsnorm && k.add && k.silu_mul && k.rope && k.f16_from_f32 && k.f32_from_f16 &&
              k.argmax && k.attn_scores_f16 && k.attn_scores_f32 && k.attn_softmax && k.attn_values_f16 && k.attn_values_f32 &&
              k.quantize_head && k.attn_scores_q8 && k.attn_values_q8 && k.peak_i8 && k.peak_f32 && k.q1[0] && k.q1[1] && k.q1_auto &&
              k.quantize_i16 && k.q1_wide[0] && k.q1_wide[1] && k.q1_wide_auto);
        const char *wrong = kernels_self_test(&k);
        CHECKF(!wrong, "%s: %s", level->level, wrong);
    }
}

static float off_by_little(const float *a, const float *b, size_t n) { return nextafterf(kernels_scalar.dot_f32(a, b, n), 9e9f); }
static int32_t off_by_one(const int8_t *a, const int8_t *b, size_t n) { return kernels_scalar.dot_i8(a, b, n) + 1; }
static void forgets_one(float *y, const float *x, size_t n) { kernels_scalar.add(y, x, n - 1); }

TEST(kernels_self_test_notices)
{
    struct kernels k;
    CHECK(kernels_select(&k, 0, NULL));
    k.dot_f32 = off_by_little;
    CHECK(strcmp(kernels_self_test(&k), "dot_f32") == 0);
    k.dot_f32 = kernels_scalar.dot_f32;
    k.dot_i8 = off_by_one;
    CHECK(strcmp(kernels_self_test(&k), "dot_i8") == 0);
    k.dot_i8 = kernels_scalar.dot_i8;
    k.add = forgets_one;
    CHECK(strcmp(kernels_self_test(&k), "add") == 0);
}
