/* kernels.c: which kernels there are, which are used, and whether they work here. */
#include "kernels.h"

#include <string.h>

const struct kernels *const kernels_levels[] = {
    &kernels_scalar,
#ifdef SIGNUM_HAVE_avx2
    &kernels_avx2,
#endif
#ifdef SIGNUM_HAVE_avxvnni
    &kernels_avxvnni,
#endif
#ifdef SIGNUM_HAVE_avx512
    &kernels_avx512,
#endif
#ifdef SIGNUM_HAVE_avx512popcnt
    &kernels_avx512popcnt,
#endif
#ifdef SIGNUM_HAVE_avx512vnni
    &kernels_avx512vnni,
#endif
#ifdef SIGNUM_HAVE_amx
    &kernels_amx,
#endif
#ifdef SIGNUM_HAVE_neon
    &kernels_neon,
#endif
#ifdef SIGNUM_HAVE_dotprod
    &kernels_dotprod,
#endif
#ifdef SIGNUM_HAVE_i8mm
    &kernels_i8mm,
#endif
    NULL,
};

/* The best of the first n levels. */
static void overlay(struct kernels *out, unsigned features, size_t n)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < n; i++) {
        const struct kernels *level = kernels_levels[i];
        if (level->needs & ~features)
            continue;
        out->level = level->level;
        out->needs |= level->needs;
#define TAKE(entry)   \
    if (level->entry) \
        out->entry = level->entry;
        KERNELS(TAKE)
#undef TAKE
    }
}

bool kernels_select(struct kernels *out, unsigned features, const char *cap)
{
    size_t n = 0;
    while (kernels_levels[n] && !(cap && strcmp(kernels_levels[n]->level, cap) == 0))
        n++;
    if (cap) {
        if (!kernels_levels[n] || (kernels_levels[n]->needs & ~features) != 0)
            return false;
        overlay(out, features, n + 1);
        return true;
    }
    do
        overlay(out, features, n);
    while (kernels_self_test(out) && --n > 0);
    return true;
}

/* -------------------------------------------------------------- self-test */

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void fill(float *x, size_t n, float range, uint64_t *state)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(int32_t)(next_random(state) >> 32) * (range * 0x1p-31f);
}

static bool same(const void *a, const void *b, size_t bytes) { return memcmp(a, b, bytes) == 0; }

static const char *test_vectors(const struct kernels *k, uint64_t *state)
{
    enum {
        N = 2 * GROUP,
        ODD = N - 5
    };
    const struct kernels *ref = &kernels_scalar;
    float x[N], w[N], a[N], b[N], scale_a[2], scale_b[2];
    int8_t q_a[N], q_b[N], code[N], low[N];
    uint16_t h_a[N], h_b[N];
    fill(x, N, 12, state);
    fill(w, N, 3, state);

    if (!k->quantize_i8(q_a, scale_a, x, N) || !ref->quantize_i8(q_b, scale_b, x, N) || !same(q_a, q_b, sizeof q_a) ||
        !same(scale_a, scale_b, sizeof scale_a))
        return "quantize_i8";
    if (!k->quantize_i16(q_a, code, scale_a, x, N) || !ref->quantize_i16(q_b, low, scale_b, x, N) || !same(q_a, q_b, sizeof q_a) ||
        !same(code, low, sizeof low) || !same(scale_a, scale_b, sizeof scale_a))
        return "quantize_i16";
    a[0] = k->quantize_head(q_a, w, ODD);
    b[0] = ref->quantize_head(q_b, w, ODD);
    if (!same(a, b, sizeof *a) || !same(q_a, q_b, sizeof q_a))
        return "quantize_head";
    a[0] = k->dot_f32(x, w, ODD);
    b[0] = ref->dot_f32(x, w, ODD);
    if (!same(a, b, sizeof *a))
        return "dot_f32";
    for (size_t i = 0; i < N; i++)
        code[i] = (int8_t)(next_random(state) % 4) - 1;
    if (k->dot_i8(code, q_a, N) != ref->dot_i8(code, q_a, N))
        return "dot_i8";
    k->rmsnorm(a, x, w, ODD, 1e-6f);
    ref->rmsnorm(b, x, w, ODD, 1e-6f);
    if (!same(a, b, ODD * sizeof *a))
        return "rmsnorm";
    memcpy(a, w, sizeof a);
    memcpy(b, w, sizeof b);
    k->add(a, x, ODD);
    ref->add(b, x, ODD);
    if (!same(a, b, sizeof a))
        return "add";
    k->silu_mul(a, x, w, ODD);
    ref->silu_mul(b, x, w, ODD);
    if (!same(a, b, sizeof a))
        return "silu_mul";
    k->rope(a, x, w, N - 10);
    ref->rope(b, x, w, N - 10);
    if (!same(a, b, sizeof a))
        return "rope";
    k->f16_from_f32(h_a, a, N);
    ref->f16_from_f32(h_b, a, N);
    if (!same(h_a, h_b, sizeof h_a))
        return "f16_from_f32";
    k->f32_from_f16(a, h_a, N);
    ref->f32_from_f16(b, h_a, N);
    if (!same(a, b, sizeof a))
        return "f32_from_f16";
    return k->argmax(x, ODD) == ref->argmax(x, ODD) ? NULL : "argmax";
}

