/* The sequences that share every evaluation (continuous batching).
 *
 * A sequence is one choice (or one text to score) of one request. Each step evaluates one new
 * token of every sequence that is answering and bounded pieces of the prompts of newcomers,
 * so that those do not make the others wait. A finished sequence is replaced at once.
 *
 * What a prompt has in common with a session that exists (another sequence's, or one kept
 * for this) is shared, not computed; and when a sequence is just reading what a newcomer has
 * in common with it, the newcomer waits, so a common prefix is computed once.
 *
 * None of this changes a result: the engine gives the same bits in any company, and random
 * numbers depend on seed, position and attempt alone. When the cache's memory runs out, the
 * youngest sequence gives its up and begins again later. */
#include "batch.h"

#include <stdlib.h>
#include <string.h>

enum {
    KEPT = 4,           /* sessions of finished requests, for their prefixes */
    ROWS = 256,         /* of one step */
    PROMPT_ROWS = 128,  /* of them for prompts while others are answering */
    WORTH_WAITING = 32, /* common tokens that a newcomer waits for */
};

struct sequence {
    const struct sg_engine *engine;
    struct batch_request *r;
    size_t index; /* of its choice or continuation */
    struct sg_session *session;
    struct sg_reply *reply;
    struct sg_matcher *matcher; /* of a request that asks for a form */
    int32_t *ids;               /* what is fed before answers begin; owned when scoring */
    size_t n_ids;
    int32_t pending; /* chosen, not evaluated yet */
    bool answering;
    uint64_t age;   /* when it was started */
    size_t fed_now; /* rows in the current step */
};

struct batch_run {
    const struct batch_defaults *d;
    batch_done_fn *done;
    void *arg;
    size_t n_parallel, limit;   /* limit: lowered while memory is short */
    struct sequence *sequences; /* (n_parallel), the first n_active live */
    size_t n_active;
    struct batch_request *head, **tail; /* requests with choices that wait */
    size_t n_waiting;
    struct sg_session *kept[KEPT];
    size_t next_kept;
    uint64_t clock;
    struct batch_totals totals;
    struct sg_feed *feeds;
};

static size_t parts(const struct batch_request *r) { return r->n_continuations ? r->n_continuations : r->n; }

enum sg_status batch_run_open(struct batch_run **out, const struct batch_defaults *d, size_t n_parallel, batch_done_fn *done, void *arg,
                              struct sg_error *err)
{
    struct batch_run *run = *out = calloc(1, sizeof *run);
    if (!run)
        return fail_memory(err, sizeof *run, "the batch");
    *run = (struct batch_run){.d = d, .done = done, .arg = arg, .n_parallel = n_parallel, .limit = n_parallel};
    run->tail = &run->head;
    run->sequences = calloc(n_parallel, sizeof *run->sequences);
    run->feeds = calloc(n_parallel, sizeof *run->feeds);
    if (!run->sequences || !run->feeds) {
        batch_run_close(run);
        *out = NULL;
        return fail_memory(err, n_parallel * sizeof *run->sequences, "the batch");
    }
    return SG_OK;
}

/* ---------------------------------------------------------------- sessions */

static void drop_kept(struct batch_run *run)
{
    for (size_t i = 0; i < KEPT; i++) {
        sg_session_close(run->kept[i]);
        run->kept[i] = NULL;
    }
}

static void stop_sequence(struct sequence *s)
{
    sg_reply_close(s->reply);
    sg_matcher_close(s->matcher);
    sg_session_close(s->session);
    if (s->r->n_continuations)
        free(s->ids);
    *s = (struct sequence){0};
}

static void remove_sequence(struct batch_run *run, size_t i)
{
    run->sequences[i] = run->sequences[--run->n_active];
    run->sequences[run->n_active] = (struct sequence){0};
}

void batch_run_close(struct batch_run *run)
{
    if (!run)
        return;
    while (run->n_active) {
        struct sequence *s = &run->sequences[--run->n_active];
        struct batch_request *r = s->r;
        stop_sequence(s);
        bool last = true; /* nobody else works for this request, and it does not wait */
        for (size_t i = 0; i < run->n_active; i++)
            last &= run->sequences[i].r != r;
        for (const struct batch_request *w = run->head; w; w = w->next)
            last &= w != r;
        if (last)
            batch_request_free(r);
    }
    while (run->head) {
        struct batch_request *r = run->head;
        run->head = r->next;
        batch_request_free(r);
    }
    drop_kept(run);
    free(run->sequences);
    free(run->feeds);
    free(run);
}

