/* Batch: a request's answer, to the byte, whatever the sequences at once, threads, order of the
 * input, neighbours, guesses and interruptions; and the answer that run gives with the seed of the
 * record. Requests are random. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "check.h"
#include "file.h"
#include "json.h"
#include "pty.h"

enum {
    REQUESTS = 24,  /* that are compared */
    NEIGHBOURS = 8, /* that only keep them company */
    ROUNDS = 3,
    CONFIGURATIONS = 7, /* of each round */
};

/* The same wishes as a line of the input, and as flags of run. */
struct request {
    char line[2048], flags[1024];
    size_t n;
};

/* What a record says: everything but times, cached tokens and names. */
struct answer {
    char *choices, *error;
    uint64_t seeds[4];
};

static bool one_in(uint64_t n) { return test_below(n) == 0; }

__attribute__((format(printf, 3, 4))) static void add(char *out, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t len = strlen(out);
    vsnprintf(out + len, size - len, format, args);
    va_end(args);
}
#define LINE(r, ...) add((r)->line, sizeof(r)->line, __VA_ARGS__)
#define FLAGS(r, ...) add((r)->flags, sizeof(r)->flags, __VA_ARGS__)

/* Words, often the same again, so that prompts share beginnings and there is something to guess. */
static void put_prompt(char *out, size_t size)
{
    static const char *const words[] = {"the quick brown fox ", "again and again ", "one two three ", "yes ", "a ", "zz "};
    *out = 0;
    for (size_t n = 1 + test_below(12), k = test_below(6); n > 0; n--, k = one_in(2) ? k : test_below(6))
        add(out, size, "%s", words[k]);
    add(out, size, "%d", (int)test_below(20));
}

static void make_sampling(struct request *r)
{
    static const struct {
        const char *field, *flag;
        double values[4];
    } numbers[] = {
        {"temperature", "--temp", {0, 0, 0.7, 1.5}},
        {"top_p", "--top-p", {0.5, 0.9, 1, 1}},
        {"min_p", "--min-p", {0, 0.05, 0.1, 0.2}},
        {"top_k", "--top-k", {0, 1, 5, 40}},
        {"typical_p", "--typical", {0.5, 0.9, 1, 1}},
        {"presence_penalty", "--presence-penalty", {0, 0.5, 1, -1}},
        {"repeat_penalty", "--repeat-penalty", {1, 1.1, 1.3, 2}},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (!one_in(3))
            continue;
        double x = numbers[i].values[test_below(4)];
        LINE(r, ",\"%s\":%g", numbers[i].field, x);
        FLAGS(r, " %s %g", numbers[i].flag, x);
    }
}

static void make_limits(struct request *r)
{
    size_t most = 1 + test_below(40), least = test_below(most + 1);
    LINE(r, ",\"%s\":%zu", one_in(2) ? "max_tokens" : "max_completion_tokens", most);
    FLAGS(r, " -n %zu", most);
    if (one_in(3)) {
        LINE(r, ",\"min_tokens\":%zu", least);
        FLAGS(r, " --min-tokens %zu", least);
    }
    if (one_in(3)) {
        LINE(r, ",\"stop\":[\"e\",\"zz\"]");
        FLAGS(r, " --stop e --stop zz");
    }
    if (one_in(4)) {
        int a = (int)test_below(1000), b = (int)test_below(1000);
        LINE(r, ",\"stop_token_ids\":[%d,%d]", a, b);
        FLAGS(r, " --stop-token-ids %d,%d", a, b);
    }
    if (one_in(5)) {
        int id = (int)test_below(1000), bias = (int)test_below(21) - 10;
        LINE(r, ",\"logit_bias\":{\"%d\":%d}", id, bias);
        FLAGS(r, " --logit-bias %d%+d", id, bias);
    }
    if (one_in(3)) {
        LINE(r, ",\"ignore_eos\":true");
        FLAGS(r, " --ignore-eos");
    }
    if (one_in(5)) {
        LINE(r, ",\"guided_regex\":\"[a-c]{3,9}(x|yy)\"");
        FLAGS(r, " --regex '[a-c]{3,9}(x|yy)'");
    }
}

