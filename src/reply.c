/* One answer being written: which token comes next, and what of it may be shown. See
 * signum.h, "replies".
 *
 * The text goes through stages that each hold back what is not decided yet:
 *
 *   token  ->  raw: bytes that are not whole characters
 *          ->  answer: newlines after a think block are dropped; what may be the beginning
 *              of a stop string is held
 *          or  thinking: newlines at both ends are dropped */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "fpenv.h"
#include "loop_guard.h"
#include "stop.h"
#include "utf8.h"

enum phase {
    START,    /* nothing was said yet: a think block may open */
    THINKING, /* inside of it */
    BLANK,    /* after it: the empty line is not part of the answer */
    ANSWER,
};

struct sg_reply {
    const struct sg_engine *engine;
    const struct tokenizer *tokenizer;
    struct sg_reply_options options; /* pointers in it are not used */
    struct sg_constraint constraint;
    uint32_t *bits; /* (n_vocab bits) what may come next; NULL: nobody forbids tokens */
    struct sampler *sampler;
    struct stop_set stops;
    struct ids stop_ids, turn_ends; /* turn_ends: end-of-turn tokens, when there is a minimum */
    struct loop_guard guard;
    size_t n_vocab, position; /* tokens so far, the prompt's included */
    bool ended, want_logprobs;
    struct sg_reply_counts counts;

    int32_t think, end_think; /* token ids, -1: the vocabulary has none */
    enum phase phase;
    bool block_closed;   /* the prompt's last turn has a think block, and it is closed */
    size_t block_tokens; /* inside of the block */
    struct ids closing;  /* "\n</think>\n\n" */
    struct ids expected; /* scratch of sg_reply_expect */
    size_t blank_line;   /* where "\n\n" begins in it */
    bool forced_once;    /* the block was closed for being over budget */
    size_t forced;       /* the next of closing to be forced; closing.len: none */

    struct buf token, raw, clean, held, text, thinking;
    bool thought;    /* some thinking was shown */
    size_t newlines; /* held back at the end of the thinking */
};

/* ------------------------------------------------------------ open and close */

/* Whether the prompt ends inside of a think block, or just after one. Only the last turn counts:
 * the question before it may mention <think>. */
static void look_at_prompt(struct sg_reply *r, const int32_t *prompt, size_t n)
{
    while (n > 0 && tokenizer_type(r->tokenizer, prompt[n - 1]) != TOKEN_CONTROL) {
        n--;
        if (prompt[n] == r->think)
            r->phase = THINKING;
        else if (prompt[n] == r->end_think)
            r->block_closed = true;
        else
            continue;
        return;
    }
}

static enum sg_status make_closing(struct sg_reply *r, struct sg_error *err)
{
    r->think = tokenizer_special(r->tokenizer, "<think>", 7);
    r->end_think = tokenizer_special(r->tokenizer, "</think>", 8);
    if (r->think < 0 || r->end_think < 0) {
        r->think = r->end_think = -1;
        return SG_OK;
    }
    TRY(tokenizer_encode(r->tokenizer, "\n", 1, false, &r->closing, err));
    ids_push(&r->closing, r->end_think);
    r->blank_line = r->closing.len;
    TRY(tokenizer_encode(r->tokenizer, "\n\n", 2, false, &r->closing, err));
    r->forced = r->closing.len;
    return r->closing.failed ? fail_memory(err, 16, "a reply") : SG_OK;
}

static bool is_stop_id(const struct sg_reply *r, int32_t id)
{
    for (size_t i = 0; i < r->stop_ids.len; i++)
        if (r->stop_ids.data[i] == id)
            return true;
    return false;
}

