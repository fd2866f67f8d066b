/* input.h: what the user enters: from the line editor on a terminal, else plain lines
 * without prompt or codes. Layer: cli (base). */
#ifndef SIGNUM_INPUT_H
#define SIGNUM_INPUT_H

#include "error.h"
#include "lineedit.h"
#include "lineview.h"

struct input {
    bool interactive; /* a terminal that is not dumb */
    struct lineedit edit;
    struct history history;

    /* The rest is private. */
    struct lineview view;
    size_t width, height; /* that the view was drawn for */
    char bytes[4096];     /* read, not yet used */
    size_t at, n;
    bool ended;
};

enum input_result {
    INPUT_TEXT,
    INPUT_END,         /* ^D, or the end of the input */
    INPUT_INTERRUPTED, /* ^C; the text is what was given up */
    INPUT_QUIT,        /* a signal wants the program to end: terminal_quit_signal() */
};

/* history_path may be NULL. complete may be NULL. */
void input_open(struct input *in, bool interactive, const char *history_path, lineedit_complete_fn *complete, void *arg);
void input_close(struct input *in);

/* Reads one text, which may have several lines, into *text (emptied first). On a terminal it
 * leaves the terminal in TERMINAL_BUSY. Blank texts are returned too. */
enum input_result input_read(struct input *in, const struct prompt *prompt, struct buf *text);

/* Lets the user's editor ($VISUAL, $EDITOR, else vi) change a text. SG_FAIL with a sentence
 * when it could not; the text is then as before. */
enum sg_status edit_text(struct buf *text, struct sg_error *err);

#endif
