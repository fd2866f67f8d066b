/* Qwen3 from a file: the golden models have the geometry they were written with. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "gguf_build.h"
#include "model.h"

static struct sg_error error;
static struct gguf base; /* mini-q1, open */

static void open_base(void)
{
    size_t size;
    const char *data = test_golden("models/mini-q1.gguf", &size);
    error = (struct sg_error){0};
    if (!CHECKF(gguf_parse(&base, "base", (struct file_map){(const uint8_t *)data, size}, &error) == SG_OK, "%s", error.message))
        base = (struct gguf){0};
}

/* Opens what b holds; the model is closed again, *m keeps its numbers. */
static enum sg_status open_built(struct build *b, struct model *m)
{
    struct gguf g;
    error = (struct sg_error){0};
    enum sg_status status = gguf_parse(&g, "FILE", build_end(b), &error);
    struct model opened = {0};
    if (status == SG_OK)
        status = model_open(&opened, &g, &error);
    *m = opened;
    model_close(&opened);
    gguf_close(&g);
    return status;
}

static void refused(struct build *b, const char *what)
{
    struct model m;
    CHECKF(open_built(b, &m) == SG_BAD_MODEL && strstr(error.message, what) && strncmp(error.message, "FILE: ", 6) == 0,
           "\"%s\" lacks \"%s\"", error.message, what);
}

static struct model accepted(struct build *b)
{
    struct model m;
    CHECKF(open_built(b, &m) == SG_OK, "%s", error.message);
    return m;
}

TEST(model_golden_files)
{
    static const struct {
        const char *name;
        size_t layers, embd, ff, heads, kv_heads, head_dim;
        double base, yarn;
        bool tied;
    } files[] = {
        {"mini-q1", 1, 128, 256, 2, 1, 64, 1e6, 0, true},      {"mini-q1-v2", 1, 128, 256, 2, 1, 64, 1e6, 0, true},
        {"q1-tied", 4, 256, 512, 4, 2, 64, 1e6, 0, true},      {"q1-untied", 3, 384, 1024, 6, 2, 64, 1e6, 0, false},
        {"q1-yarn", 2, 256, 640, 6, 2, 128, 1e6, 4, true},     {"q1-yarn-past", 2, 256, 512, 4, 4, 64, 1e4, 8, true},
        {"f16-defaults", 2, 192, 512, 6, 6, 32, 1e4, 0, true}, {"q8", 2, 256, 512, 4, 2, 64, 1e6, 0, false},
        {"q2-g64", 2, 256, 512, 4, 2, 64, 1e6, 0, true},       {"q2-g128", 2, 256, 512, 4, 2, 64, 1e6, 0, true},
        {"pq2", 2, 256, 512, 4, 2, 64, 1e6, 0, true},          {"mixed", 3, 256, 512, 4, 2, 64, 5e6, 0, false},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char name[64];
        struct gguf g;
        struct model m;
        struct sg_error err = {0};
        snprintf(name, sizeof name, "models/%s.gguf", files[i].name);
        if (!CHECKF(gguf_open(&g, test_path(name), &err) == SG_OK && model_open(&m, &g, &err) == SG_OK, "%s", err.message))
            continue;
        CHECKF(m.n_layers == files[i].layers && m.n_embd == files[i].embd && m.n_ff == files[i].ff && m.n_heads == files[i].heads &&
                   m.n_kv_heads == files[i].kv_heads && m.head_dim == files[i].head_dim,
               "%s: %zu %zu %zu %zu %zu %zu", name, m.n_layers, m.n_embd, m.n_ff, m.n_heads, m.n_kv_heads, m.head_dim);
        CHECKF(m.rope_base == files[i].base && m.yarn_factor == files[i].yarn && m.tied_output == files[i].tied, "%s: %g %g %d", name,
               m.rope_base, m.yarn_factor, m.tied_output);
        CHECK(m.layers[m.n_layers - 1].down.rows == m.n_embd && m.layers[0].k_norm && m.output.rows == m.n_vocab);
        model_close(&m);
        model_close(&m);
        gguf_close(&g);
    }
}

static const char *const integer_keys[] = {
    "qwen3.block_count",          "qwen3.context_length",         "qwen3.embedding_length",
    "qwen3.feed_forward_length",  "qwen3.attention.head_count",   "qwen3.attention.head_count_kv",
    "qwen3.attention.key_length", "qwen3.attention.value_length", "qwen3.rope.dimension_count",
};

