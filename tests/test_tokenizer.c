/* The tokenizer against its golden vectors, against a slow second implementation of byte-pair
 * merging, on random and on hostile texts and vocabularies. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bpe.h"
#include "check.h"
#include "gguf_build.h"
#include "json.h"
#include "pretokenize.h"
#include "tokenizer.h"
#include "unicode.h"
#include "utf8.h"

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

/* Times are bounded generously: sanitizers and busy machines are slow, quadratic time is slower. */
static double cpu_seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }

static void decode_all(const struct tokenizer *t, const struct ids *ids, struct buf *out)
{
    for (size_t i = 0; i < ids->len; i++)
        tokenizer_decode(t, ids->data[i], true, out);
}

/* Encodes and checks what holds for every text: the bytes of the tokens are NFC(text), where an
 * added token stops normalization. */
static struct ids encode(const struct tokenizer *t, const char *text, size_t len, bool control)
{
    struct ids ids = {0};
    struct buf bytes = {0}, expected = {0}, token = {0};
    struct sg_error err;
    CHECKF(tokenizer_encode(t, text, len, control, &ids, &err) == SG_OK, "%s", err.message);
    decode_all(t, &ids, &bytes);
    size_t begin = 0;
    for (size_t i = 0; i < ids.len; i++) {
        enum token_type type = tokenizer_type(t, ids.data[i]);
        if (type != TOKEN_USER && type != TOKEN_CONTROL)
            continue;
        CHECK(type == TOKEN_USER || control);
        token.len = 0;
        tokenizer_decode(t, ids.data[i], true, &token);
        size_t at = begin;
        while (at < len && (len - at < token.len || memcmp(text + at, token.data, token.len) != 0))
            at++;
        unicode_nfc(&expected, text + begin, at - begin);
        buf_append(&expected, token.data, token.len);
        begin = MIN(at + token.len, len);
    }
    unicode_nfc(&expected, text + begin, len - begin);
    CHECKF(bytes.len == expected.len && (bytes.len == 0 || memcmp(bytes.data, expected.data, bytes.len) == 0), "%.60s", text);
    buf_free(&bytes);
    buf_free(&expected);
    buf_free(&token);
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

/* Rows of llama.cpp's test of the same pre-tokenizer. */
TEST(tokenizer_llama_cpp)
{
    static const struct {
        const char *text, *ids;
    } cases[] = {
        {"ied 4 ½ months", "1122 220 19 220 26062 3951"},
        {"Äpfel", "86975 15897 301"},
        {" ", "220"},
        {"  ", "256"},
        {"   ", "262"},
        {"\t", "197"},
        {"\n", "198"},
        {"\n\n", "271"},
        {"\n\n\n", "1406"},
        {"\t\n", "1572"},
        {" Hello", "21927"},
        {"    Hello\n    Hello", "262 21927 198 262 21927"},
        {" Hello World!", "21927 4337 0"},
        {"Hello, world!", "9707 11 1879 0"},
        {" this is 🦙.cpp", "419 374 11162 99 247 13 10821"},
        {"w048 7tuijk dsdfhu", "86 15 19 23 220 22 83 1963 41808 11472 2940 16739"},
        {"нещо на Български", "78762 14144 1456 13073 63471 33594 3038 133178 79012"},
        {"\n =", "198 284"},
        {"' era", "6 11385"},
        {"!!!!!!", "17085 2928"},
        {"333", "18 18 18"},
        {"Cửa Việt", "34 90063 128324"},
        {"Hello, y'all! How are you 😁 ?我想在apple工作1314151天～",
         "9707 11 379 64848 0 2585 525 498 26525 223 937 104100 18493 22377 99257 16 18 16 19 16 20 16 35727 21216"},
        {"កាន់តែពិសេសអាចខលចេញ",
         "146394 97529 241 44258 233 146568 44258 224 147603 20879 115 146280 44258 223 146280 147272 97529 227 147805 148301 "
         "147270 44258 223 146848"},
        {"\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n", "198 4710 14731 65497 7847 1572 2303 78672 10947"},
        {" 3.3 3..3 3...3", "220 18 13 18 220 18 496 18 220 18 1112 18"},
        {" 'told he's", "364 83 813 566 594"},
        {" 'RE you", "364 787 498"},
        {" We'Ve a'lL", "1205 6 42612 264 63866 43"},
    };
    if (!open_file("tokenizer/qwen3.gguf"))
        return;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ids ids = encode(qwen, cases[i].text, strlen(cases[i].text), false);
        struct buf got = {0};
        for (size_t k = 0; k < ids.len; k++)
            buf_printf(&got, "%s%d", k ? " " : "", (int)ids.data[k]);
        CHECKF(strcmp(got.data, cases[i].ids) == 0, "\"%s\": %s", cases[i].text, got.data);
        buf_free(&got);
        ids_free(&ids);
    }
    close_file();
}

