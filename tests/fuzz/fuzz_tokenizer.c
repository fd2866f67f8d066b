/* Texts through the tokenizer of a small model: the ids stand for NFC(text), whatever it was. */
#include <string.h>

#include "fuzz.h"
#include "gguf.h"
#include "tokenizer.h"
#include "unicode.h"

static struct tokenizer *open_small_model(void)
{
    static struct gguf g;
    struct tokenizer *t;
    struct sg_error err;
    MUST(gguf_open(&g, "tests/golden/models/q1-tied.gguf", &err) == SG_OK && tokenizer_open(&t, &g, &err) == SG_OK);
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tokenizer *t;
    if (!t)
        t = open_small_model();
    const char *text = (const char *)data;
    for (int control = 0; control < 2; control++) {
        struct ids ids = {0};
        struct buf back = {0}, nfc = {0};
        struct sg_error err;
        MUST(tokenizer_encode(t, text, size, control, &ids, &err) == SG_OK && !ids.failed);
        for (size_t i = 0; i < ids.len; i++) {
            MUST(ids.data[i] >= 0 && (size_t)ids.data[i] < tokenizer_size(t));
            MUST(control || tokenizer_type(t, ids.data[i]) != TOKEN_CONTROL);
            tokenizer_decode(t, ids.data[i], true, &back);
        }
        /* Pieces between added tokens are normalized one by one; without any of those the whole is. */
        bool plain = true;
        for (size_t i = 0; i < ids.len; i++)
            plain &= tokenizer_type(t, ids.data[i]) == TOKEN_NORMAL;
        if (plain) {
            unicode_nfc(&nfc, text, size);
            MUST(nfc.len == back.len && (nfc.len == 0 || memcmp(nfc.data, back.data, nfc.len) == 0));
        }
        ids_free(&ids);
        buf_free(&back);
        buf_free(&nfc);
    }
    return 0;
}
