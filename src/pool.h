/* pool.h: worker threads that run one loop at a time. Knows nothing of tensors.
 * pool.c is pthreads, pool_omp.c the same interface on OpenMP. Layer: base. */
#ifndef SIGNUM_POOL_H
#define SIGNUM_POOL_H

#include "error.h"

struct pool;

/* Works on [begin, end). worker < pool_threads() tells whose scratch to use. */
typedef void pool_fn(void *arg, size_t begin, size_t end, int worker);

enum sg_status pool_open(struct pool **out, int n_threads, struct sg_error *err);
void pool_close(struct pool *pool); /* NULL is fine */
int pool_threads(const struct pool *pool);

/* Runs fn over [0, n) in disjoint pieces of `grain` (the last may be shorter),
 * claimed in ascending order by whoever is free, and returns when all are done.
 * The caller works too. Which worker gets which piece is not determined, so
 * results must not depend on it. */
void pool_run(struct pool *pool, size_t n, size_t grain, pool_fn *fn, void *arg);

/* Nanoseconds that callers of pool_run spent waiting for workers, in total. */
uint64_t pool_wait_ns(const struct pool *pool);

#endif
