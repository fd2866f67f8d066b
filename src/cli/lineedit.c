#include "lineedit.h"

#include <stdlib.h>
#include <string.h>

#include "cells.h"
#include "unicode.h"
#include "utf8.h"

/* ------------------------------------------------------------ text and lines */

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* Replaces text[begin..end). data must not be part of b. */
static void splice(struct buf *b, size_t begin, size_t end, const char *data, size_t len)
{
    size_t tail = b->len - end, gone = end - begin;
    if (len > gone)
        buf_append(b, data, len - gone); /* only for the room */
    if (b->failed)
        return;
    if (b->data) {
        memmove(b->data + begin + len, b->data + end, tail);
        if (len)
            memcpy(b->data + begin, data, len);
        b->len = begin + len + tail;
        b->data[b->len] = 0;
    }
}

static void copy(struct buf *to, const char *text, size_t len)
{
    to->len = 0;
    buf_append(to, text, len);
}

/* Where an opening """ begins, or SIZE_MAX. */
static size_t quote_begin(const char *text, size_t len)
{
    size_t i = 0;
    while (i < len && is_blank(text[i]))
        i++;
    if (i < len && text[i] == '/') { /* the argument of a command */
        while (i < len && !is_blank(text[i]))
            i++;
        while (i < len && is_blank(text[i]))
            i++;
    }
    return len - i >= 3 && memcmp(text + i, "\"\"\"", 3) == 0 ? i : SIZE_MAX;
}

/* Where the """ that closes it begins, or SIZE_MAX. Only white space may follow. */
static size_t quote_end(const char *text, size_t len, size_t begin)
{
    while (len > 0 && is_blank(text[len - 1]))
        len--;
    return len >= begin + 6 && memcmp(text + len - 3, "\"\"\"", 3) == 0 ? len - 3 : SIZE_MAX;
}

static bool ends_in_backslash(const char *text, size_t len)
{
    size_t n = 0;
    while (n < len && text[len - 1 - n] == '\\')
        n++;
    return n % 2 == 1;
}

bool line_continues(const char *text, size_t len)
{
    size_t begin = quote_begin(text, len);
    if (begin != SIZE_MAX)
        return quote_end(text, len, begin) == SIZE_MAX;
    return ends_in_backslash(text, len);
}

void line_unquote(struct buf *text)
{
    size_t begin = text->len ? quote_begin(text->data, text->len) : SIZE_MAX;
    if (begin == SIZE_MAX)
        return;
    size_t end = quote_end(text->data, text->len, begin);
    if (end == SIZE_MAX)
        return;
    size_t from = begin + 3;
    if (from < end && text->data[from] == '\n')
        from++;
    if (end > from && text->data[end - 1] == '\n')
        end--;
    splice(text, end, text->len, NULL, 0);
    splice(text, begin, from, NULL, 0);
}

static size_t line_begin(const struct buf *b, size_t at)
{
    while (at > 0 && b->data[at - 1] != '\n')
        at--;
    return at;
}

static size_t line_end(const struct buf *b, size_t at)
{
    while (at < b->len && b->data[at] != '\n')
        at++;
    return at;
}

static size_t next_cluster(const struct buf *b, size_t at) { return at < b->len ? at + cluster_at(b->data + at, b->len - at).len : at; }

static size_t previous_cluster(const struct buf *b, size_t at) { return at ? cluster_before(b->data, at) : 0; }

static bool in_word(const struct buf *b, size_t at)
{
    uint32_t c;
    utf8_decode(b->data + at, b->len - at, &c);
    enum unicode_class class = unicode_class(c);
    return class == UNICODE_LETTER || class == UNICODE_NUMBER || class == UNICODE_MARK || c == '_';
}

static bool in_space(const struct buf *b, size_t at)
{
    uint32_t c;
    utf8_decode(b->data + at, b->len - at, &c);
    return unicode_class(c) == UNICODE_SPACE;
}

static size_t word_left(const struct buf *b, size_t at)
{
    bool inside = false;
    while (at > 0) {
        size_t before = previous_cluster(b, at);
        if (in_word(b, before))
            inside = true;
        else if (inside)
            break;
        at = before;
    }
    return at;
}

