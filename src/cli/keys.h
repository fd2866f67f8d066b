/* keys.h: what a terminal sends, as keys: UTF-8, control characters, escape sequences,
 * bracketed paste. A pure state machine: bytes in, keys out. Layer: cli (base). */
#ifndef SIGNUM_KEYS_H
#define SIGNUM_KEYS_H

#include "buf.h"

enum key_code {
    KEY_NONE,
    KEY_CHAR,  /* .c is the character, with or without KEY_ALT */
    KEY_CTRL,  /* .c is the upper-case letter or symbol: ^A is 'A', ^_ is '_' */
    KEY_PASTE, /* the text is in keys.paste until the next call */
    KEY_ENTER,
    KEY_TAB,
    KEY_BACKSPACE,
    KEY_ESCAPE, /* alone, known only by what does not follow: see keys_pause */
    KEY_UP,
    KEY_DOWN,
    KEY_LEFT,
    KEY_RIGHT,
    KEY_HOME,
    KEY_END,
    KEY_INSERT,
    KEY_DELETE,
    KEY_PAGE_UP,
    KEY_PAGE_DOWN,
    KEY_UNKNOWN, /* a sequence we have no use for */
};

enum {
    KEY_SHIFT = 1,
    KEY_ALT = 2,
    KEY_CONTROL = 4
}; /* as xterm numbers them, less one */

struct key {
    enum key_code code;
    unsigned modifiers;
    uint32_t c;
};

struct keys {
    enum {
        KEYS_GROUND,
        KEYS_ESC,
        KEYS_CSI,
        KEYS_SS3,
        KEYS_LINUX,
        KEYS_PASTE
    } state;
    bool alt;      /* an ESC came before */
    char held[32]; /* of an unfinished character or sequence */
    size_t n_held;
    struct buf paste;
};

/* Reads bytes until a key is complete; *used tells how many were taken. KEY_NONE: all were
 * taken and more are needed. Never fails: what is not UTF-8 arrives as U+FFFD, a sequence
 * too long to be one is dropped. */
struct key keys_next(struct keys *k, const char *bytes, size_t n, size_t *used);

/* Nothing came for a while: a lone ESC is the Escape key, an unfinished sequence is dropped. */
struct key keys_pause(struct keys *k);

/* Whether keys_pause would change anything. */
bool keys_waiting(const struct keys *k);

void keys_free(struct keys *k);

#endif
