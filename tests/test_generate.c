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

static enum sg_status run(struct sg_engine *e, struct sg_draft *draft, const int32_t *prompt, size_t n, const struct sg_reply_options *o,
                          size_t n_ctx, struct trace *t, struct sg_session **s, struct sg_draft_counts *counts)
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
    enum sg_status status = sg_generate(*s, reply, draft, keep, t, counts, &err);
    sg_reply_close(reply);
    return status;
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
        CHECK(run(e, NULL, prompt, n, &o, n_ctx, plain, &a, NULL) == SG_OK);
        sg_draft_timing(draft, 1, 1.0); /* pretend that further rows cost next to nothing: many guesses */
        sg_draft_timing(draft, 8, 1.0);
        CHECK(run(e, draft, prompt, n, &o, n_ctx, guessed, &b, &counts) == SG_OK);
        CHECKF(plain->n == guessed->n && memcmp(plain->ids, guessed->ids, plain->n * sizeof *plain->ids) == 0, "round %d", round);
        CHECK(plain->len == guessed->len && memcmp(plain->text, guessed->text, plain->len) == 0 && plain->finish == guessed->finish);
        CHECKF(sg_length(a) == sg_length(b) && memcmp(sg_ids(a), sg_ids(b), sg_length(a) * sizeof(int32_t)) == 0,
               "round %d: %zu and %zu positions", round, sg_length(a), sg_length(b));
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

/* Guesses may need a KV block that the token itself does not: then they must not be what fails. */
/* Expectations come before the draft's own guesses, and only as long as they are right. */
TEST(speculation_expects)
{
    struct sg_draft *d;
    int32_t out[SG_DRAFT_MAX];
    double chance[SG_DRAFT_MAX];
    CHECK(sg_draft_open(&d, NULL, 100, NULL) == SG_OK);
    sg_draft_accept(d, (const int32_t[]){1, 2, 3, 4, 5, 1, 2, 3}, 8);
    CHECK(sg_draft_guess(d, out, chance, 2) == 2 && out[0] == 4 && out[1] == 5 && chance[0] > chance[1]);
    sg_draft_expect(d, (const int32_t[]){7, 8, 9}, 3);
    CHECK(sg_draft_guess(d, out, chance, 9) == 3 && out[0] == 7 && out[2] == 9 && chance[2] < chance[0] && chance[0] <= 1);
    sg_draft_accept(d, (const int32_t[]){7}, 1);
    CHECK(sg_draft_guess(d, out, chance, 9) == 2 && out[0] == 8);
    sg_draft_accept(d, (const int32_t[]){1}, 1); /* not 8 */
    CHECK(sg_draft_guess(d, out, chance, 1) == 1 && out[0] == 2);
    for (int i = 0; i < 200; i++) { /* never right: not worth a row in the end */
        sg_draft_expect(d, (const int32_t[]){50, 51}, 2);
        sg_draft_accept(d, (const int32_t[]){60}, 1);
    }
    sg_draft_expect(d, (const int32_t[]){50, 51}, 2);
    CHECK(sg_draft_propose(d, out, 9) == 0);
    sg_draft_reset(d);
    CHECK(sg_draft_guess(d, out, chance, 9) == 0);
    sg_draft_accept(d, (const int32_t[]){1, 2, 3}, 3);
    CHECK(sg_draft_guess(d, out, chance, 9) == 0); /* nothing of before */
    sg_draft_close(d);
}

TEST(speculation_at_the_kv_budget)
{
    struct sg_engine *e;
    char path[512];
    snprintf(path, sizeof path, "%s", test_path("models/q1-tied.gguf"));
    struct sg_options options = {.model_path = path, .n_threads = 1};
    if (!CHECK(sg_open(&e, &options, NULL) == SG_OK))
        return;
    struct sg_memory memory;
    sg_memory(e, 64, &memory);
    sg_close(e);
    options.kv_budget = 2 * memory.kv_block;
    CHECK(sg_open(&e, &options, NULL) == SG_OK);
    struct sg_draft *draft;
    CHECK(sg_draft_open(&draft, e, 1000, NULL) == SG_OK);
    for (int round = 0; round < 5; round++) {
        int32_t prompt[60];
        for (size_t i = 0; i < 60; i++)
            prompt[i] = i < 2 ? (int32_t)test_below(300) : prompt[i - 2];
        struct sg_reply_options o = {.n_predict = -1, .think_budget = -1, .ignore_eos = true};
        sg_sampling_defaults(e, &o.sampling);
        o.sampling.temperature = 0;
        struct trace *plain = calloc(1, sizeof *plain), *guessed = calloc(1, sizeof *guessed);
        struct sg_session *s;
        CHECK(run(e, NULL, prompt, 60, &o, 1000, plain, &s, NULL) == SG_NO_MEMORY && sg_length(s) == 128);
        sg_session_close(s);
        sg_draft_timing(draft, 1, 1.0);
        sg_draft_timing(draft, 8, 1.0);
        CHECK(run(e, draft, prompt, 60, &o, 1000, guessed, &s, NULL) == SG_NO_MEMORY);
        CHECKF(sg_length(s) == 128 && plain->n == guessed->n && memcmp(plain->ids, guessed->ids, plain->n * sizeof *plain->ids) == 0,
               "%zu positions, %zu and %zu tokens", sg_length(s), plain->n, guessed->n);
        sg_session_close(s);
        free(plain);
        free(guessed);
    }
    sg_draft_close(draft);
    sg_close(e);
}
