/* signum.h: the whole public interface of signum, and its manual.
 *
 * Two objects carry everything:
 *
 *   struct sg_engine    one opened model: mapped weights, vocabulary, kernels,
 *                       worker threads, the pool of KV blocks. Its weights and
 *                       vocabulary never change after sg_open.
 *   struct sg_session   one sequence of tokens: its list of KV blocks and the
 *                       logits of its last evaluated position.
 *
 * and a third makes them convenient:
 *
 *   struct sg_reply     one answer being written: sampler, detokenizer, stop
 *                       strings, thinking budget, loop guard. Feed it logits,
 *                       get text. run, chat and batch all use it, which is why
 *                       they give the same text.
 *
 * Threads. Functions that take a const engine may be called from any thread at
 * any time. sg_eval, session functions and sg_close of one engine must not run
 * at the same time as each other: they share its worker threads and its pool.
 * Kernels hold much on the stack: the calling thread's should have 512 KB.
 *
 * Exactness. Same model, same token ids: the same logits to the last bit, for
 * every instruction set, thread count, split of a prompt into calls, and
 * company in a batch. Same seed, position and attempt: the same random number.
 *
 * Errors. Functions that can fail return enum sg_status and, when it is not
 * SG_OK, a sentence in *err (err may be NULL). The library never prints, never
 * exits, and never lets input reach an assertion.
 *
 * Strings are (pointer, length) pairs in UTF-8 and may hold NUL. What is not
 * UTF-8 is read as U+FFFD, one for every maximal ill-formed part.
 */
#ifndef SIGNUM_H
#define SIGNUM_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SIGNUM_VERSION "0.1.0"

/* Raised whenever some logit or sampled token may differ from the release
 * before. Files that hold computed state (KV, resume records) carry it. */
#define SIGNUM_NUMERICS 1

/* ------------------------------------------------------------------ errors */

/* The values are also the exit codes of the program. */
enum sg_status {
    SG_OK = 0,
    SG_FAIL = 1,          /* something went wrong at run time */
    SG_USAGE = 2,         /* the caller asked for something impossible */
    SG_BAD_MODEL = 3,     /* the model file is invalid or not supported */
    SG_NO_MEMORY = 4,     /* out of memory, or over the KV budget */
    SG_INTERRUPTED = 130, /* *sg_options.interrupt became non-zero */
};

struct sg_error {
    enum sg_status status;
    char message[1024]; /* one sentence, no newline at the end, UTF-8 */
};

struct sg_str {
    const char *data; /* not terminated */
    size_t len;
};

/* ------------------------------------------------------------------ engine */

struct sg_engine;
struct sg_session;
struct sg_reply;

enum sg_act {     /* what activations are rounded to before a 1-bit matmul */
    SG_ACT_INT8,  /* int8, one scale per 128: the default */
    SG_ACT_F32,   /* not rounded, weights dequantized: the fidelity reference, slow */
    SG_ACT_INT16, /* 15 bits, one scale per 128: almost the reference, at most of int8's speed */
};

enum sg_matmul { /* how 1-bit weights meet rounded activations; all give the same bits */
    SG_MATMUL_AUTO,
    SG_MATMUL_SIGN,     /* sign-scaled: masked or negated int8 sums */
    SG_MATMUL_POPCOUNT, /* int8 as eight bit planes, AND/XNOR and popcount */
    SG_MATMUL_TABLES,   /* nibble tables and byte shuffles */
};

enum sg_kv_type {
    SG_KV_F16,
    SG_KV_F32,
    SG_KV_Q8_0
}; /* Q8_0: int8, one scale per position and head */

struct sg_options {
    const char *model_path;
    const char *isa; /* highest instruction-set level to use, as SIGNUM_ISA; NULL: the best.
                            * SG_USAGE when unknown or not available on this CPU */
    int n_threads;   /* 0: physical cores within affinity and cgroup quota */
    enum sg_act act;
    enum sg_matmul matmul;
    enum sg_kv_type type_k, type_v;
    const char *chat_template;              /* NULL: recognise the file's; else "qwen3", "qwen3-2507", "bonsai", "chatml" */
    size_t kv_budget;                       /* bytes that all sessions together may hold; 0: half of the available memory */
    bool repack;                            /* copy Q1_0 matrices into private memory in the order in which decoding reads
                                             * them: seconds to open and the size of the file in memory, for faster
                                             * decoding; same bits. See sg_repack for a file that is so from the start */
    bool weights_unneeded;                  /* only metadata, vocabulary and template are wanted (info, tokenize, render) */
    const volatile sig_atomic_t *interrupt; /* polled during sg_eval; may be NULL */
};

