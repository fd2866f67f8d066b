/* signum chat through a pipe and in its files: what is evaluated, kept, forgotten, resumed and
 * killed. */
#include "chat_person.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"

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
    enum {
        TURNS = 8
    };
    for (int i = 0; i < TURNS; i++)
        buf_puts(&input, "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen\\n/stats\\n");
    char *out = chat_piped(chat_home(), "-c 4096 -n 30 --ignore-eos", input.data, NULL);
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
    chat_start(&p, 200, chat_home(), WITH("-c", "4096", "-n", "30", "--ignore-eos"));
    bool once = false;
    for (int i = 0; i < 5 && !once; i++) {
        chat_enter(&p, "one two three four five six seven eight nine ten");
        PROMPT(&p);
        struct timespec moment = {.tv_nsec = 200000000};
        nanosleep(&moment, NULL);
        pty_send(&p, "\x0C");
        chat_enter(&p, "/stats");
        EXPECT(&p, ", process ");
        char *all = chat_screen(&p);
        size_t read = number_after(all, "prompt      ");
        if (i == 0)
            first = read;
        once = i > 0 && read <= first;
        free(all);
    }
    CHECK(once);
    chat_leave(&p);
}

/* Text of the i-th message of the latest session. */
static char *message_of(const char *home, size_t i)
{
    struct conversation c = chat_talk(home);
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
    snprintf(plain, sizeof plain, "%s", chat_home());
    snprintf(undone, sizeof undone, "%s", chat_home());
    free(chat_piped(plain, "", "first\\nthird\\n", NULL));
    free(chat_piped(undone, "", "first\\nsecond\\n/regen\\n/undo\\nthird\\n", NULL));
    CHECK(same_message(plain, 1, undone, 1) && same_message(plain, 3, undone, 3));
    /* More turns than there are: all go, and it is an error, whatever -q keeps silent. */
    for (int n = 1; n <= 3; n++) {
        char input[64];
        int status;
        snprintf(input, sizeof input, "first\\nsecond\\n/undo %d\\n", n);
        snprintf(home, sizeof home, "%s", chat_home());
        free(chat_piped(home, "-q", input, &status));
        CHECKF(status == (n > 2), "/undo %d of 2 ends with %d", n, status);
        struct conversation c = chat_talk(home);
        CHECKF(c.n == (n == 1 ? 2 : 0), "/undo %d of 2 leaves %zu messages", n, c.n);
        conversation_free(&c);
    }
    /* Another attempt is another answer; undone and asked again it is the first one again. */
    snprintf(home, sizeof home, "%s", chat_home());
    free(chat_piped(home, "", "first\\n/regen\\n", NULL));
    CHECK(!same_message(plain, 1, home, 1));
    /* In a fresh process, with and without its cache. */
    static const char *const caches[] = {"-C", "-C --resume-cache 0"};
    for (size_t i = 0; i < 2; i++) {
        char parts[512];
        snprintf(parts, sizeof parts, "%s", chat_home());
        free(chat_piped(parts, "", "first\\n", NULL));
        free(chat_piped(parts, caches[i], "third\\n", NULL));
        CHECK(same_message(plain, 3, parts, 3));
    }
    /* The same with --spec, which only changes the speed. */
    snprintf(home, sizeof home, "%s", chat_home());
    free(chat_piped(home, "--spec ngram", "first\\nthird\\n", NULL));
    CHECK(same_message(plain, 3, home, 3));
    /* What /continue adds belongs to the same answer. */
    snprintf(home, sizeof home, "%s", chat_home());
    free(chat_piped(home, "-n 6", "first\\n/continue\\n", NULL));
    struct conversation c = chat_talk(home);
    CHECK(c.n == 2 && c.messages[1].cut);
    conversation_free(&c);
}

TEST(chat_resumes)
{
    if (!pty_available())
        return;
    char home[512], path[700];
    snprintf(home, sizeof home, "%s", chat_home());
    struct pty p;
    chat_start(&p, WIDTH, home, WITH("--session", "kept", "-n", "60", "--ignore-eos"));
    chat_enter(&p, "a first question that needs some tokens to be told");
    PROMPT(&p);
    chat_leave(&p);
    snprintf(path, sizeof path, "%s/kv/kept.kv", home);
    struct stat info;
    CHECK(stat(path, &info) == 0 && (info.st_mode & 0777) == 0600);
    chat_start(&p, WIDTH, home, WITH("-C", "-v"));
    EXPECT(&p, "resumed from the cache");
    PROMPT(&p);
    /* Nobody else may have it now. */
    struct pty q;
    chat_start(&q, WIDTH, home, WITH("-C"));
    EXPECT(&q, "is open in another chat");
    int status = pty_wait_end(&q);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1 && pty_restored(&q));
    pty_end(&q);
    chat_leave(&p);
    /* A damaged cache costs time only. */
    FILE *f = fopen(path, "r+");
    CHECK(f && fseek(f, 300, SEEK_SET) == 0 && fputs("damage", f) > 0 && fclose(f) == 0);
    chat_start(&p, WIDTH, home, WITH("-C", "-v"));
    EXPECT(&p, "is damaged");
    EXPECT(&p, "session kept: 1 turn");
    chat_leave(&p);
    /* The folder has a limit: 1 MiB holds some 500 positions of this model. */
    for (int i = 0; i < 4; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        chat_start(&p, WIDTH, home, WITH("--session", name, "-n", "100", "--ignore-eos", "--resume-cache", "1"));
        chat_enter(&p, "hello");
        PROMPT(&p);
        chat_leave(&p);
    }
    size_t total = 0;
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/kv/s%d.kv", home, i);
        total += stat(path, &info) == 0 ? (size_t)info.st_size : 0;
    }
    CHECKF(total > 0 && total <= 1 << 20, "%zu bytes of caches", total);
    /* Nothing at all is kept when that is asked for. */
    const char *empty = chat_home();
    free(chat_piped(empty, "--no-save", "hello\\n", NULL));
    CHECK(stat(empty, &info) != 0);
}

