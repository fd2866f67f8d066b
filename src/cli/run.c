/* signum run: one prompt, one answer on stdout, an honest exit code. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "choice.h"
#include "cli.h"
#include "constraint.h"
#include "json.h"
#include "settings.h"

struct run {
    struct options *o;
    struct sg_engine *engine;
    struct sg_session *session;
    struct sg_reply *reply;
    struct sg_reply_options reply_options;
    struct sg_grammar *grammar; /* NULL: the answer is free */
    struct sg_matcher *matcher;
    struct form_name form;
    struct sg_sampling sampling;
    const char *sampling_source;
    struct buf prompt, system, answer, thinking; /* answer and thinking only for --json */
    int32_t *ids;
    size_t n_ids, n_ctx;
    struct ids stop_ids;
    FILE *out;
    char last; /* last answer byte written */
    bool thinking_shown, wrote;
    int64_t prompt_us, answer_us;
    struct sg_draft_counts draft;
};

static enum sg_status make_prompt(struct run *r, struct sg_error *err)
{
    const struct options *o = r->o;
    bool has_system;
    TRY(cli_prompt(o, &r->prompt, err));
    TRY(cli_system(o, &r->system, &has_system, err));
    if (r->prompt.len == 0) /* the model would answer all the same, to nothing */
        return fail(err, SG_USAGE, "the prompt is empty%s",
                    o->prompt || o->n_words || o->prompt_file ? "" : ": nothing came from standard input");
    if (o->raw) {
        if (has_system)
            return fail(err, SG_USAGE, "--raw uses no chat template, so it takes no system prompt");
        if (o->think == SG_THINK_ON)
            return fail(err, SG_USAGE, "--raw uses no chat template, so it takes no --think");
        return sg_tokenize(r->engine, r->prompt.data, r->prompt.len, o->parse_special ? SG_PARSE_SPECIAL : 0, &r->ids, &r->n_ids, err);
    }
    if (o->parse_special)
        return fail(err, SG_USAGE, "--parse-special is for raw prompts: add --raw");
    struct sg_message messages[2] = {
        {.role = {"system", 6}, .content = {r->system.data, r->system.len}},
        {.role = {"user", 4}, .content = {r->prompt.data, r->prompt.len}},
    };
    struct sg_conversation c = {.messages = messages + !has_system,
                                .n_messages = 1 + (size_t)has_system,
                                .think = o->score ? SG_THINK_OFF : o->think,
                                .add_generation_prompt = true};
    if (!sg_info(r->engine)->template_recognised)
        cli_note("the file's chat template is not one that signum knows; using ChatML");
    return sg_render(r->engine, &c, NULL, NULL, &r->ids, &r->n_ids, err);
}

/* Shows one step. Thinking goes to stderr, dimmed, and only to a terminal. */
static bool show(void *arg, const struct sg_step *step)
{
    struct run *r = arg;
    if (r->o->json) {
        buf_append(&r->answer, step->text.data, step->text.len);
        buf_append(&r->thinking, step->thinking.data, step->thinking.len);
        return true;
    }
    bool tty = isatty(STDERR_FILENO);
    if (step->thinking.len && tty && !r->o->hide_think && !r->o->quiet) {
        bool colour = cli_colour(r->o, tty);
        if (colour)
            fputs("\033[2m", stderr);
        cli_write(stderr, step->thinking.data, step->thinking.len);
        if (colour)
            fputs("\033[0m", stderr);
        r->thinking_shown = true;
    }
    if (step->text.len) {
        if (r->thinking_shown)
            fputs("\n\n", stderr);
        r->thinking_shown = false;
        cli_write(r->out, step->text.data, step->text.len);
        fflush(r->out);
        r->last = step->text.data[step->text.len - 1];
        r->wrote = true;
    }
    return !ferror(r->out); /* full disk: no use going on */
}

static enum sg_status generate(struct run *r, struct sg_error *err)
{
    int64_t start = cli_microseconds();
    TRY(sg_session_open(&r->session, r->engine, r->n_ctx, err));
    TRY(cli_prefill(r->engine, r->session, r->ids, r->n_ids, true, err));
    r->prompt_us = cli_microseconds() - start;
    struct sg_draft *draft = NULL;
    if (r->o->speculation) {
        TRY(sg_draft_open(&draft, r->engine, r->n_ctx, err));
        sg_draft_accept(draft, r->ids, r->n_ids);
    }
    start = cli_microseconds();
    enum sg_status status = sg_generate(r->session, r->reply, draft, show, r, &r->draft, err);
    r->answer_us = cli_microseconds() - start;
    sg_draft_close(draft);
    return status;
}

