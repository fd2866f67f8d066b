/* sg_check: what opening a model does not read. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "gguf_build.h"
#include "signum.h"

static struct {
    size_t sound, problems;
    char last_problem[512];
} notes;

static void on_note(void *arg, bool problem, const char *sentence)
{
    CHECK(arg == &notes);
    if (problem)
        snprintf(notes.last_problem, sizeof notes.last_problem, "%s", sentence);
    notes.problems += problem;
    notes.sound += !problem;
}

static enum sg_status check_file(const char *path, struct sg_error *err)
{
    struct sg_engine *engine;
    struct sg_options options = {.model_path = path, .n_threads = 1};
    memset(&notes, 0, sizeof notes);
    *err = (struct sg_error){0};
    enum sg_status status = sg_open(&engine, &options, err);
    if (!CHECKF(status == SG_OK, "%s", err->message))
        return status;
    size_t n = sg_info(engine)->n_tensors;
    status = sg_check(engine, on_note, &notes, err);
    CHECKF(status != SG_OK || (notes.sound == n && notes.problems == 0), "%zu and %zu notes for %zu tensors", notes.sound, notes.problems,
           n);
    CHECK(sg_check(engine, NULL, NULL, err) == status);
    sg_close(engine);
    return status;
}

TEST(check_golden_files)
{
    static const char *const names[] = {"mini-q1", "q1-yarn", "f16-defaults", "q8", "q2-g64", "q2-g128", "pq2", "mixed"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[64];
        struct sg_error err;
        snprintf(name, sizeof name, "models/%s.gguf", names[i]);
        CHECKF(check_file(test_path(name), &err) == SG_OK, "%s", err.message);
    }
}

/* mini-q1 with other bytes in ffn_down (Q1_0) or, as F32, in ffn_gate; checked as a file. */
static enum sg_status check_changed(const char *tensor, const void *data, size_t bytes, uint32_t type_id, struct sg_error *err)
{
    struct gguf g;
    struct build b;
    char path[256];
    snprintf(path, sizeof path, "%s/changed.gguf", test_tmp());
    if (!CHECK(gguf_open(&g, test_path("models/mini-q1.gguf"), err) == SG_OK))
        return SG_FAIL;
    const struct gguf_tensor *t = gguf_find_tensor(&g, tensor);
    build_begin(&b);
    build_copy(&b, &g, NULL, tensor);
    uint64_t offset = build_tensor(&b, tensor, 2, t->dims, type_id, bytes);
    memcpy(b.data.data + offset, data, bytes);
    gguf_close(&g);
    struct file_map map = build_end(&b);
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(map.data, 1, map.size, f) == map.size && fclose(f) == 0);
    return check_file(path, err);
}

TEST(check_finds_damage)
{
    enum {
        BLOCKS = 128 * 256 / 128,
        N = 128 * 256
    };
    struct sg_error err;
    uint8_t q1[BLOCKS * 18];
    for (size_t i = 0; i < sizeof q1; i++)
        q1[i] = (uint8_t)(i % 18 == 1 ? 0x2C : test_random());
    CHECKF(check_changed("blk.0.ffn_down.weight", q1, sizeof q1, 41, &err) == SG_OK, "%s", err.message);

    size_t block = test_below(BLOCKS - 1);
    q1[block * 18 + 1] = 0x7C; /* infinity, or NaN */
    char expected[128];
    snprintf(expected, sizeof expected, "1 of %d blocks have a scale that is NaN or infinite, the first in row %zu at column %zu", BLOCKS,
             block / 2, block % 2 * 128);
    CHECK(check_changed("blk.0.ffn_down.weight", q1, sizeof q1, 41, &err) == SG_BAD_MODEL);
    CHECKF(notes.problems == 1 && strstr(notes.last_problem, expected) && strstr(err.message, expected) &&
               strstr(err.message, "1 problem,"),
           "%s", err.message);
    q1[(BLOCKS - 1) * 18 + 1] = 0xFC;
    CHECK(check_changed("blk.0.ffn_down.weight", q1, sizeof q1, 41, &err) == SG_BAD_MODEL && strstr(err.message, "2 of"));

    for (size_t i = 0; i < sizeof q1; i += 18)
        q1[i] = q1[i + 1] = 0;
    CHECK(check_changed("blk.0.ffn_down.weight", q1, sizeof q1, 41, &err) == SG_BAD_MODEL && strstr(err.message, "all its weights are 0"));

    float *f = malloc(N * sizeof *f);
    for (size_t i = 0; i < N; i++)
        f[i] = 0.01f + (float)test_below(100);
    memset(f + 5000, 0, (60 << 10)); /* not yet a hole */
    CHECKF(check_changed("blk.0.ffn_gate.weight", f, N * sizeof *f, 0, &err) == SG_OK, "%s", err.message);
    memset(f + 5000, 0, (66 << 10));
    CHECK(check_changed("blk.0.ffn_gate.weight", f, N * sizeof *f, 0, &err) == SG_BAD_MODEL && strstr(err.message, "hole of 66 KiB"));
    f[100] = NAN;
    CHECK(check_changed("blk.0.ffn_gate.weight", f, N * sizeof *f, 0, &err) == SG_BAD_MODEL && notes.problems == 2 &&
          strstr(err.message, "2 problems, the first"));
    free(f);
}
