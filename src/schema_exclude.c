/* Whether two schemas exclude each other: what makes "oneOf" as simple as "anyOf". */
#include <stdlib.h>
#include <string.h>

#include "decimal.h"
#include "schema_parts.h"

enum {
    MAX_DEPTH = 8,
    MAX_COMPARED = 100000
};

static bool same_string(const struct json *j, const struct json_node *a, const struct json_node *b)
{
    struct buf x = {0}, y = {0};
    size_t len = a->end - a->begin;
    if (len == b->end - b->begin && memcmp(j->text + a->begin, j->text + b->begin, len) == 0)
        return true;
    if (!memchr(j->text + a->begin, '\\', len) && !memchr(j->text + b->begin, '\\', b->end - b->begin))
        return false; /* without escapes, what is spelled differently is different */
    json_string(j, a, &x);
    json_string(j, b, &y);
    bool same = x.len == y.len && (x.len == 0 || memcmp(x.data, y.data, x.len) == 0);
    buf_free(&x);
    buf_free(&y);
    return same;
}

static bool same_number(const struct json *j, const struct json_node *a, const struct json_node *b)
{
    struct decimal x, y;
    double u, v;
    if (decimal_parse(&x, j->text + a->begin, a->end - a->begin) && decimal_parse(&y, j->text + b->begin, b->end - b->begin))
        return decimal_compare(&x, &y) == 0;
    return json_double(j, a, &u) && json_double(j, b, &v) && u == v;
}

static bool same_members(const struct json *j, const struct json_node *a, const struct json_node *b)
{
    for (const struct json_node *key = json_first(j, a); key;) {
        const struct json_node *value = json_next(j, a, key), *found = NULL;
        for (const struct json_node *other = json_first(j, b); other && !found;) {
            const struct json_node *other_value = json_next(j, b, other);
            if (same_string(j, key, other))
                found = other_value;
            other = json_next(j, b, other_value);
        }
        if (!found || !json_same(j, value, found))
            return false;
        key = json_next(j, a, value);
    }
    return true;
}

bool json_same(const struct json *j, const struct json_node *a, const struct json_node *b)
{
    if (a->type != b->type || a->count != b->count)
        return false;
    switch (a->type) {
    case JSON_STRING:
        return same_string(j, a, b);
    case JSON_NUMBER:
        return same_number(j, a, b);
    case JSON_OBJECT:
        return same_members(j, a, b);
    case JSON_ARRAY:
        for (const struct json_node *x = json_first(j, a), *y = json_first(j, b); x; x = json_next(j, a, x), y = json_next(j, b, y)) {
            if (!json_same(j, x, y))
                return false;
        }
        return true;
    default:
        return true;
    }
}

/* The values that "const" or "enum" allows: *first and the list it is in (NULL: alone). */
static const struct json_node *values(const struct json *j, const struct json_node *node, const struct json_node **list)
{
    const struct json_node *fixed = json_get(j, node, "const");
    *list = NULL;
    if (fixed)
        return fixed;
    *list = json_get(j, node, "enum");
    return *list && (*list)->type == JSON_ARRAY ? json_first(j, *list) : NULL;
}

static bool values_differ(const struct json *j, const struct json_node *a, const struct json_node *b)
{
    const struct json_node *a_list, *b_list, *x = values(j, a, &a_list), *first = values(j, b, &b_list);
    if (!x || !first)
        return false;
    for (; x; x = a_list ? json_next(j, a_list, x) : NULL) {
        for (const struct json_node *y = first; y; y = b_list ? json_next(j, b_list, y) : NULL) {
            if (json_same(j, x, y))
                return false;
        }
    }
    return true;
}

/* Kinds of the values that a schema allows, "const" and "enum" taken into account. */
static unsigned value_kinds(struct schema *s, const struct json_node *node)
{
    static const unsigned kind_of[] = {KIND_NULL,   KIND_BOOLEAN, KIND_BOOLEAN, KIND_INTEGER | KIND_NUMBER,
                                       KIND_STRING, KIND_ARRAY,   KIND_OBJECT};
    const struct json_node *list;
    unsigned kinds = 0;
    const struct json_node *x = values(s->j, node, &list);
    if (!x)
        return schema_kinds(s, node);
    for (; x; x = list ? json_next(s->j, list, x) : NULL)
        kinds |= kind_of[x->type];
    return kinds & schema_kinds(s, node);
}