static size_t word_right(const struct buf *b, size_t at)
{
    bool inside = false;
    while (at < b->len) {
        if (in_word(b, at))
            inside = true;
        else if (inside)
            break;
        at = next_cluster(b, at);
    }
    return at;
}

/* Begin of the blank-separated word before the cursor, as ^W takes it. */
static size_t blank_word_left(const struct buf *b, size_t at)
{
    while (at > 0 && in_space(b, previous_cluster(b, at)))
        at = previous_cluster(b, at);
    while (at > 0 && !in_space(b, previous_cluster(b, at)))
        at = previous_cluster(b, at);
    return at;
}

/* ------------------------------------------------------------- undo and edit */

static void forget_undo(struct lineedit *e)
{
    while (e->n_undo)
        free(e->undo[--e->n_undo].text);
}

static void remember_undo(struct lineedit *e)
{
    char *text = malloc(e->text.len + 1);
    if (!text)
        return;
    if (e->text.len)
        memcpy(text, e->text.data, e->text.len);
    if (e->n_undo == LINEEDIT_UNDO) {
        free(e->undo[0].text);
        memmove(e->undo, e->undo + 1, (LINEEDIT_UNDO - 1) * sizeof *e->undo);
        e->n_undo--;
    }
    e->undo[e->n_undo++] = (struct line_undo){text, e->text.len, e->cursor};
}

static void undo(struct lineedit *e)
{
    if (e->n_undo == 0) {
        e->bell = true;
        return;
    }
    struct line_undo *u = &e->undo[--e->n_undo];
    copy(&e->text, u->text, u->len);
    e->cursor = u->cursor;
    free(u->text);
}

/* The one way in which keys change the text; the cursor ends up behind what was inserted. */
static void replace(struct lineedit *e, size_t begin, size_t end, const char *data, size_t len)
{
    if (e->text.len - (end - begin) + len > LINEEDIT_MAX) {
        e->bell = true;
        return;
    }
    if (begin == end && len == 0)
        return;
    splice(&e->text, begin, end, data, len);
    e->cursor = e->text.failed ? 0 : begin + len;
}

static void insert(struct lineedit *e, const char *data, size_t len)
{
    remember_undo(e);
    replace(e, e->cursor, e->cursor, data, len);
    e->last = LAST_OTHER;
}

/* A typed character: a run of them is undone at once, up to a space. */
static void type(struct lineedit *e, uint32_t c)
{
    char bytes[4];
    if (e->last != LAST_TYPE || c == ' ')
        remember_undo(e);
    replace(e, e->cursor, e->cursor, bytes, utf8_encode(c, bytes));
    e->last = LAST_TYPE;
}

static void erase(struct lineedit *e, size_t begin, size_t end)
{
    if (begin == end) {
        e->bell = true;
        return;
    }
    if (e->last != LAST_ERASE)
        remember_undo(e);
    replace(e, begin, end, NULL, 0);
    e->last = LAST_ERASE;
}

/* Removes and keeps for ^Y; kills in a row are kept as one text. */
static void cut(struct lineedit *e, size_t begin, size_t end)
{
    if (begin == end) {
        e->bell = true;
        return;
    }
    if (e->last != LAST_KILL) {
        e->kill_at = (e->kill_at + 1) % LINEEDIT_KILLS;
        e->kills[e->kill_at].len = 0;
    }
    struct buf *kill = &e->kills[e->kill_at];
    const char *text = e->text.data + begin;
    if (end == e->cursor)
        splice(kill, 0, 0, text, end - begin);
    else
        buf_append(kill, text, end - begin);
    remember_undo(e);
    replace(e, begin, end, NULL, 0);
    e->last = LAST_KILL;
}

static void yank(struct lineedit *e)
{
    const struct buf *kill = &e->kills[e->kill_at];
    if (kill->len == 0) {
        e->bell = true;
        return;
    }
    size_t begin = e->cursor;
    insert(e, kill->data, kill->len);
    e->yank_begin = begin;
    e->last = LAST_YANK;
}