static enum sg_status open_ends(struct sg_reply *r, const struct sg_reply_options *o, struct sg_error *err)
{
    for (size_t i = 0; i < o->n_stop_ids; i++)
        if (o->stop_ids[i] < 0 || (size_t)o->stop_ids[i] >= r->n_vocab)
            return fail(err, SG_USAGE, "stop token %d is outside the vocabulary of %zu", (int)o->stop_ids[i], r->n_vocab);
    if (o->n_predict >= 0 && o->min_predict > o->n_predict)
        return fail(err, SG_USAGE, "at least %lld tokens and at most %lld exclude each other", (long long)o->min_predict,
                    (long long)o->n_predict);
    ids_append(&r->stop_ids, o->stop_ids, o->n_stop_ids);
    for (size_t id = 0; o->min_predict > 0 && id < r->n_vocab; id++)
        if (tokenizer_is_eog(r->tokenizer, (int32_t)id))
            ids_push(&r->turn_ends, (int32_t)id);
    return r->stop_ids.failed || r->turn_ends.failed ? fail_memory(err, o->n_stop_ids * sizeof *o->stop_ids, "stop tokens") : SG_OK;
}

/* The sampler's settings, with end-of-turn tokens forbidden when they are to be ignored. */
static enum sg_status open_sampler(struct sg_reply *r, const struct sg_reply_options *o, struct sg_error *err)
{
    struct sg_sampling params = o->sampling;
    size_t n_eog = 0, n = params.n_biases;
    for (size_t id = 0; o->ignore_eos && id < r->n_vocab; id++)
        n_eog += tokenizer_is_eog(r->tokenizer, (int32_t)id);
    struct sg_logit_bias *biases = malloc((n + n_eog) * sizeof *biases + 1);
    if (!biases)
        return fail_memory(err, (n + n_eog) * sizeof *biases, "logit biases");
    if (n)
        memcpy(biases, params.biases, n * sizeof *biases);
    for (size_t id = 0; n < params.n_biases + n_eog; id++)
        if (tokenizer_is_eog(r->tokenizer, (int32_t)id))
            biases[n++] = (struct sg_logit_bias){(int32_t)id, -INFINITY};
    params.biases = biases;
    params.n_biases = n;
    enum sg_status status = sampler_open(&r->sampler, &params, o->attempt, r->n_vocab, r->tokenizer, &r->engine->kernels, err);
    free(biases);
    return status;
}

static enum sg_status open_reply(struct sg_reply *r, const struct sg_reply_options *o, const int32_t *prompt, size_t n_prompt,
                                 struct sg_error *err)
{
    if (!r->engine->has_weights)
        return fail(err, SG_USAGE, "the engine was opened without weights, it can not write");
    for (size_t i = 0; i < n_prompt; i++)
        if (prompt[i] < 0 || (size_t)prompt[i] >= r->n_vocab)
            return fail(err, SG_USAGE, "token id %d is outside the vocabulary of %zu", (int)prompt[i], r->n_vocab);
    TRY(make_closing(r, err));
    TRY(open_sampler(r, o, err));
    TRY(stop_open(&r->stops, o->stop, o->n_stop, err));
    TRY(open_ends(r, o, err));
    if (o->constraint)
        r->constraint = *o->constraint;
    if (o->constraint || o->min_predict > 0) {
        r->bits = malloc(DIV_UP(r->n_vocab, 32) * sizeof *r->bits);
        if (!r->bits)
            return fail_memory(err, DIV_UP(r->n_vocab, 32) * sizeof *r->bits, "what may come next");
    }
    loop_guard_start(&r->guard);
    if (r->think >= 0)
        look_at_prompt(r, prompt, n_prompt);
    r->position = n_prompt;
    for (size_t i = 0; i < n_prompt; i++)
        sampler_accept(r->sampler, prompt[i]);

    /* So that steps need no memory: more than any token of a usual vocabulary has. */
    struct buf *all[] = {&r->token, &r->raw, &r->clean, &r->held, &r->text, &r->thinking};
    size_t room = 4096 + stop_longest(&r->stops);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (!buf_reserve(all[i], room))
            return fail_memory(err, room, "a reply");
    return SG_OK;
}

