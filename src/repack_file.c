/* sg_repack: a model file whose Q1_0 matrices are in blocks of 64 rows (r64.h), and the way
 * back. Such a file is a GGUF file whose rearranged tensors have a type id that no other
 * program knows. All else is copied byte by byte, and these keys, at the end of the
 * metadata, hold what the way back needs:
 *
 *   signum.repack.version     u32        1
 *   signum.repack.alignment   u32        general.alignment of the original, 0: it has no such key
 *   signum.repack.size        u64        of the original file
 *   signum.repack.offsets     u64 array  of its tensors, in the order of the list */
#define _FILE_OFFSET_BITS 64
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "r64.h"

enum {
    FORMAT = 1,
    Q1_0_ID = 41,
    MAX_GAP = 1 << 20, /* zeros between tensors; real files have less than general.alignment */
};

static const char prefix[] = "signum.repack.", alignment_key[] = "general.alignment";

/* One conversion. */
struct conversion {
    const struct gguf *in;
    bool undo;
    size_t alignment;              /* of the output */
    uint64_t data_start, size;     /* of the output */
    const struct gguf_tensor **by; /* (n_tensors), in the order of the output */
    uint64_t *to;                  /* (n_tensors), by index in the list: offsets in the output */
    struct buf header;
    int fd;
    uint64_t written;
    struct sg_progress progress;
};

/* ------------------------------------------------------------------- planning */

static bool is_converted(const struct conversion *c, const struct gguf_tensor *t)
{
    return c->undo ? t->type == QUANT_Q1_0_R64 : t->type == QUANT_Q1_0 && t->dims[2] == 1 && t->dims[3] == 1;
}

static uint64_t bytes_in_output(const struct conversion *c, const struct gguf_tensor *t)
{
    if (!is_converted(c, t))
        return t->bytes;
    return c->undo ? t->dims[1] * quant_row_bytes(QUANT_Q1_0, (size_t)t->dims[0]) : r64_bytes(t->dims[1], t->dims[0]);
}

static size_t n_converted(const struct conversion *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->in->n_tensors; i++)
        n += is_converted(c, &c->in->tensors[i]);
    return n;
}

static enum sg_status fail_damaged(const struct conversion *c, struct sg_error *err)
{
    return fail(err, SG_BAD_MODEL, "%s: its signum.repack keys do not describe an original file: it is damaged", c->in->path);
}

/* What the original was like, from the keys. */
static enum sg_status plan_undo(struct conversion *c, struct sg_error *err)
{
    const struct gguf *g = c->in;
    uint64_t version = 0, alignment = 0;
    TRY(gguf_get_uint(g, "signum.repack.version", 0, UINT32_MAX, &version, NULL, err));
    if (version == 0)
        return fail(err, SG_USAGE, "%s: is not repacked, so there is nothing to undo", g->path);
    if (version != FORMAT)
        return fail(err, SG_BAD_MODEL, "%s: repacked by another version of signum", g->path);
    TRY(gguf_get_uint(g, "signum.repack.alignment", 0, UINT32_MAX, &alignment, NULL, err));
    TRY(gguf_get_uint(g, "signum.repack.size", 0, UINT64_MAX, &c->size, NULL, err));
    const struct gguf_value *offsets = gguf_find(g, "signum.repack.offsets");
    if (!offsets || offsets->type != GGUF_ARRAY || offsets->element != GGUF_UINT64 || offsets->count != g->n_tensors)
        return fail_damaged(c, err);
    if (g->n_tensors)
        memcpy(c->to, offsets->data, offsets->bytes);
    c->alignment = (size_t)alignment;
    return SG_OK;
}

static enum sg_status plan_repack(struct conversion *c, struct sg_error *err)
{
    const struct gguf *g = c->in;
    for (size_t i = 0; i < g->n_values; i++)
        if (g->values[i].key.len >= sizeof prefix - 1 && memcmp(g->values[i].key.data, prefix, sizeof prefix - 1) == 0)
            return fail(err, SG_USAGE, "%s: is repacked already; --undo restores the original", g->path);
    if (n_converted(c) == 0)
        return fail(err, SG_USAGE, "%s: has no Q1_0 matrices, so there is nothing to repack", g->path);
    c->alignment = MAX(g->alignment, (size_t)R64_ALIGN);
    return SG_OK;
}