/* Replaces what was just yanked by the kill before it. */
static void yank_older(struct lineedit *e)
{
    if (e->last != LAST_YANK) {
        e->bell = true;
        return;
    }
    for (size_t tries = 0; tries < LINEEDIT_KILLS; tries++) {
        e->kill_at = (e->kill_at + LINEEDIT_KILLS - 1) % LINEEDIT_KILLS;
        if (e->kills[e->kill_at].len)
            break;
    }
    replace(e, e->yank_begin, e->cursor, e->kills[e->kill_at].data, e->kills[e->kill_at].len);
}

static void transpose(struct lineedit *e)
{
    size_t middle = e->cursor;
    if (middle == line_end(&e->text, middle))
        middle = previous_cluster(&e->text, middle);
    size_t begin = previous_cluster(&e->text, middle), end = next_cluster(&e->text, middle);
    if (begin == middle || middle == end || line_begin(&e->text, e->cursor) > begin) {
        e->bell = true;
        return;
    }
    struct buf swapped = {0};
    buf_append(&swapped, e->text.data + middle, end - middle);
    buf_append(&swapped, e->text.data + begin, middle - begin);
    if (!swapped.failed) {
        remember_undo(e);
        replace(e, begin, end, swapped.data, swapped.len);
    }
    buf_free(&swapped);
    e->last = LAST_OTHER;
}

static void move(struct lineedit *e, size_t to)
{
    if (to == e->cursor)
        e->bell = true;
    e->cursor = to;
    e->last = LAST_OTHER;
}

/* Pasted text: terminals send newlines as CR. */
static void paste(struct lineedit *e, struct buf *text)
{
    size_t to = 0;
    for (size_t i = 0; i < text->len; i++) {
        char c = text->data[i];
        if (c == '\r') {
            if (i + 1 < text->len && text->data[i + 1] == '\n')
                continue;
            c = '\n';
        }
        text->data[to++] = c;
    }
    text->len = to;
    if (to)
        insert(e, text->data, to);
}

/* ------------------------------------------------------------------- history */

static void show_entry(struct lineedit *e, size_t index)
{
    if (e->history_at == e->history->n) {
        copy(&e->draft, e->text.data, e->text.len);
        e->draft_cursor = e->cursor;
    }
    e->history_at = index;
    if (index == e->history->n) {
        copy(&e->text, e->draft.data, e->draft.len);
        e->cursor = e->draft_cursor;
    } else {
        copy(&e->text, e->history->entries[index].text, e->history->entries[index].len);
        e->cursor = e->text.len;
    }
    forget_undo(e);
    e->last = LAST_OTHER;
}

static void older(struct lineedit *e)
{
    if (e->history && e->history_at > 0 && e->history->n > 0)
        show_entry(e, MIN(e->history_at, e->history->n) - 1);
    else
        e->bell = true;
}

static void newer(struct lineedit *e)
{
    if (e->history && e->history_at < e->history->n)
        show_entry(e, e->history_at + 1);
    else
        e->bell = true;
}

/* Column of the cursor in its line, with every tab as one. */
static size_t column(const struct lineedit *e)
{
    size_t cols = 0;
    for (size_t i = line_begin(&e->text, e->cursor); i < e->cursor; i = next_cluster(&e->text, i))
        cols += (size_t)cluster_at(e->text.data + i, e->text.len - i).cols;
    return cols;
}

/* To the line above or below at the same column; false: there is none. */
static bool vertical(struct lineedit *e, bool down)
{
    size_t begin = line_begin(&e->text, e->cursor), end = line_end(&e->text, e->cursor);
    if (down ? end == e->text.len : begin == 0)
        return false;
    if (e->last != LAST_VERTICAL)
        e->goal = column(e);
    size_t at = down ? end + 1 : line_begin(&e->text, begin - 1);
    for (size_t cols = 0; at < e->text.len && e->text.data[at] != '\n'; at = next_cluster(&e->text, at)) {
        cols += (size_t)cluster_at(e->text.data + at, e->text.len - at).cols;
        if (cols > e->goal)
            break;
    }
    e->cursor = at;
    e->last = LAST_VERTICAL;
    return true;
}

