#define _GNU_SOURCE /* fileno, flock, getline, truncate */
#include "batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "choice.h"
#include "settings.h"
#include "toolcall.h"

/* ---------------------------------------------------------------- known ids */

/* A hundred bits, so that two of a million ids never meet. The first word's low bits say
 * that the slot is used, and that the id had a record before this run. */
enum {
    USED = 1,
    RECORDED = 2
};

static void hash_id(const char *id, size_t len, uint64_t out[2])
{
    out[0] = sg_derive_seed(1, id, len, 0) << 2 | USED;
    out[1] = sg_derive_seed(2, id, len, 0);
}

static uint64_t (*find_slot(struct batch_output *o, const uint64_t key[2]))[2]
{
    size_t at = key[0] >> 2 & (o->seen_cap - 1);
    while (o->seen[at][0] && !((o->seen[at][0] | RECORDED) == (key[0] | RECORDED) && o->seen[at][1] == key[1]))
        at = (at + 1) & (o->seen_cap - 1);
    return &o->seen[at];
}

static enum sg_status claim(struct batch_output *o, const char *id, size_t len, uint64_t flag, enum batch_id *was, struct sg_error *err)
{
    if (2 * (o->n_seen + 1) > o->seen_cap) {
        size_t old_cap = o->seen_cap, cap = old_cap ? 2 * old_cap : 1024;
        uint64_t(*old)[2] = o->seen, (*grown)[2] = calloc(cap, sizeof *grown);
        if (!grown)
            return fail_memory(err, cap * sizeof *grown, "the ids of finished requests");
        o->seen = grown;
        o->seen_cap = cap;
        for (size_t i = 0; i < old_cap; i++)
            if (old[i][0])
                memcpy(*find_slot(o, old[i]), old[i], sizeof *old);
        free(old);
    }
    uint64_t key[2];
    hash_id(id, len, key);
    uint64_t(*slot)[2] = find_slot(o, key);
    *was = !(*slot)[0] ? BATCH_ID_NEW : (*slot)[0] & RECORDED ? BATCH_ID_RECORDED : BATCH_ID_USED;
    if (*was == BATCH_ID_NEW) {
        memcpy(*slot, key, sizeof key);
        (*slot)[0] |= flag;
        o->n_seen++;
    } else if (!flag) {
        (*slot)[0] &= ~(uint64_t)RECORDED; /* its line has come by: the next with this id is a duplicate */
    }
    return SG_OK;
}

enum sg_status batch_output_claim(struct batch_output *o, const struct buf *id, enum batch_id *was, struct sg_error *err)
{
    return claim(o, id->data ? id->data : "", id->len, 0, was, err);
}

/* Records of duplicates are remembered by their line: the id has another record. */
static const char duplicate_code[] = "duplicate_id";

static void duplicate_key(struct buf *key, uint64_t number)
{
    key->len = 0;
    buf_putc(key, '\0');
    buf_printf(key, "duplicate in line %llu", (unsigned long long)number);
}

/* ------------------------------------------------------------------ resuming */

/* Reads one record that is already there. */
static enum sg_status read_record(struct batch_output *o, const char *line, size_t len, bool *failed, struct buf *id, struct sg_error *err)
{
    struct json j;
    char shown[ESCAPED_MAX];
    escaped(shown, o->path, strlen(o->path));
    id->len = 0;
    enum sg_status status = json_parse(&j, line, len, err);
    if (status == SG_NO_MEMORY)
        return status;
    if (status != SG_OK)
        return fail(err, SG_USAGE, "%s holds a line that is no record; --resume needs signum's own output", shown);
    const struct json_node *mine = json_get(&j, j.nodes, "signum"), *custom = json_get(&j, j.nodes, "custom_id"),
                           *error = json_get(&j, j.nodes, "error");
    if (!custom)
        custom = json_get(&j, j.nodes, "id");
    if (!mine || !custom || custom->type != JSON_STRING)
        status = fail(err, SG_USAGE, "%s holds a line that is no record; --resume needs signum's own output", shown);
    else if (!json_string_equal(&j, mine, o->fingerprint))
        status = fail(err, SG_USAGE, "%s was written with another model or other settings; use those, or another file", shown);
    else
        json_string(&j, custom, id);
    *failed = error && error->type != JSON_NULL;
    const struct json_node *code = *failed ? json_get(&j, error, "code") : NULL;
    uint64_t number;
    if (code && json_string_equal(&j, code, duplicate_code) && json_uint(&j, json_get(&j, error, "line"), &number))
        duplicate_key(id, number);
    json_free(&j);
    return status;
}

