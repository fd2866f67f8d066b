/* chat_person.h: what a person does with signum chat and sees of it, for its tests: on a
 * terminal (pty.h) or through a pipe, with a small model whose random weights write noise. */
#ifndef SIGNUM_TESTS_CHAT_PERSON_H
#define SIGNUM_TESTS_CHAT_PERSON_H

#include <stdlib.h>

#include "check.h"
#include "cli/transcript.h"
#include "pty.h"

enum {
    WIDTH = 80,
    HEIGHT = 24
};

const char *chat_model(void);
/* A fresh SIGNUM_HOME; in a static buffer. */
const char *chat_home(void);

/* Starts a chat on a terminal so wide: seed 1, one thread, 12 tokens an answer, and more flags
 * (NULL-terminated, or NULL), as WITH("-n", "60"). */
void chat_start(struct pty *p, size_t width, const char *home, const char *const *more);
#define WITH(...) \
    (const char *const[]) { __VA_ARGS__, NULL }
/* Flags for an answer that does not end. */
#define ENDLESS "-c", "60000", "-n", "-1", "--ignore-eos", "--no-loop-guard"

/* Everything on the screen and above it, malloc'ed. */
char *chat_screen(struct pty *p);
/* Waits for the prompt, then types a line. */
void chat_enter(struct pty *p, const char *line);
/* /exit; everything must be in order. */
void chat_leave(struct pty *p);

/* Waits for text, and shows what there was instead when it does not come. */
#define EXPECT(p, text)                                                        \
    do {                                                                       \
        if (!pty_wait(p, text)) {                                              \
            char *screen_ = chat_screen(p);                                    \
            CHECKF(false, "\"%s\" did not appear, but:\n%s\n", text, screen_); \
            free(screen_);                                                     \
        } else {                                                               \
            CHECK(true);                                                       \
        }                                                                      \
    } while (0)

#define PROMPT(p)                                            \
    do {                                                     \
        if (!pty_wait_prompt(p)) {                           \
            char *screen_ = chat_screen(p);                  \
            CHECKF(false, "no prompt, but:\n%s\n", screen_); \
            free(screen_);                                   \
        }                                                    \
    } while (0)

/* Runs the same chat on a pipe: input is for printf. Returns what it wrote, malloc'ed. */
char *chat_piped(const char *home, const char *options, const char *input, int *status);

/* Name of a home's latest session (in a static buffer), and what was said in it. */
const char *chat_session(const char *home);
struct conversation chat_talk(const char *home);

/* Whether two texts are the same but for blanks and line breaks. */
bool same_letters(const char *a, const char *b);

#endif
