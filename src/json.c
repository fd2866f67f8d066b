#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

/* ------------------------------------------------------------------- reader */

struct parser {
    struct json *j;
    size_t cap;                    /* nodes that fit */
    size_t at;                     /* next byte */
    uint32_t open[JSON_MAX_DEPTH]; /* containers that are not closed yet */
    size_t depth;
    struct sg_error *err;
};

static enum sg_status bad(const struct parser *p, const char *what)
{
    return fail(p->err, SG_USAGE, "invalid JSON at byte %zu: %s", p->at, what);
}

/* The byte at the current position; -1 at the end. */
static int peek(const struct parser *p) { return p->at < p->j->len ? (unsigned char)p->j->text[p->at] : -1; }

static void skip_space(struct parser *p)
{
    int c;
    while ((c = peek(p)) == ' ' || c == '\n' || c == '\r' || c == '\t')
        p->at++;
}

/* Adds a node that begins at the current byte; it is the last one of the array. */
static enum sg_status add(struct parser *p, enum json_type type)
{
    struct json *j = p->j;
    if (j->n_nodes == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 16, bytes;
        if (j->n_nodes >= UINT32_MAX - 1)
            return bad(p, "too many values");
        cap = MIN(cap, (size_t)UINT32_MAX - 1);
        if (!mul_size(cap, sizeof *j->nodes, &bytes))
            return fail_memory(p->err, SIZE_MAX, "a JSON text");
        struct json_node *grown = realloc(j->nodes, bytes);
        if (!grown)
            return fail_memory(p->err, bytes, "a JSON text");
        j->nodes = grown;
        p->cap = cap;
    }
    j->nodes[j->n_nodes++] = (struct json_node){.type = type, .begin = p->at};
    return SG_OK;
}

/* The last node ends here and has no children. */
static void end_scalar(struct parser *p)
{
    struct json_node *node = &p->j->nodes[p->j->n_nodes - 1];
    node->end = p->at;
    node->next = (uint32_t)p->j->n_nodes;
}

static enum sg_status parse_word(struct parser *p, const char *word, enum json_type type)
{
    size_t len = strlen(word);
    if (p->j->len - p->at < len || memcmp(p->j->text + p->at, word, len) != 0)
        return bad(p, "a value is expected here");
    TRY(add(p, type));
    p->at += len;
    end_scalar(p);
    return SG_OK;
}

static enum sg_status skip_digits(struct parser *p)
{
    if (peek(p) < '0' || peek(p) > '9')
        return bad(p, "a digit is expected here");
    while (peek(p) >= '0' && peek(p) <= '9')
        p->at++;
    return SG_OK;
}

static enum sg_status parse_number(struct parser *p)
{
    TRY(add(p, JSON_NUMBER));
    if (peek(p) == '-')
        p->at++;
    if (peek(p) == '0') {
        p->at++;
        if (peek(p) >= '0' && peek(p) <= '9')
            return bad(p, "a number can not begin with 0");
    } else {
        TRY(skip_digits(p));
    }
    if (peek(p) == '.') {
        p->at++;
        TRY(skip_digits(p));
    }
    if (peek(p) == 'e' || peek(p) == 'E') {
        p->at++;
        if (peek(p) == '+' || peek(p) == '-')
            p->at++;
        TRY(skip_digits(p));
    }
    end_scalar(p);
    return SG_OK;
}

