#include "matmul.h"

#include <math.h>
#include <string.h>

/* How a weight type meets its input. */
enum form {
    FORM_FLOAT,
    FORM_CODES,
    FORM_Q1
};

static enum form form_of(const struct matmul *m, enum quant_type type)
{
    if (m->act == SG_ACT_F32 || quant_traits[type].piece == 0)
        return FORM_FLOAT;
    return type == QUANT_Q1_0 ? FORM_Q1 : FORM_CODES;
}

static bool is_wide(const struct matmul *m) { return m->act == SG_ACT_INT16; }

static size_t planes_of(const struct matmul *m) { return is_wide(m) ? WIDE_PLANES : 1; }

bool matmul_has_family(const struct matmul *m)
{
    return m->family == SG_MATMUL_AUTO || (is_wide(m) ? m->kernels->q1_wide : m->kernels->q1)[m->family - 1];
}

const struct q1_family *matmul_family(const struct matmul *m, size_t tokens)
{
    const struct kernels *k = m->kernels;
    int wanted = m->family != SG_MATMUL_AUTO ? (int)m->family - 1 : is_wide(m) ? k->q1_wide_auto(tokens) : k->q1_auto(tokens);
    return (is_wide(m) ? k->q1_wide : k->q1)[wanted](tokens);
}

static size_t packed_stride(const struct q1_family *q1, size_t groups, size_t tokens)
{
    return ROUND_UP(q1->packed_bytes(groups, MIN(tokens, q1->max_tokens)), (size_t)ARENA_ALIGN);
}

void matmul_layout(struct matmul *m, struct arena *a)
{
    size_t threads = (size_t)pool_threads(m->pool), groups = DIV_UP(m->max_cols, (size_t)GROUP), packed = 0;
    for (size_t tokens = 1; tokens <= m->max_tokens; tokens++) {
        const struct q1_family *q1 = matmul_family(m, tokens);
        packed = MAX(packed, packed_stride(q1, groups, tokens) * DIV_UP(tokens, q1->max_tokens));
    }
    m->q = ARENA_ARRAY(a, int8_t, m->max_tokens * planes_of(m) * groups * GROUP);
    m->scale = ARENA_ARRAY(a, float, m->max_tokens *groups);
    m->packed = arena_take(a, packed);
    m->rows = ARENA_ARRAY(a, float, threads *groups *GROUP);
    m->codes = ARENA_ARRAY(a, int8_t, threads * groups * GROUP);
    m->code_scales = ARENA_ARRAY(a, float, threads *groups * 2);
    m->finite = ARENA_ARRAY(a, bool, m->max_tokens);
}

static void quantize_tokens(void *arg, size_t begin, size_t end, int worker)
{
    (void)worker;
    struct matmul *m = arg;
    size_t groups = m->cols / GROUP;
    for (size_t t = begin; t < end; t++) {
        const float *x = m->x + t * m->cols;
        int8_t *q = m->q + t * planes_of(m) * m->cols;
        float *scale = m->scale + t * groups;
        m->finite[t] =
            is_wide(m) ? m->kernels->quantize_i16(q, q + m->cols, scale, x, m->cols) : m->kernels->quantize_i8(q, scale, x, m->cols);
    }
}

/* Items are (chunk of tokens, group). */
static void pack_groups(void *arg, size_t begin, size_t end, int worker)
{
    (void)worker;
    struct matmul *m = arg;
    size_t groups = m->cols / GROUP, chunk = m->q1->max_tokens;
    size_t stride = packed_stride(m->q1, groups, m->tokens);
    while (begin < end) {
        size_t c = begin / groups, group0 = begin % groups, group1 = MIN(groups, group0 + (end - begin));
        size_t t0 = c * chunk, n = MIN(m->tokens - t0, chunk);
        m->q1->pack((uint8_t *)m->packed + c * stride, m->q + t0 * planes_of(m) * m->cols, m->scale + t0 * groups, groups, n, group0,
                    group1);
        begin += group1 - group0;
    }
}

bool matmul_input(struct matmul *m, const float *x, size_t tokens, size_t cols, const struct tensor *const *weights, size_t n_weights)
{
    bool needs_codes = false, needs_packed = false;
    for (size_t i = 0; i < n_weights; i++) {
        enum form form = form_of(m, weights[i]->type);
        needs_codes |= form != FORM_FLOAT;
        needs_packed |= form == FORM_Q1;
    }
    m->x = x;
    m->tokens = tokens;
    m->cols = cols;
    if (!needs_codes)
        return true;
    pool_run(m->pool, tokens, MAX((size_t)8192 / cols, (size_t)1), quantize_tokens, m);
    for (size_t t = 0; t < tokens; t++)
        if (!m->finite[t])
            return false;
    if (needs_packed) {
        m->q1 = matmul_family(m, tokens);
        size_t groups = cols / GROUP, n = DIV_UP(tokens, m->q1->max_tokens) * groups;
        /* Pieces of at least 2,048 activations: below that waking a thread costs more. */
        size_t per_item = MIN(tokens, m->q1->max_tokens) * GROUP;
        pool_run(m->pool, n, MAX((size_t)2048 / per_item, (size_t)1), pack_groups, m);
    }
    return true;
}

