/* The engine end to end through signum.h: distance to the float64 reference, bit equality
 * among all ways of computing the same thing, sessions, memory, errors. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "check.h"
#include "golden_logits.h"
#include "signum.h"

static struct sg_engine *open_model(const char *name, const struct sg_options *base)
{
    char file[128];
    struct sg_options o = *base;
    struct sg_engine *e;
    struct sg_error err;
    snprintf(file, sizeof file, "models/%s.gguf", name);
    o.model_path = test_path(file);
    if (!o.n_threads)
        o.n_threads = 1;
    if (!CHECKF(sg_open(&e, &o, &err) == SG_OK, "%s: %s", name, err.message))
        exit(1);
    return e;
}

/* Keeps the logits of all positions of a feed. */
struct rows {
    float *data;
    size_t n_vocab;
};

static void keep_row(void *arg, size_t position, const float *logits)
{
    struct rows *r = arg;
    memcpy(r->data + position * r->n_vocab, logits, r->n_vocab * sizeof *logits);
}

/* Logits of every position, fed in pieces of `chunk` tokens. */
static float *all_logits(struct sg_engine *e, const int32_t *ids, size_t n, size_t chunk)
{
    struct rows r = {.n_vocab = sg_info(e)->n_vocab};
    struct sg_session *s;
    struct sg_error err;
    r.data = malloc(n * r.n_vocab * sizeof *r.data);
    if (!CHECKF(sg_session_open(&s, e, n, &err) == SG_OK, "%s", err.message))
        exit(1);
    for (size_t done = 0; done < n;) {
        size_t now = n - done < chunk ? n - done : chunk;
        struct sg_feed f = {.session = s, .ids = ids + done, .n = now, .n_logits = now, .on_logits = keep_row, .arg = &r};
        if (!CHECKF(sg_eval(e, &f, 1, &err) == SG_OK, "%s", err.message))
            exit(1);
        done += now;
    }
    CHECK(memcmp(sg_logits(s), r.data + (n - 1) * r.n_vocab, r.n_vocab * sizeof *r.data) == 0);
    sg_session_close(s);
    return r.data;
}