static int hex_digit(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Checks the escape at the backslash and steps over it. */
static enum sg_status skip_escape(struct parser *p)
{
    p->at++;
    int c = peek(p);
    if (c == 'u') {
        for (int i = 0; i < 4; i++) {
            p->at++;
            if (hex_digit(peek(p)) < 0)
                return bad(p, "\\u needs four hexadecimal digits");
        }
    } else if (c < 0) {
        return bad(p, "the string does not end");
    } else if (!strchr("\"\\/bfnrt", c) || c == 0) {
        return bad(p, "unknown escape in a string");
    }
    p->at++;
    return SG_OK;
}

static enum sg_status parse_string(struct parser *p)
{
    const char *text = p->j->text;
    size_t len = p->j->len;
    TRY(add(p, JSON_STRING));
    p->at++;
    for (;;) {
        int c = peek(p);
        if (c < 0)
            return bad(p, "the string does not end");
        if (c < 0x20)
            return bad(p, "control characters in strings must be escaped");
        if (c == '\\') {
            TRY(skip_escape(p));
        } else if (c < 0x80) {
            p->at++;
            if (c == '"')
                break;
        } else {
            uint32_t scalar;
            size_t n = utf8_decode(text + p->at, len - p->at, &scalar);
            if (scalar == UTF8_REPLACEMENT && !(n == 3 && memcmp(text + p->at, "\xEF\xBF\xBD", 3) == 0))
                return bad(p, "this is not UTF-8");
            p->at += n;
        }
    }
    end_scalar(p);
    return SG_OK;
}

static enum sg_status parse_key(struct parser *p)
{
    skip_space(p);
    if (peek(p) != '"')
        return bad(p, "a key in double quotes is expected here");
    TRY(parse_string(p));
    skip_space(p);
    if (peek(p) != ':')
        return bad(p, "':' is expected here");
    p->at++;
    return SG_OK;
}

static enum sg_status open_container(struct parser *p, enum json_type type)
{
    if (p->depth == JSON_MAX_DEPTH)
        return bad(p, "arrays and objects are nested too deeply");
    TRY(add(p, type));
    p->open[p->depth++] = (uint32_t)p->j->n_nodes - 1;
    p->at++;
    return SG_OK;
}

/* Begins the value at the current position; *complete is false when it is a
 * container, whose elements come next. */
static enum sg_status begin_value(struct parser *p, bool *complete)
{
    *complete = true;
    skip_space(p);
    int c = peek(p);
    switch (c) {
    case '"':
        return parse_string(p);
    case 't':
        return parse_word(p, "true", JSON_TRUE);
    case 'f':
        return parse_word(p, "false", JSON_FALSE);
    case 'n':
        return parse_word(p, "null", JSON_NULL);
    case '[':
    case '{':
        *complete = false;
        return open_container(p, c == '[' ? JSON_ARRAY : JSON_OBJECT);
    default:
        if (c == '-' || (c >= '0' && c <= '9'))
            return parse_number(p);
        return bad(p, c < 0 ? "the text ends too early" : "a value is expected here");
    }
}

/* After a complete value, or the opening bracket of a container: steps over the brackets
 * that close here, and over the comma and the key before the next value. */
static enum sg_status next_value(struct parser *p, bool complete)
{
    while (p->depth > 0) {
        struct json_node *parent = &p->j->nodes[p->open[p->depth - 1]];
        bool array = parent->type == JSON_ARRAY;
        skip_space(p);
        int c = peek(p);
        parent->count += complete;
        if (c == (array ? ']' : '}')) {
            p->at++;
            p->depth--;
            parent->end = p->at;
            parent->next = (uint32_t)p->j->n_nodes;
            complete = true;
        } else if (!complete || c == ',') {
            p->at += complete;
            return array ? SG_OK : parse_key(p);
        } else if (c < 0) {
            return bad(p, "the text ends too early");
        } else {
            return bad(p, array ? "',' or ']' is expected here" : "',' or '}' is expected here");
        }
    }
    return SG_OK;
}

static enum sg_status parse(struct parser *p)
{
    do {
        bool complete;
        TRY(begin_value(p, &complete));
        TRY(next_value(p, complete));
    } while (p->depth > 0);
    skip_space(p);
    return p->at == p->j->len ? SG_OK : bad(p, "something follows the value");
}

enum sg_status json_parse(struct json *out, const char *text, size_t len, struct sg_error *err)
{
    *out = (struct json){.text = text, .len = len};
    struct parser p = {.j = out, .err = err};
    enum sg_status status = parse(&p);
    if (status != SG_OK)
        json_free(out);
    return status;
}

void json_free(struct json *j)
{
    free(j->nodes);
    *j = (struct json){0};
}

/* ------------------------------------------------------------------- access */

const struct json_node *json_first(const struct json *j, const struct json_node *container)
{
    (void)j;
    return container && container->count > 0 ? container + 1 : NULL;
}

const struct json_node *json_next(const struct json *j, const struct json_node *parent, const struct json_node *node)
{
    return node->next < parent->next ? &j->nodes[node->next] : NULL;
}

const struct json_node *json_get(const struct json *j, const struct json_node *object, const char *key)
{
    const struct json_node *found = NULL;
    if (!object || object->type != JSON_OBJECT)
        return NULL;
    for (const struct json_node *k = json_first(j, object); k;) {
        const struct json_node *value = json_next(j, object, k);
        if (json_string_equal(j, k, key))
            found = value;
        k = json_next(j, object, value);
    }
    return found;
}

static uint32_t hex4(const char *s)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++)
        value = value << 4 | (uint32_t)hex_digit((unsigned char)s[i]);
    return value;
}

