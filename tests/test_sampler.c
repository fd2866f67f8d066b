/* The sampler against a naive one that follows llama.cpp's definitions word by word
 * over fully sorted lists, with libm; and the random numbers. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "candidates.h"
#include "check.h"
#include "sampler.h"

static int64_t plain_argmax(const float *x, size_t n)
{
    int64_t best = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return -1;
        if (x[i] > x[best])
            best = (int64_t)i;
    }
    return best;
}

static const struct kernels kernels = {.argmax = plain_argmax};

static struct sg_sampling neutral(void)
{
    return (struct sg_sampling){.temperature = 1,
                                .dynatemp_exponent = 1,
                                .top_p = 1,
                                .typical_p = 1,
                                .xtc_threshold = 0.1f,
                                .repeat_penalty = 1,
                                .dry_base = 1.75f,
                                .dry_allowed_length = 2,
                                .dry_last_n = -1,
                                .mirostat_tau = 5,
                                .mirostat_eta = 0.1f};
}

static struct sampler *opened(const struct sg_sampling *p, uint32_t attempt, size_t n_vocab)
{
    struct sampler *s;
    struct sg_error err = {0};
    CHECKF(sampler_open(&s, p, attempt, n_vocab, NULL, &kernels, &err) == SG_OK, "%s", err.message);
    return s;
}

/* ------------------------------------------------------------ random numbers */

static double chi_square(const size_t *count, const double *p, size_t n, size_t draws)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double expected = p[i] * (double)draws, d = (double)count[i] - expected;
        sum += d * d / expected;
    }
    return sum;
}

TEST(sampler_uniform)
{
    /* Every argument alone makes uniform numbers: 255 degrees of freedom, 5 sigma. */
    enum {
        BINS = 256,
        DRAWS = 1 << 16
    };
    double p[BINS];
    for (size_t i = 0; i < BINS; i++)
        p[i] = 1.0 / BINS;
    for (int argument = 0; argument < 8; argument++) {
        size_t high[BINS] = {0}, low[BINS] = {0}, pair[BINS] = {0};
        double before = 0;
        for (uint64_t i = 0; i < DRAWS; i++) {
            uint64_t x = argument & 4 ? i << 40 : i;
            double u = argument % 4 == 0   ? sampler_uniform(x, 7, 0, 0)
                       : argument % 4 == 1 ? sampler_uniform(7, x, 0, 0)
                       : argument % 4 == 2 ? sampler_uniform(7, 0, (uint32_t)(argument & 4 ? i << 16 : i), 0)
                                           : sampler_uniform(7, 0, 0, (uint32_t)(argument & 4 ? i << 16 : i));
            CHECK(u >= 0 && u < 1);
            high[(size_t)(u * BINS)]++;
            low[(uint64_t)(u * 0x1p53) & 255]++;
            pair[(size_t)(u * 16) * 16 + (size_t)(before * 16)]++;
            before = u;
        }
        double limit = 255 + 5 * sqrt(2 * 255.0);
        CHECKF(chi_square(high, p, BINS, DRAWS) < limit, "argument %d: %f", argument, chi_square(high, p, BINS, DRAWS));
        CHECKF(chi_square(low, p, BINS, DRAWS) < limit, "argument %d", argument);
        CHECKF(chi_square(pair, p, BINS, DRAWS) < limit, "argument %d", argument);
    }
    CHECK(sampler_uniform(1, 2, 3, 4) == sampler_uniform(1, 2, 3, 4));
    /* Part of what SIGNUM_NUMERICS promises. */
    CHECKF(sampler_uniform(42, 7, 0, 0) == 0x1.56fa2225de082p-2, "%a", sampler_uniform(42, 7, 0, 0));
}

