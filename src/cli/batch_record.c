/* What a record looks like: OpenAI's object of a batch, or with --simple a short one. */
#include "batch.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "choice.h"
#include "settings.h"
#include "toolcall.h"

static void put_string(struct buf *b, const char *name, const struct buf *text)
{
    buf_printf(b, "\"%s\":", name);
    json_put_string(b, text->data ? text->data : "", text->len);
}

static void put_number(struct buf *b, const char *name, double x)
{
    buf_printf(b, ",\"%s\":", name);
    json_put_double(b, x);
}

static void put_fields(struct buf *b, const struct buf *fields)
{
    if (fields->len) {
        buf_puts(b, ",\"input\":");
        buf_append(b, fields->data, fields->len);
    }
}

static void put_settings(struct buf *b, const struct batch_defaults *d, const struct batch_request *r)
{
    struct sg_reply_options reply = batch_reply_options(d, r);
    buf_puts(b, "\"settings\":{\"seeds\":[");
    for (size_t i = 0; i < r->n; i++)
        buf_printf(b, "%s%llu", i ? "," : "", (unsigned long long)r->choices[i].seed);
    buf_putc(b, ']');
    settings_put(b, &reply, d->o, d->n_ctx, false);
    if (!r->chat)
        buf_puts(b, ",\"raw\":true");
    if (r->think != SG_THINK_AUTO)
        buf_printf(b, ",\"think\":\"%s\"", options_think_name(r->think));
    if (r->form.text[0])
        buf_printf(b, ",\"form\":\"%s\"", r->form.text);
    if (r->options && d->o->choice_norm)
        buf_puts(b, ",\"choice_norm\":\"tokens\"");
    buf_putc(b, '}');
}

static void count(const struct batch_request *r, size_t *answer, size_t *thinking)
{
    *answer = *thinking = 0;
    for (size_t i = 0; i < r->n; i++) {
        *answer += r->choices[i].counts.answer_tokens;
        *thinking += r->choices[i].counts.thinking_tokens;
    }
}

static void put_usage(struct buf *b, const struct batch_request *r)
{
    size_t answer, thinking;
    count(r, &answer, &thinking);
    buf_printf(b,
               "\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":%zu,\"total_tokens\":%zu,\"prompt_tokens_details\":{\"cached_"
               "tokens\":%zu},\"completion_tokens_details\":{\"reasoning_tokens\":%zu}}",
               r->n_ids, answer + thinking, r->n_ids + answer + thinking, r->cached_tokens, thinking);
}

static void put_timings(struct buf *b, const struct batch_request *r)
{
    size_t answer, thinking;
    count(r, &answer, &thinking);
    double prompt_ms = r->prompt_us > r->start_us ? (double)(r->prompt_us - r->start_us) / 1000 : 0,
           total_ms = (double)(r->end_us - r->start_us) / 1000;
    double predicted_ms = total_ms - prompt_ms;
    buf_printf(b, "\"timings\":{\"cache_n\":%zu,\"prompt_n\":%zu", r->cached_tokens, r->n_ids - r->cached_tokens);
    put_number(b, "prompt_ms", prompt_ms);
    buf_printf(b, ",\"predicted_n\":%zu", answer + thinking);
    put_number(b, "predicted_ms", predicted_ms);
    put_number(b, "predicted_per_second", predicted_ms > 0 ? 1000 * (double)(answer + thinking) / predicted_ms : 0);
    buf_putc(b, '}');
}

static void put_node(struct buf *b, const struct json *j, const struct json_node *n)
{
    buf_append(b, j->text + n->begin, n->end - n->begin);
}

