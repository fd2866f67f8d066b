/* jsonexpr.h: the pieces of JSON as expressions: what schema.c builds grammars from.
 * Layer: model.
 *
 * Everything is bounded that a model could otherwise write forever without saying
 * anything: white space between values, digits of a number, depth of free-form values. */
#ifndef SIGNUM_JSONEXPR_H
#define SIGNUM_JSONEXPR_H

#include "expr.h"
#include "json.h"

enum {
    JX_DEPTH = 8,       /* of arrays and objects in a value that may be anything */
    JX_INT_DIGITS = 18, /* of an integer: fits 64 bits */
    JX_DIGITS = 15,     /* of a number with limits: as many as every double keeps */
};

/* Rules that are made when first wanted; 0: not yet (rule 0 belongs to the caller). */
struct jx {
    struct exprs *g;
    uint32_t space, string_char, string, integer, number;
    uint32_t any[JX_DEPTH + 1], object, array;
};

/* White space where a line may break: nothing, a space, or a newline and indentation. */
uint32_t jx_space(struct jx *x);
/* Nothing or one space, after a colon. */
uint32_t jx_gap(struct jx *x);

/* One character of a string, in every spelling that JSON has for it. */
uint32_t jx_string_char(struct jx *x);
uint32_t jx_string(struct jx *x);
uint32_t jx_integer(struct jx *x);
uint32_t jx_number(struct jx *x);
/* Any value, nested at most JX_DEPTH deep; any object, any array. */
uint32_t jx_any(struct jx *x);
uint32_t jx_object(struct jx *x);
uint32_t jx_array(struct jx *x);
/* "[" items "]" with min to max items, and "{" with pairs; max may be EXPR_UNLIMITED. */
uint32_t jx_list(struct jx *x, const char *brackets, uint32_t rule, uint32_t min, uint32_t max);

/* A character out of a set as it stands in a string, each spelled in one way only. */
uint32_t jx_class(struct jx *x, const struct charset *s);
/* An expression over characters (regexp_parse) as it stands in a string. */
uint32_t jx_encode(struct jx *x, uint32_t node);
/* A quoted string, and a value of a document exactly. */
uint32_t jx_quoted(struct jx *x, const char *text, size_t len);
uint32_t jx_literal(struct jx *x, const struct json *j, const struct json_node *value);

#endif
