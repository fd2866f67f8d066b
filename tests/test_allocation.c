/* The token loop allocates nothing: evaluation, sampling and detokenization work in memory
 * that was there before. Counted by standing in front of malloc, which sanitizers do too,
 * so this test is left out under them. */
#include "check.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

#if defined(__GLIBC__) && !defined(SANITIZED)
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "engine.h"
#include "error.h"

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

static atomic_size_t allocations, live;
static atomic_size_t failing; /* this allocation fails; 0: none */

static bool may_have(void) { return atomic_fetch_add(&allocations, 1) + 1 != atomic_load(&failing); }

static void *counted(void *p)
{
    if (p)
        atomic_fetch_add(&live, 1);
    return p;
}

void *malloc(size_t n) { return may_have() ? counted(__libc_malloc(n)) : NULL; }

void *calloc(size_t n, size_t size) { return may_have() ? counted(__libc_calloc(n, size)) : NULL; }

void *aligned_alloc(size_t alignment, size_t n) { return may_have() ? counted(__libc_memalign(alignment, n)) : NULL; }

void *realloc(void *p, size_t n)
{
    if (!may_have())
        return NULL;
    return p ? __libc_realloc(p, n) : counted(__libc_malloc(n));
}

void free(void *p)
{
    if (p)
        atomic_fetch_sub(&live, 1);
    __libc_free(p);
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

static bool ignore_step(void *arg, const struct sg_step *step)
{
    (void)arg;
    (void)step;
    return true;
}

/* Opens a model, tokenizes, renders and writes some tokens. */
static enum sg_status use_everything(const char *path, struct sg_error *err)
{
    struct sg_engine *e = NULL;
    struct sg_session *s = NULL, *fork = NULL;
    struct sg_reply *reply = NULL;
    struct sg_draft *draft = NULL;
    int32_t *ids = NULL;
    char *text = NULL;
    size_t n = 0, len;
    const struct sg_str stop[] = {{"no such text", 12}}, tool = {"{\"type\":\"function\"}", 19};
    const struct sg_message message = {.role = {"user", 4}, .content = {"Hello", 5}};
    const struct sg_conversation c = {.messages = &message, .n_messages = 1, .tools = &tool, .n_tools = 1, .add_generation_prompt = true};
    struct sg_reply_options r = {.n_predict = 5, .think_budget = 2, .ignore_eos = true, .loop_guard = true, .stop = stop, .n_stop = 1};
    enum sg_status status = sg_open(&e, &(struct sg_options){.model_path = path, .n_threads = 1}, err);
    if (status == SG_OK)
        status = sg_render(e, &c, &text, &len, &ids, &n, err);
    if (status == SG_OK) {
        free(ids);
        status = sg_tokenize(e, text, len, SG_PARSE_SPECIAL, &ids, &n, err);
    }
    free(text);
    text = NULL;
    if (status == SG_OK)
        status = sg_detokenize(e, ids, n, true, &text, &len, err);
    if (status == SG_OK)
        status = sg_session_open(&s, e, 100, err);
    if (status == SG_OK) {
        sg_sampling_defaults(e, &r.sampling);
        r.sampling.repeat_penalty = 1.1f;
        r.sampling.dry_multiplier = 0.5f;
        status = sg_reply_open(&reply, e, &r, ids, n, err);
    }
    if (status == SG_OK)
        status = sg_draft_open(&draft, e, 100, err);
    if (status == SG_OK) {
        status = sg_eval(e, &(struct sg_feed){.session = s, .ids = ids, .n = MIN(n, (size_t)90), .n_logits = 1}, 1, err);
        CHECK(sg_length(s) == (status == SG_OK ? MIN(n, (size_t)90) : 0));
    }
    if (status == SG_OK)
        status = sg_fork(&fork, s, 3, 50, err);
    if (status == SG_OK)
        status = sg_eval(e, &(struct sg_feed){.session = fork, .ids = ids, .n = 1, .n_logits = 1}, 1, err);
    if (status == SG_OK)
        status = sg_generate(s, reply, draft, ignore_step, NULL, NULL, err);
    sg_draft_close(draft);
    sg_reply_close(reply);
    sg_session_close(s);
    sg_session_close(fork);
    free(ids);
    free(text);
    sg_close(e);
    return status;
}

/* Then the call says so, and nothing leaks. */
TEST(every_allocation_may_fail)
{
    char path[512];
    struct sg_error err;
    snprintf(path, sizeof path, "%s", test_path("models/mini-q1.gguf"));
    CHECK(use_everything(path, &err) == SG_OK); /* what is made only once exists now */
    for (size_t n = 1; n < 10000; n++) {
        size_t before = atomic_load(&live);
        err = (struct sg_error){.status = SG_OK};
        atomic_store(&failing, atomic_load(&allocations) + n);
        enum sg_status status = use_everything(path, &err);
        bool reached = atomic_load(&allocations) >= atomic_load(&failing);
        atomic_store(&failing, 0);
        CHECKF(atomic_load(&live) == before, "allocation %zu: %zd blocks leak", n, (ssize_t)(atomic_load(&live) - before));
        if (!reached) {
            CHECK(status == SG_OK && n > 30);
            break;
        }
        /* Some are for files of the system that tell about memory and CPUs: without them it goes on. */
        CHECKF(status == SG_OK || (status == SG_NO_MEMORY && err.status == status && strstr(err.message, "memory")),
               "allocation %zu: status %d, %s", n, (int)status, err.message);
    }
}

/* Reads a grammar, follows an answer through it and asks for masks. */
static enum sg_status use_grammar(struct sg_engine *e, enum sg_grammar_kind kind, const char *text, const char *answer,
                                  struct sg_error *err)
{
    struct sg_grammar *grammar = NULL;
    struct sg_matcher *matcher = NULL;
    uint32_t bits[64];
    bool failed = false;
    enum sg_status status = sg_grammar_open(&grammar, e, kind, &(struct sg_str){text, strlen(text)}, 1, err);
    if (status == SG_OK)
        status = sg_matcher_open(&matcher, grammar, err);
    for (size_t i = 0; status == SG_OK && !failed && answer[i]; i++) {
        const struct sg_constraint *c = sg_matcher_constraint(matcher);
        struct ids ids = {0};
        bool given_up;
        memset(bits, 0xFF, sizeof bits);
        c->mask(c->arg, bits);
        if (tokenizer_encode(e->tokenizer, answer + i, 1, false, &ids, NULL) == SG_OK && !ids.failed)
            c->accept(c->arg, ids.data[0]);
        else
            failed = true;
        ids_free(&ids);
        sg_matcher_complete(matcher, &given_up);
        failed |= given_up;
    }
    if (status == SG_OK && !failed)
        CHECKF(sg_matcher_complete(matcher, &failed) && !failed, "%s", answer);
    sg_matcher_close(matcher);
    sg_grammar_close(grammar);
    return failed ? fail(err, SG_NO_MEMORY, "out of memory while matching") : status;
}

static struct sg_engine *open_vocabulary(void)
{
    struct sg_engine *e = NULL;
    struct sg_options o = {.model_path = test_path("models/mini-q1.gguf"), .weights_unneeded = true};
    CHECK(sg_open(&e, &o, NULL) == SG_OK);
    return e;
}

TEST(every_allocation_of_a_grammar_may_fail)
{
    static const char schema[] =
        "{\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"^[ab]+$\",\"maxLength\":4},\"b\":{\"anyOf\":[{\"type\":\"integer\","
        "\"multipleOf\":3,\"maximum\":20},{\"$ref\":\"#\"}]}},\"required\":[\"a\"],\"additionalProperties\":{\"enum\":[1,\"x\"]}}";
    static const struct {
        enum sg_grammar_kind kind;
        const char *text, *answer;
    } cases[] = {
        {SG_GRAMMAR_SCHEMA, schema, "{\"a\":\"ab\", \"b\":{\"a\":\"b\"},\"c\":1}"},
        {SG_GRAMMAR_FIELDS, "x int, y bool: really", "{\"x\":-5,\"y\":true}"},
        {SG_GRAMMAR_REGEX, "(a|[^a-c]{2,80}|\\d+)*b{2,3}", "a12xyzabb"},
        {SG_GRAMMAR_GBNF, "root ::= \"a\" root \"b\" | x{1,100}\nx ::= [0-9] | \"\"", "aa12bb"},
        {SG_GRAMMAR_CHOICES, "one", "one"},
    };
    enum {
        TREE = 9
    }; /* allocations that stay with the engine once its vocabulary's tree is built */
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sg_engine *e = NULL;
        bool reached = true;
        size_t n = 0;
        while (reached && ++n < 20000) {
            struct sg_error err = {.status = SG_OK};
            if (n % 50 == 1) { /* now and then an engine that has not built the tree yet */
                sg_close(e);
                e = open_vocabulary();
                if (!e)
                    return;
            }
            bool had_tree = e->trie;
            size_t before = atomic_load(&live);
            atomic_store(&failing, atomic_load(&allocations) + n);
            enum sg_status status = use_grammar(e, cases[i].kind, cases[i].text, cases[i].answer, &err);
            reached = atomic_load(&allocations) >= atomic_load(&failing);
            atomic_store(&failing, 0);
            size_t expected = before + (!had_tree && e->trie ? TREE : 0);
            CHECKF(atomic_load(&live) == expected, "case %zu, allocation %zu: %zd blocks leak", i, n,
                   (ssize_t)(atomic_load(&live) - expected));
            CHECKF(status == SG_OK || (reached && status == SG_NO_MEMORY), "case %zu, allocation %zu: status %d, %s", i, n, (int)status,
                   err.message);
        }
        sg_close(e);
        CHECKF(n > 20 && n < 20000, "case %zu: %zu allocations", i, n);
    }
}