/* The small vocabularies, whose ids differ from file to file. */
TEST(tokenizer_small_models)
{
    static const char *const names[] = {"mini-q1",      "mini-q1-v2", "q1-tied", "q1-untied", "q1-yarn", "q1-yarn-past",
                                        "f16-defaults", "q8",         "q2-g64",  "q2-g128",   "pq2",     "mixed"};
    size_t n_texts = 0;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[64];
        snprintf(path, sizeof path, "models/%s.gguf", names[i]);
        if (!open_file(path))
            return;
        snprintf(path, sizeof path, "logits/%s.json", strcmp(names[i], "mini-q1-v2") == 0 ? "mini-q1" : names[i]);
        size_t len;
        const char *text = test_golden(path, &len);
        struct json j;
        struct sg_error err;
        if (!CHECKF(json_parse(&j, text, len, &err) == SG_OK, "%s", err.message))
            return;
        int64_t n_vocab;
        CHECK(json_int(&j, json_get(&j, j.nodes, "n_vocab"), &n_vocab) && (size_t)n_vocab == tokenizer_size(qwen));
        const struct json_node *list = json_get(&j, j.nodes, "sequences");
        for (const struct json_node *s = json_first(&j, list); s; s = json_next(&j, list, s)) {
            const struct json_node *source = json_get(&j, s, "text");
            if (!source || source->type != JSON_STRING)
                continue;
            struct buf b = {0};
            json_string(&j, source, &b);
            struct ids ids = encode(qwen, b.data ? b.data : "", b.len, true);
            CHECKF(same_ids(&j, json_get(&j, s, "ids"), &ids), "%s: %.60s", names[i], b.data);
            n_texts++;
            ids_free(&ids);
            buf_free(&b);
        }
        json_free(&j);
        close_file();
    }
    CHECKF(n_texts >= ARRAY_LEN(names), "%zu", n_texts);
}

TEST(tokenizer_facts)
{
    if (!open_file("tokenizer/qwen3.gguf"))
        return;
    CHECK(tokenizer_size(qwen) == 151936 && tokenizer_merges(qwen) == 151387);
    CHECK(tokenizer_eos(qwen) == 151645 && tokenizer_pad(qwen) == 151643);
    CHECK(strcmp(tokenizer_pre(qwen), "qwen2") == 0);
    CHECKF(tokenizer_bytes(qwen) < 4u << 20, "%zu", tokenizer_bytes(qwen));
    CHECK(tokenizer_special(qwen, "<|im_start|>", 12) == 151644 && tokenizer_special(qwen, "</think>", 8) == 151668);
    CHECK(tokenizer_special(qwen, "<|im_start|", 11) == -1 && tokenizer_special(qwen, "Hello", 5) == -1 &&
          tokenizer_special(qwen, "", 0) == -1);
    CHECK(tokenizer_special(qwen, "[PAD151669]", 11) == -1 && tokenizer_special(qwen, "<|im_start|>\0", 13) == -1);
    size_t n_eog = 0, n_control = 0, n_user = 0;
    for (int32_t id = 0; (size_t)id < tokenizer_size(qwen); id++) {
        n_eog += tokenizer_is_eog(qwen, id);
        n_control += tokenizer_type(qwen, id) == TOKEN_CONTROL;
        n_user += tokenizer_type(qwen, id) == TOKEN_USER;
    }
    CHECK(n_control == 20 && n_user == 6);
    CHECK(n_eog == 5 && tokenizer_is_eog(qwen, 151643) && tokenizer_is_eog(qwen, 151645) && tokenizer_is_eog(qwen, 151662));
    CHECK(!tokenizer_is_eog(qwen, -1) && !tokenizer_is_eog(qwen, 151644));
    struct buf shown = {0};
    tokenizer_decode(qwen, 151645, false, &shown);
    tokenizer_decode(qwen, 151900, false, &shown);
    CHECK(shown.len == 0);
    tokenizer_decode(qwen, 151667, false, &shown);
    tokenizer_decode(qwen, 151645, true, &shown);
    CHECK(strcmp(shown.data, "<think><|im_end|>") == 0);
    buf_free(&shown);
    close_file();
}

