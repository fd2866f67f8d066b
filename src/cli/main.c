/* signum: finds the command, parses its flags, runs it, returns its exit code. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static void help(FILE *out)
{
    fputs("signum runs 1-bit language models (Bonsai and other Qwen3 GGUF files) on the CPU.\n\nCommands:\n", out);
    for (size_t i = 0; i < cli_n_commands; i++)
        fprintf(out, "  %-12s %s\n", cli_commands[i].name, cli_commands[i].summary);
    fputs("\n`signum help COMMAND` lists a command's flags, `signum help sampling` and `signum help\n"
          "form` all that choose tokens and shape answers. stdout carries only the answer.\n"
          "Exit codes: 0 ok, 1 failure, 2 usage, 3 bad model, 4 out of memory, 5 batch with\n"
          "failures, 130 interrupted. Environment: SIGNUM_MODEL, SIGNUM_THREADS, SIGNUM_CTX,\n"
          "SIGNUM_ISA (highest instruction set to use), SIGNUM_HOME (where chats are kept),\n"
          "VISUAL or EDITOR, NO_COLOR.\n"
          "\nExamples:\n"
          "  signum run -m Bonsai-1.7B-Q1_0.gguf \"Why is the sky blue?\"\n"
          "  git diff | signum run -p \"Write a commit message for this diff:\" -f -\n"
          "  signum chat -C\n"
          "  signum info Bonsai-8B-Q1_0.gguf\n",
          out);
}

static const struct {
    unsigned command;
    const char *line;
} examples[] = {
    {CMD_RUN, "signum run -m Bonsai-1.7B-Q1_0.gguf \"Why is the sky blue?\""},
    {CMD_RUN, "git diff | signum run -p \"Write a commit message for this diff:\" -f -"},
    {CMD_RUN, "signum run --json -s 7 -n 100 --stop \"###\" -sys \"Be brief.\" \"What is a monad?\""},
    {CMD_CHAT, "signum chat -m Bonsai-4B-Q1_0.gguf"},
    {CMD_CHAT, "signum chat -C"},
    {CMD_BATCH, "signum batch -m Bonsai-1.7B-Q1_0.gguf -i requests.jsonl -o records.jsonl"},
    {CMD_BATCH, "signum batch -i mails.csv --template 'Is this spam? {subject}: {text}' --simple -o out.jsonl"},
    {CMD_BATCH, "signum batch -i mails.csv --template 'Spam? {text}' --choice yes,no --score --simple -o out.jsonl"},
    {CMD_BATCH, "seq 9 | signum batch -q --lines --simple -n 20"},
    {CMD_PERPLEXITY, "signum perplexity -m Bonsai-1.7B-Q1_0.gguf -f models/heldout.txt"},
    {CMD_TOKENIZE, "signum tokenize -m Bonsai-1.7B-Q1_0.gguf \"Hello world\""},
    {CMD_TOKENIZE, "echo '{\"text\":\"<|im_end|>\",\"parse_special\":true}' | signum tokenize -m FILE --jsonl"},
    {CMD_RENDER, "echo '{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"add_generation_prompt\":true}' | signum render -m FILE"},
    {CMD_LOGITS, "signum logits -m Bonsai-1.7B-Q1_0.gguf --ids 9707,1879 -o logits.f32"},
    {CMD_BENCH, "signum bench -m Bonsai-1.7B-Q1_0.gguf -p 512 -n 128 -t 1-8"},
    {CMD_INFO, "signum info Bonsai-8B-Q1_0.gguf"},
    {CMD_INFO, "signum info --json Bonsai-8B-Q1_0.gguf"},
    {CMD_CHECK, "signum check Bonsai-8B-Q1_0.gguf"},
    {CMD_COMPLETION, "eval \"$(signum completion bash)\"                            # in ~/.bashrc"},
    {CMD_COMPLETION, "signum completion zsh >~/.zfunc/_signum                       # a folder in $fpath"},
    {CMD_COMPLETION, "signum completion fish >~/.config/fish/completions/signum.fish"},
    {CMD_REPACK, "signum repack Bonsai-8B-Q1_0.gguf Bonsai-8B-Q1_0-R64.gguf"},
    {CMD_REPACK, "signum repack --undo Bonsai-8B-Q1_0-R64.gguf Bonsai-8B-Q1_0.gguf"},
};

static void command_help(FILE *out, const struct command *c)
{
    fprintf(out, "%s\n%c%s.\n", c->usage, c->summary[0] - 'a' + 'A', c->summary + 1);
    options_help(out, c->bit, NULL);
    const char *title = "\nExamples:\n";
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        if (examples[i].command != c->bit)
            continue;
        fprintf(out, "%s  %s\n", title, examples[i].line);
        title = "";
    }
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < cli_n_commands; i++)
        if (strcmp(cli_commands[i].name, name) == 0)
            return &cli_commands[i];
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *names[32];
    for (size_t i = 0; i < cli_n_commands; i++)
        names[i] = cli_commands[i].name;
    const char *near = options_nearest(name, names, cli_n_commands);
    char shown[ESCAPED_MAX];
    cli_error("there is no command \"%s\"%s%s%s `signum help` lists them", escaped(shown, name, strlen(name)),
              near ? "; did you mean " : ";", near ? near : "", near ? "?" : "");
    return SG_USAGE;
}

static void on_interrupt(int signal)
{
    (void)signal;
    if (cli_interrupted)
        _exit(SG_INTERRUPTED); /* the second time: at once */
    cli_interrupted = 1;
}

