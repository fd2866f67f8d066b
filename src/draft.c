/* Guessing the next tokens from the context itself (prompt lookup).
 *
 * The guess: of the places where the last token occurred before, the one whose past agrees with
 * the present for the most tokens; what followed there follows again. How probable that is depends
 * on how far the agreement reaches back, and on whether other places with the same last three
 * tokens went on in the same way. For every class of both the share of right guesses is learned, also
 * while nothing is proposed, by comparing each token with what would have been guessed: learning
 * costs nothing, so matches of one token may be tried where they prove right (fields of JSON, names).
 *
 * The decision: with p1, p2 .. the chances that the first, the first two .. guesses are right, k guesses
 * give 1 + p1 + .. + pk tokens for the price of an evaluation of k + 1 rows. The price of rows
 * relative to one row is measured as well. k is what maximizes tokens per price. Times
 * differ from run to run, so the number of guesses does; the text can not. */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

enum {
    ORDER = 3,       /* tokens that other places must share to be asked whether they went on alike */
    MATCH_MAX = 32,  /* how far back a match is followed */
    CANDIDATES = 16, /* latest places that are compared */
    LENGTHS = 7,     /* classes of matches: 1, 2, 3, 4, 5..7, 8..15, 16.. tokens */
    PRICES = 4,      /* classes of rows: 2, 3..4, 5..8, 9..16 */
    INDEX_BITS = 16, /* slots of the index: 256 KiB; a collision only loses guesses */
    NOWHERE = UINT32_MAX,
};

enum others {
    ALONE,
    AGREE,
    DISAGREE,
    OTHERS
};

/* First guesses at probabilities, and how slowly experience replaces them in the end. */
static const double prior[LENGTHS] = {0.12, 0.25, 0.35, 0.45, 0.6, 0.7, 0.8};
static const double prior_of_others[OTHERS] = {1, 1.15, 0.6};
static const double learning_rate = 0.05;
static const double prior_expected = 0.8;

/* What a row beyond the first costs of the first: with nibble tables 1.2 to 1.6 for 2 rows, 2 to 2.5 for
 * 4, 3.2 to 4.2 for 8. Replaced by what is measured. */
static const double prior_row_price = 0.4;

struct sg_draft {
    struct ids ids;                    /* the context; reserved at the start */
    uint32_t *before;                  /* (ids.cap + 1) for the position after a token: that after an earlier one of its slot */
    uint32_t index[1 << INDEX_BITS];   /* slot of a token -> the position after its last occurrence */
    double right[LENGTHS][OTHERS];     /* chance that a guess of this class is right */
    unsigned seen[LENGTHS][OTHERS];    /* from how many it was learned */
    double one_row, row_price[PRICES]; /* seconds; price of each further row relative to one_row */
    uint32_t guess;                    /* where the continuation is copied from, or NOWHERE */
    size_t length;                     /* tokens before it that agree with the last ones */
    enum others others;
    int32_t expected[SG_DRAFT_MAX]; /* what somebody else says will follow */
    size_t n_expected;
    double expected_right;
};

enum sg_status sg_draft_open(struct sg_draft **out, const struct sg_engine *engine, size_t n_ctx, struct sg_error *err)
{
    (void)engine;
    *out = calloc(1, sizeof **out);
    if (!*out)
        return fail_memory(err, sizeof **out, "speculation");
    struct sg_draft *d = *out;
    d->ids.data = malloc(n_ctx * sizeof *d->ids.data);
    d->before = malloc((n_ctx + 1) * sizeof *d->before);
    if (!d->ids.data || !d->before) {
        sg_draft_close(d);
        *out = NULL;
        return fail_memory(err, (n_ctx + 1) * (sizeof *d->ids.data + sizeof *d->before), "speculation");
    }
    d->ids.cap = n_ctx;
    for (size_t length = 0; length < LENGTHS; length++)
        for (size_t others = 0; others < OTHERS; others++)
            d->right[length][others] = prior[length] * prior_of_others[others];
    d->expected_right = prior_expected;
    for (size_t i = 0; i < PRICES; i++)
        d->row_price[i] = prior_row_price;
    sg_draft_reset(d);
    return SG_OK;
}

void sg_draft_close(struct sg_draft *d)
{
    if (d) {
        ids_free(&d->ids);
        free(d->before);
    }
    free(d);
}

void sg_draft_reset(struct sg_draft *d)
{
    d->ids.len = 0;
    memset(d->index, 0xFF, sizeof d->index);
    d->guess = NOWHERE;
    d->n_expected = 0;
}

void sg_draft_expect(struct sg_draft *d, const int32_t *ids, size_t n)
{
    d->n_expected = MIN(n, (size_t)SG_DRAFT_MAX);
    memcpy(d->expected, ids, d->n_expected * sizeof *ids);
}

