/* From a conversation to an answer. The context is ids(render(messages)), always; what the
 * session holds of it already is kept. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chat.h"
#include "terminal.h"

/* ----------------------------------------------------------------- rendering */

static struct sg_str str(const char *text) { return (struct sg_str){text, strlen(text)}; }
static struct sg_str buf_str(const struct buf *b) { return (struct sg_str){b->data ? b->data : "", b->len}; }

/* Ids of the system prompt, the messages [first, end) and, if not NULL, one more question,
 * up to where the answer begins. */
static enum sg_status render(const struct chat *chat, size_t end, const char *question, int32_t **ids, size_t *n, struct sg_error *err)
{
    const struct conversation *talk = &chat->talk;
    struct sg_message *messages = malloc((end - talk->first + 2) * sizeof *messages);
    if (!messages)
        return fail_memory(err, (end - talk->first + 2) * sizeof *messages, "the conversation");
    size_t count = 0;
    if (talk->has_system)
        messages[count++] = (struct sg_message){.role = str("system"), .content = buf_str(&talk->system)};
    for (size_t i = talk->first; i < end; i++) {
        const struct message *m = &talk->messages[i];
        messages[count++] = (struct sg_message){
            .role = str(m->from_user ? "user" : "assistant"),
            .content = buf_str(&m->content),
            .reasoning = buf_str(&m->reasoning),
            .has_reasoning = m->has_reasoning,
        };
    }
    if (question)
        messages[count++] = (struct sg_message){.role = str("user"), .content = str(question)};
    struct sg_conversation c = {.messages = messages, .n_messages = count, .think = chat->o->think, .add_generation_prompt = true};
    enum sg_status status = sg_render(chat->engine, &c, NULL, NULL, ids, n, err);
    free(messages);
    return status;
}

/* The beginning of an answer that is to be continued, after the ids of its question. */
static enum sg_status append_answer(const struct chat *chat, const struct message *m, int32_t **ids, size_t *n, struct sg_error *err)
{
    struct buf text = {0};
    if (m->has_reasoning) {
        buf_puts(&text, "<think>\n");
        buf_append(&text, m->reasoning.data, m->reasoning.len);
        if (m->content.len)
            buf_puts(&text, "\n</think>\n\n");
    }
    buf_append(&text, m->content.data, m->content.len);
    int32_t *more = NULL, *joined = NULL;
    size_t n_more = 0;
    enum sg_status status = text.failed ? fail_memory(err, text.len, "the answer")
                                        : sg_tokenize(chat->engine, text.data ? text.data : "", text.len, 0, &more, &n_more, err);
    if (status == SG_OK) {
        joined = realloc(*ids, (*n + n_more + 1) * sizeof *joined);
        if (!joined)
            status = fail_memory(err, (*n + n_more) * sizeof *joined, "the conversation");
    }
    if (joined) {
        memcpy(joined + *n, more, n_more * sizeof *more);
        *ids = joined;
        *n += n_more;
    }
    free(more);
    buf_free(&text);
    return status;
}

/* What comes before the next token of the answer to the last question. */
static enum sg_status render_prompt(const struct chat *chat, bool continues, int32_t **ids, size_t *n, struct sg_error *err)
{
    const struct message *answer = continues ? conversation_answer(&chat->talk) : NULL;
    TRY(render(chat, chat->talk.n - (answer != NULL), NULL, ids, n, err));
    enum sg_status status = answer ? append_answer(chat, answer, ids, n, err) : SG_OK;
    if (status != SG_OK) {
        free(*ids);
        *ids = NULL;
    }
    return status;
}

/* ---------------------------------------------------------------- background */

void chat_settle(struct chat *chat) { reader_stop(&chat->reader, NULL, 0); }

/* Whatever is asked next, the context begins with what two different questions share. */
void chat_reread(struct chat *chat)
{
    int32_t *a = NULL, *b = NULL;
    size_t n_a = 0, n_b = 0, common = 0;
    chat_settle(chat);
    if (render(chat, chat->talk.n, "a", &a, &n_a, NULL) == SG_OK && render(chat, chat->talk.n, "\n", &b, &n_b, NULL) == SG_OK)
        while (common < n_a && common < n_b && a[common] == b[common])
            common++;
    free(b);
    chat->used = common;
    if (chat->interactive && common <= chat->n_ctx)
        reader_start(&chat->reader, a, common);
    else
        free(a);
}

/* ------------------------------------------------------------- a full context */

/* Room that an answer should have at least, before older turns are dropped for it. */
static size_t room_wanted(const struct chat *chat)
{
    size_t quarter = MAX(chat->n_ctx / 4, (size_t)1);
    return chat->o->n_predict >= 0 ? MIN((size_t)chat->o->n_predict, quarter) : quarter;
}

