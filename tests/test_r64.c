/* 64 rows side by side: the layout, files in it and the way back, engines that use it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "gguf.h"
#include "gguf_build.h"
#include "matmul.h"
#include "r64.h"
#include "signum.h"

static struct sg_error error;

static uint8_t *random_bytes(size_t n)
{
    uint8_t *data = test_guarded(n);
    for (size_t i = 0; i < n; i++)
        data[i] = (uint8_t)test_random();
    return data;
}

/* ------------------------------------------------------------------ layout */

TEST(r64_by_hand)
{
    enum {
        ROWS = 64,
        GROUPS = 2
    };
    uint8_t rows[ROWS * GROUPS * 18], blocks[GROUPS * 1152];
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t g = 0; g < GROUPS; g++) {
            uint8_t *group = rows + (r * GROUPS + g) * 18;
            group[0] = (uint8_t)r;
            group[1] = (uint8_t)(100 + g);
            for (size_t k = 0; k < 16; k++)
                group[2 + k] = (uint8_t)(r * 4 + k * 7 + g);
        }
    }
    r64_from_rows(blocks, rows, ROWS, GROUPS);
    for (size_t g = 0; g < GROUPS; g++) {
        const uint8_t *block = blocks + g * 1152;
        for (size_t i = 0; i < 4; i++)
            for (size_t j = 0; j < 16; j++)
                CHECK(block[2 * (16 * i + j)] == 4 * j + i && block[2 * (16 * i + j) + 1] == 100 + g);
        for (size_t k = 0; k < 16; k++)
            for (size_t r = 0; r < ROWS; r++)
                CHECK(block[128 + 64 * k + r] == (uint8_t)(r * 4 + k * 7 + g));
    }
    CHECK(r64_bytes(1, 128) == 1152 && r64_bytes(64, 128) == 1152 && r64_bytes(65, 256) == 4 * 1152 &&
          r64_bytes(151669, 4096) == 2370 * 32 * 1152);
}

TEST(r64_there_and_back)
{
    for (int round = 0; round < 60; round++) {
        size_t rows = 1 + test_below(200), groups = 1 + test_below(5), cols = groups * GROUP, row_bytes = groups * 18;
        size_t bytes = (size_t)r64_bytes(rows, cols);
        const uint8_t *from = random_bytes(rows * row_bytes);
        uint8_t *to = random_bytes(bytes), *back = random_bytes(rows * row_bytes);
        for (size_t r = 0; r < rows; r += 64) {
            size_t n = MIN(rows - r, (size_t)64);
            r64_from_rows(to + r / 64 * groups * 1152, from + r * row_bytes, n, groups);
            r64_to_rows(back + r * row_bytes, to + r / 64 * groups * 1152, n, groups);
        }
        CHECKF(memcmp(from, back, rows * row_bytes) == 0, "%zu rows, %zu groups", rows, groups);
        CHECK(r64_padding_is_zero(to, rows, cols));
        if (rows % 64) {
            size_t byte = test_below(2) ? 128 + 64 * test_below(16) + rows % 64 : 2 * (63 % 4 * 16 + 63 / 4), g = test_below(groups);
            uint8_t *at = to + (rows / 64 * groups + g) * 1152 + byte, kept = *at;
            *at = 1;
            CHECK(!r64_padding_is_zero(to, rows, cols));
            *at = kept;
        }
        struct tensor plain = {.type = QUANT_Q1_0, .rows = rows, .cols = cols, .row_bytes = row_bytes, .data = from}, packed = plain;
        packed.type = QUANT_Q1_0_R64;
        packed.data = to;
        size_t row = test_below(rows);
        float *a = test_guarded(cols * sizeof *a), *b = test_guarded(cols * sizeof *b);
        tensor_row(a, &plain, row);
        tensor_row(b, &packed, row);
        CHECKF(memcmp(a, b, cols * sizeof *a) == 0, "row %zu of %zu", row, rows);
    }
}

/* --------------------------------------------------------------------- files */

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0)
        abort();
}

static bool file_is(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    uint8_t *got = malloc(size + 1);
    size_t n = fread(got, 1, size + 1, f);
    bool same = n == size && memcmp(got, data, size) == 0;
    fclose(f);
    free(got);
    return same;
}

static const char *in_tmp(const char *name)
{
    static char paths[8][512];
    static size_t next;
    char *path = paths[next++ % ARRAY_LEN(paths)];
    snprintf(path, sizeof paths[0], "%s/%s", test_tmp(), name);
    return path;
}

