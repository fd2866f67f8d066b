/* Models of shapes that no released file has: one key head for many queries, heads that no
 * vector divides, widths that are no multiple of anything. The specification (scalar, one
 * thread, one token at a time) decides. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "gguf_build.h"
#include "quant.h"

struct shape {
    uint32_t embd, ff, heads, kv_heads, head_dim;
    enum quant_type type; /* Q1_0, or F32 for widths that are no multiple of 128 */
    size_t n;             /* tokens to evaluate */
};

static void fill_bits(uint8_t *out, size_t rows, size_t cols)
{
    for (size_t g = 0; g < rows * (cols / GROUP); g++, out += 18) {
        uint16_t scale = (uint16_t)(0x2400 + test_below(0x400)); /* 2^-6 .. 2^-5 */
        memcpy(out, &scale, 2);
        for (size_t i = 2; i < 18; i++)
            out[i] = (uint8_t)test_random();
    }
}

static void fill_floats(uint8_t *out, size_t n, float mean, float deviation)
{
    for (size_t i = 0; i < n; i++) {
        float x = mean + deviation * test_normal();
        memcpy(out + 4 * i, &x, 4);
    }
}

static void add_matrix(struct build *b, const char *name, const struct shape *s, uint64_t cols, uint64_t rows)
{
    size_t bytes = (size_t)rows * quant_row_bytes(s->type, (size_t)cols);
    uint64_t offset = build_tensor(b, name, 2, (uint64_t[]){cols, rows}, s->type == QUANT_Q1_0 ? 41 : 0, bytes);
    uint8_t *data = (uint8_t *)b->data.data + offset;
    if (s->type == QUANT_Q1_0)
        fill_bits(data, (size_t)rows, (size_t)cols);
    else
        fill_floats(data, (size_t)(rows * cols), 0, 0.1f);
}

static void add_norm(struct build *b, const char *name, uint64_t n)
{
    uint64_t offset = build_tensor(b, name, 1, &n, 0, (size_t)n * 4);
    fill_floats((uint8_t *)b->data.data + offset, (size_t)n, 1, 0.1f);
}

/* Writes a model of two layers with mini-q1's vocabulary; returns its path. */
static const char *write_model(const struct shape *s)
{
    static char path[512];
    struct gguf g;
    struct build b;
    struct sg_error err;
    if (!CHECKF(gguf_open(&g, test_path("models/mini-q1.gguf"), &err) == SG_OK, "%s", err.message))
        exit(1);
    uint64_t n_vocab = gguf_find(&g, "tokenizer.ggml.tokens")->count;
    build_begin(&b);
    for (size_t i = 0; i < g.n_values; i++)
        if (g.values[i].key.len < 6 || memcmp(g.values[i].key.data, "qwen3.", 6) != 0)
            build_copy_value(&b, &g.values[i]);
    gguf_close(&g);
    build_uint32(&b, "qwen3.block_count", 2);
    build_uint32(&b, "qwen3.context_length", 4096);
    build_uint32(&b, "qwen3.embedding_length", s->embd);
    build_uint32(&b, "qwen3.feed_forward_length", s->ff);
    build_uint32(&b, "qwen3.attention.head_count", s->heads);
    build_uint32(&b, "qwen3.attention.head_count_kv", s->kv_heads);
    build_uint32(&b, "qwen3.attention.key_length", s->head_dim);
    build_uint32(&b, "qwen3.attention.value_length", s->head_dim);
    build_float(&b, "qwen3.attention.layer_norm_rms_epsilon", 1e-6f);
    build_float(&b, "qwen3.rope.freq_base", 1e4f);
    add_matrix(&b, "token_embd.weight", s, s->embd, n_vocab);
    add_norm(&b, "output_norm.weight", s->embd);
    for (int layer = 0; layer < 2; layer++) {
        uint64_t q = (uint64_t)s->heads * s->head_dim, kv = (uint64_t)s->kv_heads * s->head_dim;
        char name[64];
#define NAME(part) (snprintf(name, sizeof name, "blk.%d." part ".weight", layer), name)
        add_norm(&b, NAME("attn_norm"), s->embd);
        add_matrix(&b, NAME("attn_q"), s, s->embd, q);
        add_matrix(&b, NAME("attn_k"), s, s->embd, kv);
        add_matrix(&b, NAME("attn_v"), s, s->embd, kv);
        add_norm(&b, NAME("attn_q_norm"), s->head_dim);
        add_norm(&b, NAME("attn_k_norm"), s->head_dim);
        add_matrix(&b, NAME("attn_output"), s, q, s->embd);
        add_norm(&b, NAME("ffn_norm"), s->embd);
        add_matrix(&b, NAME("ffn_gate"), s, s->embd, s->ff);
        add_matrix(&b, NAME("ffn_up"), s, s->embd, s->ff);
        add_matrix(&b, NAME("ffn_down"), s, s->ff, s->embd);
#undef NAME
    }
    struct file_map file = build_end(&b);
    snprintf(path, sizeof path, "%s/shape.gguf", test_tmp());
    FILE *f = fopen(path, "wb");
    if (!CHECK(f && fwrite(file.data, 1, file.size, f) == file.size && fclose(f) == 0))
        exit(1);
    return path;
}

