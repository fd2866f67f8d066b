/* The grammars of values: numbers, strings, given values. Objects and arrays: schema_nested.c. */
#include <stdlib.h>
#include <string.h>

#include "decimal.h"
#include "intersect.h"
#include "regexp.h"
#include "schema_parts.h"
#include "utf8.h"

/* ------------------------------------------------------------------- numbers */

/* A limit too far out to matter is none; one that can not be kept is an error. */
static bool read_limit(struct schema *s, const struct json_node *n, bool upper, struct decimal *d)
{
    double value;
    if (n->type != JSON_NUMBER) {
        schema_fail(s, "limits of numbers are numbers");
        return false;
    }
    if (decimal_parse(d, s->j->text + n->begin, n->end - n->begin))
        return true;
    if (!json_double(s->j, n, &value) || (upper ? value < 1e18 : value > -1e18))
        schema_fail(s, "the number %.*s has too many digits", (int)MIN(n->end - n->begin, (size_t)40), s->j->text + n->begin);
    return false;
}

static void take_min(struct limits *l, const struct decimal *d, bool excluded)
{
    int order = l->has_min ? decimal_compare(d, &l->min) : 1;
    if (order > 0) {
        l->min = *d;
        l->min_excluded = excluded;
    } else if (order == 0) {
        l->min_excluded |= excluded;
    }
    l->has_min = true;
}

static void take_max(struct limits *l, const struct decimal *d, bool excluded)
{
    int order = l->has_max ? decimal_compare(d, &l->max) : -1;
    if (order < 0) {
        l->max = *d;
        l->max_excluded = excluded;
    } else if (order == 0) {
        l->max_excluded |= excluded;
    }
    l->has_max = true;
}

static void take_integer_limits(struct limits *l, const char *min, const char *max)
{
    struct decimal d;
    decimal_parse(&d, min, strlen(min));
    take_min(l, &d, false);
    decimal_parse(&d, max, strlen(max));
    take_max(l, &d, false);
}

static void read_limits(struct schema *s, const struct json_node *node, struct limits *l)
{
    const struct json *j = s->j;
    struct decimal d;
    const struct json_node *min = json_get(j, node, "minimum"), *max = json_get(j, node, "maximum"),
                           *multiple = json_get(j, node, "multipleOf");
    const struct json_node *over = json_get(j, node, "exclusiveMinimum"), *under = json_get(j, node, "exclusiveMaximum");
    /* Before draft 6 the exclusive ones were true or false and spoke about the others. */
    bool over_flag = over && (over->type == JSON_TRUE || over->type == JSON_FALSE),
         under_flag = under && (under->type == JSON_TRUE || under->type == JSON_FALSE);
    if (min && read_limit(s, min, false, &d))
        take_min(l, &d, over_flag && over->type == JSON_TRUE);
    if (max && read_limit(s, max, true, &d))
        take_max(l, &d, under_flag && under->type == JSON_TRUE);
    if (over && !over_flag && read_limit(s, over, false, &d))
        take_min(l, &d, true);
    if (under && !under_flag && read_limit(s, under, true, &d))
        take_max(l, &d, true);
    if (multiple) {
        if (multiple->type != JSON_NUMBER || !decimal_parse(&d, j->text + multiple->begin, multiple->end - multiple->begin) || d.negative ||
            d.n_whole + d.n_fraction == 0)
            schema_fail(s, "\"multipleOf\" is a number above 0");
        else if (l->has_multiple && decimal_compare(&d, &l->multiple) != 0)
            schema_fail(s, "several \"multipleOf\" at once are not supported");
        l->multiple = d;
        l->has_multiple = true;
    }
    const struct json_node *format = json_get(j, node, "format");
    if (format && json_string_equal(j, format, "int32"))
        take_integer_limits(l, "-2147483648", "2147483647");
}

