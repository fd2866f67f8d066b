/* Sessions as files. What is written is a cache that may be lost, so reading believes
 * nothing: sizes are checked before memory is taken, and all bytes before they count.
 *
 *   OFFSET  SIZE  DESCRIPTION (little endian)
 *        0     8  "SIGNUMKV"
 *        8     4  version of this format
 *       12     4  SIGNUM_NUMERICS
 *       16    16  hash of the model file
 *       32     4  enum sg_kv_type of keys      36  4  of values
 *       40     4  enum sg_act                  44  4  positions in a block
 *       48     8  bytes of a block             56  8  number of tokens, n
 *       64   4*n  token ids, then zeros to a multiple of 64
 *        .     .  blocks
 *      end     8  hash of everything before */
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FORMAT = 1,
    ALIGN = 64
};

struct state_header {
    char magic[8];
    uint32_t format, numerics;
    uint64_t model[2];
    uint32_t type_k, type_v, act, block_positions;
    uint64_t block_bytes, n;
};
_Static_assert(sizeof(struct state_header) == 64, "the layout above");

/* -------------------------------------------------------------------- hashing */

/* Eight lanes, each fed every eighth word by steps that can be undone: a change to one word
 * always changes its lane, and changes to several escape with probability 2^-64. */
struct hash {
    uint64_t lane[8];
    uint64_t len;
};

static uint64_t rotate(uint64_t x, int n) { return x << n | x >> (64 - n); }

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 32) * 0xD6E8FEB86659FD93u;
    x = (x ^ x >> 32) * 0xD6E8FEB86659FD93u;
    return x ^ x >> 32;
}

static void hash_begin(struct hash *h, uint64_t seed)
{
    h->len = 0;
    for (uint64_t i = 0; i < 8; i++)
        h->lane[i] = mix(seed + i + 1);
}

/* All pieces but the last must be multiples of 64 bytes. */
static void hash_add(struct hash *h, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t lane[8], words[8];
    memcpy(lane, h->lane, sizeof lane);
    h->len += len;
    for (; len >= sizeof words; p += sizeof words, len -= sizeof words) {
        memcpy(words, p, sizeof words);
        for (size_t i = 0; i < 8; i++)
            lane[i] = rotate((lane[i] ^ words[i]) * 0x9E3779B97F4A7C15u, 29);
    }
    if (len) {
        memset(words, 0, sizeof words);
        memcpy(words, p, len);
        for (size_t i = 0; i < 8; i++)
            lane[i] = rotate((lane[i] ^ words[i]) * 0x9E3779B97F4A7C15u, 29);
    }
    memcpy(h->lane, lane, sizeof lane);
}

static uint64_t hash_end(const struct hash *h)
{
    uint64_t x = h->len;
    for (size_t i = 0; i < 8; i++)
        x = mix(x ^ h->lane[i]) + rotate(x, 23);
    return mix(x);
}

static void hash_model(struct sg_engine *e)
{
    struct hash h;
    if (e->hash[0] || e->hash[1])
        return;
    hash_begin(&h, 1);
    hash_add(&h, e->gguf.map.data, e->gguf.map.size);
    e->hash[0] = hash_end(&h);
    for (size_t i = 0; i < 8; i++)
        h.lane[i] = mix(h.lane[i]);
    e->hash[1] = hash_end(&h);
}

static void fill_header(struct state_header *header, const struct sg_session *s)
{
    struct sg_engine *e = s->engine;
    hash_model(e);
    *header = (struct state_header){
        .magic = {'S', 'I', 'G', 'N', 'U', 'M', 'K', 'V'},
        .format = FORMAT,
        .numerics = SIGNUM_NUMERICS,
        .model = {e->hash[0], e->hash[1]},
        .type_k = (uint32_t)e->kv.type_k,
        .type_v = (uint32_t)e->kv.type_v,
        .act = (uint32_t)e->forward.mm.act,
        .block_positions = KV_BLOCK,
        .block_bytes = e->kv.block_bytes,
        .n = s->length,
    };
}

/* -------------------------------------------------------------------- writing */

struct writer {
    int fd;
    bool ok;
    struct hash hash;
};

