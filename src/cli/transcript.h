/* transcript.h: conversations as files that people can read: one JSON object per line,
 * appended as the chat goes. Layer: cli (base).
 *
 *   {"event":"begin","format":"signum-chat","version":1,"time":...,"model":...}
 *   {"role":"system","content":...}                        replaces the system prompt
 *   {"role":"user","content":...,"time":...}
 *   {"role":"assistant","content":...,"reasoning_content":...,"finish_reason":...,"seed":...,"attempt":...,"tokens":...}
 *   {"event":"continue","content":...,...}                 goes on with the last answer
 *   {"event":"undo","turns":n}   {"event":"regen"}   {"event":"clear"}
 *   {"event":"forget","turns":n}                           out of the context, not out of the file
 *
 * Nothing is ever rewritten, so a line that is whole stays. A crash can tear only the last
 * line; it is cut off when the file is next opened. What is no such object is skipped. Files
 * have mode 0600 and are locked while a chat has them open. */
#ifndef SIGNUM_TRANSCRIPT_H
#define SIGNUM_TRANSCRIPT_H

#include <time.h>

#include "conversation.h"
#include "error.h"

struct transcript {
    struct buf folder; /* "": nothing is saved */
    struct buf name;   /* of the session; "" until the file of an unnamed one is made */
    const char *model; /* for the first line of a file */
    int fd;            /* -1: no file yet */
    bool stale;        /* a line could not be written: the next writes everything again */
    size_t skipped;    /* lines that could not be read */
    bool repaired;     /* a torn line was cut off */
};

/* Appends the folder for signum's files: SIGNUM_HOME, else XDG_STATE_HOME/signum, else
 * ~/.local/state/signum, and `sub` below it (may be NULL), creating what is missing, mode
 * 0700. SG_FAIL with a sentence when there is none. */
enum sg_status state_folder(struct buf *out, const char *sub, struct sg_error *err);

/* Whether a name can be a session's: it is a file name, not hidden, and printable. */
enum sg_status session_name_check(const char *name, struct sg_error *err);

/* Starts without a file; folder NULL: nothing is ever saved. The first question makes the
 * file. name NULL: it is named by the time then. model must outlive the transcript. */
void transcript_begin(struct transcript *t, const char *folder, const char *name, const char *model);

/* Opens an existing session, locks it, and replays it into an empty conversation. SG_FAIL
 * when it does not exist or another chat has it open; t is then closed. */
enum sg_status transcript_open(struct transcript *t, const char *folder, const char *name, const char *model, struct conversation *c,
                               struct sg_error *err);

bool session_exists(const char *folder, const char *name);

/* Append a line for what was just done to the conversation. All return SG_FAIL when it can
 * not be written; the file is then as before. */
enum sg_status transcript_system(struct transcript *t, const struct conversation *c, struct sg_error *err);
enum sg_status transcript_question(struct transcript *t, const struct conversation *c, struct sg_error *err);
/* event: "undo" and "forget" (with turns), "regen", "clear". */
enum sg_status transcript_event(struct transcript *t, const struct conversation *c, const char *event, size_t turns, struct sg_error *err);

/* The last message is an answer, or was continued: then what is new begins at the offsets. */
struct transcript_answer {
    bool continues;
    size_t content_from, reasoning_from;
    const char *finish; /* "stop", "length", "interrupted" ... */
    uint64_t seed;
    size_t tokens;
};
enum sg_status transcript_answered(struct transcript *t, const struct conversation *c, const struct transcript_answer *a,
                                   struct sg_error *err);

/* Writes the whole conversation to a new session and goes on there. SG_USAGE when the name
 * is taken or no name. */
enum sg_status transcript_save_as(struct transcript *t, const char *folder, const char *name, const struct conversation *c,
                                  struct sg_error *err);

/* Gives the session a name of its own: the file of an unnamed one is renamed, that of a named
 * one is copied. */
enum sg_status transcript_name(struct transcript *t, const char *name, const struct conversation *c, struct sg_error *err);

void transcript_close(struct transcript *t);

struct session_entry {
    char *name, *title; /* title: the first question, "" when there is none */
    time_t modified;
};
/* Sessions of a folder, latest first. *list is malloc'ed; free with sessions_free. */
enum sg_status sessions_list(const char *folder, struct session_entry **list, size_t *n, struct sg_error *err);
void sessions_free(struct session_entry *list, size_t n);
/* Appends "5 minutes ago" and the like. */
void put_age(struct buf *out, time_t then, time_t now);

#endif
