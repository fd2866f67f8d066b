/* pretokenize.c: this expression, by hand (alternatives in order, each greedy):
 *
 *   (?i:'s|'t|'re|'ve|'m|'ll|'d)      contraction
 *   [^\r\n\p{L}\p{N}]?\p{L}+          letters, with at most one other character before them
 *   \p{N}                             a single digit
 *    ?[^\s\p{L}\p{N}]+[\r\n]*         symbols, with a space before and line ends behind them
 *   \s*[\r\n]+                        white space up to its last line end
 *   \s+(?!\S)                         white space, but for the last when something follows
 *   \s+
 */
#include "pretokenize.h"

#include "unicode.h"
#include "utf8.h"

struct character {
    uint32_t c;
    enum unicode_class class;
    size_t len; /* 0: the text is over */
};

static struct character character_at(const char *text, size_t len, size_t i)
{
    struct character ch = {0};
    if (i >= len)
        return ch;
    ch.c = (unsigned char)text[i];
    if (ch.c >= 0x80) {
        ch.len = utf8_decode(text + i, len - i, &ch.c);
        ch.class = unicode_class(ch.c);
        return ch;
    }
    ch.len = 1;
    if ((ch.c | 0x20) - 'a' < 26)
        ch.class = UNICODE_LETTER;
    else if (ch.c - '0' < 10)
        ch.class = UNICODE_NUMBER;
    else if (ch.c == ' ' || ch.c - '\t' < 5)
        ch.class = UNICODE_SPACE;
    return ch;
}

static bool is_line_end(uint32_t c) { return c == '\r' || c == '\n'; }

static bool is_symbol(struct character ch) { return ch.len > 0 && (ch.class == UNICODE_OTHER || ch.class == UNICODE_MARK); }

static size_t contraction(const char *text, size_t len)
{
    if (text[0] != '\'' || len < 2)
        return 0;
    char a = (char)(text[1] | 0x20), b = len > 2 ? (char)(text[2] | 0x20) : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
        return 3;
    /* Without regard to case, the long s is an s too. */
    return len > 2 && (unsigned char)text[1] == 0xC5 && (unsigned char)text[2] == 0xBF ? 3 : 0;
}

static size_t white_space(const char *text, size_t len)
{
    size_t i = 0, last = 0, after_line_end = 0;
    for (;;) {
        struct character ch = character_at(text, len, i);
        if (ch.len == 0 || ch.class != UNICODE_SPACE)
            break;
        last = i;
        i += ch.len;
        if (is_line_end(ch.c))
            after_line_end = i;
    }
    if (after_line_end > 0)
        return after_line_end;
    return i < len && last > 0 ? last : i;
}

size_t pretokenize(const char *text, size_t len)
{
    size_t i = contraction(text, len);
    if (i > 0)
        return i;

    struct character first = character_at(text, len, 0), next = character_at(text, len, first.len);
    bool may_lead = first.class != UNICODE_NUMBER && !is_line_end(first.c);
    if (first.class == UNICODE_LETTER || (may_lead && next.class == UNICODE_LETTER)) {
        i = first.len;
        while (next.class == UNICODE_LETTER) {
            i += next.len;
            next = character_at(text, len, i);
        }
        return i;
    }
    if (first.class == UNICODE_NUMBER)
        return first.len;
    if (is_symbol(first) || (first.c == ' ' && is_symbol(next))) {
        for (i = first.len; is_symbol(next); next = character_at(text, len, i))
            i += next.len;
        while (i < len && is_line_end((unsigned char)text[i]))
            i++;
        return i;
    }
    return white_space(text, len);
}
