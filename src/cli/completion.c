/* completion.c: `signum completion SHELL` prints a script that completes commands, flags and
 * their values in that shell. All of it comes from the tables that parse the flags, so it is
 * never out of date. */
#include <string.h>

#include "cli.h"

/* A word of a list of names that spaces separate; false after the last. */
static bool next_word(const char **names, size_t *len)
{
    *names += strspn(*names, " ");
    *len = strcspn(*names, " ");
    return *len > 0;
}

/* Text between single quotes, in which `quote` stands for a quote; of what zsh's _arguments
 * would understand, `special` characters get a backslash. */
static void quoted(const char *text, const char *quote, const char *special)
{
    for (; *text; text++) {
        if (*text == '\'') {
            fputs(quote, stdout);
        } else {
            if (strchr(special, *text))
                putchar('\\');
            putchar(*text);
        }
    }
}

static void print_words(const char *const *words)
{
    for (size_t i = 0; words[i]; i++)
        printf("%s%s", i ? " " : "", words[i]);
}

/* What `signum help` takes. */
static void print_helped(void)
{
    for (size_t i = 0; i < cli_n_commands; i++)
        printf("%s ", cli_commands[i].name);
    print_words(options_topics);
}

static bool is_file(const struct flag *f) { return f->value && strcmp(f->value, "FILE") == 0; }

typedef void flag_fn(const void *command, const struct flag *flag);

/* Calls fn for each flag of each command, between these texts. */
static void each_command(const char *before, const char *after_name, const char *after, flag_fn *fn)
{
    for (size_t i = 0; i < cli_n_commands; i++) {
        const char *name = cli_commands[i].name;
        printf("%s%s%s", before, *after_name ? name : "", after_name);
        options_each_flag(cli_commands[i].bit, fn, name);
        fputs(after, stdout);
    }
}

/* ------------------------------------------------------------------- bash */

static void bash_name(const void *command, const struct flag *f)
{
    (void)command;
    size_t len;
    for (const char *name = f->names; next_word(&name, &len); name += len)
        printf(" %.*s", (int)len, name);
}

/* What follows a flag that takes a value: files are completed by the shell itself. */
static void bash_value(const void *command, const struct flag *f)
{
    if (!f->value || is_file(f))
        return;
    size_t len;
    const char *between = "    ";
    for (const char *name = f->names; next_word(&name, &len); name += len) {
        printf("%s%s:%.*s", between, (const char *)command, (int)len, name);
        between = " | ";
    }
    fputs(") words=\"", stdout);
    if (f->words)
        print_words(f->words);
    fputs("\" ;;\n", stdout);
}

static void bash(void)
{
    fputs("_signum() {\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} words\n"
          "    if [ \"$word\" = = ]; then # bash takes --flag=value apart\n"
          "        word=\n"
          "    elif [ \"$before\" = = ]; then\n"
          "        before=${COMP_WORDS[COMP_CWORD - 2]}\n"
          "    fi\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
          "        words=\"help",
          stdout);
    for (size_t i = 0; i < cli_n_commands; i++)
        printf(" %s", cli_commands[i].name);
    fputs(" --version\"\n"
          "    else case $command:$before in\n",
          stdout);
    each_command("", "", "", bash_value);
    fputs("    help:help) words=\"", stdout);
    print_helped();
    fputs("\" ;;\n"
          "    completion:completion) words=\"bash zsh fish\" ;;\n"
          "    *) case $word in -*) case $command in\n",
          stdout);
    each_command("        ", ") words=\"", " --help\" ;;\n", bash_name);
    fputs("        esac ;;\n"
          "        *) return ;; # a file\n"
          "        esac ;;\n"
          "    esac fi\n"
          "    COMPREPLY=()\n"
          "    while IFS= read -r word; do COMPREPLY+=(\"$word\"); done < <(compgen -W \"$words\" -- \"$word\")\n"
          "    [ ${#COMPREPLY[@]} -gt 0 ] || compopt +o default 2>/dev/null\n"
          "}\n"
          "complete -o default -F _signum signum\n",
          stdout);
}

/* -------------------------------------------------------------------- zsh */

