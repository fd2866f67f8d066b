/* signum chat as a person has it: on a terminal, with keys, signals and a small model whose
 * random weights write noise (which is what a terminal must be protected from). */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "cli/cells.h"
#include "cli/transcript.h"
#include "pty.h"
#include "signum.h"

static const char *model(void)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s", test_path("models/q1-tied.gguf"));
    return path;
}

/* A fresh SIGNUM_HOME. */
static const char *new_home(void)
{
    static char path[512];
    static int n;
    snprintf(path, sizeof path, "%s/home%d", test_tmp(), n++);
    return path;
}

enum { WIDTH = 80, HEIGHT = 24 };

static void start(struct pty *p, size_t width, const char *home, const char *const *more)
{
    const char *arguments[32] = {"-m", model(), "-s", "1", "-t", "1", "-n", "12", NULL};
    size_t n = 8;
    while (more && *more)
        arguments[n++] = *more++;
    arguments[n] = NULL;
    pty_start(p, width, HEIGHT, home, arguments);
}

#define WITH(...) (const char *const[]){__VA_ARGS__, NULL}

static char *screen(struct pty *p) { return vt_text(&p->vt, true); }

/* Waits for text, and shows what there was instead when it does not come. */
#define EXPECT(p, text)                                                                    \
    do {                                                                                   \
        if (!pty_wait(p, text)) {                                                          \
            char *screen_ = screen(p);                                                     \
            CHECKF(false, "\"%s\" did not appear, but:\n%s\n", text, screen_);             \
            free(screen_);                                                                 \
        } else {                                                                           \
            CHECK(true);                                                                   \
        }                                                                                  \
    } while (0)

#define PROMPT(p)                                                                          \
    do {                                                                                   \
        if (!pty_wait_prompt(p)) {                                                         \
            char *screen_ = screen(p);                                                     \
            CHECKF(false, "no prompt, but:\n%s\n", screen_);                               \
            free(screen_);                                                                 \
        }                                                                                  \
    } while (0)

static void enter(struct pty *p, const char *line)
{
    PROMPT(p);
    pty_send(p, line);
    pty_send(p, "\r");
}

static void leave(struct pty *p)
{
    enter(p, "/exit");
    int status = pty_wait_end(p);
    CHECKF(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x\n%s", (unsigned)status, p->log);
    CHECK(pty_restored(p));
    CHECKF(p->vt.hazards == 0, "%zu codes that nobody should send", p->vt.hazards);
    pty_end(p);
}

/* Both without blanks and line breaks. */
static bool same_letters(const char *a, const char *b)
{
    for (;;) {
        a += strspn(a, " \n");
        b += strspn(b, " \n");
        if (!*a || !*b)
            return *a == *b;
        if (*a++ != *b++)
            return false;
    }
}

/* Runs the chat on a pipe. Output is malloc'ed. */
static char *piped(const char *home, const char *options, const char *input, int *status)
{
    struct buf command = {0}, out = {0};
    buf_printf(&command, "printf '%s' | SIGNUM_HOME='%s' '%s' chat -m '%s' -s 1 -t 1 -n 12 %s 2>/dev/null", input, home, pty_program(), model(), options);
    FILE *f = popen(command.data, "r");
    char bytes[4096];
    size_t n;
    while (f && (n = fread(bytes, 1, sizeof bytes, f)) > 0)
        buf_append(&out, bytes, n);
    int result = f ? pclose(f) : -1;
    if (status)
        *status = WIFEXITED(result) ? WEXITSTATUS(result) : -1;
    buf_free(&command);
    buf_putc(&out, 0);
    return out.data;
}

TEST(chat_first_minute)
{
    if (!pty_available())
        return;
    struct pty p;
    start(&p, WIDTH, new_home(), NULL);
    EXPECT(&p, "golden q1-tied");
    enter(&p, "/help");
    EXPECT(&p, "/raw ");
    PROMPT(&p);
    CHECKF(p.vt.n_lines <= p.vt.top + HEIGHT, "help fits");
    char *first = vt_line_text(&p.vt, p.vt.top);
    CHECKF(strncmp(first, "/help", 5) == 0, "the list fits a screen, but its first line is \"%s\"", first);
    free(first);
    enter(&p, "/help undo");
    EXPECT(&p, "take back the last turn");
    enter(&p, "/hlep");
    EXPECT(&p, "did you mean /help?");
    enter(&p, "");
    enter(&p, "   ");
    leave(&p);
    /* Without a model a sentence says how to get one. */
    start(&p, WIDTH, new_home(), WITH("-m", "/nowhere.gguf"));
    EXPECT(&p, "/nowhere.gguf");
    int status = pty_wait_end(&p);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) != 0 && pty_restored(&p));
    pty_end(&p);
}

/* What is on the screen is what a pipe gets, escaped and wrapped, at every width. */
TEST(chat_answers)
{
    if (!pty_available())
        return;
    static const size_t widths[] = {20, 80, 200};
    const char *question = "tell \xE6\xBC\xA2\xE5\xAD\x97 \xF0\x9F\x98\x80 something";
    int status;
    char *raw = piped(new_home(), "-n 60", question, &status);
    CHECK(status == 0 && strlen(raw) > 10);
    struct buf expected = {0};
    for (char *line = raw; *line;) { /* newlines stay newlines */
        size_t len = strcspn(line, "\n");
        cells_put_escaped(&expected, line, len);
        buf_putc(&expected, '\n');
        line += len + (line[len] != 0);
    }
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        struct pty p;
        start(&p, widths[i], new_home(), WITH("-n", "60"));
        enter(&p, question);
        EXPECT(&p, "/continue goes on");
        PROMPT(&p);
        char *all = screen(&p), *from = strstr(all, "something"), *to = strstr(all, "stopped at the limit");
        CHECK(from && to);
        if (from && to) {
            *to = 0;
            CHECKF(same_letters(from + 9, expected.data), "width %zu: \"%s\", expected \"%s\"", widths[i], from + 9, expected.data);
        }
        free(all);
        leave(&p);
    }
    free(raw);
    buf_free(&expected);
}

