#include "matmul.h"

#include <math.h>
#include <string.h>

/* Units of one to eight tokens: with 64 KB to 1 MB decoding is equally fast. Of many tokens so many
 * are multiplied at a time as fit SPAN_BYTES when packed, at least one chunk: they meet all weights
 * while they stay in a cache, and weights are read once for them. A single token is
 * packed by every thread for itself when there are few threads: on a machine whose two CPUs
 * shared no cache at the time, fetching what the other one had packed, and taking the lines
 * back for the next input, cost 6 to 9 % of a step of the 8B model and 13 % of 1.7B's; packing
 * twice costs 2 to 3 %, and saves a barrier. */
enum {
    FEW_TOKENS = 8,
    UNIT_BYTES = 128 << 10,
    OWN_THREADS = 4,
    SPAN_BYTES = 4 << 20,
    PIECE = 2048, /* numbers of an input: with fewer waking a thread costs more than they do */
};

/* How a weight type meets its input. */
enum form {
    FORM_FLOAT,
    FORM_CODES,
    FORM_Q1,
    FORM_R64
};

void tensor_row(float *dst, const struct tensor *t, size_t row)
{
    if (t->type == QUANT_Q1_0_R64)
        r64_dequantize_row(dst, t->data, row, t->cols);
    else
        quant_dequantize(t->type, dst, t->data + row * t->row_bytes, t->cols);
}

static enum form form_of(const struct matmul *m, enum quant_type type)
{
    if (m->act == SG_ACT_F32 || quant_traits[type].piece == 0)
        return FORM_FLOAT;
    return type == QUANT_Q1_0 ? FORM_Q1 : type == QUANT_Q1_0_R64 ? FORM_R64 : FORM_CODES;
}

static bool is_wide(const struct matmul *m) { return m->act == SG_ACT_INT16; }

static size_t planes_of(const struct matmul *m) { return is_wide(m) ? WIDE_PLANES : 1; }

bool matmul_has_family(const struct matmul *m)
{
    return m->family == SG_MATMUL_AUTO || (is_wide(m) ? m->kernels->q1_wide : m->kernels->q1)[m->family - 1];
}

static int wanted_family(const struct matmul *m, size_t tokens)
{
    const struct kernels *k = m->kernels;
    return m->family != SG_MATMUL_AUTO ? (int)m->family - 1 : is_wide(m) ? k->q1_wide_auto(tokens) : k->q1_auto(tokens);
}

const struct q1_family *matmul_family(const struct matmul *m, size_t tokens)
{
    const struct kernels *k = m->kernels;
    return (is_wide(m) ? k->q1_wide : k->q1)[wanted_family(m, tokens)](tokens);
}

/* The family that reads QUANT_Q1_0_R64 without undoing it; NULL: undoing it serves so many tokens better. For one
 * or two tokens undoing takes longer than any family saves. */
static const struct q1_family *choose_blocks(const struct matmul *m, size_t tokens)
{
    bool tables = wanted_family(m, tokens) == SG_MATMUL_TABLES - 1, undoing_pays = m->family != SG_MATMUL_AUTO || tokens > 2;
    if (!tables && undoing_pays)
        return NULL;
    return (is_wide(m) ? m->kernels->r64_wide : m->kernels->r64)(tokens);
}

static size_t packed_stride(const struct q1_family *q1, size_t groups, size_t tokens)
{
    return ROUND_UP(q1->packed_bytes(groups, MIN(tokens, q1->max_tokens)), (size_t)ARENA_ALIGN);
}

/* Tokens that matmul_run takes at a time: whole chunks. */
static size_t span_of(const struct q1_family *q1, size_t groups, size_t tokens)
{
    return MIN(tokens, MAX(SPAN_BYTES / packed_stride(q1, groups, tokens), (size_t)1) * q1->max_tokens);
}

/* Most bytes of a span of an input with any number of columns. */
static size_t span_bytes(const struct q1_family *q1, size_t max_groups, size_t tokens)
{
    size_t stride = packed_stride(q1, max_groups, tokens);
    return MIN(MAX((size_t)SPAN_BYTES, stride), DIV_UP(tokens, q1->max_tokens) * stride);
}

