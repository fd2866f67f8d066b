/* json.h: a strict, bounded JSON reader and the pieces of a writer. Layer: base.
 *
 * The reader builds a flat array of nodes over the text, which it does not copy:
 * one allocation, no recursion, depth at most JSON_MAX_DEPTH. Numbers stay as
 * written. RFC 8259; duplicate keys: the last one wins in json_get, all are kept. */
#ifndef SIGNUM_JSON_H
#define SIGNUM_JSON_H

#include "buf.h"
#include "error.h"

enum {
    JSON_MAX_DEPTH = 256
};

enum json_type {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

struct json_node {
    enum json_type type;
    uint32_t next;     /* index of the node after this whole value */
    uint32_t count;    /* elements of an array, members of an object */
    size_t begin, end; /* text of the value, quotes included */
};

/* A document: node 0 is the root; an array's elements follow it, an object's
 * members follow as key (a JSON_STRING node) and value alternately. */
struct json {
    const char *text;
    size_t len;
    struct json_node *nodes;
    size_t n_nodes;
};

/* text must outlive the document. White space around the value is allowed,
 * anything else after it is an error, so is ill-formed UTF-8. The message says
 * what is wrong and at which byte (the first is 0). Errors: SG_USAGE (the text),
 * SG_NO_MEMORY; then nothing is kept, and json_free does no harm. */
enum sg_status json_parse(struct json *out, const char *text, size_t len, struct sg_error *err);
void json_free(struct json *j);

/* Member of an object by key, or NULL; also NULL when object is NULL or no object. */
const struct json_node *json_get(const struct json *j, const struct json_node *object, const char *key);
/* First element or key of a container; NULL when empty or none. */
const struct json_node *json_first(const struct json *j, const struct json_node *container);
/* The sibling after node inside the same container given its parent, or NULL. */
const struct json_node *json_next(const struct json *j, const struct json_node *parent, const struct json_node *node);

/* Appends the decoded text of a string node (nothing for another or NULL). Unpaired
 * surrogates become U+FFFD. */
void json_string(const struct json *j, const struct json_node *node, struct buf *out);
bool json_string_equal(const struct json *j, const struct json_node *node, const char *text);
/* Numbers: false when node is NULL or no number, or the number is out of range. The
 * integers want one exactly, however written: 12, 12.0 and 1.2e1 are the same. */
bool json_double(const struct json *j, const struct json_node *node, double *out);
bool json_int(const struct json *j, const struct json_node *node, int64_t *out);
bool json_uint(const struct json *j, const struct json_node *node, uint64_t *out);

/* Writer: a quoted string; only what JSON requires is escaped, ill-formed UTF-8
 * becomes U+FFFD. */
void json_put_string(struct buf *out, const char *text, size_t len);
/* Shortest decimal that reads back as the same double; NaN and infinities as null. */
void json_put_double(struct buf *out, double value);
/* Serializes a value as Python's json.dumps(ensure_ascii=False) would: ", " and
 * ": " as separators, keys in order, numbers as written (Jinja's tojson). */
void json_put_spaced(struct buf *out, const struct json *j, const struct json_node *node);

#endif
