#include "vt.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "cli/cells.h"
#include "utf8.h"

static struct vt_line *line_at(struct vt *vt, size_t index)
{
    while (index >= vt->n_lines) {
        if (vt->n_lines == vt->cap) {
            vt->cap = vt->cap ? vt->cap * 2 : 64;
            vt->lines = realloc(vt->lines, vt->cap * sizeof *vt->lines);
            if (!vt->lines)
                abort();
        }
        memset(&vt->lines[vt->n_lines++], 0, sizeof *vt->lines);
    }
    return &vt->lines[index];
}

static struct vt_line *current(struct vt *vt) { return line_at(vt, vt->top + vt->row); }

void vt_open(struct vt *vt, size_t width, size_t height)
{
    *vt = (struct vt){.width = width, .height = height, .onlcr = true};
    current(vt);
}

void vt_close(struct vt *vt)
{
    free(vt->lines);
    vt->lines = NULL;
}

static void down(struct vt *vt)
{
    if (vt->row + 1 < vt->height)
        vt->row++;
    else
        vt->top++;
    current(vt);
}

static void clear(struct vt *vt, struct vt_line *line, size_t from, size_t to)
{
    /* Half of a wide character never stays. */
    if (from < VT_COLS && line->cells[from].text[0] == 1 && from > 0)
        line->cells[from - 1] = (struct vt_cell){0};
    if (to < VT_COLS && line->cells[to].text[0] == 1)
        line->cells[to] = (struct vt_cell){0};
    for (size_t i = from; i < to; i++)
        line->cells[i] = (struct vt_cell){0};
    if (to >= vt->width) {
        line->wrapped = false;
        if (from == 0 && line > vt->lines) /* as tmux does it */
            line[-1].wrapped = false;
    }
}

static void put(struct vt *vt, const char *bytes, size_t len, uint32_t c)
{
    int width = cell_width(c);
    struct vt_line *line = current(vt);
    if (width == 0 || (c >= 0x1F1E6 && c <= 0x1F1FF && vt->col > 0 && strlen(line->cells[vt->col - 1].text) == 4 &&
                       memcmp(line->cells[vt->col - 1].text, "\xF0\x9F\x87", 3) == 0)) {
        size_t at = vt->col ? vt->col - 1 : 0;
        if (vt->col && line->cells[at].text[0] == 1)
            at--;
        size_t n = strlen(line->cells[at].text);
        if (n && n + len < VT_CELL)
            memcpy(line->cells[at].text + n, bytes, len + 1);
        if (width == 0)
            return;
        if (vt->col < vt->width) { /* the second half of a flag */
            clear(vt, line, vt->col, vt->col + 1);
            strcpy(line->cells[vt->col++].text, "\1");
        }
        return;
    }
    if (vt->col + (size_t)width > vt->width) {
        line->wrapped = true;
        vt->col = 0;
        down(vt);
        line = current(vt);
        line->wrapped = false;
    }
    bool wrapped = line->wrapped;
    clear(vt, line, vt->col, vt->col + (size_t)width);
    line->wrapped = wrapped;
    memcpy(line->cells[vt->col].text, bytes, len);
    line->cells[vt->col].text[len] = 0;
    line->cells[vt->col].dim = vt->dim;
    if (width == 2)
        strcpy(line->cells[vt->col + 1].text, "\1");
    vt->col += (size_t)width;
}

