/* From one JSON object to what is to be computed. OpenAI's fields, and those that vLLM and
 * llama.cpp added. A field that is not known is reported once, or refused with --strict;
 * one that is known but asks for what signum can not do is an error, never ignored. */
#include "batch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "choice.h"
#include "messages.h"
#include "settings.h"

/* Without influence on the answer, or read elsewhere in this file; settings.h has more. */
static const char *const known_fields[] = {
    "model",
    "messages",
    "prompt",
    "text",
    "max_tokens",
    "max_completion_tokens",
    "n_predict",
    "min_tokens",
    "n",
    "seed",
    "stop",
    "stop_token_ids",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "response_format",
    "tools",
    "tool_choice",
    "reasoning_effort",
    "stream",
    "stream_options",
    "user",
    "metadata",
    "ignore_eos",
    "chat_template_kwargs",
    "thinking_budget_tokens",
    "cache_prompt",
    "custom_id",
    "id",
    "completions",
    "echo",
    "json_schema",
    "grammar",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "structured_outputs",
    "store",
    "service_tier",
    "parallel_tool_calls",
    "safety_identifier",
    "prompt_cache_key",
};

static bool is_null(const struct json_node *n) { return !n || n->type == JSON_NULL; }

static const struct json_node *get(const struct json *j, const struct json_node *body, const char *name)
{
    const struct json_node *n = json_get(j, body, name);
    return is_null(n) ? NULL : n;
}

/* ----------------------------------------------------------------------- id */

static bool read_id(const struct json *j, struct buf *id)
{
    static const char *const names[] = {"custom_id", "id"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct json_node *n = get(j, j->nodes, names[i]);
        if (n && n->type == JSON_STRING) {
            json_string(j, n, id);
            return id->len > 0;
        }
        if (n && n->type == JSON_NUMBER) {
            buf_append(id, j->text + n->begin, n->end - n->begin);
            return true;
        }
    }
    return false;
}

static void line_id(size_t number, struct buf *id)
{
    id->len = 0;
    buf_printf(id, "line-%zu", number);
}

void batch_request_id(const char *text, size_t len, size_t number, struct buf *id)
{
    struct json j;
    id->len = 0;
    if (json_parse(&j, text, len, NULL) != SG_OK) {
        line_id(number, id);
        return;
    }
    if (!read_id(&j, id))
        line_id(number, id);
    json_free(&j);
}

/* ------------------------------------------------------------------ numbers */

static enum sg_status read_int(const struct json *j, const struct json_node *body, const char *name, int64_t min, int64_t max, int64_t *out,
                               struct sg_error *err)
{
    const struct json_node *n = get(j, body, name);
    int64_t x;
    if (!n)
        return SG_OK;
    if (!json_int(j, n, &x) || x < min || x > max)
        return fail(err, SG_USAGE, "\"%s\" needs a whole number from %lld to %lld", name, (long long)min, (long long)max);
    *out = x;
    return SG_OK;
}

static enum sg_status read_bool(const struct json *j, const struct json_node *body, const char *name, bool *out, struct sg_error *err)
{
    const struct json_node *n = get(j, body, name);
    if (!n)
        return SG_OK;
    if (n->type != JSON_TRUE && n->type != JSON_FALSE)
        return fail(err, SG_USAGE, "\"%s\" is no boolean", name);
    *out = n->type == JSON_TRUE;
    return SG_OK;
}

