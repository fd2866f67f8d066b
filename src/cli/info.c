/* signum info and check: what a file is, what it needs, and whether it is sound. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "json.h"

/* The model may be named without -m here. */
static enum sg_status positional_model(struct options *o, struct sg_error *err)
{
    if (o->n_words > 1 || (o->n_words == 1 && o->model))
        return fail(err, SG_USAGE, "one model file at a time");
    if (o->n_words == 1)
        o->model = o->words[0];
    return SG_OK;
}

/* How many tensors and bytes each type has, in order of appearance. */
struct type_sum {
    const char *name;
    size_t n;
    uint64_t bytes;
};
enum {
    MAX_TYPES = 32
};

static size_t sum_types(const struct sg_engine *engine, struct type_sum sums[MAX_TYPES])
{
    size_t n = 0;
    for (size_t i = 0; i < sg_info(engine)->n_tensors; i++) {
        struct sg_tensor_info t = sg_tensor(engine, i);
        size_t k = 0;
        while (k < n && strcmp(sums[k].name, t.type) != 0)
            k++;
        if (k == MAX_TYPES)
            continue;
        if (k == n)
            sums[n++] = (struct type_sum){.name = t.type};
        sums[k].n++;
        sums[k].bytes += t.bytes;
    }
    return n;
}

static void put_string(struct buf *b, const char *key, const char *text, size_t len)
{
    buf_printf(b, "\"%s\":", key);
    json_put_string(b, text, len);
}

static void put_double(struct buf *b, const char *key, double x)
{
    buf_printf(b, ",\"%s\":", key);
    json_put_double(b, x);
}

static void info_json(const struct sg_engine *engine, struct buf *b)
{
    const struct sg_info *i = sg_info(engine);
    struct sg_memory m;
    sg_memory(engine, i->n_ctx_train ? i->n_ctx_train : 1, &m);
    buf_puts(b, "{");
    put_string(b, "architecture", i->architecture.data, i->architecture.len);
    buf_putc(b, ',');
    put_string(b, "name", i->name.data, i->name.len);
    buf_putc(b, ',');
    put_string(b, "license", i->license.data, i->license.len);
    buf_printf(b, ",\"gguf_version\":%u,\"file_bytes\":%llu,\"tensor_bytes\":%llu,\"parameters\":%llu", i->gguf_version,
               (unsigned long long)i->file_bytes, (unsigned long long)i->tensor_bytes, (unsigned long long)i->n_params);
    buf_printf(b,
               ",\"layers\":%zu,\"embedding\":%zu,\"feed_forward\":%zu,\"heads\":%zu,\"kv_heads\":%zu,\"head_dim\":%zu,\"vocabulary\":%zu,"
               "\"context\":%zu",
               i->n_layers, i->n_embd, i->n_ff, i->n_heads, i->n_kv_heads, i->head_dim, i->n_vocab, i->n_ctx_train);
    put_double(b, "rope_base", i->rope_base);
    put_double(b, "yarn_factor", i->yarn_factor);
    buf_printf(b, ",\"yarn_original_context\":%zu", i->yarn_original_ctx);
    put_double(b, "rms_epsilon", i->rms_eps);
    buf_printf(b, ",\"tied_output\":%s,\"merges\":%zu,\"control_tokens\":%zu,\"user_tokens\":%zu,\"eos\":%d,\"pad\":%d,",
               i->tied_output ? "true" : "false", i->n_merges, i->n_control_tokens, i->n_user_tokens, i->eos_id, i->pad_id);
    put_string(b, "pre_tokenizer", i->pre_tokenizer, strlen(i->pre_tokenizer));
    buf_printf(b, ",\"chat_template\":\"%s\",\"chat_template_recognised\":%s,\"can_think\":%s", i->template_kind,
               i->template_recognised ? "true" : "false", i->can_think ? "true" : "false");
    buf_printf(b, ",\"memory\":{\"mapped\":%zu,\"private\":%zu,\"kv_per_position\":%zu,\"kv_full\":%zu},\"types\":[", m.mapped,
               m.engine_private, m.kv_per_position, m.kv_full);
    struct type_sum sums[MAX_TYPES];
    size_t n = sum_types(engine, sums);
    for (size_t k = 0; k < n; k++) {
        buf_puts(b, k ? ",{" : "{");
        put_string(b, "type", sums[k].name, strlen(sums[k].name));
        buf_printf(b, ",\"tensors\":%zu,\"bytes\":%llu}", sums[k].n, (unsigned long long)sums[k].bytes);
    }
    buf_puts(b, "],\"tensors\":[");
    for (size_t k = 0; k < i->n_tensors; k++) {
        struct sg_tensor_info t = sg_tensor(engine, k);
        buf_puts(b, k ? ",{" : "{");
        put_string(b, "name", t.name.data, t.name.len);
        buf_putc(b, ',');
        put_string(b, "type", t.type, strlen(t.type));
        buf_puts(b, ",\"shape\":[");
        for (size_t d = 0; d < t.n_dims && d < 4; d++)
            buf_printf(b, "%s%llu", d ? "," : "", (unsigned long long)t.dims[d]);
        buf_printf(b, "],\"offset\":%llu,\"bytes\":%llu}", (unsigned long long)t.offset, (unsigned long long)t.bytes);
    }
    buf_puts(b, "]}\n");
}

/* 1158654496 -> "1.16 GB" */
static const char *human(char buf[32], double bytes)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    size_t u = 0;
    for (; bytes >= 1000 && u + 1 < ARRAY_LEN(units); u++)
        bytes /= 1000;
    snprintf(buf, 32, u == 0 ? "%.0f %s" : "%.2f %s", bytes, units[u]);
    return buf;
}