/* Every token, decoded and encoded again. */
TEST(tokenizer_every_token)
{
    if (!open_file("tokenizer/qwen3.gguf"))
        return;
    size_t itself = 0, whole = 0;
    for (int32_t id = 0; (size_t)id < tokenizer_size(qwen); id++) {
        struct buf text = {0};
        tokenizer_decode(qwen, id, true, &text);
        if (CHECK(text.len > 0) && utf8_valid(text.data, text.len) && unicode_nfc_prefix(text.data, text.len) == text.len) {
            struct ids ids = encode(qwen, text.data, text.len, true);
            whole++;
            itself += ids.len == 1 && ids.data[0] == id;
            ids_free(&ids);
        }
        buf_free(&text);
    }
    CHECKF(whole > 149000 && itself > 148000, "%zu of %zu", itself, whole); /* a few no text gives: their words are cut elsewhere */
    close_file();
}

/* -------------------------------------------------------------------- words */

TEST(pretokenize_words)
{
    static const char *const cases[] = {
        /* with bars between the words */
        "Hello| world",
        "a|'s|b|'LL|c|'vE|d|'x",
        "I|'m| don|'t",
        "'re| '|re",
        "''|s",
        "x|'ſ|x",
        "1|2|3|½",
        "a|1|b",
        " |1",
        " | |1",
        "a|  | b",
        "a|   ",
        "\t| b",
        "\n|a",
        "a|\n\n| b",
        "a| \n \n| | b",
        "!!!|a",
        " !!!\n\n|a",
        "!!!\r\n\r\n|\tx",
        "\n\n|!!!",
        ".x| .|y| ..|z",
        "_a|__|a",
        "é|\u0301é",
        "e|\u0301\u0301\u0301|e",
        "中文| 中文|。\n|\u3000x",
        "日本語|！？| ...",
        "\xC2\x85x|\xC2\x85|1",
        "a|\u2028|1",
        "\uFEFFa",
        "🦙.|cpp",
        " 🦙",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf text = {0}, got = {0};
        for (const char *s = cases[i]; *s; s++)
            if (*s != '|')
                buf_putc(&text, *s);
        for (size_t at = 0, n; at < text.len; at += n) {
            n = pretokenize(text.data + at, text.len - at);
            if (!CHECK(n > 0 && n <= text.len - at))
                break;
            buf_puts(&got, at ? "|" : "");
            buf_append(&got, text.data + at, n);
        }
        CHECKF(strcmp(got.data, cases[i]) == 0, "%s became %s", cases[i], got.data);
        buf_free(&text);
        buf_free(&got);
    }
}

/* ------------------------------------------------------------------- merges */

TEST(hash_index_reach)
{
    struct hash_index x;
    if (!CHECK(hash_index_init(&x, 1000)))
        return;
    for (uint32_t n = 0; n <= HASH_INDEX_REACH; n++) { /* all with the same hash */
        struct probe p = hash_index_probe(&x, 12345);
        uint32_t other, before = 0;
        while (hash_index_next(&x, &p, &other))
            CHECK(other == before++);
        CHECK(before == n);
        CHECK(hash_index_put(&x, &p, n) == (n < HASH_INDEX_REACH));
    }
    hash_index_free(&x);
}

