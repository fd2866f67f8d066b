/* The line editor without a terminal: what keys do, and that what is painted is what the
 * layout says, on a small terminal of our own. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cells.h"
#include "cli/lineedit.h"
#include "cli/lineview.h"
#include "vt.h"

#define UP "\x1B[A"
#define DOWN "\x1B[B"
#define RIGHT "\x1B[C"
#define LEFT "\x1B[D"
#define CTRL(letter) ((char)((letter)&0x1F))

/* The text with | where the cursor is; in a static buffer. */
static const char *state(const struct lineedit *e)
{
    static char out[4096];
    snprintf(out, sizeof out, "%.*s|%.*s", (int)e->cursor, e->text.data ? e->text.data : "", (int)(e->text.len - e->cursor),
             e->text.data ? e->text.data + e->cursor : "");
    return out;
}

static enum line_action feed(struct lineedit *e, const char *bytes, size_t len)
{
    size_t used;
    enum line_action action = lineedit_feed(e, bytes, len, &used);
    CHECK(action != LINE_NONE || used == len);
    return action;
}

static void check_keys(const char *keys, const char *expected)
{
    size_t len = strlen(keys);
    struct lineedit e = {0};
    lineedit_reset(&e);
    feed(&e, keys, len);
    CHECKF(strcmp(state(&e), expected) == 0, "keys \"%s\": got \"%s\", expected \"%s\"", keys, state(&e), expected);
    lineedit_free(&e);
    /* Cut anywhere, the same keys arrive. */
    struct lineedit f = {0};
    lineedit_reset(&f);
    for (size_t i = 0; i < len; i++)
        feed(&f, keys + i, 1);
    CHECKF(strcmp(state(&f), expected) == 0, "keys \"%s\" byte by byte: got \"%s\"", keys, state(&f));
    lineedit_free(&f);
}

