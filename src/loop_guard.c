#include "loop_guard.h"

#include "unicode.h"
#include "utf8.h"

static const struct {
    uint32_t base, per_period;
} limits[LOOP_KINDS] = {[LOOP_BLANK] = {256, 2}, [LOOP_DATA] = {3000, 16}, [LOOP_WORDS] = {1000, 10}};

static enum loop_kind kind_of(const char *text, size_t len)
{
    enum loop_kind kind = LOOP_BLANK;
    size_t letters = 0;
    for (size_t i = 0; i < len;) {
        uint32_t c;
        i += utf8_decode(text + i, len - i, &c);
        bool ascii_letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        letters = ascii_letter ? letters + 1 : 0;
        if (letters == 3 || (c >= 0x80 && unicode_class(c) == UNICODE_LETTER))
            return LOOP_WORDS;
        if (c > ' ')
            kind = LOOP_DATA;
    }
    return kind;
}

/* What is repeated: words if there is a word in it, blank if there is nothing else. */
static enum loop_kind cycle_kind(const struct loop_guard *g, size_t period)
{
    if (g->last[LOOP_WORDS] + period > g->n)
        return LOOP_WORDS;
    return g->last[LOOP_DATA] + period > g->n ? LOOP_DATA : LOOP_BLANK;
}

void loop_guard_start(struct loop_guard *g) { *g = (struct loop_guard){0}; }

bool loop_guard_add(struct loop_guard *g, int32_t id, const char *text, size_t len)
{
    g->ids[g->n % LOOP_HISTORY] = id;
    g->last[kind_of(text, len)] = g->n + 1;
    size_t periods = MIN(g->n, (size_t)LOOP_PERIOD_MAX);
    bool suspect = false;
    for (size_t p = 1; p <= periods; p++) {
        g->run[p] = g->ids[(g->n - p) % LOOP_HISTORY] == id ? g->run[p] + 1 : 0;
        suspect |= g->run[p] > limits[LOOP_BLANK].base;
    }
    g->n++;
    for (size_t p = 1; suspect && p <= periods; p++) {
        if (g->run[p] <= limits[LOOP_BLANK].base)
            continue;
        enum loop_kind kind = cycle_kind(g, p);
        if (g->run[p] >= limits[kind].base + limits[kind].per_period * p)
            return true;
    }
    return false;
}