/* Keys of every kind, seen through what they leave behind: /system shows it. */
TEST(chat_keys)
{
    if (!pty_available())
        return;
    static const size_t widths[] = {20, 80, 200};
    static const struct {
        const char *keys, *text;
    } cases[] = {
        {"/system one two\x01\x05 three", "one two three"},
        {"/system one two\x1B[H\x06\x06\x06\x06\x06\x06\x06\x06X\x1B[FY", "Xone twoY"},
        {"/system one two three\x17\x17two\x19", "one twotwo three"},
        {"/system one two\x15\x19 more", "one two more"},
        {"/system abc\x02\x02\x0B\x19\x19", "abcbc"},
        {"/system ab\x14", "ba"},
        {"/system one two\x1B"
         "b\x1B"
         "d2",
         "one 2"},
        {"/system one two\x1B\x7Fthree", "one three"},
        {"/system one two\x1B[1;5DX", "one Xtwo"},
        {"/system one two\x1B[D\x1B[D\x1B[3~", "one to"},
        {"/system \xE6\xBC\xA2\xE5\xAD\x97\xE6\xBC\xA2\x1B[D\x7F\xC3\xA4", "\xE6\xBC\xA2\xC3\xA4\xE6\xBC\xA2"},
        {"/system e\xCC\x81x\x1B[D\x7F", "x"},
        {"/system a\x0A"
         "b",
         "a\nb"},
        {"/system a\x1B\r"
         "b",
         "a\nb"},
        {"/system a\\\rb", "a\nb"},
        {"/system \"\"\"\ra\r\rb\r\"\"\"", "a\n\nb"},
        {"/system \x1B[200~pasted\rtext\x1B[201~!", "pasted\ntext!"},
        {"/sys\tcompleted", "completed"},
        {"/system a long text that needs more than one row of a narrow terminal \xE6\xBC\xA2\xE5\xAD\x97\x01\x1B"
         "f\x1B"
         "fX",
         "aX long text that needs more than one row of a narrow terminal \xE6\xBC\xA2\xE5\xAD\x97"},
        {"/system redrawn\x0C again", "redrawn again"},
        {"/system gone\x1F\x1F\x1F/system undone", "undone"},
    };
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        struct pty p;
        start(&p, widths[w], new_home(), NULL);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            enter(&p, cases[i].keys);
            PROMPT(&p);
            pty_send(&p, "\x0C"); /* a clear screen, so that only the answer is on it */
            enter(&p, "/system");
            char expected[256];
            snprintf(expected, sizeof expected, "> /system\n%s\n>", cases[i].text);
            EXPECT(&p, expected);
        }
        /* History: up, search, and what the file keeps. */
        enter(&p, "/system remember me");
        enter(&p, "/ctx");
        PROMPT(&p);
        pty_send(&p, "\x1B[A\x1B[A");
        EXPECT(&p, "> /system remember me");
        pty_send(&p, "\x1B[B");
        pty_send(&p, "\x12"
                     "member");
        EXPECT(&p, "(search: member) /system remember me");
        pty_send(&p, "\x1B");
        PROMPT(&p);
        leave(&p);
    }
}

static const char *first_session(const char *home)
{
    static char name[256];
    char folder[600];
    struct session_entry *list;
    size_t n;
    snprintf(folder, sizeof folder, "%s/sessions", home);
    name[0] = 0;
    if (sessions_list(folder, &list, &n, NULL) == SG_OK && n > 0) {
        snprintf(name, sizeof name, "%s", list[0].name);
        sessions_free(list, n);
    }
    return name;
}

/* The latest session of a home, read back. */
static struct conversation talk_of(const char *home)
{
    char folder[600];
    struct conversation c = {0};
    struct transcript t;
    struct sg_error err = {0};
    snprintf(folder, sizeof folder, "%s/sessions", home);
    if (CHECKF(transcript_open(&t, folder, first_session(home), "m", &c, &err) == SG_OK, "%s", err.message)) {
        CHECK(t.skipped == 0);
        transcript_close(&t);
    }
    return c;
}

