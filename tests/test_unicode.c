/* UTF-8, character classes, widths and NFC. Where Debian's unicode-data is installed, the whole
 * database and its normalization tests are gone through as well. */
#define _GNU_SOURCE /* popen */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "unicode.h"
#include "utf8.h"

static bool is_scalar(uint32_t c) { return c < 0xD800 || (c > 0xDFFF && c < 0x110000); }

/* Code points written as hexadecimal numbers, up to something else, to UTF-8. */
static const char *put_code_points(struct buf *out, const char *hex)
{
    for (;;) {
        char *end, bytes[4];
        unsigned long c = strtoul(hex, &end, 16);
        if (end == hex)
            return hex;
        buf_append(out, bytes, utf8_encode((uint32_t)c, bytes));
        hex = end;
    }
}

static bool same(const struct buf *a, const struct buf *b)
{
    return !a->failed && !b->failed && a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static struct buf nfc(const char *text, size_t len)
{
    struct buf out = {0};
    unicode_nfc(&out, text, len);
    return out;
}

/* ------------------------------------------------------------------- UTF-8 */

TEST(utf8_scalars)
{
    size_t wrong = 0;
    for (uint32_t c = 0; c < 0x110000; c++) {
        if (!is_scalar(c))
            continue;
        char bytes[4];
        uint32_t back;
        size_t n = utf8_encode(c, bytes), expected = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        wrong += n != expected || utf8_decode(bytes, n, &back) != n || back != c || !utf8_valid(bytes, n) || utf8_complete(bytes, n) != n;
        for (size_t cut = 1; cut < n; cut++) { /* what is cut is one ill-formed part and may still be completed */
            wrong += utf8_decode(bytes, cut, &back) != cut || back != UTF8_REPLACEMENT;
            wrong += utf8_valid(bytes, cut) || utf8_complete(bytes, cut) != 0;
        }
    }
    CHECKF(wrong == 0, "%zu", wrong);
}

/* The definition: a character that is a scalar value in its shortest form, else 0. */
static size_t well_formed(const unsigned char *s, size_t len, uint32_t *c)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
    if (n == 0 || n > len)
        return 0;
    *c = n == 1 ? s[0] : s[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        *c = *c << 6 | (s[i] & 0x3F);
    }
    char shortest[4];
    return is_scalar(*c) && utf8_encode(*c, shortest) == n ? n : 0;
}

/* Whether more bytes can make a character of s[0..len). */
static bool completable(const unsigned char *s, size_t len)
{
    static const unsigned char tries[] = {0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF};
    unsigned char whole[4] = {0};
    uint32_t c;
    if (len >= 4)
        return false;
    memcpy(whole, s, len);
    for (size_t i = 0; i < sizeof tries; i++)
        for (size_t n = len + 1; n <= 4; n++) {
            memset(whole + len, 0x80, 4 - len);
            whole[len] = tries[i];
            if (well_formed(whole, n, &c) == n)
                return true;
        }
    return false;
}

TEST(utf8_random_bytes)
{
    static const unsigned char likely[] = {0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF,
                                           0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF};
    for (int round = 0; round < 100000; round++) {
        unsigned char s[8];
        size_t len = 1 + (size_t)test_below(sizeof s);
        for (size_t i = 0; i < len; i++)
            s[i] = likely[test_below(sizeof likely)];
        uint32_t c, expected = UTF8_REPLACEMENT;
        size_t n = well_formed(s, len, &expected);
        if (n == 0) { /* the longest start of a character, but at least one byte */
            expected = UTF8_REPLACEMENT;
            for (n = 1; n < len && n < 3 && completable(s, n + 1); n++)
                ;
        }
        bool right = utf8_decode((const char *)s, len, &c) == n && c == expected;
        CHECKF(right, "%02X %02X %02X %02X", s[0], s[1], s[2], s[3]);

        size_t kept = len;
        for (size_t back = 1; back <= 3 && back <= len; back++)
            if (completable(s + len - back, back))
                kept = len - back;
        CHECKF(utf8_complete((const char *)s, len) == kept, "%zu bytes end in %02X", len, s[len - 1]);
    }
}

