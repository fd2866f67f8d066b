/* Streaming output: word wrap, safety, thinking; seen through the terminal of vt.h. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cells.h"
#include "cli/display.h"
#include "utf8.h"
#include "vt.h"

/* What the screen shows of text that arrives in pieces of up to `piece` bytes (0: random). */
static char *shown(const char *text, size_t len, size_t width, size_t piece, bool join)
{
    struct display d = {.tty = true, .codes = true, .colour = true, .wrap = true, .width = width};
    struct vt vt;
    vt_open(&vt, width, 24);
    for (size_t i = 0; i < len;) {
        size_t n = piece ? piece : 1 + (size_t)test_below(9);
        n = n < len - i ? n : len - i;
        display_answer(&d, text + i, n);
        vt_write(&vt, d.out.data, d.out.len);
        d.out.len = 0;
        i += n;
    }
    display_end(&d);
    vt_write(&vt, d.out.data, d.out.len);
    CHECKF(vt.hazards == 0, "%zu hazards", vt.hazards);
    CHECK(vt.col == 0);
    char *result = vt_text(&vt, join);
    vt_close(&vt);
    display_free(&d);
    return result;
}

static void check_shown(const char *text, size_t width, const char *expected)
{
    for (size_t piece = 0; piece < 6; piece++) {
        char *got = shown(text, strlen(text), width, piece, false);
        CHECKF(strcmp(got, expected) == 0, "in pieces of %zu: \"%s\", expected \"%s\"", piece, got, expected);
        free(got);
    }
}

TEST(display_wraps)
{
    check_shown("The quick brown fox jumps over the lazy dog.", 20, "The quick brown fox\njumps over the lazy\ndog.");
    check_shown("The quick brown foxes jump.", 20, "The quick brown\nfoxes jump.");
    check_shown("12345678901234567890 next", 20, "12345678901234567890\nnext"); /* exactly full */
    check_shown("123456789 1234567890 next", 20, "123456789 1234567890\nnext");
    check_shown("a word-that-is-longer-than-any-line b", 20, "a\nword-that-is-longer-\nthan-any-line b");
    check_shown("one\n\n  two\n    three four five six", 20, "one\n\n  two\n    three four five\nsix");
    check_shown("- item one two three four\n- five", 20, "- item one two three\nfour\n- five");
    check_shown("a\tb\tcccccccccccc", 20, "a       b\ncccccccccccc");
    check_shown("no\xC2\xA0"
                "break between these words",
                14,
                "no\xC2\xA0"
                "break\nbetween these\nwords");
    /* Wide characters: breaks between them, but not before their closing punctuation. */
    check_shown("\xE6\xBC\xA2\xE5\xAD\x97\xE6\xBC\xA2\xE5\xAD\x97\xE6\xBC\xA2\xE5\xAD\x97", 7,
                "\xE6\xBC\xA2\xE5\xAD\x97\xE6\xBC\xA2\n\xE5\xAD\x97\xE6\xBC\xA2\xE5\xAD\x97");
    check_shown("\xE6\xBC\xA2\xE5\xAD\x97\xE6\xBC\xA2\xE5\xAD\x97\xE3\x80\x82\xE6\xBC\xA2", 8,
                "\xE6\xBC\xA2\xE5\xAD\x97\xE6\xBC\xA2\n\xE5\xAD\x97\xE3\x80\x82\xE6\xBC\xA2");
    check_shown("ab \xF0\x9F\x98\x80\xF0\x9F\x98\x80 cd", 7, "ab \xF0\x9F\x98\x80\xF0\x9F\x98\x80\ncd");
    check_shown("caf\xC3\xA9 cafe\xCC\x81 xx", 10, "caf\xC3\xA9 cafe\xCC\x81\nxx"); /* marks take no room */
    /* Code and tables are the terminal's business. */
    check_shown("```\nint a = 1; int b = 2;\n```\nand words after the code", 20,
                "```\nint a = 1; int b = 2\n;\n```\nand words after the\ncode");
    check_shown("~~~~\n```\naaaaa bbbb cccc dddd eeee\n~~~~\naaaa bbbb cccc dddd eeee", 20,
                "~~~~\n```\naaaaa bbbb cccc dddd\n eeee\n~~~~\naaaa bbbb cccc dddd\neeee");
    check_shown("| aaaa | bbbb | cccc |\naaaa bbbb cccc dddd eeee", 20, "| aaaa | bbbb | cccc\n |\naaaa bbbb cccc dddd\neeee");
    check_shown("\n\nanswer", 20, "answer");
    check_shown("", 20, "");
}

/* Whatever arrives, in whatever pieces: the same screen, no word torn that fits, and the
 * text itself when line breaks and spaces count alike. */
