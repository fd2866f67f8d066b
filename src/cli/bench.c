/* signum bench: llama-bench's tests, table and field names, so that figures compare; and
 * what decides them: bytes and operations per token, the shares of the memory's measured
 * read bandwidth and of the CPU's measured multiply-adds, and where the time goes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "json.h"

enum {
    MAX_LIST = 64,
    PIECE = 256
};

struct list {
    int64_t item[MAX_LIST];
    size_t n;
};

/* "512", "1,2,4", "0-4096+1024", "1-8*2". */
static enum sg_status read_list(struct list *out, const char *flag, const char *text, int64_t min, struct sg_error *err)
{
    const char *p = text;
    out->n = 0;
    for (;;) {
        char *end;
        int64_t first = strtoll(p, &end, 10), last = first, step = 1;
        bool multiply = false, ok = end != p;
        if (ok && *end == '-') {
            p = end + 1;
            last = strtoll(p, &end, 10);
            ok = end != p;
            if (ok && (*end == '+' || *end == '*')) {
                multiply = *end == '*';
                p = end + 1;
                step = strtoll(p, &end, 10);
                ok = end != p && step >= (multiply ? 2 : 1);
            }
        }
        if (!ok || first < min || last < first || last > 1 << 24 || (multiply && first == 0) || (*end && *end != ','))
            return fail(err, SG_USAGE, "%s needs a list such as 512 or 1,2 or 0-4096+1024, not \"%.60s\"", flag, text);
        for (int64_t x = first; x <= last; x = multiply ? x * step : x + step) {
            if (out->n == MAX_LIST)
                return fail(err, SG_USAGE, "%s: more than %d values", flag, MAX_LIST);
            out->item[out->n++] = x;
        }
        if (!*end)
            return SG_OK;
        p = end + 1;
    }
}

struct result {
    int64_t n_prompt, n_gen, n_depth;
    int threads;
    size_t runs;
    double *seconds;
    double avg, deviation;     /* tokens per second */
    struct sg_profile profile; /* of the last run */
    struct sg_machine machine;
    char time[32];
};

struct bench {
    struct options *o;
    struct sg_engine *engine;
    struct list prompts, gens, depths, threads;
    FILE *out;
    struct result *results;
    size_t n_results, cap;
};

/* Ids that a model never sees in this order: speed does not depend on them. */
static int32_t pseudo_id(size_t i, size_t n_vocab) { return (int32_t)((i * 2654435761u >> 7) % n_vocab); }

static enum sg_status feed(struct sg_engine *engine, struct sg_session *s, size_t n, bool one_by_one, struct sg_error *err)
{
    int32_t ids[PIECE];
    size_t n_vocab = sg_info(engine)->n_vocab;
    while (n) {
        size_t now = one_by_one ? 1 : MIN(n, (size_t)PIECE);
        for (size_t i = 0; i < now; i++)
            ids[i] = pseudo_id(sg_length(s) + i, n_vocab);
        struct sg_feed f = {.session = s, .ids = ids, .n = now, .n_logits = one_by_one || now == n};
        TRY(sg_eval(engine, &f, 1, err));
        n -= now;
    }
    return SG_OK;
}

static enum sg_status measure(struct bench *b, struct result *r, struct sg_error *err)
{
    size_t n = (size_t)(r->n_prompt ? r->n_prompt : r->n_gen), depth = (size_t)r->n_depth;
    struct sg_session *s;
    TRY(sg_session_open(&s, b->engine, depth + n, err));
    enum sg_status status = sg_pretend(s, depth, err);
    /* One run first that does not count: it brings the file into the page cache. */
    for (int64_t run = -1; run < b->o->repetitions && status == SG_OK; run++) {
        sg_rewind(s, depth);
        sg_take_profile(b->engine, &r->profile);
        int64_t start = cli_microseconds();
        status = feed(b->engine, s, run < 0 && !r->n_prompt ? 1 : n, !r->n_prompt, err);
        if (run >= 0)
            r->seconds[r->runs++] = 1e-6 * (double)(cli_microseconds() - start);
        cli_progress(r->n_prompt ? "prompt runs" : "generation runs", (size_t)(run + 1), (size_t)b->o->repetitions);
    }
    sg_take_profile(b->engine, &r->profile);
    sg_session_close(s);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < r->runs; i++) {
        double rate = (double)n / r->seconds[i];
        sum += rate;
        squares += rate * rate;
    }
    if (r->runs) {
        r->avg = sum / (double)r->runs;
        double variance = r->runs > 1 ? (squares - sum * r->avg) / (double)(r->runs - 1) : 0;
        r->deviation = sqrt(variance > 0 ? variance : 0);
    }
    return status;
}

