/* The grammars of arrays and objects. */
#include <stdlib.h>
#include <string.h>

#include "grow.h"
#include "schema_parts.h"
#include "utf8.h"

static uint32_t item_of(const struct schema *s, const struct json_node *node) { return (uint32_t)(node - s->j->nodes) << DONE_BITS; }

/* "," and white space, then a value. */
static uint32_t after_comma(struct schema *s, uint32_t value)
{
    struct exprs *g = s->x.g;
    uint32_t all = expr_seq(g);
    expr_add(g, all, expr_text(g, ","));
    expr_add(g, all, jx_space(&s->x));
    return expr_add(g, all, value);
}

/* A rule with a body. */
static uint32_t as_rule(struct exprs *g, uint32_t body)
{
    uint32_t rule = rule_new(g, NULL, 0);
    rule_define(g, rule, body);
    return rule;
}

/* -------------------------------------------------------------------- arrays */

/* What one schema says about the item at an index; NULL: nothing. */
static const struct json_node *item_schema(const struct json *j, const struct json_node *node, size_t index)
{
    const struct json_node *first = json_get(j, node, "prefixItems"), *rest = json_get(j, node, "items");
    if (rest && rest->type == JSON_ARRAY) { /* before 2020-12 */
        first = rest;
        rest = json_get(j, node, "additionalItems");
    }
    if (!first || first->type != JSON_ARRAY || index >= first->count)
        return rest;
    const struct json_node *n = json_first(j, first);
    while (index-- > 0)
        n = json_next(j, first, n);
    return n;
}

static uint32_t item_rule(struct schema *s, const struct part *p, size_t index)
{
    struct part item = {0};
    for (size_t i = 0; i < p->n && schema_ok(s); i++) {
        const struct json_node *node = item_schema(s->j, part_node(s, p->items[i]), index);
        if (node)
            part_add(s, &item, item_of(s, node));
    }
    uint32_t rule = schema_ok(s) ? schema_rule(s, &item) : 0;
    free(item.items);
    return rule;
}

/* How many items have schemas of their own, and whether others may follow. */
static size_t count_first(struct schema *s, const struct part *p, bool *more)
{
    size_t most = 0;
    bool mentioned = false;
    *more = true;
    for (size_t i = 0; i < p->n; i++) {
        const struct json_node *node = part_node(s, p->items[i]), *first = json_get(s->j, node, "prefixItems"),
                               *rest = json_get(s->j, node, "items");
        if (first && (first->type != JSON_ARRAY || first->count == 0))
            schema_fail(s, "\"prefixItems\" is a list of schemas");
        if (rest && rest->type == JSON_ARRAY) {
            first = rest;
            rest = json_get(s->j, node, "additionalItems");
        }
        most = MAX(most, first ? first->count : (size_t)0);
        mentioned |= rest != NULL;
    }
    /* Where only the first ones are described, others are written only if they must be. */
    if (most && !mentioned)
        *more = false;
    return most;
}

enum {
    MAX_FIRST = 2000
};

