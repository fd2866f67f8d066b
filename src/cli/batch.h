/* batch.h: thousands of prompts, one load, nothing lost. Layer: cli.
 *
 *   batch_input    lines, CSV rows and templates to one JSON text per request
 *   batch_request  that JSON to what is to be computed
 *   batch_run      the sequences that share every evaluation
 *   sequence       one of them
 *   guessing       what they speculate on
 *   batch_record   what a result or an error looks like in the output
 *   batch_output   the file they go to: resuming, keeping others out
 *   batch          the command that ties them together */
#ifndef SIGNUM_BATCH_H
#define SIGNUM_BATCH_H

#include "cli.h"
#include "constraint.h"
#include "json.h"

/* ------------------------------------------------------------------ input */

struct batch_input {
    int fd;
    const char *path; /* for messages */
    char *bytes;      /* read, of which at .. n are still to be looked at */
    size_t at, n;
    int error; /* errno of a read that failed */
    bool cut;  /* we were interrupted while waiting for more */
    bool lines, csv;
    int separator;           /* of CSV: the first of , ; and tab in the header; 0: not known yet */
    const char *template;    /* NULL: none */
    struct buf line, header; /* header: the CSV's, as a JSON array */
    size_t number;           /* of the last line or row read */
};

enum {
    BATCH_LINE_MAX = 64 << 20
}; /* longer lines become error records */

/* Opens path (NULL or "-": stdin). */
enum sg_status batch_input_open(struct batch_input *in, const struct options *o, struct sg_error *err);
void batch_input_close(struct batch_input *in);

/* Whether reading would not wait for whoever writes it, at least not for the first byte. */
bool batch_input_ready(const struct batch_input *in);

/* How many lines (rows of CSV) are still to be read, blank ones not counted; 0: not known,
 * because the input is no file. */
size_t batch_input_count(const struct batch_input *in);

/* The next request's JSON into *text (valid until the next call), its original fields (a
 * JSON object, or empty) into *fields. *more is false at the end. *bad: this line is wrong,
 * err says how, and reading can go on. Other failures end everything. */
enum sg_status batch_input_next(struct batch_input *in, struct buf *text, struct buf *fields, bool *more, bool *bad, struct sg_error *err);

/* --------------------------------------------------------------- requests */

struct batch_continuation { /* --score: how probable is this text after the prompt */
    struct buf text;
    int32_t *ids;
    size_t n;
    double logprob;
    bool greedy; /* every token was the most probable one */
};

struct batch_choice {
    uint64_t seed;
    struct buf text, thinking, logprobs; /* logprobs: JSON objects, comma between */
    struct sg_reply_counts counts;
};

struct batch_request {
    struct batch_request *next;
    size_t number; /* line */
    struct buf id, fields;
    bool chat, generated_id;
    int32_t *ids;
    size_t n_ids;
    struct sg_sampling sampling;
    struct sg_logit_bias *biases;
    struct buf stop_text;
    struct sg_str *stop;
    size_t n_stop;
    struct ids stop_ids;
    bool has_seed;
    uint64_t seed;
    int64_t n_predict, min_predict, think_budget;
    bool ignore_eos, logprobs;
    enum sg_think think;
    size_t max_calls; /* of the tools that the request offers; 0: it offers none */
    size_t top_logprobs;
    struct batch_choice *choices; /* (n) */
    size_t n, n_started, n_done;
    struct batch_continuation *continuations; /* (n_continuations) instead of choices */
    size_t n_continuations;
    bool options;                        /* they are those of --choice: one of them is the answer */
    struct sg_grammar *grammar;          /* NULL: the answer is free */
    struct constraints *lender;          /* of grammar; NULL: it is the flags' */
    struct form_name form;               /* of it */
    size_t cached_tokens;                /* prompt tokens that were not evaluated again, of the first choice */
    int64_t start_us, prompt_us, end_us; /* prompt_us: when the first answer token could be chosen */
};

struct batch_defaults { /* what flags say, for what a request does not */
    struct options *o;
    struct sg_engine *engine;
    struct sg_sampling sampling;
    uint64_t seed;
    struct buf system;
    bool has_system;
    struct ids stop_ids;
    size_t n_ctx;
    struct sg_grammar *grammar;     /* of the flags; NULL: none */
    struct form_name form;          /* of it */
    struct constraints constraints; /* of requests */
    struct buf unknown;             /* names of unknown fields already reported: ,"a","b", */
};

/* Reads a request. *id is filled in even when the rest is wrong, as far as it can be. The
 * result is for batch_request_free. SG_USAGE: the request is wrong. */