struct place {
    const struct gguf_tensor *t;
    uint64_t offset;
};

static int by_offset(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Orders tensors by their place, in the input or (undo) in the output. */
static enum sg_status order_tensors(struct conversion *c, struct sg_error *err)
{
    size_t n = c->in->n_tensors;
    struct place *places = malloc(MAX(n, (size_t)1) * sizeof *places);
    if (!places)
        return fail_memory(err, n * sizeof *places, "the list of tensors");
    for (size_t i = 0; i < n; i++)
        places[i] = (struct place){&c->in->tensors[i], c->undo ? c->to[i] : c->in->tensors[i].offset};
    qsort(places, n, sizeof *places, by_offset);
    for (size_t i = 0; i < n; i++)
        c->by[i] = places[i].t;
    free(places);
    return SG_OK;
}

/* Nothing may be lost that the way back could not restore: between and after the tensors
 * there are only zeros, and few. */
static enum sg_status check_gaps(const struct conversion *c, struct sg_error *err)
{
    const struct gguf *g = c->in;
    const struct gguf_tensor *last = &g->tensors[g->n_tensors - 1]; /* of the list, where the header ends */
    size_t at = (size_t)((const uint8_t *)last->name.data - g->map.data) + last->name.len + 4 + 8 * last->n_dims + 4 + 8;
    for (size_t i = 0; i <= g->n_tensors; i++) {
        size_t end = i < g->n_tensors ? (size_t)(c->by[i]->data - g->map.data) : g->map.size;
        for (size_t k = at; k < end; k++)
            if (g->map.data[k] != 0 || end - at > MAX_GAP)
                return fail(err, SG_FAIL, "%s: holds %zu bytes between its tensors, at offset %zu, that would be lost", g->path, end - at,
                            at);
        at = i < g->n_tensors ? end + (size_t)c->by[i]->bytes : end;
    }
    return SG_OK;
}

static void put_uint(struct buf *b, uint64_t value, size_t bytes) { buf_append(b, (const char *)&value, bytes); }

static void put_key(struct buf *b, const char *part, enum gguf_type type)
{
    size_t len = strlen(part);
    put_uint(b, len, 8);
    buf_append(b, part, len);
    put_uint(b, (uint64_t)type, 4);
}

static bool is_key(const struct gguf_value *v, const char *key)
{
    return v->key.len == strlen(key) && memcmp(v->key.data, key, v->key.len) == 0;
}

/* The metadata of the output; returns how many keys. */
static uint64_t put_values(struct conversion *c)
{
    const struct gguf *g = c->in;
    struct buf *b = &c->header;
    uint64_t n = 0;
    for (size_t i = 0; i < g->n_values; i++) {
        const struct gguf_value *v = &g->values[i];
        bool ours = v->key.len >= sizeof prefix - 1 && memcmp(v->key.data, prefix, sizeof prefix - 1) == 0;
        if (ours || (is_key(v, alignment_key) && c->alignment == 0))
            continue;
        const char *begin = v->key.data - 8, *value = (const char *)v->data;
        buf_append(b, begin, (size_t)(value - begin));
        if (is_key(v, alignment_key))
            put_uint(b, c->alignment, v->bytes);
        else
            buf_append(b, value, v->bytes);
        n++;
    }
    if (c->undo)
        return n;
    bool has_key = gguf_find(g, alignment_key) != NULL;
    if (!has_key) {
        put_key(b, alignment_key, GGUF_UINT32);
        put_uint(b, c->alignment, 4);
        n++;
    }
    put_key(b, "signum.repack.version", GGUF_UINT32);
    put_uint(b, FORMAT, 4);
    put_key(b, "signum.repack.alignment", GGUF_UINT32);
    put_uint(b, has_key ? g->alignment : 0, 4);
    put_key(b, "signum.repack.size", GGUF_UINT64);
    put_uint(b, g->map.size, 8);
    put_key(b, "signum.repack.offsets", GGUF_ARRAY);
    put_uint(b, GGUF_UINT64, 4);
    put_uint(b, g->n_tensors, 8);
    for (size_t i = 0; i < g->n_tensors; i++)
        put_uint(b, g->tensors[i].offset, 8);
    return n + 4;
}

/* Header and places of the output. */
static enum sg_status plan(struct conversion *c, struct sg_error *err)
{
    const struct gguf *g = c->in;
    struct buf *b = &c->header;
    TRY(c->undo ? plan_undo(c, err) : plan_repack(c, err));
    TRY(order_tensors(c, err));
    if (!c->undo) {
        TRY(check_gaps(c, err));
        uint64_t at = 0;
        for (size_t i = 0; i < g->n_tensors; i++) {
            at = ROUND_UP(at, (uint64_t)c->alignment);
            c->to[c->by[i] - g->tensors] = at;
            at += bytes_in_output(c, c->by[i]);
        }
        c->size = at; /* and the header, below */
    }
    buf_append(b, (const char *)g->map.data, 16);
    put_uint(b, 0, 8); /* the number of keys, see below */
    uint64_t n_values = put_values(c);
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        const char *begin = t->name.data - 8, *type = t->name.data + t->name.len + 4 + 8 * t->n_dims;
        buf_append(b, begin, (size_t)(type - begin));
        put_uint(b, is_converted(c, t) ? c->undo ? Q1_0_ID : R64_TYPE_ID : t->type_id, 4);
        put_uint(b, c->to[i], 8);
    }
    if (b->failed)
        return fail_memory(err, b->len, "the file's header");
    memcpy(b->data + 16, &n_values, sizeof n_values);
    if (c->undo && c->alignment == 0)
        c->alignment = 32;
    if ((c->alignment & (c->alignment - 1)) != 0 || c->alignment > MAX_GAP)
        return fail_damaged(c, err);
    c->data_start = ROUND_UP((uint64_t)b->len, (uint64_t)c->alignment);
    c->size += c->undo ? 0 : c->data_start;

    uint64_t end = 0, room;
    for (size_t i = 0; i < g->n_tensors; i++) {
        uint64_t begin = c->to[c->by[i] - g->tensors];
        if (begin < end || begin - end > MAX_GAP)
            return fail_damaged(c, err);
        end = begin + bytes_in_output(c, c->by[i]);
    }
    if (c->size < b->len || __builtin_sub_overflow(c->size, g->n_tensors ? c->data_start + end : b->len, &room) || room > MAX_GAP)
        return fail_damaged(c, err);
    return SG_OK;
}

