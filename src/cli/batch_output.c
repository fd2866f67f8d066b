#define _GNU_SOURCE /* fileno, flock, getline, realpath */
#include "batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---------------------------------------------------------------- known ids */

/* A hundred bits, so that two of a million ids never meet. The first word's low bits say
 * that the slot is used, and that the id had a record before this run. */
enum {
    USED = 1,
    RECORDED = 2
};

static void hash_id(const char *id, size_t len, uint64_t out[2])
{
    out[0] = sg_derive_seed(1, id, len, 0) << 2 | USED;
    out[1] = sg_derive_seed(2, id, len, 0);
}

static uint64_t (*find_slot(struct batch_output *o, const uint64_t key[2]))[2]
{
    size_t at = key[0] >> 2 & (o->seen_cap - 1);
    while (o->seen[at][0] && !((o->seen[at][0] | RECORDED) == (key[0] | RECORDED) && o->seen[at][1] == key[1]))
        at = (at + 1) & (o->seen_cap - 1);
    return &o->seen[at];
}

static enum sg_status claim(struct batch_output *o, const char *id, size_t len, uint64_t flag, enum batch_id *was, struct sg_error *err)
{
    if (2 * (o->n_seen + 1) > o->seen_cap) {
        size_t old_cap = o->seen_cap, cap = old_cap ? 2 * old_cap : 1024;
        uint64_t(*old)[2] = o->seen, (*grown)[2] = calloc(cap, sizeof *grown);
        if (!grown)
            return fail_memory(err, cap * sizeof *grown, "the ids of finished requests");
        o->seen = grown;
        o->seen_cap = cap;
        for (size_t i = 0; i < old_cap; i++)
            if (old[i][0])
                memcpy(*find_slot(o, old[i]), old[i], sizeof *old);
        free(old);
    }
    uint64_t key[2];
    hash_id(id, len, key);
    uint64_t(*slot)[2] = find_slot(o, key);
    *was = !(*slot)[0] ? BATCH_ID_NEW : (*slot)[0] & RECORDED ? BATCH_ID_RECORDED : BATCH_ID_USED;
    if (*was == BATCH_ID_NEW) {
        memcpy(*slot, key, sizeof key);
        (*slot)[0] |= flag;
        o->n_seen++;
    } else if (!flag) {
        (*slot)[0] &= ~(uint64_t)RECORDED; /* its line has come by: the next with this id is a duplicate */
    }
    return SG_OK;
}

enum sg_status batch_output_claim(struct batch_output *o, const struct buf *id, enum batch_id *was, struct sg_error *err)
{
    return claim(o, id->data ? id->data : "", id->len, 0, was, err);
}

/* Records of duplicates are remembered by their line: the id has another record. */
static const char duplicate_code[] = "duplicate_id";

static void duplicate_key(struct buf *key, uint64_t number)
{
    key->len = 0;
    buf_putc(key, '\0');
    buf_printf(key, "duplicate in line %llu", (unsigned long long)number);
}

/* ------------------------------------------------------------------ resuming */

/* Reads one record that is already there. */
static enum sg_status read_record(struct batch_output *o, const char *line, size_t len, bool *failed, struct buf *id, struct sg_error *err)
{
    struct json j;
    char shown[ESCAPED_MAX];
    escaped(shown, o->path, strlen(o->path));
    id->len = 0;
    enum sg_status status = json_parse(&j, line, len, err);
    if (status == SG_NO_MEMORY)
        return status;
    if (status != SG_OK)
        return fail(err, SG_USAGE, "%s holds a line that is no record; --resume needs signum's own output", shown);
    const struct json_node *mine = json_get(&j, j.nodes, "signum"), *custom = json_get(&j, j.nodes, "custom_id"),
                           *error = json_get(&j, j.nodes, "error");
    bool simple = !custom;
    if (simple)
        custom = json_get(&j, j.nodes, "id");
    if (!mine || !custom || custom->type != JSON_STRING)
        status = fail(err, SG_USAGE, "%s holds a line that is no record; --resume needs signum's own output", shown);
    else if (!json_string_equal(&j, mine, o->fingerprint))
        status =
            fail(err, SG_USAGE, "%s was written with another model, other settings or another version; use those, or another file", shown);
    else if (simple != o->simple)
        status = fail(err, SG_USAGE, "%s was written with%s --simple; go on so, or use another file", shown, simple ? "" : "out");
    else
        json_string(&j, custom, id);
    *failed = error && error->type != JSON_NULL;
    const struct json_node *code = *failed ? json_get(&j, error, "code") : NULL;
    uint64_t number;
    if (code && json_string_equal(&j, code, duplicate_code) && json_uint(&j, json_get(&j, error, "line"), &number))
        duplicate_key(id, number);
    json_free(&j);
    return status;
}