/* Opens and checks a model; *out is NULL on failure. The file stays mapped
 * until sg_close and must not change. Runs a self-test of the chosen kernels.
 * Errors: SG_FAIL (cannot read), SG_BAD_MODEL, SG_USAGE (options), SG_NO_MEMORY. */
enum sg_status sg_open(struct sg_engine **out, const struct sg_options *options, struct sg_error *err);

/* Frees the engine. All its sessions and replies must have been closed. NULL is fine. */
void sg_close(struct sg_engine *engine);

/* Facts about the opened model. Strings belong to the engine; names come from
 * the file and may hold anything: escape them before showing them. */
struct sg_info {
    struct sg_str architecture, name, license;
    struct sg_str chat_template; /* the text in the file; len 0 when absent */
    const char *template_kind;   /* how it is rendered: "qwen3", "qwen3-2507", "bonsai", "chatml" */
    bool template_recognised;    /* false: unknown text, rendered as ChatML */
    bool can_think, thinks_by_default;
    uint64_t n_params, file_bytes, tensor_bytes;
    size_t n_tensors;
    uint32_t gguf_version;
    size_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab, n_ctx_train;
    double rope_base, yarn_factor; /* yarn_factor 0: no YaRN */
    size_t yarn_original_ctx;
    double rms_eps;
    bool tied_output;
    size_t n_merges, n_control_tokens, n_user_tokens;
    const char *pre_tokenizer;
    int32_t eos_id, pad_id; /* -1: none */
    const char *isa;        /* level in use */
    size_t repacked_bytes;  /* what sg_options.repack copied; 0: there were no Q1_0 matrices */
    double repack_seconds;  /* and how long that took */
    const char *kernels;    /* short text: which families serve this model, as "avx2 sign/popcount" */
    int n_threads;
};
const struct sg_info *sg_info(const struct sg_engine *engine);

struct sg_tensor_info {
    struct sg_str name;
    const char *type; /* "Q1_0", "Q2_0 (groups of 128)", "F32" ... */
    uint32_t type_id;
    size_t n_dims;
    uint64_t dims[4]; /* innermost first */
    uint64_t offset, bytes;
};
/* index < sg_info()->n_tensors, in file order. */
struct sg_tensor_info sg_tensor(const struct sg_engine *engine, size_t index);

/* What memory is spent on, in bytes, known before any of it is spent. */
struct sg_memory {
    size_t mapped;          /* the model file: page cache, shared by processes */
    size_t engine_private;  /* tables and scratch of the engine */
    size_t session;         /* one session of n_ctx positions, without KV */
    size_t kv_per_position; /* KV of one position in one session */
    size_t kv_block;        /* KV is taken in blocks of ... */
    size_t kv_block_positions;
    size_t kv_full;   /* KV of one session filled to n_ctx */
    size_t kv_budget; /* what all sessions together may hold */
};
void sg_memory(const struct sg_engine *engine, size_t n_ctx, struct sg_memory *out);

/* Full validation of the weights: NaN, infinite or suspicious scales in every
 * tensor. note is called once per finding or finished tensor; may be NULL.
 * SG_BAD_MODEL when something is wrong. */
typedef void sg_note_fn(void *arg, bool problem, const char *sentence);
enum sg_status sg_check(struct sg_engine *engine, sg_note_fn *note, void *arg, struct sg_error *err);

/* Asked now and then by something that takes long; members may be NULL. */
struct sg_progress {
    const volatile sig_atomic_t *interrupt;               /* non-zero: stop, SG_INTERRUPTED */
    void (*fn)(void *arg, uint64_t done, uint64_t total); /* bytes */
    void *arg;
};

