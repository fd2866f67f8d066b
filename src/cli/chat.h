/* chat.h: what the files of `signum chat` share. Layer: cli.
 *
 * chat.c opens everything and reads what is entered, chat_answer.c turns a conversation into
 * an answer, chat_commands.c does what begins with a slash. */
#ifndef SIGNUM_CHAT_CLI_H
#define SIGNUM_CHAT_CLI_H

#include "cli.h"
#include "conversation.h"
#include "display.h"
#include "input.h"
#include "reader.h"
#include "transcript.h"

struct chat_counts {
    size_t prompt, reused;   /* tokens evaluated before the answer, and found evaluated */
    size_t thinking, answer; /* tokens written */
    int64_t prompt_us, answer_us;
};

struct chat {
    struct options *o;
    struct sg_engine *engine;
    struct sg_session *session;
    struct sg_draft *draft;      /* NULL until speculation is asked for */
    struct sg_sampling sampling; /* in effect: the model's defaults and the options */
    size_t n_ctx;
    struct conversation talk;
    struct transcript log;
    struct buf sessions, caches; /* folders; empty: nothing is saved */
    struct buf attached;         /* files that go before the next question */
    struct input input;
    struct display display;
    struct reader reader;
    bool interactive; /* a person at a terminal that is not dumb */
    bool tty;         /* stdout is a terminal */
    size_t used;      /* tokens of the context that are certain */
    struct chat_counts last, total;
    char **kept; /* texts that options point to */
    size_t n_kept;
    bool leave;
    int status; /* exit code */
};

/* A sentence to the person: dimmed on the screen, or a note on stderr. */
void chat_say(const struct chat *chat, const char *format, ...) PRINTF_LIKE(2, 3);
/* The same for what went wrong; without a terminal the exit code will tell. */
void chat_complain(struct chat *chat, const char *format, ...) PRINTF_LIKE(2, 3);
/* Output of a command on stdout, which ends with a newline; what is dangerous on a terminal is
 * escaped there. wrap: at words, for what nobody will copy. */
void chat_print(struct chat *chat, const struct buf *text, bool wrap);

/* Adds a question and answers it. What does not fit the context is refused. */
void chat_ask(struct chat *chat, const char *text, size_t len);
/* Answers the last question, or goes on with its answer. */
void chat_answer(struct chat *chat, bool continues);
/* Reads in the background what is certain to come before the next answer. To be called when
 * the conversation, or how it is rendered, has changed. */
void chat_reread(struct chat *chat);
/* Ends that; the session may be used. */
void chat_settle(struct chat *chat);

/* Derives sampling from the options again. */
void chat_apply_options(struct chat *chat);

/* Opens a session (name) or the last one (NULL) in place of the present one. */
enum sg_status chat_load(struct chat *chat, const char *name, struct sg_error *err);
/* Begins a new, empty session; the system prompt stays. */
void chat_begin_session(struct chat *chat);
/* Ends the present session: its cache is saved, its file closed. */
void chat_end_session(struct chat *chat);

/* chat_cache.c: keeps what the session has evaluated for the next time, fills it again, and
 * follows a session that got another name. */
void chat_cache_save(struct chat *chat);
void chat_cache_load(struct chat *chat);
void chat_cache_rename(struct chat *chat, const char *from, const char *to);

/* Whether a text is a command, and doing it. */
bool chat_is_command(const char *text, size_t len);
void chat_command(struct chat *chat, const char *text, size_t len);
/* Completes commands, settings, sessions and paths; a lineedit_complete_fn. */
void chat_complete(void *chat, const char *text, size_t cursor, struct completions *out);

#endif