/* "qwen3 8B Q1_0": the type that holds most bytes. */
static const char *model_type(const struct sg_engine *engine, char buf[64])
{
    const struct sg_info *i = sg_info(engine);
    const char *type = "";
    uint64_t most = 0;
    for (size_t k = 0; k < i->n_tensors; k++) {
        struct sg_tensor_info t = sg_tensor(engine, k);
        if (t.bytes > most) {
            most = t.bytes;
            type = t.type;
        }
    }
    double b = (double)i->n_params / 1e9;
    snprintf(buf, 64, "%.*s %.*f%s %s", (int)i->architecture.len, i->architecture.data, b < 1 ? 0 : 1, b < 1 ? b * 1000 : b,
             b < 1 ? "M" : "B", type);
    return buf;
}

static const char *test_name(const struct result *r, char buf[64])
{
    size_t n = (size_t)snprintf(buf, 64, r->n_prompt ? "pp%lld" : "tg%lld", (long long)(r->n_prompt ? r->n_prompt : r->n_gen));
    if (r->n_depth)
        snprintf(buf + n, 64 - n, " @ d%lld", (long long)r->n_depth);
    return buf;
}

/* What a run did per second, and what the machine could have done. */
struct rates {
    double seconds, tokens;
    double bytes, read, read_limit; /* per token; per second */
    double macs, multiply, multiply_limit;
    double attention, attention_limit; /* in attention's own time */
};

static double per(double x, double y) { return y > 0 ? x / y : 0; }

static struct rates rates_of(const struct bench *b, const struct result *r)
{
    const struct sg_profile *p = &r->profile;
    double tokens = (double)(p->rows ? p->rows : 1), bytes = (double)p->weight_bytes + (r->n_prompt ? 0 : (double)p->kv_bytes);
    struct rates x = {.seconds = p->prepare + p->matmul + p->attention + p->elementwise, .tokens = tokens};
    x.bytes = bytes / tokens;
    x.read = per(bytes, x.seconds);
    x.read_limit = r->machine.read_bytes;
    x.macs = (double)(p->macs + p->attention_macs) / tokens;
    x.multiply = per((double)p->macs, x.seconds);
    x.multiply_limit = b->o->act == SG_ACT_F32     ? r->machine.f32_macs
                       : b->o->act == SG_ACT_INT16 ? r->machine.int8_macs / 2 /* for two planes */
                                                   : r->machine.int8_macs;
    x.attention = per((double)p->attention_macs, p->attention);
    x.attention_limit = b->o->type_k == SG_KV_Q8_0 && b->o->type_v == SG_KV_Q8_0 ? r->machine.int8_macs : r->machine.f32_macs;
    return x;
}

/* "25.1 of 35.3 = 71%", in 10^9. */
static const char *of_limit(char buf[64], double rate, double limit)
{
    snprintf(buf, 64, "%.1f of %.1f = %.0f%%", 1e-9 * rate, 1e-9 * limit, 100 * per(rate, limit));
    return buf;
}