/* How it is written to files does not change unnoticed. */
TEST(r64_golden_file)
{
    size_t size;
    const char *golden = test_golden("models/mini-q1-r64.gguf", &size), *out = in_tmp("golden");
    size_t n;
    CHECKF(sg_repack(test_path("models/mini-q1.gguf"), out, false, NULL, &n, &error) == SG_OK, "%s", error.message);
    CHECK(n == 8 && file_is(out, golden, size));
    remove(out);
}

/* Files with tensors of several types in any order, with and without an alignment of their own
 * and with padding at their end. */
TEST(r64_files_there_and_back)
{
    for (int round = 0; round < 40; round++) {
        struct build b;
        build_begin(&b);
        b.version = 2 + (uint32_t)test_below(2);
        build_text(&b, "general.architecture", "qwen3");
        static const size_t alignments[] = {32, 8, 64, 256, 4096};
        size_t alignment = alignments[test_below(ARRAY_LEN(alignments))], n_q1 = 0, n = 1 + test_below(6);
        if (alignment != 32 || test_below(2)) {
            b.alignment = alignment;
            build_uint32(&b, "general.alignment", (uint32_t)alignment);
        }
        build_text(&b, "general.name", "between");
        for (size_t i = 0; i < n; i++) {
            char name[32];
            uint64_t cols = 128 * (1 + test_below(4)), rows = 1 + test_below(150), dims[3] = {cols, rows, 2};
            size_t kind = i == 0 ? 0 : test_below(4), bytes = (size_t)(cols * rows);
            snprintf(name, sizeof name, "t%zu", i);
            static const uint32_t ids[] = {41, 0, 1, 41};
            bytes = kind == 0 ? bytes / 128 * 18 : kind == 1 ? bytes * 4 : kind == 2 ? bytes * 2 : bytes * 2 / 128 * 18;
            uint64_t at = build_tensor(&b, name, kind == 3 ? 3 : 2, dims, ids[kind], bytes);
            for (size_t k = 0; k < bytes; k++)
                b.data.data[at + k] = (char)test_random();
            n_q1 += kind == 0;
        }
        for (size_t zeros = test_below(2) * test_below(5000); zeros > 0; zeros--)
            buf_putc(&b.data, 0);
        struct file_map original = build_end(&b);
        const char *in = in_tmp("original"), *packed = in_tmp("packed"), *back = in_tmp("back");
        write_file(in, original.data, original.size);
        size_t count = 0;
        CHECKF(sg_repack(in, packed, false, NULL, &count, &error) == SG_OK && count == n_q1, "%s", error.message);
        struct gguf g;
        if (!CHECKF(gguf_open(&g, packed, &error) == SG_OK, "%s", error.message))
            continue;
        for (size_t i = 0; i < g.n_tensors; i++) {
            const struct gguf_tensor *t = &g.tensors[i];
            bool q1 = t->type_id == 41 || t->type_id == R64_TYPE_ID;
            CHECK(!q1 || (t->n_dims == 2) == (t->type == QUANT_Q1_0_R64));
            CHECK((size_t)(t->data - g.map.data) % 64 == 0);
        }
        gguf_close(&g);
        CHECK(sg_repack(packed, in_tmp("twice"), false, NULL, NULL, &error) == SG_USAGE && strstr(error.message, "repacked already"));
        CHECKF(sg_repack(packed, back, true, NULL, &count, &error) == SG_OK && count == n_q1, "%s", error.message);
        CHECKF(file_is(back, original.data, original.size), "alignment %zu, round %d", alignment, round);
        CHECK(sg_repack(in, in_tmp("none"), true, NULL, NULL, &error) == SG_USAGE && strstr(error.message, "nothing to undo"));
        remove(in);
        remove(packed);
        remove(back);
    }
}