/* Decodes the escape that begins at *at (a backslash, already checked) to UTF-8,
 * returns the number of bytes. */
static size_t decode_escape(const char *text, size_t *at, char out[4])
{
    char c = text[*at + 1];
    if (c != 'u') {
        static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
        const char *found = strchr(from, c);
        out[0] = found ? to[found - from] : c;
        *at += 2;
        return 1;
    }
    uint32_t scalar = hex4(text + *at + 2);
    *at += 6;
    if (scalar >= 0xD800 && scalar < 0xE000) {
        /* The closing quote, at the latest, stops this from reading on. */
        uint32_t low = scalar < 0xDC00 && text[*at] == '\\' && text[*at + 1] == 'u' ? hex4(text + *at + 2) : 0;
        if (low >= 0xDC00 && low < 0xE000) {
            scalar = 0x10000 + ((scalar - 0xD800) << 10) + (low - 0xDC00);
            *at += 6;
        } else {
            scalar = UTF8_REPLACEMENT;
        }
    }
    return utf8_encode(scalar, out);
}

void json_string(const struct json *j, const struct json_node *node, struct buf *out)
{
    if (!node || node->type != JSON_STRING)
        return;
    size_t at = node->begin + 1, end = node->end - 1;
    while (at < end) {
        const char *stop = memchr(j->text + at, '\\', end - at);
        size_t plain = stop ? (size_t)(stop - (j->text + at)) : end - at;
        buf_append(out, j->text + at, plain);
        at += plain;
        if (at < end) {
            char decoded[4];
            size_t n = decode_escape(j->text, &at, decoded);
            buf_append(out, decoded, n);
        }
    }
}

bool json_string_equal(const struct json *j, const struct json_node *node, const char *text)
{
    if (!node || node->type != JSON_STRING)
        return false;
    size_t at = node->begin + 1, end = node->end - 1;
    while (at < end) {
        char decoded[4];
        size_t n = 1;
        if (j->text[at] == '\\')
            n = decode_escape(j->text, &at, decoded);
        else
            decoded[0] = j->text[at++];
        for (size_t i = 0; i < n; i++)
            if (decoded[i] == 0 || *text++ != decoded[i])
                return false;
    }
    return *text == 0;
}

/* ------------------------------------------------------------------ numbers */

/* More significant decimal digits never decide how a double is rounded, beyond
 * whether there are any: the longest halfway case has 767. */
enum {
    MAX_DIGITS = 800
};

/* The number is  sign 0.d1d2d3.. * 10^exponent  with d1 and the last digit not 0. */
struct decimal {
    bool negative, cut; /* cut: non-zero digits after the last one were left out */
    size_t n_digits;    /* 0: the number is zero */
    int64_t exponent;
    char digits[MAX_DIGITS];
};

static bool read_decimal(const struct json *j, const struct json_node *node, struct decimal *d)
{
    if (!node || node->type != JSON_NUMBER)
        return false;
    const char *s = j->text + node->begin, *end = j->text + node->end;
    d->negative = *s == '-';
    d->cut = false;
    d->n_digits = 0;
    int64_t exponent = 0;
    bool fraction = false;
    size_t zeros = 0; /* seen since the last digit that is not 0 */
    for (s += d->negative; s < end && *s != 'e' && *s != 'E'; s++) {
        if (*s == '.') {
            fraction = true;
            continue;
        }
        bool leading = d->n_digits == 0 && *s == '0';
        exponent += !fraction && !leading; /* digits before the point */
        exponent -= fraction && leading;   /* zeros right after it */
        if (*s == '0') {
            zeros += !leading;
            continue;
        }
        if (d->n_digits + zeros >= MAX_DIGITS) {
            d->cut = true;
            continue;
        }
        memset(d->digits + d->n_digits, '0', zeros);
        d->n_digits += zeros;
        d->digits[d->n_digits++] = *s;
        zeros = 0;
    }
    if (s < end) {
        bool down = *++s == '-';
        int64_t given = 0;
        for (s += *s == '-' || *s == '+'; s < end; s++)
            given = MIN(given * 10 + (*s - '0'), INT64_MAX / 16);
        exponent += down ? -given : given;
    }
    d->exponent = d->n_digits ? exponent : 0;
    return true;
}