TEST(sampler_frequencies)
{
    enum {
        N = 8,
        DRAWS = 20000
    };
    float logits[N];
    double p[N], total = 0;
    size_t count[N] = {0};
    for (size_t i = 0; i < N; i++) {
        logits[i] = (float)i * 0.4f - 1;
        total += p[i] = exp((double)logits[i] / 0.7);
    }
    for (size_t i = 0; i < N; i++)
        p[i] /= total;
    struct sg_sampling params = neutral();
    params.temperature = 0.7f;
    params.seed = 12345;
    struct sampler *s = opened(&params, 0, N);
    for (size_t i = 0; i < DRAWS; i++)
        count[sampler_choose(s, logits, i, NULL)]++;
    CHECKF(chi_square(count, p, N, DRAWS) < 30, "%f", chi_square(count, p, N, DRAWS));
    sampler_close(s);
}

/* -------------------------------------------------------- the naive sampler */

struct option {
    int id;
    double logit, p, rank;
};

struct naive {
    struct option list[512];
    size_t n;
    const struct sg_sampling *p;
    const int *history;
    size_t n_history;
    size_t position;
    uint32_t attempt;
};

static int by_logit(const void *x, const void *y)
{
    const struct option *a = x, *b = y;
    return a->logit > b->logit ? -1 : a->logit < b->logit ? 1 : a->id - b->id;
}

static int by_rank(const void *x, const void *y)
{
    const struct option *a = x, *b = y;
    return a->rank < b->rank ? -1 : a->rank > b->rank ? 1 : by_logit(x, y);
}

static void softmax(struct naive *v)
{
    double sum = 0;
    qsort(v->list, v->n, sizeof *v->list, by_logit);
    for (size_t i = 0; i < v->n; i++)
        sum += v->list[i].p = exp(v->list[i].logit - v->list[0].logit);
    for (size_t i = 0; i < v->n; i++)
        v->list[i].p /= sum;
}

static double naive_entropy(const struct naive *v)
{
    double h = 0;
    for (size_t i = 0; i < v->n; i++)
        if (v->list[i].p > 0)
            h -= v->list[i].p * log(v->list[i].p);
    return h;
}

/* Length of the common end of history[0..a) and history[0..b). */
static size_t common_end(const int *h, size_t first, size_t a, size_t b)
{
    size_t n = 0;
    while (a > first && b > first && h[a - 1] == h[b - 1]) {
        a--;
        b--;
        n++;
    }
    return n;
}