TEST(chat_fills_its_context)
{
    if (!pty_available())
        return;
    struct pty p;
    char home[512];
    snprintf(home, sizeof home, "%s", chat_home());
    chat_start(&p, WIDTH, home, WITH("-c", "160", "-n", "20", "--ignore-eos"));
    chat_enter(&p, "/system be brief");
    for (int i = 0; i < 5; i++)
        chat_enter(&p, "one two three four five");
    EXPECT(&p, "dropped from it");
    PROMPT(&p);
    chat_enter(&p, "/ctx");
    EXPECT(&p, "the oldest ");
    chat_enter(&p, "/set n 100");
    chat_enter(&p, "so that the status is seen");
    EXPECT(&p, "%] > ");
    struct buf longer = {0};
    buf_puts(&longer, "\x1B[200~");
    for (int i = 0; i < 100; i++)
        buf_puts(&longer, "a long paste ");
    buf_puts(&longer, "\x1B[201~");
    chat_enter(&p, longer.data);
    EXPECT(&p, "this is too long: with it the conversation has ");
    buf_free(&longer);
    chat_leave(&p);
    struct conversation c = chat_talk(home);
    CHECK(conversation_turns(&c) == 6 && c.first > 0 && c.has_system);
    conversation_free(&c);
    /* A long answer: older turns go in its middle. */
    chat_start(&p, WIDTH, chat_home(), WITH("-c", "200", "-n", "40", "--ignore-eos"));
    chat_enter(&p, "one two three");
    PROMPT(&p);
    chat_enter(&p, "/set n 130");
    chat_enter(&p, "four five six");
    EXPECT(&p, "stopped at the limit of 130");
    EXPECT(&p, "dropped from it");
    chat_leave(&p);
    /* Or the answer ends there. */
    chat_start(&p, WIDTH, chat_home(), WITH("-c", "100", "-n", "-1", "--ignore-eos", "--no-loop-guard", "--ctx-full", "stop"));
    chat_enter(&p, "one two three");
    EXPECT(&p, "stopped: the context of 100 tokens is full");
    chat_enter(&p, "four five six");
    EXPECT(&p, "the context of 100 tokens is full, by ");
    PROMPT(&p);
    chat_leave(&p);
}

/* No prompt, no codes, and still nothing dangerous. */
TEST(chat_plain)
{
    if (!pty_available())
        return;
    struct pty p;
    setenv("SIGNUM_TEST_TERM", "dumb", 1);
    chat_start(&p, WIDTH, chat_home(), WITH("-n", "40"));
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
    chat_start(&p, WIDTH, chat_home(), NULL);
    chat_enter(&p, "hello");
    PROMPT(&p);
    chat_leave(&p);
    chat_start(&p, WIDTH, chat_home(), NULL);
    PROMPT(&p);
    CHECK(!strstr(p.log, "\x1B[2m") && !strstr(p.log, "\x1B[0m"));
    chat_leave(&p);
    chat_start(&p, WIDTH, chat_home(), WITH("--color", "on"));
    PROMPT(&p);
    CHECK(strstr(p.log, "\x1B[2m"));
    chat_leave(&p);
    unsetenv("NO_COLOR");
    chat_start(&p, WIDTH, chat_home(), WITH("--color", "off"));
    PROMPT(&p);
    CHECK(!strstr(p.log, "\x1B[2m") && !strstr(p.log, "\x1B[0m"));
    chat_leave(&p);
    /* A pipe: the answer and nothing else; bytes as they are; lines with CR LF. */
    char *crlf, *lf;
    int code;
    crlf = chat_piped(chat_home(), "--no-save", "hello\\r\\n\\r\\n", &code);
    lf = chat_piped(chat_home(), "--no-save", "hello", NULL);
    CHECK(code == 0 && strcmp(crlf, lf) == 0 && !strchr(lf, 0x1B));
    free(crlf);
    free(lf);
    free(chat_piped(chat_home(), "--no-save", "/regen\\n", &code));
    CHECK(code == 1);
    free(chat_piped(chat_home(), "--no-such-flag", "", &code));
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
        snprintf(home, sizeof home, "%s", chat_home());
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
            execl(pty_program(), "signum", "chat", "-m", chat_model(), "-s", "1", "-t", "1", "-n", "30", (char *)NULL);
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
        struct conversation c = chat_talk(home);
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