TEST(chat_commands)
{
    if (!pty_available())
        return;
    struct pty p;
    char file[600], keys[1400];
    const char *home = new_home();
    snprintf(file, sizeof file, "%s/a file.txt", test_tmp());
    FILE *f = fopen(file, "w");
    fputs("some text with ``` in it\n", f);
    fclose(f);
    start(&p, WIDTH, home, NULL);
    enter(&p, "/regen");
    EXPECT(&p, "there is nothing to answer yet");
    enter(&p, "/undo");
    EXPECT(&p, "there is nothing to take back");
    enter(&p, "/continue");
    EXPECT(&p, "there is no answer to go on with");
    enter(&p, "/raw");
    EXPECT(&p, "there is no answer yet");
    enter(&p, "first question");
    EXPECT(&p, "/continue goes on");
    enter(&p, "/continue");
    PROMPT(&p);
    enter(&p, "/regen --temp 1.5");
    PROMPT(&p);
    enter(&p, "/show temp");
    EXPECT(&p, "(the model's default)");
    enter(&p, "/set tepm 1");
    EXPECT(&p, "did you mean temp?");
    enter(&p, "/set temp 2");
    EXPECT(&p, "temp is 2");
    enter(&p, "/set temp warm");
    EXPECT(&p, "not \"warm\"");
    enter(&p, "/set ctx-size 5");
    EXPECT(&p, "ctx-size can only be given at the start");
    enter(&p, "/raw");
    EXPECT(&p, "  ");
    enter(&p, "/copy");
    EXPECT(&p, "clipboard");
    CHECK(p.vt.clipboard[0] != 0);
    enter(&p, "/think count");
    EXPECT(&p, "thinking is counted");
    enter(&p, "/think 40");
    EXPECT(&p, "think-budget is 40");
    enter(&p, "/nothink");
    EXPECT(&p, "think is off");
    enter(&p, "/think");
    EXPECT(&p, "thinking: off, at most 40 tokens, display: count");
    enter(&p, "/stats");
    EXPECT(&p, "tok/s");
    enter(&p, "/ctx");
    EXPECT(&p, "of 1024 tokens");
    snprintf(keys, sizeof keys, "/read %s", file);
    enter(&p, keys);
    EXPECT(&p, "goes before your next message");
    enter(&p, "second question");
    PROMPT(&p);
    enter(&p, "/save a name");
    EXPECT(&p, "this session is now a name");
    enter(&p, "/list");
    EXPECT(&p, "* a name");
    enter(&p, "/undo");
    EXPECT(&p, "took back 1 turn; 1 is left");
    enter(&p, "/clear");
    EXPECT(&p, "the old one is kept as a name");
    enter(&p, "third question");
    PROMPT(&p);
    enter(&p, "/load a n\t"); /* completes, with its blanks */
    EXPECT(&p, "session a name: 1 turn");
    snprintf(keys, sizeof keys, "/export jsonl %s/out.jsonl", test_tmp());
    enter(&p, keys);
    EXPECT(&p, "written to");
    enter(&p, keys);
    EXPECT(&p, "can not be written");
    enter(&p, "/export md");
    EXPECT(&p, "**Assistant**");
    snprintf(keys, sizeof keys, "/glob %s/no*where", test_tmp());
    enter(&p, keys);
    EXPECT(&p, "no file matches");
    snprintf(keys, sizeof keys, "/glob %s/a*.txt", test_tmp());
    enter(&p, keys);
    EXPECT(&p, "1 of 1 files read");
    leave(&p);
    snprintf(file, sizeof file, "%s/out.jsonl", test_tmp());
    f = fopen(file, "r");
    char line[64] = "";
    CHECK(f && fgets(line, sizeof line, f) && strncmp(line, "{\"messages\":[{\"role\":\"user\",\"content\":\"first question\"}", 55) == 0);
    if (f)
        fclose(f);
    /* And everything is there the next time. */
    start(&p, WIDTH, home, WITH("--session", "a name"));
    EXPECT(&p, "session a name: 1 turn");
    EXPECT(&p, "> first question");
    leave(&p);
    start(&p, WIDTH, home, WITH("-C"));
    EXPECT(&p, "session ");
    leave(&p);
}

/* The editor is a script that says what it was given and writes something else. */
TEST(chat_editor)
{
    if (!pty_available())
        return;
    char script[600];
    const char *home = new_home();
    snprintf(script, sizeof script, "%s/editor.sh", test_tmp());
    FILE *f = fopen(script, "w");
    fputs("#!/bin/sh\nread -r line < \"$1\"\nprintf 'edited %s\\nand more\\n' \"$line\" > \"$1\"\n", f);
    fclose(f);
    chmod(script, 0700);
    setenv("VISUAL", script, 1);
    struct pty p;
    start(&p, WIDTH, home, NULL);
    PROMPT(&p);
    pty_send(&p, "/system typed\x07");
    EXPECT(&p, "> edited /system typed\n. and more");
    pty_send(&p, "\x03");
    enter(&p, "my question");
    PROMPT(&p);
    enter(&p, "/edit");
    EXPECT(&p, "> edited my question\nand more");
    PROMPT(&p);
    setenv("VISUAL", "false", 1);
    leave(&p);
    struct conversation c = talk_of(home);
    CHECK(conversation_turns(&c) == 1 && c.n > 0 && strcmp(c.messages[0].content.data, "edited my question\nand more") == 0);
    conversation_free(&c);
    start(&p, WIDTH, new_home(), NULL);
    PROMPT(&p);
    pty_send(&p, "text\x07");
    EXPECT(&p, "names another)\n> text");
    pty_send(&p, "\x15");
    leave(&p);
    unsetenv("VISUAL");
}

/* Endless writing: so that there is something to interrupt. */
#define ENDLESS "-c", "60000", "-n", "-1", "--ignore-eos", "--no-loop-guard"

TEST(chat_interrupt)
{
    if (!pty_available())
        return;
    struct pty p;
    const char *home = new_home();
    start(&p, WIDTH, home, WITH(ENDLESS));
    enter(&p, "go on for ever");
    CHECK(pty_wait_lines(&p, 3));
    pty_send(&p, "\x03");
    EXPECT(&p, "stopped; /continue goes on");
    PROMPT(&p);
    pty_send(&p, "some text\x03");
    EXPECT(&p, "some text^C");
    EXPECT(&p, "^C again, or ^D, leaves");
    PROMPT(&p);
    pty_send(&p, "\x03");
    int status = pty_wait_end(&p);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 130 && pty_restored(&p));
    pty_end(&p);
    struct conversation c = talk_of(home);
    CHECK(c.n == 2 && c.messages[1].cut && c.messages[1].content.len > 0);
    conversation_free(&c);
    start(&p, WIDTH, home, NULL);
    PROMPT(&p);
    pty_send(&p, "\x04");
    status = pty_wait_end(&p);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0 && pty_restored(&p));
    pty_end(&p);
}