TEST(display_random)
{
    static const char *const words[] = {"a",
                                        "of",
                                        "the",
                                        "word",
                                        "sentence",
                                        "incomprehensibilities",
                                        "\xE6\xBC\xA2\xE5\xAD\x97",
                                        "\xF0\x9F\x98\x80",
                                        "na\xC3\xAFve",
                                        "x\xCC\x81y",
                                        "(",
                                        ")",
                                        ",",
                                        "--option=value",
                                        "https://example.com/a/rather/long/path?with=query"};
    static const size_t widths[] = {4, 10, 20, 40, 80, 200};
    for (int round = 0; round < 300; round++) {
        struct buf text = {0};
        for (uint64_t n = 1 + test_below(60); n > 0; n--) {
            buf_puts(&text, words[test_below(sizeof words / sizeof *words)]);
            uint64_t sep = test_below(12);
            buf_puts(&text, sep == 0 ? "\n" : sep == 1 ? "\n\n" : sep == 2 ? "" : sep == 3 ? "  " : " ");
        }
        size_t width = widths[test_below(6)];
        char *whole = shown(text.data, text.len, width, text.len, false);
        char *pieces = shown(text.data, text.len, width, 0, false);
        char *bytes = shown(text.data, text.len, width, 1, false);
        CHECKF(strcmp(whole, pieces) == 0 && strcmp(whole, bytes) == 0, "width %zu: \"%s\"", width, text.data);
        char *copied = shown(text.data, text.len, width, 0, true);
        char *a = copied, *b = text.data;
        for (;;) {
            a += strspn(a, " \n");
            b += strspn(b, " \n");
            if (!*a || !*b || *a != *b)
                break;
            a++;
            b++;
        }
        CHECKF(!*a && !*b, "width %zu: \"%s\" became \"%s\"", width, text.data, copied);
        free(whole);
        free(pieces);
        free(bytes);
        free(copied);
        buf_free(&text);
    }
}

TEST(display_escapes)
{
    check_shown("\x1B[31mred\x07", 40, "\\x1B[31mred\\x07");
    check_shown("a\rb\b\x7F", 40, "a\\x0Db\\x08\\x7F");
    check_shown("\xC2\x9B"
                "31m",
                40, "\\u009B31m"); /* CSI as one C1 character */
    check_shown("\x9B"
                "31m",
                40, "\\x9B31m");               /* and as a byte */
    check_shown("\xE6\xBC", 40, "\\xE6\\xBC"); /* an unfinished character at the end */
    check_shown("\xF0\x9F\x98x", 40, "\\xF0\\x9F\\x98x");
    check_shown("\xE2\x80\xAE"
                "evil\xE2\x81\xA6",
                40, "\\u202Eevil\\u2066");
    check_shown("\xF3\xA0\x81\x81", 40, "\\U000E0041"); /* an invisible letter */
    check_shown("\xEF\xBF\xBD", 40, "\xEF\xBF\xBD");    /* U+FFFD itself is a character */
    /* Any bytes at all, in any pieces. */
    for (int round = 0; round < 200; round++) {
        char noise[300];
        size_t n = (size_t)test_below(sizeof noise);
        for (size_t i = 0; i < n; i++)
            noise[i] = (char)(test_below(3) ? test_random() : 0x1B);
        char *a = shown(noise, n, 20, 0, false), *b = shown(noise, n, 20, n, false);
        CHECK(strcmp(a, b) == 0);
        free(a);
        free(b);
    }
    struct buf name = {0};
    cells_put_escaped(&name, "a\nb\t\x1B\xFF", 6);
    CHECK(strcmp(name.data, "a\\x0Ab\\x09\\x1B\\xFF") == 0);
    CHECK(cells_width("a\nb", 3) == 6 && cells_width("\xE6\xBC\xA2"
                                                     "a",
                                                     4) == 3);
    buf_free(&name);
    /* Without a terminal bytes stay bytes. */
    struct display d = {.wrap = true, .width = 20};
    const char *raw = "\x1B[31m and a line that is longer than twenty\r\xFF";
    display_think(&d, "thoughts", 8, 1);
    display_answer(&d, raw, strlen(raw));
    display_end(&d);
    CHECK(d.out.len == strlen(raw) + 1 && memcmp(d.out.data, raw, strlen(raw)) == 0 && d.out.data[d.out.len - 1] == '\n');
    display_free(&d);
}

static void check_thinking(struct display d, const char *expected)
{
    d.tty = true;
    d.width = 30;
    d.wrap = true;
    display_think(&d, "\nLet me ", 8, 2);
    display_think(&d, "think.\n", 7, 4);
    display_answer(&d, "\n\nForty", 7);
    display_answer(&d, " two.", 5);
    display_end(&d);
    buf_putc(&d.out, 0);
    CHECKF(strcmp(d.out.data, expected) == 0, "\"%s\"", d.out.data);
    display_free(&d);
}

TEST(display_thinking)
{
    check_thinking((struct display){.codes = true, .colour = true}, "\x1B[2mLet me think.\n\x1B[0m\nForty two.\n");
    check_thinking((struct display){.codes = true}, "(thinking)\nLet me think.\n(end of thinking)\n\nForty two.\n");
    check_thinking((struct display){.thinking = DISPLAY_THINKING_HIDE}, "Forty two.\n");
    check_thinking(
        (struct display){.codes = true, .colour = true, .thinking = DISPLAY_THINKING_COUNT},
        "\r\x1B[2mthinking: 2 tokens\x1B[0m\r\x1B[2mthinking: 4 tokens\x1B[0m\r\x1B[K\x1B[2m(thought: 4 tokens)\x1B[0m\nForty two.\n");
    check_thinking((struct display){.thinking = DISPLAY_THINKING_COUNT}, "(thought: 4 tokens)\nForty two.\n");
    check_thinking((struct display){.codes = true, .thinking = DISPLAY_THINKING_HIDE},
                   "\rthinking: 2 tokens\rthinking: 4 tokens\r\x1B[KForty two.\n");
    /* Stopped while thinking: the colour ends. */
    struct display d = {.tty = true, .codes = true, .colour = true, .width = 30, .wrap = true};
    display_think(&d, "Hm", 2, 1);
    display_end(&d);
    buf_putc(&d.out, 0);
    CHECK(strcmp(d.out.data, "\x1B[2mHm\n\x1B[0m\n") == 0);
    display_free(&d);
}