/* What is to be evaluated before the next token. */
struct prompt_ids {
    int32_t *ids;
    size_t n;
    size_t dropped; /* turns that had to leave the context for it */
};

/* Drops the oldest turns until half of the context is free: many at once, because what
 * remains must be read again. */
static enum sg_status drop_turns(struct chat *chat, bool continues, struct prompt_ids *p, struct sg_error *err)
{
    while (p->n > chat->n_ctx / 2 && conversation_forget(&chat->talk, 1) == 1) {
        p->dropped++;
        free(p->ids);
        p->ids = NULL;
        TRY(render_prompt(chat, continues, &p->ids, &p->n, err));
    }
    return SG_OK;
}

/* Renders the prompt and sees to it that it fits, with room for an answer. SG_USAGE: it does
 * not, even alone; the conversation is then as before. */
static enum sg_status fit_prompt(struct chat *chat, bool continues, struct prompt_ids *p, struct sg_error *err)
{
    size_t first = chat->talk.first;
    *p = (struct prompt_ids){0};
    enum sg_status status = render_prompt(chat, continues, &p->ids, &p->n, err);
    if (status == SG_OK && chat->o->ctx_full == CTX_FULL_DROP && p->n + room_wanted(chat) > chat->n_ctx)
        status = drop_turns(chat, continues, p, err);
    if (status == SG_OK && p->n >= chat->n_ctx) {
        size_t over = p->n + 1 - chat->n_ctx;
        if (conversation_live_turns(&chat->talk) > 1)
            status =
                fail(err, SG_USAGE, "the context of %zu tokens is full, by %zu: /undo, /clear or a larger -c make room", chat->n_ctx, over);
        else
            status =
                fail(err, SG_USAGE, "this is too long: with it the conversation has %zu tokens, %zu more than the context of %zu can hold",
                     p->n, over, chat->n_ctx);
    }
    if (status != SG_OK) {
        free(p->ids);
        p->ids = NULL;
        chat->talk.first = first;
    }
    return status;
}

static void record_drop(struct chat *chat, size_t dropped)
{
    struct sg_error err;
    if (dropped == 0)
        return;
    chat_say(chat, "the context of %zu tokens is full: the oldest %s dropped from it (the transcript keeps everything)", chat->n_ctx,
             dropped == 1 ? "turn was" : "turns were");
    if (transcript_event(&chat->log, &chat->talk, "forget", dropped, &err) != SG_OK)
        chat_complain(chat, "%s", err.message);
}

/* --------------------------------------------------------------- the answer */

/* An answer being written. */
struct writing {
    struct chat *chat;
    struct message *message; /* NULL until something is said */
    struct sg_reply *reply;
    struct chat_counts counts;
    size_t content_from, reasoning_from; /* what was there before */
    bool full;                           /* the context */
    bool no_memory;
    const char *finish;
};

static void flush_display(struct chat *chat)
{
    if (chat->display.out.len && !terminal_write(STDOUT_FILENO, chat->display.out.data, chat->display.out.len)) {
        chat->leave = true; /* nobody reads any more */
        chat->status = SG_FAIL;
    }
    chat->display.out.len = 0;
}

/* One step of the answer: kept and shown. */
static bool take_step(void *arg, const struct sg_step *step)
{
    struct writing *w = arg;
    struct chat *chat = w->chat;
    struct sg_reply_counts counts;
    sg_reply_counts(w->reply, &counts);
    bool news = step->text.len + step->thinking.len > 0;
    if (!w->message && news)
        w->message = conversation_add(&chat->talk, false, "", 0);
    if (w->message) {
        buf_append(&w->message->content, step->text.data, step->text.len);
        buf_append(&w->message->reasoning, step->thinking.data, step->thinking.len);
        w->message->has_reasoning |= step->thinking.len > 0;
    }
    w->no_memory = news && (!w->message || w->message->content.failed || w->message->reasoning.failed);
    if (terminal_resized()) {
        size_t height;
        terminal_size(&chat->display.width, &height);
    }
    if (step->thinking.len || (counts.thinking_tokens && !counts.answer_tokens))
        display_think(&chat->display, step->thinking.data, step->thinking.len, counts.thinking_tokens);
    display_answer(&chat->display, step->text.data, step->text.len);
    flush_display(chat);
    return !chat->leave && !w->no_memory;
}

static void show_progress(const struct chat *chat, size_t done, size_t total)
{
    struct buf out = {0};
    buf_printf(&out, chat->display.width < 40 ? "\r%zu%%\x1B[K" : "\rreading: %zu%% of %zu tokens\x1B[K", done * 100 / total, total);
    terminal_write(STDOUT_FILENO, out.data, out.len);
    buf_free(&out);
}

