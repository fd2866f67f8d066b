/* choice.h: which of several answers is how probable: --score with --choice. Layer: cli.
 *
 * An option's log-probability is that of its tokens after the prompt and of the end of the
 * turn after those, by the model's own distribution; the probabilities of all options add
 * up to 1. With --choice-norm tokens each is divided by its number of tokens before. */
#ifndef SIGNUM_CHOICE_H
#define SIGNUM_CHOICE_H

#include "buf.h"
#include "options.h"
#include "signum.h"

struct choice {
    struct sg_str text; /* in the options */
    double logprob, probability;
    size_t n_tokens; /* end of turn included */
    bool greedy;     /* every token was the most probable one */
};

/* What --choice says: one flag lists all, with commas between; of several flags each is one
 * option, as it is. *out: (*n) malloc'ed. SG_USAGE: an option is empty. */
enum sg_status choice_list(const struct options *o, struct choice **out, size_t *n, struct sg_error *err);

/* Appends an option's tokens, and the end of the turn unless the prompt is raw. */
enum sg_status choice_tokens(const struct sg_engine *engine, struct sg_str text, bool raw, struct ids *out, struct sg_error *err);

/* Whether id is the most probable token (of equals the first). */
bool choice_is_best(const struct sg_engine *engine, const float *logits, int32_t id);

/* Fills in the probabilities from logprobs and numbers of tokens; returns the index of the
 * most probable option (of equals the first). */
size_t choice_normalize(struct choice *choices, size_t n, bool by_tokens);

/* Fills in everything: evaluates the options after what session holds, whose logits are present. */
enum sg_status choice_score(struct sg_engine *engine, const struct sg_session *session, struct choice *choices, size_t n,
                            const struct options *o, size_t *best, struct sg_error *err);

/* Appends "scores":[{"text":...,"probability":...,"logprob":...,"tokens":...,"greedy":...}, ...] */
void choice_put(struct buf *out, const struct choice *choices, size_t n);

#endif