/* {"1234": -100, ...}, or llama.cpp's [[1234, -100], ...] (false forbids). */
static enum sg_status read_biases(struct batch_request *r, const struct json *j, const struct json_node *body, size_t n_vocab,
                                  struct sg_error *err)
{
    const struct json_node *n = get(j, body, "logit_bias");
    if (!n)
        return SG_OK;
    if (n->type != JSON_OBJECT && n->type != JSON_ARRAY)
        return fail(err, SG_USAGE, "\"logit_bias\" is no object");
    size_t count = r->sampling.n_biases + n->count, at = r->sampling.n_biases;
    r->biases = malloc((count + 1) * sizeof *r->biases);
    if (!r->biases)
        return fail_memory(err, count * sizeof *r->biases, "logit_bias");
    if (at)
        memcpy(r->biases, r->sampling.biases, at * sizeof *r->biases);
    for (const struct json_node *key = json_first(j, n); key;) {
        const struct json_node *value = key;
        int64_t id = -1;
        double bias = -INFINITY;
        if (n->type == JSON_OBJECT) {
            struct buf text = {0};
            json_string(j, key, &text);
            char *end = NULL;
            long long x = text.data && text.len ? strtoll(text.data, &end, 10) : -1;
            id = end && *end == 0 ? x : -1;
            buf_free(&text);
            value = json_next(j, n, key);
        } else {
            const struct json_node *first = json_first(j, key);
            if (key->type != JSON_ARRAY || key->count != 2 || !json_int(j, first, &id))
                id = -1;
            value = id >= 0 ? json_next(j, key, first) : NULL;
        }
        if (id < 0 || (size_t)id >= n_vocab || !value || (value->type != JSON_FALSE && !json_double(j, value, &bias)))
            return fail(err, SG_USAGE, "\"logit_bias\" needs token ids of this model with numbers");
        r->biases[at++] = (struct sg_logit_bias){(int32_t)id, (float)bias};
        key = json_next(j, n, n->type == JSON_OBJECT ? value : key);
    }
    r->sampling.biases = r->biases;
    r->sampling.n_biases = at;
    return SG_OK;
}

/* The flags' stop strings and the request's. */
static enum sg_status read_stop(struct batch_request *r, const struct options *o, const struct json *j, const struct json_node *body,
                                struct sg_error *err)
{
    const struct json_node *n = get(j, body, "stop");
    size_t more = !n ? 0 : n->type == JSON_ARRAY ? n->count : 1;
    r->stop = calloc(o->stop.n + more + 1, sizeof *r->stop);
    if (!r->stop)
        return fail_memory(err, (o->stop.n + more) * sizeof *r->stop, "stop strings");
    for (; r->n_stop < o->stop.n; r->n_stop++)
        r->stop[r->n_stop] = o->stop.item[r->n_stop];
    if (!n)
        return SG_OK;
    if (n->type != JSON_STRING && n->type != JSON_ARRAY)
        return fail(err, SG_USAGE, "\"stop\" is no string and no array of strings");
    size_t first = r->n_stop;
    for (const struct json_node *s = n->type == JSON_ARRAY ? json_first(j, n) : n; s;
         s = n->type == JSON_ARRAY ? json_next(j, n, s) : NULL) {
        if (s->type != JSON_STRING)
            return fail(err, SG_USAGE, "\"stop\" is no string and no array of strings");
        size_t begin = r->stop_text.len;
        json_string(j, s, &r->stop_text);
        r->stop[r->n_stop++] = (struct sg_str){NULL, r->stop_text.len - begin};
    }
    if (r->stop_text.failed)
        return fail_memory(err, r->stop_text.len, "stop strings");
    const char *at = r->stop_text.data ? r->stop_text.data : "";
    for (size_t i = first; i < r->n_stop; at += r->stop[i++].len) /* the text no longer moves */
        r->stop[i].data = at;
    return SG_OK;
}

static bool read_ids(const struct json *j, const struct json_node *list, struct ids *out)
{
    for (const struct json_node *n = list->type == JSON_ARRAY ? json_first(j, list) : NULL; n; n = json_next(j, list, n)) {
        int64_t id;
        if (!json_int(j, n, &id) || id < 0 || id > INT32_MAX)
            return false;
        ids_push(out, (int32_t)id);
    }
    return list->type == JSON_ARRAY;
}

/* The flag's and the request's. */
static enum sg_status read_stop_ids(struct batch_request *r, const struct batch_defaults *d, const struct json *j,
                                    const struct json_node *body, struct sg_error *err)
{
    const struct json_node *list = get(j, body, "stop_token_ids");
    ids_append(&r->stop_ids, d->stop_ids.data, d->stop_ids.len);
    if (list && !read_ids(j, list, &r->stop_ids))
        return fail(err, SG_USAGE, "\"stop_token_ids\" is no array of token ids");
    return r->stop_ids.failed ? fail_memory(err, r->stop_ids.len * sizeof *r->stop_ids.data, "stop_token_ids") : SG_OK;
}

/* ------------------------------------------------------------------- prompt */

