/* What begins with a slash. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cells.h"
#include "chat.h"
#include "file.h"
#include "json.h"
#include "terminal.h"
#include "utf8.h"

/* argument: what follows the name, without blanks at either end; terminated. */
typedef void command_fn(struct chat *chat, const char *argument);

struct slash {
    const char *names; /* separated by spaces, the first is shown */
    const char *argument;
    const char *summary; /* in the list of /help */
    const char *detail;  /* in /help NAME; may be NULL */
    command_fn *run;
};

static const struct slash slashes[];
static size_t n_slashes(void);

/* ------------------------------------------------------------------ the turn */

static void do_regen(struct chat *chat, const char *argument)
{
    struct options *before = chat->o, changed = *chat->o;
    struct sg_error err;
    char words[256], *save = NULL;
    if (chat->talk.n == 0) {
        chat_complain(chat, "there is nothing to answer yet");
        return;
    }
    /* Settings for this answer alone: /regen --temp 1 */
    if (strlen(argument) >= sizeof words) {
        chat_complain(chat, "too many settings");
        return;
    }
    strcpy(words, argument);
    for (char *name = strtok_r(words, " \t=", &save); name; name = strtok_r(NULL, " \t=", &save)) {
        const char *value = strtok_r(NULL, " \t=", &save);
        if (!value || options_fixed(&changed, name) || options_set(&changed, name, value, &err) != SG_OK) {
            chat_complain(chat, "%s",
                          !value                          ? "/regen takes settings as --temp 1"
                          : options_fixed(&changed, name) ? "that can only be given at the start"
                                                          : err.message);
            return;
        }
    }
    if (conversation_drop_answer(&chat->talk) && transcript_event(&chat->log, &chat->talk, "regen", 0, &err) != SG_OK)
        chat_complain(chat, "%s", err.message);
    chat->o = &changed;
    chat_apply_options(chat);
    chat_answer(chat, false);
    chat->o = before;
    chat_apply_options(chat);
}

static void do_undo(struct chat *chat, const char *argument)
{
    char *end;
    long n = *argument ? strtol(argument, &end, 10) : 1;
    struct sg_error err;
    if (n < 1 || (*argument && *end)) {
        chat_complain(chat, "/undo takes the number of turns to take back");
        return;
    }
    size_t undone = conversation_undo(&chat->talk, (size_t)n);
    if (undone == 0) {
        chat_complain(chat, "there is nothing to take back");
        return;
    }
    if (transcript_event(&chat->log, &chat->talk, "undo", undone, &err) != SG_OK)
        chat_complain(chat, "%s", err.message);
    chat_reread(chat);
    size_t left = conversation_turns(&chat->talk);
    if (undone < (size_t)n) /* said even with -q: it is not what was asked for */
        chat_complain(chat, "there %s only %zu turn%s, now taken back", undone == 1 ? "was" : "were", undone, undone == 1 ? "" : "s");
    else
        chat_say(chat, "took back %zu turn%s; %zu %s left", undone, undone == 1 ? "" : "s", left, left == 1 ? "is" : "are");
}

static void do_continue(struct chat *chat, const char *argument)
{
    (void)argument;
    const struct message *answer = conversation_answer(&chat->talk);
    if (conversation_question(&chat->talk))
        chat_answer(chat, false);
    else if (!answer)
        chat_complain(chat, "there is no answer to go on with");
    else if (!answer->cut)
        chat_complain(chat, "the last answer is whole; /regen tries another");
    else
        chat_answer(chat, true);
}

static void do_edit(struct chat *chat, const char *argument)
{
    (void)argument;
    struct sg_error err;
    struct buf text = {0};
    const struct conversation *talk = &chat->talk;
    size_t i = talk->n;
    while (i > 0 && !talk->messages[i - 1].from_user)
        i--;
    const struct message *old = i > 0 ? &talk->messages[i - 1] : NULL;
    if (!chat->interactive) {
        chat_complain(chat, "/edit needs a terminal");
        return;
    }
    if (old)
        buf_append(&text, old->content.data, old->content.len);
    terminal_set_mode(TERMINAL_NORMAL);
    enum sg_status status = edit_text(&text, &err);
    terminal_set_mode(TERMINAL_BUSY);
    if (status != SG_OK) {
        chat_complain(chat, "%s", err.message);
    } else if (text.len == 0) {
        chat_say(chat, "the text is empty: nothing is changed");
    } else if (old && text.len == old->content.len && memcmp(text.data, old->content.data, text.len) == 0) {
        chat_say(chat, "the text is as before: nothing is changed");
    } else {
        if (old) {
            conversation_undo(&chat->talk, 1);
            if (transcript_event(&chat->log, &chat->talk, "undo", 1, &err) != SG_OK)
                chat_complain(chat, "%s", err.message);
        }
        buf_puts(&text, "");
        struct buf shown = {0};
        buf_printf(&shown, "> %s\n", text.data);
        chat_print(chat, &shown, false);
        buf_free(&shown);
        chat_ask(chat, text.data, text.len);
    }
    buf_free(&text);
}