/* Copies the records to keep into a new file that then takes the old one's place. */
static enum sg_status read_existing(struct batch_output *o, bool retry, struct sg_error *err)
{
    FILE *old = fopen(o->path, "rb");
    char shown[ESCAPED_MAX];
    escaped(shown, o->path, strlen(o->path));
    if (!old)
        return errno == ENOENT ? SG_OK : fail(err, SG_FAIL, "cannot read %s: %s", shown, strerror(errno));
    struct buf temporary = {0}, id = {0};
    FILE *copy = NULL;
    if (retry) {
        buf_printf(&temporary, "%s.tmp", o->path);
        copy = temporary.failed ? NULL : fopen(temporary.data, "wb");
    }
    enum sg_status status = retry && !copy ? fail(err, SG_FAIL, "cannot write beside %s: %s", shown, strerror(errno)) : SG_OK;
    char *line = NULL;
    size_t cap = 0;
    off_t whole = 0;
    ssize_t n;
    while (status == SG_OK && (n = getline(&line, &cap, old)) > 0) {
        if (line[n - 1] != '\n')
            break; /* torn: the run ended within this line */
        bool failed = false;
        enum batch_id was;
        status = read_record(o, line, (size_t)n, &failed, &id, err);
        whole += n;
        if (status != SG_OK || (failed && retry))
            continue;
        status = claim(o, id.data ? id.data : "", id.len, RECORDED, &was, err);
        o->n_recorded++;
        o->n_failed += failed;
        if (copy)
            fwrite(line, 1, (size_t)n, copy);
    }
    fclose(old);
    free(line);
    buf_free(&id);
    if (copy) {
        bool written = fflush(copy) == 0 && !ferror(copy) && fsync(fileno(copy)) == 0;
        fclose(copy);
        if (status == SG_OK && (!written || rename(temporary.data, o->path) != 0))
            status = fail(err, SG_FAIL, "cannot write beside %s: %s", shown, strerror(errno));
        if (status != SG_OK)
            unlink(temporary.data);
    } else if (status == SG_OK && truncate(o->path, whole) != 0) {
        status = fail(err, SG_FAIL, "cannot cut the torn last line of %s: %s", shown, strerror(errno));
    }
    buf_free(&temporary);
    return status;
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Opens the output and keeps others out of it as long as it is open: two runs that go on with the
 * same records would both write what is missing. File systems without locks do without. */
static enum sg_status open_to_append(struct batch_output *o, const char *shown, struct sg_error *err)
{
    struct stat there;
    if (o->file && o->file != stdout)
        fclose(o->file);
    o->file = fopen(o->path, "ab");
    if (!o->file)
        return fail(err, SG_FAIL, "cannot write %s: %s", shown, strerror(errno));
    bool regular = fstat(fileno(o->file), &there) == 0 && S_ISREG(there.st_mode);
    if (regular && flock(fileno(o->file), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return fail(err, SG_FAIL, "another signum batch is writing %s", shown);
    return SG_OK;
}

/* Hours before it is written: whether the summary can be, and overwrites nothing of this run. */
static enum sg_status check_summary(const struct batch_output *o, const struct options *options, struct sg_error *err)
{
    const char *path = options->summary;
    struct stat there;
    char shown[ESCAPED_MAX];
    if (!path)
        return SG_OK;
    escaped(shown, path, strlen(path));
    if ((o->path && same_file(path, o->path)) || (options->input && same_file(path, options->input)))
        return fail(err, SG_USAGE, "--summary %s would overwrite what this run reads or writes", shown);
    bool is_new = stat(path, &there) != 0;
    if (!is_new && !S_ISREG(there.st_mode) && !S_ISDIR(there.st_mode)) /* a pipe: opening it is seen at its other end */
        return SG_OK;
    FILE *f = fopen(path, "ab");
    if (!f)
        return fail(err, SG_FAIL, "cannot write %s: %s", shown, strerror(errno));
    fclose(f);
    if (is_new)
        unlink(path);
    return SG_OK;
}

static enum sg_status open_output(struct batch_output *o, const struct options *options, struct sg_error *err)
{
    o->path = options->output && strcmp(options->output, "-") != 0 ? options->output : NULL;
    o->simple = options->simple;
    o->file = stdout;
    if (!o->path)
        return options->resume || options->retry_failed ? fail(err, SG_USAGE, "--resume and --retry-failed need -o FILE") : SG_OK;
    char shown[ESCAPED_MAX];
    escaped(shown, o->path, strlen(o->path));
    if (options->input && strcmp(options->input, "-") != 0 && same_file(options->input, o->path))
        return fail(err, SG_USAGE, "%s is input and output at once", shown);
    bool resume = options->resume || options->retry_failed;
    TRY(open_to_append(o, shown, err));
    struct stat there;
    if (!resume && fstat(fileno(o->file), &there) == 0 && S_ISREG(there.st_mode) && there.st_size > 0)
        return fail(err, SG_USAGE, "%s is there already: --resume goes on with it", shown);
    if (resume)
        TRY(read_existing(o, options->retry_failed, err));
    return options->retry_failed ? open_to_append(o, shown, err) : SG_OK; /* it is another file now */
}

enum sg_status batch_output_open(struct batch_output *o, const struct options *options, struct sg_error *err)
{
    TRY(open_output(o, options, err));
    return check_summary(o, options, err);
}

enum sg_status batch_output_close(struct batch_output *o, struct sg_error *err)
{
    enum sg_status status = SG_OK;
    if (o->file && o->file != stdout && fclose(o->file) != 0)
        status = fail(err, SG_FAIL, "cannot write the output: %s", strerror(errno));
    free(o->seen);
    buf_free(&o->line);
    *o = (struct batch_output){0};
    return status;
}

/* ------------------------------------------------------------------- records */

/* The line goes out in one piece, so that a torn one can only be the last. */
static enum sg_status write_line(struct batch_output *o, struct sg_error *err)
{
    buf_putc(&o->line, '\n');
    if (o->line.failed)
        return fail_memory(err, o->line.len, "a record");
    if (fwrite(o->line.data, 1, o->line.len, o->file) != o->line.len || fflush(o->file) != 0)
        return fail(err, SG_FAIL, "cannot write the output: %s; what is complete stays, --resume goes on from there", strerror(errno));
    return SG_OK;
}

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

static void put_body(struct buf *b, const struct batch_output *o, const struct batch_defaults *d, const struct batch_request *r)
{
    const struct sg_info *i = sg_info(d->engine);
    buf_printf(b, "{\"id\":\"%s-%s-%zu\",\"object\":\"%s\",\"created\":%lld,\"model\":", r->chat ? "chatcmpl" : "cmpl", o->fingerprint,
               r->number,
               r->n_continuations ? "score"
               : r->chat          ? "chat.completion"
                                  : "text_completion",
               (long long)time(NULL));
    json_put_string(b, i->name.data, i->name.len);
    buf_printf(b, ",\"system_fingerprint\":\"%s\",", o->fingerprint);
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

enum sg_status batch_output_result(struct batch_output *o, const struct batch_defaults *d, const struct batch_request *r,
                                   struct sg_error *err)
{
    struct buf *b = &o->line;
    b->len = 0;
    buf_putc(b, '{');
    if (o->simple) {
        put_string(b, "id", &r->id);
        buf_putc(b, ',');
        put_simple(b, d, r);
        put_fields(b, &r->fields);
        buf_puts(b, ",\"error\":null");
    } else {
        buf_printf(b, "\"id\":\"batch-%s-%zu\",", o->fingerprint, r->number);
        put_string(b, "custom_id", &r->id);
        buf_printf(b, ",\"response\":{\"status_code\":200,\"request_id\":\"%s-%zu\",\"body\":", o->fingerprint, r->number);
        put_body(b, o, d, r);
        buf_puts(b, "},\"error\":null");
        put_fields(b, &r->fields);
    }
    buf_printf(b, ",\"signum\":\"%s\"}", o->fingerprint);
    return write_line(o, err);
}

static enum sg_status write_error(struct batch_output *o, const struct buf *id, const struct buf *fields, const char *code, int http,
                                  const char *message, size_t number, struct sg_error *err)
{
    struct buf *b = &o->line, details = {0};
    buf_printf(&details, "{\"code\":\"%s\",\"message\":", code);
    json_put_string(&details, message, strlen(message));
    if (number)
        buf_printf(&details, ",\"line\":%zu", number);
    buf_putc(&details, '}');
    b->len = 0;
    buf_putc(b, '{');
    if (o->simple) {
        put_string(b, "id", id);
    } else {
        buf_printf(b, "\"id\":\"batch-%s\",", o->fingerprint);
        put_string(b, "custom_id", id);
        buf_printf(b, ",\"response\":{\"status_code\":%d,\"request_id\":\"%s\",\"body\":{\"error\":", http, o->fingerprint);
        buf_append(b, details.data, details.len);
        buf_puts(b, "}}");
    }
    buf_puts(b, ",\"error\":");
    buf_append(b, details.data, details.len);
    b->failed |= details.failed;
    buf_free(&details);
    put_fields(b, fields);
    buf_printf(b, ",\"signum\":\"%s\"}", o->fingerprint);
    return write_line(o, err);
}

enum sg_status batch_output_error(struct batch_output *o, const struct buf *id, const struct buf *fields, const struct sg_error *why,
                                  struct sg_error *err)
{
    bool memory = why->status == SG_NO_MEMORY;
    return write_error(o, id, fields, memory ? "out_of_memory" : "invalid_request", memory ? 507 : 400, why->message, 0, err);
}

enum sg_status batch_output_duplicate(struct batch_output *o, const struct buf *id, const struct buf *fields, size_t number, bool *written,
                                      struct sg_error *err)
{
    struct buf key = {0};
    enum batch_id was;
    duplicate_key(&key, number);
    enum sg_status status = key.failed ? fail_memory(err, key.len, "a duplicate") : batch_output_claim(o, &key, &was, err);
    buf_free(&key);
    TRY(status);
    *written = was == BATCH_ID_NEW;
    return *written ? write_error(o, id, fields, duplicate_code, 400, "the custom_id was used before", number, err) : SG_OK;
}
