/* vocabulary.h: Qwen3's tokens as a trie, read from the golden file without tokenizer.c. */
#ifndef TEST_VOCABULARY_H
#define TEST_VOCABULARY_H

#include "trie.h"

/* 151,936 tokens; only ordinary ones have bytes; <|im_end|> and <|endoftext|> end a turn. */
const struct trie *qwen_vocabulary(void);

#endif