enum sg_status sg_reply_open(struct sg_reply **out, const struct sg_engine *engine, const struct sg_reply_options *options,
                             const int32_t *prompt, size_t n_prompt, struct sg_error *err)
{
    *out = NULL;
    struct sg_reply *r = calloc(1, sizeof *r);
    if (!r)
        return fail_memory(err, sizeof *r, "a reply");
    r->engine = engine;
    r->tokenizer = engine->tokenizer;
    r->n_vocab = engine->info.n_vocab;
    r->options = *options;
    enum sg_status status = open_reply(r, options, prompt, n_prompt, err);
    if (status != SG_OK) {
        sg_reply_close(r);
        return status;
    }
    *out = r;
    return SG_OK;
}

void sg_reply_close(struct sg_reply *r)
{
    if (!r)
        return;
    struct buf *all[] = {&r->token, &r->raw, &r->clean, &r->held, &r->text, &r->thinking};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        buf_free(all[i]);
    sampler_close(r->sampler);
    stop_close(&r->stops);
    ids_free(&r->closing);
    ids_free(&r->expected);
    ids_free(&r->stop_ids);
    ids_free(&r->turn_ends);
    free(r->bits);
    free(r);
}

/* ---------------------------------------------------------------------- text */

/* Moves the whole characters of raw, or all of it, to clean (which held nothing). */
static void clean(struct sg_reply *r, bool all)
{
    size_t n = all ? r->raw.len : utf8_complete(r->raw.data, r->raw.len);
    r->clean.len = 0;
    buf_append_utf8(&r->clean, r->raw.data, n);
    buf_drop(&r->raw, n);
}

/* clean goes to the thinking, but for newlines at its beginning and, as far as is known, end. */
static void think(struct sg_reply *r)
{
    for (size_t i = 0; i < r->clean.len; i++) {
        if (r->clean.data[i] == '\n') {
            r->newlines++;
            continue;
        }
        for (; r->newlines > 0 && r->thought; r->newlines--)
            buf_putc(&r->thinking, '\n');
        r->newlines = 0;
        r->thought = true;
        buf_putc(&r->thinking, r->clean.data[i]);
    }
}

static bool below_minimum(const struct sg_reply *r)
{
    return r->options.min_predict > 0 && r->counts.answer_tokens < (uint64_t)r->options.min_predict;
}

/* clean goes to the answer; true when a stop string is complete. */
static bool answer(struct sg_reply *r)
{
    bool may_stop = !below_minimum(r);
    for (size_t i = 0; i < r->clean.len; i++) {
        if (r->phase == BLANK && r->clean.data[i] == '\n')
            continue;
        r->phase = ANSWER;
        buf_putc(&r->held, r->clean.data[i]);
        const struct stop_string *stop = may_stop ? stop_feed(&r->stops, r->clean.data[i]) : NULL;
        if (stop) {
            buf_append(&r->text, r->held.data, r->held.len - stop->len);
            r->held.len = 0;
            r->raw.len = 0;
            r->counts.stop = (struct sg_str){stop->text, stop->len};
            return true;
        }
    }
    size_t known = r->held.len - stop_held(&r->stops);
    buf_append(&r->text, r->held.data, known);
    buf_drop(&r->held, known);
    return false;
}

/* Ends the answer; what was held back comes out, unless a stop string was met. */
static void end(struct sg_reply *r, enum sg_finish finish)
{
    r->ended = true;
    r->counts.finish = finish;
    r->counts.length_in_thinking = finish == SG_FINISH_LENGTH && r->phase == THINKING;
    clean(r, true);
    if (r->phase == THINKING) {
        think(r);
    } else if (r->counts.stop.len == 0 && !answer(r)) {
        buf_append(&r->text, r->held.data, r->held.len);
        r->held.len = 0;
    }
    if (r->counts.stop.len)
        r->counts.finish = SG_FINISH_STOP; /* the last bytes may have completed one */
}

/* -------------------------------------------------------------------- tokens */