TEST(r64_refusals)
{
    static const uint64_t dims[3] = {128, 3, 2};
    size_t size;
    uint8_t *mini = (uint8_t *)test_golden("models/mini-q1.gguf", &size);
    struct gguf g;
    struct build b;
    const char *in = in_tmp("in"), *out = in_tmp("out");
    size_t n;

    CHECK(sg_repack(test_path("models/q8.gguf"), out, false, NULL, NULL, &error) == SG_USAGE && strstr(error.message, "no Q1_0 matrices"));
    CHECK(sg_repack(test_path("models/none.gguf"), out, false, NULL, NULL, &error) == SG_FAIL);
    CHECK(sg_repack(test_path("bad/cases.txt"), out, false, NULL, NULL, &error) == SG_BAD_MODEL);
    write_file(in, mini, size);
    CHECK(sg_repack(in, in, false, NULL, NULL, &error) == SG_USAGE && file_is(in, mini, size));
    CHECK(sg_repack(in, test_tmp(), false, NULL, NULL, &error) == SG_USAGE && strstr(error.message, "is no file"));
    CHECK(sg_repack(in, in_tmp("none/out"), false, NULL, NULL, &error) == SG_FAIL);
    volatile sig_atomic_t interrupt = 1;
    CHECK(sg_repack(in, out, false, &(struct sg_progress){.interrupt = &interrupt}, &n, &error) == SG_INTERRUPTED);

    /* Something between the tensors that the way back could not restore. */
    CHECK(gguf_parse(&g, "FILE", (struct file_map){mini, size}, &error) == SG_OK);
    size_t gap = 0;
    for (size_t i = 0; i < g.n_tensors && !gap; i++) {
        size_t end = (size_t)(g.tensors[i].data - mini) + (size_t)g.tensors[i].bytes;
        gap = end % 32 ? end : 0;
    }
    gguf_close(&g);
    if (gap) {
        mini[gap] = 1;
        write_file(in, mini, size);
        CHECK(sg_repack(in, out, false, NULL, NULL, &error) == SG_FAIL && strstr(error.message, "would be lost"));
    }
    FILE *none = fopen(out, "rb");
    CHECK(!none);
    if (none)
        fclose(none);

    /* Tensors that can not be of this type. */
    build_begin(&b);
    b.alignment = 64;
    build_uint32(&b, "general.alignment", 64);
    build_tensor(&b, "t", 3, dims, R64_TYPE_ID, 2 * 1152);
    CHECK(gguf_parse(&g, "FILE", build_end(&b), &error) == SG_BAD_MODEL && strstr(error.message, "only matrices"));
    b.alignment = 64;
    build_uint32(&b, "general.alignment", 64);
    build_tensor(&b, "t", 2, (const uint64_t[]){192, 3}, R64_TYPE_ID, 2 * 1152);
    CHECK(gguf_parse(&g, "FILE", build_end(&b), &error) == SG_BAD_MODEL && strstr(error.message, "not a multiple of the 128"));
    b.alignment = 64;
    build_uint32(&b, "general.alignment", 64);
    build_tensor(&b, "t", 2, dims, R64_TYPE_ID, 1151);
    CHECK(gguf_parse(&g, "FILE", build_end(&b), &error) == SG_BAD_MODEL && strstr(error.message, "truncated"));
    for (size_t pad = 0, refused = 0; pad < 2; pad++) { /* one of two lengths of the header makes it 32 bytes off */
        build_text(&b, "general.name", pad ? "12345678901234567890123456789012" : "");
        build_tensor(&b, "t", 2, dims, R64_TYPE_ID, 1152);
        enum sg_status status = gguf_parse(&g, "FILE", build_end(&b), &error);
        refused += status == SG_BAD_MODEL && strstr(error.message, "a multiple of 64 bytes");
        gguf_close(&g);
        CHECK(pad == 0 || refused == 1);
    }
    remove(in);
}

/* Keys that describe no original: the damage is noticed before or after writing, and nothing is left. */
TEST(r64_hostile_undo)
{
    size_t size, keys = 0;
    uint8_t *data = (uint8_t *)test_golden("models/mini-q1-r64.gguf", &size);
    const char *in = in_tmp("hostile"), *out = in_tmp("restored");
    struct gguf g;
    CHECK(gguf_parse(&g, "FILE", (struct file_map){data, size}, &error) == SG_OK);
    const struct gguf_value *v = gguf_find(&g, "signum.repack.version");
    size_t begin = (size_t)((const uint8_t *)v->key.data - data) - 8;
    v = gguf_find(&g, "signum.repack.offsets");
    size_t end = (size_t)(v->data - data) + v->bytes;
    gguf_close(&g);
    for (int round = 0; round < 600; round++) {
        size_t at = begin + test_below(end - begin), n = 1 + test_below(8);
        uint8_t kept[8];
        memcpy(kept, data + at, sizeof kept);
        for (size_t i = 0; i < n && at + i < end; i++)
            data[at + i] = (uint8_t)(test_below(3) ? test_random() : test_below(2) * 255);
        write_file(in, data, size);
        error = (struct sg_error){0};
        enum sg_status status = sg_repack(in, out, true, NULL, NULL, &error);
        CHECKF(status == SG_OK || ((status == SG_BAD_MODEL || status == SG_USAGE) && error.message[0]), "round %d: %d \"%s\"", round,
               (int)status, error.message);
        FILE *f = fopen(out, "rb");
        CHECK((status == SG_OK) == (f != NULL));
        if (f) {
            fclose(f);
            remove(out);
        }
        keys += status != SG_OK;
        memcpy(data + at, kept, sizeof kept);
    }
    CHECKF(keys > 300, "only %zu of 600 refused", keys);
    remove(in);
}

