/* The tokenizer against its golden vectors, against a slow second implementation of byte-pair
 * merging, on random and on hostile texts and vocabularies. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "gguf_build.h"
#include "json.h"
#include "tokenizer.h"
#include "unicode.h"

static struct gguf file;
static struct tokenizer *qwen;

static bool open_file(const char *name)
{
    struct sg_error err;
    bool ok = gguf_open(&file, test_path(name), &err) == SG_OK && tokenizer_open(&qwen, &file, &err) == SG_OK;
    return CHECKF(ok, "%s", err.message);
}

static void close_file(void)
{
    tokenizer_close(qwen);
    gguf_close(&file);
    qwen = NULL;
}

static void decode_all(const struct tokenizer *t, const struct ids *ids, struct buf *out)
{
    for (size_t i = 0; i < ids->len; i++)
        tokenizer_decode(t, ids->data[i], true, out);
}

/* Encodes and checks what holds for every text: the bytes of the tokens are NFC(text). */
static struct ids encode(const struct tokenizer *t, const char *text, size_t len, bool control)
{
    struct ids ids = {0};
    struct buf bytes = {0}, nfc = {0};
    struct sg_error err;
    CHECKF(tokenizer_encode(t, text, len, control, &ids, &err) == SG_OK, "%s", err.message);
    decode_all(t, &ids, &bytes);
    /* An added token stops composition: a mark behind it stays alone. */
    size_t begin = 0;
    for (size_t i = 0; i < ids.len; i++) {
        enum token_type type = tokenizer_type(t, ids.data[i]);
        if (type != TOKEN_USER && type != TOKEN_CONTROL)
            continue;
        struct buf token = {0};
        tokenizer_decode(t, ids.data[i], true, &token);
        size_t at = begin;
        while (len - at >= token.len && memcmp(text + at, token.data, token.len) != 0)
            at++;
        unicode_nfc(&nfc, text + begin, at - begin);
        buf_append(&nfc, token.data, token.len);
        begin = at + token.len;
        buf_free(&token);
    }
    unicode_nfc(&nfc, text + begin, len - begin);
    CHECKF(bytes.len == nfc.len && (nfc.len == 0 || memcmp(bytes.data, nfc.data, nfc.len) == 0), "%.60s", text);
    buf_free(&bytes);
    buf_free(&nfc);
    return ids;
}

static bool same_ids(const struct json *j, const struct json_node *list, const struct ids *ids)
{
    size_t i = 0;
    for (const struct json_node *n = json_first(j, list); n; n = json_next(j, list, n), i++) {
        int64_t id;
        if (i >= ids->len || !json_int(j, n, &id) || id != ids->data[i])
            return false;
    }
    return i == ids->len;
}

static void text_of(const struct json *j, const char *key, struct buf *out)
{
    const struct json_node *node = json_get(j, j->nodes, key);
    if (!node)
        return;
    json_string(j, node, out);
    if (strcmp(key, "hex") != 0)
        return;
    size_t n = out->len / 2;
    for (size_t i = 0; i < n; i++) {
        char digits[3] = {out->data[2 * i], out->data[2 * i + 1], 0};
        out->data[i] = (char)strtoul(digits, NULL, 16);
    }
    out->len = n;
}

static size_t check_vectors(const char *name, const char *key)
{
    size_t n_lines = 0, len;
    char *line = test_golden(name, &len), *end = line + len;
    while (line < end) {
        char *next = memchr(line, '\n', (size_t)(end - line));
        next = next ? next : end;
        struct json j;
        struct sg_error err;
        if (!CHECKF(json_parse(&j, line, (size_t)(next - line), &err) == SG_OK, "%s", err.message))
            return 0;
        struct buf text = {0};
        text_of(&j, key, &text);
        const struct json_node *control = json_get(&j, j.nodes, "special");
        struct ids ids = encode(qwen, text.data ? text.data : "", text.len, control && control->type == JSON_TRUE);
        CHECKF(same_ids(&j, json_get(&j, j.nodes, "ids"), &ids), "%.*s", (int)(next - line), line);
        ids_free(&ids);
        buf_free(&text);
        json_free(&j);
        n_lines++;
        line = next + 1;
    }
    return n_lines;
}

TEST(tokenizer_vectors)
{
    if (!open_file("tokenizer/qwen3.gguf"))
        return;
    CHECK(check_vectors("tokenizer/vectors.jsonl", "text") == 1760);
    CHECK(check_vectors("tokenizer/invalid_utf8.jsonl", "hex") == 99);
    close_file();
}
