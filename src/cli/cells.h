/* cells.h: how text occupies the cells of a terminal: columns of a character, what
 * the eye takes for one character, and what may not reach a terminal as it is.
 * Layer: cli (base).
 *
 * Terminals disagree about emoji made of several code points: some draw a family in two
 * cells, some in eight. Two rules keep the cursor where we think it is: the line editor
 * shows such a cluster by its first character alone, which all terminals draw alike; and
 * output that is only wrapped counts the sum of the parts, so it errs to the short side. */
#ifndef SIGNUM_CELLS_H
#define SIGNUM_CELLS_H

#include "base.h"

/* Columns of one code point written alone: 0, 1 or 2. Regional indicators count 1, since a
 * pair of them makes one flag of two columns. */
int cell_width(uint32_t c);

/* Whether a code point must be shown escaped: C0 controls (newline and tab too), DEL, C1,
 * bidirectional embeddings, overrides and isolates, line and paragraph separators, tag
 * characters and other invisible format characters with which text can lie about itself.
 * Joiners, directional marks and the zero-width space have honest uses and pass. */
bool cell_hazard(uint32_t c);

enum {
    CELL_ESCAPE_MAX = 12
};
/* Writes the visible form of a hazard: \x1B for a byte, \u202E or \U000E0041 for a code
 * point. Returns the length; out is terminated. */
size_t cell_escape(char out[CELL_ESCAPE_MAX], uint32_t c);

/* The byte of an ill-formed sequence, as \xFF. Returns 4; out is terminated. */
size_t cell_escape_byte(char out[CELL_ESCAPE_MAX], unsigned char byte);

/* Like utf8_decode, and tells ill-formed input from a U+FFFD that was written. */
size_t cell_decode(const char *text, size_t len, uint32_t *c, bool *well_formed);

/* What the eye takes for one character: a base with its combining marks, joined emoji, a
 * flag. Newlines, tabs, hazards and ill-formed bytes stand alone. */
struct cluster {
    size_t len; /* bytes */
    int cols;   /* columns of what cluster_put appends */
};
/* The cluster that begins at text; len >= 1. */
struct cluster cluster_at(const char *text, size_t len);

/* Appends a cluster in the form that every terminal draws in the same columns: hazards,
 * ill-formed bytes and marks without a base escaped, of joined emoji the first alone. */
struct buf;
void cluster_put(struct buf *out, const char *text, struct cluster cluster);

/* Where the cluster that ends at `at` begins; 0 at the beginning. */
size_t cluster_before(const char *text, size_t at);

/* Appends nothing dangerous to a terminal: the text with all hazards and ill-formed bytes
 * escaped, newlines and tabs too. For names, titles and messages. */
void cells_put_escaped(struct buf *out, const char *text, size_t len);

/* Columns of a text without newlines, escapes counted as they would be shown. */
size_t cells_width(const char *text, size_t len);

#endif
