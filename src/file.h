/* file.h: reading files: mapped (models) or whole (prompts). Layer: base. */
#ifndef SIGNUM_FILE_H
#define SIGNUM_FILE_H

#include "buf.h"
#include "error.h"

struct file_map {
    const uint8_t *data; /* NULL when size is 0 */
    size_t size;
};

/* Maps a regular file read-only; anything else (directory, FIFO, device) is
 * refused with a sentence. A file that shrinks while mapped raises SIGBUS: the
 * program turns that into a message (cli/main.c). */
enum sg_status file_map(struct file_map *out, const char *path, struct sg_error *err);
void file_unmap(struct file_map *map);

/* Asks the system to read the whole file ahead; returns at once. */
void file_prefetch(const struct file_map *map);

/* Part of the map will not be read again soon: this process's memory need not hold it. */
void file_forget(const struct file_map *map, const uint8_t *data, size_t bytes);

/* Appends everything from path ("-": standard input) to out; SG_USAGE when it
 * is longer than max bytes. */
enum sg_status file_read(struct buf *out, const char *path, size_t max, struct sg_error *err);

#endif