static enum sg_status read_think(const struct batch_defaults *d, const struct json *j, const struct json_node *body, enum sg_think *out,
                                 struct sg_error *err)
{
    bool can = sg_info(d->engine)->can_think;
    *out = d->o->think;
    const struct json_node *kwargs = get(j, body, "chat_template_kwargs"), *effort = get(j, body, "reasoning_effort");
    bool think = false;
    if (kwargs && kwargs->type != JSON_OBJECT)
        return fail(err, SG_USAGE, "\"chat_template_kwargs\" is no object");
    const struct json_node *switch_ = kwargs ? get(j, kwargs, "enable_thinking") : NULL;
    if (switch_) {
        TRY(read_bool(j, kwargs, "enable_thinking", &think, err));
        *out = think ? SG_THINK_ON : SG_THINK_OFF;
    } else if (effort) {
        think = !json_string_equal(j, effort, "none") && !json_string_equal(j, effort, "minimal");
        if (think && !json_string_equal(j, effort, "low") && !json_string_equal(j, effort, "medium") &&
            !json_string_equal(j, effort, "high"))
            return fail(err, SG_USAGE, "\"reasoning_effort\" is one of none, minimal, low, medium, high");
        *out = think && can ? SG_THINK_ON : SG_THINK_OFF; /* an effort that a model can not make is not demanded */
    }
    if (d->o->score && d->o->choices.n) { /* options are answers, so they follow the thinking */
        if (*out == SG_THINK_ON)
            return fail(err, SG_USAGE, "--score with --choice answers without thinking");
        *out = SG_THINK_OFF;
    }
    return SG_OK;
}

static enum sg_status render(struct batch_request *r, const struct batch_defaults *d, const struct json *j, const struct json_node *body,
                             const struct sg_conversation *c, struct sg_error *err)
{
    struct sg_conversation with = *c;
    TRY(read_think(d, j, body, &r->think, err));
    with.think = r->think;
    return sg_render(d->engine, &with, NULL, NULL, &r->ids, &r->n_ids, err);
}

/* Templates pass over roles that they do not know; here that would lose what somebody said.
 * OpenAI calls the system prompt of newer models the developer's. */
static enum sg_status check_roles(struct sg_message *messages, size_t n, struct sg_error *err)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    for (size_t i = 0; i < n; i++) {
        struct sg_str *role = &messages[i].role;
        size_t k = 0;
        while (k < ARRAY_LEN(roles) && !(role->len == strlen(roles[k]) && memcmp(role->data, roles[k], role->len) == 0))
            k++;
        char shown[ESCAPED_MAX];
        if (k == ARRAY_LEN(roles))
            return fail(err, SG_USAGE, "messages[%zu]: the role \"%s\" is none of system, developer, user, assistant, tool", i,
                        escaped(shown, role->data, role->len));
        if (k == 1)
            *role = (struct sg_str){roles[0], strlen(roles[0])};
    }
    return n ? SG_OK : fail(err, SG_USAGE, "\"messages\" is empty");
}

static enum sg_status read_messages(struct batch_request *r, const struct batch_defaults *d, const struct json *j,
                                    const struct json_node *body, struct sg_error *err)
{
    const struct json_node *tools = get(j, body, "tools"), *choice = get(j, body, "tool_choice");
    for (const struct json_node *t = tools && tools->type == JSON_ARRAY ? json_first(j, tools) : NULL; t; t = json_next(j, tools, t))
        if (t->type != JSON_OBJECT)
            return fail(err, SG_USAGE, "\"tools\" is no array of objects");
    if (choice && json_string_equal(j, choice, "none"))
        tools = NULL;
    else if (choice && !json_string_equal(j, choice, "auto"))
        return fail(err, SG_USAGE, "\"tool_choice\" other than \"auto\" and \"none\" is not supported");
    bool parallel = true;
    TRY(read_bool(j, body, "parallel_tool_calls", &parallel, err));
    if (tools && tools->count)
        r->max_calls = parallel ? SIZE_MAX : 1;
    struct messages m = {0};
    enum sg_status status = messages_read(&m, j, get(j, body, "messages"), tools, err);
    struct sg_message *with_system = NULL;
    if (status == SG_OK)
        status = check_roles(m.items, m.conversation.n_messages, err);
    if (status == SG_OK) {
        struct sg_conversation c = m.conversation;
        bool has_own = c.n_messages && c.messages[0].role.len == 6 && memcmp(c.messages[0].role.data, "system", 6) == 0;
        if (d->has_system && !has_own) { /* -sys is for conversations that bring none */
            with_system = calloc(c.n_messages + 1, sizeof *with_system);
            if (!with_system)
                status = fail_memory(err, c.n_messages * sizeof *with_system, "messages");
            else {
                with_system[0] =
                    (struct sg_message){.role = {"system", 6}, .content = {d->system.data ? d->system.data : "", d->system.len}};
                memcpy(with_system + 1, c.messages, c.n_messages * sizeof *with_system);
                c.messages = with_system;
                c.n_messages++;
            }
        }
        if (status == SG_OK)
            status = render(r, d, j, body, &c, err);
    }
    free(with_system);
    messages_free(&m);
    return status;
}

