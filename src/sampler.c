#include "sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "candidates.h"
#include "dry.h"
#include "mathfn.h"
#include "rng.h"

enum {
    STREAM_DRAW,
    STREAM_XTC
}; /* different random numbers at the same position */

static const char default_chain[] = "edskypmxt";

/* Which tokens occurred how often among the last ones. */
struct tally {
    int32_t *ring; /* (ring_size) the last tokens; NULL: they are never forgotten */
    size_t ring_size, n_seen;
    uint32_t *count; /* (n_vocab) NULL: nobody wants to know */
    uint32_t *slot;  /* (n_vocab) where a token with a count stands in ids */
    int32_t *ids;    /* (n_vocab) the tokens with a count */
    size_t n_ids;
};

struct sampler {
    struct sg_sampling params; /* biases are ours, breakers are not kept */
    struct sg_logit_bias *biases;
    uint32_t attempt;
    size_t n_vocab;
    const struct kernels *kernels;
    char chain[sizeof((struct sg_sampling *)0)->samplers];
    struct tally tally;
    struct dry *dry; /* NULL: off */
    double mu;       /* mirostat's state */

    /* One choice. Tokens are looked at in the logits themselves (-infinity: excluded) until
     * a step needs them listed; the logits are copied when a step changes some. */
    const float *logits;
    float *copy; /* (n_vocab) */
    bool listed; /* set holds what is left */
    size_t position;
    struct candidates set;
};

double sampler_uniform(uint64_t seed, uint64_t position, uint32_t attempt, uint32_t stream)
{
    uint64_t h = rng_absorb(0, seed);
    h = rng_absorb(h, position);
    h = rng_absorb(h, (uint64_t)attempt << 32 | stream);
    return (double)(h >> 11) * 0x1p-53;
}

/* ------------------------------------------------------------ open and close */

