/* fuzz.h: a fuzz target is one function over bytes. libFuzzer calls it by its own name; built
 * without libFuzzer (replay.c), files and random damage to them are fed to it. */
#ifndef SIGNUM_FUZZ_H
#define SIGNUM_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that must hold for every input. */
#define MUST(x)                                                            \
    do {                                                                   \
        if (!(x)) {                                                        \
            fprintf(stderr, "%s:%d: false: %s\n", __FILE__, __LINE__, #x); \
            abort();                                                       \
        }                                                                  \
    } while (0)

#endif