/* Writes the model file `in` to `out` with its Q1_0 matrices as Q1_0_R64: 64 rows side by side,
 * in the order in which decoding reads them. It opens as fast and is used in place like the
 * original, decodes faster and gives the same bits; other programs refuse it. undo: the way
 * back, which gives the original file to the last byte. `out` appears only when it is complete.
 * *n_matrices (may be NULL): how many were rearranged. Errors: SG_FAIL (reading, writing),
 * SG_USAGE (nothing to do, or out is in), SG_BAD_MODEL, SG_NO_MEMORY, SG_INTERRUPTED. */
enum sg_status sg_repack(const char *in, const char *out, bool undo, const struct sg_progress *progress, size_t *n_matrices,
                         struct sg_error *err);

/* Where evaluation spent its time and what it moved, summed over all sg_eval calls since
 * the engine was opened or the profile was last taken. Seconds are the caller's, not
 * summed over threads; wait is part of the others: the caller idle at the end of loops. */
struct sg_profile {
    uint64_t passes, rows, logit_rows;
    double prepare; /* activations to int8, tables, bit planes */
    double matmul;
    double attention;
    double elementwise; /* norms, rotation, storing of keys and values, SwiGLU, additions, embedding */
    double wait;
    uint64_t weight_bytes; /* of matrices read, each once per pass */
    uint64_t kv_bytes;     /* of keys and values that attention had to read */
    uint64_t macs;         /* multiply-adds of the matrices */
    uint64_t attention_macs;
};
void sg_take_profile(struct sg_engine *engine, struct sg_profile *out); /* and resets it */

/* -------------------------------------------------------------- vocabulary */

enum {
    SG_PARSE_SPECIAL = 1
}; /* control tokens spelled in the text become control tokens */

/* Text to ids. *ids is malloc'ed (free it with free), even when *n is 0. No
 * token is added at either end. Time is close to linear on any input.
 * User-defined tokens (<think>, <tool_call> ...) are always recognised. */
enum sg_status sg_tokenize(const struct sg_engine *engine, const char *text, size_t len, unsigned flags, int32_t **ids, size_t *n,
                           struct sg_error *err);

/* Ids to text, malloc'ed and NUL-terminated; len may be NULL. Control tokens are
 * spelled out when special is true and skipped otherwise. SG_USAGE when an id is
 * outside the vocabulary. The bytes need not be UTF-8. */
enum sg_status sg_detokenize(const struct sg_engine *engine, const int32_t *ids, size_t n, bool special, char **text, size_t *len,
                             struct sg_error *err);

/* The id of a control or user-defined token by its text, or -1. */
int32_t sg_special_id(const struct sg_engine *engine, const char *text);

/* Whether generation ends at this token. */
bool sg_is_eog(const struct sg_engine *engine, int32_t id);

/* ---------------------------------------------------------------- template */

enum sg_think {
    SG_THINK_AUTO,
    SG_THINK_ON,
    SG_THINK_OFF
};

struct sg_tool_call {
    struct sg_str name;
    struct sg_str arguments; /* JSON text of an object, or any string */
    bool arguments_verbatim; /* a string: goes in as it is */
};

struct sg_message {
    struct sg_str role; /* system, user, assistant, tool */
    struct sg_str content;
    struct sg_str reasoning; /* reasoning_content */
    bool has_reasoning;
    const struct sg_tool_call *tool_calls;
    size_t n_tool_calls;
};

struct sg_conversation {
    const struct sg_message *messages;
    size_t n_messages;
    const struct sg_str *tools; /* each the JSON text of one tool object */
    size_t n_tools;
    enum sg_think think; /* ON: SG_USAGE with a template that has no thinking */
    bool add_generation_prompt;
};

/* Renders a conversation with the model's template into text and ids, both
 * malloc'ed; either may be NULL. Contents never become control tokens. */
enum sg_status sg_render(const struct sg_engine *engine, const struct sg_conversation *conversation, char **text, size_t *text_len,
                         int32_t **ids, size_t *n_ids, struct sg_error *err);

/* ---------------------------------------------------------------- sessions */