/* -------------------------------------------------------------------- writing */

static enum sg_status put(struct conversion *c, const uint8_t *data, size_t len, struct sg_error *err)
{
    while (len > 0) {
        if (c->progress.interrupt && *c->progress.interrupt)
            return fail(err, SG_INTERRUPTED, "interrupted");
        ssize_t n = write(c->fd, data, MIN(len, (size_t)4 << 20));
        if (n < 0 && errno != EINTR)
            return fail(err, SG_FAIL, "%s", strerror(errno));
        data += MAX(n, 0);
        len -= (size_t)MAX(n, 0);
        c->written += (uint64_t)MAX(n, 0);
    }
    if (c->progress.fn)
        c->progress.fn(c->progress.arg, c->written, c->size);
    return SG_OK;
}

static enum sg_status put_zeros(struct conversion *c, uint64_t until, struct sg_error *err)
{
    static const uint8_t zeros[4096];
    while (c->written < until)
        TRY(put(c, zeros, (size_t)MIN(until - c->written, (uint64_t)sizeof zeros), err));
    return SG_OK;
}

static enum sg_status put_matrix(struct conversion *c, const struct gguf_tensor *t, struct sg_error *err)
{
    size_t groups = (size_t)t->dims[0] / GROUP, row_bytes = groups * Q1_BYTES, blocks_bytes = groups * R64_BLOCK_BYTES;
    uint8_t *buffer = malloc(blocks_bytes);
    if (!buffer)
        return fail_memory(err, blocks_bytes, "64 rows");
    enum sg_status status = SG_OK;
    for (size_t r = 0; r < t->dims[1] && status == SG_OK; r += R64_ROWS) {
        size_t n = MIN((size_t)t->dims[1] - r, (size_t)R64_ROWS);
        if (c->undo)
            r64_to_rows(buffer, t->data + r / R64_ROWS * blocks_bytes, n, groups);
        else
            r64_from_rows(buffer, t->data + r * row_bytes, n, groups);
        status = put(c, buffer, c->undo ? n * row_bytes : blocks_bytes, err);
    }
    free(buffer);
    return status;
}

