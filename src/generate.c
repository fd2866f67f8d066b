/* The token loop, with or without speculation. */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"

struct generation {
    struct sg_session *session;
    struct sg_reply *reply;
    struct sg_draft *draft;
    sg_step_fn *on_step;
    void *arg;
    struct sg_draft_counts *counts;
    float *rows;  /* (SG_DRAFT_MAX + 1, n_vocab) logits of one evaluation, with a draft */
    size_t first; /* position of rows[0] */
};

static void keep_row(void *arg, size_t position, const float *logits)
{
    struct generation *g = arg;
    size_t n_vocab = g->session->engine->model.n_vocab;
    memcpy(g->rows + (position - g->first) * n_vocab, logits, n_vocab * sizeof *logits);
}

/* Evaluates the chosen token and the guesses after it. */
static enum sg_status evaluate(struct generation *g, const int32_t *ids, size_t n, struct sg_error *err)
{
    struct sg_feed feed = {.session = g->session, .ids = ids, .n = n, .n_logits = n, .on_logits = g->draft ? keep_row : NULL, .arg = g};
    g->first = g->session->length;
    uint64_t begin = clock_ns();
    TRY(sg_eval(g->session->engine, &feed, 1, err));
    if (g->draft)
        sg_draft_timing(g->draft, n, 1e-9 * (double)(clock_ns() - begin));
    g->counts->passes++;
    g->counts->proposed += n - 1;
    return SG_OK;
}

/* Keeps n positions and the logits of the last of them, which lie in rows. */
static void keep_positions(struct generation *g, size_t n)
{
    struct sg_session *s = g->session;
    if (n == s->length)
        return;
    sg_rewind(s, n);
    memcpy(s->logits, g->rows + (n - 1 - g->first) * s->engine->model.n_vocab, s->engine->model.n_vocab * sizeof *s->logits);
    s->has_logits = true;
}

/* The answer is over from outside: what was held back comes out. */
static void end(struct generation *g, enum sg_finish finish)
{
    struct sg_step step;
    sg_reply_end(g->reply, finish, &step);
    g->on_step(g->arg, &step);
}

static enum sg_status loop(struct generation *g, struct sg_error *err)
{
    struct sg_session *s = g->session;
    int32_t ids[SG_DRAFT_MAX + 1];
    struct sg_step step;
    TRY(sg_reply_next(g->reply, s->logits, &step, err));
    for (;;) {
        if (!g->on_step(g->arg, &step))
            return SG_OK;
        if (step.finish != SG_FINISH_NONE)
            return SG_OK;
        if (s->length == s->n_ctx) {
            end(g, SG_FINISH_LENGTH);
            return SG_OK;
        }
        ids[0] = step.id;
        size_t n = 1;
        if (g->draft) {
            sg_draft_accept(g->draft, &step.id, 1);
            sg_reply_expect(g->reply, g->draft);
            n += sg_draft_propose(g->draft, ids + 1, s->n_ctx - s->length - 1);
        }
        enum sg_status status = evaluate(g, ids, n, err);
        if (status == SG_NO_MEMORY && n > 1) /* the guesses asked for another KV block, the token may not */
            status = evaluate(g, ids, n = 1, err);
        if (status != SG_OK) {
            end(g, SG_FINISH_LENGTH);
            return status;
        }
        /* Row i gives the token after ids[i]; ids[i + 1] was a guess at it. */
        const float *row = g->draft ? g->rows : s->logits;
        size_t i = 0;
        for (;; i++, row += s->engine->model.n_vocab) {
            status = sg_reply_next(g->reply, row, &step, err);
            if (status != SG_OK || step.finish != SG_FINISH_NONE || i + 1 == n || step.id != ids[i + 1])
                break;
            g->counts->accepted++;
            if (!g->on_step(g->arg, &step)) {
                keep_positions(g, g->first + i + 1); /* as without a draft: not the token just shown */
                return SG_OK;
            }
            sg_draft_accept(g->draft, &step.id, 1);
        }
        if (g->draft)
            keep_positions(g, g->first + i + 1);
        TRY(status);
    }
}

enum sg_status sg_generate(struct sg_session *session, struct sg_reply *reply, struct sg_draft *draft, sg_step_fn *on_step, void *arg,
                           struct sg_draft_counts *counts, struct sg_error *err)
{
    struct sg_draft_counts unused;
    struct generation g = {
        .session = session, .reply = reply, .draft = draft, .on_step = on_step, .arg = arg, .counts = counts ? counts : &unused};
    *g.counts = (struct sg_draft_counts){0};
    if (!session->has_logits)
        return fail(err, SG_USAGE, "nothing was evaluated: there are no logits to choose from");
    if (draft) {
        size_t bytes = (SG_DRAFT_MAX + 1) * session->engine->model.n_vocab * sizeof *g.rows;
        g.rows = malloc(bytes);
        if (!g.rows)
            return fail_memory(err, bytes, "speculation");
    }
    enum sg_status status = loop(&g, err);
    free(g.rows);
    return status;
}