struct rows {
    float *data;
    size_t n_vocab;
};

static void keep_row(void *arg, size_t position, const float *logits)
{
    struct rows *r = arg;
    memcpy(r->data + position * r->n_vocab, logits, r->n_vocab * sizeof *logits);
}

/* Logits of every position in pieces of `chunk`; with company: another session in the same calls. */
static float *evaluate(const struct sg_options *o, const int32_t *ids, size_t n, size_t chunk, bool company)
{
    struct sg_engine *e;
    struct sg_session *s, *other;
    struct sg_error err;
    if (!CHECKF(sg_open(&e, o, &err) == SG_OK, "%s", err.message) || !CHECKF(sg_session_open(&s, e, n, &err) == SG_OK, "%s", err.message) ||
        !CHECKF(sg_session_open(&other, e, n, &err) == SG_OK, "%s", err.message))
        exit(1);
    struct rows r = {.n_vocab = sg_info(e)->n_vocab};
    r.data = calloc(n * r.n_vocab, sizeof *r.data);
    for (size_t done = 0; done < n;) {
        size_t now = MIN(n - done, chunk);
        struct sg_feed feeds[2] = {{.session = other, .ids = ids + n - done - now, .n = now, .n_logits = 1},
                                   {.session = s, .ids = ids + done, .n = now, .n_logits = now, .on_logits = keep_row, .arg = &r}};
        CHECKF(sg_eval(e, company ? feeds : feeds + 1, company ? 2 : 1, &err) == SG_OK, "%s", err.message);
        done += now;
    }
    sg_session_close(s); /* the order does not matter */
    sg_session_close(other);
    sg_close(e);
    return r.data;
}

TEST(geometry)
{
    static const struct shape shapes[] = {
        {128, 128, 40, 1, 16, QUANT_Q1_0, 70},  /* 40 queries for one key head, more than a kernel takes at once */
        {128, 128, 66, 2, 64, QUANT_Q1_0, 66},  /* 33, and a width of 33 groups */
        {128, 128, 64, 1, 2, QUANT_Q1_0, 550},  /* 64, heads of one pair, two spans */
        {128, 256, 8, 4, 80, QUANT_Q1_0, 70},   /* heads of 80 */
        {128, 128, 64, 32, 6, QUANT_Q1_0, 70},  /* heads of 6: three pairs */
        {128, 128, 1, 1, 1024, QUANT_Q1_0, 66}, /* as long as they may be */
        {24, 17, 3, 1, 10, QUANT_F32, 70},      /* widths that only the generic path has */
        {1, 1, 1, 1, 2, QUANT_F32, 66},
    };
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        const struct shape *s = &shapes[i];
        const char *path = write_model(s);
        int32_t *ids = malloc(s->n * sizeof *ids);
        for (size_t k = 0; k < s->n; k++)
            ids[k] = (int32_t)test_below(300);
        enum sg_kv_type kv = (enum sg_kv_type)test_below(SG_KV_Q8_0 + 1);
        struct sg_options spec = {.model_path = path, .isa = "scalar", .n_threads = 1, .type_k = kv, .type_v = kv};
        struct sg_options best = {.model_path = path, .n_threads = 2 + (int)test_below(3), .type_k = kv, .type_v = kv};
        float *expected = evaluate(&spec, ids, s->n, 1, false);
        const size_t chunks[] = {1, 2 + test_below(60), s->n};
        for (size_t c = 0; c < ARRAY_LEN(chunks); c++) {
            float *got = evaluate(&best, ids, s->n, chunks[c], c > 0);
            CHECKF(memcmp(got, expected, s->n * 322 * sizeof *got) == 0, "width %u, %u heads of %u over %u, chunks of %zu", s->embd,
                   s->heads, s->head_dim, s->kv_heads, chunks[c]);
            free(got);
        }
        free(expected);
        free(ids);
    }
}
