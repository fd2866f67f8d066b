#include "dry.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_BREAKER = 40, /* bytes of a breaker that count, as in llama.cpp */
    MAX_TAIL = 20,    /* tokens */
};

/* A token that holds the beginning of a breaker, and the tokens that complete it. */
struct split {
    size_t tail, tail_len; /* in dry.tails */
};

struct dry {
    size_t last_n, allowed, n_vocab;
    int32_t *history; /* (2 * last_n) the newest are last; moved to the front when full */
    size_t n_history;
    uint32_t *z;      /* (last_n) see find_repeats */
    uint32_t *length; /* (n_vocab) 1 + longest repetition that the token prolongs; 0: none */
    int32_t *found;   /* (last_n) tokens whose length is not 0 */
    size_t n_found;

    uint32_t *whole; /* (n_vocab bits) tokens that hold a whole breaker; NULL: no breakers */
    uint32_t *first; /* (n_vocab + 1) splits of token t are first[t] .. first[t + 1] */
    struct split *splits;
    size_t n_splits, cap_splits;
    struct ids tails;
};

static bool is_whole(const struct dry *d, int32_t id) { return d->whole && d->whole[id / 32] >> id % 32 & 1; }

static bool add_split(struct dry *d, struct split s)
{
    if (d->n_splits == d->cap_splits) {
        size_t cap = d->cap_splits ? d->cap_splits * 2 : 256;
        struct split *grown = realloc(d->splits, cap * sizeof *grown);
        if (!grown)
            return false;
        d->splits = grown;
        d->cap_splits = cap;
    }
    d->splits[d->n_splits++] = s;
    return true;
}

static bool holds(const struct buf *word, struct sg_str s)
{
    const char *at = word->data, *end = at + word->len;
    while (at < end && (at = memchr(at, s.data[0], (size_t)(end - at))) && (size_t)(end - at) >= s.len) {
        if (memcmp(at, s.data, s.len) == 0)
            return true;
        at++;
    }
    return false;
}

/* Breakers as tokens see them: tails[b][i] completes breaker b after its first i bytes. */
static enum sg_status open_breakers(struct dry *d, const struct sg_str *breakers, size_t n, const struct tokenizer *t, struct sg_error *err)
{
    struct split *tails = calloc(n * MAX_BREAKER + 1, sizeof *tails);
    struct buf word = {0};
    enum sg_status status = SG_OK;
    size_t n_tokens = MIN(tokenizer_size(t), d->n_vocab);
    d->whole = calloc(DIV_UP(d->n_vocab, 32), sizeof *d->whole);
    d->first = calloc(d->n_vocab + 1, sizeof *d->first);
    if (!tails || !d->whole || !d->first)
        goto no_memory;
    for (size_t b = 0; b < n; b++) {
        struct sg_str s = {breakers[b].data, MIN(breakers[b].len, (size_t)MAX_BREAKER)};
        for (size_t i = 1; i < s.len; i++) {
            struct split *tail = &tails[b * MAX_BREAKER + i];
            tail->tail = d->tails.len;
            status = tokenizer_encode(t, s.data + i, s.len - i, false, &d->tails, err);
            if (status != SG_OK)
                goto done;
            tail->tail_len = MIN(d->tails.len - tail->tail, (size_t)MAX_TAIL);
        }
    }
    for (size_t id = 0; id < d->n_vocab; id++) {
        d->first[id] = (uint32_t)d->n_splits;
        if (id >= n_tokens)
            continue;
        word.len = 0;
        tokenizer_decode(t, (int32_t)id, true, &word);
        for (size_t b = 0; b < n; b++) {
            struct sg_str s = {breakers[b].data, MIN(breakers[b].len, (size_t)MAX_BREAKER)};
            if (s.len > 0 && holds(&word, s)) {
                d->whole[id / 32] |= 1u << id % 32;
                continue;
            }
            for (size_t i = 1; i < s.len && i <= word.len; i++) /* i bytes at the word's end begin s */
                if (memcmp(word.data + word.len - i, s.data, i) == 0 && !add_split(d, tails[b * MAX_BREAKER + i]))
                    goto no_memory;
        }
    }
    d->first[d->n_vocab] = (uint32_t)d->n_splits;
    if (!word.failed && !d->tails.failed)
        goto done;
no_memory:
    status = fail_memory(err, d->n_vocab * sizeof *d->first, "the sequence breakers of DRY");
done:
    buf_free(&word);
    free(tails);
    return status;
}

