/* What the commands share; see cli.h. */
#define _GNU_SOURCE /* readlink of /proc/self/exe, getline */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "file.h"
#include "utf8.h"

volatile sig_atomic_t cli_interrupted;
void (*cli_before_dying)(void);

static bool quiet, progress_shown;

void cli_set_quiet(bool q) { quiet = q; }

static void erase_progress(void)
{
    if (progress_shown)
        fputs("\r\033[K", stderr);
    progress_shown = false;
}

/* Appends text with control characters, but those in keep, and what is not UTF-8 as \xNN. */
static void append_escaped(struct buf *out, const char *text, size_t len, const char *keep)
{
    for (size_t i = 0; i < len;) {
        uint32_t c;
        size_t n = utf8_decode(text + i, len - i, &c);
        bool valid = !(c == UTF8_REPLACEMENT && !(n == 3 && memcmp(text + i, "\xEF\xBF\xBD", 3) == 0));
        bool control = c < 0x20 || (c >= 0x7F && c < 0xA0);
        if (valid && (!control || (c && c < 0x20 && strchr(keep, (int)c))))
            buf_append(out, text + i, n);
        else
            for (size_t k = 0; k < n; k++)
                buf_printf(out, "\\x%02X", (unsigned char)text[i + k]);
        i += n;
    }
}

static void say(const char *format, va_list args)
{
    char sentence[2048];
    struct buf line = {0};
    vsnprintf(sentence, sizeof sentence, format, args);
    buf_puts(&line, "signum: ");
    append_escaped(&line, sentence, strlen(sentence), "");
    buf_putc(&line, '\n');
    erase_progress();
    if (line.failed)
        fputs("signum: out of memory\n", stderr);
    else
        fwrite(line.data, 1, line.len, stderr); /* at once, so that lines of several processes do not mix */
    buf_free(&line);
}

void cli_note(const char *format, ...)
{
    if (quiet)
        return;
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
}

void cli_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
}

int cli_fail(const struct sg_error *err)
{
    cli_error("%s", err->message);
    return err->status;
}

int64_t cli_microseconds(void) { return (int64_t)(clock_ns() / 1000); }

void cli_progress(const char *what, size_t done, size_t total)
{
    static int64_t last;
    if (quiet || !isatty(STDERR_FILENO))
        return;
    if (done >= total) {
        erase_progress();
        return;
    }
    int64_t now = cli_microseconds();
    if (now - last < 100000)
        return;
    last = now;
    progress_shown = true;
    fprintf(stderr, "\r\033[K%s %zu/%zu (%zu%%)", what, done, total, done * 100 / total);
    fflush(stderr);
}

bool cli_colour(const struct options *o, bool terminal)
{
    const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");
    if (o->colour != COLOUR_AUTO)
        return o->colour == COLOUR_ON;
    return terminal && !(no_colour && *no_colour) && term && strcmp(term, "dumb") != 0;
}

void cli_status(const char *line)
{
    struct winsize size;
    int width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1 : 79;
    if (quiet || !isatty(STDERR_FILENO))
        return;
    erase_progress();
    progress_shown = *line != 0;
    fprintf(stderr, "%.*s", width, line);
    fflush(stderr);
}

void cli_write(FILE *out, const char *text, size_t len)
{
    if (!isatty(fileno(out))) {
        fwrite(text, 1, len, out);
        return;
    }
    struct buf harmless = {0};
    append_escaped(&harmless, text, len, "\n\t");
    if (harmless.data)
        fwrite(harmless.data, 1, harmless.len, out);
    buf_free(&harmless);
}

enum sg_status cli_flush(FILE *out, struct sg_error *err)
{
    if (fflush(out) != 0 || ferror(out))
        return fail(err, SG_FAIL, "cannot write the output: %s", strerror(errno ? errno : EIO));
    return SG_OK;
}

/* ------------------------------------------------------------------ model */

static const char bundled_name[] = "signum-demo.gguf";

/* Next to the program, in its models folder, or in the data folder beside its bin. */
static bool find_bundled(char *path, size_t size)
{
    static const char *const places[] = {"models/", "", "../models/", "../../models/", "../share/signum/"};
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0)
        return false;
    exe[n] = 0;
    char *slash = strrchr(exe, '/');
    if (!slash)
        return false;
    slash[1] = 0;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        int len = snprintf(path, size, "%s%s%s", exe, places[i], bundled_name);
        if (len > 0 && (size_t)len < size && access(path, R_OK) == 0)
            return true;
    }
    return false;
}

