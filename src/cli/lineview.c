#include "lineview.h"

#include <stdlib.h>
#include <string.h>

#include "cells.h"
#include "utf8.h"

enum {
    TAB_STOP = 8,
    WIDTH_MIN = 2
};

/* -------------------------------------------------------------------- layout */

static struct view_row *last_row(struct layout *l) { return &l->rows[l->n_rows - 1]; }

static bool add_row(struct layout *l)
{
    if (l->n_rows == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 16;
        struct view_row *grown = realloc(l->rows, cap * sizeof *grown);
        if (!grown)
            return false;
        l->rows = grown;
        l->cap = cap;
    }
    l->rows[l->n_rows++] = (struct view_row){.begin = l->bytes.len};
    return true;
}

/* Goes to the next row when so many columns have no room in this one. */
static bool make_room(struct layout *l, size_t cols, bool flag, size_t width)
{
    if (last_row(l)->cols + cols <= width)
        return true;
    if (flag && last_row(l)->cols < width) {
        /* Half of it would fit, and terminals differ in what they then do. */
        buf_putc(&l->bytes, ' ');
        last_row(l)->len++;
        last_row(l)->cols++;
    }
    last_row(l)->wraps = true;
    return add_row(l);
}

static bool is_flag(const char *text, size_t len, size_t cols)
{
    uint32_t first;
    utf8_decode(text, len, &first);
    return cols == 2 && cell_width(first) == 1;
}

/* Places something of so many columns that can not be divided. */
static bool put(struct layout *l, const char *bytes, size_t len, size_t cols, size_t width)
{
    if (!make_room(l, cols, is_flag(bytes, len, cols), width))
        return false;
    buf_append(&l->bytes, bytes, len);
    last_row(l)->len += len;
    last_row(l)->cols += cols;
    return true;
}

/* Places text that may be divided anywhere: prompts, escapes, hints. */
static bool put_each(struct layout *l, const char *text, size_t len, size_t width)
{
    struct buf shown = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < len;) {
        struct cluster c = cluster_at(text + i, len - i);
        shown.len = 0;
        cluster_put(&shown, text + i, c);
        ok = !shown.failed && (c.cols > 2 ? put_each(l, shown.data, shown.len, width) /* a lone mark, escaped */
                                          : put(l, shown.data, shown.len, (size_t)c.cols, width));
        i += c.len;
    }
    buf_free(&shown);
    return ok;
}

/* A full row wraps only when something follows; the cursor, and hints, must know where. */
static bool settle(struct layout *l, size_t width)
{
    if (last_row(l)->cols < width)
        return true;
    last_row(l)->wraps = true;
    return add_row(l);
}

static bool put_text(struct layout *l, const struct lineedit *e, const char *more, size_t width)
{
    const struct buf *t = &e->text;
    struct buf shown = {0};
    bool ok = true, placed = false;
    for (size_t i = 0; ok && i < t->len;) {
        struct cluster c = cluster_at(t->data + i, t->len - i);
        bool divisible = c.cols > 2; /* an escape */
        if (t->data[i] == '\t')
            ok = settle(l, width);
        if (ok && !placed && i + c.len > e->cursor) {
            /* The cursor stands on the cluster, so in the row where that begins. */
            size_t cols = divisible ? 1 : (size_t)c.cols;
            ok = make_room(l, cols, is_flag(t->data + i, c.len, cols), width);
            l->cursor_row = l->n_rows - 1;
            l->cursor_col = last_row(l)->cols;
            placed = true;
        }
        if (!ok)
            break;
        if (t->data[i] == '\n') {
            ok = add_row(l) && put_each(l, more, strlen(more), width);
        } else if (t->data[i] == '\t') {
            size_t n = TAB_STOP - last_row(l)->cols % TAB_STOP;
            while (ok && n--)
                ok = put(l, " ", 1, 1, width);
        } else {
            shown.len = 0;
            cluster_put(&shown, t->data + i, c);
            ok = !shown.failed &&
                 (divisible ? put_each(l, shown.data, shown.len, width) : put(l, shown.data, shown.len, (size_t)c.cols, width));
        }
        i += c.len;
    }
    ok = ok && settle(l, width);
    if (!placed) {
        l->cursor_row = l->n_rows - 1;
        l->cursor_col = last_row(l)->cols;
    }
    buf_free(&shown);
    return ok;
}

bool layout_make(struct layout *l, const struct lineedit *e, const struct prompt *prompt, size_t width)
{
    width = MAX(width, (size_t)WIDTH_MIN);
    l->bytes.len = 0;
    l->n_rows = 0;
    struct buf first = {0};
    if (e->searching) {
        buf_puts(&first, e->search_failed ? "(no match: " : "(search: ");
        cells_put_escaped(&first, e->query.data, e->query.len);
        buf_puts(&first, ") ");
    } else {
        buf_puts(&first, prompt->first);
    }
    bool ok = !first.failed && add_row(l) && put_each(l, first.data, first.len, width) && put_text(l, e, prompt->more, width);
    if (ok && e->hint.len) {
        struct buf hint = {0};
        cells_put_escaped(&hint, e->hint.data, e->hint.len);
        ok = !hint.failed && add_row(l) && put_each(l, hint.data, hint.len, width) && settle(l, width);
        buf_free(&hint);
    }
    buf_free(&first);
    return ok && !l->bytes.failed;
}

