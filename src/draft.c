/* Guessing the next tokens from the context itself (prompt lookup).
 *
 * The guess: where did the last three tokens occur before? What followed there follows
 * again, more probably the longer the match reaches back. For every class of match length
 * the share of right guesses is learned, also while nothing is proposed, by comparing each
 * token with what would have been guessed: learning costs nothing.
 *
 * The decision: with p the chance that a guess is right, k guesses give
 * 1 + p + .. + p^k tokens for the price of an evaluation of k + 1 rows. The price of rows
 * relative to one row is measured as well. k is what maximizes tokens per price. Times
 * differ from run to run, so the number of guesses does; the text can not. */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

enum {
    ORDER = 3,       /* tokens that must agree */
    MATCH_MAX = 32,  /* how far back a match is followed */
    CLASSES = 5,     /* of match lengths: 3, 4, 5..7, 8..15, 16.. */
    INDEX_BITS = 16, /* slots of the index: 256 KiB; a collision only loses a guess */
    NOWHERE = UINT32_MAX,
};

/* First guesses at probabilities, and how slowly experience replaces them. */
static const double prior[CLASSES] = {0.3, 0.4, 0.5, 0.6, 0.7};
static const double learning_rate = 0.08;

/* Rows beyond the first cost about this much of the first with nibble tables (kernels.md:
 * 1.6 for 2 rows, 2.5 for 4, 4.2 for 8); replaced by what is measured. */
static const double prior_row_price = 0.45;

struct sg_draft {
    struct ids ids;                  /* the context; reserved at the start */
    uint32_t index[1 << INDEX_BITS]; /* hash of ORDER tokens -> position after their last occurrence */
    double right[CLASSES];           /* chance that a guess of this class is right */
    double one_row, row_price;       /* seconds; price of a further row relative to one_row */
    uint32_t guess;                  /* where the continuation is copied from, or NOWHERE */
    int class;                       /* of that guess */
};

enum sg_status sg_draft_open(struct sg_draft **out, const struct sg_engine *engine, size_t n_ctx, struct sg_error *err)
{
    (void)engine;
    *out = calloc(1, sizeof **out);
    if (!*out)
        return fail_memory(err, sizeof **out, "speculation");
    struct sg_draft *d = *out;
    d->ids.data = malloc(n_ctx * sizeof *d->ids.data);
    if (!d->ids.data) {
        sg_draft_close(d);
        *out = NULL;
        return fail_memory(err, n_ctx * sizeof *d->ids.data, "speculation");
    }
    d->ids.cap = n_ctx;
    memcpy(d->right, prior, sizeof prior);
    d->row_price = prior_row_price;
    sg_draft_reset(d);
    return SG_OK;
}

void sg_draft_close(struct sg_draft *d)
{
    if (d)
        ids_free(&d->ids);
    free(d);
}

void sg_draft_reset(struct sg_draft *d)
{
    d->ids.len = 0;
    memset(d->index, 0xFF, sizeof d->index);
    d->guess = NOWHERE;
}

static uint32_t slot(const int32_t *last)
{
    uint64_t h = 0;
    for (int i = 0; i < ORDER; i++)
        h = (h ^ (uint32_t)last[i]) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(h >> (64 - INDEX_BITS));
}

static int class_of(size_t length) { return length < 4 ? 0 : length < 5 ? 1 : length < 8 ? 2 : length < 16 ? 3 : 4; }

/* Looks up what followed the last tokens before, and enters them. */
static void look_up(struct sg_draft *d)
{
    size_t n = d->ids.len;
    d->guess = NOWHERE;
    if (n < ORDER)
        return;
    const int32_t *ids = d->ids.data;
    uint32_t *entry = &d->index[slot(ids + n - ORDER)], at = *entry;
    *entry = (uint32_t)n;
    if (at == NOWHERE)
        return;
    size_t length = 0;
    while (length < at && length < MATCH_MAX && ids[at - 1 - length] == ids[n - 1 - length])
        length++;
    if (length < ORDER)
        return; /* a collision */
    d->guess = at;
    d->class = class_of(length);
}

void sg_draft_accept(struct sg_draft *d, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (d->guess != NOWHERE)
            d->right[d->class] += learning_rate * ((double)(d->ids.data[d->guess] == ids[i]) - d->right[d->class]);
        ids_push(&d->ids, ids[i]);
        if (d->ids.failed) { /* out of memory: no more guesses, no harm */
            d->guess = NOWHERE;
            return;
        }
        look_up(d);
    }
}

size_t sg_draft_guess(const struct sg_draft *d, int32_t *out, double *chance, size_t max)
{
    if (d->guess == NOWHERE)
        return 0;
    size_t n = MIN(MIN(max, (size_t)SG_DRAFT_MAX), d->ids.len - d->guess);
    double power = 1;
    for (size_t k = 0; k < n; k++) {
        out[k] = d->ids.data[d->guess + k];
        chance[k] = power *= d->right[d->class];
    }
    return n;
}

size_t sg_draft_propose(struct sg_draft *d, int32_t *out, size_t max)
{
    double chance[SG_DRAFT_MAX], tokens = 1, best = 1.02; /* a gain below 2 % is noise */
    size_t most = sg_draft_guess(d, out, chance, max), n = 0;
    for (size_t k = 1; k <= most; k++) {
        tokens += chance[k - 1];
        double gain = tokens / (1 + d->row_price * (double)k);
        if (gain > best) {
            best = gain;
            n = k;
        }
    }
    return n;
}

void sg_draft_timing(struct sg_draft *d, size_t n, double seconds)
{
    if (n == 1) {
        d->one_row += (d->one_row == 0 ? 1 : 0.1) * (seconds - d->one_row);
    } else if (n > 1 && d->one_row > 0) {
        double price = (seconds / d->one_row - 1) / (double)(n - 1);
        price = price < 0.02 ? 0.02 : price > 2 ? 2 : price; /* one odd measurement must not end it */
        d->row_price += 0.1 * (price - d->row_price);
    }
}