enum {
    PIECE = 128,
    PATIENCE = 500000 /* microseconds without a sign of life */
};

/* Makes the session hold the prompt, with the logits of its last token. */
static enum sg_status read_prompt(struct writing *w, const int32_t *ids, size_t n, struct sg_error *err)
{
    struct chat *chat = w->chat;
    int64_t start = cli_microseconds();
    bool shown = false;
    reader_stop(&chat->reader, ids, n);
    size_t common = MIN(sg_common_prefix(chat->session, ids, n), n - 1);
    sg_rewind(chat->session, common);
    enum sg_status status = SG_OK;
    for (size_t done = common; status == SG_OK && done < n;) {
        size_t now = MIN(n - done, (size_t)PIECE);
        struct sg_feed feed = {.session = chat->session, .ids = ids + done, .n = now, .n_logits = done + now == n};
        status = sg_eval(chat->engine, &feed, 1, err);
        done += status == SG_OK ? now : 0;
        if (chat->interactive && done < n && cli_microseconds() - start > PATIENCE) {
            show_progress(chat, done - common, n - common);
            shown = true;
        }
    }
    if (shown)
        terminal_write(STDOUT_FILENO, "\r\x1B[K", 4);
    w->counts.prompt += sg_length(chat->session) - common;
    w->counts.reused += common;
    w->counts.prompt_us += cli_microseconds() - start;
    return status;
}

/* Writes until the answer ends, is interrupted, or the context is full. */
static enum sg_status write_answer(struct writing *w, const struct prompt_ids *p, struct sg_error *err)
{
    struct chat *chat = w->chat;
    struct sg_draft *draft = chat->o->speculation ? chat->draft : NULL;
    if (draft) {
        sg_draft_reset(draft);
        sg_draft_accept(draft, p->ids, p->n);
    }
    enum sg_status status = sg_generate(chat->session, w->reply, draft, take_step, w, NULL, err);
    struct sg_reply_counts counts;
    sg_reply_counts(w->reply, &counts);
    w->finish = status == SG_INTERRUPTED ? "interrupted" : status != SG_OK ? "error" : sg_finish_name(counts.finish);
    bool limit = chat->o->n_predict >= 0 && w->counts.answer + counts.answer_tokens >= (size_t)chat->o->n_predict;
    w->full = status == SG_OK && counts.finish == SG_FINISH_LENGTH && !limit && sg_length(chat->session) == sg_capacity(chat->session);
    return w->no_memory ? fail_memory(err, w->message ? w->message->content.len : 0, "the answer") : status;
}

static enum sg_status open_reply(struct writing *w, const int32_t *ids, size_t n, struct sg_error *err)
{
    const struct options *o = w->chat->o;
    struct sg_reply_options options = {
        .sampling = w->chat->sampling,
        .attempt = w->message ? w->message->attempt : w->chat->talk.attempt,
        .n_predict = o->n_predict < 0 ? -1 : MAX(o->n_predict - (int64_t)w->counts.answer, 0),
        .think_budget = o->think_budget < 0 ? -1 : MAX(o->think_budget - (int64_t)w->counts.thinking, 0),
        .stop = o->stop.item,
        .n_stop = o->stop.n,
        .ignore_eos = o->ignore_eos,
        .loop_guard = !o->no_loop_guard,
    };
    return sg_reply_open(&w->reply, w->chat->engine, &options, ids, n, err);
}

/* Once through prompt and answer. */
static enum sg_status pass(struct writing *w, const struct prompt_ids *p, struct sg_error *err)
{
    enum sg_status status = read_prompt(w, p->ids, p->n, err);
    int64_t start = cli_microseconds();
    w->full = false;
    if (status == SG_OK)
        status = open_reply(w, p->ids, p->n, err);
    if (status == SG_OK)
        status = write_answer(w, p, err);
    w->counts.answer_us += cli_microseconds() - start;
    if (w->reply) {
        struct sg_reply_counts counts;
        sg_reply_counts(w->reply, &counts);
        w->counts.answer += counts.answer_tokens;
        w->counts.thinking += counts.thinking_tokens;
        sg_reply_close(w->reply);
        w->reply = NULL;
    }
    return status;
}

/* The context was full in the middle of an answer: goes on with it when older turns can be
 * dropped. False: they can not. */
static bool make_room(struct writing *w, struct prompt_ids *p)
{
    struct chat *chat = w->chat;
    if (!w->full || !w->message || chat->o->ctx_full != CTX_FULL_DROP)
        return false;
    free(p->ids);
    if (fit_prompt(chat, true, p, NULL) != SG_OK || p->dropped == 0)
        return false;
    display_pause(&chat->display);
    flush_display(chat);
    record_drop(chat, p->dropped);
    return true;
}

