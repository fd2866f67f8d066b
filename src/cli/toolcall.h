/* toolcall.h: the calls of tools that an answer holds. Layer: cli.
 *
 * A model that was told about tools writes, by Qwen's (and Hermes') convention,
 *     <tool_call>
 *     {"name": "weather", "arguments": {"city": "Oslo"}}
 *     </tool_call>
 * within its answer, as often as it wants. OpenAI's objects have such calls beside the text. */
#ifndef SIGNUM_TOOLCALL_H
#define SIGNUM_TOOLCALL_H

#include "buf.h"

/* Takes an answer apart: what is said (without white space around it) is appended to content, the
 * calls as OpenAI's objects, with commas between, to calls; their ids follow from seed. Returns
 * how many calls there are, at most `most` of which are appended. An answer with a call that can
 * not be read has none: then nothing is appended, and its text is the answer. Last, a call may
 * lack its end. */
size_t toolcall_split(const char *text, size_t len, uint64_t seed, size_t most, struct buf *content, struct buf *calls);

#endif