/* --------------------------------------------------------------------- files */

/* "~/x" is in the home folder. Quotes around a whole path are dropped. */
static void put_expanded(struct buf *out, const char *path)
{
    const char *home = getenv("HOME");
    size_t len = strlen(path);
    if (len >= 2 && (path[0] == '"' || path[0] == '\'') && path[len - 1] == path[0]) {
        path++;
        len -= 2;
    }
    if (home && len >= 1 && path[0] == '~' && (len == 1 || path[1] == '/')) {
        buf_puts(out, home);
        path++;
        len--;
    }
    buf_append(out, path, len);
}

enum {
    ATTACH_MAX = 16 << 20
};

static size_t count_tokens(const struct chat *chat, const char *text, size_t len)
{
    int32_t *ids;
    size_t n;
    if (sg_tokenize(chat->engine, text, len, 0, &ids, &n, NULL) != SG_OK)
        return 0;
    free(ids);
    return n;
}

/* A fence longer than any run of backticks in the text. */
static size_t fence_length(const struct buf *text)
{
    size_t longest = 2, run = 0;
    for (size_t i = 0; i < text->len; i++) {
        run = text->data[i] == '`' ? run + 1 : 0;
        longest = MAX(longest, run);
    }
    return longest + 1;
}

/* Puts a file before the next question. */
static bool attach(struct chat *chat, const char *path)
{
    struct sg_error err;
    struct buf text = {0};
    char shown[ESCAPED_MAX];
    escaped(shown, path, strlen(path));
    bool ok = false;
    if (strcmp(path, "-") == 0) {
        chat_complain(chat, "/read reads files");
    } else if (file_read(&text, path, ATTACH_MAX, &err) != SG_OK) {
        chat_complain(chat, "%s", err.message);
    } else if (text.len && memchr(text.data, 0, text.len)) {
        chat_complain(chat, "%s is not a text", shown);
    } else {
        size_t n = count_tokens(chat, text.data ? text.data : "", text.len);
        if (n >= chat->n_ctx) {
            chat_complain(chat, "%s has %zu tokens, %zu more than the context of %zu can hold", shown, n, n + 1 - chat->n_ctx, chat->n_ctx);
        } else {
            size_t fence = fence_length(&text);
            buf_printf(&chat->attached, "File %s:\n", path);
            for (size_t i = 0; i < fence; i++)
                buf_putc(&chat->attached, '`');
            buf_putc(&chat->attached, '\n');
            buf_append(&chat->attached, text.data, text.len);
            if (text.len && text.data[text.len - 1] != '\n')
                buf_putc(&chat->attached, '\n');
            for (size_t i = 0; i < fence; i++)
                buf_putc(&chat->attached, '`');
            buf_puts(&chat->attached, "\n\n");
            chat_say(chat, "%s: %zu tokens, goes before your next message", shown, n);
            ok = true;
        }
    }
    buf_free(&text);
    return ok;
}

static void do_read(struct chat *chat, const char *argument)
{
    struct buf path = {0};
    if (!*argument && chat->attached.len) {
        chat->attached.len = 0;
        chat_say(chat, "the files that were read are dropped");
        return;
    }
    if (!*argument) {
        chat_complain(chat, "/read FILE puts a file before your next message");
        return;
    }
    put_expanded(&path, argument);
    if (path.data)
        attach(chat, path.data);
    buf_free(&path);
}

static void do_glob(struct chat *chat, const char *argument)
{
    struct buf pattern = {0};
    glob_t found;
    if (!*argument) {
        chat_complain(chat, "/glob PATTERN puts all files that match before your next message");
        return;
    }
    put_expanded(&pattern, argument);
    int result = pattern.data ? glob(pattern.data, GLOB_MARK, NULL, &found) : GLOB_NOSPACE;
    buf_free(&pattern);
    if (result != 0) {
        chat_complain(chat, result == GLOB_NOMATCH ? "no file matches" : "the pattern can not be followed");
        return;
    }
    size_t n = 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *path = found.gl_pathv[i];
        if (path[strlen(path) - 1] != '/') /* a folder */
            n += attach(chat, path);
    }
    chat_say(chat, "%zu of %zu files read", n, (size_t)found.gl_pathc);
    globfree(&found);
}

