/* validator.h: a JSON schema validator that shares nothing with src/schema*.c but the JSON
 * reader: the judge of constrained answers. Layer: tests. */
#ifndef TEST_VALIDATOR_H
#define TEST_VALIDATOR_H

#include "json.h"

/* Whether the value satisfies the schema (2020-12, and the older forms of tuples and
 * exclusive limits). Unknown keywords are ignored, as the standard says; *why is the keyword
 * that failed. Patterns are read by the C library, with \d and (?: translated. */
bool validate(const struct json *schema, const struct json_node *s, const struct json *j, const struct json_node *v, const char **why);

#endif
