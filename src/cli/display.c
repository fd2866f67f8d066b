#include "display.h"

#include <string.h>

#include "cells.h"
#include "unicode.h"
#include "utf8.h"

enum {
    TAB_STOP = 8,
    WIDTH_MIN = 4,
    FLOW = 24, /* with so much room a word is not made to wait; few words are longer */
};

/* ------------------------------------------------------------- line breaking */

static size_t width_of(const struct display *d) { return MAX(d->width, (size_t)WIDTH_MIN); }

static bool is_space(uint32_t c)
{
    /* Those that a line may break at: not the no-break spaces. */
    return c == ' ' || c == '\t' || c == 0x1680 || (c >= 0x2000 && c <= 0x200B && c != 0x2007) || c == 0x205F || c == 0x3000;
}

/* East Asian punctuation that must not begin a line ... */
static bool closes(uint32_t c)
{
    static const uint32_t list[] = {
        0x2019, 0x201D, 0x2026, 0x3001, 0x3002, 0x3005, 0x3009, 0x300B, 0x300D, 0x300F, 0x3011, 0x3015, 0x3017,
        0x3041, 0x3043, 0x3045, 0x3047, 0x3049, 0x3063, 0x3083, 0x3085, 0x3087, 0x308E, 0x309D, 0x309E, 0x30A1,
        0x30A3, 0x30A5, 0x30A7, 0x30A9, 0x30C3, 0x30E3, 0x30E5, 0x30E7, 0x30EE, 0x30FB, 0x30FC, 0x30FD, 0x30FE,
        0xFF01, 0xFF09, 0xFF0C, 0xFF0E, 0xFF1A, 0xFF1B, 0xFF1F, 0xFF3D, 0xFF5D, 0xFF61, 0xFF63, 0xFF64,
    };
    for (size_t i = 0; i < ARRAY_LEN(list); i++)
        if (list[i] == c)
            return true;
    return c < 0x80 && c != 0 && strchr("!),.:;?]}%\"'", (int)c) != NULL;
}

/* ... or end one. */
static bool opens(uint32_t c)
{
    static const uint32_t list[] = {0x2018, 0x201C, 0x3008, 0x300A, 0x300C, 0x300E, 0x3010, 0x3014, 0x3016, 0xFF08, 0xFF3B, 0xFF5B, 0xFF62};
    for (size_t i = 0; i < ARRAY_LEN(list); i++)
        if (list[i] == c)
            return true;
    return c < 0x80 && c != 0 && strchr("([{\"'", (int)c) != NULL;
}

/* Whether a line may break between two characters without white space: beside wide ones. */
static bool breaks_between(uint32_t before, uint32_t c)
{
    if (before == 0 || cell_width(c) == 0 || before == 0x200D || (c >= 0x1F3FB && c <= 0x1F3FF))
        return false;
    return (cell_width(before) == 2 || cell_width(c) == 2) && !closes(c) && !opens(before);
}

/* --------------------------------------------------------------------- words */

/* The cursor moves by so many columns; the terminal wraps when it must. */
static void advance(struct display *d, size_t cols)
{
    size_t width = width_of(d);
    d->col += cols;
    if (d->col > width)
        d->col = (d->col - 1) % width + 1;
}

/* A tab never leaves the row. */
static size_t tab_end(const struct display *d, size_t col) { return MAX(col, MIN((col / TAB_STOP + 1) * TAB_STOP, width_of(d) - 1)); }

/* Where the next word would begin on this row. */
static size_t word_begin(const struct display *d) { return d->spaces.len ? d->spaces_end : d->col; }

static void put_spaces(struct display *d)
{
    buf_append(&d->out, d->spaces.data, d->spaces.len);
    d->col = MIN(word_begin(d), width_of(d));
    d->spaces.len = 0;
}

static void put_newline(struct display *d)
{
    buf_putc(&d->out, '\n');
    d->col = 0;
    d->spaces.len = 0;
}

