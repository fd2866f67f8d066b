#define _DEFAULT_SOURCE /* SIGWINCH, TIOCGWINSZ */
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static struct termios normal, edit, busy;
static bool usable;                   /* normal is known and modes may be set */
static volatile sig_atomic_t colours; /* somebody may have left one on */
static volatile sig_atomic_t mode;    /* enum terminal_mode */
static volatile sig_atomic_t *interrupt_flag;
static volatile sig_atomic_t got_interrupt, got_resize, got_continue, quit_signal;
static int wake[2] = {-1, -1}; /* handlers write here so that poll returns */

static const char paste_on[] = "\x1B[?2004h", paste_off[] = "\x1B[?2004l", colour_off[] = "\x1B[0m";

/* From here to the next banner everything must be safe in a signal handler. */

static void put(const char *bytes, size_t n)
{
    if (write(STDOUT_FILENO, bytes, n) < 0)
        return; /* a terminal that is gone needs no restoring */
}

static void poke(void)
{
    int saved = errno;
    if (wake[1] >= 0 && write(wake[1], "", 1) < 0)
        errno = saved; /* full: poll returns anyway */
    errno = saved;
}

static bool in_foreground(void) { return tcgetpgrp(STDIN_FILENO) == getpgrp(); }

static void apply(enum terminal_mode from, enum terminal_mode to)
{
    /* Without waiting for output to drain: it may be stopped, and we in a hurry. */
    tcsetattr(STDIN_FILENO, TCSANOW, to == TERMINAL_EDIT ? &edit : to == TERMINAL_BUSY ? &busy : &normal);
    if (from == TERMINAL_EDIT && to != TERMINAL_EDIT)
        put(paste_off, sizeof paste_off - 1);
    if (to == TERMINAL_NORMAL && colours)
        put(colour_off, sizeof colour_off - 1);
    if (to == TERMINAL_EDIT && from != TERMINAL_EDIT)
        put(paste_on, sizeof paste_on - 1);
}

void terminal_restore(void)
{
    int saved = errno;
    if (usable && mode != TERMINAL_NORMAL && in_foreground()) {
        apply((enum terminal_mode)mode, TERMINAL_NORMAL);
        mode = TERMINAL_NORMAL;
    }
    errno = saved;
}

static void on_stop(int number);

static void handle(int number, void (*handler)(int))
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

static void on_interrupt(int number)
{
    (void)number;
    *interrupt_flag = 1;
    got_interrupt = 1;
    poke();
}

static void on_quit(int number)
{
    if (quit_signal) /* asked twice: something hangs */
        terminal_die(number);
    quit_signal = number;
    *interrupt_flag = 1;
    terminal_restore();
    poke();
}

static void on_crash(int number)
{
    terminal_restore();
    terminal_die(number);
}

static void on_child(int number)
{
    (void)number;
    poke();
}

static void on_resize(int number)
{
    (void)number;
    got_resize = 1;
    poke();
}

static void stop(void)
{
    int saved = errno;
    sigset_t set, old;
    if (usable && mode != TERMINAL_NORMAL)
        apply((enum terminal_mode)mode, TERMINAL_NORMAL);
    handle(SIGTSTP, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, SIGTSTP);
    raise(SIGTSTP);
    pthread_sigmask(SIG_UNBLOCK, &set, &old); /* here the process stops */
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    handle(SIGTSTP, on_stop);
    if (usable && in_foreground())
        apply(TERMINAL_NORMAL, (enum terminal_mode)mode);
    errno = saved;
}

static void on_stop(int number)
{
    (void)number;
    stop();
}

/* Comes after SIGSTOP too, which nobody can handle. */
static void on_continue(int number)
{
    int saved = errno;
    (void)number;
    if (usable && in_foreground())
        apply(TERMINAL_NORMAL, (enum terminal_mode)mode);
    got_continue = 1;
    got_resize = 1;
    poke();
    errno = saved;
}

_Noreturn void terminal_die(int number)
{
    sigset_t set;
    handle(number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
    _exit(128 + number);
}

/* ------------------------------------------------------------------ ordinary code */

static void prepare_modes(void)
{
    edit = busy = normal;
    /* ICRNL off in both, so that Enter that is typed ahead stays different from ^J. */
    busy.c_lflag &= ~(tcflag_t)(ICANON | ECHO | IEXTEN);
    busy.c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IGNCR);
    busy.c_cc[VMIN] = 1;
    busy.c_cc[VTIME] = 0;
    edit = busy;
    edit.c_lflag &= ~(tcflag_t)ISIG;
    edit.c_iflag &= ~(tcflag_t)(IXON | ISTRIP | BRKINT | INPCK);
}

void terminal_colours(bool used) { colours = used; }

