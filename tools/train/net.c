/* The whole network of the trainer: forward, backward, AdamW. Python (net.py) calls it with flat arrays.
 *
 * Why not a framework: at this width the matrix products are half of the work and the rest are passes over memory,
 * which a framework does one by one. Here each pass is one loop, and attention runs inside documents only, so that
 * short conversations packed into one long row cost what they are worth and cannot see each other.
 *
 * Every matrix, embedding included, is used as sign(w) * fp16(mean|w|) per 128 inputs; its gradient goes to w unchanged
 * (straight-through). Every matmul input is rounded to int8 per 128 like in the engine, its gradient unchanged too.
 * Needs a CBLAS (OpenBLAS). Built by net.py with -ffast-math: this is training; the engine's numerics are its own.
 */
#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX512BF16__
#include "gemm.h"
#endif

enum {
    D = 64,
    GROUP = 128
}; /* head dimension; weights and activations per scale */
enum {
    NOT = 111,
    TRANS = 112,
    ROWS = 101
};
void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb, float beta,
                 float *c, int ldc);

typedef struct {
    int vocab, d, layers, heads, kv, ffn, quantize_activations;
    float theta;
} Shape;

typedef struct { /* offsets into the flat parameter array */
    size_t norm1, wqkv, qnorm, knorm, wo, norm2, wgu, wdown;
} Layer;

typedef struct { /* what the backward pass needs of one layer, per token */
    float *x, *h1, *qkv, *rot, *att, *attq, *lse, *x1, *h2, *gu, *s, *r1, *r2, *rh;
} Kept;

typedef struct {
    Shape sh;
    int cap, dq, dkv, dqkv, drot;
    size_t count, emb, outnorm;
    Layer *at;
    Kept *keep;
    float *w; /* weights as used: binarized matrices, norms as they are */
    float *x, *h, *r, *xs, *logits, *dx, *dh, *dbig, *drotb, *datt, *cos, *sin;
    int *where;
    int max_pos;
} Net;

static float *floats(size_t n)
{
    float *p = aligned_alloc(64, (n * sizeof(float) + 63) / 64 * 64);
    if (!p)
        abort();
    return p;
}

size_t net_count(const Net *n) { return n->count; }
float *net_weights(Net *n) { return n->w; }

Net *net_new(const Shape *sh, int cap, int max_pos)
{
    mallopt(M_MMAP_THRESHOLD, 1 << 30); /* keep freed scratch: clearing fresh pages took 5 % of the time */
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    Net *n = calloc(1, sizeof *n);
    int d = sh->d, f = sh->ffn;
    n->sh = *sh;
    n->cap = cap;
    n->max_pos = max_pos;
    n->dq = sh->heads * D;
    n->dkv = sh->kv * D;
    n->dqkv = n->dq + 2 * n->dkv;
    n->drot = n->dq + n->dkv;
    n->at = calloc(sh->layers, sizeof *n->at);
    n->keep = calloc(sh->layers, sizeof *n->keep);
    size_t o = 0;
    n->emb = o;
    o += (size_t)sh->vocab * d;
    n->outnorm = o;
    o += d;
    for (int l = 0; l < sh->layers; l++) {
        Layer *a = &n->at[l];
        a->norm1 = o;
        o += d;
        a->wqkv = o;
        o += (size_t)n->dqkv * d; /* q, k, v rows one after the other: one product */
        a->qnorm = o;
        o += D;
        a->knorm = o;
        o += D;
        a->wo = o;
        o += (size_t)d * n->dq;
        a->norm2 = o;
        o += d;
        a->wgu = o;
        o += (size_t)2 * f * d;
        a->wdown = o;
        o += (size_t)d * f;
        Kept *k = &n->keep[l];
        size_t c = cap;
        k->x = floats(c * d);
        k->h1 = floats(c * d);
        k->qkv = floats(c * n->dqkv);
        k->rot = floats(c * n->drot);
        k->att = floats(c * n->dq);
        k->attq = floats(c * n->dq);
        k->lse = floats(c * sh->heads);
        k->x1 = floats(c * d);
        k->h2 = floats(c * d);
        k->gu = floats(c * 2 * f);
        k->s = floats(c * f);
        k->r1 = floats(c);
        k->r2 = floats(c);
        k->rh = floats(c * (sh->heads + sh->kv));
    }
    n->count = o;
    n->w = floats(o);
    size_t c = cap;
    int wide = 2 * f > n->dqkv ? 2 * f : n->dqkv;
    n->x = floats(c * d);
    n->h = floats(c * d);
    n->r = floats(c);
    n->xs = floats(c * d);
    n->logits = floats(c * sh->vocab);
    n->dx = floats(c * d);
    n->dh = floats(c * (d > f ? d : f));
    n->dbig = floats(c * wide);
    n->drotb = floats(c * n->drot);
    n->datt = floats(c * n->dq);
    n->where = malloc(c * sizeof(int));
    n->cos = floats((size_t)max_pos * D / 2);
    n->sin = floats((size_t)max_pos * D / 2);
    for (int p = 0; p < max_pos; p++)
        for (int i = 0; i < D / 2; i++) {
            double angle = p * pow(sh->theta, -2.0 * i / D);
            n->cos[p * D / 2 + i] = (float)cos(angle);
            n->sin[p * D / 2 + i] = (float)sin(angle);
        }
    return n;
}

