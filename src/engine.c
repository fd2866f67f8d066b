/* Opening and closing an engine, and what can be asked about it. */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "cpu.h"
#include "fpenv.h"

static enum sg_status open_template(struct sg_engine *e, const struct sg_options *o, struct sg_error *err)
{
    const struct gguf_value *v = gguf_find(&e->gguf, "tokenizer.chat_template");
    struct sg_str text = {NULL, 0};
    bool found = false;
    if (v && v->type == GGUF_STRING)
        TRY(gguf_get_string(&e->gguf, "tokenizer.chat_template", &text, &found, err));
    e->info.chat_template = text;
    e->chat = chat_recognise(text.data, text.len, &e->info.template_recognised);
    if (!o->chat_template)
        return SG_OK;
    for (int kind = CHAT_QWEN3; kind <= CHAT_CHATML; kind++) {
        if (strcmp(chat_template_name((enum chat_template)kind), o->chat_template) == 0) {
            e->chat = (enum chat_template)kind;
            e->info.template_recognised = true;
            return SG_OK;
        }
    }
    return fail(err, SG_USAGE, "there is no chat template \"%s\"", o->chat_template);
}

static enum sg_status open_kernels(struct sg_engine *e, const struct sg_options *o, struct sg_error *err)
{
    unsigned features = cpu_features();
    if (!kernels_select(&e->kernels, features, o->isa))
        return fail(err, SG_USAGE, "instruction set \"%s\" is unknown or not available on this CPU; there are: %s", o->isa,
                    sg_isa_available());
    const char *wrong = kernels_self_test(&e->kernels);
    if (wrong)
        return fail(err, SG_FAIL, "self-test: kernel %s of level %s computes wrong results on this CPU; SIGNUM_ISA=scalar avoids it", wrong,
                    e->kernels.level);
    if (o->act == SG_ACT_F32 && o->matmul != SG_MATMUL_AUTO)
        return fail(err, SG_USAGE, "--matmul chooses how integers are multiplied, and --act f32 has none");
    if (!matmul_has_family(&(struct matmul){.kernels = &e->kernels, .act = o->act, .family = o->matmul}))
        return fail(err, SG_USAGE, "this --matmul family does not exist at level %s%s", e->kernels.level,
                    o->act == SG_ACT_INT16 ? " for --act int16" : "");
    return SG_OK;
}

static size_t kv_budget(const struct sg_options *o, size_t reserved)
{
    size_t available = cpu_memory_available();
    return o->kv_budget ? o->kv_budget : (available - MIN(available, reserved)) / 2;
}

static enum sg_status repack_weights(struct sg_engine *e, const struct sg_options *o, struct sg_error *err)
{
    uint64_t begin = clock_ns();
    TRY(repack_model(&e->repacked, &e->model, &e->gguf.map, e->pool, o->interrupt, err));
    e->info.repacked_bytes = e->repacked.size;
    e->info.repack_seconds = (double)(clock_ns() - begin) * 1e-9;
    return SG_OK;
}

static enum sg_status open_compute(struct sg_engine *e, const struct sg_options *o, struct sg_error *err)
{
    file_prefetch(&e->gguf.map);
    TRY(open_kernels(e, o, err));
    TRY(pool_open(&e->pool, o->n_threads > 0 ? o->n_threads : cpu_default_threads(), err));
    if (o->repack)
        TRY(repack_weights(e, o, err));
    const struct model *m = &e->model;
    e->forward = (struct forward){
        .model = m,
        .kv = &e->kv,
        .mm = {.kernels = &e->kernels, .pool = e->pool, .act = o->act, .family = o->matmul},
        .max_rows = session_max_rows(),
        .interrupt = o->interrupt,
    };
    struct arena measure = {0};
    forward_layout(&e->forward, &measure);
    if (!arena_map(&e->scratch, measure.used))
        return fail_memory(err, measure.used, "working memory");
    forward_layout(&e->forward, &e->scratch);
    forward_init(&e->forward);
    e->has_weights = true;
    return SG_OK;
}

static struct sg_str string_or_empty(const struct gguf *g, const char *key)
{
    struct sg_str s = {"", 0};
    const struct gguf_value *v = gguf_find(g, key);
    if (v && v->type == GGUF_STRING)
        gguf_get_string(g, key, &s, NULL, NULL);
    return s;
}