/* Whatever ends the program, in whatever it is doing: the terminal is as before, the parent
 * sees the signal, and the transcript has what was said. */
enum doing { AT_PROMPT, TYPING, WRITING, SEARCHING, STOPPED, EDITING, DOINGS };
static const char *const doing_names[] = {"at the prompt", "typing", "writing", "searching", "stopped", "in the editor"};

static void get_to(struct pty *p, enum doing doing)
{
    enter(p, "hello there");
    if (doing == WRITING || doing == STOPPED) {
        CHECK(pty_wait_lines(p, 3));
    } else {
        pty_wait_lines(p, 3);
        pty_send(p, "\x03");
        PROMPT(p);
    }
    if (doing == TYPING)
        pty_send(p, "half a tho\x1B[D\x1B[D");
    if (doing == SEARCHING)
        pty_send(p, "\x12hell");
    if (doing == EDITING) {
        pty_send(p, "\x07");
        EXPECT(p, "this is the editor");
    }
    if (doing == TYPING)
        EXPECT(p, "half a tho");
    if (doing == SEARCHING)
        EXPECT(p, "(search: hell)");
    if (doing == STOPPED) {
        pty_send(p, "\x1A");
        CHECK(pty_wait_stop(p));
    }
}

TEST(chat_signals)
{
    if (!pty_available())
        return;
    static const int signals[] = {SIGTERM, SIGHUP, SIGQUIT};
    setenv("VISUAL", "echo this is the editor; exec sleep 1000; :", 1);
    for (size_t s = 0; s < sizeof signals / sizeof *signals; s++) {
        for (int doing = 0; doing < DOINGS; doing++) {
            struct pty p;
            const char *home = new_home();
            start(&p, WIDTH, home, WITH(ENDLESS));
            get_to(&p, (enum doing)doing);
            kill(p.program, signals[s]);
            if (doing == STOPPED)
                pty_continue(&p);
            int status = pty_wait_end(&p);
            CHECKF(WIFSIGNALED(status) && WTERMSIG(status) == signals[s], "signal %d %s: status %x", signals[s], doing_names[doing], (unsigned)status);
            CHECKF(pty_restored(&p), "signal %d %s", signals[s], doing_names[doing]);
            pty_end(&p);
            struct conversation c = talk_of(home);
            CHECKF(c.n == 2 && strcmp(c.messages[0].content.data, "hello there") == 0 && c.messages[1].content.len > 0, "signal %d %s: %zu messages",
                   signals[s], doing_names[doing], c.n);
            conversation_free(&c);
        }
    }
    unsetenv("VISUAL");
    /* SIGINT from elsewhere is ^C. */
    struct pty p;
    start(&p, WIDTH, new_home(), WITH(ENDLESS));
    get_to(&p, WRITING);
    kill(p.program, SIGINT);
    EXPECT(&p, "stopped; /continue goes on");
    PROMPT(&p);
    kill(p.program, SIGINT);
    EXPECT(&p, "^C again, or ^D, leaves");
    PROMPT(&p);
    kill(p.program, SIGINT);
    int status = pty_wait_end(&p);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 130 && pty_restored(&p));
    pty_end(&p);
    /* The terminal goes away. */
    const char *home = new_home();
    start(&p, WIDTH, home, WITH(ENDLESS));
    get_to(&p, WRITING);
    pty_end(&p);
    /* kill -9 can not be answered, but a shell resets the terminal; the transcript opens. */
    home = new_home();
    start(&p, WIDTH, home, WITH(ENDLESS));
    get_to(&p, WRITING);
    kill(p.program, SIGKILL);
    status = pty_wait_end(&p);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    pty_end(&p);
    struct conversation c = talk_of(home);
    CHECK(c.n == 1);
    conversation_free(&c);
}

TEST(chat_stops)
{
    if (!pty_available())
        return;
    struct pty p;
    start(&p, WIDTH, new_home(), WITH(ENDLESS));
    PROMPT(&p);
    pty_send(&p, "typed \xE6\xBC\xA2 before");
    EXPECT(&p, "before");
    pty_send(&p, "\x1A");
    CHECK(pty_wait_stop(&p) && pty_restored(&p));
    pty_continue(&p);
    EXPECT(&p, "before\n> typed \xE6\xBC\xA2 before"); /* drawn again */
    pty_send(&p, " and after\x01/system \r");
    PROMPT(&p);
    pty_send(&p, "\x0C");
    enter(&p, "/system");
    EXPECT(&p, "> /system\ntyped \xE6\xBC\xA2 before and after");
    enter(&p, "write");
    CHECK(pty_wait_lines(&p, 3));
    for (int i = 0; i < 3; i++) {
        size_t lines = p.vt.top;
        if (i == 1)
            kill(p.program, SIGSTOP); /* can not be handled: the modes stay, but continuing mends ours */
        else
            pty_send(&p, "\x1A");
        CHECK(pty_wait_stop(&p));
        CHECK(i == 1 || pty_restored(&p));
        pty_continue(&p);
        CHECK(pty_wait_lines(&p, lines + 5));
    }
    pty_send(&p, "\x03");
    EXPECT(&p, "stopped; /continue goes on");
    PROMPT(&p);
    leave(&p);
}