static char bundled[8192]; /* its path, once it was looked for */

const char *cli_model_path(const struct options *o)
{
    const char *path = o->model ? o->model : getenv("SIGNUM_MODEL");
    if (path && *path)
        return path;
    return find_bundled(bundled, sizeof bundled) ? bundled : NULL;
}

enum sg_status cli_open(struct sg_engine **engine, const struct options *o, bool weights_unneeded, struct sg_error *err)
{
    const char *path = cli_model_path(o);
    *engine = NULL;
    if (!path)
        return fail(
            err, SG_USAGE,
            "no model: name a GGUF file with -m FILE or SIGNUM_MODEL (sh tools/fetch_model.sh bonsai-1.7b downloads one of 248 MB)");
    if (path == bundled)
        cli_note("using the bundled tiny demonstration model; for a real one: sh tools/fetch_model.sh bonsai-1.7b, then -m FILE");
    struct sg_options options = {
        .model_path = path,
        .isa = o->isa,
        .n_threads = (int)o->n_threads,
        .act = o->act,
        .matmul = o->matmul,
        .repack = o->repack,
        .type_k = o->type_k,
        .type_v = o->type_v,
        .chat_template = o->chat_template,
        .weights_unneeded = weights_unneeded,
        /* a batch finishes what it has begun when it is interrupted */
        .interrupt = o->command == CMD_BATCH ? NULL : &cli_interrupted,
    };
    TRY(sg_open(engine, &options, err));
    if (cli_interrupted) /* nothing after this may wait for input */
        return fail(err, SG_INTERRUPTED, "interrupted");
    const struct sg_info *i = sg_info(*engine);
    if (o->verbose && !weights_unneeded)
        cli_note("%s kernels, %d threads", i->kernels, i->n_threads);
    if (o->repack && !weights_unneeded && i->repacked_bytes == 0)
        cli_note("--repack: the model has no Q1_0 matrices, or is repacked already: nothing changed");
    else if (o->repack && !weights_unneeded && o->verbose)
        cli_note("repacked the weights in %.2f s; the copy takes %zu MiB", i->repack_seconds, i->repacked_bytes >> 20);
    return SG_OK;
}

enum sg_status cli_context(const struct sg_engine *engine, const struct options *o, size_t needed, size_t *n_ctx, struct sg_error *err)
{
    struct sg_memory memory;
    sg_memory(engine, 1, &memory);
    size_t fits = memory.kv_budget / memory.kv_block * memory.kv_block_positions;
    size_t trained = sg_info(engine)->n_ctx_train;
    if (o->n_ctx) {
        *n_ctx = (size_t)o->n_ctx;
        if (*n_ctx > trained && trained)
            cli_note("-c %zu is more than the %zu positions that the model was trained for", *n_ctx, trained);
    } else {
        *n_ctx = trained ? MIN(trained, fits) : MIN((size_t)4096, fits);
        *n_ctx = MAX(*n_ctx, (size_t)1);
    }
    if (needed > *n_ctx)
        return fail(err, SG_USAGE, "the prompt has %zu tokens, %zu more than the context of %zu%s", needed, needed - *n_ctx, *n_ctx,
                    o->n_ctx || *n_ctx == trained ? "" : " that fits the memory");
    if (o->verbose) {
        sg_memory(engine, *n_ctx, &memory);
        cli_note("context %zu; memory: %zu MiB mapped model, %zu MiB working, %zu KiB session, KV %zu bytes a position, at most %zu MiB",
                 *n_ctx, memory.mapped >> 20, memory.engine_private >> 20, memory.session >> 10, memory.kv_per_position,
                 memory.kv_full >> 20);
    }
    return SG_OK;
}

/* ------------------------------------------------------------------ input */

enum {
    MAX_INPUT = 1 << 30
};

/* A text file ends with a newline that is not part of the prompt; where tokens are
 * looked at, every byte counts. */
