/* Answers taken apart into what is said and what is called. */
#include <string.h>

#include "check.h"
#include "cli/toolcall.h"

#define CALL(json) "<tool_call>\n" json "\n</tool_call>"

static size_t split(const char *text, size_t most, struct buf *content, struct buf *calls)
{
    content->len = calls->len = 0;
    size_t n = toolcall_split(text, strlen(text), 1, most, content, calls);
    buf_putc(content, 0); /* as strings, whatever they were before */
    buf_putc(calls, 0);
    return n;
}

/* Without the ids, which are random digits. */
static void drop_ids(struct buf *calls)
{
    for (char *at; (at = strstr(calls->data, "\"id\":\"call_"));) {
        char *end = strchr(at + 11, '"') + 2;
        memmove(at, end, strlen(end) + 1);
    }
}

TEST(toolcall_split)
{
    static const struct {
        const char *text, *content, *calls;
        size_t n;
    } cases[] = {
        {"", "", "", 0},
        {"Hello.", "", "", 0},
        {CALL("{\"name\": \"f\", \"arguments\": {\"a\": 1}}"), "",
         "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": 1}\"}}", 1},
        {" Let me see.\n\n" CALL("{\"arguments\":{},\"name\":\"f\"}") "\n", "Let me see.",
         "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}", 1},
        {"a" CALL("{\"name\":\"f\"}") "b" CALL("{\"name\":\"g\",\"arguments\":\"{\\\"x\\\":2}\"}") "c", "a\nb\nc",
         "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
         "{\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{\\\"x\\\":2}\"}}",
         2},
        /* the end is missing; a tag within a string is none */
        {"<tool_call>{\"name\":\"f\",\"arguments\":{\"s\":\"\\\"</tool_call>\"}}", "",
         "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"s\\\":\\\"\\\\\\\"</tool_call>\\\"}\"}}", 1},
        /* what is no call leaves the answer as it is */
        {CALL("{\"name\":\"f\"}") CALL("{\"name\":"), "", "", 0},
        {CALL("{\"name\":\"\"}"), "", "", 0},
        {CALL("{\"name\":5}"), "", "", 0},
        {CALL("{\"name\":\"f\",\"arguments\":[1]}"), "", "", 0},
        {CALL("[]"), "", "", 0},
        {CALL(""), "", "", 0},
        {CALL("{\"name\":\"\xff\"}"), "", "", 0},
        {"<tool_call>", "", "", 0},
        {"<tool_call>\"\\", "", "", 0},
    };
    struct buf content = {0}, calls = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = split(cases[i].text, SIZE_MAX, &content, &calls);
        drop_ids(&calls);
        CHECKF(n == cases[i].n, "case %zu: %zu calls", i, n);
        CHECKF(strcmp(content.data, cases[i].content) == 0, "case %zu: \"%s\"", i, content.data);
        CHECKF(strcmp(calls.data, cases[i].calls) == 0, "case %zu: %s", i, calls.data);
    }
    /* Ids differ within an answer and between answers. */
    const char *two = CALL("{\"name\":\"f\"}") CALL("{\"name\":\"f\"}");
    CHECK(split(two, SIZE_MAX, &content, &calls) == 2);
    const char *first = strstr(calls.data, "call_"), *second = strstr(first + 1, "call_");
    CHECK(second && strncmp(first, second, 19) != 0);
    CHECK(split(two, 1, &content, &calls) == 2 && !strstr(strstr(calls.data, "call_") + 1, "call_"));
    /* Pieces of calls in any order are read or left alone, and nothing outside is touched. */
    static const char *const pieces[] = {"<tool_call>", "</tool_call>", "{\"name\":\"f\"", ",\"arguments\":", "{}", "}", "\"", "\\", "x",
                                         "\n"};
    char *block = test_guarded(256);
    for (size_t i = 0; i < 20000; i++) {
        char text[256] = "";
        for (size_t k = test_below(12); k > 0; k--)
            strcat(text, pieces[test_below(sizeof pieces / sizeof *pieces)]);
        size_t len = strlen(text);
        char *guarded = block + 256 - len;
        memcpy(guarded, text, len);
        content.len = calls.len = 0;
        size_t n = toolcall_split(guarded, len, i, SIZE_MAX, &content, &calls);
        CHECKF(n ? calls.len > 0 && strstr(text, "<tool_call>") : calls.len == 0 && content.len == 0, "%s", text);
    }
    buf_free(&content);
    buf_free(&calls);
}