enum sg_status dry_open(struct dry **out, size_t last_n, size_t allowed, const struct sg_str *breakers, size_t n_breakers, size_t n_vocab,
                        const struct tokenizer *t, struct sg_error *err)
{
    struct dry *d = *out = calloc(1, sizeof *d);
    if (!d)
        return fail_memory(err, sizeof *d, "DRY");
    d->last_n = MIN(last_n, (size_t)DRY_MAX);
    d->allowed = allowed;
    d->n_vocab = n_vocab;
    d->history = malloc(2 * d->last_n * sizeof *d->history);
    d->z = malloc(d->last_n * sizeof *d->z);
    d->found = malloc(d->last_n * sizeof *d->found);
    d->length = calloc(n_vocab, sizeof *d->length);
    if (!d->history || !d->z || !d->found || !d->length)
        return fail_memory(err, 4 * d->last_n * sizeof *d->z, "DRY");
    if (t && n_breakers > 0)
        return open_breakers(d, breakers, n_breakers, t, err);
    return SG_OK;
}

void dry_close(struct dry *d)
{
    if (!d)
        return;
    free(d->history);
    free(d->z);
    free(d->found);
    free(d->length);
    free(d->whole);
    free(d->first);
    free(d->splits);
    ids_free(&d->tails);
    free(d);
}

void dry_accept(struct dry *d, int32_t id)
{
    if (d->n_history == 2 * d->last_n) {
        memmove(d->history, d->history + d->last_n, d->last_n * sizeof *d->history);
        d->n_history = d->last_n;
    }
    d->history[d->n_history++] = id;
}

/* How many of the newest tokens come after the most recent breaker. newest[-i] is the i-th
 * token back, i < n. */
static size_t since_breaker(const struct dry *d, const int32_t *newest, size_t n)
{
    if (!d->whole)
        return n;
    for (size_t i = 0; i < n; i++) {
        int32_t id = newest[-(ptrdiff_t)i];
        bool found = is_whole(d, id);
        size_t longest = 0;
        for (uint32_t k = d->first[id]; k < d->first[id + 1]; k++) {
            const struct split *s = &d->splits[k];
            if (s->tail_len <= i && memcmp(newest - i + 1, d->tails.data + s->tail, s->tail_len * sizeof *newest) == 0) {
                longest = MAX(longest, s->tail_len);
                found = true;
            }
        }
        if (found)
            return i - longest;
    }
    return n;
}

/* z[k]: how many tokens before (and with) the one k back equal those before (and with) the
 * newest one: the Z-function of the history read backwards, in linear time. */
static void find_repeats(uint32_t *z, const int32_t *newest, size_t n)
{
    size_t left = 0, right = 0; /* the match that reaches furthest: [left, right) */
    for (size_t k = 1; k < n; k++) {
        size_t m = k < right ? MIN((size_t)z[k - left], right - k) : 0;
        while (k + m < n && newest[-(ptrdiff_t)m] == newest[-(ptrdiff_t)(k + m)])
            m++;
        z[k] = (uint32_t)m;
        if (k + m > right) {
            left = k;
            right = k + m;
        }
    }
}

size_t dry_find(struct dry *d, const int32_t **ids)
{
    for (size_t i = 0; i < d->n_found; i++)
        d->length[d->found[i]] = 0;
    d->n_found = 0;
    *ids = d->found;

    size_t n = MIN(d->n_history, d->last_n);
    if (n <= d->allowed || n == 0)
        return 0;
    const int32_t *newest = d->history + d->n_history - 1;
    size_t limit = since_breaker(d, newest, n);
    if (limit < d->allowed)
        return 0;
    find_repeats(d->z, newest, n);
    for (size_t k = 1; k < n; k++) {
        size_t length = MIN((size_t)d->z[k], limit);
        int32_t next = newest[-(ptrdiff_t)(k - 1)];
        if (length < d->allowed || is_whole(d, next))
            continue;
        if (d->length[next] == 0)
            d->found[d->n_found++] = next;
        d->length[next] = MAX(d->length[next], (uint32_t)length + 1);
    }
    return d->n_found;
}

bool dry_length(const struct dry *d, int32_t id, size_t *length)
{
    *length = d->length[id] - (d->length[id] > 0);
    return d->length[id] > 0;
}