static void info_text(const struct sg_engine *engine, const struct options *o, struct buf *b)
{
    const struct sg_info *i = sg_info(engine);
    char name[ESCAPED_MAX], one[32], two[32];
    struct sg_memory m;
    sg_memory(engine, i->n_ctx_train ? i->n_ctx_train : 1, &m);
    buf_printf(b, "name          %s\n", escaped(name, i->name.data, i->name.len));
    buf_printf(b, "architecture  %s, GGUF version %u\n", escaped(name, i->architecture.data, i->architecture.len), i->gguf_version);
    if (i->license.len)
        buf_printf(b, "license       %s\n", escaped(name, i->license.data, i->license.len));
    buf_printf(b, "size          %.3g billion parameters, file of %s (%.2f bits per weight)\n", (double)i->n_params / 1e9,
               human(one, (double)i->file_bytes), i->n_params ? 8.0 * (double)i->tensor_bytes / (double)i->n_params : 0);
    buf_printf(b, "layers        %zu, width %zu, feed-forward %zu, %zu heads over %zu key heads of %zu\n", i->n_layers, i->n_embd, i->n_ff,
               i->n_heads, i->n_kv_heads, i->head_dim);
    buf_printf(b, "output        %s\n", i->tied_output ? "tied to the token embedding" : "own matrix");
    struct type_sum sums[MAX_TYPES];
    size_t n = sum_types(engine, sums);
    for (size_t k = 0; k < n; k++)
        buf_printf(b, "%s%zu x %s (%s)\n", k ? "              " : "types         ", sums[k].n, sums[k].name,
                   human(one, (double)sums[k].bytes));
    buf_printf(b, "context       %zu positions", i->n_ctx_train);
    if (i->yarn_factor != 0)
        buf_printf(b, " (YaRN: %g x %zu)", i->yarn_factor, i->yarn_original_ctx);
    buf_printf(b, ", rope base %g\n", i->rope_base);
    buf_printf(b, "tokenizer     %s, %zu tokens, %zu merges, %zu control and %zu user-defined tokens\n", i->pre_tokenizer, i->n_vocab,
               i->n_merges, i->n_control_tokens, i->n_user_tokens);
    buf_printf(b, "template      %s%s\n", i->template_kind,
               i->template_recognised ? i->can_think ? " (can think)" : "" : " (the file's own is not known)");
    if (m.kv_block)
        buf_printf(b, "memory        %s mapped, %s private; context %s per 1,000 tokens, %s when full\n", human(one, (double)m.mapped),
                   human(two, (double)m.engine_private), human(name, (double)m.kv_per_position * 1000),
                   human((char[32]){0}, (double)m.kv_full));
    if (o->verbose)
        for (size_t k = 0; k < i->n_tensors; k++) {
            struct sg_tensor_info t = sg_tensor(engine, k);
            buf_printf(b, "  %-32s %s [", escaped(name, t.name.data, t.name.len), t.type);
            for (size_t d = 0; d < t.n_dims && d < 4; d++)
                buf_printf(b, "%s%llu", d ? ", " : "", (unsigned long long)t.dims[d]);
            buf_puts(b, "]\n");
        }
}

int cmd_info(struct options *o)
{
    struct sg_engine *engine = NULL;
    struct sg_error err;
    struct buf b = {0};
    enum sg_status status = positional_model(o, &err);
    if (status == SG_OK)
        status = cli_open(&engine, o, false, &err);
    if (status == SG_OK) {
        if (o->json)
            info_json(engine, &b);
        else
            info_text(engine, o, &b);
        status = b.failed ? fail_memory(&err, b.len, "the output") : SG_OK;
    }
    if (status == SG_OK) {
        fwrite(b.data, 1, b.len, stdout);
        status = cli_flush(stdout, &err);
    }
    buf_free(&b);
    sg_close(engine);
    return status == SG_OK ? SG_OK : cli_fail(&err);
}

struct notes {
    const struct options *o;
    size_t tensors, problems;
    struct buf list; /* JSON strings of the problems */
};

static void on_note(void *arg, bool problem, const char *sentence)
{
    struct notes *n = arg;
    if (problem) {
        buf_puts(&n->list, n->problems++ ? "," : "");
        json_put_string(&n->list, sentence, strlen(sentence));
        if (!n->o->json)
            printf("problem: %s\n", sentence);
    } else {
        n->tensors++;
        if (n->o->verbose)
            cli_note("%s", sentence);
    }
}

int cmd_check(struct options *o)
{
    struct sg_engine *engine = NULL;
    struct sg_error err;
    struct notes notes = {.o = o};
    enum sg_status status = positional_model(o, &err);
    if (status == SG_OK)
        status = cli_open(&engine, o, false, &err); /* validates structure, runs the kernels' self-test */
    if (status == SG_OK)
        status = sg_check(engine, on_note, &notes, &err);
    if (o->json)
        printf("{\"ok\":%s,\"problems\":[%s]}\n", status == SG_OK ? "true" : "false", notes.list.data ? notes.list.data : "");
    else if (status == SG_OK)
        printf("ok: %zu tensors checked, kernels of level %s agree with the specification\n", sg_info(engine)->n_tensors,
               sg_info(engine)->isa);
    struct sg_error flush_err;
    if (cli_flush(stdout, &flush_err) != SG_OK && status == SG_OK) {
        err = flush_err;
        status = SG_FAIL;
    }
    buf_free(&notes.list);
    sg_close(engine);
    return status == SG_OK ? SG_OK : cli_fail(&err);
}
