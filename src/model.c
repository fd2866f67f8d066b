#include "model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* Far beyond any known model; they keep products of two in 64 bits and session tables small. */
    MAX_LAYERS = 1 << 12,
    MAX_WIDTH = 1 << 20,
    MAX_HEADS = 1 << 12,
    MAX_CONTEXT = 1 << 24,
};

/* ------------------------------------------------------------ hyperparameters */

static enum sg_status need(const struct gguf *g, const char *key, bool found, struct sg_error *err)
{
    return found ? SG_OK : fail(err, SG_BAD_MODEL, "%s: key %s is missing", g->path, key);
}

/* A required integer. */
static enum sg_status get_size(const struct gguf *g, const char *key, uint64_t max, size_t *out, struct sg_error *err)
{
    uint64_t n = 0;
    bool found;
    TRY(gguf_get_uint(g, key, 1, max, &n, &found, err));
    *out = (size_t)n;
    return need(g, key, found, err);
}

/* An optional real number. */
static enum sg_status get_real(const struct gguf *g, const char *key, double min, double max, double *out, bool *found,
                               struct sg_error *err)
{
    TRY(gguf_get_float(g, key, out, found, err));
    if (*found && !(*out >= min && *out <= max))
        return fail(err, SG_BAD_MODEL, "%s: key %s is %g, expected %g to %g", g->path, key, *out, min, max);
    return SG_OK;
}

static bool equals(struct sg_str s, const char *text) { return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0; }

static enum sg_status check_architecture(const struct gguf *g, struct sg_error *err)
{
    struct sg_str name = {NULL, 0};
    bool found;
    char shown[ESCAPED_MAX];
    TRY(gguf_get_string(g, "general.architecture", &name, &found, err));
    TRY(need(g, "general.architecture", found, err));
    if (gguf_find(g, "prism.hadamard.version"))
        return fail(err, SG_BAD_MODEL,
                    "%s: its weights are stored in a rotated basis (prism.hadamard.version, Bonsai 2), which signum does not support: "
                    "without the rotation the answers would be fluent nonsense; use a first-generation Bonsai (1.7B, 4B, 8B) instead",
                    g->path);
    if (!equals(name, "qwen3"))
        return fail(err, SG_BAD_MODEL,
                    "%s: architecture \"%s\" is not supported; signum runs dense Qwen3 models (architecture \"qwen3\"), such as "
                    "Bonsai 1.7B, 4B and 8B",
                    g->path, escaped(shown, name.data, name.len));
    return SG_OK;
}

static enum sg_status read_heads(struct model *m, const struct gguf *g, struct sg_error *err)
{
    uint64_t n;
    bool found;
    TRY(get_size(g, "qwen3.attention.head_count", MAX_HEADS, &m->n_heads, err));
    n = m->n_heads;
    TRY(gguf_get_uint(g, "qwen3.attention.head_count_kv", 1, m->n_heads, &n, NULL, err));
    m->n_kv_heads = (size_t)n;
    if (m->n_heads % m->n_kv_heads != 0)
        return fail(err, SG_BAD_MODEL, "%s: %zu query heads can not share %zu key heads evenly", g->path, m->n_heads, m->n_kv_heads);

    n = m->n_embd / m->n_heads;
    TRY(gguf_get_uint(g, "qwen3.attention.key_length", 2, MAX_HEAD_DIM, &n, &found, err));
    if (!found && m->n_embd % m->n_heads != 0)
        return fail(err, SG_BAD_MODEL, "%s: key qwen3.attention.key_length is missing and %zu heads do not divide the width %zu", g->path,
                    m->n_heads, m->n_embd);
    m->head_dim = (size_t)n;
    if (m->head_dim == 0 || m->head_dim % 2 != 0 || m->head_dim > MAX_HEAD_DIM)
        return fail(err, SG_BAD_MODEL, "%s: heads of %zu numbers, expected an even number up to %d", g->path, m->head_dim, MAX_HEAD_DIM);
    static const char *const same[] = {"qwen3.attention.value_length", "qwen3.rope.dimension_count"};
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        n = m->head_dim;
        TRY(gguf_get_uint(g, same[i], 0, UINT64_MAX, &n, NULL, err));
        if (n != m->head_dim)
            return fail(err, SG_BAD_MODEL, "%s: key %s is %" PRIu64 ", expected %zu as the key length of a head", g->path, same[i], n,
                        m->head_dim);
    }
    return SG_OK;
}