/* Shows the word that waited, on this row or on the next; the rest of it may follow. */
static void put_word(struct display *d)
{
    if (d->word.len == 0)
        return;
    if (d->col > 0 && word_begin(d) + d->word_cols > width_of(d))
        put_newline(d);
    else
        put_spaces(d);
    buf_append(&d->out, d->word.data, d->word.len);
    advance(d, d->word_cols);
    d->word.len = 0;
    d->word_cols = 0;
}

static void end_word(struct display *d)
{
    put_word(d);
    d->flowing = false;
}

/* A piece of a word: one character, perhaps as an escape. */
static void put_piece(struct display *d, const char *bytes, size_t len, size_t cols)
{
    if (!d->flowing && d->word.len == 0 && (d->verbatim || d->col == 0 || word_begin(d) + FLOW <= width_of(d))) {
        put_spaces(d);
        d->flowing = true;
    }
    if (d->flowing) {
        buf_append(&d->out, bytes, len);
        advance(d, cols);
        return;
    }
    buf_append(&d->word, bytes, len);
    d->word_cols += cols;
    if (word_begin(d) + d->word_cols > width_of(d)) { /* it will not fit, however it ends */
        put_word(d);
        d->flowing = true;
    }
}

/* ---------------------------------------------------------------- characters */

static void end_line(struct display *d)
{
    end_word(d);
    if (word_begin(d) <= width_of(d))
        put_spaces(d); /* trailing white space is part of the text */
    put_newline(d);
    bool fence = (d->line_char == '`' || d->line_char == '~') && d->line_run >= 3;
    if (fence && d->fence_run == 0) {
        d->fence_char = d->line_char;
        d->fence_run = d->line_run;
    } else if (fence && d->line_char == d->fence_char && d->line_run >= d->fence_run && !d->line_more) {
        d->fence_run = 0;
    }
    d->verbatim = d->fence_run > 0 || !d->wrap;
    d->line_char = 0;
    d->line_run = 0;
    d->line_more = false;
    d->last = 0;
}

/* Learns what kind of line this is from the characters that it begins with. */
static void note(struct display *d, uint32_t c)
{
    if (c == ' ' || c == '\t')
        return;
    if (d->line_char == 0) {
        d->line_char = c;
        d->line_run = 1;
        if (c == '|')
            d->verbatim = true; /* a row of a table */
    } else if (c == d->line_char && !d->line_more) {
        d->line_run++;
    } else {
        d->line_more = true;
    }
}

static void put_character(struct display *d, const char *bytes, size_t len, uint32_t c, bool well_formed)
{
    char escape[CELL_ESCAPE_MAX];
    if (!well_formed) {
        note(d, UTF8_REPLACEMENT);
        for (size_t i = 0; i < len; i++)
            put_piece(d, escape, cell_escape_byte(escape, (unsigned char)bytes[i]), 4);
        d->last = UTF8_REPLACEMENT;
        return;
    }
    if (c == '\n') {
        end_line(d);
        return;
    }
    note(d, c);
    if (c == '\t' || (is_space(c) && !d->verbatim)) {
        end_word(d);
        d->spaces_end = c == '\t' ? tab_end(d, word_begin(d)) : word_begin(d) + (size_t)cell_width(c);
        buf_append(&d->spaces, bytes, len);
    } else if (cell_hazard(c)) {
        size_t n = cell_escape(escape, c);
        put_piece(d, escape, n, n);
    } else {
        if (!d->verbatim && breaks_between(d->last, c))
            end_word(d);
        put_piece(d, bytes, len, (size_t)cell_width(c));
    }
    d->last = c;
}

static void put_text(struct display *d, const char *text, size_t len)
{
    struct buf joined = {0};
    if (d->partial.len) {
        buf_append(&joined, d->partial.data, d->partial.len);
        buf_append(&joined, text, len);
        if (joined.failed) {
            d->out.failed = true;
            return;
        }
        text = joined.data;
        len = joined.len;
        d->partial.len = 0;
    }
    size_t whole = utf8_complete(text, len);
    for (size_t i = 0; i < whole;) {
        uint32_t c;
        bool ok;
        size_t n = cell_decode(text + i, whole - i, &c, &ok);
        put_character(d, text + i, n, c, ok);
        i += n;
    }
    buf_append(&d->partial, text + whole, len - whole);
    buf_free(&joined);
}