static void make_request(struct request *r, const char *name, size_t index)
{
    char prompt[512];
    bool chat = !one_in(4);
    put_prompt(prompt, sizeof prompt);
    *r = (struct request){.n = 1 + (one_in(4) ? test_below(3) : 0)};
    LINE(r, "{\"custom_id\":\"%s%zu\",\"url\":\"/v1/%scompletions\",\"body\":{", name, index, chat ? "chat/" : "");
    if (!chat) {
        LINE(r, "\"prompt\":\"%s\"", prompt);
        FLAGS(r, " --raw");
    } else if (one_in(2)) {
        const char *system = one_in(2) ? "You answer in one short sentence. You never say anything else." : "Be brief.";
        LINE(r, "\"messages\":[{\"role\":\"system\",\"content\":\"%s\"},{\"role\":\"user\",\"content\":\"%s\"}]", system, prompt);
        FLAGS(r, " -sys '%s'", system);
    } else {
        LINE(r, "\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]", prompt);
    }
    if (chat && one_in(2)) {
        LINE(r, ",\"chat_template_kwargs\":{\"enable_thinking\":false}");
        FLAGS(r, " --think off");
    }
    make_sampling(r);
    make_limits(r);
    if (one_in(2))
        LINE(r, ",\"logprobs\":%s", chat ? "true" : "2");
    if (r->n > 1)
        LINE(r, ",\"n\":%zu", r->n);
    if (one_in(3))
        LINE(r, ",\"seed\":%d", (int)test_below(1000));
    LINE(r, "}}");
    FLAGS(r, " -p '%s'", prompt);
}

/* ------------------------------------------------------------------ records */

static char *copy_of(const struct json *j, const struct json_node *n)
{
    return n ? strndup(j->text + n->begin, n->end - n->begin) : strdup("");
}

static void read_record(const char *line, size_t len, struct answer *answers)
{
    struct json j;
    struct buf id = {0};
    if (!CHECK(json_parse(&j, line, len, NULL) == SG_OK))
        return;
    const struct json_node *root = j.nodes, *body = json_get(&j, json_get(&j, root, "response"), "body"),
                           *choices = json_get(&j, body, "choices");
    json_string(&j, json_get(&j, root, "custom_id"), &id);
    if (id.len > 1 && id.data[0] == 'r') {
        size_t i = strtoul(id.data + 1, NULL, 10), k = 0;
        if (CHECKF(i < REQUESTS && !answers[i].choices, "%s has two records", id.data)) {
            answers[i].choices = copy_of(&j, choices);
            answers[i].error = copy_of(&j, json_get(&j, root, "error"));
            for (const struct json_node *c = choices ? json_first(&j, choices) : NULL; c && k < 4; c = json_next(&j, choices, c))
                CHECK(json_uint(&j, json_get(&j, c, "seed"), &answers[i].seeds[k++]));
        }
    }
    buf_free(&id);
    json_free(&j);
}

static void read_records(const char *path, struct answer *answers)
{
    struct buf records = {0};
    memset(answers, 0, REQUESTS * sizeof *answers);
    if (!CHECK(file_read(&records, path, 64 << 20, NULL) == SG_OK))
        return;
    const char *stop = records.data + records.len;
    for (const char *at = records.data, *end; at < stop && (end = memchr(at, '\n', (size_t)(stop - at))); at = end + 1)
        read_record(at, (size_t)(end - at), answers);
    buf_free(&records);
}

static void free_answers(struct answer *answers)
{
    for (size_t i = 0; i < REQUESTS; i++) {
        free(answers[i].choices);
        free(answers[i].error);
    }
}

/* ------------------------------------------------------------------ running */

/* The requests in random order, random neighbours between them. */
static void write_input(const char *path, const struct request *requests, bool shuffled, bool neighbours)
{
    size_t order[REQUESTS];
    FILE *f = fopen(path, "wb");
    for (size_t i = 0; i < REQUESTS; i++) {
        size_t k = shuffled ? test_below(i + 1) : i;
        order[i] = order[k];
        order[k] = i;
    }
    for (size_t i = 0; f && i < REQUESTS; i++) {
        struct request other;
        make_request(&other, "n", i);
        if (neighbours && i < NEIGHBOURS)
            fprintf(f, "%s\n", other.line);
        fprintf(f, "%s\n", requests[order[i]].line);
    }
    CHECK(f && fclose(f) == 0);
}