/* -------------------------------------------------------------------- search */

static void search_begin(struct lineedit *e)
{
    if (!e->history || e->history->n == 0) {
        e->bell = true;
        return;
    }
    if (e->history_at == e->history->n) {
        copy(&e->draft, e->text.data, e->text.len);
        e->draft_cursor = e->cursor;
    }
    e->query.len = 0;
    e->searching = true;
    e->search_failed = false;
    e->history_at = e->history->n;
}

static void search_show(struct lineedit *e, size_t index, size_t at)
{
    e->search_failed = index == SIZE_MAX;
    if (e->search_failed) {
        e->bell = true;
        return;
    }
    e->history_at = index;
    copy(&e->text, e->history->entries[index].text, e->history->entries[index].len);
    e->cursor = at;
}

/* Looks again after the query or the direction changed. */
static void search_older(struct lineedit *e, size_t from)
{
    if (e->query.len == 0)
        return;
    size_t at = 0, index = history_find(e->history, from, e->query.data, e->query.len, &at);
    search_show(e, index, at);
}

static void search_cancel(struct lineedit *e)
{
    e->searching = false;
    copy(&e->text, e->draft.data, e->draft.len);
    e->cursor = e->draft_cursor;
    e->history_at = e->history->n;
}

/* True: the key belonged to the search; false: the search ended, do what the key says. */
static bool search_key(struct lineedit *e, struct key key)
{
    if (key.code == KEY_CHAR && !(key.modifiers & KEY_ALT)) {
        char bytes[4];
        buf_append(&e->query, bytes, utf8_encode(key.c, bytes));
        search_older(e, e->history_at == e->history->n ? e->history->n : e->history_at + 1);
        return true;
    }
    if (key.code == KEY_PASTE) {
        for (size_t i = 0; i < e->keys.paste.len && e->keys.paste.data[i] != '\r' && e->keys.paste.data[i] != '\n'; i++)
            buf_putc(&e->query, e->keys.paste.data[i]);
        search_older(e, e->history->n);
        return true;
    }
    if (key.code == KEY_BACKSPACE && e->query.len) {
        e->query.len = cluster_before(e->query.data, e->query.len);
        e->search_failed = false;
        search_older(e, e->history->n);
        return true;
    }
    if (key.code == KEY_CTRL && key.c == 'R') {
        search_older(e, e->history_at);
        return true;
    }
    if (key.code == KEY_CTRL && key.c == 'S') {
        if (e->query.len && e->history_at < e->history->n) {
            size_t at = 0, index = history_find_newer(e->history, e->history_at, e->query.data, e->query.len, &at);
            search_show(e, index, at);
        }
        return true;
    }
    if (key.code == KEY_ESCAPE || key.code == KEY_BACKSPACE || (key.code == KEY_CTRL && (key.c == 'G' || key.c == 'C'))) {
        search_cancel(e);
        return true;
    }
    e->searching = false;
    forget_undo(e);
    e->last = LAST_OTHER;
    return false;
}

/* ---------------------------------------------------------------- completion */

void completions_add(struct completions *c, const char *item, size_t len)
{
    if (c->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 16;
        char **grown = realloc(c->items, cap * sizeof *grown);
        if (!grown)
            return;
        c->items = grown;
        c->cap = cap;
    }
    char *text = malloc(len + 1);
    if (!text)
        return;
    memcpy(text, item, len);
    text[len] = 0;
    c->items[c->n++] = text;
}

void completions_free(struct completions *c)
{
    for (size_t i = 0; i < c->n; i++)
        free(c->items[i]);
    free(c->items);
    *c = (struct completions){0};
}

/* Length of what all items begin with, not cut inside a character. */
static size_t common_length(const struct completions *c)
{
    size_t common = strlen(c->items[0]);
    for (size_t i = 1; i < c->n; i++) {
        size_t k = 0;
        while (k < common && c->items[i][k] == c->items[0][k])
            k++;
        common = k;
    }
    return utf8_complete(c->items[0], common);
}

enum {
    HINT_ITEMS = 60
};