uint32_t schema_number(struct schema *s, const struct part *p, bool integer)
{
    struct limits l = {.integer = integer};
    struct sg_error inner;
    uint32_t node = 0;
    for (size_t i = 0; i < p->n && schema_ok(s); i++)
        read_limits(s, part_node(s, p->items[i]), &l);
    /* A whole multiple makes whole numbers, which may then have more digits. */
    if (l.has_multiple && l.multiple.n_fraction == 0)
        l.integer = true;
    if (!schema_ok(s))
        return 0;
    if (!l.has_min && !l.has_max && !l.has_multiple)
        return integer ? jx_integer(&s->x) : jx_number(&s->x);
    if (decimal_impossible(&l) && p->n == 1)
        schema_fail(s, "no number is within the limits");
    else if (decimal_expr(&s->x, &l, &node, &inner) != SG_OK)
        schema_fail(s, "%s", inner.message);
    return node;
}

/* ------------------------------------------------------------------- strings */

#define OCTET "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define DATE                                                                                                     \
    "(\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))|" \
    "(\\d\\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)"
#define TIME "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)"
#define HMS "(\\d{1,4}H(\\d{1,4}M(\\d{1,4}S)?)?|\\d{1,4}M(\\d{1,4}S)?|\\d{1,4}S)"
#define LABEL "[A-Za-z0-9]{1,20}(-[A-Za-z0-9]{1,20}){0,2}"
#define HOST LABEL "(\\." LABEL "){0,2}"
#define H16 "[0-9A-Fa-f]{1,4}"
#define URI_CHAR "([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"

/* Each a little narrower than what the standards allow, never wider. */
static const struct {
    const char *name, *pattern;
} formats[] = {
    {"date", DATE},
    {"time", TIME},
    {"date-time", DATE "T" TIME},
    {"duration", "P((\\d{1,4}Y(\\d{1,4}M(\\d{1,4}D)?)?|\\d{1,4}M(\\d{1,4}D)?|\\d{1,4}D)(T" HMS ")?|T" HMS "|\\d{1,4}W)"},
    {"email", "[A-Za-z0-9_+-]{1,30}(\\.[A-Za-z0-9_+-]{1,30})?@" LABEL "(\\." LABEL "){1,2}"},
    {"hostname", HOST},
    {"ipv4", "(" OCTET "\\.){3}" OCTET},
    {"ipv6", "(" H16 ":){7}" H16 "|(" H16 ":){1,7}:|(" H16 ":){1,6}:" H16 "|(" H16 ":){1,5}(:" H16 "){1,2}|(" H16 ":){1,4}(:" H16
             "){1,3}|(" H16 ":){1,3}(:" H16 "){1,4}|(" H16 ":){1,2}(:" H16 "){1,5}|" H16 ":(:" H16 "){1,6}|:(:" H16 "){1,7}|::"},
    {"uri", "https?://" HOST "(:[1-9]\\d{0,3})?(/" URI_CHAR "{0,100}){0,10}(\\?(" URI_CHAR "|[/?]){0,200})?(#(" URI_CHAR "|[/?]){0,100})?"},
    {"uuid", "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"},
};

/* "format" as an expression over characters; 0 without failure: it says nothing about strings. */
static uint32_t read_format(struct schema *s, const struct json_node *node)
{
    static const char *const numeric[] = {"int32", "int64", "float", "double"};
    uint32_t out = 0;
    if (!schema_ok(s))
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(numeric); i++) {
        if (json_string_equal(s->j, node, numeric[i]))
            return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        if (json_string_equal(s->j, node, formats[i].name)) {
            regexp_parse(s->x.g, formats[i].pattern, strlen(formats[i].pattern), false, &out, NULL);
            return out;
        }
    }
    schema_fail(s, "this \"format\" is not supported (date, time, date-time, duration, email, hostname, ipv4, ipv6, uri, uuid are)");
    return 0;
}

