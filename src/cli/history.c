#define _DEFAULT_SOURCE /* flock */
#include "history.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "json.h"

enum {
    FILE_MAX = 64 << 20
};

static void remove_entry(struct history *h, size_t i)
{
    free(h->entries[i].text);
    memmove(h->entries + i, h->entries + i + 1, (h->n - i - 1) * sizeof *h->entries);
    h->n--;
}

static void remember(struct history *h, const char *text, size_t len)
{
    for (size_t i = h->n; i-- > 0;) {
        if (h->entries[i].len == len && memcmp(h->entries[i].text, text, len) == 0) {
            remove_entry(h, i);
            break;
        }
    }
    if (h->n == HISTORY_ENTRIES)
        remove_entry(h, 0);
    if (h->n == h->cap) {
        size_t cap = h->cap ? h->cap * 2 : 64;
        struct history_entry *grown = realloc(h->entries, cap * sizeof *grown);
        if (!grown)
            return;
        h->entries = grown;
        h->cap = cap;
    }
    char *copy = malloc(len + 1);
    if (!copy)
        return;
    memcpy(copy, text, len);
    copy[len] = 0;
    h->entries[h->n++] = (struct history_entry){copy, len};
}

/* Opens the file for appending and takes its lock; another chat may have renamed a new one
 * into its place meanwhile. -1: can not. */
static int open_locked(const char *path)
{
    for (int tries = 0; tries < 8; tries++) {
        struct stat here, there;
        int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
            return -1;
        if (flock(fd, LOCK_EX) == 0 && fchmod(fd, 0600) == 0 && fstat(fd, &here) == 0 && stat(path, &there) == 0 &&
            here.st_ino == there.st_ino && here.st_dev == there.st_dev)
            return fd;
        close(fd);
    }
    return -1;
}

static bool write_all(int fd, const struct buf *b) { return !b->failed && write(fd, b->data, b->len) == (ssize_t)b->len; }

static void put_line(struct buf *out, const char *text, size_t len)
{
    json_put_string(out, text, len);
    buf_putc(out, '\n');
}

/* Replaces the file by what is in memory. */
static void rewrite(const struct history *h)
{
    struct buf all = {0}, temporary = {0};
    for (size_t i = 0; i < h->n; i++)
        if (h->entries[i].len <= HISTORY_ENTRY_MAX)
            put_line(&all, h->entries[i].text, h->entries[i].len);
    buf_printf(&temporary, "%s.%ld", h->path, (long)getpid());
    int fd = temporary.failed ? -1 : open(temporary.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0) {
        bool ok = write_all(fd, &all);
        ok &= close(fd) == 0;
        if (!ok || rename(temporary.data, h->path) != 0)
            unlink(temporary.data);
    }
    buf_free(&all);
    buf_free(&temporary);
}

/* Takes the entries of a file's text; returns how many lines it has. */
static size_t parse(struct history *h, const struct buf *file)
{
    size_t lines = 0;
    struct buf text = {0};
    for (size_t i = 0; i < file->len;) {
        const char *line = file->data + i, *end = memchr(line, '\n', file->len - i);
        size_t len = end ? (size_t)(end - line) : file->len - i;
        struct json j;
        if (json_parse(&j, line, len, NULL) == SG_OK && j.nodes[0].type == JSON_STRING) {
            text.len = 0;
            json_string(&j, &j.nodes[0], &text);
            if (text.len && !text.failed)
                remember(h, text.data, text.len);
        }
        json_free(&j);
        lines++;
        i += len + 1;
    }
    buf_free(&text);
    return lines;
}

void history_open(struct history *h, const char *path)
{
    *h = (struct history){0};
    h->path = path ? strdup(path) : NULL;
    if (!h->path || access(path, F_OK) != 0)
        return;
    int fd = open_locked(path);
    if (fd < 0)
        return;
    struct buf file = {0};
    if (file_read(&file, path, FILE_MAX, NULL) == SG_OK && parse(h, &file) > 2 * HISTORY_ENTRIES)
        rewrite(h);
    buf_free(&file);
    close(fd);
}

void history_add(struct history *h, const char *text, size_t len)
{
    if (len == 0)
        return;
    bool repeated = h->n > 0 && h->entries[h->n - 1].len == len && memcmp(h->entries[h->n - 1].text, text, len) == 0;
    if (repeated)
        return;
    remember(h, text, len);
    if (!h->path || len > HISTORY_ENTRY_MAX)
        return;
    int fd = open_locked(h->path);
    if (fd < 0)
        return;
    struct buf line = {0};
    char last;
    off_t size = lseek(fd, 0, SEEK_END);
    if (size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n')
        buf_putc(&line, '\n'); /* a torn line must not swallow this one */
    put_line(&line, text, len);
    /* A failure (disk full) costs the entry its permanence, nothing else. */
    (void)write_all(fd, &line);
    buf_free(&line);
    close(fd);
}

static bool has_capitals(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] >= 'A' && s[i] <= 'Z')
            return true;
    return false;
}

static char folded(char c, bool fold) { return fold && c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c; }

static bool contains(const struct history_entry *e, const char *text, size_t len, bool fold, size_t *at)
{
    for (size_t i = 0; i + len <= e->len; i++) {
        size_t k = 0;
        while (k < len && folded(e->text[i + k], fold) == text[k])
            k++;
        if (k == len) {
            *at = i;
            return true;
        }
    }
    return false;
}

size_t history_find(const struct history *h, size_t from, const char *text, size_t len, size_t *at)
{
    bool fold = !has_capitals(text, len);
    for (size_t i = MIN(from, h->n); i-- > 0;)
        if (contains(&h->entries[i], text, len, fold, at))
            return i;
    return SIZE_MAX;
}

size_t history_find_newer(const struct history *h, size_t from, const char *text, size_t len, size_t *at)
{
    bool fold = !has_capitals(text, len);
    for (size_t i = from + 1; i < h->n; i++)
        if (contains(&h->entries[i], text, len, fold, at))
            return i;
    return SIZE_MAX;
}

void history_close(struct history *h)
{
    for (size_t i = 0; i < h->n; i++)
        free(h->entries[i].text);
    free(h->entries);
    free(h->path);
    *h = (struct history){0};
}
