/* constraint.h: what flags and requests say about the form of an answer. Layer: cli. */
#ifndef SIGNUM_CONSTRAINT_H
#define SIGNUM_CONSTRAINT_H

#include "json.h"
#include "options.h"
#include "signum.h"

struct form_name { /* what records say of a form */
    char text[40]; /* its kind and a hash of what was asked for, as "regex 00031b6c8a5d2f90"; "" without one */
};

/* Opens the grammar that -j, -jf, --schema, --json-object, --regex, --grammar, --grammar-file or
 * --choice asks for; *out is NULL when there is none, and with --score, which chooses without
 * one. settings (may be NULL) gets what was asked for, files included; name (may be NULL) what to
 * call it. SG_USAGE when flags exclude each other. */
enum sg_status constraint_from_options(struct sg_engine *engine, const struct options *o, struct sg_grammar **out, struct buf *settings,
                                       struct form_name *name, struct sg_error *err);

/* Grammars of requests: those that ask for the same thing share one, with all that it has
 * learned about the vocabulary, and the last ones are kept for the next request. */
struct constraints {
    struct sg_engine *engine;
    struct shared_grammar *first; /* most recently asked for */
    size_t n;
};

void constraints_init(struct constraints *c, struct sg_engine *engine);
void constraints_close(struct constraints *c); /* all that were lent must have been given back */

/* Lends the grammar that a request's body asks for; *out is NULL when there is none.
 * Understood: response_format, json_schema, grammar, guided_json, guided_regex,
 * guided_choice, guided_grammar, structured_outputs. */
enum sg_status constraints_borrow(struct constraints *c, const struct json *j, const struct json_node *body, struct sg_grammar **out,
                                  struct form_name *name, struct sg_error *err);
void constraints_return(struct constraints *c, struct sg_grammar *grammar); /* NULL is fine */

/* Why an answer under a grammar is not what was asked for: SG_OK if it is. */
enum sg_status constraint_verdict(const struct sg_matcher *matcher, const struct sg_reply_counts *counts, struct sg_error *err);

#endif
