#define _DEFAULT_SOURCE /* flock */
#include "transcript.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cells.h"
#include "file.h"
#include "json.h"
#include "utf8.h"

enum {
    NAME_MAX_BYTES = 100,
    TRANSCRIPT_MAX = 1 << 30
};
static const char suffix[] = ".jsonl";

/* ------------------------------------------------------------ folders, names */

/* mkdir -p; the folders that are made are ours alone. */
static bool make_folders(char *path)
{
    for (char *p = path + 1;; p++) {
        if (*p != '/' && *p != 0)
            continue;
        char end = *p;
        *p = 0;
        bool ok = mkdir(path, 0700) == 0 || errno == EEXIST;
        *p = end;
        if (!ok)
            return false;
        if (!end)
            return true;
    }
}

enum sg_status state_folder(struct buf *out, const char *sub, struct sg_error *err)
{
    const char *home = getenv("SIGNUM_HOME"), *state = getenv("XDG_STATE_HOME"), *user = getenv("HOME");
    size_t begin = out->len;
    if (home && *home)
        buf_puts(out, home);
    else if (state && *state == '/')
        buf_printf(out, "%s/signum", state);
    else if (user && *user)
        buf_printf(out, "%s/.local/state/signum", user);
    else
        return fail(err, SG_FAIL, "no folder for sessions: set SIGNUM_HOME or HOME");
    if (sub)
        buf_printf(out, "/%s", sub);
    if (out->failed)
        return fail_memory(err, out->len, "a path");
    char shown[ESCAPED_MAX];
    if (!make_folders(out->data + begin))
        return fail(err, SG_FAIL, "cannot make the folder %s: %s", escaped(shown, out->data + begin, out->len - begin), strerror(errno));
    return SG_OK;
}

enum sg_status session_name_check(const char *name, struct sg_error *err)
{
    size_t len = strlen(name);
    bool ok = len > 0 && len <= NAME_MAX_BYTES && name[0] != '.' && name[0] != '-' && utf8_valid(name, len);
    for (size_t i = 0; ok && i < len;) {
        uint32_t c;
        i += utf8_decode(name + i, len - i, &c);
        ok = c != '/' && !cell_hazard(c);
    }
    char shown[ESCAPED_MAX];
    if (!ok)
        return fail(err, SG_USAGE, "\"%s\" can not be the name of a session: at most %d bytes, no /, not beginning with . or -",
                    escaped(shown, name, len), NAME_MAX_BYTES);
    return SG_OK;
}

static void put_path(struct buf *out, const char *folder, const char *name) { buf_printf(out, "%s/%s%s", folder, name, suffix); }

bool session_exists(const char *folder, const char *name)
{
    struct buf path = {0};
    put_path(&path, folder, name);
    bool exists = !path.failed && access(path.data, F_OK) == 0;
    buf_free(&path);
    return exists;
}

static void set_name(struct transcript *t, const char *name)
{
    t->name.len = 0;
    buf_puts(&t->name, name);
}

void transcript_begin(struct transcript *t, const char *folder, const char *name, const char *model)
{
    *t = (struct transcript){.fd = -1, .model = model};
    buf_puts(&t->folder, folder ? folder : "");
    set_name(t, name ? name : "");
}

void transcript_close(struct transcript *t)
{
    if (t->fd >= 0)
        close(t->fd);
    buf_free(&t->folder);
    buf_free(&t->name);
    t->fd = -1;
}

/* ------------------------------------------------------------------- writing */

/* One line in one write. A part of a line is taken back, so that the file stays whole. */
static enum sg_status write_line(struct transcript *t, struct buf *line, struct sg_error *err)
{
    buf_putc(line, '\n');
    enum sg_status status = SG_OK;
    if (line->failed) {
        status = fail_memory(err, line->len, "a line of the transcript");
    } else {
        off_t before = lseek(t->fd, 0, SEEK_END);
        size_t done = 0;
        while (done < line->len) {
            ssize_t n = write(t->fd, line->data + done, line->len - done);
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                break;
            done += (size_t)n;
        }
        if (done < line->len) {
            status = fail(err, SG_FAIL, "the transcript can not be written: %s", strerror(errno));
            if (before >= 0 && ftruncate(t->fd, before) != 0)
                status = SG_FAIL; /* the torn line will be cut off when the file is opened again */
        }
        fdatasync(t->fd);
    }
    t->stale |= status != SG_OK;
    buf_free(line);
    return status;
}