static enum sg_status read_raw_ids(struct batch_request *r, size_t n_vocab, const struct json *j, const struct json_node *list,
                                   struct sg_error *err)
{
    struct ids ids = {0};
    bool good = read_ids(j, list, &ids);
    r->ids = ids.data;
    r->n_ids = ids.len;
    if (!good)
        return fail(err, SG_USAGE, "\"prompt\" is no string and no array of token ids");
    for (size_t i = 0; i < r->n_ids; i++)
        if ((size_t)r->ids[i] >= n_vocab)
            return fail(err, SG_USAGE, "token id %d is outside the vocabulary of %zu", (int)r->ids[i], n_vocab);
    return ids.failed ? fail_memory(err, list->count * sizeof *r->ids, "token ids") : SG_OK;
}

/* raw: continued as it is (the completions endpoint, --raw); else a user's message. */
static enum sg_status read_prompt(struct batch_request *r, const struct batch_defaults *d, const struct json *j,
                                  const struct json_node *body, bool raw, struct sg_error *err)
{
    const struct json_node *n = get(j, body, "prompt");
    if (!n)
        n = get(j, body, "text");
    if (!n)
        return fail(err, SG_USAGE, "there is neither \"messages\" nor \"prompt\"");
    if (get(j, body, "tools"))
        return fail(err, SG_USAGE, "\"tools\" needs \"messages\": they are part of a chat");
    if (n->type == JSON_ARRAY)
        return read_raw_ids(r, sg_info(d->engine)->n_vocab, j, n, err);
    if (n->type != JSON_STRING)
        return fail(err, SG_USAGE, "\"prompt\" is no string and no array of token ids");
    struct buf text = {0};
    json_string(j, n, &text);
    const char *data = text.data ? text.data : "";
    enum sg_status status = text.failed ? fail_memory(err, text.len, "the prompt") : SG_OK;
    if (status == SG_OK && raw) {
        status = sg_tokenize(d->engine, data, text.len, d->o->parse_special ? SG_PARSE_SPECIAL : 0, &r->ids, &r->n_ids, err);
    } else if (status == SG_OK && text.len == 0) {
        status = fail(err, SG_USAGE, "the prompt is empty");
    } else if (status == SG_OK) {
        struct sg_message m[2] = {{.role = {"system", 6}, .content = {d->system.data ? d->system.data : "", d->system.len}},
                                  {.role = {"user", 4}, .content = {data, text.len}}};
        struct sg_conversation c = {.messages = m + !d->has_system, .n_messages = 1 + (size_t)d->has_system, .add_generation_prompt = true};
        status = render(r, d, j, body, &c, err);
    }
    buf_free(&text);
    return status;
}

/* The flags' --choice as texts to score, with the end of the turn. */
static enum sg_status read_options(struct batch_request *r, const struct batch_defaults *d, struct sg_error *err)
{
    struct choice *choices;
    size_t n;
    TRY(choice_list(d->o, &choices, &n, err));
    enum sg_status status = SG_OK;
    r->options = true;
    r->continuations = calloc(n, sizeof *r->continuations);
    if (!r->continuations)
        status = fail_memory(err, n * sizeof *r->continuations, "options");
    for (size_t i = 0; i < n && status == SG_OK; i++) {
        struct batch_continuation *c = &r->continuations[r->n_continuations++];
        struct ids ids = {0};
        buf_append(&c->text, choices[i].text.data, choices[i].text.len);
        status = choice_tokens(d->engine, choices[i].text, !r->chat, &ids, err);
        c->ids = ids.data;
        c->n = ids.len;
        if (status == SG_OK && c->text.failed)
            status = fail_memory(err, c->text.len, "options");
    }
    free(choices);
    return status;
}

