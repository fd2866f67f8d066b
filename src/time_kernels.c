/* Every kernel of every level: is it right, how fast is it. */
#include "engine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "cpu.h"
#include "fpenv.h"

enum {
    COLS = 4096,
    GROUPS = COLS / GROUP,
    ROWS = 256,
    TOKENS = 64,
    DIM = 128,
    QUERIES = 64, /* most */
    VOCAB = 151669
};

/* Inputs and outputs, sized for the largest probe. */
struct bench {
    float *x, *w, *scores, *logits;
    int8_t *q, *codes, *wide; /* wide: q in two planes */
    float *scale;
    uint16_t *half;
    float *prob;               /* scores without signs */
    size_t n_valid[QUERIES];   /* positions that a query sees: all */
    int8_t *tile;              /* of attention in int8: codes, then scales */
    uint8_t *weights, *blocks; /* the same as Q1_0 and with 64 rows side by side */
    uint8_t *packed;
    size_t packed_bytes;
    float *out; /* what a probe writes: compared between levels */
    size_t out_floats;
    struct arena arena;
};

/* A probe runs one kernel once. False: the level has no such kernel of its own. */
typedef bool probe_fn(const struct kernels *k, struct bench *b, size_t tokens);

static bool probe_quantize(const struct kernels *k, struct bench *b, size_t tokens)
{
    (void)tokens;
    return k->quantize_i8 && k->quantize_i8((int8_t *)b->out, b->out + COLS, b->x, COLS);
}

static bool probe_quantize_wide(const struct kernels *k, struct bench *b, size_t tokens)
{
    (void)tokens;
    int8_t *q = (int8_t *)b->out;
    return k->quantize_i16 && k->quantize_i16(q, q + COLS, b->out + COLS, b->x, COLS);
}

static bool probe_dot_f32(const struct kernels *k, struct bench *b, size_t tokens)
{
    (void)tokens;
    if (k->dot_f32)
        b->out[0] = k->dot_f32(b->x, b->w, COLS);
    return k->dot_f32;
}

static bool probe_dot_i8(const struct kernels *k, struct bench *b, size_t tokens)
{
    (void)tokens;
    if (k->dot_i8)
        b->out[0] = (float)k->dot_i8(b->codes, b->q, COLS);
    return k->dot_i8;
}

static bool probe_rmsnorm(const struct kernels *k, struct bench *b, size_t tokens)
{
    (void)tokens;
    if (k->rmsnorm)
        k->rmsnorm(b->out, b->x, b->w, COLS, 1e-6f);
    return k->rmsnorm;
}

static bool probe_add(const struct kernels *k, struct bench *b, size_t tokens)
{
    (void)tokens;
    if (k->add) {
        memcpy(b->out, b->w, COLS * sizeof *b->out);
        k->add(b->out, b->x, COLS);
    }
    return k->add;
}

static bool probe_silu(const struct kernels *k, struct bench *b, size_t tokens)
{
    (void)tokens;
    if (k->silu_mul)
        k->silu_mul(b->out, b->x, b->w, COLS);
    return k->silu_mul;
}

static bool probe_rope(const struct kernels *k, struct bench *b, size_t tokens)
{
    (void)tokens;
    if (k->rope) {
        memcpy(b->out, b->x, DIM * sizeof *b->out);
        k->rope(b->out, b->w, b->w + DIM, DIM);
    }
    return k->rope;
}

static bool probe_to_half(const struct kernels *k, struct bench *b, size_t tokens)
{
    (void)tokens;
    if (k->f16_from_f32)
        k->f16_from_f32((uint16_t *)b->out, b->x, COLS);
    return k->f16_from_f32;
}

static bool probe_from_half(const struct kernels *k, struct bench *b, size_t tokens)
{
    (void)tokens;
    if (k->f32_from_f16)
        k->f32_from_f16(b->out, b->half, COLS);
    return k->f32_from_f16;
}