static void put_time(struct buf *line)
{
    struct tm tm;
    time_t now = time(NULL);
    char text[32];
    if (gmtime_r(&now, &tm) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm))
        buf_printf(line, ",\"time\":\"%s\"", text);
}

static void put_member(struct buf *line, const char *key, const char *text, size_t len)
{
    buf_printf(line, ",\"%s\":", key);
    json_put_string(line, text, len);
}

static enum sg_status write_system(struct transcript *t, const struct conversation *c, struct sg_error *err)
{
    struct buf line = {0};
    buf_puts(&line, "{\"role\":\"system\"");
    if (c->has_system)
        put_member(&line, "content", c->system.data, c->system.len);
    else
        buf_puts(&line, ",\"content\":null");
    buf_putc(&line, '}');
    return write_line(t, &line, err);
}

static enum sg_status write_question(struct transcript *t, const struct message *m, struct sg_error *err)
{
    struct buf line = {0};
    buf_puts(&line, "{\"role\":\"user\"");
    put_member(&line, "content", m->content.data, m->content.len);
    put_time(&line);
    buf_putc(&line, '}');
    return write_line(t, &line, err);
}

static enum sg_status write_answer(struct transcript *t, const struct message *m, const struct transcript_answer *a, struct sg_error *err)
{
    struct buf line = {0};
    buf_puts(&line, a->continues ? "{\"event\":\"continue\"" : "{\"role\":\"assistant\"");
    put_member(&line, "content", m->content.data + a->content_from, m->content.len - a->content_from);
    if (m->has_reasoning)
        put_member(&line, "reasoning_content", m->reasoning.data + a->reasoning_from, m->reasoning.len - a->reasoning_from);
    put_member(&line, "finish_reason", a->finish, strlen(a->finish));
    if (a->tokens)
        buf_printf(&line, ",\"tokens\":%zu,\"seed\":%llu", a->tokens, (unsigned long long)a->seed);
    buf_printf(&line, ",\"attempt\":%u", m->attempt);
    put_time(&line);
    buf_putc(&line, '}');
    return write_line(t, &line, err);
}

static enum sg_status write_event(struct transcript *t, const char *event, size_t turns, struct sg_error *err)
{
    struct buf line = {0};
    buf_printf(&line, "{\"event\":\"%s\"", event);
    if (turns)
        buf_printf(&line, ",\"turns\":%zu", turns);
    buf_putc(&line, '}');
    return write_line(t, &line, err);
}

static enum sg_status write_whole(struct transcript *t, const struct conversation *c, struct sg_error *err)
{
    t->stale = false;
    if (c->has_system)
        TRY(write_system(t, c, err));
    size_t forgotten = 0;
    for (size_t i = 0; i < c->n; i++) {
        const struct message *m = &c->messages[i];
        struct transcript_answer a = {.finish = m->cut ? "interrupted" : "stop"};
        TRY(m->from_user ? write_question(t, m, err) : write_answer(t, m, &a, err));
        forgotten += m->from_user && i < c->first;
    }
    return forgotten ? write_event(t, "forget", forgotten, err) : SG_OK;
}

/* A new file; nobody else may have it. */
static int create(const struct transcript *t, const char *name)
{
    struct buf path = {0};
    put_path(&path, t->folder.data, name);
    int fd = path.failed ? -1 : open(path.data, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    buf_free(&path);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) { /* somebody was quicker */
        close(fd);
        return -1;
    }
    return fd;
}

/* Named as the session is, or by the time; then the first line. */
static enum sg_status create_file(struct transcript *t, struct sg_error *err)
{
    char name[64];
    if (t->name.len) {
        t->fd = create(t, t->name.data);
    } else {
        time_t now = time(NULL);
        struct tm tm;
        size_t n = localtime_r(&now, &tm) ? strftime(name, sizeof name - 8, "%Y-%m-%d-%H%M%S", &tm) : 0;
        name[n] = 0;
        for (int i = 2; i < 1000; i++) {
            t->fd = create(t, name);
            if (t->fd >= 0 || errno != EEXIST)
                break;
            snprintf(name + n, sizeof name - n, "-%d", i);
        }
        if (t->fd >= 0)
            set_name(t, name);
    }
    char shown[ESCAPED_MAX];
    if (t->fd < 0)
        return fail(err, SG_FAIL, "the transcript can not be made in %s: %s", escaped(shown, t->folder.data, t->folder.len),
                    strerror(errno));
    struct buf line = {0};
    buf_puts(&line, "{\"event\":\"begin\",\"format\":\"signum-chat\",\"version\":1");
    put_time(&line);
    put_member(&line, "model", t->model, strlen(t->model));
    buf_putc(&line, '}');
    return write_line(t, &line, err);
}

