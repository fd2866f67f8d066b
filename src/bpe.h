/* bpe.h: the merges of byte pairs, over token ids: knows no text. Layer: model. */
#ifndef SIGNUM_BPE_H
#define SIGNUM_BPE_H

#include "buf.h"
#include "hash_index.h"

struct bpe_merge {
    int32_t left, right, result;
};

struct bpe {
    int32_t bytes[256];       /* the tokens of single bytes: where every word starts */
    struct bpe_merge *merges; /* (n_merges) by rank: low ones, which are common, share cache lines */
    size_t n_merges;
    struct hash_index index; /* from pair to rank */
};

/* Makes an empty table for n_merges merges, every one of which must then be added. False: out of
 * memory. bpe_free is safe after failure and on a zeroed struct. */
bool bpe_init(struct bpe *b, size_t n_merges);
void bpe_free(struct bpe *b);

/* Merge number `rank` joins left and right into result; of two merges of the same pair the first
 * one added stands. False: the table refuses, because too many pairs meet in one place, which
 * happens by design only. */
bool bpe_add(struct bpe *b, int32_t left, int32_t right, uint32_t rank, int32_t result);

/* Memory for long words, reused from word to word; zero it, free it when done. */
struct bpe_scratch {
    struct bpe_node *nodes; /* (n_nodes) one for every byte */
    uint64_t *heap;         /* (heap_cap) of which heap_len are in use */
    size_t n_nodes, heap_len, heap_cap;
};
void bpe_scratch_free(struct bpe_scratch *s);

/* Appends the tokens of a word: its bytes, of which the pair whose merge ranks lowest is joined
 * (the leftmost of equals), again and again until no pair has a merge. len < UINT32_MAX. Takes
 * O(len log len). out->failed when memory runs out. */
void bpe_encode(const struct bpe *b, const char *word, size_t len, struct bpe_scratch *s, struct ids *out);

#endif
