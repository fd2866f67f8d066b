/* Sessions and evaluation: the fallible edge around forward.c. Everything that can be
 * wrong with a request, and every allocation, is dealt with before arithmetic begins. */
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "fpenv.h"

static void layout(struct sg_session *s, struct arena *a)
{
    s->ids = ARENA_ARRAY(a, int32_t, s->n_ctx);
    s->blocks = ARENA_ARRAY(a, struct kv_block *, DIV_UP(s->n_ctx, (size_t)KV_BLOCK));
    s->logits = ARENA_ARRAY(a, float, s->engine->model.n_vocab);
}

size_t session_bytes(const struct sg_engine *e, size_t n_ctx)
{
    struct sg_session s = {.engine = (struct sg_engine *)(uintptr_t)e, .n_ctx = n_ctx};
    struct arena measure = {0};
    layout(&s, &measure);
    return sizeof s + measure.used;
}

enum sg_status sg_session_open(struct sg_session **out, struct sg_engine *e, size_t n_ctx, struct sg_error *err)
{
    *out = NULL;
    if (!e->has_weights)
        return fail(err, SG_USAGE, "the model was opened without its weights");
    if (n_ctx == 0 || n_ctx > (size_t)1 << 30)
        return fail(err, SG_USAGE, "a context of %zu positions is not possible", n_ctx);
    struct sg_session *s = calloc(1, sizeof *s);
    if (!s)
        return fail_memory(err, sizeof *s, "a session");
    s->engine = e;
    s->n_ctx = n_ctx;
    struct arena measure = {0};
    layout(s, &measure);
    if (!arena_map(&s->arena, measure.used)) {
        free(s);
        return fail_memory(err, measure.used, "a session");
    }
    layout(s, &s->arena);
    *out = s;
    return SG_OK;
}

void session_drop(struct sg_session *s, size_t keep)
{
    while (s->n_blocks > keep)
        kv_release(&s->engine->kv, s->blocks[--s->n_blocks]);
}

void sg_session_close(struct sg_session *s)
{
    if (!s)
        return;
    session_drop(s, 0);
    arena_unmap(&s->arena);
    free(s);
}

size_t sg_length(const struct sg_session *s) { return s->length; }
size_t sg_capacity(const struct sg_session *s) { return s->n_ctx; }
const int32_t *sg_ids(const struct sg_session *s) { return s->ids; }
const float *sg_logits(const struct sg_session *s) { return s->has_logits ? s->logits : NULL; }

void sg_rewind(struct sg_session *s, size_t n)
{
    if (n >= s->length)
        return;
    s->length = n;
    s->has_logits = false;
    session_drop(s, DIV_UP(n, (size_t)KV_BLOCK));
}

enum sg_status sg_fork(struct sg_session **out, const struct sg_session *from, size_t n, size_t n_ctx, struct sg_error *err)
{
    n = MIN(n, from->length);
    if (n > n_ctx) {
        *out = NULL;
        return fail(err, SG_USAGE, "a context of %zu positions cannot hold the %zu that are shared", n_ctx, n);
    }
    TRY(sg_session_open(out, from->engine, n_ctx, err));
    struct sg_session *s = *out;
    s->length = n;
    if (n)
        memcpy(s->ids, from->ids, n * sizeof *s->ids);
    for (; s->n_blocks < DIV_UP(n, (size_t)KV_BLOCK); s->n_blocks++)
        s->blocks[s->n_blocks] = kv_share(from->blocks[s->n_blocks]);
    return SG_OK;
}

size_t sg_common_prefix(const struct sg_session *s, const int32_t *ids, size_t n)
{
    size_t i = 0;
    while (i < n && i < s->length && s->ids[i] == ids[i])
        i++;
    return i;
}

/* ------------------------------------------------------------- evaluation */

static enum sg_status out_of_kv(const struct sg_engine *e, struct sg_error *err)
{
    return fail(err, SG_NO_MEMORY, "no memory for more context: %zu MiB of KV cache are in use, the limit is %zu MiB",
                e->kv.n_blocks * e->kv.block_bytes >> 20, e->kv.budget >> 20);
}