/* Bytes between the inputs that threads pack for themselves. */
static size_t own_stride(const struct matmul *m)
{
    size_t groups = DIV_UP(m->max_cols, (size_t)GROUP);
    const struct q1_family *blocks = choose_blocks(m, 1);
    size_t stride = packed_stride(matmul_family(m, 1), groups, 1);
    return blocks ? MAX(stride, packed_stride(blocks, groups, 1)) : stride;
}

void matmul_layout(struct matmul *m, struct arena *a)
{
    size_t threads = (size_t)pool_threads(m->pool), groups = DIV_UP(m->max_cols, (size_t)GROUP), packed = 0;
    for (size_t tokens = 1; tokens <= m->max_tokens; tokens++) {
        const struct q1_family *blocks = choose_blocks(m, tokens);
        packed = MAX(packed, span_bytes(matmul_family(m, tokens), groups, tokens));
        if (blocks)
            packed = MAX(packed, span_bytes(blocks, groups, tokens));
    }
    if (threads <= OWN_THREADS)
        packed = MAX(packed, threads * own_stride(m));
    m->q = ARENA_ARRAY(a, int8_t, m->max_tokens * planes_of(m) * groups * GROUP);
    m->scale = ARENA_ARRAY(a, float, m->max_tokens *groups);
    m->packed = arena_take(a, packed);
    m->unpacked = ARENA_ARRAY(a, uint8_t, threads * R64_ROWS * groups * Q1_BYTES);
    m->rows = ARENA_ARRAY(a, float, threads *groups *GROUP);
    m->codes = ARENA_ARRAY(a, int8_t, threads * groups * GROUP);
    m->code_scales = ARENA_ARRAY(a, float, threads *groups * 2);
    m->finite = ARENA_ARRAY(a, atomic_bool, 1);
    m->begun = ARENA_ARRAY(a, atomic_bool, threads);
}

/* Packs groups of chunk c of a span. */
static void pack_groups(struct matmul *m, size_t c, size_t group0, size_t group1)
{
    size_t groups = m->cols / GROUP, t0 = m->span0 + c * m->chunk;
    m->q1->pack((uint8_t *)m->packed + c * packed_stride(m->q1, groups, m->tokens), m->q + t0 * planes_of(m) * m->cols,
                m->scale + t0 * groups, groups, MIN(m->tokens - t0, m->chunk), group0, group1);
}

static size_t row_floats(const struct matmul *m) { return ROUND_UP(m->max_cols, (size_t)GROUP); }

/* Numbers of the input, [i, i + n) of all tokens in a row; of a product only until the worker's next call. */
static const float *input_at(const struct matmul *m, size_t i, size_t n, int worker)
{
    if (!m->up)
        return m->x + i;
    float *to = m->product ? m->product + i : m->rows + (size_t)worker * row_floats(m);
    m->kernels->silu_mul(to, m->x + i, m->up + i, n);
    return to;
}

/* Items are (chunk of tokens, group): quantized, and of the first span packed where weights want
 * that. */
static void prepare_groups(void *arg, size_t begin, size_t end, int worker)
{
    struct matmul *m = arg;
    size_t groups = m->cols / GROUP, planes = planes_of(m);
    while (begin < end) {
        size_t c = begin / groups, group0 = begin % groups, group1 = MIN(groups, group0 + (end - begin)), n = (group1 - group0) * GROUP;
        size_t t0 = c * m->chunk, tokens = MIN(m->tokens - t0, m->chunk);
        for (size_t t = t0; t < t0 + tokens; t++) {
            const float *x = input_at(m, t * m->cols + group0 * GROUP, n, worker);
            int8_t *q = m->q + t * planes * m->cols + group0 * GROUP;
            float *scale = m->scale + t * groups + group0;
            if (!(is_wide(m) ? m->kernels->quantize_i16(q, q + m->cols, scale, x, n) : m->kernels->quantize_i8(q, scale, x, n)))
                atomic_store_explicit(m->finite, false, memory_order_relaxed);
        }
        if (m->q1 && !m->own_packed && t0 < m->span)
            pack_groups(m, c, group0, group1);
        begin += group1 - group0;
    }
}