static void float_rows(const struct matmul *m, const struct matmul_op *op, size_t row0, size_t row1, int worker)
{
    const struct tensor *w = op->w;
    float *row = m->rows + (size_t)worker * ROUND_UP(m->max_cols, (size_t)GROUP);
    for (size_t r = row0; r < row1; r++) {
        quant_dequantize(w->type, row, w->data + r * w->row_bytes, w->cols);
        for (size_t t = 0; t < m->tokens; t++)
            op->y[t * op->y_stride + r] = m->kernels->dot_f32(row, m->x + t * m->cols, w->cols);
    }
}

static void code_rows(const struct matmul *m, const struct matmul_op *op, size_t row0, size_t row1, int worker)
{
    const struct tensor *w = op->w;
    size_t piece = quant_traits[w->type].piece, groups = w->cols / GROUP, n_pieces = w->cols / piece;
    int8_t *codes = m->codes + (size_t)worker * ROUND_UP(m->max_cols, (size_t)GROUP);
    float *d = m->code_scales + (size_t)worker * DIV_UP(m->max_cols, (size_t)GROUP) * 2;
    for (size_t r = row0; r < row1; r++) {
        quant_codes(w->type, codes, d, w->data + r * w->row_bytes, w->cols);
        for (size_t t = 0; t < m->tokens; t++) {
            const int8_t *q = m->q + t * planes_of(m) * m->cols;
            const float *s = m->scale + t * groups;
            float acc = 0;
            for (size_t i = 0; i < n_pieces; i++) {
                int32_t isum = m->kernels->dot_i8(codes + i * piece, q + i * piece, piece);
                if (is_wide(m))
                    isum = WIDE_UNIT * isum + m->kernels->dot_i8(codes + i * piece, q + m->cols + i * piece, piece);
                acc = fmaf(d[i] * s[i * piece / GROUP], (float)isum, acc);
            }
            op->y[t * op->y_stride + r] = acc;
        }
    }
}

static void q1_rows(const struct matmul *m, const struct matmul_op *op, size_t row0, size_t row1)
{
    const struct tensor *w = op->w;
    size_t groups = w->cols / GROUP, chunk = m->q1->max_tokens, stride = packed_stride(m->q1, groups, m->tokens);
    for (size_t t0 = 0; t0 < m->tokens; t0 += chunk)
        m->q1->run(op->y + t0 * op->y_stride, op->y_stride, w->data, row0, row1, groups, (const uint8_t *)m->packed + t0 / chunk * stride,
                   MIN(m->tokens - t0, chunk));
}

struct run_job {
    const struct matmul *m;
    const struct matmul_op *ops;
    size_t n_ops, unit_rows;
};

static size_t units_of(const struct run_job *job, size_t op) { return DIV_UP(job->ops[op].w->rows, job->unit_rows); }

static void run_units(void *arg, size_t begin, size_t end, int worker)
{
    const struct run_job *job = arg;
    for (size_t unit = begin; unit < end; unit++) {
        size_t i = 0, first = 0;
        while (unit - first >= units_of(job, i))
            first += units_of(job, i++);
        const struct matmul_op *op = &job->ops[i];
        size_t row0 = (unit - first) * job->unit_rows, row1 = MIN(row0 + job->unit_rows, op->w->rows);
        switch (form_of(job->m, op->w->type)) {
        case FORM_FLOAT:
            float_rows(job->m, op, row0, row1, worker);
            break;
        case FORM_CODES:
            code_rows(job->m, op, row0, row1, worker);
            break;
        case FORM_Q1:
            q1_rows(job->m, op, row0, row1);
            break;
        }
    }
}

void matmul_run(struct matmul *m, const struct matmul_op *ops, size_t n_ops)
{
    /* Threads claim units of rows in ascending order. A unit is at most 512 KB of weights,
     * so that a thread that the system delays holds up little, and small enough that each
     * thread gets several. */
    size_t rows = 0, row_bytes = 1, tile = 16;
    for (size_t i = 0; i < n_ops; i++) {
        rows += ops[i].w->rows;
        row_bytes = MAX(row_bytes, ops[i].w->row_bytes);
        if (form_of(m, ops[i].w->type) == FORM_Q1)
            tile = m->q1->row_tile;
    }
    size_t fair = rows / ((size_t)pool_threads(m->pool) * 6), small = ((size_t)512 << 10) / row_bytes;
    struct run_job job = {.m = m, .ops = ops, .n_ops = n_ops, .unit_rows = ROUND_UP(MAX(MIN(fair, small), (size_t)1), tile)};
    size_t units = 0;
    for (size_t i = 0; i < n_ops; i++)
        units += units_of(&job, i);
    pool_run(m->pool, units, 1, run_units, &job);
}
