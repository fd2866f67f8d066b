/* stop.h: watches text for stop strings, byte by byte. Layer: model. */
#ifndef SIGNUM_STOP_H
#define SIGNUM_STOP_H

#include "error.h"

struct stop_string {
    char *text;
    size_t len;
    size_t *border; /* (len) border[i]: longest proper prefix that also ends text[0..i] */
    size_t matched; /* how many of its bytes the text ends with */
};

struct stop_set {
    struct stop_string *strings;
    size_t n;
};

/* Copies the strings; empty ones are left out, what is not UTF-8 becomes U+FFFD, as in the text.
 * stop_close is safe after failure and on a zeroed struct. */
enum sg_status stop_open(struct stop_set *s, const struct sg_str *strings, size_t n, struct sg_error *err);
void stop_close(struct stop_set *s);

/* Takes the next byte. The string that it completes, the longest if several; else NULL. */
const struct stop_string *stop_feed(struct stop_set *s, char c);

/* How many bytes at the end of the text may be the beginning of a stop string. */
size_t stop_held(const struct stop_set *s);

/* The longest string. */
size_t stop_longest(const struct stop_set *s);

#endif
