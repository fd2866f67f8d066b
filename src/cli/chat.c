/* signum chat: opens model, terminal and session, then reads questions and commands until
 * the person leaves or a signal says so. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "chat.h"
#include "terminal.h"

/* ------------------------------------------------------------------- talking */

/* Text as it may be shown: escaped and, if wanted, wrapped on a terminal. */
static void put_shown(const struct chat *chat, struct buf *out, const char *text, size_t len, bool wrap)
{
    size_t height;
    struct display d = {.tty = chat->tty, .wrap = wrap && !chat->o->no_wrap};
    terminal_size(&d.width, &height);
    display_answer(&d, text, len);
    display_end(&d);
    buf_append(out, d.out.data, d.out.len);
    display_free(&d);
}

/* A sentence on the screen, or on stderr. */
static void say(const struct chat *chat, bool complaint, const char *format, va_list args)
{
    char sentence[2048];
    int n = vsnprintf(sentence, sizeof sentence, format, args);
    if (!chat->interactive) {
        (complaint ? cli_error : cli_note)("%s", sentence);
        return;
    }
    if (n < 0 || (chat->o->quiet && !complaint))
        return;
    struct buf out = {0};
    if (chat->display.colour)
        buf_puts(&out, "\x1B[2m");
    put_shown(chat, &out, sentence, strlen(sentence), true);
    if (chat->display.colour) {
        out.len -= out.len > 0; /* the newline comes after the colour */
        buf_puts(&out, "\x1B[0m\n");
    }
    terminal_write(STDOUT_FILENO, out.data, out.len);
    buf_free(&out);
}

void chat_say(const struct chat *chat, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(chat, false, format, args);
    va_end(args);
}

void chat_complain(struct chat *chat, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(chat, true, format, args);
    va_end(args);
    if (!chat->interactive)
        chat->status = SG_FAIL;
}

void chat_print(struct chat *chat, const struct buf *text, bool wrap)
{
    struct buf out = {0};
    put_shown(chat, &out, text->data ? text->data : "", text->len, wrap);
    if (!terminal_write(STDOUT_FILENO, out.data, out.len)) {
        chat->leave = true;
        chat->status = SG_FAIL;
    }
    buf_free(&out);
}

/* ------------------------------------------------------------------ sessions */

static const char *model_name(const struct chat *chat, char shown[ESCAPED_MAX])
{
    struct sg_str name = sg_info(chat->engine)->name;
    return escaped(shown, name.data, name.len);
}

static const char *log_model(struct chat *chat)
{
    static char shown[ESCAPED_MAX];
    return model_name(chat, shown);
}

static bool saves(const struct chat *chat) { return chat->sessions.len > 0; }

void chat_end_session(struct chat *chat)
{
    chat_settle(chat);
    chat_cache_save(chat);
    transcript_close(&chat->log);
}

/* Ends the present session and takes over an opened transcript and what was in it. */
static void adopt(struct chat *chat, struct transcript *log, struct conversation *talk)
{
    chat_end_session(chat);
    conversation_free(&chat->talk);
    chat->log = *log;
    chat->talk = *talk;
    chat->attached.len = 0;
    chat_cache_load(chat);
    if (chat->log.repaired || chat->log.skipped)
        chat_say(chat, "the transcript was damaged: %zu lines were passed over%s", chat->log.skipped,
                 chat->log.repaired ? ", the last one was cut off by a crash" : "");
}

/* Shows where the conversation stands. */
static void show_end(struct chat *chat)
{
    const struct conversation *talk = &chat->talk;
    size_t turns = conversation_turns(talk), from = talk->n;
    struct buf out = {0};
    chat_say(chat, "session %s: %zu %s", chat->log.name.data, turns, turns == 1 ? "turn" : "turns");
    while (from > 0 && !talk->messages[from - 1].from_user)
        from--;
    from -= from > 0;
    for (size_t i = from; chat->interactive && i < talk->n; i++) {
        const struct message *m = &talk->messages[i];
        if (m->from_user) {
            buf_puts(&out, "> ");
            buf_append(&out, m->content.data, m->content.len);
            chat_print(chat, &out, true);
        } else {
            size_t height;
            terminal_size(&chat->display.width, &height);
            display_answer(&chat->display, m->content.data, m->content.len);
            display_end(&chat->display);
            terminal_write(STDOUT_FILENO, chat->display.out.data, chat->display.out.len);
            chat->display.out.len = 0;
        }
    }
    buf_free(&out);
    if (conversation_question(talk))
        chat_say(chat, "the last question has no answer yet: /regen answers it");
    else if (talk->n && conversation_answer(talk)->cut)
        chat_say(chat, "the last answer is not whole: /continue goes on with it");
}

