#include "chat.h"

#include <string.h>

#include "json.h"

static bool equals(struct sg_str s, const char *text) { return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0; }

static bool starts_with(struct sg_str s, const char *text)
{
    size_t len = strlen(text);
    return s.len >= len && memcmp(s.data, text, len) == 0;
}

static bool ends_with(struct sg_str s, const char *text)
{
    size_t len = strlen(text);
    return s.len >= len && memcmp(s.data + s.len - len, text, len) == 0;
}

/* -------------------------------------------------------------- rendering */

/* What is being written: text as it is, and ids piece by piece. A piece is what
 * stands between two control tokens of the template. */
struct writer {
    const struct tokenizer *tokenizer;
    struct buf *text;
    struct ids *ids;
    struct buf piece;
    struct sg_error *err;
};

static void put(struct writer *w, const char *text) { buf_puts(&w->piece, text); }

/* A string of the request. */
static void put_str(struct writer *w, struct sg_str s) { buf_append_utf8(&w->piece, s.data, s.len); }

/* JSON text as Jinja's tojson would print the value. */
static enum sg_status put_json(struct writer *w, struct sg_str s, const char *what)
{
    struct json j;
    struct sg_error why;
    enum sg_status status = json_parse(&j, s.data, s.len, &why);
    if (status == SG_OK)
        json_put_spaced(&w->piece, &j, j.nodes);
    else
        fail(w->err, status, "%s: %s", what, why.message);
    json_free(&j);
    return status;
}

/* Ends the piece: it becomes ids in which nothing is a control token. */
static enum sg_status end_piece(struct writer *w)
{
    enum sg_status status = SG_OK;
    if (w->piece.failed)
        return fail_memory(w->err, w->piece.len, "a conversation");
    if (w->text)
        buf_append(w->text, w->piece.data, w->piece.len);
    if (w->ids && w->piece.len)
        status = tokenizer_encode(w->tokenizer, w->piece.data, w->piece.len, false, w->ids, w->err);
    w->piece.len = 0;
    return status;
}

static enum sg_status put_control(struct writer *w, const char *name)
{
    TRY(end_piece(w));
    if (w->text)
        buf_puts(w->text, name);
    if (w->ids) {
        int32_t id = tokenizer_special(w->tokenizer, name, strlen(name));
        if (id < 0)
            return fail(w->err, SG_USAGE, "the model's vocabulary has no %s token, so it can not follow a conversation", name);
        ids_push(w->ids, id);
    }
    return SG_OK;
}

static enum sg_status begin_turn(struct writer *w, const char *role)
{
    TRY(put_control(w, "<|im_start|>"));
    put(w, role);
    return SG_OK;
}

static enum sg_status end_turn(struct writer *w)
{
    TRY(put_control(w, "<|im_end|>"));
    put(w, "\n");
    return SG_OK;
}

/* Python's s.lstrip('\n'), rstrip('\n'), strip('\n'). */
static struct sg_str lstrip(struct sg_str s)
{
    while (s.len && s.data[0] == '\n') {
        s.data++;
        s.len--;
    }
    return s;
}

static struct sg_str rstrip(struct sg_str s)
{
    while (s.len && s.data[s.len - 1] == '\n')
        s.len--;
    return s;
}

/* Python's s.split(mark)[0] (last: false) and [-1]; mark is not empty. All of s, and
 * false, when mark is not in it. */
static bool split(struct sg_str s, const char *mark, bool last, struct sg_str *part)
{
    size_t len = strlen(mark);
    bool found = false;
    *part = s;
    for (size_t i = 0; i + len <= s.len; i++) {
        if (s.data[i] != mark[0] || memcmp(s.data + i, mark, len) != 0)
            continue;
        found = true;
        if (!last) {
            part->len = i;
            break;
        }
        part->data = s.data + i + len;
        part->len = s.len - i - len;
        i += len - 1;
    }
    return found;
}

static const char tools_head[] = "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
                                 "You are provided with function signatures within <tools></tools> XML tags:\n<tools>";
static const char tools_tail[] =
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>";

/* The first turn: tools and system message, or either, or nothing. */
static enum sg_status put_head(struct writer *w, const struct sg_conversation *c)
{
    bool has_system = equals(c->messages[0].role, "system");
    if (!has_system && c->n_tools == 0)
        return SG_OK;
    TRY(begin_turn(w, "system\n"));
    if (has_system)
        put_str(w, c->messages[0].content);
    if (c->n_tools > 0) {
        if (has_system)
            put(w, "\n\n");
        put(w, tools_head);
        for (size_t i = 0; i < c->n_tools; i++) {
            put(w, "\n");
            TRY(put_json(w, c->tools[i], "tools"));
        }
        put(w, tools_tail);
    }
    return end_turn(w);
}

/* The last user message that is not a wrapped tool response; what the model thought
 * before it is left out. Without one: the last message. */
static size_t last_query(const struct sg_conversation *c)
{
    for (size_t i = c->n_messages; i-- > 0;) {
        const struct sg_message *m = &c->messages[i];
        if (equals(m->role, "user") && !(starts_with(m->content, "<tool_response>") && ends_with(m->content, "</tool_response>")))
            return i;
    }
    return c->n_messages - 1;
}

