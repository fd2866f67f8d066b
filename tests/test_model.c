/* Qwen3 from a file: the golden models have the geometry they were written with. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "model.h"

TEST(model_golden_files)
{
    static const struct {
        const char *name;
        size_t layers, embd, ff, heads, kv_heads, head_dim;
        double base, yarn;
        bool tied;
    } files[] = {
        {"mini-q1", 1, 128, 256, 2, 1, 64, 1e6, 0, true},          {"mini-q1-v2", 1, 128, 256, 2, 1, 64, 1e6, 0, true},
        {"q1-tied", 4, 256, 512, 4, 2, 64, 1e6, 0, true},          {"q1-untied", 3, 384, 1024, 6, 2, 64, 1e6, 0, false},
        {"q1-yarn", 2, 256, 640, 6, 2, 128, 1e6, 4, true},         {"q1-yarn-past", 2, 256, 512, 4, 4, 64, 1e4, 8, true},
        {"f16-defaults", 2, 192, 512, 6, 6, 32, 1e4, 0, true},     {"q8", 2, 256, 512, 4, 2, 64, 1e6, 0, false},
        {"q2-g64", 2, 256, 512, 4, 2, 64, 1e6, 0, true},           {"q2-g128", 2, 256, 512, 4, 2, 64, 1e6, 0, true},
        {"pq2", 2, 256, 512, 4, 2, 64, 1e6, 0, true},              {"mixed", 3, 256, 512, 4, 2, 64, 5e6, 0, false},
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
        CHECKF(m.rope_base == files[i].base && m.yarn_factor == files[i].yarn && m.tied_output == files[i].tied, "%s: %g %g %d", name, m.rope_base, m.yarn_factor, m.tied_output);
        CHECK(m.layers[m.n_layers - 1].down.rows == m.n_embd && m.layers[0].k_norm && m.output.rows == m.n_vocab);
        model_close(&m);
        model_close(&m);
        gguf_close(&g);
    }
}
