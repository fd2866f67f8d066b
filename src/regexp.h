/* regexp.h: regular expressions, as JSON schemas and JavaScript write them. Layer: model.
 *
 * Understood: literals, . [classes] (groups) (?:...) (?<name>...) | * + ? {m} {m,} {m,n} and
 * their lazy forms, ^ and $ where a whole alternative begins or ends, \d \w \s \D \W \S
 * \t \n \r \f \v \0 \xHH \uHHHH \u{H...} and escaped punctuation. What can not be kept exactly
 * (look-around, back references, word boundaries, flags) is an error. */
#ifndef SIGNUM_REGEXP_H
#define SIGNUM_REGEXP_H

#include "expr.h"

/* search: a match may be anywhere in the text, as in JSON schema's "pattern"; otherwise the
 * whole text is one match. Errors: SG_USAGE; running out of memory shows in g->failure. */
enum sg_status regexp_parse(struct exprs *g, const char *text, size_t len, bool search, uint32_t *out, struct sg_error *err);

#endif