static enum sg_status read_yarn(struct model *m, const struct gguf *g, struct sg_error *err)
{
    bool found;
    TRY(get_real(g, "qwen3.rope.scaling.factor", 1, 1e4, &m->yarn_factor, &found, err));
    TRY(need(g, "qwen3.rope.scaling.factor", found, err));
    TRY(get_size(g, "qwen3.rope.scaling.original_context_length", MAX_CONTEXT, &m->yarn_original_ctx, err));
    m->yarn_ext_factor = 1;
    m->yarn_beta_fast = 32;
    m->yarn_beta_slow = 1;
    TRY(get_real(g, "qwen3.rope.scaling.yarn_ext_factor", 1e-3, 1, &m->yarn_ext_factor, &found, err));
    TRY(get_real(g, "qwen3.rope.scaling.yarn_beta_fast", 1e-3, 1e6, &m->yarn_beta_fast, &found, err));
    TRY(get_real(g, "qwen3.rope.scaling.yarn_beta_slow", 1e-3, 1e6, &m->yarn_beta_slow, &found, err));
    double attn = 1, yarn_attn = 1; /* two names for factors of the same product */
    TRY(get_real(g, "qwen3.rope.scaling.attn_factor", 1e-3, 1e3, &attn, &found, err));
    TRY(get_real(g, "qwen3.rope.scaling.yarn_attn_factor", 1e-3, 1e3, &yarn_attn, &found, err));
    m->yarn_attn_factor = attn * yarn_attn;
    return SG_OK;
}

static enum sg_status read_rope(struct model *m, const struct gguf *g, struct sg_error *err)
{
    struct sg_str type = {"none", 4};
    bool found, scaled;
    char shown[ESCAPED_MAX];
    m->rope_base = 10000;
    TRY(get_real(g, "qwen3.rope.freq_base", 2, 1e12, &m->rope_base, &found, err));
    TRY(gguf_get_string(g, "qwen3.rope.scaling.type", &type, &found, err));
    if (!found) { /* then a factor means linear scaling */
        double factor = 1;
        TRY(gguf_get_float(g, "qwen3.rope.scaling.factor", &factor, &scaled, err));
        if (!scaled)
            TRY(gguf_get_float(g, "qwen3.rope.scale_linear", &factor, &scaled, err));
        if (factor != 1)
            type = (struct sg_str){"linear", 6};
    }
    if (equals(type, "yarn"))
        return read_yarn(m, g, err);
    if (!equals(type, "none"))
        return fail(err, SG_BAD_MODEL, "%s: rope scaling \"%s\" is not supported; signum knows \"yarn\" and \"none\"", g->path,
                    escaped(shown, type.data, type.len));
    return SG_OK;
}

static enum sg_status read_keys(struct model *m, const struct gguf *g, struct sg_error *err)
{
    TRY(check_architecture(g, err));
    TRY(get_size(g, "qwen3.block_count", MAX_LAYERS, &m->n_layers, err));
    TRY(get_size(g, "qwen3.context_length", MAX_CONTEXT, &m->n_ctx_train, err));
    TRY(get_size(g, "qwen3.embedding_length", MAX_WIDTH, &m->n_embd, err));
    TRY(get_size(g, "qwen3.feed_forward_length", MAX_WIDTH, &m->n_ff, err));
    TRY(read_heads(m, g, err));
    TRY(read_rope(m, g, err));

    static const char eps_key[] = "qwen3.attention.layer_norm_rms_epsilon";
    double eps = 0;
    bool found;
    TRY(get_real(g, eps_key, 1e-30, 1, &eps, &found, err)); /* a normal number in single precision */
    TRY(need(g, eps_key, found, err));
    m->rms_eps = (float)eps;

    const struct gguf_value *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    TRY(need(g, "tokenizer.ggml.tokens", tokens != NULL, err));
    if (tokens->type != GGUF_ARRAY || tokens->element != GGUF_STRING || tokens->count == 0)
        return fail(err, SG_BAD_MODEL, "%s: key tokenizer.ggml.tokens is not a list of tokens", g->path);
    m->n_vocab = (size_t)tokens->count;
    return SG_OK;
}

