#include "sequence.h"

#include <stdlib.h>
#include <string.h>

#include "choice.h"

/* ------------------------------------------------------------ open and close */

/* Prompt and continuation in one; its last token is not evaluated, nothing follows it. */
static enum sg_status join_continuation(struct sequence *s, struct sg_error *err)
{
    const struct batch_request *r = s->r;
    struct batch_continuation *c = &r->continuations[s->index];
    s->n_ids = r->n_ids + c->n - 1;
    s->ids = malloc((s->n_ids + 1) * sizeof *s->ids);
    if (!s->ids)
        return fail_memory(err, s->n_ids * sizeof *s->ids, "a text to score");
    memcpy(s->ids, r->ids, r->n_ids * sizeof *s->ids);
    memcpy(s->ids + r->n_ids, c->ids, (c->n - 1) * sizeof *s->ids);
    c->logprob = 0;
    c->greedy = true;
    return SG_OK;
}

enum sg_status sequence_open(struct sequence *s, const struct batch_defaults *d, struct batch_request *r, size_t index,
                             struct sg_error *err)
{
    *s = (struct sequence){.engine = d->engine, .r = r, .index = index};
    if (r->n_continuations)
        return join_continuation(s, err);
    s->ids = r->ids;
    s->n_ids = r->n_ids;
    struct sg_reply_options reply = batch_reply_options(d, r);
    reply.sampling.seed = r->choices[index].seed;
    if (r->grammar) {
        TRY(sg_matcher_open(&s->matcher, r->grammar, err));
        reply.constraint = sg_matcher_constraint(s->matcher);
    }
    return sg_reply_open(&s->reply, d->engine, &reply, r->ids, r->n_ids, err);
}

void sequence_close(struct sequence *s)
{
    sg_reply_close(s->reply);
    sg_matcher_close(s->matcher);
    sg_session_close(s->session);
    if (s->r->n_continuations)
        free(s->ids);
    *s = (struct sequence){0};
}

/* ------------------------------------------------------------------- feeding */

/* Logits at `position` say how probable the token after it is. */
static void score_position(void *arg, size_t position, const float *logits)
{
    struct sequence *s = arg;
    struct batch_continuation *c = &s->r->continuations[s->index];
    int32_t id = c->ids[position + 1 - s->r->n_ids];
    c->logprob += sg_logprob_of(s->engine, logits, id);
    c->greedy &= choice_is_best(s->engine, logits, id);
}

static void keep_row(void *arg, size_t position, const float *logits)
{
    struct sequence *s = arg;
    size_t n_vocab = sg_info(s->engine)->n_vocab, first = sg_length(s->session); /* as before the evaluation */
    memcpy(s->rows + (position - first) * n_vocab, logits, n_vocab * sizeof *logits);
}

struct sg_feed sequence_feed(struct sequence *s, size_t most)
{
    size_t at = sg_length(s->session);
    struct sg_feed feed = {.session = s->session};
    if (s->answering) {
        feed.ids = s->next;
        feed.n = feed.n_logits = s->fed = 1 + s->n_guesses;
        feed.on_logits = s->n_guesses ? keep_row : NULL;
        feed.arg = s;
        return feed;
    }
    feed.ids = s->ids + at;
    feed.n = s->fed = MIN(s->n_ids - at, most);
    size_t end = at + feed.n;
    feed.n_logits = end == s->n_ids;
    if (s->r->n_continuations) {
        size_t first = MAX(at, s->r->n_ids - 1);
        feed.n_logits = first < end ? end - first : 0;
        feed.on_logits = score_position;
        feed.arg = s;
    }
    return feed;
}

/* ------------------------------------------------------------------ choosing */

static void put_token(struct buf *b, const struct sg_engine *engine, int32_t id, double logprob)
{
    char *text = NULL;
    size_t len = 0;
    if (sg_detokenize(engine, &id, 1, true, &text, &len, NULL) != SG_OK) {
        b->failed = true;
        return;
    }
    buf_puts(b, "{\"token\":");
    json_put_string(b, text, len);
    buf_puts(b, ",\"logprob\":");
    json_put_double(b, logprob);
    buf_puts(b, ",\"bytes\":[");
    for (size_t i = 0; i < len; i++)
        buf_printf(b, "%s%u", i ? "," : "", (unsigned char)text[i]);
    buf_putc(b, ']');
    free(text);
}

/* The model's own probabilities, before temperature and truncation. */
static void put_logprobs(struct buf *b, const struct batch_request *r, const struct sg_engine *engine, const float *logits, int32_t id)
{
    struct sg_logprob top[20];
    if (b->len)
        buf_putc(b, ',');
    put_token(b, engine, id, sg_logprob_of(engine, logits, id));
    buf_puts(b, ",\"top_logprobs\":[");
    size_t n = sg_top_logprobs(engine, logits, r->top_logprobs, top);
    for (size_t i = 0; i < n; i++) {
        buf_puts(b, i ? "," : "");
        put_token(b, engine, top[i].id, top[i].logprob);
        buf_putc(b, '}');
    }
    buf_puts(b, "]}");
}

static void keep_text(struct batch_choice *c, const struct sg_step *step)
{
    buf_append(&c->text, step->text.data, step->text.len);
    buf_append(&c->thinking, step->thinking.data, step->thinking.len);
}

/* Chooses the token after `length` positions. */
static enum sg_status choose_one(struct sequence *s, const float *logits, size_t length, int32_t *id, struct sg_error *err)
{
    struct batch_choice *c = &s->r->choices[s->index];
    size_t before = c->counts.answer_tokens;
    struct sg_step step;
    TRY(sg_reply_next(s->reply, logits, &step, err));
    *id = step.id;
    sg_reply_counts(s->reply, &c->counts);
    if (s->r->logprobs && c->counts.answer_tokens > before)
        put_logprobs(&c->logprobs, s->r, s->engine, logits, step.id);
    keep_text(c, &step);
    s->finished = step.finish != SG_FINISH_NONE;
    if (!s->finished && length == sg_capacity(s->session)) { /* the context is full; what was held back comes out */
        sg_reply_end(s->reply, SG_FINISH_LENGTH, &step);
        sg_reply_counts(s->reply, &c->counts);
        keep_text(c, &step);
        s->finished = true;
    }
    return c->text.failed || c->thinking.failed || c->logprobs.failed ? fail_memory(err, c->text.len, "an answer") : SG_OK;
}

/* Row i gives the token after next[i]; next[i + 1] was a guess at it, and if that was right,
 * row i + 1 counts too. */
static enum sg_status choose(struct sequence *s, struct sg_error *err)
{
    size_t n_vocab = sg_info(s->engine)->n_vocab, length = sg_length(s->session) - s->n_guesses;
    const float *logits = s->n_guesses ? s->rows : sg_logits(s->session);
    int32_t id;
    for (s->right = 0;; s->right++, logits += n_vocab) {
        TRY(choose_one(s, logits, length + s->right, &id, err));
        if (s->finished)
            break;
        if (s->draft)
            sg_draft_accept(s->draft, &id, 1);
        if (s->right == s->n_guesses || id != s->next[s->right + 1])
            break;
    }
    s->next[0] = id;
    return SG_OK;
}

void sequence_choose(struct sequence *s)
{
    if (!s->answering && s->index == 0)
        s->r->prompt_us = cli_microseconds();
    s->answering = true;
    s->status = choose(s, &s->why);
}

void sequence_settle(struct sequence *s)
{
    sg_rewind(s->session, sg_length(s->session) - (s->n_guesses - s->right));
    s->n_guesses = s->right = 0;
}