static uint32_t read_pattern(struct schema *s, const struct json_node *node)
{
    struct buf text = {0};
    struct sg_error inner;
    uint32_t out = 0;
    if (node->type != JSON_STRING) {
        schema_fail(s, "\"pattern\" is a string");
        return 0;
    }
    json_string(s->j, node, &text);
    if (text.failed)
        s->x.g->failure = EXPRS_NO_MEMORY;
    else if (regexp_parse(s->x.g, text.len ? text.data : "", text.len, true, &out, &inner) != SG_OK)
        schema_fail(s, "\"pattern\": %s", inner.message);
    buf_free(&text);
    return out;
}

uint32_t schema_string(struct schema *s, const struct part *p)
{
    struct exprs *g = s->x.g;
    uint32_t patterns[INTERSECT_MAX], n = 0, min = 0, max = EXPR_UNLIMITED, body = 0;
    bool has_min = schema_count(s, p, "minLength", true, &min), has_max = schema_count(s, p, "maxLength", false, &max);
    for (size_t i = 0; i < 2 * p->n && schema_ok(s); i++) {
        const struct json_node *node = json_get(s->j, part_node(s, p->items[i / 2]), i % 2 ? "format" : "pattern");
        uint32_t one = !node ? 0 : i % 2 ? read_format(s, node) : read_pattern(s, node);
        if (one && n == INTERSECT_MAX)
            schema_fail(s, "more than %d patterns at once", INTERSECT_MAX);
        else if (one)
            patterns[n++] = one;
    }
    if (!schema_ok(s))
        return 0;
    struct sg_error inner;
    if (min > max && p->n == 1)
        schema_fail(s, "\"minLength\" is above \"maxLength\"");
    else if (min > max)
        return expr_alt(g); /* nothing */
    else if (n == 0 && !has_min && !has_max)
        return jx_string(&s->x);
    else if (n == 0)
        body = expr_repeat(g, jx_string_char(&s->x), min, max);
    else if (n == 1 && !has_min && !has_max)
        body = jx_encode(&s->x, patterns[0]);
    else if (intersect(&s->x, patterns, n, min, max, &body, &inner) != SG_OK)
        schema_fail(s, "%s", inner.message);
    uint32_t all = expr_seq(g);
    expr_add(g, all, expr_text(g, "\""));
    expr_add(g, all, body);
    return expr_add(g, all, expr_text(g, "\""));
}

/* -------------------------------------------------------------- given values */

static const size_t MAX_COMPARED = 20000000;

static bool is_integer(const struct schema *s, const struct json_node *value)
{
    struct decimal d;
    return decimal_parse(&d, s->j->text + value->begin, value->end - value->begin) && d.n_fraction == 0;
}

static unsigned kind_of(const struct schema *s, const struct json_node *value)
{
    static const unsigned kinds[] = {KIND_NULL, KIND_BOOLEAN, KIND_BOOLEAN, KIND_NUMBER, KIND_STRING, KIND_ARRAY, KIND_OBJECT};
    return value->type == JSON_NUMBER && is_integer(s, value) ? KIND_INTEGER | KIND_NUMBER : kinds[value->type];
}

static bool within(struct schema *s, const struct part *p, const struct json_node *value)
{
    struct limits l = {0};
    struct decimal d;
    bool known = true;
    for (size_t i = 0; i < p->n && schema_ok(s); i++)
        read_limits(s, part_node(s, p->items[i]), &l);
    if (!l.has_min && !l.has_max && !l.has_multiple)
        return true;
    if (!decimal_parse(&d, s->j->text + value->begin, value->end - value->begin)) {
        schema_fail(s, "a value of \"enum\" or \"const\" has too many digits");
        return false;
    }
    int low = l.has_min ? decimal_compare(&d, &l.min) : 1, high = l.has_max ? decimal_compare(&l.max, &d) : 1;
    if (l.has_multiple && !decimal_is_multiple(&d, &l.multiple, &known) && known)
        return false;
    if (!known)
        schema_fail(s, "this \"multipleOf\" is not supported");
    return low >= l.min_excluded && high >= l.max_excluded;
}

