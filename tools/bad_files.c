/* Unpacks malformed files: bad_files CASES.txt BASE.gguf DIR writes DIR/NAME.gguf for every
 * case and prints its name and the outcome that it must have. */
#include <stdio.h>

#include "../tests/bad_cases.h"

static char *read_whole(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0) {
        perror(path);
        exit(1);
    }
    *size = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(*size + 1);
    if (!data || fread(data, 1, *size, f) != *size) {
        perror(path);
        exit(1);
    }
    data[*size] = 0;
    fclose(f);
    return data;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: bad_files CASES.txt BASE.gguf DIR\n");
        return 2;
    }
    size_t text_size, base_size;
    char *text = read_whole(argv[1], &text_size), *base = read_whole(argv[2], &base_size);
    const char *at = text;
    struct bad_case c;
    while (bad_next(&at, (const uint8_t *)base, base_size, &c)) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s.gguf", argv[3], c.name);
        FILE *f = fopen(path, "wb");
        if (!f || fwrite(c.data, 1, c.size, f) != c.size || fclose(f) != 0) {
            perror(path);
            return 1;
        }
        printf("%s %s\n", c.name, c.outcome);
        free(c.data);
    }
    if (*at) {
        fprintf(stderr, "%s: wrong at byte %zu\n", argv[1], (size_t)(at - text));
        return 1;
    }
    free(text);
    free(base);
    return 0;
}
