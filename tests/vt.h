/* vt.h: a small terminal for tests: bytes in, a grid of cells out, as a person sees it,
 * with scrollback, soft wraps and rewrapping on resize. It is strict: a control code or
 * sequence that signum has no business sending is counted. */
#ifndef SIGNUM_TESTS_VT_H
#define SIGNUM_TESTS_VT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VT_COLS = 256,
    VT_CELL = 24
};

struct vt_cell {
    char text[VT_CELL]; /* "": blank; "\1": right half of a wide character */
    bool dim;
};

struct vt_line {
    struct vt_cell cells[VT_COLS];
    bool wrapped; /* goes on in the next line */
};

struct vt {
    size_t width, height;
    bool onlcr; /* newline returns the carriage, as a tty driver makes it */
    struct vt_line *lines;
    size_t n_lines, cap; /* scrollback and screen */
    size_t top;          /* first line of the screen */
    size_t row, col;     /* of the cursor, on the screen; col == width: wrap pending */
    bool dim, paste_mode, alternate, cursor_hidden;
    size_t hazards; /* control codes and sequences outside of the few that we use */
    size_t bells;
    char clipboard[512]; /* what OSC 52 put there, in base64 */
    char escape[512];    /* unfinished sequence */
    size_t n_escape;
    char partial[8]; /* unfinished character */
    size_t n_partial;
};

void vt_open(struct vt *vt, size_t width, size_t height);
void vt_close(struct vt *vt);
void vt_write(struct vt *vt, const char *bytes, size_t len);
/* Rewraps wrapped lines as most terminals do. */
void vt_resize(struct vt *vt, size_t width, size_t height);

/* Text of a line (0: the oldest in scrollback) without trailing blanks; malloc'ed. */
char *vt_line_text(const struct vt *vt, size_t line);
/* Everything, lines joined by newlines, trailing blank lines removed; `join`: soft wraps
 * leave no newline, as when it is copied. malloc'ed. */
char *vt_text(const struct vt *vt, bool join);
/* Line of the cursor, counted from the oldest. */
size_t vt_cursor_line(const struct vt *vt);

#endif