/* A session holds up to n_ctx positions; KV memory is taken lazily in blocks. */
enum sg_status sg_session_open(struct sg_session **out, struct sg_engine *engine, size_t n_ctx, struct sg_error *err);
void sg_session_close(struct sg_session *session); /* NULL is fine */

size_t sg_length(const struct sg_session *session);      /* positions evaluated */
size_t sg_capacity(const struct sg_session *session);    /* n_ctx */
const int32_t *sg_ids(const struct sg_session *session); /* (sg_length) the tokens evaluated */

/* Keeps the first n positions and forgets the rest; n > length is clipped. */
void sg_rewind(struct sg_session *session, size_t n);

/* A new session that begins with the first n positions of another and shares
 * their KV blocks: costs no evaluation and, but for one block, no memory. */
enum sg_status sg_fork(struct sg_session **out, const struct sg_session *from, size_t n, size_t n_ctx, struct sg_error *err);

/* How many leading ids the session already holds. */
size_t sg_common_prefix(const struct sg_session *session, const int32_t *ids, size_t n);

/* Called during sg_eval for every position whose logits were asked for.
 * logits: (n_vocab), valid during the call only. */
typedef void sg_logits_fn(void *arg, size_t position, const float *logits);

/* New tokens for one session. */
struct sg_feed {
    struct sg_session *session;
    const int32_t *ids; /* (n) appended after sg_length(session) */
    size_t n;
    size_t n_logits;         /* logits of the last n_logits of them are computed: 0, 1 (usual) .. n */
    sg_logits_fn *on_logits; /* may be NULL: then only the last row is kept, for sg_logits */
    void *arg;
};

/* Evaluates tokens for any number of sessions at once; every session may occur
 * once. All or nothing per call: on an error every session is as it was, except that
 * its logits may be gone.
 * Errors: SG_USAGE (id outside the vocabulary, or more than the session holds),
 * SG_NO_MEMORY (KV budget), SG_FAIL (a non-finite number appeared: the model is
 * damaged), SG_INTERRUPTED. */
enum sg_status sg_eval(struct sg_engine *engine, const struct sg_feed *feeds, size_t n_feeds, struct sg_error *err);

/* Writes what a session holds to a file (mode 0600, beside its place first, then renamed),
 * so that sg_session_load of a later process spares the evaluation. SG_FAIL when it can not
 * be written. The first call for an engine reads the whole model file. */
enum sg_status sg_session_save(const struct sg_session *session, const char *path, struct sg_error *err);

/* Fills an empty session from such a file, to the bit as if the tokens had been evaluated (but
 * without logits: evaluate at least one more). The file is only a cache, and not trusted:
 * when it is missing, damaged, of another model, numerics version or settings, or too long,
 * the answer is SG_FAIL and the session is empty. SG_NO_MEMORY: over the KV budget. */
enum sg_status sg_session_load(struct sg_session *session, const char *path, struct sg_error *err);

/* (n_vocab) logits after the last evaluated token; NULL when there are none
 * (nothing evaluated since open, rewind or fork, or n_logits was 0). Valid until
 * the next sg_eval or sg_rewind of the session. */
const float *sg_logits(const struct sg_session *session);

/* ---------------------------------------------------------------- sampling */

struct sg_logit_bias {
    int32_t id;
    float bias; /* -INFINITY forbids */
};

/* The chain and its definitions are llama.cpp's: logit bias, penalties, dry,
 * top_n_sigma, top_k, typical, top_p, min_p, xtc, temperature, draw. */
struct sg_sampling {
    uint64_t seed;     /* every value is a seed */
    float temperature; /* <= 0: greedy */
    float dynatemp_range, dynatemp_exponent;
    int32_t top_k;     /* <= 0: off */
    float top_p;       /* >= 1: off */
    float min_p;       /* <= 0: off */
    float typical_p;   /* >= 1: off */
    float top_n_sigma; /* <= 0: off */
    float xtc_probability, xtc_threshold;
    int32_t min_keep;
    int32_t penalty_last_n; /* 0: off, -1: the whole context */
    float repeat_penalty, frequency_penalty, presence_penalty;
    float dry_multiplier, dry_base;
    int32_t dry_allowed_length, dry_last_n; /* last_n -1: the whole context */
    const struct sg_str *dry_breakers;      /* NULL: "\n" ":" "\"" "*" */
    size_t n_dry_breakers;
    int32_t mirostat; /* 0 off, 1, 2 */
    float mirostat_tau, mirostat_eta;
    const struct sg_logit_bias *biases;
    size_t n_biases;
    char samplers[32]; /* order as letters, "" = "edskypmxt" */
};