static bool only_newlines(const struct buf *b)
{
    for (size_t i = 0; i < b->len; i++)
        if (b->data[i] != '\n')
            return false;
    return b->len > 0;
}

/* Whether the model may open a think block now although a constraint waits for the answer. */
static bool may_think(const struct sg_reply *r)
{
    return r->phase == START && r->counts.answer_tokens == 0 && !r->block_closed && r->think >= 0 && r->engine->info.template_recognised &&
           chat_can_think(r->engine->chat);
}

/* A token of the think block, and its end. */
static void take_thinking(struct sg_reply *r, int32_t id)
{
    r->counts.thinking_tokens++;
    if (id != r->end_think) {
        r->block_tokens++;
        buf_append(&r->raw, r->token.data, r->token.len);
        clean(r, false);
        think(r);
        return;
    }
    clean(r, true);
    think(r);
    r->phase = BLANK;
    if (r->constraint.mask && r->forced == r->closing.len)
        r->forced = r->blank_line; /* the constraint knows nothing of the empty line that models put here */
}

/* Sorts a token into thinking and answer. Returns how it ends the answer, if it does. */
static enum sg_finish take(struct sg_reply *r, int32_t id)
{
    r->token.len = 0;
    tokenizer_decode(r->tokenizer, id, r->options.special, &r->token);
    bool loop = r->options.loop_guard && loop_guard_add(&r->guard, id, r->token.data, r->token.len);
    if (tokenizer_is_eog(r->tokenizer, id)) {
        buf_append(&r->raw, r->token.data, r->token.len);
        return SG_FINISH_STOP;
    }
    if (r->phase != THINKING && is_stop_id(r, id))
        return SG_FINISH_STOP;
    if (r->phase == THINKING) {
        take_thinking(r, id);
    } else if (id == r->think && r->phase == START && (!r->constraint.mask || may_think(r))) {
        r->phase = THINKING;
        r->counts.thinking_tokens++;
    } else if (r->phase == BLANK && only_newlines(&r->token)) {
        r->counts.thinking_tokens++;
    } else {
        r->counts.answer_tokens++;
        buf_append(&r->raw, r->token.data, r->token.len);
        clean(r, false);
        if (answer(r))
            return SG_FINISH_STOP;
        if (r->options.n_predict >= 0 && r->counts.answer_tokens >= (uint64_t)r->options.n_predict)
            return SG_FINISH_LENGTH;
    }
    return loop ? SG_FINISH_LOOP : SG_FINISH_NONE;
}

static void forbid(struct sg_reply *r, const struct ids *ids)
{
    for (size_t i = 0; i < ids->len; i++)
        r->bits[ids->data[i] / 32] &= ~(1u << ids->data[i] % 32);
}

static void allow_all(struct sg_reply *r)
{
    memset(r->bits, 0xFF, DIV_UP(r->n_vocab, 32) * sizeof *r->bits);
    if (r->n_vocab % 32)
        r->bits[r->n_vocab / 32] = (1u << r->n_vocab % 32) - 1;
}

/* Clears bits as the constraint says; false: it lets nothing follow. */
static bool constrain(struct sg_reply *r)
{
    if (!r->constraint.mask(r->constraint.arg, r->bits))
        return false;
    if (may_think(r))
        r->bits[r->think / 32] |= 1u << r->think % 32;
    return true;
}

/* Samples a token; *id is -1 when the constraint ends the answer. */
static enum sg_status choose(struct sg_reply *r, const float *logits, int32_t *id, struct sg_error *err)
{
    *id = -1;
    if (!logits)
        return fail(err, SG_USAGE, "there are no logits to choose a token from");
    bool constrained = r->constraint.mask && r->phase != THINKING, early = below_minimum(r);
    if (constrained || early)
        allow_all(r);
    if (constrained && !constrain(r))
        return SG_OK;
    if (early)
        forbid(r, &r->turn_ends);
    if (early && r->phase != THINKING)
        forbid(r, &r->stop_ids);
    *id = sampler_choose(r->sampler, logits, r->position, constrained || early ? r->bits : NULL);
    if (*id == -2)
        return fail(err, SG_FAIL, "the model computed a number that is not finite: its file is damaged, or not for this program");
    if (*id < 0 && !constrained)
        return fail(err, SG_USAGE, "logit biases forbid every token");
    if (*id >= 0 && constrained && !(*id == r->think && may_think(r)))
        r->constraint.accept(r->constraint.arg, *id);
    return SG_OK;
}

