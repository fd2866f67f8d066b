#include "trie.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    const uint8_t *text;
    uint32_t len, id;
};

static int by_bytes(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = memcmp(x->text, y->text, MIN(x->len, y->len));
    if (order == 0)
        order = (x->len > y->len) - (x->len < y->len);
    return order ? order : (x->id > y->id) - (x->id < y->id);
}

static size_t shared(const struct entry *a, const struct entry *b)
{
    size_t n = 0;
    while (n < a->len && n < b->len && a->text[n] == b->text[n])
        n++;
    return n;
}

/* Copies the texts; returns how many bytes the nodes need at most. */
static size_t copy_texts(struct trie *t, const struct sg_str *tokens, struct entry *entries)
{
    size_t at = 0, total = 0;
    for (size_t id = 0; id < t->n_vocab; id++) {
        t->begin[id] = (uint32_t)at;
        size_t len = tokens[id].len;
        if (len == 0 || len > TRIE_MAX_TOKEN)
            continue;
        memcpy(t->bytes + at, tokens[id].data, len);
        entries[t->n_words++] = (struct entry){(const uint8_t *)t->bytes + at, (uint32_t)len, (uint32_t)id};
        t->longest = MAX(t->longest, len);
        at += len;
    }
    t->begin[t->n_vocab] = (uint32_t)at;
    qsort(entries, t->n_words, sizeof *entries, by_bytes);
    for (size_t i = 0; i < t->n_words; i++)
        total += entries[i].len - (i ? shared(&entries[i - 1], &entries[i]) : 0);
    return total;
}

/* One pass over the sorted tokens: `path` holds the open nodes from the root down. */
static void grow_tree(struct trie *t, const struct entry *entries)
{
    uint32_t path[TRIE_MAX_TOKEN];
    size_t open = 0, n = 0;
    for (size_t i = 0; i < t->n_words; i++) {
        size_t keep = i ? shared(&entries[i - 1], &entries[i]) : 0;
        while (open > keep)
            t->end[path[--open]] = (uint32_t)n;
        while (open < entries[i].len) {
            t->byte[n] = entries[i].text[open];
            t->depth[n] = (uint8_t)(open + 1);
            t->first_word[n] = (uint32_t)i; /* right for the last node; the others have none before i */
            path[open++] = (uint32_t)n++;
        }
        t->words[i] = entries[i].id;
    }
    while (open)
        t->end[path[--open]] = (uint32_t)n;
    t->first_word[n] = (uint32_t)t->n_words;
}

enum sg_status trie_build(struct trie *t, const struct sg_str *tokens, size_t n_vocab, const int32_t *ends, size_t n_ends,
                          struct sg_error *err)
{
    size_t total = 0;
    *t = (struct trie){.n_vocab = n_vocab, .n_ends = n_ends};
    for (size_t i = 0; i < n_vocab; i++)
        total += tokens[i].len <= TRIE_MAX_TOKEN ? tokens[i].len : 0;
    struct entry *entries = malloc(sizeof *entries * (n_vocab + 1));
    t->begin = malloc(sizeof *t->begin * (n_vocab + 1));
    t->bytes = malloc(total + 1);
    t->words = malloc(sizeof *t->words * (n_vocab + 1));
    t->ends = malloc(sizeof *t->ends * (n_ends + 1));
    bool ok = entries && t->begin && t->bytes && t->words && t->ends;
    if (ok) {
        if (n_ends)
            memcpy(t->ends, ends, sizeof *t->ends * n_ends);
        t->n_nodes = copy_texts(t, tokens, entries);
        t->end = malloc(sizeof *t->end * (t->n_nodes + 1));
        t->first_word = malloc(sizeof *t->first_word * (t->n_nodes + 1));
        t->byte = malloc(t->n_nodes + 1);
        t->depth = malloc(t->n_nodes + 1);
        ok = t->end && t->first_word && t->byte && t->depth;
    }
    if (ok)
        grow_tree(t, entries);
    free(entries);
    return ok ? SG_OK : fail_memory(err, total, "the vocabulary's tree");
}

void trie_free(struct trie *t)
{
    free(t->end);
    free(t->first_word);
    free(t->byte);
    free(t->depth);
    free(t->words);
    free(t->begin);
    free(t->bytes);
    free(t->ends);
    *t = (struct trie){0};
}