/* ------------------------------------------------------------------ settings */

static void do_system(struct chat *chat, const char *argument)
{
    struct conversation *talk = &chat->talk;
    struct sg_error err;
    if (!*argument) {
        struct buf out = {0};
        if (talk->has_system)
            buf_append(&out, talk->system.data, talk->system.len);
        buf_puts(&out, talk->has_system ? "\n" : "there is no system prompt\n");
        chat_print(chat, &out, false);
        buf_free(&out);
        return;
    }
    bool none = strcmp(argument, "none") == 0;
    conversation_set_system(talk, none ? NULL : argument, none ? 0 : strlen(argument));
    if (transcript_system(&chat->log, talk, &err) != SG_OK)
        chat_complain(chat, "%s", err.message);
    chat_reread(chat);
    chat_say(chat, none ? "the system prompt is removed" : "the system prompt is set");
}

/* Options keep pointers to their values. */
static const char *keep(struct chat *chat, const char *text)
{
    char **grown = realloc(chat->kept, (chat->n_kept + 1) * sizeof *grown);
    if (grown)
        chat->kept = grown;
    char *copy = grown ? strdup(text) : NULL;
    if (copy)
        chat->kept[chat->n_kept++] = copy;
    return copy;
}

static void set(struct chat *chat, const char *name, const char *value)
{
    struct sg_error err;
    struct options before = *chat->o;
    const char *bare = name + strspn(name, "-");
    if (strncmp(bare, "sys", 3) == 0 && (strcmp(bare, "sys") == 0 || strncmp(bare, "system", 6) == 0)) {
        do_system(chat, value);
        return;
    }
    if (options_fixed(chat->o, name)) {
        chat_complain(chat, "%s can only be given at the start", bare);
        return;
    }
    const char *kept = keep(chat, value);
    if (!kept || options_set(chat->o, name, kept, &err) != SG_OK) {
        *chat->o = before;
        chat_complain(chat, "%s", kept ? err.message : "out of memory");
        return;
    }
    if (chat->o->think == SG_THINK_ON && !sg_info(chat->engine)->can_think) {
        *chat->o = before;
        chat_complain(chat, "this model's chat template (%s) has no thinking to turn on", sg_info(chat->engine)->template_kind);
        return;
    }
    chat_apply_options(chat);
    chat_reread(chat);
    chat_say(chat, "%s is %s", bare, kept);
}

static void do_set(struct chat *chat, const char *argument)
{
    char name[64];
    size_t len = strcspn(argument, " \t=");
    const char *value = argument + len;
    value += strspn(value, " \t=");
    if (len == 0 || len >= sizeof name || !*value) {
        chat_complain(chat, "/set NAME VALUE, as in /set temp 0.5; /show lists names and values");
        return;
    }
    snprintf(name, sizeof name, "%.*s", (int)len, argument);
    set(chat, name, value);
}

static void do_show(struct chat *chat, const char *argument)
{
    struct buf all = {0}, out = {0};
    const char *bare = argument + strspn(argument, "-");
    size_t len = strlen(bare);
    struct options effective = *chat->o; /* and what stands in for flags that were not given */
    effective.model = cli_model_path(chat->o);
    effective.n_ctx = (int64_t)chat->n_ctx;
    effective.n_threads = sg_info(chat->engine)->n_threads;
    options_show(&effective, &chat->sampling, &all);
    for (size_t i = 0; i < all.len;) {
        const char *end = memchr(all.data + i, '\n', all.len - i);
        size_t line = end ? (size_t)(end - all.data) - i + 1 : all.len - i;
        if (len == 0 || (line > len && strncmp(all.data + i, bare, len) == 0))
            buf_append(&out, all.data + i, line);
        i += line;
    }
    if (out.len)
        chat_print(chat, &out, true);
    else
        chat_complain(chat, "there is no setting \"%s\"", bare);
    buf_free(&all);
    buf_free(&out);
}

static void do_think(struct chat *chat, const char *argument)
{
    static const char *const ways[] = {
        [DISPLAY_THINKING_SHOW] = "show", [DISPLAY_THINKING_COUNT] = "count", [DISPLAY_THINKING_HIDE] = "hide"};
    static const char *const words[] = {[SG_THINK_AUTO] = "auto", [SG_THINK_ON] = "on", [SG_THINK_OFF] = "off"};
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        if (strcmp(argument, ways[i]) == 0) {
            chat->display.thinking = (enum display_thinking)i;
            chat->o->hide_think = i == DISPLAY_THINKING_HIDE;
            chat_say(chat, "thinking is %s", i == 0 ? "shown" : i == 1 ? "counted" : "hidden");
            return;
        }
    }
    if (!*argument) {
        if (chat->o->think_budget >= 0)
            chat_say(chat, "thinking: %s, at most %lld tokens, display: %s", words[chat->o->think], (long long)chat->o->think_budget,
                     ways[chat->display.thinking]);
        else
            chat_say(chat, "thinking: %s, display: %s", words[chat->o->think], ways[chat->display.thinking]);
    } else if (isdigit((unsigned char)argument[0]) || argument[0] == '-') {
        set(chat, "think-budget", argument);
    } else {
        set(chat, "think", argument);
    }
}