/* ------------------------------------------------------- classes and widths */

TEST(unicode_classes)
{
    size_t count[5] = {0};
    for (uint32_t c = 0; c < 0x110000; c++)
        count[unicode_class(c)]++;
    /* Totals of DerivedGeneralCategory.txt and PropList.txt, version 15.0.0. */
    CHECK(count[UNICODE_LETTER] == 136104);
    CHECK(count[UNICODE_NUMBER] == 1831);
    CHECK(count[UNICODE_MARK] == 2450);
    CHECK(count[UNICODE_SPACE] == 25);
    static const uint32_t spaces[] = {9, 10, 11, 12, 13, 0x20, 0x85, 0xA0, 0x1680, 0x2000, 0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000};
    for (size_t i = 0; i < ARRAY_LEN(spaces); i++)
        CHECKF(unicode_class(spaces[i]) == UNICODE_SPACE, "U+%04X", (unsigned)spaces[i]);
    CHECK(unicode_class('a') == UNICODE_LETTER && unicode_class(0xE9) == UNICODE_LETTER && unicode_class(0x4E2D) == UNICODE_LETTER);
    CHECK(unicode_class('7') == UNICODE_NUMBER && unicode_class(0xBD) == UNICODE_NUMBER && unicode_class(0x2167) == UNICODE_NUMBER);
    CHECK(unicode_class(0x301) == UNICODE_MARK && unicode_class(0x20DD) == UNICODE_MARK && unicode_class(0x903) == UNICODE_MARK);
    CHECK(unicode_class('!') == UNICODE_OTHER && unicode_class(0x200B) == UNICODE_OTHER && unicode_class(0x10FFFF) == UNICODE_OTHER);
    CHECK(unicode_class(0x110000) == UNICODE_OTHER && unicode_class(UINT32_MAX) == UNICODE_OTHER);
}

TEST(unicode_widths)
{
    static const struct {
        uint32_t c;
        int width;
    } cases[] = {
        {'a', 1},    {0, 0},       {'\n', 0},   {0x7F, 0},   {0x9F, 0},   {0xA0, 1},    {0xAD, 1},    {0xE9, 1},     {0x301, 0},
        {0x20DD, 0}, {0x200B, 0},  {0x200D, 0}, {0xFE0F, 0}, {0xFEFF, 0}, {0x1100, 2},  {0x1161, 0},  {0x11A8, 0},   {0xAC00, 2},
        {0x4E2D, 2}, {0x3000, 2},  {0x3042, 2}, {0xFF21, 2}, {0xFF71, 1}, {0x20000, 2}, {0x3FFFD, 2}, {0x1F601, 2},  {0x231A, 2},
        {0x263A, 1}, {0x1F1E6, 1}, {0x2028, 0}, {0x903, 1},  {0xFFFD, 1}, {0x600, 1},   {0xE0041, 0}, {0x10FFFF, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        CHECKF(unicode_width(cases[i].c) == cases[i].width, "U+%04X: %d", (unsigned)cases[i].c, unicode_width(cases[i].c));
}

/* --------------------------------------------------------------------- NFC */

TEST(unicode_nfc_examples)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"", ""},
        {"61", "61"},
        {"65 301", "E9"},
        {"E9", "E9"},
        {"65 31B 301", "E9 31B"}, /* nothing between the two stands in the way */
        {"6F 301 31B", "1EDB"},   /* the horn reaches the o past the accent */
        {"61 315 300 5AE 300 62", "E0 5AE 300 315 62"},
        {"212B", "C5"},     /* Angstrom: a singleton */
        {"958", "915 93C"}, /* excluded from composition */
        {"1100 1161", "AC00"},
        {"1100 1161 11A8", "AC01"},
        {"AC00 11A8", "AC01"},
        {"AC01 11A8", "AC01 11A8"},
        {"AC00 11A7", "AC00 11A7"},         /* no final: not a character that composes */
        {"1100 300 1161", "1100 300 1161"}, /* blocked */
        {"2ADC", "2ADD 338"},
        {"301 65", "301 65"},
        {"3C 338", "226E"},
        {"A 338", "A 338"},
        {"F900", "8C48"},
        {"1D15E", "1D157 1D165"},
        {"FFFD 301", "FFFD 301"},
        {"1E9B 323", "1E9B 323"},
        {"115B9 115AF", "115BB"},
        {"344", "308 301"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf from = {0}, to = {0};
        put_code_points(&from, cases[i].from);
        put_code_points(&to, cases[i].to);
        struct buf got = nfc(from.data, from.len);
        CHECKF(same(&got, &to), "%s", cases[i].from);
        buf_free(&from);
        buf_free(&to);
        buf_free(&got);
    }
    struct buf got = nfc("a\xCC\x81\xFF\xCC\x81\xE2\x82z\xC3", 10);
    CHECK(got.len == 14 && memcmp(got.data, "\xC3\xA1\xEF\xBF\xBD\xCC\x81\xEF\xBF\xBDz\xEF\xBF\xBD", 14) == 0);
    buf_free(&got);
}

