/* Attention, exactly reproducible.
 *
 * For one query: spans of ATTN_SPAN positions, each from an empty state, tile by tile
 * (kernels.h says what a tile does); then the spans' states (max, sum, output) merged
 * in ascending order:
 *
 *     m = max(m1, m2);  f1 = exp(m1 - m);  f2 = exp(m2 - m)
 *     sum = fma(sum2, f2, sum1 * f1);  o = fma(o2, f2, o1 * f1)
 *
 * and at the end o / sum. Because spans lie at absolute positions, it does not matter
 * who computes them: with many rows a task takes a block of rows through all spans;
 * with few rows and a long context the spans themselves are the tasks. */
#include "attention.h"

#include <math.h>
#include <string.h>

#include "mathfn.h"

enum {
    TILES_PER_SPAN = ATTN_SPAN / ATTN_TILE,
    QUERIES = 64,            /* queries that share each loaded K and V value */
    SPANS_IN_PARALLEL = 512, /* of all rows together; beyond that tasks take whole rows */
};

static size_t group_size(const struct model *m) { return m->n_heads / m->n_kv_heads; }

static size_t rows_per_block(const struct model *m) { return MAX((size_t)QUERIES / group_size(m), (size_t)1); }

static size_t queries_per_block(const struct model *m) { return rows_per_block(m) * group_size(m); }

/* Scratch of one worker. */
struct scratch {
    float *q, *scores, *o, *total;                     /* (queries, dim), (queries, 64), (queries, dim) twice */
    float *max, *sum, *factor, *total_max, *total_sum; /* (queries) */
    float *q8_scale;                                   /* (queries), with a K of int8 */
    int8_t *q8;                                        /* (queries, q8_dim) */
};

/* Numbers of a head whose K is int8: padded with zeros. */
static size_t q8_dim(const struct model *m) { return ROUND_UP(m->head_dim, (size_t)4); }

static size_t carve(struct scratch *s, const struct model *m, float *base)
{
    size_t n = ROUND_UP(queries_per_block(m), (size_t)16), at = 0;
    float **const parts[] = {&s->q, &s->o, &s->total, &s->scores, &s->max, &s->sum, &s->factor, &s->total_max, &s->total_sum, &s->q8_scale};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        *parts[i] = base ? base + at : NULL;
        at += n * (i < 3 ? ROUND_UP(m->head_dim, (size_t)16) : i == 3 ? ATTN_TILE : 1);
    }
    s->q8 = base ? (int8_t *)(void *)(base + at) : NULL;
    return at + n * q8_dim(m) / sizeof *base;
}

size_t attention_worker_floats(const struct model *m)
{
    struct scratch unused;
    return carve(&unused, m, NULL);
}

/* A partial: max, sum, 14 floats of padding, output. */
static size_t partial_floats(const struct model *m) { return 16 + ROUND_UP(m->head_dim, (size_t)16); }

size_t attention_partial_floats(const struct model *m) { return SPANS_IN_PARALLEL * m->n_heads * partial_floats(m); }

struct job {
    struct forward *f;
    const struct row *rows;
    size_t n_rows, layer;
    const float *q;
    float *out;
    float scale;
    size_t n_spans;         /* of the longest row */
    const uint16_t *blocks; /* (blocks + 1) for span_task: where blocks of rows of one sequence begin */
    size_t n_heads;         /* kv heads of a span_task */
};

/* Scores of n queries from j0 on with one K tile. */
static void score(const struct job *job, struct scratch *s, size_t j0, size_t n, const void *k)
{
    const struct kernels *kn = job->f->mm.kernels;
    const struct model *m = job->f->model;
    const float *q = s->q + j0 * m->head_dim;
    switch (job->f->kv->type_k) {
    case SG_KV_F16:
        kn->attn_scores_f16(s->scores, q, n, k, m->head_dim, job->scale);
        break;
    case SG_KV_F32:
        kn->attn_scores_f32(s->scores, q, n, k, m->head_dim, job->scale);
        break;
    case SG_KV_Q8_0:
        kn->attn_scores_q8(s->scores, s->q8 + j0 * q8_dim(m), s->q8_scale + j0, n, k, q8_dim(m), job->scale);
    }
}