static const char *test_attention(const struct kernels *k, uint64_t *state)
{
    enum {
        DIM = 40,
        Q = 5
    };
    const struct kernels *ref = &kernels_scalar;
    float q[Q * DIM], kv[ATTN_TILE * DIM], s_a[Q * ATTN_TILE], s_b[Q * ATTN_TILE], o_a[Q * DIM], o_b[Q * DIM], factor[Q];
    float want[Q], max_a[Q], max_b[Q], sum_a[Q], sum_b[Q];
    uint16_t half[ATTN_TILE * DIM];
    size_t n_valid[Q];
    fill(q, Q * DIM, 2, state);
    fill(kv, ATTN_TILE * DIM, 2, state);
    fill(o_a, Q * DIM, 2, state);
    memcpy(o_b, o_a, sizeof o_b);
    ref->f16_from_f32(half, kv, ATTN_TILE * DIM);

    k->attn_scores_f16(s_a, q, Q, half, DIM, 0.3f);
    ref->attn_scores_f16(s_b, q, Q, half, DIM, 0.3f);
    if (!same(s_a, s_b, sizeof s_a))
        return "attn_scores_f16";
    k->attn_scores_f32(s_a, q, Q, kv, DIM, 0.3f);
    ref->attn_scores_f32(s_b, q, Q, kv, DIM, 0.3f);
    if (!same(s_a, s_b, sizeof s_a))
        return "attn_scores_f32";
    for (size_t j = 0; j < Q; j++) {
        n_valid[j] = j == 0 ? ATTN_TILE : 1 + next_random(state) % ATTN_TILE;
        max_a[j] = max_b[j] = 1;
        sum_a[j] = sum_b[j] = 2;
    }
    k->attn_softmax(s_a, factor, n_valid, Q, max_a, sum_a);
    ref->attn_softmax(s_b, want, n_valid, Q, max_b, sum_b);
    if (!same(s_a, s_b, sizeof s_a) || !same(factor, want, sizeof want) || !same(max_a, max_b, sizeof max_a) ||
        !same(sum_a, sum_b, sizeof sum_a))
        return "attn_softmax";
    k->attn_values_f16(o_a, s_a, factor, n_valid, Q, half, DIM);
    ref->attn_values_f16(o_b, s_a, factor, n_valid, Q, half, DIM);
    if (!same(o_a, o_b, sizeof o_a))
        return "attn_values_f16";
    k->attn_values_f32(o_a, s_a, factor, n_valid, Q, kv, DIM);
    ref->attn_values_f32(o_b, s_a, factor, n_valid, Q, kv, DIM);
    if (!same(o_a, o_b, sizeof o_a))
        return "attn_values_f32";

    return NULL;
}

/* As many queries, and dimensions, as levels want for their fastest way, and one query more. */
static const char *test_attention_q8(const struct kernels *k, uint64_t *state)
{
    enum {
        DIM = 64,
        Q = 17
    };
    const struct kernels *ref = &kernels_scalar;
    struct {
        int8_t code[ATTN_TILE * DIM];
        float scale[ATTN_TILE];
    } tile;
    int8_t q[Q * DIM];
    float scale[Q], factor[Q], prob[Q * ATTN_TILE], s_a[Q * ATTN_TILE], s_b[Q * ATTN_TILE], o_a[Q * DIM], o_b[Q * DIM];
    size_t n_valid[Q];
    fill(o_a, Q * DIM, 2, state);
    for (size_t i = 0; i < sizeof tile.code; i++)
        tile.code[i] = (int8_t)(next_random(state) % 255 - 127);
    for (size_t j = 0; j < Q; j++) {
        scale[j] = ref->quantize_head(q + j * DIM, o_a + j * DIM, DIM);
        n_valid[j] = j == 0 ? ATTN_TILE : 1 + next_random(state) % ATTN_TILE;
    }
    memcpy(o_b, o_a, sizeof o_b);
    fill(factor, Q, 1, state);
    fill(tile.scale, ATTN_TILE, 0.01f, state);
    fill(prob, Q * ATTN_TILE, 1, state);
    for (size_t p = 0; p < ATTN_TILE; p++)
        tile.scale[p] = __builtin_fabsf(tile.scale[p]);
    for (size_t p = 0; p < Q * ATTN_TILE; p++)
        prob[p] = __builtin_fabsf(prob[p]);
    k->attn_values_q8(o_a, prob, factor, n_valid, Q, &tile, DIM);
    ref->attn_values_q8(o_b, prob, factor, n_valid, Q, &tile, DIM);
    if (!same(o_a, o_b, sizeof o_a))
        return "attn_values_q8";
    k->attn_scores_q8(s_a, q, scale, Q, &tile, DIM, 0.3f);
    ref->attn_scores_q8(s_b, q, scale, Q, &tile, DIM, 0.3f);
    return same(s_a, s_b, sizeof s_a) ? NULL : "attn_scores_q8";
}