uint32_t schema_array(struct schema *s, const struct part *p)
{
    struct exprs *g = s->x.g;
    uint32_t min = 0, max = EXPR_UNLIMITED;
    bool more;
    schema_count(s, p, "minItems", true, &min);
    schema_count(s, p, "maxItems", false, &max);
    size_t n = count_first(s, p, &more);
    if (min > max && p->n == 1)
        schema_fail(s, "\"minItems\" is above \"maxItems\"");
    if (n > MAX_FIRST)
        schema_fail(s, "more than %d items with schemas of their own", MAX_FIRST);
    if (!schema_ok(s))
        return 0;
    if (min > max)
        return expr_alt(g); /* nothing */
    if (n == 0) {
        uint32_t item = as_rule(g, item_rule(s, p, 0));
        return jx_list(&s->x, "[]", item, min, max);
    }
    if (!more && min <= n)
        max = MIN(max, (uint32_t)n);
    n = MIN(n, (size_t)max);
    /* From the end: what may follow once so many items are written. */
    uint32_t rest = max > n ? expr_repeat(g, after_comma(s, item_rule(s, p, n)), min > n ? min - (uint32_t)n : 0,
                                          max == EXPR_UNLIMITED ? max : max - (uint32_t)n)
                            : expr_empty(g);
    for (size_t i = n; i-- > 0 && schema_ok(s);) {
        uint32_t item = item_rule(s, p, i), step = expr_seq(g);
        expr_add(g, step, i == 0 ? item : after_comma(s, item));
        expr_add(g, step, expr_rule(g, as_rule(g, rest)));
        if (i == 0)
            expr_add(g, step, jx_space(&s->x));
        rest = i < min ? step : expr_optional(g, step);
    }
    uint32_t all = expr_seq(g);
    expr_add(g, all, expr_text(g, "["));
    expr_add(g, all, jx_space(&s->x));
    expr_add(g, all, rest);
    return expr_add(g, all, expr_text(g, "]"));
}

/* ------------------------------------------------------------------- objects */

struct property {
    struct buf name;
    struct part part;
    size_t describer; /* the last schema that describes it: its index in the part + 1; 0: none does */
    bool required, forbidden;
};

struct object {
    struct schema *s;
    const struct part *p;
    struct property *properties;
    size_t n, cap;
    uint32_t *slots; /* by name: index + 1 */
    size_t n_slots;
};

static uint32_t *find_property(const struct object *o, uint32_t *slots, size_t n_slots, const struct buf *name)
{
    uint32_t h = 1;
    for (size_t i = 0; i < name->len; i++)
        h = (h ^ (uint8_t)name->data[i]) * 0x9E3779B1u;
    size_t at = (h ^ h >> 15) & (n_slots - 1);
    for (; slots[at]; at = (at + 1) & (n_slots - 1)) {
        const struct buf *have = &o->properties[slots[at] - 1].name;
        if (have->len == name->len && (name->len == 0 || memcmp(have->data, name->data, name->len) == 0))
            break;
    }
    return &slots[at];
}

/* The property that a string of the schema names, made if it is new. */
static struct property *property_named(struct object *o, const struct json_node *node)
{
    struct schema *s = o->s;
    struct buf name = {0};
    if (o->n * 2 >= o->n_slots) {
        size_t n = o->n_slots ? o->n_slots * 2 : 32;
        uint32_t *slots = calloc(n, sizeof *slots);
        if (!slots) {
            s->x.g->failure = EXPRS_NO_MEMORY;
            return NULL;
        }
        for (size_t i = 0; i < o->n; i++)
            *find_property(o, slots, n, &o->properties[i].name) = (uint32_t)i + 1;
        free(o->slots);
        o->slots = slots;
        o->n_slots = n;
    }
    json_string(s->j, node, &name);
    uint32_t *slot = find_property(o, o->slots, o->n_slots, &name);
    if (*slot) {
        buf_free(&name);
        return &o->properties[*slot - 1];
    }
    struct property *properties = name.failed ? NULL : grown(o->properties, &o->cap, o->n, 1, sizeof *properties);
    if (!properties) {
        s->x.g->failure = EXPRS_NO_MEMORY;
        buf_free(&name);
        return NULL;
    }
    o->properties = properties;
    o->properties[o->n] = (struct property){.name = name};
    *slot = (uint32_t)++o->n;
    return &o->properties[o->n - 1];
}