static void naive_step(struct naive *v, char step)
{
    const struct sg_sampling *p = v->p;
    size_t keep = p->min_keep > 0 ? (size_t)p->min_keep : 0, n = 0;
    double sum = 0;
    switch (step) {
    case 'e': {
        size_t first = p->penalty_last_n < 0 || (size_t)p->penalty_last_n > v->n_history ? 0 : v->n_history - (size_t)p->penalty_last_n;
        for (size_t i = 0; i < v->n; i++) {
            int count = 0;
            float l = (float)v->list[i].logit;
            for (size_t k = first; k < v->n_history; k++)
                count += v->history[k] == v->list[i].id;
            if (count > 0) {
                l = l > 0 ? l / p->repeat_penalty : l * p->repeat_penalty;
                v->list[i].logit = l - ((float)count * p->frequency_penalty + p->presence_penalty);
            }
        }
        break;
    }
    case 'd': {
        size_t first = p->dry_last_n < 0 || (size_t)p->dry_last_n > v->n_history ? 0 : v->n_history - (size_t)p->dry_last_n;
        if (p->dry_multiplier <= 0 || v->n_history - first <= (size_t)p->dry_allowed_length)
            break;
        for (size_t i = 0; i < v->n; i++) {
            int longest = -1;
            for (size_t k = first + 1; k < v->n_history; k++) {
                int length = (int)common_end(v->history, first, k, v->n_history);
                if (v->history[k] == v->list[i].id && length >= p->dry_allowed_length && length > longest)
                    longest = length;
            }
            if (longest >= 0) {
                double e = longest - p->dry_allowed_length, most = log(FLT_MAX) / log((double)p->dry_base);
                v->list[i].logit = (float)(v->list[i].logit - (double)p->dry_multiplier * pow((double)p->dry_base, e < most ? e : most));
            }
        }
        break;
    }
    case 's': {
        double mean = 0, variance = 0, best = -INFINITY;
        if (p->top_n_sigma <= 0 || v->n < 2)
            break;
        for (size_t i = 0; i < v->n; i++) {
            mean += v->list[i].logit / (double)v->n;
            best = fmax(best, v->list[i].logit);
        }
        for (size_t i = 0; i < v->n; i++)
            variance += pow(v->list[i].logit - mean, 2) / (double)v->n;
        for (size_t i = 0; i < v->n; i++)
            if (v->list[i].logit >= best - (double)p->top_n_sigma * sqrt(variance))
                v->list[n++] = v->list[i];
        v->n = n;
        break;
    }
    case 'k':
        qsort(v->list, v->n, sizeof *v->list, by_logit);
        if (p->top_k > 0 && (size_t)p->top_k < v->n)
            v->n = (size_t)p->top_k;
        break;
    case 'y': {
        if (p->typical_p >= 1)
            break;
        softmax(v);
        double h = naive_entropy(v);
        for (size_t i = 0; i < v->n; i++)
            v->list[i].rank = v->list[i].p > 0 ? (double)(float)fabs(-log(v->list[i].p) - h) : DBL_MAX;
        qsort(v->list, v->n, sizeof *v->list, by_rank);
        while (n < v->n) {
            sum += v->list[n++].p;
            if (sum > (double)p->typical_p && n >= keep)
                break;
        }
        v->n = n;
        break;
    }
    case 'p':
        if (p->top_p >= 1)
            break;
        softmax(v);
        while (n < v->n) {
            sum += v->list[n++].p;
            if (sum >= (double)p->top_p && n >= keep)
                break;
        }
        v->n = n;
        break;
    case 'm':
        if (p->min_p <= 0)
            break;
        softmax(v);
        for (size_t i = 0; i < v->n; i++)
            if (i == 0 || i < keep || v->list[i].logit >= v->list[0].logit + log((double)p->min_p))
                n = i + 1;
            else
                break;
        v->n = n;
        break;
    case 'x':
        if (p->xtc_probability <= 0 || p->xtc_threshold > 0.5f || v->n < 2 ||
            sampler_uniform(p->seed, v->position, v->attempt, 1) >= (double)p->xtc_probability)
            break;
        softmax(v);
        for (size_t i = 0; i < v->n && v->list[i].p >= (double)p->xtc_threshold; i++)
            n = i;
        if (n > 0 && v->n - n >= keep) {
            v->n -= n;
            memmove(v->list, v->list + n, v->n * sizeof *v->list);
        }
        break;
    case 't': {
        double t = (double)p->temperature;
        if (p->dynatemp_range > 0 && v->n > 1) {
            softmax(v);
            double low = fmax(0, t - (double)p->dynatemp_range), high = t + (double)p->dynatemp_range;
            t = low + (high - low) * pow(fmax(0, naive_entropy(v)) / log((double)v->n), (double)p->dynatemp_exponent);
            if (t <= 0)
                v->n = 1;
        }
        t = t > 0 ? t : 1;
        double best = -INFINITY;
        for (size_t i = 0; i < v->n; i++)
            best = fmax(best, v->list[i].logit);
        for (size_t i = 0; i < v->n; i++)
            v->list[i].logit =
                fmax(-(double)FLT_MAX, (double)(float)((v->list[i].logit - (fabs(best / t) > (double)FLT_MAX ? best : 0)) / t));
        break;
    }
    }
}