static enum sg_status check_params(const struct sg_sampling *p, size_t n_vocab, struct sg_error *err)
{
    const struct {
        const char *name;
        float value;
    } numbers[] = {
        {"temperature", p->temperature},
        {"dynatemp_range", p->dynatemp_range},
        {"dynatemp_exponent", p->dynatemp_exponent},
        {"top_p", p->top_p},
        {"min_p", p->min_p},
        {"typical_p", p->typical_p},
        {"top_n_sigma", p->top_n_sigma},
        {"xtc_probability", p->xtc_probability},
        {"xtc_threshold", p->xtc_threshold},
        {"repeat_penalty", p->repeat_penalty},
        {"frequency_penalty", p->frequency_penalty},
        {"presence_penalty", p->presence_penalty},
        {"dry_multiplier", p->dry_multiplier},
        {"dry_base", p->dry_base},
        {"mirostat_tau", p->mirostat_tau},
        {"mirostat_eta", p->mirostat_eta},
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (!isfinite(numbers[i].value))
            return fail(err, SG_USAGE, "%s must be a finite number", numbers[i].name);
    if (p->repeat_penalty <= 0)
        return fail(err, SG_USAGE, "repeat_penalty must be above 0 (1 turns it off)");
    if (p->penalty_last_n < -1 || p->dry_last_n < -1)
        return fail(err, SG_USAGE, "penalty_last_n and dry_last_n must be -1 (the whole context) or more");
    if (p->dry_allowed_length < 0)
        return fail(err, SG_USAGE, "dry_allowed_length must not be negative");
    if (p->mirostat < 0 || p->mirostat > 2)
        return fail(err, SG_USAGE, "mirostat must be 0, 1 or 2");
    if (!memchr(p->samplers, 0, sizeof p->samplers))
        return fail(err, SG_USAGE, "the order of samplers is too long");
    size_t known = strspn(p->samplers, default_chain);
    if (p->samplers[known])
        return fail(err, SG_USAGE, "the order of samplers is made of the letters %s, there is no '%c'", default_chain,
                    p->samplers[known] > ' ' && p->samplers[known] < 127 ? p->samplers[known] : '?');
    for (size_t i = 0; i < p->n_biases; i++) {
        if (p->biases[i].id < 0 || (size_t)p->biases[i].id >= n_vocab)
            return fail(err, SG_USAGE, "logit bias for token %d, but the vocabulary has only %zu", (int)p->biases[i].id, n_vocab);
        if (!(p->biases[i].bias <= FLT_MAX))
            return fail(err, SG_USAGE, "the logit bias for token %d must be a number or -infinity", (int)p->biases[i].id);
    }
    return SG_OK;
}

static bool has_penalties(const struct sg_sampling *p)
{
    return p->penalty_last_n != 0 && (p->repeat_penalty < 1 || p->repeat_penalty > 1 || p->frequency_penalty < 0 ||
                                      p->frequency_penalty > 0 || p->presence_penalty < 0 || p->presence_penalty > 0);
}

static bool tally_open(struct tally *t, int32_t last_n, size_t n_vocab)
{
    t->count = calloc(n_vocab, sizeof *t->count);
    t->slot = malloc(n_vocab * sizeof *t->slot);
    t->ids = malloc(n_vocab * sizeof *t->ids);
    bool forgets = last_n > 0 && last_n < 1 << 22; /* no context is longer */
    if (forgets) {
        t->ring_size = (size_t)last_n;
        t->ring = malloc(t->ring_size * sizeof *t->ring);
    }
    return t->count && t->slot && t->ids && (t->ring || !forgets);
}

/* Parts that only some settings need. */
static enum sg_status open_parts(struct sampler *s, const struct tokenizer *t, struct sg_error *err)
{
    const struct sg_sampling *p = &s->params;
    size_t n_vocab = s->n_vocab;
    if (strchr(s->chain, 'e') && has_penalties(p) && !tally_open(&s->tally, p->penalty_last_n, n_vocab))
        return fail_memory(err, 3 * n_vocab * sizeof(int32_t), "the penalties");
    if (strchr(s->chain, 'd') && p->dry_multiplier > 0 && p->dry_base >= 1 && p->dry_last_n != 0) {
        static const struct sg_str usual[] = {{"\n", 1}, {":", 1}, {"\"", 1}, {"*", 1}};
        const struct sg_str *breakers = p->dry_breakers ? p->dry_breakers : usual;
        size_t n = p->dry_breakers ? p->n_dry_breakers : ARRAY_LEN(usual);
        return dry_open(&s->dry, p->dry_last_n < 0 ? SIZE_MAX : (size_t)p->dry_last_n, (size_t)p->dry_allowed_length, breakers, n, n_vocab,
                        t, err);
    }
    return SG_OK;
}

enum sg_status sampler_open(struct sampler **out, const struct sg_sampling *params, uint32_t attempt, size_t n_vocab,
                            const struct tokenizer *t, const struct kernels *k, struct sg_error *err)
{
    *out = NULL;
    TRY(check_params(params, n_vocab, err));
    struct sampler *s = calloc(1, sizeof *s);
    if (!s)
        return fail_memory(err, sizeof *s, "a sampler");
    s->params = *params;
    s->attempt = attempt;
    s->n_vocab = n_vocab;
    s->kernels = k;
    s->mu = 2 * (double)params->mirostat_tau;
    /* Mirostat replaces the chain. */
    strcpy(s->chain, params->mirostat ? "t" : params->samplers[0] ? params->samplers : default_chain);
    s->biases = malloc(params->n_biases * sizeof *s->biases + 1);
    s->copy = malloc(n_vocab * sizeof *s->copy);
    enum sg_status status = SG_OK;
    if (!s->biases || !s->copy || !candidates_open(&s->set, n_vocab))
        status = fail_memory(err, n_vocab * 28, "a sampler");
    else
        status = open_parts(s, t, err);
    if (status != SG_OK) {
        sampler_close(s);
        return status;
    }
    if (params->n_biases)
        memcpy(s->biases, params->biases, params->n_biases * sizeof *s->biases);
    s->params.biases = s->biases;
    s->params.dry_breakers = NULL;
    *out = s;
    return SG_OK;
}

void sampler_close(struct sampler *s)
{
    if (!s)
        return;
    free(s->tally.ring);
    free(s->tally.count);
    free(s->tally.slot);
    free(s->tally.ids);
    dry_close(s->dry);
    candidates_close(&s->set);
    free(s->copy);
    free(s->biases);
    free(s);
}

static void tally_add(struct tally *t, int32_t id)
{
    if (t->ring) {
        int32_t *place = &t->ring[t->n_seen % t->ring_size];
        if (t->n_seen >= t->ring_size && --t->count[*place] == 0) { /* forget the oldest; the last one takes its slot */
            int32_t last = t->ids[--t->n_ids];
            t->ids[t->slot[*place]] = last;
            t->slot[last] = t->slot[*place];
        }
        *place = id;
    }
    t->n_seen++;
    if (t->count[id]++ == 0) {
        t->slot[id] = (uint32_t)t->n_ids;
        t->ids[t->n_ids++] = id;
    }
}

void sampler_accept(struct sampler *s, int32_t id)
{
    if (id < 0 || (size_t)id >= s->n_vocab)
        return;
    if (s->tally.count)
        tally_add(&s->tally, id);
    if (s->dry)
        dry_accept(s->dry, id);
}

/* ------------------------------------------------ steps that change single logits */

static float bounded(double logit) { return (float)MIN(MAX(logit, -(double)FLT_MAX), (double)FLT_MAX); }

static float *writable(struct sampler *s)
{
    if (s->logits != s->copy) {
        memcpy(s->copy, s->logits, s->n_vocab * sizeof *s->copy);
        s->logits = s->copy;
    }
    return s->copy;
}

static void exclude(struct sampler *s, const uint32_t *allowed)
{
    float *logits = writable(s);
    for (size_t word = 0; word < DIV_UP(s->n_vocab, 32); word++) {
        if (allowed[word] == UINT32_MAX)
            continue;
        for (size_t id = 32 * word; id < MIN(32 * word + 32, s->n_vocab); id++)
            if (!(allowed[word] >> id % 32 & 1))
                logits[id] = -INFINITY;
    }
}

static void add_biases(struct sampler *s)
{
    float *logits = writable(s);
    for (size_t i = 0; i < s->params.n_biases; i++) {
        const struct sg_logit_bias *b = &s->biases[i];
        if (b->bias < -FLT_MAX)
            logits[b->id] = -INFINITY;
        else if (logits[b->id] > -INFINITY)
            logits[b->id] = bounded((double)(logits[b->id] + b->bias));
    }
}

typedef float change_fn(const struct sampler *s, int32_t id, float logit);

/* Applies fn, which leaves all logits alone but those of ids. */
static void change(struct sampler *s, const int32_t *ids, size_t n, change_fn *fn)
{
    if (n == 0)
        return;
    if (!s->listed) {
        float *logits = writable(s);
        for (size_t i = 0; i < n; i++)
            if (logits[ids[i]] > -INFINITY)
                logits[ids[i]] = fn(s, ids[i], logits[ids[i]]);
        return;
    }
    for (size_t i = 0; i < s->set.n; i++) {
        uint64_t c = s->set.code[i];
        s->set.code[i] = candidate(fn(s, candidate_id(c), candidate_logit(c)), candidate_id(c));
    }
    s->set.order = s->set.order == BY_ID ? BY_ID : NO_ORDER;
}

static float penalized(const struct sampler *s, int32_t id, float logit)
{
    const struct sg_sampling *p = &s->params;
    uint32_t count = s->tally.count[id];
    if (count == 0)
        return logit;
    logit = logit <= 0 ? logit * p->repeat_penalty : logit / p->repeat_penalty;
    return bounded((double)(logit - ((float)count * p->frequency_penalty + p->presence_penalty)));
}

static float dry_penalized(const struct sampler *s, int32_t id, float logit)
{
    const struct sg_sampling *p = &s->params;
    size_t length;
    if (!dry_length(s->dry, id, &length))
        return logit;
    double exponent = (double)(length - (size_t)p->dry_allowed_length), base = (double)p->dry_base;
    if (base > 1.000001)
        exponent = MIN(exponent, 88.7228391 / log_f64(base)); /* base^exponent stays a float */
    return bounded((double)logit - (double)p->dry_multiplier * pow_f64(base, exponent));
}

static void penalties(struct sampler *s)
{
    if (s->tally.count)
        change(s, s->tally.ids, s->tally.n_ids, penalized);
}

static void dry(struct sampler *s)
{
    if (s->dry) {
        const int32_t *ids;
        size_t n = dry_find(s->dry, &ids);
        change(s, ids, n, dry_penalized);
    }
}

/* ------------------------------------------------ steps that choose among candidates */

static struct candidates *listed(struct sampler *s)
{
    if (!s->listed)
        candidates_fill(&s->set, s->logits, s->n_vocab);
    s->listed = true;
    return &s->set;
}

static struct candidates *weighed(struct sampler *s)
{
    struct candidates *c = listed(s);
    if (c->n > 0)
        candidates_weigh(c);
    return c;
}

static size_t min_keep(const struct sampler *s) { return (size_t)MAX(s->params.min_keep, 0); }

static double best_logit(const struct candidates *c)
{
    uint64_t best = c->code[0];
    for (size_t i = 1; i < c->n; i++)
        best = MIN(best, c->code[i]);
    return candidate_logit(best);
}

static void top_n_sigma(struct sampler *s)
{
    if (s->params.top_n_sigma <= 0)
        return;
    struct candidates *c = listed(s);
    if (c->n <= 1)
        return;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < c->n; i++)
        sum += candidate_logit(c->code[i]);
    double mean = sum / (double)c->n;
    for (size_t i = 0; i < c->n; i++) {
        double d = candidate_logit(c->code[i]) - mean;
        squares += d * d;
    }
    double limit = best_logit(c) - (double)s->params.top_n_sigma * sqrt(squares / (double)c->n);
    size_t kept = 0;
    for (size_t i = 0; i < c->n; i++)
        if (!(candidate_logit(c->code[i]) < limit))
            c->code[kept++] = c->code[i];
    c->n = kept;
}

