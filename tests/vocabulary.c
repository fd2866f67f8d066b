#include "vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "gguf.h"
#include "utf8.h"

/* GPT-2's spelling of bytes as printable characters: these stand for themselves, the
 * other bytes follow from U+0100 on. */
static bool plain(uint32_t c) { return (c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF); }

static void read_token(struct sg_str spelled, struct buf *out)
{
    static char byte_of[0x200];
    if (!byte_of[0x100 + 33]) {
        uint32_t next = 0x100;
        for (uint32_t c = 0; c < 256; c++)
            byte_of[plain(c) ? c : next++] = (char)c;
    }
    for (size_t i = 0; i < spelled.len;) {
        uint32_t c;
        i += utf8_decode(spelled.data + i, spelled.len - i, &c);
        buf_putc(out, byte_of[c & 0x1FF]);
    }
}

const struct trie *qwen_vocabulary(void)
{
    static struct trie t;
    struct gguf g = {0};
    struct sg_error err;
    if (t.n_vocab)
        return &t;
    if (gguf_open(&g, test_path("tokenizer/qwen3.gguf"), &err) != SG_OK)
        abort();
    const struct gguf_value *tokens = gguf_find(&g, "tokenizer.ggml.tokens"), *types = gguf_find(&g, "tokenizer.ggml.token_type");
    const uint8_t *cursor = tokens->data;
    struct sg_str *texts = calloc(tokens->count, sizeof *texts);
    struct buf all = {0};
    int32_t ends[2];
    size_t n_ends = 0;
    for (size_t pass = 0; pass < 2; pass++) { /* the buffer moves while it grows */
        size_t at = 0;
        cursor = tokens->data;
        for (size_t id = 0; id < tokens->count; id++) {
            struct sg_str spelled = gguf_next_string(&cursor);
            int32_t type;
            memcpy(&type, types->data + 4 * id, 4);
            if (pass == 0 && n_ends < 2 && type == 3 &&
                (strncmp(spelled.data, "<|im_end|>", spelled.len) == 0 || strncmp(spelled.data, "<|endoftext|>", spelled.len) == 0))
                ends[n_ends++] = (int32_t)id;
            if (type != 1)
                continue;
            size_t begin = all.len;
            if (pass == 0) {
                read_token(spelled, &all);
                texts[id].len = all.len - begin;
            } else {
                texts[id].data = all.data + at;
                at += texts[id].len;
            }
        }
    }
    if (trie_build(&t, texts, tokens->count, ends, n_ends, &err) != SG_OK)
        abort();
    free(texts);
    buf_free(&all);
    gguf_close(&g);
    return &t;
}