static int naive_choose(struct naive *v, const float *logits, size_t n, const uint32_t *allowed)
{
    const struct sg_sampling *p = v->p;
    v->n = 0;
    for (size_t i = 0; i < n; i++) {
        double l = (double)logits[i];
        for (size_t b = 0; b < p->n_biases; b++)
            if ((size_t)p->biases[b].id == i)
                l = (double)((float)l + p->biases[b].bias);
        if (l > -INFINITY && (!allowed || allowed[i / 32] >> i % 32 & 1))
            v->list[v->n++] = (struct option){.id = (int)i, .logit = l};
    }
    if (v->n == 0)
        return -1;
    for (const char *c = p->samplers[0] ? p->samplers : "edskypmxt"; *c; c++)
        if (p->temperature > 0 || *c == 'e' || *c == 'd')
            naive_step(v, *c);
    softmax(v);
    if (p->temperature <= 0)
        return v->list[0].id;
    double u = sampler_uniform(p->seed, v->position, v->attempt, 0), sum = 0;
    for (size_t i = 0; i < v->n; i++) {
        sum += v->list[i].p;
        if (sum >= u)
            return v->list[i].id;
    }
    return v->list[v->n - 1].id;
}

static float uniform(float low, float high) { return low + (high - low) * (float)test_below(1 << 20) / (1 << 20); }

static struct sg_sampling random_params(struct sg_logit_bias *biases, size_t n_vocab)
{
    struct sg_sampling p = neutral();
    p.seed = test_random();
    p.temperature = test_below(6) ? uniform(0.1f, 2) : 0;
    if (test_below(2))
        p.top_k = (int32_t)test_below(n_vocab + 10);
    if (test_below(2))
        p.top_p = uniform(0, 1.1f);
    if (test_below(3) == 0)
        p.min_p = uniform(0, 0.5f);
    if (test_below(3) == 0)
        p.typical_p = uniform(0, 1.1f);
    if (test_below(3) == 0)
        p.top_n_sigma = uniform(0.2f, 3);
    if (test_below(3) == 0) {
        p.xtc_probability = uniform(0, 1);
        p.xtc_threshold = uniform(0, 0.55f);
    }
    if (test_below(3) == 0) {
        p.dynatemp_range = uniform(0, 1.5f);
        p.dynatemp_exponent = uniform(0.5f, 2);
    }
    if (test_below(4) == 0)
        p.min_keep = (int32_t)test_below(8);
    if (test_below(2)) {
        p.penalty_last_n = (int32_t)test_below(30) - 1;
        p.repeat_penalty = test_below(2) ? uniform(0.8f, 1.5f) : 1;
        p.frequency_penalty = test_below(2) ? uniform(-0.5f, 1) : 0;
        p.presence_penalty = test_below(2) ? uniform(-0.5f, 1) : 0;
    }
    if (test_below(2)) {
        p.dry_multiplier = uniform(0.1f, 2);
        p.dry_base = uniform(1, 3);
        p.dry_allowed_length = (int32_t)test_below(4);
        p.dry_last_n = (int32_t)test_below(40) - 1;
    }
    if (test_below(3) == 0) {
        p.n_biases = test_below(4);
        p.biases = biases;
        for (size_t i = 0; i < p.n_biases; i++)
            biases[i] = (struct sg_logit_bias){(int32_t)test_below(n_vocab), test_below(3) ? uniform(-5, 5) : -INFINITY};
    }
    if (test_below(3) == 0) /* some other order, with letters left out or twice */
        for (size_t i = 0, n = 1 + test_below(12); i < n; i++)
            p.samplers[i] = "edskypmxt"[test_below(9)];
    return p;
}