/* Adds one V tile, weighed with s->scores, to the outputs of n queries from j0 on. */
static void add_values(const struct job *job, struct scratch *s, size_t j0, size_t n, const size_t *n_valid, const void *v)
{
    const struct kernels *kn = job->f->mm.kernels;
    size_t dim = job->f->model->head_dim;
    float *o = s->o + j0 * dim;
    switch (job->f->kv->type_v) {
    case SG_KV_F16:
        kn->attn_values_f16(o, s->scores, s->factor, n_valid, n, v, dim);
        break;
    case SG_KV_F32:
        kn->attn_values_f32(o, s->scores, s->factor, n_valid, n, v, dim);
        break;
    case SG_KV_Q8_0:
        kn->attn_values_q8(o, s->scores, s->factor, n_valid, n, v, dim);
    }
}

static void prefetch(const uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(data + i, 0, 2); /* to L2 */
}

/* One tile of one head for queries j0 on, of the rows that see it. limit(j) = pos of row
 * j / group; rows ascend in position, so the queries that see a tile are a suffix. */
static void run_tile(const struct job *job, struct scratch *s, const struct row *rows, size_t n_rows, size_t head, size_t first,
                     size_t tile)
{
    const struct forward *f = job->f;
    const struct kernels *kn = f->mm.kernels;
    const struct kv_block *block = rows[0].blocks[tile];
    const void *k = kv_k_tile(f->kv, block, job->layer, head), *v = kv_v_tile(f->kv, block, job->layer, head);
    size_t begin = tile * ATTN_TILE, group = group_size(f->model), row0 = 0, n_valid[QUERIES];
    while (rows[row0].pos < begin)
        row0++;
    /* A group of more than QUERIES heads (one kv head for all) is done in pieces. */
    for (size_t j0 = row0 * group; j0 < n_rows * group; j0 += QUERIES) {
        size_t n = MIN(n_rows * group - j0, (size_t)QUERIES);
        score(job, s, first + j0, n, k);
        for (size_t j = 0; j < n; j++)
            n_valid[j] = MIN(rows[(j0 + j) / group].pos - begin + 1, (size_t)ATTN_TILE);
        kn->attn_softmax(s->scores, s->factor, n_valid, n, s->max + first + j0, s->sum + first + j0);
        add_values(job, s, first + j0, n, n_valid, v);
    }
}

/* Positions [span * ATTN_SPAN, ...) of the queries of n_rows rows and n_heads kv heads, from
 * an empty state, into s->o, s->max, s->sum: head by head, row by row. The heads of a tile lie
 * one behind the other in memory: the longer the run, the less often reading has to start. */
static void run_span(const struct job *job, struct scratch *s, const struct row *rows, size_t n_rows, size_t head, size_t n_heads,
                     size_t span)
{
    const struct forward *f = job->f;
    size_t width = n_rows * group_size(f->model);
    for (size_t j = 0; j < n_heads * width; j++) {
        s->max[j] = -INFINITY;
        s->sum[j] = 0;
    }
    memset(s->o, 0, n_heads * width * f->model->head_dim * sizeof *s->o);
    size_t last = rows[n_rows - 1].pos / ATTN_TILE;
    for (size_t tile = span * TILES_PER_SPAN; tile <= last && tile < (span + 1) * TILES_PER_SPAN; tile++) {
        /* The next tile is elsewhere: without this each begins with a wait for memory. */
        if (tile < last)
            prefetch(kv_k_tile(f->kv, rows[0].blocks[tile + 1], job->layer, head), f->kv->k_tile_bytes + f->kv->v_tile_bytes);
        for (size_t h = 0; h < n_heads; h++)
            run_tile(job, s, rows, n_rows, head + h, h * width, tile);
    }
}

