/* sg_check: reads every weight's scale, which opening does not. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "r64.h"

/* A trained matrix holds no such run of zero bytes, but a file whose download left a hole does.
 * Embeddings may: the rows of unused tokens. */
enum {
    HOLE_BYTES = 64 << 10
};

struct check {
    sg_note_fn *note;
    void *arg;
    size_t problems;
    char first[512]; /* problem */
};

static void PRINTF_LIKE(3, 4) tell(struct check *c, bool problem, const char *format, ...)
{
    char sentence[512];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    if (problem && c->problems++ == 0)
        memcpy(c->first, sentence, sizeof sentence);
    if (c->note)
        c->note(c->arg, problem, sentence);
}

/* Where the longest run of zero bytes begins; its length, in whole words, is *length. */
static size_t longest_zeros(const uint8_t *data, size_t bytes, size_t *length)
{
    size_t best = 0, run = 0;
    *length = 0;
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
        uint64_t word;
        memcpy(&word, data + i, sizeof word);
        run = word == 0 ? run + 8 : 0;
        if (run > *length) {
            *length = run;
            best = i + 8 - run;
        }
    }
    return best;
}

/* What the scales of a tensor are like. */
struct scales {
    size_t bad, first; /* blocks that are not finite, and the first weight of such a block */
    bool zero;         /* all of them */
};

/* n weights, of which the first is number `at` of the tensor. */
static void look_at(struct scales *s, enum quant_type type, const uint8_t *data, size_t n, size_t at)
{
    for (size_t i = 0; i < n; i += quant_traits[type].block) {
        i += quant_find_nonfinite(type, data + quant_row_bytes(type, i), n - i);
        if (i < n && s->bad++ == 0)
            s->first = at + i;
    }
    s->zero &= quant_find_nonzero(type, data, n) == n;
}

/* The same for 64 rows side by side, as rows. False: out of memory. */
static bool look_at_blocks(struct scales *s, const struct gguf_tensor *t)
{
    size_t cols = (size_t)t->dims[0], rows = (size_t)t->dims[1], groups = cols / GROUP;
    uint8_t *buffer = malloc(R64_ROWS * groups * Q1_BYTES);
    if (!buffer)
        return false;
    for (size_t r = 0; r < rows; r += R64_ROWS) {
        size_t n = MIN(rows - r, (size_t)R64_ROWS);
        r64_to_rows(buffer, t->data + r / R64_ROWS * groups * R64_BLOCK_BYTES, n, groups);
        look_at(s, QUANT_Q1_0, buffer, n * cols, r * cols);
    }
    free(buffer);
    return true;
}

static void check_tensor(struct check *c, const struct gguf *g, const struct gguf_tensor *t)
{
    char name[ESCAPED_MAX];
    enum quant_type type = (enum quant_type)t->type;
    const struct quant_traits *traits = &quant_traits[type];
    size_t n = (size_t)(t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3]), problems = c->problems;
    struct scales s = {.zero = true};
    escaped(name, t->name.data, t->name.len);

    if (type != QUANT_Q1_0_R64) {
        look_at(&s, type, t->data, n, 0);
    } else {
        if (!look_at_blocks(&s, t))
            tell(c, true, "%s (%s): not checked: out of memory", name, gguf_type_name(t));
        if (!r64_padding_is_zero(t->data, (size_t)t->dims[1], (size_t)t->dims[0]))
            tell(c, true, "%s (%s): the padding after its last row is not 0", name, gguf_type_name(t));
    }
    if (s.bad)
        tell(c, true, "%s (%s): %zu of %zu %s NaN or infinite, the first in row %zu at column %zu", name, gguf_type_name(t), s.bad,
             n / traits->block, traits->block > 1 ? "blocks have a scale that is" : "weights are", s.first / (size_t)t->dims[0],
             s.first % (size_t)t->dims[0]);
    if (s.zero)
        tell(c, true, "%s (%s): all its weights are 0", name, gguf_type_name(t));
    else if (strcmp(name, "token_embd.weight") != 0 && strcmp(name, "output.weight") != 0) {
        size_t length, begin = longest_zeros(t->data, (size_t)t->bytes, &length);
        if (length >= HOLE_BYTES)
            tell(c, true, "%s (%s): a hole of %zu KiB of zero bytes at offset %zu of the file: an incomplete download?", name,
                 gguf_type_name(t), length >> 10, (size_t)(t->data - g->map.data) + begin);
    }
    if (c->problems == problems)
        tell(c, false, "%s (%s): %" PRIu64 " bytes are sound", name, gguf_type_name(t), t->bytes);
}

enum sg_status sg_check(struct sg_engine *e, sg_note_fn *note, void *arg, struct sg_error *err)
{
    struct check c = {.note = note, .arg = arg};
    for (size_t i = 0; i < e->gguf.n_tensors; i++) {
        if (e->forward.interrupt && *e->forward.interrupt)
            return fail(err, SG_INTERRUPTED, "interrupted");
        check_tensor(&c, &e->gguf, &e->gguf.tensors[i]);
    }
    if (c.problems)
        return fail(err, SG_BAD_MODEL, "%s: %zu problem%s, the first: %s", e->path, c.problems, c.problems == 1 ? "" : "s", c.first);
    return SG_OK;
}