/* ---- weights ---- */

static void binarize_run(const float *w, float *out, size_t count)
{
#pragma omp parallel for schedule(static)
    for (size_t g = 0; g < count / GROUP; g++) {
        const float *x = w + g * GROUP;
        float *y = out + g * GROUP, sum = 0;
        for (int i = 0; i < GROUP; i++)
            sum += fabsf(x[i]);
        float scale = (float)(_Float16)(sum / GROUP);
        for (int i = 0; i < GROUP; i++)
            y[i] = x[i] >= 0 ? scale : -scale;
    }
}

/* Latent weights -> what the forward pass uses. Every input dimension is a multiple of 128, so groups never straddle rows. */
void net_binarize(Net *n, const float *p)
{
    const Shape *s = &n->sh;
    binarize_run(p + n->emb, n->w + n->emb, (size_t)s->vocab * s->d);
    memcpy(n->w + n->outnorm, p + n->outnorm, s->d * sizeof(float));
    for (int l = 0; l < s->layers; l++) {
        Layer *a = &n->at[l];
        size_t d = s->d;
        memcpy(n->w + a->norm1, p + a->norm1, d * sizeof(float));
        memcpy(n->w + a->norm2, p + a->norm2, d * sizeof(float));
        memcpy(n->w + a->qnorm, p + a->qnorm, 2 * D * sizeof(float));
        binarize_run(p + a->wqkv, n->w + a->wqkv, n->dqkv * d);
        binarize_run(p + a->wo, n->w + a->wo, d * n->dq);
        binarize_run(p + a->wgu, n->w + a->wgu, 2 * s->ffn * d);
        binarize_run(p + a->wdown, n->w + a->wdown, d * s->ffn);
    }
}

/* ---- row-wise pieces ---- */

/* The engine's int8: per 128, s = amax/127, q = rint(x * (127/amax)). */
static inline void fake_quantize(const float *x, float *y, int n)
{
    for (int g = 0; g < n; g += GROUP) {
        float amax = 0;
        for (int i = g; i < g + GROUP; i++)
            amax = fmaxf(amax, fabsf(x[i]));
        if (amax < 0x1p-100f) {
            for (int i = g; i < g + GROUP; i++)
                y[i] = 0;
            continue;
        }
        float s = amax / 127, inv = 127 / amax;
        for (int i = g; i < g + GROUP; i++) {
            float q = rintf(x[i] * inv);
            y[i] = s * fminf(127, fmaxf(-127, q));
        }
    }
}

static void norm_forward(const float *x, const float *w, float *h, float *r, int rows, int d, int quantize)
{
#pragma omp parallel for schedule(static)
    for (int i = 0; i < rows; i++) {
        const float *a = x + (size_t)i * d;
        float *y = h + (size_t)i * d, ss = 0;
        for (int j = 0; j < d; j++)
            ss += a[j] * a[j];
        float inv = r[i] = 1 / sqrtf(ss / d + 1e-6f);
        for (int j = 0; j < d; j++)
            y[j] = a[j] * inv * w[j];
        if (quantize)
            fake_quantize(y, y, d);
    }
}