/* Few and many tokens, which levels may have kernels of their own for, and as many groups as some take at a time. */
enum {
    SELF_TEST_TOKENS = 17,
    SELF_TEST_GROUPS = 8,
};
static const struct {
    size_t tokens, groups;
} self_test_shapes[] = {{1, SELF_TEST_GROUPS}, {3, 2}, {SELF_TEST_TOKENS, 1}};

/* The families of one kind, of activations in one plane or two, for rows and for 64 rows side by side. reference:
 * scalar popcount, which takes a fifth of the time of the other scalar families. */
static const char *test_q1(const struct kernels *k, q1_pick *const families[Q1_FAMILIES], q1_pick *blocks, q1_pick *reference,
                           size_t planes, uint64_t *state)
{
    enum {
        ROWS = R64_ROWS + 3,
        BLOCK = SELF_TEST_GROUPS * R64_BLOCK_BYTES, /* of 64 rows, in either layout */
        CODES = SELF_TEST_TOKENS * WIDE_PLANES * 2 * GROUP,
        SCALES = SELF_TEST_TOKENS * 2,
        PACKED = 80 << 10 /* scalar tables of 8 groups take 65 KB, those of AVX-512 of 17 tokens and two planes 69 */
    };
    uint8_t side_by_side[2 * BLOCK], want[2 * BLOCK], rows[BLOCK];
    int8_t q[CODES];
    float scale[SCALES], a[SELF_TEST_TOKENS * ROWS], b[SELF_TEST_TOKENS * ROWS];
    _Alignas(64) uint8_t packed[PACKED];
    for (size_t i = 0; i < sizeof side_by_side; i++) /* scales between 2^-8 and 2^-7 */
        side_by_side[i] = i % R64_BLOCK_BYTES < R64_SCALE_BYTES && i % 2 == 1 ? 0x1c : (uint8_t)(next_random(state) >> 56);
    for (size_t i = 0; i < CODES; i++)
        q[i] = (int8_t)(next_random(state) % 255 - 127);
    fill(scale, SCALES, 1, state);

    for (size_t shape = 0; shape < ARRAY_LEN(self_test_shapes); shape++) {
        size_t tokens = self_test_shapes[shape].tokens, groups = self_test_shapes[shape].groups, bytes = groups * R64_BLOCK_BYTES;
        for (size_t i = 0; i < 2 * bytes; i += bytes) {
            k->r64_to_rows(rows, side_by_side + i, groups);
            kernels_scalar.r64_to_rows(want + i, side_by_side + i, groups);
            if (!same(rows, want + i, bytes))
                return "r64_to_rows";
        }
        const struct q1_family *ref = reference(tokens);
        for (size_t t = 0; t < tokens; t += ref->max_tokens) {
            size_t n = MIN(tokens - t, ref->max_tokens);
            ref->pack(packed, q + t * planes * groups * GROUP, scale + t * groups, groups, n, 0, groups);
            ref->run(b + t * ROWS, ROWS, want, 0, ROWS, groups, packed, n, (struct q1_next){0});
        }
        for (size_t f = 0; f <= Q1_FAMILIES; f++) {
            q1_pick *pick = f < Q1_FAMILIES ? families[f] : blocks;
            const struct q1_family *family = pick ? pick(tokens) : NULL;
            if (!family)
                continue;
            size_t n = MIN(tokens, family->max_tokens);
            if (family->packed_bytes(groups, n) > PACKED)
                return family->name;
            family->pack(packed, q, scale, groups, n, 0, 1);
            family->pack(packed, q, scale, groups, n, 1, groups);
            family->run(a, ROWS, f < Q1_FAMILIES ? want : side_by_side, 0, ROWS, groups, packed, n, (struct q1_next){0});
            if (!same(a, b, n * ROWS * sizeof *a))
                return f < Q1_FAMILIES ? family->name : blocks == k->r64 ? "r64" : "r64_wide";
        }
    }
    return NULL;
}

const char *kernels_self_test(const struct kernels *k)
{
    uint64_t state = 0x9e3779b97f4a7c15u;
    const char *wrong = test_vectors(k, &state);
    if (!wrong)
        wrong = test_attention(k, &state);
    if (!wrong)
        wrong = test_attention_q8(k, &state);
    if (!wrong)
        wrong = test_q1(k, k->q1, k->r64, kernels_scalar.q1[1], 1, &state);
    return wrong ? wrong : test_q1(k, k->q1_wide, k->r64_wide, kernels_scalar.q1_wide[1], WIDE_PLANES, &state);
}
