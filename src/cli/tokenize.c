/* signum tokenize, render and logits: the engine's parts, one at a time, for scripts and
 * for comparing with other implementations. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "json.h"
#include "messages.h"

static void put_ids(struct buf *b, const int32_t *ids, size_t n, const char *separator)
{
    for (size_t i = 0; i < n; i++)
        buf_printf(b, "%s%d", i ? separator : "", ids[i]);
}

static enum sg_status print(struct buf *b, struct sg_error *err)
{
    if (b->failed)
        return fail_memory(err, b->len, "the output");
    fwrite(b->data, 1, b->len, stdout);
    return ferror(stdout) ? cli_flush(stdout, err) : SG_OK;
}

/* --------------------------------------------------------------- tokenize */

static enum sg_status tokenize_line(void *arg, const char *line, size_t len, size_t number, struct sg_error *err)
{
    const struct sg_engine *engine = arg;
    struct json j;
    struct sg_error why;
    if (json_parse(&j, line, len, &why) != SG_OK)
        return fail(err, why.status, "line %zu: %s", number, why.message);
    const struct json_node *text = json_get(&j, j.nodes, "text"), *special = json_get(&j, j.nodes, "parse_special");
    if (!text || text->type != JSON_STRING || (special && special->type != JSON_TRUE && special->type != JSON_FALSE)) {
        json_free(&j);
        return fail(err, SG_USAGE, "line %zu: an object {\"text\": string, \"parse_special\": bool} is needed", number);
    }
    struct buf decoded = {0}, out = {0};
    int32_t *ids = NULL;
    size_t n;
    json_string(&j, text, &decoded);
    enum sg_status status = decoded.failed ? fail_memory(err, len, "a text") : SG_OK;
    if (status == SG_OK)
        status = sg_tokenize(engine, decoded.data ? decoded.data : "", decoded.len,
                             special && special->type == JSON_TRUE ? SG_PARSE_SPECIAL : 0, &ids, &n, err);
    if (status == SG_OK) {
        buf_puts(&out, "{\"ids\":[");
        put_ids(&out, ids, n, ",");
        buf_puts(&out, "]}\n");
        status = print(&out, err);
    }
    free(ids);
    buf_free(&decoded);
    buf_free(&out);
    json_free(&j);
    return status;
}

/* ids to text */
static enum sg_status detokenize(const struct sg_engine *engine, const struct options *o, struct sg_error *err)
{
    struct ids ids = {0};
    char *text = NULL;
    size_t len;
    if (o->prompt || o->n_words || o->prompt_file)
        return fail(err, SG_USAGE, "either text or --ids");
    enum sg_status status = cli_parse_ids(o->ids, &ids, err);
    if (status == SG_OK)
        status = sg_detokenize(engine, ids.data, ids.len, true, &text, &len, err);
    if (status == SG_OK) {
        struct buf out = {0};
        if (o->json) {
            buf_puts(&out, "{\"text\":");
            json_put_string(&out, text, len);
            buf_puts(&out, "}\n");
            status = print(&out, err);
        } else {
            cli_write(stdout, text, len);
            if (len == 0 || text[len - 1] != '\n')
                putchar('\n');
        }
        buf_free(&out);
    }
    free(text);
    ids_free(&ids);
    return status;
}

/* text to ids; --json shows every token's text as well */
static enum sg_status tokenize(const struct sg_engine *engine, const struct options *o, struct sg_error *err)
{
    struct buf text = {0}, out = {0};
    int32_t *ids = NULL;
    size_t n = 0;
    enum sg_status status = cli_prompt(o, &text, err);
    if (status == SG_OK)
        status = sg_tokenize(engine, text.data ? text.data : "", text.len, o->parse_special ? SG_PARSE_SPECIAL : 0, &ids, &n, err);
    if (status == SG_OK && o->json) {
        buf_puts(&out, "{\"ids\":[");
        put_ids(&out, ids, n, ",");
        buf_puts(&out, "],\"tokens\":[");
        for (size_t i = 0; i < n && status == SG_OK; i++) {
            char *piece;
            size_t len;
            status = sg_detokenize(engine, &ids[i], 1, true, &piece, &len, err);
            if (status != SG_OK)
                break;
            buf_puts(&out, i ? "," : "");
            json_put_string(&out, piece, len);
            free(piece);
        }
        buf_puts(&out, "]}\n");
    } else if (status == SG_OK) {
        put_ids(&out, ids, n, " ");
        buf_putc(&out, '\n');
    }
    if (status == SG_OK)
        status = print(&out, err);
    free(ids);
    buf_free(&text);
    buf_free(&out);
    return status;
}

static int finish(struct sg_engine *engine, enum sg_status status, struct sg_error *err)
{
    if (status == SG_OK)
        status = cli_flush(stdout, err);
    sg_close(engine);
    return status == SG_OK ? SG_OK : cli_fail(err);
}

int cmd_tokenize(struct options *o)
{
    struct sg_engine *engine = NULL;
    struct sg_error err;
    enum sg_status status = cli_open(&engine, o, true, &err);
    if (status == SG_OK)
        status = o->jsonl ? cli_lines(o, tokenize_line, engine, &err) : o->ids ? detokenize(engine, o, &err) : tokenize(engine, o, &err);
    return finish(engine, status, &err);
}

/* ----------------------------------------------------------------- render */

static enum sg_status read_switch(const struct json *j, const char *key, const struct json_node **out, struct sg_error *err)
{
    *out = json_get(j, j->nodes, key);
    if (*out && (*out)->type == JSON_NULL)
        *out = NULL;
    if (*out && (*out)->type != JSON_TRUE && (*out)->type != JSON_FALSE)
        return fail(err, SG_USAGE, "\"%s\" is no boolean", key);
    return SG_OK;
}