/* Fills in what the model recommends: general.sampling.* of the file, else the
 * built-in preset for the model family, else generic values. Returns which of
 * the three, as "file", "preset" or "generic". Seed is 0. */
const char *sg_sampling_defaults(const struct sg_engine *engine, struct sg_sampling *out);

/* The seed of a request that names none: hash(seed option, key, choice), where
 * key is its custom_id or, without one, its text. Below 2^53, so that JSON
 * readers keep it. */
uint64_t sg_derive_seed(uint64_t seed_option, const char *key, size_t len, uint32_t choice);

struct sg_logprob {
    int32_t id;
    double logprob; /* natural logarithm, of the model's own distribution */
};
/* The n most probable tokens, most probable first, ties by id; returns how many. */
size_t sg_top_logprobs(const struct sg_engine *engine, const float *logits, size_t n, struct sg_logprob *out);
double sg_logprob_of(const struct sg_engine *engine, const float *logits, int32_t id);

/* ----------------------------------------------------------------- replies */

enum sg_finish {
    SG_FINISH_NONE,   /* still going */
    SG_FINISH_STOP,   /* end-of-turn token or stop string */
    SG_FINISH_LENGTH, /* n_predict reached or context full */
    SG_FINISH_LOOP,   /* the loop guard ended endless repetition */
};
const char *sg_finish_name(enum sg_finish finish); /* "stop", "length", "loop"; "" for NONE */

/* Constrained decoding plugs in here; all functions get arg. */
struct sg_constraint {
    void *arg;
    /* Clears (sets to 0) bits of tokens that may not come next. bits: n_vocab bits,
     * bit id%32 of word id/32. False: nothing may follow, end the answer. */
    bool (*mask)(void *arg, uint32_t *bits);
    void (*accept)(void *arg, int32_t id); /* the token that was chosen */
    /* A guess at the text that comes next, where there is little choice: at most max bytes into text;
     * returns how many. For speculation, which it can not mislead, only delay. May be NULL. */
    size_t (*expect)(void *arg, char *text, size_t max);
};

/* What an answer may look like. */
enum sg_grammar_kind {
    SG_GRAMMAR_SCHEMA,  /* a JSON schema: the answer is JSON that satisfies it */
    SG_GRAMMAR_FIELDS,  /* a schema in short, as "name, age int, bio: two sentences" */
    SG_GRAMMAR_JSON,    /* any JSON object; no text */
    SG_GRAMMAR_REGEX,   /* a regular expression that matches the whole answer */
    SG_GRAMMAR_GBNF,    /* a grammar in llama.cpp's notation */
    SG_GRAMMAR_CHOICES, /* one of several texts */
};
struct sg_grammar;
struct sg_matcher;

/* Reads texts (SG_GRAMMAR_CHOICES: all of them, else one). A grammar is for one engine and
 * may serve any number of answers, one thread at a time. Errors: SG_USAGE with what is wrong
 * or not supported (nothing is ignored), SG_NO_MEMORY. */
enum sg_status sg_grammar_open(struct sg_grammar **out, struct sg_engine *engine, enum sg_grammar_kind kind, const struct sg_str *texts,
                               size_t n_texts, struct sg_error *err);
void sg_grammar_close(struct sg_grammar *grammar);         /* after its matchers; NULL is fine */
size_t sg_grammar_bytes(const struct sg_grammar *grammar); /* memory that it holds now */

/* One answer's way through a grammar. The constraint is valid as long as the matcher. The
 * end of the turn may come exactly when the answer is complete, control tokens never. */
