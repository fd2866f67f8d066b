#include "repack.h"

#include "cpu.h"
#include "r64.h"

/* Calls fn for every matrix; a tied output is the token embedding. */
typedef void matrix_fn(void *arg, struct tensor *t);

static void each_matrix(struct model *m, matrix_fn *fn, void *arg)
{
    fn(arg, &m->token_embd);
    if (m->tied_output)
        m->output = m->token_embd;
    else
        fn(arg, &m->output);
    for (size_t i = 0; i < m->n_layers; i++) {
        struct layer *l = &m->layers[i];
        struct tensor *const all[] = {&l->q, &l->k, &l->v, &l->attn_output, &l->gate, &l->up, &l->down};
        for (size_t k = 0; k < ARRAY_LEN(all); k++)
            fn(arg, all[k]);
    }
}

static void count(void *arg, struct tensor *t)
{
    size_t *bytes = arg;
    if (t->type == QUANT_Q1_0)
        *bytes += r64_bytes(t->rows, t->cols);
}

size_t repack_bytes(const struct model *m)
{
    struct model copy = *m; /* each_matrix changes the output */
    size_t bytes = 0;
    each_matrix(&copy, count, &bytes);
    return bytes;
}

struct job {
    struct pool *pool;
    const struct file_map *map;
    const volatile sig_atomic_t *interrupt;
    struct arena *out;
    const struct tensor *from;
    uint8_t *to;
};

/* Items are blocks of 64 rows. */
static void repack_rows(void *arg, size_t begin, size_t end, int worker)
{
    (void)worker;
    const struct job *job = arg;
    const struct tensor *t = job->from;
    size_t groups = t->cols / GROUP;
    for (size_t i = begin; i < end; i++)
        r64_from_rows(job->to + i * groups * R64_BLOCK_BYTES, t->data + i * R64_ROWS * t->row_bytes,
                      MIN(t->rows - i * R64_ROWS, (size_t)R64_ROWS), groups);
}

static void repack(void *arg, struct tensor *t)
{
    struct job *job = arg;
    if (t->type != QUANT_Q1_0 || (job->interrupt && *job->interrupt))
        return;
    job->from = t;
    job->to = arena_take(job->out, r64_bytes(t->rows, t->cols));
    pool_run(job->pool, DIV_UP(t->rows, (size_t)R64_ROWS), 1, repack_rows, job);
    file_forget(job->map, t->data, t->rows * t->row_bytes);
    t->data = job->to;
    t->type = QUANT_Q1_0_R64;
}

enum sg_status repack_model(struct arena *out, struct model *m, const struct file_map *map, struct pool *pool,
                            const volatile sig_atomic_t *interrupt, struct sg_error *err)
{
    size_t bytes = repack_bytes(m);
    *out = (struct arena){0};
    if (bytes == 0)
        return SG_OK;
    /* Matrices are multiples of 128 bytes, so the arena has no gaps. The system would promise more than it has. */
    if (bytes > cpu_memory_available() || !arena_map(out, bytes))
        return fail_memory(err, bytes, "the repacked weights");
    struct job job = {.pool = pool, .map = map, .interrupt = interrupt, .out = out};
    each_matrix(m, repack, &job);
    if (interrupt && *interrupt)
        return fail(err, SG_INTERRUPTED, "interrupted");
    return SG_OK;
}