/* ----------------------------------------------------------------- weights */

/* The walk over all weights happens twice: first it checks and adds up the norm weights,
 * then it copies them; so nothing is allocated that the file does not hold. */
struct walk {
    struct model *m;
    const struct gguf *g;
    bool *used;   /* (n_tensors) */
    float *norms; /* NULL: measuring */
    size_t n_norms;
    struct sg_error *err;
};

/* "[2048, 4096]", without trailing dimensions of 1. */
static const char *shape_text(char buf[96], const uint64_t dims[4])
{
    size_t n = 4, len = 0;
    while (n > 1 && dims[n - 1] == 1)
        n--;
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(buf + len, 96 - len, "%s%" PRIu64, i ? ", " : "[", dims[i]);
    snprintf(buf + len, 96 - len, "]");
    return buf;
}

/* A tensor that must exist and have this shape. */
static enum sg_status find(struct walk *w, const char *name, size_t cols, size_t rows, const struct gguf_tensor **out)
{
    const struct gguf_tensor *t = gguf_find_tensor(w->g, name);
    if (!t)
        return fail(w->err, SG_BAD_MODEL, "%s: tensor %s is missing", w->g->path, name);
    const uint64_t expected[4] = {cols, rows, 1, 1};
    if (memcmp(t->dims, expected, sizeof expected) != 0) {
        char is[96], should[96];
        return fail(w->err, SG_BAD_MODEL, "%s: %s has shape %s, expected %s", w->g->path, name, shape_text(is, t->dims),
                    shape_text(should, expected));
    }
    w->used[t - w->g->tensors] = true;
    *out = t;
    return SG_OK;
}

static enum sg_status matrix(struct walk *w, const char *name, size_t rows, size_t cols, struct tensor *out)
{
    const struct gguf_tensor *t;
    TRY(find(w, name, cols, rows, &t));
    enum quant_type type = (enum quant_type)t->type;
    if (quant_traits[type].piece != 0 && cols % GROUP != 0)
        return fail(w->err, SG_BAD_MODEL, "%s: %s (%s) has rows of %zu weights; one-bit and ternary types need a multiple of %d",
                    w->g->path, name, gguf_type_name(t), cols, GROUP);
    *out = (struct tensor){.type = type, .rows = rows, .cols = cols, .row_bytes = quant_row_bytes(type, cols), .data = t->data};
    return SG_OK;
}

static enum sg_status norm(struct walk *w, const char *name, size_t n, const float **out)
{
    const struct gguf_tensor *t;
    TRY(find(w, name, n, 1, &t));
    if (t->type != QUANT_F32 && t->type != QUANT_F16 && t->type != QUANT_BF16)
        return fail(w->err, SG_BAD_MODEL, "%s: %s has type %s, expected F32, F16 or BF16", w->g->path, name, gguf_type_name(t));
    size_t bad = quant_find_nonfinite((enum quant_type)t->type, t->data, n);
    if (bad < n)
        return fail(w->err, SG_BAD_MODEL, "%s: %s holds a NaN or an infinity at index %zu: the file is damaged", w->g->path, name, bad);
    if (w->norms) {
        *out = w->norms + w->n_norms;
        quant_dequantize((enum quant_type)t->type, w->norms + w->n_norms, t->data, n);
    }
    w->n_norms += n;
    return SG_OK;
}

static enum sg_status walk_layer(struct walk *w, size_t index)
{
    struct model *m = w->m;
    struct layer *l = &m->layers[index];
    size_t q_width = m->n_heads * m->head_dim, kv_width = m->n_kv_heads * m->head_dim;
    char name[64];
#define NAME(part) (snprintf(name, sizeof name, "blk.%zu." part ".weight", index), name)
    TRY(norm(w, NAME("attn_norm"), m->n_embd, &l->attn_norm));
    TRY(matrix(w, NAME("attn_q"), q_width, m->n_embd, &l->q));
    TRY(matrix(w, NAME("attn_k"), kv_width, m->n_embd, &l->k));
    TRY(matrix(w, NAME("attn_v"), kv_width, m->n_embd, &l->v));
    TRY(norm(w, NAME("attn_q_norm"), m->head_dim, &l->q_norm));
    TRY(norm(w, NAME("attn_k_norm"), m->head_dim, &l->k_norm));
    TRY(matrix(w, NAME("attn_output"), m->n_embd, q_width, &l->attn_output));
    TRY(norm(w, NAME("ffn_norm"), m->n_embd, &l->ffn_norm));
    TRY(matrix(w, NAME("ffn_gate"), m->n_ff, m->n_embd, &l->gate));
    TRY(matrix(w, NAME("ffn_up"), m->n_ff, m->n_embd, &l->up));
    TRY(matrix(w, NAME("ffn_down"), m->n_embd, m->n_ff, &l->down));
#undef NAME
    return SG_OK;
}