/* The definition of byte-pair merging, in quadratic time. */
static size_t merge_slowly(int32_t *id, size_t n, const struct bpe_merge *merges, size_t n_merges)
{
    for (size_t rank = 0; rank < n_merges;) {
        bool joined = false;
        for (size_t i = 0; i + 1 < n && !joined; i++)
            if (id[i] == merges[rank].left && id[i + 1] == merges[rank].right) {
                id[i] = merges[rank].result;
                memmove(&id[i + 1], &id[i + 2], (n - i - 2) * sizeof *id);
                n--;
                joined = true;
            }
        rank = joined ? 0 : rank + 1;
    }
    return n;
}

TEST(bpe_against_definition)
{
    enum {
        MERGES = 60,
        LENGTH = 300
    };
    struct bpe_scratch scratch = {0};
    for (int round = 0; round < 2000; round++) {
        struct bpe b;
        struct bpe_merge merges[MERGES];
        size_t letters = 1 + (size_t)test_below(4), n_merges = (size_t)test_below(MERGES);
        if (!CHECK(bpe_init(&b, n_merges)))
            return;
        for (int byte = 0; byte < 256; byte++)
            b.bytes[byte] = 255 - byte;
        for (size_t i = 0; i < n_merges; i++) { /* of letters and of what earlier merges make */
            int32_t part[2];
            for (int k = 0; k < 2; k++)
                part[k] = test_below(2) || i == 0 ? 255 - 'a' - (int32_t)test_below(letters) : 1000 + (int32_t)test_below(i);
            merges[i] = (struct bpe_merge){part[0], part[1], 1000 + (int32_t)i};
        }
        for (size_t i = n_merges; i-- > 1 && round % 2;) { /* training gives ranks in this order; files may have any */
            size_t k = (size_t)test_below(i + 1);
            struct bpe_merge m = merges[i];
            merges[i] = merges[k];
            merges[k] = m;
        }
        for (size_t i = 0; i < n_merges; i++)
            CHECK(bpe_add(&b, merges[i].left, merges[i].right, (uint32_t)i, merges[i].result));
        for (int word = 0; word < 4; word++) {
            char text[LENGTH];
            int32_t expected[LENGTH];
            size_t len = (size_t)test_below(word == 0 ? LENGTH : 80);
            for (size_t i = 0; i < len; i++) {
                text[i] = (char)('a' + test_below(letters));
                expected[i] = b.bytes[(unsigned char)text[i]];
            }
            size_t n = merge_slowly(expected, len, merges, n_merges);
            struct ids got = {0};
            bpe_encode(&b, text, len, &scratch, &got);
            CHECKF(!got.failed && got.len == n && memcmp(got.data ? got.data : expected, expected, n * sizeof *expected) == 0, "%.*s",
                   (int)len, text);
            ids_free(&got);
        }
        bpe_free(&b);
    }
    bpe_scratch_free(&scratch);
}

/* ----------------------------------------------------------- random, threads */

/* Pieces that meet in interesting ways. */
static void put_piece(struct buf *out)
{
    static const char *const pieces[] = {"<|im_start|>",
                                         "<|im_end|>",
                                         "<|im_",
                                         "<|",
                                         "<",
                                         "|>",
                                         "<think>",
                                         "</think>",
                                         "<tool_call>",
                                         "</tool_",
                                         "<|endoftext|>",
                                         "'s",
                                         "'LL",
                                         "'",
                                         " ",
                                         "  ",
                                         "\n",
                                         "\r\n",
                                         "\t",
                                         "1",
                                         "23",
                                         "the",
                                         " The",
                                         "ing",
                                         "e",
                                         "\xCC\x81",
                                         "\xCC\xA3",
                                         "\xC3\xA9",
                                         "\xE1\x84\x80",
                                         "\xE1\x85\xA1",
                                         "\xE1\x86\xA8",
                                         "\xEA\xB0\x80",
                                         "中",
                                         "。",
                                         "\xE3\x80\x80",
                                         "\xC2\xA0",
                                         "😁",
                                         "!",
                                         "...",
                                         "_",
                                         "</s>",
                                         "\xE2\x84\xAB"};
    uint64_t kind = test_below(20);
    if (kind == 0) {
        buf_putc(out, (char)test_random());
    } else if (kind == 1) {
        char bytes[4];
        uint32_t c = (uint32_t)test_below(test_below(2) ? 0x3000 : 0x110000);
        if (c < 0xD800 || c > 0xDFFF)
            buf_append(out, bytes, utf8_encode(c, bytes));
    } else if (kind == 2) {
        const char *piece = pieces[test_below(ARRAY_LEN(pieces))];
        for (uint64_t n = test_below(60); n > 0; n--)
            buf_puts(out, piece);
    } else {
        buf_puts(out, pieces[test_below(ARRAY_LEN(pieces))]);
    }
}

