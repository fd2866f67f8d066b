/* signum batch: reads requests, keeps the sequences fed, writes records as they finish. */
#include "batch.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct batch {
    struct options *o;
    struct batch_defaults d;
    struct batch_input input;
    struct batch_output output;
    struct batch_run *run;
    struct buf text, fields, id;
    size_t shard, n_shards;
    size_t done, failed, skipped;
    size_t total; /* requests of this run, finished ones included; 0: not known */
    bool at_end;
    int64_t start_us, last_report_us;
};

/* ------------------------------------------------------------------ progress */

/* "3 h 05 min left", from how long the finished ones took. */
static void put_time_left(char *out, size_t size, const struct batch *b, double seconds)
{
    size_t finished = b->done + b->failed, recorded = b->output.n_recorded;
    *out = 0;
    if (!b->total || !finished || recorded + finished > b->total)
        return;
    double left = seconds / (double)finished * (double)(b->total - recorded - finished);
    if (left < 100)
        snprintf(out, size, ", %.0f s left", left);
    else if (left < 6000)
        snprintf(out, size, ", %.0f min left", left / 60);
    else
        snprintf(out, size, ", %.0f h %02d min left", floor(left / 3600), (int)(left / 60) % 60);
}

/* On a tty a line that changes, elsewhere a new one every five seconds. */
static void report(struct batch *b, bool last)
{
    int64_t now = cli_microseconds();
    bool tty = isatty(STDERR_FILENO);
    if (!last && now - b->last_report_us < (tty ? 200000 : 5000000))
        return;
    b->last_report_us = now;
    struct batch_totals t;
    batch_run_totals(b->run, &t);
    double seconds = 1e-6 * (double)(now - b->start_us) + 1e-9;
    char line[256], of[32] = "", left[64], running[48] = "";
    put_time_left(left, sizeof left, b, seconds);
    if (b->total && !last)
        snprintf(of, sizeof of, "/%zu", b->total);
    if (!last)
        snprintf(running, sizeof running, " %zu running,", batch_run_active(b->run));
    snprintf(line, sizeof line, "%zu%s done, %zu failed%s;%s prompt %.0f tok/s, answer %.1f tok/s",
             b->done + b->output.n_recorded - b->output.n_failed, of, b->failed + b->output.n_failed, last ? "" : left, running,
             (double)t.prompt_tokens / seconds, (double)t.answer_tokens / seconds);
    if (tty && !last)
        cli_status(line);
    else
        cli_note("%s", line);
}

static enum sg_status write_summary(const struct batch *b, const char *path, struct sg_error *err)
{
    struct batch_totals t;
    batch_run_totals(b->run, &t);
    double seconds = 1e-6 * (double)(cli_microseconds() - b->start_us);
    int names = (int)b->d.unknown.len; /* ,"a","b", */
    FILE *f = fopen(path, "wb");
    char shown[ESCAPED_MAX];
    if (!f)
        return fail(err, SG_FAIL, "cannot write %s: %s", escaped(shown, path, strlen(path)), strerror(errno));
    fprintf(f,
            "{\"done\":%zu,\"failed\":%zu,\"skipped\":%zu,\"failed_before\":%zu,\"seconds\":%.3f,"
            "\"prompt_tokens\":%zu,\"cached_tokens\":%zu,\"answer_tokens\":%zu,\"steps\":%zu,\"rows\":%zu,\"draft_n\":%zu,\"draft_n_"
            "accepted\":%zu,\"parallel\":%lld,\"unknown_fields\":[%.*s],\"fingerprint\":\"%s\"}\n",
            b->done, b->failed, b->skipped, b->output.n_failed, seconds, t.prompt_tokens, t.cached_tokens, t.answer_tokens, t.steps, t.rows,
            t.proposed, t.accepted, (long long)b->o->n_parallel, names > 2 ? names - 2 : 0, names > 2 ? b->d.unknown.data + 1 : "",
            b->output.fingerprint);
    bool ok = !ferror(f);
    return fclose(f) == 0 && ok ? SG_OK : fail(err, SG_FAIL, "cannot write %s: %s", escaped(shown, path, strlen(path)), strerror(errno));
}

/* ------------------------------------------------------------------- records */

static enum sg_status on_done(void *arg, const struct batch_request *r, const struct sg_error *why, struct sg_error *err)
{
    struct batch *b = arg;
    if (!why) {
        b->done++;
        return batch_output_result(&b->output, &b->d, r, err);
    }
    b->failed++;
    return batch_output_error(&b->output, &r->id, &r->fields, why, err);
}

static bool in_shard(const struct batch *b, const struct buf *id)
{
    return b->n_shards < 2 || sg_derive_seed(3, id->data ? id->data : "", id->len, 0) % b->n_shards == b->shard;
}

