/* utf8.h: decoding and encoding of UTF-8, and nothing about what characters
 * mean (that is unicode.h). Layer: base. */
#ifndef SIGNUM_UTF8_H
#define SIGNUM_UTF8_H

#include "base.h"

#define UTF8_REPLACEMENT 0xFFFDu

/* Decodes the character at text[0..len), len >= 1. Returns how many bytes it
 * takes. Ill-formed input: *c is U+FFFD and the result is the length of the
 * maximal ill-formed part (Unicode's "substitution of maximal subparts"). */
size_t utf8_decode(const char *text, size_t len, uint32_t *c);

/* Writes 1..4 bytes, returns how many. c must be a scalar value. */
size_t utf8_encode(uint32_t c, char out[4]);

/* Length of the longest prefix that does not end inside a character that more
 * bytes could still complete: what a stream may show now. */
size_t utf8_complete(const char *text, size_t len);

bool utf8_valid(const char *text, size_t len);

#endif
