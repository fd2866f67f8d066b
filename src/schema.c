#include "schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grow.h"
#include "schema_parts.h"

void schema_fail(struct schema *s, const char *format, ...)
{
    char text[512];
    va_list args;
    if (!schema_ok(s)) /* out of memory makes much look wrong that is not */
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    s->status = fail(s->err, SG_USAGE, "JSON schema: %s", text);
}

bool part_add(struct schema *s, struct part *p, uint32_t item)
{
    uint32_t *items = grown(p->items, &p->cap, p->n, 1, sizeof *items);
    if (!items) {
        s->x.g->failure = EXPRS_NO_MEMORY;
        return false;
    }
    p->items = items;
    p->items[p->n++] = item;
    return true;
}

/* ------------------------------------------------------------- references */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* One step of a JSON pointer, %XX ~1 ~0 decoded, from *at on. */
static void pointer_step(const char **at, const char *end, struct buf *out)
{
    for (; *at < end && **at != '/'; ++*at) {
        char c = **at;
        if (c == '%' && end - *at > 2 && hex_digit((*at)[1]) >= 0 && hex_digit((*at)[2]) >= 0) {
            c = (char)(hex_digit((*at)[1]) * 16 + hex_digit((*at)[2]));
            *at += 2;
        } else if (c == '~' && end - *at > 1 && ((*at)[1] == '0' || (*at)[1] == '1')) {
            c = *++*at == '0' ? '~' : '/';
        }
        buf_putc(out, c);
    }
}

static const struct json_node *step_into(const struct json *j, const struct json_node *node, const char *name)
{
    if (node->type == JSON_OBJECT)
        return json_get(j, node, name);
    char *end;
    unsigned long index = strtoul(name, &end, 10);
    if (node->type != JSON_ARRAY || *end || end == name || index >= node->count)
        return NULL;
    const struct json_node *item = json_first(j, node);
    while (index-- > 0)
        item = json_next(j, node, item);
    return item;
}

const struct json_node *schema_target(struct schema *s, const struct json_node *ref)
{
    struct buf text = {0}, step = {0};
    const struct json_node *node = NULL;
    char shown[ESCAPED_MAX];
    if (ref->type == JSON_STRING)
        json_string(s->j, ref, &text);
    if (text.len && text.data[0] == '#' && (text.len == 1 || text.data[1] == '/')) {
        const char *at = text.data + 1, *end = text.data + text.len;
        node = &s->j->nodes[0];
        while (node && at < end) {
            at++;
            step.len = 0;
            buf_append(&step, "", 0);
            pointer_step(&at, end, &step);
            node = step.failed ? NULL : step_into(s->j, node, step.data);
        }
    }
    if (text.failed || step.failed)
        s->x.g->failure = EXPRS_NO_MEMORY;
    if (!node)
        schema_fail(s, "\"$ref\" %s leads nowhere (only # and #/... are supported)", escaped(shown, text.data ? text.data : "", text.len));
    buf_free(&text);
    buf_free(&step);
    return node;
}

/* ------------------------------------------------------------------ keywords */

static bool one_of(const char *const *names, const struct json *j, const struct json_node *key)
{
    for (; *names; names++) {
        if (json_string_equal(j, key, *names))
            return true;
    }
    return false;
}

/* Refuses what is unknown, and what is known but can not be kept. */
static void check_keywords(struct schema *s, const struct json_node *node)
{
    static const char *const known[] = {
        "type", "enum", "const", "nullable", "properties", "required", "additionalProperties", "minProperties", "maxProperties", "items",
        "prefixItems", "additionalItems", "minItems", "maxItems", "minLength", "maxLength", "pattern", "format", "minimum", "maximum",
        "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "anyOf", "oneOf", "allOf", "$ref",
        /* annotations */
        "title", "description", "default", "example", "examples", "$schema", "$id", "id", "$comment", "$defs", "definitions", "deprecated",
        "readOnly", "writeOnly", "$anchor", "markdownDescription", NULL};
    char shown[ESCAPED_MAX];
    for (const struct json_node *key = json_first(s->j, node); key;) {
        const struct json_node *value = json_next(s->j, node, key);
        bool harmless = json_string_equal(s->j, key, "uniqueItems") && value->type == JSON_FALSE;
        if (!harmless && !one_of(known, s->j, key)) {
            struct buf name = {0};
            json_string(s->j, key, &name);
            schema_fail(s, "keyword \"%s\" is not supported", escaped(shown, name.data ? name.data : "", name.len));
            buf_free(&name);
            return;
        }
        key = json_next(s->j, node, value);
    }
}

static unsigned kind_named(const struct json *j, const struct json_node *name)
{
    static const char *const names[] = {"null", "boolean", "integer", "number", "string", "array", "object"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (json_string_equal(j, name, names[i]))
            return i == 3 ? KIND_NUMBER | KIND_INTEGER : 1u << i;
    }
    return 0;
}

