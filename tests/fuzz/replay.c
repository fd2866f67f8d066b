/* main() for fuzz targets without libFuzzer:  fuzz_X [-n ROUNDS] [-s SEED] FILE...
 * Feeds every file to the target as it is, then ROUNDS times damaged at random. */
#include <string.h>

#include "../mutate.h"
#include "fuzz.h"

static uint64_t state;

static uint64_t below(uint64_t n)
{
    state ^= state >> 12; /* xorshift64* */
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545F4914F6CDD1Du % n;
}

int main(int argc, char **argv)
{
    unsigned long rounds = 0, seed = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-n") == 0 && i + 1 < argc) {
            rounds = strtoul(argv[++i], NULL, 0);
            continue;
        }
        if (strcmp(argv[i], "-s") == 0 && i + 1 < argc) {
            seed = strtoul(argv[++i], NULL, 0);
            continue;
        }
        FILE *f = fopen(argv[i], "rb");
        if (!f || fseek(f, 0, SEEK_END) != 0) {
            perror(argv[i]);
            return 1;
        }
        size_t size = (size_t)ftell(f), cap = size + 256;
        rewind(f);
        uint8_t *data = malloc(cap), *damaged = malloc(cap);
        if (!data || !damaged || fread(data, 1, size, f) != size) {
            perror(argv[i]);
            return 1;
        }
        fclose(f);
        LLVMFuzzerTestOneInput(data, size);
        state = seed | 1;
        for (unsigned long k = 0; k < rounds; k++) {
            memcpy(damaged, data, size);
            size_t n = mutate(damaged, size, cap, size / 4 + 1, below);
            uint8_t *exact = malloc(n + !n); /* so that the sanitizer knows its end */
            if (!exact)
                return 1;
            memcpy(exact, damaged, n);
            LLVMFuzzerTestOneInput(exact, n);
            free(exact);
        }
        free(data);
        free(damaged);
    }
    return 0;
}