static double per_second(size_t n, int64_t us) { return us > 0 ? 1e6 * (double)n / (double)us : 0; }

static void put_number(struct buf *b, const char *key, double value)
{
    buf_printf(b, ",\"%s\":", key);
    json_put_double(b, value);
}

static void put_settings(struct buf *b, const struct run *r)
{
    const struct sg_info *i = sg_info(r->engine);
    buf_printf(b, "\"settings\":{\"seed\":%llu,\"defaults\":\"%s\"", (unsigned long long)r->sampling.seed, r->sampling_source);
    settings_put(b, &r->reply_options, r->o, r->n_ctx, true);
    buf_printf(b, ",\"raw\":%s", r->o->raw ? "true" : "false");
    if (r->o->think != SG_THINK_AUTO)
        buf_printf(b, ",\"think\":\"%s\"", options_think_name(r->o->think));
    if (r->form.text[0])
        buf_printf(b, ",\"form\":\"%s\"", r->form.text);
    buf_printf(b, ",\"threads\":%d,\"kernels\":\"%s\"}", i->n_threads, i->kernels);
}

static enum sg_status print_json(struct run *r, struct sg_error *err)
{
    struct sg_reply_counts c;
    sg_reply_counts(r->reply, &c);
    const struct sg_info *i = sg_info(r->engine);
    struct buf b = {0};
    buf_puts(&b, "{\"text\":");
    json_put_string(&b, r->answer.data ? r->answer.data : "", r->answer.len);
    if (c.thinking_tokens) {
        buf_puts(&b, ",\"reasoning\":");
        json_put_string(&b, r->thinking.data ? r->thinking.data : "", r->thinking.len);
    }
    buf_printf(&b, ",\"finish_reason\":\"%s\"", sg_finish_name(c.finish));
    if (c.length_in_thinking)
        buf_puts(&b, ",\"length_in\":\"thinking\"");
    if (c.stop.len) {
        buf_puts(&b, ",\"stop\":");
        json_put_string(&b, c.stop.data, c.stop.len);
    }
    buf_puts(&b, ",\"model\":");
    json_put_string(&b, i->name.data, i->name.len);
    buf_printf(&b, ",\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":%zu,\"reasoning_tokens\":%zu,\"total_tokens\":%zu}", r->n_ids,
               c.answer_tokens + c.thinking_tokens, c.thinking_tokens, r->n_ids + c.answer_tokens + c.thinking_tokens);
    buf_puts(&b, ",\"timings\":{\"prompt_ms\":");
    json_put_double(&b, (double)r->prompt_us / 1000);
    put_number(&b, "prompt_per_second", per_second(r->n_ids, r->prompt_us));
    put_number(&b, "predicted_ms", (double)r->answer_us / 1000);
    put_number(&b, "predicted_per_second", per_second(c.answer_tokens + c.thinking_tokens, r->answer_us));
    if (r->o->speculation)
        buf_printf(&b, ",\"draft_n\":%zu,\"draft_n_accepted\":%zu", r->draft.proposed, r->draft.accepted);
    buf_puts(&b, "},");
    put_settings(&b, r);
    buf_puts(&b, "}\n");
    enum sg_status status = b.failed || r->answer.failed ? fail_memory(err, b.len, "the result") : SG_OK;
    if (status == SG_OK)
        fwrite(b.data, 1, b.len, r->out);
    buf_free(&b);
    return status;
}

static void print_timings(const struct run *r)
{
    struct sg_reply_counts c;
    sg_reply_counts(r->reply, &c);
    size_t n = c.answer_tokens + c.thinking_tokens;
    cli_note("prompt %zu tokens, %.1f ms, %.1f tok/s; answer %zu tokens, %.1f ms, %.2f tok/s; finish: %s; seed %llu; sampling from %s",
             r->n_ids, (double)r->prompt_us / 1000, per_second(r->n_ids, r->prompt_us), n, (double)r->answer_us / 1000,
             per_second(n, r->answer_us), sg_finish_name(c.finish), (unsigned long long)r->sampling.seed, r->sampling_source);
    if (r->o->speculation)
        cli_note("speculation: %zu of %zu guesses were right, %zu evaluations", r->draft.accepted, r->draft.proposed, r->draft.passes);
}