/* Keeps a finished sequence's prompt for others that begin alike. */
static void keep_session(struct batch_run *run, struct sequence *s)
{
    sg_rewind(s->session, s->r->n_ids);
    sg_session_close(run->kept[run->next_kept]);
    run->kept[run->next_kept] = s->session;
    run->next_kept = (run->next_kept + 1) % KEPT;
    s->session = NULL;
}

/* ---------------------------------------------------------------- starting */

static size_t common(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b)
{
    size_t i = 0;
    while (i < n_a && i < n_b && a[i] == b[i])
        i++;
    return i;
}

/* The session to begin from, and how much of it is usable; *wait: somebody is about to have
 * clearly more. The last token of a prompt is always evaluated: its logits are needed. */
static const struct sg_session *find_prefix(const struct batch_run *run, const int32_t *ids, size_t n, size_t *shared, bool *wait)
{
    const struct sg_session *best = NULL;
    *shared = 0;
    *wait = false;
    size_t soon = 0;
    for (size_t i = 0; i < run->n_active + KEPT; i++) {
        const struct sequence *s = i < run->n_active ? &run->sequences[i] : NULL;
        const struct sg_session *session = s ? s->session : run->kept[i - run->n_active];
        if (!session)
            continue;
        size_t has = MIN(sg_common_prefix(session, ids, n), n - 1);
        if (has > *shared) {
            *shared = has;
            best = session;
        }
        if (s && !s->answering)
            soon = MAX(soon, MIN(common(s->ids, s->n_ids, ids, n), n - 1));
    }
    *wait = soon >= *shared + WORTH_WAITING;
    return best;
}

static enum sg_status open_reply(struct batch_run *run, struct sequence *s, struct sg_error *err)
{
    const struct batch_request *r = s->r;
    const struct options *o = run->d->o;
    struct sg_reply_options reply = {
        .sampling = r->sampling,
        .n_predict = r->n_predict,
        .think_budget = r->think_budget,
        .stop = r->stop,
        .n_stop = r->n_stop,
        .ignore_eos = r->ignore_eos,
        .loop_guard = !o->no_loop_guard,
    };
    reply.sampling.seed = r->choices[s->index].seed;
    if (r->grammar) {
        TRY(sg_matcher_open(&s->matcher, r->grammar, err));
        reply.constraint = sg_matcher_constraint(s->matcher);
    }
    return sg_reply_open(&s->reply, run->d->engine, &reply, r->ids, r->n_ids, err);
}

/* Prompt and continuation in one; its last token is not evaluated, nothing follows it. */
static enum sg_status join_continuation(struct sequence *s, struct sg_error *err)
{
    const struct batch_request *r = s->r;
    const struct batch_continuation *c = &r->continuations[s->index];
    s->n_ids = r->n_ids + c->n - 1;
    s->ids = malloc((s->n_ids + 1) * sizeof *s->ids);
    if (!s->ids)
        return fail_memory(err, s->n_ids * sizeof *s->ids, "a text to score");
    memcpy(s->ids, r->ids, r->n_ids * sizeof *s->ids);
    memcpy(s->ids + r->n_ids, c->ids, (c->n - 1) * sizeof *s->ids);
    return SG_OK;
}

/* Starts the next part of the first waiting request. *started is false when it should wait. */
static enum sg_status start(struct batch_run *run, bool *started, struct sg_error *err)
{
    struct batch_request *r = run->head;
    struct sequence s = {.engine = run->d->engine, .r = r, .index = r->n_started, .ids = r->ids, .n_ids = r->n_ids, .age = ++run->clock};
    bool scoring = r->n_continuations > 0, wait;
    size_t shared;
    *started = false;
    if (scoring) {
        r->continuations[s.index].logprob = 0;
        r->continuations[s.index].greedy = true;
        TRY(join_continuation(&s, err));
    }
    /* A score needs the logits from the prompt's last token on, so no more than the prompt
     * without it can be shared. */
    const struct sg_session *from = find_prefix(run, r->ids, r->n_ids, &shared, &wait);
    if (wait) {
        if (scoring)
            free(s.ids);
        return SG_OK;
    }
    enum sg_status status =
        from ? sg_fork(&s.session, from, shared, run->d->n_ctx, err) : sg_session_open(&s.session, run->d->engine, run->d->n_ctx, err);
    if (status == SG_OK && !scoring)
        status = open_reply(run, &s, err);
    if (status != SG_OK) {
        stop_sequence(&s);
        return status;
    }
    if (r->n_started == 0) {
        r->cached_tokens = shared;
        if (!r->start_us)
            r->start_us = cli_microseconds();
    }
    run->totals.cached_tokens += shared;
    run->sequences[run->n_active++] = s;
    if (++r->n_started == parts(r)) {
        run->head = r->next;
        r->next = NULL;
        if (!run->head)
            run->tail = &run->head;
        run->n_waiting--;
    }
    *started = true;
    return SG_OK;
}

