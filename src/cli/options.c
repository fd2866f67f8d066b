#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum kind {
    FLAG,
    STRING,
    INTEGER,
    FLOAT,
    CHOICE,
    LIST,
    BIAS,
    SEED,
    SAMPLERS,
    IGNORED_FLAG,
    IGNORED_VALUE
};

enum group {
    MODEL,
    SESSION,
    INPUT,
    ANSWER,
    FORM,
    MORE_FORM,
    SAMPLING,
    MORE_SAMPLING,
    OUTPUT,
    HIDDEN,
    GROUPS
};

static const char *const group_titles[GROUPS] = {
    "Model and machine", "Session", "Input", "Answer", "Form of the answer", "More forms", "Sampling (defaults come from the model)",
    "More sampling",     "Output",  NULL,
};

struct spec {
    const char *names; /* separated by spaces; the first long one is the name that /show prints */
    const char *value; /* in the help; NULL for flags */
    const char *help;
    enum group group;
    enum kind kind;
    unsigned commands;
    size_t offset;
    double min, max;          /* INTEGER, FLOAT */
    const char *const *words; /* CHOICE: NULL-terminated; the index is stored */
};

#define GENERATE (CMD_RUN | CMD_CHAT | CMD_BATCH)
#define EVALUATE (GENERATE | CMD_PERPLEXITY | CMD_LOGITS | CMD_CHECK)
#define CONSTRAIN (CMD_RUN | CMD_BATCH)
#define ALL (EVALUATE | CMD_BENCH | CMD_INFO | CMD_TOKENIZE | CMD_RENDER)
#define AT(field) offsetof(struct options, field)

static const char *const act_words[] = {"int8", "f32", "int16", NULL}; /* enum sg_act */
static const char *const matmul_words[] = {"auto", "sign", "popcount", "tables", NULL};
static const char *const kv_words[] = {"f16", "f32", "q8_0", NULL};
static const char *const spec_words[] = {"off", "ngram", NULL};
static const char *const format_words[] = {"md", "csv", "json", NULL};
static const char *const think_words[] = {"auto", "on", "off", NULL};
static const char *const colour_words[] = {"auto", "on", "off", NULL};
static const char *const ctx_full_words[] = {"drop", "stop", NULL};
static const char *const norm_words[] = {"sum", "tokens", NULL};
static const char *const template_words[] = {"qwen3", "qwen3-2507", "bonsai", "chatml", NULL};

