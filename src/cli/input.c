#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "file.h"
#include "terminal.h"

enum {
    ESCAPE_WAIT = 100
}; /* milliseconds after which a lone ESC is the Escape key */

void input_open(struct input *in, bool interactive, const char *history_path, lineedit_complete_fn *complete, void *arg)
{
    *in = (struct input){.interactive = interactive};
    history_open(&in->history, history_path);
    in->edit.history = &in->history;
    in->edit.complete = complete;
    in->edit.complete_arg = arg;
    lineedit_reset(&in->edit);
}

void input_close(struct input *in)
{
    lineview_free(&in->view);
    lineedit_free(&in->edit);
    history_close(&in->history);
}

/* -------------------------------------------------------------------- editor */

static bool write_file(const char *path, const struct buf *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool ok =
        terminal_write(fd, text->data, text->len) && (text->len == 0 || text->data[text->len - 1] == '\n' || terminal_write(fd, "\n", 1));
    return close(fd) == 0 && ok;
}

/* Runs `command path` in a shell and waits; returns its wait status, -1 when impossible. */
static int run_editor(const char *command, const char *path)
{
    struct buf line = {0};
    buf_printf(&line, "%s \"$1\"", command);
    pid_t child = line.failed ? -1 : fork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", line.data, "editor", path, (char *)NULL);
        _exit(127);
    }
    buf_free(&line);
    return child > 0 ? terminal_wait(child) : -1;
}

enum sg_status edit_text(struct buf *text, struct sg_error *err)
{
    const char *visual = getenv("VISUAL"), *editor = getenv("EDITOR"), *place = getenv("TMPDIR");
    const char *command = visual && *visual ? visual : editor && *editor ? editor : "vi";
    struct buf path = {0}, edited = {0};
    buf_printf(&path, "%s/signum-XXXXXX", place && *place ? place : "/tmp");
    if (path.failed || !mkdtemp(path.data)) {
        buf_free(&path);
        return fail(err, SG_FAIL, "no place for a text to edit: %s", strerror(errno));
    }
    size_t folder_len = path.len;
    buf_puts(&path, "/message.md");
    char shown[ESCAPED_MAX];
    enum sg_status status = SG_OK;
    if (path.failed || !write_file(path.data, text)) {
        status = fail(err, SG_FAIL, "the text can not be written for the editor: %s", strerror(errno));
    } else {
        int result = run_editor(command, path.data);
        if (result == -1 || !WIFEXITED(result) || WEXITSTATUS(result) != 0)
            status = fail(err, SG_FAIL, "the editor failed: %s (VISUAL or EDITOR names another)", escaped(shown, command, strlen(command)));
        else
            status = file_read(&edited, path.data, LINEEDIT_MAX, err);
    }
    if (status == SG_OK) {
        while (edited.len && (edited.data[edited.len - 1] == '\n' || edited.data[edited.len - 1] == '\r'))
            edited.len--;
        text->len = 0;
        buf_append(text, edited.data, edited.len);
    }
    unlink(path.data);
    path.data[folder_len] = 0;
    rmdir(path.data);
    buf_free(&path);
    buf_free(&edited);
    return status;
}

/* ------------------------------------------------------------------ terminal */

/* Brings the screen up to date with the editor. */
static void show(struct input *in, const struct prompt *prompt, bool resized)
{
    struct buf out = {0};
    if (resized || in->view.n_rows == 0)
        terminal_size(&in->width, &in->height);
    if (resized && in->view.n_rows)
        lineview_resize(&in->view, &in->edit, prompt, in->width, in->height, &out);
    else
        lineview_show(&in->view, &in->edit, prompt, in->width, in->height, &out);
    if (in->edit.bell)
        buf_putc(&out, 7);
    in->edit.bell = false;
    terminal_write(STDOUT_FILENO, out.data, out.len);
    buf_free(&out);
}

/* Shows the whole text, then `mark`, and goes below it. */
static void leave(struct input *in, const struct prompt *prompt, const char *mark)
{
    struct buf out = {0};
    in->edit.cursor = in->edit.text.len;
    in->edit.hint.len = 0;
    in->edit.searching = false;
    show(in, prompt, false);
    buf_puts(&out, mark);
    lineview_leave(&in->view, &out);
    terminal_write(STDOUT_FILENO, out.data, out.len);
    buf_free(&out);
}

static void call_editor(struct input *in, const struct prompt *prompt)
{
    struct sg_error err;
    leave(in, prompt, "");
    terminal_set_mode(TERMINAL_NORMAL);
    struct buf text = {0};
    buf_append(&text, in->edit.text.data, in->edit.text.len);
    if (edit_text(&text, &err) == SG_OK) {
        lineedit_set(&in->edit, text.data ? text.data : "", text.len);
    } else {
        terminal_write(STDOUT_FILENO, err.message, strlen(err.message));
        terminal_write(STDOUT_FILENO, "\n", 1);
    }
    buf_free(&text);
    terminal_set_mode(TERMINAL_EDIT);
}