TEST(chat_resizes)
{
    if (!pty_available())
        return;
    static const size_t widths[] = {80, 20, 33, 200, 80};
    struct pty p;
    const char *text = "a text of some words, \xE6\xBC\xA2\xE5\xAD\x97\xE6\xBC\xA2\xE5\xAD\x97 among them, that is long enough to need several rows when the window is narrow";
    start(&p, WIDTH, new_home(), NULL);
    PROMPT(&p);
    pty_send(&p, text);
    EXPECT(&p, "is narrow");
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        pty_resize(&p, widths[i], HEIGHT);
        char expected[300];
        pty_send(&p, "!");
        snprintf(expected, sizeof expected, "> %s%.*s", text, (int)i + 1, "!!!!!");
        EXPECT(&p, expected);
        char *all = screen(&p);
        CHECKF(strstr(all, "> a text") == strrchr(all, '>'), "width %zu, drawn twice:\n%s", widths[i], all);
        free(all);
    }
    pty_send(&p, "\x15");
    PROMPT(&p);
    leave(&p);
}

/* ------------------------------------------------------- through a pipe, and files */

static size_t number_after(const char *text, const char *what)
{
    const char *at = text ? strstr(text, what) : NULL;
    return at ? strtoul(at + strlen(what), NULL, 10) : SIZE_MAX;
}

/* What was evaluated again is the question, and the previous answer where the template says so. */
TEST(chat_accounts)
{
    if (!pty_available())
        return;
    struct buf input = {0};
    enum { TURNS = 8 };
    for (int i = 0; i < TURNS; i++)
        buf_puts(&input, "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen\\n/stats\\n");
    char *out = piped(new_home(), "-c 4096 -n 30 --ignore-eos", input.data, NULL);
    size_t first = 0, prompt = 0;
    char *at = out;
    for (int i = 0; i < TURNS; i++) {
        at = strstr(at, "prompt      ");
        if (!CHECK(at != NULL))
            break;
        size_t read = number_after(at, "prompt      "), reused = number_after(at, "tok/s, ");
        CHECKF(reused + 4 >= prompt, "turn %d reused %zu tokens of the %zu before the last answer", i, reused, prompt);
        prompt = read + reused;
        at++;
    }
    CHECK(prompt > 400);
    free(out);
    buf_free(&input);
    /* With a person at the keys even that is done before they are done: the next turn reads its own
     * tokens alone. Not so when the machine is busy, so one of several turns will do. */
    struct pty p;
    start(&p, 200, new_home(), WITH("-c", "4096", "-n", "30", "--ignore-eos"));
    bool once = false;
    for (int i = 0; i < 5 && !once; i++) {
        enter(&p, "one two three four five six seven eight nine ten");
        PROMPT(&p);
        struct timespec moment = {.tv_nsec = 200000000};
        nanosleep(&moment, NULL);
        pty_send(&p, "\x0C");
        enter(&p, "/stats");
        EXPECT(&p, ", process ");
        char *all = screen(&p);
        size_t read = number_after(all, "prompt      ");
        if (i == 0)
            first = read;
        once = i > 0 && read <= first;
        free(all);
    }
    CHECK(once);
    leave(&p);
}

/* Text of the i-th message of the latest session. */
static char *message_of(const char *home, size_t i)
{
    struct conversation c = talk_of(home);
    char *text = i < c.n ? strdup(c.messages[i].content.data) : strdup("(none)");
    conversation_free(&c);
    return text;
}

static bool same_message(const char *home_a, size_t a, const char *home_b, size_t b)
{
    char *x = message_of(home_a, a), *y = message_of(home_b, b);
    bool same = strcmp(x, y) == 0 && strcmp(x, "(none)") != 0;
    free(x);
    free(y);
    return same;
}

/* What was taken back leaves no trace, and a conversation that goes on in another process goes on
 * as if it had never stopped. */
TEST(chat_forgets)
{
    if (!pty_available())
        return;
    char plain[512], undone[512], home[512];
    snprintf(plain, sizeof plain, "%s", new_home());
    snprintf(undone, sizeof undone, "%s", new_home());
    free(piped(plain, "", "first\\nthird\\n", NULL));
    free(piped(undone, "", "first\\nsecond\\n/regen\\n/undo\\nthird\\n", NULL));
    CHECK(same_message(plain, 1, undone, 1) && same_message(plain, 3, undone, 3));
    /* Another attempt is another answer; undone and asked again it is the first one again. */
    snprintf(home, sizeof home, "%s", new_home());
    free(piped(home, "", "first\\n/regen\\n", NULL));
    CHECK(!same_message(plain, 1, home, 1));
    /* In a fresh process, with and without its cache. */
    static const char *const caches[] = {"-C", "-C --resume-cache 0"};
    for (size_t i = 0; i < 2; i++) {
        char parts[512];
        snprintf(parts, sizeof parts, "%s", new_home());
        free(piped(parts, "", "first\\n", NULL));
        free(piped(parts, caches[i], "third\\n", NULL));
        CHECK(same_message(plain, 3, parts, 3));
    }
    /* The same with --spec, which only changes the speed. */
    snprintf(home, sizeof home, "%s", new_home());
    free(piped(home, "--spec ngram", "first\\nthird\\n", NULL));
    CHECK(same_message(plain, 3, home, 3));
    /* What /continue adds belongs to the same answer. */
    snprintf(home, sizeof home, "%s", new_home());
    free(piped(home, "-n 6", "first\\n/continue\\n", NULL));
    struct conversation c = talk_of(home);
    CHECK(c.n == 2 && c.messages[1].cut);
    conversation_free(&c);
}

