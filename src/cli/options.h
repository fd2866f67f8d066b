/* options.h: every flag of every command in one table: parsing, help and the names
 * that /set takes. Layer: cli. */
#ifndef SIGNUM_OPTIONS_H
#define SIGNUM_OPTIONS_H

#include <stdio.h>

#include "buf.h"
#include "error.h"
#include "signum.h"

enum { /* commands, as bits: which flags a command takes */
    CMD_RUN = 1 << 0,
    CMD_CHAT = 1 << 1,
    CMD_BATCH = 1 << 2,
    CMD_INFO = 1 << 3,
    CMD_CHECK = 1 << 4,
    CMD_PERPLEXITY = 1 << 5,
    CMD_TOKENIZE = 1 << 6,
    CMD_RENDER = 1 << 7,
    CMD_LOGITS = 1 << 8,
    CMD_BENCH = 1 << 9,
    CMD_COMPLETION = 1 << 10,
    CMD_REPACK = 1 << 11,
};

enum {
    MAX_STRINGS = 256
};

enum ctx_full {
    CTX_FULL_DROP,
    CTX_FULL_STOP
}; /* what to do with a full context */

enum colour {
    COLOUR_AUTO,
    COLOUR_ON,
    COLOUR_OFF
}; /* the order of the words that --color takes */

struct strings { /* of a flag that may be repeated */
    struct sg_str item[MAX_STRINGS];
    size_t n;
};

struct options {
    unsigned command;
    /* model and machine */
    const char *model;
    const char *isa; /* SIGNUM_ISA */
    int64_t n_ctx;   /* 0: the model's, as far as memory allows */
    int64_t n_threads;
    enum sg_act act;
    enum sg_matmul matmul;
    bool repack;
    enum sg_kv_type type_k, type_v;
    const char *chat_template;
    /* input */
    const char *prompt, *prompt_file, *system, *system_file;
    char **words; /* what is no flag */
    int n_words;
    bool raw, parse_special;
    /* answer */
    int64_t n_predict, min_predict;
    struct strings stop;
    const char *stop_ids; /* token ids, as 1,2,3 */
    enum sg_think think;
    int64_t think_budget;
    bool hide_think, no_loop_guard, ignore_eos, special;
    /* the form of the answer, see constraint.h */
    const char *json_schema, *json_schema_file, *schema, *regex, *grammar, *grammar_file;
    bool json_object;
    struct strings choices;
    int choice_norm; /* 0: the whole option's probability, 1: per token */
    int speculation; /* 0: off, 1: from the context's n-grams */
    /* sampling: what the flags said; see options_sampling */
    struct sg_sampling sampling;
    int64_t seed; /* -1: random */
    struct strings dry_breakers;
    struct sg_logit_bias biases[MAX_STRINGS];
    size_t n_biases;
    /* output */
    const char *output;
    enum colour colour;
    bool json, jsonl, verbose, quiet, help;
    /* chat */
    bool continue_last, no_save, no_wrap;
    const char *session;
    int ctx_full; /* enum ctx_full */
    int64_t resume_cache;
    /* repack */
    bool undo;
    /* tokenize, logits */
    const char *ids;
    /* bench: lists such as "512", "1,2", "0-4096+1024" */
    const char *bench_spec; /* a prompt and an answer */
    const char *bench_prompts, *bench_gens, *bench_depths, *bench_threads;
    int64_t repetitions;
    int format; /* 0 md, 1 csv, 2 json */
    bool kernels, tune;
    /* batch */
    const char *input, *template, *summary, *shard;
    int64_t n_parallel; /* 0: from memory and cores */
    bool lines, csv, simple, resume, retry_failed, strict, score;

    bool given[160]; /* by index in the table of options.c */
};

/* Parses argv[0..argc) (after the command's name). SG_USAGE with a sentence. */
enum sg_status options_parse(struct options *o, unsigned command, int argc, char **argv, struct sg_error *err);

/* Sets one option by a name such as "temp" or "--temp" (flags without a value take
 * on/off here). A wrong name's sentence suggests the nearest. */
enum sg_status options_set(struct options *o, const char *name, const char *value, struct sg_error *err);

/* Whether an option can only be given at the start: it belongs to the model and machine. */
bool options_fixed(const struct options *o, const char *name);

/* Appends "name value" lines of all options that a command takes (for /show); sampling is
 * what is in effect. */
void options_show(const struct options *o, const struct sg_sampling *sampling, struct buf *out);

/* Calls fn with the name of every option that options_set takes, as options_show prints it. */
void options_each_name(const struct options *o, void (*fn)(void *arg, const char *name, size_t len), void *arg);

struct flag {                 /* what a shell must know to complete it */
    const char *names;        /* separated by spaces */
    const char *value;        /* what the value is called, "FILE" if it is one; NULL: takes none */
    const char *const *words; /* the values it can have, NULL-terminated, or NULL */
    const char *help;
};

/* Calls fn with every flag of a command that its help shows. */
void options_each_flag(unsigned command, void (*fn)(const void *arg, const struct flag *flag), const void *arg);

/* What is in effect: the model's defaults with the given flags on top, and the seed (a
 * random one is drawn when it is -1 and stored in o->seed as well). Returns where the
 * defaults came from. */
const char *options_sampling(struct options *o, const struct sg_engine *engine, struct sg_sampling *out);

/* Prints the flags of a command, grouped, of some groups only the usual ones; with a topic
 * all of those and nothing else. */
void options_help(FILE *out, unsigned command, const char *topic);
extern const char *const options_topics[]; /* "sampling" and "form"; NULL ends them */
bool options_is_topic(const char *name);

/* What records call the chosen rounding of activations: "int8", "int16" or "f32". */
const char *options_act_name(const struct options *o);
/* What flags and records call a type of the cache, and when to think. */
const char *options_kv_name(enum sg_kv_type type);
const char *options_think_name(enum sg_think think);

/* The nearest name by edit distance among n, or NULL when none is near. */
const char *options_nearest(const char *name, const char *const *names, size_t n);

#endif