/* What waits is all there is: an unfinished character is ill-formed now. */
static void flush(struct display *d)
{
    for (size_t i = 0; i < d->partial.len; i++)
        put_character(d, d->partial.data + i, 1, UTF8_REPLACEMENT, false);
    d->partial.len = 0;
    end_word(d);
    if (word_begin(d) <= width_of(d))
        put_spaces(d);
}

static void begin_text(struct display *d)
{
    d->begun = false;
    d->spaces.len = d->word.len = d->partial.len = 0;
    d->col = d->word_cols = d->fence_run = 0;
    d->flowing = false;
    d->last = 0;
    d->line_char = 0;
    d->line_run = 0;
    d->line_more = false;
    d->verbatim = !d->wrap;
}

/* --------------------------------------------------------------------- parts */

/* Erases the running count and, unless thinking is hidden, leaves the final one. */
static void end_count(struct display *d)
{
    if (d->counting)
        buf_puts(&d->out, "\r\x1B[K");
    if (d->thinking == DISPLAY_THINKING_COUNT)
        buf_printf(&d->out, d->colour ? "\x1B[2m(thought: %zu tokens)\x1B[0m\n" : "(thought: %zu tokens)\n", d->thought);
    d->counting = false;
}

/* Ends the present part so that another, or the prompt, can follow on a new line. */
static void end_part(struct display *d)
{
    if (d->part == DISPLAY_IDLE)
        return;
    if (d->part == DISPLAY_THINKING && d->thinking != DISPLAY_THINKING_SHOW)
        end_count(d);
    flush(d);
    if (d->col > 0)
        put_newline(d);
    if (d->part == DISPLAY_THINKING && d->begun && d->tty)
        buf_puts(&d->out, d->colour ? "\x1B[0m\n" : "(end of thinking)\n\n");
    d->part = DISPLAY_IDLE;
}

static void begin_part(struct display *d, enum display_part part)
{
    if (d->part == part)
        return;
    end_part(d);
    begin_text(d);
    d->part = part;
}

/* Newlines at the beginning separate parts in the model's format; a terminal needs none. */
static void skip_newlines(const struct display *d, const char **text, size_t *len)
{
    while (!d->begun && *len > 0 && **text == '\n') {
        (*text)++;
        (*len)--;
    }
}

void display_answer(struct display *d, const char *text, size_t len)
{
    if (len == 0)
        return;
    begin_part(d, DISPLAY_ANSWER);
    if (!d->tty) {
        buf_append(&d->out, text, len);
        d->col = text[len - 1] != '\n';
        return;
    }
    skip_newlines(d, &text, &len);
    d->begun |= len > 0;
    put_text(d, text, len);
}

void display_think(struct display *d, const char *text, size_t len, size_t tokens)
{
    d->thought = tokens;
    if (!d->tty)
        return;
    begin_part(d, DISPLAY_THINKING);
    if (d->thinking != DISPLAY_THINKING_SHOW) {
        if (d->codes) {
            buf_printf(&d->out, d->colour ? "\r\x1B[2mthinking: %zu tokens\x1B[0m" : "\rthinking: %zu tokens", tokens);
            d->counting = true;
        }
        return;
    }
    skip_newlines(d, &text, &len);
    if (len == 0)
        return;
    if (!d->begun)
        buf_puts(&d->out, d->colour ? "\x1B[2m" : "(thinking)\n");
    d->begun = true;
    put_text(d, text, len);
}

void display_end(struct display *d)
{
    end_part(d);
    d->thought = 0;
}

void display_pause(struct display *d)
{
    if (!d->tty || d->part == DISPLAY_IDLE)
        return;
    flush(d);
    if (d->col > 0)
        put_newline(d);
}

void display_free(struct display *d)
{
    buf_free(&d->out);
    buf_free(&d->partial);
    buf_free(&d->word);
    buf_free(&d->spaces);
}
