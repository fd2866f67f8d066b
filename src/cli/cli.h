/* cli.h: what the commands share: messages, output, signals, opening the model.
 * Layer: cli. Everything here sees only signum.h and base headers. */
#ifndef SIGNUM_CLI_H
#define SIGNUM_CLI_H

#include <signal.h>
#include <stdio.h>

#include "buf.h"
#include "error.h"
#include "options.h"
#include "signum.h"

struct command {
    const char *name;
    unsigned bit;
    const char *usage, *summary;
    int (*run)(struct options *o);
};
extern const struct command cli_commands[];
extern const size_t cli_n_commands;

int cmd_run(struct options *o);
int cmd_chat(struct options *o);
int cmd_info(struct options *o);
int cmd_check(struct options *o);
int cmd_perplexity(struct options *o);
int cmd_tokenize(struct options *o);
int cmd_render(struct options *o);
int cmd_logits(struct options *o);
int cmd_bench(struct options *o);
int cmd_batch(struct options *o);
int cmd_completion(struct options *o);
int cmd_repack(struct options *o);

/* Set by SIGINT (and SIGTERM, SIGHUP); sg_eval polls it. */
extern volatile sig_atomic_t cli_interrupted;
/* Called when the mapped model fails under us, if not NULL; safe in a signal handler. */
extern void (*cli_before_dying)(void);

/* One line on stderr: "signum: ...", whatever it quotes: control characters and bytes that
 * are not UTF-8 come out as \xNN. cli_note is silent with -q. */
void cli_note(const char *format, ...) PRINTF_LIKE(1, 2);
void cli_error(const char *format, ...) PRINTF_LIKE(1, 2);
/* Prints err's sentence and returns its exit code. */
int cli_fail(const struct sg_error *err);
void cli_set_quiet(bool quiet);

int64_t cli_microseconds(void); /* monotonic */

/* Progress on stderr, only on a tty, at most ten times a second; done == total erases it. */
void cli_progress(const char *what, size_t done, size_t total);

/* Whether to use colours on what is a terminal or not, by --color, NO_COLOR and TERM. */
bool cli_colour(const struct options *o, bool terminal);

/* The same place on a tty for any line, cut to the width; "" erases it. */
void cli_status(const char *line);

/* Writes text to a stream: on a tty control characters but newline and tab come out
 * escaped, elsewhere bytes are written as they are. text must be whole characters. */
void cli_write(FILE *out, const char *text, size_t len);
/* Flushes stdout; SG_FAIL with a sentence when anything could not be written. */
enum sg_status cli_flush(FILE *out, struct sg_error *err);

/* The model: what the flag names, else SIGNUM_MODEL, else the bundled one. NULL: there is none. */
const char *cli_model_path(const struct options *o);
/* ... and opens it. */
enum sg_status cli_open(struct sg_engine **engine, const struct options *o, bool weights_unneeded, struct sg_error *err);

/* The context to use for -c: at most what the KV budget holds. needed > 0: a prompt of so
 * many tokens must fit, else SG_USAGE that says by how much. */
enum sg_status cli_context(const struct sg_engine *engine, const struct options *o, size_t needed, size_t *n_ctx, struct sg_error *err);

/* The prompt from -p, -f, words or stdin, in this order; SG_USAGE when there is none. */
enum sg_status cli_prompt(const struct options *o, struct buf *out, struct sg_error *err);
enum sg_status cli_system(const struct options *o, struct buf *out, bool *given, struct sg_error *err);

/* Evaluates ids after what the session holds, in pieces, with progress; logits of the
 * last are kept. */
enum sg_status cli_prefill(struct sg_engine *engine, struct sg_session *session, const int32_t *ids, size_t n, bool progress,
                           struct sg_error *err);

/* Parses "1,2,3" (or spaces) into ids. */
enum sg_status cli_parse_ids(const char *text, struct ids *out, struct sg_error *err);

/* signum bench --spec. */
enum sg_status bench_speculation(struct options *o, struct sg_error *err);

/* Calls fn for every line of -f or stdin; a line may be of any length. */
typedef enum sg_status cli_line_fn(void *arg, const char *line, size_t len, size_t number, struct sg_error *err);
enum sg_status cli_lines(const struct options *o, cli_line_fn *fn, void *arg, struct sg_error *err);

#endif