/* dx += gradient through the norm; gw += gradient of its weights. */
static void norm_backward(const float *x, const float *w, const float *r, const float *dy, float *dx, float *gw, int rows, int d)
{
#pragma omp parallel for schedule(static)
    for (int i = 0; i < rows; i++) {
        const float *a = x + (size_t)i * d, *g = dy + (size_t)i * d;
        float *o = dx + (size_t)i * d, dot = 0, inv = r[i];
        for (int j = 0; j < d; j++)
            dot += g[j] * w[j] * a[j];
        float c = dot * inv * inv * inv / d;
        for (int j = 0; j < d; j++)
            o[j] += g[j] * w[j] * inv - a[j] * c;
    }
#pragma omp parallel for schedule(static)
    for (int b = 0; b < d; b += 64) { /* by columns: the same sums for any number of threads */
        float acc[64] = {0};
        int e = d - b < 64 ? d - b : 64;
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < e; j++)
                acc[j] += dy[(size_t)i * d + b + j] * x[(size_t)i * d + b + j] * r[i];
        for (int j = 0; j < e; j++)
            gw[b + j] += acc[j];
    }
}

/* Per-head norm, then RoPE on pairs (i, i + D/2). src has stride ss, dst stride ds. */
static void rope_forward(const Net *n, const float *qkv, float *rot, float *rh, const float *qn, const float *kn, const int *pos, int rows)
{
    int heads = n->sh.heads, all = heads + n->sh.kv;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < rows; i++) {
        const float *c = n->cos + pos[i] * (D / 2), *s = n->sin + pos[i] * (D / 2);
        for (int h = 0; h < all; h++) {
            const float *x = qkv + (size_t)i * n->dqkv + h * D, *w = h < heads ? qn : kn;
            float *y = rot + (size_t)i * n->drot + h * D, ss = 0;
            for (int j = 0; j < D; j++)
                ss += x[j] * x[j];
            float inv = rh[(size_t)i * all + h] = 1 / sqrtf(ss / D + 1e-6f);
            for (int j = 0; j < D / 2; j++) {
                float a = x[j] * inv * w[j], b = x[j + D / 2] * inv * w[j + D / 2];
                y[j] = a * c[j] - b * s[j];
                y[j + D / 2] = a * s[j] + b * c[j];
            }
        }
    }
}

static void rope_backward(const Net *n, const float *qkv, float *drot, const float *rh, const float *qn, const float *kn, float *gqn,
                          float *gkn, const int *pos, float *dqkv, int rows)
{
    int heads = n->sh.heads, all = heads + n->sh.kv;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < rows; i++) {
        const float *c = n->cos + pos[i] * (D / 2), *s = n->sin + pos[i] * (D / 2);
        for (int h = 0; h < all; h++) {
            const float *x = qkv + (size_t)i * n->dqkv + h * D, *w = h < heads ? qn : kn;
            float *g = drot + (size_t)i * n->drot + h * D, *o = dqkv + (size_t)i * n->dqkv + h * D;
            float inv = rh[(size_t)i * all + h], dot = 0;
            for (int j = 0; j < D / 2; j++) { /* rotate back in place */
                float a = g[j] * c[j] + g[j + D / 2] * s[j], b = g[j + D / 2] * c[j] - g[j] * s[j];
                g[j] = a;
                g[j + D / 2] = b;
            }
            for (int j = 0; j < D; j++)
                dot += g[j] * w[j] * x[j];
            float k = dot * inv * inv * inv / D;
            for (int j = 0; j < D; j++)
                o[j] = g[j] * w[j] * inv - x[j] * k;
        }
    }
    float aq[D] = {0}, ak[D] = {0};
    for (int i = 0; i < rows; i++)
        for (int h = 0; h < all; h++) {
            float *acc = h < heads ? aq : ak, inv = rh[(size_t)i * all + h];
            const float *g = drot + (size_t)i * n->drot + h * D, *x = qkv + (size_t)i * n->dqkv + h * D;
            for (int j = 0; j < D; j++)
                acc[j] += g[j] * x[j] * inv;
        }
    for (int j = 0; j < D; j++)
        gqn[j] += aq[j], gkn[j] += ak[j];
}