static void top_k(struct sampler *s)
{
    if (s->params.top_k <= 0)
        return;
    size_t k = (size_t)s->params.top_k;
    if (s->listed) {
        candidates_sort(&s->set);
        s->set.n = MIN(s->set.n, k);
    } else {
        candidates_best(&s->set, s->logits, s->n_vocab, k);
        s->listed = true;
    }
}

/* The entropy of the weighed candidates, in nats. */
static double entropy(const struct candidates *c)
{
    double h = 0;
    for (size_t i = 0; i < c->n; i++) {
        double p = c->weight[i] / c->total;
        if (p > 0)
            h -= p * log_f64(p);
    }
    return h;
}

/* Keeps the tokens whose surprise is nearest to the entropy, until they weigh typical_p. */
static void typical(struct sampler *s)
{
    if (s->params.typical_p >= 1)
        return;
    struct candidates *c = weighed(s);
    if (c->n == 0)
        return;
    /* Ranked as if the negated distance were the logit, and the place in the set the id. */
    uint64_t *rank = c->spare, *room = c->spare + c->n;
    double h = entropy(c), sum = 0;
    for (size_t i = 0; i < c->n; i++) {
        double p = c->weight[i] / c->total, distance = p > 0 ? fabs(-log_f64(p) - h) : (double)FLT_MAX;
        rank[i] = candidate((float)-distance, (int32_t)i);
    }
    sort_codes(rank, room, c->n, true);
    size_t kept = 0;
    while (kept < c->n) {
        size_t i = (size_t)candidate_id(rank[kept]);
        rank[kept++] = i;
        sum += c->weight[i] / c->total;
        if (sum > (double)s->params.typical_p && kept >= min_keep(s))
            break;
    }
    sort_codes(rank, room, kept, false); /* the best first again */
    for (size_t i = 0; i < kept; i++)
        c->code[i] = c->code[rank[i]];
    c->n = kept;
}