/* What is said about memory before it is spent is what is spent. */
TEST(memory_is_exact)
{
    struct sg_engine *e;
    struct sg_session *s;
    struct sg_memory m;
    char path[512];
    snprintf(path, sizeof path, "%s", test_path("models/q1-tied.gguf"));
    if (!CHECK(sg_open(&e, &(struct sg_options){.model_path = path, .n_threads = 2}, NULL) == SG_OK))
        return;
    size_t n_ctx = 1000 + test_below(1000);
    sg_memory(e, n_ctx, &m);
    CHECK(m.engine_private >= e->scratch.size && e->scratch.used == e->scratch.size);
    size_t before = atomic_load(&allocations);
    CHECK(sg_session_open(&s, e, n_ctx, NULL) == SG_OK);
    CHECK(atomic_load(&allocations) == before + 1); /* the struct; the rest is one mapping */
    CHECKF(m.session == sizeof *s + s->arena.size && s->arena.used == s->arena.size, "%zu said, %zu taken", m.session,
           sizeof *s + s->arena.size);
    int32_t *ids = calloc(n_ctx, sizeof *ids);
    CHECK(sg_eval(e, &(struct sg_feed){.session = s, .ids = ids, .n = n_ctx}, 1, NULL) == SG_OK);
    CHECKF(m.kv_full == s->n_blocks * e->kv.block_bytes, "%zu said, %zu taken", m.kv_full, s->n_blocks * e->kv.block_bytes);
    free(ids);
    sg_session_close(s);
    sg_close(e);
}
#endif
