/* Flags: what they set, what they refuse, and that a refused value changes nothing. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cli/cli.h"

static enum sg_status parse(struct options *o, unsigned command, const char *const *words, struct sg_error *err)
{
    static char *argv[32];
    int argc = 0;
    for (; words[argc]; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc];
    return options_parse(o, command, argc, argv, err);
}
#define PARSE(o, command, err, ...) parse(o, command, (const char *const[]){__VA_ARGS__, NULL}, err)

static struct sg_engine *open_engine(void)
{
    struct sg_engine *e;
    struct sg_error err;
    struct sg_options options = {.model_path = test_path("models/mini-q1.gguf"), .weights_unneeded = true};
    if (!CHECKF(sg_open(&e, &options, &err) == SG_OK, "%s", err.message))
        exit(1);
    return e;
}

TEST(options_values)
{
    static struct options o;
    struct sg_error err;
    CHECK(PARSE(&o, CMD_RUN, &err, "-n", "-1", "--presence-penalty", "-1", "--temp=0.5", "--top-k", "5", "--top-k", "7", "one", "--", "-n",
                "two") == SG_OK);
    CHECK(o.n_predict == -1 && o.sampling.presence_penalty == -1 && o.sampling.temperature == 0.5f);
    CHECK(o.sampling.top_k == 7); /* the last one counts */
    CHECK(o.n_words == 3 && strcmp(o.words[0], "one") == 0 && strcmp(o.words[1], "-n") == 0 && strcmp(o.words[2], "two") == 0);
    CHECK(PARSE(&o, CMD_RUN, &err, "--stop", "a", "--stop", "", "-r", "b") == SG_OK && o.stop.n == 3);
    CHECK(PARSE(&o, CMD_RUN, &err, "-p", "") == SG_OK && o.prompt && !*o.prompt);
    CHECK(PARSE(&o, CMD_RUN, &err, "-p", "--help") == SG_OK && !o.help && strcmp(o.prompt, "--help") == 0);
    CHECK(PARSE(&o, CMD_RUN, &err, "x", "-h", "--nonsense") == SG_OK && o.help);
    CHECK(PARSE(&o, CMD_RUN, &err, "-l", "5-inf", "-l", "6+1.5", "-l", "7-2") == SG_OK && o.n_biases == 3);
    CHECK(o.biases[0].bias < -1e30f && o.biases[1].bias == 1.5f && o.biases[2].id == 7 && o.biases[2].bias == -2);
    CHECK(PARSE(&o, CMD_BENCH, &err, "-p", "512", "-n", "1,2") == SG_OK && strcmp(o.bench_prompts, "512") == 0);
    cli_set_quiet(true); /* a note for each */
    CHECK(PARSE(&o, CMD_RUN, &err, "-ngl", "99", "-fa", "on", "--jinja", "-tb", "4", "hi") == SG_OK && o.n_words == 1);
    cli_set_quiet(false);
}

TEST(options_refused)
{
    static const char *const bad[][4] = {
        {"-c", "1e3"},
        {"-c", "0x10"},
        {"-c", " 5"},
        {"-c", "1073741825"},
        {"-c", "-1"},
        {"-c", "99999999999999999999"},
        {"-c", ""},
        {"--temp", "nan"},
        {"--temp", "inf"},
        {"--temp", "-0.1"},
        {"--temp"},
        {"--temp=", "1"},
        {"--temp", "1.0x"},
        {"-s", "-2"},
        {"-s", "9007199254740993"},
        {"-s", "1.5"},
        {"--json=1"},
        {"--no-such"},
        {"-ids", "1"},
        {"--ids", "1"},
        {"-l", "5"},
        {"-l", "-1+2"},
        {"-l", "5+nan"},
        {"-l", "5+inf"},
        {"--samplers", ""},
        {"--samplers", "kz"},
        {"--samplers", "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"},
        {"--think", "yes"},
        {"--chat-template", "jinja"},
        {"-t", "1025"},
    };
    static struct options o;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct sg_error err = {.message = ""};
        CHECKF(parse(&o, CMD_RUN, bad[i], &err) == SG_USAGE, "%s %s", bad[i][0], bad[i][1] ? bad[i][1] : "");
        CHECK(*err.message && !strchr(err.message, '\n'));
    }
}

/* What /set refuses must not touch what is in effect: the model's default is not 0. */
TEST(options_refused_value_changes_nothing)
{
    static struct options o;
    struct sg_engine *e = open_engine();
    struct sg_sampling before, after;
    struct sg_error err;
    CHECK(PARSE(&o, CMD_CHAT, &err, "-s", "3") == SG_OK);
    options_sampling(&o, e, &before);
    CHECK(options_set(&o, "temp", "warm", &err) == SG_USAGE);
    CHECK(options_set(&o, "top-k", "-5", &err) == SG_USAGE);
    CHECK(options_set(&o, "samplers", "q", &err) == SG_USAGE);
    options_sampling(&o, e, &after);
    CHECK(after.temperature == before.temperature && before.temperature > 0 && after.top_k == before.top_k &&
          strcmp(after.samplers, before.samplers) == 0);
    CHECK(options_set(&o, "temp", "0.25", &err) == SG_OK);
    options_sampling(&o, e, &after);
    CHECK(after.temperature == 0.25f);
    sg_close(e);
}

TEST(options_environment)
{
    static struct options o;
    struct sg_error err;
    setenv("SIGNUM_CTX", "4096", 1);
    setenv("SIGNUM_THREADS", "3", 1);
    CHECK(PARSE(&o, CMD_RUN, &err, "hi") == SG_OK && o.n_ctx == 4096 && o.n_threads == 3);
    CHECK(PARSE(&o, CMD_RUN, &err, "-c", "0", "-t", "2", "hi") == SG_OK && o.n_ctx == 0 && o.n_threads == 2);
    CHECK(PARSE(&o, CMD_PERPLEXITY, &err, "-f", "x") == SG_OK && o.n_ctx == 0); /* its chunks are 512 everywhere */
    unsetenv("SIGNUM_CTX");
    unsetenv("SIGNUM_THREADS");
}
