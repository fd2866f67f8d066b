#define _GNU_SOURCE /* posix_openpt and friends, TIOCSCTTY, TIOCSWINSZ */
#include "pty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    PATIENCE = 60
}; /* seconds: machines may be slow, and loaded */

const char *pty_program(void)
{
    static char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 8);
    if (n <= 0)
        abort();
    path[n] = 0;
    strcpy(strrchr(path, '/') + 1, "signum");
    return path;
}

bool pty_available(void)
{
    static int known = -1;
    if (known < 0) {
        char command[4200];
        snprintf(command, sizeof command, "'%s' --version >/dev/null 2>&1", pty_program());
        known = system(command) == 0;
        if (!known)
            fprintf(stderr, "tests of the chat are skipped: %s can not be run here\n", pty_program());
    }
    return known;
}

/* The shell: runs the program in a process group of its own in the foreground, tells what
 * becomes of it, and continues it when asked. */
static void shell(int slave, int control, int report, const char *home, const char *const *arguments)
{
    const char *argv[64] = {pty_program(), "chat"};
    size_t n = 2;
    while (*arguments && n < 62)
        argv[n++] = *arguments++;
    setsid();
    ioctl(slave, TIOCSCTTY, 0);
    signal(SIGTTOU, SIG_IGN);
    pid_t program = fork();
    if (program == 0) {
        setpgid(0, 0);
        tcsetpgrp(slave, getpid());
        signal(SIGTTOU, SIG_DFL);
        signal(SIGPIPE, SIG_DFL);
        dup2(slave, 0);
        dup2(slave, 1);
        dup2(slave, 2);
        close(control);
        close(report);
        setenv("SIGNUM_HOME", home, 1);
        setenv("TERM", getenv("SIGNUM_TEST_TERM") ? getenv("SIGNUM_TEST_TERM") : "xterm-256color", 1);
        unsetenv("SIGNUM_MODEL");
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    setpgid(program, program);
    tcsetpgrp(slave, program);
    struct {
        pid_t pid;
        int status;
    } message = {program, 0};
    if (write(report, &message, sizeof message) < 0)
        _exit(1);
    for (;;) {
        int status;
        if (waitpid(program, &status, WUNTRACED) < 0)
            _exit(1);
        tcsetpgrp(slave, getpid());
        message.status = status;
        if (write(report, &message, sizeof message) < 0 || !WIFSTOPPED(status))
            _exit(0);
        char byte;
        if (read(control, &byte, 1) != 1)
            _exit(0);
        tcsetpgrp(slave, program);
        kill(-program, SIGCONT);
    }
}

void pty_start(struct pty *p, size_t width, size_t height, const char *home, const char *const *arguments)
{
    int to_shell[2], from_shell[2];
    memset(p, 0, sizeof *p);
    vt_open(&p->vt, width, height);
    p->vt.onlcr = false; /* the tty driver does it */
    p->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (p->master < 0 || grantpt(p->master) != 0 || unlockpt(p->master) != 0)
        abort();
    p->slave = open(ptsname(p->master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct winsize size = {.ws_col = (unsigned short)width, .ws_row = (unsigned short)height};
    if (p->slave < 0 || ioctl(p->slave, TIOCSWINSZ, &size) != 0 || tcgetattr(p->slave, &p->before) != 0 || pipe(to_shell) != 0 ||
        pipe(from_shell) != 0)
        abort();
    fflush(NULL);
    p->shell = fork();
    if (p->shell == 0) {
        close(to_shell[1]);
        close(from_shell[0]);
        shell(p->slave, to_shell[0], from_shell[1], home, arguments);
    }
    close(to_shell[0]);
    close(from_shell[1]);
    p->control = to_shell[1];
    p->report = from_shell[0];
    struct {
        pid_t pid;
        int status;
    } message;
    if (read(p->report, &message, sizeof message) != sizeof message)
        abort();
    p->program = message.pid;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Takes what the program wrote and what became of it, waiting up to so many milliseconds. */
static void pump(struct pty *p, int timeout)
{
    char bytes[4096];
    struct pollfd fds[2] = {{.fd = p->master, .events = POLLIN}, {.fd = p->ended ? -1 : p->report, .events = POLLIN}};
    if (poll(fds, 2, timeout) <= 0)
        return;
    if (fds[0].revents) {
        ssize_t n = read(p->master, bytes, sizeof bytes);
        if (n > 0) {
            vt_write(&p->vt, bytes, (size_t)n);
            p->log = realloc(p->log, p->log_len + (size_t)n + 1);
            if (!p->log)
                abort();
            memcpy(p->log + p->log_len, bytes, (size_t)n);
            p->log_len += (size_t)n;
            p->log[p->log_len] = 0;
            return; /* first all that was written, then what became of it */
        }
    }
    if (fds[1].revents) {
        struct {
            pid_t pid;
            int status;
        } message;
        if (read(p->report, &message, sizeof message) != sizeof message) {
            p->ended = true;
        } else if (WIFSTOPPED(message.status)) {
            p->stopped = true;
        } else {
            p->ended = true;
            p->status = message.status;
        }
    }
}

void pty_send(struct pty *p, const char *keys)
{
    size_t n = strlen(keys);
    while (n > 0) {
        size_t piece = n < 256 ? n : 256; /* a tty takes some kilobytes at a time */
        ssize_t done = write(p->master, keys, piece);
        if (done > 0) {
            keys += done;
            n -= (size_t)done;
        }
        pump(p, 0);
    }
}

bool pty_wait(struct pty *p, const char *text)
{
    double end = now() + PATIENCE;
    for (;;) {
        char *screen = vt_text(&p->vt, true);
        bool found = strstr(screen, text) != NULL;
        free(screen);
        if (found)
            return true;
        if (p->ended || now() > end)
            return false;
        pump(p, 200);
    }
}

bool pty_wait_lines(struct pty *p, size_t n)
{
    double end = now() + PATIENCE;
    pump(p, 0);
    while (p->vt.top < n && !p->ended && now() < end)
        pump(p, 200);
    return p->vt.top >= n;
}

bool pty_wait_prompt(struct pty *p)
{
    double end = now() + PATIENCE;
    for (;;) {
        char *line = vt_line_text(&p->vt, vt_cursor_line(&p->vt));
        size_t n = strlen(line);
        bool there = p->vt.paste_mode && n > 0 && line[n - 1] == '>' && p->vt.col == n + 1;
        free(line);
        if (there)
            return true;
        if (p->ended || now() > end)
            return false;
        pump(p, 200);
    }
}

int pty_wait_end(struct pty *p)
{
    double end = now() + PATIENCE;
    while (!p->ended && now() < end)
        pump(p, 200);
    struct pollfd fd = {.fd = p->master, .events = POLLIN};
    while (poll(&fd, 1, 0) > 0 && (fd.revents & POLLIN))
        pump(p, 0);
    return p->ended ? p->status : -1;
}

bool pty_wait_stop(struct pty *p)
{
    double end = now() + PATIENCE;
    while (!p->stopped && !p->ended && now() < end)
        pump(p, 200);
    return p->stopped;
}

void pty_continue(struct pty *p)
{
    p->stopped = false;
    if (write(p->control, "c", 1) != 1)
        abort();
}

void pty_resize(struct pty *p, size_t width, size_t height)
{
    struct winsize size = {.ws_col = (unsigned short)width, .ws_row = (unsigned short)height};
    /* What is on its way belongs to the old size. */
    double end = now() + 0.05;
    while (now() < end)
        pump(p, 10);
    vt_resize(&p->vt, width, height);
    ioctl(p->master, TIOCSWINSZ, &size); /* tells the foreground process group */
}

bool pty_restored(struct pty *p)
{
    struct termios after;
    if (tcgetattr(p->slave, &after) != 0)
        return false;
    return after.c_lflag == p->before.c_lflag && after.c_iflag == p->before.c_iflag && after.c_oflag == p->before.c_oflag &&
           !p->vt.paste_mode && !p->vt.dim && p->vt.n_escape == 0;
}

void pty_end(struct pty *p)
{
    if (!p->ended && p->program > 0)
        kill(p->program, SIGKILL);
    close(p->control);
    close(p->master);
    close(p->slave);
    int status;
    if (p->shell > 0)
        kill(p->shell, SIGKILL);
    while (waitpid(p->shell, &status, 0) < 0 && errno == EINTR)
        continue;
    close(p->report);
    vt_close(&p->vt);
    free(p->log);
}
