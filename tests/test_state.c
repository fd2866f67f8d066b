/* Saved sessions: to the bit what they were, and refused for every reason there is. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "signum.h"

static struct sg_engine *open_engine(const char *model, enum sg_kv_type type, enum sg_act act)
{
    struct sg_engine *e = NULL;
    struct sg_error err = {0};
    struct sg_options o = {
        .model_path = test_path(model), .n_threads = 2, .type_k = type, .type_v = type, .act = act, .kv_budget = 64 << 20};
    CHECKF(sg_open(&e, &o, &err) == SG_OK, "%s", err.message);
    return e;
}

static void eval(struct sg_engine *e, struct sg_session *s, const int32_t *ids, size_t n)
{
    struct sg_feed feed = {.session = s, .ids = ids, .n = n, .n_logits = 1};
    CHECK(sg_eval(e, &feed, 1, NULL) == SG_OK);
}

static void fill(struct sg_engine *e, int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)test_below(sg_info(e)->n_vocab);
}

static char *slurp(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    struct stat info;
    if (!CHECK(f && fstat(fileno(f), &info) == 0))
        exit(1);
    *len = (size_t)info.st_size;
    char *data = malloc(*len + 1);
    CHECK(data && fread(data, 1, *len, f) == *len);
    fclose(f);
    return data;
}

static void spill(const char *path, const char *data, size_t len)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(data, 1, len, f) == len && fclose(f) == 0);
}

TEST(state_round_trip)
{
    static const size_t lengths[] = {1, 15, 16, 63, 64, 65, 200};
    char path[300];
    snprintf(path, sizeof path, "%s/state.kv", test_tmp());
    for (int type = SG_KV_F16; type <= SG_KV_Q8_0; type++) {
        struct sg_engine *e = open_engine("models/q1-tied.gguf", (enum sg_kv_type)type, SG_ACT_INT8);
        size_t n_vocab = sg_info(e)->n_vocab;
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            size_t n = lengths[i];
            int32_t ids[220];
            struct sg_session *a = NULL, *b = NULL;
            struct sg_error err = {0};
            struct stat info;
            fill(e, ids, n + 3);
            CHECK(sg_session_open(&a, e, 300, NULL) == SG_OK && sg_session_open(&b, e, 220, NULL) == SG_OK);
            eval(e, a, ids, n);
            CHECKF(sg_session_save(a, path, &err) == SG_OK, "%s", err.message);
            CHECK(stat(path, &info) == 0 && (info.st_mode & 0777) == 0600);
            eval(e, b, ids + 1, 2); /* what it held before is gone */
            CHECKF(sg_session_load(b, path, &err) == SG_OK, "%s", err.message);
            CHECK(sg_length(b) == n && memcmp(sg_ids(b), ids, n * sizeof *ids) == 0 && sg_logits(b) == NULL);
            eval(e, a, ids + n, 3);
            eval(e, b, ids + n, 3);
            CHECKF(memcmp(sg_logits(a), sg_logits(b), n_vocab * sizeof(float)) == 0, "%zu tokens", n);
            sg_session_close(a);
            sg_session_close(b);
        }
        sg_close(e);
    }
}

/* Loading fails, and leaves an empty session that works. */
static void check_refused(struct sg_engine *e, size_t n_ctx, const char *path, const char *why)
{
    struct sg_session *s;
    struct sg_error err = {0};
    CHECK(sg_session_open(&s, e, n_ctx, NULL) == SG_OK);
    CHECKF(sg_session_load(s, path, &err) == SG_FAIL && strstr(err.message, why), "expected \"%s\", got \"%s\"", why, err.message);
    CHECK(sg_length(s) == 0);
    int32_t id = 1;
    eval(e, s, &id, 1);
    sg_session_close(s);
}

TEST(state_refuses)
{
    char path[300], bad[300];
    snprintf(path, sizeof path, "%s/good.kv", test_tmp());
    snprintf(bad, sizeof bad, "%s/bad.kv", test_tmp());
    struct sg_engine *e = open_engine("models/mini-q1.gguf", SG_KV_F16, SG_ACT_INT8);
    struct sg_session *s;
    int32_t ids[70];
    fill(e, ids, 70);
    CHECK(sg_session_open(&s, e, 100, NULL) == SG_OK);
    eval(e, s, ids, 70);
    CHECK(sg_session_save(s, path, NULL) == SG_OK);
    CHECK(sg_session_save(s, "/nowhere/at/all", NULL) == SG_FAIL);
    sg_session_close(s);

    check_refused(e, 100, bad, "No such file");
    check_refused(e, 100, test_tmp(), "is no file");
    check_refused(e, 69, path, "does not fit");
    struct sg_engine *other = open_engine("models/mini-q1-v2.gguf", SG_KV_F16, SG_ACT_INT8);
    check_refused(other, 100, path, "another model");
    sg_close(other);
    other = open_engine("models/mini-q1.gguf", SG_KV_F32, SG_ACT_INT8);
    check_refused(other, 100, path, "other settings");
    sg_close(other);
    other = open_engine("models/mini-q1.gguf", SG_KV_F16, SG_ACT_INT16);
    check_refused(other, 100, path, "other settings");
    sg_close(other);
    other = open_engine("models/mini-q1.gguf", SG_KV_F16, SG_ACT_F32);
    check_refused(other, 100, path, "other settings");
    sg_close(other);

    size_t len;
    char *data = slurp(path, &len);
    for (size_t cut = 0; cut < len; cut += cut < 400 ? 1 : 997) { /* cut off anywhere */
        spill(bad, data, cut);
        check_refused(e, 100, bad, "bad.kv ");
    }
    char *longer = calloc(1, len + 64);
    memcpy(longer, data, len);
    spill(bad, longer, len + 64);
    check_refused(e, 100, bad, "too much");
    free(longer);
    for (int i = 0; i < 300; i++) { /* any bit turned over */
        size_t at = i < 150 ? (size_t)test_below(400) : (size_t)test_below(len);
        char before = data[at];
        data[at] ^= (char)(1 << test_below(8));
        spill(bad, data, len);
        check_refused(e, 100, bad, "bad.kv ");
        data[at] = before;
    }
    /* A file that is whole but asks for the sky. */
    uint64_t sky = (uint64_t)1 << 61;
    memcpy(data + 56, &sky, sizeof sky);
    spill(bad, data, len);
    check_refused(e, 100, bad, "does not fit");
    free(data);
    sg_close(e);
}
