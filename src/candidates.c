#include "candidates.h"

#include <math.h>
#include <stdlib.h>

#include "mathfn.h"

/* Sorting by counting pays from about this many on. */
enum {
    SMALL = 48
};

bool candidates_open(struct candidates *c, size_t capacity)
{
    size_t bytes;
    *c = (struct candidates){0};
    if (!mul_size(capacity, 3 * sizeof *c->code + sizeof *c->weight, &bytes) || !(c->memory = malloc(bytes)))
        return false;
    c->code = c->memory;
    c->spare = c->code + capacity;
    c->weight = (double *)(void *)(c->spare + 2 * capacity);
    return true;
}

void candidates_close(struct candidates *c)
{
    free(c->memory);
    *c = (struct candidates){0};
}

static void insertion_sort(uint64_t *code, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        uint64_t x = code[i];
        size_t j = i;
        for (; j > 0 && code[j - 1] > x; j--)
            code[j] = code[j - 1];
        code[j] = x;
    }
}

/* Stable counting sorts by 11 bits at a time, least significant first. */
void sort_codes(uint64_t *code, uint64_t *spare, size_t n, bool in_order_of_id)
{
    enum {
        BITS = 11,
        BUCKETS = 1 << BITS
    };
    if (n <= SMALL) {
        insertion_sort(code, n);
        return;
    }
    uint64_t *from = code, *to = spare;
    for (unsigned shift = in_order_of_id ? 32 : 0; shift < 64; shift += BITS) {
        size_t start[BUCKETS] = {0}, sum = 0;
        for (size_t i = 0; i < n; i++)
            start[from[i] >> shift & (BUCKETS - 1)]++;
        if (start[from[0] >> shift & (BUCKETS - 1)] == n)
            continue; /* all alike here */
        for (size_t b = 0; b < BUCKETS; b++) {
            size_t count = start[b];
            start[b] = sum;
            sum += count;
        }
        for (size_t i = 0; i < n; i++)
            to[start[from[i] >> shift & (BUCKETS - 1)]++] = from[i];
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != code)
        memcpy(code, from, n * sizeof *code);
}

/* heap[0] is the worst; restores that after heap[at] got better. */
static void sift_down(uint64_t *heap, size_t n, size_t at)
{
    uint64_t x = heap[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        child += child + 1 < n && heap[child + 1] > heap[child];
        if (heap[child] <= x)
            break;
        heap[at] = heap[child];
    }
    heap[at] = x;
}

size_t best_of(uint64_t *code, size_t k, const float *logits, size_t n)
{
    size_t found = 0, i = 0;
    if (k == 0)
        return 0;
    for (; i < n && found < k; i++)
        if (logits[i] > -INFINITY)
            code[found++] = candidate(logits[i], (int32_t)i);
    for (size_t at = found / 2; at-- > 0;)
        sift_down(code, found, at);

    /* Of two equal logits the earlier one is better, so only larger ones come in. Nearly
     * all blocks of 16 have none, and seeing that costs a few vector instructions. */
    float worst = found ? candidate_logit(code[0]) : 0;
    while (i < n) {
        enum {
            BLOCK = 16
        };
        size_t end = MIN(i + BLOCK, n);
        if (end - i == BLOCK) {
            int any = 0;
            for (size_t j = 0; j < BLOCK; j++)
                any |= logits[i + j] > worst;
            if (!any) {
                i = end;
                continue;
            }
        }
        for (; i < end; i++) {
            if (logits[i] > worst) {
                code[0] = candidate(logits[i], (int32_t)i);
                sift_down(code, found, 0);
                worst = candidate_logit(code[0]);
            }
        }
    }

    for (size_t left = found; left > 1;) { /* the worst goes to the end, again and again */
        uint64_t last = code[--left];
        code[left] = code[0];
        code[0] = last;
        sift_down(code, left, 0);
    }
    return found;
}

void candidates_fill(struct candidates *c, const float *logits, size_t n)
{
    c->n = 0;
    c->order = BY_ID;
    for (size_t i = 0; i < n; i++)
        if (logits[i] > -INFINITY)
            c->code[c->n++] = candidate(logits[i], (int32_t)i);
}

void candidates_best(struct candidates *c, const float *logits, size_t n, size_t k)
{
    if (k > n / 16) { /* a heap of many costs more than sorting all */
        candidates_fill(c, logits, n);
        candidates_sort(c);
        c->n = MIN(c->n, k);
    } else {
        c->n = best_of(c->code, k, logits, n);
        c->order = BY_LOGIT;
    }
}

void candidates_sort(struct candidates *c)
{
    if (c->order != BY_LOGIT)
        sort_codes(c->code, c->spare, c->n, c->order == BY_ID);
    c->order = BY_LOGIT;
}

void candidates_weigh(struct candidates *c)
{
    candidates_sort(c);
    double best = candidate_logit(c->code[0]);
    c->total = 0;
    for (size_t i = 0; i < c->n; i++) {
        c->weight[i] = exp_f64((double)candidate_logit(c->code[i]) - best);
        c->total += c->weight[i];
    }
}
