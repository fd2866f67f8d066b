#include "keys.h"

#include <string.h>

#include "utf8.h"

enum {
    ESC = 0x1B,
    PASTE_MAX = 16 << 20
};

static struct key plain(enum key_code code) { return (struct key){code, 0, 0}; }

/* A byte below 0x20, or DEL. */
static struct key control(unsigned char byte, bool alt)
{
    struct key key = {KEY_CTRL, alt ? KEY_ALT : 0u, byte ^ 0x40u};
    switch (byte) {
    case '\r':
        key.code = KEY_ENTER;
        break;
    case '\t':
        key.code = KEY_TAB;
        break;
    case 0x08: /* ^H is what Backspace sends on some terminals */
    case 0x7F:
        key.code = KEY_BACKSPACE;
        break;
    }
    return key;
}

/* The number at *s, 0 when there is none; moves past it and one separator. */
static unsigned number(const char **s)
{
    unsigned value = 0;
    while (**s >= '0' && **s <= '9') {
        if (value < 100000)
            value = value * 10 + (unsigned)(**s - '0');
        (*s)++;
    }
    while (**s && **s != ';')
        (*s)++; /* sub-parameters */
    if (**s == ';')
        (*s)++;
    return value;
}

static enum key_code letter_code(char final)
{
    switch (final) {
    case 'A':
        return KEY_UP;
    case 'B':
        return KEY_DOWN;
    case 'C':
        return KEY_RIGHT;
    case 'D':
        return KEY_LEFT;
    case 'F':
        return KEY_END;
    case 'H':
        return KEY_HOME;
    case 'M':
        return KEY_ENTER; /* of the keypad, after SS3 */
    default:
        return KEY_UNKNOWN;
    }
}

static enum key_code tilde_code(unsigned value)
{
    switch (value) {
    case 1:
    case 7:
        return KEY_HOME;
    case 2:
        return KEY_INSERT;
    case 3:
        return KEY_DELETE;
    case 4:
    case 8:
        return KEY_END;
    case 5:
        return KEY_PAGE_UP;
    case 6:
        return KEY_PAGE_DOWN;
    default:
        return KEY_UNKNOWN;
    }
}

/* A key by its code point, as the CSI u and modifyOtherKeys encodings send it. */
static struct key coded(unsigned c, unsigned modifiers)
{
    struct key key = {KEY_CHAR, modifiers & (KEY_ALT | KEY_SHIFT), c};
    if (c == '\r' || c == '\t' || c == 0x7F || c == 0x08) {
        key = control((unsigned char)c, false);
        key.modifiers = modifiers;
    } else if (c == ESC) {
        key = plain(KEY_ESCAPE);
    } else if (c < 0x20 || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) {
        key = plain(KEY_UNKNOWN);
    } else if ((modifiers & KEY_CONTROL) && c < 0x80) {
        key.code = KEY_CTRL;
        key.c = c >= 'a' && c <= 'z' ? c - 0x20 : c;
        key.modifiers = modifiers & KEY_ALT;
    }
    return key;
}

/* k->held is the whole of CSI parameters and the final byte. */
static struct key csi(struct keys *k)
{
    char final = k->held[k->n_held - 1];
    k->held[k->n_held - 1] = 0;
    const char *s = k->held;
    unsigned first = number(&s), second = number(&s), third = number(&s);
    unsigned modifiers = second > 0 ? second - 1 : 0;
    struct key key = plain(KEY_UNKNOWN);
    if (k->held[0] == '<' || k->held[0] == '?' || k->held[0] == '>' || k->held[0] == '=')
        return key; /* a report, not a key */
    if (final == '~' && first == 200) {
        k->state = KEYS_PASTE;
        k->paste.len = 0;
        return plain(KEY_NONE);
    }
    if (final == '~' && first == 27)
        return coded(third, modifiers);
    if (final == 'u')
        return coded(first, modifiers);
    if (final == 'Z') {
        key = (struct key){KEY_TAB, KEY_SHIFT, 0};
    } else if (final == '~' || final == '^' || final == '$' || final == '@') {
        key.code = tilde_code(first);
        if (final == '^' || final == '@') /* rxvt's way to say Control, Shift */
            modifiers |= KEY_CONTROL;
        if (final == '$' || final == '@')
            modifiers |= KEY_SHIFT;
    } else if (final >= 'a' && final <= 'd') {
        key.code = letter_code((char)(final - 0x20));
        modifiers |= KEY_SHIFT;
    } else if (final != 'M') {
        key.code = letter_code(final);
    }
    key.modifiers = modifiers & (KEY_SHIFT | KEY_ALT | KEY_CONTROL);
    if (k->alt)
        key.modifiers |= KEY_ALT;
    return key;
}

static struct key ss3(char final, bool alt)
{
    struct key key = plain(letter_code(final));
    if (final >= 'a' && final <= 'd') {
        key.code = letter_code((char)(final - 0x20));
        key.modifiers = KEY_CONTROL;
    }
    if (alt)
        key.modifiers |= KEY_ALT;
    return key;
}

static const char paste_end[] = "\x1B[201~";

