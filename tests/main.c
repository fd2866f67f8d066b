/* Runs the groups that TEST registered. See check.h. */
#define _GNU_SOURCE /* mkdtemp, MAP_ANONYMOUS */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static struct test *tests;
static size_t passed, failed, failed_here;
static uint64_t random_state;

void test_register(struct test *t)
{
    struct test **at = &tests;
    while (*at && strcmp((*at)->name, t->name) < 0)
        at = &(*at)->next;
    t->next = *at;
    *at = t;
}

bool check_(bool ok, const char *file, int line, const char *expr, const char *format, ...)
{
    if (ok) {
        passed++;
        return true;
    }
    failed++;
    if (++failed_here <= 10) { /* a group that fails everywhere need not fill the screen */
        fprintf(stderr, "%s:%d: failed: %s ", file, line, expr);
        va_list args;
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
        fputc('\n', stderr);
    }
    return false;
}

uint64_t test_random(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545F4914F6CDD1Du;
}

uint64_t test_below(uint64_t n) { return n ? test_random() % n : 0; }

float test_normal(void)
{
    double sum = 0; /* twelve uniform numbers: close enough to normal */
    for (int i = 0; i < 12; i++)
        sum += (double)(test_random() >> 11) / 9007199254740992.0;
    return (float)(sum - 6.0);
}

/* What a group allocated through the harness. */
static struct {
    void *base;
    size_t size; /* 0: malloc */
} held[4096];
static size_t n_held;

static void hold(void *base, size_t size)
{
    if (n_held == sizeof held / sizeof *held) {
        fprintf(stderr, "too many test allocations in one group\n");
        abort();
    }
    held[n_held].base = base;
    held[n_held++].size = size;
}

static void release_all(void)
{
    while (n_held) {
        n_held--;
        if (held[n_held].size)
            munmap(held[n_held].base, held[n_held].size);
        else
            free(held[n_held].base);
    }
}

void *test_guarded(size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (n + page - 1) / page * page;
    char *base = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || mprotect(base + size, page, PROT_NONE) != 0)
        abort();
    hold(base, size + page);
    return base + size - n;
}

const char *test_path(const char *name)
{
    static char path[4096];
    const char *root = getenv("SIGNUM_TESTS");
    snprintf(path, sizeof path, "%s/golden/%s", root ? root : "tests", name);
    return path;
}

char *test_golden(const char *name, size_t *len)
{
    FILE *f = fopen(test_path(name), "rb");
    if (!f) {
        fprintf(stderr, "missing %s: run from the repository's root\n", test_path(name));
        exit(1);
    }
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    rewind(f);
    char *data = malloc((size_t)size + 1);
    if (!data || fread(data, 1, (size_t)size, f) != (size_t)size)
        abort();
    fclose(f);
    data[size] = 0;
    if (len)
        *len = (size_t)size;
    hold(data, 0);
    return data;
}

static char tmp[64];

static void remove_tmp(void)
{
    char command[128];
    if (tmp[0]) {
        snprintf(command, sizeof command, "rm -rf '%s'", tmp);
        if (system(command) != 0)
            fprintf(stderr, "could not remove %s\n", tmp);
    }
}

const char *test_tmp(void)
{
    if (!tmp[0]) {
        strcpy(tmp, "/tmp/signum-test-XXXXXX");
        if (!mkdtemp(tmp))
            abort();
        atexit(remove_tmp);
    }
    return tmp;
}

int main(int argc, char **argv)
{
    uint64_t seed = (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32;
    const char *names[512];
    size_t n_names = 0;
    bool verbose = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-l") == 0) {
            for (struct test *t = tests; t; t = t->next)
                puts(t->name);
            return 0;
        }
        if (strcmp(argv[i], "-s") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "-v") == 0)
            verbose = true;
        else if (n_names < sizeof names / sizeof *names)
            names[n_names++] = argv[i];
    }
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    size_t groups = 0, bad_groups = 0;
    for (struct test *t = tests; t; t = t->next) {
        bool wanted = n_names == 0;
        for (size_t i = 0; i < n_names; i++)
            wanted |= strncmp(t->name, names[i], strlen(names[i])) == 0;
        if (!wanted)
            continue;
        random_state = (seed ^ 0x9E3779B97F4A7C15u) | 1; /* every group alone repeats what it did in company */
        failed_here = 0;
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        t->run();
        clock_gettime(CLOCK_MONOTONIC, &b);
        release_all();
        groups++;
        bad_groups += failed_here > 0;
        if (failed_here || verbose)
            fprintf(stderr, "%-32s %s  %.2f s\n", t->name, failed_here ? "FAILED" : "ok",
                    (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec));
    }
    if (groups == 0) {
        fprintf(stderr, "no such test\n");
        return 1;
    }
    fprintf(stderr, "%zu groups, %zu checks\n", groups, passed + failed);
    printf("%zu passed, %zu failed\n", groups - bad_groups, bad_groups);
    return failed != 0;
}
