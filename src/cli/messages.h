/* messages.h: conversations from JSON (OpenAI's chat objects) to struct sg_conversation,
 * for render and batch. Layer: cli. */
#ifndef SIGNUM_MESSAGES_H
#define SIGNUM_MESSAGES_H

#include "buf.h"
#include "json.h"
#include "signum.h"

/* Owns everything that its conversation points to. Zero-initialise. */
struct messages {
    struct sg_conversation conversation;
    struct buf text; /* decoded strings, one after the other */
    struct sg_message *items;
    struct sg_tool_call *calls;
    struct sg_str *tools;
};

/* Reads "messages" and "tools" (either may be NULL) of a parsed document. Content may be a
 * string, null, or an array of {"type":"text","text":...} parts. SG_USAGE with a sentence
 * that names the place when a type is wrong. */
enum sg_status messages_read(struct messages *m, const struct json *j, const struct json_node *messages, const struct json_node *tools,
                             struct sg_error *err);
void messages_free(struct messages *m);

#endif