static void fill_info(struct sg_engine *e)
{
    struct sg_info *i = &e->info;
    const struct model *m = &e->model;
    i->architecture = string_or_empty(&e->gguf, "general.architecture");
    i->name = string_or_empty(&e->gguf, "general.name");
    i->license = string_or_empty(&e->gguf, "general.license");
    i->template_kind = chat_template_name(e->chat);
    i->can_think = chat_can_think(e->chat);
    i->thinks_by_default = i->can_think;
    i->n_params = m->n_params;
    i->file_bytes = e->gguf.map.size;
    for (size_t t = 0; t < e->gguf.n_tensors; t++)
        i->tensor_bytes += e->gguf.tensors[t].bytes;
    i->n_tensors = e->gguf.n_tensors;
    i->gguf_version = e->gguf.version;
    i->n_layers = m->n_layers;
    i->n_embd = m->n_embd;
    i->n_ff = m->n_ff;
    i->n_heads = m->n_heads;
    i->n_kv_heads = m->n_kv_heads;
    i->head_dim = m->head_dim;
    i->n_vocab = m->n_vocab;
    i->n_ctx_train = m->n_ctx_train;
    i->rope_base = m->rope_base;
    i->yarn_factor = m->yarn_factor;
    i->yarn_original_ctx = m->yarn_original_ctx;
    i->rms_eps = (double)m->rms_eps;
    i->tied_output = m->tied_output;
    i->n_merges = tokenizer_merges(e->tokenizer);
    for (size_t id = 0; id < m->n_vocab; id++) {
        enum token_type type = tokenizer_type(e->tokenizer, (int32_t)id);
        i->n_control_tokens += type == TOKEN_CONTROL;
        i->n_user_tokens += type == TOKEN_USER;
    }
    i->pre_tokenizer = tokenizer_pre(e->tokenizer);
    i->eos_id = tokenizer_eos(e->tokenizer);
    i->pad_id = tokenizer_pad(e->tokenizer);
    if (e->has_weights) {
        i->isa = e->kernels.level;
        i->n_threads = pool_threads(e->pool);
        const struct matmul *mm = &e->forward.mm;
        const char *one = matmul_family(mm, 1)->name, *many = matmul_family(mm, mm->max_tokens)->name;
        bool same = strcmp(one, many) == 0;
        snprintf(e->kernels_text, sizeof e->kernels_text, "%s %s%s%s", e->kernels.level, one, same ? "" : "/", same ? "" : many);
    }
    i->kernels = e->kernels_text;
}

static enum sg_status open_all(struct sg_engine *e, const struct sg_options *o, struct sg_error *err)
{
    size_t path_bytes = strlen(o->model_path) + 1;
    e->path = malloc(path_bytes);
    if (!e->path)
        return fail_memory(err, path_bytes, "the model's name");
    memcpy(e->path, o->model_path, path_bytes);
    TRY(gguf_open(&e->gguf, e->path, err));
    TRY(model_open(&e->model, &e->gguf, err));
    TRY(tokenizer_open(&e->tokenizer, &e->gguf, err));
    TRY(open_template(e, o, err));
    const struct model *m = &e->model;
    kv_pool_init(&e->kv, o->type_k, o->type_v, m->n_layers, m->n_kv_heads, m->head_dim, kv_budget(o, o->repack ? repack_bytes(m) : 0));
    if (!o->weights_unneeded)
        TRY(open_compute(e, o, err));
    fill_info(e);
    return SG_OK;
}

enum sg_status sg_open(struct sg_engine **out, const struct sg_options *options, struct sg_error *err)
{
    *out = NULL;
    if (!options->model_path)
        return fail(err, SG_USAGE, "no model file is named");
    struct sg_engine *e = calloc(1, sizeof *e);
    if (!e)
        return fail_memory(err, sizeof *e, "the engine");
    fenv_t saved = fp_enter();
    enum sg_status status = open_all(e, options, err);
    fp_leave(saved);
    if (status != SG_OK) {
        sg_close(e);
        return status;
    }
    *out = e;
    return SG_OK;
}

struct items {
    sg_item_fn *fn;
    void *arg;
};

static void run_items(void *arg, size_t begin, size_t end, int worker)
{
    const struct items *items = arg;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        items->fn(items->arg, i);
}

void sg_parallel(struct sg_engine *e, size_t n, sg_item_fn *fn, void *arg)
{
    struct items items = {fn, arg};
    pool_run(e->pool, n, 1, run_items, &items);
}

void sg_close(struct sg_engine *e)
{
    if (!e)
        return;
    pool_close(e->pool);
    kv_pool_close(&e->kv);
    arena_unmap(&e->scratch);
    arena_unmap(&e->repacked);
    if (e->trie)
        trie_free(e->trie);
    free(e->trie);
    tokenizer_close(e->tokenizer);
    model_close(&e->model);
    gguf_close(&e->gguf);
    free(e->path);
    free(e);
}

const struct sg_info *sg_info(const struct sg_engine *e) { return &e->info; }

struct sg_tensor_info sg_tensor(const struct sg_engine *e, size_t index)
{
    const struct gguf_tensor *t = &e->gguf.tensors[index];
    struct sg_tensor_info i = {
        .name = t->name,
        .type = gguf_type_name(t),
        .type_id = t->type_id,
        .n_dims = t->n_dims,
        .offset = e->gguf.data_start + t->offset,
        .bytes = t->bytes,
    };
    memcpy(i.dims, t->dims, sizeof i.dims);
    return i;
}

