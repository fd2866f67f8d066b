/* display.h: what the model writes, made fit for a terminal while it streams. Pure: bytes
 * are appended to display.out; the caller writes them. Layer: cli (base).
 *
 * Word wrap. Terminals can not be told that a line break is only layout, so wrapped text that
 * is copied has line breaks in place of the spaces. We keep that to where it does good: a
 * break replaces only white space between words of prose. Code in ``` fences, table rows
 * (lines that begin with |) and words longer than a line are left to the terminal's own
 * wrapping, which copies as it was written. A word is shown as it comes while it surely fits;
 * near the right edge it waits until it is whole. No cursor movement is needed, so what was
 * written stays right whatever the terminal thinks of a character's width.
 *
 * Safety. On a terminal every C0 control but newline and tab, DEL, C1, ill-formed UTF-8 and
 * the code points of cell_hazard appear escaped, wherever the chunks are cut. Without a
 * terminal the bytes pass as they are. */
#ifndef SIGNUM_DISPLAY_H
#define SIGNUM_DISPLAY_H

#include "buf.h"

enum display_thinking {
    DISPLAY_THINKING_SHOW,  /* dimmed; between lines that say so when there is no colour */
    DISPLAY_THINKING_COUNT, /* one line with a running count, which stays */
    DISPLAY_THINKING_HIDE,  /* the same, but it goes when the answer comes */
};

struct display {
    bool tty;     /* escape and wrap */
    bool codes;   /* escape sequences may be used: a terminal that is not dumb */
    bool colour;  /* ... and so may SGR: NO_COLOR is not set */
    size_t width; /* columns; may change at any time */
    bool wrap;    /* false: leave all wrapping to the terminal */
    enum display_thinking thinking;
    struct buf out;

    /* The rest is private. */
    enum display_part {
        DISPLAY_IDLE,
        DISPLAY_ANSWER,
        DISPLAY_THINKING
    } part;
    bool begun;         /* something of this part was shown */
    size_t thought;     /* tokens of thinking, as last reported */
    bool counting;      /* the count is on the screen */
    struct buf partial; /* an unfinished character */
    struct buf spaces;  /* white space before the current word, ... */
    size_t spaces_end;  /* ... and the column after it */
    struct buf word;    /* the current word while it waits; no longer than a row */
    size_t word_cols;
    bool flowing;        /* the current word is shown as it comes */
    size_t col;          /* cursor; equal to width: the last cell was written */
    uint32_t last;       /* code point before; 0: none in this line */
    uint32_t line_char;  /* first character of the line after white space, ... */
    size_t line_run;     /* ... how often it is repeated, ... */
    bool line_more;      /* ... and whether others follow */
    uint32_t fence_char; /* of the code fence we are in */
    size_t fence_run;    /* its length; 0: in none */
    bool verbatim;       /* this line is left to the terminal */
};

/* Text of the answer, in pieces cut anywhere. */
void display_answer(struct display *d, const char *text, size_t len);

/* Text of the think block, and how many tokens it has until now. */
void display_think(struct display *d, const char *text, size_t len, size_t tokens);

/* Shows what waits and ends the line, so that something else can be written; the answer goes
 * on after it. */
void display_pause(struct display *d);

/* The answer is complete, or was stopped: shows what waits, ends the line, and is ready for
 * the next one. */
void display_end(struct display *d);

void display_free(struct display *d);

#endif