/* True: the caller need not write its line, *status is the result. */
static bool written_otherwise(struct transcript *t, const struct conversation *c, enum sg_status *status, struct sg_error *err)
{
    *status = SG_OK;
    if (t->folder.len == 0 || (t->fd < 0 && c->n == 0))
        return true; /* a chat in which nothing was said leaves no file */
    if (t->fd >= 0 && !t->stale)
        return false;
    *status = t->fd < 0 ? create_file(t, err) : write_event(t, "clear", 0, err);
    if (*status == SG_OK)
        *status = write_whole(t, c, err);
    return true;
}

enum sg_status transcript_system(struct transcript *t, const struct conversation *c, struct sg_error *err)
{
    enum sg_status status;
    return written_otherwise(t, c, &status, err) ? status : write_system(t, c, err);
}

enum sg_status transcript_question(struct transcript *t, const struct conversation *c, struct sg_error *err)
{
    enum sg_status status;
    return written_otherwise(t, c, &status, err) ? status : write_question(t, &c->messages[c->n - 1], err);
}

enum sg_status transcript_answered(struct transcript *t, const struct conversation *c, const struct transcript_answer *a,
                                   struct sg_error *err)
{
    enum sg_status status;
    return written_otherwise(t, c, &status, err) ? status : write_answer(t, &c->messages[c->n - 1], a, err);
}

enum sg_status transcript_event(struct transcript *t, const struct conversation *c, const char *event, size_t turns, struct sg_error *err)
{
    enum sg_status status;
    return written_otherwise(t, c, &status, err) ? status : write_event(t, event, turns, err);
}

enum sg_status transcript_save_as(struct transcript *t, const char *folder, const char *name, const struct conversation *c,
                                  struct sg_error *err)
{
    TRY(session_name_check(name, err));
    if (session_exists(folder, name))
        return fail(err, SG_USAGE, "there is already a session \"%s\"", name);
    struct transcript copy;
    transcript_begin(&copy, folder, name, t->model);
    enum sg_status status = create_file(&copy, err);
    if (status == SG_OK)
        status = write_whole(&copy, c, err);
    if (status != SG_OK) {
        transcript_close(&copy);
        return status;
    }
    transcript_close(t);
    *t = copy;
    return SG_OK;
}

/* Whether a name was made from the time. */
static bool made_name(const char *name)
{
    static const char pattern[] = "0000-00-00-000000";
    for (size_t i = 0; pattern[i]; i++)
        if (pattern[i] == '0' ? name[i] < '0' || name[i] > '9' : name[i] != pattern[i])
            return false;
    return true;
}

static enum sg_status rename_file(struct transcript *t, const char *name, struct sg_error *err)
{
    struct buf from = {0}, to = {0};
    enum sg_status status = SG_OK;
    put_path(&from, t->folder.data, t->name.data);
    put_path(&to, t->folder.data, name);
    if (from.failed || to.failed)
        status = fail_memory(err, from.len, "a path");
    else if (rename(from.data, to.data) != 0)
        status = fail(err, SG_FAIL, "the session can not be renamed: %s", strerror(errno));
    buf_free(&from);
    buf_free(&to);
    return status;
}

enum sg_status transcript_name(struct transcript *t, const char *name, const struct conversation *c, struct sg_error *err)
{
    TRY(session_name_check(name, err));
    if (session_exists(t->folder.data, name))
        return fail(err, SG_USAGE, "there is already a session \"%s\"", name);
    if (t->fd >= 0 && !made_name(t->name.data)) {
        struct buf folder = {0}; /* t is replaced meanwhile */
        buf_append(&folder, t->folder.data, t->folder.len);
        enum sg_status status = folder.failed ? fail_memory(err, folder.len, "a path") : transcript_save_as(t, folder.data, name, c, err);
        buf_free(&folder);
        return status;
    }
    if (t->fd >= 0)
        TRY(rename_file(t, name, err));
    set_name(t, name);
    return SG_OK;
}

/* ------------------------------------------------------------------- reading */

/* Appends a member's text; false when there is none. */
static bool member_text(const struct json *j, const char *key, struct buf *out)
{
    const struct json_node *node = json_get(j, j->nodes, key);
    if (!node || node->type != JSON_STRING)
        return false;
    json_string(j, node, out);
    return true;
}

static bool member_is(const struct json *j, const char *key, const char *text)
{
    const struct json_node *node = json_get(j, j->nodes, key);
    return node && node->type == JSON_STRING && json_string_equal(j, node, text);
}