bool batch_run_wants(const struct batch_run *run) { return run->n_waiting < run->n_parallel; }
bool batch_run_busy(const struct batch_run *run) { return run->n_active || run->head; }
size_t batch_run_active(const struct batch_run *run) { return run->n_active; }

void batch_run_add(struct batch_run *run, struct batch_request *r)
{
    *run->tail = r;
    run->tail = &r->next;
    run->n_waiting++;
}

void batch_run_drop_waiting(struct batch_run *run)
{
    struct batch_request **at = &run->head;
    while (*at) {
        struct batch_request *r = *at;
        if (r->n_started) { /* some of its choices are under way: it will be finished */
            at = &r->next;
            continue;
        }
        *at = r->next;
        run->n_waiting--;
        batch_request_free(r);
    }
    run->tail = at;
}

/* ---------------------------------------------------------------- finishing */

/* Ends a request early: all its sequences stop. */
static enum sg_status fail_request(struct batch_run *run, struct batch_request *r, const struct sg_error *why, struct sg_error *err)
{
    for (size_t i = run->n_active; i-- > 0;) {
        if (run->sequences[i].r == r) {
            stop_sequence(&run->sequences[i]);
            remove_sequence(run, i);
        }
    }
    if (r->n_started < parts(r)) { /* it still waits with its other parts: it is the first, or was put back */
        struct batch_request **at = &run->head;
        while (*at && *at != r)
            at = &(*at)->next;
        if (*at) {
            *at = r->next;
            if (!*at)
                run->tail = at;
            run->n_waiting--;
        }
    }
    enum sg_status status = run->done(run->arg, r, why, err);
    batch_request_free(r);
    return status;
}

static enum sg_status finish_sequence(struct batch_run *run, size_t i, struct sg_error *err)
{
    struct sequence *s = &run->sequences[i];
    struct batch_request *r = s->r;
    if (!r->n_continuations) {
        struct batch_choice *c = &r->choices[s->index];
        sg_reply_counts(s->reply, &c->counts);
        c->counts.stop.len = 0; /* points into the reply, which goes */
        c->done = true;
        run->totals.answer_tokens += c->counts.answer_tokens + c->counts.thinking_tokens;
        if (c->text.failed || c->thinking.failed || c->logprobs.failed)
            return fail(err, SG_NO_MEMORY, "out of memory for an answer");
    }
    struct sg_error why;
    bool given_up = false;
    if (s->matcher && !sg_matcher_complete(s->matcher, &given_up) && given_up) {
        fail(&why, SG_FAIL, "the grammar is too ambiguous to be followed, or memory ran out for it");
        return fail_request(run, r, &why, err);
    }
    keep_session(run, s);
    stop_sequence(s);
    remove_sequence(run, i);
    run->limit = run->n_parallel;
    if (++r->n_done < parts(r))
        return SG_OK;
    r->end_us = cli_microseconds();
    enum sg_status status = run->done(run->arg, r, NULL, err);
    batch_request_free(r);
    return status;
}

/* ----------------------------------------------------------------- answers */

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

/* Chooses the next token; *finished when the answer is over. */
static enum sg_status answer(struct batch_run *run, struct sequence *s, bool *finished, struct sg_error *err)
{
    struct batch_choice *c = &s->r->choices[s->index];
    struct sg_step step;
    const float *logits = sg_logits(s->session);
    if (!s->answering && s->index == 0)
        s->r->prompt_us = cli_microseconds();
    s->answering = true;
    TRY(sg_reply_next(s->reply, logits, &step, err));
    if (s->r->logprobs && step.id >= 0 && !sg_is_eog(run->d->engine, step.id)) {
        struct sg_reply_counts counts;
        sg_reply_counts(s->reply, &counts);
        if (counts.answer_tokens && !step.thinking.len && !step.forced)
            put_logprobs(&c->logprobs, s->r, run->d->engine, logits, step.id);
    }
    for (int round = 0;; round++) {
        buf_append(&c->text, step.text.data, step.text.len);
        buf_append(&c->thinking, step.thinking.data, step.thinking.len);
        *finished = step.finish != SG_FINISH_NONE || round > 0;
        s->pending = step.id;
        if (*finished || sg_length(s->session) < sg_capacity(s->session))
            return SG_OK;
        sg_reply_end(s->reply, SG_FINISH_LENGTH, &step); /* the context is full; what was held back comes out */
    }
}