/* Every key as every type: the wrong ones are refused, integers of any width are fine. */
TEST(model_key_types)
{
    static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 9, 16, 8, 8, 8};
    struct build b;
    struct model m;
    open_base();
    build_begin(&b);
    for (size_t i = 0; i < sizeof integer_keys / sizeof *integer_keys; i++) {
        uint64_t value = 64; /* the key that mini-q1 lacks: rope.dimension_count */
        CHECK(gguf_get_uint(&base, integer_keys[i], 0, UINT32_MAX, &value, NULL, &error) == SG_OK);
        for (uint32_t type = 0; type <= GGUF_FLOAT64; type++) {
            uint8_t raw[16] = {0};
            memcpy(raw, &value, 8);
            if (type == GGUF_STRING)
                memcpy(raw,
                       "\1\0\0\0\0\0\0\0"
                       "1",
                       9);
            if (type == GGUF_ARRAY)
                memcpy(raw,
                       "\4\0\0\0\1\0\0\0\0\0\0\0"
                       "1\0\0\0",
                       16);
            if (type == GGUF_FLOAT32)
                memcpy(raw, &(float){(float)value}, 4);
            if (type == GGUF_FLOAT64)
                memcpy(raw, &(double){(double)value}, 8);
            build_copy(&b, &base, integer_keys[i], NULL);
            build_value(&b, integer_keys[i], type, raw, sizes[type]);
            bool wide = type != GGUF_BOOL && type != GGUF_STRING && type != GGUF_ARRAY && type != GGUF_FLOAT32 && type != GGUF_FLOAT64;
            bool holds = sizes[type] > 2 || value >> (8 * sizes[type] - (type == GGUF_INT8)) == 0; /* 256 does not fit into a byte */
            CHECKF((open_built(&b, &m) == SG_OK) == (wide && holds), "%s as type %u: \"%s\"", integer_keys[i], (unsigned)type,
                   error.message);
            if (!wide)
                CHECKF(strstr(error.message, integer_keys[i]) && strstr(error.message, "expected an integer"), "%s", error.message);
        }
    }
    static const char *const others[] = {
        "general.architecture",  "qwen3.attention.layer_norm_rms_epsilon", "qwen3.rope.freq_base", "qwen3.rope.scaling.type",
        "tokenizer.ggml.tokens",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        build_copy(&b, &base, others[i], NULL);
        build_uint32(&b, others[i], 3);
        refused(&b, others[i]);
    }
    gguf_close(&base);
}

TEST(model_key_values)
{
    static const struct {
        const char *key;
        uint32_t values[6];
        size_t n;
    } wrong[] = {
        {"qwen3.block_count", {0, 2, 5000, UINT32_MAX}, 4},
        {"qwen3.context_length", {0, UINT32_MAX}, 2},
        {"qwen3.embedding_length", {0, 64, 127, 256, 1 << 20, UINT32_MAX}, 6},
        {"qwen3.feed_forward_length", {0, 128, 255, UINT32_MAX}, 4},
        {"qwen3.attention.head_count", {0, 1, 3, 4, UINT32_MAX}, 5},
        {"qwen3.attention.head_count_kv", {0, 2, 3, UINT32_MAX}, 4},
        {"qwen3.attention.key_length", {0, 1, 63, 128, UINT32_MAX}, 5},
        {"qwen3.attention.value_length", {0, 32, UINT32_MAX}, 3},
        {"qwen3.rope.dimension_count", {0, 32, 63, 128, UINT32_MAX}, 5},
    };
    static const struct {
        const char *key;
        float values[6];
        size_t n;
    } wrong_floats[] = {
        {"qwen3.attention.layer_norm_rms_epsilon", {NAN, INFINITY, -1, 0, 2}, 5},
        {"qwen3.rope.freq_base", {NAN, INFINITY, -1e6f, 0, 1, 1e30f}, 6},
    };
    struct build b;
    open_base();
    build_begin(&b);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        for (size_t k = 0; k < wrong[i].n; k++) {
            build_copy(&b, &base, wrong[i].key, NULL);
            build_uint32(&b, wrong[i].key, wrong[i].values[k]);
            refused(&b, "");
        }
    }
    for (size_t i = 0; i < sizeof wrong_floats / sizeof *wrong_floats; i++) {
        for (size_t k = 0; k < wrong_floats[i].n; k++) {
            build_copy(&b, &base, wrong_floats[i].key, NULL);
            build_float(&b, wrong_floats[i].key, wrong_floats[i].values[k]);
            refused(&b, wrong_floats[i].key);
        }
    }
    static const char *const required[] = {
        "general.architecture",
        "qwen3.block_count",
        "qwen3.context_length",
        "qwen3.embedding_length",
        "qwen3.feed_forward_length",
        "qwen3.attention.head_count",
        "qwen3.attention.layer_norm_rms_epsilon",
        "tokenizer.ggml.tokens",
    };
    for (size_t i = 0; i < sizeof required / sizeof *required; i++) {
        build_copy(&b, &base, required[i], NULL);
        refused(&b, "is missing");
        CHECKF(strstr(error.message, required[i]), "%s", error.message);
    }
    build_copy(&b, &base, "qwen3.rope.freq_base", NULL);
    CHECK(accepted(&b).rope_base == 10000);
    build_copy(&b, &base, "qwen3.attention.layer_norm_rms_epsilon", NULL);
    build_value(&b, "qwen3.attention.layer_norm_rms_epsilon", GGUF_FLOAT64, &(double){1e-5}, 8);
    CHECK(accepted(&b).rms_eps == 1e-5f);

    static const char *const architectures[] = {"llama", "qwen3moe", "qwen35", "", "\x1b[2Jqwen3"};
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++) {
        build_copy(&b, &base, "general.architecture", NULL);
        build_text(&b, "general.architecture", architectures[i]);
        refused(&b, "signum runs dense Qwen3");
    }
    CHECK(strstr(error.message, "\\x1B[2Jqwen3"));
    build_copy(&b, &base, NULL, NULL);
    build_uint32(&b, "prism.hadamard.version", 1);
    refused(&b, "rotated");
    gguf_close(&base);
}

