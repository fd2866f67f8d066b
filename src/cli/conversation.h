/* conversation.h: the messages of a chat and what may be done to them. Knows neither files
 * nor models. Layer: cli (base). */
#ifndef SIGNUM_CONVERSATION_H
#define SIGNUM_CONVERSATION_H

#include "buf.h"

struct message {
    bool from_user; /* else an answer */
    struct buf content;
    struct buf reasoning; /* of an answer */
    bool has_reasoning;
    bool cut;         /* the answer ended before its end: /continue may go on */
    uint32_t attempt; /* of the answer */
};

struct conversation {
    struct buf system;
    bool has_system;
    struct message *messages; /* questions and answers; a question may lack its answer */
    size_t n, cap;
    size_t first;     /* older ones are kept but no longer in the context; 0, or a question */
    uint32_t attempt; /* of the next answer: how many were dropped for another */
    bool failed;      /* out of memory at some point: the last change is not whole */
};

void conversation_set_system(struct conversation *c, const char *text, size_t len); /* NULL: none */

/* Appends a message and returns it, or NULL when out of memory. */
struct message *conversation_add(struct conversation *c, bool from_user, const char *text, size_t len);

/* The last message if it is an answer (a question), else NULL. */
struct message *conversation_answer(const struct conversation *c);
struct message *conversation_question(const struct conversation *c);

/* Turns (questions) that there are; in the context only. */
size_t conversation_turns(const struct conversation *c);
size_t conversation_live_turns(const struct conversation *c);

/* Removes the last n turns, each with its answers; returns how many there were. */
size_t conversation_undo(struct conversation *c, size_t n);

/* Removes the answers after the last question; false when there are none. */
bool conversation_drop_answer(struct conversation *c);

/* Takes the oldest n turns out of the context, but not the last one; returns how many. */
size_t conversation_forget(struct conversation *c, size_t n);

void conversation_clear(struct conversation *c); /* all but the system prompt */
void conversation_free(struct conversation *c);

#endif
