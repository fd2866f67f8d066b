/* lineedit.h: the line editor: what keys do to a text. It knows no terminal: bytes in, and
 * out come the edited text, an action for the caller, and (lineview.h) what the screen
 * should show. Layer: cli (base).
 *
 * The text may have many lines. Enter submits it, unless the text says that more follows: a
 * trailing backslash, or an opening """ without its closing one. */
#ifndef SIGNUM_LINEEDIT_H
#define SIGNUM_LINEEDIT_H

#include "history.h"
#include "keys.h"

enum {
    LINEEDIT_MAX = 16 << 20
}; /* bytes of text */

enum line_action {
    LINE_NONE,      /* all bytes were taken; show the text */
    LINE_SUBMIT,    /* e->text is what was entered; lineedit_reset begins the next */
    LINE_INTERRUPT, /* ^C: the text is still there */
    LINE_EOF,       /* ^D and nothing typed */
    LINE_SUSPEND,   /* ^Z */
    LINE_EDITOR,    /* ^G: the text wants an editor */
    LINE_CLEAR,     /* ^L: clear the screen, then show the text */
};

/* What Tab may insert: the bytes from `begin` to the cursor become one of the items. An
 * item ends as what follows it should: "/help " or "dir/". */
struct completions {
    size_t begin;
    char **items; /* malloc'ed */
    size_t n, cap;
};
void completions_add(struct completions *c, const char *item, size_t len); /* copies */
void completions_free(struct completions *c);

/* Fills in completions for the text before the cursor. */
typedef void lineedit_complete_fn(void *arg, const char *text, size_t cursor, struct completions *out);

enum {
    LINEEDIT_KILLS = 8,
    LINEEDIT_UNDO = 64
};

struct lineedit {
    struct buf text;
    size_t cursor; /* always between clusters */

    struct history *history; /* may be NULL */
    lineedit_complete_fn *complete;
    void *complete_arg; /* may be NULL */

    bool searching; /* ^R: text and cursor show the match */
    bool search_failed;
    struct buf query;
    struct buf hint; /* lines to show below the text: possible completions */
    bool bell;       /* something could not be done; the caller clears it */

    /* The rest is private. */
    struct keys keys;
    struct buf draft; /* what was typed before the history was visited */
    size_t draft_cursor;
    size_t history_at; /* history->n: the draft */
    struct buf kills[LINEEDIT_KILLS];
    size_t kill_at; /* newest */
    size_t yank_begin;
    size_t goal; /* column that vertical movement keeps */
    enum {
        LAST_OTHER,
        LAST_KILL,
        LAST_YANK,
        LAST_TYPE,
        LAST_ERASE,
        LAST_VERTICAL,
        LAST_TAB
    } last;
    struct line_undo {
        char *text;
        size_t len, cursor;
    } undo[LINEEDIT_UNDO];
    size_t n_undo;
};

/* Feeds bytes up to and including the one that asks for an action; *used tells how many. */
enum line_action lineedit_feed(struct lineedit *e, const char *bytes, size_t n, size_t *used);

/* Nothing came for some 50 ms: resolves a lone Escape. True: the view may have changed. */
bool lineedit_pause(struct lineedit *e);

/* Begins a new text; history and kills stay. */
void lineedit_reset(struct lineedit *e);
/* Replaces the text (after an editor, or to offer one for correction); can be undone. */
void lineedit_set(struct lineedit *e, const char *text, size_t len);

void lineedit_free(struct lineedit *e);

/* Whether more lines belong to this text: it ends in an odd number of backslashes, or opens
 * """ (at its beginning, or as the argument of a command) and does not close it. */
bool line_continues(const char *text, size_t len);
/* Removes the quotes of """text""" and one newline inside either end. */
void line_unquote(struct buf *text);

#endif