static void put_random(struct buf *out, size_t n)
{
    static const uint32_t ranges[][2] = {{0x20, 0x7F},     {0xC0, 0x180},    {0x300, 0x36F},     {0x300, 0x370},    {0x590, 0x600},
                                         {0x900, 0xE80},   {0x1100, 0x1200}, {0x1AB0, 0x1AFF},   {0x1E00, 0x2000},  {0x3040, 0x3100},
                                         {0xAC00, 0xD7A4}, {0xF900, 0xFB50}, {0x11000, 0x11700}, {0x1D150, 0x1D1F0}};
    while (n--) {
        const uint32_t *r = ranges[test_below(ARRAY_LEN(ranges))];
        uint32_t c = test_below(20) ? r[0] + (uint32_t)test_below(r[1] - r[0]) : (uint32_t)test_below(0x110000);
        char bytes[4];
        if (test_below(100) == 0)
            buf_putc(out, (char)test_random()); /* often ill-formed */
        else if (is_scalar(c))
            buf_append(out, bytes, utf8_encode(c, bytes));
    }
}

TEST(unicode_nfc_properties)
{
    for (int round = 0; round < 20000; round++) {
        struct buf text = {0};
        put_random(&text, 1 + (size_t)test_below(round % 100 ? 12 : 400));
        if (!text.data)
            continue;
        struct buf once = nfc(text.data, text.len), twice = nfc(once.data, once.len);
        CHECK(same(&once, &twice));
        CHECK(utf8_valid(once.data, once.len));
        size_t prefix = unicode_nfc_prefix(text.data, text.len);
        CHECK(prefix <= text.len && prefix <= once.len && memcmp(text.data, once.data, prefix) == 0);
        /* The rest of the text does not reach over a line end. */
        struct buf apart = {0}, line = {0}, joined;
        size_t cut = (size_t)test_below(text.len + 1);
        buf_append(&line, text.data, cut);
        buf_putc(&line, '\n');
        buf_append(&line, text.data + cut, text.len - cut);
        unicode_nfc(&apart, text.data, cut);
        buf_putc(&apart, '\n');
        unicode_nfc(&apart, text.data + cut, text.len - cut);
        joined = nfc(line.data, line.len);
        CHECK(same(&apart, &joined));
        buf_free(&text);
        buf_free(&once);
        buf_free(&twice);
        buf_free(&apart);
        buf_free(&line);
        buf_free(&joined);
    }
}