TEST(sampler_reference)
{
    enum {
        STEPS = 24
    };
    for (int round = 0; round < 1500; round++) {
        size_t n_vocab = 1 + test_below(round % 8 == 0 ? 400 : 40), n_prompt = test_below(30);
        struct sg_logit_bias biases[4];
        struct sg_sampling params = random_params(biases, n_vocab);
        uint32_t attempt = (uint32_t)test_below(3), allowed[16];
        float *logits = test_guarded(n_vocab * sizeof *logits);
        int history[64 + STEPS];
        struct naive v = {.p = &params, .history = history, .attempt = attempt};
        struct sampler *s = opened(&params, attempt, n_vocab);
        bool masked = test_below(3) == 0, coarse = test_below(3) == 0;
        size_t few = 1 + test_below(n_vocab);
        for (size_t i = 0; i < n_prompt; i++) {
            history[v.n_history++] = (int)test_below(few);
            sampler_accept(s, history[i]);
        }
        for (size_t step = 0; step < STEPS; step++) {
            for (size_t i = 0; i < n_vocab; i++) {
                logits[i] = test_normal() * 3;
                if (coarse) /* many ties, and both zeros */
                    logits[i] = (float)rint((double)logits[i]);
            }
            for (size_t i = 0; i < 16; i++)
                allowed[i] = (uint32_t)(test_random() & test_random());
            v.position = n_prompt + step;
            int expected = naive_choose(&v, logits, n_vocab, masked ? allowed : NULL);
            int got = sampler_choose(s, logits, v.position, masked ? allowed : NULL);
            CHECKF(got == expected, "round %d step %zu: %d, expected %d", round, step, got, expected);
            history[v.n_history] = got >= 0 && test_below(3) ? got : (int)test_below(few);
            sampler_accept(s, history[v.n_history++]);
        }
        sampler_close(s);
    }
}

TEST(sampler_mirostat)
{
    enum {
        N = 300
    };
    static struct naive v;
    for (int round = 0; round < 20; round++) {
        struct sg_sampling params = neutral();
        params.seed = test_random();
        params.mirostat = 1 + round % 2;
        params.mirostat_tau = uniform(1, 6);
        params.mirostat_eta = uniform(0.05f, 0.5f);
        params.temperature = uniform(0.5f, 1.5f);
        params.top_k = 1; /* the chain does not apply */
        params.repeat_penalty = 2;
        params.penalty_last_n = -1;
        struct sampler *s = opened(&params, 0, N);
        double mu = 2 * (double)params.mirostat_tau, surprises = 0;
        for (size_t step = 0; step < 200; step++) {
            float logits[N];
            v.n = N;
            for (int i = 0; i < N; i++) {
                logits[i] = test_normal() * 2;
                v.list[i] = (struct option){.id = i, .logit = (double)(logits[i] / params.temperature)};
            }
            softmax(&v);
            if (params.mirostat == 1) {
                double tb = 0, tt = 0;
                for (int i = 0; i < 99; i++) {
                    double t = log((i + 2.0) / (i + 1.0));
                    tb += t * log(v.list[i].p / v.list[i + 1].p);
                    tt += t * t;
                }
                double e = tb / tt - 1, k = pow(e * pow(2, mu) / (1 - pow(N, -e)), 1 / (e + 1));
                v.n = k < 1 ? 1 : k < N ? (size_t)k : N;
            } else {
                size_t n = 0;
                while (n < v.n && -log2(v.list[n].p) <= mu)
                    n++;
                v.n = n ? n : 1;
            }
            softmax(&v);
            double u = sampler_uniform(params.seed, step, 0, 0), sum = 0;
            size_t i = 0;
            for (; i + 1 < v.n; i++)
                if ((sum += v.list[i].p) >= u)
                    break;
            mu -= (double)params.mirostat_eta * (-log2(v.list[i].p) - (double)params.mirostat_tau);
            surprises += -log2(v.list[i].p);
            int got = sampler_choose(s, logits, step, NULL);
            sampler_accept(s, got);
            if (!CHECKF(got == v.list[i].id, "version %d step %zu: %d, expected %d", params.mirostat, step, got, v.list[i].id))
                break;
        }
        CHECKF(surprises / 200 < (double)params.mirostat_tau + 1, "surprise %f, target %f", surprises / 200, (double)params.mirostat_tau);
        sampler_close(s);
    }
}

