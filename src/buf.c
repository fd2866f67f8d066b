#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

bool buf_reserve(struct buf *b, size_t more)
{
    if (b->failed)
        return false;
    size_t need;
    if (!add_size(b->len, more, &need) || !add_size(need, 1, &need)) {
        b->failed = true;
        return false;
    }
    if (need <= b->cap)
        return true;
    size_t cap = b->cap < SIZE_MAX / 2 ? MAX(need, b->cap * 2) : need;
    cap = MAX(cap, (size_t)64);
    char *data = realloc(b->data, cap);
    if (!data) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

void buf_append(struct buf *b, const void *data, size_t len)
{
    if (!buf_reserve(b, len))
        return;
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = 0;
}

void buf_append_utf8(struct buf *b, const char *text, size_t len)
{
    if (utf8_valid(text, len)) {
        buf_append(b, text, len);
        return;
    }
    for (size_t i = 0; i < len;) {
        uint32_t c;
        char out[4];
        i += utf8_decode(text + i, len - i, &c);
        buf_append(b, out, utf8_encode(c, out));
    }
}

void buf_puts(struct buf *b, const char *s) { buf_append(b, s, strlen(s)); }

void buf_putc(struct buf *b, char c) { buf_append(b, &c, 1); }

void buf_printf(struct buf *b, const char *format, ...)
{
    char small[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (n < 0) {
        b->failed = true;
    } else if ((size_t)n < sizeof small) {
        buf_append(b, small, (size_t)n);
    } else if (buf_reserve(b, (size_t)n)) {
        va_start(args, format);
        vsnprintf(b->data + b->len, (size_t)n + 1, format, args);
        va_end(args);
        b->len += (size_t)n;
    }
}

void buf_drop(struct buf *b, size_t n)
{
    n = MIN(n, b->len);
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
    b->data[b->len] = 0;
}

void buf_free(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

void ids_append(struct ids *v, const int32_t *data, size_t n)
{
    size_t need, bytes;
    if (v->failed)
        return;
    if (!add_size(v->len, n, &need) || !mul_size(need, sizeof *v->data, &bytes)) {
        v->failed = true;
        return;
    }
    if (need > v->cap) {
        size_t cap = MAX(MAX(need, v->cap + v->cap / 2), (size_t)32);
        int32_t *grown = mul_size(cap, sizeof *grown, &bytes) ? realloc(v->data, bytes) : NULL;
        if (!grown) {
            v->failed = true;
            return;
        }
        v->data = grown;
        v->cap = cap;
    }
    if (n)
        memcpy(v->data + v->len, data, n * sizeof *data);
    v->len = need;
}

void ids_push(struct ids *v, int32_t id) { ids_append(v, &id, 1); }

void ids_free(struct ids *v)
{
    free(v->data);
    *v = (struct ids){0};
}
