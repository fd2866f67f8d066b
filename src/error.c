#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "utf8.h"

enum sg_status fail(struct sg_error *err, enum sg_status status, const char *format, ...)
{
    if (!err)
        return status;
    err->status = status;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    if (n >= (int)sizeof err->message) {
        /* Cut before the character that does not fit. */
        size_t end = sizeof err->message - 1;
        while (end > 0 && ((unsigned char)err->message[end - 1] & 0xC0) == 0x80)
            end--;
        if (end > 0 && (unsigned char)err->message[end - 1] >= 0xC0)
            end--;
        err->message[end] = 0;
    }
    return status;
}

enum sg_status fail_memory(struct sg_error *err, size_t bytes, const char *what)
{
    if (bytes >= (size_t)1 << 20)
        return fail(err, SG_NO_MEMORY, "out of memory: %zu MiB for %s", bytes >> 20, what);
    return fail(err, SG_NO_MEMORY, "out of memory: %zu bytes for %s", bytes, what);
}

const char *escaped(char buf[ESCAPED_MAX], const char *text, size_t len)
{
    size_t out = 0, i = 0;
    while (i < len) {
        uint32_t c;
        size_t n = utf8_decode(text + i, len - i, &c);
        bool valid = !(c == UTF8_REPLACEMENT && !(n == 3 && memcmp(text + i, "\xEF\xBF\xBD", 3) == 0));
        bool plain = valid && c >= 0x20 && c != 0x7F && !(c >= 0x80 && c < 0xA0) && c != '\\';
        size_t need = plain ? n : 4 * n;
        if (out + need + 4 > ESCAPED_MAX) {
            memcpy(buf + out, "...", 3);
            out += 3;
            break;
        }
        if (plain) {
            memcpy(buf + out, text + i, n);
            out += n;
        } else if (c == '\\' && valid) {
            buf[out++] = '\\';
            buf[out++] = '\\';
        } else {
            for (size_t k = 0; k < n; k++)
                out += (size_t)snprintf(buf + out, 5, "\\x%02X", (unsigned char)text[i + k]);
        }
        i += n;
    }
    buf[out] = 0;
    return buf;
}
