#include "settings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* In the order of records. A setting that another one switches on follows it. */
static const struct setting {
    const char *name, *alias;
    bool whole;         /* an int32_t, else a float */
    bool well_known;    /* always written */
    size_t offset;      /* in struct sg_sampling */
    size_t switched_by; /* the offset of what must be above 0 for this to matter: often its own */
    double min, max;
} settings[] = {
#define FIELD(name) offsetof(struct sg_sampling, name)
    {"temperature", NULL, false, true, FIELD(temperature), 0, 0, 1000},
    {"dynatemp_range", NULL, false, false, FIELD(dynatemp_range), FIELD(dynatemp_range), 0, 1000},
    {"dynatemp_exponent", NULL, false, false, FIELD(dynatemp_exponent), FIELD(dynatemp_range), 0, 100},
    {"top_k", NULL, true, true, FIELD(top_k), 0, -1, INT32_MAX},
    {"top_p", NULL, false, true, FIELD(top_p), 0, 0, 1},
    {"min_p", NULL, false, true, FIELD(min_p), 0, 0, 1},
    {"typical_p", NULL, false, true, FIELD(typical_p), 0, 0, 1},
    {"top_n_sigma", NULL, false, false, FIELD(top_n_sigma), FIELD(top_n_sigma), -1, 1000},
    {"xtc_probability", NULL, false, false, FIELD(xtc_probability), FIELD(xtc_probability), 0, 1},
    {"xtc_threshold", NULL, false, false, FIELD(xtc_threshold), FIELD(xtc_probability), 0, 1},
    {"min_keep", NULL, true, false, FIELD(min_keep), FIELD(min_keep), 0, 1 << 30},
    {"repeat_penalty", "repetition_penalty", false, true, FIELD(repeat_penalty), 0, 0.01, 100},
    {"presence_penalty", NULL, false, true, FIELD(presence_penalty), 0, -100, 100},
    {"frequency_penalty", NULL, false, true, FIELD(frequency_penalty), 0, -100, 100},
    {"repeat_last_n", NULL, true, true, FIELD(penalty_last_n), 0, -1, INT32_MAX},
    {"dry_multiplier", NULL, false, false, FIELD(dry_multiplier), FIELD(dry_multiplier), 0, 1000},
    {"dry_base", NULL, false, false, FIELD(dry_base), FIELD(dry_multiplier), 0, 1000},
    {"dry_allowed_length", NULL, true, false, FIELD(dry_allowed_length), FIELD(dry_multiplier), 0, 1 << 30},
    {"dry_penalty_last_n", NULL, true, false, FIELD(dry_last_n), FIELD(dry_multiplier), -1, 1 << 30},
    {"mirostat", NULL, true, false, FIELD(mirostat), FIELD(mirostat), 0, 2},
    {"mirostat_tau", NULL, false, false, FIELD(mirostat_tau), FIELD(mirostat), 0, 100},
    {"mirostat_eta", NULL, false, false, FIELD(mirostat_eta), FIELD(mirostat), 0, 100},
#undef FIELD
};

/* ------------------------------------------------------------------- reading */

static enum sg_status read_setting(struct sg_sampling *s, const struct setting *t, const char *name, const struct json *j,
                                   const struct json_node *body, struct sg_error *err)
{
    const struct json_node *n = json_get(j, body, name);
    char *at = (char *)s + t->offset;
    int64_t i;
    double x;
    if (!n || n->type == JSON_NULL)
        return SG_OK;
    if (t->whole ? !json_int(j, n, &i) : !json_double(j, n, &x))
        x = NAN;
    else if (t->whole)
        x = (double)i;
    if (!(x >= t->min && x <= t->max))
        return fail(err, SG_USAGE, "\"%s\" needs a %snumber from %.10g to %.10g", name, t->whole ? "whole " : "", t->min, t->max);
    if (t->whole)
        *(int32_t *)at = (int32_t)x;
    else
        *(float *)at = (float)x;
    return SG_OK;
}