void layout_free(struct layout *l)
{
    buf_free(&l->bytes);
    free(l->rows);
    *l = (struct layout){0};
}

/* ------------------------------------------------------------------ painting */

static bool same_row(const struct layout *a, size_t i, const struct layout *b, size_t k)
{
    const struct view_row *x = &a->rows[i], *y = &b->rows[k];
    return x->len == y->len && x->wraps == y->wraps && memcmp(a->bytes.data + x->begin, b->bytes.data + y->begin, x->len) == 0;
}

static void move_rows(struct buf *out, size_t from, size_t to)
{
    if (to < from)
        buf_printf(out, "\x1B[%zuA", from - to);
    else if (to > from)
        buf_printf(out, "\x1B[%zuB", to - from);
}

/* Writes the rows [from, end) of a layout; the cursor is at the beginning of the first. A
 * terminal marks a row as wrapped when something is written after its last cell, and may
 * forget the mark when the row below is cleared from its first cell: so nothing is ever
 * cleared from there. */
static void write_rows(struct buf *out, const struct layout *l, size_t from, size_t end, size_t width)
{
    for (size_t i = from; i < end; i++) {
        const struct view_row *row = &l->rows[i];
        if (row->len)
            buf_append(out, l->bytes.data + row->begin, row->len);
        else
            buf_putc(out, ' '); /* below a full row: it exists once something is written there */
        /* Not in a full row: there the cursor still stands on the last cell. */
        if (row->cols < width)
            buf_puts(out, "\x1B[K");
        if (i + 1 < end && !row->wraps)
            buf_puts(out, "\r\n");
    }
}

/* First layout row on the screen: as before if the cursor is then visible. */
static size_t choose_top(const struct layout *l, size_t top, size_t height)
{
    if (l->n_rows <= height)
        return 0;
    if (l->cursor_row < top)
        top = l->cursor_row;
    if (l->cursor_row >= top + height)
        top = l->cursor_row - height + 1;
    return MIN(top, l->n_rows - height);
}

static void remember(struct lineview *v, size_t top, size_t n_rows)
{
    struct layout shown = v->shown;
    v->shown = v->next;
    v->next = shown;
    v->top = top;
    v->n_rows = n_rows;
    v->cursor_row = v->shown.cursor_row - top;
}

/* Draws v->next. `same`: rows of the screen that are already right. */
static void draw(struct lineview *v, size_t same, size_t top, size_t width, size_t height, struct buf *out)
{
    const struct layout *l = &v->next;
    size_t n_rows = MIN(l->n_rows, height), at = v->cursor_row;
    if (same < n_rows || v->n_rows > n_rows) {
        size_t from = MIN(same, n_rows - 1);
        while (from > 0 && l->rows[top + from - 1].wraps)
            from--;                               /* a line is written from its beginning, or it would not be one for the terminal */
        if (v->n_rows > 0 && from >= v->n_rows) { /* below all that is there */
            move_rows(out, at, v->n_rows - 1);
            buf_puts(out, "\r\n");
        } else {
            move_rows(out, at, from);
            buf_puts(out, "\r");
        }
        write_rows(out, l, top + from, top + n_rows, width);
        if (l->rows[top + n_rows - 1].cols < width)
            buf_puts(out, "\x1B[J");
        at = n_rows - 1;
    }
    move_rows(out, at, l->cursor_row - top);
    buf_puts(out, "\r");
    if (l->cursor_col)
        buf_printf(out, "\x1B[%zuC", l->cursor_col);
    remember(v, top, n_rows);
}

void lineview_show(struct lineview *v, const struct lineedit *e, const struct prompt *prompt, size_t width, size_t height, struct buf *out)
{
    width = MAX(width, (size_t)WIDTH_MIN);
    height = MAX(height, (size_t)1);
    if (!layout_make(&v->next, e, prompt, width))
        return;
    size_t top = choose_top(&v->next, v->top, height), same = 0;
    if (top == v->top)
        while (same < v->n_rows && top + same < v->next.n_rows && same_row(&v->shown, top + same, &v->next, top + same))
            same++;
    draw(v, same, top, width, height, out);
}

void lineview_resize(struct lineview *v, const struct lineedit *e, const struct prompt *prompt, size_t width, size_t height,
                     struct buf *out)
{
    width = MAX(width, (size_t)WIDTH_MIN);
    height = MAX(height, (size_t)1);
    if (v->n_rows == 0 || !layout_make(&v->next, e, prompt, width))
        return;
    /* Where the cursor is now, if the terminal rewrapped the rows as we do. */
    size_t top = choose_top(&v->next, 0, height);
    v->cursor_row = v->next.cursor_row - top;
    v->n_rows = MIN(v->next.n_rows, height);
    draw(v, 0, top, width, height, out);
}

void lineview_leave(struct lineview *v, struct buf *out)
{
    if (v->n_rows > 0)
        move_rows(out, v->cursor_row, v->n_rows - 1);
    buf_puts(out, "\r\n");
    lineview_forget(v);
}

void lineview_forget(struct lineview *v)
{
    v->n_rows = 0;
    v->cursor_row = 0;
    v->top = 0;
}

void lineview_free(struct lineview *v)
{
    layout_free(&v->shown);
    layout_free(&v->next);
    *v = (struct lineview){0};
}
