/* The pool on POSIX threads.
 *
 * A decode step is some three hundred short loops, so a worker that has finished one
 * spins for a while before it sleeps: a sleeping pool costs 24 to 65 us per loop, a
 * spinning one 0.3. With more threads than CPUs a spinning worker would keep the
 * working one from its CPU, so then nobody spins.
 *
 * One word, `state`, says everything about the current loop:
 *
 *     generation << 32 | OPEN | workers inside
 *
 * A worker joins by incrementing it while OPEN is set, so a worker that the system
 * has put aside is not waited for: the others do its share. The caller closes the
 * loop when nothing is left to claim and waits for those that are inside. */
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "cpu.h"
#include "fpenv.h"

#define OPEN ((uint64_t)1 << 31)
#define INSIDE (OPEN - 1)

enum {
    SPIN_US = 100
};

struct worker {
    struct pool *pool;
    pthread_t thread;
    int index; /* 1 ..; 0 is the caller */
};

struct pool {
    int n_threads, n_started;
    bool may_spin;
    struct worker *workers;

    _Alignas(64) atomic_uint_fast64_t state;
    atomic_bool quit;
    /* the loop; written only while closed and nobody is inside */
    pool_fn *fn;
    void *arg;
    size_t n, grain;
    _Alignas(64) atomic_size_t next;

    uint64_t wait_ns;

    _Alignas(64) atomic_int sleepers;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

static void pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void claim_all(struct pool *p, int worker)
{
    for (;;) {
        size_t begin = atomic_fetch_add_explicit(&p->next, p->grain, memory_order_relaxed);
        if (begin >= p->n)
            return;
        p->fn(p->arg, begin, MIN(begin + p->grain, p->n), worker);
    }
}

/* Whether there is a loop to join that this worker has not been in. */
static bool has_work(uint64_t state, uint64_t last) { return (state & OPEN) && state >> 32 != last; }

static void wait_for_work(struct pool *p, uint64_t last)
{
    if (p->may_spin) {
        uint64_t until = clock_ns() + SPIN_US * 1000;
        do {
            for (int i = 0; i < 64; i++) {
                if (has_work(atomic_load_explicit(&p->state, memory_order_acquire), last) ||
                    atomic_load_explicit(&p->quit, memory_order_relaxed))
                    return;
                pause_cpu();
            }
        } while (clock_ns() < until);
    }
    pthread_mutex_lock(&p->mutex);
    /* Announced before the last look at state, as pool_run looks at sleepers after changing it. */
    atomic_fetch_add(&p->sleepers, 1);
    while (!has_work(atomic_load(&p->state), last) && !atomic_load(&p->quit))
        pthread_cond_wait(&p->wake, &p->mutex);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->mutex);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    uint64_t last = 0; /* generations begin at 1 */
    fp_enter();
    while (!atomic_load_explicit(&p->quit, memory_order_relaxed)) {
        uint64_t state = atomic_load_explicit(&p->state, memory_order_acquire);
        if (!has_work(state, last)) {
            wait_for_work(p, last);
            continue;
        }
        if (!atomic_compare_exchange_weak_explicit(&p->state, &state, state + 1, memory_order_acq_rel, memory_order_relaxed))
            continue;
        last = state >> 32;
        claim_all(p, w->index);
        atomic_fetch_sub_explicit(&p->state, 1, memory_order_release);
    }
    return NULL;
}

enum sg_status pool_open(struct pool **out, int n_threads, struct sg_error *err)
{
    *out = NULL;
    struct pool *p = aligned_alloc(64, ROUND_UP(sizeof *p, (size_t)64));
    if (!p)
        return fail_memory(err, sizeof *p, "the thread pool");
    memset(p, 0, sizeof *p);
    p->n_threads = MAX(n_threads, 1);
    p->may_spin = p->n_threads <= cpu_usable();
    atomic_init(&p->state, 0);
    atomic_init(&p->quit, false);
    atomic_init(&p->next, 0);
    atomic_init(&p->sleepers, 0);
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wake, NULL);
    size_t bytes = sizeof *p->workers * (size_t)p->n_threads;
    p->workers = calloc(1, bytes);
    if (!p->workers) {
        pool_close(p);
        return fail_memory(err, bytes, "the thread pool");
    }
    /* Kernels hold their tile on the stack, up to 208 KB; some C libraries give threads 128 KB. */
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, (size_t)1 << 20);
    for (int i = 1; i < p->n_threads; i++) {
        struct worker *w = &p->workers[i - 1];
        *w = (struct worker){.pool = p, .index = i};
        int code = pthread_create(&w->thread, &attr, work, w);
        if (code != 0) {
            pthread_attr_destroy(&attr);
            pool_close(p);
            return fail(err, SG_FAIL, "cannot start thread %d of %d: %s", i + 1, n_threads, strerror(code));
        }
        p->n_started++;
    }
    pthread_attr_destroy(&attr);
    *out = p;
    return SG_OK;
}

void pool_close(struct pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->mutex);
    atomic_store(&p->quit, true);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->mutex);
    for (int i = 0; i < p->n_started; i++)
        pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mutex);
    free(p->workers);
    free(p);
}

int pool_threads(const struct pool *p) { return p->n_threads; }
uint64_t pool_wait_ns(const struct pool *p) { return p->wait_ns; }

void pool_run(struct pool *p, size_t n, size_t grain, pool_fn *fn, void *arg)
{
    grain = MAX(grain, (size_t)1);
    if (n == 0)
        return;
    if (p->n_threads == 1 || n <= grain) {
        for (size_t begin = 0; begin < n; begin += grain)
            fn(arg, begin, MIN(begin + grain, n), 0);
        return;
    }
    p->fn = fn;
    p->arg = arg;
    p->n = n;
    p->grain = grain;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    uint64_t generation = (atomic_load_explicit(&p->state, memory_order_relaxed) >> 32) + 1;
    atomic_store(&p->state, (generation << 32 & ~(INSIDE | OPEN)) | OPEN);
    if (atomic_load(&p->sleepers) > 0) {
        pthread_mutex_lock(&p->mutex);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->mutex);
    }
    claim_all(p, 0);
    uint64_t state = atomic_fetch_and(&p->state, ~OPEN) & ~OPEN;
    if (!(state & INSIDE))
        return;
    uint64_t begin = clock_ns();
    for (unsigned turns = 0; state & INSIDE; turns++) {
        if (p->may_spin && turns < 100000)
            pause_cpu();
        else
            sched_yield();
        state = atomic_load_explicit(&p->state, memory_order_acquire);
    }
    p->wait_ns += clock_ns() - begin;
}
