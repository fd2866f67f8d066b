/* tokenizer.h: byte-level BPE (GPT-2 style) with the qwen2 pre-tokenizer, from
 * the GGUF alone. Keeps indices into the mapped file, no copies of strings.
 * Layer: model. */
#ifndef SIGNUM_TOKENIZER_H
#define SIGNUM_TOKENIZER_H

#include "buf.h"
#include "gguf.h"

struct tokenizer;

enum token_type {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN,
    TOKEN_CONTROL,
    TOKEN_USER,
    TOKEN_UNUSED,
    TOKEN_BYTE
};

/* Keeps pointers into g's map. Errors: SG_BAD_MODEL, SG_NO_MEMORY. What a file must have: model
 * "gpt2", pre "qwen2", add_bos_token absent or false, tokens with unique texts, a type for each,
 * merges of tokens into tokens, an ordinary token for every byte; eos and pad inside the
 * vocabulary. Everything else is refused, so that whatever was opened encodes every text. */
enum sg_status tokenizer_open(struct tokenizer **out, const struct gguf *g, struct sg_error *err);
void tokenizer_close(struct tokenizer *t); /* NULL is fine */

size_t tokenizer_size(const struct tokenizer *t); /* n_vocab */
size_t tokenizer_merges(const struct tokenizer *t);
size_t tokenizer_bytes(const struct tokenizer *t);    /* private memory */
int32_t tokenizer_eos(const struct tokenizer *t);     /* -1: none */
int32_t tokenizer_pad(const struct tokenizer *t);     /* -1: none */
const char *tokenizer_pre(const struct tokenizer *t); /* "qwen2" */
/* Ends generation: the eos token, and <|im_end|>, <|endoftext|>, <|fim_pad|>, <|repo_name|> and
 * <|file_sep|> where these are control tokens. */
bool tokenizer_is_eog(const struct tokenizer *t, int32_t id);
enum token_type tokenizer_type(const struct tokenizer *t, int32_t id);

/* Control or user-defined token with exactly this text, or -1. */
int32_t tokenizer_special(const struct tokenizer *t, const char *text, size_t len);

/* Appends ids. parse_control: control tokens spelled in text are recognised; user-defined
 * ones always are (of several at one place the longest). They are found in the text as it is;
 * what is between them is normalized to NFC, each ill-formed part of UTF-8 becoming U+FFFD.
 * SG_NO_MEMORY, and SG_USAGE for a text above 1 GiB. Any thread at any time. */
enum sg_status tokenizer_encode(const struct tokenizer *t, const char *text, size_t len, bool parse_control, struct ids *out,
                                struct sg_error *err);

/* Appends the bytes that a token stands for; control tokens (and unused and unknown ones) only
 * when special, and literally, like user-defined ones always. id must be in the vocabulary. The result need not be whole characters: see utf8_complete. */
void tokenizer_decode(const struct tokenizer *t, int32_t id, bool special, struct buf *out);

#endif
