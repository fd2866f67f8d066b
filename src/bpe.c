#include "bpe.h"

#include <stdlib.h>
#include <string.h>

/* Words up to this many bytes take the simple way: looking through all pairs for the best is
 * faster than keeping them in order. */
enum { SHORT_WORD = 48 };

bool bpe_init(struct bpe *b, size_t n_merges)
{
    b->n_merges = n_merges;
    b->merges = malloc((n_merges + 1) * sizeof *b->merges);
    return b->merges && hash_index_init(&b->index, n_merges);
}

void bpe_free(struct bpe *b)
{
    free(b->merges);
    b->merges = NULL;
    hash_index_free(&b->index);
}

static struct probe probe_pair(const struct bpe *b, int32_t left, int32_t right)
{
    return hash_index_probe(&b->index, hash_mix((uint64_t)(uint32_t)left << 32 | (uint32_t)right));
}

bool bpe_add(struct bpe *b, int32_t left, int32_t right, uint32_t rank, int32_t result)
{
    b->merges[rank] = (struct bpe_merge){left, right, result};
    struct probe p = probe_pair(b, left, right);
    for (uint32_t other; hash_index_next(&b->index, &p, &other);)
        if (b->merges[other].left == left && b->merges[other].right == right)
            return true;
    return hash_index_put(&b->index, &p, rank);
}

static uint32_t rank_of(const struct bpe *b, int32_t left, int32_t right)
{
    struct probe p = probe_pair(b, left, right);
    for (uint32_t rank; hash_index_next(&b->index, &p, &rank);)
        if (b->merges[rank].left == left && b->merges[rank].right == right)
            return rank;
    return BPE_NONE;
}

static void encode_short(const struct bpe *b, const char *word, size_t len, struct ids *out)
{
    int32_t id[SHORT_WORD];
    uint32_t rank[SHORT_WORD]; /* of the pair that begins here */
    for (size_t i = 0; i < len; i++)
        id[i] = b->bytes[(unsigned char)word[i]];
    for (size_t i = 0; i + 1 < len; i++)
        rank[i] = rank_of(b, id[i], id[i + 1]);
    size_t n = len;
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best])
                best = i;
        if (rank[best] == BPE_NONE)
            break;
        id[best] = b->merges[rank[best]].result;
        n--;
        for (size_t i = best + 1; i < n; i++) {
            id[i] = id[i + 1];
            rank[i - 1] = rank[i];
        }
        if (best + 1 < n)
            rank[best] = rank_of(b, id[best], id[best + 1]);
        if (best > 0)
            rank[best - 1] = rank_of(b, id[best - 1], id[best]);
    }
    ids_append(out, id, n);
}

/* ---------------------------------------------------------------- long words
 *
 * The symbols form a linked list over the places of their first bytes. A heap of
 * (rank, place) tells the pair to join next; what it holds about pairs that have
 * changed since is recognised by the rank and skipped. */

struct bpe_node {
    int32_t id;
    uint32_t prev, next; /* places; BPE_NONE: none */
    uint32_t rank;       /* of the pair that begins here; BPE_NONE: no merge, or no symbol any more */
};

enum { HEAP_ARITY = 4 }; /* half as many levels, that is cache misses, as a binary heap */

struct heap {
    uint64_t *keys; /* rank << 32 | place */
    size_t len;
};

static void sift_down(struct heap *h, size_t at)
{
    uint64_t key = h->keys[at];
    for (;;) {
        size_t child = at * HEAP_ARITY + 1, end = MIN(child + HEAP_ARITY, h->len);
        if (child >= h->len)
            break;
        size_t least = child;
        for (size_t i = child + 1; i < end; i++)
            if (h->keys[i] < h->keys[least])
                least = i;
        if (h->keys[least] >= key)
            break;
        h->keys[at] = h->keys[least];
        at = least;
    }
    h->keys[at] = key;
}

