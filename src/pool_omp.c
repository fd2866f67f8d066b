/* The pool on OpenMP: the same interface, the same results; `make OPENMP=1`. */
#include "pool.h"

#include <omp.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "fpenv.h"

struct pool {
    int n_threads;
};

enum sg_status pool_open(struct pool **out, int n_threads, struct sg_error *err)
{
    *out = malloc(sizeof **out);
    if (!*out)
        return fail_memory(err, sizeof **out, "the thread pool");
    (*out)->n_threads = MAX(n_threads, 1);
    return SG_OK;
}

void pool_close(struct pool *p) { free(p); }

int pool_threads(const struct pool *p) { return p->n_threads; }

/* OpenMP's barrier can not be timed from outside. */
uint64_t pool_wait_ns(const struct pool *p)
{
    (void)p;
    return 0;
}

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
    atomic_size_t next;
    atomic_init(&next, 0);
#pragma omp parallel num_threads(p->n_threads)
    {
        fenv_t saved = fp_enter(); /* OpenMP's threads have the mode that they were made in */
        int worker = omp_get_thread_num();
        for (;;) {
            size_t begin = atomic_fetch_add_explicit(&next, grain, memory_order_relaxed);
            if (begin >= n)
                break;
            fn(arg, begin, MIN(begin + grain, n), worker);
        }
        fp_leave(saved);
    }
}
