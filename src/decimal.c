#include "decimal.h"

#include <string.h>

enum {
    MAX_MODULUS = 1000
};

bool decimal_parse(struct decimal *d, const char *text, size_t len)
{
    uint8_t digits[4 * DECIMAL_DIGITS] = {0};
    size_t n = 0, i = 0;
    long point = 0, exponent = 0; /* of digits: where the point is */
    bool fraction = false, down = false;
    *d = (struct decimal){0};
    if (i < len && text[i] == '-')
        i++;
    for (; i < len && text[i] != 'e' && text[i] != 'E'; i++) {
        if (text[i] == '.') {
            fraction = true;
            continue;
        }
        if (n == 0 && text[i] == '0') { /* leading zero */
            point -= fraction;
            continue;
        }
        if (n < sizeof digits)
            digits[n] = (uint8_t)(text[i] - '0');
        else if (text[i] != '0')
            return false;
        n++;
        point += !fraction;
    }
    if (i < len)
        i++;
    if (i < len && (text[i] == '+' || text[i] == '-'))
        down = text[i++] == '-';
    for (; i < len && exponent < 100000; i++)
        exponent = exponent * 10 + (text[i] - '0');
    n = MIN(n, sizeof digits);
    while (n > 0 && digits[n - 1] == 0)
        n--;
    if (n == 0)
        return true;
    point += down ? -exponent : exponent;
    if (point > DECIMAL_DIGITS || (long)n - point > DECIMAL_DIGITS)
        return false;
    d->negative = text[0] == '-';
    d->n_whole = point > 0 ? (size_t)point : 0;
    d->n_fraction = (long)n > point ? (size_t)((long)n - point) : 0;
    size_t skip = point < 0 ? (size_t)-point : 0; /* zeros after the point */
    for (i = 0; i < n; i++)
        d->digits[skip + i] = digits[i];
    return true;
}

static uint8_t digit_at(const struct decimal *d, long place) /* 0: the first after the point, -1: the ones */
{
    long i = (long)d->n_whole + place;
    return i >= 0 && i < (long)(d->n_whole + d->n_fraction) ? d->digits[i] : 0;
}

/* Of the absolute values. */
static int compare_size(const struct decimal *a, const struct decimal *b)
{
    for (long place = -(long)MAX(a->n_whole, b->n_whole); place < (long)MAX(a->n_fraction, b->n_fraction); place++) {
        int difference = digit_at(a, place) - digit_at(b, place);
        if (difference)
            return difference < 0 ? -1 : 1;
    }
    return 0;
}

int decimal_compare(const struct decimal *a, const struct decimal *b)
{
    if (a->negative != b->negative)
        return a->negative ? -1 : 1;
    return a->negative ? compare_size(b, a) : compare_size(a, b);
}

/* multiple = modulus / 10^scale; false: too fine or too large. */
static bool read_multiple(const struct decimal *m, uint32_t *modulus, size_t *scale)
{
    uint64_t value = 0;
    *scale = m->n_fraction;
    if (m->negative || m->n_whole > 3 || m->n_fraction > 9)
        return false;
    for (size_t i = 0; i < m->n_whole + m->n_fraction; i++)
        value = value * 10 + m->digits[i];
    *modulus = (uint32_t)value;
    return value > 0 && value <= MAX_MODULUS;
}

bool decimal_is_multiple(const struct decimal *d, const struct decimal *of, bool *known)
{
    uint32_t modulus, rest = 0;
    size_t scale;
    *known = read_multiple(of, &modulus, &scale);
    if (!*known)
        return false;
    if (d->n_fraction > scale)
        return false; /* finer than any multiple */
    for (long place = -(long)d->n_whole; place < (long)scale; place++)
        rest = (rest * 10 + digit_at(d, place)) % modulus;
    return rest == 0;
}

/* --------------------------------------------------------------- expressions */