TEST(tokenizer_random)
{
    if (!open_file("tokenizer/qwen3.gguf"))
        return;
    for (int round = 0; round < 20000; round++) {
        struct buf text = {0};
        if (round % 4 == 0)
            for (uint64_t n = test_below(64); n > 0; n--)
                buf_putc(&text, (char)test_random());
        else
            for (uint64_t n = 1 + test_below(16); n > 0; n--)
                put_piece(&text);
        /* In memory that ends with the text: nothing may be read behind it. */
        char *guarded = round < 1000 ? test_guarded(text.len) : text.data;
        if (text.len)
            memmove(guarded, text.data, text.len);
        struct ids with = encode(qwen, guarded ? guarded : "", text.len, true),
                   without = encode(qwen, guarded ? guarded : "", text.len, false);
        ids_free(&with);
        ids_free(&without);
        buf_free(&text);
    }
    close_file();
}

struct crowd {
    struct buf text;
    struct ids expected;
    bool wrong;
};

static void *encode_in_crowd(void *arg)
{
    struct crowd *c = arg;
    for (int round = 0; round < 20; round++) {
        struct ids ids = {0};
        if (tokenizer_encode(qwen, c->text.data, c->text.len, true, &ids, NULL) != SG_OK || ids.len != c->expected.len ||
            memcmp(ids.data, c->expected.data, ids.len * sizeof *ids.data) != 0)
            c->wrong = true;
        ids_free(&ids);
    }
    return NULL;
}

TEST(tokenizer_threads)
{
    enum {
        THREADS = 4
    };
    pthread_t threads[THREADS];
    struct crowd crowds[THREADS] = {{{0}, {0}, false}};
    if (!open_file("tokenizer/qwen3.gguf"))
        return;
    for (int i = 0; i < THREADS; i++) {
        while (crowds[i].text.len < 20000)
            put_piece(&crowds[i].text);
        crowds[i].expected = encode(qwen, crowds[i].text.data, crowds[i].text.len, true);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, encode_in_crowd, &crowds[i]) == 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(!crowds[i].wrong);
        ids_free(&crowds[i].expected);
        buf_free(&crowds[i].text);
    }
    close_file();
}

/* ------------------------------------------------------------------ hostile */

TEST(tokenizer_hostile_texts)
{
    static const char *const pieces[] = {"a",
                                         " ",
                                         "\n",
                                         "<",
                                         "<|im_",
                                         "<|im_end|>",
                                         "<think>",
                                         "'",
                                         "-=",
                                         "\xFF",
                                         "\xF0\x9F\x98",
                                         "\xCC\x81\xCC\xA3",
                                         "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8",
                                         "\xE1\x85\xA1",
                                         "e\xCC\x81",
                                         "\xEA\xB0\x80",
                                         "😁",
                                         "                \n",
                                         "    a",
                                         "1"};
    enum {
        LENGTH = 300000
    }; /* of every kind: quadratic time would be minutes */
    if (!open_file("tokenizer/qwen3.gguf"))
        return;
    for (size_t i = 0; i <= ARRAY_LEN(pieces); i++) {
        struct buf text = {0};
        while (text.len < LENGTH) {
            if (i < ARRAY_LEN(pieces))
                buf_puts(&text, pieces[i]);
            else
                buf_putc(&text, (char)('a' + test_below(26))); /* one long word */
        }
        double begin = cpu_seconds();
        struct ids ids = encode(qwen, text.data, text.len, true);
        CHECKF(cpu_seconds() - begin < 10, "%.1f s for case %zu", cpu_seconds() - begin, i);
        ids_free(&ids);
        buf_free(&text);
    }
    close_file();
}

/* A vocabulary under construction: the 256 bytes, then what a case adds. */
struct vocabulary {
    struct buf tokens, types, merges;
    uint32_t n_tokens, n_types, n_merges;
    const char *model, *pre;
    bool add_bos;
    uint32_t eos;
};

