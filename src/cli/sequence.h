/* sequence.h: one answer (or one text to score) that batch is computing. Layer: cli.
 *
 * batch_run decides when a sequence starts and what is evaluated together; here is what a
 * sequence does with the logits. With a draft it proposes guesses at its next tokens, which
 * the step that the sequences share checks: the same text, in fewer steps. */
#ifndef SIGNUM_SEQUENCE_H
#define SIGNUM_SEQUENCE_H

#include "batch.h"

struct sequence {
    const struct sg_engine *engine;
    struct batch_request *r;
    size_t index; /* of its choice or continuation */
    struct sg_session *session;
    struct sg_reply *reply;
    struct sg_matcher *matcher; /* of a request that asks for a form */
    struct sg_draft *draft;     /* NULL: it does not guess */
    int32_t *ids;               /* what is fed before answers begin; owned when scoring */
    size_t n_ids;
    bool answering;
    uint64_t age; /* when it was started */

    /* one step */
    int32_t next[1 + SG_DRAFT_MAX]; /* the token that was chosen and not evaluated yet, then guesses */
    size_t n_guesses;
    float *rows;   /* (1 + n_guesses, n_vocab) their logits, when there are guesses */
    size_t fed;    /* rows in this step */
    size_t right;  /* guesses that were */
    bool finished; /* the answer is over */
    enum sg_status status;
    struct sg_error why;
};

/* Opens what the part `index` of r needs but its session. On failure sequence_close follows. */
enum sg_status sequence_open(struct sequence *s, const struct batch_defaults *d, struct batch_request *r, size_t index,
                             struct sg_error *err);
void sequence_close(struct sequence *s); /* not its draft */

/* Takes the rows of this step that are left of `most`: what comes next of the answer with the
 * guesses, or a piece of the prompt. */
struct sg_feed sequence_feed(struct sequence *s, size_t most);

/* After the evaluation: chooses tokens as far as the rows tell, into the request's choice.
 * Sequences without a matcher may do so at the same time. Sets right, finished, status and
 * why; the session still holds the wrong guesses. */
void sequence_choose(struct sequence *s);
/* Forgets them. */
void sequence_settle(struct sequence *s);

#endif
