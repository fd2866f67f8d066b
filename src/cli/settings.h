/* settings.h: what decides an answer, as JSON: read from requests, written to records. Layer: cli.
 *
 * One table has the fields of both, with llama.cpp's names, so that whatever a request can say
 * is in its record. */
#ifndef SIGNUM_SETTINGS_H
#define SIGNUM_SETTINGS_H

#include "json.h"
#include "options.h"

/* Reads the sampling fields of a request's body. SG_USAGE: one is out of its range. */
enum sg_status settings_read(struct sg_sampling *s, const struct json *j, const struct json_node *body, struct sg_error *err);

/* Whether a key of a body is one that settings_read reads. */
bool settings_has(const struct json *j, const struct json_node *key);

/* Appends ,"temperature":0.5,... : how tokens are chosen and what ends the answer, then the
 * engine's part: context, rounding, cache types, template. What is off and what is as usual
 * is left out, but for the best known; with `all` the samplers that are off are there too. */
void settings_put(struct buf *b, const struct sg_reply_options *reply, const struct options *o, size_t n_ctx, bool all);

#endif