enum sg_status batch_request_read(struct batch_request **out, struct batch_defaults *d, const char *text, size_t len, size_t number,
                                  struct buf *id, struct sg_error *err);
void batch_request_free(struct batch_request *r); /* NULL is fine */

/* How its answers are chosen, but for the seed and the form. Valid as long as the request. */
struct sg_reply_options batch_reply_options(const struct batch_defaults *d, const struct batch_request *r);

/* The id alone, without looking at the rest: to skip what is done already. */
void batch_request_id(const char *text, size_t len, size_t number, struct buf *id);

/* ---------------------------------------------------------------- records */

struct batch_failure {
    const char *code; /* for programs */
    int http;         /* the status that a server would answer with */
    const char *message;
    size_t line; /* of the input; 0: left out */
};

/* One record, without a newline, instead of what *b holds. */
void batch_record_result(struct buf *b, bool simple, const char *fingerprint, const struct batch_defaults *d,
                         const struct batch_request *r);
void batch_record_error(struct buf *b, bool simple, const char *fingerprint, const struct buf *id, const struct buf *fields,
                        const struct batch_failure *why);

/* ----------------------------------------------------------------- output */

struct batch_output {
    FILE *file;
    const char *path; /* NULL: stdout */
    bool simple;
    char fingerprint[17]; /* of model and settings: a run resumes only its own records */
    /* ids that have a record, as 128-bit hashes */
    uint64_t (*seen)[2];
    size_t n_seen, seen_cap;
    size_t n_recorded; /* by the run that is resumed */
    size_t n_failed;   /* of these, and they stay as they are */
    struct buf line;
};

/* Opens the output and keeps other runs out of it; with --resume reads what is there, cuts a torn
 * last line, and remembers the finished ids (failed ones are dropped from the file with
 * --retry-failed). input: open, and to be no file that is written. */
enum sg_status batch_output_open(struct batch_output *o, const struct options *options, int input, struct sg_error *err);
enum sg_status batch_output_close(struct batch_output *out, struct sg_error *err);

/* What the id was before; from then on it is used. SG_NO_MEMORY. */
enum batch_id {
    BATCH_ID_NEW,
    BATCH_ID_USED /* earlier in this input */,
    BATCH_ID_RECORDED /* by the run that is resumed */
};
enum sg_status batch_output_claim(struct batch_output *out, const struct buf *id, enum batch_id *was, struct sg_error *err);

/* One complete line, written and flushed. SG_FAIL: it could not be written. */
enum sg_status batch_output_result(struct batch_output *out, const struct batch_defaults *d, const struct batch_request *r,
                                   struct sg_error *err);
enum sg_status batch_output_error(struct batch_output *out, const struct buf *id, const struct buf *fields, const struct sg_error *why,
                                  struct sg_error *err);

/* The record of a request whose custom_id was used before, in input line `number`. Nothing
 * is written when the run that is resumed did so. */
enum sg_status batch_output_duplicate(struct batch_output *out, const struct buf *id, const struct buf *fields, size_t number,
                                      bool *written, struct sg_error *err);

/* -------------------------------------------------------------- sequences */

struct batch_run;

/* Called when a request is complete or has failed (why not NULL); the request is freed after. */
typedef enum sg_status batch_done_fn(void *arg, const struct batch_request *r, const struct sg_error *why, struct sg_error *err);

struct batch_totals {
    size_t prompt_tokens, cached_tokens, answer_tokens; /* cached: shared or kept, not evaluated */
    size_t steps, rows;
    size_t proposed, accepted; /* guesses evaluated, and those that were right */
};

enum sg_status batch_run_open(struct batch_run **out, const struct batch_defaults *d, size_t n_parallel, batch_done_fn *done, void *arg,
                              struct sg_error *err);
void batch_run_close(struct batch_run *run); /* requests in it are freed, NULL is fine */

/* Whether another request would be started soon; and giving it (it then belongs to run). */
bool batch_run_wants(const struct batch_run *run);
void batch_run_add(struct batch_run *run, struct batch_request *r);
bool batch_run_busy(const struct batch_run *run);

/* Forgets requests that were not started at all. */
void batch_run_drop_waiting(struct batch_run *run);

/* One evaluation for all sequences, and what follows from it. */
enum sg_status batch_run_step(struct batch_run *run, struct sg_error *err);
void batch_run_totals(const struct batch_run *run, struct batch_totals *out);
size_t batch_run_active(const struct batch_run *run);

#endif