TEST(chat_resumes)
{
    if (!pty_available())
        return;
    char home[512], path[700];
    snprintf(home, sizeof home, "%s", new_home());
    struct pty p;
    start(&p, WIDTH, home, WITH("--session", "kept", "-n", "60", "--ignore-eos"));
    enter(&p, "a first question that needs some tokens to be told");
    PROMPT(&p);
    leave(&p);
    snprintf(path, sizeof path, "%s/kv/kept.kv", home);
    struct stat info;
    CHECK(stat(path, &info) == 0 && (info.st_mode & 0777) == 0600);
    start(&p, WIDTH, home, WITH("-C", "-v"));
    EXPECT(&p, "resumed from the cache");
    PROMPT(&p);
    /* Nobody else may have it now. */
    struct pty q;
    start(&q, WIDTH, home, WITH("-C"));
    EXPECT(&q, "is open in another chat");
    int status = pty_wait_end(&q);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1 && pty_restored(&q));
    pty_end(&q);
    leave(&p);
    /* A damaged cache costs time only. */
    FILE *f = fopen(path, "r+");
    CHECK(f && fseek(f, 300, SEEK_SET) == 0 && fputs("damage", f) > 0 && fclose(f) == 0);
    start(&p, WIDTH, home, WITH("-C", "-v"));
    EXPECT(&p, "is damaged");
    EXPECT(&p, "session kept: 1 turn");
    leave(&p);
    /* The folder has a limit: 1 MiB holds some 500 positions of this model. */
    for (int i = 0; i < 4; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        start(&p, WIDTH, home, WITH("--session", name, "-n", "100", "--ignore-eos", "--resume-cache", "1"));
        enter(&p, "hello");
        PROMPT(&p);
        leave(&p);
    }
    size_t total = 0;
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/kv/s%d.kv", home, i);
        total += stat(path, &info) == 0 ? (size_t)info.st_size : 0;
    }
    CHECKF(total > 0 && total <= 1 << 20, "%zu bytes of caches", total);
    /* Nothing at all is kept when that is asked for. */
    const char *empty = new_home();
    free(piped(empty, "--no-save", "hello\\n", NULL));
    CHECK(stat(empty, &info) != 0);
}

TEST(chat_fills_its_context)
{
    if (!pty_available())
        return;
    struct pty p;
    char home[512];
    snprintf(home, sizeof home, "%s", new_home());
    start(&p, WIDTH, home, WITH("-c", "160", "-n", "20", "--ignore-eos"));
    enter(&p, "/system be brief");
    for (int i = 0; i < 5; i++)
        enter(&p, "one two three four five");
    EXPECT(&p, "dropped from it");
    PROMPT(&p);
    enter(&p, "/ctx");
    EXPECT(&p, "the oldest ");
    enter(&p, "/set n 100");
    enter(&p, "so that the status is seen");
    EXPECT(&p, "%] > ");
    struct buf longer = {0};
    buf_puts(&longer, "\x1B[200~");
    for (int i = 0; i < 100; i++)
        buf_puts(&longer, "a long paste ");
    buf_puts(&longer, "\x1B[201~");
    enter(&p, longer.data);
    EXPECT(&p, "this is too long: with it the conversation has ");
    buf_free(&longer);
    leave(&p);
    struct conversation c = talk_of(home);
    CHECK(conversation_turns(&c) == 6 && c.first > 0 && c.has_system);
    conversation_free(&c);
    /* A long answer: older turns go in its middle. */
    start(&p, WIDTH, new_home(), WITH("-c", "200", "-n", "40", "--ignore-eos"));
    enter(&p, "one two three");
    PROMPT(&p);
    enter(&p, "/set n 130");
    enter(&p, "four five six");
    EXPECT(&p, "stopped at the limit of 130");
    EXPECT(&p, "dropped from it");
    leave(&p);
    /* Or the answer ends there. */
    start(&p, WIDTH, new_home(), WITH("-c", "100", "-n", "-1", "--ignore-eos", "--no-loop-guard", "--ctx-full", "stop"));
    enter(&p, "one two three");
    EXPECT(&p, "stopped: the context of 100 tokens is full");
    enter(&p, "four five six");
    EXPECT(&p, "the context of 100 tokens is full, by ");
    PROMPT(&p);
    leave(&p);
}

/* No prompt, no codes, and still nothing dangerous. */
TEST(chat_plain)
{
    if (!pty_available())
        return;
    struct pty p;
    setenv("SIGNUM_TEST_TERM", "dumb", 1);
    start(&p, WIDTH, new_home(), WITH("-n", "40"));
    pty_send(&p, "hello\n");
    EXPECT(&p, "/continue goes on");
    pty_send(&p, "\"\"\"\na\nb\"\"\"\n/raw\n/system x\\\ny\n/system\n");
    EXPECT(&p, "\nx\ny");
    pty_send(&p, "\x04");
    int status = pty_wait_end(&p);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECKF(!strchr(p.log, 0x1B) && p.vt.hazards == 0, "%s", p.log);
    pty_end(&p);
    unsetenv("SIGNUM_TEST_TERM");
    setenv("NO_COLOR", "1", 1);
    start(&p, WIDTH, new_home(), NULL);
    enter(&p, "hello");
    PROMPT(&p);
    leave(&p);
    start(&p, WIDTH, new_home(), NULL);
    PROMPT(&p);
    CHECK(!strstr(p.log, "\x1B[2m") && !strstr(p.log, "\x1B[0m"));
    leave(&p);
    unsetenv("NO_COLOR");
    /* A pipe: the answer and nothing else; bytes as they are; lines with CR LF. */
    char *crlf, *lf;
    int code;
    crlf = piped(new_home(), "--no-save", "hello\\r\\n\\r\\n", &code);
    lf = piped(new_home(), "--no-save", "hello", NULL);
    CHECK(code == 0 && strcmp(crlf, lf) == 0 && !strchr(lf, 0x1B));
    free(crlf);
    free(lf);
    free(piped(new_home(), "--no-save", "/regen\\n", &code));
    CHECK(code == 1);
    free(piped(new_home(), "--no-such-flag", "", &code));
    CHECK(code == 2);
}

