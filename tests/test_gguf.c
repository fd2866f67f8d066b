/* The container: golden files, values of every type, limits, layout, refusals. Files broken
 * at random or by design are in test_bad.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "gguf.h"
#include "gguf_build.h"
#include "quant.h"

static struct gguf opened;
static struct sg_error error;

/* Parses into `opened`, replacing what was there. */
static enum sg_status parse(struct file_map map)
{
    gguf_close(&opened);
    error = (struct sg_error){0};
    return gguf_parse(&opened, "FILE", map, &error);
}

/* Ends the file and expects it to be refused with a sentence that holds `what`. */
static void refused(struct build *b, const char *what)
{
    CHECKF(parse(build_end(b)) == SG_BAD_MODEL && strstr(error.message, what) && strncmp(error.message, "FILE: ", 6) == 0,
           "\"%s\" lacks \"%s\"", error.message, what);
}

static void accepted(struct build *b) { CHECKF(parse(build_end(b)) == SG_OK, "%s", error.message); }

TEST(gguf_golden_files)
{
    static const struct {
        const char *name, *type; /* of blk.0.attn_q.weight */
    } files[] = {
        {"mini-q1", "Q1_0"},
        {"mini-q1-v2", "Q1_0"},
        {"q1-tied", "Q1_0"},
        {"q1-untied", "Q1_0"},
        {"q1-yarn", "Q1_0"},
        {"f16-defaults", "F16"},
        {"q8", "Q8_0"},
        {"q2-g64", "Q2_0 (groups of 64)"},
        {"q2-g128", "Q2_0 (groups of 128)"},
        {"pq2", "PQ2_0"},
        {"mixed", "Q1_0"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char name[64];
        struct gguf g;
        struct sg_error err = {0};
        snprintf(name, sizeof name, "models/%s.gguf", files[i].name);
        if (!CHECKF(gguf_open(&g, test_path(name), &err) == SG_OK, "%s", err.message))
            continue;
        const struct gguf_tensor *q = gguf_find_tensor(&g, "blk.0.attn_q.weight");
        CHECKF(q && strcmp(gguf_type_name(q), files[i].type) == 0, "%s: %s", files[i].name, q ? gguf_type_name(q) : "none");
        CHECK(!gguf_find_tensor(&g, "blk.0.attn_q") && !gguf_find(&g, "qwen3"));
        struct sg_str arch = {0};
        CHECK(gguf_get_string(&g, "general.architecture", &arch, NULL, &err) == SG_OK && arch.len == 5 &&
              memcmp(arch.data, "qwen3", 5) == 0);
        const struct gguf_value *tokens = gguf_find(&g, "tokenizer.ggml.tokens");
        if (CHECK(tokens && tokens->type == GGUF_ARRAY && tokens->element == GGUF_STRING)) {
            const uint8_t *at = tokens->data;
            for (uint64_t k = 0; k < tokens->count; k++)
                gguf_next_string(&at);
            CHECK(at == tokens->data + tokens->bytes);
        }
        size_t tables =
            g.n_values * sizeof *g.values + g.n_tensors * sizeof *g.tensors + (g.n_value_slots + g.n_tensor_slots) * sizeof *g.value_slots;
        CHECKF(tables <= 4 * g.data_start, "%s: %zu bytes of tables for a header of %zu", name, tables, g.data_start);
        gguf_close(&g);
        gguf_close(&g);
    }
}

/* mixed.gguf begins with a value of every type. */
TEST(gguf_values_of_every_type)
{
    struct gguf g;
    uint64_t n = 7;
    double f = 7;
    bool yes = false, found;
    struct sg_str text;
    error = (struct sg_error){0};
    if (!CHECK(gguf_open(&g, test_path("models/mixed.gguf"), &error) == SG_OK))
        return;
    static const struct {
        const char *key;
        uint64_t value;
    } integers[] = {{"golden.u8", 255}, {"golden.u16", 513}, {"golden.u32", (uint64_t)1 << 31}, {"golden.u64", (uint64_t)1 << 63}};
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
        CHECKF(gguf_get_uint(&g, integers[i].key, 0, UINT64_MAX, &n, &found, &error) == SG_OK && found && n == integers[i].value, "%s",
               integers[i].key);
    static const char *const negative[] = {"golden.i8", "golden.i16", "golden.i32", "golden.i64"};
    static const char *const shown[] = {"-128", "-1", "-5", "-1"};
    for (size_t i = 0; i < sizeof negative / sizeof *negative; i++)
        CHECKF(gguf_get_uint(&g, negative[i], 0, UINT64_MAX, &n, &found, &error) == SG_BAD_MODEL && found &&
                   strstr(error.message, shown[i]),
               "%s", error.message);
    CHECK(gguf_get_float(&g, "golden.f32", &f, NULL, &error) == SG_OK && f == 0 && signbit(f));
    CHECK(gguf_get_float(&g, "golden.f64", &f, NULL, &error) == SG_OK && f > 1e299 && f < 1e301);
    CHECK(gguf_get_bool(&g, "golden.bool", &yes, NULL, &error) == SG_OK && yes);
    CHECK(gguf_get_string(&g, "golden.empty", &text, NULL, &error) == SG_OK && text.len == 0);
    CHECK(gguf_get_string(&g, "golden.text", &text, NULL, &error) == SG_OK && text.len == 15 &&
          memcmp(text.data, "\xD0\xBA\xD0\xBB\xD1\x8E\xD1\x87", 8) == 0);
    const struct gguf_value *v = gguf_find(&g, "golden.array.2");
    CHECK(v && v->type == GGUF_ARRAY && v->element == GGUF_UINT16 && v->count == 3 && v->bytes == 6);
    v = gguf_find(&g, "golden.array.none");
    CHECK(v && v->count == 0 && v->bytes == 0);
    CHECK(g.alignment == 64);
    gguf_close(&g);
}

/* Every getter on every type of value: the right ones work, the others say what they met. */
TEST(gguf_getters)
{
    static const uint8_t one[12] = {1}; /* 1 as any little-endian integer; an empty array is 12 zeros */
    static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
    static const uint8_t zeros[12] = {0};
    struct build b;
    build_begin(&b);
    for (uint32_t type = 0; type <= GGUF_FLOAT64; type++) {
        char key[16];
        snprintf(key, sizeof key, "k%u", (unsigned)type);
        bool plain = type == GGUF_STRING || type == GGUF_ARRAY || type == GGUF_FLOAT32 || type == GGUF_FLOAT64;
        build_value(&b, key, type, plain ? zeros : one, sizes[type]);
    }
    accepted(&b);
    for (uint32_t type = 0; type <= GGUF_FLOAT64; type++) {
        char key[16];
        uint64_t n = 9;
        double f = 9;
        bool yes = false, found = false;
        struct sg_str s = {NULL, 9};
        snprintf(key, sizeof key, "k%u", (unsigned)type);
        bool is_float = type == GGUF_FLOAT32 || type == GGUF_FLOAT64, is_bool = type == GGUF_BOOL, is_text = type == GGUF_STRING;
        bool is_int = !is_float && !is_bool && !is_text && type != GGUF_ARRAY;
        CHECKF((gguf_get_uint(&opened, key, 0, 5, &n, &found, &error) == SG_OK) == is_int && n == (is_int ? 1u : 9u) && found, "type %u",
               (unsigned)type);
        CHECKF((gguf_get_float(&opened, key, &f, &found, &error) == SG_OK) == is_float && f == (is_float ? 0 : 9), "type %u",
               (unsigned)type);
        CHECKF((gguf_get_bool(&opened, key, &yes, &found, &error) == SG_OK) == is_bool && yes == is_bool, "type %u", (unsigned)type);
        CHECKF((gguf_get_string(&opened, key, &s, &found, &error) == SG_OK) == is_text && s.len == (is_text ? 0u : 9u), "type %u",
               (unsigned)type);
        if (is_int) {
            CHECK(gguf_get_uint(&opened, key, 2, 5, &n, NULL, &error) == SG_BAD_MODEL && strstr(error.message, "is 1, expected 2 to 5"));
            CHECK(gguf_get_uint(&opened, key, 0, 0, &n, NULL, &error) == SG_BAD_MODEL && n == 1);
        }
    }
    uint64_t n = 9;
    bool found = true;
    CHECK(gguf_get_uint(&opened, "absent", 0, 5, &n, &found, &error) == SG_OK && n == 9 && !found);
    gguf_close(&opened);

    build_begin(&b);
    build_float(&b, "nan", NAN);
    build_float(&b, "inf", INFINITY);
    build_float(&b, "fine", 0.5f);
    int64_t minimum = INT64_MIN;
    build_value(&b, "minimum", GGUF_INT64, &minimum, 8);
    accepted(&b);
    double f = 9;
    CHECK(gguf_get_float(&opened, "nan", &f, NULL, &error) == SG_BAD_MODEL &&
          gguf_get_float(&opened, "inf", &f, NULL, &error) == SG_BAD_MODEL && f == 9);
    CHECK(gguf_get_float(&opened, "fine", &f, NULL, &error) == SG_OK && f == 0.5);
    CHECK(gguf_get_uint(&opened, "minimum", 0, UINT64_MAX, &n, NULL, &error) == SG_BAD_MODEL &&
          strstr(error.message, "-9223372036854775808"));
    gguf_close(&opened);
}

TEST(gguf_refusals)
{
    static const struct {
        const char *text;
        size_t len;
        const char *what;
    } files[] = {
        {"", 0, "empty"},
        {"G", 1, "not a GGUF file"},
        {"Hello, world", 12, "not a GGUF file"},
        {"GGUF\0\0\0\3", 8, "big-endian"},
        {"GGUF\1\0\0\0", 8, "version 1"},
        {"GGUF\0\0\0\0", 8, "version 0"},
        {"GGUF\4\0\0\0", 8, "version 4"},
        {"GGUF\3\0\0\0", 8, "header"},
        {"version https://git-lfs.github.com/spec/v1\noid", 46, "Git LFS"},
        {"<!DOCTYPE html>", 15, "web page"},
        {"PK\3\4abc", 7, "ZIP"},
        {"tjgg\1\0\0\0", 8, "before GGUF"},
        {"\x40\0\0\0\0\0\0\0{\"__metadata__\":", 24, "safetensors"},
        {"\x1f\x8b\x08\0", 4, "gzip"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        uint8_t *data = test_guarded(files[i].len);
        memcpy(data, files[i].text, files[i].len);
        CHECKF(parse((struct file_map){files[i].len ? data : NULL, files[i].len}) == SG_BAD_MODEL && strstr(error.message, files[i].what),
               "%s", error.message);
    }
    struct build b;
    build_begin(&b);
    build_uint32(&b, "split.count", 2);
    refused(&b, "split model");
    build_uint32(&b, "split.count", 1);
    accepted(&b);
    build_text(&b, "split.count", "2");
    refused(&b, "expected an integer");
    build_uint32(&b, "x\x1b[31m\xff", 1);
    build_uint32(&b, "x\x1b[31m\xff", 1);
    refused(&b, "key x\\x1B[31m\\xFF occurs twice"); /* nothing from the file reaches a terminal raw */
    build_uint32(&b, "", 1);
    refused(&b, "no name");
    build_value(&b, "k", 13, "", 1);
    refused(&b, "unknown value type 13");
    build_value(&b, "k", GGUF_ARRAY, "\x09\0\0\0\0\0\0\0\0\0\0\0", 12);
    refused(&b, "array of arrays");
    gguf_close(&opened);
}

TEST(gguf_alignment)
{
    static const struct {
        uint32_t alignment;
        bool fine;
    } cases[] = {{0, false}, {1, true},       {2, true},        {3, false},        {24, false},
                 {32, true}, {1 << 16, true}, {1 << 17, false}, {1u << 31, false}, {UINT32_MAX, false}};
    static const uint64_t dims[] = {4};
    struct build b;
    build_begin(&b);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        b.alignment = cases[i].fine ? cases[i].alignment : 32;
        build_uint32(&b, "general.alignment", cases[i].alignment);
        build_tensor(&b, "a", 1, dims, 0, 16);
        build_tensor(&b, "b", 1, dims, 0, 16);
        if (cases[i].fine) {
            accepted(&b);
            CHECK(opened.alignment == cases[i].alignment && opened.data_start % opened.alignment == 0 && opened.tensors[1].offset >= 16);
        } else {
            refused(&b, "general.alignment");
        }
    }
    build_value(&b, "general.alignment", GGUF_INT32, "\x20\0\0\0", 4);
    accepted(&b);
    build_value(&b, "general.alignment", GGUF_INT32, "\xE0\xFF\xFF\xFF", 4);
    refused(&b, "general.alignment");
    gguf_close(&opened);
}

/* A file with one huge thing in it, cheap because untouched memory costs nothing. */
static enum sg_status parse_huge(uint32_t type, uint32_t element, uint64_t count, size_t payload)
{
    struct buf head = {0};
    uint64_t numbers[] = {0, 1, 1};
    uint32_t version = 3;
    buf_append(&head, "GGUF", 4);
    buf_append(&head, &version, 4);
    buf_append(&head, numbers, sizeof numbers);
    buf_append(&head, "k", 1);
    buf_append(&head, &type, 4);
    if (type == GGUF_ARRAY)
        buf_append(&head, &element, 4);
    buf_append(&head, &count, 8);
    uint8_t *data = test_guarded(head.len + payload);
    memcpy(data, head.data, head.len);
    size_t size = head.len + payload;
    buf_free(&head);
    return parse((struct file_map){data, size});
}

TEST(gguf_caps)
{
    CHECKF(parse_huge(GGUF_STRING, 0, 64 << 20, 64 << 20) == SG_OK, "%s", error.message);
    CHECK(parse_huge(GGUF_STRING, 0, (64 << 20) + 1, (64 << 20) + 1) == SG_BAD_MODEL && strstr(error.message, "67108864"));
    CHECK(parse_huge(GGUF_ARRAY, GGUF_UINT8, 1 << 24, 1 << 24) == SG_OK);
    CHECK(parse_huge(GGUF_ARRAY, GGUF_UINT8, (1 << 24) + 1, (1 << 24) + 1) == SG_BAD_MODEL && strstr(error.message, "16777216"));
    CHECK(parse_huge(GGUF_ARRAY, GGUF_STRING, 1 << 20, 8 << 20) == SG_OK);
    CHECK(parse_huge(GGUF_ARRAY, GGUF_STRING, 1 << 20, (8 << 20) - 1) == SG_BAD_MODEL);
    CHECK(parse_huge(GGUF_ARRAY, GGUF_FLOAT64, (uint64_t)1 << 61, 64) == SG_BAD_MODEL);
    CHECK(parse_huge(GGUF_ARRAY, GGUF_STRING, ((uint64_t)1 << 61) + 1, 64) == SG_BAD_MODEL);
    gguf_close(&opened);
}

TEST(gguf_many_names)
{
    static const uint64_t dims[] = {1};
    struct build b;
    clock_t start = clock();
    build_begin(&b);
    for (unsigned i = 0; i < 65536; i++) {
        char name[32];
        snprintf(name, sizeof name, "key.%u", i);
        build_uint32(&b, name, i);
        snprintf(name, sizeof name, "blk.%u.x.weight", i);
        build_info(&b, name, 1, dims, 0, 32 * (uint64_t)(65535 - i));
    }
    for (size_t i = 0; i < 65536 * 32; i++)
        buf_putc(&b.data, 0);
    accepted(&b);
    CHECK(opened.n_values == 65536 && opened.n_tensors == 65536);
    for (unsigned i = 0; i < 65536; i++) {
        char name[32];
        uint64_t n = 0;
        snprintf(name, sizeof name, "key.%u", i);
        CHECK(gguf_get_uint(&opened, name, 0, 65535, &n, NULL, &error) == SG_OK && n == i);
        snprintf(name, sizeof name, "blk.%u.x.weight", i);
        CHECK(gguf_find_tensor(&opened, name) == &opened.tensors[i]);
    }
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    CHECKF(seconds < 10, "%.1f s", seconds); /* usually 0.1; comparing all pairs takes minutes */

    /* One more of either is too many, and so is a count beyond what the file can hold. */
    for (unsigned i = 0; i < 65537; i++) {
        char name[32];
        snprintf(name, sizeof name, "key.%u", i);
        build_uint32(&b, name, i);
    }
    refused(&b, "signum accepts 65536");
    build_begin(&b);
    build_uint32(&b, "k", 1);
    b.n_values = (uint64_t)1 << 62;
    refused(&b, "more than fit");
    gguf_close(&opened);
}

/* Names that all fall into one part of the hash table must not cost quadratic time. */
TEST(gguf_colliding_names)
{
    struct build b;
    build_begin(&b);
    unsigned entered = 0;
    for (unsigned i = 0; entered < 1100; i++) {
        char name[16];
        int len = snprintf(name, sizeof name, "%x", i);
        uint64_t h = 0xCBF29CE484222325u; /* as gguf.c does it */
        for (int k = 0; k < len; k++)
            h = (h ^ (unsigned char)name[k]) * 0x100000001B3u;
        if (((h ^ h >> 32) & 2047) == 0) {
            build_uint32(&b, name, i);
            entered++;
        }
    }
    refused(&b, "collide");
    gguf_close(&opened);
}

TEST(gguf_tensor_types)
{
    static const struct {
        uint32_t id;
        uint64_t cols, bytes;
        const char *name;
    } fine[] = {
        {0, 1, 4, "F32"},
        {1, 1, 2, "F16"},
        {30, 1, 2, "BF16"},
        {8, 32, 34, "Q8_0"},
        {2, 32, 18, "Q4_0"},
        {3, 32, 20, "Q4_1"},
        {12, 256, 144, "Q4_K"},
        {13, 256, 176, "Q5_K"},
        {14, 256, 210, "Q6_K"},
        {41, 128, 18, "Q1_0"},
        {142, 128, 34, "PQ2_0"},
        {34, 256, 54, "TQ1_0"},
        {35, 256, 66, "TQ2_0"},
        {42, 2560, 720, "Q2_0 (groups of 64)"},
        {42, 2560, 680, "Q2_0 (groups of 128)"},
    };
    struct build b;
    build_begin(&b);
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        uint64_t dims[2] = {fine[i].cols, 3};
        build_tensor(&b, "t", 2, dims, fine[i].id, (size_t)fine[i].bytes * 3);
        accepted(&b);
        CHECKF(opened.n_tensors == 1 && opened.tensors[0].bytes == 3 * fine[i].bytes &&
                   strcmp(gguf_type_name(&opened.tensors[0]), fine[i].name) == 0,
               "type %u", (unsigned)fine[i].id);
        if (fine[i].cols > 1) { /* rows of a block and a half */
            dims[0] += fine[i].id == 42 ? 32 : fine[i].cols / 2;
            build_tensor(&b, "t", 2, dims, fine[i].id, (size_t)fine[i].bytes * 6);
            refused(&b, "not a multiple");
        }
    }
    for (uint32_t id = 0; id < 260; id++) {
        bool known = false;
        for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
            known |= fine[i].id == id;
        if (known)
            continue;
        uint64_t dims[1] = {256};
        char what[32];
        snprintf(what, sizeof what, "tensor odd has type %u", (unsigned)id);
        build_tensor(&b, "odd", 1, dims, id, 1024);
        refused(&b, what);
        CHECK(strstr(error.message, "instead") && strstr(error.message, "use "));
    }
    static const struct {
        uint32_t id;
        const char *name;
    } named[] = {{6, "Q5_0"},   {23, "IQ4_XS"}, {31, "retired"}, {36, "I2_S"},
                 {39, "MXFP4"}, {40, "NVFP4"},  {143, "PQ2_0"},  {15, "activations"}};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        uint64_t dims[1] = {256};
        build_tensor(&b, "odd", 1, dims, named[i].id, 1024);
        refused(&b, named[i].name);
    }
    gguf_close(&opened);
}