unsigned schema_kinds(struct schema *s, const struct json_node *node)
{
    const struct json_node *type = json_get(s->j, node, "type"), *nullable = json_get(s->j, node, "nullable");
    unsigned kinds = 0;
    if (!type)
        return KIND_ALL;
    if (type->type == JSON_STRING)
        kinds = kind_named(s->j, type);
    for (const struct json_node *t = type->type == JSON_ARRAY ? json_first(s->j, type) : NULL; t; t = json_next(s->j, type, t)) {
        unsigned kind = t->type == JSON_STRING ? kind_named(s->j, t) : 0;
        if (!kind) {
            kinds = 0;
            break;
        }
        kinds |= kind;
    }
    if (!kinds)
        schema_fail(s, "\"type\" is one of null, boolean, integer, number, string, array, object, or a list of them");
    return kinds | (nullable && nullable->type == JSON_TRUE ? KIND_NULL : 0);
}

/* Kinds that the keywords of a schema without "type" are about; 0: about none. */
static unsigned implied_kinds(const struct json *j, const struct json_node *node)
{
    static const struct {
        const char *keyword;
        unsigned kind;
    } about[] = {{"properties", KIND_OBJECT},
                 {"required", KIND_OBJECT},
                 {"additionalProperties", KIND_OBJECT},
                 {"minProperties", KIND_OBJECT},
                 {"maxProperties", KIND_OBJECT},
                 {"items", KIND_ARRAY},
                 {"prefixItems", KIND_ARRAY},
                 {"minItems", KIND_ARRAY},
                 {"maxItems", KIND_ARRAY},
                 {"additionalItems", KIND_ARRAY},
                 {"minLength", KIND_STRING},
                 {"maxLength", KIND_STRING},
                 {"pattern", KIND_STRING},
                 {"format", KIND_STRING},
                 {"minimum", KIND_NUMBER | KIND_INTEGER},
                 {"maximum", KIND_NUMBER | KIND_INTEGER},
                 {"exclusiveMinimum", KIND_NUMBER | KIND_INTEGER},
                 {"exclusiveMaximum", KIND_NUMBER | KIND_INTEGER},
                 {"multipleOf", KIND_NUMBER | KIND_INTEGER}};
    unsigned kinds = 0;
    if (node->type != JSON_OBJECT || json_get(j, node, "type"))
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(about); i++)
        kinds |= json_get(j, node, about[i].keyword) ? about[i].kind : 0;
    return kinds;
}

bool schema_count(struct schema *s, const struct part *p, const char *keyword, bool highest, uint32_t *value)
{
    bool found = false;
    for (size_t i = 0; i < p->n; i++) {
        const struct json_node *n = json_get(s->j, part_node(s, p->items[i]), keyword);
        double number;
        if (!n)
            continue;
        if (n->type != JSON_NUMBER || !json_double(s->j, n, &number) || number < 0 || number > 1e9 || number != (double)(uint32_t)number) {
            schema_fail(s, "\"%s\" is a whole number up to 1000000000", keyword);
            return false;
        }
        uint32_t count = (uint32_t)number;
        if (!found || (highest ? count > *value : count < *value))
            *value = count;
        found = true;
    }
    return found;
}

/* --------------------------------------------------------------------- parts */

static bool has_item(const struct part *p, uint32_t item)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->items[i] >> DONE_BITS == item >> DONE_BITS)
            return true;
    }
    return false;
}

enum {
    MAX_REFERENCES = 100,
    MAX_PART = 1000,
    MAX_RULES = 50000
};
enum {
    UNSEEN,
    OPEN,
    FINE
};

static uint32_t number_of(const struct schema *s, const struct json_node *node) { return (uint32_t)(node - s->j->nodes); }

/* Refuses a schema that must hold for its own validity to be known. */
static void refuse_circles(struct schema *s, const struct json_node *node, size_t depth)
{
    static const char *const lists[] = {"allOf", "anyOf", "oneOf"};
    uint8_t *mark = &s->marks[number_of(s, node)];
    if (*mark == FINE || node->type != JSON_OBJECT || !schema_ok(s))
        return;
    if (*mark == OPEN || depth > MAX_REFERENCES) {
        schema_fail(s, *mark == OPEN ? "\"$ref\" goes in a circle" : "too many references follow each other");
        return;
    }
    *mark = OPEN;
    const struct json_node *ref = json_get(s->j, node, "$ref"), *target = ref ? schema_target(s, ref) : NULL;
    if (target)
        refuse_circles(s, target, depth + 1);
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        const struct json_node *list = json_get(s->j, node, lists[i]);
        if (list && (list->type != JSON_ARRAY || list->count == 0))
            schema_fail(s, "\"%s\" is a list of schemas", lists[i]);
        for (const struct json_node *n = json_first(s->j, list); n && schema_ok(s); n = json_next(s->j, list, n))
            refuse_circles(s, n, depth + 1);
    }
    *mark = FINE;
}

