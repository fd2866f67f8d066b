/* gbnf.h: grammars in llama.cpp's notation. Layer: model.
 *
 *     root   ::= answer "\n"         # a comment
 *     answer ::= ("yes" | "no") [0-9a-f]{2,4} .?
 *
 * Understood: literals and classes with \n \r \t \\ \" \[ \] \xHH \uHHHH \UHHHHHHHH, negated
 * classes, . for any character, groups, alternatives, * + ? {m} {m,} {m,n}. The rule `root` is
 * the whole answer. Left recursion and tokens (<[123]>) are errors. */
#ifndef SIGNUM_GBNF_H
#define SIGNUM_GBNF_H

#include "expr.h"

/* Errors: SG_USAGE; running out of memory shows in g->failure. */
enum sg_status gbnf_parse(struct exprs *g, const char *text, size_t len, uint32_t *root, struct sg_error *err);

#endif