/* Reads one line of the input and gives it to the run, or writes why not. */
static enum sg_status take_line(struct batch *b, struct sg_error *err)
{
    bool more, bad;
    enum batch_id was;
    struct sg_error why;
    enum sg_status status = batch_input_next(&b->input, &b->text, &b->fields, &more, &bad, &why);
    if (status != SG_OK) {
        *err = why;
        return status;
    }
    if (!more) {
        b->at_end = true;
        return SG_OK;
    }
    /* First the id alone: most of a resumed run's lines are done already. */
    if (bad) {
        b->id.len = 0;
        buf_printf(&b->id, "line-%zu", b->input.number);
    } else {
        batch_request_id(b->text.data, b->text.len, b->input.number, &b->id);
    }
    if (!in_shard(b, &b->id))
        return SG_OK;
    TRY(batch_output_claim(&b->output, &b->id, &was, err));
    if (was == BATCH_ID_RECORDED) {
        b->skipped++;
        return SG_OK;
    }
    struct batch_request *r = NULL;
    if (bad)
        status = SG_USAGE;
    if (was == BATCH_ID_USED) {
        bool written;
        TRY(batch_output_duplicate(&b->output, &b->id, &b->fields, b->input.number, &written, err));
        b->failed += written;
        b->skipped += !written;
        return SG_OK;
    }
    if (status == SG_OK)
        status = batch_request_read(&r, &b->d, b->text.data, b->text.len, b->input.number, &b->id, &why);
    if (status == SG_OK) {
        buf_append(&r->fields, b->fields.data, b->fields.len);
        batch_run_add(b->run, r);
        return SG_OK;
    }
    if (status != SG_USAGE && status != SG_NO_MEMORY) {
        *err = why;
        return status;
    }
    b->failed++;
    return batch_output_error(&b->output, &b->id, &b->fields, &why, err);
}

/* ------------------------------------------------------------------- opening */

static void keep_hash(void *arg, size_t position, const float *logits)
{
    struct batch *b = arg;
    (void)position;
    uint64_t h = sg_derive_seed(0, (const char *)logits, sg_info(b->d.engine)->n_vocab * sizeof *logits, 0);
    snprintf(b->output.fingerprint, sizeof b->output.fingerprint, "%016llx", (unsigned long long)h);
}

/* What decides an answer, in 16 hexadecimal digits: the model by the logits that it gives for
 * one token (the same on every machine), and every setting by name and value. */
static enum sg_status make_fingerprint(struct batch *b, struct sg_error *err)
{
    struct sg_session *s;
    const int32_t id = 0;
    TRY(sg_session_open(&s, b->d.engine, 1, err));
    struct sg_feed feed = {.session = s, .ids = &id, .n = 1, .n_logits = 1, .on_logits = keep_hash, .arg = b};
    enum sg_status status = sg_eval(b->d.engine, &feed, 1, err);
    sg_session_close(s);
    TRY(status);
    struct buf all = {0};
    const struct sg_sampling *p = &b->d.sampling;
    const struct options *o = b->o;
    /* A context that follows from the memory that is free is no setting: it differs from day to day. */
    buf_printf(&all, "%s %d %s %zu %d %d %d %d %d %d %llu", b->output.fingerprint, SIGNUM_NUMERICS, sg_info(b->d.engine)->template_kind,
               o->n_ctx ? b->d.n_ctx : 0, (int)o->act, (int)o->type_k, (int)o->type_v, o->raw, o->parse_special, o->score,
               (unsigned long long)b->d.seed);
    buf_append(&all, p, offsetof(struct sg_sampling, dry_breakers)); /* plain numbers without padding */
    buf_append(&all, &p->mirostat, offsetof(struct sg_sampling, biases) - offsetof(struct sg_sampling, mirostat));
    buf_append(&all, p->samplers, sizeof p->samplers);
    for (size_t i = 0; i < p->n_biases; i++)
        buf_append(&all, &p->biases[i], sizeof p->biases[i]);
    for (size_t i = 0; i < o->stop.n; i++)
        buf_printf(&all, "stop %s\n", o->stop.item[i].data);
    buf_printf(&all, "least %lld\n", (long long)o->min_predict);
    buf_append(&all, b->d.stop_ids.data, b->d.stop_ids.len * sizeof *b->d.stop_ids.data);
    for (size_t i = 0; i < o->dry_breakers.n; i++)
        buf_printf(&all, "breaker %s\n", o->dry_breakers.item[i].data);
    buf_printf(&all, " %lld %lld %d %d %d %d %s", (long long)o->n_predict, (long long)o->think_budget, (int)o->think, o->ignore_eos,
               o->no_loop_guard, b->d.has_system, o->template ? o->template : "");
    buf_append(&all, b->d.system.data, b->d.system.len);
    buf_printf(&all, " %d", o->choice_norm);
    status = constraint_from_options(b->d.engine, o, &b->d.grammar, &all, &b->d.form, err);
    if (status != SG_OK) {
        buf_free(&all);
        return status;
    }
    if (all.failed) {
        buf_free(&all);
        return fail(err, SG_NO_MEMORY, "out of memory for the settings");
    }
    uint64_t h = sg_derive_seed(0, all.data, all.len, 0);
    snprintf(b->output.fingerprint, sizeof b->output.fingerprint, "%016llx", (unsigned long long)h);
    buf_free(&all);
    return SG_OK;
}

