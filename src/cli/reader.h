/* reader.h: evaluates tokens in the background while the user types. Layer: cli. */
#ifndef SIGNUM_READER_H
#define SIGNUM_READER_H

#include <pthread.h>
#include <stdatomic.h>

#include "signum.h"

/* While it runs the session belongs to it: only reader_stop may be called, and the engine
 * may only be asked for what needs no evaluation (signum.h, Threads). */
struct reader {
    struct sg_engine *engine;
    struct sg_session *session;
    volatile sig_atomic_t *interrupt; /* what the engine polls */
    int32_t *ids;
    size_t n;
    pthread_t thread;
    bool running;
    atomic_bool stop;
};

/* Makes the session hold ids[0..n) (malloc'ed; the reader frees them): keeps the common
 * prefix, evaluates the rest in small pieces. Errors end it silently; whoever evaluates next
 * meets them again. */
void reader_start(struct reader *r, int32_t *ids, size_t n);

/* Ends it and gives the session back. ids: what is wanted next; when the reader was working
 * towards the same it may finish its piece, else it is interrupted at once. */
void reader_stop(struct reader *r, const int32_t *ids, size_t n);

#endif