static void put_text(struct buf *out, const char *text, size_t len)
{
    uint64_t n = len;
    buf_append(out, &n, sizeof n);
    buf_append(out, text, len);
}

static void add_token(struct vocabulary *v, const char *text, int32_t type)
{
    put_text(&v->tokens, text, strlen(text));
    buf_append(&v->types, &type, sizeof type);
    v->n_tokens++;
    v->n_types++;
}

static void add_merge(struct vocabulary *v, const char *text)
{
    put_text(&v->merges, text, strlen(text));
    v->n_merges++;
}

static struct vocabulary new_vocabulary(void)
{
    struct vocabulary v = {.model = "gpt2", .pre = "qwen2", .eos = 0};
    uint32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool printable = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
        char text[5] = {0};
        utf8_encode(printable ? byte : next++, text);
        add_token(&v, text, TOKEN_NORMAL);
    }
    return v;
}

static void put_array(struct build *b, const char *key, uint32_t element, uint64_t count, const struct buf *elements)
{
    struct buf raw = {0};
    buf_append(&raw, &element, sizeof element);
    buf_append(&raw, &count, sizeof count);
    buf_append(&raw, elements->data, elements->len);
    build_value(b, key, GGUF_ARRAY, raw.data, raw.len);
    buf_free(&raw);
}

/* Opens it as `qwen`; err tells what came of it. Frees v. */
static enum sg_status open_vocabulary(struct vocabulary *v, struct sg_error *err)
{
    struct build b;
    build_begin(&b);
    if (v->model)
        build_text(&b, "tokenizer.ggml.model", v->model);
    if (v->pre)
        build_text(&b, "tokenizer.ggml.pre", v->pre);
    put_array(&b, "tokenizer.ggml.tokens", GGUF_STRING, v->n_tokens, &v->tokens);
    put_array(&b, "tokenizer.ggml.token_type", GGUF_INT32, v->n_types, &v->types);
    put_array(&b, "tokenizer.ggml.merges", GGUF_STRING, v->n_merges, &v->merges);
    build_value(&b, "tokenizer.ggml.add_bos_token", GGUF_BOOL, &v->add_bos, 1);
    build_uint32(&b, "tokenizer.ggml.eos_token_id", v->eos);
    build_tensor(&b, "x", 1, (const uint64_t[]){1}, 0, 4);
    struct file_map map = build_end(&b);
    *err = (struct sg_error){0};
    qwen = NULL;
    enum sg_status status = gguf_parse(&file, "FILE", map, err);
    if (CHECKF(status == SG_OK, "%s", err->message))
        status = tokenizer_open(&qwen, &file, err);
    CHECK((status == SG_OK) == (qwen != NULL) && (status == SG_OK || (status == SG_BAD_MODEL && err->status == status)));
    buf_free(&v->tokens);
    buf_free(&v->types);
    buf_free(&v->merges);
    return status;
}

static void expect_refused(struct vocabulary *v, const char *because)
{
    struct sg_error err;
    CHECKF(open_vocabulary(v, &err) != SG_OK && strstr(err.message, because), "expected \"%s\", got \"%s\"", because, err.message);
    close_file();
}

static void expect_ids(const char *text, const int32_t *expected, size_t n)
{
    struct ids ids = encode(qwen, text, strlen(text), true);
    CHECKF(ids.len == n && memcmp(ids.data, expected, n * sizeof *expected) == 0, "%s: %zu tokens", text, ids.len);
    ids_free(&ids);
}

