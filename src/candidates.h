/* candidates.h: the tokens that may still be chosen, best first: by logit descending,
 * then by id. Layer: model. */
#ifndef SIGNUM_CANDIDATES_H
#define SIGNUM_CANDIDATES_H

#include <string.h>

#include "base.h"

/* A logit and an id in one number, so that the order of numbers is the order of
 * candidates. Above: the bits of the float, mapped so that larger floats are smaller
 * integers; below: the id. -0 becomes 0. */
static inline uint64_t candidate(float logit, int32_t id)
{
    uint32_t bits;
    logit += 0.0f;
    memcpy(&bits, &logit, sizeof bits);
    bits = bits >> 31 ? bits : ~bits & 0x7FFFFFFFu;
    return (uint64_t)bits << 32 | (uint32_t)id;
}

static inline int32_t candidate_id(uint64_t code) { return (int32_t)(uint32_t)code; }

static inline float candidate_logit(uint64_t code)
{
    uint32_t bits = (uint32_t)(code >> 32);
    float logit;
    bits = bits >> 31 ? bits : ~bits & 0x7FFFFFFFu;
    memcpy(&logit, &bits, sizeof logit);
    return logit;
}

enum candidate_order {
    BY_ID,
    BY_LOGIT,
    NO_ORDER
};

struct candidates {
    uint64_t *code;  /* (n) */
    uint64_t *spare; /* room for sorting, twice as many */
    double *weight;  /* (n) e^(logit - best logit), after candidates_weigh */
    double total;    /* of the weights, summed in order */
    size_t n;
    enum candidate_order order;
    void *memory;
};

/* Room for so many; pages that are never needed are never touched. False: out of memory. */
bool candidates_open(struct candidates *c, size_t capacity);
void candidates_close(struct candidates *c);

/* All of n logits that are not -infinity, or the best k of them. No NaN, no +infinity. */
void candidates_fill(struct candidates *c, const float *logits, size_t n);
void candidates_best(struct candidates *c, const float *logits, size_t n, size_t k);

/* Puts the best first, unless they are in that order already. */
void candidates_sort(struct candidates *c);

/* Sorts, and computes the weights and their total. At least one candidate. */
void candidates_weigh(struct candidates *c);

/* The best k of n logits, in order, into code (room for k); returns how many. */
size_t best_of(uint64_t *code, size_t k, const float *logits, size_t n);

/* Sorts codes ascending; spare: room for as many. in_order_of_id: they are by id, so only
 * the upper halves need sorting. */
void sort_codes(uint64_t *code, uint64_t *spare, size_t n, bool in_order_of_id);

#endif