/* Numbers with so many digits before the point, between two of that length. */
struct digits {
    struct jx *x;
    size_t whole, fraction; /* digits before the point exactly, after it at most */
    uint8_t low[2 * DECIMAL_DIGITS], high[2 * DECIMAL_DIGITS];
    bool low_rest, high_rest; /* the limit goes on with digits that are not zero */
    bool low_excluded, high_excluded;
    uint32_t modulus;     /* all digits, read as one integer, are a multiple of it */
    uint32_t *free_rules; /* (JX_INT_DIGITS + 12, modulus): what may follow, see free_digits */
};

static bool zeros(const uint8_t *digits, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (digits[i])
            return false;
    }
    return true;
}

/* Whether the number may end at `at`, given the remainder of its digits so far. */
static bool may_end(const struct digits *d, size_t at, bool at_low, bool at_high, uint32_t rest)
{
    size_t n = d->whole + d->fraction;
    for (size_t i = at; i < n; i++)
        rest = rest * 10 % d->modulus;
    if (at < d->whole || rest)
        return false;
    if (at_low && (!zeros(d->low, at, n) || d->low_rest || d->low_excluded))
        return false;
    return !(at_high && zeros(d->high, at, n) && !d->high_rest && d->high_excluded);
}

/* What may follow when the digits so far are strictly between the limits. */
static uint32_t free_digits(struct digits *d, size_t at, uint32_t rest)
{
    struct exprs *g = d->x->g;
    size_t whole_left = at < d->whole ? d->whole - at : 0, left = d->whole + d->fraction - at;
    if (d->modulus == 1) {
        uint32_t all = expr_seq(g), fraction = expr_seq(g);
        if (whole_left)
            expr_add(g, all, expr_repeat(g, expr_range(g, '0', '9'), (uint32_t)whole_left, (uint32_t)whole_left));
        if (left == whole_left)
            return all;
        if (at > d->whole)
            return expr_add(g, all, expr_repeat(g, expr_range(g, '0', '9'), 0, (uint32_t)left));
        expr_add(g, fraction, expr_text(g, "."));
        expr_add(g, fraction, expr_repeat(g, expr_range(g, '0', '9'), 1, (uint32_t)d->fraction));
        return expr_add(g, all, expr_optional(g, fraction));
    }
    /* `fraction` is the same for all lengths: what is left tells where the point is, but
     * right after it, when at least one digit must come. */
    if (g->failure != EXPRS_OK)
        return 0; /* rules have no numbers any more, so nothing below would be made only once */
    uint32_t *rule = &d->free_rules[left * d->modulus + rest];
    if (!*rule) {
        uint32_t all = expr_alt(g), next = expr_seq(g), digit = expr_alt(g);
        *rule = rule_new(g, NULL, 0);
        uint32_t own = *rule;
        if (may_end(d, at, false, false, rest))
            expr_add(g, all, expr_empty(g));
        if (left > 0) {
            for (uint32_t c = 0; c < 10; c++) {
                uint32_t step = expr_seq(g);
                expr_add(g, step, expr_range(g, '0' + c, '0' + c));
                expr_add(g, step, free_digits(d, at + 1, (rest * 10 + c) % d->modulus));
                expr_add(g, digit, step);
            }
            if (at == d->whole)
                expr_add(g, next, expr_text(g, "."));
            expr_add(g, next, digit);
            expr_add(g, all, next);
        }
        rule_define(g, own, all);
    }
    return expr_rule(g, *rule);
}

/* What may follow digits that are those of the lower limit, of the upper one, or both. */
static uint32_t bound_digits(struct digits *d, size_t at, bool at_low, bool at_high, uint32_t rest)
{
    struct exprs *g = d->x->g;
    if (!at_low && !at_high)
        return free_digits(d, at, rest);
    uint32_t all = expr_alt(g);
    if (may_end(d, at, at_low, at_high, rest))
        expr_add(g, all, expr_empty(g));
    if (at == d->whole + d->fraction)
        return all;
    uint32_t next = expr_seq(g), digit = expr_alt(g);
    uint8_t from = at_low ? d->low[at] : 0, to = at_high ? d->high[at] : 9;
    for (uint8_t c = from; c <= to; c++) {
        bool low = at_low && c == from, high = at_high && c == to;
        uint8_t last = c;
        if (!low && !high && d->modulus == 1) /* all digits between the limits at once */
            last = (uint8_t)(to - at_high);
        uint32_t step = expr_seq(g);
        expr_add(g, step, expr_range(g, (uint32_t)'0' + c, (uint32_t)'0' + last));
        expr_add(g, step, bound_digits(d, at + 1, low, high, (rest * 10 + c) % d->modulus));
        expr_add(g, digit, step);
        c = last;
    }
    if (at == d->whole)
        expr_add(g, next, expr_text(g, "."));
    expr_add(g, next, digit);
    return expr_add(g, all, next);
}

