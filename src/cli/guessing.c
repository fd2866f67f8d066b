#include "guessing.h"

#include <stdlib.h>

enum {
    REFRESH = 16 /* steps with guesses, after which one without is measured again */
};

/* Before anything was measured: with nibble tables n rows cost 0.6 + 0.4 n of one. */
static double prior(size_t n) { return 0.4 * (double)n / (0.6 + 0.4 * (double)n); }

static size_t class_of(size_t n)
{
    size_t class = 0;
    while (class + 1 < GUESS_CLASSES && (size_t)1 << class < n)
        class ++;
    return class;
}

enum sg_status guessing_open(struct guessing *g, const struct sg_engine *engine, size_t n_parallel, size_t n_ctx, struct sg_error *err)
{
    size_t bytes = GUESS_ROWS * sg_info(engine)->n_vocab * sizeof *g->rows;
    *g = (struct guessing){.n_vocab = sg_info(engine)->n_vocab};
    g->drafts = calloc(n_parallel, sizeof(struct sg_draft *));
    g->seconds = calloc(n_parallel + 1, sizeof *g->seconds);
    g->rows = malloc(bytes);
    if (!g->drafts || !g->seconds || !g->rows)
        return fail_memory(err, bytes, "speculation");
    for (; g->n_free < n_parallel; g->n_free++)
        TRY(sg_draft_open(&g->drafts[g->n_free], engine, n_ctx, err));
    for (size_t class = 0; class < GUESS_CLASSES; class ++)
        g->price[class] = prior((size_t)1 << class);
    return SG_OK;
}

void guessing_close(struct guessing *g)
{
    while (g->n_free > 0)
        sg_draft_close(g->drafts[--g->n_free]);
    free(g->drafts);
    free(g->seconds);
    free(g->rows);
    *g = (struct guessing){0};
}

void guessing_join(struct guessing *g, struct sequence *s)
{
    s->draft = g->drafts[--g->n_free];
    sg_draft_reset(s->draft);
    sg_draft_accept(s->draft, s->ids, s->n_ids);
}

void guessing_leave(struct guessing *g, struct sequence *s)
{
    if (s->draft)
        g->drafts[g->n_free++] = s->draft;
    s->draft = NULL;
}

/* The guesses of one sequence that are worth their price, into a part of the rows. */
static void propose(struct guessing *g, struct sequence *s, double price, size_t *used)
{
    double chance[SG_DRAFT_MAX];
    size_t length = sg_length(s->session), room = sg_capacity(s->session) - length - 1, left = GUESS_ROWS - *used, n = 0;
    if (left < 2)
        return;
    sg_reply_expect(s->reply, s->draft);
    size_t most = sg_draft_guess(s->draft, s->next + 1, chance, MIN(room, left - 1));
    while (n < most && chance[n] > price)
        n++;
    s->n_guesses = n;
    s->rows = g->rows + *used * g->n_vocab;
    *used += n ? n + 1 : 0;
}

void guessing_propose(struct guessing *g, struct sequence *sequences, size_t n)
{
    size_t answering = 0, used = 0;
    for (size_t i = 0; i < n; i++) {
        sequences[i].n_guesses = 0;
        answering += sequences[i].answering;
    }
    if (answering == 0 || g->seconds[answering] <= 0 || g->since_plain >= REFRESH)
        return;
    double price = g->price[class_of(answering)] + 0.05; /* a gain that small is noise */
    for (size_t i = 0; i < n; i++)
        if (sequences[i].answering && sequences[i].draft)
            propose(g, &sequences[i], price, &used);
}

void guessing_timing(struct guessing *g, size_t n, size_t n_guesses, double seconds)
{
    double *plain = &g->seconds[n];
    if (n_guesses == 0) {
        *plain += (*plain > 0 ? 0.1 : 1) * (seconds - *plain);
        g->since_plain = 0;
        return;
    }
    g->since_plain++;
    if (*plain <= 0)
        return;
    double price = (seconds / *plain - 1) * (double)n / (double)n_guesses, *known = &g->price[class_of(n)];
    price = price < 0.05 ? 0.05 : price > 2 ? 2 : price; /* one odd measurement must not end it */
    *known += 0.1 * (price - *known);
}