/* All names, in the order of the document: described ones first. */
static void collect_names(struct object *o)
{
    struct schema *s = o->s;
    const struct json *j = s->j;
    for (size_t i = 0; i < o->p->n && schema_ok(s); i++) {
        const struct json_node *all = json_get(j, part_node(s, o->p->items[i]), "properties");
        if (all && all->type != JSON_OBJECT)
            schema_fail(s, "\"properties\" is an object");
        for (const struct json_node *key = json_first(j, all); key && schema_ok(s);) {
            const struct json_node *value = json_next(j, all, key);
            struct property *property = property_named(o, key);
            if (property && property->describer == i + 1) {
                char shown[ESCAPED_MAX];
                schema_fail(s, "property \"%s\" is described twice", escaped(shown, property->name.data, property->name.len));
            } else if (property) {
                property->describer = i + 1;
                part_add(s, &property->part, item_of(s, value));
            }
            key = json_next(j, all, value);
        }
    }
    for (size_t i = 0; i < o->p->n && schema_ok(s); i++) {
        const struct json_node *list = json_get(j, part_node(s, o->p->items[i]), "required");
        bool old = list && (list->type == JSON_TRUE || list->type == JSON_FALSE); /* draft 3, inside a property */
        if (list && (old || list->type != JSON_ARRAY))
            schema_fail(s, "\"required\" is a list of names");
        for (const struct json_node *n = json_first(j, list); n && schema_ok(s); n = json_next(j, list, n)) {
            struct property *property = n->type == JSON_STRING ? property_named(o, n) : NULL;
            if (property)
                property->required = true;
            else
                schema_fail(s, "\"required\" is a list of names");
        }
    }
}

static bool describes(const struct json *j, const struct json_node *node, const struct buf *name)
{
    const struct json_node *all = json_get(j, node, "properties");
    return memchr(name->data ? name->data : "", 0, name->len) == NULL && json_get(j, all, name->len ? name->data : "") != NULL;
}

enum {
    MAX_COMBINED = 100000000
}; /* comparisons of names */

/* "additionalProperties" of a schema speaks about names that its own "properties" does not have. */
static void apply_additional(struct object *o)
{
    struct schema *s = o->s;
    bool alone = o->p->n == 1; /* then what is described is described here */
    if (!alone && o->p->n * o->n > MAX_COMBINED / MAX(o->n, (size_t)1))
        schema_fail(s, "too many properties in schemas that must hold at once");
    for (size_t i = 0; i < o->p->n; i++) {
        const struct json_node *node = part_node(s, o->p->items[i]), *others = json_get(s->j, node, "additionalProperties");
        for (size_t k = 0; k < o->n && others && schema_ok(s); k++) {
            struct property *property = &o->properties[k];
            if (others->type == JSON_TRUE || (alone ? property->describer != 0 : describes(s->j, node, &property->name)))
                continue;
            property->forbidden |= others->type == JSON_FALSE;
            if (others->type == JSON_OBJECT)
                part_add(s, &property->part, item_of(s, others));
        }
    }
}

/* The schemas of names that are nowhere described; false: there are no such names. */
static bool additional_part(struct object *o, struct part *out)
{
    struct schema *s = o->s;
    bool mentioned = false, described = false;
    for (size_t i = 0; i < o->p->n; i++) {
        const struct json_node *node = part_node(s, o->p->items[i]), *others = json_get(s->j, node, "additionalProperties");
        described |= json_get(s->j, node, "properties") != NULL;
        if (!others)
            continue;
        mentioned = true;
        if (others->type == JSON_FALSE)
            return false;
        if (others->type != JSON_TRUE)
            part_add(s, out, item_of(s, others));
    }
    return mentioned || !described;
}

static uint32_t pair_of(struct schema *s, uint32_t key, uint32_t value)
{
    struct exprs *g = s->x.g;
    uint32_t pair = expr_seq(g);
    expr_add(g, pair, key);
    expr_add(g, pair, expr_text(g, ":"));
    expr_add(g, pair, jx_gap(&s->x));
    return expr_add(g, pair, value);
}