enum sg_status sg_matcher_open(struct sg_matcher **out, struct sg_grammar *grammar, struct sg_error *err);
void sg_matcher_close(struct sg_matcher *matcher); /* NULL is fine */
const struct sg_constraint *sg_matcher_constraint(const struct sg_matcher *matcher);

/* Whether the answer so far satisfies the grammar. *failed (may be NULL): it was given up, out of
 * memory or because the grammar is too ambiguous to be followed. */
bool sg_matcher_complete(const struct sg_matcher *matcher, bool *failed);

struct sg_reply_options {
    struct sg_sampling sampling;
    uint32_t attempt;          /* raised by /regen: other random numbers, same seed */
    int64_t n_predict;         /* answer tokens, thinking not counted; < 0: no limit */
    int64_t think_budget;      /* thinking tokens before the block is closed; < 0: no limit */
    int64_t min_predict;       /* before so many answer tokens nothing but the form may end the answer; <= 0: no minimum */
    const struct sg_str *stop; /* stop strings, for the answer, not for thinking; empty ones are ignored */
    size_t n_stop;
    const int32_t *stop_ids; /* tokens that end the answer like a stop string: they are not part of it */
    size_t n_stop_ids;
    bool ignore_eos; /* end-of-turn tokens can not be sampled */
    bool loop_guard;
    bool special;                           /* control tokens appear in the text */
    const struct sg_constraint *constraint; /* may be NULL; starts after thinking */
};

/* prompt: the ids that the answer follows (for penalties, and to know whether a
 * think block is open); they are copied. */
enum sg_status sg_reply_open(struct sg_reply **out, const struct sg_engine *engine, const struct sg_reply_options *options,
                             const int32_t *prompt, size_t n_prompt, struct sg_error *err);
void sg_reply_close(struct sg_reply *reply); /* NULL is fine */

struct sg_step {
    int32_t id;             /* the token chosen: evaluate it next, unless finished; -1: ended without one */
    enum sg_finish finish;  /* not NONE: this was the last call */
    struct sg_str text;     /* answer bytes that may be shown now: whole UTF-8 characters */
    struct sg_str thinking; /* likewise, of the think block */
    bool forced;            /* not sampled: closes a think block over budget */
    double logprob;         /* of id in the model's own distribution; only if wanted, see sg_reply_want_logprobs */
};

/* Chooses the next token from logits (n_vocab), which are not changed. Text
 * pointers are valid until the next call. The text that a stop string begins is
 * held back and, when it is complete, dropped. After the last token of a context
 * call sg_reply_end. */
enum sg_status sg_reply_next(struct sg_reply *reply, const float *logits, struct sg_step *step, struct sg_error *err);

/* Ends the answer from outside (context full, interrupt): what was held back
 * comes out. finish is what sg_reply_finish will say. */
void sg_reply_end(struct sg_reply *reply, enum sg_finish finish, struct sg_step *step);

void sg_reply_want_logprobs(struct sg_reply *reply, bool want);

struct sg_reply_counts {
    size_t answer_tokens, thinking_tokens; /* the tags and the empty line after them are thinking;
                                            * the end-of-turn token counts as neither */
    enum sg_finish finish;
    bool length_in_thinking; /* the limit was met before the answer began */
    struct sg_str stop;      /* the stop string that was met; len 0: none */
};
void sg_reply_counts(const struct sg_reply *reply, struct sg_reply_counts *out);

/* -------------------------------------------------------------- generation */

/* Speculation without a second model: guesses the next tokens from what the context
 * says after the same words, so that one evaluation can check several. It never changes
 * what is said, only how fast; it learns while it runs how often its guesses are right and
 * what several rows cost here, and guesses only when that pays. */
struct sg_draft;
/* n_ctx: as many tokens as it can hold; beyond them it guesses no more until the next reset. */
enum sg_status sg_draft_open(struct sg_draft **out, const struct sg_engine *engine, size_t n_ctx, struct sg_error *err);
void sg_draft_close(struct sg_draft *draft);                                /* NULL is fine */
void sg_draft_reset(struct sg_draft *draft);                                /* forgets the tokens, not what it learned */
void sg_draft_accept(struct sg_draft *draft, const int32_t *ids, size_t n); /* tokens of the context, in order */
/* Up to max (and SG_DRAFT_MAX) guesses of what follows; 0: better not. */
enum {
    SG_DRAFT_MAX = 15
};
size_t sg_draft_propose(struct sg_draft *draft, int32_t *out, size_t max);
/* The same guesses whatever they cost, each with the chance that it and all before it are
 * right: for callers whose rows have another price, because other sequences share them. */
