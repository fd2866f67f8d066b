/* hash_index.h: a hash table of numbers, which stand for things that the caller keeps, hashes and
 * compares: four bytes an entry, built once. Layer: base.
 *
 *   struct probe p = hash_index_probe(&index, hash);
 *   for (uint32_t number; hash_index_next(&index, &p, &number);)
 *       if (the thing with that number is the wanted one)
 *           return number;
 *   hash_index_put(&index, &p, new_number);    // when it should be there from now on
 *
 * Time is bounded even for things that were chosen to collide: see HASH_INDEX_REACH. */
#ifndef SIGNUM_HASH_INDEX_H
#define SIGNUM_HASH_INDEX_H

#include <stdlib.h>

#include "base.h"

/* Nothing lies further than this from its place. Random entries never come near it: a run of k
 * full slots has probability below (a e^(1 - a))^k at load a, that is 1e-13 at 0.6. */
enum {
    HASH_INDEX_REACH = 256
};

struct hash_index {
    uint32_t *slots; /* number + 1 in the low bits (0: empty), above it as much of the hash as fits */
    size_t n_slots;  /* a power of two */
    uint32_t number_mask;
};

struct probe {
    size_t at;
    uint32_t tag;
    unsigned distance;
};

/* Room for the numbers 0 .. n - 1, n below 2^31. False: out of memory. */
static inline bool hash_index_init(struct hash_index *x, size_t n)
{
    x->n_slots = 64;
    x->number_mask = 0;
    while (x->n_slots < n + n / 3 * 2) /* load up to 0.6 */
        x->n_slots *= 2;
    while (x->number_mask < n)
        x->number_mask = x->number_mask << 1 | 1;
    x->slots = calloc(x->n_slots, sizeof *x->slots);
    return x->slots != NULL;
}

static inline void hash_index_free(struct hash_index *x)
{
    free(x->slots);
    x->slots = NULL;
}

/* A good 64-bit hash of 64 bits. */
static inline uint64_t hash_mix(uint64_t h)
{
    h = (h ^ h >> 32) * 0x9E3779B97F4A7C15u;
    h = (h ^ h >> 32) * 0xD6E8FEB86659FD93u;
    return h ^ h >> 32;
}

static inline struct probe hash_index_probe(const struct hash_index *x, uint64_t hash)
{
    return (struct probe){(size_t)hash & (x->n_slots - 1), (uint32_t)(hash >> 32) & ~x->number_mask, 0};
}

/* Asks for the memory that a probe will read first. */
static inline void hash_index_prefetch(const struct hash_index *x, uint64_t hash)
{
    __builtin_prefetch(&x->slots[(size_t)hash & (x->n_slots - 1)]);
}

/* The next number that may be the one; false: it is not there. */
static inline bool hash_index_next(const struct hash_index *x, struct probe *p, uint32_t *number)
{
    for (; p->distance < HASH_INDEX_REACH; p->distance++) {
        uint32_t slot = x->slots[(p->at + p->distance) & (x->n_slots - 1)];
        if (slot == 0)
            return false;
        if ((slot & ~x->number_mask) == p->tag) {
            *number = (slot & x->number_mask) - 1;
            p->distance++;
            return true;
        }
    }
    return false;
}

/* Enters a number where a probe has ended; false: too far away. */
static inline bool hash_index_put(struct hash_index *x, const struct probe *p, uint32_t number)
{
    if (p->distance >= HASH_INDEX_REACH)
        return false;
    x->slots[(p->at + p->distance) & (x->n_slots - 1)] = p->tag | (number + 1);
    return true;
}

#endif