static bool length_fits(struct schema *s, const struct part *p, const struct json_node *value)
{
    struct buf text = {0};
    uint32_t min = 0, max = EXPR_UNLIMITED, c;
    size_t n = 0;
    schema_count(s, p, "minLength", true, &min);
    schema_count(s, p, "maxLength", false, &max);
    json_string(s->j, value, &text);
    for (size_t at = 0; at < text.len; n++)
        at += utf8_decode(text.data + at, text.len - at, &c);
    buf_free(&text);
    return n >= min && n <= max;
}

/* Keywords that would need a validator to be applied to a given value. */
static void refuse_together(struct schema *s, const struct part *p, enum json_type type)
{
    static const char *const of_string[] = {"pattern", "format", NULL}, *const of_array[] = {"items",    "prefixItems", "additionalItems",
                                                                                             "minItems", "maxItems",    NULL};
    static const char *const of_object[] = {"properties", "required", "additionalProperties", "minProperties", "maxProperties", NULL},
                             *const none[] = {NULL};
    const char *const *names = type == JSON_STRING ? of_string : type == JSON_ARRAY ? of_array : type == JSON_OBJECT ? of_object : none;
    for (; *names; names++) {
        for (size_t i = 0; i < p->n; i++) {
            if (json_get(s->j, part_node(s, p->items[i]), *names))
                schema_fail(s, "\"%s\" together with \"enum\" or \"const\" is not supported", *names);
        }
    }
}

static bool listed(const struct json *j, const struct json_node *node, const struct json_node *value)
{
    const struct json_node *fixed = json_get(j, node, "const"), *list = json_get(j, node, "enum");
    bool found = !list;
    for (const struct json_node *n = json_first(j, list); n && !found; n = json_next(j, list, n))
        found = json_same(j, n, value);
    return found && (!fixed || json_same(j, fixed, value));
}

/* Whether a value of the schema `own` satisfies the others and the rest of that one. */
static bool satisfies(struct schema *s, const struct part *p, unsigned kinds, const struct json_node *own, const struct json_node *value)
{
    if (!(kind_of(s, value) & kinds) || (value->type == JSON_NUMBER && !is_integer(s, value) && !(kinds & KIND_NUMBER)))
        return false;
    for (size_t i = 0; i < p->n; i++) {
        const struct json_node *node = part_node(s, p->items[i]);
        bool trivial = node == own && !(json_get(s->j, own, "const") && json_get(s->j, own, "enum"));
        if (!trivial && !listed(s->j, node, value))
            return false;
        s->compared += trivial ? 1 : 1000;
    }
    if (s->compared > MAX_COMPARED)
        schema_fail(s, "too many values in several \"enum\" that must hold at once");
    refuse_together(s, p, value->type);
    if (value->type == JSON_NUMBER)
        return within(s, p, value);
    return value->type != JSON_STRING || length_fits(s, p, value);
}

uint32_t schema_choices(struct schema *s, const struct part *p, unsigned kinds, bool *found)
{
    struct exprs *g = s->x.g;
    uint32_t all = 0;
    *found = false;
    for (size_t i = 0; i < p->n && schema_ok(s); i++) {
        const struct json_node *node = part_node(s, p->items[i]), *fixed = json_get(s->j, node, "const"),
                               *list = json_get(s->j, node, "enum");
        if (list && (list->type != JSON_ARRAY || list->count == 0))
            schema_fail(s, "\"enum\" is a list of values");
        if ((!fixed && !list) || *found)
            continue;
        *found = true;
        all = expr_alt(g);
        for (const struct json_node *v = fixed ? fixed : json_first(s->j, list); v && schema_ok(s);
             v = fixed ? NULL : json_next(s->j, list, v)) {
            if (satisfies(s, p, kinds, node, v))
                expr_add(g, all, jx_literal(&s->x, s->j, v));
        }
        if (schema_ok(s) && !g->nodes[all].first && p->n == 1) /* else it is an alternative that does not apply */
            schema_fail(s, "no value of an \"enum\" or \"const\" satisfies the rest");
    }
    return all;
}
