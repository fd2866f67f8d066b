/* What the public interface says about sampling: recommended settings, seeds, and the
 * model's own probabilities. */
#include "engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "candidates.h"
#include "fpenv.h"
#include "mathfn.h"
#include "rng.h"

/* ----------------------------------------------------------------- defaults */

/* llama.cpp's, which people know. */
static const struct sg_sampling generic = {
    .temperature = 0.8f,
    .dynatemp_exponent = 1,
    .top_k = 40,
    .top_p = 0.95f,
    .min_p = 0.05f,
    .typical_p = 1,
    .xtc_threshold = 0.1f,
    .penalty_last_n = 64,
    .repeat_penalty = 1,
    .dry_base = 1.75f,
    .dry_allowed_length = 2,
    .dry_last_n = -1,
    .mirostat_tau = 5,
    .mirostat_eta = 0.1f,
};

static bool name_has(struct sg_str name, const char *lower)
{
    size_t len = strlen(lower);
    for (size_t i = 0; i + len <= name.len; i++) {
        size_t k = 0;
        while (k < len && (name.data[i + k] | 0x20) == lower[k])
            k++;
        if (k == len)
            return true;
    }
    return false;
}

/* What the makers of a model family recommend. */
static bool preset(const struct sg_engine *e, struct sg_sampling *out)
{
    static const struct {
        float temperature, top_p;
    } bonsai = {0.5f, 0.85f}, bonsai_27b = {0.7f, 0.95f}, thinking = {0.6f, 0.95f}, direct = {0.7f, 0.8f};
    struct sg_str name = e->info.name;
    bool recognised = e->info.template_recognised;
    float temperature, top_p;
    if (name_has(name, "bonsai") || (recognised && e->chat == CHAT_BONSAI)) {
        bool large = name_has(name, "27b");
        temperature = large ? bonsai_27b.temperature : bonsai.temperature;
        top_p = large ? bonsai_27b.top_p : bonsai.top_p;
    } else if (recognised && e->chat == CHAT_QWEN3) {
        temperature = thinking.temperature;
        top_p = thinking.top_p;
    } else if ((recognised && e->chat == CHAT_QWEN3_2507) || name_has(name, "qwen3")) {
        temperature = direct.temperature;
        top_p = direct.top_p;
    } else {
        return false;
    }
    out->temperature = temperature;
    out->top_p = top_p;
    out->top_k = 20;
    out->min_p = 0;
    return true;
}

/* Any number type; false when there is none or it is out of [min, max]. */
static bool file_number(const struct gguf *g, const char *key, double min, double max, double *out)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v)
        return false;
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        uint64_t u64;
        int64_t i64;
        float f32;
        double f64;
    } raw = {0};
    memcpy(&raw, v->data, MIN(v->bytes, sizeof raw));
    switch (v->type) {
    case GGUF_UINT8:
        *out = raw.u8;
        break;
    case GGUF_INT8:
        *out = raw.i8;
        break;
    case GGUF_UINT16:
        *out = raw.u16;
        break;
    case GGUF_INT16:
        *out = raw.i16;
        break;
    case GGUF_UINT32:
        *out = raw.u32;
        break;
    case GGUF_INT32:
        *out = raw.i32;
        break;
    case GGUF_UINT64:
        *out = (double)raw.u64;
        break;
    case GGUF_INT64:
        *out = (double)raw.i64;
        break;
    case GGUF_FLOAT32:
        *out = (double)raw.f32;
        break;
    case GGUF_FLOAT64:
        *out = raw.f64;
        break;
    default:
        return false;
    }
    return *out >= min && *out <= max; /* not for NaN */
}

/* The order of samplers: names with semicolons between them. */
static bool file_sequence(const struct gguf *g, char out[32])
{
    static const struct {
        const char *name;
        char letter;
    } names[] = {
        {"penalties", 'e'}, {"dry", 'd'},   {"top_n_sigma", 's'}, {"top_k", 'k'}, {"typ_p", 'y'},       {"typical", 'y'},
        {"typical_p", 'y'}, {"top_p", 'p'}, {"min_p", 'm'},       {"xtc", 'x'},   {"temperature", 't'}, {"temp", 't'},
    };
    const struct gguf_value *v = gguf_find(g, "general.sampling.sequence");
    struct sg_str s;
    if (!v || v->type != GGUF_STRING || gguf_get_string(g, "general.sampling.sequence", &s, NULL, NULL) != SG_OK)
        return false;
    char letters[32] = "";
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        size_t begin = i;
        while (i < s.len && s.data[i] != ';')
            i++;
        for (size_t k = 0; k < ARRAY_LEN(names) && n < sizeof letters - 1; k++)
            if (i - begin == strlen(names[k].name) && memcmp(s.data + begin, names[k].name, i - begin) == 0)
                letters[n++] = names[k].letter;
    }
    if (n > 0)
        memcpy(out, letters, sizeof letters);
    return n > 0;
}

