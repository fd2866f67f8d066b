/* golden_logits.h: reads tests/golden/logits/NAME.txt and .f32, the logits of an
 * independent float64 implementation. */
#ifndef SIGNUM_GOLDEN_LOGITS_H
#define SIGNUM_GOLDEN_LOGITS_H

#include <stddef.h>
#include <stdint.h>

enum {
    GOLDEN_SEQUENCES = 8,
    GOLDEN_IDS = 1024
};

struct golden_sequence {
    char label[32];
    int32_t ids[GOLDEN_IDS], positions[GOLDEN_IDS], greedy[GOLDEN_IDS];
    float gaps[GOLDEN_IDS];
    size_t n_ids, n_positions, n_greedy, first_row;
};

struct golden_limits { /* of one class */
    double median, mean, max, abs;
};

struct golden_logits {
    size_t n_vocab, n_sequences;
    struct golden_limits f32, kv_f16, g128;
    struct golden_sequence sequence[GOLDEN_SEQUENCES];
    const float *rows; /* (rows, n_vocab) */
};

extern const char *const golden_names[]; /* of all models, NULL-terminated */

/* Memory belongs to the test harness. */
const struct golden_logits *golden_load(const char *name);

#endif