static bool requires(const struct json *j, const struct json_node *node, const struct json_node *name)
{
    const struct json_node *list = json_get(j, node, "required");
    for (const struct json_node *n = list && list->type == JSON_ARRAY ? json_first(j, list) : NULL; n; n = json_next(j, list, n)) {
        if (n->type == JSON_STRING && same_string(j, n, name))
            return true;
    }
    return false;
}

/* The schema of a property by name; *forbidden: there can be none of that name. */
static const struct json_node *property(const struct json *j, const struct json_node *node, const struct json_node *name, bool *forbidden)
{
    const struct json_node *all = json_get(j, node, "properties"), *others = json_get(j, node, "additionalProperties");
    *forbidden = others && others->type == JSON_FALSE;
    for (const struct json_node *key = all && all->type == JSON_OBJECT ? json_first(j, all) : NULL; key;) {
        const struct json_node *value = json_next(j, all, key);
        if (same_string(j, key, name)) {
            *forbidden = value->type == JSON_FALSE;
            return value;
        }
        key = json_next(j, all, value);
    }
    return NULL;
}

/* Whether a property that `a` requires tells the objects of a from those of b. */
static bool property_tells(struct schema *s, const struct json_node *a, const struct json_node *b, int depth)
{
    const struct json_node *list = json_get(s->j, a, "required");
    for (const struct json_node *n = list && list->type == JSON_ARRAY ? json_first(s->j, list) : NULL; n; n = json_next(s->j, list, n)) {
        bool a_forbids, b_forbids;
        if (n->type != JSON_STRING)
            continue;
        const struct json_node *x = property(s->j, a, n, &a_forbids), *y = property(s->j, b, n, &b_forbids);
        if (b_forbids || (x && y && requires(s->j, b, n) && schema_exclude(s, x, y, depth + 1)))
            return true;
    }
    return false;
}

static bool limit(const struct json *j, const struct json_node *node, const char *keyword, struct decimal *d)
{
    const struct json_node *n = json_get(j, node, keyword);
    return n && n->type == JSON_NUMBER && decimal_parse(d, j->text + n->begin, n->end - n->begin);
}

/* Whether all numbers of a are below all of b. */
static bool below(const struct json *j, const struct json_node *a, const struct json_node *b)
{
    static const char *const upper[] = {"maximum", "exclusiveMaximum"}, *const lower[] = {"minimum", "exclusiveMinimum"};
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < 2; k++) {
            struct decimal high, low;
            if (limit(j, a, upper[i], &high) && limit(j, b, lower[k], &low) && decimal_compare(&high, &low) < (i || k ? 1 : 0))
                return true;
        }
    }
    return false;
}

bool schema_exclude(struct schema *s, const struct json_node *a, const struct json_node *b, int depth)
{
    if (depth > MAX_DEPTH || ++s->excluded > MAX_COMPARED || !schema_ok(s))
        return false;
    if (a->type == JSON_FALSE || b->type == JSON_FALSE)
        return true;
    if (a->type != JSON_OBJECT || b->type != JSON_OBJECT)
        return false;
    const struct json_node *a_ref = json_get(s->j, a, "$ref"), *b_ref = json_get(s->j, b, "$ref");
    if (a_ref && (a_ref = schema_target(s, a_ref)) && schema_exclude(s, a_ref, b, depth + 1))
        return true;
    if (b_ref && (b_ref = schema_target(s, b_ref)) && schema_exclude(s, a, b_ref, depth + 1))
        return true;
    unsigned kinds = value_kinds(s, a) & value_kinds(s, b);
    if (!kinds || values_differ(s->j, a, b))
        return true;
    if (kinds == KIND_OBJECT)
        return property_tells(s, a, b, depth) || property_tells(s, b, a, depth);
    if (!(kinds & ~(unsigned)(KIND_INTEGER | KIND_NUMBER)))
        return below(s->j, a, b) || below(s->j, b, a);
    return false;
}