static const struct spec specs[] = {
    {"-m --model", "FILE", "the model (GGUF); else SIGNUM_MODEL, else the bundled one", MODEL, STRING, ALL, AT(model), 0, 0, NULL},
    {"-c --ctx-size", "N", "context in tokens; 0: the model's maximum, limited by memory", MODEL, INTEGER, EVALUATE, AT(n_ctx), 0, 1 << 30,
     NULL},
    {"-t --threads", "N", "threads; else SIGNUM_THREADS, else physical cores", MODEL, INTEGER, EVALUATE, AT(n_threads), 1, 1024, NULL},
    {"-ctk --cache-type-k", "TYPE", "keys in the cache: f16, f32, q8_0", MODEL, CHOICE, EVALUATE | CMD_BENCH, AT(type_k), 0, 0, kv_words},
    {"-ctv --cache-type-v", "TYPE", "values in the cache: f16, f32, q8_0", MODEL, CHOICE, EVALUATE | CMD_BENCH, AT(type_v), 0, 0, kv_words},
    {"--act", "TYPE", "activations: int8, int16 (close to f32, less fast), f32 (the reference, slow)", MODEL, CHOICE, EVALUATE | CMD_BENCH,
     AT(act), 0, 0, act_words},
    {"--matmul", "KIND", "auto, sign, popcount, tables: same results, other speed", MODEL, CHOICE, EVALUATE | CMD_BENCH, AT(matmul), 0, 0,
     matmul_words},
    {"--repack", NULL, "copy one-bit weights into faster order first", MODEL, FLAG, EVALUATE | CMD_BENCH, AT(repack), 0, 0, NULL},
    {"--chat-template", "NAME", "override: qwen3, qwen3-2507, bonsai, chatml", MODEL, STRING, GENERATE | CMD_RENDER, AT(chat_template), 0,
     0, template_words},

    {"-C --continue", NULL, "go on with the last session", SESSION, FLAG, CMD_CHAT, AT(continue_last), 0, 0, NULL},
    {"--session", "NAME", "go on with the session NAME, or begin it", SESSION, STRING, CMD_CHAT, AT(session), 0, 0, NULL},
    {"--no-save", NULL, "keep no transcript, history or cache", SESSION, FLAG, CMD_CHAT, AT(no_save), 0, 0, NULL},
    {"--resume-cache", "MIB", "disk space for instant resuming (2048; 0: none)", SESSION, INTEGER, CMD_CHAT, AT(resume_cache), 0, 1 << 30,
     NULL},
    {"--ctx-full", "WHAT", "drop the oldest turns, or stop, when the context is full", SESSION, CHOICE, CMD_CHAT, AT(ctx_full), 0, 0,
     ctx_full_words},

    {"-p --prompt", "TEXT", "the prompt", INPUT, STRING, CMD_RUN | CMD_TOKENIZE | CMD_LOGITS, AT(prompt), 0, 0, NULL},
    {"-f --file", "FILE", "read the prompt from FILE (- is stdin); after -p if both", INPUT, STRING, CMD_RUN | CMD_TOKENIZE | CMD_LOGITS,
     AT(prompt_file), 0, 0, NULL},
    {"-f --file", "FILE", "read from FILE", INPUT, STRING, CMD_PERPLEXITY | CMD_RENDER, AT(prompt_file), 0, 0, NULL},
    {"-sys --system --system-prompt", "TEXT", "system prompt", INPUT, STRING, GENERATE, AT(system), 0, 0, NULL},
    {"-sysf --system-prompt-file", "FILE", "system prompt from FILE", INPUT, STRING, GENERATE, AT(system_file), 0, 0, NULL},
    {"--raw -no-cnv --no-conversation", NULL, "no chat template: the prompt is continued as it is", INPUT, FLAG, CMD_RUN | CMD_BATCH,
     AT(raw), 0, 0, NULL},
    {"--parse-special", NULL, "control tokens spelled in the prompt become control tokens", INPUT, FLAG,
     CMD_RUN | CMD_BATCH | CMD_TOKENIZE | CMD_LOGITS, AT(parse_special), 0, 0, NULL},
    {"--ids", "IDS", "token ids, as 1,2,3", INPUT, STRING, CMD_TOKENIZE | CMD_LOGITS, AT(ids), 0, 0, NULL},
    {"--jsonl", NULL, "read JSON objects, one per line, from stdin or -f", INPUT, FLAG, CMD_TOKENIZE | CMD_RENDER, AT(jsonl), 0, 0, NULL},

    {"-i --input", "FILE", "requests, one JSON object a line; else stdin", INPUT, STRING, CMD_BATCH, AT(input), 0, 0, NULL},
    {"--lines", NULL, "every line is a prompt", INPUT, FLAG, CMD_BATCH, AT(lines), 0, 0, NULL},
    {"--template", "TEXT", "make the prompt from fields: 'Classify: {text}'", INPUT, STRING, CMD_BATCH, AT(template), 0, 0, NULL},
    {"--csv", NULL, "the input is CSV with a header (else by its name)", INPUT, FLAG, CMD_BATCH, AT(csv), 0, 0, NULL},
    {"--strict", NULL, "refuse fields that are not known", INPUT, FLAG, CMD_BATCH, AT(strict), 0, 0, NULL},
    {"--shard", "I/N", "only the I-th of N parts, by id", INPUT, STRING, CMD_BATCH, AT(shard), 0, 0, NULL},
    {"--score", NULL, "no answer: log-likelihood of each request's \"completions\", or of each --choice", ANSWER, FLAG, CMD_BATCH,
     AT(score), 0, 0, NULL},
    {"--score", NULL, "the most probable --choice instead of a sampled one; --json shows all", MORE_FORM, FLAG, CMD_RUN, AT(score), 0, 0,
     NULL},
    {"--choice-norm", "WHAT", "--score compares whole options (sum) or per token (tokens)", MORE_FORM, CHOICE, CONSTRAIN, AT(choice_norm),
     0, 0, norm_words},
    {"-np --parallel", "N", "sequences at once; 0: from memory and cores", MODEL, INTEGER, CMD_BATCH, AT(n_parallel), 0, 1024, NULL},
    {"-o --output", "FILE", "write to FILE instead of stdout", OUTPUT, STRING, CMD_BATCH, AT(output), 0, 0, NULL},
    {"--simple", NULL, "write {\"id\", \"text\", ...} instead of OpenAI's object", OUTPUT, FLAG, CMD_BATCH, AT(simple), 0, 0, NULL},
    {"--resume", NULL, "go on with FILE: what is finished is skipped", OUTPUT, FLAG, CMD_BATCH, AT(resume), 0, 0, NULL},
    {"--retry-failed", NULL, "... and what failed is tried again", OUTPUT, FLAG, CMD_BATCH, AT(retry_failed), 0, 0, NULL},
    {"--summary", "FILE", "totals as JSON at the end", OUTPUT, STRING, CMD_BATCH, AT(summary), 0, 0, NULL},
    {"-p --n-prompt", "LIST", "prompt lengths (default 512; 0: none)", INPUT, STRING, CMD_BENCH, AT(bench_prompts), 0, 0, NULL},
    {"-n --n-gen", "LIST", "tokens to generate (default 128; 0: none)", INPUT, STRING, CMD_BENCH, AT(bench_gens), 0, 0, NULL},
    {"-d --n-depth", "LIST", "tokens in the context before each test, made up at once (default 0)", INPUT, STRING, CMD_BENCH,
     AT(bench_depths), 0, 0, NULL},
    {"-t --threads", "LIST", "numbers of threads", INPUT, STRING, CMD_BENCH, AT(bench_threads), 0, 0, NULL},
    {"-r --repetitions", "N", "runs of each test (default 5)", INPUT, INTEGER, CMD_BENCH, AT(repetitions), 1, 1000, NULL},
    {"--kernels", NULL, "time and verify every kernel of every level instead", ANSWER, FLAG, CMD_BENCH, AT(kernels), 0, 0, NULL},
    {"--tune", NULL, "find the number of threads that decodes fastest", ANSWER, FLAG, CMD_BENCH, AT(tune), 0, 0, NULL},
    {"--spec", "FILE", "what --spec ngram gains: a prompt, a line =====, an answer", ANSWER, STRING, CMD_BENCH, AT(bench_spec), 0, 0, NULL},
    {"-o --output", "FORMAT", "md, csv or json", OUTPUT, CHOICE, CMD_BENCH, AT(format), 0, 0, format_words},

    {"-n --predict --n-predict --max-tokens", "N", "answer tokens at most; -1: until the end", ANSWER, INTEGER, GENERATE, AT(n_predict), -1,
     1 << 30, NULL},
    {"--think --reasoning", "WHEN", "on, off, auto: let the model think first", ANSWER, CHOICE, GENERATE, AT(think), 0, 0, think_words},
    {"--think-budget --reasoning-budget", "N", "thinking tokens at most; -1: no limit", ANSWER, INTEGER, GENERATE, AT(think_budget), -1,
     1 << 30, NULL},
    {"--hide-think", NULL, "do not show the thinking", ANSWER, FLAG, CMD_RUN | CMD_CHAT, AT(hide_think), 0, 0, NULL},
    {"--stop -r --reverse-prompt", "TEXT", "stop before TEXT (may be repeated)", ANSWER, LIST, GENERATE, AT(stop), 0, 0, NULL},
    {"--no-loop-guard", NULL, "do not end endless repetition", ANSWER, FLAG, GENERATE, AT(no_loop_guard), 0, 0, NULL},
    {"-j --json-schema", "SCHEMA", "the answer is JSON that satisfies this schema", FORM, STRING, CONSTRAIN | CMD_BENCH, AT(json_schema), 0,
     0, NULL},
    {"--choice", "A,B,C", "the answer is one of these (repeat it for texts with commas)", FORM, LIST, CONSTRAIN, AT(choices), 0, 0, NULL},
    {"-jf --json-schema-file", "FILE", "the answer is JSON that satisfies the schema in FILE", MORE_FORM, STRING, CONSTRAIN | CMD_BENCH,
     AT(json_schema_file), 0, 0, NULL},
    {"--schema", "FIELDS", "a schema in short: 'name, age int, bio: two sentences'", MORE_FORM, STRING, CONSTRAIN | CMD_BENCH, AT(schema),
     0, 0, NULL},
    {"--json-object", NULL, "the answer is a JSON object", MORE_FORM, FLAG, CONSTRAIN, AT(json_object), 0, 0, NULL},
    {"--regex", "REGEX", "the answer matches this regular expression", MORE_FORM, STRING, CONSTRAIN, AT(regex), 0, 0, NULL},
    {"--grammar", "GBNF", "the answer follows this grammar", MORE_FORM, STRING, CONSTRAIN, AT(grammar), 0, 0, NULL},
    {"--grammar-file", "FILE", "the answer follows the grammar in FILE", MORE_FORM, STRING, CONSTRAIN, AT(grammar_file), 0, 0, NULL},
    {"--spec", "KIND", "off, ngram: guess from the context, same text sooner", ANSWER, CHOICE, GENERATE, AT(speculation), 0, 0, spec_words},
    {"--special", NULL, "show control tokens in the answer", ANSWER, FLAG, CMD_RUN, AT(special), 0, 0, NULL},

    {"-s --seed", "N", "seed; -1: a random one", SAMPLING, SEED, CMD_RUN | CMD_CHAT, AT(seed), 0, 0, NULL},
    {"-s --seed", "N", "seed (default 0); -1: a random one", SAMPLING, SEED, CMD_BATCH, AT(seed), 0, 0, NULL},
    {"--temp --temperature", "T", "0: always the most probable token", SAMPLING, FLOAT, GENERATE, AT(sampling.temperature), 0, 1000, NULL},
    {"--top-k", "N", "only the N most probable (0: off)", SAMPLING, INTEGER, GENERATE, AT(sampling.top_k), 0, 1 << 30, NULL},
    {"--top-p", "P", "only the smallest set of this probability (1: off)", SAMPLING, FLOAT, GENERATE, AT(sampling.top_p), 0, 1, NULL},
    {"--min-p", "P", "at least P times the best one's probability (0: off)", SAMPLING, FLOAT, GENERATE, AT(sampling.min_p), 0, 1, NULL},
    {"--repeat-penalty", "X", "divide repeated logits by X (1: off)", SAMPLING, FLOAT, GENERATE, AT(sampling.repeat_penalty), 0.01, 100,
     NULL},
    {"--presence-penalty", "X", "subtract X from what occurred", SAMPLING, FLOAT, GENERATE, AT(sampling.presence_penalty), -100, 100, NULL},

    {"--min-tokens", "N", "answer tokens at least: before them nothing ends the answer", MORE_SAMPLING, INTEGER, CMD_RUN | CMD_BATCH,
     AT(min_predict), 0, 1 << 30, NULL},
    {"--stop-token-ids", "IDS", "stop before any of these tokens, as 13,198", MORE_SAMPLING, STRING, CMD_RUN | CMD_BATCH, AT(stop_ids), 0,
     0, NULL},
    {"--ignore-eos", NULL, "do not end at the end-of-turn token", MORE_SAMPLING, FLAG, GENERATE, AT(ignore_eos), 0, 0, NULL},
    {"--typical --typical-p", "P", "locally typical sampling (1: off)", MORE_SAMPLING, FLOAT, GENERATE, AT(sampling.typical_p), 0, 1, NULL},
    {"--top-nsigma --top-n-sigma", "N", "within N deviations of the best logit (0: off)", MORE_SAMPLING, FLOAT, GENERATE,
     AT(sampling.top_n_sigma), -1, 1000, NULL},
    {"--xtc-probability", "P", "chance of leaving out top choices (0: off)", MORE_SAMPLING, FLOAT, GENERATE, AT(sampling.xtc_probability),
     0, 1, NULL},
    {"--xtc-threshold", "P", "... those above P (over 0.5: off)", MORE_SAMPLING, FLOAT, GENERATE, AT(sampling.xtc_threshold), 0, 1, NULL},
    {"--dynatemp-range", "T", "temperature varies by T with the entropy", MORE_SAMPLING, FLOAT, GENERATE, AT(sampling.dynatemp_range), 0,
     1000, NULL},
    {"--dynatemp-exp", "X", "... with this exponent", MORE_SAMPLING, FLOAT, GENERATE, AT(sampling.dynatemp_exponent), 0, 100, NULL},
    {"--repeat-last-n", "N", "tokens that penalties look at (-1: all)", MORE_SAMPLING, INTEGER, GENERATE, AT(sampling.penalty_last_n), -1,
     1 << 30, NULL},
    {"--frequency-penalty", "X", "subtract X for every occurrence", MORE_SAMPLING, FLOAT, GENERATE, AT(sampling.frequency_penalty), -100,
     100, NULL},
    {"--dry-multiplier", "X", "penalty for repeated sequences (0: off)", MORE_SAMPLING, FLOAT, GENERATE, AT(sampling.dry_multiplier), 0,
     1000, NULL},
    {"--dry-base", "X", "... growing by this factor", MORE_SAMPLING, FLOAT, GENERATE, AT(sampling.dry_base), 0, 1000, NULL},
    {"--dry-allowed-length", "N", "... beyond N tokens", MORE_SAMPLING, INTEGER, GENERATE, AT(sampling.dry_allowed_length), 0, 1 << 30,
     NULL},
    {"--dry-penalty-last-n", "N", "... within the last N (-1: all)", MORE_SAMPLING, INTEGER, GENERATE, AT(sampling.dry_last_n), -1, 1 << 30,
     NULL},
    {"--dry-sequence-breaker", "TEXT", "... that TEXT ends (may be repeated)", MORE_SAMPLING, LIST, GENERATE, AT(dry_breakers), 0, 0, NULL},
    {"--mirostat", "N", "0: off, 1, 2: keeps the surprise constant", MORE_SAMPLING, INTEGER, GENERATE, AT(sampling.mirostat), 0, 2, NULL},
    {"--mirostat-ent", "X", "... its target in bits", MORE_SAMPLING, FLOAT, GENERATE, AT(sampling.mirostat_tau), 0, 100, NULL},
    {"--mirostat-lr", "X", "... its learning rate", MORE_SAMPLING, FLOAT, GENERATE, AT(sampling.mirostat_eta), 0, 100, NULL},
    {"-l --logit-bias", "ID+B", "add B to the logit of token ID, or ID-B (may be repeated)", MORE_SAMPLING, BIAS, GENERATE, 0, 0, 0, NULL},
    {"--samplers --sampling-seq", "LETTERS", "order of the chain (edskypmxt)", MORE_SAMPLING, SAMPLERS, GENERATE, AT(sampling.samplers), 0,
     0, NULL},
    {"--min-keep", "N", "truncation keeps at least N candidates", MORE_SAMPLING, INTEGER, GENERATE, AT(sampling.min_keep), 0, 1 << 30,
     NULL},

    {"-o --output", "FILE", "write to FILE instead of stdout", OUTPUT, STRING, CMD_LOGITS | CMD_RUN, AT(output), 0, 0, NULL},
    {"--json", NULL, "one JSON object", OUTPUT, FLAG, CMD_RUN | CMD_INFO | CMD_CHECK | CMD_PERPLEXITY | CMD_TOKENIZE, AT(json), 0, 0, NULL},
    {"--no-wrap", NULL, "leave the wrapping of long lines to the terminal", OUTPUT, FLAG, CMD_CHAT, AT(no_wrap), 0, 0, NULL},
    {"--undo", NULL, "restore the original of a repacked file", OUTPUT, FLAG, CMD_REPACK, AT(undo), 0, 0, NULL},
    {"-h --help", NULL, "", HIDDEN, FLAG, ALL | CMD_COMPLETION | CMD_REPACK, AT(help), 0, 0, NULL},
    {"-v --verbose", NULL, "settings and timings on stderr", OUTPUT, FLAG, ALL | CMD_REPACK, AT(verbose), 0, 0, NULL},
    {"--color --colour", "WHEN", "auto, on, off: dim what is not the answer; auto heeds NO_COLOR", OUTPUT, CHOICE, CMD_RUN | CMD_CHAT,
     AT(colour), 0, 0, colour_words},
    {"-q --quiet", NULL, "no notes and no progress on stderr", OUTPUT, FLAG, ALL | CMD_REPACK, AT(quiet), 0, 0, NULL},

    /* Flags of other programs that change nothing here; one note says so, and pasted commands work. */
    {"-ngl --gpu-layers --n-gpu-layers", "N", "", HIDDEN, IGNORED_VALUE, GENERATE, 0, 0, 0, NULL},
    {"-dev --device", "NAME", "", HIDDEN, IGNORED_VALUE, GENERATE, 0, 0, 0, NULL},
    {"-b --batch-size", "N", "", HIDDEN, IGNORED_VALUE, GENERATE, 0, 0, 0, NULL},
    {"-ub --ubatch-size", "N", "", HIDDEN, IGNORED_VALUE, GENERATE, 0, 0, 0, NULL},
    {"-tb --threads-batch", "N", "", HIDDEN, IGNORED_VALUE, GENERATE, 0, 0, 0, NULL},
    {"--mlock", NULL, "", HIDDEN, IGNORED_FLAG, GENERATE, 0, 0, 0, NULL},
    {"--no-display-prompt", NULL, "", HIDDEN, IGNORED_FLAG, CMD_RUN, 0, 0, 0, NULL},
    {"--simple-io", NULL, "", HIDDEN, IGNORED_FLAG, GENERATE, 0, 0, 0, NULL},
    {"-fa --flash-attn", NULL, "", HIDDEN, IGNORED_FLAG, GENERATE, 0, 0, 0, NULL},
    {"--jinja", NULL, "", HIDDEN, IGNORED_FLAG, GENERATE, 0, 0, 0, NULL},
    {"--no-mmap", NULL, "", HIDDEN, IGNORED_FLAG, GENERATE, 0, 0, 0, NULL},
    {"--no-warmup", NULL, "", HIDDEN, IGNORED_FLAG, GENERATE, 0, 0, 0, NULL},
    {"--log-disable", NULL, "", HIDDEN, IGNORED_FLAG, GENERATE, 0, 0, 0, NULL},
    {"-st --single-turn", NULL, "", HIDDEN, IGNORED_FLAG, CMD_RUN, 0, 0, 0, NULL},
    {"-e --escape", NULL, "", HIDDEN, IGNORED_FLAG, GENERATE, 0, 0, 0, NULL},
};
_Static_assert(ARRAY_LEN(specs) <= sizeof((struct options *)0)->given, "options.given is too short");

