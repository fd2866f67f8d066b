/* once.c: one pack and one run of a kernel family, for counting instructions:
 *     once LEVEL FAMILY TOKENS ROWS GROUPS     with FAMILY 0 sign, 1 popcount, 2 tables; 3 more for int16 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "kernels/kernels.h"

int main(int argc, char **argv)
{
    struct kernels k;
    if (argc != 6 || !kernels_select(&k, cpu_features(), argv[1]))
        return 2;
    size_t f = strtoul(argv[2], NULL, 10), tokens = strtoul(argv[3], NULL, 10), rows = strtoul(argv[4], NULL, 10),
           groups = strtoul(argv[5], NULL, 10);
    if (f >= 2 * Q1_FAMILIES || tokens == 0)
        return 2;
    bool wide = f >= Q1_FAMILIES;
    q1_pick *pick = wide ? k.q1_wide[f - Q1_FAMILIES] : k.q1[f];
    if (!pick)
        return 2;
    const struct q1_family *family = pick(tokens);
    if (tokens > family->max_tokens)
        return 2;
    size_t packed_bytes = ROUND_UP(family->packed_bytes(groups, tokens), (size_t)64);
    uint8_t *w = calloc(rows * groups, Q1_BYTES);
    int8_t *q = calloc(tokens * groups, wide ? WIDE_PLANES * GROUP : GROUP);
    float *scale = calloc(tokens * groups, sizeof *scale), *y = calloc(tokens * rows, sizeof *y);
    void *packed = aligned_alloc(64, packed_bytes);
    if (!w || !q || !scale || !y || !packed)
        return 4;
    family->pack(packed, q, scale, groups, tokens, 0, groups);
    family->run(y, rows, w, 0, rows, groups, packed, tokens, (struct q1_next){0});
    free(w);
    free(q);
    free(scale);
    free(y);
    free(packed);
    return 0;
}