/* ------------------------------------------------------------------- engines */

struct run {
    const char *path, *isa;
    enum sg_matmul matmul;
    enum sg_act act;
    bool repack;
    int n_threads;
    size_t chunk;
};

/* Logits of all positions, or NULL when the level has no such family. */
static float *logits_of(const struct run *r, const int32_t *ids, size_t n, size_t *bytes)
{
    const struct sg_options o = {
        .model_path = r->path, .isa = r->isa, .matmul = r->matmul, .act = r->act, .repack = r->repack, .n_threads = r->n_threads};
    struct sg_engine *e;
    struct sg_session *s = NULL;
    if (sg_open(&e, &o, &error) != SG_OK)
        return NULL;
    CHECK((sg_info(e)->repacked_bytes > 0) == (r->repack && !strstr(r->path, "packed")));
    size_t n_vocab = sg_info(e)->n_vocab;
    *bytes = n * n_vocab * sizeof(float);
    float *rows = malloc(*bytes);
    CHECK(sg_session_open(&s, e, n, &error) == SG_OK);
    for (size_t done = 0; done < n; done += r->chunk) {
        size_t now = MIN(r->chunk, n - done);
        struct sg_feed f = {.session = s, .ids = ids + done, .n = now, .n_logits = 1};
        CHECKF(sg_eval(e, &f, 1, &error) == SG_OK, "%s", error.message);
        memcpy(rows + (done + now - 1) * n_vocab, sg_logits(s), n_vocab * sizeof *rows);
        for (size_t i = done; i + 1 < done + now; i++)
            memset(rows + i * n_vocab, 0, n_vocab * sizeof *rows);
    }
    sg_session_close(s);
    sg_close(e);
    return rows;
}

/* The original, a copy in memory and a repacked file agree, whatever multiplies. */
TEST(r64_engines)
{
    static const char *const names[] = {"mini-q1", "q1-tied", "q1-untied"};
    static const size_t chunks[] = {1, 2, 7, 20};
    char levels[256], *save = NULL;
    snprintf(levels, sizeof levels, "%s", sg_isa_available());
    for (const char *isa = strtok_r(levels, " ", &save); isa; isa = strtok_r(NULL, " ", &save)) {
        const char *name = strcmp(isa, "scalar") == 0 ? names[0] : names[test_below(ARRAY_LEN(names))], *packed = in_tmp("packed.gguf");
        char file[64];
        snprintf(file, sizeof file, "models/%s.gguf", name);
        CHECKF(sg_repack(test_path(file), packed, false, NULL, NULL, &error) == SG_OK, "%s", error.message);
        for (size_t c = 0; c < ARRAY_LEN(chunks); c++) {
            enum sg_matmul family = c == 0 ? SG_MATMUL_AUTO : (enum sg_matmul)test_below(4);
            struct run r = {.path = test_path(file), .isa = isa, .matmul = family, .chunk = chunks[c], .n_threads = 1 + (int)test_below(3)};
            r.act = c != 1 ? SG_ACT_INT8 : strcmp(isa, "scalar") == 0 ? SG_ACT_F32 : SG_ACT_INT16;
            int32_t ids[20];
            for (size_t i = 0; i < ARRAY_LEN(ids); i++)
                ids[i] = (int32_t)test_below(60);
            size_t bytes = 0, n = chunks[c] == 1 ? 6 : ARRAY_LEN(ids);
            float *expected = logits_of(&r, ids, n, &bytes);
            for (int way = 0; way < 3 && expected; way++) {
                r.repack = way != 1;
                r.path = way == 0 ? test_path(file) : packed;
                float *got = logits_of(&r, ids, n, &bytes);
                CHECKF(got && memcmp(got, expected, bytes) == 0, "%s %s: way %d, family %d, chunks of %zu, %d threads", name, isa, way,
                       (int)family, r.chunk, r.n_threads);
                free(got);
            }
            free(expected);
        }
        remove(packed);
    }
}