static void do_nothink(struct chat *chat, const char *argument)
{
    (void)argument;
    set(chat, "think", "off");
}

/* ------------------------------------------------------------------ sessions */

static void do_clear(struct chat *chat, const char *argument)
{
    (void)argument;
    bool kept = chat->log.fd >= 0;
    char name[ESCAPED_MAX];
    escaped(name, chat->log.name.data, chat->log.name.len);
    chat_begin_session(chat);
    if (kept)
        chat_say(chat, "a new conversation; the old one is kept as %s", name);
    else
        chat_say(chat, "a new conversation");
}

static void do_save(struct chat *chat, const char *argument)
{
    struct sg_error err;
    struct buf folder = {0};
    if (!*argument) {
        if (chat->log.fd >= 0)
            chat_say(chat, "this session is saved as %s; /save NAME gives it a name", chat->log.name.data);
        else
            chat_say(chat, chat->sessions.len ? "nothing was said yet; sessions save themselves"
                                              : "this session is not saved; /save NAME does it");
        return;
    }
    enum sg_status status = SG_OK;
    if (chat->sessions.len == 0) { /* --no-save, but now it is asked for */
        status = state_folder(&folder, "sessions", &err);
        if (status == SG_OK)
            status = transcript_save_as(&chat->log, folder.data, argument, &chat->talk, &err);
    } else {
        struct buf old = {0};
        buf_printf(&old, "%s", chat->log.name.data);
        status = transcript_name(&chat->log, argument, &chat->talk, &err);
        if (status == SG_OK && !old.failed && !session_exists(chat->sessions.data, old.data))
            chat_cache_rename(chat, old.data, argument);
        buf_free(&old);
    }
    buf_free(&folder);
    if (status != SG_OK)
        chat_complain(chat, "%s", err.message);
    else
        chat_say(chat, "this session is now %s", argument);
}

static void do_list(struct chat *chat, const char *argument)
{
    (void)argument;
    struct session_entry *list;
    struct sg_error err;
    size_t n, width, height;
    if (chat->sessions.len == 0) {
        chat_complain(chat, "sessions are not kept here (--no-save)");
        return;
    }
    if (sessions_list(chat->sessions.data, &list, &n, &err) != SG_OK) {
        chat_complain(chat, "%s", err.message);
        return;
    }
    if (n == 0)
        chat_say(chat, "there are no sessions yet");
    terminal_size(&width, &height);
    time_t now = time(NULL);
    struct buf out = {0};
    for (size_t i = 0; i < n; i++) {
        struct buf age = {0};
        put_age(&age, list[i].modified, now);
        bool here = chat->log.fd >= 0 && strcmp(list[i].name, chat->log.name.data) == 0;
        buf_printf(&out, "%c %-20s %-14s ", here ? '*' : ' ', list[i].name, age.data ? age.data : "");
        /* As much of the title as the line has room for. */
        size_t cols = cells_width(list[i].name, strlen(list[i].name)), used = 2 + MAX(cols, (size_t)20) + 1 + 15;
        size_t title = strlen(list[i].title), at = 0;
        while (at < title && chat->tty) {
            struct cluster c = cluster_at(list[i].title + at, title - at);
            used += (size_t)c.cols;
            if (used > MAX(width, (size_t)40))
                break;
            at += c.len;
        }
        buf_append(&out, list[i].title, chat->tty ? at : title);
        buf_putc(&out, '\n');
        buf_free(&age);
    }
    if (out.len)
        chat_print(chat, &out, true);
    buf_free(&out);
    sessions_free(list, n);
}

static void do_load(struct chat *chat, const char *argument)
{
    struct sg_error err;
    if (!*argument)
        do_list(chat, argument);
    else if (chat->log.fd >= 0 && strcmp(argument, chat->log.name.data) == 0)
        chat_say(chat, "that is this session");
    else if (chat_load(chat, argument, &err) != SG_OK)
        chat_complain(chat, "%s", err.message);
}