static double log_sum_exp(const float *x, size_t n)
{
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        max = fmax(max, x[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp(x[i] - max);
    return max + log(sum);
}

static double divergence(const float *ref, const float *got, size_t n)
{
    double zr = log_sum_exp(ref, n), zg = log_sum_exp(got, n), kl = 0;
    for (size_t i = 0; i < n; i++)
        kl += exp(ref[i] - zr) * ((ref[i] - zr) - (got[i] - zg));
    return fabs(kl);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* All reference rows of a model against one way of running it. */
static void check_distance(const char *name, const struct sg_options *o, const struct golden_logits *g, const struct golden_limits *limit,
                           const char *what)
{
    struct sg_engine *e = open_model(name, o);
    double kl[4096], sum = 0, worst = 0, abs = 0;
    size_t n = 0;
    for (size_t i = 0; i < g->n_sequences; i++) {
        const struct golden_sequence *s = &g->sequence[i];
        float *got = all_logits(e, s->ids, s->n_ids, s->n_ids);
        for (size_t p = 0; p < s->n_positions; p++, n++) {
            const float *ref = g->rows + (s->first_row + p) * g->n_vocab, *row = got + (size_t)s->positions[p] * g->n_vocab;
            kl[n] = divergence(ref, row, g->n_vocab);
            sum += kl[n];
            worst = fmax(worst, kl[n]);
            for (size_t v = 0; v < g->n_vocab; v++)
                abs = fmax(abs, fabs((double)ref[v] - row[v]));
        }
        free(got);
    }
    qsort(kl, n, sizeof *kl, compare_doubles);
    CHECKF(kl[n / 2] <= limit->median && sum / (double)n <= limit->mean && worst <= limit->max && abs <= limit->abs,
           "%s %s: KL median %g (%g), mean %g (%g), max %g (%g), logit %g (%g)", name, what, kl[n / 2], limit->median, sum / (double)n,
           limit->mean, worst, limit->max, abs, limit->abs);
    sg_close(e);
}

TEST(engine_golden_logits)
{
    for (size_t i = 0; golden_names[i]; i++) {
        const struct golden_logits *g = golden_load(golden_names[i]);
        check_distance(golden_names[i], &(struct sg_options){.act = SG_ACT_F32, .type_k = SG_KV_F32, .type_v = SG_KV_F32, .n_threads = 2},
                       g, &g->f32, "f32");
        check_distance(golden_names[i], &(struct sg_options){.act = SG_ACT_F32, .n_threads = 2}, g, &g->kv_f16, "f32, f16 cache");
        check_distance(golden_names[i], &(struct sg_options){.n_threads = 2}, g, &g->g128, "int8");
        /* A cache in int8 costs about half of what int8 activations do, and the two add up. */
        struct golden_limits cache = {g->g128.median * 0.65, g->g128.mean * 0.65, g->g128.max, g->g128.abs};
        struct golden_limits both = {g->g128.median * 1.5, g->g128.mean * 1.5, g->g128.max * 1.5, g->g128.abs * 1.5};
        check_distance(golden_names[i], &(struct sg_options){.act = SG_ACT_F32, .type_k = SG_KV_Q8_0, .type_v = SG_KV_Q8_0, .n_threads = 2},
                       g, &cache, "f32, q8_0 cache");
        check_distance(golden_names[i], &(struct sg_options){.type_k = SG_KV_Q8_0, .type_v = SG_KV_Q8_0, .n_threads = 2}, g, &both,
                       "int8, q8_0 cache");
    }
}

/* The mean over all reference rows of a model. */
static double mean_divergence(const char *name, const struct golden_logits *g, enum sg_act act, enum sg_kv_type kv)
{
    struct sg_engine *e = open_model(name, &(struct sg_options){.act = act, .type_k = kv, .type_v = kv, .n_threads = 2});
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < g->n_sequences; i++) {
        const struct golden_sequence *s = &g->sequence[i];
        float *got = all_logits(e, s->ids, s->n_ids, s->n_ids);
        for (size_t p = 0; p < s->n_positions; p++, n++)
            sum += divergence(g->rows + (s->first_row + p) * g->n_vocab, got + (size_t)s->positions[p] * g->n_vocab, g->n_vocab);
        free(got);
    }
    sg_close(e);
    return sum / (double)n;
}

/* Seven more bits make errors 129 times smaller, and divergence goes with their square. What a
 * cache in f16 costs is far less than int8, far more than int16. */
TEST(engine_int16_fidelity)
{
    static const char *const names[] = {"mini-q1", "q1-untied", "q2-g64", "mixed"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct golden_logits *g = golden_load(names[i]);
        double narrow = mean_divergence(names[i], g, SG_ACT_INT8, SG_KV_F16), wide = mean_divergence(names[i], g, SG_ACT_INT16, SG_KV_F16);
        double alone = mean_divergence(names[i], g, SG_ACT_INT16, SG_KV_F32);
        CHECKF(wide * 500 < narrow, "%s: KL of int8 %g, of int16 %g", names[i], narrow, wide);
        CHECKF(alone * 5000 < narrow, "%s: KL of int8 %g, of int16 without rounding the cache %g", names[i], narrow, alone);
    }
}

static size_t argmax(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

/* Greedy decoding in float must follow the reference up to the first near tie. */
TEST(engine_golden_greedy)
{
    for (size_t i = 0; golden_names[i]; i++) {
        const struct golden_logits *g = golden_load(golden_names[i]);
        struct sg_engine *e =
            open_model(golden_names[i], &(struct sg_options){.act = SG_ACT_F32, .type_k = SG_KV_F32, .type_v = SG_KV_F32});
        for (size_t k = 0; k < g->n_sequences; k++) {
            const struct golden_sequence *s = &g->sequence[k];
            struct sg_session *session;
            sg_session_open(&session, e, s->n_ids + s->n_greedy, NULL);
            struct sg_feed f = {.session = session, .ids = s->ids, .n = s->n_ids, .n_logits = 1};
            CHECK(sg_eval(e, &f, 1, NULL) == SG_OK);
            for (size_t j = 0; j < s->n_greedy && s->gaps[j] >= 2e-3f; j++) {
                int32_t id = (int32_t)argmax(sg_logits(session), g->n_vocab);
                CHECKF(id == s->greedy[j], "%s %s: token %zu is %d, not %d", golden_names[i], s->label, j, id, s->greedy[j]);
                f.ids = &id;
                f.n = 1;
                CHECK(sg_eval(e, &f, 1, NULL) == SG_OK);
            }
            sg_session_close(session);
        }
        sg_close(e);
    }
}

static const struct golden_sequence *longest(const struct golden_logits *g)
{
    const struct golden_sequence *best = &g->sequence[0];
    for (size_t i = 1; i < g->n_sequences; i++)
        if (g->sequence[i].n_ids > best->n_ids)
            best = &g->sequence[i];
    return best;
}

static void check_same(const char *name, const float *expected, const int32_t *ids, size_t n, size_t chunk, const struct sg_options *o,
                       const char *what)
{
    struct sg_engine *e = open_model(name, o);
    float *got = all_logits(e, ids, n, chunk);
    CHECKF(memcmp(got, expected, n * sg_info(e)->n_vocab * sizeof *got) == 0, "%s: %s, %d threads, chunks of %zu, matmul %d, act %d", name,
           what, o->n_threads, chunk, (int)o->matmul, (int)o->act);
    free(got);
    sg_close(e);
}

/* One family on one level; levels without that family are left out. */
static bool family_exists(const char *name, const char *isa, enum sg_act act, enum sg_matmul family)
{
    char file[128];
    struct sg_engine *e;
    snprintf(file, sizeof file, "models/%s.gguf", name);
    struct sg_options o = {.model_path = test_path(file), .isa = isa, .act = act, .matmul = family, .n_threads = 1};
    bool ok = sg_open(&e, &o, NULL) == SG_OK;
    sg_close(e);
    return ok;
}

/* Every level x family x threads x chunking gives the bits of scalar, one thread, one token at a
 * time. Only the best level takes every way of chunking; last_family is AUTO where families make no difference. */
static void check_identity(const char *name, enum sg_act act, enum sg_kv_type type_k, enum sg_kv_type type_v, enum sg_matmul last_family)
{
    const struct golden_logits *g = golden_load(name);
    const struct golden_sequence *s = longest(g);
    size_t n = s->n_ids < 80 ? s->n_ids : 80; /* more than one attention tile */
    struct sg_engine *e = open_model(name, &(struct sg_options){.isa = "scalar", .act = act, .type_k = type_k, .type_v = type_v});
    float *expected = all_logits(e, s->ids, n, 1);
    sg_close(e);
    char levels[256];
    snprintf(levels, sizeof levels, "%s", sg_isa_available());
    char *save = NULL;
    for (char *isa = strtok_r(levels, " ", &save); isa; isa = strtok_r(NULL, " ", &save)) {
        for (int family = SG_MATMUL_AUTO; family <= (int)last_family; family++) {
            if (!family_exists(name, isa, act, (enum sg_matmul)family))
                continue;
            const size_t chunks[] = {1, 2 + test_below(40), n};
            bool best = *save == 0;
            for (size_t c = 0; c < (best ? 3 : 1); c++) {
                struct sg_options o = {.isa = isa,
                                       .act = act,
                                       .type_k = type_k,
                                       .type_v = type_v,
                                       .matmul = (enum sg_matmul)family,
                                       .n_threads = 1 + (int)test_below(7)};
                check_same(name, expected, s->ids, n, chunks[best ? c : 1 + test_below(2)], &o, isa);
            }
        }
    }
    free(expected);
}

TEST(engine_identity)
{
    check_identity("q1-tied", SG_ACT_INT8, SG_KV_F16, SG_KV_F16, SG_MATMUL_TABLES);
    check_identity("q1-yarn", SG_ACT_INT8, SG_KV_F32, SG_KV_F32, SG_MATMUL_TABLES);
    check_identity("mixed", SG_ACT_INT8, SG_KV_F16, SG_KV_F16, SG_MATMUL_AUTO);
    check_identity("q2-g64", SG_ACT_INT8, SG_KV_F16, SG_KV_F16, SG_MATMUL_AUTO);
    check_identity("mini-q1", SG_ACT_F32, SG_KV_F16, SG_KV_F16, SG_MATMUL_AUTO);
    check_identity("q1-tied", SG_ACT_INT16, SG_KV_F32, SG_KV_F32, SG_MATMUL_TABLES);
    check_identity("mixed", SG_ACT_INT16, SG_KV_F16, SG_KV_F16, SG_MATMUL_AUTO);
    check_identity("q1-untied", SG_ACT_INT8, SG_KV_Q8_0, SG_KV_Q8_0, SG_MATMUL_AUTO);
    check_identity("f16-defaults", SG_ACT_F32, SG_KV_Q8_0, SG_KV_F16, SG_MATMUL_AUTO);
    check_identity("mini-q1", SG_ACT_F32, SG_KV_F32, SG_KV_Q8_0, SG_MATMUL_AUTO);
}

/* A long context: attention splits at 512 and 64 must not show. */
TEST(engine_identity_long)
{
    enum {
        N = 1100
    };
    static const enum sg_kv_type types[] = {SG_KV_F16, SG_KV_Q8_0};
    int32_t ids[N];
    for (size_t i = 0; i < N; i++)
        ids[i] = (int32_t)test_below(300);
    for (size_t k = 0; k < 2; k++) {
        struct sg_engine *a = open_model("mini-q1", &(struct sg_options){.n_threads = 1, .type_k = types[k], .type_v = types[k]});
        struct sg_engine *b =
            open_model("mini-q1", &(struct sg_options){.n_threads = 3, .isa = "scalar", .type_k = types[k], .type_v = types[k]});
        float *x = all_logits(a, ids, N, 1), *y = all_logits(b, ids, N, 200), *z = all_logits(b, ids, N, 1);
        CHECK(memcmp(x, y, N * sg_info(a)->n_vocab * sizeof *x) == 0);
        CHECK(memcmp(x, z, N * sg_info(a)->n_vocab * sizeof *x) == 0);
        free(x);
        free(y);
        free(z);
        sg_close(a);
        sg_close(b);
    }
}

/* Version 2 of the container holds the same model; types 42 (in groups of 128) and 142 the same blocks. */
TEST(engine_equal_files)
{
    static const char *const pairs[][2] = {{"mini-q1", "mini-q1-v2"}, {"q2-g128", "pq2"}};
    for (size_t i = 0; i < 2; i++) {
        const struct golden_sequence *s = longest(golden_load(pairs[i][0]));
        struct sg_engine *a = open_model(pairs[i][0], &(struct sg_options){.n_threads = 2}),
                         *b = open_model(pairs[i][1], &(struct sg_options){.n_threads = 1});
        float *x = all_logits(a, s->ids, s->n_ids, 64), *y = all_logits(b, s->ids, s->n_ids, s->n_ids);
        CHECKF(memcmp(x, y, s->n_ids * sg_info(a)->n_vocab * sizeof *x) == 0, "%s and %s", pairs[i][0], pairs[i][1]);
        free(x);
        free(y);
        sg_close(a);
        sg_close(b);
    }
}

/* Many sequences in one evaluation, in random pieces, equal each alone. */
TEST(engine_batch)
{
    enum {
        SEQUENCES = 9,
        LENGTH = 90
    };
    struct sg_engine *e = open_model("q1-tied", &(struct sg_options){.n_threads = 3});
    size_t n_vocab = sg_info(e)->n_vocab, fed[SEQUENCES] = {0};
    int32_t ids[SEQUENCES][LENGTH];
    struct sg_session *s[SEQUENCES];
    float *alone[SEQUENCES];
    struct rows rows[SEQUENCES];
    for (size_t i = 0; i < SEQUENCES; i++) {
        for (size_t k = 0; k < LENGTH; k++)
            ids[i][k] = (int32_t)test_below(n_vocab);
        alone[i] = all_logits(e, ids[i], LENGTH, LENGTH);
        CHECK(sg_session_open(&s[i], e, LENGTH, NULL) == SG_OK);
        rows[i] = (struct rows){malloc(LENGTH * n_vocab * sizeof(float)), n_vocab};
    }
    for (bool more = true; more;) {
        struct sg_feed feeds[SEQUENCES];
        size_t n = 0;
        more = false;
        for (size_t i = 0; i < SEQUENCES; i++) {
            size_t now = test_below(3) ? 1 : test_below(60);
            now = now < LENGTH - fed[i] ? now : LENGTH - fed[i];
            if (now)
                feeds[n++] = (struct sg_feed){
                    .session = s[i], .ids = ids[i] + fed[i], .n = now, .n_logits = now, .on_logits = keep_row, .arg = &rows[i]};
            fed[i] += now;
            more |= fed[i] < LENGTH;
        }
        CHECK(sg_eval(e, feeds, n, NULL) == SG_OK);
    }
    for (size_t i = 0; i < SEQUENCES; i++) {
        CHECKF(memcmp(alone[i], rows[i].data, LENGTH * n_vocab * sizeof(float)) == 0, "sequence %zu", i);
        free(alone[i]);
        free(rows[i].data);
        sg_session_close(s[i]);
    }
    sg_close(e);
}

/* Rewinding and forking leave exactly the state of a session that never had the rest. */
static void check_rewind_and_fork(enum sg_kv_type type)
{
    enum {
        N = 200
    };
    struct sg_engine *e = open_model("q1-yarn", &(struct sg_options){.n_threads = 2, .type_k = type, .type_v = type});
    size_t n_vocab = sg_info(e)->n_vocab;
    int32_t ids[N], other[N];
    for (size_t i = 0; i < N; i++) {
        ids[i] = (int32_t)test_below(n_vocab);
        other[i] = (int32_t)test_below(n_vocab);
    }
    float *expected = all_logits(e, ids, N, N);
    struct sg_session *s, *fork;
    CHECK(sg_session_open(&s, e, N, NULL) == SG_OK);
    for (int turn = 0; turn < 6; turn++) {
        size_t keep = turn == 0 ? 0 : test_below(N), branch = test_below(N - keep) + 1;
        sg_rewind(s, keep);
        CHECK(sg_length(s) == keep || turn == 0);
        CHECK(turn == 0 || sg_logits(s) == NULL);
        CHECK(sg_common_prefix(s, ids, N) == keep);
        struct sg_feed wrong = {.session = s, .ids = other, .n = branch, .n_logits = 1};
        CHECK(sg_eval(e, &wrong, 1, NULL) == SG_OK); /* leaves the true path */
        sg_rewind(s, keep);
        CHECK(sg_fork(&fork, s, keep, N, NULL) == SG_OK);
        struct sg_feed both[2] = {{.session = s, .ids = ids + keep, .n = N - keep, .n_logits = 1},
                                  {.session = fork, .ids = ids + keep, .n = N - keep, .n_logits = 1}};
        CHECK(sg_eval(e, both, 2, NULL) == SG_OK);
        CHECK(memcmp(sg_logits(s), expected + (N - 1) * n_vocab, n_vocab * sizeof(float)) == 0);
        CHECK(memcmp(sg_logits(fork), expected + (N - 1) * n_vocab, n_vocab * sizeof(float)) == 0);
        /* The fork goes its own way; the original must not notice. */
        sg_rewind(fork, N / 2);
        struct sg_feed away = {.session = fork, .ids = other, .n = N / 4, .n_logits = 1};
        CHECK(sg_eval(e, &away, 1, NULL) == SG_OK);
        sg_rewind(s, N - 1);
        struct sg_feed last = {.session = s, .ids = ids + N - 1, .n = 1, .n_logits = 1};
        CHECK(sg_eval(e, &last, 1, NULL) == SG_OK);
        CHECK(memcmp(sg_logits(s), expected + (N - 1) * n_vocab, n_vocab * sizeof(float)) == 0);
        sg_session_close(fork);
    }
    sg_session_close(s);
    free(expected);
    sg_close(e);
}

TEST(engine_rewind_and_fork)
{
    check_rewind_and_fork(SG_KV_F16);
    check_rewind_and_fork(SG_KV_Q8_0);
}

/* Made-up contexts: finite, and going on after them works. */
TEST(engine_pretend)
{
    static const enum sg_kv_type types[] = {SG_KV_F16, SG_KV_F32, SG_KV_Q8_0};
    for (size_t i = 0; i < 3; i++) {
        struct sg_engine *e = open_model("mini-q1", &(struct sg_options){.type_k = types[i], .type_v = types[i], .n_threads = 2});
        size_t n = 65 + test_below(1000);
        struct sg_session *s;
        struct sg_error err;
        const int32_t id = 5;
        CHECK(sg_session_open(&s, e, n + 1, NULL) == SG_OK && sg_pretend(s, n + 2, &err) == SG_USAGE);
        CHECK(sg_pretend(s, n, &err) == SG_OK && sg_length(s) == n && sg_pretend(s, 1, &err) == SG_USAGE);
        CHECK(sg_eval(e, &(struct sg_feed){.session = s, .ids = &id, .n = 1, .n_logits = 1}, 1, &err) == SG_OK && sg_length(s) == n + 1);
        sg_session_close(s);
        sg_close(e);
    }
}

#if defined(__x86_64__)
/* A host program linked with -ffast-math flushes denormals; results must not care, and the
 * host must find its mode as it was. Rounding direction likewise. */
TEST(engine_float_environment)
{
    const struct golden_sequence *s = longest(golden_load("q1-tied"));
    struct sg_engine *e = open_model("q1-tied", &(struct sg_options){.n_threads = 2});
    float *expected = all_logits(e, s->ids, s->n_ids, 50);
    sg_close(e);
    unsigned before = _mm_getcsr();
    const unsigned modes[] = {0x8040, 0x2000, 0xE040}; /* FTZ+DAZ; round down; both with round to zero */
    for (size_t i = 0; i < 3; i++) {
        _mm_setcsr((before & ~0x6000u) | modes[i]);
        unsigned set = _mm_getcsr();
        e = open_model("q1-tied", &(struct sg_options){.n_threads = 2}); /* its threads start in the odd mode */
        float *got = all_logits(e, s->ids, s->n_ids, 50);
        sg_close(e);
        unsigned after = _mm_getcsr();
        _mm_setcsr(before);
        CHECK((after & 0xFFC0) == (set & 0xFFC0));
        CHECKF(memcmp(got, expected, s->n_ids * 322 * sizeof *got) == 0, "mode %x", modes[i]);
        free(got);
    }
    free(expected);
}
#endif

TEST(engine_errors)
{
    struct sg_error err;
    struct sg_engine *e;
    struct sg_session *s;
    struct sg_options o = {.model_path = "/nonexistent/model.gguf"};
    CHECK(sg_open(&e, &o, &err) == SG_FAIL && e == NULL);
    char path[512];
    snprintf(path, sizeof path, "%s", test_path("models/mini-q1.gguf"));
    o = (struct sg_options){.model_path = path, .isa = "mmx"};
    CHECK(sg_open(&e, &o, &err) == SG_USAGE && strstr(err.message, "mmx"));
    o = (struct sg_options){.model_path = path, .n_threads = 1, .kv_budget = 1 << 20};
    CHECK(sg_open(&e, &o, &err) == SG_OK);
    CHECK(sg_session_open(&s, e, 0, &err) == SG_USAGE);
    CHECK(sg_session_open(&s, e, 10, &err) == SG_OK);
    const int32_t bad[] = {1, -1}, large[] = {322}, twelve[12] = {0};
    CHECK(sg_eval(e, &(struct sg_feed){.session = s, .ids = bad, .n = 2}, 1, &err) == SG_USAGE);
    CHECK(sg_eval(e, &(struct sg_feed){.session = s, .ids = large, .n = 1}, 1, &err) == SG_USAGE);
    CHECK(sg_eval(e, &(struct sg_feed){.session = s, .ids = twelve, .n = 12}, 1, &err) == SG_USAGE && strstr(err.message, "2 too many"));
    struct sg_feed twice[2] = {{.session = s, .ids = twelve, .n = 1}, {.session = s, .ids = twelve, .n = 1}};
    CHECK(sg_eval(e, twice, 2, &err) == SG_USAGE);
    CHECK(sg_length(s) == 0 && sg_logits(s) == NULL);
    sg_session_close(s);

    /* Over the KV budget: everything stays as it was, and a smaller request still works. */
    struct sg_memory m;
    sg_memory(e, 100000, &m);
    size_t fits = m.kv_budget / m.kv_block * m.kv_block_positions;
    CHECK(sg_session_open(&s, e, fits + 1000, &err) == SG_OK);
    int32_t *zeros = calloc(fits + 1000, sizeof *zeros);
    CHECK(sg_eval(e, &(struct sg_feed){.session = s, .ids = zeros, .n = fits + 1}, 1, &err) == SG_NO_MEMORY);
    CHECK(sg_length(s) == 0);
    CHECK(sg_eval(e, &(struct sg_feed){.session = s, .ids = zeros, .n = 70, .n_logits = 1}, 1, &err) == SG_OK);
    CHECK(sg_length(s) == 70 && sg_logits(s) != NULL);
    free(zeros);
    sg_session_close(s);
    sg_close(e);
}

TEST(engine_interrupt)
{
    volatile sig_atomic_t stop = 0;
    struct sg_engine *e = open_model("q1-tied", &(struct sg_options){.n_threads = 1, .interrupt = &stop});
    struct sg_session *s;
    struct sg_error err;
    const int32_t ids[3] = {1, 2, 3};
    CHECK(sg_session_open(&s, e, 10, &err) == SG_OK);
    CHECK(sg_eval(e, &(struct sg_feed){.session = s, .ids = ids, .n = 2, .n_logits = 1}, 1, &err) == SG_OK);
    stop = 1;
    CHECK(sg_eval(e, &(struct sg_feed){.session = s, .ids = ids + 2, .n = 1, .n_logits = 1}, 1, &err) == SG_INTERRUPTED);
    CHECK(sg_length(s) == 2 && sg_logits(s) != NULL); /* as it was */
    stop = 0;
    CHECK(sg_eval(e, &(struct sg_feed){.session = s, .ids = ids + 2, .n = 1, .n_logits = 1}, 1, &err) == SG_OK);
    CHECK(sg_length(s) == 3);
    sg_session_close(s);
    sg_close(e);
}