static void print_markdown(const struct bench *b)
{
    const struct sg_info *i = sg_info(b->engine);
    char type[64], test[64];
    fputs("| model                          |       size |     params | backend    | threads |            test |                  t/s |\n"
          "| ------------------------------ | ---------: | ---------: | ---------- | ------: | --------------: | -------------------: |\n",
          b->out);
    for (size_t k = 0; k < b->n_results; k++) {
        const struct result *r = &b->results[k];
        char rate[64];
        snprintf(rate, sizeof rate, "%.2f ± %.2f", r->avg, r->deviation);
        fprintf(b->out, "| %-30s | %6.2f MiB | %8.2f %c | %-10s | %7d | %15s | %21s |\n", model_type(b->engine, type),
                (double)i->tensor_bytes / 1048576, i->n_params >= 1000000000 ? (double)i->n_params / 1e9 : (double)i->n_params / 1e6,
                i->n_params >= 1000000000 ? 'B' : 'M', "CPU", r->threads, test_name(r, test), rate);
    }
    fputs(
        "\n| test            | threads | MB/token | MMAC/token |  read GB/s of limit | matmul GMAC/s of peak | attention GMAC/s of peak |\n"
        "| --------------: | ------: | -------: | ---------: | ------------------: | --------------------: | -----------------------: |\n",
        b->out);
    for (size_t k = 0; k < b->n_results; k++) {
        const struct result *r = &b->results[k];
        struct rates x = rates_of(b, r);
        char read[64], multiply[64], attention[64];
        fprintf(b->out, "| %15s | %7d | %8.1f | %10.1f | %19s | %21s | %24s |\n", test_name(r, test), r->threads, 1e-6 * x.bytes,
                1e-6 * x.macs, of_limit(read, x.read, x.read_limit), of_limit(multiply, x.multiply, x.multiply_limit),
                of_limit(attention, x.attention, x.attention_limit));
    }
    fputs("\n| test            | threads | matmul | attention | prepare |  other | waiting |\n"
          "| --------------: | ------: | -----: | --------: | ------: | -----: | ------: |\n",
          b->out);
    for (size_t k = 0; k < b->n_results; k++) {
        const struct result *r = &b->results[k];
        const struct sg_profile *p = &r->profile;
        double percent = per(100, rates_of(b, r).seconds);
        fprintf(b->out, "| %15s | %7d | %5.1f%% | %8.1f%% | %6.1f%% | %5.1f%% | %6.1f%% |\n", test_name(r, test), r->threads,
                percent * p->matmul, percent * p->attention, percent * p->prepare, percent * p->elementwise, percent * p->wait);
    }
    struct sg_memory m;
    sg_memory(b->engine, 4096, &m);
    fprintf(b->out, "\n%s; kernels: %s; memory: %.0f MiB mapped, %.0f MiB private, %.1f KiB of KV per position\n",
            b->n_results ? b->results[0].machine.cpu : "", i->kernels, (double)m.mapped / 1048576, (double)m.engine_private / 1048576,
            (double)m.kv_per_position / 1024);
}

/* One row as fields in llama-bench's order; emit gets name, value, and whether it is a string. */
typedef void emit_fn(void *arg, const char *name, const char *value, bool is_string);

static void number(emit_fn *emit, void *arg, const char *name, double x)
{
    struct buf b = {0};
    json_put_double(&b, x);
    emit(arg, name, b.data ? b.data : "null", false);
    buf_free(&b);
}

static const char *kv_name(enum sg_kv_type type)
{
    static const char *const names[] = {[SG_KV_F16] = "f16", [SG_KV_F32] = "f32", [SG_KV_Q8_0] = "q8_0"};
    return names[type];
}

