/* lineview.h: what the screen shows of a line editor, and the fewest bytes that make it so.
 * Pure: no terminal is touched. Layer: cli (base).
 *
 * A layout is a list of rows. A row that is full goes on in the next one by the terminal's
 * own wrapping, so that a terminal that rewraps its lines when it is resized moves them as we
 * then compute them, and so that copied text has no line breaks that were not typed. */
#ifndef SIGNUM_LINEVIEW_H
#define SIGNUM_LINEVIEW_H

#include "lineedit.h"

struct view_row {
    size_t begin, len; /* bytes in layout.bytes */
    size_t cols;
    bool wraps; /* goes on in the next row */
};

struct layout {
    struct buf bytes;
    struct view_row *rows;
    size_t n_rows, cap;
    size_t cursor_row, cursor_col;
};

struct prompt {
    const char *first; /* before the first line: "> " */
    const char *more;  /* before the others: ". " */
};

/* Lays out prompt, text and hint for a terminal `width` columns wide. out may hold an
 * earlier layout. False: out of memory. */
bool layout_make(struct layout *out, const struct lineedit *e, const struct prompt *prompt, size_t width);
void layout_free(struct layout *l);

/* What is on the screen now, relative to the row where the prompt began. */
struct lineview {
    struct layout shown, next;
    size_t top;        /* first row of the layout that is on the screen; > 0 when it is taller */
    size_t n_rows;     /* rows on the screen; 0: nothing shown yet, the cursor is where the prompt goes */
    size_t cursor_row; /* on the screen, counted from the first row shown */
};

/* Appends the bytes that turn what is shown into the editor's present state. */
void lineview_show(struct lineview *v, const struct lineedit *e, const struct prompt *prompt, size_t width, size_t height, struct buf *out);

/* The terminal has a new size and has rewrapped what it shows: draws everything again. */
void lineview_resize(struct lineview *v, const struct lineedit *e, const struct prompt *prompt, size_t width, size_t height,
                     struct buf *out);

/* Leaves the text as it is and puts the cursor on a new line below it; the next show begins
 * there. */
void lineview_leave(struct lineview *v, struct buf *out);

/* Forgets what is shown: the screen was cleared, or something else was written. */
void lineview_forget(struct lineview *v);

void lineview_free(struct lineview *v);

#endif
