/* For measuring. How fast this machine reads memory with the engine's threads, the ceiling of decoding, which
 * reads every weight once per token; and how fast it multiplies, the ceiling of prefill. */
#include "engine.h"

#include <string.h>

#include "arena.h"
#include "clock.h"
#include "cpu.h"

enum {
    MEGABYTE = 1 << 20,
    MEASURE_MB = 256,
    PASSES = 8,
    PIECES = 16 /* per thread, about a millisecond each: a thread that starts late takes fewer */
};

struct reading {
    const uint64_t *data;
    uint64_t sums[MEASURE_MB]; /* kept, so that the loads can not be optimized away */
};

/* As fast as loads can be issued. */
static void read_megabytes(void *arg, size_t begin, size_t end, int worker)
{
    struct reading *r = arg;
    (void)worker;
    for (size_t mb = begin; mb < end; mb++) {
        const uint64_t *p = r->data + mb * (MEGABYTE / sizeof *p);
        uint64_t sum[8] = {0}; /* independent, so that loads and not additions are the limit */
        for (size_t i = 0; i < MEGABYTE / sizeof *p; i += 8)
            for (size_t k = 0; k < 8; k++)
                sum[k] += p[i + k];
        for (size_t k = 0; k < 8; k++)
            r->sums[mb] += sum[k];
    }
}

/* One addition after the other, which leaves the CPU's prefetchers time to run ahead: on Zen 3 20 GB/s
 * instead of 17. */
static void read_steadily(void *arg, size_t begin, size_t end, int worker)
{
    struct reading *r = arg;
    (void)worker;
    for (size_t mb = begin; mb < end; mb++) {
        const uint64_t *p = r->data + mb * (MEGABYTE / sizeof *p);
        uint64_t sum = 0;
        for (size_t i = 0; i < MEGABYTE / sizeof *p; i++) {
            sum += p[i];
            __asm__("" : "+r"(sum)); /* not several at once */
        }
        r->sums[mb] += sum;
    }
}

struct multiplying {
    uint64_t (*peak)(size_t rounds);
    size_t rounds; /* of a piece */
};

static void multiply_pieces(void *arg, size_t begin, size_t end, int worker)
{
    const struct multiplying *m = arg;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        m->peak(m->rounds);
}

/* Products per second. Like all here the best of several: what disturbs only lowers it. */
static double measure_peak(struct pool *pool, uint64_t (*peak)(size_t rounds))
{
    struct multiplying m = {.peak = peak, .rounds = 1024};
    for (uint64_t taken = 0; taken < 1000000;) {
        m.rounds *= 2;
        uint64_t begin = clock_ns();
        peak(m.rounds);
        taken = clock_ns() - begin;
    }
    size_t pieces = (size_t)pool_threads(pool) * PIECES;
    double best = 0, products = (double)pieces * (double)peak(m.rounds);
    for (int pass = 0; pass < PASSES; pass++) {
        uint64_t begin = clock_ns();
        pool_run(pool, pieces, 1, multiply_pieces, &m);
        double rate = products / (1e-9 * (double)(clock_ns() - begin));
        best = rate > best ? rate : best;
    }
    return best;
}

enum sg_status sg_measure(struct sg_engine *e, struct sg_machine *out, struct sg_error *err)
{
    if (!e->has_weights)
        return fail(err, SG_USAGE, "the model was opened without its weights");
    *out = (struct sg_machine){.cpu = cpu_name()};
    size_t bytes = (size_t)MEASURE_MB * MEGABYTE;
    uint8_t *memory = pages_map(bytes);
    if (!memory)
        return fail_memory(err, bytes, "measuring the memory");
    for (size_t i = 0; i < bytes; i += 64)
        memory[i] = (uint8_t)(i >> 6); /* a page that was never written may not exist */
    struct reading r = {.data = (const uint64_t *)(const void *)memory};
    for (int pass = 0; pass < PASSES; pass++) {
        uint64_t begin = clock_ns();
        pool_run(e->pool, MEASURE_MB, 1, pass % 2 ? read_steadily : read_megabytes, &r);
        double rate = (double)bytes / (1e-9 * (double)(clock_ns() - begin));
        out->read_bytes = rate > out->read_bytes ? rate : out->read_bytes;
    }
    pages_unmap(memory, bytes);
    out->int8_macs = measure_peak(e->pool, e->kernels.peak_i8);
    out->f32_macs = measure_peak(e->pool, e->kernels.peak_f32);
    return SG_OK;
}

/* ------------------------------------------------------- made-up contexts */

struct pretence {
    const struct sg_session *session;
    uint64_t random;
};

static void fill_head(struct pretence *p, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p->random = p->random * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)(int32_t)(p->random >> 32) * 0x1p-31f;
    }
}

static void copy_blocks(void *arg, size_t begin, size_t end, int worker)
{
    const struct pretence *p = arg;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        memcpy(p->session->blocks[i + 1]->data, p->session->blocks[0]->data, p->session->engine->kv.block_bytes);
}

enum sg_status sg_pretend(struct sg_session *s, size_t n, struct sg_error *err)
{
    struct sg_engine *e = s->engine;
    if (s->length || n > s->n_ctx)
        return fail(err, SG_USAGE, "%zu positions after %zu can not be made up in a context of %zu", n, s->length, s->n_ctx);
    enum sg_status status = session_reserve(s, n, err);
    if (status != SG_OK || n == 0) {
        session_drop(s, 0);
        return status;
    }
    struct pretence p = {.session = s, .random = n};
    float k[MAX_HEAD_DIM], v[MAX_HEAD_DIM];
    for (size_t i = 0; i < e->kv.n_layers * e->kv.n_kv_heads * KV_BLOCK; i++) {
        fill_head(&p, k, e->kv.head_dim);
        fill_head(&p, v, e->kv.head_dim);
        size_t head = i / KV_BLOCK;
        kv_store(&e->kv, &e->kernels, s->blocks[0], head / e->kv.n_kv_heads, head % e->kv.n_kv_heads, i % KV_BLOCK, k, v);
    }
    pool_run(e->pool, s->n_blocks - 1, 1, copy_blocks, &p);
    memset(s->ids, 0, n * sizeof *s->ids);
    s->length = n;
    return SG_OK;
}