static enum sg_status read_continuations(struct batch_request *r, const struct batch_defaults *d, const struct json *j,
                                         const struct json_node *body, struct sg_error *err)
{
    const struct json_node *list = get(j, body, "completions");
    if (!list && d->o->choices.n)
        return read_options(r, d, err);
    if (!list || list->type != JSON_ARRAY || list->count == 0)
        return fail(err, SG_USAGE, "--score needs \"completions\": an array of strings, or --choice");
    r->continuations = calloc(list->count, sizeof *r->continuations);
    if (!r->continuations)
        return fail_memory(err, list->count * sizeof *r->continuations, "completions");
    for (const struct json_node *n = json_first(j, list); n; n = json_next(j, list, n)) {
        struct batch_continuation *c = &r->continuations[r->n_continuations++];
        if (n->type != JSON_STRING)
            return fail(err, SG_USAGE, "\"completions\" is no array of strings");
        json_string(j, n, &c->text);
        if (c->text.failed)
            return fail_memory(err, c->text.len, "completions");
        TRY(sg_tokenize(d->engine, c->text.data ? c->text.data : "", c->text.len, 0, &c->ids, &c->n, err));
        if (c->n == 0)
            return fail(err, SG_USAGE, "\"completions\" has an empty string");
    }
    return SG_OK;
}

/* --------------------------------------------------------------------- rest */

enum {
    UNKNOWN_MOST = 4096 /* bytes of names that are kept */
};

/* Notes a field that is not known, once. Names are kept as in JSON, with a comma before and after
 * each: quotes within names are escaped, so no part of one looks like another between commas. */
static enum sg_status report_unknown(struct batch_defaults *d, const struct json *j, const struct json_node *key, struct sg_error *err)
{
    struct buf name = {0}, quoted = {0};
    char shown[ESCAPED_MAX];
    json_string(j, key, &name);
    const char *text = name.data ? name.data : "";
    escaped(shown, text, name.len);
    buf_putc(&quoted, ',');
    json_put_string(&quoted, text, name.len);
    buf_putc(&quoted, ',');
    bool failed = name.failed || quoted.failed, strict = d->o->strict;
    if (!failed && !strict && !(d->unknown.data && strstr(d->unknown.data, quoted.data)) && d->unknown.len < UNKNOWN_MOST) {
        cli_note("field \"%s\" is not known and ignored (--strict refuses it)", shown);
        buf_puts(&d->unknown, quoted.data + (d->unknown.len > 0));
        if (d->unknown.len >= UNKNOWN_MOST)
            cli_note("no more fields that are not known are named");
    }
    buf_free(&name);
    buf_free(&quoted);
    if (failed)
        return fail(err, SG_NO_MEMORY, "out of memory for a field's name");
    return strict ? fail(err, SG_USAGE, "field \"%s\" is not known", shown) : SG_OK;
}

static enum sg_status check_fields(struct batch_defaults *d, const struct json *j, const struct json_node *body, struct sg_error *err)
{
    for (const struct json_node *key = json_first(j, body); key;) {
        bool known = settings_has(j, key);
        for (size_t i = 0; i < ARRAY_LEN(known_fields) && !known; i++)
            known = json_string_equal(j, key, known_fields[i]);
        if (!known) {
            TRY(report_unknown(d, j, key, err));
        }
        const struct json_node *value = json_next(j, body, key);
        key = json_next(j, body, value);
    }
    const struct json_node *kwargs = get(j, body, "chat_template_kwargs");
    for (const struct json_node *key = kwargs && kwargs->type == JSON_OBJECT ? json_first(j, kwargs) : NULL; key;) {
        if (!json_string_equal(j, key, "enable_thinking"))
            TRY(report_unknown(d, j, key, err));
        key = json_next(j, kwargs, json_next(j, kwargs, key));
    }
    return SG_OK;
}

/* What form the request's answer has; without a word about it, that of the flags. */
static enum sg_status read_form(struct batch_request *r, struct batch_defaults *d, const struct json *j, const struct json_node *body,
                                struct sg_error *err)
{
    bool echo = false;
    TRY(read_bool(j, body, "echo", &echo, err));
    if (echo)
        return fail(err, SG_USAGE, "\"echo\" is not supported");
    TRY(constraints_borrow(&d->constraints, j, body, &r->grammar, &r->form, err));
    if (r->grammar) {
        r->lender = &d->constraints;
    } else {
        r->grammar = d->grammar;
        r->form = d->form;
    }
    return r->lender && d->o->score ? fail(err, SG_USAGE, "--score takes no form of the answer") : SG_OK;
}