static size_t member_count(const struct json *j, const char *key)
{
    uint64_t value = 0;
    const struct json_node *node = json_get(j, j->nodes, key);
    return node && json_uint(j, node, &value) ? (size_t)MIN(value, (uint64_t)SIZE_MAX) : 0;
}

static bool replay_message(const struct json *j, struct conversation *c)
{
    struct buf text = {0};
    bool has_text = member_text(j, "content", &text), known = true;
    if (member_is(j, "role", "system")) {
        conversation_set_system(c, has_text ? text.data ? text.data : "" : NULL, text.len);
    } else if (member_is(j, "role", "user")) {
        conversation_add(c, true, text.data, text.len);
    } else if (member_is(j, "role", "assistant") && c->n > 0) {
        struct message *m = conversation_add(c, false, text.data, text.len);
        if (m) {
            m->has_reasoning = member_text(j, "reasoning_content", &m->reasoning);
            m->cut = !member_is(j, "finish_reason", "stop");
            m->attempt = (uint32_t)MIN(member_count(j, "attempt"), (size_t)UINT32_MAX - 1);
        }
    } else {
        known = false;
    }
    buf_free(&text);
    return known;
}

/* One line; false: it is none of ours. */
static bool replay(const struct json *j, struct conversation *c)
{
    if (j->nodes[0].type != JSON_OBJECT)
        return false;
    if (json_get(j, j->nodes, "role"))
        return replay_message(j, c);
    if (member_is(j, "event", "begin"))
        return true;
    if (member_is(j, "event", "undo"))
        return conversation_undo(c, member_count(j, "turns")) > 0;
    if (member_is(j, "event", "forget"))
        return conversation_forget(c, member_count(j, "turns")) > 0;
    if (member_is(j, "event", "regen"))
        return conversation_drop_answer(c);
    if (member_is(j, "event", "clear")) {
        conversation_clear(c);
        return true;
    }
    struct message *m = conversation_answer(c);
    if (member_is(j, "event", "continue") && m) {
        member_text(j, "content", &m->content);
        m->has_reasoning |= member_text(j, "reasoning_content", &m->reasoning);
        m->cut = !member_is(j, "finish_reason", "stop");
        return true;
    }
    return false;
}

/* Reads all lines; *whole is where the last whole line ends. A last line without its newline
 * counts when it is a whole object. */
static enum sg_status read_lines(struct transcript *t, const struct buf *file, struct conversation *c, size_t *whole, struct sg_error *err)
{
    *whole = 0;
    for (size_t i = 0; i < file->len;) {
        const char *line = file->data + i, *end = memchr(line, '\n', file->len - i);
        size_t len = end ? (size_t)(end - line) : file->len - i;
        struct json j;
        enum sg_status status = json_parse(&j, line, len, err);
        bool good = status == SG_OK && replay(&j, c);
        json_free(&j);
        if (status == SG_NO_MEMORY || c->failed)
            return fail_memory(err, file->len, "the conversation");
        if (!good && (end || status == SG_OK))
            t->skipped++;
        if (end || status == SG_OK)
            *whole = i + len + (end != NULL);
        i += len + 1;
    }
    return SG_OK;
}

/* Cuts off a torn line, or ends a whole one that lost its newline. */
static void repair(struct transcript *t, const struct buf *file, size_t whole)
{
    if (whole < file->len) {
        t->repaired = ftruncate(t->fd, (off_t)whole) == 0;
    } else if (file->len && file->data[file->len - 1] != '\n') {
        t->repaired = write(t->fd, "\n", 1) == 1;
    }
}

enum sg_status transcript_open(struct transcript *t, const char *folder, const char *name, const char *model, struct conversation *c,
                               struct sg_error *err)
{
    TRY(session_name_check(name, err));
    struct buf path = {0}, file = {0};
    put_path(&path, folder, name);
    if (path.failed)
        return fail_memory(err, path.len, "a path");
    enum sg_status status = SG_OK;
    size_t whole = 0;
    transcript_begin(t, folder, name, model);
    t->fd = open(path.data, O_RDWR | O_APPEND | O_CLOEXEC);
    if (t->fd < 0)
        status = errno == ENOENT ? fail(err, SG_FAIL, "there is no session \"%s\"; /list shows them", name)
                                 : fail(err, SG_FAIL, "the session \"%s\" can not be opened: %s", name, strerror(errno));
    else if (flock(t->fd, LOCK_EX | LOCK_NB) != 0)
        status = fail(err, SG_FAIL, "the session \"%s\" is open in another chat", name);
    if (status == SG_OK)
        status = file_read(&file, path.data, TRANSCRIPT_MAX, err);
    if (status == SG_OK)
        status = read_lines(t, &file, c, &whole, err);
    if (status == SG_OK)
        repair(t, &file, whole);
    buf_free(&path);
    buf_free(&file);
    if (status != SG_OK)
        transcript_close(t);
    return status;
}