static bool probe_argmax(const struct kernels *k, struct bench *b, size_t tokens)
{
    (void)tokens;
    if (k->argmax)
        b->out[0] = (float)k->argmax(b->logits, VOCAB);
    return k->argmax;
}

/* Of attention `n` is a number of queries, all of which see the whole tile. */
static bool probe_scores(const struct kernels *k, struct bench *b, size_t n)
{
    if (k->attn_scores_f16)
        k->attn_scores_f16(b->out, b->x, n, b->half, DIM, 0.088f);
    return k->attn_scores_f16;
}

static bool probe_softmax(const struct kernels *k, struct bench *b, size_t n)
{
    if (!k->attn_softmax)
        return false;
    memcpy(b->out, b->scores, n * ATTN_TILE * sizeof *b->out);
    float *factor = b->out + n * ATTN_TILE, *max = factor + n, *sum = max + n;
    for (size_t j = 0; j < n; j++) {
        max[j] = -INFINITY;
        sum[j] = 0;
    }
    k->attn_softmax(b->out, factor, b->n_valid, n, max, sum);
    return true;
}

static bool probe_values(const struct kernels *k, struct bench *b, size_t n)
{
    if (k->attn_values_f16) {
        memset(b->out, 0, n * DIM * sizeof *b->out);
        k->attn_values_f16(b->out, b->scores, b->scale, b->n_valid, n, b->half, DIM);
    }
    return k->attn_values_f16;
}

static bool probe_scores_q8(const struct kernels *k, struct bench *b, size_t n)
{
    if (k->attn_scores_q8)
        k->attn_scores_q8(b->out, b->q, b->scale, n, b->tile, DIM, 0.088f);
    return k->attn_scores_q8;
}

static bool probe_values_q8(const struct kernels *k, struct bench *b, size_t n)
{
    if (k->attn_values_q8) {
        memset(b->out, 0, n * DIM * sizeof *b->out);
        k->attn_values_q8(b->out, b->prob, b->scale, b->n_valid, n, b->tile, DIM);
    }
    return k->attn_values_q8;
}

/* A matmul family; ones for activations in two planes are numbered behind those for one. */
enum {
    SIGN,
    POPCOUNT,
    TABLES,
    WIDE,
    BLOCKS = 2 * WIDE, /* 64 rows side by side */
    WIDE_BLOCKS
};

/* NULL: not at this level, or not for so many tokens. */
static const struct q1_family *find_family(const struct kernels *k, size_t family, size_t tokens)
{
    q1_pick *pick = family == WIDE_BLOCKS ? k->r64_wide
                    : family == BLOCKS    ? k->r64
                    : family < WIDE       ? k->q1[family]
                                          : k->q1_wide[family - WIDE];
    return pick ? pick(tokens) : NULL;
}

static bool probe_family(const struct kernels *k, struct bench *b, size_t tokens, size_t family, bool pack)
{
    const struct q1_family *q1 = find_family(k, family, tokens);
    if (!q1)
        return false;
    bool wide = family >= WIDE && family != BLOCKS;
    const int8_t *q = wide ? b->wide : b->q;
    size_t planes = wide ? WIDE_PLANES : 1;
    size_t piece = MIN(tokens, q1->max_tokens), stride = ROUND_UP(q1->packed_bytes(GROUPS, piece), (size_t)ARENA_ALIGN);
    for (size_t t = 0, i = 0; t < tokens; t += piece, i++) {
        size_t n = MIN(tokens - t, piece);
        if ((i + 1) * stride > b->packed_bytes)
            return false;
        if (pack)
            q1->pack(b->packed + i * stride, q + t * planes * COLS, b->scale + t * GROUPS, GROUPS, n, 0, GROUPS);
        else
            q1->run(b->out + t * ROWS, ROWS, family >= BLOCKS ? b->blocks : b->weights, 0, ROWS, GROUPS, b->packed + i * stride, n,
                    (struct q1_next){0});
    }
    return true;
}

