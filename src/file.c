#define _DEFAULT_SOURCE /* madvise */
#define _FILE_OFFSET_BITS 64
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The kind of thing that a path names instead of a file, or NULL for a regular file. */
static const char *not_a_file(mode_t mode)
{
    if (S_ISREG(mode))
        return NULL;
    if (S_ISDIR(mode))
        return "a directory";
    if (S_ISFIFO(mode))
        return "a pipe";
    if (S_ISSOCK(mode))
        return "a socket";
    return "a device";
}

enum sg_status file_map(struct file_map *out, const char *path, struct sg_error *err)
{
    *out = (struct file_map){0};
    /* O_NONBLOCK: opening a pipe must not wait for a writer; regular files ignore it. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return fail(err, SG_FAIL, "%s: %s", path, strerror(errno));
    enum sg_status status = SG_OK;
    struct stat info;
    if (fstat(fd, &info) != 0) {
        status = fail(err, SG_FAIL, "%s: %s", path, strerror(errno));
    } else if (not_a_file(info.st_mode)) {
        status = fail(err, SG_FAIL, "%s: is %s, not a file", path, not_a_file(info.st_mode));
    } else if ((uintmax_t)info.st_size > SIZE_MAX / 2) {
        status = fail(err, SG_FAIL, "%s: too large for the address space of this program", path);
    } else if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED) {
            status = fail(err, SG_FAIL, "%s: cannot be mapped into memory: %s", path, strerror(errno));
        } else {
            out->data = data;
            out->size = (size_t)info.st_size;
#ifdef MADV_HUGEPAGE
            madvise(data, out->size, MADV_HUGEPAGE); /* where the file system can: fewer TLB misses; else no harm */
#endif
        }
    }
    close(fd);
    return status;
}

void file_prefetch(const struct file_map *map)
{
    if (map->size)
        madvise((void *)(uintptr_t)map->data, map->size, MADV_WILLNEED); /* advice: failure changes only the speed */
}

void file_forget(const struct file_map *map, const uint8_t *data, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), begin = ROUND_UP((size_t)(data - map->data), page);
    size_t end = ((size_t)(data - map->data) + bytes) / page * page;
    if (begin < end)
        madvise((void *)(uintptr_t)(map->data + begin), end - begin, MADV_DONTNEED); /* of a file: it stays in the page cache */
}

void file_unmap(struct file_map *map)
{
    if (map->data)
        munmap((void *)(uintptr_t)map->data, map->size);
    *map = (struct file_map){0};
}

/* Reads fd to its end. */
static enum sg_status read_all(struct buf *out, int fd, const char *name, size_t max, struct sg_error *err)
{
    char chunk[1 << 14];
    size_t total = 0;
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) /* a handler without SA_RESTART: the user wants to stop */
            return fail(err, SG_INTERRUPTED, "%s: interrupted while reading", name);
        if (n < 0)
            return fail(err, SG_FAIL, "%s: %s", name, strerror(errno));
        if (n == 0)
            return SG_OK;
        total += (size_t)n;
        if (total > max)
            return fail(err, SG_USAGE, "%s: longer than %zu bytes", name, max);
        buf_append(out, chunk, (size_t)n);
        if (out->failed)
            return fail_memory(err, out->len + (size_t)n, name);
    }
}

enum sg_status file_read(struct buf *out, const char *path, size_t max, struct sg_error *err)
{
    if (strcmp(path, "-") == 0)
        return read_all(out, STDIN_FILENO, "standard input", max, err);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return fail(err, SG_FAIL, "%s: %s", path, strerror(errno));
    enum sg_status status = read_all(out, fd, path, max, err);
    close(fd);
    return status;
}