enum sg_status settings_read(struct sg_sampling *s, const struct json *j, const struct json_node *body, struct sg_error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        TRY(read_setting(s, &settings[i], settings[i].name, j, body, err));
        if (settings[i].alias)
            TRY(read_setting(s, &settings[i], settings[i].alias, j, body, err));
    }
    s->top_k = MAX(s->top_k, 0);
    return SG_OK;
}

bool settings_has(const struct json *j, const struct json_node *key)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (json_string_equal(j, key, settings[i].name) || (settings[i].alias && json_string_equal(j, key, settings[i].alias)))
            return true;
    return false;
}

/* ------------------------------------------------------------------- writing */

/* As it was typed: 0.85, not 0.85000002. */
static void put_float(struct buf *b, float x)
{
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x)
            break;
    }
    buf_puts(b, text);
}

static double value_at(const struct sg_sampling *s, size_t offset)
{
    const char *at = (const char *)s + offset;
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (settings[i].offset == offset && settings[i].whole)
            return *(const int32_t *)at;
    return (double)*(const float *)at;
}

static void put_sampling(struct buf *b, const struct sg_sampling *s, bool all)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const struct setting *t = &settings[i];
        if (!all && !t->well_known && value_at(s, t->switched_by) <= 0)
            continue;
        buf_printf(b, ",\"%s\":", t->name);
        if (t->whole)
            buf_printf(b, "%d", *(const int32_t *)((const char *)s + t->offset));
        else
            put_float(b, *(const float *)((const char *)s + t->offset));
    }
    if (s->samplers[0])
        buf_printf(b, ",\"samplers\":\"%s\"", s->samplers);
}

static void put_strings(struct buf *b, const char *name, const struct sg_str *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buf_printf(b, i ? "," : ",\"%s\":[", name);
        json_put_string(b, list[i].data, list[i].len);
    }
    buf_puts(b, n ? "]" : "");
}

/* [[id, bias], ...]: unlike an object it may name a token twice, as flag and request may. */
static void put_biases(struct buf *b, const struct sg_logit_bias *biases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buf_printf(b, "%s[%d,", i ? "," : ",\"logit_bias\":[", biases[i].id);
        if (isinf(biases[i].bias))
            buf_puts(b, "false"); /* as llama.cpp says it; JSON has no infinity */
        else
            put_float(b, biases[i].bias);
        buf_putc(b, ']');
    }
    buf_puts(b, n ? "]" : "");
}

void settings_put(struct buf *b, const struct sg_reply_options *reply, const struct options *o, size_t n_ctx, bool all)
{
    const struct sg_sampling *s = &reply->sampling;
    put_sampling(b, s, all);
    if (s->dry_multiplier > 0)
        put_strings(b, "dry_sequence_breakers", s->dry_breakers, s->n_dry_breakers);
    put_biases(b, s->biases, s->n_biases);
    buf_printf(b, ",\"n_predict\":%lld,\"think_budget\":%lld", (long long)reply->n_predict, (long long)reply->think_budget);
    if (reply->min_predict > 0)
        buf_printf(b, ",\"min_tokens\":%lld", (long long)reply->min_predict);
    put_strings(b, "stop", reply->stop, reply->n_stop);
    for (size_t i = 0; i < reply->n_stop_ids; i++)
        buf_printf(b, "%s%d", i ? "," : ",\"stop_token_ids\":[", reply->stop_ids[i]);
    buf_puts(b, reply->n_stop_ids ? "]" : "");
    buf_puts(b, reply->ignore_eos ? ",\"ignore_eos\":true" : "");
    buf_puts(b, reply->loop_guard ? "" : ",\"loop_guard\":false");
    buf_printf(b, ",\"n_ctx\":%zu,\"act\":\"%s\"", n_ctx, options_act_name(o));
    if (o->type_k != SG_KV_F16)
        buf_printf(b, ",\"cache_type_k\":\"%s\"", options_kv_name(o->type_k));
    if (o->type_v != SG_KV_F16)
        buf_printf(b, ",\"cache_type_v\":\"%s\"", options_kv_name(o->type_v));
    if (o->chat_template)
        buf_printf(b, ",\"chat_template\":\"%s\"", o->chat_template);
    buf_puts(b, o->parse_special ? ",\"parse_special\":true" : "");
}