static void row_fields(const struct bench *b, const struct result *r, emit_fn *emit, void *arg)
{
    const struct sg_info *i = sg_info(b->engine);
    const struct sg_profile *p = &r->profile;
    char text[256], type[64];
    double tokens = (double)(r->n_prompt ? r->n_prompt : r->n_gen), mean_ns = 0, squares = 0;
    for (size_t k = 0; k < r->runs; k++) {
        mean_ns += 1e9 * r->seconds[k] / (double)r->runs;
        squares += 1e18 * r->seconds[k] * r->seconds[k];
    }
    double variance = r->runs > 1 ? (squares - (double)r->runs * mean_ns * mean_ns) / (double)(r->runs - 1) : 0;
    emit(arg, "build_commit", SIGNUM_VERSION, true);
    emit(arg, "build_number", "0", false);
    emit(arg, "cpu_info", r->machine.cpu, true);
    emit(arg, "gpu_info", "", true);
    emit(arg, "backends", "CPU", true);
    const char *path = cli_model_path(b->o);
    emit(arg, "model_filename", path ? path : "", true);
    emit(arg, "model_type", model_type(b->engine, type), true);
    number(emit, arg, "model_size", (double)i->tensor_bytes);
    number(emit, arg, "model_n_params", (double)i->n_params);
    number(emit, arg, "n_batch", PIECE);
    number(emit, arg, "n_threads", r->threads);
    emit(arg, "type_k", kv_name(b->o->type_k), true);
    emit(arg, "type_v", kv_name(b->o->type_v), true);
    emit(arg, "act", options_act_name(b->o), true);
    number(emit, arg, "n_prompt", (double)r->n_prompt);
    number(emit, arg, "n_gen", (double)r->n_gen);
    number(emit, arg, "n_depth", (double)r->n_depth);
    emit(arg, "test_time", r->time, true);
    number(emit, arg, "avg_ns", floor(mean_ns + 0.5));
    number(emit, arg, "stddev_ns", floor(sqrt(variance > 0 ? variance : 0) + 0.5));
    number(emit, arg, "avg_ts", r->avg);
    number(emit, arg, "stddev_ts", r->deviation);
    struct buf samples = {0}, rates = {0};
    for (size_t k = 0; k < r->runs; k++) {
        buf_printf(&samples, "%s%.0f", k ? "," : "[", 1e9 * r->seconds[k]);
        buf_printf(&rates, "%s%.4f", k ? "," : "[", tokens / r->seconds[k]);
    }
    buf_putc(&samples, ']');
    buf_putc(&rates, ']');
    emit(arg, "samples_ns", samples.data ? samples.data : "[]", false);
    emit(arg, "samples_ts", rates.data ? rates.data : "[]", false);
    buf_free(&samples);
    buf_free(&rates);
    snprintf(text, sizeof text, "%s", i->kernels);
    emit(arg, "kernels", text, true);
    struct rates x = rates_of(b, r);
    number(emit, arg, "read_bandwidth", x.read_limit);
    number(emit, arg, "bandwidth_share", per(x.read, x.read_limit));
    number(emit, arg, "int8_peak", r->machine.int8_macs);
    number(emit, arg, "f32_peak", r->machine.f32_macs);
    number(emit, arg, "multiply_share", per(x.multiply, x.multiply_limit));
    number(emit, arg, "attention_share", per(x.attention, x.attention_limit));
    number(emit, arg, "bytes_per_token", x.bytes);
    number(emit, arg, "macs_per_token", x.macs);
    number(emit, arg, "weight_bytes", (double)p->weight_bytes);
    number(emit, arg, "kv_bytes", (double)p->kv_bytes);
    number(emit, arg, "macs", (double)p->macs);
    number(emit, arg, "attention_macs", (double)p->attention_macs);
    number(emit, arg, "matmul_s", p->matmul);
    number(emit, arg, "attention_s", p->attention);
    number(emit, arg, "prepare_s", p->prepare);
    number(emit, arg, "elementwise_s", p->elementwise);
    number(emit, arg, "wait_s", p->wait);
}

struct emitter {
    struct buf *out;
    bool json, header, first;
};

static void emit_field(void *arg, const char *name, const char *value, bool is_string)
{
    struct emitter *e = arg;
    if (!e->first)
        buf_putc(e->out, ',');
    e->first = false;
    if (e->json) {
        json_put_string(e->out, name, strlen(name));
        buf_putc(e->out, ':');
        if (is_string)
            json_put_string(e->out, value, strlen(value));
        else
            buf_puts(e->out, value);
        return;
    }
    const char *cell = e->header ? name : value;
    buf_putc(e->out, '"');
    for (; *cell; cell++) { /* CSV doubles quotes */
        if (*cell == '"')
            buf_putc(e->out, '"');
        buf_putc(e->out, *cell);
    }
    buf_putc(e->out, '"');
}

