/* signum chat as a person has it: on a terminal, with keys, signals and a small model whose
 * random weights write noise (which is what a terminal must be protected from). */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
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
enum doing { AT_PROMPT, TYPING, WRITING, SEARCHING, STOPPED, DOINGS };
static const char *const doing_names[] = {"at the prompt", "typing", "writing", "searching", "stopped"};

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
    static const int signals[] = {SIGTERM, SIGHUP, SIGQUIT};
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
