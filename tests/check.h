/* check.h: the test harness: named groups, counted checks, a seeded generator.
 *
 * A test file defines groups with  TEST(name) { ... CHECK(x == 1); ... }  and lists
 * nothing anywhere: TEST registers itself. Run one group with  signum-tests NAME,
 * list them with -l, set the seed with -s SEED (printed at the start). */
#ifndef SIGNUM_CHECK_H
#define SIGNUM_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct test {
    const char *name;
    void (*run)(void);
    struct test *next;
};
void test_register(struct test *t);

#define TEST(ident)                                                 \
    static void test_##ident(void);                                 \
    __attribute__((constructor)) static void register_##ident(void) \
    {                                                               \
        static struct test entry = {#ident, test_##ident, NULL};    \
        test_register(&entry);                                      \
    }                                                               \
    static void test_##ident(void)

/* Counts; on failure prints file, line, the expression and the note (printf-style). */
bool check_(bool ok, const char *file, int line, const char *expr, const char *format, ...) __attribute__((format(printf, 5, 6)));
#define CHECK(x) check_((x), __FILE__, __LINE__, #x, " ")
#define CHECKF(x, ...) check_((x), __FILE__, __LINE__, #x, __VA_ARGS__)

/* Pseudo-random numbers from the run's seed (xorshift64*). */
uint64_t test_random(void);
uint64_t test_below(uint64_t n);
float test_normal(void); /* mean 0, deviation 1 */

/* n bytes that end exactly at an inaccessible page; freed after the group. */
void *test_guarded(size_t n);

/* Reads a file below the repository's tests/golden; aborts the run when missing. Freed
 * after the group; NUL-terminated. */
char *test_golden(const char *name, size_t *len);
/* Path of a golden file, in a static buffer. */
const char *test_path(const char *name);

/* Directory for temporary files, removed at the end. */
const char *test_tmp(void);

#endif