static uint64_t heap_pop(struct heap *h)
{
    uint64_t least = h->keys[0];
    h->keys[0] = h->keys[--h->len];
    if (h->len > 0)
        sift_down(h, 0);
    return least;
}

static void heap_push(struct heap *h, uint64_t key)
{
    size_t at = h->len++;
    while (at > 0 && h->keys[(at - 1) / HEAP_ARITY] > key) {
        h->keys[at] = h->keys[(at - 1) / HEAP_ARITY];
        at = (at - 1) / HEAP_ARITY;
    }
    h->keys[at] = key;
}

void bpe_scratch_free(struct bpe_scratch *s)
{
    free(s->nodes);
    free(s->heap);
    *s = (struct bpe_scratch){0};
}

/* A word of n bytes starts with n - 1 pairs; each of at most n - 1 joins takes one from the heap
 * and adds two. */
static bool scratch_reserve(struct bpe_scratch *s, size_t n)
{
    size_t bytes;
    if (n <= s->n_nodes)
        return true;
    bpe_scratch_free(s);
    if (!mul_size(n, 2 * sizeof *s->heap, &bytes)) /* which is also the size of the nodes */
        return false;
    s->nodes = malloc(n * sizeof *s->nodes);
    s->heap = malloc(bytes);
    if (!s->nodes || !s->heap) {
        bpe_scratch_free(s);
        return false;
    }
    s->n_nodes = n;
    return true;
}

/* The pair that begins at place i is new. */
static void update_pair(const struct bpe *b, struct bpe_node *nodes, struct heap *heap, uint32_t i)
{
    uint32_t next = nodes[i].next;
    nodes[i].rank = next == BPE_NONE ? BPE_NONE : rank_of(b, nodes[i].id, nodes[next].id);
    if (nodes[i].rank != BPE_NONE)
        heap_push(heap, (uint64_t)nodes[i].rank << 32 | i);
}

static bool encode_long(const struct bpe *b, const char *word, size_t len, struct bpe_scratch *s, struct ids *out)
{
    if (!scratch_reserve(s, len)) {
        out->failed = true;
        return false;
    }
    struct bpe_node *nodes = s->nodes;
    struct heap heap = {.keys = s->heap};
    for (size_t i = 0; i < len; i++) {
        int32_t id = b->bytes[(unsigned char)word[i]];
        bool is_last = i + 1 == len;
        uint32_t rank = is_last ? BPE_NONE : rank_of(b, id, b->bytes[(unsigned char)word[i + 1]]);
        nodes[i] = (struct bpe_node){id, i == 0 ? BPE_NONE : (uint32_t)i - 1, is_last ? BPE_NONE : (uint32_t)i + 1, rank};
        if (rank != BPE_NONE)
            heap.keys[heap.len++] = (uint64_t)rank << 32 | i;
    }
    for (size_t i = DIV_UP(heap.len, HEAP_ARITY); i-- > 0;)
        sift_down(&heap, i);
    while (heap.len > 0) {
        uint64_t key = heap_pop(&heap);
        uint32_t i = (uint32_t)key, rank = (uint32_t)(key >> 32);
        struct bpe_node *node = &nodes[i];
        if (node->rank != rank)
            continue;
        struct bpe_node *gone = &nodes[node->next];
        gone->rank = BPE_NONE;
        node->id = b->merges[rank].result;
        node->next = gone->next;
        if (node->next != BPE_NONE)
            nodes[node->next].prev = i;
        update_pair(b, nodes, &heap, i);
        if (node->prev != BPE_NONE)
            update_pair(b, nodes, &heap, node->prev);
    }
    for (uint32_t i = 0; i != BPE_NONE; i = nodes[i].next)
        ids_push(out, nodes[i].id);
    return !out->failed;
}

bool bpe_encode(const struct bpe *b, const char *word, size_t len, struct bpe_scratch *s, struct ids *out)
{
    if (len > SHORT_WORD)
        return encode_long(b, word, len, s, out);
    encode_short(b, word, len, out);
    return !out->failed;
}