/* ------------------------------------------------------------------- listing */

/* The first question in the first part of a file; malloc'ed. */
static char *read_title(const char *path)
{
    char head[1 << 15];
    struct buf title = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, head, sizeof head) : 0;
    if (fd >= 0)
        close(fd);
    for (size_t i = 0; n > 0 && i < (size_t)n && title.len == 0;) {
        const char *end = memchr(head + i, '\n', (size_t)n - i);
        if (!end)
            break;
        struct json j;
        if (json_parse(&j, head + i, (size_t)(end - head) - i, NULL) == SG_OK && j.nodes[0].type == JSON_OBJECT &&
            member_is(&j, "role", "user"))
            member_text(&j, "content", &title);
        json_free(&j);
        i = (size_t)(end - head) + 1;
    }
    /* One line, without blanks at either end. */
    size_t begin = 0;
    while (begin < title.len && strchr(" \t\r\n", title.data[begin]))
        begin++;
    buf_drop(&title, begin);
    if (title.len)
        title.len = strcspn(title.data, "\r\n");
    buf_putc(&title, 0);
    return title.data;
}

static int later_first(const void *a, const void *b)
{
    const struct session_entry *x = a, *y = b;
    if (x->modified != y->modified)
        return x->modified < y->modified ? 1 : -1;
    return strcmp(y->name, x->name); /* names of the same second are numbered */
}

enum sg_status sessions_list(const char *folder, struct session_entry **list, size_t *n, struct sg_error *err)
{
    *list = NULL;
    *n = 0;
    size_t cap = 0;
    DIR *dir = opendir(folder);
    char shown[ESCAPED_MAX];
    if (!dir)
        return errno == ENOENT ? SG_OK
                               : fail(err, SG_FAIL, "%s can not be read: %s", escaped(shown, folder, strlen(folder)), strerror(errno));
    struct buf path = {0};
    struct dirent *entry;
    enum sg_status status = SG_OK;
    while (status == SG_OK && (entry = readdir(dir)) != NULL) {
        struct stat info;
        size_t len = strlen(entry->d_name);
        if (entry->d_name[0] == '.' || len <= sizeof suffix - 1 || strcmp(entry->d_name + len - (sizeof suffix - 1), suffix) != 0)
            continue;
        path.len = 0;
        buf_printf(&path, "%s/%s", folder, entry->d_name);
        if (path.failed || stat(path.data, &info) != 0 || !S_ISREG(info.st_mode))
            continue;
        if (*n == cap) {
            cap = cap ? cap * 2 : 32;
            struct session_entry *grown = realloc(*list, cap * sizeof *grown);
            if (!grown) {
                status = fail_memory(err, cap * sizeof *grown, "the list of sessions");
                break;
            }
            *list = grown;
        }
        char *name = strndup(entry->d_name, len - (sizeof suffix - 1)), *title = read_title(path.data);
        if (!name || !title) {
            free(name);
            free(title);
            status = fail_memory(err, len, "the list of sessions");
            break;
        }
        (*list)[(*n)++] = (struct session_entry){name, title, info.st_mtime};
    }
    closedir(dir);
    buf_free(&path);
    if (status == SG_OK && *n)
        qsort(*list, *n, sizeof **list, later_first);
    if (status != SG_OK) {
        sessions_free(*list, *n);
        *list = NULL;
        *n = 0;
    }
    return status;
}

void sessions_free(struct session_entry *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(list[i].name);
        free(list[i].title);
    }
    free(list);
}

void put_age(struct buf *out, time_t then, time_t now)
{
    static const struct {
        long long seconds;
        const char *unit;
    } units[] = {{365 * 86400, "year"}, {30 * 86400, "month"}, {7 * 86400, "week"}, {86400, "day"}, {3600, "hour"}, {60, "minute"}};
    long long age = (long long)now - (long long)then;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        long long count = age / units[i].seconds;
        if (count > 0) {
            buf_printf(out, "%lld %s%s ago", count, units[i].unit, count == 1 ? "" : "s");
            return;
        }
    }
    buf_puts(out, "just now");
}