/* Items are (chunk of the span, group). */
static void pack_span(void *arg, size_t begin, size_t end, int worker)
{
    (void)worker;
    struct matmul *m = arg;
    size_t groups = m->cols / GROUP;
    while (begin < end) {
        size_t group0 = begin % groups, group1 = MIN(groups, group0 + (end - begin));
        pack_groups(m, begin / groups, group0, group1);
        begin += group1 - group0;
    }
}

/* At least PIECE activations. Of many tokens pieces of several groups, so that memory is read in longer runs: eight took 99 ms of 512 tokens of the
 * 1.7B model where one took 117. */
static size_t items_at_once(const struct matmul *m, size_t items)
{
    size_t most = items / ((size_t)pool_threads(m->pool) * 4), least = (size_t)PIECE / (MIN(m->tokens, m->chunk) * GROUP);
    return MAX(MAX(least, MIN(most, (size_t)8)), (size_t)1);
}

/* All of a product, for weights that want floats alone. */
static void multiply_silu(void *arg, size_t begin, size_t end, int worker) { input_at(arg, begin, end - begin, worker); }

/* x and up are set. */
static bool prepare_input(struct matmul *m, float *product, size_t tokens, size_t cols, const struct tensor *const *weights,
                          size_t n_weights)
{
    bool needs_floats = false, needs_codes = false, needs_packed = false, by_blocks = true;
    for (size_t i = 0; i < n_weights; i++) {
        enum form form = form_of(m, weights[i]->type);
        needs_floats |= form == FORM_FLOAT;
        needs_codes |= form != FORM_FLOAT;
        needs_packed |= form == FORM_Q1 || form == FORM_R64;
        by_blocks &= form == FORM_R64;
    }
    m->product = needs_floats ? product : NULL;
    m->tokens = tokens;
    m->cols = cols;
    m->q1 = NULL;
    m->own_packed = false;
    m->by_blocks = false;
    m->span0 = 0;
    m->span = tokens;
    if (!needs_codes) {
        if (m->up)
            pool_run(m->pool, tokens * cols, PIECE, multiply_silu, m);
        m->up = NULL;
        return true;
    }
    if (needs_packed) {
        const struct q1_family *blocks = by_blocks ? choose_blocks(m, tokens) : NULL;
        m->by_blocks = blocks;
        m->q1 = blocks ? blocks : matmul_family(m, tokens);
    }
    m->chunk = m->q1 ? m->q1->max_tokens : 1;
    if (m->q1)
        m->span = span_of(m->q1, cols / GROUP, tokens);
    m->own_packed = m->q1 && tokens == 1 && pool_threads(m->pool) <= OWN_THREADS;
    atomic_init(m->finite, true);
    size_t items = DIV_UP(tokens, m->chunk) * (cols / GROUP);
    pool_run(m->pool, items, items_at_once(m, items), prepare_groups, m);
    return atomic_load_explicit(m->finite, memory_order_relaxed);
}

bool matmul_input(struct matmul *m, const float *x, size_t tokens, size_t cols, const struct tensor *const *weights, size_t n_weights)
{
    m->x = x;
    m->up = NULL;
    return prepare_input(m, NULL, tokens, cols, weights, n_weights);
}

bool matmul_input_silu(struct matmul *m, float *gate, const float *up, size_t tokens, size_t cols, const struct tensor *const *weights,
                       size_t n_weights)
{
    m->x = gate;
    m->up = up;
    return prepare_input(m, gate, tokens, cols, weights, n_weights);
}

/* Packs the input once more, for one thread alone. */
static const uint8_t *pack_own(const struct matmul *m, int worker)
{
    size_t groups = m->cols / GROUP;
    uint8_t *packed = (uint8_t *)m->packed + (size_t)worker * own_stride(m);
    m->q1->pack(packed, m->q, m->scale, groups, 1, 0, groups);
    return packed;
}