static void swiglu_forward(const float *gu, float *s, int rows, int f, int quantize)
{
#pragma omp parallel for schedule(static)
    for (int i = 0; i < rows; i++) {
        const float *g = gu + (size_t)i * 2 * f, *u = g + f;
        float *y = s + (size_t)i * f;
        for (int j = 0; j < f; j++)
            y[j] = g[j] / (1 + expf(-g[j])) * u[j];
        if (quantize)
            fake_quantize(y, y, f);
    }
}

static void swiglu_backward(const float *gu, const float *ds, float *dgu, int rows, int f)
{
#pragma omp parallel for schedule(static)
    for (int i = 0; i < rows; i++) {
        const float *g = gu + (size_t)i * 2 * f, *u = g + f, *o = ds + (size_t)i * f;
        float *dg = dgu + (size_t)i * 2 * f, *du = dg + f;
        for (int j = 0; j < f; j++) {
            float sig = 1 / (1 + expf(-g[j])), silu = g[j] * sig;
            dg[j] = o[j] * u[j] * (sig + silu * (1 - sig));
            du[j] = o[j] * silu;
        }
    }
}

/* ---- attention inside documents ---- */

static void transpose(const float *x, size_t stride, float *t, int len, int pad) /* rows of D -> D rows of pad */
{
    for (int j = 0; j < len; j++)
        for (int c = 0; c < D; c++)
            t[(size_t)c * pad + j] = x[j * stride + c];
    for (int c = 0; c < D; c++)
        for (int j = len; j < pad; j++)
            t[(size_t)c * pad + j] = 0;
}

static inline void dots(const float *q, const float *kt, int pad, int n, float scale, float *out)
{
    for (int b = 0; b < n; b += 64) {
        float acc[64] = {0};
        for (int c = 0; c < D; c++)
            for (int j = 0; j < 64; j++)
                acc[j] += q[c] * kt[(size_t)c * pad + b + j];
        for (int j = 0; j < 64; j++)
            out[b + j] = acc[j] * scale;
    }
}

static inline void mix(const float *p, const float *x, size_t stride, int n, float *out) /* out = sum_j p[j] x[j] */
{
    float acc[D] = {0};
    for (int j = 0; j < n; j++)
        for (int c = 0; c < D; c++)
            acc[c] += p[j] * x[j * stride + c];
    for (int c = 0; c < D; c++)
        out[c] = acc[c];
}

static int documents(const int *start, int rows, int *first)
{
    int docs = 0;
    for (int i = 0; i < rows; i++)
        if (start[i] == i)
            first[docs++] = i;
    first[docs] = rows;
    return docs;
}

static void attention_forward(const Net *n, const Kept *k, const int *first, int docs)
{
    int group = n->sh.heads / n->sh.kv;
    float scale = 1 / sqrtf(D);
#pragma omp parallel for schedule(dynamic, 1) collapse(2)
    for (int t = 0; t < docs; t++)
        for (int g = 0; g < n->sh.kv; g++) {
            int s = first[t], len = first[t + 1] - s, pad = (len + 63) / 64 * 64;
            float *kt = floats((size_t)pad * (D + 1)), *p = kt + (size_t)pad * D;
            const float *key = k->rot + (size_t)s * n->drot + n->dq + g * D;
            const float *value = k->qkv + (size_t)s * n->dqkv + n->dq + n->dkv + g * D;
            transpose(key, n->drot, kt, len, pad);
            for (int i = 0; i < len; i++)
                for (int h = g * group; h < (g + 1) * group; h++) {
                    dots(k->rot + (size_t)(s + i) * n->drot + h * D, kt, pad, i + 1, scale, p);
                    float top = p[0], sum = 0;
                    for (int j = 1; j <= i; j++)
                        top = fmaxf(top, p[j]);
                    for (int j = 0; j <= i; j++)
                        sum += p[j] = expf(p[j] - top);
                    k->lse[(size_t)(s + i) * n->sh.heads + h] = top + logf(sum);
                    float inv = 1 / sum;
                    for (int j = 0; j <= i; j++)
                        p[j] *= inv;
                    mix(p, value, n->dqkv, i + 1, k->att + (size_t)(s + i) * n->dq + h * D);
                }
            free(kt);
        }
}