static enum sg_status read_logprobs(struct batch_request *r, const struct json *j, const struct json_node *body, struct sg_error *err)
{
    const struct json_node *n = get(j, body, "logprobs");
    int64_t top = 0;
    if (n && n->type == JSON_NUMBER) { /* the completions endpoint: how many */
        TRY(read_int(j, body, "logprobs", 0, 20, &top, err));
        r->logprobs = true;
    } else {
        TRY(read_bool(j, body, "logprobs", &r->logprobs, err));
        TRY(read_int(j, body, "top_logprobs", 0, 20, &top, err));
        if (top && !r->logprobs)
            return fail(err, SG_USAGE, "\"top_logprobs\" needs \"logprobs\": true");
    }
    r->top_logprobs = (size_t)top;
    return SG_OK;
}

static enum sg_status read_body(struct batch_request *r, struct batch_defaults *d, const struct json *j, const struct json_node *body,
                                bool raw, struct sg_error *err)
{
    const struct options *o = d->o;
    TRY(check_fields(d, j, body, err));
    TRY(read_form(r, d, j, body, err));
    TRY(settings_read(&r->sampling, j, body, err));
    TRY(read_biases(r, j, body, sg_info(d->engine)->n_vocab, err));
    TRY(read_stop(r, o, j, body, err));
    TRY(read_stop_ids(r, d, j, body, err));
    TRY(read_logprobs(r, j, body, err));
    TRY(read_bool(j, body, "ignore_eos", &r->ignore_eos, err));
    TRY(read_int(j, body, "thinking_budget_tokens", -1, 1 << 30, &r->think_budget, err));
    TRY(read_int(j, body, "min_tokens", 0, 1 << 30, &r->min_predict, err));
    TRY(read_int(j, body, "n_predict", -1, 1 << 30, &r->n_predict, err));
    TRY(read_int(j, body, "max_tokens", -1, 1 << 30, &r->n_predict, err));
    TRY(read_int(j, body, "max_completion_tokens", -1, 1 << 30, &r->n_predict, err));
    int64_t n = 1, seed = -1;
    TRY(read_int(j, body, "n", 1, 128, &n, err));
    TRY(read_int(j, body, "seed", -1, (int64_t)1 << 53, &seed, err)); /* -1, llama.cpp's default: none of its own */
    r->has_seed = seed >= 0;
    r->seed = (uint64_t)seed;
    bool has_messages = get(j, body, "messages") != NULL;
    r->chat = has_messages || !raw;
    if (has_messages && get(j, body, "prompt"))
        return fail(err, SG_USAGE, "\"messages\" and \"prompt\" exclude each other");
    TRY(has_messages ? read_messages(r, d, j, body, err) : read_prompt(r, d, j, body, raw, err));
    if (r->n_ids == 0)
        return fail(err, SG_USAGE, "the prompt is empty");
    if (o->score) {
        TRY(read_continuations(r, d, j, body, err));
    } else {
        r->n = (size_t)n;
        r->choices = calloc(r->n, sizeof *r->choices);
        if (!r->choices)
            return fail_memory(err, r->n * sizeof *r->choices, "choices");
    }
    if (r->n_ids >= d->n_ctx)
        return fail(err, SG_USAGE, "the prompt has %zu tokens, %zu more than the context of %zu leaves room for", r->n_ids,
                    r->n_ids - d->n_ctx + 1, d->n_ctx);
    for (size_t i = 0; i < r->n_continuations; i++)
        if (r->n_ids + r->continuations[i].n - 1 > d->n_ctx) /* nothing follows the last one */
            return fail(err, SG_USAGE, "a text to score has %zu tokens after the prompt's %zu: too many for the context of %zu",
                        r->continuations[i].n, r->n_ids, d->n_ctx);
    return SG_OK;
}

/* The seeds: the request's own, or derived from the option and the id (without one, from the
 * request's text), so that neither order nor company matters. */