static void complete(struct lineedit *e)
{
    struct completions c = {0};
    if (e->complete)
        e->complete(e->complete_arg, e->text.data ? e->text.data : "", e->cursor, &c);
    if (c.n == 0 || c.begin > e->cursor) {
        e->bell = true;
        completions_free(&c);
        return;
    }
    size_t common = common_length(&c), old = e->cursor - c.begin;
    bool news = common > old || (common == old && common && memcmp(c.items[0], e->text.data + c.begin, common) != 0);
    if (news) {
        remember_undo(e);
        replace(e, c.begin, e->cursor, c.items[0], common);
    } else if (c.n > 1) {
        for (size_t i = 0; i < c.n && i < HINT_ITEMS; i++) {
            if (i)
                buf_puts(&e->hint, "  ");
            const char *item = c.items[i];
            size_t len = strlen(item), begin = 0;
            while (len && item[len - 1] == ' ')
                len--;
            for (size_t k = 0; k + 1 < len; k++) /* of a path, the part that differs */
                if (item[k] == '/')
                    begin = k + 1;
            buf_append(&e->hint, item + begin, len - begin);
        }
        if (c.n > HINT_ITEMS)
            buf_printf(&e->hint, "  and %zu more", c.n - HINT_ITEMS);
    } else {
        e->bell = true;
    }
    completions_free(&c);
    e->last = LAST_TAB;
}

/* ---------------------------------------------------------------------- keys */

static enum line_action enter(struct lineedit *e, bool newline)
{
    if (newline) {
        insert(e, "\n", 1);
        return LINE_NONE;
    }
    const char *text = e->text.data ? e->text.data : "";
    if (!line_continues(text, e->text.len))
        return LINE_SUBMIT;
    if (quote_begin(text, e->text.len) == SIZE_MAX) {
        remember_undo(e);
        replace(e, e->text.len - 1, e->text.len, "\n", 1);
        e->last = LAST_OTHER;
    } else {
        insert(e, "\n", 1);
    }
    return LINE_NONE;
}

static enum line_action control_key(struct lineedit *e, uint32_t c)
{
    const struct buf *b = &e->text;
    size_t begin;
    switch (c) {
    case 'A':
        move(e, line_begin(b, e->cursor));
        break;
    case 'B':
        move(e, previous_cluster(b, e->cursor));
        break;
    case 'C':
        return LINE_INTERRUPT;
    case 'D':
        if (b->len == 0)
            return LINE_EOF;
        erase(e, e->cursor, next_cluster(b, e->cursor));
        break;
    case 'E':
        move(e, line_end(b, e->cursor));
        break;
    case 'F':
        move(e, next_cluster(b, e->cursor));
        break;
    case 'G':
        return LINE_EDITOR;
    case 'J':
        return enter(e, true);
    case 'K':
        begin = line_end(b, e->cursor);
        cut(e, e->cursor, begin > e->cursor ? begin : next_cluster(b, e->cursor));
        break;
    case 'L':
        return LINE_CLEAR;
    case 'N':
        if (!vertical(e, true))
            newer(e);
        break;
    case 'P':
        if (!vertical(e, false))
            older(e);
        break;
    case 'R':
        search_begin(e);
        break;
    case 'T':
        transpose(e);
        break;
    case 'U':
        begin = line_begin(b, e->cursor);
        cut(e, begin < e->cursor ? begin : previous_cluster(b, e->cursor), e->cursor);
        break;
    case 'W':
        cut(e, blank_word_left(b, e->cursor), e->cursor);
        break;
    case 'Y':
        yank(e);
        break;
    case 'Z':
        return LINE_SUSPEND;
    case '_':
        undo(e);
        e->last = LAST_OTHER;
        break;
    default:
        e->bell = true;
    }
    return LINE_NONE;
}

static void alt_key(struct lineedit *e, uint32_t c)
{
    switch (c) {
    case 'b':
    case 'B':
        move(e, word_left(&e->text, e->cursor));
        break;
    case 'f':
    case 'F':
        move(e, word_right(&e->text, e->cursor));
        break;
    case 'd':
    case 'D':
        cut(e, e->cursor, word_right(&e->text, e->cursor));
        break;
    case 'y':
    case 'Y':
        yank_older(e);
        break;
    case '<':
        if (e->history && e->history->n && e->history_at != 0)
            show_entry(e, 0);
        break;
    case '>':
        if (e->history && e->history_at != e->history->n)
            show_entry(e, e->history->n);
        break;
    default:
        e->bell = true;
    }
}