static void write_bytes(struct writer *w, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (w->ok && len > 0) {
        ssize_t n = write(w->fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        w->ok = n > 0;
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
}

static void put(struct writer *w, const void *data, size_t len)
{
    hash_add(&w->hash, data, len);
    write_bytes(w, data, len);
}

static void put_session(struct writer *w, const struct sg_session *s)
{
    static const uint8_t zeros[ALIGN];
    struct state_header header;
    size_t ids = s->length * sizeof *s->ids, whole = ids / ALIGN * ALIGN;
    uint8_t tail[ALIGN];
    fill_header(&header, s);
    hash_begin(&w->hash, 2);
    put(w, &header, sizeof header);
    put(w, s->ids, whole);
    if (ids > whole) {
        memcpy(tail, zeros, ALIGN);
        memcpy(tail, (const uint8_t *)s->ids + whole, ids - whole);
        put(w, tail, ALIGN);
    }
    for (size_t i = 0; i < s->n_blocks; i++)
        put(w, s->blocks[i]->data, s->engine->kv.block_bytes);
    uint64_t check = hash_end(&w->hash);
    write_bytes(w, &check, sizeof check);
}

enum sg_status sg_session_save(const struct sg_session *s, const char *path, struct sg_error *err)
{
    struct buf beside = {0};
    char shown[ESCAPED_MAX];
    escaped(shown, path, strlen(path));
    buf_printf(&beside, "%s.%ld", path, (long)getpid());
    if (beside.failed)
        return fail_memory(err, strlen(path), "a path");
    struct writer w = {.fd = open(beside.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    enum sg_status status = SG_OK;
    if (w.fd < 0) {
        status = fail(err, SG_FAIL, "%s: %s", shown, strerror(errno));
    } else {
        w.ok = true;
        put_session(&w, s);
        w.ok &= close(w.fd) == 0;
        if (!w.ok || rename(beside.data, path) != 0) {
            status = fail(err, SG_FAIL, "%s: %s", shown, strerror(errno));
            unlink(beside.data);
        }
    }
    buf_free(&beside);
    return status;
}

/* -------------------------------------------------------------------- reading */

struct reader {
    int fd;
    struct hash hash;
};

static bool read_bytes(struct reader *r, void *data, size_t len)
{
    uint8_t *p = data;
    while (len > 0) {
        ssize_t n = read(r->fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static bool get(struct reader *r, void *data, size_t len)
{
    bool ok = read_bytes(r, data, len);
    if (ok)
        hash_add(&r->hash, data, len);
    return ok;
}

/* What is wrong with a file, or NULL. The session may hold anything afterwards. */
static const char *get_session(struct reader *r, struct sg_session *s, uint64_t file_bytes, enum sg_status *status, struct sg_error *err)
{
    struct state_header header, expected;
    fill_header(&expected, s);
    hash_begin(&r->hash, 2);
    if (!get(r, &header, sizeof header) || memcmp(header.magic, expected.magic, sizeof header.magic) != 0)
        return "is no saved session";
    if (header.format != expected.format || header.numerics != expected.numerics)
        return "is of another version of signum";
    if (header.model[0] != expected.model[0] || header.model[1] != expected.model[1])
        return "belongs to another model";
    if (header.type_k != expected.type_k || header.type_v != expected.type_v || header.act != expected.act ||
        header.block_positions != expected.block_positions || header.block_bytes != expected.block_bytes)
        return "was made with other settings";
    if (header.n == 0 || header.n > s->n_ctx)
        return "does not fit this context";
    size_t n = (size_t)header.n, ids = ROUND_UP(n * sizeof *s->ids, (size_t)ALIGN), n_blocks = DIV_UP(n, (size_t)KV_BLOCK), blocks;
    if (!mul_size(n_blocks, s->engine->kv.block_bytes, &blocks) || file_bytes != sizeof header + ids + (uint64_t)blocks + sizeof(uint64_t))
        return "is cut off, or has too much";
    *status = session_reserve(s, n, err);
    if (*status != SG_OK)
        return NULL;
    /* The padding after the ids may not fit behind them in the session's array. */
    uint8_t tail[ALIGN];
    size_t whole = n * sizeof *s->ids / ALIGN * ALIGN;
    if (!get(r, s->ids, whole) || (ids > whole && !get(r, tail, ALIGN)))
        return "can not be read";
    memcpy((uint8_t *)s->ids + whole, tail, n * sizeof *s->ids - whole);
    for (size_t i = 0; i < n_blocks; i++)
        if (!get(r, s->blocks[i]->data, s->engine->kv.block_bytes))
            return "can not be read";
    uint64_t check;
    if (!read_bytes(r, &check, sizeof check) || check != hash_end(&r->hash))
        return "is damaged";
    for (size_t i = 0; i < n; i++)
        if (s->ids[i] < 0 || (size_t)s->ids[i] >= s->engine->model.n_vocab)
            return "is damaged";
    s->length = n;
    return NULL;
}

enum sg_status sg_session_load(struct sg_session *s, const char *path, struct sg_error *err)
{
    char shown[ESCAPED_MAX];
    struct stat info;
    escaped(shown, path, strlen(path));
    sg_rewind(s, 0);
    s->has_logits = false;
    struct reader r = {.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (r.fd < 0)
        return fail(err, SG_FAIL, "%s: %s", shown, strerror(errno));
    enum sg_status status = SG_OK;
    const char *wrong = "is no file";
    if (fstat(r.fd, &info) == 0 && S_ISREG(info.st_mode))
        wrong = get_session(&r, s, (uint64_t)info.st_size, &status, err);
    close(r.fd);
    if (wrong)
        status = fail(err, SG_FAIL, "%s %s", shown, wrong);
    if (status != SG_OK) {
        s->length = 0;
        session_drop(s, 0);
    }
    return status;
}