/* Takes pasted bytes; true when the end mark was among them. */
static bool paste(struct keys *k, const char *bytes, size_t n, size_t *used)
{
    for (size_t i = 0; i < n; i++) {
        if (k->paste.len < PASTE_MAX)
            buf_putc(&k->paste, bytes[i]);
        /* The mark is followed separately, so that it is found even when the text is cut. */
        if (bytes[i] == paste_end[k->n_held])
            k->n_held++;
        else
            k->n_held = bytes[i] == ESC;
        if (k->n_held == sizeof paste_end - 1) {
            size_t mark = sizeof paste_end - 1; /* what of it was stored */
            while (mark > 0 && (k->paste.len < mark || memcmp(k->paste.data + k->paste.len - mark, paste_end, mark) != 0))
                mark--;
            k->paste.len -= mark;
            k->paste.len = utf8_complete(k->paste.data, k->paste.len);
            *used = i + 1;
            return true;
        }
    }
    *used = n;
    return false;
}

static void ground(struct keys *k)
{
    k->state = KEYS_GROUND;
    k->alt = false;
    k->n_held = 0;
}

/* One more byte outside of a paste; KEY_NONE: not yet a key. *take is cleared when the byte
 * does not belong to what came before and must be read again. */
static struct key step(struct keys *k, char byte, bool *take)
{
    unsigned char u = (unsigned char)byte;
    struct key key = plain(KEY_NONE);
    switch (k->state) {
    case KEYS_GROUND:
    case KEYS_ESC:
        if (k->n_held == 0 && u == ESC) {
            if (k->state == KEYS_ESC && k->alt) { /* ESC ESC ESC: the first was alone */
                return plain(KEY_ESCAPE);
            }
            k->alt = k->state == KEYS_ESC;
            k->state = KEYS_ESC;
            return key;
        }
        if (k->state == KEYS_ESC && k->n_held == 0 && (u == '[' || u == 'O')) {
            k->state = u == '[' ? KEYS_CSI : KEYS_SS3;
            return key;
        }
        if (u < 0x20 || u == 0x7F) {
            if (k->n_held > 0) { /* a character that ended too early */
                *take = false;
                key = (struct key){KEY_CHAR, 0, UTF8_REPLACEMENT};
            } else {
                key = control(u, k->state == KEYS_ESC);
            }
        } else {
            k->held[k->n_held++] = byte;
            if (utf8_complete(k->held, k->n_held) < k->n_held)
                return key;
            uint32_t c;
            size_t n = utf8_decode(k->held, k->n_held, &c);
            *take = n == k->n_held;
            key = (struct key){KEY_CHAR, k->state == KEYS_ESC ? KEY_ALT : 0u, c};
        }
        ground(k);
        return key;
    case KEYS_SS3:
        key = u < 0x20 ? plain(KEY_UNKNOWN) : ss3(byte, k->alt);
        *take = u >= 0x20;
        ground(k);
        return key;
    case KEYS_LINUX: /* ESC [ [ A: function keys of the Linux console */
        ground(k);
        return plain(KEY_UNKNOWN);
    case KEYS_CSI:
        if (u < 0x20 || u >= 0x7F) { /* no sequence after all */
            *take = false;
            ground(k);
            return plain(KEY_UNKNOWN);
        }
        if (k->n_held == 0 && byte == '[') {
            k->state = KEYS_LINUX;
            return key;
        }
        if (k->n_held < sizeof k->held)
            k->held[k->n_held++] = byte;
        if (u < 0x40 && byte != '$')
            return key;
        if (byte == '$' && k->n_held > 0 && (k->held[0] < '0' || k->held[0] > '9'))
            return key;
        key = k->n_held < sizeof k->held ? csi(k) : plain(KEY_UNKNOWN);
        if (k->state == KEYS_PASTE)
            k->n_held = 0;
        else
            ground(k);
        return key;
    case KEYS_PASTE:
        break;
    }
    return key;
}

struct key keys_next(struct keys *k, const char *bytes, size_t n, size_t *used)
{
    for (size_t i = 0; i < n;) {
        if (k->state == KEYS_PASTE) {
            size_t taken;
            bool done = paste(k, bytes + i, n - i, &taken);
            i += taken;
            if (done) {
                ground(k);
                *used = i;
                return plain(KEY_PASTE);
            }
            continue;
        }
        bool take = true;
        struct key key = step(k, bytes[i], &take);
        i += take;
        if (key.code != KEY_NONE) {
            *used = i;
            return key;
        }
    }
    *used = n;
    return plain(KEY_NONE);
}

bool keys_waiting(const struct keys *k) { return k->state != KEYS_GROUND && k->state != KEYS_PASTE; }

struct key keys_pause(struct keys *k)
{
    if (!keys_waiting(k))
        return plain(KEY_NONE);
    bool escape = k->state == KEYS_ESC && k->n_held == 0;
    ground(k);
    return plain(escape ? KEY_ESCAPE : KEY_NONE);
}

void keys_free(struct keys *k)
{
    buf_free(&k->paste);
    *k = (struct keys){0};
}
