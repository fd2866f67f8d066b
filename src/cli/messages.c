#include "messages.h"

#include <stdlib.h>
#include <string.h>

/* While the text buffer grows it moves, so strings are first kept as offsets in .data. */
static struct sg_str keep(struct messages *m, size_t begin) { return (struct sg_str){(const char *)(uintptr_t)begin, m->text.len - begin}; }

static void settle(const struct messages *m, struct sg_str *s) { s->data = (m->text.data ? m->text.data : "") + (uintptr_t)s->data; }

static struct sg_str keep_string(struct messages *m, const struct json *j, const struct json_node *node)
{
    size_t begin = m->text.len;
    json_string(j, node, &m->text);
    return keep(m, begin);
}

static bool is_null(const struct json_node *n) { return !n || n->type == JSON_NULL; }

static enum sg_status read_content(struct messages *m, struct sg_message *out, const struct json *j, const struct json_node *content,
                                   size_t index, struct sg_error *err)
{
    size_t begin = m->text.len;
    if (!is_null(content) && content->type == JSON_STRING) {
        json_string(j, content, &m->text);
    } else if (!is_null(content) && content->type == JSON_ARRAY) {
        for (const struct json_node *part = json_first(j, content); part; part = json_next(j, content, part)) {
            const struct json_node *type = json_get(j, part, "type"), *text = json_get(j, part, "text");
            if (!text || text->type != JSON_STRING || (type && !json_string_equal(j, type, "text")))
                return fail(err, SG_USAGE, "messages[%zu].content: only parts of type \"text\" are supported", index);
            json_string(j, text, &m->text);
        }
    } else if (!is_null(content)) {
        return fail(err, SG_USAGE, "messages[%zu].content is no string", index);
    }
    out->content = keep(m, begin);
    return SG_OK;
}

static enum sg_status read_call(struct messages *m, struct sg_tool_call *out, const struct json *j, const struct json_node *call,
                                size_t index, struct sg_error *err)
{
    const struct json_node *function = json_get(j, call, "function");
    if (function && function->type == JSON_OBJECT)
        call = function;
    const struct json_node *name = json_get(j, call, "name"), *arguments = json_get(j, call, "arguments");
    if (!name || name->type != JSON_STRING)
        return fail(err, SG_USAGE, "messages[%zu].tool_calls: a call without a name", index);
    out->name = keep_string(m, j, name);
    size_t begin = m->text.len;
    if (!arguments) {
        buf_puts(&m->text, "{}");
    } else if (arguments->type == JSON_STRING) {
        json_string(j, arguments, &m->text);
        out->arguments_verbatim = true;
    } else {
        buf_append(&m->text, j->text + arguments->begin, arguments->end - arguments->begin);
    }
    out->arguments = keep(m, begin);
    return SG_OK;
}

static size_t count_calls(const struct json *j, const struct json_node *messages)
{
    size_t n = 0;
    for (const struct json_node *item = json_first(j, messages); item; item = json_next(j, messages, item)) {
        const struct json_node *calls = json_get(j, item, "tool_calls");
        n += calls && calls->type == JSON_ARRAY ? calls->count : 0;
    }
    return n;
}

static enum sg_status read_all(struct messages *m, const struct json *j, const struct json_node *messages, const struct json_node *tools,
                               struct sg_error *err)
{
    size_t n_calls = 0, i = 0;
    for (const struct json_node *item = json_first(j, messages); item; item = json_next(j, messages, item), i++) {
        struct sg_message *out = &m->items[i];
        if (item->type != JSON_OBJECT)
            return fail(err, SG_USAGE, "messages[%zu] is no object", i);
        const struct json_node *role = json_get(j, item, "role"), *reasoning = json_get(j, item, "reasoning_content"),
                               *calls = json_get(j, item, "tool_calls");
        if (!role || role->type != JSON_STRING)
            return fail(err, SG_USAGE, "messages[%zu] has no role", i);
        out->role = keep_string(m, j, role);
        TRY(read_content(m, out, j, json_get(j, item, "content"), i, err));
        if (!is_null(reasoning)) {
            if (reasoning->type != JSON_STRING)
                return fail(err, SG_USAGE, "messages[%zu].reasoning_content is no string", i);
            out->has_reasoning = true;
            out->reasoning = keep_string(m, j, reasoning);
        }
        if (is_null(calls))
            continue;
        if (calls->type != JSON_ARRAY)
            return fail(err, SG_USAGE, "messages[%zu].tool_calls is no array", i);
        out->tool_calls = m->calls + n_calls;
        for (const struct json_node *call = json_first(j, calls); call; call = json_next(j, calls, call), out->n_tool_calls++)
            TRY(read_call(m, &m->calls[n_calls++], j, call, i, err));
    }
    i = 0;
    if (!is_null(tools))
        for (const struct json_node *tool = json_first(j, tools); tool; tool = json_next(j, tools, tool)) {
            size_t begin = m->text.len;
            buf_append(&m->text, j->text + tool->begin, tool->end - tool->begin);
            m->tools[i++] = keep(m, begin);
        }
    return SG_OK;
}

enum sg_status messages_read(struct messages *m, const struct json *j, const struct json_node *messages, const struct json_node *tools,
                             struct sg_error *err)
{
    if (!messages || messages->type != JSON_ARRAY)
        return fail(err, SG_USAGE, "\"messages\" is no array");
    if (!is_null(tools) && tools->type != JSON_ARRAY)
        return fail(err, SG_USAGE, "\"tools\" is no array");
    size_t n_tools = is_null(tools) ? 0 : tools->count, n_calls = count_calls(j, messages);
    m->items = calloc((size_t)messages->count + 1, sizeof *m->items);
    m->calls = calloc(n_calls + 1, sizeof *m->calls);
    m->tools = calloc(n_tools + 1, sizeof *m->tools);
    if (!m->items || !m->calls || !m->tools)
        return fail(err, SG_NO_MEMORY, "out of memory for %u messages", messages->count);
    TRY(read_all(m, j, messages, tools, err));
    if (m->text.failed)
        return fail_memory(err, m->text.len, "a conversation");
    for (size_t i = 0; i < messages->count; i++) {
        settle(m, &m->items[i].role);
        settle(m, &m->items[i].content);
        settle(m, &m->items[i].reasoning);
    }
    for (size_t i = 0; i < n_calls; i++) {
        settle(m, &m->calls[i].name);
        settle(m, &m->calls[i].arguments);
    }
    for (size_t i = 0; i < n_tools; i++)
        settle(m, &m->tools[i]);
    m->conversation = (struct sg_conversation){
        .messages = m->items, .n_messages = messages->count, .tools = m->tools, .n_tools = n_tools, .add_generation_prompt = true};
    return SG_OK;
}

void messages_free(struct messages *m)
{
    buf_free(&m->text);
    free(m->items);
    free(m->calls);
    free(m->tools);
    *m = (struct messages){0};
}
