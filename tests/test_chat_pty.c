/* signum chat as a person has it: on a terminal, with keys, signals and a small model whose
 * random weights write noise (which is what a terminal must be protected from). */
#include "chat_person.h"

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
#include "signum.h"

TEST(chat_first_minute)
{
    if (!pty_available())
        return;
    struct pty p;
    chat_start(&p, WIDTH, chat_home(), NULL);
    EXPECT(&p, "golden q1-tied");
    chat_enter(&p, "/help");
    EXPECT(&p, "/raw ");
    PROMPT(&p);
    CHECKF(p.vt.n_lines <= p.vt.top + HEIGHT, "help fits");
    char *first = vt_line_text(&p.vt, p.vt.top);
    CHECKF(strncmp(first, "/help", 5) == 0, "the list fits a screen, but its first line is \"%s\"", first);
    free(first);
    chat_enter(&p, "/help undo");
    EXPECT(&p, "take back the last turn");
    chat_enter(&p, "/hlep");
    EXPECT(&p, "did you mean /help?");
    chat_enter(&p, "");
    chat_enter(&p, "   ");
    chat_leave(&p);
    /* Without a model a sentence says how to get one. */
    chat_start(&p, WIDTH, chat_home(), WITH("-m", "/nowhere.gguf"));
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
    char *raw = chat_piped(chat_home(), "-n 60", question, &status);
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
        chat_start(&p, widths[i], chat_home(), WITH("-n", "60"));
        chat_enter(&p, question);
        EXPECT(&p, "/continue goes on");
        PROMPT(&p);
        char *all = chat_screen(&p), *from = strstr(all, "something"), *to = strstr(all, "stopped at the limit");
        CHECK(from && to);
        if (from && to) {
            *to = 0;
            CHECKF(same_letters(from + 9, expected.data), "width %zu: \"%s\", expected \"%s\"", widths[i], from + 9, expected.data);
        }
        free(all);
        chat_leave(&p);
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
        chat_start(&p, widths[w], chat_home(), NULL);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            chat_enter(&p, cases[i].keys);
            PROMPT(&p);
            pty_send(&p, "\x0C"); /* a clear screen, so that only the answer is on it */
            chat_enter(&p, "/system");
            char expected[256];
            snprintf(expected, sizeof expected, "> /system\n%s\n>", cases[i].text);
            EXPECT(&p, expected);
        }
        /* History: up, search, and what the file keeps. */
        chat_enter(&p, "/system remember me");
        chat_enter(&p, "/ctx");
        PROMPT(&p);
        pty_send(&p, "\x1B[A\x1B[A");
        EXPECT(&p, "> /system remember me");
        pty_send(&p, "\x1B[B");
        pty_send(&p, "\x12"
                     "member");
        EXPECT(&p, "(search: member) /system remember me");
        pty_send(&p, "\x1B");
        PROMPT(&p);
        chat_leave(&p);
    }
}

