/* unicode.h: character classes, NFC, and nothing else; tables generated from the
 * Unicode Character Database by tools/gen_unicode.py. Layer: base. */
#ifndef SIGNUM_UNICODE_H
#define SIGNUM_UNICODE_H

#include "buf.h"

enum unicode_class {
    UNICODE_OTHER,
    UNICODE_LETTER,
    UNICODE_NUMBER,
    UNICODE_SPACE,
    UNICODE_MARK
};

/* L*, N*, M* general categories; white space as the qwen2 regex's \s. Anything above
 * U+10FFFF is UNICODE_OTHER. */
enum unicode_class unicode_class(uint32_t c);

/* Columns on a terminal: 0 for combining marks and controls, 2 for wide and emoji, else 1. */
int unicode_width(uint32_t c);

/* Appends NFC(text); ill-formed UTF-8 becomes U+FFFD. Linear time; text that is already
 * NFC (quick check) is copied as it is. */
void unicode_nfc(struct buf *out, const char *text, size_t len);

/* Length of a prefix that unicode_nfc copies as it is: len for most text, which then needs no
 * copy at all. May be shorter than the longest such prefix. */
size_t unicode_nfc_prefix(const char *text, size_t len);

/* The Unicode version of the tables, as "15.0.0". */
extern const char unicode_version[];

#endif