/* {"a":-0.5,"b":-1.25}: the most probable tokens, and the one that was chosen. */
static void put_alternatives(struct buf *b, const struct json *j, const struct json_node *token)
{
    const struct json_node *chosen = json_get(j, token, "token"), *list = json_get(j, token, "top_logprobs");
    struct buf text = {0};
    bool among = false;
    json_string(j, chosen, &text);
    buf_putc(&text, 0);
    buf_putc(b, '{');
    for (const struct json_node *n = json_first(j, list); n; n = json_next(j, list, n)) {
        among |= !text.failed && json_string_equal(j, json_get(j, n, "token"), text.data);
        put_node(b, j, json_get(j, n, "token"));
        buf_putc(b, ':');
        put_node(b, j, json_get(j, n, "logprob"));
        buf_puts(b, json_next(j, list, n) || !among ? "," : "");
    }
    if (!among) {
        put_node(b, j, chosen);
        buf_putc(b, ':');
        put_node(b, j, json_get(j, token, "logprob"));
    }
    buf_putc(b, '}');
    b->failed |= text.failed;
    buf_free(&text);
}

static size_t count_characters(const struct json *j, const struct json_node *bytes)
{
    size_t characters = 0;
    for (const struct json_node *n = json_first(j, bytes); n; n = json_next(j, bytes, n)) {
        int64_t byte = 0;
        json_int(j, n, &byte);
        characters += (byte & 0xC0) != 0x80; /* one that begins a character */
    }
    return characters;
}

/* The completions endpoint has its own, older form: arrays with one element for each token. */
static void put_logprob_arrays(struct buf *b, const struct batch_choice *c, bool alternatives)
{
    static const char *const names[] = {"tokens", "token_logprobs", "top_logprobs", "text_offset"};
    struct buf text = {0};
    struct json j;
    size_t offset = 0;
    buf_printf(&text, "[%s]", c->logprobs.len ? c->logprobs.data : "");
    if (text.failed || json_parse(&j, text.data, text.len, NULL) != SG_OK) {
        b->failed = true;
        buf_free(&text);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        buf_printf(b, "%c\"%s\":", i ? ',' : '{', names[i]);
        if (i == 2 && !alternatives) {
            buf_puts(b, "null");
            continue;
        }
        buf_putc(b, '[');
        for (const struct json_node *n = json_first(&j, j.nodes); n; n = json_next(&j, j.nodes, n)) {
            if (i == 2)
                put_alternatives(b, &j, n);
            else if (i == 3)
                buf_printf(b, "%zu", offset);
            else
                put_node(b, &j, json_get(&j, n, i ? "logprob" : "token"));
            offset += i == 3 ? count_characters(&j, json_get(&j, n, "bytes")) : 0;
            buf_puts(b, json_next(&j, j.nodes, n) ? "," : "");
        }
        buf_putc(b, ']');
    }
    buf_putc(b, '}');
    json_free(&j);
    buf_free(&text);
}

/* The content and the tool calls of an answer that calls; false, and nothing, for another. */
static bool put_calls(struct buf *b, const struct batch_request *r, const struct batch_choice *c)
{
    struct buf content = {0}, calls = {0};
    size_t n = r->max_calls && c->text.data ? toolcall_split(c->text.data, c->text.len, c->seed, r->max_calls, &content, &calls) : 0;
    if (n && content.len)
        put_string(b, "content", &content);
    else if (n)
        buf_puts(b, "\"content\":null");
    if (n)
        buf_printf(b, ",\"tool_calls\":[%s]", calls.data ? calls.data : "");
    b->failed |= content.failed || calls.failed;
    buf_free(&content);
    buf_free(&calls);
    return n > 0;
}

static void put_choice(struct buf *b, const struct batch_request *r, size_t i)
{
    const struct batch_choice *c = &r->choices[i];
    bool called = false;
    buf_printf(b, "{\"index\":%zu,", i);
    if (r->chat) {
        buf_puts(b, "\"message\":{\"role\":\"assistant\",");
        called = put_calls(b, r, c);
        if (!called)
            put_string(b, "content", &c->text);
        if (c->counts.thinking_tokens) {
            buf_putc(b, ',');
            put_string(b, "reasoning_content", &c->thinking);
        }
        buf_putc(b, '}');
    } else {
        put_string(b, "text", &c->text);
    }
    buf_puts(b, ",\"logprobs\":");
    if (r->logprobs && r->chat)
        buf_printf(b, "{\"content\":[%s]}", c->logprobs.len ? c->logprobs.data : "");
    else if (r->logprobs)
        put_logprob_arrays(b, c, r->top_logprobs > 0);
    else
        buf_puts(b, "null");
    buf_printf(b, ",\"finish_reason\":\"%s\"",
               called && c->counts.finish == SG_FINISH_STOP ? "tool_calls" : sg_finish_name(c->counts.finish));
    if (c->counts.length_in_thinking)
        buf_puts(b, ",\"length_in\":\"thinking\"");
    buf_printf(b, ",\"seed\":%llu}", (unsigned long long)c->seed);
}

