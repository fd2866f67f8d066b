/* How fast this machine reads memory with the engine's threads: the ceiling of decoding,
 * which reads every weight once per token. */
#include "engine.h"

#include "arena.h"
#include "clock.h"
#include "cpu.h"

enum {
    MEGABYTE = 1 << 20,
    MEASURE_MB = 256,
    PASSES = 7
};

struct reading {
    const uint64_t *data;
    uint64_t sums[MEASURE_MB]; /* kept, so that the loads can not be optimized away */
};

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
    double best = 0;
    for (int pass = 0; pass < PASSES; pass++) {
        uint64_t begin = clock_ns();
        pool_run(e->pool, MEASURE_MB, 1, read_megabytes, &r);
        double rate = (double)bytes / (1e-9 * (double)(clock_ns() - begin));
        best = rate > best ? rate : best; /* the ceiling: what disturbs only lowers it */
    }
    out->read_bytes = best;
    pages_unmap(memory, bytes);
    return SG_OK;
}