static size_t span_end(const struct matmul *m) { return MIN(m->span0 + m->span, m->tokens); }

static void float_rows(const struct matmul *m, const struct matmul_op *op, size_t row0, size_t row1, int worker)
{
    const struct tensor *w = op->w;
    float *row = m->rows + (size_t)worker * row_floats(m);
    for (size_t r = row0; r < row1; r++) {
        tensor_row(row, w, r);
        for (size_t t = m->span0; t < span_end(m); t++)
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
        for (size_t t = m->span0; t < span_end(m); t++) {
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

/* Rows [row0, row1) of w, whose results begin at y. */
static void q1_rows(const struct matmul *m, float *y, size_t y_stride, const uint8_t *w, size_t row0, size_t row1, size_t groups,
                    const uint8_t *packed, struct q1_next next)
{
    const struct q1_next none = {0}; /* while the same weights meet further tokens */
    size_t stride = packed_stride(m->q1, groups, m->tokens), end = span_end(m);
    for (size_t t = m->span0; t < end; t += m->chunk, packed += stride)
        m->q1->run(y + t * y_stride, y_stride, w, row0, row1, groups, packed, MIN(end - t, m->chunk), t + m->chunk < end ? none : next);
}

/* The same for 64 rows side by side: row0 is a multiple of 64. A family that wants rows gets
 * them, 64 at a time, in a buffer that stays in the L2 cache. */
static void r64_rows(const struct matmul *m, const struct matmul_op *op, size_t row0, size_t row1, int worker, const uint8_t *packed,
                     struct q1_next next)
{
    const struct tensor *w = op->w;
    size_t groups = w->cols / GROUP, blocks_bytes = groups * R64_BLOCK_BYTES;
    if (m->by_blocks) {
        q1_rows(m, op->y, op->y_stride, w->data, row0, row1, groups, packed, next);
        return;
    }
    uint8_t *rows = m->unpacked + (size_t)worker * R64_ROWS * DIV_UP(m->max_cols, (size_t)GROUP) * Q1_BYTES;
    for (size_t r = row0; r < row1; r += R64_ROWS) {
        const uint8_t *blocks = w->data + r / R64_ROWS * blocks_bytes;
        m->kernels->r64_to_rows(rows, blocks, groups);
        q1_rows(m, op->y + r, op->y_stride, rows, 0, MIN(row1 - r, (size_t)R64_ROWS), groups, packed,
                r + R64_ROWS < row1 ? (struct q1_next){blocks + blocks_bytes, blocks_bytes} : next);
    }
}

/* One matmul_run: units of rows, numbered through all matrices, which threads claim in ascending
 * order, each one ahead of the one it works on, so that a kernel knows what to fetch while it
 * ends. Worker i begins with unit i, which the end of the matmul before could rely on; should
 * worker i not come, because the system has put it aside, another one does that unit at the end. */
struct run_job {
    struct matmul *m;
    const struct matmul_op *ops;
    const struct tensor *then;
    size_t unit_rows, units, workers;
    atomic_size_t next;
};

static size_t tile_of(const struct matmul *m, const struct tensor *w)
{
    enum form form = form_of(m, w->type);
    return form == FORM_Q1 ? matmul_family(m, m->tokens)->row_tile : form == FORM_R64 ? R64_ROWS : 16;
}

/* Rows of a unit. Few tokens: see UNIT_BYTES. Many: at most 1 MB of weights, so that a thread that
 * the system delays holds up little, but large, since each unit reads all packed inputs. */
static size_t unit_rows(const struct matmul *m, const struct tensor *w)
{
    bool many = m->tokens > FEW_TOKENS;
    size_t fair = w->rows / ((size_t)pool_threads(m->pool) * (many ? 3 : 6)), bytes = many ? (size_t)1 << 20 : UNIT_BYTES;
    return ROUND_UP(MAX(MIN(fair, bytes / w->row_bytes), (size_t)1), tile_of(m, w));
}

static size_t units_of(const struct run_job *job, size_t op) { return DIV_UP(job->ops[op].w->rows, job->unit_rows); }

/* The unit that a worker does next; job->units when there is none. */
static size_t claim(struct run_job *job, size_t worker)
{
    atomic_bool *begun = job->m->begun;
    if (worker < job->workers && !atomic_exchange_explicit(&begun[worker], true, memory_order_relaxed))
        return worker;
    size_t unit = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
    if (unit < job->units)
        return unit;
    for (unit = 0; unit < job->workers; unit++)
        if (!atomic_exchange_explicit(&begun[unit], true, memory_order_relaxed))
            return unit;
    return job->units;
}

/* Where a unit lies: which of the matrices, from which row on. */
static const struct matmul_op *find_unit(const struct run_job *job, size_t unit, size_t *row0, size_t *row1)
{
    size_t i = 0;
    while (unit >= units_of(job, i))
        unit -= units_of(job, i++);
    *row0 = unit * job->unit_rows;
    *row1 = MIN(*row0 + job->unit_rows, job->ops[i].w->rows);
    return &job->ops[i];
}

/* The weights of a unit, or those that this worker begins the next matmul with. */
static struct q1_next weights_of(const struct run_job *job, size_t unit, size_t worker)
{
    if (unit < job->units) {
        size_t row0, row1;
        const struct tensor *w = find_unit(job, unit, &row0, &row1)->w;
        return (struct q1_next){w->data + row0 * w->row_bytes, (row1 - row0) * w->row_bytes};
    }
    const struct tensor *w = job->then;
    size_t rows = w ? unit_rows(job->m, w) : 0;
    if (!w || worker * rows >= w->rows)
        return (struct q1_next){0};
    return (struct q1_next){w->data + worker * rows * w->row_bytes, MIN(rows, w->rows - worker * rows) * w->row_bytes};
}

static void run_units(void *arg, size_t begin, size_t end, int worker)
{
    (void)begin;
    (void)end;
    struct run_job *job = arg;
    size_t unit = claim(job, (size_t)worker);
    const uint8_t *packed = unit < job->units && job->m->own_packed ? pack_own(job->m, worker) : job->m->packed;
    while (unit < job->units) {
        size_t row0, row1, next = claim(job, (size_t)worker);
        const struct matmul_op *op = find_unit(job, unit, &row0, &row1);
        switch (form_of(job->m, op->w->type)) {
        case FORM_FLOAT:
            float_rows(job->m, op, row0, row1, worker);
            break;
        case FORM_CODES:
            code_rows(job->m, op, row0, row1, worker);
            break;
        case FORM_Q1:
            q1_rows(job->m, op->y, op->y_stride, op->w->data, row0, row1, op->w->cols / GROUP, packed,
                    weights_of(job, next, (size_t)worker));
            break;
        case FORM_R64:
            r64_rows(job->m, op, row0, row1, worker, packed, weights_of(job, next, (size_t)worker));
            break;
        }
        unit = next;
    }
}

void matmul_run(struct matmul *m, const struct matmul_op *ops, size_t n_ops, const struct tensor *then)
{
    struct run_job job = {.m = m, .ops = ops, .unit_rows = unit_rows(m, ops[0].w)};
    for (size_t i = 1; i < n_ops; i++)
        job.unit_rows = ROUND_UP(job.unit_rows, tile_of(m, ops[i].w)); /* powers of two */
    for (size_t i = 0; i < n_ops; i++)
        job.units += units_of(&job, i);
    job.workers = MIN(job.units, (size_t)pool_threads(m->pool));
    for (size_t from = 0; from < m->tokens; from += m->span) {
        if (m->span0 != from) {
            m->span0 = from;
            size_t items = DIV_UP(span_end(m) - from, m->chunk) * (m->cols / GROUP);
            pool_run(m->pool, items, items_at_once(m, items), pack_span, m);
        }
        job.then = from + m->span < m->tokens ? ops[0].w : then;
        atomic_init(&job.next, job.workers);
        for (size_t i = 0; i < job.workers; i++)
            atomic_store_explicit(&m->begun[i], false, memory_order_relaxed);
        pool_run(m->pool, job.workers, 1, run_units, &job);
    }
}
