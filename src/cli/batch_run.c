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

#include "guessing.h"
#include "sequence.h"

enum {
    KEPT = 4,           /* sessions of finished requests, for their prefixes */
    ROWS = 256,         /* of one step */
    PROMPT_ROWS = 128,  /* of them for prompts while others are answering */
    WORTH_WAITING = 32, /* common tokens that a newcomer waits for */
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
    struct sequence **ready;   /* (n_parallel) those that choose after the evaluation */
    size_t n_free, n_ready;    /* ready[0..n_free) may do so at the same time */
    struct guessing *guessing; /* NULL: off */
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
    run->ready = calloc(n_parallel, sizeof(struct sequence *));
    enum sg_status status = SG_OK;
    if (!run->sequences || !run->feeds || !run->ready)
        status = fail_memory(err, n_parallel * sizeof *run->sequences, "the batch");
    if (status == SG_OK && d->o->speculation && !d->o->score) {
        run->guessing = calloc(1, sizeof *run->guessing);
        status = run->guessing ? guessing_open(run->guessing, d->engine, n_parallel, d->n_ctx, err)
                               : fail_memory(err, sizeof *run->guessing, "speculation");
    }
    if (status != SG_OK) {
        batch_run_close(run);
        *out = NULL;
    }
    return status;
}

/* ---------------------------------------------------------------- sessions */

static void drop_kept(struct batch_run *run)
{
    for (size_t i = 0; i < KEPT; i++) {
        sg_session_close(run->kept[i]);
        run->kept[i] = NULL;
    }
}

static void stop_sequence(struct batch_run *run, struct sequence *s)
{
    if (run->guessing)
        guessing_leave(run->guessing, s);
    sequence_close(s);
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
        stop_sequence(run, s);
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
    if (run->guessing)
        guessing_close(run->guessing);
    free(run->guessing);
    free(run->sequences);
    free(run->feeds);
    free(run->ready);
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

/* Starts the next part of the first waiting request. *started is false when it should wait. */
static enum sg_status start(struct batch_run *run, bool *started, struct sg_error *err)
{
    struct batch_request *r = run->head;
    bool wait;
    size_t shared;
    *started = false;
    /* A score needs the logits from the prompt's last token on, so no more than the prompt
     * without it can be shared. */
    const struct sg_session *from = find_prefix(run, r->ids, r->n_ids, &shared, &wait);
    if (wait)
        return SG_OK;
    struct sequence s;
    enum sg_status status = sequence_open(&s, run->d, r, r->n_started, err);
    if (status == SG_OK)
        status =
            from ? sg_fork(&s.session, from, shared, run->d->n_ctx, err) : sg_session_open(&s.session, run->d->engine, run->d->n_ctx, err);
    if (status != SG_OK) {
        stop_sequence(run, &s);
        return status;
    }
    if (run->guessing)
        guessing_join(run->guessing, &s);
    s.age = ++run->clock;
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
            stop_sequence(run, &run->sequences[i]);
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
        c->counts.stop.len = 0; /* points into the reply, which goes */
        run->totals.answer_tokens += c->counts.answer_tokens + c->counts.thinking_tokens;
    }
    struct sg_error why;
    bool given_up = false;
    if (s->matcher && !sg_matcher_complete(s->matcher, &given_up) && given_up) {
        fail(&why, SG_FAIL, "the grammar is too ambiguous to be followed, or memory ran out for it");
        return fail_request(run, r, &why, err);
    }
    keep_session(run, s);
    stop_sequence(run, s);
    remove_sequence(run, i);
    run->limit = run->n_parallel;
    if (++r->n_done < parts(r))
        return SG_OK;
    r->end_us = cli_microseconds();
    enum sg_status status = run->done(run->arg, r, NULL, err);
    batch_request_free(r);
    return status;
}

/* ------------------------------------------------------------------ stepping */

