#include "golden_logits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

const char *const golden_names[] = {
    "mini-q1", "mini-q1-v2", "q1-tied", "q1-untied", "q1-yarn", "q1-yarn-past", "f16-defaults",
    "q8",      "q2-g64",     "q2-g128", "pq2",       "mixed",   NULL,
};

static size_t read_list(const char *line, int32_t *out)
{
    size_t n = 0;
    char *end;
    for (;; line = end) {
        long x = strtol(line, &end, 10);
        if (end == line || n == GOLDEN_IDS)
            return n;
        out[n++] = (int32_t)x;
    }
}

static void read_limit(struct golden_logits *g, const char *line)
{
    char class[32];
    struct golden_limits l;
    if (sscanf(line, "limit %31s %lf %lf %lf %lf", class, &l.median, &l.mean, &l.max, &l.abs) != 5)
        abort();
    if (strcmp(class, "f32") == 0)
        g->f32 = l;
    if (strcmp(class, "kv_f16") == 0)
        g->kv_f16 = l;
    if (strcmp(class, "g128") == 0)
        g->g128 = l;
}

const struct golden_logits *golden_load(const char *name)
{
    static struct golden_logits g;
    char path[128];
    memset(&g, 0, sizeof g);
    snprintf(path, sizeof path, "logits/%s.txt", name);
    char *text = test_golden(path, NULL), *save = NULL;
    struct golden_sequence *s = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, "model ", 6) == 0)
            sscanf(line, "model %*s %zu", &g.n_vocab);
        else if (strncmp(line, "limit ", 6) == 0)
            read_limit(&g, line);
        else if (strncmp(line, "sequence ", 9) == 0) {
            if (g.n_sequences == GOLDEN_SEQUENCES)
                abort();
            s = &g.sequence[g.n_sequences++];
            size_t n_ids, n_positions, n_greedy;
            sscanf(line, "sequence %31s %zu %zu %zu %zu", s->label, &n_ids, &n_positions, &s->first_row, &n_greedy);
        } else if (s && strncmp(line, "ids", 3) == 0)
            s->n_ids = read_list(line + 3, s->ids);
        else if (s && strncmp(line, "positions", 9) == 0)
            s->n_positions = read_list(line + 9, s->positions);
        else if (s && strncmp(line, "greedy", 6) == 0)
            s->n_greedy = read_list(line + 6, s->greedy);
        else if (s && strncmp(line, "gaps", 4) == 0) {
            char *at = line + 4;
            for (size_t i = 0; i < s->n_greedy; i++)
                s->gaps[i] = strtof(at, &at);
        }
    }
    snprintf(path, sizeof path, "logits/%s.f32", name);
    g.rows = (const float *)(const void *)test_golden(path, NULL);
    return &g;
}