static enum sg_status walk_weights(struct walk *w)
{
    struct model *m = w->m;
    w->n_norms = 0;
    TRY(matrix(w, "token_embd.weight", m->n_vocab, m->n_embd, &m->token_embd));
    TRY(norm(w, "output_norm.weight", m->n_embd, &m->output_norm));
    m->tied_output = !gguf_find_tensor(w->g, "output.weight");
    m->output = m->token_embd;
    if (!m->tied_output)
        TRY(matrix(w, "output.weight", m->n_vocab, m->n_embd, &m->output));
    for (size_t i = 0; i < m->n_layers; i++)
        TRY(walk_layer(w, i));
    return SG_OK;
}

static bool begins_with(struct sg_str s, const char *text) { return s.len >= strlen(text) && memcmp(s.data, text, strlen(text)) == 0; }

/* Tensors that belong to the model's parts but not to Qwen3 (biases, more norms, more layers)
 * would have changed the result; any other extra tensor is somebody's annotation. */
static enum sg_status check_unused(const struct walk *w)
{
    static const char *const parts[] = {"blk.", "rope_", "output", "token_embd"};
    for (size_t i = 0; i < w->g->n_tensors; i++) {
        struct sg_str name = w->g->tensors[i].name;
        char shown[ESCAPED_MAX];
        for (size_t k = 0; k < ARRAY_LEN(parts) && !w->used[i]; k++)
            if (begins_with(name, parts[k]))
                return fail(w->err, SG_BAD_MODEL,
                            "%s: tensor %s has no place in a Qwen3 model of %zu layers: it is another kind of model, or damaged",
                            w->g->path, escaped(shown, name.data, name.len), w->m->n_layers);
    }
    return SG_OK;
}

static enum sg_status read_weights(struct walk *w)
{
    struct model *m = w->m;
    if (m->n_layers > w->g->n_tensors)
        return fail(w->err, SG_BAD_MODEL, "%s: key qwen3.block_count is %zu, but there are only %zu tensors", w->g->path, m->n_layers,
                    w->g->n_tensors);
    m->layers = calloc(m->n_layers, sizeof *m->layers);
    if (!m->layers)
        return fail_memory(w->err, m->n_layers * sizeof *m->layers, "the table of layers");
    TRY(walk_weights(w));
    TRY(check_unused(w));
    w->norms = m->norms = malloc(w->n_norms * sizeof *m->norms);
    if (!m->norms)
        return fail_memory(w->err, w->n_norms * sizeof *m->norms, "the norm weights");
    TRY(walk_weights(w));
    for (size_t i = 0; i < w->g->n_tensors; i++) {
        const struct gguf_tensor *t = &w->g->tensors[i];
        if (w->used[i])
            m->n_params += t->dims[0] * t->dims[1];
    }
    return SG_OK;
}

enum sg_status model_open(struct model *m, const struct gguf *g, struct sg_error *err)
{
    *m = (struct model){0};
    TRY(read_keys(m, g, err));
    struct walk w = {.m = m, .g = g, .err = err, .used = calloc(MAX(g->n_tensors, (size_t)1), sizeof *w.used)};
    if (!w.used)
        return fail_memory(err, g->n_tensors, "the list of tensors");
    enum sg_status status = read_weights(&w);
    free(w.used);
    if (status != SG_OK)
        model_close(m);
    return status;
}

void model_close(struct model *m)
{
    free(m->layers);
    free(m->norms);
    *m = (struct model){0};
}
