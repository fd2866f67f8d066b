/* history.h: what was typed before, in memory and in a file shared by all chats.
 * Layer: cli (base).
 *
 * The file holds one JSON string per line, oldest first, mode 0600. Entries are appended by
 * one write under a lock, so that several chats can share it; when it has grown to twice
 * what is kept it is rewritten beside itself and renamed. Lines that are no JSON string
 * (torn by a crash) are skipped. */
#ifndef SIGNUM_HISTORY_H
#define SIGNUM_HISTORY_H

#include "buf.h"

enum {
    HISTORY_ENTRIES = 1000,
    HISTORY_ENTRY_MAX = 64 << 10, /* longer entries stay in memory only */
};

struct history {
    struct history_entry {
        char *text;
        size_t len;
    } * entries; /* oldest first, no two equal */
    size_t n, cap;
    char *path; /* NULL: memory only */
};

/* Reads the file if there is one. path may be NULL. Never fails: without a readable file
 * the history is empty, without memory it is short. */
void history_open(struct history *h, const char *path);

/* Adds the newest entry, in memory and in the file; an equal older one goes. Empty text is
 * ignored. */
void history_add(struct history *h, const char *text, size_t len);

/* The newest entry before index `from` that contains the text, or SIZE_MAX. Letter case of
 * ASCII matters only when the text has capitals. *at is where in the entry. */
size_t history_find(const struct history *h, size_t from, const char *text, size_t len, size_t *at);
/* The oldest one after index `from`. */
size_t history_find_newer(const struct history *h, size_t from, const char *text, size_t len, size_t *at);

void history_close(struct history *h);

#endif