/* Type 42 is one of two layouts; only the offsets tell. */
TEST(gguf_q2_0_layout)
{
    static const uint64_t big[2] = {1280, 4}, small[2] = {128, 1}, odd[2] = {1344, 4}, one[1] = {8};
    enum {
        BIG_64 = 1440,
        BIG_128 = 1360,
        ODD_64 = 1512
    };
    struct build b;
    build_begin(&b);
    for (int layout = 0; layout < 2; layout++) {
        size_t bytes = layout ? BIG_128 : BIG_64;
        int type = layout ? QUANT_Q2_0_G128 : QUANT_Q2_0_G64;
        for (int where = 0; where < 3; where++) { /* before another tensor; last, padded; last, cut off */
            build_tensor(&b, "first", 1, one, 0, 32);
            build_tensor(&b, "t", 2, big, 42, bytes);
            if (where == 0)
                build_tensor(&b, "after", 1, one, 0, 32);
            while (where == 1 && b.data.len % 32)
                buf_putc(&b.data, 0);
            accepted(&b);
            CHECKF(opened.tensors[1].type == type && opened.tensors[1].bytes == bytes, "layout %d place %d", layout, where);
        }
        /* One tensor decides for all, also for one too small to tell, and for the last with bytes behind it. */
        build_tensor(&b, "small", 2, small, 42, layout ? 34 : 36);
        build_tensor(&b, "t", 2, big, 42, bytes);
        build_tensor(&b, "last", 2, big, 42, bytes);
        for (int i = 0; i < 100; i++)
            buf_putc(&b.data, 'x');
        accepted(&b);
        CHECK(opened.tensors[0].type == type && opened.tensors[2].type == type);
    }
    /* Rows of 21 groups of 64 can not be groups of 128. */
    build_tensor(&b, "t", 2, odd, 42, ODD_64);
    accepted(&b);
    CHECK(opened.tensors[0].type == QUANT_Q2_0_G64);

    build_tensor(&b, "small", 2, small, 42, 36); /* both sizes are 64 with padding */
    refused(&b, "fit both");
    build_tensor(&b, "a", 2, big, 42, BIG_64); /* one of each */
    build_tensor(&b, "b", 2, big, 42, BIG_128);
    build_tensor(&b, "after", 1, one, 0, 32);
    refused(&b, "ambiguous Q2_0 layout: tensor b");
    build_tensor(&b, "a", 2, big, 42, 4000); /* a gap proves nothing */
    build_tensor(&b, "after", 1, one, 0, 32);
    refused(&b, "need 1440");
    build_tensor(&b, "a", 2, big, 42, 4000); /* nor do bytes after the only one */
    refused(&b, "fit both");
    build_tensor(&b, "a", 2, big, 42, 1000);
    refused(&b, "ambiguous");
    gguf_close(&opened);
}