/* ------------------------------------------------------------------ names */

/* Steps through the names of a spec; *at starts NULL. */
static bool next_name(const struct spec *s, const char **at, size_t *len)
{
    const char *p = *at ? *at + *len : s->names;
    while (*p == ' ')
        p++;
    *at = p;
    *len = strcspn(p, " ");
    return *len > 0;
}

static const char *strip_dashes(const char *name)
{
    while (*name == '-')
        name++;
    return name;
}

/* name with its dashes; bare: dashes do not matter. A name may mean different things to
 * different commands (-p is a prompt, or bench's prompt lengths): the command's own comes
 * first. NULL: no command has it. */
static const struct spec *find(const char *name, size_t len, bool bare, unsigned command)
{
    const struct spec *other = NULL;
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        const char *at = NULL;
        size_t n = 0;
        while (next_name(&specs[i], &at, &n)) {
            const char *have = bare ? strip_dashes(at) : at;
            size_t have_len = n - (size_t)(have - at);
            if (have_len != len || memcmp(have, name, len) != 0)
                continue;
            if (specs[i].commands & command)
                return &specs[i];
            other = &specs[i];
        }
    }
    return other;
}

/* Insertions, deletions, changes, and exchanges of neighbours that make b of a. */
static size_t edit_distance(const char *a, size_t n, const char *b, size_t m)
{
    size_t rows[3][64];
    if (n >= ARRAY_LEN(rows[0]) || m >= ARRAY_LEN(rows[0]))
        return SIZE_MAX;
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *row = rows[i % 3], *above = rows[(i - 1) % 3], *second = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            row[j] = MIN(above[j - 1] + (a[i - 1] != b[j - 1]), MIN(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = MIN(row[j], second[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

const char *options_nearest(const char *name, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t best_distance = MAX(strlen(name) / 2, (size_t)1) + 1;
    for (size_t i = 0; i < n; i++) {
        size_t d = edit_distance(name, strlen(name), names[i], strlen(names[i]));
        if (d < best_distance) {
            best_distance = d;
            best = names[i];
        }
    }
    return best;
}

/* The nearest flag of a command into buf (without dashes when bare), or "". */
static const char *nearest_flag(const char *name, unsigned command, bool bare, char *buf, size_t size)
{
    size_t best = MAX(strlen(name) / 3, (size_t)1) + 1;
    buf[0] = 0;
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        const char *at = NULL;
        size_t n = 0;
        if (!(specs[i].commands & command) || specs[i].group == HIDDEN)
            continue;
        while (next_name(&specs[i], &at, &n)) {
            const char *have = bare ? strip_dashes(at) : at;
            size_t len = n - (size_t)(have - at), d = edit_distance(name, strlen(name), have, len);
            if (len > 2 && d < best) {
                best = d;
                snprintf(buf, size, "%.*s", (int)len, have);
            }
        }
    }
    return buf;
}

/* ----------------------------------------------------------------- values */

static enum sg_status set_number(const struct spec *s, void *at, const char *name, const char *value, struct sg_error *err)
{
    char *end;
    errno = 0;
    double x = s->kind == INTEGER ? (double)strtoll(value, &end, 10) : strtod(value, &end);
    if (end == value || *end || errno || !(x >= s->min && x <= s->max) || isspace((unsigned char)value[0]))
        return fail(err, SG_USAGE, "%s needs %s from %.10g to %.10g, not \"%.80s\"", name,
                    s->kind == INTEGER ? "a whole number" : "a number", s->min, s->max, value);
    if (s->kind == FLOAT)
        *(float *)at = (float)x;
    else if (s->offset >= offsetof(struct options, sampling) && s->offset < offsetof(struct options, sampling) + sizeof(struct sg_sampling))
        *(int32_t *)at = (int32_t)x; /* struct sg_sampling counts in 32 bits, struct options in 64 */
    else
        *(int64_t *)at = (int64_t)x;
    return SG_OK;
}

static enum sg_status set_choice(const struct spec *s, void *at, const char *name, const char *value, struct sg_error *err)
{
    struct buf list = {0};
    for (int i = 0; s->words[i]; i++) {
        if (strcmp(s->words[i], value) == 0) {
            *(int *)at = i;
            buf_free(&list);
            return SG_OK;
        }
        buf_printf(&list, "%s%s", i ? ", " : "", s->words[i]);
    }
    fail(err, SG_USAGE, "%s is one of %s, not \"%.80s\"", name, list.data ? list.data : "", value);
    buf_free(&list);
    return SG_USAGE;
}

static enum sg_status set_bias(struct options *o, const char *name, const char *value, struct sg_error *err)
{
    char *end;
    errno = 0;
    long long id = strtoll(value, &end, 10);
    if (end == value || errno || id < 0 || id > INT32_MAX || (*end != '+' && *end != '-'))
        return fail(err, SG_USAGE, "%s needs ID+BIAS or ID-BIAS (ID-inf forbids), not \"%.80s\"", name, value);
    char *stop;
    double bias = strtod(end, &stop);
    if (stop == end || *stop || isnan(bias) || bias > 1e6)
        return fail(err, SG_USAGE, "%s needs a number after the id, not \"%.80s\"", name, end);
    if (o->n_biases == ARRAY_LEN(o->biases))
        return fail(err, SG_USAGE, "%s: more than %zu biases", name, ARRAY_LEN(o->biases));
    o->biases[o->n_biases++] = (struct sg_logit_bias){(int32_t)id, (float)bias};
    return SG_OK;
}

static enum sg_status set_samplers(char *at, const char *name, const char *value, struct sg_error *err)
{
    size_t n = strspn(value, "edskypmxt");
    if (value[n] || n >= sizeof((struct sg_sampling *)0)->samplers || n == 0)
        return fail(
            err, SG_USAGE,
            "%s takes letters of edskypmxt (penalties, dry, top-n-sigma, top-k, typical, top-p, min-p, xtc, temperature), not \"%.80s\"",
            name, value);
    strcpy(at, value);
    return SG_OK;
}

static enum sg_status set_seed(int64_t *at, const char *name, const char *value, struct sg_error *err)
{
    char *end;
    errno = 0;
    long long seed = strtoll(value, &end, 10);
    if (end == value || *end || errno || seed < -1 || seed > (1ll << 53))
        return fail(err, SG_USAGE, "%s needs a whole number from 0 to 2^53, or -1 for a random one, not \"%.80s\"", name, value);
    *at = seed;
    return SG_OK;
}

static enum sg_status set_value(struct options *o, const struct spec *s, const char *name, const char *value, struct sg_error *err)
{
    void *at = (char *)o + s->offset;
    switch (s->kind) {
    case FLAG:
        if (value && strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
            return fail(err, SG_USAGE, "%s is on or off, not \"%.80s\"", name, value);
        *(bool *)at = !value || strcmp(value, "on") == 0;
        return SG_OK;
    case STRING:
        if (s->words) {
            int unused;
            TRY(set_choice(s, &unused, name, value, err));
        }
        *(const char **)at = value;
        return SG_OK;
    case INTEGER:
    case FLOAT:
        return set_number(s, at, name, value, err);
    case CHOICE:
        return set_choice(s, at, name, value, err);
    case LIST: {
        struct strings *list = at;
        if (list->n == MAX_STRINGS)
            return fail(err, SG_USAGE, "%s: more than %d", name, MAX_STRINGS);
        list->item[list->n++] = (struct sg_str){value, strlen(value)};
        return SG_OK;
    }
    case BIAS:
        return set_bias(o, name, value, err);
    case SEED:
        return set_seed(at, name, value, err);
    case SAMPLERS:
        return set_samplers(at, name, value, err);
    case IGNORED_FLAG:
    case IGNORED_VALUE:
        cli_note("%s does nothing here and was ignored", name);
        return SG_OK;
    }
    return SG_OK;
}

/* name is for messages. value NULL: a flag that is given. */
static enum sg_status set(struct options *o, const struct spec *s, const char *name, const char *value, struct sg_error *err)
{
    TRY(set_value(o, s, name, value, err));
    o->given[s - specs] = true;
    return SG_OK;
}

static bool takes_value(const struct spec *s) { return s->kind != FLAG && s->kind != IGNORED_FLAG; }

enum sg_status options_set(struct options *o, const char *name, const char *value, struct sg_error *err)
{
    const char *bare = strip_dashes(name);
    const struct spec *s = find(bare, strlen(bare), true, o->command);
    if (!s || !(s->commands & o->command) || s->group == HIDDEN) {
        char buf[64];
        const char *near = nearest_flag(bare, o->command, true, buf, sizeof buf);
        return fail(err, SG_USAGE, "there is no setting \"%.60s\"%s%s%s", bare, *near ? "; did you mean " : "", near, *near ? "?" : "");
    }
    return set(o, s, bare, value, err);
}

bool options_fixed(const struct options *o, const char *name)
{
    const char *bare = strip_dashes(name);
    const struct spec *s = find(bare, strlen(bare), true, o->command);
    return s && (s->commands & o->command) && (s->group == MODEL || s->group == SESSION) && s->offset != AT(ctx_full);
}

/* ---------------------------------------------------------------- parsing */

static int64_t environment_number(const char *name, int64_t max)
{
    const char *value = getenv(name);
    char *end;
    if (!value || !*value)
        return 0;
    long long n = strtoll(value, &end, 10);
    if (*end || n < 1 || n > max) {
        cli_note("%s=%.40s is no number from 1 to %lld and was ignored", name, value, (long long)max);
        return 0;
    }
    return n;
}

static void defaults(struct options *o, unsigned command)
{
    *o = (struct options){.command = command,
                          .n_predict = -1,
                          .think_budget = -1,
                          .seed = command == CMD_BATCH ? 0 : -1, /* the same input gives the same output */
                          .repetitions = 5,
                          .resume_cache = 2048};
    const char *isa = getenv("SIGNUM_ISA");
    o->isa = isa && *isa ? isa : NULL;
    o->n_threads = environment_number("SIGNUM_THREADS", 1024);
    if (!o->n_threads)
        o->n_threads = environment_number("OMP_NUM_THREADS", 1024);
    if (command & GENERATE) /* perplexity's -c is its procedure, not a size */
        o->n_ctx = environment_number("SIGNUM_CTX", 1 << 30);
}

enum sg_status options_parse(struct options *o, unsigned command, int argc, char **argv, struct sg_error *err)
{
    defaults(o, command);
    o->words = argv; /* words are moved to the front of argv */
    bool only_words = false;
    for (int i = 0; i < argc; i++) {
        char *arg = argv[i];
        if (only_words || arg[0] != '-' || arg[1] == 0) {
            o->words[o->n_words++] = arg;
            continue;
        }
        if (strcmp(arg, "--") == 0) {
            only_words = true;
            continue;
        }
        const char *equals = arg[1] == '-' ? strchr(arg, '=') : NULL;
        size_t len = equals ? (size_t)(equals - arg) : strlen(arg);
        const struct spec *s = find(arg, len, false, command);
        if (!s) {
            char buf[64];
            const char *near = nearest_flag(arg, command, false, buf, sizeof buf);
            return fail(err, SG_USAGE, "unknown option %.80s%s%s%s", arg, *near ? "; did you mean " : "", near, *near ? "?" : "");
        }
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)len, arg);
        if (!(s->commands & command))
            return fail(err, SG_USAGE, "option %s does not belong to this command", name);
        const char *value = equals ? equals + 1 : NULL;
        if (!takes_value(s)) {
            if (value)
                return fail(err, SG_USAGE, "option %s takes no value", name);
            /* llama.cpp's -fa may be followed by on, off or auto */
            if (s->kind == IGNORED_FLAG && strcmp(arg, "-fa") == 0 && i + 1 < argc &&
                (strcmp(argv[i + 1], "on") == 0 || strcmp(argv[i + 1], "off") == 0 || strcmp(argv[i + 1], "auto") == 0))
                i++;
        } else if (!value) {
            if (++i == argc)
                return fail(err, SG_USAGE, "option %s needs a value (%s)", name, s->value);
            value = argv[i];
        }
        TRY(set(o, s, name, value, err));
        if (o->help) /* whatever else is said */
            break;
    }
    return SG_OK;
}

/* --------------------------------------------------------------- sampling */

static uint64_t random_seed(void)
{
    uint64_t seed = 0;
    FILE *f = fopen("/dev/urandom", "rb");
    if (!f || fread(&seed, sizeof seed, 1, f) != 1)
        seed = (uint64_t)cli_microseconds() * 0x9E3779B97F4A7C15u;
    if (f)
        fclose(f);
    return seed >> 32; /* short enough to be typed again */
}

const char *options_sampling(struct options *o, const struct sg_engine *engine, struct sg_sampling *out)
{
    const char *source = sg_sampling_defaults(engine, out);
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        const struct spec *s = &specs[i];
        size_t at = s->offset - offsetof(struct options, sampling);
        if (!o->given[i] || s->offset < offsetof(struct options, sampling) || at >= sizeof *out)
            continue;
        size_t size = s->kind == SAMPLERS ? sizeof out->samplers : 4; /* float or int32_t */
        memcpy((char *)out + at, (const char *)&o->sampling + at, size);
    }
    if (o->dry_breakers.n) {
        out->dry_breakers = o->dry_breakers.item;
        out->n_dry_breakers = o->dry_breakers.n;
    }
    out->biases = o->biases;
    out->n_biases = o->n_biases;
    if (o->seed < 0)
        o->seed = (int64_t)random_seed();
    out->seed = (uint64_t)o->seed;
    return source;
}

/* ------------------------------------------------------------------- help */

const char *const options_topics[] = {"sampling", "form", NULL};

bool options_is_topic(const char *name)
{
    for (size_t i = 0; options_topics[i]; i++)
        if (strcmp(name, options_topics[i]) == 0)
            return true;
    return false;
}

void options_help(FILE *out, unsigned command, const char *topic)
{
    int wanted = !topic ? GROUPS : strcmp(topic, "form") == 0 ? FORM : SAMPLING;
    for (int g = 0; g < GROUPS; g++) {
        if (!group_titles[g] || (topic && g != wanted && g != wanted + 1))
            continue;
        if (!topic && (g == MORE_SAMPLING || g == MORE_FORM)) {
            if (command & (g == MORE_FORM ? CONSTRAIN : GENERATE))
                fprintf(out, "  %-32s %s\n", "...",
                        g == MORE_FORM ? "`signum help form`: schemas in short, regular expressions, grammars"
                                       : "`signum help sampling` lists all");
            continue;
        }
        bool titled = false;
        for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
            const struct spec *s = &specs[i];
            if ((int)s->group != g || !(s->commands & command))
                continue;
            if (!titled && (topic || g != FORM)) /* in a command's list, the form goes on below the answer */
                fprintf(out, "\n%s:\n", group_titles[g]);
            titled = true;
            char names[96];
            size_t n = 0;
            const char *at = NULL;
            size_t len = 0;
            int shown = 0;
            while (next_name(s, &at, &len) && shown < 2) { /* the first two; the rest are aliases */
                n += (size_t)snprintf(names + n, sizeof names - n, "%s%.*s", shown ? ", " : "", (int)len, at);
                shown++;
            }
            snprintf(names + n, sizeof names - n, "%s%s", s->value ? " " : "", s->value ? s->value : "");
            fprintf(out, "  %-32s %s\n", names, s->help);
        }
    }
}

/* The name that is shown for a spec: the last one, without dashes. */
static const char *shown_name(const struct spec *s, size_t *len)
{
    const char *at = NULL, *name = s->names;
    size_t n = 0, name_len = strcspn(s->names, " ");
    while (next_name(s, &at, &n)) {
        if (strncmp(at, "--", 2) == 0) {
            name = at;
            name_len = n;
            break;
        }
    }
    const char *bare = strip_dashes(name);
    *len = name_len - (size_t)(bare - name);
    return bare;
}

static bool settable(const struct options *o, const struct spec *s) { return (s->commands & o->command) && s->group != HIDDEN; }

void options_each_name(const struct options *o, void (*fn)(void *arg, const char *name, size_t len), void *arg)
{
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        size_t len;
        const char *name = shown_name(&specs[i], &len);
        if (settable(o, &specs[i]))
            fn(arg, name, len);
    }
}