TEST(model_rope_scaling)
{
    struct build b;
    struct model m;
    open_base();
    build_begin(&b);
#define KEY(k) "qwen3.rope.scaling." k
    build_copy(&b, &base, NULL, NULL);
    m = accepted(&b);
    CHECK(m.yarn_factor == 0);
    build_copy(&b, &base, NULL, NULL);
    build_text(&b, KEY("type"), "none");
    CHECK(accepted(&b).yarn_factor == 0);

    build_copy(&b, &base, NULL, NULL);
    build_text(&b, KEY("type"), "yarn");
    build_float(&b, KEY("factor"), 4);
    build_uint32(&b, KEY("original_context_length"), 8192);
    m = accepted(&b);
    CHECK(m.yarn_factor == 4 && m.yarn_original_ctx == 8192 && m.yarn_attn_factor == 1 && m.yarn_ext_factor == 1 &&
          m.yarn_beta_fast == 32 && m.yarn_beta_slow == 1);

    build_copy(&b, &base, NULL, NULL);
    build_text(&b, KEY("type"), "yarn");
    build_float(&b, KEY("factor"), 2);
    build_uint32(&b, KEY("original_context_length"), 64);
    build_float(&b, KEY("attn_factor"), 0.5f);
    build_float(&b, KEY("yarn_attn_factor"), 3);
    build_float(&b, KEY("yarn_ext_factor"), 0.75f);
    build_float(&b, KEY("yarn_beta_fast"), 16);
    build_float(&b, KEY("yarn_beta_slow"), 2);
    m = accepted(&b);
    CHECK(m.yarn_attn_factor == 1.5 && m.yarn_ext_factor == 0.75 && m.yarn_beta_fast == 16 && m.yarn_beta_slow == 2);

    static const float factors[] = {0, -4, NAN, INFINITY, 0.5f, 1e30f};
    for (size_t i = 0; i < sizeof factors / sizeof *factors; i++) {
        build_copy(&b, &base, NULL, NULL);
        build_text(&b, KEY("type"), "yarn");
        build_float(&b, KEY("factor"), factors[i]);
        build_uint32(&b, KEY("original_context_length"), 64);
        refused(&b, KEY("factor"));
    }
    build_copy(&b, &base, NULL, NULL);
    build_text(&b, KEY("type"), "yarn");
    refused(&b, KEY("factor") " is missing");
    build_copy(&b, &base, NULL, NULL);
    build_text(&b, KEY("type"), "yarn");
    build_float(&b, KEY("factor"), 4);
    refused(&b, KEY("original_context_length") " is missing");
    static const char *const types[] = {"linear", "longrope", "foo", ""};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        build_copy(&b, &base, NULL, NULL);
        build_text(&b, KEY("type"), types[i]);
        refused(&b, "is not supported");
    }
    build_copy(&b, &base, NULL, NULL);
    build_float(&b, KEY("factor"), 4); /* without a type: linear */
    refused(&b, "\"linear\"");
#undef KEY
    gguf_close(&base);
}

