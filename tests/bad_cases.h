/* bad_cases.h: reads tests/golden/bad/cases.txt, malformed files packed as pieces of a
 * good one. For the tests and for tools/bad_files.c, which writes the files out. */
#ifndef SIGNUM_BAD_CASES_H
#define SIGNUM_BAD_CASES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct bad_case {
    char name[96], outcome[8]; /* outcome: "error", "ok", "any" */
    uint8_t *data;             /* malloc'ed, exactly size bytes (at least one is allocated) */
    size_t size;
};

/* Runs over the lines up to the next case. With out NULL it only counts bytes; returns how
 * many, or SIZE_MAX when a line is wrong. *at is left at the next "case" or the end. */
static inline size_t bad_pieces(const char **at, const uint8_t *base, size_t base_size, uint8_t *out)
{
    size_t n = 0;
    while (**at && strncmp(*at, "case ", 5) != 0) {
        const char *line = *at, *end = strchr(line, '\n');
        if (!end)
            return SIZE_MAX;
        *at = end + 1;
        char *next;
        if (*line == '@') {
            size_t offset = strtoul(line + 1, &next, 10), length = strtoul(next, &next, 10);
            if (next != end || offset > base_size || length > base_size - offset)
                return SIZE_MAX;
            if (out)
                memcpy(out + n, base + offset, length);
            n += length;
        } else if (*line == '+') {
            static const char digits[] = "0123456789abcdef";
            size_t length = strspn(line + 2, digits) / 2, times = 1;
            const char *hex = line + 2;
            if (hex[2 * length] == ' ' && hex[2 * length + 1] == 'x')
                times = strtoul(hex + 2 * length + 2, NULL, 10);
            else if (hex + 2 * length != end)
                return SIZE_MAX;
            for (size_t i = 0; i < length * times && out; i++) {
                const char *two = hex + 2 * (i % length);
                out[n + i] = (uint8_t)((strchr(digits, two[0]) - digits) * 16 + (strchr(digits, two[1]) - digits));
            }
            n += length * times;
        } else if (*line != '#') {
            return SIZE_MAX;
        }
    }
    return n;
}

/* The next case of the text, *at its position in it (start: the text). False at the end, or
 * when the text is wrong: then *at is not at its end. Free data. */
static inline bool bad_next(const char **at, const uint8_t *base, size_t base_size, struct bad_case *out)
{
    if (bad_pieces(at, base, base_size, NULL) != 0 || !**at) /* only comments come before a case */
        return false;
    const char *words[2] = {*at + 5, NULL}, *end = strchr(*at, '\n');
    size_t name_length = strcspn(words[0], " "), outcome_length;
    words[1] = words[0] + name_length + 1;
    outcome_length = strcspn(words[1], " \n");
    if (!end || name_length >= sizeof out->name || outcome_length >= sizeof out->outcome)
        return false;
    *out = (struct bad_case){0};
    memcpy(out->name, words[0], name_length);
    memcpy(out->outcome, words[1], outcome_length);
    *at = end + 1;
    const char *pieces = *at;
    out->size = bad_pieces(at, base, base_size, NULL);
    if (out->size == SIZE_MAX) {
        *at = pieces;
        return false;
    }
    out->data = malloc(out->size ? out->size : 1);
    if (!out->data)
        abort();
    bad_pieces(&pieces, base, base_size, out->data);
    return true;
}

#endif