TEST(gguf_placement)
{
    static const uint64_t eight[1] = {8};
    struct build b;
    build_begin(&b);
    /* Order and gaps are free, sharing is not, and the end is the end. */
    build_info(&b, "second", 1, eight, 0, 96);
    build_info(&b, "first", 1, eight, 0, 0);
    for (int i = 0; i < 128; i++)
        buf_putc(&b.data, (char)i);
    accepted(&b);
    CHECK(opened.tensors[0].data[0] == 96 && opened.tensors[1].data[0] == 0 &&
          opened.tensors[0].data + 32 == opened.map.data + opened.map.size);

    build_info(&b, "a", 1, eight, 0, 0);
    build_info(&b, "b", 1, eight, 0, 0);
    build_tensor(&b, "c", 1, eight, 0, 32);
    refused(&b, "overlap");
    static const uint64_t offsets[] = {32, 128, (uint64_t)1 << 40, (uint64_t)1 << 63, UINT64_MAX - 31};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        build_tensor(&b, "c", 1, eight, 0, 32);
        build_info(&b, "d", 1, eight, 0, offsets[i]);
        refused(&b, "truncated");
    }
    build_tensor(&b, "c", 1, eight, 0, 64);
    build_info(&b, "d", 1, eight, 0, 1);
    refused(&b, "multiple of the alignment");

    /* Dimensions: none, five, zero, products that wrap. */
    static const uint64_t dims[][5] = {{0},
                                       {1, 1, 1, 1, 1},
                                       {0, 8},
                                       {8, 0},
                                       {(uint64_t)1 << 42, 1 << 22},
                                       {UINT64_MAX, UINT64_MAX},
                                       {(uint64_t)1 << 33, ((uint64_t)1 << 31) + 1},
                                       {8, (uint64_t)1 << 61},
                                       {32, 1, 1, (uint64_t)1 << 63}};
    static const uint32_t n_dims[] = {0, 5, 2, 2, 2, 2, 2, 2, 4};
    for (size_t i = 0; i < sizeof n_dims / sizeof *n_dims; i++) {
        build_tensor(&b, "c", n_dims[i], dims[i], 0, 64);
        refused(&b, i < 2 ? "dimensions" : i < 4 ? "dimension of 0" : "impossibly large");
    }
    static const uint64_t four[4] = {2, 2, 2, 1};
    build_tensor(&b, "c", 4, four, 0, 32);
    accepted(&b);
    CHECK(opened.tensors[0].n_dims == 4 && opened.tensors[0].bytes == 32);
    build_tensor(&b, "twice", 1, eight, 0, 32);
    build_tensor(&b, "twice", 1, eight, 0, 32);
    refused(&b, "tensor twice occurs twice");
    build_tensor(&b, "", 1, eight, 0, 32);
    refused(&b, "no name");
    build_tensor(&b, "0123456789012345678901234567890123456789012345678901234567890123", 1, eight, 0, 32);
    accepted(&b);
    build_tensor(&b, "01234567890123456789012345678901234567890123456789012345678901234", 1, eight, 0, 32);
    refused(&b, "65 bytes");
    gguf_close(&opened);
}
