#include "cells.h"

#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "unicode.h"
#include "utf8.h"

static bool is_regional_indicator(uint32_t c) { return c >= 0x1F1E6 && c <= 0x1F1FF; }
static bool is_skin_tone(uint32_t c) { return c >= 0x1F3FB && c <= 0x1F3FF; }

enum {
    ZERO_WIDTH_JOINER = 0x200D
};

int cell_width(uint32_t c) { return is_regional_indicator(c) ? 1 : unicode_width(c); }

bool cell_hazard(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x061C || /* Arabic letter mark */
           (c >= 0x2028 && c <= 0x202E) ||                       /* separators, embeddings, overrides */
           (c >= 0x2060 && c <= 0x206F) ||                       /* invisible operators, isolates, deprecated formats */
           c == 0xFEFF ||                                        /* byte order mark */
           (c >= 0xFFF9 && c <= 0xFFFB) ||                       /* interlinear annotation */
           (c >= 0xE0000 && c <= 0xE00FF);                       /* tags: invisible ASCII */
}

size_t cell_escape(char out[CELL_ESCAPE_MAX], uint32_t c)
{
    const char *format = c < 0x80 ? "\\x%02X" : c < 0x10000 ? "\\u%04X" : "\\U%08X";
    return (size_t)snprintf(out, CELL_ESCAPE_MAX, format, (unsigned)c);
}

size_t cell_escape_byte(char out[CELL_ESCAPE_MAX], unsigned char byte) { return (size_t)snprintf(out, CELL_ESCAPE_MAX, "\\x%02X", byte); }

size_t cell_decode(const char *text, size_t len, uint32_t *c, bool *well_formed)
{
    size_t n = utf8_decode(text, len, c);
    *well_formed = *c != UTF8_REPLACEMENT || (n == 3 && memcmp(text, "\xEF\xBF\xBD", 3) == 0);
    return n;
}

/* Code points that only alter the one before and that terminals disagree about. */
static bool is_modifier(uint32_t c)
{
    return c == ZERO_WIDTH_JOINER || (c >= 0xFE00 && c <= 0xFE0F) || (c >= 0xE0100 && c <= 0xE01EF) || is_skin_tone(c);
}

/* A lone code point: hazard, mark without a base, or what is shown as it is. */
static int lone_columns(uint32_t c, size_t n, bool ok)
{
    char escape[CELL_ESCAPE_MAX];
    if (!ok)
        return 4 * (int)n;
    if (cell_hazard(c) || cell_width(c) == 0)
        return (int)cell_escape(escape, c);
    return cell_width(c);
}

struct cluster cluster_at(const char *text, size_t len)
{
    uint32_t c, next;
    bool ok;
    struct cluster cluster = {cell_decode(text, len, &c, &ok), 0};
    cluster.cols = lone_columns(c, cluster.len, ok);
    if (!ok || cell_hazard(c) || cell_width(c) == 0)
        return cluster;
    bool flag = is_regional_indicator(c), wide = cluster.cols == 2, joined = false;
    while (cluster.len < len) {
        size_t n = cell_decode(text + cluster.len, len - cluster.len, &next, &ok);
        if (!ok || cell_hazard(next))
            break;
        if (flag && is_regional_indicator(next)) {
            cluster.cols = 2;
            flag = false;
        } else if (cell_width(next) != 0 && !(wide && ((joined && next > 0x2000) || is_skin_tone(next)))) {
            break;
        }
        joined = next == ZERO_WIDTH_JOINER;
        cluster.len += n;
    }
    return cluster;
}

void cluster_put(struct buf *out, const char *text, struct cluster cluster)
{
    char escape[CELL_ESCAPE_MAX];
    uint32_t c;
    bool ok;
    size_t n = cell_decode(text, cluster.len, &c, &ok);
    if (!ok) {
        for (size_t i = 0; i < n; i++)
            buf_append(out, escape, cell_escape_byte(escape, (unsigned char)text[i]));
        return;
    }
    if (cell_hazard(c) || cell_width(c) == 0) {
        buf_append(out, escape, cell_escape(escape, c));
        return;
    }
    bool flag = is_regional_indicator(c);
    buf_append(out, text, n);
    for (size_t i = n; i < cluster.len; i += n) {
        n = cell_decode(text + i, cluster.len - i, &c, &ok);
        if ((cell_width(c) == 0 && !is_modifier(c)) || (flag && is_regional_indicator(c)))
            buf_append(out, text + i, n);
    }
}

size_t cluster_before(const char *text, size_t at)
{
    if (at == 0)
        return 0;
    /* Clusters can only be found forwards, from a place where one surely begins: a line. */
    size_t begin = at - 1;
    while (begin > 0 && text[begin - 1] != '\n')
        begin--;
    for (;;) {
        size_t n = cluster_at(text + begin, at - begin).len;
        if (begin + n >= at)
            return begin;
        begin += n;
    }
}

/* Appends one code point as it may be shown; returns its columns. out may be NULL. */
static int show(struct buf *out, const char *text, size_t n, uint32_t c, bool ok)
{
    char escape[CELL_ESCAPE_MAX];
    if (ok && !cell_hazard(c)) {
        if (out)
            buf_append(out, text, n);
        return cell_width(c);
    }
    int cols = 0;
    if (ok) {
        cols = (int)cell_escape(escape, c);
        if (out)
            buf_append(out, escape, (size_t)cols);
        return cols;
    }
    for (size_t i = 0; i < n; i++) {
        size_t e = cell_escape_byte(escape, (unsigned char)text[i]);
        if (out)
            buf_append(out, escape, e);
        cols += (int)e;
    }
    return cols;
}

void cells_put_escaped(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint32_t c;
        bool ok;
        size_t n = cell_decode(text + i, len - i, &c, &ok);
        show(out, text + i, n, c, ok);
        i += n;
    }
}

size_t cells_width(const char *text, size_t len)
{
    size_t cols = 0;
    for (size_t i = 0; i < len;) {
        uint32_t c;
        bool ok;
        size_t n = cell_decode(text + i, len - i, &c, &ok);
        cols += (size_t)show(NULL, text + i, n, c, ok);
        i += n;
    }
    return cols;
}