/* kill -9 at any moment: the transcript opens, and has lost at most the answer being written. */
TEST(chat_killed)
{
    if (!pty_available())
        return;
    const char *asked = getenv("SIGNUM_TEST_KILLS");
    int runs = asked ? atoi(asked) : 20;
    char home[512];
    for (int run = 0; run < runs; run++) {
        snprintf(home, sizeof home, "%s", new_home());
        int to[2], from[2];
        if (pipe(to) != 0 || pipe(from) != 0)
            abort();
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            dup2(to[0], 0);
            dup2(from[1], 1);
            close(to[1]);
            close(from[0]);
            setenv("SIGNUM_HOME", home, 1);
            int null = open("/dev/null", O_WRONLY);
            dup2(null, 2);
            execl(pty_program(), "signum", "chat", "-m", model(), "-s", "1", "-t", "1", "-n", "30", (char *)NULL);
            _exit(127);
        }
        close(to[0]);
        close(from[1]);
        /* The next question is asked when the answer to the last one began, or soon after. */
        size_t asked_now = 0, begun = 0;
        int moments = 1 + (int)test_below(12);
        char bytes[256];
        fcntl(from[0], F_SETFL, O_NONBLOCK);
        for (int i = 0; i < moments; i++) {
            char question[32];
            int n = snprintf(question, sizeof question, "question %zu\n", asked_now++);
            if (write(to[1], question, (size_t)n) != n)
                break;
            for (int wait = 0; wait < 2000; wait++) {
                struct timespec moment = {.tv_nsec = 1000000};
                ssize_t got = read(from[0], bytes, sizeof bytes);
                if (got > 0) {
                    begun = asked_now; /* so its question was written before */
                    break;
                }
                nanosleep(&moment, NULL);
            }
            struct timespec pause = {.tv_nsec = (long)test_below(3000000)};
            nanosleep(&pause, NULL);
        }
        kill(child, SIGKILL);
        int status;
        waitpid(child, &status, 0);
        close(to[1]);
        close(from[0]);
        struct conversation c = talk_of(home);
        size_t questions = conversation_turns(&c);
        CHECKF(questions >= 1 && questions <= asked_now, "%zu questions of %zu (%zu begun)", questions, asked_now, begun);
        for (size_t i = 0, q = 0; i < c.n; i++) {
            char expected[32];
            if (!c.messages[i].from_user)
                continue;
            snprintf(expected, sizeof expected, "question %zu", q++);
            CHECK(strcmp(c.messages[i].content.data, expected) == 0);
            CHECKF(i + 1 == c.n || !c.messages[i + 1].from_user, "the answer to question %zu of %zu is lost", q, questions);
        }
        conversation_free(&c);
    }
}

/* A model that always wants to think: what it thinks is dimmed, counted or hidden, closed when the
 * budget is spent, kept in the transcript, and never on a pipe. */
TEST(chat_thinks)
{
    if (!pty_available())
        return;
    struct sg_engine *e = NULL;
    struct sg_options o = {.model_path = model(), .weights_unneeded = true};
    char bias[32], options[128], home[512];
    if (!CHECK(sg_open(&e, &o, NULL) == SG_OK))
        return;
    snprintf(bias, sizeof bias, "%d+1000", sg_special_id(e, "<think>"));
    sg_close(e);
    snprintf(home, sizeof home, "%s", new_home());
    struct pty p;
    start(&p, WIDTH, home, WITH("-l", bias, "--think-budget", "5", "-n", "2", "--no-loop-guard"));
    enter(&p, "think of something");
    EXPECT(&p, "/continue goes on");
    PROMPT(&p);
    bool dim = false, bright = false;
    for (size_t i = 0; i < p.vt.n_lines; i++) {
        char *line = vt_line_text(&p.vt, i);
        if (strncmp(line, "<think>", 7) == 0) {
            dim |= p.vt.lines[i].cells[0].dim;
            bright |= !p.vt.lines[i].cells[0].dim;
        }
        free(line);
    }
    CHECK(dim && bright);
    enter(&p, "/think count");
    enter(&p, "again");
    EXPECT(&p, "(thought: ");
    PROMPT(&p);
    enter(&p, "/think hide");
    EXPECT(&p, "thinking is hidden");
    enter(&p, "and again");
    PROMPT(&p);
    enter(&p, "/think on");
    EXPECT(&p, "think is on");
    leave(&p);
    struct conversation c = talk_of(home);
    CHECK(c.n == 6 && c.messages[1].has_reasoning && strncmp(c.messages[1].reasoning.data, "<think>", 7) == 0);
    conversation_free(&c);
    snprintf(options, sizeof options, "--no-save -l %s --think-budget 30 -n 1 --no-loop-guard", bias);
    char *out = piped(new_home(), options, "think", NULL);
    CHECKF(strcmp(out, "<think>\n") == 0, "\"%s\"", out);
    free(out);
}

/* ------------------------------------------------------------- another terminal */

