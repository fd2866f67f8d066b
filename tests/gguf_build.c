#include "gguf_build.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

void build_begin(struct build *b) { *b = (struct build){.version = 3, .alignment = 32}; }

static void put_u32(struct buf *b, uint32_t v) { buf_append(b, &v, sizeof v); }

static void put_u64(struct buf *b, uint64_t v) { buf_append(b, &v, sizeof v); }

static void put_string(struct buf *b, const char *s, size_t len)
{
    put_u64(b, len);
    buf_append(b, s, len);
}

void build_value(struct build *b, const char *key, uint32_t type, const void *value, size_t bytes)
{
    put_string(&b->values, key, strlen(key));
    put_u32(&b->values, type);
    buf_append(&b->values, value, bytes);
    b->n_values++;
}

void build_uint32(struct build *b, const char *key, uint32_t value) { build_value(b, key, GGUF_UINT32, &value, sizeof value); }

void build_float(struct build *b, const char *key, float value) { build_value(b, key, GGUF_FLOAT32, &value, sizeof value); }

void build_text(struct build *b, const char *key, const char *value)
{
    struct buf text = {0};
    put_string(&text, value, strlen(value));
    build_value(b, key, GGUF_STRING, text.data, text.len);
    buf_free(&text);
}

void build_info(struct build *b, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type_id, uint64_t offset)
{
    put_string(&b->infos, name, strlen(name));
    put_u32(&b->infos, n_dims);
    buf_append(&b->infos, dims, n_dims * sizeof *dims);
    put_u32(&b->infos, type_id);
    put_u64(&b->infos, offset);
    b->n_tensors++;
}

static void pad(struct buf *b, size_t from, size_t alignment)
{
    while ((from + b->len) % alignment != 0)
        buf_putc(b, 0);
}

uint64_t build_tensor(struct build *b, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type_id, size_t bytes)
{
    pad(&b->data, 0, b->alignment);
    uint64_t offset = b->data.len;
    build_info(b, name, n_dims, dims, type_id, offset);
    for (size_t i = 0; i < bytes; i++)
        buf_putc(&b->data, 0);
    return offset;
}

void build_copy_value(struct build *b, const struct gguf_value *v)
{
    char name[ESCAPED_MAX];
    struct buf raw = {0};
    if (v->type == GGUF_ARRAY) {
        put_u32(&raw, v->element);
        put_u64(&raw, v->count);
    }
    buf_append(&raw, v->data, v->bytes);
    build_value(b, escaped(name, v->key.data, v->key.len), v->type, raw.data, raw.len);
    buf_free(&raw);
}

void build_copy(struct build *b, const struct gguf *g, const char *but_key, const char *but_tensor)
{
    char name[ESCAPED_MAX];
    b->alignment = g->alignment;
    for (size_t i = 0; i < g->n_values; i++) {
        const struct gguf_value *v = &g->values[i];
        escaped(name, v->key.data, v->key.len);
        if (!but_key || strcmp(name, but_key) != 0)
            build_copy_value(b, v);
    }
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        escaped(name, t->name.data, t->name.len);
        if (but_tensor && strcmp(name, but_tensor) == 0)
            continue;
        uint64_t offset = build_tensor(b, name, t->n_dims, t->dims, t->type_id, (size_t)t->bytes);
        memcpy(b->data.data + offset, t->data, (size_t)t->bytes);
    }
}

struct file_map build_end(struct build *b)
{
    struct buf file = {0};
    buf_append(&file, "GGUF", 4);
    put_u32(&file, b->version);
    put_u64(&file, b->n_tensors);
    put_u64(&file, b->n_values);
    buf_append(&file, b->values.data, b->values.len);
    buf_append(&file, b->infos.data, b->infos.len);
    if (b->n_tensors)
        pad(&file, 0, b->alignment);
    buf_append(&file, b->data.data, b->data.len);
    uint8_t *data = test_guarded(file.len);
    if (file.failed || b->values.failed || b->infos.failed || b->data.failed)
        abort();
    memcpy(data, file.data, file.len);
    struct file_map map = {data, file.len};
    buf_free(&file);
    buf_free(&b->values);
    buf_free(&b->infos);
    buf_free(&b->data);
    build_begin(b);
    return map;
}