static void zsh_flag(const void *command, const struct flag *f)
{
    (void)command;
    size_t len;
    for (const char *name = f->names; next_word(&name, &len); name += len) {
        fputs("        '(", stdout);
        fputs(f->names, stdout);
        printf(")%.*s%s[", (int)len, name, f->value && strncmp(name, "--", 2) == 0 ? "=" : "");
        quoted(f->help, "'\\''", "[]\\:");
        putchar(']');
        if (f->value) {
            putchar(':');
            quoted(f->value, "'\\''", "\\:");
            putchar(':');
            if (f->words) {
                putchar('(');
                print_words(f->words);
                putchar(')');
            } else if (is_file(f)) {
                fputs("_files", stdout);
            }
        }
        fputs("'\n", stdout);
    }
}

static void zsh(void)
{
    fputs("#compdef signum\n"
          "_signum() {\n"
          "    local -a commands=(\n",
          stdout);
    for (size_t i = 0; i < cli_n_commands; i++) {
        printf("        '%s:", cli_commands[i].name);
        quoted(cli_commands[i].summary, "'\\''", "\\:");
        fputs("'\n", stdout);
    }
    fputs("        'help:the flags of a command'\n"
          "    )\n"
          "    if (( CURRENT == 2 )); then\n"
          "        _describe command commands\n"
          "        return\n"
          "    fi\n"
          "    local command=$words[2]\n"
          "    local -a flags=()\n"
          "    shift words\n"
          "    (( CURRENT-- ))\n"
          "    case $command in\n"
          "    help) _values topic ",
          stdout);
    print_helped();
    fputs("; return ;;\n"
          "    completion) _values shell bash zsh fish; return ;;\n",
          stdout);
    each_command("    ", ") flags=(\n", "        ) ;;\n", zsh_flag);
    fputs("    esac\n"
          "    _arguments $flags '(- *)--help[the flags]' '*:file:_files'\n"
          "}\n"
          "if [ \"$funcstack[1]\" = _signum ]; then _signum \"$@\"; else compdef _signum signum; fi\n",
          stdout);
}

/* ------------------------------------------------------------------- fish */

static void fish_flag(const void *command, const struct flag *f)
{
    size_t len;
    printf("complete -c signum -n '__fish_seen_subcommand_from %s'", (const char *)command);
    for (const char *name = f->names; next_word(&name, &len); name += len) {
        size_t dashes = strspn(name, "-");
        const char *kind = dashes == 2 ? "l" : len == 2 ? "s" : "o"; /* --long, -s, -old */
        printf(" -%s %.*s", kind, (int)(len - dashes), name + dashes);
    }
    if (f->value)
        fputs(is_file(f) ? " -rF" : " -x", stdout);
    if (f->words) {
        fputs(" -a '", stdout);
        print_words(f->words);
        putchar('\'');
    }
    fputs(" -d '", stdout);
    quoted(f->help, "\\'", "\\");
    fputs("'\n", stdout);
}

static void fish(void)
{
    for (size_t i = 0; i < cli_n_commands; i++) {
        printf("complete -c signum -f -n __fish_use_subcommand -a %s -d '", cli_commands[i].name);
        quoted(cli_commands[i].summary, "\\'", "\\");
        fputs("'\n", stdout);
    }
    fputs("complete -c signum -f -n __fish_use_subcommand -a help -d 'the flags of a command'\n"
          "complete -c signum -f -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n"
          "complete -c signum -f -n '__fish_seen_subcommand_from help' -a '",
          stdout);
    print_helped();
    fputs("'\n", stdout);
    each_command("", "", "", fish_flag);
}

int cmd_completion(struct options *o)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    struct sg_error err;
    for (size_t i = 0; o->n_words == 1 && i < ARRAY_LEN(shells); i++) {
        if (strcmp(o->words[0], shells[i].name) != 0)
            continue;
        shells[i].print();
        return cli_flush(stdout, &err) == SG_OK ? SG_OK : cli_fail(&err);
    }
    cli_error("name the shell: signum completion bash, zsh or fish");
    return SG_USAGE;
}
