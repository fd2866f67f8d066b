/* The small parts that everything stands on: pool, arena, buffers, messages, KV blocks. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arena.h"
#include "buf.h"
#include "check.h"
#include "error.h"
#include "kv.h"
#include "pool.h"

struct tally {
    atomic_uchar *seen;
    size_t grain, n;
    atomic_bool bad_piece;
};

static void mark(void *arg, size_t begin, size_t end, int worker)
{
    struct tally *t = arg;
    (void)worker;
    if (begin % t->grain != 0 || (end != t->n && end - begin != t->grain) || end > t->n)
        atomic_store(&t->bad_piece, true);
    for (size_t i = begin; i < end; i++)
        atomic_fetch_add(&t->seen[i], 1);
}

/* Every index exactly once, whatever the number of threads, with pauses that let workers fall asleep. */
TEST(pool_covers_everything_once)
{
    const int threads[] = {1, 2, 3, 7, 16};
    for (size_t k = 0; k < sizeof threads / sizeof *threads; k++) {
        struct pool *p;
        if (!CHECK(pool_open(&p, threads[k], NULL) == SG_OK))
            return;
        CHECK(pool_threads(p) == threads[k]);
        for (int round = 0; round < 300; round++) {
            struct tally t = {.n = test_below(400), .grain = test_below(20) + 1};
            t.seen = calloc(t.n + 1, 1);
            pool_run(p, t.n, t.grain, mark, &t);
            bool all = !atomic_load(&t.bad_piece);
            for (size_t i = 0; i < t.n; i++)
                all &= atomic_load(&t.seen[i]) == 1;
            CHECKF(all && atomic_load(&t.seen[t.n]) == 0, "%d threads, %zu in pieces of %zu", threads[k], t.n, t.grain);
            free(t.seen);
            if (round % 100 == 50)
                nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        }
        pool_close(p);
    }
    pool_close(NULL);
}

TEST(arena_measures_exactly)
{
    for (int round = 0; round < 50; round++) {
        size_t sizes[20], n = test_below(20) + 1;
        struct arena measure = {0}, a;
        for (size_t i = 0; i < n; i++) {
            sizes[i] = test_below(100000);
            CHECK(arena_take(&measure, sizes[i]) == NULL);
        }
        if (!CHECK(arena_map(&a, measure.used)))
            return;
        for (size_t i = 0; i < n; i++) {
            char *p = arena_take(&a, sizes[i]);
            CHECK(p && (uintptr_t)p % ARENA_ALIGN == 0);
            memset(p, 1, sizes[i]);
        }
        CHECK(a.used == measure.used);
        arena_unmap(&a);
    }
    CHECK(pages_map(0) == NULL && pages_map(SIZE_MAX) == NULL);
}

TEST(buffers)
{
    struct buf b = {0};
    char expected[4096] = "";
    for (int i = 0; i < 200; i++) {
        buf_printf(&b, "%d;", i);
        sprintf(expected + strlen(expected), "%d;", i);
    }
    CHECK(!b.failed && strcmp(b.data, expected) == 0);
    buf_drop(&b, 4);
    CHECK(strcmp(b.data, expected + 4) == 0);
    buf_drop(&b, 100000);
    CHECK(b.len == 0 && b.data[0] == 0);
    buf_append(&b, "x", SIZE_MAX); /* cannot be: must fail, not wrap */
    CHECK(b.failed);
    buf_puts(&b, "ignored");
    CHECK(b.len == 0);
    buf_free(&b);
    struct ids v = {0};
    for (int32_t i = 0; i < 1000; i++)
        ids_push(&v, i);
    CHECK(v.len == 1000 && v.data[999] == 999);
    ids_append(&v, v.data, SIZE_MAX / 2);
    CHECK(v.failed && v.len == 1000);
    ids_free(&v);
}

TEST(error_messages)
{
    struct sg_error err;
    char longer[3000];
    memset(longer, 'a', sizeof longer);
    for (size_t i = 900; i + 1 < sizeof longer; i += 2)
        memcpy(longer + i, "\xC3\xA9", 2); /* cut inside a character must not happen */
    longer[sizeof longer - 1] = 0;
    CHECK(fail(&err, SG_FAIL, "%s", longer) == SG_FAIL && err.status == SG_FAIL);
    size_t len = strlen(err.message);
    CHECK(len >= sizeof err.message - 3 && (unsigned char)err.message[len - 1] == 0xA9);
    CHECK(fail(NULL, SG_USAGE, "x") == SG_USAGE);
    char shown[ESCAPED_MAX];
    CHECK(strcmp(escaped(shown, "a\x1B[2Jb\xFF\xC3\xA9\\\x9B", 10), "a\\x1B[2Jb\\xFF\xC3\xA9\\\\") == 0);
    CHECK(strcmp(escaped(shown, "\xC2\x9B", 2), "\\xC2\\x9B") == 0); /* a C1 control in UTF-8 */
    CHECK(strlen(escaped(shown, longer, 2000)) < ESCAPED_MAX);
    CHECK(strcmp(escaped(shown, "", 0), "") == 0);
}

/* Random takes, shares and releases: never the same block twice, never over the budget. */
TEST(kv_blocks)
{
    struct kv_pool p;
    kv_pool_init(&p, SG_KV_F16, SG_KV_F32, 2, 3, 32, 0);
    CHECK(p.block_bytes == 2 * 3 * 64 * 32 * (2 + 4));
    CHECK(kv_take(&p) == NULL);
    kv_pool_init(&p, SG_KV_Q8_0, SG_KV_Q8_0, 2, 3, 30, 0);
    CHECK(p.block_bytes == 2 * 3 * 64 * (32 + 4 + 30 + 4)); /* keys are padded to fours */
    kv_pool_init(&p, SG_KV_F16, SG_KV_F32, 2, 3, 32, 0);
    const size_t limit = 37;
    p.budget = limit * p.block_bytes + p.block_bytes / 2;
    struct kv_block *held[200];
    size_t n = 0;
    for (int round = 0; round < 5000; round++) {
        if (n < 200 && test_below(2)) {
            struct kv_block *b = n && test_below(3) == 0 ? kv_share(held[test_below(n)]) : kv_take(&p);
            if (b)
                held[n++] = b;
        } else if (n) {
            size_t i = test_below(n);
            kv_release(&p, held[i]);
            held[i] = held[--n];
        }
        size_t distinct = 0;
        for (size_t i = 0; i < n && round % 50 == 0; i++) {
            bool first = true;
            uint32_t refs = 0;
            for (size_t k = 0; k < n; k++) {
                refs += held[k] == held[i];
                first &= !(k < i && held[k] == held[i]);
            }
            distinct += first;
            CHECK(refs == held[i]->refs);
        }
        CHECK(distinct <= limit && p.n_blocks <= limit);
    }
    while (n)
        kv_release(&p, held[--n]);
    kv_pool_close(&p);
}