/* State 1 absorbs state 2, which saw at least one position or is empty (sum 0). */
static void merge(const struct kernels *kn, float *o1, float *max1, float *sum1, const float *o2, float max2, float sum2, size_t dim)
{
    if (sum2 == 0)
        return;
    if (*sum1 == 0) {
        memcpy(o1, o2, dim * sizeof *o1);
        *max1 = max2;
        *sum1 = sum2;
        return;
    }
    float m = MAX(*max1, max2);
    float f1 = *max1 == m ? 1 : exp_f32(*max1 - m), f2 = max2 == m ? 1 : exp_f32(max2 - m);
    const size_t one = 1;
    kn->attn_values_f32(o1, &f2, &f1, &one, 1, o2, dim); /* o1 = fma(f2, o2, o1 * f1) */
    *sum1 = fmaf(sum2, f2, *sum1 * f1);
    *max1 = m;
}

static void finish(float *out, const float *o, float sum, size_t dim)
{
    for (size_t i = 0; i < dim; i++)
        out[i] = o[i] / sum;
}

static void gather_queries(const struct job *job, struct scratch *s, size_t first, size_t row, size_t n_rows, size_t head)
{
    const struct model *m = job->f->model;
    size_t group = group_size(m), dim = m->head_dim, width = group * dim, padded = q8_dim(m);
    for (size_t i = 0; i < n_rows; i++)
        memcpy(s->q + first * dim + i * width, job->q + (row + i) * m->n_heads * dim + head * width, width * sizeof *s->q);
    for (size_t j = first; job->f->kv->type_k == SG_KV_Q8_0 && j < first + n_rows * group; j++) {
        int8_t *q8 = s->q8 + j * padded;
        s->q8_scale[j] = job->f->mm.kernels->quantize_head(q8, s->q + j * dim, dim);
        memset(q8 + dim, 0, padded - dim);
    }
}

/* Many rows: task = block of rows x kv head, all spans in order. */
static void block_task(void *arg, size_t begin, size_t end, int worker)
{
    const struct job *job = arg;
    const struct forward *f = job->f;
    const struct model *m = f->model;
    size_t dim = m->head_dim, group = group_size(m);
    struct scratch s;
    carve(&s, m, f->worker + (size_t)worker * f->worker_floats);
    for (size_t task = begin; task < end; task++) {
        size_t head = task % m->n_kv_heads, row = task / m->n_kv_heads * rows_per_block(m);
        size_t stop = MIN(row + rows_per_block(m), job->n_rows);
        while (row < stop) { /* a block may hold rows of several sequences */
            size_t n = 1;
            while (row + n < stop && job->rows[row + n].sequence == job->rows[row].sequence)
                n++;
            gather_queries(job, &s, 0, row, n, head);
            size_t spans = job->rows[row + n - 1].pos / ATTN_SPAN + 1;
            for (size_t j = 0; j < n * group; j++)
                s.total_sum[j] = 0;
            for (size_t span = 0; span < spans; span++) {
                run_span(job, &s, job->rows + row, n, head, 1, span);
                for (size_t j = 0; j < n * group; j++)
                    merge(f->mm.kernels, s.total + j * dim, &s.total_max[j], &s.total_sum[j], s.o + j * dim, s.max[j], s.sum[j], dim);
            }
            for (size_t j = 0; j < n * group; j++)
                finish(job->out + (row + j / group) * m->n_heads * dim + (head * group + j % group) * dim, s.total + j * dim,
                       s.total_sum[j], dim);
            row += n;
        }
    }
}

static float *partial(const struct job *job, size_t row, size_t span, size_t head)
{
    const struct model *m = job->f->model;
    return job->f->partial + ((row * job->n_spans + span) * m->n_heads + head) * partial_floats(m);
}

static size_t max_spans(const struct row *rows, size_t n)
{
    size_t spans = 0;
    for (size_t i = 0; i < n; i++)
        spans = MAX(spans, rows[i].pos / ATTN_SPAN + 1);
    return spans;
}