struct probe {
    const char *name;
    probe_fn *run; /* NULL: a matmul family */
    size_t family;
    size_t tokens;
    size_t units; /* per call */
    const char *unit;
};

#define FAMILY(label, family, tokens)                                        \
    {                                                                        \
        label, NULL, family, tokens, (size_t)ROWS *COLS *(tokens), "weights" \
    }

static const struct probe probes[] = {
    FAMILY("sign, 1 token", SIGN, 1),
    FAMILY("sign, 4 tokens", SIGN, 4),
    FAMILY("sign, 16 tokens", SIGN, 16),
    FAMILY("sign, 64 tokens", SIGN, 64),
    FAMILY("popcount, 1 token", POPCOUNT, 1),
    FAMILY("popcount, 16 tokens", POPCOUNT, 16),
    FAMILY("tables, 1 token", TABLES, 1),
    FAMILY("tables, 2 tokens", TABLES, 2),
    FAMILY("tables, 4 tokens", TABLES, 4),
    FAMILY("tables, 8 tokens", TABLES, 8),
    FAMILY("tables, 16 tokens", TABLES, 16),
    FAMILY("tables, 64 tokens", TABLES, 64),
    FAMILY("repacked, 1 token", BLOCKS, 1),
    FAMILY("repacked, 8 tokens", BLOCKS, 8),
    FAMILY("repacked, 64 tokens", BLOCKS, 64),
    FAMILY("sign int16, 1 token", WIDE + SIGN, 1),
    FAMILY("sign int16, 64 tokens", WIDE + SIGN, 64),
    FAMILY("tables int16, 1 token", WIDE + TABLES, 1),
    FAMILY("tables int16, 8 tokens", WIDE + TABLES, 8),
    FAMILY("tables int16, 64 tokens", WIDE + TABLES, 64),
    FAMILY("repacked int16, 1 token", WIDE_BLOCKS, 1),
    FAMILY("repacked int16, 8 tokens", WIDE_BLOCKS, 8),
    {"quantize_i8", probe_quantize, 0, 1, COLS, "floats"},
    {"quantize_i16", probe_quantize_wide, 0, 1, COLS, "floats"},
    {"dot_f32", probe_dot_f32, 0, 1, COLS, "floats"},
    {"dot_i8", probe_dot_i8, 0, 1, COLS, "bytes"},
    {"rmsnorm", probe_rmsnorm, 0, 1, COLS, "floats"},
    {"add", probe_add, 0, 1, COLS, "floats"},
    {"silu_mul", probe_silu, 0, 1, COLS, "floats"},
    {"rope", probe_rope, 0, 1, DIM, "floats"},
    {"f16_from_f32", probe_to_half, 0, 1, COLS, "floats"},
    {"f32_from_f16", probe_from_half, 0, 1, COLS, "floats"},
    {"argmax", probe_argmax, 0, 1, VOCAB, "floats"},
    {"attn_scores_f16, 4 queries", probe_scores, 0, 4, (size_t)4 * ATTN_TILE *DIM, "products"},
    {"attn_scores_f16, 64 queries", probe_scores, 0, 64, (size_t)64 * ATTN_TILE *DIM, "products"},
    {"attn_softmax, 4 queries", probe_softmax, 0, 4, (size_t)4 * ATTN_TILE, "scores"},
    {"attn_softmax, 64 queries", probe_softmax, 0, 64, (size_t)64 * ATTN_TILE, "scores"},
    {"attn_values_f16, 4 queries", probe_values, 0, 4, (size_t)4 * ATTN_TILE *DIM, "products"},
    {"attn_values_f16, 64 queries", probe_values, 0, 64, (size_t)64 * ATTN_TILE *DIM, "products"},
    {"attn_scores_q8, 4 queries", probe_scores_q8, 0, 4, (size_t)4 * ATTN_TILE *DIM, "products"},
    {"attn_scores_q8, 64 queries", probe_scores_q8, 0, 64, (size_t)64 * ATTN_TILE *DIM, "products"},
    {"attn_values_q8, 4 queries", probe_values_q8, 0, 4, (size_t)4 * ATTN_TILE *DIM, "products"},
    {"attn_values_q8, 64 queries", probe_values_q8, 0, 64, (size_t)64 * ATTN_TILE *DIM, "products"},
};

