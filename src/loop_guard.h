/* loop_guard.h: notices that a model repeats itself endlessly. Layer: model.
 *
 * A loop is an exact repetition: each of the last R tokens equals the one P before it. How
 * large R must be depends on what is repeated, since some honest texts repeat a lot:
 *
 *   white space only                  256 + 2 P   nobody needs 250 empty lines
 *   words (three letters in a row,   1000 + 10 P  a sentence of ten tokens 110 times, a page
 *   or a letter beyond ASCII)                     of 200 tokens 16 times
 *   anything else                    3000 + 16 P  a table of zeros, 0x00 .. 0x00, a ruler, digits
 *
 * Poems with refrains, tables, lists of numbers and generated code stay far below: they vary,
 * or they end. */
#ifndef SIGNUM_LOOP_GUARD_H
#define SIGNUM_LOOP_GUARD_H

#include "base.h"

enum {
    LOOP_PERIOD_MAX = 200,
    LOOP_HISTORY = 256
};
enum loop_kind {
    LOOP_BLANK,
    LOOP_DATA,
    LOOP_WORDS,
    LOOP_KINDS
};

struct loop_guard {
    int32_t ids[LOOP_HISTORY]; /* token n is at n mod LOOP_HISTORY */
    size_t n;
    size_t last[LOOP_KINDS];           /* 1 + the last token of this kind */
    uint32_t run[LOOP_PERIOD_MAX + 1]; /* newest tokens that equal the one so far before them */
};

void loop_guard_start(struct loop_guard *g);

/* Takes the next token and its text; true: this is a loop. Some 0.2 us. */
bool loop_guard_add(struct loop_guard *g, int32_t id, const char *text, size_t len);

#endif
