/* schema.h: JSON schemas as grammars of the texts that satisfy them. Layer: model.
 *
 * Every text that the grammar matches is valid; not every valid text is matched: properties
 * come in the order of the schema, "additionalProperties" that are not mentioned are not
 * written, numbers and white space are bounded (jsonexpr.h). What can not be kept exactly is an
 * error, never ignored, and so is an unknown keyword.
 *
 * Understood: type, enum, const, nullable; properties, required, additionalProperties,
 * minProperties up to the number of required ones or 1, maxProperties; items, prefixItems,
 * additionalItems, minItems, maxItems; minLength, maxLength, pattern, format (date, time,
 * date-time, duration, email, hostname, ipv4, ipv6, uri, uuid); minimum, maximum,
 * exclusiveMinimum, exclusiveMaximum, multipleOf; anyOf, allOf, $ref into the document, and
 * oneOf if the alternatives can be seen to exclude each other. */
#ifndef SIGNUM_SCHEMA_H
#define SIGNUM_SCHEMA_H

#include "expr.h"

/* Errors: SG_USAGE; running out of memory shows in g->failure. */
enum sg_status schema_parse(struct exprs *g, const char *text, size_t len, uint32_t *root, struct sg_error *err);

/* Any value, or any object. */
uint32_t schema_any(struct exprs *g, bool object);

/* A schema in short: fields separated by commas or newlines, each "name", "name type" or
 * "name type: description"; types are str (the default), int, float, bool. Appends the JSON schema of
 * an object that has them all. SG_USAGE on an unknown type or a bad name. */
enum sg_status schema_expand(const char *text, size_t len, struct buf *out, struct sg_error *err);

#endif