/* Every answering sequence, then pieces of prompts as far as the step's rows go. */
static size_t make_feeds(struct batch_run *run)
{
    size_t n = 0, rows = 0;
    for (size_t i = 0; i < run->n_active; i++) {
        struct sequence *s = &run->sequences[i];
        s->fed = 0;
        if (!s->answering)
            continue;
        run->feeds[n++] = sequence_feed(s, 0);
        rows += s->fed;
    }
    size_t most = rows ? rows + PROMPT_ROWS : ROWS;
    for (size_t i = 0; i < run->n_active && rows < most; i++) {
        struct sequence *s = &run->sequences[i];
        if (s->answering)
            continue;
        run->feeds[n++] = sequence_feed(s, most - rows);
        rows += s->fed;
    }
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
        stop_sequence(run, s);
        remove_sequence(run, i);
    }
    bool waiting = r->n_started < parts(r);
    r->n_started = r->n_done = 0;
    for (size_t i = 0; i < r->n; i++) {
        struct batch_choice *c = &r->choices[i];
        c->text.len = c->thinking.len = c->logprobs.len = 0;
        c->counts = (struct sg_reply_counts){0};
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

/* Starts waiting requests while there is room. One that can not be started fails alone. */
static enum sg_status start_waiting(struct batch_run *run, struct sg_error *err)
{
    bool started = true;
    while (started && run->head && run->n_active < run->limit) {
        struct sg_error why;
        enum sg_status status = start(run, &started, &why);
        if (status == SG_NO_MEMORY && run->n_active) {
            run->limit = run->n_active; /* until one has finished */
        } else if (status == SG_USAGE || status == SG_NO_MEMORY) {
            TRY(fail_request(run, run->head, &why, err));
            started = true;
        } else if (status != SG_OK) {
            *err = why;
            return status;
        }
    }
    return SG_OK;
}

/* One evaluation of what all sequences have next. SG_NO_MEMORY: the cache is full. */
static enum sg_status evaluate(struct batch_run *run, struct sg_error *err)
{
    size_t n_guesses = 0, n_answering = 0;
    if (run->guessing)
        guessing_propose(run->guessing, run->sequences, run->n_active);
    size_t n = make_feeds(run);
    int64_t begin = cli_microseconds();
    enum sg_status status = sg_eval(run->d->engine, run->feeds, n, err);
    for (size_t i = 0; i < run->n_active; i++) {
        n_guesses += run->sequences[i].n_guesses;
        n_answering += run->sequences[i].answering;
    }
    if (status == SG_NO_MEMORY && n_guesses) { /* the guesses asked for another block of the cache, the tokens may not */
        for (size_t i = 0; i < run->n_active; i++)
            run->sequences[i].n_guesses = 0;
        n_guesses = 0;
        n = make_feeds(run);
        begin = cli_microseconds();
        status = sg_eval(run->d->engine, run->feeds, n, err);
    }
    TRY(status);
    if (run->guessing && n_answering == n)
        guessing_timing(run->guessing, n, n_guesses, 1e-6 * (double)(cli_microseconds() - begin));
    for (size_t i = 0; i < run->n_active; i++) {
        const struct sequence *s = &run->sequences[i];
        run->totals.rows += s->fed;
        run->totals.prompt_tokens += s->answering ? 0 : s->fed;
    }
    run->totals.proposed += n_guesses;
    run->totals.steps++;
    return SG_OK;
}

/* Matchers of one grammar are not for several threads: those sequences are one item. */
static void choose_item(void *arg, size_t i)
{
    struct batch_run *run = arg;
    if (i < run->n_free)
        sequence_choose(run->ready[i]);
    for (size_t k = run->n_free; i == run->n_free && k < run->n_ready; k++)
        sequence_choose(run->ready[k]);
}

static void collect_ready(struct batch_run *run, bool matched)
{
    for (size_t i = 0; i < run->n_active; i++) {
        struct sequence *s = &run->sequences[i];
        if (s->fed && !s->r->n_continuations && sg_length(s->session) >= s->n_ids && (s->matcher != NULL) == matched)
            run->ready[run->n_ready++] = s;
    }
}

/* Lets all sequences choose whose prompts are read; sampling, and logprobs even more, take
 * long enough over a large vocabulary to be worth all threads. */
static void choose_all(struct batch_run *run)
{
    run->n_ready = 0;
    collect_ready(run, false);
    run->n_free = run->n_ready;
    collect_ready(run, true);
    sg_parallel(run->d->engine, run->n_free + (run->n_ready > run->n_free), choose_item, run);
}

enum sg_status batch_run_step(struct batch_run *run, struct sg_error *err)
{
    TRY(start_waiting(run, err));
    if (run->n_active == 0)
        return SG_OK;
    struct sg_error why;
    enum sg_status status = evaluate(run, &why);
    if (status == SG_NO_MEMORY)
        return make_room(run, &why, err);
    if (status != SG_OK) {
        *err = why;
        return status;
    }
    choose_all(run);
    for (size_t i = 0; i < run->n_ready; i++) {
        run->totals.accepted += run->ready[i]->right;
        sequence_settle(run->ready[i]);
    }
    for (size_t i = run->n_active; i-- > 0;) {
        struct sequence *s = &run->sequences[i];
        size_t fed = s->fed;
        s->fed = 0; /* a request that fails removes others, and this one may move to where the loop still comes */
        if (!fed || sg_length(s->session) < s->n_ids)
            continue;
        if (s->status == SG_USAGE || s->status == SG_NO_MEMORY) {
            TRY(fail_request(run, s->r, &s->why, err));
        } else if (s->status != SG_OK) {
            *err = s->why;
            return s->status;
        } else if (s->finished || s->r->n_continuations) {
            TRY(finish_sequence(run, i, err));
        }
    }
    return SG_OK;
}

void batch_run_totals(const struct batch_run *run, struct batch_totals *out) { *out = run->totals; }