static void top_p(struct sampler *s)
{
    if (s->params.top_p >= 1)
        return;
    struct candidates *c = weighed(s);
    double sum = 0;
    for (size_t i = 0; i < c->n; i++) {
        sum += c->weight[i] / c->total;
        if (sum >= (double)s->params.top_p && i + 1 >= min_keep(s))
            c->n = i + 1;
    }
}

static void min_p(struct sampler *s)
{
    if (s->params.min_p <= 0)
        return;
    struct candidates *c = listed(s);
    candidates_sort(c);
    if (c->n == 0)
        return;
    double limit = candidate_logit(c->code[0]) + log_f64((double)s->params.min_p);
    size_t n = 1;
    while (n < c->n && (n < min_keep(s) || candidate_logit(c->code[n]) >= limit))
        n++;
    c->n = n;
}

/* Sometimes drops all but the last of those above the threshold. */
static void xtc(struct sampler *s)
{
    const struct sg_sampling *p = &s->params;
    if (p->xtc_probability <= 0 || p->xtc_threshold > 0.5f ||
        sampler_uniform(p->seed, s->position, s->attempt, STREAM_XTC) >= (double)p->xtc_probability)
        return;
    struct candidates *c = weighed(s);
    size_t above = 0;
    while (above < c->n && c->weight[above] / c->total >= (double)p->xtc_threshold)
        above++;
    if (above < 2 || c->n - (above - 1) < min_keep(s))
        return;
    c->n -= above - 1;
    memmove(c->code, c->code + above - 1, c->n * sizeof *c->code);
}

static void temperature(struct sampler *s)
{
    const struct sg_sampling *p = &s->params;
    struct candidates *c = listed(s);
    double t = (double)p->temperature;
    if (c->n == 0)
        return;
    if (p->dynatemp_range > 0 && c->n > 1) { /* between t - range and t + range, as the entropy is low or high */
        weighed(s);
        double low = MAX(0, t - (double)p->dynatemp_range), high = t + (double)p->dynatemp_range;
        double h = entropy(c) / log_f64((double)c->n);
        t = low + (high - low) * (h > 0 ? pow_f64(h, (double)p->dynatemp_exponent) : 0);
        if (t <= 0) {
            c->n = 1;
            return;
        }
    }
    /* Only differences of logits matter from here on; where t is so small that the best would
     * overflow, and be no longer better than others that do, it becomes 0. */
    double shift = best_logit(c);
    if (fabs(shift / t) <= (double)FLT_MAX)
        shift = 0;
    for (size_t i = 0; i < c->n; i++) /* the order stays */
        c->code[i] = candidate(bounded(((double)candidate_logit(c->code[i]) - shift) / t), candidate_id(c->code[i]));
}