TEST(tokenizer_refuses)
{
    static const char *const merges[] = {"", " ", "ab", " a", "a ", "a b c", "a q\xFF", "Q q", "QQ q"};
    static const char *const because[] = {"two texts",   "two texts",   "two texts",   "two texts",  "two texts",
                                          "not a token", "not a token", "not a token", "not a token"};
    struct vocabulary v;
    for (size_t i = 0; i < ARRAY_LEN(merges); i++) {
        v = new_vocabulary();
        add_token(&v, "ab", TOKEN_NORMAL);
        add_merge(&v, "a b");
        add_merge(&v, merges[i]);
        expect_refused(&v, because[i]);
    }
    v = new_vocabulary();
    add_token(&v, "ab", TOKEN_CONTROL);
    add_merge(&v, "a b");
    expect_refused(&v, "control token");
    v = new_vocabulary();
    add_token(&v, "ab", TOKEN_NORMAL);
    add_token(&v, "ab", TOKEN_CONTROL);
    expect_refused(&v, "tokens 256 and 257");
    for (int32_t type = -1; type <= 7; type += 8) {
        v = new_vocabulary();
        add_token(&v, "ab", type);
        expect_refused(&v, "type");
    }
    v = new_vocabulary();
    v.n_tokens = 200; /* as many types, and the rest of the bytes is no token */
    v.tokens.len = 0;
    for (int i = 0; i < 200; i++)
        put_text(&v.tokens, (char[]){'[', (char)('0' + i % 64), (char)('0' + i / 64)}, 3);
    v.types.len = 200 * sizeof(int32_t);
    v.n_types = 200;
    expect_refused(&v, "byte 0x00");
    v = new_vocabulary();
    memcpy(v.types.data + 65 * sizeof(int32_t), &(int32_t){TOKEN_CONTROL}, sizeof(int32_t));
    expect_refused(&v, "byte 0x41");
    v = new_vocabulary();
    v.n_types--;
    v.types.len -= sizeof(int32_t);
    expect_refused(&v, "256 tokens but 255 types");
    v = new_vocabulary();
    v.model = "llama";
    expect_refused(&v, "\"llama\"");
    v = new_vocabulary();
    v.model = NULL;
    expect_refused(&v, "tokenizer.ggml.model");
    v = new_vocabulary();
    v.pre = "qwen35\n";
    expect_refused(&v, "\"qwen35\\x0A\"");
    v = new_vocabulary();
    v.pre = NULL;
    expect_refused(&v, "tokenizer.ggml.pre");
    v = new_vocabulary();
    v.add_bos = true;
    expect_refused(&v, "add_bos_token");
    v = new_vocabulary();
    v.eos = 256;
    expect_refused(&v, "eos_token_id");
    v = new_vocabulary();
    add_token(&v, "<\xFF>", TOKEN_USER);
    expect_refused(&v, "not UTF-8");
    v = new_vocabulary();
    char *long_text = test_guarded(257);
    memset(long_text, 'x', 256);
    long_text[256] = 0;
    add_token(&v, long_text, TOKEN_CONTROL);
    expect_refused(&v, "too long");
}