enum sg_status chat_load(struct chat *chat, const char *name, struct sg_error *err)
{
    struct transcript log;
    struct conversation talk = {0};
    struct session_entry *list = NULL;
    size_t n = 0;
    if (!saves(chat))
        return fail(err, SG_USAGE, "sessions are not kept here (--no-save)");
    if (!name) {
        TRY(sessions_list(chat->sessions.data, &list, &n, err));
        if (n == 0)
            return fail(err, SG_USAGE, "there is no session yet to go on with");
        name = list[0].name;
    }
    enum sg_status status = transcript_open(&log, chat->sessions.data, name, log_model(chat), &talk, err);
    sessions_free(list, n);
    if (status != SG_OK) {
        conversation_free(&talk);
        return status;
    }
    adopt(chat, &log, &talk);
    show_end(chat);
    chat_reread(chat);
    return SG_OK;
}

void chat_begin_session(struct chat *chat)
{
    struct transcript log;
    struct conversation talk = {0};
    const struct conversation *old = &chat->talk;
    if (old->has_system)
        conversation_set_system(&talk, old->system.data ? old->system.data : "", old->system.len);
    transcript_begin(&log, saves(chat) ? chat->sessions.data : NULL, NULL, log_model(chat));
    adopt(chat, &log, &talk);
    chat_reread(chat);
}

/* ------------------------------------------------------------------- opening */

/* Folders for sessions and history; without them the chat goes on and says so. */
static void open_folders(struct chat *chat, struct buf *history)
{
    struct sg_error err;
    if (chat->o->no_save)
        return;
    if (state_folder(&chat->sessions, "sessions", &err) != SG_OK || state_folder(&chat->caches, "kv", &err) != SG_OK ||
        state_folder(history, NULL, &err) != SG_OK) {
        int status = chat->status;
        chat_complain(chat, "nothing will be saved: %s", err.message);
        chat->status = status; /* answers are given all the same */
        buf_free(&chat->sessions);
        buf_free(&chat->caches);
        buf_free(history);
        return;
    }
    buf_puts(history, "/history");
}

static enum sg_status set_system(struct chat *chat, struct sg_error *err)
{
    struct buf text = {0};
    bool given;
    enum sg_status status = cli_system(chat->o, &text, &given, err);
    if (status == SG_OK && given) {
        conversation_set_system(&chat->talk, text.data ? text.data : "", text.len);
        status = transcript_system(&chat->log, &chat->talk, err);
    }
    buf_free(&text);
    return status;
}

/* The session that the flags ask for, or a new one. */
static enum sg_status open_session(struct chat *chat, struct sg_error *err)
{
    const struct options *o = chat->o;
    if (o->session && o->continue_last)
        return fail(err, SG_USAGE, "--continue is the last session, --session NAME another: give one of them");
    if ((o->session || o->continue_last) && !saves(chat))
        return fail(err, SG_USAGE, "sessions are not kept with --no-save");
    if (o->session)
        TRY(session_name_check(o->session, err));
    if (o->continue_last || (o->session && session_exists(chat->sessions.data, o->session)))
        TRY(chat_load(chat, o->session, err));
    else
        transcript_begin(&chat->log, saves(chat) ? chat->sessions.data : NULL, o->session, log_model(chat));
    return set_system(chat, err);
}

static void put_count(struct buf *b, double n)
{
    if (n >= 1e9)
        buf_printf(b, "%.1fB", n / 1e9);
    else if (n >= 1e6)
        buf_printf(b, "%.0fM", n / 1e6);
    else
        buf_printf(b, "%.0fK", n / 1e3);
}

/* One line: model, size, context, threads, kernel. */
static void introduce(struct chat *chat)
{
    const struct sg_info *info = sg_info(chat->engine);
    char name[ESCAPED_MAX];
    struct buf line = {0};
    if (!chat->interactive)
        return;
    buf_printf(&line, "%s: ", info->name.len ? model_name(chat, name) : "unnamed model");
    put_count(&line, (double)info->n_params);
    buf_printf(&line, " in %.0f MB, context %zu, %d thread%s, %s. /help helps.", (double)info->file_bytes / 1e6, chat->n_ctx,
               info->n_threads, info->n_threads == 1 ? "" : "s", info->kernels);
    if (!line.failed)
        chat_say(chat, "%s", line.data);
    buf_free(&line);
    if (!info->template_recognised)
        chat_say(chat, "the file's chat template is not one that signum knows; using ChatML");
}

void chat_apply_options(struct chat *chat)
{
    struct sg_error err;
    options_sampling(chat->o, chat->engine, &chat->sampling);
    if (chat->o->speculation && !chat->draft && sg_draft_open(&chat->draft, chat->engine, chat->n_ctx, &err) != SG_OK)
        chat_complain(chat, "%s", err.message);
    chat->display.wrap = !chat->o->no_wrap;
    chat->display.colour = chat->display.codes && cli_colour(chat->o, true);
    terminal_colours(chat->display.colour);
    if (chat->o->hide_think)
        chat->display.thinking = DISPLAY_THINKING_HIDE;
    else if (chat->display.thinking == DISPLAY_THINKING_HIDE)
        chat->display.thinking = DISPLAY_THINKING_SHOW;
}

