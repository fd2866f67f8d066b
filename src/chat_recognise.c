/* Which of the templates that chat.c renders a file carries. The text is never
 * executed. It is brought into one form, in which ways to write the same thing look
 * the same, and compared piece by piece with what the renderings rest on. */
#include <string.h>

#include "chat.h"

/* The form: what a template prints stands in {{..}}, also its plain text; neighbours
 * are joined by +, and string constants that are joined are one. In tags, white space
 * outside of strings is gone, strings have single quotes, m['role'] is m.role, and a
 * line end inside a string is \n. Comments are gone. So
 *
 *     <|im_start|>{{ m["role"] }}        and        {{- '<|im_start|>' + m.role + '\n' -}}
 *
 * followed by a line end are both   {{'<|im_start|>'+m.role+'\n'}}   . */
struct canonical {
    struct buf out;
    const char *at, *end;
    char before;      /* kind of the tag before the data: '{', '%', '#', 0 at the start */
    bool trim_before; /* it ended with - */
};

enum {
    MAX_TEMPLATE = 1 << 18
}; /* real ones have less than a tenth of this */

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool out_ends(const struct buf *out, const char *text)
{
    size_t len = strlen(text);
    return out->len >= len && memcmp(out->data + out->len - len, text, len) == 0;
}

static void open_print(struct buf *out)
{
    if (out_ends(out, "}}")) {
        out->len -= 2;
        buf_putc(out, '+');
    } else {
        buf_puts(out, "{{");
    }
}

static void open_string(struct buf *out)
{
    if (out_ends(out, "'+"))
        out->len -= 2;
    else
        buf_putc(out, '\'');
}

static void put_char(struct buf *out, char c)
{
    if (c == '\n')
        buf_puts(out, "\\n");
    else if (c == '\t')
        buf_puts(out, "\\t");
    else
        buf_putc(out, c);
}

/* Text between tags, without what Jinja takes away: all white space beside a -, the line
 * end after a block (trim_blocks), the indentation before one (lstrip_blocks), the last
 * line end of the template. */
static void put_data(struct canonical *c, const char *data, const char *end, char next, bool trim_next)
{
    bool line_start = c->before == 0;
    if (c->trim_before) {
        while (data < end && is_space(*data))
            line_start |= *data++ == '\n';
    } else if ((c->before == '%' || c->before == '#') && data < end && *data == '\n') {
        data++;
        line_start = true;
    }
    if (trim_next) {
        while (data < end && is_space(end[-1]))
            end--;
    } else if (next == '%' || next == '#') {
        const char *indent = end;
        while (indent > data && (indent[-1] == ' ' || indent[-1] == '\t'))
            indent--;
        if (indent == data ? line_start : indent[-1] == '\n')
            end = indent;
    } else if (next == 0 && data < end && end[-1] == '\n') {
        end--;
    }
    if (data == end)
        return;
    open_print(&c->out);
    open_string(&c->out);
    for (; data < end; data++)
        put_char(&c->out, *data);
    buf_puts(&c->out, "'}}");
}

/* Steps over a string in a tag, from its quote, and writes it. */
static void put_string(struct canonical *c)
{
    char quote = *c->at++;
    open_string(&c->out);
    for (; c->at < c->end && *c->at != quote; c->at++) {
        if (*c->at == '\\' && c->at + 1 < c->end) {
            c->at++;
            if (*c->at != '\'' && *c->at != '"')
                buf_putc(&c->out, '\\');
        }
        put_char(&c->out, *c->at);
    }
    c->at += c->at < c->end;
    buf_putc(&c->out, '\'');
}

/* m['role'] becomes m.role when its ] is written. */
static void close_bracket(struct buf *out)
{
    size_t i = out->len;
    if (i > 0 && out->data[i - 1] == '\'') {
        i--;
        while (i > 0 && ((out->data[i - 1] >= 'a' && out->data[i - 1] <= 'z') || out->data[i - 1] == '_'))
            i--;
        if (i >= 2 && out->data[i - 1] == '\'' && out->data[i - 2] == '[') {
            size_t len = out->len - 1 - i;
            memmove(out->data + i - 1, out->data + i, len);
            out->data[i - 2] = '.';
            out->len = i - 1 + len;
            return;
        }
    }
    buf_putc(out, ']');
}

/* Steps over a tag that begins at c->at, and writes it. */
static void put_tag(struct canonical *c)
{
    char kind = c->at[1], close = kind == '{' ? '}' : kind;
    c->before = kind;
    c->trim_before = false;
    c->at += 2;
    if (c->at < c->end && (*c->at == '-' || *c->at == '+'))
        c->at++;
    if (kind == '{')
        open_print(&c->out);
    else if (kind == '%')
        buf_puts(&c->out, "{%");
    while (c->at < c->end) {
        const char *s = c->at;
        if (s + 1 < c->end && s[0] == close && s[1] == '}') {
            c->at += 2;
            break;
        }
        if (s + 2 < c->end && s[0] == '-' && s[1] == close && s[2] == '}') {
            c->trim_before = true;
            c->at += 3;
            break;
        }
        if (kind == '#' || is_space(*s)) {
            c->at++;
        } else if (*s == '\'' || *s == '"') {
            put_string(c);
        } else {
            if (*s == ']')
                close_bracket(&c->out);
            else
                buf_putc(&c->out, *s);
            c->at++;
        }
    }
    if (kind == '{')
        buf_puts(&c->out, "}}");
    else if (kind == '%')
        buf_puts(&c->out, "%}");
}