static enum sg_status print_rows(const struct bench *b, bool json, struct sg_error *err)
{
    struct buf out = {0};
    if (json)
        buf_puts(&out, "[\n");
    else if (b->n_results)
        row_fields(b, &b->results[0], emit_field, &(struct emitter){&out, false, true, true});
    for (size_t k = 0; k < b->n_results; k++) {
        buf_puts(&out, json ? k ? ",\n{" : "{" : "\n");
        row_fields(b, &b->results[k], emit_field, &(struct emitter){&out, json, false, true});
        buf_puts(&out, json ? "}" : "");
    }
    buf_puts(&out, json ? "\n]\n" : "\n");
    enum sg_status status = out.failed ? fail_memory(err, out.len, "the table") : SG_OK;
    if (status == SG_OK)
        fwrite(out.data, 1, out.len, b->out);
    buf_free(&out);
    return status;
}

static enum sg_status add_result(struct bench *b, int threads, const struct sg_machine *machine, int64_t n_prompt, int64_t n_gen,
                                 int64_t depth, struct sg_error *err)
{
    if (b->n_results == b->cap) {
        size_t cap = b->cap ? 2 * b->cap : 16;
        struct result *grown = realloc(b->results, cap * sizeof *grown);
        if (!grown)
            return fail_memory(err, cap * sizeof *grown, "results");
        b->results = grown;
        b->cap = cap;
    }
    struct result *r = &b->results[b->n_results++];
    *r = (struct result){.n_prompt = n_prompt, .n_gen = n_gen, .n_depth = depth, .threads = threads, .machine = *machine};
    r->seconds = calloc((size_t)b->o->repetitions, sizeof *r->seconds);
    if (!r->seconds)
        return fail_memory(err, (size_t)b->o->repetitions * sizeof *r->seconds, "results");
    time_t now = time(NULL);
    struct tm utc;
    strftime(r->time, sizeof r->time, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    return measure(b, r, err);
}

static int64_t largest(const struct list *l)
{
    int64_t most = 0;
    for (size_t i = 0; i < l->n; i++)
        most = MAX(most, l->item[i]);
    return most;
}

/* The speed is right all the same, but nobody would get it. */
static void note_long(const struct bench *b)
{
    int64_t most = largest(&b->depths) + MAX(largest(&b->prompts), largest(&b->gens));
    size_t trained = sg_info(b->engine)->n_ctx_train;
    if (trained && (uint64_t)most > trained)
        cli_note("a context of %lld is more than the %zu positions that the model was trained for", (long long)most, trained);
}

static enum sg_status run_tests(struct bench *b, int threads, struct sg_error *err)
{
    struct sg_machine machine;
    TRY(sg_measure(b->engine, &machine, err));
    for (size_t d = 0; d < b->depths.n; d++) {
        for (size_t i = 0; i < b->prompts.n; i++)
            if (b->prompts.item[i])
                TRY(add_result(b, threads, &machine, b->prompts.item[i], 0, b->depths.item[d], err));
        for (size_t i = 0; i < b->gens.n; i++)
            if (b->gens.item[i])
                TRY(add_result(b, threads, &machine, 0, b->gens.item[i], b->depths.item[d], err));
    }
    return SG_OK;
}

static enum sg_status bench(struct bench *b, struct sg_error *err)
{
    struct options *o = b->o;
    if (o->n_words > 1 || (o->n_words && o->model))
        return fail(err, SG_USAGE, "one model at a time");
    if (o->n_words)
        o->model = o->words[0];
    TRY(read_list(&b->prompts, "-p", o->bench_prompts ? o->bench_prompts : "512", 0, err));
    TRY(read_list(&b->gens, "-n", o->bench_gens ? o->bench_gens : "128", 0, err));
    TRY(read_list(&b->depths, "-d", o->bench_depths ? o->bench_depths : "0", 0, err));
    if (o->bench_threads)
        TRY(read_list(&b->threads, "-t", o->bench_threads, 1, err));
    else
        b->threads = (struct list){.item = {o->n_threads}, .n = 1}; /* 0: the default */
    for (size_t t = 0; t < b->threads.n; t++) {
        sg_close(b->engine);
        o->n_threads = b->threads.item[t];
        TRY(cli_open(&b->engine, o, false, err));
        if (t == 0)
            note_long(b);
        TRY(run_tests(b, sg_info(b->engine)->n_threads, err));
    }
    if (o->format == 0)
        print_markdown(b);
    else
        TRY(print_rows(b, o->format == 2, err));
    return cli_flush(b->out, err);
}

static void print_kernel(void *arg, const struct sg_kernel_time *t)
{
    bool *all_same = arg;
    *all_same &= t->same;
    printf("| %-10s | %-27s | %12.1f | %9.3f G%-9s | %7.1fx | %-9s |\n", t->level, t->kernel, t->nanoseconds, t->rate / 1e9, t->unit,
           t->speedup, t->same ? "the same" : "DIFFERENT");
    fflush(stdout);
}

static enum sg_status bench_kernels(struct sg_error *err)
{
    bool all_same = true;
    puts("| level      | kernel                      |      ns/call |      units per second | vs scalar | bits      |\n"
         "| ---------- | --------------------------- | -----------: | --------------------: | -------: | --------- |");
    TRY(sg_time_kernels(print_kernel, &all_same, err));
    TRY(cli_flush(stdout, err));
    return all_same ? SG_OK : fail(err, SG_FAIL, "a kernel computes other bits than the specification");
}

/* Decoding speed with 1, 2, 4 .. threads up to twice the default, then around the best. */
static enum sg_status tune(struct bench *b, struct sg_error *err)
{
    struct options *o = b->o;
    if (o->n_words && !o->model)
        o->model = o->words[0];
    TRY(cli_open(&b->engine, o, false, err));
    int most = 2 * sg_info(b->engine)->n_threads, best = 1;
    double best_rate = 0;
    for (int threads = 1; threads <= most; threads += threads < 8 ? 1 : threads / 4) {
        sg_close(b->engine);
        o->n_threads = threads;
        TRY(cli_open(&b->engine, o, false, err));
        struct sg_machine unused = {.cpu = ""};
        TRY(add_result(b, threads, &unused, 0, 16, 0, err));
        double rate = b->results[b->n_results - 1].avg;
        printf("%d threads: %.2f tok/s\n", threads, rate);
        fflush(stdout);
        if (rate > 1.02 * best_rate) { /* more threads must be worth it */
            best_rate = rate;
            best = threads;
        }
    }
    printf("best: -t %d (or SIGNUM_THREADS=%d)\n", best, best);
    return cli_flush(stdout, err);
}

/* What measures something else has no use for the tests' lists and formats. */
static enum sg_status check_options(const struct options *o, struct sg_error *err)
{
    const char *mode = o->bench_spec ? "--spec" : o->kernels ? "--kernels" : o->tune ? "--tune" : NULL;
    if (!o->bench_spec && (o->json_schema || o->json_schema_file || o->schema))
        return fail(err, SG_USAGE, "only --spec has an answer that could have a form");
    if (!mode)
        return SG_OK;
    if ((o->bench_spec != NULL) + o->kernels + o->tune > 1)
        return fail(err, SG_USAGE, "--spec, --kernels and --tune are separate measurements");
    if (o->bench_prompts || o->bench_gens || o->bench_depths || o->bench_threads || o->format != 0)
        return fail(err, SG_USAGE, "%s takes no -p, -n, -d, -t or -o (SIGNUM_THREADS sets the number of threads)", mode);
    return SG_OK;
}

int cmd_bench(struct options *o)
{
    struct bench b = {.o = o, .out = stdout};
    struct sg_error err;
    enum sg_status status = check_options(o, &err);
    if (status == SG_OK)
        status = o->bench_spec ? bench_speculation(o, &err) : o->kernels ? bench_kernels(&err) : o->tune ? tune(&b, &err) : bench(&b, &err);
    for (size_t i = 0; i < b.n_results; i++)
        free(b.results[i].seconds);
    free(b.results);
    sg_close(b.engine);
    return status == SG_OK ? SG_OK : cli_fail(&err);
}
