/* buf.h: growing byte and id buffers with a sticky failure flag: append freely,
 * check once at the end. Layer: base. */
#ifndef SIGNUM_BUF_H
#define SIGNUM_BUF_H

#include "base.h"

struct buf {
    char *data; /* NUL after data[len] once something was appended */
    size_t len, cap;
    bool failed; /* out of memory at some point; later appends do nothing */
};

/* Makes room for so many more bytes (and a NUL); false, and failed, when there is none. */
bool buf_reserve(struct buf *b, size_t more);
void buf_append(struct buf *b, const void *data, size_t len);
/* Ill-formed UTF-8 becomes U+FFFD, one for every maximal ill-formed part. */
void buf_append_utf8(struct buf *b, const char *text, size_t len);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
/* Removes the first n bytes. */
void buf_drop(struct buf *b, size_t n);
void buf_free(struct buf *b); /* and makes it empty again */

struct ids {
    int32_t *data;
    size_t len, cap;
    bool failed;
};

void ids_push(struct ids *v, int32_t id);
void ids_append(struct ids *v, const int32_t *data, size_t n);
void ids_free(struct ids *v);

#endif
