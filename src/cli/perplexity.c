/* signum perplexity: llama.cpp's procedure, so that figures compare: the text is tokenized
 * once and cut into chunks of n_ctx; each is evaluated from an empty cache; positions
 * n_ctx/2 .. n_ctx-2 are scored by how well they predict the next token;
 * PPL = exp(mean of the negative logarithms). */
#include <math.h>
#include <stdlib.h>

#include "cli.h"
#include "json.h"
#include "mathfn.h"

struct score {
    const struct sg_engine *engine;
    const int32_t *ids; /* of the chunk */
    size_t n_ctx;
    double sum, sum_squares;
    size_t n;
};

static void score_position(void *arg, size_t position, const float *logits)
{
    struct score *s = arg;
    if (position < s->n_ctx / 2 || position + 1 >= s->n_ctx)
        return;
    double nll = -sg_logprob_of(s->engine, logits, s->ids[position + 1]);
    s->sum += nll;
    s->sum_squares += nll * nll;
    s->n++;
}

static enum sg_status score_chunk(struct sg_engine *engine, struct sg_session *session, struct score *s, struct sg_error *err)
{
    sg_rewind(session, 0);
    for (size_t done = 0; done < s->n_ctx;) {
        size_t n = MIN(s->n_ctx - done, (size_t)256), first = MAX(s->n_ctx / 2, done);
        size_t wanted = first < done + n ? done + n - first : 0;
        struct sg_feed feed = {.session = session, .ids = s->ids + done, .n = n, .n_logits = wanted, .on_logits = score_position, .arg = s};
        TRY(sg_eval(engine, &feed, 1, err));
        done += n;
    }
    return SG_OK;
}

static enum sg_status perplexity(struct sg_engine *engine, const struct options *o, struct sg_error *err)
{
    struct buf text = {0};
    int32_t *ids = NULL;
    size_t n = 0, n_ctx = o->n_ctx ? (size_t)o->n_ctx : 512;
    struct sg_session *session = NULL;
    if (n_ctx < 4)
        return fail(err, SG_USAGE, "perplexity needs a context of at least 4");
    enum sg_status status = cli_prompt(o, &text, err);
    if (status == SG_OK)
        status = sg_tokenize(engine, text.data ? text.data : "", text.len, 0, &ids, &n, err);
    if (status == SG_OK && n < n_ctx)
        status = fail(err, SG_USAGE, "the text has %zu tokens, fewer than one chunk of %zu; a smaller -c is needed", n, n_ctx);
    if (status == SG_OK)
        status = sg_session_open(&session, engine, n_ctx, err);
    struct score s = {.engine = engine, .n_ctx = n_ctx};
    size_t chunks = n / n_ctx, chunk = 0;
    for (; chunk < chunks && status == SG_OK; chunk++) {
        cli_progress("chunk", chunk, chunks);
        s.ids = ids + chunk * n_ctx;
        status = score_chunk(engine, session, &s, err);
    }
    cli_progress("chunk", chunks, chunks);
    if (status == SG_OK) {
        double mean = s.sum / (double)s.n, variance = s.n > 1 ? (s.sum_squares / (double)s.n - mean * mean) / (double)(s.n - 1) : 0;
        double ppl = exp_f64(mean), error = ppl * sqrt(variance > 0 ? variance : 0);
        if (o->json) {
            struct buf b = {0};
            buf_puts(&b, "{\"perplexity\":");
            json_put_double(&b, ppl);
            buf_puts(&b, ",\"standard_error\":");
            json_put_double(&b, error);
            buf_puts(&b, ",\"mean_nll\":");
            json_put_double(&b, mean);
            buf_printf(&b, ",\"tokens\":%zu,\"scored\":%zu,\"chunks\":%zu,\"n_ctx\":%zu,\"act\":\"%s\"}\n", n, s.n, chunks, n_ctx,
                       options_act_name(o));
            if (b.failed)
                status = fail_memory(err, b.len, "the result");
            else
                fwrite(b.data, 1, b.len, stdout);
            buf_free(&b);
        } else {
            printf("perplexity %.4f +/- %.4f (%zu chunks of %zu, %zu tokens scored)\n", ppl, error, chunks, n_ctx, s.n);
        }
        if (status == SG_OK)
            status = cli_flush(stdout, err);
    }
    sg_session_close(session);
    free(ids);
    buf_free(&text);
    return status;
}

int cmd_perplexity(struct options *o)
{
    struct sg_engine *engine = NULL;
    struct sg_error err;
    enum sg_status status = cli_open(&engine, o, false, &err);
    if (status == SG_OK)
        status = perplexity(engine, o, &err);
    sg_close(engine);
    return status == SG_OK ? SG_OK : cli_fail(&err);
}