/* Which of the options is the answer, and how probable each is. */
static void put_options(struct buf *b, const struct batch_defaults *d, const struct batch_request *r)
{
    struct choice *choices = calloc(r->n_continuations, sizeof *choices);
    if (!choices) {
        b->failed = true;
        return;
    }
    for (size_t i = 0; i < r->n_continuations; i++) {
        const struct batch_continuation *c = &r->continuations[i];
        choices[i] = (struct choice){.text = {c->text.data, c->text.len}, .logprob = c->logprob, .n_tokens = c->n, .greedy = c->greedy};
    }
    size_t best = choice_normalize(choices, r->n_continuations, d->o->choice_norm);
    put_string(b, "choice", &r->continuations[best].text);
    put_number(b, "probability", choices[best].probability);
    buf_putc(b, ',');
    choice_put(b, choices, r->n_continuations);
    free(choices);
}

static void put_scores(struct buf *b, const struct batch_defaults *d, const struct batch_request *r)
{
    if (r->options) {
        put_options(b, d, r);
        return;
    }
    buf_puts(b, "\"scores\":[");
    for (size_t i = 0; i < r->n_continuations; i++) {
        const struct batch_continuation *c = &r->continuations[i];
        buf_puts(b, i ? ",{" : "{");
        put_string(b, "text", &c->text);
        put_number(b, "logprob", c->logprob);
        buf_printf(b, ",\"tokens\":%zu,\"greedy\":%s}", c->n, c->greedy ? "true" : "false");
    }
    buf_putc(b, ']');
}

static void put_body(struct buf *b, const char *fingerprint, const struct batch_defaults *d, const struct batch_request *r)
{
    const struct sg_info *i = sg_info(d->engine);
    buf_printf(b, "{\"id\":\"%s-%s-%zu\",\"object\":\"%s\",\"created\":%lld,\"model\":", r->chat ? "chatcmpl" : "cmpl", fingerprint,
               r->number,
               r->n_continuations ? "score"
               : r->chat          ? "chat.completion"
                                  : "text_completion",
               (long long)time(NULL));
    json_put_string(b, i->name.data, i->name.len);
    buf_printf(b, ",\"system_fingerprint\":\"%s\",", fingerprint);
    if (r->n_continuations) {
        put_scores(b, d, r);
    } else {
        buf_puts(b, "\"choices\":[");
        for (size_t k = 0; k < r->n; k++) {
            buf_puts(b, k ? "," : "");
            put_choice(b, r, k);
        }
        buf_putc(b, ']');
    }
    buf_putc(b, ',');
    put_usage(b, r);
    buf_putc(b, ',');
    put_timings(b, r);
    buf_putc(b, ',');
    put_settings(b, d, r);
    buf_putc(b, '}');
}

enum simple_part {
    SIMPLE_TEXT,
    SIMPLE_REASONING,
    SIMPLE_LOGPROBS,
    SIMPLE_FINISH,
    SIMPLE_SEED
};

static void put_simple_part(struct buf *b, const struct batch_choice *c, enum simple_part part)
{
    const struct buf *text = part == SIMPLE_TEXT ? &c->text : &c->thinking;
    switch (part) {
    case SIMPLE_TEXT:
    case SIMPLE_REASONING:
        json_put_string(b, text->data ? text->data : "", text->len);
        break;
    case SIMPLE_LOGPROBS:
        buf_printf(b, "[%s]", c->logprobs.len ? c->logprobs.data : "");
        break;
    case SIMPLE_FINISH:
        buf_printf(b, "\"%s\"", sg_finish_name(c->counts.finish));
        break;
    case SIMPLE_SEED:
        buf_printf(b, "%llu", (unsigned long long)c->seed);
        break;
    }
}

