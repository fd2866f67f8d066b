#include "toolcall.h"

#include <string.h>

#include "json.h"
#include "signum.h"

static const char begin_tag[] = "<tool_call>", end_tag[] = "</tool_call>";

/* The first occurrence of a tag; end when there is none. outside: of JSON's strings. */
static const char *find_tag(const char *p, const char *end, const char *tag, bool outside)
{
    size_t len = strlen(tag);
    bool quoted = false;
    for (; p < end; p++) {
        if (!quoted && (size_t)(end - p) >= len && memcmp(p, tag, len) == 0)
            return p;
        if (quoted && *p == '\\')
            p++;
        else if (outside && *p == '"')
            quoted = !quoted;
    }
    return end;
}

static void trim(const char **begin, const char **end)
{
    while (*begin < *end && strchr(" \t\r\n", **begin))
        (*begin)++;
    while (*end > *begin && strchr(" \t\r\n", (*end)[-1]))
        (*end)--;
}

/* One call as OpenAI's object. False: it is none. */
static bool put_call(struct buf *out, const char *text, size_t len, uint64_t id)
{
    struct json j;
    struct buf name = {0}, arguments = {0};
    if (json_parse(&j, text, len, NULL) != SG_OK)
        return false;
    const struct json_node *called = json_get(&j, j.nodes, "name"), *given = json_get(&j, j.nodes, "arguments");
    json_string(&j, called, &name);
    if (!given)
        buf_puts(&arguments, "{}");
    else if (given->type == JSON_STRING)
        json_string(&j, given, &arguments);
    else
        buf_append(&arguments, j.text + given->begin, given->end - given->begin);
    bool good = name.len > 0 && (!given || given->type == JSON_OBJECT || given->type == JSON_STRING);
    if (good) {
        buf_printf(out, "{\"id\":\"call_%014llx\",\"type\":\"function\",\"function\":{\"name\":", (unsigned long long)id);
        json_put_string(out, name.data, name.len);
        buf_puts(out, ",\"arguments\":");
        json_put_string(out, arguments.data ? arguments.data : "", arguments.len);
        buf_puts(out, "}}");
    }
    out->failed |= name.failed || arguments.failed;
    buf_free(&name);
    buf_free(&arguments);
    json_free(&j);
    return good;
}

size_t toolcall_split(const char *text, size_t len, uint64_t seed, size_t most, struct buf *content, struct buf *calls)
{
    const char *at = text, *end = text + len;
    size_t n = 0, content_before = content->len, calls_before = calls->len;
    while (at < end) {
        const char *begin = find_tag(at, end, begin_tag, false), *said_end = begin;
        trim(&at, &said_end);
        if (said_end > at && content->len > content_before)
            buf_putc(content, '\n');
        buf_append(content, at, (size_t)(said_end - at));
        if (begin == end)
            break;
        begin += sizeof begin_tag - 1;
        const char *stop = find_tag(begin, end, end_tag, true), *json_end = stop;
        at = stop < end ? stop + sizeof end_tag - 1 : end;
        trim(&begin, &json_end);
        if (n > 0 && n < most)
            buf_putc(calls, ',');
        struct buf ignored = {0};
        bool good = put_call(n < most ? calls : &ignored, begin, (size_t)(json_end - begin), sg_derive_seed(seed, "call", 4, (uint32_t)n));
        buf_free(&ignored);
        if (!good) {
            content->len = content_before;
            calls->len = calls_before;
            return 0;
        }
        n++;
    }
    if (n == 0)
        content->len = content_before;
    return n;
}
