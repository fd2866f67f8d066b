/* The container: golden files open, and what they say is right. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "gguf.h"
#include "quant.h"

TEST(gguf_golden_files)
{
    static const struct {
        const char *name, *type; /* of blk.0.attn_q.weight */
    } files[] = {
        {"mini-q1", "Q1_0"}, {"mini-q1-v2", "Q1_0"}, {"q1-tied", "Q1_0"}, {"q1-untied", "Q1_0"}, {"q1-yarn", "Q1_0"}, {"f16-defaults", "F16"},
        {"q8", "Q8_0"}, {"q2-g64", "Q2_0 (groups of 64)"}, {"q2-g128", "Q2_0 (groups of 128)"}, {"pq2", "PQ2_0"}, {"mixed", NULL},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char name[64];
        struct gguf g;
        struct sg_error err = {0};
        snprintf(name, sizeof name, "models/%s.gguf", files[i].name);
        if (!CHECKF(gguf_open(&g, test_path(name), &err) == SG_OK, "%s", err.message))
            continue;
        const struct gguf_tensor *q = gguf_find_tensor(&g, "blk.0.attn_q.weight");
        CHECKF(q && (!files[i].type || strcmp(gguf_type_name(q), files[i].type) == 0), "%s: %s", files[i].name, q ? gguf_type_name(q) : "none");
        CHECK(!gguf_find_tensor(&g, "blk.0.attn_q") && !gguf_find(&g, "qwen3"));
        struct sg_str arch = {0};
        CHECK(gguf_get_string(&g, "general.architecture", &arch, NULL, &err) == SG_OK && arch.len == 5 && memcmp(arch.data, "qwen3", 5) == 0);
        const struct gguf_value *tokens = gguf_find(&g, "tokenizer.ggml.tokens");
        if (CHECK(tokens && tokens->type == GGUF_ARRAY && tokens->element == GGUF_STRING)) {
            const uint8_t *at = tokens->data;
            for (uint64_t k = 0; k < tokens->count; k++)
                gguf_next_string(&at);
            CHECK(at == tokens->data + tokens->bytes);
        }
        gguf_close(&g);
        gguf_close(&g);
    }
}