static void narrow(struct sampler *s, char step)
{
    switch (step) {
    case 's':
        top_n_sigma(s);
        break;
    case 'k':
        top_k(s);
        break;
    case 'y':
        typical(s);
        break;
    case 'p':
        top_p(s);
        break;
    case 'm':
        min_p(s);
        break;
    case 'x':
        xtc(s);
        break;
    case 't':
        temperature(s);
        break;
    }
}

/* ------------------------------------------------------------------- choosing */

static size_t draw(const struct sampler *s)
{
    const struct candidates *c = &s->set;
    double u = sampler_uniform(s->params.seed, s->position, s->attempt, STREAM_DRAW) * c->total, sum = 0;
    size_t i = 0;
    for (; i + 1 < c->n; i++) {
        sum += c->weight[i];
        if (sum >= u)
            break;
    }
    return i;
}

static double log2_f64(double x) { return log_f64(x) / 0x1.62e42fefa39efp-1; }

/* How many candidates mirostat 1 keeps: an estimate from the exponent of Zipf's law that the
 * best hundred follow. */
static size_t zipf_cut(const struct sampler *s)
{
    const struct candidates *c = &s->set;
    double tb = 0, tt = 0, n = (double)s->n_vocab;
    for (size_t i = 0; i < 99 && i + 1 < c->n && c->weight[i + 1] > 0; i++) {
        double t = log_f64((double)(i + 2) / (double)(i + 1)), b = log_f64(c->weight[i] / c->weight[i + 1]);
        tb += t * b;
        tt += t * t;
    }
    double exponent = tt > 0 ? tb / tt : 1, e = exponent - 1;
    if (!(exponent > 0x1p-20))
        return c->n; /* all alike */
    double two_mu = exp_f64(s->mu * 0x1.62e42fefa39efp-1);
    double x = fabs(e) < 0x1p-30 ? two_mu / log_f64(n) : e * two_mu / (1 - pow_f64(n, -e));
    double k = x > 0 ? pow_f64(x, 1 / exponent) : 1;
    return k < (double)c->n ? (size_t)MAX(k, 1) : c->n;
}

static int32_t mirostat(struct sampler *s)
{
    struct candidates *c = weighed(s);
    if (s->params.mirostat == 1) {
        c->n = zipf_cut(s);
    } else {
        size_t n = 0;
        while (n < c->n && c->weight[n] > 0 && -log2_f64(c->weight[n] / c->total) <= s->mu)
            n++;
        c->n = MAX(n, 1);
    }
    candidates_weigh(c);
    size_t chosen = draw(s);
    double surprise = -log2_f64(c->weight[chosen] / c->total);
    s->mu -= (double)s->params.mirostat_eta * (surprise - (double)s->params.mirostat_tau);
    return candidate_id(c->code[chosen]);
}

/* The best of the logits, -1 when all are excluded. */
static int32_t best(const struct sampler *s)
{
    int32_t id = -1;
    float logit = -INFINITY;
    for (size_t i = 0; i < s->n_vocab; i++) {
        if (s->logits[i] > logit) {
            logit = s->logits[i];
            id = (int32_t)i;
        }
    }
    return id;
}

int32_t sampler_choose(struct sampler *s, const float *logits, size_t position, const uint32_t *allowed)
{
    int64_t top = s->kernels->argmax(logits, s->n_vocab);
    if (top < 0)
        return -2;
    bool greedy = s->params.temperature <= 0;
    s->logits = logits;
    s->listed = false;
    s->position = position;
    if (allowed)
        exclude(s, allowed);
    if (s->params.n_biases)
        add_biases(s);
    for (const char *step = s->chain; *step; step++) {
        switch (*step) {
        case 'e':
            penalties(s);
            break;
        case 'd':
            dry(s);
            break;
        default:
            if (!greedy)
                narrow(s, *step);
        }
    }
    if (greedy)
        return s->logits == logits ? (int32_t)top : best(s);
    if (weighed(s)->n == 0)
        return -1;
    return s->params.mirostat ? mirostat(s) : candidate_id(s->set.code[draw(s)]);
}
