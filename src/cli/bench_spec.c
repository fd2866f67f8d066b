/* signum bench --spec FILE: what guessing from the context gains on a given text. The file's
 * answer is forced token by token, as if the model had chosen it, so that a model of any kind
 * and size, random weights too, shows how many guesses are right in real text and what the
 * evaluations of several rows cost. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "constraint.h"
#include "file.h"

/* The text to be said. */
struct script {
    int32_t *ids;
    size_t n, at, n_vocab;
    const struct sg_constraint *form; /* what the answer would be held to; NULL: free */
};

static bool only_next(void *arg, uint32_t *bits)
{
    const struct script *s = arg;
    if (s->at == s->n)
        return false;
    memset(bits, 0, DIV_UP(s->n_vocab, (size_t)32) * sizeof *bits);
    bits[s->ids[s->at] / 32] = 1u << s->ids[s->at] % 32;
    return true;
}

static void said(void *arg, int32_t id)
{
    struct script *s = arg;
    if (s->form)
        s->form->accept(s->form->arg, id);
    s->at++;
}

static size_t expected(void *arg, char *text, size_t max)
{
    const struct script *s = arg;
    return s->form ? s->form->expect(s->form->arg, text, max) : 0;
}

static bool go_on(void *arg, const struct sg_step *step)
{
    (void)arg;
    (void)step;
    return true;
}

struct trial {
    const struct options *o;
    struct sg_engine *engine;
    int32_t *prompt;
    size_t n_prompt;
    struct script answer;
    struct sg_session *session; /* holds the prompt */
    struct sg_grammar *grammar; /* NULL: none was asked for */
    double *plain, *guessed;    /* (repetitions) seconds */
    struct sg_draft_counts counts;
};

/* The file is the prompt, a line "=====" and the answer. */
static enum sg_status read_text(struct trial *t, struct sg_error *err)
{
    static const char line[] = "\n=====\n";
    struct buf text = {0}; /* its last newline ends the file, not the answer */
    enum sg_status status = file_read(&text, t->o->bench_spec, (size_t)1 << 24, err);
    if (text.len > 0 && text.data[text.len - 1] == '\n')
        text.len--;
    buf_putc(&text, '\0');
    if (status == SG_OK && text.failed)
        status = fail_memory(err, text.len, "the text");
    const char *cut = status == SG_OK ? strstr(text.data, line) : NULL;
    if (status == SG_OK && !cut)
        status = fail(err, SG_USAGE, "\"%.200s\" has no line ===== between prompt and answer", t->o->bench_spec);
    if (status == SG_OK)
        status = sg_tokenize(t->engine, text.data, (size_t)(cut - text.data), 0, &t->prompt, &t->n_prompt, err);
    if (status == SG_OK)
        status = sg_tokenize(t->engine, cut + strlen(line), strlen(cut + strlen(line)), 0, &t->answer.ids, &t->answer.n, err);
    if (status == SG_OK && (t->n_prompt == 0 || t->answer.n < 2))
        status = fail(err, SG_USAGE, "\"%.200s\" has no prompt, or an answer of less than two tokens", t->o->bench_spec);
    buf_free(&text);
    return status;
}