static void make_seeds(struct batch_request *r, const struct batch_defaults *d, const char *text, size_t len)
{
    for (size_t i = 0; i < r->n; i++) {
        uint64_t option = r->has_seed ? r->seed : d->seed;
        r->choices[i].seed = r->has_seed && i == 0 ? r->seed
                             : r->generated_id     ? sg_derive_seed(option, text, len, (uint32_t)i)
                                                   : sg_derive_seed(option, r->id.data, r->id.len, (uint32_t)i);
    }
}

static enum sg_status read_request(struct batch_request *r, struct batch_defaults *d, const struct json *j, struct sg_error *err)
{
    if (j->nodes->type != JSON_OBJECT)
        return fail(err, SG_USAGE, "the line is no JSON object");
    r->generated_id = !read_id(j, &r->id);
    if (r->generated_id)
        line_id(r->number, &r->id);
    const struct json_node *body = get(j, j->nodes, "body"), *url = get(j, j->nodes, "url"), *method = get(j, j->nodes, "method");
    bool raw = d->o->raw;
    if (body) {
        if (body->type != JSON_OBJECT)
            return fail(err, SG_USAGE, "\"body\" is no object");
        if (method && !json_string_equal(j, method, "POST"))
            return fail(err, SG_USAGE, "\"method\" is not \"POST\"");
        if (url && json_string_equal(j, url, "/v1/completions"))
            raw = true;
        else if (url && !json_string_equal(j, url, "/v1/chat/completions"))
            return fail(err, SG_USAGE, "\"url\" is neither /v1/chat/completions nor /v1/completions");
    }
    return read_body(r, d, j, body ? body : j->nodes, raw, err);
}

struct sg_reply_options batch_reply_options(const struct batch_defaults *d, const struct batch_request *r)
{
    return (struct sg_reply_options){
        .sampling = r->sampling,
        .n_predict = r->n_predict,
        .min_predict = r->min_predict,
        .think_budget = r->think_budget,
        .stop = r->stop,
        .n_stop = r->n_stop,
        .stop_ids = r->stop_ids.data,
        .n_stop_ids = r->stop_ids.len,
        .ignore_eos = r->ignore_eos,
        .loop_guard = !d->o->no_loop_guard,
    };
}

enum sg_status batch_request_read(struct batch_request **out, struct batch_defaults *d, const char *text, size_t len, size_t number,
                                  struct buf *id, struct sg_error *err)
{
    struct json j;
    *out = NULL;
    id->len = 0;
    enum sg_status status = json_parse(&j, text, len, err);
    if (status != SG_OK) {
        line_id(number, id);
        if (status != SG_NO_MEMORY && len && text[strspn(text, " \t")] != '{')
            return fail(err, SG_USAGE, "the line is no JSON object (--lines takes plain text, --csv a table)");
        return status == SG_NO_MEMORY ? status : SG_USAGE;
    }
    struct batch_request *r = calloc(1, sizeof *r);
    if (!r) {
        json_free(&j);
        return fail_memory(err, sizeof *r, "a request");
    }
    r->number = number;
    r->sampling = d->sampling;
    r->n_predict = d->o->n_predict;
    r->min_predict = d->o->min_predict;
    r->think_budget = d->o->think_budget;
    r->ignore_eos = d->o->ignore_eos;
    status = read_request(r, d, &j, err);
    if (r->id.len == 0)
        line_id(number, &r->id);
    buf_append(id, r->id.data, r->id.len);
    json_free(&j);
    if (status == SG_OK && (r->id.failed || id->failed))
        status = fail_memory(err, r->id.len, "a request's id");
    if (status != SG_OK) {
        batch_request_free(r);
        return status;
    }
    make_seeds(r, d, text, len);
    *out = r;
    return SG_OK;
}

void batch_request_free(struct batch_request *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n && r->choices; i++) {
        buf_free(&r->choices[i].text);
        buf_free(&r->choices[i].thinking);
        buf_free(&r->choices[i].logprobs);
    }
    for (size_t i = 0; i < r->n_continuations; i++) {
        buf_free(&r->continuations[i].text);
        free(r->continuations[i].ids);
    }
    if (r->lender)
        constraints_return(r->lender, r->grammar);
    free(r->choices);
    free(r->continuations);
    free(r->ids);
    free(r->biases);
    free(r->stop);
    buf_free(&r->stop_text);
    ids_free(&r->stop_ids);
    buf_free(&r->id);
    buf_free(&r->fields);
    free(r);
}
