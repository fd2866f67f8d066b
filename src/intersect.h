/* intersect.h: texts that satisfy several regular expressions, and limits of length, at once.
 * Layer: model. */
#ifndef SIGNUM_INTERSECT_H
#define SIGNUM_INTERSECT_H

#include "jsonexpr.h"

enum {
    INTERSECT_MAX = 4
};

/* patterns: (n <= INTERSECT_MAX) expressions over characters (regexp_parse); lengths in
 * characters, max may be EXPR_UNLIMITED. The result is as it stands in a JSON string. SG_USAGE
 * when it would be too large. */
enum sg_status intersect(struct jx *x, const uint32_t *patterns, size_t n, uint32_t min, uint32_t max, uint32_t *out, struct sg_error *err);

#endif