TEST(chat_commands)
{
    if (!pty_available())
        return;
    struct pty p;
    char file[600], keys[1400];
    const char *home = chat_home();
    snprintf(file, sizeof file, "%s/a file.txt", test_tmp());
    FILE *f = fopen(file, "w");
    fputs("some text with ``` in it\n", f);
    fclose(f);
    chat_start(&p, WIDTH, home, NULL);
    chat_enter(&p, "/regen");
    EXPECT(&p, "there is nothing to answer yet");
    chat_enter(&p, "/undo");
    EXPECT(&p, "there is nothing to take back");
    chat_enter(&p, "/continue");
    EXPECT(&p, "there is no answer to go on with");
    chat_enter(&p, "/raw");
    EXPECT(&p, "there is no answer yet");
    chat_enter(&p, "first question");
    EXPECT(&p, "/continue goes on");
    chat_enter(&p, "/continue");
    PROMPT(&p);
    chat_enter(&p, "/regen --temp 1.5");
    PROMPT(&p);
    chat_enter(&p, "/show temp");
    EXPECT(&p, "(the model's default)");
    chat_enter(&p, "/set tepm 1");
    EXPECT(&p, "did you mean temp?");
    chat_enter(&p, "/set temp 2");
    EXPECT(&p, "temp is 2");
    chat_enter(&p, "/set temp warm");
    EXPECT(&p, "not \"warm\"");
    chat_enter(&p, "/set ctx-size 5");
    EXPECT(&p, "ctx-size can only be given at the start");
    chat_enter(&p, "/raw");
    EXPECT(&p, "  ");
    chat_enter(&p, "/copy");
    EXPECT(&p, "clipboard");
    CHECK(p.vt.clipboard[0] != 0);
    chat_enter(&p, "/think count");
    EXPECT(&p, "thinking is counted");
    chat_enter(&p, "/think 40");
    EXPECT(&p, "think-budget is 40");
    chat_enter(&p, "/nothink");
    EXPECT(&p, "think is off");
    chat_enter(&p, "/think");
    EXPECT(&p, "thinking: off, at most 40 tokens, display: count");
    chat_enter(&p, "/stats");
    EXPECT(&p, "tok/s");
    chat_enter(&p, "/ctx");
    EXPECT(&p, "of 1024 tokens");
    snprintf(keys, sizeof keys, "/read %s", file);
    chat_enter(&p, keys);
    EXPECT(&p, "goes before your next message");
    chat_enter(&p, "second question");
    PROMPT(&p);
    chat_enter(&p, "/save a name");
    EXPECT(&p, "this session is now a name");
    chat_enter(&p, "/list");
    EXPECT(&p, "* a name");
    chat_enter(&p, "/undo");
    EXPECT(&p, "took back 1 turn; 1 is left");
    chat_enter(&p, "/clear");
    EXPECT(&p, "the old one is kept as a name");
    chat_enter(&p, "third question");
    PROMPT(&p);
    chat_enter(&p, "/load a n\t"); /* completes, with its blanks */
    EXPECT(&p, "session a name: 1 turn");
    snprintf(keys, sizeof keys, "/export jsonl %s/out.jsonl", test_tmp());
    chat_enter(&p, keys);
    EXPECT(&p, "written to");
    chat_enter(&p, keys);
    EXPECT(&p, "can not be written");
    chat_enter(&p, "/export md");
    EXPECT(&p, "**Assistant**");
    snprintf(keys, sizeof keys, "/glob %s/no*where", test_tmp());
    chat_enter(&p, keys);
    EXPECT(&p, "no file matches");
    snprintf(keys, sizeof keys, "/glob %s/a*.txt", test_tmp());
    chat_enter(&p, keys);
    EXPECT(&p, "1 of 1 files read");
    chat_leave(&p);
    snprintf(file, sizeof file, "%s/out.jsonl", test_tmp());
    f = fopen(file, "r");
    char line[64] = "";
    CHECK(f && fgets(line, sizeof line, f) && strncmp(line, "{\"messages\":[{\"role\":\"user\",\"content\":\"first question\"}", 55) == 0);
    if (f)
        fclose(f);
    /* And everything is there the next time. */
    chat_start(&p, WIDTH, home, WITH("--session", "a name"));
    EXPECT(&p, "session a name: 1 turn");
    EXPECT(&p, "> first question");
    chat_leave(&p);
    chat_start(&p, WIDTH, home, WITH("-C"));
    EXPECT(&p, "session ");
    chat_leave(&p);
}

/* The editor is a script that says what it was given and writes something else. */
TEST(chat_editor)
{
    if (!pty_available())
        return;
    char script[600];
    const char *home = chat_home();
    snprintf(script, sizeof script, "%s/editor.sh", test_tmp());
    FILE *f = fopen(script, "w");
    fputs("#!/bin/sh\nread -r line < \"$1\"\nprintf 'edited %s\\nand more\\n' \"$line\" > \"$1\"\n", f);
    fclose(f);
    chmod(script, 0700);
    setenv("VISUAL", script, 1);
    struct pty p;
    chat_start(&p, WIDTH, home, NULL);
    PROMPT(&p);
    pty_send(&p, "/system typed\x07");
    EXPECT(&p, "> edited /system typed\n. and more");
    pty_send(&p, "\x03");
    chat_enter(&p, "my question");
    PROMPT(&p);
    chat_enter(&p, "/edit");
    EXPECT(&p, "> edited my question\nand more");
    PROMPT(&p);
    setenv("VISUAL", "false", 1);
    chat_leave(&p);
    struct conversation c = chat_talk(home);
    CHECK(conversation_turns(&c) == 1 && c.n > 0 && strcmp(c.messages[0].content.data, "edited my question\nand more") == 0);
    conversation_free(&c);
    chat_start(&p, WIDTH, chat_home(), NULL);
    PROMPT(&p);
    pty_send(&p, "text\x07");
    EXPECT(&p, "names another)\n> text");
    pty_send(&p, "\x15");
    chat_leave(&p);
    unsetenv("VISUAL");
}