static void attention_backward(const Net *n, const Kept *k, const int *first, int docs, const float *datt, float *drot, float *dqkv)
{
    int group = n->sh.heads / n->sh.kv;
    float scale = 1 / sqrtf(D);
#pragma omp parallel for schedule(dynamic, 1) collapse(2)
    for (int t = 0; t < docs; t++)
        for (int g = 0; g < n->sh.kv; g++) {
            int s = first[t], len = first[t + 1] - s, pad = (len + 63) / 64 * 64;
            float *kt = floats((size_t)pad * (2 * D + 2)), *vt = kt + (size_t)pad * D, *p = vt + (size_t)pad * D, *dp = p + pad;
            size_t sk = n->drot, sv = n->dqkv;
            const float *key = k->rot + (size_t)s * sk + n->dq + g * D;
            const float *value = k->qkv + (size_t)s * sv + n->dq + n->dkv + g * D;
            float *dkey = drot + (size_t)s * sk + n->dq + g * D, *dvalue = dqkv + (size_t)s * sv + n->dq + n->dkv + g * D;
            transpose(key, sk, kt, len, pad);
            transpose(value, sv, vt, len, pad);
            for (int i = 0; i < len; i++)
                for (int c = 0; c < D; c++)
                    dkey[i * sk + c] = dvalue[i * sv + c] = 0;
            for (int i = 0; i < len; i++)
                for (int h = g * group; h < (g + 1) * group; h++) {
                    const float *q = k->rot + (size_t)(s + i) * sk + h * D;
                    const float *o = k->att + (size_t)(s + i) * n->dq + h * D, *go = datt + (size_t)(s + i) * n->dq + h * D;
                    float lse = k->lse[(size_t)(s + i) * n->sh.heads + h], delta = 0;
                    for (int c = 0; c < D; c++)
                        delta += o[c] * go[c];
                    dots(q, kt, pad, i + 1, scale, p);
                    dots(go, vt, pad, i + 1, 1, dp);
                    for (int j = 0; j <= i; j++) {
                        p[j] = expf(p[j] - lse);
                        dp[j] = p[j] * (dp[j] - delta) * scale;
                    }
                    mix(dp, key, sk, i + 1, drot + (size_t)(s + i) * sk + h * D);
                    for (int j = 0; j <= i; j++)
                        for (int c = 0; c < D; c++) {
                            dkey[j * sk + c] += dp[j] * q[c];
                            dvalue[j * sv + c] += p[j] * go[c];
                        }
                }
            free(kt);
        }
}

/* ---- products: y = x w^T, dx = dy w, gw += dy^T x ---- */

#ifdef __AVX512BF16__
static int exact = 1; /* fp32 products (OpenBLAS) instead of bf16 */
void net_exact(int on) { exact = on; }
#else
enum {
    exact = 1
};
void net_exact(int on) { (void)on; }
typedef struct {
    const float *p;
    size_t row, k;
} Operand;
static void bf16_mm(Operand a, Operand b, int m, int n, int k, float *c, int add)
{
    (void)a, (void)b, (void)m, (void)n, (void)k, (void)c, (void)add;
}
#endif

static void forward_mm(const float *x, const float *w, float *y, int rows, int in, int out, float beta)
{
    if (exact)
        cblas_sgemm(ROWS, NOT, TRANS, rows, out, in, 1, x, in, w, in, beta, y, out);
    else
        bf16_mm((Operand){x, in, 1}, (Operand){w, in, 1}, rows, out, in, y, beta != 0);
}

static void input_mm(const float *dy, const float *w, float *dx, int rows, int in, int out)
{
    if (exact)
        cblas_sgemm(ROWS, NOT, NOT, rows, in, out, 1, dy, out, w, in, 0, dx, in);
    else
        bf16_mm((Operand){dy, out, 1}, (Operand){w, 1, in}, rows, in, out, dx, 0);
}

