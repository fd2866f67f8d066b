/* error.h: filling in struct sg_error. Layer: base. */
#ifndef SIGNUM_ERROR_H
#define SIGNUM_ERROR_H

#include "base.h"
#include "signum.h"

/* Stores status and the formatted sentence (cut at the end of a UTF-8 character
 * when too long) and returns status, so that callers can `return fail(...)`.
 * err may be NULL. */
enum sg_status fail(struct sg_error *err, enum sg_status status, const char *format, ...) PRINTF_LIKE(3, 4);

/* fail() with the sentence for a failed allocation of so many bytes. */
enum sg_status fail_memory(struct sg_error *err, size_t bytes, const char *what);

#define TRY(expr)                            \
    do {                                     \
        enum sg_status try_status_ = (expr); \
        if (try_status_ != SG_OK)            \
            return try_status_;              \
    } while (0)

/* A string from a file, made harmless for a message: control characters and
 * what is not UTF-8 become \xNN, long strings are cut with "...". Returns buf.
 * Use as: char name[ESCAPED_MAX]; fail(..., "%s", escaped(name, ptr, len)). */
enum {
    ESCAPED_MAX = 160
};
const char *escaped(char buf[ESCAPED_MAX], const char *text, size_t len);

#endif