static enum sg_status read_text(const struct options *o, struct buf *out, const char *path, struct sg_error *err)
{
    TRY(file_read(out, path, MAX_INPUT, err));
    if (o->command & (CMD_TOKENIZE | CMD_LOGITS))
        return SG_OK;
    if (out->len && out->data[out->len - 1] == '\n')
        out->data[--out->len] = 0;
    return SG_OK;
}

enum sg_status cli_prompt(const struct options *o, struct buf *out, struct sg_error *err)
{
    if (o->prompt && o->n_words)
        return fail(err, SG_USAGE, "the prompt is given twice: -p and \"%.40s\"", o->words[0]);
    if (o->prompt)
        buf_puts(out, o->prompt);
    for (int i = 0; i < o->n_words; i++) {
        if (i)
            buf_putc(out, ' ');
        buf_puts(out, o->words[i]);
    }
    bool given = o->prompt || o->n_words;
    if (o->prompt_file || !given) {
        if (!o->prompt_file && isatty(STDIN_FILENO))
            return fail(err, SG_USAGE, "no prompt: give TEXT, -p TEXT, -f FILE, or pipe it in");
        if (given)
            buf_putc(out, '\n');
        TRY(read_text(o, out, o->prompt_file ? o->prompt_file : "-", err));
    }
    if (out->failed)
        return fail_memory(err, out->len, "the prompt");
    return SG_OK;
}

enum sg_status cli_system(const struct options *o, struct buf *out, bool *given, struct sg_error *err)
{
    *given = o->system || o->system_file;
    if (o->system && o->system_file)
        return fail(err, SG_USAGE, "the system prompt is given twice: -sys and -sysf");
    if (o->system)
        buf_puts(out, o->system);
    if (o->system_file)
        TRY(read_text(o, out, o->system_file, err));
    if (out->failed)
        return fail_memory(err, out->len, "the system prompt");
    return SG_OK;
}

enum sg_status cli_parse_ids(const char *text, struct ids *out, struct sg_error *err)
{
    const char *p = text;
    for (;;) {
        p += strspn(p, ", \t\r\n[]");
        if (!*p)
            break;
        char *end;
        errno = 0;
        long long id = strtoll(p, &end, 10);
        if (end == p || errno || id < 0 || id > INT32_MAX)
            return fail(err, SG_USAGE, "\"%.40s\" is no token id", p);
        ids_push(out, (int32_t)id);
        p = end;
    }
    return out->failed ? fail_memory(err, out->len * 4, "token ids") : SG_OK;
}

enum sg_status cli_lines(const struct options *o, cli_line_fn *fn, void *arg, struct sg_error *err)
{
    const char *path = o->prompt_file;
    FILE *f = !path || strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    char shown[ESCAPED_MAX];
    if (!f)
        return fail(err, SG_FAIL, "cannot open %s: %s", escaped(shown, path, strlen(path)), strerror(errno));
    char *line = NULL;
    size_t cap = 0, number = 0;
    enum sg_status status = SG_OK;
    while (status == SG_OK && !cli_interrupted) {
        errno = 0;
        ssize_t n = getline(&line, &cap, f);
        if (n < 0) {
            if (!feof(f) && !cli_interrupted)
                status = errno == ENOMEM ? fail(err, SG_NO_MEMORY, "out of memory: line %zu is too long", number + 1)
                                         : fail(err, SG_FAIL, "cannot read the input: %s", strerror(errno));
            break;
        }
        number++;
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            n--;
        if (n > 0)
            status = fn(arg, line, (size_t)n, number, err);
    }
    if (status == SG_OK && cli_interrupted)
        status = fail(err, SG_INTERRUPTED, "interrupted");
    free(line);
    if (f != stdin)
        fclose(f);
    return status;
}

enum sg_status cli_prefill(struct sg_engine *engine, struct sg_session *session, const int32_t *ids, size_t n, bool progress,
                           struct sg_error *err)
{
    const size_t piece = 256;
    for (size_t done = 0; done < n;) {
        size_t now = MIN(n - done, piece);
        struct sg_feed feed = {.session = session, .ids = ids + done, .n = now, .n_logits = done + now == n};
        TRY(sg_eval(engine, &feed, 1, err));
        done += now;
        if (progress)
            cli_progress("reading the prompt", done, n);
    }
    return SG_OK;
}
