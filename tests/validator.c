#include "validator.h"

#include <arpa/inet.h>
#include <locale.h>
#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

#define FAIL_IF(condition, keyword) \
    do {                            \
        if (condition) {            \
            *why = keyword;         \
            return false;           \
        }                           \
    } while (0)

static long double number(const struct json *j, const struct json_node *n)
{
    char text[80];
    snprintf(text, sizeof text, "%.*s", (int)(n->end - n->begin), j->text + n->begin);
    return strtold(text, NULL);
}

static bool equal(const struct json *a, const struct json_node *x, const struct json *b, const struct json_node *y)
{
    if (x->type != y->type || x->count != y->count)
        return false;
    if (x->type == JSON_NUMBER)
        return number(a, x) == number(b, y);
    if (x->type == JSON_STRING) {
        struct buf s = {0};
        json_string(a, x, &s);
        bool same = s.len == 0 || memchr(s.data, 0, s.len) == NULL ? json_string_equal(b, y, s.len ? s.data : "") : false;
        buf_free(&s);
        return same;
    }
    const struct json_node *p = json_first(a, x), *q = json_first(b, y);
    if (x->type == JSON_ARRAY) {
        for (; p; p = json_next(a, x, p), q = json_next(b, y, q))
            if (!equal(a, p, b, q))
                return false;
        return true;
    }
    while (p) {
        struct buf key = {0};
        json_string(a, p, &key);
        const struct json_node *value = json_next(a, x, p), *other = json_get(b, y, key.len ? key.data : "");
        buf_free(&key);
        if (!other || !equal(a, value, b, other))
            return false;
        p = json_next(a, x, value);
    }
    return true;
}

static bool is_type(const struct json *schema, const struct json_node *type, const struct json *j, const struct json_node *v)
{
    static const char *const names[] = {"null", "boolean", "boolean", "number", "string", "array", "object"};
    if (type->type == JSON_ARRAY) {
        for (const struct json_node *t = json_first(schema, type); t; t = json_next(schema, type, t))
            if (is_type(schema, t, j, v))
                return true;
        return false;
    }
    if (json_string_equal(schema, type, "integer"))
        return v->type == JSON_NUMBER && floorl(number(j, v)) == number(j, v);
    return json_string_equal(schema, type, names[v->type]);
}

static bool matches(const char *pattern, const char *text)
{
    static bool utf8;
    if (!utf8)
        utf8 = setlocale(LC_CTYPE, "C.UTF-8") != NULL;
    char posix[2000] = "";
    size_t n = 0;
    bool class = false;
    for (const char *p = pattern; *p && n < sizeof posix - 100; p++) {
        if (p[0] == '(' && p[1] == '?' && p[2] == ':') {
            posix[n++] = '(';
            p += 2;
        } else if (p[0] == '\\' && (p[1] == 'u' || p[1] == 'x')) {
            uint32_t c = (uint32_t)strtoul((char[]){p[2], p[3], p[1] == 'u' ? p[4] : 0, p[1] == 'u' ? p[5] : 0, 0}, NULL, 16);
            n += utf8_encode(c, posix + n);
            p += p[1] == 'u' ? 5 : 3;
        } else if (p[0] == '\\' && strchr("dwsDWS", p[1])) {
            static const char spaces[] = " \t\n\r\f\v\u00A0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200A"
                                         "\u2028\u2029\u202F\u205F\u3000\uFEFF";
            static const char *const sets[] = {"0-9", "A-Za-z0-9_", spaces};
            const char *set = sets[(p[1] | 0x20) == 'd' ? 0 : (p[1] | 0x20) == 'w' ? 1 : 2];
            n += (size_t)snprintf(posix + n, 80, class ? "%s" : p[1] < 'a' ? "[^%s]" : "[%s]", set);
            p++;
        } else if (p[0] == '\\' && strchr("tn", p[1])) {
            posix[n++] = p[1] == 't' ? '\t' : '\n';
            p++;
        } else if (class && p[0] == '\\') {
            posix[n++] = *++p; /* POSIX classes have no escapes */
        } else {
            class = (class || p[0] == '[') && !(class && p[0] == ']');
            if (p[0] == '\\')
                posix[n++] = *p++;
            posix[n++] = *p;
        }
    }
    regex_t r;
    if (regcomp(&r, posix, REG_EXTENDED | REG_NOSUB) != 0) {
        fprintf(stderr, "the validator can not read the pattern %s\n", posix);
        abort();
    }
    bool found = regexec(&r, text, 0, NULL, 0) == 0;
    regfree(&r);
    return found;
}

static bool is_date(const char *s, size_t len)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int y, m, d, n = 0;
    if (len < 10 || sscanf(s, "%4d-%2d-%2d%n", &y, &m, &d, &n) != 3 || n != 10 || m < 1 || m > 12)
        return false;
    bool leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    return d >= 1 && d <= days[m - 1] + (m == 2 && leap);
}