TEST(model_tensors)
{
    struct build b;
    struct model m;
    open_base();
    build_begin(&b);
    char expected[192];
    for (size_t i = 0; i < base.n_tensors; i++) {
        const struct gguf_tensor *t = &base.tensors[i];
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.data);
        build_copy(&b, &base, NULL, name);
        snprintf(expected, sizeof expected, "tensor %s is missing", name);
        refused(&b, expected);

        uint64_t dims[4] = {t->dims[0], t->dims[1], 1, 1};
        bool is_norm = t->n_dims == 1;
        dims[is_norm ? 0 : 1]++;
        build_copy(&b, &base, NULL, name);
        build_tensor(&b, name, t->n_dims, dims, t->type_id, (size_t)t->bytes + 64);
        if (is_norm)
            snprintf(expected, sizeof expected, "%s has shape [%d], expected [%d]", name, (int)dims[0], (int)t->dims[0]);
        else
            snprintf(expected, sizeof expected, "%s has shape [%d, %d], expected [%d, %d]", name, (int)dims[0], (int)dims[1],
                     (int)t->dims[0], (int)t->dims[1]);
        refused(&b, expected);

        /* Dimensions of 1 behind the others say nothing. */
        dims[is_norm ? 0 : 1]--;
        build_copy(&b, &base, NULL, name);
        build_tensor(&b, name, 4, dims, t->type_id, (size_t)t->bytes);
        accepted(&b);

        /* Norms may be any plain float, matrices any type. */
        static const struct {
            uint32_t id;
            size_t row_bytes, row;
            bool plain;
        } types[] = {{0, 4, 1, true}, {1, 2, 1, true}, {30, 2, 1, true}, {8, 34, 32, false}, {41, 18, 128, false}, {142, 34, 128, false}};
        for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
            if (t->dims[0] % types[k].row != 0)
                continue;
            build_copy(&b, &base, NULL, name);
            build_tensor(&b, name, t->n_dims, t->dims, types[k].id, (size_t)(t->dims[0] * t->dims[1] / types[k].row * types[k].row_bytes));
            if (types[k].plain || !is_norm)
                accepted(&b);
            else
                refused(&b, "expected F32, F16 or BF16");
        }
    }
    /* Extra tensors: annotations are ignored, parts of another model are not. */
    static const uint64_t dims[1] = {64};
    static const char *const parts[] = {"blk.0.attn_q.bias", "blk.1.attn_norm.weight",     "rope_freqs.weight",
                                        "output.bias",       "blk.0.attn_sub_norm.weight", "token_embd_norm.weight"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        build_copy(&b, &base, NULL, NULL);
        build_tensor(&b, parts[i], 1, dims, 0, 256);
        refused(&b, parts[i]);
    }
    build_copy(&b, &base, NULL, NULL);
    build_tensor(&b, "somebody.else", 1, dims, 0, 256);
    m = accepted(&b);
    CHECK(m.n_params == accepted((build_copy(&b, &base, NULL, NULL), &b)).n_params);

    /* Groups of 64 load, but not rows that leave half a group of activations. */
    for (int heads = 1; heads <= 2; heads++) {
        static const char *const keys[] = {"qwen3.attention.head_count", "blk.0.attn_q.weight", "blk.0.attn_output.weight"};
        uint64_t width = 64 * (uint64_t)heads;
        struct gguf partial;
        build_copy(&b, &base, keys[0], keys[1]);
        CHECK(gguf_parse(&partial, "FILE", build_end(&b), &error) == SG_OK);
        build_copy(&b, &partial, NULL, keys[2]);
        gguf_close(&partial);
        build_uint32(&b, keys[0], (uint32_t)heads);
        build_tensor(&b, keys[2], 2, (const uint64_t[]){width, 128}, 42, (size_t)width * 128 / 64 * 18);
        build_tensor(&b, keys[1], 2, (const uint64_t[]){128, width}, 41, (size_t)width * 18);
        if (heads == 1)
            refused(&b, "Q2_0 (groups of 64)) has rows of 64 weights");
        else
            accepted(&b);
    }

    /* Norm values arrive as written, and damage in them is found at once. */
    float norm[128];
    for (int i = 0; i < 128; i++)
        norm[i] = test_normal();
    for (int damaged = 0; damaged < 2; damaged++) {
        build_copy(&b, &base, NULL, "output_norm.weight");
        if (damaged)
            norm[77] = NAN;
        uint64_t offset = build_tensor(&b, "output_norm.weight", 1, (const uint64_t[]){128}, 0, sizeof norm);
        memcpy(b.data.data + offset, norm, sizeof norm);
        if (damaged) {
            refused(&b, "output_norm.weight holds a NaN or an infinity at index 77");
        } else {
            struct gguf g;
            CHECK(gguf_parse(&g, "FILE", build_end(&b), &error) == SG_OK && model_open(&m, &g, &error) == SG_OK);
            CHECK(memcmp(m.output_norm, norm, sizeof norm) == 0);
            model_close(&m);
            gguf_close(&g);
        }
    }
    gguf_close(&base);
}
