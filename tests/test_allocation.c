/* The token loop allocates nothing: evaluation, sampling and detokenization work in memory
 * that was there before. Counted by standing in front of malloc, which sanitizers do too,
 * so this test is left out under them. */
#include "check.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#endif

#if defined(__GLIBC__) && !defined(SANITIZED)
#include <stdatomic.h>
#include <stdlib.h>

#include "signum.h"

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);

static atomic_size_t allocations;

void *malloc(size_t n)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(p, n);
}

TEST(no_allocation_in_the_token_loop)
{
    struct sg_engine *e;
    struct sg_session *s;
    struct sg_reply *reply;
    char path[512];
    const char *golden = test_path("models/q1-tied.gguf");
    size_t n = 0;
    while ((path[n] = golden[n]))
        n++;
    struct sg_options o = {.model_path = path, .n_threads = 2};
    if (!CHECK(sg_open(&e, &o, NULL) == SG_OK))
        return;
    const int32_t prompt[] = {5, 6, 7};
    struct sg_reply_options r = {.n_predict = -1, .think_budget = -1, .ignore_eos = true, .loop_guard = true};
    sg_sampling_defaults(e, &r.sampling);
    r.sampling.seed = 1;
    r.sampling.repeat_penalty = 1.1f;
    r.sampling.dry_multiplier = 0.5f;
    const struct sg_str stop[] = {{"no such text", 12}};
    r.stop = stop;
    r.n_stop = 1;
    CHECK(sg_session_open(&s, e, 400, NULL) == SG_OK);
    CHECK(sg_reply_open(&reply, e, &r, prompt, 3, NULL) == SG_OK);
    CHECK(sg_eval(e, &(struct sg_feed){.session = s, .ids = prompt, .n = 3, .n_logits = 1}, 1, NULL) == SG_OK);
    size_t before = atomic_load(&allocations), tokens = 0;
    CHECK(before > 0); /* else malloc was not ours */
    for (struct sg_step step = {0}; tokens < 300; tokens++) {
        if (!CHECK(sg_reply_next(reply, sg_logits(s), &step, NULL) == SG_OK) || step.finish != SG_FINISH_NONE)
            break;
        CHECK(sg_eval(e, &(struct sg_feed){.session = s, .ids = &step.id, .n = 1, .n_logits = 1}, 1, NULL) == SG_OK);
    }
    /* KV blocks come from the pool's slabs: a slab may have been mapped and listed. */
    size_t during = atomic_load(&allocations) - before;
    CHECKF(during <= 1, "%zu allocations in %zu tokens", during, tokens);
    CHECK(tokens >= 50);
    sg_reply_close(reply);
    sg_session_close(s);
    sg_close(e);
}
#endif