/* {"id", "text", ...}; of a request for several answers {"id", "texts": [...], ...} */
static void put_simple(struct buf *b, const struct batch_defaults *d, const struct batch_request *r)
{
    static const char *const names[][2] = {[SIMPLE_TEXT] = {"text", "texts"},
                                           [SIMPLE_REASONING] = {"reasoning", "reasonings"},
                                           [SIMPLE_LOGPROBS] = {"logprobs", "logprobs"},
                                           [SIMPLE_FINISH] = {"finish_reason", "finish_reasons"},
                                           [SIMPLE_SEED] = {"seed", "seeds"}};
    if (r->n_continuations) {
        put_scores(b, d, r);
        return;
    }
    size_t answer, thinking;
    bool several = r->n > 1;
    count(r, &answer, &thinking);
    for (size_t part = 0; part < ARRAY_LEN(names); part++) {
        if ((part == SIMPLE_REASONING && !thinking) || (part == SIMPLE_LOGPROBS && !r->logprobs))
            continue;
        buf_printf(b, "%s\"%s\":%s", part ? "," : "", names[part][several], several ? "[" : "");
        for (size_t i = 0; i < r->n; i++) {
            buf_puts(b, i ? "," : "");
            put_simple_part(b, &r->choices[i], (enum simple_part)part);
        }
        buf_puts(b, several ? "]" : "");
    }
    buf_printf(b, ",\"prompt_tokens\":%zu,\"completion_tokens\":%zu", r->n_ids, answer + thinking);
}

void batch_record_result(struct buf *b, bool simple, const char *fingerprint, const struct batch_defaults *d, const struct batch_request *r)
{
    b->len = 0;
    buf_putc(b, '{');
    if (simple) {
        put_string(b, "id", &r->id);
        buf_putc(b, ',');
        put_simple(b, d, r);
        put_fields(b, &r->fields);
        buf_puts(b, ",\"error\":null");
    } else {
        buf_printf(b, "\"id\":\"batch-%s-%zu\",", fingerprint, r->number);
        put_string(b, "custom_id", &r->id);
        buf_printf(b, ",\"response\":{\"status_code\":200,\"request_id\":\"%s-%zu\",\"body\":", fingerprint, r->number);
        put_body(b, fingerprint, d, r);
        buf_puts(b, "},\"error\":null");
        put_fields(b, &r->fields);
    }
    buf_printf(b, ",\"signum\":\"%s\"}", fingerprint);
}

void batch_record_error(struct buf *b, bool simple, const char *fingerprint, const struct buf *id, const struct buf *fields,
                        const struct batch_failure *why)
{
    struct buf details = {0};
    buf_printf(&details, "{\"code\":\"%s\",\"message\":", why->code);
    json_put_string(&details, why->message, strlen(why->message));
    if (why->line)
        buf_printf(&details, ",\"line\":%zu", why->line);
    buf_putc(&details, '}');
    b->len = 0;
    buf_putc(b, '{');
    if (simple) {
        put_string(b, "id", id);
    } else {
        buf_printf(b, "\"id\":\"batch-%s\",", fingerprint);
        put_string(b, "custom_id", id);
        buf_printf(b, ",\"response\":{\"status_code\":%d,\"request_id\":\"%s\",\"body\":{\"error\":", why->http, fingerprint);
        buf_append(b, details.data, details.len);
        buf_puts(b, "}}");
    }
    buf_puts(b, ",\"error\":");
    buf_append(b, details.data, details.len);
    b->failed |= details.failed;
    buf_free(&details);
    put_fields(b, fields);
    buf_printf(b, ",\"signum\":\"%s\"}", fingerprint);
}
