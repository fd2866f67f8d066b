/* kernels.h: the arithmetic of signum, entry by entry, and its contract.
 * Layer: compute. A kernel file includes this and quant.h, nothing above.
 *
 * THE CONTRACT. scalar.c is the specification. Every other kernel gives the same
 * bits, for every input; tests compare with memcmp. This works because
 *
 *  - integer sums are exact, so their order is free;
 *  - one matmul output is   acc = fma(d * s, (float)isum, acc)   over the groups
 *    in ascending order, d the weight scale, s the activation scale, from acc = 0
 *    (d * s is rounded to float; isum is exact and at most 2^22, so that (float)isum is too);
 *  - float reductions (rmsnorm, dot_f32) run in 16 virtual lanes: element i goes to
 *    lane i mod 16, ascending, by fma; then lane l += lane l+8, l+4, l+2, l+1;
 *  - everything else is elementwise, and written with explicit fma where one is
 *    meant (the compiler may not contract: -ffp-contract=off);
 *  - exp is ours (mathfn.h: exp_f32), operation by operation.
 *
 * Kernels are pure: rows or ranges in, results out; no heap, no locks, no state.
 * Pointers to weights are unaligned; all other float pointers come from the arena
 * (64-byte aligned rows where n is a multiple of 16) but kernels may not rely on it.
 * Kernels never read outside the stated arrays.
 *
 * A NULL entry in a level's table means "the best lower level will do". The levels
 * are not a chain (Zen 4 has AVX-512 without AVX-VNNI): each table states the CPU
 * features it needs, and every entry is taken from the last table in kernels_levels
 * whose features are present and that fills it. */
#ifndef SIGNUM_KERNELS_H
#define SIGNUM_KERNELS_H

#include "r64.h"

#ifdef __F16C__
#include <immintrin.h>
#endif

enum {
    ATTN_TILE = 64,      /* positions of one KV tile, at absolute multiples */
    ATTN_LANES = 16,     /* positions side by side in a K tile */
    ATTN_SPAN = 512,     /* work is split only at absolute multiples of this */
    ATTN_FEW = 4,        /* queries at most whose tiles come from memory: kernels fetch the next one meanwhile */
    MAX_HEAD_DIM = 1024, /* numbers of one head: model.c accepts no more */
    PROB_MAX = 255,      /* of probabilities rounded to bytes */
};

/* For bodies that are written once and compiled for several constants. */
#define TEMPLATE __attribute__((always_inline)) static inline

/* Before a loop whose count is a constant after inlining: its arrays become registers. Before one that is
 * better left small. And before one of any count that is short. */
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#define NO_UNROLL _Pragma("clang loop unroll(disable)")
#define UNROLL_4 _Pragma("clang loop unroll_count(4)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#define NO_UNROLL _Pragma("GCC unroll 1")
#define UNROLL_4 _Pragma("GCC unroll 4")
#endif

/* The scale of a group as float, one at a time: fast where the CPU has an instruction for it. */
static inline float q1_scale(const uint8_t *group)
{
    uint16_t half = (uint16_t)(group[0] | group[1] << 8);
#ifdef __F16C__
    return _cvtsh_ss(half);
#else
    return f16_to_f32(half);
#endif
}

/* Where the tile of int8 that mostly follows this one in memory (kv.h) begins. */
static inline uintptr_t q8_next(const int8_t *tile, size_t dim) { return (uintptr_t)tile + ATTN_TILE * (dim + sizeof(float)); }

/* ACTIVATIONS IN 15 BITS, for --act int16. A code of -16383..16383 is kept in two planes of int8:
 * code = 128 * high + low, high = code / 128 rounded toward 0, so that both lie in -127..127
 * like the codes of int8 activations, and whatever multiplies those multiplies a plane. The
 * sums of the planes are joined as integers, 128 * (sum of high) + (sum of low), before the one
 * conversion to float: of 128 weights of +-1 at most 128 * 16383 < 2^21. */
enum {
    WIDE_PLANES = 2,
    WIDE_UNIT = 128, /* what 1 in the high plane stands for */
    WIDE_MOST = 16383,
};

/* Weights that the calling thread multiplies after those of a run: up to `bytes` bytes from `data`
 * on, all of them readable. While run works on its last rows it may bring them closer (to L2, where
 * its first rows want to be); 0 bytes: nothing is known to follow. A hint, which results do not
 * depend on and which a family may ignore. */
struct q1_next {
    const uint8_t *data;
    size_t bytes;
};

/* A way of multiplying Q1_0 weights with int8 activations for some number of
 * tokens at once. Two steps: pack (once per input, shared by all matrices that
 * have it) and run (many rows, all tokens). */
struct q1_family {
    const char *name;  /* "sign", "popcount", "tables" ... as --matmul says it */
    size_t row_tile;   /* run is most efficient on ranges that are multiples of this */
    size_t max_tokens; /* of one pack and run; larger batches are cut by the caller */

    /* Bytes of the packed form. Packed memory is 64-byte aligned. */
    size_t (*packed_bytes)(size_t groups, size_t tokens);