void sg_reply_expect(struct sg_reply *r, struct sg_draft *draft)
{
    char text[64]; /* some SG_DRAFT_MAX tokens */
    if (!r->constraint.expect || r->phase == THINKING || r->ended)
        return;
    size_t len = r->constraint.expect(r->constraint.arg, text, sizeof text);
    r->expected.len = 0;
    if (len > 0 && tokenizer_encode(r->tokenizer, text, len, false, &r->expected, NULL) == SG_OK && !r->expected.failed)
        sg_draft_expect(draft, r->expected.data, r->expected.len);
}

static void fill_step(const struct sg_reply *r, struct sg_step *step)
{
    step->finish = r->counts.finish;
    step->text = (struct sg_str){r->text.data, r->text.len};
    step->thinking = (struct sg_str){r->thinking.data, r->thinking.len};
}

static enum sg_status next(struct sg_reply *r, const float *logits, struct sg_step *step, struct sg_error *err)
{
    bool over_budget = r->phase == THINKING && r->options.think_budget >= 0 && r->block_tokens >= (uint64_t)r->options.think_budget;
    if (over_budget && r->forced == r->closing.len && !r->forced_once) {
        r->forced = 0;
        r->forced_once = true;
    }
    if (r->phase != THINKING && r->forced == r->closing.len && r->options.n_predict == 0) {
        end(r, SG_FINISH_LENGTH);
        return SG_OK;
    }
    step->forced = r->forced < r->closing.len;
    if (step->forced)
        step->id = r->closing.data[r->forced++];
    else
        TRY(choose(r, logits, &step->id, err));
    if (step->id < 0) {
        end(r, SG_FINISH_STOP);
        return SG_OK;
    }
    if (r->want_logprobs && logits)
        step->logprob = sg_logprob_of(r->engine, logits, step->id);
    sampler_accept(r->sampler, step->id);
    r->position++;
    enum sg_finish finish = take(r, step->id);
    if (finish != SG_FINISH_NONE)
        end(r, finish);
    return r->text.failed || r->thinking.failed || r->raw.failed || r->clean.failed || r->held.failed
               ? fail_memory(err, r->text.len, "an answer")
               : SG_OK;
}

enum sg_status sg_reply_next(struct sg_reply *r, const float *logits, struct sg_step *step, struct sg_error *err)
{
    *step = (struct sg_step){.id = -1};
    if (r->ended)
        return fail(err, SG_USAGE, "the answer has ended");
    r->text.len = r->thinking.len = 0;
    fenv_t mode = fp_enter();
    enum sg_status status = next(r, logits, step, err);
    fp_leave(mode);
    fill_step(r, step);
    return status;
}

void sg_reply_end(struct sg_reply *r, enum sg_finish finish, struct sg_step *step)
{
    *step = (struct sg_step){.id = -1};
    r->text.len = r->thinking.len = 0;
    if (!r->ended)
        end(r, finish);
    fill_step(r, step);
}

void sg_reply_want_logprobs(struct sg_reply *r, bool want) { r->want_logprobs = want; }

void sg_reply_counts(const struct sg_reply *r, struct sg_reply_counts *out) { *out = r->counts; }

const char *sg_finish_name(enum sg_finish finish)
{
    static const char *const names[] = {
        [SG_FINISH_NONE] = "", [SG_FINISH_STOP] = "stop", [SG_FINISH_LENGTH] = "length", [SG_FINISH_LOOP] = "loop"};
    return (size_t)finish < ARRAY_LEN(names) ? names[finish] : "";
}