static enum sg_status open_chat(struct chat *chat, struct sg_error *err)
{
    struct options *o = chat->o;
    const char *term = getenv("TERM");
    chat->interactive = terminal_open(&cli_interrupted);
    cli_before_dying = terminal_restore;
    chat->tty = isatty(STDOUT_FILENO);
    terminal_set_mode(TERMINAL_BUSY);
    chat->display.tty = chat->tty;
    chat->display.codes = chat->tty && term && *term && strcmp(term, "dumb") != 0;
    TRY(cli_open(&chat->engine, o, false, err));
    if (o->think == SG_THINK_ON && !sg_info(chat->engine)->can_think)
        return fail(err, SG_USAGE, "this model's chat template (%s) has no thinking to turn on", sg_info(chat->engine)->template_kind);
    TRY(cli_context(chat->engine, o, 0, &chat->n_ctx, err));
    TRY(sg_session_open(&chat->session, chat->engine, chat->n_ctx, err));
    chat->reader = (struct reader){.engine = chat->engine, .session = chat->session, .interrupt = &cli_interrupted};
    chat_apply_options(chat);
    introduce(chat);
    struct buf history = {0};
    open_folders(chat, &history);
    input_open(&chat->input, chat->interactive, history.data, chat_complete, chat);
    buf_free(&history);
    TRY(open_session(chat, err));
    chat_reread(chat);
    return SG_OK;
}

static void close_chat(struct chat *chat)
{
    if (chat->session)
        chat_end_session(chat);
    terminal_restore();
    input_close(&chat->input);
    conversation_free(&chat->talk);
    display_free(&chat->display);
    buf_free(&chat->sessions);
    buf_free(&chat->caches);
    buf_free(&chat->attached);
    for (size_t i = 0; i < chat->n_kept; i++)
        free(chat->kept[i]);
    free(chat->kept);
    sg_draft_close(chat->draft);
    sg_session_close(chat->session);
    sg_close(chat->engine);
}

/* ------------------------------------------------------------------- reading */

static bool is_blank(const struct buf *text)
{
    size_t i = 0;
    while (i < text->len && strchr(" \t\r\n", text->data[i]) && text->data[i])
        i++;
    return i == text->len;
}

/* A question, with the files that were read for it before it. */
static void ask(struct chat *chat, const struct buf *text)
{
    struct buf whole = {0};
    buf_append(&whole, chat->attached.data, chat->attached.len);
    buf_append(&whole, text->data, text->len);
    chat->attached.len = 0;
    if (whole.failed)
        chat_complain(chat, "out of memory for the question");
    else
        chat_ask(chat, whole.data, whole.len);
    buf_free(&whole);
}

static void handle(struct chat *chat, const struct buf *text)
{
    if (text->failed)
        chat_complain(chat, "out of memory for what was entered");
    else if (is_blank(text))
        return;
    else if (chat_is_command(text->data, text->len))
        chat_command(chat, text->data, text->len);
    else
        ask(chat, text);
}

static void loop(struct chat *chat)
{
    struct buf text = {0};
    char first[32];
    int interrupts = 0; /* in a row */
    while (!chat->leave) {
        size_t percent = chat->used * 100 / chat->n_ctx;
        if (percent >= 75)
            snprintf(first, sizeof first, "[%zu%%] > ", MIN(percent, (size_t)100));
        else
            strcpy(first, "> ");
        switch (input_read(&chat->input, &(struct prompt){first, ". "}, &text)) {
        case INPUT_TEXT:
            interrupts = 0;
            handle(chat, &text);
            break;
        case INPUT_INTERRUPTED:
            interrupts = text.len ? 1 : interrupts + 1; /* ^C that clears a line is the first of two */
            if (interrupts > 1 || !isatty(STDIN_FILENO)) {
                chat->status = SG_INTERRUPTED;
                chat->leave = true;
            } else {
                chat_say(chat, "^C again, or ^D, leaves");
            }
            terminal_take_interrupt();
            break;
        case INPUT_END:
        case INPUT_QUIT:
            chat->leave = true;
            break;
        }
        if (terminal_quit_signal())
            chat->leave = true;
    }
    buf_free(&text);
}

int cmd_chat(struct options *o)
{
    struct chat chat = {.o = o, .log = {.fd = -1}};
    struct sg_error err;
    enum sg_status status = open_chat(&chat, &err);
    if (status == SG_OK && terminal_take_interrupt())
        status = fail(&err, SG_INTERRUPTED, "interrupted");
    if (status != SG_OK) {
        close_chat(&chat);
        return cli_fail(&err);
    }
    struct buf words = {0};
    for (int i = 0; i < o->n_words; i++)
        buf_printf(&words, "%s%s", i ? " " : "", o->words[i]);
    if (words.len)
        handle(&chat, &words);
    buf_free(&words);
    loop(&chat);
    close_chat(&chat);
    if (terminal_quit_signal())
        terminal_die(terminal_quit_signal());
    return chat.status;
}