static bool is_time(const char *s)
{
    int h, m, n = 0;
    double sec;
    if (sscanf(s, "%2d:%2d:%lf%n", &h, &m, &sec, &n) != 3 || h > 23 || m > 59 || sec >= 60)
        return false;
    s += n;
    if (strcmp(s, "Z") == 0)
        return true;
    return (*s == '+' || *s == '-') && sscanf(s + 1, "%2d:%2d%n", &h, &m, &n) == 2 && h < 24 && m < 60 && n == 5 && s[6] == 0;
}

static bool is_format(const struct json *schema, const struct json_node *format, const char *s)
{
    unsigned char address[16];
    if (json_string_equal(schema, format, "date"))
        return is_date(s, strlen(s)) && strlen(s) == 10;
    if (json_string_equal(schema, format, "time"))
        return is_time(s);
    if (json_string_equal(schema, format, "date-time"))
        return is_date(s, strlen(s)) && s[10] == 'T' && is_time(s + 11);
    if (json_string_equal(schema, format, "duration"))
        return s[0] == 'P' && s[1] && s[strlen(s) - 1] != 'T' &&
               matches("^P([0-9]+Y)?([0-9]+M)?([0-9]+D)?(T([0-9]+H)?([0-9]+M)?([0-9]+S)?)?$|^P[0-9]+W$", s);
    if (json_string_equal(schema, format, "uuid"))
        return matches("^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$", s);
    if (json_string_equal(schema, format, "ipv4"))
        return inet_pton(AF_INET, s, address) == 1;
    if (json_string_equal(schema, format, "ipv6"))
        return inet_pton(AF_INET6, s, address) == 1;
    if (json_string_equal(schema, format, "email"))
        return matches("^[^@ .][^@ ]*[^@ .]?@[A-Za-z0-9.-]+$", s) && !strstr(s, "..");
    if (json_string_equal(schema, format, "hostname"))
        return matches("^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$", s) &&
               strlen(s) < 254;
    if (json_string_equal(schema, format, "uri"))
        return matches("^[a-z]+://[^ \"<>\\^`{|}]+$", s);
    return true;
}

static bool string_ok(const struct json *schema, const struct json_node *s, const struct json *j, const struct json_node *v,
                      const char **why)
{
    struct buf text = {0};
    double limit;
    size_t n = 0;
    uint32_t c;
    json_string(j, v, &text);
    buf_append(&text, "", 0);
    for (size_t at = 0; at < text.len; n++)
        at += utf8_decode(text.data + at, text.len - at, &c);
    const struct json_node *min = json_get(schema, s, "minLength"), *max = json_get(schema, s, "maxLength");
    const struct json_node *pattern = json_get(schema, s, "pattern"), *format = json_get(schema, s, "format");
    *why = NULL;
    if (min && json_double(schema, min, &limit) && (double)n < limit)
        *why = "minLength";
    if (max && json_double(schema, max, &limit) && (double)n > limit)
        *why = "maxLength";
    if (pattern && !memchr(text.data, 0, text.len)) { /* C strings end at NUL */
        struct buf p = {0};
        json_string(schema, pattern, &p);
        buf_append(&p, "", 0);
        if (!matches(p.data, text.data))
            *why = "pattern";
        buf_free(&p);
    }
    if (format && !is_format(schema, format, text.data))
        *why = "format";
    buf_free(&text);
    return *why == NULL;
}

static bool number_ok(const struct json *schema, const struct json_node *s, const struct json *j, const struct json_node *v,
                      const char **why)
{
    /* In double, as other validators compute: an answer must not depend on more. */
    double x = (double)number(j, v);
    const struct json_node *min = json_get(schema, s, "minimum"), *max = json_get(schema, s, "maximum");
    const struct json_node *over = json_get(schema, s, "exclusiveMinimum"), *under = json_get(schema, s, "exclusiveMaximum"),
                           *multiple = json_get(schema, s, "multipleOf");
    FAIL_IF(min && x < (double)number(schema, min), "minimum");
    FAIL_IF(max && x > (double)number(schema, max), "maximum");
    FAIL_IF(over && over->type == JSON_NUMBER && x <= (double)number(schema, over), "exclusiveMinimum");
    FAIL_IF(under && under->type == JSON_NUMBER && x >= (double)number(schema, under), "exclusiveMaximum");
    FAIL_IF(over && over->type == JSON_TRUE && x <= (double)number(schema, min), "exclusiveMinimum");
    FAIL_IF(under && under->type == JSON_TRUE && x >= (double)number(schema, max), "exclusiveMaximum");
    if (multiple) {
        long double times = number(j, v) / number(schema, multiple);
        FAIL_IF(fabsl(times - roundl(times)) > 1e-9L * fmaxl(1, fabsl(times)), "multipleOf");
    }
    return true;
}

