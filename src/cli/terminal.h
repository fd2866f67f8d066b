/* terminal.h: the terminal that a chat runs on: modes, size, waiting for keys, and what
 * signals do to it. There is one, so its state is the process's. Layer: cli (base).
 *
 * Whatever ends or stops the program, the terminal gets back the mode it had: normal exit,
 * SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, ^Z, and crashes. */
#ifndef SIGNUM_TERMINAL_H
#define SIGNUM_TERMINAL_H

#include <signal.h>
#include <sys/types.h>

#include "base.h"

enum terminal_mode {
    TERMINAL_NORMAL, /* as we found it */
    TERMINAL_EDIT,   /* every key is ours, ^C and ^Z too; pasted text comes in brackets */
    TERMINAL_BUSY,   /* the model writes: keys are kept for later, ^C and ^Z are signals */
};

/* Installs the signal handlers and says whether keys can be read one by one: stdin and
 * stdout are a terminal that is not dumb. If not, all modes are as TERMINAL_NORMAL.
 * *interrupted is set to 1 by SIGINT and by signals that end the program. */
bool terminal_open(volatile sig_atomic_t *interrupted);
/* Whether a colour may be on when the program dies: then it is turned off. */
void terminal_colours(bool used);
/* Back to TERMINAL_NORMAL; signals keep their handlers. Safe in a signal handler. */
void terminal_restore(void);

void terminal_set_mode(enum terminal_mode mode);

/* Columns and rows of stdout's terminal; 80 and 24 when unknown. */
void terminal_size(size_t *width, size_t *height);

enum terminal_event {
    TERMINAL_INPUT, /* bytes were read */
    TERMINAL_END,   /* end of the input, or it can not be read */
    TERMINAL_TIMEOUT,
    TERMINAL_INTERRUPTED, /* SIGINT */
    TERMINAL_QUIT,        /* terminal_quit_signal() wants us to end */
    TERMINAL_RESIZED,
    TERMINAL_CONTINUED, /* after a stop: what was on the screen may be gone */
};

/* Waits for stdin, a signal or the end of a time (milliseconds, -1: no limit). */
enum terminal_event terminal_read(char *bytes, size_t size, size_t *n, int timeout);

/* Whether such a signal came since it was last asked for, without waiting. The second also
 * clears *interrupted, unless the program is to end. */
bool terminal_resized(void);
bool terminal_take_interrupt(void);

/* The signal that wants the program to end, or 0. */
int terminal_quit_signal(void);
/* Ends the process by that signal, so that the parent sees what happened. */
_Noreturn void terminal_die(int signal);

/* Stops the process as ^Z does and returns when it is continued. */
void terminal_suspend(void);

/* Waits for a child that has the terminal and returns its wait status. When a signal wants the
 * program to end the child is told to, and given a second. */
int terminal_wait(pid_t child);

/* Writes everything to fd, waiting as long as it takes; false when that is impossible. */
bool terminal_write(int fd, const char *bytes, size_t n);

#endif
