#include "chat_person.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "buf.h"

const char *chat_model(void)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s", test_path("models/q1-tied.gguf"));
    return path;
}

const char *chat_home(void)
{
    static char path[512];
    static int n;
    snprintf(path, sizeof path, "%s/home%d", test_tmp(), n++);
    return path;
}

void chat_start(struct pty *p, size_t width, const char *home, const char *const *more)
{
    const char *arguments[32] = {"-m", chat_model(), "-s", "1", "-t", "1", "-n", "12", NULL};
    size_t n = 8;
    while (more && *more)
        arguments[n++] = *more++;
    arguments[n] = NULL;
    pty_start(p, width, HEIGHT, home, arguments);
}

char *chat_screen(struct pty *p) { return vt_text(&p->vt, true); }

void chat_enter(struct pty *p, const char *line)
{
    PROMPT(p);
    pty_send(p, line);
    pty_send(p, "\r");
}

void chat_leave(struct pty *p)
{
    chat_enter(p, "/exit");
    int status = pty_wait_end(p);
    CHECKF(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x\n%s", (unsigned)status, p->log);
    CHECK(pty_restored(p));
    CHECKF(p->vt.hazards == 0, "%zu codes that nobody should send", p->vt.hazards);
    pty_end(p);
}

bool same_letters(const char *a, const char *b)
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

char *chat_piped(const char *home, const char *options, const char *input, int *status)
{
    struct buf command = {0}, out = {0};
    buf_printf(&command, "printf '%s' | SIGNUM_HOME='%s' '%s' chat -m '%s' -s 1 -t 1 -n 12 %s 2>/dev/null", input, home, pty_program(),
               chat_model(), options);
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

const char *chat_session(const char *home)
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

struct conversation chat_talk(const char *home)
{
    char folder[600];
    struct conversation c = {0};
    struct transcript t;
    struct sg_error err = {0};
    snprintf(folder, sizeof folder, "%s/sessions", home);
    if (CHECKF(transcript_open(&t, folder, chat_session(home), "m", &c, &err) == SG_OK, "%s", err.message)) {
        CHECK(t.skipped == 0);
        transcript_close(&t);
    }
    return c;
}