static enum line_action handle(struct lineedit *e, struct key key)
{
    const struct buf *b = &e->text;
    bool by_word = key.modifiers & (KEY_ALT | KEY_CONTROL);
    if (key.code == KEY_NONE || key.code == KEY_UNKNOWN)
        return LINE_NONE;
    e->hint.len = 0;
    if (e->searching && search_key(e, key))
        return LINE_NONE;
    switch (key.code) {
    case KEY_CHAR:
        if (key.modifiers & KEY_ALT)
            alt_key(e, key.c);
        else
            type(e, key.c);
        break;
    case KEY_CTRL:
        return control_key(e, key.c);
    case KEY_PASTE:
        paste(e, &e->keys.paste);
        break;
    case KEY_ENTER:
        return enter(e, key.modifiers != 0);
    case KEY_TAB:
        if (key.modifiers == 0)
            complete(e);
        break;
    case KEY_BACKSPACE:
        if (by_word)
            cut(e, word_left(b, e->cursor), e->cursor);
        else
            erase(e, previous_cluster(b, e->cursor), e->cursor);
        break;
    case KEY_DELETE:
        if (by_word)
            cut(e, e->cursor, word_right(b, e->cursor));
        else
            erase(e, e->cursor, next_cluster(b, e->cursor));
        break;
    case KEY_LEFT:
        move(e, by_word ? word_left(b, e->cursor) : previous_cluster(b, e->cursor));
        break;
    case KEY_RIGHT:
        move(e, by_word ? word_right(b, e->cursor) : next_cluster(b, e->cursor));
        break;
    case KEY_HOME:
        move(e, by_word ? 0 : line_begin(b, e->cursor));
        break;
    case KEY_END:
        move(e, by_word ? b->len : line_end(b, e->cursor));
        break;
    case KEY_UP:
        if (!vertical(e, false))
            older(e);
        break;
    case KEY_DOWN:
        if (!vertical(e, true))
            newer(e);
        break;
    case KEY_PAGE_UP:
        alt_key(e, '<');
        break;
    case KEY_PAGE_DOWN:
        alt_key(e, '>');
        break;
    default: /* Escape, Insert */
        break;
    }
    return LINE_NONE;
}

enum line_action lineedit_feed(struct lineedit *e, const char *bytes, size_t n, size_t *used)
{
    *used = 0;
    while (*used < n) {
        size_t taken;
        struct key key = keys_next(&e->keys, bytes + *used, n - *used, &taken);
        *used += taken;
        enum line_action action = handle(e, key);
        if (action != LINE_NONE)
            return action;
    }
    return LINE_NONE;
}

bool lineedit_pause(struct lineedit *e)
{
    struct key key = keys_pause(&e->keys);
    if (key.code == KEY_NONE)
        return false;
    handle(e, key); /* Escape asks for no action */
    return true;
}

void lineedit_reset(struct lineedit *e)
{
    buf_free(&e->text);
    e->cursor = 0;
    e->hint.len = 0;
    e->searching = false;
    e->draft.len = 0;
    e->history_at = e->history ? e->history->n : 0;
    e->last = LAST_OTHER;
    forget_undo(e);
}

void lineedit_set(struct lineedit *e, const char *text, size_t len)
{
    len = MIN(len, (size_t)LINEEDIT_MAX);
    remember_undo(e);
    copy(&e->text, text, len);
    e->cursor = e->text.len;
    e->last = LAST_OTHER;
}

void lineedit_free(struct lineedit *e)
{
    forget_undo(e);
    buf_free(&e->text);
    buf_free(&e->query);
    buf_free(&e->hint);
    buf_free(&e->draft);
    for (size_t i = 0; i < LINEEDIT_KILLS; i++)
        buf_free(&e->kills[i]);
    keys_free(&e->keys);
}