static enum sg_status render_document(const struct sg_engine *engine, const struct json *j, struct sg_error *err)
{
    struct messages m = {0};
    const struct json_node *think, *generate;
    TRY(read_switch(j, "enable_thinking", &think, err));
    TRY(read_switch(j, "add_generation_prompt", &generate, err));
    struct buf out = {0};
    char *text = NULL;
    int32_t *ids = NULL;
    size_t len, n;
    enum sg_status status = messages_read(&m, j, json_get(j, j->nodes, "messages"), json_get(j, j->nodes, "tools"), err);
    if (status == SG_OK) {
        m.conversation.think = !think ? SG_THINK_AUTO : think->type == JSON_TRUE ? SG_THINK_ON : SG_THINK_OFF;
        m.conversation.add_generation_prompt = generate && generate->type == JSON_TRUE;
        status = sg_render(engine, &m.conversation, &text, &len, &ids, &n, err);
    }
    if (status == SG_OK) {
        buf_puts(&out, "{\"text\":");
        json_put_string(&out, text, len);
        buf_puts(&out, ",\"ids\":[");
        put_ids(&out, ids, n, ",");
        buf_puts(&out, "]}\n");
        status = print(&out, err);
    }
    buf_free(&out);
    free(text);
    free(ids);
    messages_free(&m);
    return status;
}

static enum sg_status render_line(void *arg, const char *line, size_t len, size_t number, struct sg_error *err)
{
    const struct sg_engine *engine = arg;
    struct json j;
    struct sg_error why;
    enum sg_status status = json_parse(&j, line, len, &why);
    if (status == SG_OK) {
        status = render_document(engine, &j, &why);
        json_free(&j);
    }
    return status == SG_OK ? SG_OK : fail(err, status, "line %zu: %s", number, why.message);
}

int cmd_render(struct options *o)
{
    struct sg_engine *engine = NULL;
    struct sg_error err;
    enum sg_status status = o->n_words ? fail(&err, SG_USAGE, "render reads JSON lines from stdin, not \"%.40s\"", o->words[0])
                                       : cli_open(&engine, o, true, &err);
    if (status == SG_OK && !sg_info(engine)->template_recognised)
        cli_note("the file's chat template is not one that signum knows; using ChatML");
    if (status == SG_OK)
        status = cli_lines(o, render_line, engine, &err);
    return finish(engine, status, &err);
}

/* ----------------------------------------------------------------- logits */

struct logits_out {
    FILE *file;
    size_t n_vocab;
};

static void write_logits(void *arg, size_t position, const float *logits)
{
    const struct logits_out *out = arg;
    (void)position;
    fwrite(logits, sizeof *logits, out->n_vocab, out->file);
}

static enum sg_status logits(struct sg_engine *engine, const struct options *o, FILE *file, struct sg_error *err)
{
    struct ids ids = {0};
    struct sg_session *session = NULL;
    enum sg_status status = SG_OK;
    if (o->ids) {
        status = cli_parse_ids(o->ids, &ids, err);
    } else {
        struct buf text = {0};
        int32_t *list = NULL;
        size_t n = 0;
        status = cli_prompt(o, &text, err);
        if (status == SG_OK)
            status = sg_tokenize(engine, text.data ? text.data : "", text.len, o->parse_special ? SG_PARSE_SPECIAL : 0, &list, &n, err);
        ids_append(&ids, list, n);
        if (status == SG_OK && ids.failed)
            status = fail_memory(err, n * sizeof *list, "token ids");
        free(list);
        buf_free(&text);
    }
    if (status == SG_OK && ids.len == 0)
        status = fail(err, SG_USAGE, "no tokens");
    if (status == SG_OK)
        status = sg_session_open(&session, engine, MAX(ids.len, (size_t)o->n_ctx), err);
    struct logits_out out = {file, sg_info(engine)->n_vocab};
    for (size_t done = 0; done < ids.len && status == SG_OK;) {
        size_t n = MIN(ids.len - done, (size_t)256);
        struct sg_feed feed = {.session = session, .ids = ids.data + done, .n = n, .n_logits = n, .on_logits = write_logits, .arg = &out};
        status = sg_eval(engine, &feed, 1, err);
        if (status == SG_OK)
            status = cli_flush(file, err); /* a full disk ends it at once */
        done += n;
        cli_progress("positions", done, ids.len);
    }
    sg_session_close(session);
    ids_free(&ids);
    return status;
}

int cmd_logits(struct options *o)
{
    struct sg_engine *engine = NULL;
    struct sg_error err;
    char shown[ESCAPED_MAX];
    bool to_file = o->output && strcmp(o->output, "-") != 0;
    if (!o->output && isatty(STDOUT_FILENO)) {
        cli_error("logits are binary: redirect stdout or give -o FILE");
        return SG_USAGE;
    }
    FILE *file = to_file ? fopen(o->output, "wb") : stdout;
    enum sg_status status = file
                                ? cli_open(&engine, o, false, &err)
                                : fail(&err, SG_FAIL, "cannot write %s: %s", escaped(shown, o->output, strlen(o->output)), strerror(errno));
    if (status == SG_OK)
        status = logits(engine, o, file, &err);
    if (to_file && file && fclose(file) != 0 && status == SG_OK)
        status = fail(&err, SG_FAIL, "cannot write %s: %s", escaped(shown, o->output, strlen(o->output)), strerror(errno));
    return finish(engine, status, &err);
}