/* strtod's decimal point depends on the locale; digits with an exponent do not. */
static double digits_to_double(const char *digits, size_t n, bool cut, int64_t exponent)
{
    char text[MAX_DIGITS + 32];
    exponent -= (int64_t)n + cut;
    exponent = MIN(MAX(exponent, (int64_t)-99999), (int64_t)99999);
    snprintf(text, sizeof text, "%.*s%se%d", (int)n, digits, cut ? "1" : "", (int)exponent);
    return strtod(text, NULL);
}

bool json_double(const struct json *j, const struct json_node *node, double *out)
{
    struct decimal d;
    if (!read_decimal(j, node, &d))
        return false;
    double value = d.n_digits ? digits_to_double(d.digits, d.n_digits, d.cut, d.exponent) : 0.0;
    if (value > DBL_MAX)
        return false;
    *out = d.negative ? -value : value;
    return true;
}

/* The magnitude of a number that is an integer: 12, 12.0 and 1.2e1 are the same. */
static bool read_magnitude(const struct json *j, const struct json_node *node, bool *negative, uint64_t *out)
{
    struct decimal d;
    if (!read_decimal(j, node, &d) || d.cut || d.exponent < (int64_t)d.n_digits || d.exponent > 20)
        return false;
    *negative = d.negative;
    *out = 0;
    for (int64_t i = 0; i < d.exponent; i++) {
        uint64_t digit = i < (int64_t)d.n_digits ? (uint64_t)(d.digits[i] - '0') : 0;
        if (__builtin_mul_overflow(*out, (uint64_t)10, out) || __builtin_add_overflow(*out, digit, out))
            return false;
    }
    return true;
}

bool json_int(const struct json *j, const struct json_node *node, int64_t *out)
{
    bool negative;
    uint64_t magnitude;
    if (!read_magnitude(j, node, &negative, &magnitude) || magnitude > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

bool json_uint(const struct json *j, const struct json_node *node, uint64_t *out)
{
    bool negative;
    return read_magnitude(j, node, &negative, out) && (!negative || *out == 0);
}

/* ------------------------------------------------------------------- writer */

void json_put_string(struct buf *out, const char *text, size_t len)
{
    size_t plain = 0; /* first byte that is not written yet */
    buf_putc(out, '"');
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x80) {
            uint32_t scalar;
            size_t n = utf8_decode(text + i, len - i, &scalar);
            if (scalar == UTF8_REPLACEMENT) {
                buf_append(out, text + plain, i - plain);
                buf_append(out, "\xEF\xBF\xBD", 3);
                plain = i + n;
            }
            i += n;
            continue;
        }
        if (c < 0x20 || c == '"' || c == '\\') {
            static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
            const char *found = c ? strchr(from, c) : NULL;
            buf_append(out, text + plain, i - plain);
            plain = i + 1;
            if (found)
                buf_printf(out, "\\%c", to[found - from]);
            else
                buf_printf(out, "\\u%04x", c);
        }
        i++;
    }
    if (len > plain)
        buf_append(out, text + plain, len - plain);
    buf_putc(out, '"');
}

/* The digits of a positive number, rounded to n of them: value is near 0.d1d2.. * 10^*exponent. */
static void round_to_digits(double value, int n, char digits[20], int *exponent)
{
    char text[64];
    int count = 0;
    const char *s = text;
    snprintf(text, sizeof text, "%.*e", n - 1, value);
    for (; *s != 'e'; s++) /* whatever the locale's decimal point is, it is no digit */
        if (*s >= '0' && *s <= '9')
            digits[count++] = *s;
    digits[count] = 0;
    *exponent = (int)strtol(s + 1, NULL, 10) + 1;
}

