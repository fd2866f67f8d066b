/* Forms through the program: every schema of the golden set as a request of one batch. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "check.h"
#include "file.h"
#include "pty.h"
#include "validator.h"

/* The schemas, one a line, and where each begins. */
static const char *lines[400];
static size_t lengths[400], n_lines;

static void read_schemas(void)
{
    size_t len;
    const char *text = test_golden("schemas/good.jsonl", &len);
    n_lines = 0;
    for (const char *at = text, *end; at < text + len && n_lines < 400; at = end + 1) {
        end = memchr(at, '\n', (size_t)(text + len - at));
        lines[n_lines] = at;
        lengths[n_lines++] = (size_t)(end - at);
    }
}

static void write_requests(const char *path)
{
    FILE *f = fopen(path, "wb");
    for (size_t i = 0; f && i < n_lines; i++) {
        fprintf(f,
                "{\"custom_id\":\"%zu\",\"method\":\"POST\",\"url\":\"/v1/chat/"
                "completions\",\"body\":{\"messages\":[{\"role\":\"user\",\"content\":\"Go on: %zu\"}],\"max_tokens\":90,",
                i, i % 7);
        switch (i % 4) {
        case 0:
            fprintf(f, "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\",\"schema\":%.*s}}", (int)lengths[i],
                    lines[i]);
            break;
        case 1:
            fprintf(f, "\"json_schema\":%.*s", (int)lengths[i], lines[i]);
            break;
        case 2:
            fprintf(f, "\"guided_json\":%.*s", (int)lengths[i], lines[i]);
            break;
        default:
            fprintf(f, "\"structured_outputs\":{\"json\":%.*s}", (int)lengths[i], lines[i]);
        }
        fputs("}}\n", f);
    }
    CHECK(f && fclose(f) == 0);
}

/* Runs the batch and gives what each request's record says: its text, NULL when it did not come to an end. */
static void run_batch(const char *input, const char *output, int n_parallel, char **texts)
{
    char command[8192];
    struct buf records = {0};
    snprintf(command, sizeof command, "'%s' batch -m '%s' -q --simple --think off --temp 1.5 -t 1 -np %d -i '%s' -o '%s'", pty_program(),
             test_path("tokenizer/qwen3.gguf"), n_parallel, input, output);
    int status = system(command);
    if (!CHECKF(status == 0, "status %d of %s", status, command) || !CHECK(file_read(&records, output, 64 << 20, NULL) == SG_OK)) {
        buf_free(&records);
        return;
    }
    const char *stop = records.data + records.len;
    for (const char *at = records.data, *end; at < stop && (end = memchr(at, '\n', (size_t)(stop - at))); at = end + 1) {
        struct json j;
        struct buf text = {0}, id = {0};
        if (!CHECK(json_parse(&j, at, (size_t)(end - at), NULL) == SG_OK))
            break;
        json_string(&j, json_get(&j, j.nodes, "id"), &id);
        size_t index = strtoul(id.data, NULL, 10);
        if (json_string_equal(&j, json_get(&j, j.nodes, "finish_reason"), "stop") && CHECK(index < n_lines && !texts[index])) {
            json_string(&j, json_get(&j, j.nodes, "text"), &text);
            buf_append(&text, "", 0);
            texts[index] = text.data;
        }
        buf_free(&id);
        json_free(&j);
    }
    buf_free(&records);
}

TEST(batch_answers_satisfy_their_schemas)
{
    char input[200], output[2][200];
    char *texts[2][400] = {{NULL}};
    size_t complete = 0;
    if (!pty_available())
        return;
    read_schemas();
    CHECK(n_lines >= 150);
    snprintf(input, sizeof input, "%s/schemas.jsonl", test_tmp());
    write_requests(input);
    for (int i = 0; i < 2; i++) {
        snprintf(output[i], sizeof output[i], "%s/answers-%d.jsonl", test_tmp(), i);
        run_batch(input, output[i], i ? 16 : 3, texts[i]);
    }
    for (size_t i = 0; i < n_lines; i++) {
        struct json s = {0}, j = {0};
        struct sg_error err = {0};
        const char *why = "";
        /* the same in any company */
        CHECK((texts[0][i] != NULL) == (texts[1][i] != NULL));
        if (texts[0][i] && texts[1][i]) {
            complete++;
            CHECKF(strcmp(texts[0][i], texts[1][i]) == 0, "%s is not %s", texts[0][i], texts[1][i]);
            bool valid =
                json_parse(&s, lines[i], lengths[i], &err) == SG_OK && json_parse(&j, texts[0][i], strlen(texts[0][i]), &err) == SG_OK;
            valid = valid && validate(&s, s.nodes, &j, j.nodes, &why);
            CHECKF(valid, "%.*s: %s: %s%s", (int)lengths[i], lines[i], texts[0][i], why, err.message);
        }
        json_free(&s);
        json_free(&j);
        free(texts[0][i]);
        free(texts[1][i]);
    }
    /* a model of random weights leaves some strings open until the limit */
    CHECKF(complete > n_lines / 2, "only %zu of %zu came to an end", complete, n_lines);
}