/* Makes the blocks for `length` positions present and the one that will be written first its own. */
enum sg_status session_reserve(struct sg_session *s, size_t length, struct sg_error *err)
{
    struct kv_pool *kv = &s->engine->kv;
    if (length > s->length && s->length % KV_BLOCK != 0) {
        struct kv_block **tail = &s->blocks[s->length / KV_BLOCK];
        if ((*tail)->refs > 1) { /* shared with a fork: copy on write */
            struct kv_block *own = kv_take(kv);
            if (!own)
                return out_of_kv(s->engine, err);
            memcpy(own->data, (*tail)->data, kv->block_bytes);
            kv_release(kv, *tail);
            *tail = own;
        }
    }
    while (s->n_blocks < DIV_UP(length, (size_t)KV_BLOCK)) {
        struct kv_block *b = kv_take(kv);
        if (!b)
            return out_of_kv(s->engine, err);
        s->blocks[s->n_blocks++] = b;
    }
    return SG_OK;
}

static enum sg_status check_feeds(const struct sg_engine *e, const struct sg_feed *feeds, size_t n, struct sg_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct sg_feed *f = &feeds[i];
        if (f->session->engine != e)
            return fail(err, SG_USAGE, "a session of another engine");
        for (size_t k = 0; k < i; k++)
            if (feeds[k].session == f->session)
                return fail(err, SG_USAGE, "the same session twice in one evaluation");
        if (f->n > f->session->n_ctx - f->session->length)
            return fail(err, SG_USAGE, "%zu tokens after %zu do not fit a context of %zu: %zu too many", f->n, f->session->length,
                        f->session->n_ctx, f->n - (f->session->n_ctx - f->session->length));
        for (size_t k = 0; k < f->n; k++)
            if (f->ids[k] < 0 || (size_t)f->ids[k] >= e->model.n_vocab)
                return fail(err, SG_USAGE, "token id %d is outside the vocabulary of %zu", f->ids[k], e->model.n_vocab);
    }
    return SG_OK;
}

enum {
    MAX_ROWS = 256
};

/* The rows of one pass and where their logits go. */
struct pass {
    struct row rows[MAX_ROWS];
    const struct sg_feed *feed[MAX_ROWS];
    bool last[MAX_ROWS]; /* of its feed */
    size_t n;
};

static void deliver(void *arg, size_t r, const float *logits)
{
    const struct pass *p = arg;
    const struct sg_feed *f = p->feed[r];
    if (f->on_logits)
        f->on_logits(f->arg, p->rows[r].pos, logits);
    if (p->last[r]) {
        memcpy(f->session->logits, logits, f->session->engine->model.n_vocab * sizeof *logits);
        f->session->delivered = true;
    }
}

size_t session_max_rows(void) { return MAX_ROWS; }

static enum sg_status run_feeds(struct sg_engine *e, const struct sg_feed *feeds, size_t n, struct sg_error *err)
{
    struct pass p;
    p.n = 0;
    for (size_t i = 0; i < n; i++) {
        const struct sg_feed *f = &feeds[i];
        for (size_t k = 0; k < f->n; k++) {
            if (p.n == MIN((size_t)MAX_ROWS, e->forward.max_rows)) {
                TRY(forward_run(&e->forward, p.rows, p.n, deliver, &p, err));
                p.n = 0;
            }
            p.rows[p.n] = (struct row){
                .token = f->ids[k],
                .pos = (uint32_t)(f->session->length + k),
                .blocks = f->session->blocks,
                .sequence = (uint32_t)i,
                .want_logits = f->n - k <= f->n_logits,
            };
            p.feed[p.n] = f;
            p.last[p.n] = k + 1 == f->n;
            p.n++;
        }
    }
    return p.n ? forward_run(&e->forward, p.rows, p.n, deliver, &p, err) : SG_OK;
}

enum sg_status sg_eval(struct sg_engine *e, const struct sg_feed *feeds, size_t n, struct sg_error *err)
{
    TRY(check_feeds(e, feeds, n, err));
    enum sg_status status = SG_OK;
    for (size_t i = 0; i < n; i++)
        feeds[i].session->delivered = false;
    for (size_t i = 0; i < n && status == SG_OK; i++)
        status = session_reserve(feeds[i].session, feeds[i].session->length + feeds[i].n, err);
    if (status == SG_OK) {
        fenv_t saved = fp_enter();
        status = run_feeds(e, feeds, n, err);
        fp_leave(saved);
    }
    for (size_t i = 0; i < n; i++) {
        struct sg_session *s = feeds[i].session;
        if (status != SG_OK) {
            session_drop(s, DIV_UP(s->length, (size_t)KV_BLOCK));
            s->has_logits = s->has_logits && !s->delivered; /* those belong to tokens that are gone */
        } else if (feeds[i].n) {
            memcpy(s->ids + s->length, feeds[i].ids, feeds[i].n * sizeof *s->ids);
            s->length += feeds[i].n;
            s->has_logits = s->delivered;
        }
    }
    return status;
}