TEST(chat_interrupt)
{
    if (!pty_available())
        return;
    struct pty p;
    const char *home = chat_home();
    chat_start(&p, WIDTH, home, WITH(ENDLESS));
    chat_enter(&p, "go on for ever");
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
    struct conversation c = chat_talk(home);
    CHECK(c.n == 2 && c.messages[1].cut && c.messages[1].content.len > 0);
    conversation_free(&c);
    chat_start(&p, WIDTH, home, NULL);
    PROMPT(&p);
    pty_send(&p, "\x04");
    status = pty_wait_end(&p);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0 && pty_restored(&p));
    pty_end(&p);
}

/* Whatever ends the program, in whatever it is doing: the terminal is as before, the parent
 * sees the signal, and the transcript has what was said. */
enum doing {
    AT_PROMPT,
    TYPING,
    WRITING,
    SEARCHING,
    STOPPED,
    EDITING,
    DOINGS
};
static const char *const doing_names[] = {"at the prompt", "typing", "writing", "searching", "stopped", "in the editor"};

static void get_to(struct pty *p, enum doing doing)
{
    chat_enter(p, "hello there");
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
            const char *home = chat_home();
            chat_start(&p, WIDTH, home, WITH(ENDLESS));
            get_to(&p, (enum doing)doing);
            kill(p.program, signals[s]);
            if (doing == STOPPED)
                pty_continue(&p);
            int status = pty_wait_end(&p);
            CHECKF(WIFSIGNALED(status) && WTERMSIG(status) == signals[s], "signal %d %s: status %x", signals[s], doing_names[doing],
                   (unsigned)status);
            CHECKF(pty_restored(&p), "signal %d %s", signals[s], doing_names[doing]);
            pty_end(&p);
            struct conversation c = chat_talk(home);
            CHECKF(c.n == 2 && strcmp(c.messages[0].content.data, "hello there") == 0 && c.messages[1].content.len > 0,
                   "signal %d %s: %zu messages", signals[s], doing_names[doing], c.n);
            conversation_free(&c);
        }
    }
    unsetenv("VISUAL");
    /* SIGINT from elsewhere is ^C. */
    struct pty p;
    chat_start(&p, WIDTH, chat_home(), WITH(ENDLESS));
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
    /* A crash turns off colours that a setting turned on, and none that were never on. */
    static const char reset[] = "\x1B[0m";
    for (int on = 0; on < 2; on++) {
        chat_start(&p, WIDTH, chat_home(), WITH("--color", "off"));
        chat_enter(&p, on ? "/set color on" : "/set color off");
        EXPECT(&p, on ? "color is on" : "color is off");
        PROMPT(&p);
        kill(p.program, SIGABRT);
        status = pty_wait_end(&p);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && pty_restored(&p));
        bool ends = p.log_len >= strlen(reset) && memcmp(p.log + p.log_len - strlen(reset), reset, strlen(reset)) == 0;
        CHECKF(ends == on, "%s", p.log);
        pty_end(&p);
    }
    /* The terminal goes away. */
    const char *home = chat_home();
    chat_start(&p, WIDTH, home, WITH(ENDLESS));
    get_to(&p, WRITING);
    pty_end(&p);
    /* kill -9 can not be answered, but a shell resets the terminal; the transcript opens. */
    home = chat_home();
    chat_start(&p, WIDTH, home, WITH(ENDLESS));
    get_to(&p, WRITING);
    kill(p.program, SIGKILL);
    status = pty_wait_end(&p);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    pty_end(&p);
    struct conversation c = chat_talk(home);
    CHECK(c.n == 1);
    conversation_free(&c);
}

