#include "reader.h"

#include <stdlib.h>
#include <string.h>

#include "base.h"

/* Small, so that little is lost or waited for when it must stop; large enough that the
 * matrix kernels are as fast as they get. */
enum {
    PIECE = 32
};

static void *work(void *arg)
{
    struct reader *r = arg;
    size_t done = sg_common_prefix(r->session, r->ids, r->n);
    sg_rewind(r->session, done);
    while (done < r->n && !atomic_load(&r->stop)) {
        struct sg_feed feed = {.session = r->session, .ids = r->ids + done, .n = MIN(r->n - done, (size_t)PIECE)};
        if (sg_eval(r->engine, &feed, 1, NULL) != SG_OK)
            break;
        done += feed.n;
    }
    return NULL;
}

void reader_start(struct reader *r, int32_t *ids, size_t n)
{
    if (r->running || n == 0) {
        free(ids);
        return;
    }
    r->ids = ids;
    r->n = n;
    atomic_store(&r->stop, false);
    /* Signals are the main thread's business. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    r->running = pthread_create(&r->thread, NULL, work, r) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!r->running) {
        free(r->ids);
        r->ids = NULL;
    }
}

void reader_stop(struct reader *r, const int32_t *ids, size_t n)
{
    if (!r->running)
        return;
    bool useful = n >= r->n && memcmp(ids, r->ids, r->n * sizeof *ids) == 0;
    atomic_store(&r->stop, true);
    sig_atomic_t before = *r->interrupt;
    if (!useful)
        *r->interrupt = 1;
    pthread_join(r->thread, NULL);
    if (!useful)
        *r->interrupt = before;
    r->running = false;
    free(r->ids);
    r->ids = NULL;
}
