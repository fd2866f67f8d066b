/* Speculation changes nothing but the number of evaluations: text, tokens, logits and the
 * session afterwards are those of plain generation, at any temperature, with any guesses. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "signum.h"

struct trace {
    int32_t ids[600];
    size_t n, stop_after; /* 0: never */
    char text[8192];
    size_t len;
    enum sg_finish finish;
};

static bool keep(void *arg, const struct sg_step *step)
{
    struct trace *t = arg;
    if (t->n < 600)
        t->ids[t->n++] = step->id;
    if (step->text.len && t->len + step->text.len <= sizeof t->text) {
        memcpy(t->text + t->len, step->text.data, step->text.len);
        t->len += step->text.len;
    }
    t->finish = step->finish;
    return t->n != t->stop_after;
}

static void run(struct sg_engine *e, struct sg_draft *draft, const int32_t *prompt, size_t n, const struct sg_reply_options *o, size_t n_ctx, struct trace *t, struct sg_session **s, struct sg_draft_counts *counts)
{
    struct sg_reply *reply;
    struct sg_error err;
    CHECK(sg_session_open(s, e, n_ctx, &err) == SG_OK);
    CHECK(sg_reply_open(&reply, e, o, prompt, n, &err) == SG_OK);
    CHECK(sg_eval(e, &(struct sg_feed){.session = *s, .ids = prompt, .n = n, .n_logits = 1}, 1, &err) == SG_OK);
    if (draft) {
        sg_draft_reset(draft);
        sg_draft_accept(draft, prompt, n);
    }
    CHECKF(sg_generate(*s, reply, draft, keep, t, counts, &err) == SG_OK, "%s", err.message);
    sg_reply_close(reply);
}

TEST(speculation_changes_nothing)
{
    struct sg_engine *e;
    char path[512];
    snprintf(path, sizeof path, "%s", test_path("models/q1-tied.gguf"));
    struct sg_options options = {.model_path = path, .n_threads = 2};
    if (!CHECK(sg_open(&e, &options, NULL) == SG_OK))
        return;
    size_t n_vocab = sg_info(e)->n_vocab, proposed = 0, accepted = 0;
    struct sg_draft *draft;
    CHECK(sg_draft_open(&draft, e, 1000, NULL) == SG_OK);
    for (int round = 0; round < 25; round++) {
        int32_t prompt[100];
        size_t n = 20 + test_below(60), period = 1 + test_below(10);
        for (size_t i = 0; i < n; i++) /* repetitive, so that there is something to guess */
            prompt[i] = i < period ? (int32_t)test_below(n_vocab) : prompt[i - period];
        struct sg_reply_options o = {.n_predict = (int64_t)test_below(120), .think_budget = -1, .ignore_eos = round % 2};
        sg_sampling_defaults(e, &o.sampling);
        o.sampling.seed = test_random();
        o.sampling.temperature = round % 3 ? 0.0f : 0.4f;
        size_t n_ctx = round % 4 ? 300 : n + test_below(50) + 1;
        struct trace *plain = calloc(1, sizeof *plain), *guessed = calloc(1, sizeof *guessed);
        plain->stop_after = guessed->stop_after = round % 5 ? 0 : 1 + test_below(40);
        struct sg_session *a, *b;
        struct sg_draft_counts counts;
        run(e, NULL, prompt, n, &o, n_ctx, plain, &a, NULL);
        sg_draft_timing(draft, 1, 1.0); /* pretend that further rows cost next to nothing: many guesses */
        sg_draft_timing(draft, 8, 1.0);
        run(e, draft, prompt, n, &o, n_ctx, guessed, &b, &counts);
        CHECKF(plain->n == guessed->n && memcmp(plain->ids, guessed->ids, plain->n * sizeof *plain->ids) == 0, "round %d", round);
        CHECK(plain->len == guessed->len && memcmp(plain->text, guessed->text, plain->len) == 0 && plain->finish == guessed->finish);
        CHECKF(sg_length(a) == sg_length(b) && memcmp(sg_ids(a), sg_ids(b), sg_length(a) * sizeof(int32_t)) == 0, "round %d: %zu and %zu positions", round, sg_length(a), sg_length(b));
        CHECK(sg_logits(a) && sg_logits(b) && memcmp(sg_logits(a), sg_logits(b), n_vocab * sizeof(float)) == 0);
        proposed += counts.proposed;
        accepted += counts.accepted;
        sg_session_close(a);
        sg_session_close(b);
        free(plain);
        free(guessed);
    }
    CHECKF(proposed > 100 && accepted > 20 && accepted < proposed, "%zu proposed, %zu accepted", proposed, accepted);
    sg_draft_close(draft);
    sg_close(e);
}