/* Adds to `all` the values from low to high (NULL: no limit), neither negative. */
static void add_sizes(struct digits *d, const struct limits *l, const struct decimal *low, bool low_excluded, const struct decimal *high,
                      bool high_excluded, uint32_t sign, uint32_t all)
{
    struct exprs *g = d->x->g;
    size_t most = l->integer ? JX_INT_DIGITS : JX_DIGITS, scale = d->fraction;
    for (size_t n = 1; n + (l->has_multiple ? scale : 0) <= most; n++) {
        if (MAX(low->n_whole, (size_t)1) > n)
            continue;
        if (high && MAX(high->n_whole, (size_t)1) < n)
            break;
        d->whole = n;
        d->fraction = l->has_multiple ? scale : l->integer ? 0 : most - n;
        bool own_low = MAX(low->n_whole, (size_t)1) == n, own_high = high && MAX(high->n_whole, (size_t)1) == n;
        for (size_t i = 0; i < n + d->fraction; i++) {
            long place = (long)i - (long)n;
            d->low[i] = own_low ? digit_at(low, place) : i == 0;
            d->high[i] = own_high ? digit_at(high, place) : 9;
        }
        d->low_rest = own_low && low->n_fraction > d->fraction;
        d->high_rest = own_high && high->n_fraction > d->fraction;
        d->low_excluded = own_low && low_excluded;
        d->high_excluded = own_high && high_excluded;
        if (memcmp(d->low, d->high, n + d->fraction) > 0)
            continue;
        uint32_t value = expr_seq(g);
        if (sign)
            expr_add(g, value, expr_text(g, "-"));
        expr_add(g, value, bound_digits(d, 0, true, true, 0));
        expr_add(g, all, value);
    }
    d->fraction = scale;
}

bool decimal_impossible(const struct limits *l)
{
    int order = l->has_min && l->has_max ? decimal_compare(&l->min, &l->max) : -1;
    return order > 0 || (order == 0 && (l->min_excluded || l->max_excluded));
}

enum sg_status decimal_expr(struct jx *x, const struct limits *l, uint32_t *out, struct sg_error *err)
{
    static const struct decimal zero;
    struct digits d = {.x = x, .modulus = 1};
    uint32_t rules[(JX_INT_DIGITS + 12) * MAX_MODULUS];
    if (l->has_multiple) {
        if (!read_multiple(&l->multiple, &d.modulus, &d.fraction) || (l->integer && d.fraction > 0))
            return fail(err, SG_USAGE, "this \"multipleOf\" is not supported (whole numbers up to 1000, or up to three digits)");
        memset(rules, 0, sizeof *rules * (JX_INT_DIGITS + 12) * d.modulus);
        d.free_rules = rules;
    }
    if (decimal_impossible(l)) {
        *out = expr_alt(x->g);
        return SG_OK;
    }
    bool negative = !l->has_min || l->min.negative, positive = !l->has_max || !l->max.negative;
    uint32_t all = expr_alt(x->g);
    if (positive) {
        bool from_min = l->has_min && !l->min.negative;
        add_sizes(&d, l, from_min ? &l->min : &zero, from_min && l->min_excluded, l->has_max ? &l->max : NULL, l->max_excluded, 0, all);
    }
    if (negative) { /* sizes from that of max, or from above zero, to that of min */
        bool to_max = l->has_max && l->max.negative;
        add_sizes(&d, l, to_max ? &l->max : &zero, !to_max || l->max_excluded, l->has_min ? &l->min : NULL, l->min_excluded, 1, all);
    }
    *out = all;
    return SG_OK;
}