static void put_markdown(const struct conversation *talk, struct buf *out)
{
    if (talk->has_system) {
        buf_puts(out, "**System**\n\n");
        buf_append(out, talk->system.data, talk->system.len);
        buf_puts(out, "\n\n");
    }
    for (size_t i = 0; i < talk->n; i++) {
        const struct message *m = &talk->messages[i];
        buf_puts(out, m->from_user ? "**User**\n\n" : "**Assistant**\n\n");
        buf_append(out, m->content.data, m->content.len);
        buf_puts(out, "\n\n");
    }
}

static void put_role(struct buf *out, const char *role, const struct buf *content)
{
    buf_printf(out, "{\"role\":\"%s\",\"content\":", role);
    json_put_string(out, content->data ? content->data : "", content->len);
}

/* One line that render and batch read. */
static void put_jsonl(const struct conversation *talk, struct buf *out)
{
    buf_puts(out, "{\"messages\":[");
    if (talk->has_system) {
        put_role(out, "system", &talk->system);
        buf_putc(out, '}');
    }
    for (size_t i = 0; i < talk->n; i++) {
        const struct message *m = &talk->messages[i];
        if (i > 0 || talk->has_system)
            buf_putc(out, ',');
        put_role(out, m->from_user ? "user" : "assistant", &m->content);
        if (m->has_reasoning) {
            buf_puts(out, ",\"reasoning_content\":");
            json_put_string(out, m->reasoning.data ? m->reasoning.data : "", m->reasoning.len);
        }
        buf_putc(out, '}');
    }
    buf_puts(out, "]}\n");
}

static void do_export(struct chat *chat, const char *argument)
{
    size_t len = strcspn(argument, " \t");
    const char *file = argument + len;
    file += strspn(file, " \t");
    bool markdown = len == 2 && memcmp(argument, "md", 2) == 0;
    struct buf out = {0}, path = {0};
    if (!markdown && !(len == 5 && memcmp(argument, "jsonl", 5) == 0)) {
        chat_complain(chat, "/export md FILE or /export jsonl FILE; without FILE it is shown here");
        return;
    }
    if (markdown)
        put_markdown(&chat->talk, &out);
    else
        put_jsonl(&chat->talk, &out);
    if (!*file) {
        chat_print(chat, &out, false);
    } else {
        char shown[ESCAPED_MAX];
        put_expanded(&path, file);
        escaped(shown, path.data, path.len);
        int fd = path.failed ? -1 : open(path.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0)
            chat_complain(chat, "%s can not be written: %s", shown, strerror(errno));
        else if (!terminal_write(fd, out.data, out.len))
            chat_complain(chat, "%s is not whole: %s", shown, strerror(errno));
        else
            chat_say(chat, "written to %s", shown);
        if (fd >= 0)
            close(fd);
    }
    buf_free(&out);
    buf_free(&path);
}

/* --------------------------------------------------------------- information */

static void put_speed(struct buf *out, const char *what, size_t n, int64_t us)
{
    buf_printf(out, "%-12s%zu tokens", what, n);
    if (n && us > 0)
        buf_printf(out, " at %.1f tok/s", 1e6 * (double)n / (double)us);
}

static void put_context(struct chat *chat, struct buf *out)
{
    struct sg_memory memory;
    size_t turns = conversation_turns(&chat->talk), live = conversation_live_turns(&chat->talk);
    sg_memory(chat->engine, chat->n_ctx, &memory);
    buf_printf(out, "context     %zu of %zu tokens (%zu%%), %zu %s", chat->used, chat->n_ctx, chat->used * 100 / chat->n_ctx, turns,
               turns == 1 ? "turn" : "turns");
    if (live < turns)
        buf_printf(out, ", the oldest %zu dropped", turns - live);
    buf_printf(out, "\ncache       %.1f MB, at most %.1f MB\n", (double)(chat->used * memory.kv_per_position) / 1e6,
               (double)memory.kv_full / 1e6);
}

static void do_stats(struct chat *chat, const char *argument)
{
    (void)argument;
    struct buf out = {0};
    struct sg_memory memory;
    struct rusage usage;
    const struct chat_counts *last = &chat->last, *all = &chat->total;
    put_speed(&out, "prompt", last->prompt, last->prompt_us);
    buf_printf(&out, ", %zu reused\n", last->reused);
    put_speed(&out, "answer", last->thinking + last->answer, last->answer_us);
    if (last->thinking)
        buf_printf(&out, ", %zu of them thinking", last->thinking);
    buf_printf(&out, "\nin all      %zu read, %zu reused, %zu written\n", all->prompt, all->reused, all->thinking + all->answer);
    put_context(chat, &out);
    sg_memory(chat->engine, chat->n_ctx, &memory);
    buf_printf(&out, "memory      %.1f MB model, %.1f MB working", (double)memory.mapped / 1e6,
               (double)(memory.engine_private + memory.session) / 1e6);
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        buf_printf(&out, ", process %.1f MB", (double)usage.ru_maxrss / 1e3);
    buf_putc(&out, '\n');
    chat_print(chat, &out, true);
    buf_free(&out);
}