static void layout(struct bench *b, struct arena *a)
{
    b->x = ARENA_ARRAY(a, float, TOKENS *COLS);
    b->w = ARENA_ARRAY(a, float, COLS);
    b->scores = ARENA_ARRAY(a, float, QUERIES *ATTN_TILE);
    b->logits = ARENA_ARRAY(a, float, VOCAB);
    b->q = ARENA_ARRAY(a, int8_t, TOKENS * COLS);
    b->wide = ARENA_ARRAY(a, int8_t, TOKENS * WIDE_PLANES * COLS);
    b->codes = ARENA_ARRAY(a, int8_t, COLS);
    b->scale = ARENA_ARRAY(a, float, TOKENS *GROUPS);
    b->half = ARENA_ARRAY(a, uint16_t, ATTN_TILE * DIM);
    b->prob = ARENA_ARRAY(a, float, QUERIES *ATTN_TILE);
    b->tile = ARENA_ARRAY(a, int8_t, ATTN_TILE * (DIM + sizeof(float)));
    b->weights = ARENA_ARRAY(a, uint8_t, ROWS * GROUPS * 18);
    b->blocks = ARENA_ARRAY(a, uint8_t, ROWS * GROUPS * 18);
    b->packed_bytes = (size_t)TOKENS * COLS * 72; /* scalar tables are the largest: 64 bytes an activation */
    b->packed = arena_take(a, b->packed_bytes);
    b->out_floats = (size_t)TOKENS * ROWS + 2 * COLS;
    b->out = ARENA_ARRAY(a, float, 2 * b->out_floats); /* the second half: what scalar gave */
}

static void fill(struct bench *b)
{
    uint64_t state = 0x9E3779B97F4A7C15u;
    float *const arrays[] = {b->x, b->w, b->scores, b->logits};
    const size_t sizes[] = {(size_t)TOKENS * COLS, COLS, QUERIES * ATTN_TILE, VOCAB};
    for (size_t i = 0; i < ARRAY_LEN(arrays); i++)
        for (size_t k = 0; k < sizes[i]; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            arrays[i][k] = (float)(int32_t)(state >> 32) * 0x1p-30f;
        }
    for (size_t t = 0; t < TOKENS; t++)
        kernels_scalar.quantize_i8(b->q + t * COLS, b->scale + t * GROUPS, b->x + t * COLS, COLS);
    for (size_t i = 0; i < (size_t)TOKENS * WIDE_PLANES * COLS; i++) /* any codes; the scales are those of q */
        b->wide[i] = b->q[i / 2];
    for (size_t i = 0; i < COLS; i++)
        b->codes[i] = (int8_t)((int)(b->q[i] & 3) - 1);
    kernels_scalar.f16_from_f32(b->half, b->x, ATTN_TILE * DIM);
    for (size_t j = 0; j < QUERIES; j++)
        b->n_valid[j] = ATTN_TILE;
    for (size_t i = 0; i < QUERIES * ATTN_TILE; i++)
        b->prob[i] = fabsf(b->scores[i]);
    memcpy(b->tile, b->q, ATTN_TILE * DIM);
    memcpy(b->tile + ATTN_TILE * DIM, b->prob, ATTN_TILE * sizeof *b->prob);
    for (size_t i = 0; i < (size_t)ROWS * GROUPS; i++) {
        uint8_t *block = b->weights + i * 18;
        kernels_scalar.f16_from_f32((uint16_t *)(void *)block, &b->w[i % COLS], 1);
        memcpy(block + 2, b->q + i * 16 % (COLS * TOKENS - 16), 16);
    }
    for (size_t r = 0; r < ROWS; r += R64_ROWS)
        r64_from_rows(b->blocks + r * GROUPS * 18, b->weights + r * GROUPS * 18, R64_ROWS, GROUPS);
}