/* after_query: this is part of the answer to the last query, so its thoughts are kept. */
static enum sg_status put_assistant(struct writer *w, enum chat_template kind, const struct sg_message *m, bool after_query, bool last)
{
    struct sg_str content = m->content, reasoning = {"", 0};
    TRY(begin_turn(w, "assistant\n"));
    if (kind != CHAT_QWEN3_2507) {
        if (m->has_reasoning) {
            reasoning = m->reasoning;
        } else if (split(m->content, "</think>", true, &content)) {
            content = lstrip(content);
            split(m->content, "</think>", false, &reasoning);
            split(rstrip(reasoning), "<think>", true, &reasoning);
            reasoning = lstrip(reasoning);
        }
    }
    if (kind != CHAT_QWEN3_2507 && after_query && (last || reasoning.len > 0)) {
        put(w, "<think>\n");
        put_str(w, lstrip(rstrip(reasoning)));
        put(w, "\n</think>\n\n");
        put_str(w, lstrip(content));
    } else {
        put_str(w, content);
    }
    for (size_t i = 0; i < m->n_tool_calls; i++) {
        const struct sg_tool_call *call = &m->tool_calls[i];
        put(w, i > 0 || content.len > 0 ? "\n<tool_call>\n{\"name\": \"" : "<tool_call>\n{\"name\": \"");
        put_str(w, call->name);
        put(w, "\", \"arguments\": ");
        if (call->arguments_verbatim)
            put_str(w, call->arguments);
        else
            TRY(put_json(w, call->arguments, "tool call arguments"));
        put(w, "}\n</tool_call>");
    }
    return end_turn(w);
}

/* Neighbouring tool messages share one user turn. */
static enum sg_status put_tool(struct writer *w, const struct sg_conversation *c, size_t i)
{
    if (i == 0 || !equals(c->messages[i - 1].role, "tool"))
        TRY(begin_turn(w, "user"));
    put(w, "\n<tool_response>\n");
    put_str(w, c->messages[i].content);
    put(w, "\n</tool_response>");
    if (i + 1 == c->n_messages || !equals(c->messages[i + 1].role, "tool"))
        TRY(end_turn(w));
    return SG_OK;
}

static enum sg_status render_qwen3(struct writer *w, enum chat_template kind, const struct sg_conversation *c)
{
    if (c->n_messages == 0)
        return fail(w->err, SG_USAGE, "the conversation has no messages");
    size_t query = last_query(c);
    TRY(put_head(w, c));
    for (size_t i = 0; i < c->n_messages; i++) {
        const struct sg_message *m = &c->messages[i];
        if (equals(m->role, "user") || (equals(m->role, "system") && i > 0)) {
            TRY(begin_turn(w, equals(m->role, "user") ? "user\n" : "system\n"));
            put_str(w, m->content);
            TRY(end_turn(w));
        } else if (equals(m->role, "assistant")) {
            TRY(put_assistant(w, kind, m, i > query, i + 1 == c->n_messages));
        } else if (equals(m->role, "tool")) {
            TRY(put_tool(w, c, i));
        }
    }
    if (c->add_generation_prompt) {
        TRY(begin_turn(w, "assistant\n"));
        if (kind == CHAT_BONSAI || (kind == CHAT_QWEN3 && c->think == SG_THINK_OFF))
            put(w, "<think>\n\n</think>\n\n");
    }
    return SG_OK;
}

static enum sg_status render_chatml(struct writer *w, const struct sg_conversation *c)
{
    for (size_t i = 0; i < c->n_messages; i++) {
        TRY(begin_turn(w, ""));
        put_str(w, c->messages[i].role);
        put(w, "\n");
        put_str(w, c->messages[i].content);
        TRY(end_turn(w));
    }
    return c->add_generation_prompt ? begin_turn(w, "assistant\n") : SG_OK;
}

enum sg_status chat_render(enum chat_template kind, const struct tokenizer *t, const struct sg_conversation *c, struct buf *text,
                           struct ids *ids, struct sg_error *err)
{
    struct writer w = {.tokenizer = t, .text = text, .ids = ids, .err = err};
    if (c->think == SG_THINK_ON && !chat_can_think(kind))
        return fail(err, SG_USAGE, "this model's chat template (%s) has no thinking to turn on", chat_template_name(kind));
    enum sg_status status = kind == CHAT_CHATML ? render_chatml(&w, c) : render_qwen3(&w, kind, c);
    if (status == SG_OK)
        status = end_piece(&w);
    buf_free(&w.piece);
    if (status == SG_OK && ((text && text->failed) || (ids && ids->failed)))
        return fail_memory(err, text ? text->len : ids->len * sizeof *ids->data, "a conversation");
    return status;
}

const char *chat_template_name(enum chat_template kind)
{
    static const char *const names[] = {
        [CHAT_QWEN3] = "qwen3", [CHAT_QWEN3_2507] = "qwen3-2507", [CHAT_BONSAI] = "bonsai", [CHAT_CHATML] = "chatml"};
    return names[kind];
}

bool chat_can_think(enum chat_template kind) { return kind == CHAT_QWEN3; }
