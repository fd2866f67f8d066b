/* The Qwen3 forward pass, in order. For every layer (formats: GGUF qwen3, no biases):
 *
 *     h = rmsnorm(x; attn_norm)
 *     q, k, v = Wq h, Wk h, Wv h                 q: (heads, dim), k, v: (kv heads, dim)
 *     q, k = rope(rmsnorm(q; q_norm)), rope(rmsnorm(k; k_norm))      per head
 *     x = x + Wo attention(q, K, V)
 *     h = rmsnorm(x; ffn_norm)
 *     x = x + Wdown(silu(Wgate h) * (Wup h))
 *
 * and logits = Wout rmsnorm(x; output_norm). */
#include "forward.h"

#include <math.h>
#include <string.h>

#include "attention.h"
#include "clock.h"
#include "mathfn.h"

/* YaRN (formula of llama.cpp and Hugging Face): the dimension pair that makes `turns`
 * full turns within the original context. */
static double yarn_dim(const struct model *m, double turns)
{
    const double two_pi = 6.283185307179586;
    return (double)m->head_dim * log_f64((double)m->yarn_original_ctx / (turns * two_pi)) / (2.0 * log_f64(m->rope_base));
}

static double clamp(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

void forward_init(struct forward *f)
{
    const struct model *m = f->model;
    size_t half = m->head_dim / 2;
    f->mscale = 1;
    double low = 0, high = 0;
    if (m->yarn_factor != 0) {
        low = MAX(floor(yarn_dim(m, m->yarn_beta_fast)), 0.0);
        high = MIN(ceil(yarn_dim(m, m->yarn_beta_slow)), (double)m->head_dim - 1);
        f->mscale = m->yarn_attn_factor * (m->yarn_factor > 1 ? 0.1 * log_f64(m->yarn_factor) + 1.0 : 1.0);
    }
    for (size_t i = 0; i < half; i++) {
        double freq = pow_f64(m->rope_base, -2.0 * (double)i / (double)m->head_dim);
        f->freq[i] = freq;
        if (m->yarn_factor != 0) {
            /* Fast pairs (small i) keep their frequency, slow ones are interpolated. */
            double ramp = clamp(((double)i - low) / MAX(0.001, high - low), 0, 1);
            double keep = (1.0 - ramp) * m->yarn_ext_factor;
            f->freq[i] = freq / m->yarn_factor * (1.0 - keep) + freq * keep;
        }
    }
}

void forward_layout(struct forward *f, struct arena *a)
{
    const struct model *m = f->model;
    size_t rows = f->max_rows, q_width = m->n_heads * m->head_dim, kv_width = m->n_kv_heads * m->head_dim;
    f->mm.max_cols = MAX(MAX(m->n_embd, m->n_ff), q_width);
    f->mm.max_tokens = rows;
    matmul_layout(&f->mm, a);
    f->freq = ARENA_ARRAY(a, double, m->head_dim / 2);
    f->x = ARENA_ARRAY(a, float, rows * m->n_embd);
    f->h = ARENA_ARRAY(a, float, rows * m->n_embd);
    f->q = ARENA_ARRAY(a, float, rows *q_width);
    f->k = ARENA_ARRAY(a, float, rows *kv_width);
    f->v = ARENA_ARRAY(a, float, rows *kv_width);
    f->attn = ARENA_ARRAY(a, float, rows *q_width);
    f->gate = ARENA_ARRAY(a, float, rows * m->n_ff);
    f->up = ARENA_ARRAY(a, float, rows * m->n_ff);
    f->cos = ARENA_ARRAY(a, float, rows * m->head_dim / 2);
    f->sin = ARENA_ARRAY(a, float, rows * m->head_dim / 2);
    f->partial = ARENA_ARRAY(a, float, attention_partial_floats(m));
    f->worker_floats = ROUND_UP(attention_worker_floats(m), (size_t)16);
    f->worker = ARENA_ARRAY(a, float, f->worker_floats *(size_t)pool_threads(f->mm.pool));
    f->max_logit_rows = MIN(rows, (size_t)16);
    f->logits = ARENA_ARRAY(a, float, f->max_logit_rows * m->n_vocab);
}

/* What the parallel loops below share. */
struct step {
    struct forward *f;
    const struct row *rows;
    size_t n;
    const struct layer *layer;
    size_t layer_index;
    const float *norm; /* weights of the norm to apply */
    const float *in;
    float *out;
};

/* Rows per piece of a loop that touches `width` floats of each row. */
static size_t grain(size_t width) { return MAX((size_t)8192 / width, (size_t)1); }

static void embed_rows(void *arg, size_t begin, size_t end, int worker)
{
    (void)worker;
    const struct step *s = arg;
    struct forward *f = s->f;
    const struct model *m = f->model;
    size_t half = m->head_dim / 2;
    for (size_t r = begin; r < end; r++) {
        tensor_row(f->x + r * m->n_embd, &m->token_embd, (size_t)s->rows[r].token);
        for (size_t i = 0; i < half; i++) {
            double sine, cosine;
            sincos_f64((double)s->rows[r].pos * f->freq[i], &sine, &cosine);
            f->cos[r * half + i] = (float)(cosine * f->mscale);
            f->sin[r * half + i] = (float)(sine * f->mscale);
        }
    }
}

static void norm_rows(void *arg, size_t begin, size_t end, int worker)
{
    (void)worker;
    const struct step *s = arg;
    const struct model *m = s->f->model;
    for (size_t r = begin; r < end; r++)
        s->f->mm.kernels->rmsnorm(s->out + r * m->n_embd, s->in + r * m->n_embd, s->norm, m->n_embd, m->rms_eps);
}

/* x += h, then h = rmsnorm(x): what was just multiplied is in a cache, and threads meet once. */
static void add_norm_rows(void *arg, size_t begin, size_t end, int worker)
{
    (void)worker;
    const struct step *s = arg;
    const struct forward *f = s->f;
    size_t width = f->model->n_embd;
    for (size_t r = begin; r < end; r++) {
        f->mm.kernels->add(f->x + r * width, f->h + r * width, width);
        f->mm.kernels->rmsnorm(f->h + r * width, f->x + r * width, s->norm, width, f->model->rms_eps);
    }
}

/* Items are (row, kv head): its query heads and its key are normed and rotated, key and
 * value stored. */
static void store_heads(void *arg, size_t begin, size_t end, int worker)
{
    (void)worker;
    const struct step *s = arg;
    struct forward *f = s->f;
    const struct model *m = f->model;
    const struct kernels *kn = f->mm.kernels;
    size_t dim = m->head_dim, group = m->n_heads / m->n_kv_heads;
    for (size_t item = begin; item < end; item++) {
        size_t head = item % m->n_kv_heads, r = item / m->n_kv_heads;
        const float *c = f->cos + r * dim / 2, *sn = f->sin + r * dim / 2;
        for (size_t j = 0; j < group; j++) {
            float *q = f->q + (r * m->n_heads + head * group + j) * dim;
            kn->rmsnorm(q, q, s->layer->q_norm, dim, m->rms_eps);
            kn->rope(q, c, sn, dim);
        }
        float *k = f->k + (r * m->n_kv_heads + head) * dim;
        kn->rmsnorm(k, k, s->layer->k_norm, dim, m->rms_eps);
        kn->rope(k, c, sn, dim);
        const struct row *row = &s->rows[r];
        kv_store(f->kv, kn, row->blocks[row->pos / KV_BLOCK], s->layer_index, head, row->pos, k, f->v + (r * m->n_kv_heads + head) * dim);
    }
}

static void add_rows(void *arg, size_t begin, size_t end, int worker)
{
    (void)worker;
    const struct step *s = arg;
    size_t width = s->f->model->n_embd;
    s->f->mm.kernels->add(s->f->x + begin * width, s->f->h + begin * width, (end - begin) * width);
}

static enum sg_status damaged(struct sg_error *err)
{
    return fail(err, SG_FAIL,
                "a number that is not finite appeared during evaluation: the model file is damaged (`signum check` finds out where)");
}

/* Adds the time since the last lap to a part of the profile: 20 ns a call, a few hundred
 * calls a pass. */
static void lap(struct forward *f, double *part)
{
    uint64_t now = clock_ns();
    *part += 1e-9 * (double)(now - f->lap);
    f->lap = now;
}

/* The current input of the matmuls, made from x (n, cols) for these weights. */
static enum sg_status prepare(struct forward *f, const float *x, size_t n, size_t cols, const struct tensor *const *weights,
                              size_t n_weights, struct sg_error *err)
{
    lap(f, &f->profile.elementwise);
    bool finite = matmul_input(&f->mm, x, n, cols, weights, n_weights);
    lap(f, &f->profile.prepare);
    return finite ? SG_OK : damaged(err);
}

/* The same from gate and up. */
static enum sg_status prepare_down(struct forward *f, size_t n, const struct tensor *down, struct sg_error *err)
{
    lap(f, &f->profile.elementwise);
    bool finite = matmul_input_silu(&f->mm, f->gate, f->up, n, f->model->n_ff, (const struct tensor *const[]){down}, 1);
    lap(f, &f->profile.prepare);
    return finite ? SG_OK : damaged(err);
}

/* `then`: the first matrix that is multiplied after these. */
static void multiply(struct forward *f, const struct matmul_op *ops, size_t n_ops, const struct tensor *then)
{
    matmul_run(&f->mm, ops, n_ops, then);
    for (size_t i = 0; i < n_ops; i++) {
        f->profile.weight_bytes += ops[i].w->rows * ops[i].w->row_bytes;
        f->profile.macs += f->mm.tokens * ops[i].w->rows * ops[i].w->cols;
    }
    lap(f, &f->profile.matmul);
}

/* h is x after this layer's attn_norm, and then after the next one's; of the last layer x alone is wanted. */
static enum sg_status run_layer(struct step *s, struct sg_error *err)
{
    struct forward *f = s->f;
    const struct model *m = f->model;
    const struct layer *l = s->layer;
    struct pool *pool = f->mm.pool;
    size_t n = s->n, q_width = m->n_heads * m->head_dim, kv_width = m->n_kv_heads * m->head_dim;
    bool last = s->layer_index + 1 == m->n_layers;

    TRY(prepare(f, f->h, n, m->n_embd, (const struct tensor *const[]){&l->q, &l->k, &l->v}, 3, err));
    multiply(f, (const struct matmul_op[]){{&l->q, f->q, q_width}, {&l->k, f->k, kv_width}, {&l->v, f->v, kv_width}}, 3, &l->attn_output);
    pool_run(pool, n * m->n_kv_heads, DIV_UP(grain(q_width) * m->n_kv_heads, (size_t)4), store_heads, s);
    lap(f, &f->profile.elementwise);
    attention_run(f, s->rows, n, s->layer_index, f->q, f->attn);
    lap(f, &f->profile.attention);
    TRY(prepare(f, f->attn, n, q_width, (const struct tensor *const[]){&l->attn_output}, 1, err));
    multiply(f, (const struct matmul_op[]){{&l->attn_output, f->h, m->n_embd}}, 1, &l->gate);
    s->norm = l->ffn_norm;
    pool_run(pool, n, grain(m->n_embd), add_norm_rows, s);

    TRY(prepare(f, f->h, n, m->n_embd, (const struct tensor *const[]){&l->gate, &l->up}, 2, err));
    multiply(f, (const struct matmul_op[]){{&l->gate, f->gate, m->n_ff}, {&l->up, f->up, m->n_ff}}, 2, &l->down);
    TRY(prepare_down(f, n, &l->down, err));
    multiply(f, (const struct matmul_op[]){{&l->down, f->h, m->n_embd}}, 1, last ? &m->output : &l[1].q);
    s->norm = last ? NULL : l[1].attn_norm;
    pool_run(pool, n, grain(m->n_embd), last ? add_rows : add_norm_rows, s);
    return SG_OK;
}

/* Logits of the rows that want them, max_logit_rows at a time. */
static enum sg_status run_logits(struct step *s, forward_logits_fn *on_logits, void *arg, struct sg_error *err)
{
    struct forward *f = s->f;
    const struct model *m = f->model;
    size_t picked[16], r = 0;
    while (r < s->n) {
        size_t n = 0;
        for (; r < s->n && n < MIN(f->max_logit_rows, ARRAY_LEN(picked)); r++) {
            if (!s->rows[r].want_logits)
                continue;
            /* rows are compacted into h; the norm then works in place */
            memcpy(f->h + n * m->n_embd, f->x + r * m->n_embd, m->n_embd * sizeof *f->h);
            picked[n++] = r;
        }
        if (n == 0)
            break;
        s->norm = m->output_norm;
        s->in = f->h;
        s->out = f->h;
        pool_run(f->mm.pool, n, grain(m->n_embd), norm_rows, s);
        TRY(prepare(f, f->h, n, m->n_embd, (const struct tensor *const[]){&m->output}, 1, err));
        multiply(f, (const struct matmul_op[]){{&m->output, f->logits, m->n_vocab}}, 1, NULL);
        for (size_t i = 0; i < n; i++) {
            const float *logits = f->logits + i * m->n_vocab;
            if (f->mm.kernels->argmax(logits, m->n_vocab) < 0)
                return damaged(err);
            f->profile.logit_rows++;
            lap(f, &f->profile.elementwise);
            on_logits(arg, picked[i], logits);
            f->lap = clock_ns(); /* what the callback does is its own time */
        }
    }
    return SG_OK;
}

enum sg_status forward_run(struct forward *f, const struct row *rows, size_t n, forward_logits_fn *on_logits, void *arg,
                           struct sg_error *err)
{
    const struct model *m = f->model;
    struct step s = {.f = f, .rows = rows, .n = n};
    uint64_t waited = pool_wait_ns(f->mm.pool);
    f->lap = clock_ns();
    pool_run(f->mm.pool, n, grain(m->n_embd), embed_rows, &s);
    s.norm = m->layers[0].attn_norm;
    s.in = f->x;
    s.out = f->h;
    pool_run(f->mm.pool, n, grain(m->n_embd), norm_rows, &s);
    for (size_t layer = 0; layer < m->n_layers; layer++) {
        if (f->interrupt && *f->interrupt)
            return fail(err, SG_INTERRUPTED, "interrupted");
        s.layer = &m->layers[layer];
        s.layer_index = layer;
        TRY(run_layer(&s, err));
    }
    TRY(run_logits(&s, on_logits, arg, err));
    f->profile.passes++;
    f->profile.rows += n;
    f->profile.wait += 1e-9 * (double)(pool_wait_ns(f->mm.pool) - waited);
    for (size_t i = 0; i < n; i++) {
        f->profile.kv_bytes += (rows[i].pos + 1) * f->kv->block_bytes / KV_BLOCK;
        f->profile.attention_macs += 2 * m->n_layers * m->n_heads * m->head_dim * (uint64_t)(rows[i].pos + 1);
    }
    return SG_OK;
}
