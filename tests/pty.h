/* pty.h: a program on a pseudo-terminal under a small shell of our own, as a person has it:
 * keys in, the screen out (vt.h), job control, and what the terminal's modes were when the
 * program gave it back. */
#ifndef SIGNUM_TESTS_PTY_H
#define SIGNUM_TESTS_PTY_H

#include <sys/types.h>
#include <termios.h>

#include "vt.h"

struct pty {
    int master, slave; /* the slave stays open, so that its modes can be looked at */
    int control, report;
    pid_t shell, program;
    struct vt vt;
    struct termios before;
    bool ended, stopped;
    int status; /* as waitpid gives it, once ended */
    char *log;  /* everything that was written, for messages */
    size_t log_len;
};

/* Starts signum with arguments (after "chat"), NULL-terminated, on a terminal of this size.
 * SIGNUM_HOME is `home`. */
void pty_start(struct pty *p, size_t width, size_t height, const char *home, const char *const *arguments);

void pty_send(struct pty *p, const char *keys);

/* Reads until the text shows on the screen or in scrollback. False after a minute, or when the program ended. */
bool pty_wait(struct pty *p, const char *text);
/* Until so many lines have scrolled away. */
bool pty_wait_lines(struct pty *p, size_t n);
/* Until the last line of the screen with text begins with the prompt and nothing follows. */
bool pty_wait_prompt(struct pty *p);
/* Until the program has ended; returns its wait status. */
int pty_wait_end(struct pty *p);
bool pty_wait_stop(struct pty *p);
/* Continues a stopped program in the foreground. */
void pty_continue(struct pty *p);

void pty_resize(struct pty *p, size_t width, size_t height);

/* Whether the terminal's modes are those from before the program, and bracketed paste and
 * colours are off. */
bool pty_restored(struct pty *p);

/* Kills what still runs and frees everything. */
void pty_end(struct pty *p);

/* Path of the program under test, which lies beside the tests. */
const char *pty_program(void);
/* Whether it can be run: under an emulator it can not. Says so once when not. */
bool pty_available(void);

#endif