static uint32_t slot(int32_t id) { return ((uint32_t)id * 0x9E3779B1u) >> (32 - INDEX_BITS); }

static size_t length_class(size_t length) { return length <= 4 ? length - 1 : length < 8 ? 4 : length < 16 ? 5 : 6; }

static size_t price_class(size_t rows) { return rows <= 2 ? 0 : rows <= 4 ? 1 : rows <= 8 ? 2 : 3; }

/* How many tokens before `at` agree with the last ones. */
static size_t match_length(const struct sg_draft *d, size_t at)
{
    const int32_t *ids = d->ids.data;
    size_t n = d->ids.len, length = 0;
    while (length < at && length < MATCH_MAX && ids[at - 1 - length] == ids[n - 1 - length])
        length++;
    return length;
}

/* Looks up what followed the last tokens before, and enters them. */
static void look_up(struct sg_draft *d)
{
    const int32_t *ids = d->ids.data;
    uint32_t place[CANDIDATES], *entry = &d->index[slot(ids[d->ids.len - 1])], at = *entry;
    size_t length[CANDIDATES], n = 0, best = 0;
    for (; n < CANDIDATES && at != NOWHERE; at = d->before[at], n++) {
        place[n] = at;
        length[n] = match_length(d, at);
        if (length[n] > length[best])
            best = n;
    }
    d->before[d->ids.len] = *entry;
    *entry = (uint32_t)d->ids.len;
    d->guess = NOWHERE;
    if (n == 0 || length[best] == 0)
        return;
    d->guess = place[best];
    d->length = length[best];
    d->others = ALONE;
    for (size_t i = 0; i < n; i++) {
        if (i != best && length[i] >= MIN(d->length, (size_t)ORDER) && d->others != DISAGREE)
            d->others = ids[place[i]] == ids[d->guess] ? AGREE : DISAGREE;
    }
}

/* Experience weighs more the less there is of it. */
static void learn(struct sg_draft *d, bool right)
{
    size_t class = length_class(d->length);
    unsigned *seen = &d->seen[class][d->others];
    *seen += *seen < 100; /* by then it is learning_rate */
    double rate = 1.0 / (4 + *seen), *p = &d->right[class][d->others];
    *p += (rate > learning_rate ? rate : learning_rate) * ((double)right - *p);
}

/* The expectation meets the next token. */
static void check_expected(struct sg_draft *d, int32_t id)
{
    bool right = d->expected[0] == id;
    d->expected_right += learning_rate * ((double)right - d->expected_right);
    d->n_expected = right ? d->n_expected - 1 : 0;
    memmove(d->expected, d->expected + 1, d->n_expected * sizeof id);
}

void sg_draft_accept(struct sg_draft *d, const int32_t *ids, size_t n)
{
    size_t cap = d->ids.cap;
    for (size_t i = 0; i < n; i++) {
        if (d->n_expected)
            check_expected(d, ids[i]);
        if (d->guess != NOWHERE)
            learn(d, d->ids.data[d->guess] == ids[i]);
        d->guess = NOWHERE;
        if (d->ids.len == cap) /* longer than the context that was announced: no more guesses, no harm */
            return;
        ids_push(&d->ids, ids[i]);
        look_up(d);
    }
}

size_t sg_draft_guess(const struct sg_draft *d, int32_t *out, double *chance, size_t max)
{
    double power = 1;
    if (d->n_expected) {
        for (size_t k = 0; k < MIN(max, d->n_expected); k++) {
            out[k] = d->expected[k];
            chance[k] = power *= d->expected_right;
        }
        return MIN(max, d->n_expected);
    }
    if (d->guess == NOWHERE)
        return 0;
    size_t n = MIN(MIN(max, (size_t)SG_DRAFT_MAX), d->ids.len - d->guess);
    for (size_t k = 0; k < n; k++) {
        /* With each right guess the match is longer; others that disagree about the first are out. */
        enum others others = k > 0 && d->others == DISAGREE ? ALONE : d->others;
        out[k] = d->ids.data[d->guess + k];
        chance[k] = power *= d->right[length_class(d->length + k)][others];
    }
    return n;
}

size_t sg_draft_propose(struct sg_draft *d, int32_t *out, size_t max)
{
    double chance[SG_DRAFT_MAX], tokens = 1, best = 1.02; /* a gain below 2 % is noise */
    size_t most = sg_draft_guess(d, out, chance, max), n = 0;
    for (size_t k = 1; k <= most; k++) {
        tokens += chance[k - 1];
        double gain = tokens / (1 + d->row_price[price_class(k + 1)] * (double)k);
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
        double price = (seconds / d->one_row - 1) / (double)(n - 1), *known = &d->row_price[price_class(n)];
        price = price < 0.02 ? 0.02 : price > 2 ? 2 : price; /* one odd measurement must not end it */
        *known += 0.1 * (price - *known);
    }
}