static void sequence(struct vt *vt)
{
    const char *s = vt->escape;
    size_t n = vt->n_escape;
    char final = s[n - 1];
    unsigned value = 0;
    bool given = false;
    for (size_t i = 2; i + 1 < n && s[i] >= '0' && s[i] <= '9'; i++) {
        value = value * 10 + (unsigned)(s[i] - '0');
        given = true;
    }
    size_t count = given ? value : 1;
    if (s[1] == ']' && n > 8 && memcmp(s, "\x1B]52;c;", 7) == 0) {
        memcpy(vt->clipboard, s + 7, n - 8);
        vt->clipboard[n - 8] = 0;
        return;
    }
    if (s[1] != '[') {
        vt->hazards++;
        return;
    }
    if (s[2] == '?') {
        value = (unsigned)atoi(s + 3);
        if (value == 2004)
            vt->paste_mode = final == 'h';
        else if (value == 25)
            vt->cursor_hidden = final == 'l';
        else
            vt->hazards++;
        return;
    }
    size_t col = vt->col == vt->width ? vt->width - 1 : vt->col;
    switch (final) {
    case 'A':
        vt->row -= count > vt->row ? vt->row : count;
        vt->col = col;
        break;
    case 'B':
        vt->row = vt->row + count < vt->height ? vt->row + count : vt->height - 1;
        vt->col = col;
        current(vt);
        break;
    case 'C':
        vt->col = col + count < vt->width ? col + count : vt->width - 1;
        break;
    case 'H':
        vt->row = vt->col = 0;
        break;
    case 'J':
        if (given && value == 2) {
            for (size_t i = 0; i < vt->height; i++)
                clear(vt, line_at(vt, vt->top + i), 0, vt->width);
        } else {
            clear(vt, current(vt), col, vt->width);
            for (size_t i = vt->row + 1; i < vt->height && vt->top + i < vt->n_lines; i++)
                clear(vt, line_at(vt, vt->top + i), 0, vt->width);
        }
        break;
    case 'K':
        clear(vt, current(vt), col, vt->width);
        break;
    case 'm':
        if (n == 3 || (given && value == 0))
            vt->dim = false;
        else if (value == 2)
            vt->dim = true;
        else if (value != 1 && value != 22)
            vt->hazards++;
        break;
    default:
        vt->hazards++;
    }
}

static void control(struct vt *vt, char c)
{
    switch (c) {
    case '\n':
        if (vt->onlcr)
            vt->col = 0;
        down(vt);
        break;
    case '\r':
        vt->col = 0;
        break;
    case '\b':
        vt->col -= vt->col > 0;
        break;
    case '\t':
        vt->col = (vt->col / 8 + 1) * 8;
        if (vt->col >= vt->width)
            vt->col = vt->width - 1;
        break;
    case 7:
        vt->bells++;
        break;
    case 0x1B:
        vt->escape[0] = c;
        vt->n_escape = 1;
        break;
    default:
        vt->hazards++;
    }
}

void vt_write(struct vt *vt, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = bytes[i];
        if (vt->n_escape > 0) {
            if (vt->n_escape < sizeof vt->escape - 1)
                vt->escape[vt->n_escape++] = c;
            vt->escape[vt->n_escape] = 0;
            bool osc = vt->escape[1] == ']';
            if (vt->n_escape == 2 ? c != '[' && !osc : osc ? c == 7 : (c >= 0x40 && c < 0x7F)) {
                sequence(vt);
                vt->n_escape = 0;
            }
        } else if ((unsigned char)c < 0x20 || c == 0x7F) {
            control(vt, c);
        } else {
            vt->partial[vt->n_partial++] = c;
            if (utf8_complete(vt->partial, vt->n_partial) < vt->n_partial)
                continue;
            uint32_t code;
            size_t n = utf8_decode(vt->partial, vt->n_partial, &code);
            vt->hazards += code == UTF8_REPLACEMENT && n != 3;
            vt->hazards += cell_hazard(code);
            vt->partial[n] = 0;
            put(vt, vt->partial, n, code);
            if (n < vt->n_partial)
                i--; /* the last byte belongs to what follows */
            vt->n_partial = 0;
        }
    }
}