/* Logits at `position` say how probable the token after it is. */
static void score_position(void *arg, size_t position, const float *logits)
{
    struct sequence *s = arg;
    struct batch_continuation *c = &s->r->continuations[s->index];
    int32_t id = c->ids[position + 1 - s->r->n_ids];
    struct sg_logprob best;
    c->logprob += sg_logprob_of(s->engine, logits, id);
    sg_top_logprobs(s->engine, logits, 1, &best);
    c->greedy &= best.id == id;
}

/* ------------------------------------------------------------------ stepping */

static size_t make_feeds(struct batch_run *run)
{
    size_t n = 0, rows = 0;
    for (size_t i = 0; i < run->n_active; i++) {
        struct sequence *s = &run->sequences[i];
        s->fed_now = 0;
        if (!s->answering)
            continue;
        run->feeds[n++] = (struct sg_feed){.session = s->session, .ids = &s->pending, .n = 1, .n_logits = 1};
        s->fed_now = 1;
        rows++;
    }
    size_t most = rows ? rows + PROMPT_ROWS : ROWS;
    for (size_t i = 0; i < run->n_active && rows < most; i++) {
        struct sequence *s = &run->sequences[i];
        if (s->answering)
            continue;
        size_t at = sg_length(s->session), now = MIN(s->n_ids - at, most - rows), end = at + now;
        struct sg_feed feed = {.session = s->session, .ids = s->ids + at, .n = now, .n_logits = end == s->n_ids};
        if (s->r->n_continuations) {
            size_t first = MAX(at, s->r->n_ids - 1);
            feed.n_logits = first < end ? end - first : 0;
            feed.on_logits = score_position;
            feed.arg = s;
        }
        run->feeds[n++] = feed;
        s->fed_now = now;
        rows += now;
    }
    run->totals.rows += rows;
    return n;
}

/* Memory for the cache is gone: the kept sessions go, then the youngest sequence starts over
 * later; alone it can never fit. */
static enum sg_status make_room(struct batch_run *run, const struct sg_error *why, struct sg_error *err)
{
    bool any_kept = false;
    for (size_t i = 0; i < KEPT; i++)
        any_kept |= run->kept[i] != NULL;
    if (any_kept) {
        drop_kept(run);
        return SG_OK;
    }
    size_t youngest = 0;
    for (size_t i = 1; i < run->n_active; i++)
        if (run->sequences[i].age > run->sequences[youngest].age)
            youngest = i;
    struct batch_request *r = run->sequences[youngest].r;
    if (run->n_active == 1)
        return fail_request(run, r, why, err);
    /* All of the request's parts that are not done begin again, so that its order is simple. */
    for (size_t i = run->n_active; i-- > 0;) {
        struct sequence *s = &run->sequences[i];
        if (s->r != r)
            continue;
        stop_sequence(s);
        remove_sequence(run, i);
    }
    bool waiting = r->n_started < parts(r);
    r->n_started = r->n_done = 0;
    for (size_t i = 0; i < r->n; i++) {
        struct batch_choice *c = &r->choices[i];
        c->text.len = c->thinking.len = c->logprobs.len = 0;
        c->done = false;
    }
    if (!waiting) {
        r->next = run->head;
        if (!run->head)
            run->tail = &r->next;
        run->head = r;
        run->n_waiting++;
    }
    run->limit = MAX(run->n_active, (size_t)1);
    return SG_OK;
}

enum sg_status batch_run_step(struct batch_run *run, struct sg_error *err)
{
    bool started = true;
    while (started && run->head && run->n_active < run->limit)
        TRY(start(run, &started, err));
    if (run->n_active == 0)
        return SG_OK;
    size_t n = make_feeds(run);
    struct sg_error why;
    enum sg_status status = sg_eval(run->d->engine, run->feeds, n, &why);
    if (status == SG_NO_MEMORY)
        return make_room(run, &why, err);
    if (status != SG_OK) {
        if (err)
            *err = why;
        return status;
    }
    run->totals.steps++;
    for (size_t i = run->n_active; i-- > 0;) {
        struct sequence *s = &run->sequences[i];
        bool finished = false;
        size_t fed = s->fed_now;
        s->fed_now = 0; /* a request that fails removes others, and this one may move to where the loop still comes */
        if (!fed)
            continue;
        if (!s->answering) {
            run->totals.prompt_tokens += fed;
            if (sg_length(s->session) < s->n_ids)
                continue;
        }
        if (s->r->n_continuations)
            finished = true;
        else
            TRY(answer(run, s, &finished, err));
        if (finished)
            TRY(finish_sequence(run, i, err));
    }
    return SG_OK;
}

void batch_run_totals(const struct batch_run *run, struct batch_totals *out) { *out = run->totals; }