TEST(chat_stops)
{
    if (!pty_available())
        return;
    struct pty p;
    chat_start(&p, WIDTH, chat_home(), WITH(ENDLESS));
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
    chat_enter(&p, "/system");
    EXPECT(&p, "> /system\ntyped \xE6\xBC\xA2 before and after");
    chat_enter(&p, "write");
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
    chat_leave(&p);
}

TEST(chat_resizes)
{
    if (!pty_available())
        return;
    static const size_t widths[] = {80, 20, 33, 200, 80};
    struct pty p;
    const char *text = "a text of some words, \xE6\xBC\xA2\xE5\xAD\x97\xE6\xBC\xA2\xE5\xAD\x97 among them, that is long enough to need "
                       "several rows when the window is narrow";
    chat_start(&p, WIDTH, chat_home(), NULL);
    PROMPT(&p);
    pty_send(&p, text);
    EXPECT(&p, "is narrow");
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        pty_resize(&p, widths[i], HEIGHT);
        char expected[300];
        pty_send(&p, "!");
        snprintf(expected, sizeof expected, "> %s%.*s", text, (int)i + 1, "!!!!!");
        EXPECT(&p, expected);
        char *all = chat_screen(&p);
        CHECKF(strstr(all, "> a text") == strrchr(all, '>'), "width %zu, drawn twice:\n%s", widths[i], all);
        free(all);
    }
    pty_send(&p, "\x15");
    PROMPT(&p);
    chat_leave(&p);
}

/* A model that always wants to think: what it thinks is dimmed, counted or hidden, closed when the
 * budget is spent, kept in the transcript, and never on a pipe. */
TEST(chat_thinks)
{
    if (!pty_available())
        return;
    struct sg_engine *e = NULL;
    struct sg_options o = {.model_path = chat_model(), .weights_unneeded = true};
    char bias[32], options[128], home[512];
    if (!CHECK(sg_open(&e, &o, NULL) == SG_OK))
        return;
    snprintf(bias, sizeof bias, "%d+1000", sg_special_id(e, "<think>"));
    sg_close(e);
    snprintf(home, sizeof home, "%s", chat_home());
    struct pty p;
    chat_start(&p, WIDTH, home, WITH("-l", bias, "--think-budget", "5", "-n", "2", "--no-loop-guard"));
    chat_enter(&p, "think of something");
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
    chat_enter(&p, "/think count");
    chat_enter(&p, "again");
    EXPECT(&p, "(thought: ");
    PROMPT(&p);
    chat_enter(&p, "/think hide");
    EXPECT(&p, "thinking is hidden");
    chat_enter(&p, "and again");
    PROMPT(&p);
    chat_enter(&p, "/think on");
    EXPECT(&p, "think is on");
    chat_leave(&p);
    struct conversation c = chat_talk(home);
    CHECK(c.n == 6 && c.messages[1].has_reasoning && strncmp(c.messages[1].reasoning.data, "<think>", 7) == 0);
    conversation_free(&c);
    snprintf(options, sizeof options, "--no-save -l %s --think-budget 30 -n 1 --no-loop-guard", bias);
    char *out = chat_piped(chat_home(), options, "think", NULL);
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
        {"a text \xE6\xBC\xA2\xE5\xAD\x97\xE6\xBC\xA2\xE5\xAD\x97 of many words, \xF0\x9F\x98\x80 that needs more than one row "
         "\xC3\xA4\xC3\xB6\xC3\xBC",
         NULL},
        {"\x01", "C-a"},
        {"\x1B"
         "f",
         "M-f"},
        {"\x1B"
         "f",
         "M-f"},
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
        chat_start(&p, widths[w], chat_home(), WITH("-n", "40"));
        PROMPT(&p);
        free(tmux("start-server \\; set -g status off \\; new-session -d -s t -x %zu -y %d "
                  "\"env -u SIGNUM_MODEL SIGNUM_HOME='%s' '%s' chat -m '%s' -s 1 -t 1 -n 12 -n 40\"",
                  widths[w], HEIGHT, chat_home(), pty_program(), chat_model()));
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
        chat_leave(&p);
    }
}