static void do_ctx(struct chat *chat, const char *argument)
{
    (void)argument;
    struct buf out = {0};
    put_context(chat, &out);
    chat_print(chat, &out, true);
    buf_free(&out);
}

static void do_raw(struct chat *chat, const char *argument)
{
    (void)argument;
    const struct message *m = conversation_answer(&chat->talk);
    struct sg_error err;
    int32_t *ids = NULL;
    size_t n = 0;
    if (!m) {
        chat_complain(chat, "there is no answer yet");
        return;
    }
    if (sg_tokenize(chat->engine, m->content.data ? m->content.data : "", m->content.len, 0, &ids, &n, &err) != SG_OK) {
        chat_complain(chat, "%s", err.message);
        return;
    }
    struct buf out = {0};
    for (size_t i = 0; i < n; i++) {
        char *text, shown[ESCAPED_MAX];
        size_t len;
        if (sg_detokenize(chat->engine, ids + i, 1, true, &text, &len, &err) != SG_OK)
            break;
        buf_printf(&out, "%s%d '%s'", i ? "  " : "", ids[i], escaped(shown, text, len));
        free(text);
    }
    buf_putc(&out, '\n');
    chat_print(chat, &out, true);
    buf_free(&out);
    free(ids);
}

static void put_base64(struct buf *out, const char *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        uint32_t v = 0;
        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (i + k < len ? (unsigned char)data[i + k] : 0u);
        for (size_t k = 0; k < 4; k++)
            buf_putc(out, i + k > len ? '=' : digits[v >> (18 - 6 * k) & 63]);
    }
}

static void do_copy(struct chat *chat, const char *argument)
{
    (void)argument;
    const struct message *m = conversation_answer(&chat->talk);
    if (!m) {
        chat_complain(chat, "there is no answer yet");
    } else if (!chat->interactive) {
        chat_complain(chat, "/copy needs a terminal");
    } else {
        struct buf out = {0};
        buf_puts(&out, "\x1B]52;c;");
        put_base64(&out, m->content.data, m->content.len);
        buf_puts(&out, "\x07");
        terminal_write(STDOUT_FILENO, out.data, out.len);
        buf_free(&out);
        chat_say(chat, "the answer is sent to the clipboard, if the terminal allows it");
    }
}

static void do_exit(struct chat *chat, const char *argument)
{
    (void)argument;
    chat->leave = true;
}

/* ---------------------------------------------------------------------- help */

static bool has_name(const struct slash *s, const char *name, size_t len)
{
    for (const char *p = s->names; *p;) {
        size_t n = strcspn(p, " ");
        if (n == len && strncasecmp(p, name, n) == 0)
            return true;
        p += n + strspn(p + n, " ");
    }
    return false;
}

static const struct slash *find(const char *name, size_t len)
{
    for (size_t i = 0; i < n_slashes(); i++)
        if (has_name(&slashes[i], name, len))
            return &slashes[i];
    return NULL;
}

static void unknown(struct chat *chat, const char *name, size_t len)
{
    const char *names[64];
    char first[64][16], wanted[32], shown[ESCAPED_MAX];
    size_t n = 0;
    for (; n < n_slashes() && n < ARRAY_LEN(names); n++) {
        snprintf(first[n], sizeof first[n], "%.*s", (int)strcspn(slashes[n].names, " "), slashes[n].names);
        names[n] = first[n];
    }
    snprintf(wanted, sizeof wanted, "%.*s", (int)MIN(len, sizeof wanted - 1), name);
    const char *near = options_nearest(wanted, names, n);
    escaped(shown, name, len);
    if (near)
        chat_complain(chat, "there is no command /%s; did you mean /%s?", shown, near);
    else
        chat_complain(chat, "there is no command /%s; /help lists them", shown);
}

