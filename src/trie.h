/* trie.h: the vocabulary as a tree of bytes, so that a walk over all tokens reads each
 * shared beginning once. Built once per engine, then read-only. Layer: model.
 *
 * Nodes are in preorder: the children of node i are i + 1, end[i + 1], ... up to end[i]. */
#ifndef SIGNUM_TRIE_H
#define SIGNUM_TRIE_H

#include "error.h"

enum {
    TRIE_MAX_TOKEN = 255
}; /* a longer token is left out: it can not be chosen */

struct trie {
    size_t n_vocab, n_nodes, n_words;
    uint32_t *end;        /* (n_nodes) after the last descendant */
    uint32_t *first_word; /* (n_nodes + 1) into words: tokens that end at this node */
    uint8_t *byte;        /* (n_nodes) */
    uint8_t *depth;       /* (n_nodes) bytes from the root, 1 for its children */
    uint32_t *words;      /* (n_words) token ids in the order of their bytes */
    uint32_t *begin;      /* (n_vocab + 1) into bytes, by id */
    char *bytes;          /* every token's, one after the other */
    int32_t *ends;        /* (n_ends) tokens that end a turn */
    size_t n_ends, longest;
};

/* tokens: (n_vocab) what each stands for; len 0: it may never be chosen. ends: the ids that
 * end a turn. Everything is copied. trie_free is safe after failure. */
enum sg_status trie_build(struct trie *t, const struct sg_str *tokens, size_t n_vocab, const int32_t *ends, size_t n_ends,
                          struct sg_error *err);
void trie_free(struct trie *t);

#endif
