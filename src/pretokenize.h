/* pretokenize.h: cutting text into words, inside which byte pairs may merge, as the qwen2
 * regular expression does. Layer: model. */
#ifndef SIGNUM_PRETOKENIZE_H
#define SIGNUM_PRETOKENIZE_H

#include "base.h"

/* Length in bytes of the word that begins at text, 1..len. text: valid UTF-8, len >= 1, and all
 * that follows up to the next added token: whether white space belongs to this word depends on
 * what comes after it. Walking a text word by word takes linear time. */
size_t pretokenize(const char *text, size_t len);

#endif