static bool array_ok(const struct json *schema, const struct json_node *s, const struct json *j, const struct json_node *v,
                     const char **why)
{
    const struct json_node *first = json_get(schema, s, "prefixItems"), *rest = json_get(schema, s, "items");
    const struct json_node *min = json_get(schema, s, "minItems"), *max = json_get(schema, s, "maxItems");
    FAIL_IF(min && v->count < (uint32_t)number(schema, min), "minItems");
    FAIL_IF(max && v->count > (uint32_t)number(schema, max), "maxItems");
    if (rest && rest->type == JSON_ARRAY) {
        first = rest;
        rest = json_get(schema, s, "additionalItems");
    }
    const struct json_node *item = json_first(schema, first);
    for (const struct json_node *n = json_first(j, v); n; n = json_next(j, v, n)) {
        if (item ? !validate(schema, item, j, n, why) : rest && !validate(schema, rest, j, n, why))
            return false;
        item = item ? json_next(schema, first, item) : NULL;
    }
    return true;
}

static bool object_ok(const struct json *schema, const struct json_node *s, const struct json *j, const struct json_node *v,
                      const char **why)
{
    const struct json_node *properties = json_get(schema, s, "properties"), *required = json_get(schema, s, "required"),
                           *others = json_get(schema, s, "additionalProperties");
    const struct json_node *min = json_get(schema, s, "minProperties"), *max = json_get(schema, s, "maxProperties");
    size_t distinct = 0;
    for (const struct json_node *key = json_first(j, v); key;) {
        const struct json_node *value = json_next(j, v, key), *own = NULL;
        struct buf name = {0};
        json_string(j, key, &name);
        buf_append(&name, "", 0);
        bool plain = !memchr(name.data, 0, name.len);
        own = plain ? json_get(schema, properties, name.data) : NULL;
        distinct += !plain || json_get(j, v, name.data) == value;
        buf_free(&name);
        if (own ? !validate(schema, own, j, value, why) : others && !validate(schema, others, j, value, why))
            return false;
        key = json_next(j, v, value);
    }
    FAIL_IF(min && distinct < (size_t)number(schema, min), "minProperties");
    FAIL_IF(max && distinct > (size_t)number(schema, max), "maxProperties");
    for (const struct json_node *n = json_first(schema, required); n; n = json_next(schema, required, n)) {
        struct buf name = {0};
        json_string(schema, n, &name);
        bool there = json_get(j, v, name.len ? name.data : "") != NULL;
        buf_free(&name);
        FAIL_IF(!there, "required");
    }
    return true;
}

static const struct json_node *resolve(const struct json *schema, const struct json_node *ref)
{
    struct buf path = {0};
    json_string(schema, ref, &path);
    const struct json_node *at = &schema->nodes[0];
    for (char *step = strtok(path.data + 1, "/"); step && at; step = strtok(NULL, "/")) {
        char name[200];
        size_t n = 0;
        for (char *p = step; *p; p++) {
            if (p[0] == '~')
                name[n++] = *++p == '0' ? '~' : '/';
            else if (p[0] == '%') {
                name[n++] = (char)strtoul((char[]){p[1], p[2], 0}, NULL, 16);
                p += 2;
            } else
                name[n++] = *p;
        }
        name[n] = 0;
        if (at->type == JSON_OBJECT) {
            at = json_get(schema, at, name);
        } else {
            const struct json_node *list = at;
            at = json_first(schema, list);
            for (int i = atoi(name); i > 0 && at; i--)
                at = json_next(schema, list, at);
        }
    }
    buf_free(&path);
    return at;
}

bool validate(const struct json *schema, const struct json_node *s, const struct json *j, const struct json_node *v, const char **why)
{
    FAIL_IF(s->type == JSON_FALSE, "false");
    if (s->type == JSON_TRUE)
        return true;
    const struct json_node *type = json_get(schema, s, "type"), *fixed = json_get(schema, s, "const"), *list = json_get(schema, s, "enum");
    const struct json_node *nullable = json_get(schema, s, "nullable"), *ref = json_get(schema, s, "$ref");
    bool null_ok = v->type == JSON_NULL && nullable && nullable->type == JSON_TRUE;
    FAIL_IF(type && !is_type(schema, type, j, v) && !null_ok, "type");
    FAIL_IF(fixed && !equal(schema, fixed, j, v), "const");
    if (list) {
        bool found = false;
        for (const struct json_node *n = json_first(schema, list); n; n = json_next(schema, list, n))
            found |= equal(schema, n, j, v);
        FAIL_IF(!found, "enum");
    }
    static const char *const lists[] = {"allOf", "anyOf", "oneOf"};
    for (size_t i = 0; i < 3; i++) {
        const struct json_node *all = json_get(schema, s, lists[i]);
        size_t n = 0;
        for (const struct json_node *one = json_first(schema, all); one; one = json_next(schema, all, one))
            n += validate(schema, one, j, v, why);
        FAIL_IF(all && (i == 0 ? n != all->count : i == 1 ? n == 0 : n != 1), lists[i]);
    }
    if (ref && !validate(schema, resolve(schema, ref), j, v, why))
        return false;
    if (v->type == JSON_STRING)
        return string_ok(schema, s, j, v, why);
    if (v->type == JSON_NUMBER)
        return number_ok(schema, s, j, v, why);
    if (v->type == JSON_ARRAY)
        return array_ok(schema, s, j, v, why);
    return v->type != JSON_OBJECT || object_ok(schema, s, j, v, why);
}
