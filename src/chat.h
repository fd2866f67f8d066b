/* chat.h: conversations rendered as the Qwen3 family's templates do, in C: a file's
 * template is recognised, never executed. Layer: model. */
#ifndef SIGNUM_CHAT_H
#define SIGNUM_CHAT_H

#include "buf.h"
#include "error.h"
#include "tokenizer.h"

enum chat_template {
    CHAT_QWEN3,      /* enable_thinking switch; thinks unless told not to */
    CHAT_QWEN3_2507, /* no switch, no think block in the generation prompt */
    CHAT_BONSAI,     /* no switch, generation prompt closes an empty think block */
    CHAT_CHATML,     /* plain ChatML */
};

/* Recognises a template by what it contains; *known is false when it is none of the
 * four (also when text is empty): then CHAT_CHATML is returned. */
enum chat_template chat_recognise(const char *text, size_t len, bool *known);
const char *chat_template_name(enum chat_template kind);
bool chat_can_think(enum chat_template kind);

/* Appends text and ids (either may be NULL) of a conversation. Everything between two
 * control tokens of the template is tokenized as one piece with control parsing off. */
enum sg_status chat_render(enum chat_template kind, const struct tokenizer *t, const struct sg_conversation *c, struct buf *text,
                           struct ids *ids, struct sg_error *err);

#endif