/* --score: no token is sampled, the most probable option is the answer. */
static enum sg_status print_scored(struct run *r, struct choice *choices, size_t n, struct sg_error *err)
{
    size_t best;
    TRY(sg_session_open(&r->session, r->engine, r->n_ctx, err));
    TRY(cli_prefill(r->engine, r->session, r->ids, r->n_ids, true, err));
    TRY(choice_score(r->engine, r->session, choices, n, r->o, &best, err));
    struct sg_str text = choices[best].text;
    if (!r->o->json) {
        cli_write(r->out, text.data, text.len);
        fputc('\n', r->out);
        return cli_flush(r->out, err);
    }
    struct buf b = {0};
    buf_puts(&b, "{\"text\":");
    json_put_string(&b, text.data, text.len);
    buf_puts(&b, ",\"probability\":");
    json_put_double(&b, choices[best].probability);
    buf_putc(&b, ',');
    choice_put(&b, choices, n);
    buf_puts(&b, ",\"model\":");
    json_put_string(&b, sg_info(r->engine)->name.data, sg_info(r->engine)->name.len);
    buf_printf(&b, ",\"usage\":{\"prompt_tokens\":%zu}}\n", r->n_ids);
    enum sg_status status = b.failed ? fail_memory(err, b.len, "the result") : SG_OK;
    if (status == SG_OK)
        fwrite(b.data, 1, b.len, r->out);
    buf_free(&b);
    return status == SG_OK ? cli_flush(r->out, err) : status;
}

static enum sg_status run_scored(struct run *r, struct sg_error *err)
{
    struct choice *choices;
    size_t n;
    if (!r->o->choices.n)
        return fail(err, SG_USAGE, "--score needs --choice");
    if (r->o->think == SG_THINK_ON)
        return fail(err, SG_USAGE, "--score and --think on exclude each other");
    TRY(choice_list(r->o, &choices, &n, err));
    enum sg_status status = print_scored(r, choices, n, err);
    free(choices);
    return status;
}

static enum sg_status run(struct run *r, struct sg_error *err)
{
    struct options *o = r->o;
    TRY(cli_open(&r->engine, o, false, err));
    TRY(make_prompt(r, err));
    TRY(cli_context(r->engine, o, r->n_ids, &r->n_ctx, err));
    TRY(constraint_from_options(r->engine, o, &r->grammar, NULL, &r->form, err));
    if (o->score)
        return run_scored(r, err);
    if (r->grammar)
        TRY(sg_matcher_open(&r->matcher, r->grammar, err));
    r->sampling_source = options_sampling(o, r->engine, &r->sampling);
    if (o->stop_ids)
        TRY(cli_parse_ids(o->stop_ids, &r->stop_ids, err));
    r->reply_options = (struct sg_reply_options){
        .sampling = r->sampling,
        .n_predict = o->n_predict,
        .min_predict = o->min_predict,
        .think_budget = o->think_budget,
        .stop = o->stop.item,
        .n_stop = o->stop.n,
        .stop_ids = r->stop_ids.data,
        .n_stop_ids = r->stop_ids.len,
        .ignore_eos = o->ignore_eos,
        .loop_guard = !o->no_loop_guard,
        .special = o->special,
        .constraint = r->matcher ? sg_matcher_constraint(r->matcher) : NULL,
    };
    TRY(sg_reply_open(&r->reply, r->engine, &r->reply_options, r->ids, r->n_ids, err));
    enum sg_status status = generate(r, err);
    if (r->thinking_shown)
        fputc('\n', stderr);
    if (status == SG_OK && o->json)
        TRY(print_json(r, err));
    else if (!o->json && (status == SG_OK || r->wrote) && r->last != '\n')
        fputc('\n', r->out);
    if (cli_flush(r->out, err) != SG_OK)
        return SG_FAIL;
    if (status == SG_OK && o->verbose)
        print_timings(r);
    if (status == SG_OK && r->matcher) {
        struct sg_reply_counts c;
        sg_reply_counts(r->reply, &c);
        return constraint_verdict(r->matcher, &c, err);
    }
    return status;
}

int cmd_run(struct options *o)
{
    struct run r = {.o = o, .out = stdout};
    struct sg_error err;
    enum sg_status status = SG_OK;
    if (o->output && strcmp(o->output, "-") != 0) {
        r.out = fopen(o->output, "wb");
        char shown[ESCAPED_MAX];
        if (!r.out)
            status = fail(&err, SG_FAIL, "cannot write %s: %s", escaped(shown, o->output, strlen(o->output)), strerror(errno));
    }
    if (status == SG_OK)
        status = run(&r, &err);
    if (status != SG_OK)
        cli_fail(&err);
    sg_reply_close(r.reply);
    sg_matcher_close(r.matcher);
    sg_grammar_close(r.grammar);
    sg_session_close(r.session);
    sg_close(r.engine);
    free(r.ids);
    ids_free(&r.stop_ids);
    buf_free(&r.prompt);
    buf_free(&r.system);
    buf_free(&r.answer);
    buf_free(&r.thinking);
    if (r.out && r.out != stdout)
        fclose(r.out);
    return status;
}