TEST(lineedit_keys)
{
    static const char *const cases[][2] = {
        {"hello", "hello|"},
        {"hello\x01", "|hello"},
        {"hello\x01\x05", "hello|"},
        {"hello\x02\x02", "hel|lo"},
        {"hello\x01\x06", "h|ello"},
        {"hello" LEFT LEFT RIGHT, "hell|o"},
        {"hello\x1B[H!", "!|hello"},
        {"hello\x1B[1~!\x1B[4~?", "!hello?|"},
        {"hello\x1BOH!\x1BOF?", "!hello?|"},
        {"hello\x1B[7~!\x1B[8~?", "!hello?|"},
        {"hello\x7F\x7F", "hel|"},
        {"hello\x08", "hell|"},
        {"hello\x01\x04", "|ello"},
        {"hello\x01\x1B[3~", "|ello"},
        {"one two\x0B", "one two|"},
        {"one two\x02\x02\x0B", "one t|"},
        {"one two\x02\x02\x15", "|wo"},
        {"one two three\x17", "one two |"},
        {"one two  \x17", "one |"},
        {"one two three\x17\x17\x19", "one two three|"},
        {"one two\x17\x01\x19", "two|one "},
        {"one two\x01\x0B\x19\x19", "one twoone two|"},
        {"one two\x17x\x15\x19\x1By", "two|"},
        {"abc\x14", "acb|"},
        {"abc\x01\x06\x14", "ba|c"},
        {"a\x14", "a|"},
        {"one two\x1B"
         "b",
         "one |two"},
        {"one two\x01\x1B"
         "f",
         "one| two"},
        {"one two\x01\x1B"
         "d",
         "| two"},
        {"one two.\x1B\x7F", "one |"},
        {"one two\x1B[1;5D", "one |two"},
        {"one two\x01\x1B[1;5C", "one| two"},
        {"one two\x1BOd", "one |two"},
        {"one two\x1B[1;3D", "one |two"},
        {"one two\x1B\x1B[D", "one |two"},
        {"one two\x01\x1B[3;5~", "| two"},
        {"one\x0Atwo", "one\ntwo|"},
        {"one\x1B\rtwo", "one\ntwo|"},
        {"one\x1B\x0Atwo", "one\ntwo|"},
        {"one\x1B[13;2utwo", "one\ntwo|"},
        {"one\x1B[27;2;13~two", "one\ntwo|"},
        {"one\\\rtwo", "one\ntwo|"},
        {"\"\"\"\rone\rtwo", "\"\"\"\none\ntwo|"},
        {"/system \"\"\"\rone", "/system \"\"\"\none|"},
        {"one\ntwo\nxyzzy" UP, "one\ntwo|\nxyzzy"},
        {"one\ntwo\nxyzzy" UP UP, "one|\ntwo\nxyzzy"},
        {"onetwo\nx\nxyzzy" UP UP, "onetw|o\nx\nxyzzy"}, /* the column is kept across a short line */
        {"one\ntwo\nxyzzy" UP UP DOWN, "one\ntwo|\nxyzzy"},
        {"one\ntwo\x01", "one\n|two"},
        {"one\ntwo" UP "\x05\x0B", "one|two"},
        {"one\ntwo\x01\x15", "one|two"},
        {"one\ntwo\x1B[1;5H!", "!|one\ntwo"},
        {"\xC3\xA4\xE6\xBC\xA2x\x02\x02", "\xC3\xA4|\xE6\xBC\xA2x"},
        {"e\xCC\x81x\x02\x02", "|e\xCC\x81x"}, /* a combining accent goes with its letter */
        {"e\xCC\x81\x7F", "|"},
        {"\xF0\x9F\x91\xA8\xE2\x80\x8D\xF0\x9F\x91\xA9\x02", "|\xF0\x9F\x91\xA8\xE2\x80\x8D\xF0\x9F\x91\xA9"}, /* joined emoji */
        {"\xF0\x9F\x87\xA9\xF0\x9F\x87\xAA\xF0\x9F\x87\xAB\xF0\x9F\x87\xB7\x02",
         "\xF0\x9F\x87\xA9\xF0\x9F\x87\xAA|\xF0\x9F\x87\xAB\xF0\x9F\x87\xB7"}, /* flags */
        {"a\xFFz", "a\xEF\xBF\xBDz|"},
        {"a\xE6\xBCz", "a\xEF\xBF\xBDz|"},
        {"\x1B[200~one\rtwo\r\nthree\tx\x1B[201~!", "one\ntwo\nthree\tx!|"},
        {"\x1B[200~/exit\r\x1B[201~", "/exit\n|"},
        {"\x1B[200~a\x1B[20b\x1B[201~", "a\x1B[20b|"},
        {"abc\x1F", "|"},
        {"one two\x1F", "one|"},
        {"one two\x17\x1F", "one two|"},
        {"a\x1B[200~pasted\x1B[201~\x1F", "a|"},
        {"ab\x1B[99~c", "abc|"}, /* unknown sequences change nothing */
        {"ab\x1B[1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17Xc", "abc|"},
        {"ab\x1B[[Ac", "abc|"},
        {"ab\x1B[<0;1;1Mc", "abc|"},
        {"ab\x1B[Ic", "abc|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_keys(cases[i][0], cases[i][1]);
}

TEST(lineedit_actions)
{
    struct lineedit e = {0};
    lineedit_reset(&e);
    size_t used;
    CHECK(feed(&e, "\x04", 1) == LINE_EOF);
    CHECK(feed(&e, "\x03", 1) == LINE_INTERRUPT);
    CHECK(feed(&e, "\x1A", 1) == LINE_SUSPEND);
    CHECK(feed(&e, "\x07", 1) == LINE_EDITOR);
    CHECK(feed(&e, "\x0C", 1) == LINE_CLEAR);
    CHECK(lineedit_feed(&e, "one\rtwo\r", 8, &used) == LINE_SUBMIT && used == 4);
    CHECK(strcmp(state(&e), "one|") == 0);
    lineedit_reset(&e);
    CHECK(lineedit_feed(&e, "two\r", 4, &used) == LINE_SUBMIT && used == 4);
    CHECK(strcmp(state(&e), "two|") == 0);
    lineedit_reset(&e);
    CHECK(feed(&e, "\"\"\"a\rb\"\"\"\r", 10) == LINE_SUBMIT);
    line_unquote(&e.text);
    CHECK(e.text.len == 3 && memcmp(e.text.data, "a\nb", 3) == 0);
    lineedit_reset(&e);
    CHECK(feed(&e, "a\\\\\r", 4) == LINE_SUBMIT); /* an even number of backslashes is text */
    lineedit_reset(&e);
    CHECK(feed(&e, "x\x04", 2) == LINE_NONE && e.bell); /* ^D at the end of a text */
    e.bell = false;
    /* A lone Escape is known by what does not follow. */
    CHECK(feed(&e, "\x1B", 1) == LINE_NONE && lineedit_pause(&e) && !lineedit_pause(&e));
    feed(&e, "b", 1);
    CHECK(strcmp(state(&e), "xb|") == 0);
    lineedit_free(&e);

    static const struct {
        const char *text;
        bool more;
        const char *unquoted;
    } quotes[] = {
        {"", false, ""},
        {"\\", true, "\\"},
        {"\"\"\"", true, "\"\"\""},
        {"\"\"\"\"\"\"", false, ""},
        {"\"\"\"a", true, "\"\"\"a"},
        {"\"\"\"a\"\"\"", false, "a"},
        {"  \"\"\"\n a\n\"\"\" \n", false, "   a"},
        {"a \"\"\"", false, "a \"\"\""},
        {"/system \"\"\"\na\n\nb\n\"\"\"", false, "/system a\n\nb"},
        {"\"\"\"a\\", true, "\"\"\"a\\"},
    };
    for (size_t i = 0; i < sizeof quotes / sizeof *quotes; i++) {
        struct buf b = {0};
        buf_puts(&b, quotes[i].text);
        CHECKF(line_continues(b.data, b.len) == quotes[i].more, "case %zu", i);
        line_unquote(&b);
        CHECKF(strcmp(b.data, quotes[i].unquoted) == 0, "case %zu: \"%s\"", i, b.data);
        buf_free(&b);
    }
}

static void submit(struct lineedit *e, const char *text)
{
    history_add(e->history, text, strlen(text));
    lineedit_reset(e);
}

TEST(lineedit_history)
{
    struct history h;
    history_open(&h, NULL);
    struct lineedit e = {.history = &h};
    submit(&e, "first");
    submit(&e, "second line");
    submit(&e, "third");
    submit(&e, "third");
    CHECK(h.n == 3);
#define EXPECT(keys, text)                                                             \
    do {                                                                               \
        feed(&e, keys, strlen(keys));                                                  \
        CHECKF(strcmp(state(&e), text) == 0, "after \"%s\": \"%s\"", keys, state(&e)); \
    } while (0)
    EXPECT("draft" UP, "third|");
    EXPECT(UP "\x10", "first|");
    e.bell = false;
    EXPECT(UP, "first|");
    CHECK(e.bell);
    EXPECT("\x0E", "second line|");
    EXPECT(DOWN DOWN, "draft|");
    EXPECT("\x1B<", "first|");
    EXPECT("\x1B>", "draft|");
    /* Search. */
    EXPECT("\x12", "draft|");
    CHECK(e.searching);
    EXPECT("ir", "th|ird");
    EXPECT("\x12", "f|irst");
    EXPECT("\x12", "f|irst");
    CHECK(e.search_failed);
    EXPECT("\x13", "th|ird");
    EXPECT("\x7F\x7F"
           "LINE",
           "th|ird"); /* capitals: letter case matters */
    CHECK(e.search_failed);
    EXPECT("\x07", "draft|");
    CHECK(!e.searching);
    EXPECT("\x12sec\x05!", "second line!|");
    lineedit_reset(&e);
    EXPECT("\x12sec\x1B[D", "|second line");
    lineedit_reset(&e);
    EXPECT("\x12zzz", "|");
    feed(&e, "\x1B", 1);
    CHECK(lineedit_pause(&e));
    CHECK(!e.searching && e.text.len == 0);
    EXPECT("\x12"
           "first",
           "|first");
    CHECK(feed(&e, "\r", 1) == LINE_SUBMIT);
    lineedit_free(&e);
    history_close(&h);
}

TEST(history_file)
{
    char path[256];
    snprintf(path, sizeof path, "%s/history", test_tmp());
    struct history h;
    struct stat info;
    history_open(&h, path);
    CHECK(h.n == 0);
    history_add(&h, "one\ntwo \"quoted\" \\", 18);
    history_add(&h, "b\0c", 3);
    history_add(&h, "one\ntwo \"quoted\" \\", 18);
    history_close(&h);
    CHECK(stat(path, &info) == 0 && (info.st_mode & 0777) == 0600);
    FILE *f = fopen(path, "a");
    fputs("\"torn", f);
    fclose(f);
    history_open(&h, path);
    CHECK(h.n == 2 && h.entries[0].len == 3 && h.entries[1].len == 18);
    history_add(&h, "after the tear", 14);
    history_close(&h);
    history_open(&h, path);
    CHECK(h.n == 3 && strcmp(h.entries[2].text, "after the tear") == 0);
    /* It does not grow without bound. */
    for (int i = 0; i < 2 * HISTORY_ENTRIES + 10; i++) {
        char text[32];
        history_add(&h, text, (size_t)snprintf(text, sizeof text, "entry %d", i));
    }
    CHECK(h.n == HISTORY_ENTRIES);
    history_close(&h);
    history_open(&h, path);
    CHECK(h.n == HISTORY_ENTRIES && strcmp(h.entries[h.n - 1].text, "entry 2009") == 0);
    history_close(&h);
    CHECK(stat(path, &info) == 0 && info.st_size < 20 * HISTORY_ENTRIES && (info.st_mode & 0777) == 0600);
    char big[HISTORY_ENTRY_MAX + 1];
    memset(big, 'x', sizeof big);
    history_open(&h, path);
    history_add(&h, big, sizeof big);
    CHECK(h.n == HISTORY_ENTRIES && h.entries[h.n - 1].len == sizeof big);
    history_close(&h);
    history_open(&h, path);
    CHECK(h.entries[h.n - 1].len == 10);
    history_close(&h);
}

static void complete(void *arg, const char *text, size_t cursor, struct completions *out)
{
    const char *const *words = arg;
    size_t begin = cursor;
    while (begin > 0 && text[begin - 1] != ' ')
        begin--;
    out->begin = begin;
    for (; *words; words++)
        if (strncmp(*words, text + begin, cursor - begin) == 0)
            completions_add(out, *words, strlen(*words));
}

TEST(lineedit_completion)
{
    static const char *const words[] = {"/help ", "/history ", "/hello ", "dir/", "\xC3\xA4hre ", "\xC3\xA4rger ", NULL};
    struct lineedit e = {.complete = complete, .complete_arg = (void *)(uintptr_t)words};
    lineedit_reset(&e);
    EXPECT("/h\t", "/h|");
    CHECK(e.hint.len > 0 && strcmp(e.hint.data, "help  history  hello") == 0);
    EXPECT("e", "/he|");
    CHECK(e.hint.len == 0);
    EXPECT("\t", "/hel|");
    EXPECT("p\t", "/help |");
    EXPECT("d\tx", "/help dir/x|");
    e.bell = false;
    EXPECT("\t", "/help dir/x|");
    CHECK(e.bell);
    EXPECT(" \xC3\xA4\t", "/help dir/x \xC3\xA4|"); /* not half a character */
    lineedit_free(&e);
}

/* ------------------------------------------------------------------ the view */

/* Text of one row of a layout. */
static void row_text(const struct layout *l, size_t row, char *out, size_t size)
{
    snprintf(out, size, "%.*s", (int)l->rows[row].len, l->bytes.data + l->rows[row].begin);
    size_t n = strlen(out);
    while (n && out[n - 1] == ' ')
        out[--n] = 0;
}

TEST(lineview_layout)
{
    static const struct {
        const char *keys;
        size_t width;
        const char *rows; /* separated by / */
        size_t row, col;
    } cases[] = {
        {"", 20, ">", 0, 2},
        {"hello", 20, "> hello", 0, 7},
        {"hello\x01", 20, "> hello", 0, 2},
        {"0123456789", 12, "> 0123456789/", 1, 0},
        {"0123456789\x02", 12, "> 0123456789/", 0, 11},
        {"0123456789ab", 12, "> 0123456789/ab", 1, 2},
        {"one\ntwo", 20, "> one/. two", 1, 5},
        {"one\ntwo" UP "\x05", 20, "> one/. two", 0, 5},
        {"\xE6\xBC\xA2\xE5\xAD\x97x", 6, "> \xE6\xBC\xA2\xE5\xAD\x97/x", 1, 1},
        {"\xE6\xBC\xA2\xE5\xAD\x97x\x01", 5, "> \xE6\xBC\xA2/\xE5\xAD\x97x", 0, 2},
        {"\xE6\xBC\xA2\xE5\xAD\x97x\x02\x02", 5, "> \xE6\xBC\xA2/\xE5\xAD\x97x", 1, 0}, /* one cell stays free */
        {"a\x1B[200~\tb\x1B[201~", 20, "> a     b", 0, 9},
        {"\x1B[200~\x1B]0;x\x07\x1B[201~", 40, "> \\x1B]0;x\\x07", 0, 14},
        {"e\xCC\x81x", 20, "> e\xCC\x81x", 0, 4},
        {"\xCC\x81x", 20, "> \\u0301x", 0, 9},                                              /* an accent on nothing */
        {"\xF0\x9F\x91\xA8\xE2\x80\x8D\xF0\x9F\x91\xA9x", 20, "> \xF0\x9F\x91\xA8x", 0, 5}, /* a family is its first member */
        {"\xE2\x80\xAE"
         "evil",
         20, "> \\u202Eevil", 0, 12},
        {"abc", 1, ">/ab/c", 2, 1}, /* nothing is narrower than two */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lineedit e = {0};
        struct layout l = {0};
        lineedit_reset(&e);
        feed(&e, cases[i].keys, strlen(cases[i].keys));
        CHECK(layout_make(&l, &e, &(struct prompt){"> ", ". "}, cases[i].width));
        char rows[256] = "", row[128];
        for (size_t r = 0; r < l.n_rows; r++) {
            row_text(&l, r, row, sizeof row);
            strcat(rows, r ? "/" : "");
            strcat(rows, row);
        }
        CHECKF(strcmp(rows, cases[i].rows) == 0, "case %zu: \"%s\"", i, rows);
        CHECKF(l.cursor_row == cases[i].row && l.cursor_col == cases[i].col, "case %zu: %zu,%zu", i, l.cursor_row, l.cursor_col);
        layout_free(&l);
        lineedit_free(&e);
    }
}

/* What the terminal shows from line `first` on is the layout, and nothing is below. */
static bool shows(const struct vt *vt, size_t first, const struct lineview *v, const char *what)
{
    const struct layout *l = &v->shown;
    bool ok = true;
    for (size_t r = 0; r < v->n_rows; r++) {
        char expected[2048];
        row_text(l, v->top + r, expected, sizeof expected);
        char *line = vt_line_text(vt, first + r);
        ok &= CHECKF(strcmp(line, expected) == 0, "%s, row %zu of %zu: shows \"%s\", layout \"%s\"", what, r, v->n_rows, line, expected);
        free(line);
    }
    for (size_t line = first + v->n_rows; line < vt->n_lines; line++) {
        char *text = vt_line_text(vt, line);
        ok &= CHECKF(text[0] == 0, "%s: below the text is \"%s\"", what, text);
        free(text);
    }
    ok &= CHECKF(vt_cursor_line(vt) == first + v->cursor_row && vt->col == l->cursor_col, "%s: cursor %zu,%zu, layout %zu,%zu", what,
                 vt_cursor_line(vt) - first, vt->col, v->cursor_row, l->cursor_col);
    ok &= CHECKF(vt->hazards == 0, "%s: %zu codes that nobody should send", what, vt->hazards);
    return ok;
}

static const char *const key_pool[] = {
    "a",
    "b",
    " ",
    "word ",
    "\xC3\xA4",
    "\xE6\xBC\xA2",
    "\xE5\xAD\x97",
    "\xF0\x9F\x98\x80",
    "e\xCC\x81",
    "\n",
    "\n",
    LEFT,
    RIGHT,
    LEFT,
    LEFT,
    UP,
    DOWN,
    "\x01",
    "\x05",
    "\x02",
    "\x06",
    "\x0B",
    "\x15",
    "\x17",
    "\x19",
    "\x14",
    "\x7F",
    "\x04x",
    "\x1F",
    "\x12o",
    "\x12",
    "\x1B[H",
    "\x1B[F",
    "\x1B[200~some pasted text,\r\x1B[31m with escapes \t and more\x1B[201~",
    "0123456789",
    "\xF0\x9F\x87\xA9\xF0\x9F\x87\xAA",
    "/h\t",
    "\xFF",
    "\xE2\x80\x8D",
    "\x1B\x7F",
    "\x1B"
    "b",
    "\x1B"
    "f",
    "\x1By",
};

TEST(lineview_paints)
{
    static const char *const words[] = {"/help ", "/history ", "/hello ", NULL};
    static const size_t widths[] = {2, 5, 19, 20, 21, 40, 80, 200};
    for (int round = 0; round < 150; round++) {
        struct history h;
        history_open(&h, NULL);
        history_add(&h, "an older text", 13);
        history_add(&h, "two lines\nof history that go on for a while", 43);
        struct lineedit e = {.history = &h, .complete = complete, .complete_arg = (void *)(uintptr_t)words};
        lineedit_reset(&e);
        struct lineview v = {0};
        struct vt vt;
        struct buf out = {0};
        size_t width = widths[test_below(8)], height = 2 + (size_t)test_below(30);
        struct prompt prompt = {test_below(2) ? "> " : "[98%] > ", ". "};
        vt_open(&vt, width, height);
        for (uint64_t n = test_below(5); n > 0; n--)
            vt_write(&vt, "before\n", 7);
        lineview_show(&v, &e, &prompt, width, height, &out);
        vt_write(&vt, out.data, out.len);
        bool ok = true;
        for (int step = 0; ok && step < 60; step++) {
            const char *keys = key_pool[test_below(sizeof key_pool / sizeof *key_pool)];
            size_t used;
            lineedit_feed(&e, keys, strlen(keys), &used);
            e.bell = false;
            out.len = 0;
            lineview_show(&v, &e, &prompt, width, height, &out);
            vt_write(&vt, out.data, out.len);
            ok = shows(&vt, vt_cursor_line(&vt) - v.cursor_row, &v, keys);
            /* A second look changes nothing. */
            out.len = 0;
            lineview_show(&v, &e, &prompt, width, height, &out);
            vt_write(&vt, out.data, out.len);
            ok &= shows(&vt, vt_cursor_line(&vt) - v.cursor_row, &v, "again");
            if (test_below(20) == 0 && v.shown.n_rows <= height) {
                width = widths[2 + test_below(6)];
                vt_resize(&vt, width, height);
                out.len = 0;
                lineview_resize(&v, &e, &prompt, width, height, &out);
                vt_write(&vt, out.data, out.len);
                ok = shows(&vt, vt_cursor_line(&vt) - v.cursor_row, &v, "resize");
            }
        }
        out.len = 0;
        lineview_leave(&v, &out);
        vt_write(&vt, out.data, out.len);
        CHECK(vt.col == 0 && v.n_rows == 0);
        buf_free(&out);
        vt_close(&vt);
        lineview_free(&v);
        lineedit_free(&e);
        history_close(&h);
    }
}

/* Text that wraps is one line when it is copied. */
TEST(lineview_copies)
{
    struct lineedit e = {0};
    struct lineview v = {0};
    struct vt vt;
    struct buf out = {0};
    struct prompt prompt = {"> ", ". "};
    lineedit_reset(&e);
    vt_open(&vt, 20, 10);
    const char *text = "a text that is longer than the terminal is wide\nand another line of it";
    for (size_t i = 0; text[i]; i++) {
        feed(&e, text + i, 1);
        lineview_show(&v, &e, &prompt, 20, 10, &out);
    }
    vt_write(&vt, out.data, out.len);
    char *copied = vt_text(&vt, true);
    CHECKF(strcmp(copied, "> a text that is longer than the terminal is wide\n. and another line of it") == 0, "\"%s\"", copied);
    free(copied);
    buf_free(&out);
    vt_close(&vt);
    lineview_free(&v);
    lineedit_free(&e);
}