/* Few rows: task = rows of one sequence x span x some kv heads, into partials. */
static void span_task(void *arg, size_t begin, size_t end, int worker)
{
    const struct job *job = arg;
    const struct model *m = job->f->model;
    size_t group = group_size(m), n_spans = job->n_spans, parts = DIV_UP(m->n_kv_heads, job->n_heads);
    struct scratch s;
    carve(&s, m, job->f->worker + (size_t)worker * job->f->worker_floats);
    for (size_t task = begin; task < end; task++) {
        size_t head = task % parts * job->n_heads, span = task / parts % n_spans, block = task / parts / n_spans;
        size_t row = job->blocks[block], n = job->blocks[block + 1] - row, n_heads = MIN(job->n_heads, m->n_kv_heads - head);
        if (span > job->rows[row + n - 1].pos / ATTN_SPAN)
            continue;
        for (size_t h = 0; h < n_heads; h++)
            gather_queries(job, &s, h * n * group, row, n, head + h);
        run_span(job, &s, job->rows + row, n, head, n_heads, span);
        for (size_t j = 0; j < n_heads * n * group; j++) {
            size_t h = j / (n * group), r = j / group % n;
            float *p = partial(job, row + r, span, (head + h) * group + j % group);
            p[0] = s.max[j];
            p[1] = s.sum[j];
            memcpy(p + 16, s.o + j * m->head_dim, m->head_dim * sizeof *p);
        }
    }
}

static void merge_task(void *arg, size_t begin, size_t end, int worker)
{
    (void)worker;
    const struct job *job = arg;
    const struct model *m = job->f->model;
    for (size_t task = begin; task < end; task++) {
        size_t head = task % m->n_heads, row = task / m->n_heads;
        float *total = partial(job, row, 0, head);
        for (size_t span = 1; span <= job->rows[row].pos / ATTN_SPAN; span++) {
            const float *p = partial(job, row, span, head);
            merge(job->f->mm.kernels, total + 16, &total[0], &total[1], p + 16, p[0], p[1], m->head_dim);
        }
        finish(job->out + (row * m->n_heads + head) * m->head_dim, total + 16, total[1], m->head_dim);
    }
}

void attention_run(struct forward *f, const struct row *rows, size_t n, size_t layer, const float *q, float *out)
{
    const struct model *m = f->model;
    struct job job = {.f = f, .rows = rows, .n_rows = n, .layer = layer, .q = q, .out = out, .scale = 1.0f / sqrtf((float)m->head_dim)};
    size_t threads = (size_t)pool_threads(f->mm.pool), row_blocks = DIV_UP(n, rows_per_block(m));
    job.n_spans = max_spans(rows, n);
    if (job.n_spans > 1 && n * job.n_spans <= SPANS_IN_PARALLEL && row_blocks * m->n_kv_heads < 16 * threads) {
        uint16_t blocks[SPANS_IN_PARALLEL + 1];
        size_t n_blocks = 0, most = 1;
        for (size_t i = 0; i < n; i++) {
            if (i == 0 || rows[i].sequence != rows[i - 1].sequence || i - blocks[n_blocks - 1] == rows_per_block(m))
                blocks[n_blocks++] = (uint16_t)i;
            most = MAX(most, i - blocks[n_blocks - 1] + 1);
        }
        blocks[n_blocks] = (uint16_t)n;
        job.blocks = blocks;
        /* As many heads as there is scratch for and leave every thread some tasks. */
        size_t spans = n_blocks * job.n_spans;
        job.n_heads = MIN(rows_per_block(m) / most, m->n_kv_heads);
        while (job.n_heads > 1 && spans * DIV_UP(m->n_kv_heads, job.n_heads) < 8 * threads)
            job.n_heads = DIV_UP(job.n_heads, (size_t)2);
        pool_run(f->mm.pool, spans * DIV_UP(m->n_kv_heads, job.n_heads), 1, span_task, &job);
        pool_run(f->mm.pool, n * m->n_heads, DIV_UP(n * m->n_heads, 2 * threads), merge_task, &job);
    } else {
        pool_run(f->mm.pool, row_blocks * m->n_kv_heads, 1, block_task, &job);
    }
}