static void weight_mm(const float *dy, const float *x, float *gw, int rows, int in, int out)
{
    if (exact)
        cblas_sgemm(ROWS, TRANS, NOT, out, in, rows, 1, dy, out, x, in, 1, gw, in);
    else
        bf16_mm((Operand){dy, 1, out}, (Operand){x, 1, in}, out, in, rows, gw, 1);
}

/* ---- the passes ---- */

/* Runs all layers; returns the number of positions with want[i] >= 0, whose normed states are then in n->h, logits in
 * n->logits (row after row). start[i] is the index of the first token of i's document, pos[i] its position. */
int net_forward(Net *n, const int *token, const int *start, const int *pos, const int *want, int rows)
{
    const Shape *sh = &n->sh;
    int d = sh->d, f = sh->ffn, quantize = sh->quantize_activations;
    int *first = malloc((rows + 1) * sizeof(int)), docs = documents(start, rows, first);
    for (int i = 0; i < rows; i++)
        memcpy(n->x + (size_t)i * d, n->w + n->emb + (size_t)token[i] * d, d * sizeof(float));
    for (int l = 0; l < sh->layers; l++) {
        const Layer *a = &n->at[l];
        const Kept *k = &n->keep[l];
        const float *w = n->w;
        memcpy(k->x, n->x, (size_t)rows * d * sizeof(float));
        norm_forward(k->x, w + a->norm1, k->h1, k->r1, rows, d, quantize);
        forward_mm(k->h1, w + a->wqkv, k->qkv, rows, d, n->dqkv, 0);
        rope_forward(n, k->qkv, k->rot, k->rh, w + a->qnorm, w + a->knorm, pos, rows);
        attention_forward(n, k, first, docs);
#pragma omp parallel for schedule(static)
        for (int i = 0; i < rows; i++) {
            const float *x = k->att + (size_t)i * n->dq;
            float *y = k->attq + (size_t)i * n->dq;
            if (quantize)
                fake_quantize(x, y, n->dq);
            else
                memcpy(y, x, n->dq * sizeof(float));
        }
        forward_mm(k->attq, w + a->wo, n->x, rows, n->dq, d, 1);
        memcpy(k->x1, n->x, (size_t)rows * d * sizeof(float));
        norm_forward(k->x1, w + a->norm2, k->h2, k->r2, rows, d, quantize);
        forward_mm(k->h2, w + a->wgu, k->gu, rows, d, 2 * f, 0);
        swiglu_forward(k->gu, k->s, rows, f, quantize);
        forward_mm(k->s, w + a->wdown, n->x, rows, f, d, 1);
    }
    int m = 0;
    for (int i = 0; i < rows; i++)
        if (want[i] >= 0) {
            n->where[m] = i;
            memcpy(n->xs + (size_t)m++ * d, n->x + (size_t)i * d, d * sizeof(float));
        }
    norm_forward(n->xs, n->w + n->outnorm, n->h, n->r, m, d, quantize);
    forward_mm(n->h, n->w + n->emb, n->logits, m, d, sh->vocab, 0);
    free(first);
    return m;
}

/* logits -> loss of each wanted position; with grad the logits become scale * d loss / d logits */
static double cross_entropy(Net *n, const int *want, int m, float scale, int grad, float *losses)
{
    int v = n->sh.vocab;
    double total = 0;
#pragma omp parallel for schedule(static)
    for (int t = 0; t < m; t++) {
        float *z = n->logits + (size_t)t * v, top = z[0], sum = 0;
        int target = want[n->where[t]];
        for (int j = 1; j < v; j++)
            top = fmaxf(top, z[j]);
        float zt = z[target];
        for (int j = 0; j < v; j++)
            sum += expf(z[j] - top);
        losses[t] = top + logf(sum) - zt;
        if (grad) {
            float c = scale / sum;
            for (int j = 0; j < v; j++)
                z[j] = expf(z[j] - top) * c;
            z[target] -= scale;
        }
    }
    for (int t = 0; t < m; t++)
        total += losses[t];
    return total;
}

const float *net_logits(const Net *n) { return n->logits; }
const int *net_where(const Net *n) { return n->where; }

