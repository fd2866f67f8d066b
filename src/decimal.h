/* decimal.h: numbers between limits as expressions, exact in decimal. Layer: model. */
#ifndef SIGNUM_DECIMAL_H
#define SIGNUM_DECIMAL_H

#include "jsonexpr.h"

enum {
    DECIMAL_DIGITS = 40
};

/* digits[0..n_whole) before the point, without leading zeros, then n_fraction after it,
 * without trailing zeros. Zero has no digits and is not negative. */
struct decimal {
    bool negative;
    uint8_t digits[2 * DECIMAL_DIGITS];
    size_t n_whole, n_fraction;
};

/* Reads a JSON number; false: more than DECIMAL_DIGITS digits on one side of the point. */
bool decimal_parse(struct decimal *d, const char *text, size_t len);
int decimal_compare(const struct decimal *a, const struct decimal *b);                    /* -1, 0, 1 */
bool decimal_is_multiple(const struct decimal *d, const struct decimal *of, bool *known); /* known: false if out of range */

struct limits {
    bool integer;
    bool has_min, has_max, min_excluded, max_excluded, has_multiple;
    struct decimal min, max, multiple;
};

/* Whether min is above max. */
bool decimal_impossible(const struct limits *l);

/* The numbers within limits, without exponents: integers of up to JX_INT_DIGITS digits,
 * others of up to JX_DIGITS. SG_USAGE when `multiple` can not be kept. */
enum sg_status decimal_expr(struct jx *x, const struct limits *l, uint32_t *out, struct sg_error *err);

#endif
