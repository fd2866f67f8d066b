/* Conversations and the files they are kept in: what is read back is what was said, also
 * after a crash, a full disk, and while another chat looks on. */
#include "check.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/conversation.h"
#include "cli/transcript.h"

static bool same(const struct conversation *a, const struct conversation *b)
{
#define SAME_TEXT(x, y) ((x).len == (y).len && ((x).len == 0 || memcmp((x).data, (y).data, (x).len) == 0))
    bool ok = a->n == b->n && a->first == b->first && a->has_system == b->has_system && a->attempt == b->attempt &&
              SAME_TEXT(a->system, b->system);
    for (size_t i = 0; ok && i < a->n; i++) {
        const struct message *x = &a->messages[i], *y = &b->messages[i];
        ok = x->from_user == y->from_user && SAME_TEXT(x->content, y->content) && SAME_TEXT(x->reasoning, y->reasoning) &&
             x->has_reasoning == y->has_reasoning && x->cut == y->cut && x->attempt == y->attempt;
    }
    return ok;
}

static size_t file_size(const char *folder, const char *name)
{
    char path[512];
    struct stat info;
    snprintf(path, sizeof path, "%s/%s.jsonl", folder, name);
    return stat(path, &info) == 0 ? (size_t)info.st_size : 0;
}

static void ask(struct transcript *t, struct conversation *c, const char *text)
{
    conversation_add(c, true, text, strlen(text));
    CHECK(transcript_question(t, c, NULL) == SG_OK);
}

static void answer(struct transcript *t, struct conversation *c, const char *text, const char *reasoning, const char *finish)
{
    struct message *m = conversation_add(c, false, text, strlen(text));
    m->cut = strcmp(finish, "stop") != 0;
    m->has_reasoning = reasoning != NULL;
    if (reasoning)
        buf_puts(&m->reasoning, reasoning);
    CHECK(transcript_answered(t, c, &(struct transcript_answer){.finish = finish, .seed = 7, .tokens = 3}, NULL) == SG_OK);
}

static const char *folder(void)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/sessions", test_tmp());
    mkdir(path, 0700);
    return path;
}

static struct conversation reopened(const char *name)
{
    struct conversation c = {0};
    struct transcript t;
    struct sg_error err = {0};
    CHECKF(transcript_open(&t, folder(), name, "m", &c, &err) == SG_OK, "%s", err.message);
    CHECK(t.skipped == 0 && !t.repaired);
    transcript_close(&t);
    return c;
}

TEST(conversation)
{
    struct conversation c = {0};
    CHECK(conversation_undo(&c, 1) == 0 && !conversation_drop_answer(&c) && conversation_forget(&c, 1) == 0);
    conversation_set_system(&c, "", 0);
    CHECK(c.has_system);
    for (int i = 0; i < 5; i++) {
        conversation_add(&c, true, "q", 1);
        conversation_add(&c, false, "a", 1);
    }
    CHECK(conversation_turns(&c) == 5 && conversation_answer(&c) && !conversation_question(&c));
    CHECK(conversation_forget(&c, 2) == 2 && c.first == 4 && conversation_live_turns(&c) == 3);
    CHECK(conversation_drop_answer(&c) && c.n == 9 && c.attempt == 1 && conversation_question(&c));
    CHECK(!conversation_drop_answer(&c));
    conversation_add(&c, false, "b", 1);
    CHECK(c.messages[9].attempt == 1);
    CHECK(conversation_drop_answer(&c) && c.attempt == 2);
    CHECK(conversation_undo(&c, 2) == 2 && c.n == 6 && c.attempt == 0);
    CHECK(c.first == 4);
    CHECK(conversation_undo(&c, 2) == 2 && c.n == 2 && c.first == 0); /* what was forgotten has room again */
    CHECK(conversation_forget(&c, 2) == 0);
    CHECK(conversation_undo(&c, 2) == 1 && c.n == 0 && c.first == 0 && c.has_system);
    conversation_free(&c);
}