TEST(tokenizer_odd_vocabularies)
{
    struct sg_error err;
    struct vocabulary v = new_vocabulary(); /* bytes only */
    if (CHECKF(open_vocabulary(&v, &err) == SG_OK, "%s", err.message)) {
        expect_ids("ab c", (const int32_t[]){'a', 'b', ' ', 'c'}, 4);
        CHECK(tokenizer_is_eog(qwen, 0) && !tokenizer_is_eog(qwen, 1) && tokenizer_pad(qwen) == -1);
    }
    close_file();

    /* Of added tokens at one place the longest, of overlapping ones the first. */
    v = new_vocabulary();
    static const char *const added[] = {"<a", "<a><b>", "<a>", "b><", "><a>x", "éé", "<a><b>cdefg"};
    for (size_t i = 0; i < ARRAY_LEN(added); i++)
        add_token(&v, added[i], i == 2 ? TOKEN_CONTROL : TOKEN_USER);
    add_token(&v, "", TOKEN_CONTROL);
    add_token(&v, "", TOKEN_NORMAL);
    if (CHECKF(open_vocabulary(&v, &err) == SG_OK, "%s", err.message)) {
        expect_ids("<a><b>cdef", (const int32_t[]){257, 'c', 'd', 'e', 'f'}, 5);
        expect_ids("<a><b>cdefg<a", (const int32_t[]){262, 256}, 2);
        expect_ids("<a>x<a><", (const int32_t[]){258, 'x', 258, '<'}, 4);
        expect_ids("b><a>x", (const int32_t[]){259, 'a', '>', 'x'}, 4);
        expect_ids("éée\xCC\x81é", (const int32_t[]){261, 0xC3, 0xA9, 0xC3, 0xA9}, 5); /* found in the raw text, so not here */
        struct ids ids = encode(qwen, "<a>", 3, false);
        CHECK(ids.len == 2 && ids.data[0] == 256 && ids.data[1] == '>');
        ids_free(&ids);
        CHECK(tokenizer_special(qwen, "", 0) == -1);
        struct buf out = {0};
        tokenizer_decode(qwen, 264, true, &out);
        CHECK(out.len == 0);
        buf_free(&out);
    }
    close_file();

    /* What stands for no byte is printed as it is; of a merge given twice the first counts. */
    v = new_vocabulary();
    add_token(&v, "ab", TOKEN_NORMAL);
    add_token(&v, "bc", TOKEN_NORMAL);
    add_token(&v, "語\xFF", TOKEN_NORMAL);
    add_token(&v, "[unused]", TOKEN_UNUSED);
    add_token(&v, "[unknown]", TOKEN_UNKNOWN);
    add_token(&v, "<0x-1>", TOKEN_BYTE);
    add_merge(&v, "a b");
    add_merge(&v, "b c");
    add_merge(&v, "a b");
    if (CHECKF(open_vocabulary(&v, &err) == SG_OK, "%s", err.message)) {
        expect_ids("abc", (const int32_t[]){256, 'c'}, 2);
        expect_ids("[unused]", (const int32_t[]){'[', 'u', 'n', 'u', 's', 'e', 'd', ']'}, 8);
        struct buf out = {0};
        for (int32_t id = 258; id < 262; id++)
            tokenizer_decode(qwen, id, id == 260, &out);
        CHECKF(strcmp(out.data, "語\xFF[unknown]<0x-1>") == 0, "%s", out.data);
        buf_free(&out);
    }
    close_file();
}

/* Many tokens, many of them added, merges that build ever longer ones: opening and encoding stay fast. */
TEST(tokenizer_hostile_vocabularies)
{
    enum {
        MANY = 200000
    };
    struct sg_error err;
    struct vocabulary v = new_vocabulary();
    char text[64];
    double begin = cpu_seconds();
    for (int i = 0; i < MANY; i++) {
        snprintf(text, sizeof text, "<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<%d", i);
        add_token(&v, text, i % 2 ? TOKEN_CONTROL : TOKEN_NORMAL);
    }
    if (CHECKF(open_vocabulary(&v, &err) == SG_OK, "%s", err.message)) {
        struct buf b = {0};
        while (b.len < 300000)
            buf_puts(&b, "<");
        struct ids ids = encode(qwen, b.data, b.len, true);
        CHECK(ids.len == b.len);
        ids_free(&ids);
        buf_free(&b);
    }
    close_file();
    CHECKF(cpu_seconds() - begin < 10, "%.1f s", cpu_seconds() - begin);

    begin = cpu_seconds();
    v = new_vocabulary();
    for (int i = 0; i < MANY; i++)
        add_token(&v, "the same", TOKEN_NORMAL);
    expect_refused(&v, "same text");
    CHECKF(cpu_seconds() - begin < 10, "%.1f s", cpu_seconds() - begin);

    begin = cpu_seconds();
    v = new_vocabulary();
    struct buf run = {0}, merge = {0}; /* aa, aaa, aaaa ...: every merge takes in one more letter, the last first */
    buf_puts(&run, "a");
    for (int i = 0; i < 2000; i++) {
        merge.len = 0;
        buf_printf(&merge, "%s a", run.data);
        buf_puts(&run, "a");
        add_token(&v, run.data, TOKEN_NORMAL);
        add_merge(&v, merge.data);
    }
    if (CHECKF(open_vocabulary(&v, &err) == SG_OK, "%s", err.message)) {
        run.len = 0;
        while (run.len < 300000)
            buf_puts(&run, "a");
        struct ids ids = encode(qwen, run.data, run.len, true);
        CHECK(ids.len == run.len / 2); /* the first merge wins everywhere */
        ids_free(&ids);
    }
    buf_free(&run);
    buf_free(&merge);
    close_file();
    CHECKF(cpu_seconds() - begin < 10, "%.1f s", cpu_seconds() - begin);
}