/* llama.cpp's keys. What makes no sense is passed over. */
static bool from_file(const struct gguf *g, struct sg_sampling *out)
{
    const struct {
        const char *key;
        double min, max;
        float *number;
        int32_t *integer;
    } keys[] = {
        {"general.sampling.temp", 0, 1e6, &out->temperature, NULL},
        {"general.sampling.top_k", 0, 1 << 30, NULL, &out->top_k},
        {"general.sampling.top_p", 0, 1, &out->top_p, NULL},
        {"general.sampling.min_p", 0, 1, &out->min_p, NULL},
        {"general.sampling.xtc_probability", 0, 1, &out->xtc_probability, NULL},
        {"general.sampling.xtc_threshold", 0, 1, &out->xtc_threshold, NULL},
        {"general.sampling.penalty_last_n", -1, 1 << 30, NULL, &out->penalty_last_n},
        {"general.sampling.penalty_repeat", 1e-3, 1e3, &out->repeat_penalty, NULL},
        {"general.sampling.mirostat", 0, 2, NULL, &out->mirostat},
        {"general.sampling.mirostat_tau", 0, 1e6, &out->mirostat_tau, NULL},
        {"general.sampling.mirostat_eta", 0, 1e6, &out->mirostat_eta, NULL},
    };
    bool any = file_sequence(g, out->samplers);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        double value;
        if (!file_number(g, keys[i].key, keys[i].min, keys[i].max, &value))
            continue;
        any = true;
        if (keys[i].number)
            *keys[i].number = (float)value;
        else
            *keys[i].integer = (int32_t)value;
    }
    return any;
}

const char *sg_sampling_defaults(const struct sg_engine *engine, struct sg_sampling *out)
{
    *out = generic;
    bool known = preset(engine, out); /* also for what the file leaves open */
    if (from_file(&engine->gguf, out))
        return "file";
    return known ? "preset" : "generic";
}

/* -------------------------------------------------------------------- seeds */

uint64_t sg_derive_seed(uint64_t seed_option, const char *key, size_t len, uint32_t choice)
{
    uint64_t h = rng_absorb(rng_absorb(len, seed_option), choice);
    for (size_t i = 0; i < len; i += 8) {
        uint64_t word = 0;
        memcpy(&word, key + i, MIN(len - i, (size_t)8));
        h = rng_absorb(h, word);
    }
    return h >> 11;
}

/* ------------------------------------------------------------ probabilities */

/* The logarithm of the sum of e^logit. */
static double log_total(const float *logits, size_t n)
{
    float best = logits[0];
    double sum = 0;
    for (size_t i = 1; i < n; i++)
        best = MAX(best, logits[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp_f64((double)logits[i] - (double)best);
    return (double)best + log_f64(sum);
}

double sg_logprob_of(const struct sg_engine *engine, const float *logits, int32_t id)
{
    size_t n_vocab = engine->info.n_vocab;
    if (id < 0 || (size_t)id >= n_vocab)
        return -INFINITY;
    fenv_t mode = fp_enter();
    double logprob = (double)logits[id] - log_total(logits, n_vocab);
    fp_leave(mode);
    return logprob;
}

size_t sg_top_logprobs(const struct sg_engine *engine, const float *logits, size_t n, struct sg_logprob *out)
{
    size_t n_vocab = engine->info.n_vocab;
    uint64_t few[64], *codes = few; /* more are rarely asked for */
    n = MIN(n, n_vocab);
    if (n > ARRAY_LEN(few) && !(codes = malloc(n * sizeof *codes)))
        return 0;
    fenv_t mode = fp_enter();
    double total = log_total(logits, n_vocab);
    n = best_of(codes, n, logits, n_vocab);
    for (size_t i = 0; i < n; i++)
        out[i] = (struct sg_logprob){candidate_id(codes[i]), (double)logits[candidate_id(codes[i])] - total};
    fp_leave(mode);
    if (codes != few)
        free(codes);
    return n;
}
