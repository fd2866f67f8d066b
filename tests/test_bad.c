/* Broken model files: the 354 of tests/golden/bad, one cut at every byte, bytes flipped, files
 * damaged at random. Each must be refused with a sentence or open; nothing else may happen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bad_cases.h"
#include "check.h"
#include "gguf.h"
#include "model.h"
#include "mutate.h"
#include "tokenizer.h"
#include "utf8.h"

static struct sg_error error;

/* Opens everything that opening a model opens, from memory. */
static enum sg_status open_all(const uint8_t *data, size_t size)
{
    struct gguf g;
    struct model m = {0};
    struct tokenizer *t = NULL;
    error = (struct sg_error){0};
    enum sg_status status = gguf_parse(&g, "FILE", (struct file_map){size ? data : NULL, size}, &error);
    if (status == SG_OK)
        status = model_open(&m, &g, &error);
    if (status == SG_OK)
        status = tokenizer_open(&t, &g, &error);
    tokenizer_close(t);
    model_close(&m);
    gguf_close(&g);
    return status;
}

/* A failure is the file's fault and comes with one line that may be shown. */
static bool well_behaved(enum sg_status status)
{
    size_t len = strlen(error.message);
    if (status == SG_OK)
        return true;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)error.message[i] < 0x20 || error.message[i] == 0x7F)
            return false;
    return status == SG_BAD_MODEL && error.status == status && strncmp(error.message, "FILE: ", 6) == 0 && utf8_valid(error.message, len);
}

/* A copy of data that ends at an inaccessible page. */
static const uint8_t *guarded_copy(const uint8_t *data, size_t size, uint8_t *end)
{
    if (size)
        memcpy(end - size, data, size);
    return end - size;
}

TEST(bad_files)
{
    size_t base_size, n = 0;
    uint8_t *base = (uint8_t *)test_golden("models/mini-q1.gguf", &base_size);
    const char *at = test_golden("bad/cases.txt", NULL);
    enum {
        CAP = 4 << 20
    };
    uint8_t *end = (uint8_t *)test_guarded(CAP) + CAP;
    struct bad_case c;
    while (bad_next(&at, base, base_size, &c)) {
        n++;
        if (!CHECK(c.size <= CAP))
            break;
        enum sg_status status = open_all(guarded_copy(c.data, c.size, end), c.size);
        CHECKF(well_behaved(status), "%s: status %d \"%s\"", c.name, (int)status, error.message);
        if (strcmp(c.outcome, "ok") == 0)
            CHECKF(status == SG_OK, "%s: %s", c.name, error.message);
        else if (strcmp(c.outcome, "error") == 0)
            CHECKF(status != SG_OK, "%s opened", c.name);
        free(c.data);
    }
    CHECKF(n == 354 && !*at, "%zu cases, then \"%.40s\"", n, at);
}

static void check_truncated(const char *name)
{
    size_t size, needed = 0;
    uint8_t *base = (uint8_t *)test_golden(name, &size), *end = (uint8_t *)test_guarded(size) + size;
    struct gguf g;
    if (!CHECK(gguf_parse(&g, "FILE", (struct file_map){base, size}, &error) == SG_OK))
        return;
    for (size_t i = 0; i < g.n_tensors; i++) {
        size_t here = (size_t)(g.tensors[i].data + g.tensors[i].bytes - base);
        needed = here > needed ? here : needed;
    }
    gguf_close(&g);
    for (size_t n = 0; n < size; n++) {
        enum sg_status status = open_all(guarded_copy(base, n, end), n);
        CHECKF((status == SG_OK) == (n >= needed) && well_behaved(status), "cut at %zu: \"%s\"", n, error.message);
    }
}

TEST(bad_truncated) { check_truncated("models/mini-q1.gguf"); }
TEST(bad_truncated_repacked) { check_truncated("models/mini-q1-r64.gguf"); }

static void check_flipped(const char *name)
{
    size_t size, header;
    uint8_t *base = (uint8_t *)test_golden(name, &size), *data = test_guarded(size);
    struct gguf g;
    if (!CHECK(gguf_parse(&g, "FILE", (struct file_map){base, size}, &error) == SG_OK))
        return;
    header = g.data_start;
    gguf_close(&g);
    memcpy(data, base, size);
    for (size_t i = 0; i < header; i++) {
        const uint8_t values[] = {(uint8_t)(base[i] ^ 1 << test_below(8)), 0xFF, (uint8_t)(base[i] + 1)};
        for (size_t k = 0; k < sizeof values; k++) {
            data[i] = values[k];
            CHECKF(well_behaved(open_all(data, size)), "byte %zu as %u: \"%s\"", i, values[k], error.message);
        }
        data[i] = base[i];
    }
}

TEST(bad_flipped) { check_flipped("models/mini-q1.gguf"); }
TEST(bad_flipped_repacked) { check_flipped("models/mini-q1-r64.gguf"); }

TEST(bad_mutated)
{
    static const char *const names[] = {"models/mini-q1.gguf", "models/mini-q1-r64.gguf", "models/q1-yarn-past.gguf"};
    for (size_t f = 0; f < sizeof names / sizeof *names; f++) {
        size_t size, header;
        uint8_t *base = (uint8_t *)test_golden(names[f], &size);
        struct gguf g;
        if (!CHECK(gguf_parse(&g, "FILE", (struct file_map){base, size}, &error) == SG_OK))
            return;
        header = g.data_start;
        gguf_close(&g);
        size_t cap = size + 256;
        uint8_t *data = malloc(cap), *end = (uint8_t *)test_guarded(cap) + cap;
        for (int i = 0; i < 3000; i++) {
            memcpy(data, base, size);
            size_t n = mutate(data, size, cap, header, test_below);
            CHECKF(well_behaved(open_all(guarded_copy(data, n, end), n)), "round %d: \"%s\"", i, error.message);
        }
        free(data);
    }
}