/* Output of a tmux command on a server of our own; malloc'ed. */
static char *tmux(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *tmux(const char *format, ...)
{
    char rest[4000], command[4600], bytes[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(rest, sizeof rest, format, args);
    va_end(args);
    snprintf(command, sizeof command, "LC_ALL=C.UTF-8 tmux -u -S '%s/tmux' -f /dev/null %s 2>&1", test_tmp(), rest);
    struct buf out = {0};
    FILE *f = popen(command, "r");
    size_t n;
    while (f && (n = fread(bytes, 1, sizeof bytes, f)) > 0)
        buf_append(&out, bytes, n);
    if (f)
        pclose(f);
    buf_putc(&out, 0);
    return out.data;
}

static char *visible(const struct pty *p)
{
    struct buf out = {0};
    for (size_t row = 0; row < p->vt.height; row++) {
        char *line = vt_line_text(&p->vt, p->vt.top + row);
        buf_puts(&out, line);
        buf_putc(&out, '\n');
        free(line);
    }
    return out.data;
}

/* Waits until tmux shows what we show. */
static void compare_screens(struct pty *p, const char *step, bool whole_screen)
{
    char *ours = NULL, *theirs = NULL;
    bool same = false;
    for (int tries = 0; tries < 300 && !same; tries++) {
        free(ours);
        free(theirs);
        ours = whole_screen ? visible(p) : vt_text(&p->vt, true);
        theirs = tmux(whole_screen ? "capture-pane -p -t t" : "capture-pane -p -J -S - -t t");
        same = whole_screen ? strcmp(ours, theirs) == 0 : same_letters(ours, theirs);
        if (!same) {
            struct timespec moment = {.tv_nsec = 100000000};
            nanosleep(&moment, NULL);
            pty_wait_lines(p, 0);
        }
    }
    CHECKF(same, "after %s, width %zu, we show:\n%s\ntmux shows:\n%s", step, p->vt.width, ours, theirs);
    free(ours);
    free(theirs);
}

/* tmux tells a program that it was resized a little later than it redraws. */
static void wait_for_tmux_size(size_t width)
{
    char command[600];
    char *tty = tmux("display -p -t t '#{pane_tty}'");
    tty[strcspn(tty, "\n")] = 0;
    snprintf(command, sizeof command, "test \"$(stty size <%s | cut -d ' ' -f 2)\" = %zu", tty, width);
    for (int tries = 0; tries < 300 && system(command) != 0; tries++) {
        struct timespec moment = {.tv_nsec = 50000000};
        nanosleep(&moment, NULL);
    }
    free(tty);
    struct timespec redraw = {.tv_nsec = 500000000};
    nanosleep(&redraw, NULL);
}

/* The same keys to the program in tmux: the screens are alike, so ours can be believed. */
TEST(chat_tmux)
{
    static const size_t widths[] = {20, 80, 200};
    /* bytes for our terminal, and the key's name for tmux; without a name: text */
    static const struct {
        const char *bytes, *key;
    } keys[] = {
        {"hello \xE6\xBC\xA2\xE5\xAD\x97 to a model", NULL},
        {"\r", "Enter"},
        {"/show t", NULL},
        {"\r", "Enter"},
        {"a text \xE6\xBC\xA2\xE5\xAD\x97\xE6\xBC\xA2\xE5\xAD\x97 of many words, \xF0\x9F\x98\x80 that needs more than one row \xC3\xA4\xC3\xB6\xC3\xBC", NULL},
        {"\x01", "C-a"},
        {"\x1B" "f", "M-f"},
        {"\x1B" "f", "M-f"},
        {"\xE6\xBC\xA2", NULL},
        {"\x7F", "BSpace"},
        {"X", NULL},
        {"\x05", "C-e"},
        {"\x17", "C-w"},
        {"\x1B\r", "M-Enter"},
        {"second line", NULL},
        {"\x1B[A", "Up"},
        {"\x1B[H", "Home"},
        {"\x0B", "C-k"},
        {"\x19", "C-y"},
        {"\x12", "C-r"},
        {"hello", NULL},
        {"\x1B[D", "Left"},
        {"\x15", "C-u"},
        {"/he", NULL},
        {"\t", "Tab"},
        {"\x03", "C-c"},
        {"some text before the window changes its size, so that it has to be drawn again", NULL},
    };
    if (!pty_available())
        return;
    char *version = tmux("-V");
    bool there = strncmp(version, "tmux ", 5) == 0;
    free(version);
    if (!there) {
        fprintf(stderr, "chat_tmux is skipped: there is no tmux\n");
        return;
    }
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        struct pty p;
        start(&p, widths[w], new_home(), WITH("-n", "40"));
        PROMPT(&p);
        free(tmux("start-server \\; set -g status off \\; new-session -d -s t -x %zu -y %d "
                  "\"env -u SIGNUM_MODEL SIGNUM_HOME='%s' '%s' chat -m '%s' -s 1 -t 1 -n 12 -n 40\"",
                  widths[w], HEIGHT, new_home(), pty_program(), model()));
        compare_screens(&p, "the start", true);
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            pty_send(&p, keys[i].bytes);
            free(keys[i].key ? tmux("send-keys -t t %s", keys[i].key) : tmux("send-keys -t t -l \"%s\"", keys[i].bytes));
            if (keys[i].key && strcmp(keys[i].key, "Enter") == 0)
                PROMPT(&p);
            struct timespec moment = {.tv_nsec = 20000000};
            nanosleep(&moment, NULL);
            pty_wait_lines(&p, 0);
            if (keys[i].key)
                compare_screens(&p, keys[i].key, true);
        }
        static const size_t sizes[] = {33, 21, 120};
        for (size_t i = 0; widths[w] == WIDTH && i < sizeof sizes / sizeof *sizes; i++) {
            pty_resize(&p, sizes[i], HEIGHT);
            free(tmux("resize-window -t t -x %zu -y %d", sizes[i], HEIGHT));
            wait_for_tmux_size(sizes[i]);
            compare_screens(&p, "a resize", false);
            pty_send(&p, "!");
            free(tmux("send-keys -t t -l !"));
            compare_screens(&p, "a key after a resize", false);
        }
        free(tmux("kill-server"));
        pty_send(&p, "\x03");
        leave(&p);
    }
}