static int by_name(const void *a, const void *b)
{
    const struct buf *x = *(const struct buf *const *)a, *y = *(const struct buf *const *)b;
    int order = memcmp(x->data ? x->data : "", y->data ? y->data : "", MIN(x->len, y->len));
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

/* The rest of a key, closing quote included, that is none of the sorted names, all of which
 * have the same first `depth` bytes, the ones of the key so far. */
static uint32_t other_key(struct schema *s, const struct buf *const *names, size_t n, size_t depth, uint32_t anything)
{
    struct exprs *g = s->x.g;
    uint32_t all = expr_alt(g);
    struct charset others = {0};
    size_t i = 0;
    if (n == 0)
        return expr_rule(g, anything);
    if (names[0]->len == depth)
        i++; /* the key so far is one of the names: it may not end here */
    else
        expr_add(g, all, expr_text(g, "\""));
    while (i < n && schema_ok(s)) {
        uint32_t c, unused;
        size_t len = utf8_decode(names[i]->data + depth, names[i]->len - depth, &c), k = i + 1;
        while (k < n && utf8_decode(names[k]->data + depth, names[k]->len - depth, &unused) == len && unused == c)
            k++;
        struct charset one = {0};
        charset_add(&one, c, c);
        charset_add(&others, c, c);
        uint32_t step = expr_seq(g), rule = rule_new(g, NULL, 0);
        expr_add(g, step, jx_class(&s->x, &one));
        expr_add(g, all, expr_add(g, step, expr_rule(g, rule)));
        rule_define(g, rule, other_key(s, names + i, k - i, depth + len, anything));
        charset_free(&one);
        i = k;
    }
    charset_finish(&others);
    charset_negate(&others);
    uint32_t step = expr_seq(g);
    expr_add(g, step, jx_class(&s->x, &others));
    expr_add(g, all, expr_add(g, step, expr_rule(g, anything)));
    if (others.failed)
        g->failure = EXPRS_NO_MEMORY;
    charset_free(&others);
    return all;
}

enum {
    MAX_NAME = 200
};

/* A quoted key other than the known names, each character spelled in only one way. */
static uint32_t additional_key(struct object *o)
{
    struct schema *s = o->s;
    struct exprs *g = s->x.g;
    const struct buf **names = malloc((o->n + 1) * sizeof *names);
    struct charset any = {0};
    if (!names) {
        g->failure = EXPRS_NO_MEMORY;
        return 0;
    }
    for (size_t i = 0; i < o->n; i++) {
        names[i] = &o->properties[i].name;
        if (names[i]->len > MAX_NAME)
            schema_fail(s, "a property's name is longer than %d bytes, together with \"additionalProperties\"", MAX_NAME);
    }
    qsort(names, o->n, sizeof *names, by_name);
    charset_negate(&any);
    uint32_t body = expr_seq(g), key = expr_seq(g);
    expr_add(g, body, expr_repeat(g, jx_class(&s->x, &any), 0, EXPR_UNLIMITED));
    expr_add(g, body, expr_text(g, "\""));
    uint32_t anything = as_rule(g, body);
    expr_add(g, key, expr_text(g, "\""));
    if (schema_ok(s))
        expr_add(g, key, other_key(s, names, o->n, 0, anything));
    charset_free(&any);
    free(names);
    return key;
}

/* The order is the schema's. after[i]: what may follow from property i on when a comma is
 * needed; first[i]: when nothing was written yet. */
static uint32_t members(struct object *o, const uint32_t *pairs, uint32_t additional, uint32_t most_additional)
{
    struct schema *s = o->s;
    struct exprs *g = s->x.g;
    uint32_t after = additional ? expr_repeat(g, after_comma(s, expr_rule(g, additional)), 0, most_additional) : expr_empty(g),
             first = expr_empty(g);
    if (additional) {
        uint32_t several = expr_seq(g);
        expr_add(g, several, expr_rule(g, additional));
        expr_add(g, several,
                 expr_repeat(g, after_comma(s, expr_rule(g, additional)), 0,
                             most_additional == EXPR_UNLIMITED ? most_additional : most_additional - 1));
        first = expr_optional(g, several);
    }
    for (size_t i = o->n; i-- > 0 && schema_ok(s);) {
        const struct property *property = &o->properties[i];
        if (!pairs[i])
            continue;
        uint32_t after_rule = as_rule(g, after), with = expr_seq(g), begin = expr_seq(g);
        expr_add(g, with, after_comma(s, expr_rule(g, pairs[i])));
        uint32_t step = property->required ? with : expr_optional(g, with);
        after = expr_seq(g);
        expr_add(g, after, step);
        expr_add(g, after, expr_rule(g, after_rule));
        expr_add(g, begin, expr_rule(g, pairs[i]));
        expr_add(g, begin, expr_rule(g, after_rule));
        if (property->required) {
            first = begin;
        } else {
            uint32_t either = expr_alt(g);
            expr_add(g, either, begin);
            expr_add(g, either, expr_rule(g, as_rule(g, first)));
            first = either;
        }
    }
    return first;
}

static uint32_t object_body(struct object *o)
{
    struct schema *s = o->s;
    struct exprs *g = s->x.g;
    struct part others = {0};
    uint32_t min = 0, max = EXPR_UNLIMITED, n_required = 0, n_possible = 0, additional = 0;
    schema_count(s, o->p, "minProperties", true, &min);
    schema_count(s, o->p, "maxProperties", false, &max);
    collect_names(o);
    apply_additional(o);
    bool open = additional_part(o, &others);
    uint32_t *pairs = calloc(o->n + 1, sizeof *pairs), list = 0;
    if (!pairs)
        g->failure = EXPRS_NO_MEMORY;
    for (size_t i = 0; i < o->n && schema_ok(s); i++) {
        struct property *property = &o->properties[i];
        char shown[ESCAPED_MAX];
        if (property->forbidden && property->required && o->p->n == 1)
            schema_fail(s, "property \"%s\" is required and forbidden", escaped(shown, property->name.data, property->name.len));
        n_required += property->required;
        n_possible += !property->forbidden;
        if (property->forbidden && property->required)
            pairs[i] = as_rule(g, expr_alt(g)); /* nothing: there is no such object */
        else if (!property->forbidden)
            pairs[i] = as_rule(g, pair_of(s, jx_quoted(&s->x, property->name.len ? property->name.data : "", property->name.len),
                                          schema_rule(s, &property->part)));
    }
    if (open && schema_ok(s))
        additional = as_rule(g, pair_of(s, o->n ? additional_key(o) : jx_string(&s->x), schema_rule(s, &others)));
    /* Repeated additional names count once for a reader, so only one can be relied on. */
    if (min > MAX(n_required, (uint32_t)1) || (min > n_required && (o->n > 0 || !additional)))
        schema_fail(s, "\"minProperties\" above the number of required ones is not supported");
    if (max < n_required && o->p->n == 1)
        schema_fail(s, "\"maxProperties\" is below the number of required ones");
    else if (max < n_required)
        list = expr_alt(g); /* nothing */
    else if (n_possible > max && n_possible > n_required)
        schema_fail(s, "\"maxProperties\" below the number of described properties is not supported");
    if (schema_ok(s) && o->n == 0 && additional) {
        list = jx_list(&s->x, "{}", additional, min, max);
    } else if (schema_ok(s) && !list) {
        uint32_t body = members(o, pairs, max == n_possible ? 0 : additional, max == EXPR_UNLIMITED ? max : max - n_possible),
                 spaced = expr_seq(g);
        list = expr_seq(g);
        expr_add(g, list, expr_text(g, "{"));
        expr_add(g, list, jx_space(&s->x));
        expr_add(g, spaced, body);
        expr_add(g, spaced, jx_space(&s->x));
        expr_add(g, list, o->n ? spaced : expr_empty(g));
        expr_add(g, list, expr_text(g, "}"));
    }
    free(others.items);
    free(pairs);
    return list;
}

uint32_t schema_object(struct schema *s, const struct part *p)
{
    struct object o = {.s = s, .p = p};
    uint32_t all = object_body(&o);
    for (size_t i = 0; i < o.n; i++) {
        buf_free(&o.properties[i].name);
        free(o.properties[i].part.items);
    }
    free(o.properties);
    free(o.slots);
    return all;
}