static void do_help(struct chat *chat, const char *argument)
{
    struct buf out = {0};
    if (*argument) {
        const char *name = argument + (*argument == '/');
        const struct slash *s = find(name, strlen(name));
        if (!s) {
            unknown(chat, name, strlen(name));
            return;
        }
        buf_printf(&out, "/%.*s %s\n%s.\n", (int)strcspn(s->names, " "), s->names, s->argument, s->summary);
        if (s->detail)
            buf_printf(&out, "%s\n", s->detail);
        const char *more = s->names + strcspn(s->names, " ");
        if (*more)
            buf_printf(&out, "Also:%s\n", more);
    } else {
        for (size_t i = 0; i < n_slashes(); i++) {
            char usage[64];
            snprintf(usage, sizeof usage, "/%.*s %s", (int)strcspn(slashes[i].names, " "), slashes[i].names, slashes[i].argument);
            buf_printf(&out, "%-24s %s\n", usage, slashes[i].summary);
        }
        buf_puts(&out, "Alt-Enter, ^J, a trailing \\ or \"\"\" begin a new line; ^R searches; ^G edits.\n");
    }
    chat_print(chat, &out, true);
    buf_free(&out);
}

static const struct slash slashes[] = {
    {"help ?", "[COMMAND]", "this list, or more about a command", NULL, do_help},
    {"exit quit bye", "", "leave (also ^D)", NULL, do_exit},
    {"clear new", "", "begin a new conversation", "The old one stays in /list. The system prompt is kept.", do_clear},
    {"regen", "[--NAME VALUE]", "another answer to the last question", "Settings given here hold for this answer alone: /regen --temp 1",
     do_regen},
    {"undo", "[N]", "take back the last turn, or the last N", NULL, do_undo},
    {"continue", "", "go on with an answer that was cut off", NULL, do_continue},
    {"edit", "", "change the last question in your editor", "$VISUAL or $EDITOR names it. ^G edits what you are typing.", do_edit},
    {"read", "FILE", "put a text file before your next message", "Without FILE: drops the files that were read.", do_read},
    {"glob", "PATTERN", "put all files that match before it", "For example /glob src/*.h", do_glob},
    {"system", "TEXT", "set the system prompt", "Without TEXT: shows it. /system none removes it. \"\"\" begins a text of many lines.",
     do_system},
    {"set", "NAME VALUE", "change a setting", "The names are those of the flags: /set temp 0.5, /set n 200, /set stop END.", do_set},
    {"show", "[NAME]", "settings and their values", NULL, do_show},
    {"think", "[WHAT]", "on, off, auto, N tokens; show, count, hide",
     "on, off and auto: whether the model thinks first. N limits the tokens of thinking.\nshow, count and hide: what you see of it.",
     do_think},
    {"nothink", "", "do not think first", NULL, do_nothink},
    {"save", "[NAME]", "name this session (it saves itself)", "A session that has a name already is copied.", do_save},
    {"load", "NAME", "go on with another session", NULL, do_load},
    {"list", "", "sessions with their ages and titles", NULL, do_list},
    {"export", "md|jsonl [FILE]", "write the conversation to a file", NULL, do_export},
    {"copy", "", "the last answer to the clipboard", "As the model wrote it, through the terminal (OSC 52).", do_copy},
    {"stats", "", "tokens, speed, context, memory", NULL, do_stats},
    {"ctx context", "", "how full the context is", NULL, do_ctx},
    {"raw", "", "the tokens of the last answer", NULL, do_raw},
};

static size_t n_slashes(void) { return ARRAY_LEN(slashes); }

/* ----------------------------------------------------------------- execution */

bool chat_is_command(const char *text, size_t len)
{
    if (len < 2 || text[0] != '/' || !(isalpha((unsigned char)text[1]) || text[1] == '?'))
        return false;
    size_t word = 1;
    while (word < len && !strchr(" \t\n/", text[word]))
        word++;
    if (word < len && text[word] == '/') /* a path */
        return false;
    /* A text of many lines is for the model, unless it is a system prompt. */
    return !memchr(text, '\n', len) || (word == 7 && strncasecmp(text + 1, "system", 6) == 0);
}

void chat_command(struct chat *chat, const char *text, size_t len)
{
    size_t word = 1;
    while (word < len && !strchr(" \t\n", text[word]))
        word++;
    const struct slash *s = find(text + 1, word - 1);
    if (!s) {
        unknown(chat, text + 1, word - 1);
        return;
    }
    size_t begin = word;
    while (begin < len && strchr(" \t\n", text[begin]))
        begin++;
    while (len > begin && strchr(" \t\n", text[len - 1]))
        len--;
    char *argument = strndup(text + begin, len - begin);
    if (argument)
        s->run(chat, argument);
    else
        chat_complain(chat, "out of memory");
    free(argument);
}

/* ---------------------------------------------------------------- completion */

struct wanted {
    struct completions *out;
    const char *prefix;
    size_t len;
};