/* Keeps other runs out of a file as long as it is open, also after a kill: two that go on with the
 * same records would both write what is missing. File systems without locks do without. */
static bool lock(FILE *file) { return flock(fileno(file), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK; }

/* Reads what is there and cuts a torn last line off. Records to keep go to *copy, if there is one. */
static enum sg_status read_existing(struct batch_output *o, FILE *copy, const char *shown, struct sg_error *err)
{
    FILE *old = fopen(o->path, "rb");
    if (!old)
        return fail(err, SG_FAIL, "cannot read %s: %s", shown, strerror(errno));
    struct buf id = {0};
    enum sg_status status = SG_OK;
    char *line = NULL;
    size_t cap = 0;
    off_t whole = 0;
    ssize_t n;
    while (status == SG_OK && (n = getline(&line, &cap, old)) > 0) {
        if (line[n - 1] != '\n')
            break; /* torn: the run ended within this line */
        bool failed = false;
        enum batch_id was;
        status = read_record(o, line, (size_t)n, &failed, &id, err);
        whole += n;
        if (status != SG_OK || (failed && copy))
            continue;
        status = claim(o, id.data ? id.data : "", id.len, RECORDED, &was, err);
        o->n_recorded++;
        o->n_failed += failed;
        if (copy)
            fwrite(line, 1, (size_t)n, copy);
    }
    if (status == SG_OK && !feof(old)) /* what follows would be cut off */
        status = fail(err, SG_FAIL, "cannot read %s: %s", shown, strerror(errno));
    fclose(old);
    free(line);
    buf_free(&id);
    if (status == SG_OK && !copy && ftruncate(fileno(o->file), whole) != 0)
        status = fail(err, SG_FAIL, "cannot cut the torn last line of %s: %s", shown, strerror(errno));
    return status;
}

/* Leaves failed records out: the others go into a new file that takes the old one's place, whole and locked. */
static enum sg_status drop_failed(struct batch_output *o, const struct stat *there, const char *shown, struct sg_error *err)
{
    char *real = realpath(o->path, NULL); /* a symbolic link stays one */
    struct buf name = {0};
    buf_printf(&name, "%s.tmp", real ? real : o->path);
    FILE *copy = name.failed || !real ? NULL : fopen(name.data, "wb");
    enum sg_status status = copy ? read_existing(o, copy, shown, err) : SG_OK;
    bool good = copy && fchmod(fileno(copy), there->st_mode & 07777) == 0 && fflush(copy) == 0 && !ferror(copy) &&
                fsync(fileno(copy)) == 0 && lock(copy);
    if (status == SG_OK && (!good || rename(name.data, real) != 0))
        status = fail(err, SG_FAIL, "cannot write beside %s: %s", shown, strerror(errno));
    if (status == SG_OK) {
        fclose(o->file);
        o->file = copy;
    } else if (copy) {
        fclose(copy);
        unlink(name.data);
    }
    buf_free(&name);
    free(real);
    return status;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return S_ISREG(a->st_mode) && a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Hours before it is written: whether the summary can be, and overwrites nothing of this run. */
static enum sg_status check_summary(const char *path, const struct stat *input, const struct stat *output, struct sg_error *err)
{
    struct stat there;
    char shown[ESCAPED_MAX];
    escaped(shown, path, strlen(path));
    if (strcmp(path, "-") == 0)
        return fail(err, SG_USAGE, "--summary needs a file, and - is none; /dev/stdout is");
    bool is_new = stat(path, &there) != 0;
    if (!is_new && (same_file(&there, input) || same_file(&there, output)))
        return fail(err, SG_USAGE, "--summary %s would overwrite what this run reads or writes", shown);
    if (!is_new && !S_ISREG(there.st_mode) && !S_ISDIR(there.st_mode)) /* a pipe: opening it is seen at its other end */
        return SG_OK;
    FILE *f = fopen(path, "ab");
    if (!f)
        return fail(err, SG_FAIL, "cannot write %s: %s", shown, strerror(errno));
    fclose(f);
    if (is_new)
        unlink(path);
    return SG_OK;
}

/* Opens the file of -o. *there: what it is. */
static enum sg_status open_file(struct batch_output *o, bool resume, bool retry, const struct stat *input, struct stat *there,
                                struct sg_error *err)
{
    char shown[ESCAPED_MAX];
    struct stat named;
    escaped(shown, o->path, strlen(o->path));
    FILE *file = fopen(o->path, "ab");
    if (!file)
        return fail(err, SG_FAIL, "cannot write %s: %s", shown, strerror(errno));
    o->file = file;
    bool locked = lock(file);
    if (fstat(fileno(file), there) != 0)
        return fail(err, SG_FAIL, "cannot write %s: %s", shown, strerror(errno));
    if (same_file(there, input))
        return fail(err, SG_USAGE, "%s is input and output at once", shown);
    if (!S_ISREG(there->st_mode)) /* a pipe, a terminal */
        return resume ? fail(err, SG_USAGE, "--resume needs a file with records, and %s is none", shown) : SG_OK;
    /* Another run's --retry-failed may just have put a new file there. */
    if (!locked || stat(o->path, &named) != 0 || !same_file(&named, there))
        return fail(err, SG_FAIL, "another signum batch is writing %s", shown);
    if (!resume && there->st_size > 0)
        return fail(err, SG_USAGE, "%s is there already: --resume goes on with it", shown);
    if (!resume)
        return SG_OK;
    TRY(retry ? drop_failed(o, there, shown, err) : read_existing(o, NULL, shown, err));
    return fstat(fileno(o->file), there) == 0 ? SG_OK : fail(err, SG_FAIL, "cannot write %s: %s", shown, strerror(errno));
}

enum sg_status batch_output_open(struct batch_output *o, const struct options *options, int input, struct sg_error *err)
{
    bool resume = options->resume || options->retry_failed;
    struct stat from = {0}, to = {0}; /* left so, they are no files */
    o->path = options->output && strcmp(options->output, "-") != 0 ? options->output : NULL;
    o->simple = options->simple;
    o->file = stdout;
    if (fstat(input, &from) != 0)
        from = (struct stat){0};
    if (o->path)
        TRY(open_file(o, resume, options->retry_failed, &from, &to, err));
    else if (resume)
        return fail(err, SG_USAGE, "--resume and --retry-failed need -o FILE");
    else if (fstat(STDOUT_FILENO, &to) == 0 && same_file(&to, &from)) /* its records would be read as requests, without end */
        return fail(err, SG_USAGE, "standard output is the file that is read");
    return options->summary ? check_summary(options->summary, &from, &to, err) : SG_OK;
}

enum sg_status batch_output_close(struct batch_output *o, struct sg_error *err)
{
    enum sg_status status = SG_OK;
    if (o->file && o->file != stdout && fclose(o->file) != 0)
        status = fail(err, SG_FAIL, "cannot write the output: %s", strerror(errno));
    free(o->seen);
    buf_free(&o->line);
    *o = (struct batch_output){0};
    return status;
}

/* ------------------------------------------------------------------- records */

/* The line goes out in one piece, so that a torn one can only be the last. */
static enum sg_status write_line(struct batch_output *o, struct sg_error *err)
{
    buf_putc(&o->line, '\n');
    if (o->line.failed)
        return fail_memory(err, o->line.len, "a record");
    if (fwrite(o->line.data, 1, o->line.len, o->file) != o->line.len || fflush(o->file) != 0)
        return fail(err, SG_FAIL, "cannot write the output: %s; what is complete stays, --resume goes on from there", strerror(errno));
    return SG_OK;
}

enum sg_status batch_output_result(struct batch_output *o, const struct batch_defaults *d, const struct batch_request *r,
                                   struct sg_error *err)
{
    batch_record_result(&o->line, o->simple, o->fingerprint, d, r);
    return write_line(o, err);
}

enum sg_status batch_output_error(struct batch_output *o, const struct buf *id, const struct buf *fields, const struct sg_error *why,
                                  struct sg_error *err)
{
    bool memory = why->status == SG_NO_MEMORY;
    batch_record_error(&o->line, o->simple, o->fingerprint, id, fields,
                       &(struct batch_failure){memory ? "out_of_memory" : "invalid_request", memory ? 507 : 400, why->message, 0});
    return write_line(o, err);
}

enum sg_status batch_output_duplicate(struct batch_output *o, const struct buf *id, const struct buf *fields, size_t number, bool *written,
                                      struct sg_error *err)
{
    struct buf key = {0};
    enum batch_id was;
    duplicate_key(&key, number);
    enum sg_status status = key.failed ? fail_memory(err, key.len, "a duplicate") : batch_output_claim(o, &key, &was, err);
    buf_free(&key);
    TRY(status);
    *written = was == BATCH_ID_NEW;
    if (!*written)
        return SG_OK;
    batch_record_error(&o->line, o->simple, o->fingerprint, id, fields,
                       &(struct batch_failure){duplicate_code, 400, "the custom_id was used before", number});
    return write_line(o, err);
}