static void append_cells(struct buf *out, const struct vt_line *line, size_t width, bool trim)
{
    size_t end = width;
    while (trim && end > 0 && line->cells[end - 1].text[0] == 0)
        end--;
    for (size_t i = 0; i < end; i++) {
        const char *t = line->cells[i].text;
        if (t[0] == 0)
            buf_putc(out, ' ');
        else if (t[0] != 1)
            buf_puts(out, t);
    }
}

static char *finish(struct buf *b)
{
    buf_putc(b, 0);
    if (b->failed)
        abort();
    return b->data;
}

static void trim(struct buf *b)
{
    while (b->len > 0 && (b->data[b->len - 1] == ' ' || b->data[b->len - 1] == '\n'))
        b->len--;
}

char *vt_line_text(const struct vt *vt, size_t line)
{
    struct buf b = {0};
    if (line < vt->n_lines)
        append_cells(&b, &vt->lines[line], vt->width, true);
    trim(&b);
    return finish(&b);
}

char *vt_text(const struct vt *vt, bool join)
{
    struct buf b = {0};
    for (size_t i = 0; i < vt->n_lines; i++) {
        bool goes_on = join && vt->lines[i].wrapped;
        size_t end = vt->width;
        /* The cell that a wide character left free at the end is no text. */
        bool gap = goes_on && vt->lines[i].cells[end - 1].text[0] == 0 && i + 1 < vt->n_lines && vt->lines[i + 1].cells[1].text[0] == 1;
        append_cells(&b, &vt->lines[i], end - gap, !goes_on);
        if (!goes_on) {
            while (b.len && b.data[b.len - 1] == ' ')
                b.len--;
            buf_putc(&b, '\n');
        }
    }
    trim(&b);
    return finish(&b);
}

size_t vt_cursor_line(const struct vt *vt) { return vt->top + vt->row; }

void vt_resize(struct vt *vt, size_t width, size_t height)
{
    struct vt old = *vt;
    size_t cursor = vt_cursor_line(&old), new_cursor = 0, new_col = 0, bottom = 0;
    vt->lines = NULL;
    vt->n_lines = vt->cap = 0;
    vt->width = width;
    vt->height = height;
    size_t at = 0, col = 0;
    line_at(vt, 0);
    for (size_t i = 0; i < old.n_lines; i++) {
        size_t end = old.width;
        while (end > 0 && old.lines[i].cells[end - 1].text[0] == 0)
            end--;
        size_t keep = i == cursor && old.col > end ? old.col : end; /* the cursor holds its place */
        for (size_t k = 0; k < keep; k++) {
            bool wide = k + 1 < old.width && old.lines[i].cells[k + 1].text[0] == 1;
            if (old.lines[i].cells[k].text[0] == 1)
                continue;
            if (col + 1 + wide > width) {
                line_at(vt, at)->wrapped = true;
                line_at(vt, ++at);
                col = 0;
            }
            if (i == cursor && k == old.col) {
                new_cursor = at;
                new_col = col;
            }
            line_at(vt, at)->cells[col++] = old.lines[i].cells[k];
            if (wide)
                line_at(vt, at)->cells[col++] = old.lines[i].cells[k + 1];
        }
        if (i == cursor && old.col >= keep) {
            if (col >= width && old.col < old.width) {
                line_at(vt, at)->wrapped = true;
                line_at(vt, ++at);
                col = 0;
            }
            new_cursor = at;
            new_col = col;
        }
        if (i <= cursor || end > 0)
            bottom = at;
        if (!old.lines[i].wrapped && i + 1 < old.n_lines) {
            line_at(vt, ++at);
            col = 0;
        }
    }
    vt->top = bottom + 1 > height ? bottom + 1 - height : 0;
    if (new_cursor < vt->top)
        vt->top = new_cursor;
    if (new_cursor >= vt->top + height)
        vt->top = new_cursor - height + 1;
    vt->row = new_cursor - vt->top;
    vt->col = new_col;
    if (vt->top + height < vt->n_lines)
        vt->n_lines = vt->top + height;
    free(old.lines);
}
