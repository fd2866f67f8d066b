/* What sessions had evaluated, kept so that going on with one is instant. Only a cache: what
 * fails here costs time, nothing else, and is told only with -v. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chat.h"

enum {
    WORTH_KEEPING = 32
}; /* tokens; fewer are evaluated as fast as they are read */

static bool in_use(const struct chat *chat) { return chat->caches.len > 0 && chat->o->resume_cache > 0; }

static uint64_t limit(const struct chat *chat) { return (uint64_t)chat->o->resume_cache << 20; }

static void put_path(struct buf *out, const struct chat *chat, const char *name) { buf_printf(out, "%s/%s.kv", chat->caches.data, name); }

struct entry {
    char *path;
    time_t modified;
    uint64_t bytes;
};

static int oldest_first(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->modified < y->modified ? -1 : x->modified > y->modified;
}

/* Every file of the folder counts, so that what a crash left behind goes as well. */
static size_t list_files(const char *folder, struct entry **list)
{
    size_t n = 0, cap = 0;
    struct dirent *d;
    DIR *dir = opendir(folder);
    *list = NULL;
    while (dir && (d = readdir(dir)) != NULL) {
        struct stat info;
        struct buf path = {0};
        buf_printf(&path, "%s/%s", folder, d->d_name);
        if (path.failed || stat(path.data, &info) != 0 || !S_ISREG(info.st_mode)) {
            buf_free(&path);
            continue;
        }
        if (n == cap) {
            struct entry *grown = realloc(*list, (cap + 64) * sizeof *grown);
            if (!grown) {
                buf_free(&path);
                break;
            }
            *list = grown;
            cap += 64;
        }
        (*list)[n++] = (struct entry){path.data, info.st_mtime, (uint64_t)info.st_size};
    }
    if (dir)
        closedir(dir);
    return n;
}

/* Removes the oldest until the folder is within its limit with so many bytes more. */
static void make_space(const struct chat *chat, uint64_t more)
{
    struct entry *list;
    uint64_t total = more;
    size_t n = list_files(chat->caches.data, &list);
    for (size_t i = 0; i < n; i++)
        total += list[i].bytes;
    if (n)
        qsort(list, n, sizeof *list, oldest_first);
    for (size_t i = 0; i < n; i++) {
        if (total > limit(chat) && unlink(list[i].path) == 0)
            total -= list[i].bytes;
        free(list[i].path);
    }
    free(list);
}

void chat_cache_save(struct chat *chat)
{
    struct sg_error err;
    struct sg_memory memory;
    size_t n = sg_length(chat->session);
    if (!in_use(chat) || chat->log.fd < 0 || n < WORTH_KEEPING)
        return;
    struct buf path = {0};
    put_path(&path, chat, chat->log.name.data);
    if (path.failed)
        return;
    sg_memory(chat->engine, n, &memory);
    uint64_t bytes = memory.kv_full + n * sizeof(int32_t) + 4096;
    unlink(path.data); /* the older one of this session makes room first */
    make_space(chat, bytes);
    if (bytes <= limit(chat) && sg_session_save(chat->session, path.data, &err) != SG_OK && chat->o->verbose)
        chat_say(chat, "no cache for resuming: %s", err.message);
    buf_free(&path);
}

void chat_cache_load(struct chat *chat)
{
    struct sg_error err;
    struct buf path = {0};
    sg_rewind(chat->session, 0);
    if (!in_use(chat) || chat->log.fd < 0)
        return;
    put_path(&path, chat, chat->log.name.data);
    enum sg_status status = path.failed ? SG_NO_MEMORY : sg_session_load(chat->session, path.data, &err);
    if (chat->o->verbose && !path.failed)
        chat_say(chat, "%s", status == SG_OK ? "resumed from the cache" : err.message);
    buf_free(&path);
}

void chat_cache_rename(struct chat *chat, const char *from, const char *to)
{
    struct buf old = {0}, new = {0};
    if (in_use(chat)) {
        put_path(&old, chat, from);
        put_path(&new, chat, to);
        if (!old.failed && !new.failed && rename(old.data, new.data) != 0)
            unlink(old.data); /* nobody would look for it */
    }
    buf_free(&old);
    buf_free(&new);
}
