#include "loop_guard.h"

#include "unicode.h"
#include "utf8.h"

enum kind { BLANK, DATA, WORDS, KINDS };

static const struct {
    uint32_t base, per_period;
} limits[KINDS] = {[BLANK] = {256, 2}, [DATA] = {3000, 16}, [WORDS] = {1000, 10}};

static enum kind kind_of(const char *text, size_t len)
{
    enum kind kind = BLANK;
    size_t letters = 0;
    for (size_t i = 0; i < len;) {
        uint32_t c;
        i += utf8_decode(text + i, len - i, &c);
        bool ascii_letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        letters = ascii_letter ? letters + 1 : 0;
        if (letters == 3 || (c >= 0x80 && unicode_class(c) == UNICODE_LETTER))
            return WORDS;
        if (c > ' ')
            kind = DATA;
    }
    return kind;
}

/* What is repeated: words if there is a word in it, blank if there is nothing else. */
static enum kind cycle_kind(const struct loop_guard *g, size_t period)
{
    enum kind kind = BLANK;
    for (size_t i = 1; i <= period; i++)
        kind = MAX(kind, (enum kind)g->kinds[(g->n - i) % LOOP_HISTORY]);
    return kind;
}

void loop_guard_start(struct loop_guard *g) { *g = (struct loop_guard){0}; }

bool loop_guard_add(struct loop_guard *g, int32_t id, const char *text, size_t len)
{
    g->ids[g->n % LOOP_HISTORY] = id;
    g->kinds[g->n % LOOP_HISTORY] = (uint8_t)kind_of(text, len);
    size_t periods = MIN(g->n, (size_t)LOOP_PERIOD_MAX);
    bool suspect = false;
    for (size_t p = 1; p <= periods; p++) {
        g->run[p] = g->ids[(g->n - p) % LOOP_HISTORY] == id ? g->run[p] + 1 : 0;
        suspect |= g->run[p] > limits[BLANK].base;
    }
    g->n++;
    for (size_t p = 1; suspect && p <= periods; p++) {
        if (g->run[p] <= limits[BLANK].base)
            continue;
        enum kind kind = cycle_kind(g, p);
        if (g->run[p] >= limits[kind].base + limits[kind].per_period * p)
            return true;
    }
    return false;
}