TEST(sampler_edges)
{
    enum {
        N = 70
    };
    float logits[N];
    uint32_t allowed[3] = {0, 0, 0};
    struct sg_sampling p = neutral();
    struct sg_error err;
    for (int i = 0; i < N; i++)
        logits[i] = (float)(i % 7);

    p.temperature = 0;
    struct sampler *s = opened(&p, 0, N);
    CHECK(sampler_choose(s, logits, 0, NULL) == 6); /* the first of the equal ones */
    CHECK(sampler_choose(s, logits, 0, allowed) == -1);
    allowed[2] = 1u << 4 | 1u << 5 | 1u << 31; /* 68, 69, and a bit outside of the vocabulary */
    CHECK(sampler_choose(s, logits, 0, allowed) == 69);
    sampler_accept(s, -1);
    sampler_accept(s, N);
    logits[3] = NAN;
    CHECK(sampler_choose(s, logits, 0, NULL) == -2);
    logits[3] = INFINITY;
    CHECK(sampler_choose(s, logits, 0, NULL) == -2);
    logits[3] = -INFINITY;
    CHECK(sampler_choose(s, logits, 0, allowed) == -2);
    logits[3] = 3;
    sampler_close(s);

    p.temperature = 1;
    s = opened(&p, 0, N);
    allowed[2] = 0;
    CHECK(sampler_choose(s, logits, 0, allowed) == -1);
    allowed[1] = 1;
    CHECK(sampler_choose(s, logits, 0, allowed) == 32);
    sampler_close(s);

    /* Extreme settings still give a token. */
    struct sg_logit_bias big[] = {{5, FLT_MAX}, {5, FLT_MAX}, {6, -FLT_MAX}, {6, -FLT_MAX}};
    for (int i = 0; i < N; i++)
        logits[i] = i % 2 ? FLT_MAX : -FLT_MAX;
    for (int round = 0; round < 400; round++) {
        struct sg_logit_bias biases[4];
        struct sg_sampling wild = random_params(biases, N);
        wild.temperature = test_below(2) ? FLT_MIN : FLT_MAX;
        wild.repeat_penalty = test_below(2) ? FLT_MIN : FLT_MAX;
        wild.penalty_last_n = -1;
        wild.dry_multiplier = test_below(2) ? FLT_MAX : 0;
        wild.dry_base = test_below(2) ? FLT_MAX : 1;
        wild.frequency_penalty = test_below(2) ? FLT_MAX : -FLT_MAX;
        wild.mirostat = (int32_t)test_below(3);
        wild.mirostat_tau = test_below(2) ? FLT_MAX : -1;
        wild.biases = big;
        wild.n_biases = 4;
        s = opened(&wild, 0, N);
        for (int i = 0; i < 10; i++) {
            int id = sampler_choose(s, logits, (size_t)i, NULL);
            CHECKF(id >= 0 && id < N, "%d", id);
            sampler_accept(s, id);
        }
        sampler_close(s);
    }

    /* What makes no sense is refused. */
    struct {
        struct sg_sampling p;
        const char *says;
    } bad[12];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        bad[i].p = neutral();
    bad[0].p.temperature = NAN, bad[0].says = "temperature";
    bad[1].p.top_p = INFINITY, bad[1].says = "top_p";
    bad[2].p.repeat_penalty = 0, bad[2].says = "repeat_penalty";
    bad[3].p.penalty_last_n = -2, bad[3].says = "penalty_last_n";
    bad[4].p.mirostat = 3, bad[4].says = "mirostat";
    strcpy(bad[5].p.samplers, "ekq"), bad[5].says = "'q'";
    memset(bad[6].p.samplers, 'k', sizeof bad[6].p.samplers), bad[6].says = "too long";
    bad[7].p.biases = &(struct sg_logit_bias){N, 1}, bad[7].p.n_biases = 1, bad[7].says = "token 70";
    bad[8].p.biases = &(struct sg_logit_bias){-1, 1}, bad[8].p.n_biases = 1, bad[8].says = "token -1";
    bad[9].p.biases = &(struct sg_logit_bias){1, NAN}, bad[9].p.n_biases = 1, bad[9].says = "token 1";
    bad[10].p.biases = &(struct sg_logit_bias){1, INFINITY}, bad[10].p.n_biases = 1, bad[10].says = "token 1";
    bad[11].p.dry_allowed_length = -1, bad[11].says = "dry_allowed_length";
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err.message[0] = 0;
        CHECK(sampler_open(&s, &bad[i].p, 0, N, NULL, &kernels, &err) == SG_USAGE && !s);
        CHECKF(strstr(err.message, bad[i].says) != NULL, "%s", err.message);
    }
}