/* What the editor asked for. False: go on reading; else *result is what to return. */
static bool act(struct input *in, enum line_action action, const struct prompt *prompt, enum input_result *result)
{
    static const char clear[] = "\x1B[H\x1B[2J";
    switch (action) {
    case LINE_NONE:
        return false;
    case LINE_SUBMIT:
        leave(in, prompt, "");
        *result = INPUT_TEXT;
        return true;
    case LINE_INTERRUPT:
        leave(in, prompt, "^C");
        *result = INPUT_INTERRUPTED;
        return true;
    case LINE_EOF:
        leave(in, prompt, "");
        *result = INPUT_END;
        return true;
    case LINE_SUSPEND:
        leave(in, prompt, "");
        terminal_suspend();
        return false;
    case LINE_EDITOR:
        call_editor(in, prompt);
        return false;
    case LINE_CLEAR:
        terminal_write(STDOUT_FILENO, clear, sizeof clear - 1);
        lineview_forget(&in->view);
        return false;
    }
    return false;
}

static enum input_result read_keys(struct input *in, const struct prompt *prompt)
{
    enum input_result result = INPUT_END;
    terminal_set_mode(TERMINAL_EDIT);
    show(in, prompt, false);
    for (;;) {
        if (in->at < in->n) {
            size_t used;
            enum line_action action = lineedit_feed(&in->edit, in->bytes + in->at, in->n - in->at, &used);
            in->at += used;
            if (act(in, action, prompt, &result))
                return result;
            if (in->at == in->n)
                show(in, prompt, false);
            continue;
        }
        in->at = 0;
        switch (terminal_read(in->bytes, sizeof in->bytes, &in->n, keys_waiting(&in->edit.keys) ? ESCAPE_WAIT : -1)) {
        case TERMINAL_INPUT:
            break;
        case TERMINAL_TIMEOUT:
            if (lineedit_pause(&in->edit))
                show(in, prompt, false);
            break;
        case TERMINAL_RESIZED:
            show(in, prompt, true);
            break;
        case TERMINAL_CONTINUED:
            lineview_forget(&in->view);
            show(in, prompt, false);
            break;
        case TERMINAL_INTERRUPTED:
            leave(in, prompt, "^C");
            return INPUT_INTERRUPTED;
        case TERMINAL_QUIT:
            leave(in, prompt, "");
            return INPUT_QUIT;
        case TERMINAL_END:
            leave(in, prompt, "");
            return INPUT_END;
        }
    }
}

/* --------------------------------------------------------------- plain lines */

/* Appends the next line without its newline. INPUT_END: there is none. */
static enum input_result read_line(struct input *in, struct buf *text)
{
    size_t begin = text->len;
    bool any = false;
    for (;;) {
        while (in->at < in->n) {
            const char *from = in->bytes + in->at, *newline = memchr(from, '\n', in->n - in->at);
            size_t len = newline ? (size_t)(newline - from) : in->n - in->at;
            buf_append(text, from, len);
            in->at += len + (newline != NULL);
            any = true;
            if (newline) {
                if (text->len > begin && text->data[text->len - 1] == '\r')
                    text->len--;
                return INPUT_TEXT;
            }
        }
        if (in->ended)
            return any ? INPUT_TEXT : INPUT_END;
        in->at = 0;
        switch (terminal_read(in->bytes, sizeof in->bytes, &in->n, -1)) {
        case TERMINAL_INTERRUPTED:
            return INPUT_INTERRUPTED;
        case TERMINAL_QUIT:
            return INPUT_QUIT;
        case TERMINAL_END:
            in->ended = true;
            break;
        default:
            break;
        }
    }
}

static enum input_result read_lines(struct input *in, struct buf *text)
{
    enum input_result result = read_line(in, text);
    while (result == INPUT_TEXT && !text->failed && line_continues(text->data ? text->data : "", text->len)) {
        if (text->data[text->len - 1] == '\\')
            text->len--;
        buf_putc(text, '\n');
        result = read_line(in, text);
    }
    return result == INPUT_END && text->len ? INPUT_TEXT : result;
}

enum input_result input_read(struct input *in, const struct prompt *prompt, struct buf *text)
{
    text->len = 0;
    if (!in->interactive) {
        enum input_result result = read_lines(in, text);
        line_unquote(text);
        return result;
    }
    enum input_result result = read_keys(in, prompt);
    buf_append(text, in->edit.text.data, in->edit.text.len);
    if (result == INPUT_TEXT && text->len) {
        history_add(&in->history, text->data, text->len);
        line_unquote(text);
    }
    lineedit_reset(&in->edit);
    terminal_set_mode(TERMINAL_BUSY);
    return result;
}
