/* schema_parts.h: what the files of the schema compiler share. Layer: model. */
#ifndef SIGNUM_SCHEMA_PARTS_H
#define SIGNUM_SCHEMA_PARTS_H

#include "jsonexpr.h"
#include "schema.h"

enum json_kind { /* bits of "type" */
    KIND_NULL = 1 << 0,
    KIND_BOOLEAN = 1 << 1,
    KIND_INTEGER = 1 << 2,
    KIND_NUMBER = 1 << 3, /* implies KIND_INTEGER */
    KIND_STRING = 1 << 4,
    KIND_ARRAY = 1 << 5,
    KIND_OBJECT = 1 << 6,
    KIND_ALL = (1 << 7) - 1,
};

/* Schemas that must hold together, as nodes of the document; the low two bits say which of
 * their keywords are dealt with already. */
enum {
    DONE_ANY_OF = 1,
    DONE_ONE_OF = 2,
    DONE_BITS = 2
};
struct part {
    uint32_t *items;
    size_t n, cap;
};

struct schema {
    const struct json *j;
    struct jx x;
    struct sg_error *err;
    enum sg_status status; /* of the first failure */
    struct part *rules;    /* what each of our rules must satisfy */
    uint32_t *rule_of;     /* their numbers in g */
    size_t n_rules, rules_cap, rule_of_cap;
    uint32_t *slots; /* hash table: index + 1 */
    size_t n_slots;
    uint8_t *marks;            /* (j->n_nodes) of the search for circles */
    size_t compared, excluded; /* values and schemas compared so far: both have a limit */
};

static inline const struct json_node *part_node(const struct schema *s, uint32_t item) { return &s->j->nodes[item >> DONE_BITS]; }

/* Records the first failure; every function below may do so and then returns 0 or false. */
void schema_fail(struct schema *s, const char *format, ...) PRINTF_LIKE(2, 3);
static inline bool schema_ok(const struct schema *s) { return s->status == SG_OK && s->x.g->failure == EXPRS_OK; }

bool part_add(struct schema *s, struct part *p, uint32_t item);
/* A reference to the rule of everything that satisfies a part, which is copied. */
uint32_t schema_rule(struct schema *s, const struct part *p);

/* A count such as "maxItems"; the sharpest of all schemas of a part. */
bool schema_count(struct schema *s, const struct part *p, const char *keyword, bool highest, uint32_t *value);

/* "type" of one schema, without regard to other keywords; KIND_ALL when it has none. */
unsigned schema_kinds(struct schema *s, const struct json_node *node);

/* The schema that a "$ref" names. */
const struct json_node *schema_target(struct schema *s, const struct json_node *ref);

/* schema_values.c: one function for each kind of value. */
uint32_t schema_string(struct schema *s, const struct part *p);
uint32_t schema_number(struct schema *s, const struct part *p, bool integer);
uint32_t schema_array(struct schema *s, const struct part *p);
uint32_t schema_object(struct schema *s, const struct part *p);
/* One of given values that satisfies the whole part; found is set if there is any list. */
uint32_t schema_choices(struct schema *s, const struct part *p, unsigned kinds, bool *found);

/* schema_exclude.c: whether no value can satisfy both; false: not known. */
bool schema_exclude(struct schema *s, const struct json_node *a, const struct json_node *b, int depth);
bool json_same(const struct json *j, const struct json_node *a, const struct json_node *b);

#endif