bool terminal_open(volatile sig_atomic_t *interrupted)
{
    static const int quits[] = {SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    static const int crashes[] = {SIGSEGV, SIGILL, SIGFPE, SIGABRT};
    interrupt_flag = interrupted;
    if (wake[0] < 0 && pipe(wake) == 0) {
        for (int i = 0; i < 2; i++) {
            fcntl(wake[i], F_SETFD, FD_CLOEXEC);
            fcntl(wake[i], F_SETFL, O_NONBLOCK);
        }
    }
    const char *term = getenv("TERM");
    usable = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") != 0 &&
             tcgetattr(STDIN_FILENO, &normal) == 0;
    if (usable) {
        prepare_modes();
        atexit(terminal_restore);
    }
    handle(SIGINT, on_interrupt);
    for (size_t i = 0; i < ARRAY_LEN(quits); i++)
        handle(quits[i], on_quit);
    for (size_t i = 0; i < ARRAY_LEN(crashes); i++)
        handle(crashes[i], on_crash);
    handle(SIGWINCH, on_resize);
    handle(SIGTSTP, on_stop);
    handle(SIGCONT, on_continue);
    return usable;
}

void terminal_set_mode(enum terminal_mode to)
{
    if (!usable || quit_signal || (int)to == mode)
        return;
    enum terminal_mode from = (enum terminal_mode)mode;
    mode = to; /* first: a signal from here on restores what is about to change */
    apply(from, to);
    if (quit_signal) /* it came meanwhile, and what it restored was just undone */
        apply(to, TERMINAL_NORMAL);
}

void terminal_size(size_t *width, size_t *height)
{
    struct winsize size;
    *width = 80;
    *height = 24;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
        if (size.ws_col)
            *width = size.ws_col;
        if (size.ws_row)
            *height = size.ws_row;
    }
}

static bool take(volatile sig_atomic_t *flag)
{
    bool was = *flag;
    *flag = 0;
    return was;
}

static void drain_wake(void)
{
    char bytes[64];
    while (wake[0] >= 0 && read(wake[0], bytes, sizeof bytes) > 0)
        continue;
}

enum terminal_event terminal_read(char *bytes, size_t size, size_t *n, int timeout)
{
    *n = 0;
    for (;;) {
        drain_wake();
        if (quit_signal)
            return TERMINAL_QUIT;
        if (take(&got_interrupt))
            return TERMINAL_INTERRUPTED;
        if (take(&got_continue))
            return TERMINAL_CONTINUED;
        if (take(&got_resize))
            return TERMINAL_RESIZED;
        struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = wake[0], .events = POLLIN}};
        int ready = poll(fds, 2, timeout);
        if (ready == 0)
            return TERMINAL_TIMEOUT;
        if (ready < 0 && errno != EINTR)
            return TERMINAL_END;
        if (ready < 0 || !fds[0].revents || quit_signal || got_interrupt || got_continue || got_resize)
            continue; /* signals first: a key is drawn for the size that the terminal has now */
        ssize_t got = read(STDIN_FILENO, bytes, size);
        if (got > 0) {
            *n = (size_t)got;
            return TERMINAL_INPUT;
        }
        if (got == 0 || (errno != EINTR && errno != EAGAIN))
            return quit_signal ? TERMINAL_QUIT : TERMINAL_END;
    }
}

bool terminal_resized(void) { return take(&got_resize); }

bool terminal_take_interrupt(void)
{
    if (*interrupt_flag && !quit_signal)
        *interrupt_flag = 0;
    return take(&got_interrupt);
}

int terminal_quit_signal(void) { return quit_signal; }

void terminal_suspend(void) { stop(); }

int terminal_wait(pid_t child)
{
    int status = -1;
    pid_t done;
    bool told = false;
    handle(SIGCHLD, on_child);
    for (int patience = 10; (done = waitpid(child, &status, WNOHANG)) == 0 || (done < 0 && errno == EINTR);) {
        if (quit_signal && !told)
            kill(child, SIGHUP);
        told |= quit_signal != 0;
        if (told && patience-- == 0)
            break;
        struct pollfd woken = {.fd = wake[0], .events = POLLIN};
        poll(&woken, 1, told ? 100 : -1);
        drain_wake();
    }
    handle(SIGCHLD, SIG_DFL);
    terminal_take_interrupt(); /* ^C was meant for the child */
    return done == child ? status : -1;
}

bool terminal_write(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, bytes, n);
        if (done < 0 && errno == EAGAIN) { /* somebody made the terminal non-blocking */
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            poll(&wait, 1, 100);
        } else if (done < 0 && errno != EINTR) {
            return false;
        }
        if (done > 0) {
            bytes += done;
            n -= (size_t)done;
        }
        if (quit_signal == SIGHUP) /* nobody is there to read */
            return false;
    }
    return true;
}