/* Forward and backward; adds scale * gradient to g and returns the summed loss. */
double net_learn(Net *n, const int *token, const int *start, const int *pos, const int *want, int rows, float scale, float *g)
{
    const Shape *sh = &n->sh;
    int d = sh->d, f = sh->ffn;
    const float *w = n->w;
    int m = net_forward(n, token, start, pos, want, rows);
    int *first = malloc((rows + 1) * sizeof(int)), docs = documents(start, rows, first);
    float *losses = floats(m + 1);
    double total = cross_entropy(n, want, m, scale, 1, losses);
    free(losses);
    input_mm(n->logits, w + n->emb, n->dh, m, d, sh->vocab);
    weight_mm(n->logits, n->h, g + n->emb, m, d, sh->vocab);
    memset(n->h, 0, (size_t)m * d * sizeof(float)); /* n->h now collects the gradient of xs */
    norm_backward(n->xs, w + n->outnorm, n->r, n->dh, n->h, g + n->outnorm, m, d);
    memset(n->dx, 0, (size_t)rows * d * sizeof(float));
    for (int t = 0; t < m; t++)
        memcpy(n->dx + (size_t)n->where[t] * d, n->h + (size_t)t * d, d * sizeof(float));
    for (int l = sh->layers - 1; l >= 0; l--) {
        const Layer *a = &n->at[l];
        const Kept *k = &n->keep[l];
        input_mm(n->dx, w + a->wdown, n->dh, rows, f, d);
        weight_mm(n->dx, k->s, g + a->wdown, rows, f, d);
        swiglu_backward(k->gu, n->dh, n->dbig, rows, f);
        input_mm(n->dbig, w + a->wgu, n->dh, rows, d, 2 * f);
        weight_mm(n->dbig, k->h2, g + a->wgu, rows, d, 2 * f);
        norm_backward(k->x1, w + a->norm2, k->r2, n->dh, n->dx, g + a->norm2, rows, d);

        input_mm(n->dx, w + a->wo, n->datt, rows, n->dq, d);
        weight_mm(n->dx, k->attq, g + a->wo, rows, n->dq, d);
        attention_backward(n, k, first, docs, n->datt, n->drotb, n->dbig);
        rope_backward(n, k->qkv, n->drotb, k->rh, w + a->qnorm, w + a->knorm, g + a->qnorm, g + a->knorm, pos, n->dbig, rows);
        input_mm(n->dbig, w + a->wqkv, n->dh, rows, d, n->dqkv);
        weight_mm(n->dbig, k->h1, g + a->wqkv, rows, d, n->dqkv);
        norm_backward(k->x, w + a->norm1, k->r1, n->dh, n->dx, g + a->norm1, rows, d);
    }
    for (int i = 0; i < rows; i++) {
        float *e = g + n->emb + (size_t)token[i] * d;
        for (int j = 0; j < d; j++)
            e[j] += n->dx[(size_t)i * d + j];
    }
    free(first);
    return total;
}

/* Loss of every wanted position, in order; no gradient. */
int net_losses(Net *n, const int *token, const int *start, const int *pos, const int *want, int rows, float *losses)
{
    int m = net_forward(n, token, start, pos, want, rows);
    cross_entropy(n, want, m, 1, 0, losses);
    return m;
}

/* AdamW without decay, after clipping the gradient's norm to 1; clears g. Returns the norm. */
double net_adam(Net *n, float *p, float *g, float *mom, float *var, float lr, int step)
{
    const float b1 = 0.9f, b2 = 0.98f, eps = 1e-8f;
    double norm = 0;
    for (size_t i = 0; i < n->count; i += 4096) {
        size_t e = i + 4096 < n->count ? i + 4096 : n->count;
        float part = 0;
        for (size_t j = i; j < e; j++)
            part += g[j] * g[j];
        norm += part;
    }
    norm = sqrt(norm);
    float clip = norm > 1 ? (float)(1 / norm) : 1;
    float c1 = 1 / (1 - powf(b1, step)), c2 = 1 / (1 - powf(b2, step));
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n->count; i++) {
        float x = g[i] * clip;
        mom[i] = b1 * mom[i] + (1 - b1) * x;
        var[i] = b2 * var[i] + (1 - b2) * x * x;
        p[i] -= lr * mom[i] * c1 / (sqrtf(var[i] * c2) + eps);
        g[i] = 0;
    }
    return norm;
}