/* A megabyte each of what a simple implementation takes quadratic time for. */
TEST(unicode_nfc_hostile)
{
    static const char *const pieces[] = {"315 300 5AE", "301", "1161", "1100 1161 11A8", "AC00 11A8",
                                         "65 301",      "344", "FFFD", "F900",           "10FFFF"};
    for (size_t i = 0; i <= ARRAY_LEN(pieces); i++) {
        struct buf text = {0};
        while (text.len < 1000000) {
            if (i < ARRAY_LEN(pieces))
                put_code_points(&text, pieces[i]);
            else
                buf_puts(&text, "\xF0\x9F\x98");
        }
        clock_t begin = clock();
        struct buf once = nfc(text.data, text.len);
        CHECKF((double)(clock() - begin) / CLOCKS_PER_SEC < 5, "case %zu", i);
        struct buf twice = nfc(once.data, once.len);
        CHECK(same(&once, &twice));
        buf_free(&text);
        buf_free(&once);
        buf_free(&twice);
    }
}

/* ------------------------------------------------ against the database itself */

TEST(unicode_database)
{
    FILE *f = fopen("/usr/share/unicode/UnicodeData.txt", "r");
    if (!f)
        return;
    char line[1024];
    uint32_t first = 0;
    size_t wrong = 0;
    while (fgets(line, sizeof line, f)) {
        char *name = strchr(line, ';') + 1, *category = strchr(name, ';') + 1;
        uint32_t c = (uint32_t)strtoul(line, NULL, 16);
        if (!strstr(name, ", Last>"))
            first = c;
        for (; first <= c; first++) {
            enum unicode_class got = unicode_class(first);
            enum unicode_class expected = category[0] == 'L'   ? UNICODE_LETTER
                                          : category[0] == 'N' ? UNICODE_NUMBER
                                          : category[0] == 'M' ? UNICODE_MARK
                                                               : UNICODE_OTHER;
            wrong += got != expected && !(got == UNICODE_SPACE && (category[0] == 'Z' || category[0] == 'C'));
        }
        first = strstr(name, ", First>") ? c + 1 : first;
    }
    fclose(f);
    CHECKF(wrong == 0, "%zu code points", wrong);
}

/* NormalizationTest.txt: c1;c2;c3;... with NFC(c1) = NFC(c2) = NFC(c3) = c2 and NFC(c4) = NFC(c5) = c4;
 * characters that part 1 does not list are their own NFC. */
TEST(unicode_normalization_test)
{
    static const char path[] = "/usr/share/unicode/NormalizationTest.txt.bz2";
    static unsigned char listed[0x110000];
    char line[4096], command[128];
    if (access(path, R_OK) != 0)
        return;
    snprintf(command, sizeof command, "bzip2 -dc %s 2>/dev/null", path);
    FILE *f = popen(command, "r");
    size_t n = 0, wrong = 0;
    bool part1 = false;
    while (f && fgets(line, sizeof line, f)) {
        if (line[0] == '@')
            part1 = strncmp(line, "@Part1", 6) == 0;
        if (line[0] == '#' || line[0] == '@')
            continue;
        struct buf column[5] = {{0}};
        const char *at = line;
        for (size_t i = 0; i < 5; i++)
            at = put_code_points(&column[i], at) + 1;
        if (part1)
            listed[strtoul(line, NULL, 16)] = 1;
        for (size_t i = 0; i < 5; i++) {
            struct buf got = nfc(column[i].data, column[i].len);
            wrong += !same(&got, &column[i < 3 ? 1 : 3]);
            buf_free(&got);
        }
        for (size_t i = 0; i < 5; i++)
            buf_free(&column[i]);
        n++;
    }
    if (f)
        pclose(f);
    for (uint32_t c = 0; n > 0 && c < 0x110000; c++) {
        char bytes[4];
        if (!is_scalar(c) || listed[c])
            continue;
        size_t len = utf8_encode(c, bytes);
        struct buf got = nfc(bytes, len);
        wrong += got.len != len || memcmp(got.data, bytes, len) != 0;
        buf_free(&got);
    }
    CHECKF(wrong == 0, "%zu of %zu lines and unlisted characters", wrong, n);
}