/* The mapped model shrank or its disk failed. Nothing can be saved but the manners. */
static void on_bus_error(int signal)
{
    static const char text[] = "signum: the model file changed or could not be read while in use\n";
    (void)signal;
    if (cli_before_dying)
        cli_before_dying();
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
        _exit(SG_BAD_MODEL);
    _exit(SG_BAD_MODEL);
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action;
    struct sigaction old;
    /* nohup, and shells that start background jobs, have reasons to ignore these. */
    if ((number == SIGINT || number == SIGHUP) && sigaction(number, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
        return;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    sigaction(number, &action, NULL);
}

/* A closed standard stream would be reused by the first file that is opened. What takes its place
 * is open the wrong way round, so that using it still fails: an answer is never lost silently. */
static void open_standard_streams(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            _exit(SG_FAIL);
}

int main(int argc, char **argv)
{
    open_standard_streams();
    handle(SIGINT, on_interrupt);
    handle(SIGTERM, on_interrupt);
    handle(SIGHUP, on_interrupt);
    handle(SIGBUS, on_bus_error);
    handle(SIGPIPE, SIG_DFL); /* a reader that went away ends us quietly, even if our parent ignores SIGPIPE */
    handle(SIGXFSZ, SIG_IGN); /* a write beyond `ulimit -f` fails like one to a full disk, and what was begun is removed */

    const char *name = argc > 1 ? argv[1] : NULL;
    struct sg_error err;
    if (!name) {
        help(stderr);
        return SG_USAGE;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) {
        printf("%s\nlevels: %s\n", sg_version(), sg_isa_available());
        return cli_flush(stdout, &err) == SG_OK ? SG_OK : cli_fail(&err);
    }
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        if (argc > 2) {
            const struct command *c = find_command(argv[2]);
            if (!c && !options_is_topic(argv[2]))
                return unknown_command(argv[2]);
            if (c)
                command_help(stdout, c);
            else
                options_help(stdout, CMD_RUN, argv[2]);
        } else {
            help(stdout);
        }
        return cli_flush(stdout, &err) == SG_OK ? SG_OK : cli_fail(&err);
    }
    const struct command *c = find_command(name);
    if (!c)
        return unknown_command(name);
    static struct options o; /* large, so not on the stack */
    if (options_parse(&o, c->bit, argc - 2, argv + 2, &err) != SG_OK) {
        cli_error("%s (signum help %s)", err.message, c->name);
        return SG_USAGE;
    }
    if (o.help) {
        command_help(stdout, c);
        return cli_flush(stdout, &err) == SG_OK ? SG_OK : cli_fail(&err);
    }
    cli_set_quiet(o.quiet);
    return c->run(&o);
}