    /* Packs groups [group0, group1) of all tokens. q: (tokens, groups*128) int8 in
     * -127..127, or of wide families (tokens, WIDE_PLANES, groups*128), the high plane first;
     * scale: (tokens, groups). Ranges are disjoint and may run on
     * several threads; all are packed before run is called. */
    void (*pack)(void *packed, const int8_t *q, const float *scale, size_t groups, size_t tokens, size_t group0, size_t group1);

    /* y[t * y_stride + r] = row r of W times token t, r in [row0, row1), t < tokens.
     * w: all rows, each groups * 18 bytes, contiguous. Writes nothing else. */
    void (*run)(float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups, const void *packed, size_t tokens,
                struct q1_next next);
};

enum {
    Q1_FAMILIES = 3
}; /* indices are enum sg_matmul - 1: sign, popcount, tables */

/* The family that serves a batch of so many tokens best. */
typedef const struct q1_family *q1_pick(size_t tokens);

struct kernels {
    const char *level; /* the name SIGNUM_ISA uses */
    unsigned needs;    /* enum cpu_feature bits */

    /* Rounds x (n a multiple of 128) to int8: per group amax = max |x|; amax < 2^-100: scale 0,
     * q 0; else scale = amax / 127, q = rint(x * (127 / amax)) clamped to +-127. False when x
     * holds a NaN or an infinity (q and scale are then undefined). */
    bool (*quantize_i8)(int8_t *q, float *scale, const float *x, size_t n);

    /* The same rule with WIDE_MOST in the place of 127, and the codes in two planes. */
    bool (*quantize_i16)(int8_t *high, int8_t *low, float *scale, const float *x, size_t n);

    /* The same rule as quantize_i8's with one group of any n; returns the scale. When x holds a NaN or an
     * infinity the scale is NaN and q is 0, so that whatever meets them becomes NaN. */
    float (*quantize_head)(int8_t *q, const float *x, size_t n);

    /* Sum of a[i] * b[i], any n: 16 lanes by fma, see above. */
    float (*dot_f32)(const float *a, const float *b, size_t n);

    /* Exact sum of a[i] * b[i]; n a multiple of 64, at most 2^16; a in -1..2, b in -127..127. */
    int32_t (*dot_i8)(const int8_t *a, const int8_t *b, size_t n);

    /* y = w * x / sqrt(mean(x^2) + eps): ss = 16-lane sum of squares;
     * r = 1.0f / sqrtf(ss / (float)n + eps); y[i] = (x[i] * r) * w[i]. y may be x. */
    void (*rmsnorm)(float *y, const float *x, const float *w, size_t n, float eps);

    /* y[i] += x[i]. */
    void (*add)(float *y, const float *x, size_t n);

    /* y[i] = (gate[i] / (1.0f + exp_f32(-gate[i]))) * up[i]. y may be gate. */
    void (*silu_mul)(float *y, const float *gate, const float *up, size_t n);

    /* NEOX rotation of one head in place: for i < dim/2, a = x[i], b = x[i+dim/2]:
     * x[i] = fma(a, c[i], -(b * s[i])); x[i+dim/2] = fma(a, s[i], b * c[i]). */
    void (*rope)(float *x, const float *c, const float *s, size_t dim);

    /* Conversions, elementwise; to f16 by round to nearest even. */
    void (*f16_from_f32)(uint16_t *dst, const float *src, size_t n);
    void (*f32_from_f16)(float *dst, const uint16_t *src, size_t n);

    /* The index of the largest logit, lowest index among equals; -1 when any is NaN or
     * infinite (n >= 1). Guards against printing garbage, and is the greedy sampler. */
    int64_t (*argmax)(const float *x, size_t n);

    /* ---- attention, one KV tile of 64 positions against n_q queries that share a kv head.
     *
     * K tile: 4 blocks of 16 positions, each [dim][16]; element (position p, dim i) at
     *   (p / 16) * dim * 16 + i * 16 + p % 16.   V tile: [64][dim].   f16 or f32.
     * Positions that are not filled yet hold zeros or old finite numbers.
     *
     * scores:  s[j * 64 + p] = (fma chain over i ascending of q[j * dim + i] * k(p, i), from 0) * scale
     * softmax: per query j, over the first n_valid[j] >= 1 scores:
     *            m = max(max[j], scores); factor[j] = exp_f32(max[j] - m) (0 when max[j] is -inf);
     *            p = exp_f32(s - m) in place, the rest of the 64 set to 0;
     *            t = 16-lane sum of all 64 p (plain adds, ascending, then the tree);
     *            sum[j] = fma(sum[j], factor[j], t); max[j] = m.
     * values:  o[j * dim + i] = o * factor[j], then for p < n_valid[j], ascending,
     *            o = fma(prob[j * 64 + p], v(p, i), o).   Masked positions are skipped. */
    void (*attn_scores_f16)(float *s, const float *q, size_t n_q, const uint16_t *k, size_t dim, float scale);
    void (*attn_scores_f32)(float *s, const float *q, size_t n_q, const float *k, size_t dim, float scale);
    void (*attn_softmax)(float *s, float *factor, const size_t *n_valid, size_t n_q, float *max, float *sum);
    void (*attn_values_f16)(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n_q, const uint16_t *v,
                            size_t dim);
    void (*attn_values_f32)(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n_q, const float *v,
                            size_t dim);

