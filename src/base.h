/* base.h: the few words that every file uses. Layer: base. */
#ifndef SIGNUM_BASE_H
#define SIGNUM_BASE_H

#include <float.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define DIV_UP(n, d) (((n) + (d)-1) / (d))
#define ROUND_UP(n, multiple) (DIV_UP(n, multiple) * (multiple))

#define PRINTF_LIKE(format_arg, first_arg) __attribute__((format(printf, format_arg, first_arg)))

_Static_assert(FLT_EVAL_METHOD == 0, "signum's results need float arithmetic in float (on 32-bit x86: -msse2 -mfpmath=sse)");
_Static_assert(sizeof(int) >= 4 && sizeof(float) == 4 && sizeof(double) == 8, "unusual machine");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "model files are little endian and used in place");

/* False when the result does not fit; *out is then undefined. */
static inline bool mul_size(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool add_size(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }

#endif