void options_each_flag(unsigned command, void (*fn)(const void *arg, const struct flag *flag), const void *arg)
{
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        const struct spec *s = &specs[i];
        const struct flag flag = {s->names, takes_value(s) ? s->value : NULL, s->words, s->help};
        if ((s->commands & command) && s->group != HIDDEN)
            fn(arg, &flag);
    }
}

void options_show(const struct options *o, const struct sg_sampling *sampling, struct buf *out)
{
    struct options effective = *o;
    effective.sampling = *sampling;
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        const struct spec *s = &specs[i];
        if (!settable(o, s))
            continue;
        size_t len;
        const char *name = shown_name(s, &len);
        const void *field = (const char *)&effective + s->offset;
        bool in_sampling =
            s->offset >= offsetof(struct options, sampling) && s->offset < offsetof(struct options, sampling) + sizeof(struct sg_sampling);
        buf_printf(out, "%-22.*s ", (int)len, name);
        if (s->kind == STRING && !*(const char *const *)field)
            buf_puts(out, "(none)");
        else if (s->kind == SAMPLERS && !*(const char *)field)
            buf_puts(out, "edskypmxt");
        else if (s->kind == FLAG)
            buf_puts(out, *(const bool *)field ? "on" : "off");
        else if (s->kind == STRING)
            buf_puts(out, *(const char *const *)field);
        else if (s->kind == SAMPLERS)
            buf_puts(out, field);
        else if (s->kind == CHOICE)
            buf_puts(out, s->words[*(const int *)field]);
        else if (s->kind == FLOAT)
            buf_printf(out, "%g", (double)*(const float *)field);
        else if (s->kind == INTEGER && in_sampling)
            buf_printf(out, "%d", *(const int32_t *)field);
        else if (s->kind == INTEGER || s->kind == SEED)
            buf_printf(out, "%lld", (long long)*(const int64_t *)field);
        else if (s->kind == BIAS)
            buf_printf(out, "%zu tokens", o->n_biases);
        else if (s->kind == LIST)
            buf_printf(out, "%zu given", ((const struct strings *)field)->n);
        buf_puts(out, in_sampling && !o->given[i] ? "  (the model's default)\n" : "\n");
    }
}

const char *options_act_name(const struct options *o) { return act_words[o->act]; }
const char *options_kv_name(enum sg_kv_type type) { return kv_words[type]; }
const char *options_think_name(enum sg_think think) { return think_words[think]; }