TEST(sampler_independent)
{
    /* A number depends on seed, position and attempt, not on what was drawn before. */
    enum {
        N = 50
    };
    float logits[N];
    for (int i = 0; i < N; i++)
        logits[i] = test_normal();
    struct sg_sampling p = neutral();
    p.top_k = 20;
    struct sampler *a = opened(&p, 0, N), *b = opened(&p, 0, N), *c = opened(&p, 1, N);
    int first[100], same = 0;
    for (int i = 0; i < 100; i++)
        first[i] = sampler_choose(a, logits, (size_t)i, NULL);
    for (int i = 99; i >= 0; i--) {
        CHECK(sampler_choose(b, logits, (size_t)i, NULL) == first[i]);
        same += sampler_choose(c, logits, (size_t)i, NULL) == first[i];
    }
    CHECK(same < 50);
    sampler_close(a);
    sampler_close(b);
    sampler_close(c);
}

/* ------------------------------------------------------------------ candidates */

static int by_value(const void *x, const void *y)
{
    uint64_t a, b;
    memcpy(&a, x, sizeof a);
    memcpy(&b, y, sizeof b);
    return a < b ? -1 : a > b;
}

TEST(sampler_candidates)
{
    static const float order[] = {FLT_MAX, 1.5f, 1, FLT_MIN, FLT_TRUE_MIN, 0, -FLT_TRUE_MIN, -1, -1.5f, -FLT_MAX, -INFINITY};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        CHECK(candidate_logit(candidate(order[i], 7)) == order[i] && candidate_id(candidate(order[i], 7)) == 7);
        CHECK(candidate(order[i], 6) < candidate(order[i], 7));
        for (size_t j = i + 1; j < sizeof order / sizeof *order; j++)
            CHECK(candidate(order[i], INT32_MAX) < candidate(order[j], 0));
    }
    CHECK(candidate(-0.0f, 1) == candidate(0.0f, 1));

    struct candidates c;
    CHECK(candidates_open(&c, 5000));
    for (int round = 0; round < 200; round++) {
        size_t n = test_below(round % 10 ? 200 : 5000) + 1, k = test_below(round % 2 ? 12 : n + 5), live = 0;
        float *logits = test_guarded(n * sizeof *logits);
        uint64_t *all = test_guarded(n * sizeof *all);
        for (size_t i = 0; i < n; i++) {
            logits[i] = test_below(5) ? test_normal() : test_below(2) ? (float)test_below(3) - 1 : -INFINITY;
            if (logits[i] > -INFINITY)
                all[live++] = candidate(logits[i], (int32_t)i);
        }
        qsort(all, live, sizeof *all, by_value);
        candidates_best(&c, logits, n, k);
        CHECK(c.n == (k < live ? k : live) && memcmp(c.code, all, c.n * sizeof *all) == 0);
        CHECK(best_of(c.code, k, logits, n) == c.n && memcmp(c.code, all, c.n * sizeof *all) == 0);
        candidates_fill(&c, logits, n);
        candidates_sort(&c);
        CHECK(c.n == live && memcmp(c.code, all, live * sizeof *all) == 0);
        for (size_t i = 0; i < live; i++) { /* shuffled: ids are out of order */
            size_t j = test_below(i + 1);
            uint64_t x = c.code[i];
            c.code[i] = c.code[j];
            c.code[j] = x;
        }
        c.order = NO_ORDER;
        candidates_sort(&c);
        CHECK(memcmp(c.code, all, live * sizeof *all) == 0);
    }
    candidates_close(&c);
}