static void add_counts(struct chat_counts *to, const struct chat_counts *from)
{
    to->prompt += from->prompt;
    to->reused += from->reused;
    to->thinking += from->thinking;
    to->answer += from->answer;
    to->prompt_us += from->prompt_us;
    to->answer_us += from->answer_us;
}

static double per_second(size_t n, int64_t us) { return us > 0 ? 1e6 * (double)n / (double)us : 0; }

/* Says why an answer is not whole, if it is not. */
static void explain(struct chat *chat, const struct writing *w, enum sg_status status, const struct sg_error *err)
{
    if (status == SG_INTERRUPTED)
        chat_say(chat, w->message ? "stopped; /continue goes on, /regen tries another" : "stopped; /regen answers it");
    else if (status != SG_OK)
        chat_complain(chat, "%s", err->message);
    else if (w->full)
        chat_say(chat, "stopped: the context of %zu tokens is full", chat->n_ctx);
    else if (strcmp(w->finish, "length") == 0)
        chat_say(chat, "stopped at the limit of %lld tokens (-n); /continue goes on", (long long)chat->o->n_predict);
    else if (strcmp(w->finish, "loop") == 0)
        chat_say(chat, "stopped: the answer began to repeat itself; /regen tries another");
    const struct chat_counts *c = &chat->last;
    if (chat->o->verbose)
        chat_say(chat, "read %zu tokens at %.1f tok/s, %zu reused; wrote %zu at %.1f tok/s", c->prompt, per_second(c->prompt, c->prompt_us),
                 c->reused, c->answer + c->thinking, per_second(c->answer + c->thinking, c->answer_us));
}

static void record_answer(const struct writing *w, bool continues)
{
    struct chat *chat = w->chat;
    w->message->cut = strcmp(w->finish, "stop") != 0;
    struct transcript_answer record = {
        .continues = continues,
        .content_from = w->content_from,
        .reasoning_from = w->reasoning_from,
        .finish = w->finish,
        .seed = chat->sampling.seed,
        .tokens = w->counts.answer + w->counts.thinking,
    };
    struct sg_error err;
    if (transcript_answered(&chat->log, &chat->talk, &record, &err) != SG_OK)
        chat_complain(chat, "%s", err.message);
}

/* Writes the answer to the prompt (whose ids are freed) and keeps it. */
static void answer(struct chat *chat, struct prompt_ids *p, bool continues)
{
    struct writing w = {.chat = chat, .finish = "error"};
    struct sg_error err;
    size_t height;
    if (continues) {
        w.message = conversation_answer(&chat->talk);
        w.content_from = w.message->content.len;
        w.reasoning_from = w.message->reasoning.len;
    }
    record_drop(chat, p->dropped);
    terminal_take_interrupt(); /* one that came before is not meant for this answer */
    terminal_size(&chat->display.width, &height);
    enum sg_status status = pass(&w, p, &err);
    while (status == SG_OK && make_room(&w, p))
        status = pass(&w, p, &err);
    free(p->ids);
    if (w.full)
        w.finish = "length";
    display_end(&chat->display);
    flush_display(chat);
    chat->last = w.counts;
    add_counts(&chat->total, &w.counts);
    if (w.message)
        record_answer(&w, continues);
    if (terminal_quit_signal())
        return;
    explain(chat, &w, status, &err);
    terminal_take_interrupt();
    if (status == SG_INTERRUPTED && !isatty(STDIN_FILENO)) { /* nobody is there to go on */
        chat->leave = true;
        chat->status = SG_INTERRUPTED;
        return;
    }
    chat_reread(chat);
}

void chat_answer(struct chat *chat, bool continues)
{
    struct sg_error err;
    struct prompt_ids p;
    if (fit_prompt(chat, continues, &p, &err) == SG_OK)
        answer(chat, &p, continues);
    else
        chat_complain(chat, "%s", err.message);
}

void chat_ask(struct chat *chat, const char *text, size_t len)
{
    struct sg_error err;
    struct prompt_ids p;
    if (!conversation_add(&chat->talk, true, text, len)) {
        chat_complain(chat, "out of memory for the question");
        return;
    }
    if (fit_prompt(chat, false, &p, &err) != SG_OK) {
        conversation_undo(&chat->talk, 1);
        chat_complain(chat, "%s", err.message);
        return;
    }
    if (transcript_question(&chat->log, &chat->talk, &err) != SG_OK)
        chat_complain(chat, "%s", err.message);
    answer(chat, &p, false);
}