void sg_memory(const struct sg_engine *e, size_t n_ctx, struct sg_memory *out)
{
    *out = (struct sg_memory){
        .mapped = e->gguf.map.size,
        .engine_private = tokenizer_bytes(e->tokenizer) + e->scratch.size + e->repacked.size,
        .session = session_bytes(e, n_ctx),
        .kv_block = e->kv.block_bytes,
        .kv_block_positions = KV_BLOCK,
        .kv_per_position = e->kv.block_bytes / KV_BLOCK,
        .kv_full = DIV_UP(n_ctx, (size_t)KV_BLOCK) * e->kv.block_bytes,
        .kv_budget = e->kv.budget,
    };
}

void sg_take_profile(struct sg_engine *e, struct sg_profile *out)
{
    *out = e->forward.profile;
    e->forward.profile = (struct sg_profile){0};
}

enum sg_status sg_tokenize(const struct sg_engine *e, const char *text, size_t len, unsigned flags, int32_t **ids, size_t *n,
                           struct sg_error *err)
{
    struct ids v = {0};
    *ids = NULL;
    *n = 0;
    enum sg_status status = tokenizer_encode(e->tokenizer, text, len, flags & SG_PARSE_SPECIAL, &v, err);
    if (status == SG_OK && !v.data)
        v.data = malloc(1); /* so that the result is never NULL */
    if (status == SG_OK && (v.failed || !v.data))
        status = fail_memory(err, v.len * sizeof *v.data, "token ids");
    if (status != SG_OK) {
        ids_free(&v);
        return status;
    }
    *ids = v.data;
    *n = v.len;
    return SG_OK;
}

enum sg_status sg_detokenize(const struct sg_engine *e, const int32_t *ids, size_t n, bool special, char **text, size_t *len,
                             struct sg_error *err)
{
    struct buf b = {0};
    *text = NULL;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= e->model.n_vocab) {
            buf_free(&b);
            return fail(err, SG_USAGE, "token id %d is outside the vocabulary of %zu", ids[i], e->model.n_vocab);
        }
        tokenizer_decode(e->tokenizer, ids[i], special, &b);
    }
    buf_append(&b, "", 0); /* allocates, even for no text */
    if (b.failed) {
        buf_free(&b);
        return fail_memory(err, b.len, "text");
    }
    *text = b.data;
    if (len)
        *len = b.len;
    return SG_OK;
}

int32_t sg_special_id(const struct sg_engine *e, const char *text) { return tokenizer_special(e->tokenizer, text, strlen(text)); }

bool sg_is_eog(const struct sg_engine *e, int32_t id)
{
    return id >= 0 && (size_t)id < e->model.n_vocab && tokenizer_is_eog(e->tokenizer, id);
}

enum sg_status sg_render(const struct sg_engine *e, const struct sg_conversation *c, char **text, size_t *text_len, int32_t **ids,
                         size_t *n_ids, struct sg_error *err)
{
    struct buf b = {0};
    struct ids v = {0};
    if (text)
        *text = NULL;
    if (ids)
        *ids = NULL;
    enum sg_status status = chat_render(e->chat, e->tokenizer, c, text ? &b : NULL, ids ? &v : NULL, err);
    if (status == SG_OK && text)
        buf_append(&b, "", 0);
    if (status == SG_OK && ids && !v.data)
        v.data = malloc(1);
    if (status == SG_OK && (b.failed || v.failed || (ids && !v.data)))
        status = fail_memory(err, b.len + v.len * sizeof *v.data, "the rendered conversation");
    if (status != SG_OK) {
        buf_free(&b);
        ids_free(&v);
        return status;
    }
    if (text) {
        *text = b.data;
        *text_len = b.len;
    }
    if (ids) {
        *ids = v.data;
        *n_ids = v.len;
    }
    return SG_OK;
}

const char *sg_isa_available(void)
{
    static char text[256];
    char list[256] = "";
    unsigned features = cpu_features();
    for (size_t i = 0; kernels_levels[i]; i++) {
        if ((kernels_levels[i]->needs & features) != kernels_levels[i]->needs || strlen(list) + 24 > sizeof list)
            continue;
        if (i > 0)
            strcat(list, " ");
        strcat(list, kernels_levels[i]->level);
    }
    memcpy(text, list, sizeof text); /* the same bytes every time: safe from several threads */
    return text;
}

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

const char *sg_version(void)
{
#if defined(__clang__)
    return "signum " SIGNUM_VERSION " (numerics " TEXT(SIGNUM_NUMERICS) ", clang " __clang_version__ ")";
#else
    return "signum " SIGNUM_VERSION " (numerics " TEXT(SIGNUM_NUMERICS) ", gcc " __VERSION__ ")";
#endif
}