    /* The same for a KV cache in int8 ("q8_0"), where both sums are sums of integers, exact in
     * any order. Keys, values and queries are quantize_head's, with one scale per position and
     * head. Tiles end with the 64 floats that are the scales of their positions; before them
     *
     *   K: 4 blocks of 16 positions, each [dim / 4][16][4]: element (p, i) at
     *      (p / 16) * dim * 16 + i / 4 * 64 + p % 16 * 4 + i % 4.   dim is a multiple of 4 here:
     *      queries and tiles are padded with zeros.
     *   V: [16][dim][4]: element (p, i) at p / 4 * dim * 4 + i * 4 + p % 4.
     *
     * scores:  s[j * 64 + p] = (float)(sum over i of q[j * dim + i] * k(p, i)) * (k_scale[p] * (q_scale[j] * scale))
     * values:  the scales of V are folded into the probabilities (neither is ever negative),
     *          which are rounded per query:
     *            w[p] = prob[j * 64 + p] * v_scale[p], 0 for p >= n_valid[j];
     *            c = rint(w * (PROB_MAX / max w)), unit = max w / PROB_MAX: quantize_head's rule
     *            with PROB_MAX in the place of 127;
     *            o[j * dim + i] = fma((float)(sum over p of c[p] * v(p, i)), unit, o * factor[j]). */
    void (*attn_scores_q8)(float *s, const int8_t *q, const float *q_scale, size_t n_q, const void *k, size_t dim, float scale);
    void (*attn_values_q8)(float *o, const float *prob, const float *factor, const size_t *n_valid, size_t n_q, const void *v, size_t dim);

    /* Q1_0 matmul families by number of tokens: families for one token ... many tokens may
     * differ inside one level, so each names a function that picks; NULL: not at this level. */
    q1_pick *q1[Q1_FAMILIES];

    /* The most that this level's multiply-adds can do: runs a loop of them on registers and
     * returns how many products it added up, of int8 and of floats. The yardstick of `signum
     * bench`: nothing that is computed depends on it. */
    uint64_t (*peak_i8)(size_t rounds);
    uint64_t (*peak_f32)(size_t rounds);

    /* What --matmul auto uses for so many tokens at this level: index into q1 of a family
     * that this level or one below it has. Measured, see the level's file. */
    int (*q1_auto)(size_t tokens);

    /* Both again for activations in two planes. */
    q1_pick *q1_wide[Q1_FAMILIES];
    int (*q1_wide_auto)(size_t tokens);

    /* Q1_0_R64 (r64.h). r64(tokens): the family that multiplies it as it is, where that is the
     * fastest way, else NULL. Its w are blocks and its ranges begin at multiples of 64 rows.
     * r64_wide: the same for activations in two planes.
     * r64_to_rows: 64 rows as Q1_0, groups * 18 bytes each, for the families above. */
    q1_pick *r64, *r64_wide;
    void (*r64_to_rows)(uint8_t *rows, const uint8_t *blocks, size_t groups);
};

/* Every entry, for code that treats all alike. */
/* clang-format off */
#define KERNELS(X)                                                                                  \
    X(quantize_i8) X(quantize_i16) X(quantize_head) X(dot_f32) X(dot_i8) X(rmsnorm) X(add) X(silu_mul) X(rope) X(f16_from_f32)       \
    X(f32_from_f16) X(argmax) X(attn_scores_f16) X(attn_scores_f32) X(attn_softmax)                 \
    X(attn_values_f16) X(attn_values_f32) X(attn_scores_q8) X(attn_values_q8) X(peak_i8) X(peak_f32) X(q1[0]) X(q1[1]) X(q1[2]) X(q1_auto) \
    X(q1_wide[0]) X(q1_wide[1]) X(q1_wide[2]) X(q1_wide_auto) \
    X(r64) X(r64_wide) X(r64_to_rows)
/* clang-format on */

/* The levels; kernels.c lists those that this binary has. */
extern const struct kernels kernels_scalar;
extern const struct kernels kernels_avx2, kernels_avxvnni, kernels_avx512, kernels_avx512popcnt, kernels_avx512vnni, kernels_amx;
extern const struct kernels kernels_neon, kernels_dotprod, kernels_i8mm;

/* All levels compiled in, from the specification up; NULL-terminated. */
extern const struct kernels *const kernels_levels[];

/* Fills *out with the best entry for every operation among the levels whose needs are
 * in `features`, up to and including the level named cap. Without a cap (NULL) levels that
 * fail the self-test are left out, from the highest down. out->level is the highest level
 * used. False when cap is unknown or its needs are missing. */
bool kernels_select(struct kernels *out, unsigned features, const char *cap);

/* Compares every entry with the scalar one on small pseudo-random inputs (under
 * 1 ms); returns NULL or the name of the first entry that differs. Runs at every start:
 * a broken CPU, emulator or compiler must not print garbage. */
const char *kernels_self_test(const struct kernels *k);

#endif