size_t sg_draft_guess(const struct sg_draft *draft, int32_t *out, double *chance, size_t max);
/* Tells the draft what the reply's constraint lets come next, as guesses before all others. Call it when all
 * tokens chosen so far have been accepted by the draft. */
void sg_reply_expect(struct sg_reply *reply, struct sg_draft *draft);
/* The tokens that come next if somebody is right who knows better than the context; learned like other
 * guesses. They hold until one is wrong. */
void sg_draft_expect(struct sg_draft *draft, const int32_t *ids, size_t n);
/* How long an evaluation of n rows of one session took. */
void sg_draft_timing(struct sg_draft *draft, size_t n, double seconds);

/* Called for every token of an answer; false ends it. */
typedef bool sg_step_fn(void *arg, const struct sg_step *step);

struct sg_draft_counts {
    size_t proposed, accepted; /* guesses evaluated, and those that were right */
    size_t passes;             /* evaluations, for as many or more tokens */
};

/* Writes an answer: chooses tokens with reply and evaluates them in session, which must
 * have logits, until the reply finishes, the context is full, on_step says no, or the
 * engine is interrupted (SG_INTERRUPTED). Held-back text always comes out. draft may be
 * NULL, counts too. Afterwards the session holds the evaluated tokens, the last one not
 * included when it ended the answer, exactly as without a draft. */
enum sg_status sg_generate(struct sg_session *session, struct sg_reply *reply, struct sg_draft *draft, sg_step_fn *on_step, void *arg,
                           struct sg_draft_counts *counts, struct sg_error *err);

/* --------------------------------------------------------------- utilities */

/* Calls fn(arg, i) for every i below n, on all threads of the engine, and returns when all is
 * done: for work between evaluations, such as choosing the next tokens of many replies. */
typedef void sg_item_fn(void *arg, size_t i);
void sg_parallel(struct sg_engine *engine, size_t n, sg_item_fn *fn, void *arg);

/* What this machine can do with the engine's threads, measured now (about 0.4 s, 256 MiB). */
struct sg_machine {
    const char *cpu;   /* its name; static */
    double read_bytes; /* per second, sequential, from memory */
    /* Multiply-adds per second on registers, by the best instruction that the engine's level
     * has for them (VNNI's dot products, AMX's tiles ...): of int8, of floats. One-bit weights
     * that look up sums may do more. */
    double int8_macs, f32_macs;
};
enum sg_status sg_measure(struct sg_engine *engine, struct sg_machine *out, struct sg_error *err);

/* For measuring how fast a long context is without waiting for one: an empty session gets n
 * positions whose keys and values are made up. What is evaluated after them takes the time
 * that it always takes and means nothing. */
enum sg_status sg_pretend(struct sg_session *session, size_t n, struct sg_error *err);

/* Times every kernel of every level that this CPU can run, one thread, data in the caches,
 * and compares its result with the scalar one bit by bit. About 5 s. */
struct sg_kernel_time {
    const char *level, *kernel; /* "avx2", "tables, 1 token" */
    double nanoseconds;         /* per call, the best of several */
    double rate;                /* in units per second */
    const char *unit;           /* "weights", "floats" ... */
    double speedup;             /* against scalar */
    bool same;                  /* as scalar, to the bit */
};
typedef void sg_kernel_time_fn(void *arg, const struct sg_kernel_time *time);
enum sg_status sg_time_kernels(sg_kernel_time_fn *fn, void *arg, struct sg_error *err);

/* One line: version, numerics version, compiler, levels compiled in. */
const char *sg_version(void);

/* Levels this binary has and this CPU can run, as "scalar avx2"; static. */
const char *sg_isa_available(void);

#ifdef __cplusplus
}
#endif
#endif