TEST(transcript_replays)
{
    struct conversation c = {0};
    struct transcript t;
    transcript_begin(&t, folder(), "one", "a \"model\"");
    conversation_set_system(&c, "be brief", 8);
    CHECK(transcript_system(&t, &c, NULL) == SG_OK);
    CHECK(file_size(folder(), "one") == 0); /* nothing was said yet */
    ask(&t, &c, "hello\n\"world\"\t\x01 \xE6\xBC\xA2");
    answer(&t, &c, "hi", "they greet", "stop");
    ask(&t, &c, "tell me more");
    answer(&t, &c, "well, it", NULL, "length");
    struct message *m = conversation_answer(&c);
    size_t from = m->content.len;
    buf_puts(&m->content, " goes on");
    m->cut = false;
    CHECK(transcript_answered(&t, &c, &(struct transcript_answer){.continues = true, .content_from = from, .finish = "stop"}, NULL) ==
          SG_OK);
    struct conversation again = {0};
    struct transcript other;
    struct sg_error err = {0};
    /* Somebody else has it open: not even another process can. */
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(transcript_open(&other, folder(), "one", "m", &again, &err) == SG_FAIL ? 0 : 1);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    transcript_close(&t);
    struct conversation read = reopened("one");
    CHECK(same(&c, &read));
    CHECK(strcmp(read.messages[3].content.data, "well, it goes on") == 0);
    conversation_free(&read);
    /* And it goes on after it was opened. */
    CHECK(transcript_open(&t, folder(), "one", "m", &again, &err) == SG_OK);
    conversation_drop_answer(&c);
    conversation_drop_answer(&again);
    CHECK(transcript_event(&t, &again, "regen", 0, NULL) == SG_OK);
    CHECK(same(&c, &again));
    transcript_close(&t);
    read = reopened("one");
    CHECK(same(&c, &read));
    conversation_free(&read);
    conversation_free(&again);
    conversation_free(&c);
    CHECK(transcript_open(&t, folder(), "none", "m", &c, &err) == SG_FAIL && strstr(err.message, "no session"));
    CHECK(transcript_open(&t, folder(), "../one", "m", &c, &err) == SG_USAGE);
    static const char *const bad[] = {"", ".", "..", ".hidden", "a/b", "-x", "a\nb", "\xFF", "\x1B[0m"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(session_name_check(bad[i], NULL) == SG_USAGE);
    CHECK(session_name_check("my talk \xE6\xBC\xA2", NULL) == SG_OK);
}

/* Anything in any order, read back after every step. */
TEST(transcript_random)
{
    for (int round = 0; round < 6; round++) {
        char name[32];
        snprintf(name, sizeof name, "random %d", round);
        struct conversation c = {0};
        struct transcript t;
        transcript_begin(&t, folder(), name, "m");
        for (int step = 0; step < 25; step++) {
            size_t n = 1 + (size_t)test_below(3);
            switch (test_below(9)) {
            case 0:
            case 1:
            case 2:
                ask(&t, &c, "a question");
                break;
            case 3:
            case 4:
                if (c.n)
                    answer(&t, &c, "an answer", test_below(2) ? "thoughts" : NULL, test_below(2) ? "stop" : "interrupted");
                break;
            case 5:
                if ((n = conversation_undo(&c, n)) > 0)
                    CHECK(transcript_event(&t, &c, "undo", n, NULL) == SG_OK);
                break;
            case 6:
                if (conversation_drop_answer(&c))
                    CHECK(transcript_event(&t, &c, "regen", 0, NULL) == SG_OK);
                break;
            case 7:
                if ((n = conversation_forget(&c, n)) > 0)
                    CHECK(transcript_event(&t, &c, "forget", n, NULL) == SG_OK);
                break;
            case 8:
                conversation_set_system(&c, test_below(2) ? "system" : NULL, 6);
                CHECK(transcript_system(&t, &c, NULL) == SG_OK);
                break;
            }
            if (t.fd < 0)
                continue;
            /* A second look at the file needs the lock, so through a new session. */
            struct transcript copy = t;
            transcript_close(&t);
            struct conversation read = {0};
            CHECK(transcript_open(&copy, folder(), name, "m", &read, NULL) == SG_OK && copy.skipped == 0);
            CHECKF(same(&c, &read), "round %d step %d", round, step);
            conversation_free(&read);
            t = copy;
        }
        if (t.fd >= 0) {
            char other[40];
            snprintf(other, sizeof other, "%s copy", name);
            CHECK(transcript_save_as(&t, folder(), name, &c, NULL) == SG_USAGE);
            CHECK(transcript_save_as(&t, folder(), other, &c, NULL) == SG_OK);
            transcript_close(&t);
            struct conversation read = reopened(other);
            read.attempt = c.attempt; /* of an answer that is gone, known only to the older file */
            CHECK(same(&c, &read));
            conversation_free(&read);
        }
        transcript_close(&t);
        conversation_free(&c);
    }
}

/* Cut at every byte: what was whole is there, and new lines can follow. */
TEST(transcript_torn)
{
    struct conversation c = {0};
    struct transcript t;
    transcript_begin(&t, folder(), "torn", "m");
    ask(&t, &c, "one");
    answer(&t, &c, "two", NULL, "stop");
    size_t before = file_size(folder(), "torn");
    ask(&t, &c, "three");
    size_t after = file_size(folder(), "torn");
    transcript_close(&t);
    conversation_free(&c);
    char path[300], copy[300];
    snprintf(path, sizeof path, "%s/torn.jsonl", folder());
    snprintf(copy, sizeof copy, "%s/cut.jsonl", folder());
    FILE *f = fopen(path, "rb");
    char *data = malloc(after);
    CHECK(f && data && fread(data, 1, after, f) == after);
    fclose(f);
    for (size_t cut = before; cut <= after; cut++) {
        f = fopen(copy, "wb");
        CHECK(f && fwrite(data, 1, cut, f) == cut && fclose(f) == 0);
        CHECK(transcript_open(&t, folder(), "cut", "m", &c, NULL) == SG_OK);
        bool whole = cut + 1 >= after; /* only its newline is missing */
        CHECKF(c.n == (whole ? 3u : 2u), "cut at %zu of %zu: %zu messages", cut, after, c.n);
        CHECK(t.repaired == (cut != before && cut != after) && t.skipped == 0);
        ask(&t, &c, "four");
        transcript_close(&t);
        struct conversation read = reopened("cut");
        CHECK(same(&c, &read));
        conversation_free(&read);
        conversation_free(&c);
    }
    /* Foreign and damaged lines in the middle are passed over. */
    f = fopen(copy, "wb");
    fwrite(data, 1, before, f);
    fputs("{\"role\":\"tool\"}\n[1]\n\xFF\n{\"event\":\"undo\",\"turns\":99999999999999999999}\n{\"event\":\"undo\"}\n{\"role\":7}\n{"
          "\"event\":\"later\"}\n\n",
          f);
    fwrite(data + before, 1, after - before, f);
    fclose(f);
    CHECK(transcript_open(&t, folder(), "cut", "m", &c, NULL) == SG_OK && c.n == 3 && t.skipped == 8);
    transcript_close(&t);
    conversation_free(&c);
    free(data);
}

/* A full disk loses nothing that was written before, and all of it is there once there is room. */
TEST(transcript_full_disk)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct conversation c = {0}, read = {0};
        struct transcript t;
        char big[4096];
        memset(big, 'x', sizeof big);
        transcript_begin(&t, folder(), "full", "m");
        conversation_add(&c, true, "one", 3);
        bool ok = transcript_question(&t, &c, NULL) == SG_OK;
        size_t before = file_size(folder(), "full");
        signal(SIGXFSZ, SIG_IGN);
        struct rlimit limit;
        getrlimit(RLIMIT_FSIZE, &limit);
        rlim_t old = limit.rlim_cur;
        limit.rlim_cur = before + 100;
        setrlimit(RLIMIT_FSIZE, &limit);
        conversation_add(&c, false, big, sizeof big);
        struct sg_error err;
        ok &= transcript_answered(&t, &c, &(struct transcript_answer){.finish = "stop"}, &err) == SG_FAIL;
        ok &= file_size(folder(), "full") == before;
        limit.rlim_cur = old;
        setrlimit(RLIMIT_FSIZE, &limit);
        conversation_add(&c, true, "two", 3);
        ok &= transcript_question(&t, &c, NULL) == SG_OK;
        transcript_close(&t);
        ok &= transcript_open(&t, folder(), "full", "m", &read, NULL) == SG_OK && same(&c, &read);
        _exit(ok ? 0 : 1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

TEST(transcript_list)
{
    char place[300];
    struct session_entry *list;
    size_t n;
    snprintf(place, sizeof place, "%s/listed", test_tmp());
    CHECK(sessions_list(place, &list, &n, NULL) == SG_OK && n == 0);
    CHECK(setenv("SIGNUM_HOME", place, 1) == 0);
    struct buf home = {0};
    struct stat info;
    CHECK(state_folder(&home, "deeper/still", NULL) == SG_OK && stat(home.data, &info) == 0 && (info.st_mode & 0777) == 0700);
    buf_free(&home);
    unsetenv("SIGNUM_HOME");
    static const char *const texts[] = {"\n  What is this?\nMore.", "Second", "Third"};
    for (size_t i = 0; i < 3; i++) {
        struct conversation c = {0};
        struct transcript t;
        transcript_begin(&t, place, i ? NULL : "named", "m");
        ask(&t, &c, texts[i]);
        CHECK(t.name.len > 0);
        transcript_close(&t);
        conversation_free(&c);
    }
    CHECK(sessions_list(place, &list, &n, NULL) == SG_OK && n == 3);
    bool found = false;
    for (size_t i = 0; i < n; i++) {
        found |= strcmp(list[i].name, "named") == 0 && strcmp(list[i].title, "What is this?") == 0;
        char path[600];
        snprintf(path, sizeof path, "%s/%s.jsonl", place, list[i].name);
        CHECK(stat(path, &info) == 0 && (info.st_mode & 0777) == 0600);
        CHECK(i == 0 || list[i - 1].modified >= list[i].modified);
    }
    CHECK(found);
    sessions_free(list, n);
    static const struct {
        time_t age;
        const char *text;
    } ages[] = {{-5, "just now"},      {59, "just now"},     {60, "1 minute ago"},        {7199, "1 hour ago"},
                {7200, "2 hours ago"}, {86400, "1 day ago"}, {40 * 86400, "1 month ago"}, {800 * 86400, "2 years ago"}};
    for (size_t i = 0; i < sizeof ages / sizeof *ages; i++) {
        struct buf b = {0};
        put_age(&b, 1000000000 - ages[i].age, 1000000000);
        CHECKF(strcmp(b.data, ages[i].text) == 0, "%s", b.data);
        buf_free(&b);
    }
}
