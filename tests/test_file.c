/* Files that are none, files that are odd. */
#define _XOPEN_SOURCE 700
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "file.h"

static char path[256];

static const char *in_tmp(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", test_tmp(), name);
    unlink(path);
    return path;
}

static void write_file(const char *name, const char *data, size_t len)
{
    FILE *f = fopen(name, "wb");
    if (!CHECK(f && fwrite(data, 1, len, f) == len))
        exit(1);
    fclose(f);
}

/* Neither way of reading accepts it, and the sentence says what it is. */
static void not_mapped(const char *name, const char *what)
{
    struct file_map map = {(const uint8_t *)"x", 1};
    struct sg_error err = {0};
    CHECKF(file_map(&map, name, &err) == SG_FAIL && !map.data && map.size == 0, "%s", name);
    CHECKF(strncmp(err.message, name, strlen(name)) == 0 && strstr(err.message, what), "\"%s\" lacks \"%s\"", err.message, what);
}

TEST(file_map_refuses)
{
    not_mapped(test_tmp(), "directory");
    not_mapped("/dev/null", "device");
    not_mapped(in_tmp("missing"), "No such file");
    CHECK(mkfifo(in_tmp("fifo"), 0600) == 0);
    not_mapped(path, "pipe"); /* and does not wait for a writer */
    CHECK(symlink("loop", in_tmp("loop")) == 0);
    not_mapped(path, "symbolic links");
    write_file(in_tmp("secret"), "x", 1);
    CHECK(chmod(path, 0) == 0);
    if (geteuid() != 0)
        not_mapped(path, "denied");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    in_tmp("socket");
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0)
        not_mapped(path, "");
    close(fd);
}

TEST(file_map_reads)
{
    struct file_map map;
    struct sg_error err = {0};
    write_file(in_tmp("empty"), "", 0);
    CHECK(file_map(&map, path, &err) == SG_OK && map.size == 0 && !map.data);
    file_prefetch(&map);
    file_unmap(&map);
    write_file(in_tmp("text"), "a\0b", 3);
    char target[256];
    strcpy(target, path);
    CHECK(symlink(target, in_tmp("link")) == 0); /* links are followed */
    CHECK(file_map(&map, path, &err) == SG_OK && map.size == 3 && memcmp(map.data, "a\0b", 3) == 0);
    file_prefetch(&map);
    file_unmap(&map);
    CHECK(!map.data && map.size == 0);
    file_unmap(&map);
}

TEST(file_read_whole)
{
    struct buf out = {0};
    struct sg_error err = {0};
    enum {
        SIZE = 100000
    };
    char *data = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (char)test_random();
    write_file(in_tmp("data"), data, SIZE);
    buf_puts(&out, "before");
    CHECK(file_read(&out, path, SIZE, &err) == SG_OK && out.len == SIZE + 6 && memcmp(out.data + 6, data, SIZE) == 0);
    buf_free(&out);
    CHECK(file_read(&out, path, SIZE - 1, &err) == SG_USAGE && strstr(err.message, "99999"));
    buf_free(&out);
    CHECK(file_read(&out, test_tmp(), SIZE, &err) == SG_FAIL && strstr(err.message, "irectory"));
    CHECK(file_read(&out, in_tmp("none"), SIZE, &err) == SG_FAIL && strstr(err.message, "none"));
    CHECK(file_read(&out, "/dev/null", 0, &err) == SG_OK && out.len == 0);

    /* "-" is standard input, here a pipe fed in pieces. */
    int kept = dup(STDIN_FILENO), ends[2];
    CHECK(pipe(ends) == 0 && write(ends[1], data, 5000) == 5000 && write(ends[1], data + 5000, 3000) == 3000);
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    CHECK(file_read(&out, "-", SIZE, &err) == SG_OK && out.len == 8000 && memcmp(out.data, data, 8000) == 0);
    dup2(kept, STDIN_FILENO);
    close(kept);
    close(ends[0]);
    buf_free(&out);
    free(data);
}