static void canonicalise(struct canonical *c)
{
    while (c->at < c->end) {
        const char *data = c->at, *tag = data;
        while (tag < c->end && !(*tag == '{' && tag + 1 < c->end && (tag[1] == '{' || tag[1] == '%' || tag[1] == '#')))
            tag++;
        bool trim = tag + 2 < c->end && tag[2] == '-';
        put_data(c, data, tag, tag < c->end ? tag[1] : 0, trim);
        c->at = tag;
        if (tag < c->end)
            put_tag(c);
    }
}

/* What the Qwen3 renderings have in common, and what only those that know of thinking
 * have. Names of variables differ between versions of the template, these do not. */
static const char *const family[] = {
    "<|im_start|>system\\n'+messages[0].content+",
    "'# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\nYou are provided with function "
    "signatures within <tools></tools> XML tags:\\n<tools>'",
    "{%fortoolintools%}{{'\\n'+tool|tojson}}{%endfor%}",
    "'\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> "
    "XML tags:\\n<tool_call>\\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\\n</tool_call><|im_end|>\\n'",
    "(message.role=='user')or(message.role=='system'andnotloop.first)",
    "'<tool_call>\\n{\"name\": \"'+tool_call.name+'\", \"arguments\": '",
    "{%iftool_call.argumentsisstring%}",
    "'}\\n</tool_call>'",
    "{{'<|im_start|>user'}}",
    "'\\n<tool_response>\\n'+",
    "+'\\n</tool_response>'",
};
static const char *const thinking[] = {
    "message.reasoning_content",   "last_query_index=messages|length-1",
    "ns.multi_step_tool",          "loop.index0>ns.last_query_index",
    "loop.lastor(notloop.lastand", "+'\\n<think>\\n'+reasoning_content.strip('\\n')+'\\n</think>\\n\\n'+content.lstrip('\\n')}}",
};

static bool holds_all(const char *form, const char *const *pieces, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strstr(form, pieces[i]))
            return false;
    return true;
}

static bool classify(const char *form, enum chat_template *kind)
{
    static const char no_prompt[] = "{%ifnotadd_generation_promptisdefined%}{%setadd_generation_prompt=false%}{%endif%}";
    static const char chatml[] = "{%formessageinmessages%}{{'<|im_start|>'+message.role+'\\n'+message.content+'<|im_end|>\\n'}}{%endfor%}"
                                 "{%ifadd_generation_prompt%}{{'<|im_start|>assistant\\n'}}{%endif%}";
    static const char prompt[] = "{%ifadd_generation_prompt%}{{'<|im_start|>assistant\\n";
    static const char empty[] = "<think>\\n\\n</think>\\n\\n'}}{%endif%}";

    if (strncmp(form, no_prompt, strlen(no_prompt)) == 0)
        form += strlen(no_prompt);
    if (strcmp(form, chatml) == 0) {
        *kind = CHAT_CHATML;
        return true;
    }
    const char *tail = strstr(form, prompt);
    if (!tail || !holds_all(form, family, ARRAY_LEN(family)))
        return false;
    tail += strlen(prompt);
    if (!strstr(form, "think") && strcmp(tail, "'}}{%endif%}") == 0) {
        *kind = CHAT_QWEN3_2507;
        return true;
    }
    if (!holds_all(form, thinking, ARRAY_LEN(thinking)))
        return false;
    if (strcmp(tail, empty) == 0 && !strstr(form, "enable_thinking")) {
        *kind = CHAT_BONSAI;
        return true;
    }
    static const char *const switches[] = {
        "'}}{%ifenable_thinkingisdefinedandenable_thinkingisfalse%}{{'",
        "'}}{%ifenable_thinkingisdefinedandnotenable_thinking%}{{'",
    };
    for (size_t i = 0; i < ARRAY_LEN(switches); i++) {
        size_t len = strlen(switches[i]);
        if (strncmp(tail, switches[i], len) == 0 && strncmp(tail + len, empty, strlen(empty)) == 0 &&
            strcmp(tail + len + strlen(empty), "{%endif%}") == 0) {
            *kind = CHAT_QWEN3;
            return true;
        }
    }
    return false;
}

enum chat_template chat_recognise(const char *text, size_t len, bool *known)
{
    enum chat_template kind = CHAT_CHATML;
    *known = false;
    if (len == 0 || len > MAX_TEMPLATE || memchr(text, 0, len))
        return kind;
    struct canonical c = {.at = text, .end = text + len};
    canonicalise(&c);
    *known = c.out.data && !c.out.failed && classify(c.out.data, &kind);
    buf_free(&c.out);
    return kind;
}
