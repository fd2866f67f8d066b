#include "utf8.h"

#include <string.h>

/* How many bytes a lead byte announces (0: it can not lead), and the range
 * allowed for the second byte; later ones are 80..BF. Unicode 15, table 3-7. */
static size_t sequence(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead < 0x80)
        return 1;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    if (lead >= 0xE0 && lead <= 0xEF) {
        if (lead == 0xE0)
            *low = 0xA0;
        if (lead == 0xED)
            *high = 0x9F; /* surrogates */
        return 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if (lead == 0xF0)
            *low = 0x90;
        if (lead == 0xF4)
            *high = 0x8F; /* above U+10FFFF */
        return 4;
    }
    return 0;
}

size_t utf8_decode(const char *text, size_t len, uint32_t *c)
{
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80) {
        *c = s[0];
        return 1;
    }
    unsigned char low, high;
    size_t n = sequence(s[0], &low, &high);
    uint32_t value = n == 0 ? 0 : s[0] & (0x7Fu >> n);
    size_t i = 1;
    for (; i < n && i < len; i++) {
        if (s[i] < low || s[i] > high)
            break;
        value = value << 6 | (s[i] & 0x3F);
        low = 0x80;
        high = 0xBF;
    }
    *c = n == 0 || i < n ? UTF8_REPLACEMENT : value;
    return i;
}

size_t utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

size_t utf8_complete(const char *text, size_t len)
{
    /* Only the last three bytes can begin something unfinished. */
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        const unsigned char *s = (const unsigned char *)text + len - back;
        if ((s[0] & 0xC0) == 0x80)
            continue;
        unsigned char low, high;
        size_t n = sequence(s[0], &low, &high);
        if (n <= back)
            return len;
        for (size_t i = 1; i < back; i++) {
            if (s[i] < low || s[i] > high)
                return len; /* already ill-formed: no byte can mend it */
            low = 0x80;
            high = 0xBF;
        }
        return len - back;
    }
    return len;
}

bool utf8_valid(const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint32_t c;
        size_t n = utf8_decode(text + i, len - i, &c);
        if (c == UTF8_REPLACEMENT && !(n == 3 && memcmp(text + i, "\xEF\xBF\xBD", 3) == 0))
            return false;
        i += n;
    }
    return true;
}