static void add_schema(struct schema *s, struct part *p, uint32_t item)
{
    const struct json_node *node = part_node(s, item);
    if (!schema_ok(s) || node->type == JSON_TRUE || has_item(p, item))
        return;
    if (node->type != JSON_OBJECT && node->type != JSON_FALSE)
        schema_fail(s, "a schema is an object, true or false");
    else if (p->n > MAX_PART)
        schema_fail(s, "too many schemas must hold at once");
    else
        part_add(s, p, item);
}

/* Adds what the schemas of a part refer to by "$ref" and "allOf". */
static void add_references(struct schema *s, struct part *p)
{
    for (size_t i = 0; i < p->n && schema_ok(s); i++) { /* n grows */
        const struct json_node *node = part_node(s, p->items[i]);
        refuse_circles(s, node, 0);
        if (schema_ok(s))
            check_keywords(s, node);
        const struct json_node *ref = json_get(s->j, node, "$ref"), *all = json_get(s->j, node, "allOf");
        const struct json_node *target = ref && schema_ok(s) ? schema_target(s, ref) : NULL;
        if (target)
            add_schema(s, p, number_of(s, target) << DONE_BITS);
        for (const struct json_node *n = json_first(s->j, all); n && schema_ok(s); n = json_next(s->j, all, n))
            add_schema(s, p, number_of(s, n) << DONE_BITS);
    }
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t *find_part(const struct schema *s, uint32_t *slots, size_t n_slots, const struct part *p)
{
    uint32_t h = 1;
    for (size_t i = 0; i < p->n; i++) {
        h = (h ^ p->items[i]) * 0x9E3779B1u;
        h ^= h >> 15;
    }
    size_t at = h & (n_slots - 1);
    for (; slots[at]; at = (at + 1) & (n_slots - 1)) {
        const struct part *have = &s->rules[slots[at] - 1];
        if (have->n == p->n && (p->n == 0 || memcmp(have->items, p->items, p->n * sizeof *p->items) == 0))
            break;
    }
    return &slots[at];
}

static bool grow_slots(struct schema *s)
{
    size_t n = s->n_slots ? s->n_slots * 2 : 256;
    uint32_t *slots = calloc(n, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < s->n_rules; i++)
        *find_part(s, slots, n, &s->rules[i]) = (uint32_t)i + 1;
    free(s->slots);
    s->slots = slots;
    s->n_slots = n;
    return true;
}

uint32_t schema_rule(struct schema *s, const struct part *p)
{
    struct exprs *g = s->x.g;
    struct part full = {0};
    for (size_t i = 0; i < p->n; i++)
        add_schema(s, &full, p->items[i]);
    add_references(s, &full);
    /* The order matters only for the order of properties; equal sets are the same rule. */
    if (full.n > 1)
        qsort(full.items, full.n, sizeof *full.items, by_number);
    if (s->n_rules > MAX_RULES)
        schema_fail(s, "too large, or its alternatives have too many combinations");
    if (schema_ok(s) && s->n_rules * 2 >= s->n_slots && !grow_slots(s))
        g->failure = EXPRS_NO_MEMORY;
    uint32_t *slot = schema_ok(s) ? find_part(s, s->slots, s->n_slots, &full) : NULL;
    if (slot && *slot) {
        free(full.items);
        return expr_rule(g, s->rule_of[*slot - 1]);
    }
    struct part *rules = slot ? grown(s->rules, &s->rules_cap, s->n_rules, 1, sizeof *rules) : NULL;
    s->rules = rules ? rules : s->rules;
    uint32_t *rule_of = rules ? grown(s->rule_of, &s->rule_of_cap, s->n_rules, 1, sizeof *rule_of) : NULL;
    s->rule_of = rule_of ? rule_of : s->rule_of;
    if (!rule_of) {
        if (slot)
            g->failure = EXPRS_NO_MEMORY;
        free(full.items);
        return 0;
    }
    s->rules[s->n_rules] = full;
    s->rule_of[s->n_rules] = rule_new(g, NULL, 0);
    *slot = (uint32_t)++s->n_rules;
    return expr_rule(g, s->rule_of[s->n_rules - 1]);
}

/* --------------------------------------------------------------- alternatives */

static void check_exclusive(struct schema *s, const struct json_node *list)
{
    size_t i = 1;
    for (const struct json_node *a = json_first(s->j, list); a; a = json_next(s->j, list, a), i++) {
        size_t k = i + 1;
        for (const struct json_node *b = json_next(s->j, list, a); b && schema_ok(s); b = json_next(s->j, list, b), k++) {
            if (!schema_exclude(s, a, b, 0))
                schema_fail(s, "alternatives %zu and %zu of \"oneOf\" may hold at once; use \"anyOf\" if that does not matter", i, k);
        }
    }
}

/* The first "anyOf" or "oneOf" of a part becomes an alternative of parts without it; false: there is none. */
static bool expand_alternatives(struct schema *s, const struct part *p, uint32_t *out)
{
    struct exprs *g = s->x.g;
    for (size_t i = 0; i < p->n; i++) {
        for (uint32_t done = DONE_ANY_OF; done <= DONE_ONE_OF; done++) {
            const char *keyword = done == DONE_ANY_OF ? "anyOf" : "oneOf";
            const struct json_node *list = json_get(s->j, part_node(s, p->items[i]), keyword);
            if (!list || p->items[i] & done)
                continue;
            if (done == DONE_ONE_OF)
                check_exclusive(s, list);
            *out = expr_alt(g);
            struct part next = {0};
            for (size_t k = 0; k < p->n && schema_ok(s); k++)
                part_add(s, &next, p->items[k] | (k == i ? done : 0));
            for (const struct json_node *n = json_first(s->j, list); n && schema_ok(s); n = json_next(s->j, list, n)) {
                next.n = p->n;
                part_add(s, &next, number_of(s, n) << DONE_BITS);
                expr_add(g, *out, schema_rule(s, &next));
            }
            free(next.items);
            return true;
        }
    }
    return false;
}

/* Everything that satisfies all schemas of a part. */
static uint32_t part_body(struct schema *s, const struct part *p)
{
    struct exprs *g = s->x.g;
    uint32_t all = 0;
    unsigned kinds = KIND_ALL, implied = 0;
    bool choices = false;
    for (size_t i = 0; i < p->n; i++) {
        const struct json_node *node = part_node(s, p->items[i]);
        if (node->type == JSON_FALSE)
            return expr_alt(g); /* nothing */
        kinds &= schema_kinds(s, node);
        implied |= implied_kinds(s->j, node);
    }
    if (!schema_ok(s) || expand_alternatives(s, p, &all))
        return all;
    all = schema_choices(s, p, kinds, &choices);
    if (choices)
        return all;
    if (kinds == KIND_ALL && implied)
        kinds = implied;
    if (kinds == KIND_ALL)
        return jx_any(&s->x);
    all = expr_alt(g);
    if (kinds & KIND_OBJECT)
        expr_add(g, all, schema_object(s, p));
    if (kinds & KIND_ARRAY)
        expr_add(g, all, schema_array(s, p));
    if (kinds & KIND_STRING)
        expr_add(g, all, schema_string(s, p));
    if (kinds & (KIND_NUMBER | KIND_INTEGER))
        expr_add(g, all, schema_number(s, p, !(kinds & KIND_NUMBER)));
    if (kinds & KIND_BOOLEAN) {
        expr_add(g, all, expr_text(g, "true"));
        expr_add(g, all, expr_text(g, "false"));
    }
    if (kinds & KIND_NULL)
        expr_add(g, all, expr_text(g, "null"));
    return all;
}

enum sg_status schema_parse(struct exprs *g, const char *text, size_t len, uint32_t *root, struct sg_error *err)
{
    struct json j;
    struct sg_error inner;
    enum sg_status status = json_parse(&j, text, len, &inner);
    if (status != SG_OK) {
        json_free(&j);
        return fail(err, status, "JSON schema: %s", inner.message);
    }
    struct schema s = {.j = &j, .x = {.g = g}, .err = err, .marks = calloc(j.n_nodes, 1)};
    if (!s.marks)
        g->failure = EXPRS_NO_MEMORY;
    *root = rule_new(g, NULL, 0); /* takes number 0, which struct jx reads as "none yet" */
    if (j.n_nodes >= UINT32_MAX >> DONE_BITS)
        schema_fail(&s, "too large");
    else if (s.marks)
        rule_define(g, *root, schema_rule(&s, &(struct part){.items = (uint32_t[]){0}, .n = 1}));
    for (size_t i = 0; i < s.n_rules && schema_ok(&s); i++) { /* n_rules grows, rules may move */
        struct part p = s.rules[i];
        rule_define(g, s.rule_of[i], part_body(&s, &p));
    }
    for (size_t i = 0; i < s.n_rules; i++)
        free(s.rules[i].items);
    free(s.rules);
    free(s.rule_of);
    free(s.slots);
    free(s.marks);
    json_free(&j);
    return s.status;
}

uint32_t schema_any(struct exprs *g, bool object)
{
    struct jx x = {.g = g};
    uint32_t root = rule_new(g, NULL, 0);
    rule_define(g, root, object ? jx_object(&x) : jx_any(&x));
    return root;
}