static enum sg_status put_all(struct conversion *c, struct sg_error *err)
{
    TRY(put(c, (const uint8_t *)c->header.data, c->header.len, err));
    for (size_t i = 0; i < c->in->n_tensors; i++) {
        const struct gguf_tensor *t = c->by[i];
        TRY(put_zeros(c, c->data_start + c->to[t - c->in->tensors], err));
        TRY(is_converted(c, t) ? put_matrix(c, t, err) : put(c, t->data, (size_t)t->bytes, err));
    }
    return put_zeros(c, c->size, err);
}

/* Beside its place first; there only when it is complete and can be read again. */
static enum sg_status write_output(struct conversion *c, const char *out, struct sg_error *err)
{
    struct buf beside = {0};
    char shown[ESCAPED_MAX];
    escaped(shown, out, strlen(out));
    buf_printf(&beside, "%s.%ld", out, (long)getpid());
    if (beside.failed)
        return fail_memory(err, strlen(out), "a path");
    c->fd = open(beside.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (c->fd < 0) {
        buf_free(&beside);
        return fail(err, SG_FAIL, "%s: %s", shown, strerror(errno));
    }
    struct sg_error why = {0};
    enum sg_status status = put_all(c, &why);
    if (status == SG_FAIL)
        fail(err, status, "%s: %s", shown, why.message);
    else if (status != SG_OK)
        fail(err, status, "%s", why.message);
    /* The original may be deleted next, and some file systems notice only now that they are full. */
    if (status == SG_OK && fsync(c->fd) != 0)
        status = fail(err, SG_FAIL, "%s: %s", shown, strerror(errno));
    if (close(c->fd) != 0 && status == SG_OK)
        status = fail(err, SG_FAIL, "%s: %s", shown, strerror(errno));
    struct gguf again;
    if (status == SG_OK) {
        status = gguf_open(&again, beside.data, err);
        gguf_close(&again);
    }
    if (status == SG_OK && rename(beside.data, out) != 0)
        status = fail(err, SG_FAIL, "%s: %s", shown, strerror(errno));
    if (status != SG_OK)
        unlink(beside.data);
    buf_free(&beside);
    return status;
}

static enum sg_status check_output(const char *in, const char *out, struct sg_error *err)
{
    struct stat from, to;
    char shown[ESCAPED_MAX];
    escaped(shown, out, strlen(out));
    if (stat(out, &to) != 0)
        return SG_OK; /* new */
    if (!S_ISREG(to.st_mode))
        return fail(err, SG_USAGE, "%s: exists and is no file", shown);
    if (stat(in, &from) == 0 && from.st_dev == to.st_dev && from.st_ino == to.st_ino)
        return fail(err, SG_USAGE, "%s: is the file to be read; name another one to write", shown);
    return SG_OK;
}

enum sg_status sg_repack(const char *in, const char *out, bool undo, const struct sg_progress *progress, size_t *n_matrices,
                         struct sg_error *err)
{
    struct gguf g;
    TRY(check_output(in, out, err));
    TRY(gguf_open(&g, in, err));
    struct conversion c = {.in = &g, .undo = undo};
    if (progress)
        c.progress = *progress;
    c.by = calloc(MAX(g.n_tensors, (size_t)1), sizeof *c.by);
    c.to = calloc(MAX(g.n_tensors, (size_t)1), sizeof *c.to);
    enum sg_status status = c.by && c.to ? plan(&c, err) : fail_memory(err, g.n_tensors * sizeof *c.to, "the list of tensors");
    if (status == SG_OK)
        status = write_output(&c, out, err);
    if (n_matrices)
        *n_matrices = n_converted(&c);
    buf_free(&c.header);
    free(c.to);
    free(c.by);
    gguf_close(&g);
    return status;
}