/* The next larger decimal of as many digits. */
static void increment(char *digits, int n, int *exponent)
{
    int i = n - 1;
    for (; i >= 0 && digits[i] == '9'; i--)
        digits[i] = '0';
    if (i >= 0) {
        digits[i]++;
    } else { /* 999 becomes 1000: one digit fewer says the same */
        digits[0] = '1';
        ++*exponent;
    }
}

/* The fewest digits that read back as value. The nearest decimal of n digits is one
 * of them if any is, but for powers of two: the gap below them is half the gap above,
 * so there the next one up may do when the nearest (below) does not. */
static int shortest_digits(double value, char digits[20], int *exponent)
{
    /* Every decimal of up to 15 digits survives the way into a normal double and back, so
     * nothing is lost by starting there: the rest are zeros. */
    for (int n = value < DBL_MIN ? 1 : DBL_DIG; n < DBL_DECIMAL_DIG; n++) {
        round_to_digits(value, n, digits, exponent);
        if (digits_to_double(digits, (size_t)n, false, *exponent) == value)
            return n;
        increment(digits, n, exponent);
        if (digits_to_double(digits, (size_t)n, false, *exponent) == value)
            return n;
    }
    round_to_digits(value, DBL_DECIMAL_DIG, digits, exponent);
    return DBL_DECIMAL_DIG;
}

void json_put_double(struct buf *out, double value)
{
    if (!(value <= DBL_MAX && value >= -DBL_MAX)) {
        buf_puts(out, "null");
        return;
    }
    if (value < 0 || (value == 0 && 1 / value < 0))
        buf_putc(out, '-');
    if (value == 0) {
        buf_putc(out, '0');
        return;
    }
    char digits[20];
    int exponent, n = shortest_digits(value < 0 ? -value : value, digits, &exponent);
    while (n > 1 && digits[n - 1] == '0')
        n--;
    /* Positional where people write it so: 0.00001 to 10^17. */
    if (exponent > 17 || exponent < -4) {
        buf_putc(out, digits[0]);
        if (n > 1)
            buf_printf(out, ".%.*s", n - 1, digits + 1);
        buf_printf(out, "e%+d", exponent - 1);
    } else if (exponent <= 0) {
        buf_printf(out, "0.%.*s%.*s", -exponent, "0000", n, digits);
    } else if (exponent >= n) {
        buf_printf(out, "%.*s%.*s", n, digits, exponent - n, "00000000000000000");
    } else {
        buf_printf(out, "%.*s.%.*s", exponent, digits, n - exponent, digits + exponent);
    }
}

static void put_scalar(struct buf *out, const struct json *j, const struct json_node *node)
{
    if (node->type == JSON_STRING) {
        struct buf decoded = {0};
        json_string(j, node, &decoded);
        out->failed |= decoded.failed;
        json_put_string(out, decoded.data, decoded.len);
        buf_free(&decoded);
    } else {
        buf_append(out, j->text + node->begin, node->end - node->begin);
    }
}

void json_put_spaced(struct buf *out, const struct json *j, const struct json_node *node)
{
    struct {
        const struct json_node *node;
        bool value; /* the next child is the value of a member */
    } open[JSON_MAX_DEPTH];
    size_t depth = 0;
    for (;;) {
        if (node->type == JSON_ARRAY || node->type == JSON_OBJECT) {
            buf_putc(out, node->type == JSON_ARRAY ? '[' : '{');
            if (node->count > 0) {
                open[depth].node = node;
                open[depth++].value = false;
                node++;
                continue;
            }
            buf_putc(out, node->type == JSON_ARRAY ? ']' : '}');
        } else {
            put_scalar(out, j, node);
        }
        const struct json_node *next = NULL;
        while (depth > 0 && !(next = json_next(j, open[depth - 1].node, node))) {
            node = open[--depth].node;
            buf_putc(out, node->type == JSON_ARRAY ? ']' : '}');
        }
        if (depth == 0)
            return;
        bool key = open[depth - 1].node->type == JSON_OBJECT && !open[depth - 1].value;
        buf_puts(out, key ? ": " : ", ");
        open[depth - 1].value = key;
        node = next;
    }
}
