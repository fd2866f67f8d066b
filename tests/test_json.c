/* The JSON reader and writer: the grammar, hostile texts, numbers, round trips. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "json.h"
#include "utf8.h"

static bool parses(const char *text, size_t len)
{
    struct json j;
    struct sg_error err = {0};
    char *copy = test_guarded(len); /* a read past the end would fault */
    if (len)
        memcpy(copy, text, len);
    enum sg_status status = json_parse(&j, copy, len, &err);
    CHECK(status == SG_OK || (status == SG_USAGE && strstr(err.message, "at byte")));
    json_free(&j);
    return status == SG_OK;
}

TEST(json_grammar)
{
    static const char *const good[] = {
        "0",
        "-0",
        "12",
        "-1.5e+10",
        "1E5",
        "0.0",
        "1e-400",
        "true",
        "false",
        "null",
        "\"\"",
        "\"a\\\"b\"",
        "[]",
        "{}",
        "[ ]",
        "{ }",
        " [1 , 2,\t3]\r\n",
        "[[],{},[{}]]",
        "{\"a\":1,\"a\":2}",
        "{\"\":{\"\":[]}}",
        "\"\\u0041\\ud83d\\ude00\\ud800\"",
        "\"\x7f\xc2\xa0\xef\xbf\xbd\xf4\x8f\xbf\xbf\"",
        "[1,[2,[3,[4]]],{\"k\":[5]}]",
    };
    static const char *const wrong[] = {
        "",
        " ",
        "01",
        "-",
        "-a",
        "+1",
        ".5",
        "1.",
        "1.e3",
        "1e",
        "1e+",
        "0x10",
        "NaN",
        "Infinity",
        "tru",
        "nulll",
        "True",
        "\"",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"a\nb\"",
        "'a'",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{",
        "}",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":}",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{a:1}",
        "{1:2}",
        "{\"a\" 1}",
        "{,}",
        "[1}",
        "{\"a\":1]",
        "1 2",
        "[] []",
        "\"\xff\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "\"\xe2\x82\"",
        "\xef\xbb\xbf{}",
        "[1]x",
        "//",
        "[1,/**/2]",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1,,\"b\":2}",
        "[[]",
        "\"\\",
        "\"\\u\"",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECKF(parses(good[i], strlen(good[i])), "%s", good[i]);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECKF(!parses(wrong[i], strlen(wrong[i])), "%s", wrong[i]);
    CHECK(!parses("\"a\0b\"", 5));
    CHECK(!parses("1\0", 2));
    CHECK(!parses("\"\\\0\"", 4));
}

TEST(json_messages)
{
    struct json j;
    struct sg_error err;
    CHECK(json_parse(&j, "{\"a\": \"x\xff\"}", 11, &err) == SG_USAGE);
    CHECKF(strcmp(err.message, "invalid JSON at byte 8: this is not UTF-8") == 0, "%s", err.message);
    json_free(&j);
    CHECK(json_parse(&j, "[1, 2", 5, &err) == SG_USAGE);
    CHECKF(strcmp(err.message, "invalid JSON at byte 5: the text ends too early") == 0, "%s", err.message);
    json_free(&j);
    CHECK(json_parse(&j, "[1, 2", 5, NULL) == SG_USAGE);
    json_free(&j);
}

TEST(json_hostile)
{
    /* Deep nesting ends at the cap, whatever follows. */
    for (size_t depth = JSON_MAX_DEPTH - 1; depth <= JSON_MAX_DEPTH + 1; depth++) {
        char text[2 * JSON_MAX_DEPTH + 2];
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        CHECK(parses(text, 2 * depth) == (depth <= JSON_MAX_DEPTH));
    }
    size_t n = (size_t)4 << 20;
    char *text = malloc(n);
    for (size_t i = 0; i < n; i++)
        text[i] = i % 2 ? '1' : '[';
    struct json j;
    CHECK(json_parse(&j, text, n, NULL) == SG_USAGE);
    json_free(&j);
    memset(text, '[', n);
    CHECK(json_parse(&j, text, n, NULL) == SG_USAGE);
    json_free(&j);

    /* A wide object is walked in linear time. */
    size_t len = 0, members = 0, walked = 0;
    text[len++] = '{';
    while (len < n - 64) {
        len += (size_t)sprintf(text + len, "%s\"k%zu\":[%zu]", members ? "," : "", members, members);
        members++;
    }
    text[len++] = '}';
    CHECK(json_parse(&j, text, len, NULL) == SG_OK);
    for (const struct json_node *k = json_first(&j, j.nodes); k; k = json_next(&j, j.nodes, json_next(&j, j.nodes, k)))
        walked++;
    CHECK(walked == members && j.nodes->count == members);
    json_free(&j);
    free(text);

    /* Every prefix and random damage of a valid text: an answer, never a crash. */
    static const char valid[] =
        "{\"a\": [1, -2.5e-3, \"x\\u00e9\\ud83d\\ude00\\n\", true], \"b\\\"\": {\"c\": null, \"\xe2\x82\xac\": []}}";
    for (size_t i = 0; i < sizeof valid - 1; i++)
        CHECK(!parses(valid, i));
    CHECK(parses(valid, sizeof valid - 1));
    for (int round = 0; round < 2000; round++) {
        static const char marks[] = "[]{},:\"\\u0e-.1tfn \xff\xc3\xa9\0";
        char damaged[sizeof valid];
        memcpy(damaged, valid, sizeof valid);
        for (uint64_t k = 1 + test_below(4); k > 0; k--)
            damaged[test_below(sizeof valid - 1)] = marks[test_below(sizeof marks - 1)];
        if (json_parse(&j, damaged, sizeof valid - 1, NULL) == SG_OK) {
            struct buf out = {0}, again = {0};
            struct json second;
            json_put_spaced(&out, &j, j.nodes);
            CHECK(json_parse(&second, out.data, out.len, NULL) == SG_OK && second.n_nodes == j.n_nodes);
            json_put_spaced(&again, &second, second.nodes);
            CHECK(out.len == again.len && memcmp(out.data, again.data, out.len) == 0);
            json_free(&second);
            buf_free(&out);
            buf_free(&again);
        }
        json_free(&j);
    }
}

TEST(json_access)
{
    static const char text[] =
        "{\"a\": 1, \"list\": [10, [11], {\"x\": 12}], \"a\": 2, \"\\u0061b\": \"\\ud800x\\udc00\\ud83d\\ude00\\/\", \"z\\u0000\": 3}";
    struct json j;
    CHECK(json_parse(&j, text, sizeof text - 1, NULL) == SG_OK);
    int64_t n;
    CHECK(json_int(&j, json_get(&j, j.nodes, "a"), &n) && n == 2);
    CHECK(!json_get(&j, j.nodes, "z") && !json_get(&j, j.nodes, "zz") && !json_get(&j, j.nodes, ""));
    CHECK(!json_get(&j, NULL, "a") && !json_get(&j, json_get(&j, j.nodes, "a"), "a"));
    const struct json_node *list = json_get(&j, j.nodes, "list"), *e = json_first(&j, list);
    CHECK(list->count == 3 && json_int(&j, e, &n) && n == 10);
    e = json_next(&j, list, e);
    CHECK(e->type == JSON_ARRAY && json_int(&j, json_first(&j, e), &n) && n == 11);
    e = json_next(&j, list, e);
    CHECK(json_int(&j, json_get(&j, e, "x"), &n) && n == 12 && !json_next(&j, list, e));
    CHECK(!json_first(&j, json_first(&j, list)) && !json_first(&j, NULL));
    struct buf s = {0};
    json_string(&j, json_get(&j, j.nodes, "ab"), &s);
    CHECK(strcmp(s.data, "\xef\xbf\xbdx\xef\xbf\xbd\xf0\x9f\x98\x80/") == 0);
    CHECK(json_string_equal(&j, json_get(&j, j.nodes, "ab"), s.data) && !json_string_equal(&j, list, "list") &&
          !json_string_equal(&j, NULL, ""));
    buf_free(&s);
    json_string(&j, NULL, &s);
    CHECK(s.len == 0);
    json_free(&j);
}

static struct json one; /* of the number helpers below */

static const struct json_node *number(const char *text)
{
    json_free(&one);
    CHECKF(json_parse(&one, text, strlen(text), NULL) == SG_OK, "%s", text);
    return one.nodes;
}

TEST(json_integers)
{
    static const struct {
        const char *text;
        bool is_int, is_uint;
        int64_t i;
        uint64_t u;
    } cases[] = {
        {"0", true, true, 0, 0},
        {"-0", true, true, 0, 0},
        {"-0.0e5", true, true, 0, 0},
        {"0e999999999999999999999", true, true, 0, 0},
        {"12.000", true, true, 12, 12},
        {"1.2e1", true, true, 12, 12},
        {"1200e-2", true, true, 12, 12},
        {"0.0012e4", true, true, 12, 12},
        {"-7", true, false, -7, 0},
        {"9223372036854775807", true, true, INT64_MAX, INT64_MAX},
        {"-9223372036854775808", true, false, INT64_MIN, 0},
        {"9223372036854775808", false, true, 0, (uint64_t)1 << 63},
        {"-9223372036854775809", false, false, 0, 0},
        {"18446744073709551615", false, true, 0, UINT64_MAX},
        {"18446744073709551616", false, false, 0, 0},
        {"1e19", false, true, 0, 10000000000000000000u},
        {"1e20", false, false, 0, 0},
        {"1e99999999999999999999999", false, false, 0, 0},
        {"1e-99999999999999999999999", false, false, 0, 0},
        {"1.5", false, false, 0, 0},
        {"true", false, false, 0, 0},
        {"\"1\"", false, false, 0, 0},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        int64_t i = 0;
        uint64_t u = 0;
        const struct json_node *node = number(cases[k].text);
        CHECKF(json_int(&one, node, &i) == cases[k].is_int && (!cases[k].is_int || i == cases[k].i), "%s", cases[k].text);
        CHECKF(json_uint(&one, node, &u) == cases[k].is_uint && (!cases[k].is_uint || u == cases[k].u), "%s", cases[k].text);
    }
    CHECK(!json_int(&one, NULL, &(int64_t){0}) && !json_uint(&one, NULL, &(uint64_t){0}) && !json_double(&one, NULL, &(double){0}));
    json_free(&one);
}

static void double_round_trip(double value)
{
    char exact[64];
    struct buf out = {0};
    double back = 0;
    snprintf(exact, sizeof exact, "%.17g", value);
    CHECKF(json_double(&one, number(exact), &back) && memcmp(&back, &value, sizeof value) == 0, "%s", exact);
    json_put_double(&out, value);
    CHECKF(json_double(&one, number(out.data), &back) && memcmp(&back, &value, sizeof value) == 0, "%s from %s", out.data, exact);
    /* No shorter decimal does: neither neighbour of one digit fewer. */
    int digits = 0, zeros = 0, leading = 1;
    for (const char *s = out.data; *s && *s != 'e'; s++) {
        if (*s < '0' || *s > '9')
            continue;
        leading &= *s == '0';
        digits += !leading;
        zeros = *s == '0' ? zeros + 1 : 0;
    }
    digits -= zeros;
    if (digits > 1) {
        char shorter[64];
        snprintf(shorter, sizeof shorter, "%.*e", digits - 2, value);
        CHECKF(strtod(shorter, NULL) != value, "%s is shorter than %s", shorter, out.data);
    }
    buf_free(&out);
}

TEST(json_doubles)
{
    static const struct {
        double value;
        const char *text;
    } shown[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {100, "100"},
        {1e16, "10000000000000000"},
        {1e17, "1e+17"},
        {123456789012345680.0, "1.2345678901234568e+17"},
        {0.0001, "0.0001"},
        {0.00001, "0.00001"},
        {1e-6, "1e-6"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {618970019642690137449562112.0, "6.189700196426902e+26"}, /* 2^89: the nearest of 16 digits does not read back */
        {9007199254740993.0, "9007199254740992"},
        {0.3, "0.3"},
        {1.0 / 3, "0.3333333333333333"},
        {NAN, "null"},
        {INFINITY, "null"},
        {-INFINITY, "null"},
    };
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
        struct buf out = {0};
        json_put_double(&out, shown[i].value);
        CHECKF(strcmp(out.data, shown[i].text) == 0, "%s, expected %s", out.data, shown[i].text);
        buf_free(&out);
    }
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = test_random();
        double value;
        if (i % 4 == 0)
            bits &= 0xFFF0000000000000u; /* powers of two */
        if (i % 16 == 1)
            bits &= 0x800FFFFFFFFFFFFFu; /* subnormal */
        memcpy(&value, &bits, sizeof value);
        if (i % 4 == 3)
            value = (double)(int64_t)test_below(1000000) / 1000;
        if (isfinite(value))
            double_round_trip(value);
    }
    /* Long and extreme texts are rounded as strtod rounds them. */
    static const char *const texts[] = {"1e-400",
                                        "2.4703282292062328e-324",
                                        "2.4703282292062327e-324",
                                        "4.9e-324",
                                        "1e308",
                                        "179769313486231580793e288",
                                        "0.000000000000000000000000000000000000000000000000000001e54",
                                        "100000000000000000000000000000000000000e-38"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        double value = -1;
        CHECKF(json_double(&one, number(texts[i]), &value) && value == strtod(texts[i], NULL), "%s", texts[i]);
    }
    double value;
    CHECK(!json_double(&one, number("1e309"), &value) && !json_double(&one, number("-1e99999999999999999999"), &value));
    /* 1 + 2^-53 is halfway between two doubles; a digit far behind decides. */
    static char tie[3000];
    size_t len = (size_t)sprintf(tie, "1.00000000000000011102230246251565404236316680908203125");
    memset(tie + len, '0', 2000);
    CHECK(json_double(&one, number(tie), &value) && value == 1);
    strcpy(tie + len + 2000, "1");
    CHECK(json_double(&one, number(tie), &value) && value == 1 + DBL_EPSILON);
    json_free(&one);
}

TEST(json_writer)
{
    struct buf out = {0};
    static const char raw[] = "a\"\\/\b\f\n\r\t\x01\x1f\x7f\0\xc3\xa9\xff\xe2\x82<>&'\xef\xbf\xbd";
    json_put_string(&out, raw, sizeof raw - 1);
    CHECKF(strcmp(out.data, "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\\u0000\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd<>&'\xef\xbf\xbd\"") == 0,
           "%s", out.data);
    buf_free(&out);
    json_put_string(&out, NULL, 0);
    CHECK(strcmp(out.data, "\"\"") == 0);
    buf_free(&out);

    /* Whatever bytes go in come back, but for what is not UTF-8. */
    for (int round = 0; round < 500; round++) {
        char bytes[40], expected[160];
        size_t n = test_below(sizeof bytes), m = 0;
        for (size_t i = 0; i < n; i++)
            bytes[i] = (char)(test_below(3) ? test_random() : test_below(128));
        for (size_t i = 0; i < n;) {
            uint32_t c;
            i += utf8_decode(bytes + i, n - i, &c);
            m += utf8_encode(c, expected + m);
        }
        struct buf text = {0}, back = {0};
        struct json j;
        json_put_string(&text, bytes, n);
        CHECK(json_parse(&j, text.data, text.len, NULL) == SG_OK);
        json_string(&j, j.nodes, &back);
        CHECK(back.len == m && (m == 0 || memcmp(back.data, expected, m) == 0));
        json_free(&j);
        buf_free(&text);
        buf_free(&back);
    }

    static const char tight[] = " {\"a\":[1,2.50,{\"b\":null,\"c\":[ ]},{ }],\"\\u00e9\\/\":\"<\\u0001\\ud800>\",\"n\":-1E+5} ";
    struct json j;
    CHECK(json_parse(&j, tight, sizeof tight - 1, NULL) == SG_OK);
    json_put_spaced(&out, &j, j.nodes);
    CHECKF(strcmp(out.data, "{\"a\": [1, 2.50, {\"b\": null, \"c\": []}, {}], \"\xc3\xa9/\": \"<\\u0001\xef\xbf\xbd>\", \"n\": -1E+5}") ==
               0,
           "%s", out.data);
    buf_free(&out);
    json_put_spaced(&out, &j, json_get(&j, j.nodes, "n"));
    CHECK(strcmp(out.data, "-1E+5") == 0);
    buf_free(&out);
    json_free(&j);
}
