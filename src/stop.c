#include "stop.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"

/* The table of Knuth, Morris and Pratt: where to go on after a byte that does not fit. */
static void find_borders(struct stop_string *s)
{
    size_t k = 0;
    s->border[0] = 0;
    for (size_t i = 1; i < s->len; i++) {
        while (k > 0 && s->text[k] != s->text[i])
            k = s->border[k - 1];
        k += s->text[k] == s->text[i];
        s->border[i] = k;
    }
}

enum sg_status stop_open(struct stop_set *s, const struct sg_str *strings, size_t n, struct sg_error *err)
{
    *s = (struct stop_set){.strings = calloc(n + 1, sizeof *s->strings)};
    if (!s->strings)
        return fail_memory(err, (n + 1) * sizeof *s->strings, "stop strings");
    for (size_t i = 0; i < n; i++) {
        struct stop_string *one = &s->strings[s->n];
        struct buf text = {0};
        size_t bytes;
        if (strings[i].len == 0)
            continue;
        buf_append_utf8(&text, strings[i].data, strings[i].len);
        *one = (struct stop_string){.text = text.data, .len = text.len};
        s->n++; /* now stop_close frees the text */
        if (text.failed || !mul_size(text.len, sizeof *one->border, &bytes) || !(one->border = malloc(bytes)))
            return fail_memory(err, strings[i].len, "stop strings");
        find_borders(one);
    }
    return SG_OK;
}

void stop_close(struct stop_set *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->strings[i].text);
        free(s->strings[i].border);
    }
    free(s->strings);
    *s = (struct stop_set){0};
}

const struct stop_string *stop_feed(struct stop_set *s, char c)
{
    const struct stop_string *found = NULL;
    for (size_t i = 0; i < s->n; i++) {
        struct stop_string *one = &s->strings[i];
        size_t k = one->matched;
        while (k > 0 && (k == one->len || one->text[k] != c))
            k = one->border[k - 1];
        k += one->text[k] == c;
        one->matched = k;
        if (k == one->len && (!found || k > found->len))
            found = one;
    }
    return found;
}

size_t stop_held(const struct stop_set *s)
{
    size_t held = 0;
    for (size_t i = 0; i < s->n; i++)
        held = MAX(held, s->strings[i].matched);
    return held;
}

size_t stop_longest(const struct stop_set *s)
{
    size_t longest = 0;
    for (size_t i = 0; i < s->n; i++)
        longest = MAX(longest, s->strings[i].len);
    return longest;
}