static enum sg_status read_shard(struct batch *b, const char *text, struct sg_error *err)
{
    char *end;
    long i = strtol(text, &end, 10), n = *end == '/' ? strtol(end + 1, &end, 10) : 0;
    if (*end || n < 1 || i < 1 || i > n || n > 1000000)
        return fail(err, SG_USAGE, "--shard needs I/N with I from 1 to N, not \"%.40s\"", text);
    b->shard = (size_t)i - 1;
    b->n_shards = (size_t)n;
    return SG_OK;
}

/* As many as the memory holds of usual requests (2,048 positions each), and as make sense for
 * the cores: rows beyond 16 gain little on a small machine. */
static int64_t default_parallel(const struct sg_engine *engine)
{
    struct sg_memory m;
    sg_memory(engine, 2048, &m);
    size_t fit = m.kv_full ? m.kv_budget / m.kv_full : 1, cores = (size_t)sg_info(engine)->n_threads;
    return (int64_t)MAX(MIN(fit, MIN(8 * cores, (size_t)64)), (size_t)1);
}

static enum sg_status open_batch(struct batch *b, struct sg_error *err)
{
    struct options *o = b->o;
    if (o->n_words)
        return fail(err, SG_USAGE, "batch reads requests from -i FILE or stdin, not \"%.40s\"", o->words[0]);
    if (o->shard)
        TRY(read_shard(b, o->shard, err));
    if (!o->input && isatty(STDIN_FILENO))
        return fail(err, SG_USAGE, "no input: give -i FILE or pipe requests in");
    TRY(batch_input_open(&b->input, o, err));
    TRY(cli_open(&b->d.engine, o, false, err));
    b->d.o = o;
    if (o->think == SG_THINK_ON && !sg_info(b->d.engine)->can_think) /* else every request would say it */
        return fail(err, SG_USAGE, "this model's chat template (%s) has no thinking to turn on", sg_info(b->d.engine)->template_kind);
    TRY(cli_system(o, &b->d.system, &b->d.has_system, err));
    TRY(cli_context(b->d.engine, o, 0, &b->d.n_ctx, err));
    if (o->stop_ids)
        TRY(cli_parse_ids(o->stop_ids, &b->d.stop_ids, err));
    if (o->seed < 0 && (o->resume || o->retry_failed))
        return fail(err, SG_USAGE, "-s -1 draws another seed in each run, so none can go on with another's records");
    options_sampling(o, b->d.engine, &b->d.sampling);
    b->d.seed = (uint64_t)o->seed;
    constraints_init(&b->d.constraints, b->d.engine);
    TRY(make_fingerprint(b, err));
    TRY(batch_output_open(&b->output, o, b->input.fd, err));
    if (!o->n_parallel)
        o->n_parallel = default_parallel(b->d.engine);
    return batch_run_open(&b->run, &b->d, (size_t)o->n_parallel, on_done, b, err);
}

static enum sg_status run_batch(struct batch *b, struct sg_error *err)
{
    TRY(open_batch(b, err));
    b->start_us = b->last_report_us = cli_microseconds();
    b->total = b->o->quiet ? 0 : batch_input_count(&b->input) / MAX(b->n_shards, (size_t)1); /* shards are nearly alike */
    bool told = false;
    while (!b->at_end || batch_run_busy(b->run)) {
        if (cli_interrupted && !told) {
            cli_note("interrupted: the %zu running requests are finished first; once more to stop now", batch_run_active(b->run));
            told = b->at_end = true;
            batch_run_drop_waiting(b->run);
        }
        /* Running requests do not wait for somebody who writes slowly, or who waits for their answers. */
        while (!b->at_end && batch_run_wants(b->run) && (!batch_run_busy(b->run) || batch_input_ready(&b->input)))
            TRY(take_line(b, err));
        TRY(batch_run_step(b->run, err));
        report(b, false);
    }
    report(b, true);
    if (b->o->summary)
        TRY(write_summary(b, b->o->summary, err));
    return SG_OK;
}

int cmd_batch(struct options *o)
{
    struct batch b = {.o = o};
    struct sg_error err;
    enum sg_status status = run_batch(&b, &err);
    int code = status;
    if (status != SG_OK)
        code = cli_fail(&err);
    batch_run_close(b.run);
    constraints_close(&b.d.constraints);
    sg_grammar_close(b.d.grammar);
    bool failed = b.failed + b.output.n_failed > 0;
    batch_input_close(&b.input);
    if (batch_output_close(&b.output, &err) != SG_OK && status == SG_OK)
        code = cli_fail(&err);
    sg_close(b.d.engine);
    buf_free(&b.d.system);
    ids_free(&b.d.stop_ids);
    buf_free(&b.d.unknown);
    buf_free(&b.text);
    buf_free(&b.fields);
    buf_free(&b.id);
    if (code == SG_OK && cli_interrupted)
        return SG_INTERRUPTED;
    return code == SG_OK && failed ? 5 : code;
}