/* Starts a batch and, when asked to, interrupts it after a while. Returns its wait status. */
static int batch(const char *input, const char *output, bool interrupt)
{
    static const char *const kinds[] = {"auto", "sign", "popcount"};
    char np[16], threads[16];
    snprintf(np, sizeof np, "%d", 1 + (int)test_below(20));
    snprintf(threads, sizeof threads, "%d", 1 + (int)test_below(3));
    const char *argv[] = {pty_program(),
                          "batch",
                          "-q",
                          "--resume",
                          "-m",
                          test_path("models/q1-tied.gguf"),
                          "-i",
                          input,
                          "-o",
                          output,
                          "-np",
                          np,
                          "-t",
                          threads,
                          "--spec",
                          one_in(2) ? "ngram" : "off",
                          "--matmul",
                          kinds[test_below(3)],
                          "--think-budget",
                          "6",
                          NULL};
    useconds_t patience = (useconds_t)test_below(80000);
    int status = -1, signal = one_in(3) ? SIGTERM : SIGKILL;
    pid_t pid = fork();
    if (pid == 0) {
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    if (interrupt) {
        usleep(patience);
        kill(pid, signal);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    return status;
}

static void same_answers(const struct answer *a, const struct answer *b, const struct request *requests)
{
    for (size_t i = 0; i < REQUESTS; i++) {
        if (!CHECKF(a[i].choices && b[i].choices, "no record for %s", requests[i].line))
            continue;
        CHECKF(strcmp(a[i].choices, b[i].choices) == 0 && strcmp(a[i].error, b[i].error) == 0, "%s\n%s %s\n%s %s", requests[i].line,
               a[i].choices, a[i].error, b[i].choices, b[i].error);
    }
}

/* Runs a choice with run; its text and end must be those of the record. */
static void same_as_run(const struct request *r, const struct answer *a, size_t choice)
{
    char command[4096], *out = NULL;
    size_t len = 0;
    snprintf(command, sizeof command, "'%s' run -q --json -m '%s' --think-budget 6 -t 2 -s %llu%s 2>&1", pty_program(),
             test_path("models/q1-tied.gguf"), (unsigned long long)a->seeds[choice], r->flags);
    FILE *f = popen(command, "r"), *keep = open_memstream(&out, &len);
    for (int c; f && keep && (c = getc(f)) != EOF;)
        putc(c, keep);
    if (f)
        pclose(f); /* an answer cut off before it had its form is one, and ends with 1 */
    if (keep)
        fclose(keep);
    struct json record, run;
    const char *end = out ? memchr(out, '\n', len) : NULL;
    if (CHECK(json_parse(&record, a->choices, strlen(a->choices), NULL) == SG_OK)) {
        if (CHECKF(end && json_parse(&run, out, (size_t)(end - out), NULL) == SG_OK, "%s\n%s", command, out ? out : "")) {
            const struct json_node *c = json_first(&record, record.nodes), *message;
            for (size_t k = 0; k < choice; k++)
                c = json_next(&record, record.nodes, c);
            message = json_get(&record, c, "message");
            char *said = copy_of(&record, message ? json_get(&record, message, "content") : json_get(&record, c, "text"));
            char *why = copy_of(&record, json_get(&record, c, "finish_reason"));
            char *said_run = copy_of(&run, json_get(&run, run.nodes, "text"));
            char *why_run = copy_of(&run, json_get(&run, run.nodes, "finish_reason"));
            CHECKF(strcmp(said, said_run) == 0 && strcmp(why, why_run) == 0, "%s\nrun says %s %s\nbatch %s %s", command, said_run, why_run,
                   said, why);
            free(said);
            free(why);
            free(said_run);
            free(why_run);
            json_free(&run);
        }
        json_free(&record);
    }
    free(out);
}

TEST(batch_answers_depend_on_nothing_else)
{
    static struct request requests[REQUESTS];
    struct answer expected[REQUESTS], got[REQUESTS];
    char input[300], output[300];
    if (!pty_available())
        return;
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < REQUESTS; i++)
            make_request(&requests[i], "r", i);
        for (int k = 0; k <= CONFIGURATIONS; k++) {
            snprintf(input, sizeof input, "%s/mix-%d-%d", test_tmp(), round, k);
            snprintf(output, sizeof output, "%s/mix-%d-%d.out", test_tmp(), round, k);
            write_input(input, requests, k > 1, k > 2);
            for (int interruptions = k > 3 ? 3 : 0; interruptions > 0; interruptions--)
                batch(input, output, true);
            int status = batch(input, output, false);
            CHECKF(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
            read_records(output, k ? got : expected);
            if (k) {
                same_answers(expected, got, requests);
                free_answers(got);
            }
        }
        for (size_t i = test_below(3); i < REQUESTS; i += 3)
            if (expected[i].choices)
                same_as_run(&requests[i], &expected[i], test_below(requests[i].n));
        free_answers(expected);
    }
}