static bool run_probe(const struct probe *p, const struct kernels *k, struct bench *b)
{
    return p->run ? p->run(k, b, p->tokens) : probe_family(k, b, p->tokens, p->family, false);
}

/* Best of several rounds, each long enough for the clock. */
static double time_probe(const struct probe *p, const struct kernels *k, struct bench *b)
{
    double best = INFINITY;
    size_t calls = 1;
    for (int round = 0; round < 5;) {
        uint64_t begin = clock_ns();
        for (size_t i = 0; i < calls; i++)
            run_probe(p, k, b);
        uint64_t taken = clock_ns() - begin;
        if (taken < 2000000 && calls < (size_t)1 << 24) {
            calls *= 2;
            continue;
        }
        best = fmin(best, (double)taken / (double)calls);
        round++;
    }
    return best;
}

static void time_level(const struct kernels *level, struct bench *b, double scalar_ns[ARRAY_LEN(probes)], sg_kernel_time_fn *fn, void *arg)
{
    for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
        const struct probe *p = &probes[i];
        if (!p->run && !probe_family(level, b, p->tokens, p->family, true))
            continue;
        memset(b->out, 0xA5, b->out_floats * sizeof *b->out);
        if (!run_probe(p, level, b))
            continue;
        float *expected = b->out + b->out_floats, *got = b->out;
        const struct kernels *scalar = &kernels_scalar;
        struct probe reference = *p;
        if (!p->run && !find_family(scalar, p->family, p->tokens)) /* families agree, so any will do */
            reference.family = p->family < WIDE || p->family == BLOCKS ? POPCOUNT : WIDE + POPCOUNT;
        memcpy(expected, got, b->out_floats * sizeof *got);
        if (!p->run)
            probe_family(scalar, b, p->tokens, reference.family, true);
        memset(got, 0xA5, b->out_floats * sizeof *got);
        run_probe(&reference, scalar, b);
        bool same = memcmp(expected, got, b->out_floats * sizeof *got) == 0;
        if (level == scalar || !scalar_ns[i])
            scalar_ns[i] = time_probe(&reference, scalar, b);
        if (!p->run)
            probe_family(level, b, p->tokens, p->family, true);
        double ns = level == scalar ? scalar_ns[i] : time_probe(p, level, b);
        fn(arg, &(struct sg_kernel_time){.level = level->level,
                                         .kernel = p->name,
                                         .nanoseconds = ns,
                                         .rate = 1e9 * (double)p->units / ns,
                                         .unit = p->unit,
                                         .speedup = scalar_ns[i] / ns,
                                         .same = same});
    }
}

enum sg_status sg_time_kernels(sg_kernel_time_fn *fn, void *arg, struct sg_error *err)
{
    struct bench b = {0};
    struct arena measure = {0};
    layout(&b, &measure);
    if (!arena_map(&b.arena, measure.used))
        return fail_memory(err, measure.used, "timing the kernels");
    layout(&b, &b.arena);
    fenv_t mode = fp_enter();
    fill(&b);
    double scalar_ns[ARRAY_LEN(probes)] = {0};
    unsigned features = cpu_features();
    for (size_t i = 0; kernels_levels[i]; i++)
        if (!(kernels_levels[i]->needs & ~features))
            time_level(kernels_levels[i], &b, scalar_ns, fn, arg);
    fp_leave(mode);
    arena_unmap(&b.arena);
    return SG_OK;
}