/* Says the answer once, with or without guessing; a fresh learner each time, as in `run`. */
static enum sg_status say(struct trial *t, bool guess, double *seconds, struct sg_error *err)
{
    const struct sg_constraint only = {.arg = &t->answer, .mask = only_next, .accept = said, .expect = expected};
    struct sg_matcher *matcher = NULL;
    struct sg_reply_options options = {.n_predict = (int64_t)t->answer.n, .think_budget = -1, .constraint = &only};
    sg_sampling_defaults(t->engine, &options.sampling);
    options.sampling.temperature = 0;
    struct sg_session *session = NULL;
    struct sg_reply *reply = NULL;
    struct sg_draft *draft = NULL;
    size_t n_ctx = t->n_prompt + t->answer.n;
    t->answer.at = 0;
    /* The last token again, for its logits. */
    enum sg_status status = sg_fork(&session, t->session, t->n_prompt - 1, n_ctx, err);
    if (status == SG_OK)
        status = cli_prefill(t->engine, session, t->prompt + t->n_prompt - 1, 1, false, err);
    if (status == SG_OK && t->grammar)
        status = sg_matcher_open(&matcher, t->grammar, err);
    t->answer.form = matcher ? sg_matcher_constraint(matcher) : NULL;
    if (status == SG_OK)
        status = sg_reply_open(&reply, t->engine, &options, t->prompt, t->n_prompt, err);
    if (status == SG_OK && guess) {
        status = sg_draft_open(&draft, t->engine, n_ctx, err);
        if (status == SG_OK)
            sg_draft_accept(draft, t->prompt, t->n_prompt);
    }
    if (status == SG_OK) {
        int64_t start = cli_microseconds();
        status = sg_generate(session, reply, draft, go_on, NULL, guess ? &t->counts : NULL, err);
        *seconds = 1e-6 * (double)(cli_microseconds() - start);
    }
    if (status == SG_OK && matcher && !sg_matcher_complete(matcher, NULL))
        status = fail(err, SG_USAGE, "the answer in \"%.200s\" does not have the form that was asked for", t->o->bench_spec);
    sg_matcher_close(matcher);
    sg_draft_close(draft);
    sg_reply_close(reply);
    sg_session_close(session);
    return status;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, size_t n)
{
    qsort(x, n, sizeof *x, ascending);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

static enum sg_status run_trials(struct trial *t, struct sg_error *err)
{
    size_t runs = (size_t)t->o->repetitions;
    double unused;
    TRY(sg_session_open(&t->session, t->engine, t->n_prompt, err));
    TRY(cli_prefill(t->engine, t->session, t->prompt, t->n_prompt, true, err));
    TRY(say(t, true, &unused, err)); /* what comes first is slower */
    for (size_t i = 0; i < runs; i++) {
        cli_progress("runs", i, runs);
        TRY(say(t, false, &t->plain[i], err)); /* in turn: both see the same neighbours */
        TRY(say(t, true, &t->guessed[i], err));
    }
    cli_progress("runs", runs, runs);
    double tokens = (double)t->answer.n, plain = median(t->plain, runs), guessed = median(t->guessed, runs);
    printf("| text                           | threads | prompt | answer | plain t/s | --spec ngram t/s | ratio | evaluations | guesses | "
           "right |\n"
           "| ------------------------------ | ------: | -----: | -----: | --------: | ---------------: | ----: | ----------: | ------: | "
           "----: |\n"
           "| %-30s | %7d | %6zu | %6zu | %9.2f | %16.2f | %5.2f | %11zu | %7zu | %5zu |\n",
           t->o->bench_spec, sg_info(t->engine)->n_threads, t->n_prompt, t->answer.n, tokens / plain, tokens / guessed, plain / guessed,
           t->counts.passes, t->counts.proposed, t->counts.accepted);
    return cli_flush(stdout, err);
}

enum sg_status bench_speculation(struct options *o, struct sg_error *err)
{
    if (o->n_words > 1 || (o->n_words && o->model))
        return fail(err, SG_USAGE, "one model at a time");
    if (o->n_words)
        o->model = o->words[0];
    struct trial t = {.o = o};
    size_t bytes = (size_t)o->repetitions * sizeof *t.plain;
    TRY(cli_open(&t.engine, o, false, err));
    t.answer.n_vocab = sg_info(t.engine)->n_vocab;
    t.plain = malloc(bytes);
    t.guessed = malloc(bytes);
    enum sg_status status = t.plain && t.guessed ? read_text(&t, err) : fail_memory(err, bytes, "results");
    if (status == SG_OK)
        status = constraint_from_options(t.engine, o, &t.grammar, NULL, NULL, err);
    if (status == SG_OK)
        status = run_trials(&t, err);
    sg_session_close(t.session);
    sg_grammar_close(t.grammar);
    free(t.plain);
    free(t.guessed);
    free(t.prompt);
    free(t.answer.ids);
    sg_close(t.engine);
    return status;
}
