#include "bpe.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX /* no rank, no place */

/* Words up to this many bytes take the simple way: looking through all pairs for the best is
 * faster than keeping them in order. */
enum {
    SHORT_WORD = 48
};

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
    return NONE;
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
        if (rank[best] == NONE)
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
 * The symbols form a linked list over the places of their first bytes. The pair to join next has
 * the lowest (rank, place) of all, so it certainly is lower than its two neighbours: a heap of the
 * pairs that are lower than their neighbours is enough, a third of them in random text and one in
 * a run of equal letters. Entries whose pair has changed since are recognised by the rank: a
 * place never sees the same pair twice. Entries that are only no longer lower than a neighbour do
 * no harm, they wait their turn. */

struct bpe_node {
    int32_t id;
    uint32_t prev, next; /* places; NONE: none */
    uint32_t rank;       /* of the pair that begins here; NONE: no merge, or no symbol any more */
};

enum {
    HEAP_ARITY = 4
}; /* half as many levels, that is cache misses, as a binary heap */

static void sift_down(uint64_t *heap, size_t len, size_t at)
{
    uint64_t key = heap[at];
    for (;;) {
        size_t child = at * HEAP_ARITY + 1, end = MIN(child + HEAP_ARITY, len);
        if (child >= len)
            break;
        size_t least = child;
        for (size_t i = child + 1; i < end; i++)
            if (heap[i] < heap[least])
                least = i;
        if (heap[least] >= key)
            break;
        heap[at] = heap[least];
        at = least;
    }
    heap[at] = key;
}

static uint64_t heap_pop(struct bpe_scratch *s)
{
    uint64_t least = s->heap[0];
    s->heap[0] = s->heap[--s->heap_len];
    if (s->heap_len > 0)
        sift_down(s->heap, s->heap_len, 0);
    return least;
}

static bool heap_push(struct bpe_scratch *s, uint64_t key)
{
    if (s->heap_len == s->heap_cap) {
        size_t cap = MAX(s->heap_cap + s->heap_cap / 2, (size_t)1024), bytes;
        uint64_t *grown = mul_size(cap, sizeof *grown, &bytes) ? realloc(s->heap, bytes) : NULL;
        if (!grown)
            return false;
        s->heap = grown;
        s->heap_cap = cap;
    }
    size_t at = s->heap_len++;
    for (; at > 0 && s->heap[(at - 1) / HEAP_ARITY] > key; at = (at - 1) / HEAP_ARITY)
        s->heap[at] = s->heap[(at - 1) / HEAP_ARITY];
    s->heap[at] = key;
    return true;
}

void bpe_scratch_free(struct bpe_scratch *s)
{
    free(s->nodes);
    free(s->heap);
    *s = (struct bpe_scratch){0};
}

static bool reserve_nodes(struct bpe_scratch *s, size_t n)
{
    size_t bytes;
    if (n <= s->n_nodes)
        return true;
    free(s->nodes);
    s->nodes = mul_size(n, sizeof *s->nodes, &bytes) ? malloc(bytes) : NULL;
    s->n_nodes = s->nodes ? n : 0;
    return s->nodes != NULL;
}

/* Whether the pair at i has a merge and goes before both its neighbours. */
static bool is_least(const struct bpe_node *nodes, uint32_t i)
{
    const struct bpe_node *n = &nodes[i];
    return n->rank != NONE && (n->prev == NONE || nodes[n->prev].rank > n->rank) && nodes[n->next].rank >= n->rank;
}

static bool push_if_least(struct bpe_scratch *s, uint32_t i)
{
    return i == NONE || !is_least(s->nodes, i) || heap_push(s, (uint64_t)s->nodes[i].rank << 32 | i);
}

static void update_rank(const struct bpe *b, struct bpe_node *nodes, uint32_t i)
{
    uint32_t next = nodes[i].next;
    nodes[i].rank = next == NONE ? NONE : rank_of(b, nodes[i].id, nodes[next].id);
}

/* Joins the pair at i and enters the pairs that become least by that: among the two that change and
 * the two beyond them. */
static bool join(const struct bpe *b, struct bpe_scratch *s, uint32_t i)
{
    struct bpe_node *nodes = s->nodes, *node = &nodes[i], *gone = &nodes[node->next];
    uint32_t before = node->prev, beyond_left = before == NONE ? NONE : nodes[before].prev, beyond_right = gone->next;
    if (beyond_left != NONE && is_least(nodes, beyond_left))
        beyond_left = NONE; /* it is in the heap already */
    if (beyond_right != NONE && is_least(nodes, beyond_right))
        beyond_right = NONE;

    node->id = b->merges[node->rank].result;
    node->next = gone->next;
    gone->rank = NONE;
    if (node->next != NONE)
        nodes[node->next].prev = i;
    update_rank(b, nodes, i);
    if (before != NONE)
        update_rank(b, nodes, before);
    return push_if_least(s, beyond_left) && push_if_least(s, before) && push_if_least(s, i) && push_if_least(s, beyond_right);
}

static bool encode_long(const struct bpe *b, const char *word, size_t len, struct bpe_scratch *s, struct ids *out)
{
    if (!reserve_nodes(s, len))
        return false;
    struct bpe_node *nodes = s->nodes;
    for (size_t i = 0; i < len; i++)
        nodes[i] = (struct bpe_node){b->bytes[(unsigned char)word[i]], i == 0 ? NONE : (uint32_t)i - 1,
                                     i + 1 == len ? NONE : (uint32_t)i + 1, NONE};
    for (size_t i = 0; i < len; i++)
        update_rank(b, nodes, (uint32_t)i);
    s->heap_len = 0;
    for (size_t i = 0; i < len; i++)
        if (!push_if_least(s, (uint32_t)i))
            return false;
    while (s->heap_len > 0) {
        uint64_t key = heap_pop(s);
        uint32_t i = (uint32_t)key;
        if (nodes[i].rank == (uint32_t)(key >> 32) && !join(b, s, i))
            return false;
    }
    for (uint32_t i = 0; i != NONE; i = nodes[i].next)
        ids_push(out, nodes[i].id);
    return !out->failed;
}

void bpe_encode(const struct bpe *b, const char *word, size_t len, struct bpe_scratch *s, struct ids *out)
{
    if (len <= SHORT_WORD)
        encode_short(b, word, len, out);
    else if (!encode_long(b, word, len, s, out))
        out->failed = true;
}