static void offer(void *arg, const char *name, size_t len)
{
    const struct wanted *w = arg;
    struct buf item = {0};
    if (len < w->len || memcmp(name, w->prefix, w->len) != 0)
        return;
    buf_append(&item, name, len);
    buf_putc(&item, ' ');
    if (!item.failed)
        completions_add(w->out, item.data, item.len);
    buf_free(&item);
}

static void offer_words(struct wanted *w, const char *words)
{
    for (const char *p = words; *p;) {
        size_t n = strcspn(p, "| ");
        offer(w, p, n);
        p += n + strspn(p + n, "| ");
    }
}

static void offer_commands(struct wanted *w)
{
    for (size_t i = 0; i < n_slashes(); i++)
        offer(w, slashes[i].names, strcspn(slashes[i].names, " "));
}

static void offer_sessions(const struct chat *chat, struct wanted *w)
{
    struct session_entry *list;
    size_t n;
    if (chat->sessions.len == 0 || sessions_list(chat->sessions.data, &list, &n, NULL) != SG_OK)
        return;
    for (size_t i = 0; i < n; i++)
        offer(w, list[i].name, strlen(list[i].name));
    sessions_free(list, n);
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Entries of the folder that a path names; what was typed of the path stays as it is. */
static void offer_paths(struct wanted *w)
{
    size_t folder = w->len;
    while (folder > 0 && w->prefix[folder - 1] != '/')
        folder--;
    struct buf typed = {0}, path = {0}, item = {0};
    buf_append(&typed, w->prefix, folder);
    buf_puts(&typed, "");
    put_expanded(&path, folder ? typed.data : ".");
    DIR *dir = path.failed || typed.failed ? NULL : opendir(path.data);
    struct dirent *entry;
    size_t base = w->len - folder;
    while (dir && (entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name);
        bool hidden = entry->d_name[0] == '.' && (base == 0 || strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
        if (hidden || len < base || memcmp(entry->d_name, w->prefix + folder, base) != 0)
            continue;
        struct stat info;
        item.len = 0;
        buf_printf(&item, "%s/%s", path.data, entry->d_name);
        bool is_folder = !item.failed && stat(item.data, &info) == 0 && S_ISDIR(info.st_mode);
        item.len = 0;
        buf_append(&item, typed.data, folder);
        buf_puts(&item, entry->d_name);
        buf_putc(&item, is_folder ? '/' : ' ');
        if (!item.failed)
            completions_add(w->out, item.data, item.len);
    }
    if (dir)
        closedir(dir);
    if (w->out->n)
        qsort(w->out->items, w->out->n, sizeof *w->out->items, by_text);
    buf_free(&typed);
    buf_free(&path);
    buf_free(&item);
}

/* Where the argument of a command begins that is being completed; *run becomes do_read when
 * that is a path. */
static size_t argument_begin(const char *text, size_t word, size_t cursor, command_fn **run)
{
    size_t begin = word;
    while (begin < cursor && (text[begin] == ' ' || text[begin] == '\t'))
        begin++;
    if (*run == do_export && memchr(text + begin, ' ', cursor - begin)) { /* FILE after md or jsonl */
        begin += strcspn(text + begin, " ");
        while (begin < cursor && text[begin] == ' ')
            begin++;
        *run = do_read;
    }
    return begin;
}

void chat_complete(void *arg, const char *text, size_t cursor, struct completions *out)
{
    const struct chat *chat = arg;
    struct wanted w = {.out = out};
    size_t word = MIN(strcspn(text, " \t\n"), cursor), begin = cursor;
    bool slash = text[0] == '/' && !memchr(text + 1, '/', word ? word - 1 : 0);
    if (slash && word == cursor) {
        out->begin = 1;
        w.prefix = text + 1;
        w.len = cursor - 1;
        offer_commands(&w);
        return;
    }
    const struct slash *s = slash ? find(text + 1, word - 1) : NULL;
    command_fn *run = s ? s->run : NULL;
    if (s)
        begin = argument_begin(text, word, cursor, &run); /* paths and names may hold blanks */
    else
        while (begin > 0 && !strchr(" \t\n", text[begin - 1]))
            begin--;
    out->begin = begin;
    w.prefix = text + begin;
    w.len = cursor - begin;
    if (run == do_help)
        offer_commands(&w);
    else if (run == do_set || run == do_show)
        options_each_name(chat->o, offer, &w);
    else if (run == do_load)
        offer_sessions(chat, &w);
    else if (run == do_think)
        offer_words(&w, "on|off|auto|show|count|hide");
    else if (run == do_export)
        offer_words(&w, "md|jsonl");
    else if (run == do_read || run == do_glob || (!run && memchr(w.prefix, '/', w.len)))
        offer_paths(&w);
}
