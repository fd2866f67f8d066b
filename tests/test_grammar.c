/* Expressions, regular expressions, GBNF, automata, token masks. */
#include <regex.h> /* POSIX: the second opinion on regular expressions */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "automaton.h"
#include "check.h"
#include "gbnf.h"
#include "matcher.h"
#include "regexp.h"
#include "utf8.h"
#include "vocabulary.h"

/* A grammar with everything that is needed to run it. */
struct subject {
    struct exprs g;
    struct automaton a;
    struct matching *matching;
    struct sg_error err;
};

static void subject_close(struct subject *s)
{
    matching_close(s->matching);
    automaton_free(&s->a);
    exprs_free(&s->g);
    *s = (struct subject){0};
}

static enum sg_status finish(struct subject *s, enum sg_status status, uint32_t root, const struct trie *t)
{
    if (status == SG_OK)
        status = automaton_build(&s->a, &s->g, root, &s->err);
    if (status == SG_OK)
        status = matching_open(&s->matching, &s->a, t, &s->err);
    return status;
}

static enum sg_status open_gbnf(struct subject *s, const char *text, size_t len, const struct trie *t)
{
    uint32_t root = 0;
    *s = (struct subject){0};
    return finish(s, gbnf_parse(&s->g, text, len, &root, &s->err), root, t);
}

static enum sg_status open_regex(struct subject *s, const char *text, size_t len, bool search, const struct trie *t)
{
    uint32_t node = 0;
    *s = (struct subject){0};
    enum sg_status status = regexp_parse(&s->g, text, len, search, &node, &s->err);
    uint32_t root = rule_new(&s->g, NULL, 0);
    rule_define(&s->g, root, node);
    return finish(s, status, root, t);
}

static bool accepts(struct subject *s, const char *text, size_t len)
{
    struct matcher m;
    matcher_start(&m, s->matching);
    matcher_read(&m, text, len);
    bool yes = matcher_complete(&m);
    matcher_stop(&m);
    return yes;
}

/* A vocabulary of the 256 bytes, one end token, and some longer tokens. */
static const struct trie *small_vocabulary(void)
{
    static struct trie t;
    static char bytes[256];
    static struct sg_str tokens[300];
    if (!t.n_vocab) {
        static const char *const words[] = {"ab",       "abc",      "bca", "aaaa", "\"",   "\",", "\": \"",
                                            "\xC3\xA9", "\x82\xAC", "  ",  "a",    "true", "}}",  "null"};
        for (size_t i = 0; i < 256; i++) {
            bytes[i] = (char)i;
            tokens[i] = (struct sg_str){&bytes[i], 1};
        }
        for (size_t i = 0; i < ARRAY_LEN(words); i++)
            tokens[257 + i] = (struct sg_str){words[i], strlen(words[i])};
        if (trie_build(&t, tokens, 257 + ARRAY_LEN(words), (const int32_t[]){256}, 1, NULL) != SG_OK)
            abort();
    }
    return &t;
}

TEST(grammar_classes)
{
    for (int round = 0; round < 30; round++) {
        struct charset s = {0};
        for (uint64_t i = 0, n = 1 + test_below(6); i < n; i++) {
            static const uint32_t edges[] = {0,      0x7F,   0x80,   0x7FF,  0x800,   0xFFF,    0x1000,  0xD7FF,
                                             0xD800, 0xDFFF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF, 0x3FFFF, 0x40000};
            uint32_t lo = (uint32_t)(test_below(3) ? edges[test_below(ARRAY_LEN(edges))] : test_below(0x110000));
            uint32_t hi = (uint32_t)(test_below(3) ? lo + test_below(300) : test_below(0x110000));
            if (lo <= hi)
                charset_add(&s, lo, hi);
        }
        charset_finish(&s);
        if (test_below(2))
            charset_negate(&s);
        struct exprs g = {0};
        struct automaton a;
        uint32_t root = rule_new(&g, NULL, 0);
        rule_define(&g, root, expr_class(&g, &s));
        struct sg_error err;
        enum sg_status status = automaton_build(&a, &g, root, &err);
        CHECK(status == (s.n ? SG_OK : SG_USAGE));
        struct machine *m = status == SG_OK ? machine_open(&a, 4) : NULL;
        uint32_t wrong = 0;
        for (uint32_t c = 0; m && c < 0x110000; c += c % 0x1000 < 0x20 || c % 64 > 61 || c < 0x1000 ? 1 : 1 + (uint32_t)test_below(60)) {
            char text[4];
            if (c >= 0xD800 && c <= 0xDFFF)
                continue;
            uint32_t set = machine_start(m);
            for (size_t i = 0, n = utf8_encode(c, text); i < n; i++)
                set = machine_step(m, set, a.class_of[(uint8_t)text[i]]);
            wrong += m->sets[set].accept != charset_has(&s, c);
        }
        CHECKF(wrong == 0, "%u characters", wrong);
        /* no byte string that is not UTF-8 is accepted */
        for (int i = 0; m && i < 2000; i++) {
            char text[4];
            size_t n = 1 + test_below(4);
            uint32_t set = machine_start(m);
            for (size_t k = 0; k < n; k++) {
                text[k] = (char)(test_below(4) ? 0x80 + test_below(0x80) : test_below(256));
                set = machine_step(m, set, a.class_of[(uint8_t)text[k]]);
            }
            CHECK(!m->sets[set].accept || utf8_valid(text, n));
        }
        machine_close(m);
        automaton_free(&a);
        exprs_free(&g);
        charset_free(&s);
    }
}

/* Appends a random regular expression over a, b, c. */
static void random_regex(char *out, size_t size, int depth)
{
    size_t n = strlen(out), pieces = 1 + test_below(3);
    if (n + 64 > size)
        return;
    for (size_t i = 0; i < pieces; i++) {
        switch (depth > 0 ? test_below(6) : test_below(3)) {
        case 0:
            strcat(out, (const char *[]){"a", "b", "c"}[test_below(3)]);
            break;
        case 1:
            strcat(out, (const char *[]){"[ab]", "[^a]", "[a-c]"}[test_below(3)]);
            break;
        case 2:
            strcat(out, ".");
            break;
        default:
            strcat(out, "(");
            random_regex(out, size, depth - 1);
            if (test_below(2)) {
                strcat(out, "|");
                random_regex(out, size, depth - 1);
            }
            strcat(out, ")");
        }
        if (strlen(out) + 64 > size)
            return;
        strcat(out, (const char *[]){"", "", "", "*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}"}[test_below(10)]);
    }
}

TEST(grammar_regex_agrees_with_posix)
{
    size_t yes = 0, no = 0;
    for (int round = 0; round < 400; round++) {
        char pattern[600] = "", anchored[640];
        random_regex(pattern, sizeof pattern, 3);
        bool search = test_below(2);
        snprintf(anchored, sizeof anchored, search ? "%s" : "^(%s)$", pattern);
        if (search && test_below(2))
            snprintf(anchored, sizeof anchored, "^%s", pattern);
        else if (search && test_below(2))
            snprintf(anchored, sizeof anchored, "%s$", pattern);
        regex_t posix;
        struct subject s;
        if (strlen(pattern) > 60 || regcomp(&posix, anchored, REG_EXTENDED | REG_NOSUB) != 0)
            continue;
        const char *mine = search ? anchored : pattern;
        if (CHECKF(open_regex(&s, mine, strlen(mine), search, small_vocabulary()) == SG_OK, "%s: %s", mine, s.err.message)) {
            for (int i = 0; i < 120; i++) {
                char text[12] = "";
                for (size_t k = 0, n = test_below(9); k < n; k++)
                    text[k] = (char)('a' + test_below(3));
                bool expected = regexec(&posix, text, 0, NULL, 0) == 0;
                yes += expected;
                no += !expected;
                CHECKF(accepts(&s, text, strlen(text)) == expected, "%s on \"%s\": posix says %d", mine, text, expected);
            }
        }
        subject_close(&s);
        regfree(&posix);
    }
    CHECK(yes > 5000 && no > 5000);
}

TEST(grammar_regex_syntax)
{
    static const struct {
        const char *pattern, *yes, *no;
    } cases[] = {
        {"\\d{3}-\\d{4}", "555-0123", "555-012"},
        {"[\\w.+-]+@[a-z]+\\.(com|org)", "a.b+c@ex.org", "a@b.net"},
        {"(?:ab|cd)+?x", "abcdx", "x"},
        {"(?<year>[0-9]{4})", "2024", "202"},
        {"\\u00e9\\x41\\u{1F600}",
         "\xC3\xA9"
         "A\xF0\x9F\x98\x80",
         "eA"},
        {"\\uD83D\\uDE00", "\xF0\x9F\x98\x80", ""},
        {"^abc$", "abc", "ab"},
        {"^abc$|^x$", "x", "abcx"},
        {"[\\]\\-^]", "-", "a"},
        {"[a-]+", "a-a", "b"},
        {"\\.\\*\\\\", ".*\\", "x"},
        {"{a}", "{a}", "a"},
        {"a{,2}", "a{,2}", "aa"},
        {"\\S\\s\\S", "a b", "a  "},
        {".", "\xE2\x82\xAC", "\n"},
        {"a.", "a\t", "a\xE2\x80\xA8"},
        {"", "", "a"},
        {"a|", "", "b"},
        {"[^\\d]", "x", "7"},
        {"a{1,1000000000}", "aaaaaaaa", ""},
        {"(a{2,3}){2}", "aaaaaa", "aaa"},
        {"(a?){3}b", "aab", "aaaab"},
        {"(ab){70,80}", "", "ab"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct subject s;
        if (!CHECKF(open_regex(&s, cases[i].pattern, strlen(cases[i].pattern), false, small_vocabulary()) == SG_OK, "%s: %s",
                    cases[i].pattern, s.err.message))
            continue;
        if (i + 1 < ARRAY_LEN(cases))
            CHECKF(accepts(&s, cases[i].yes, strlen(cases[i].yes)), "%s should match", cases[i].pattern);
        CHECKF(!accepts(&s, cases[i].no, strlen(cases[i].no)), "%s should not match %s", cases[i].pattern, cases[i].no);
        subject_close(&s);
    }
    static const char *const bad[] = {
        "(",           ")",       "a)",     "[",       "[]",  "[^]",   "*",      "+a",   "a**",    "a{2,1}", "a{1000000001}",
        "(?=a)",       "(?!a)",   "(?<=a)", "(?i)a",   "\\1", "\\b",   "\\p{L}", "\\",   "\\q",    "\\x4",   "\\u12",
        "\\u{110000}", "\\uD800", "[b-a]",  "[\\d-z]", "a^b", "(a$)b", "^^a",    "\xFF", "a\\u{}", "\\08"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct subject s;
        CHECKF(open_regex(&s, bad[i], strlen(bad[i]), false, small_vocabulary()) == SG_USAGE, "%s", bad[i]);
        CHECK(s.err.message[0]);
        subject_close(&s);
    }
}

TEST(grammar_regex_anchors_in_a_search)
{
    static const struct {
        const char *pattern, *yes, *no;
    } cases[] = {
        {"b", "abc", "ac"},    {"^b", "bcd", "ab"},     {"b$", "ab", "ba"},        {"^b$", "b", "bb"},
        {"^a|b$", "ax", "bx"}, {"(^|,)x", "a,x", "ax"}, {"(^a|b)c", "xbc", "xac"}, {"x(a|b$)", "xac", "xbc"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct subject s;
        CHECK(open_regex(&s, cases[i].pattern, strlen(cases[i].pattern), true, small_vocabulary()) == SG_OK);
        CHECKF(accepts(&s, cases[i].yes, strlen(cases[i].yes)), "%s on %s", cases[i].pattern, cases[i].yes);
        CHECKF(!accepts(&s, cases[i].no, strlen(cases[i].no)), "%s on %s", cases[i].pattern, cases[i].no);
        subject_close(&s);
    }
}

TEST(grammar_gbnf)
{
    static const struct {
        const char *grammar, *yes[3], *no[3];
    } cases[] = {
        {"root ::= \"yes\" | \"no\"", {"yes", "no", "no"}, {"", "ye", "yesno"}},
        {"root ::= [a-c]+ [^a-c]*", {"abc", "ax", "a\xC3\xA9"}, {"", "x", "axa"}},
        {"root ::= expr\nexpr ::= term (\"+\" term)*\nterm ::= [0-9]+ | \"(\" expr \")\" # comment\n",
         {"1+2", "((1)+2)", "7"},
         {"1+", "(1", "1)"}},
        {"root ::=\n  \"a\" (\n \"b\"\n | \"c\" )\n\n# end", {"ab", "ac", "ac"}, {"a", "abc", ""}},
        {"root ::= \"\\x41\\u00e9\\U0001F600\\n\\\"\" .",
         {"A\xC3\xA9\xF0\x9F\x98\x80\n\"z", "A\xC3\xA9\xF0\x9F\x98\x80\n\"\n", "A\xC3\xA9\xF0\x9F\x98\x80\n\"\xE2\x82\xAC"},
         {"A", "", "b"}},
        {"root ::= (\"a\"*)*", {"", "aaaa", "a"}, {"b", "ab", "aab"}},
        {"root ::= \"x\" root | \"\"", {"", "xxx", "x"}, {"y", "xy", "xxxy"}},
        {"root ::= \"a\" root \"b\" | \"\"", {"ab", "aaabbb", ""}, {"aab", "abb", "ba"}},
        {"root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"x\"", {"aaxbc", "x", "axc"}, {"ax", "axbb", "a"}},
        {"root ::= a{2,3} [0-9]{2}\na ::= \"ab\" | \"c\"", {"abc12", "ccc00", "abab99"}, {"c12", "cccc12", "cc1"}},
        {"root ::= n{3} \"!\"\nn ::= \"\" | \"z\"", {"!", "zzz!", "z!"}, {"zzzz!", "", "z"}},
        {"root ::= dead | \"k\"\ndead ::= \"d\" dead", {"k", "k", "k"}, {"d", "dd", ""}},
        {"root ::= s s\ns ::= [a]{1,100}", {"aa", "aaaaaaa", "aaa"}, {"a", "", "ab"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct subject s;
        if (!CHECKF(open_gbnf(&s, cases[i].grammar, strlen(cases[i].grammar), small_vocabulary()) == SG_OK, "%s: %s", cases[i].grammar,
                    s.err.message))
            continue;
        for (size_t k = 0; k < 3; k++) {
            CHECKF(accepts(&s, cases[i].yes[k], strlen(cases[i].yes[k])), "%s should match %s", cases[i].grammar, cases[i].yes[k]);
            CHECKF(!accepts(&s, cases[i].no[k], strlen(cases[i].no[k])), "%s should not match %s", cases[i].grammar, cases[i].no[k]);
        }
        subject_close(&s);
    }
    static const char *const bad[] = {"",
                                      "a ::= \"x\"",
                                      "root ::= \"x",
                                      "root ::= [a",
                                      "root ::= (\"a\"",
                                      "root ::= \"a\")",
                                      "root ::= b",
                                      "root = \"a\"",
                                      "root ::= *",
                                      "root ::= \"a\"{3,1}",
                                      "root ::= \"a\"{1000000001}",
                                      "root ::= root \"a\" | \"a\"",
                                      "root ::= a root\na ::= \"\" | \"x\"",
                                      "root ::= \"\\q\"",
                                      "root ::= \"a\" root",
                                      "root ::= <[5]>",
                                      "root ::= \"a\"\nroot ::= \"b\"",
                                      "root ::= a\na ::= b{2}\nb ::= \"\" | a \"x\"",
                                      "root ::= [b-a]",
                                      "root ::= \"\\U00110000\"",
                                      "root ::= \"\\uD800\"",
                                      "root ::= \xFF"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct subject s;
        CHECKF(open_gbnf(&s, bad[i], strlen(bad[i]), small_vocabulary()) == SG_USAGE, "%s", bad[i]);
        CHECK(s.err.message[0]);
        subject_close(&s);
    }
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Every token of the vocabulary: the mask against reading it. */
static size_t wrong_bits(struct subject *s, const struct trie *t, const struct matcher *m, const uint32_t *bits)
{
    size_t wrong = 0;
    for (size_t id = 0; id < t->n_vocab; id++) {
        size_t len = t->begin[id + 1] - t->begin[id];
        struct matcher probe;
        if (len == 0)
            continue;
        matcher_start(&probe, s->matching);
        probe.set = m->set;
        matcher_read(&probe, t->bytes + t->begin[id], len);
        wrong += matcher_alive(&probe) != (bits[id / 32] >> id % 32 & 1);
        matcher_stop(&probe);
    }
    return wrong;
}

/* Goes through one random answer, comparing each mask with what reading each token says. */
static void check_masks(struct subject *s, const struct trie *t, size_t n_tokens, size_t samples)
{
    size_t n_words = (t->n_vocab + 31) / 32;
    uint32_t *bits = malloc(n_words * sizeof *bits);
    struct matcher m;
    matcher_start(&m, s->matching);
    for (size_t step = 0; step < n_tokens; step++) {
        memset(bits, 0xFF, n_words * sizeof *bits);
        bool any = matcher_mask(&m, bits);
        CHECK(!m.failed);
        if (!any) {
            CHECK(matcher_complete(&m));
            break;
        }
        int32_t chosen = -1;
        size_t n = 0;
        if (step % 20 == 7)
            CHECKF(wrong_bits(s, t, &m, bits) == 0, "step %zu", step);
        for (size_t k = 0; k < samples; k++) {
            /* half of the tokens tried are among the allowed ones, else few would be */
            size_t id = test_below(t->n_vocab);
            if (k % 2) {
                size_t word = id / 32, tries = n_words;
                while (!bits[word] && tries--)
                    word = (word + 1) % n_words;
                id = word * 32 + test_below(32);
                for (tries = 32; tries-- && !(bits[id / 32] >> id % 32 & 1);)
                    id = word * 32 + (id + 1) % 32;
                id %= t->n_vocab;
            }
            bool allowed = bits[id / 32] >> id % 32 & 1;
            size_t len = t->begin[id + 1] - t->begin[id];
            struct matcher probe;
            matcher_start(&probe, s->matching);
            probe.set = m.set;
            matcher_read(&probe, t->bytes + t->begin[id], len);
            bool expected = len > 0 && matcher_alive(&probe);
            if (len == 0 && t->n_ends && t->ends[0] == (int32_t)id)
                expected = matcher_complete(&m);
            CHECKF(allowed == expected, "token %zu \"%.*s\" at step %zu: mask %d", id, (int)len, t->bytes + t->begin[id], step, allowed);
            matcher_stop(&probe);
            if (allowed && len && test_below(++n) == 0)
                chosen = (int32_t)id;
        }
        if (chosen < 0)
            break;
        matcher_accept(&m, chosen);
        CHECK(!m.failed && !m.ended);
    }
    matcher_stop(&m);
    free(bits);
}

TEST(grammar_masks)
{
    static const char *const patterns[] = {
        "[a-z ]{5,200}", "(\"[^\"]*\",)+", "\\w+(, \\w+)*\\.", ".*", "([a-c]{2,5}){3,9}", "\xE4\xBD[\\u4e00-\\u9fff]+|(true|null){2}"};
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        struct subject s;
        if (CHECKF(open_regex(&s, patterns[i], strlen(patterns[i]), false, small_vocabulary()) == (i == 5 ? SG_USAGE : SG_OK), "%s",
                   s.err.message) &&
            s.matching)
            for (int k = 0; k < 5; k++)
                check_masks(&s, small_vocabulary(), 40, 271);
        subject_close(&s);
    }
    static const char json[] =
        "root ::= value\nvalue ::= string | \"{\" (pair (\",\" pair)*)? \"}\" | \"[\" value{0,40} \"]\"\n"
        "pair ::= string \": \" value\nstring ::= \"\\\"\" char{0,300} \"\\\"\"\nchar ::= [^\"\\\\] | \"\\\\\" [nt\"]\n";
    struct subject s;
    if (CHECKF(open_gbnf(&s, json, strlen(json), qwen_vocabulary()) == SG_OK, "%s", s.err.message))
        for (int k = 0; k < 12; k++)
            check_masks(&s, qwen_vocabulary(), 60, 600);
    subject_close(&s);
}

/* The costliest mask of a JSON grammar, inside a string, is below a decode step of any model;
 * one that was met before costs next to nothing. Limits are generous: other tests run meanwhile. */
/* What is expected after a text, and that it really may follow. */
static void check_expected(struct subject *s, const char *read, const char *want)
{
    struct matcher m;
    char text[16 + 1];
    matcher_start(&m, s->matching);
    matcher_read(&m, read, strlen(read));
    bool alive = matcher_alive(&m);
    size_t n = matcher_expect(&m, text, sizeof text - 1);
    text[n] = '\0';
    CHECKF(strcmp(text, want) == 0, "after '%s': '%s'", read, text);
    matcher_read(&m, text, n);
    CHECK(matcher_alive(&m) == alive && !m.failed);
    matcher_stop(&m);
}

TEST(grammar_expects)
{
    struct subject s;
    static const char gbnf[] = "root ::= \"{\" w \"\\\"name\\\":\" w word \",\" w \"\\\"age\\\":\" w [0-9]+ \"}\"\n"
                               "w ::= (\" \" | \"\\n\" \" \"*)?\nword ::= \"\\\"\" [a-z]* \"\\\"\"\n";
    CHECK(open_gbnf(&s, gbnf, sizeof gbnf - 1, small_vocabulary()) == SG_OK);
    check_expected(&s, "", "{\"name\": \"");
    check_expected(&s, "{\"na", "me\": \"");
    check_expected(&s, "{\"name\": \"x", ""); /* a letter or a quote */
    check_expected(&s, "{\"name\": \"x\"", ", \"age\":");
    check_expected(&s, "{\"name\": \"x\",\n  ", "\"age\":");
    check_expected(&s, "{\"name\": \"x\", \"age\": 5", ""); /* a digit or a brace */
    check_expected(&s, "{\"name\": \"x\", \"age\": 5}", "");
    check_expected(&s, "no", "");
    subject_close(&s);
    static const char maybe[] = "root ::= \"a long text that has more bytes\"?";
    CHECK(open_gbnf(&s, maybe, sizeof maybe - 1, small_vocabulary()) == SG_OK);
    check_expected(&s, "", "");                       /* nothing may be all */
    check_expected(&s, "a long", " text that has m"); /* as much as there is room for */
    subject_close(&s);
}

TEST(grammar_mask_cost)
{
    static const char json[] =
        "root ::= value\nvalue ::= string | \"{\" (pair (\",\" pair)*)? \"}\" | \"[\" value{0,40} \"]\"\n"
        "pair ::= string \": \" value\nstring ::= \"\\\"\" char{0,300} \"\\\"\"\nchar ::= [^\"\\\\] | \"\\\\\" [nt\"]\n";
    static const char text[] = "{\"name\": \"Alice in Wonderland and some more text\",\"x\": [\"a\"]}";
    const struct trie *t = qwen_vocabulary();
    struct subject s;
    size_t n_words = (t->n_vocab + 31) / 32;
    uint32_t *bits = malloc(n_words * sizeof *bits);
    double best_first = 1, best_second = 1;
    if (!CHECK(open_gbnf(&s, json, strlen(json), t) == SG_OK && bits))
        return;
    for (int round = 0; round < 5; round++) {
        double worst = 0, total = 0;
        struct matcher m;
        matcher_start(&m, s.matching);
        for (size_t i = 0; text[i]; i++) {
            memset(bits, 0xFF, n_words * sizeof *bits);
            double begin = seconds();
            CHECK(matcher_mask(&m, bits));
            double took = seconds() - begin;
            worst = took > worst ? took : worst;
            total += took;
            matcher_read(&m, text + i, 1);
        }
        CHECK(matcher_complete(&m));
        matcher_stop(&m);
        if (round == 0)
            best_first = worst;
        else if (total < best_second)
            best_second = total;
    }
    CHECKF(best_first < 0.05, "%.1f ms", 1e3 * best_first);
    CHECKF(best_second / (double)strlen(text) < 0.0005, "%.0f us", 1e6 * best_second / (double)strlen(text));
    CHECKF(matching_bytes(s.matching) < 4 << 20, "%zu KiB", matching_bytes(s.matching) >> 10);
    free(bits);
    subject_close(&s);
}

/* Reads a long text through a grammar and asks for masks on the way. */
static void stress(struct subject *s, const char *piece, size_t times, size_t mask_every)
{
    const struct trie *t = qwen_vocabulary();
    uint32_t *bits = malloc((t->n_vocab + 31) / 32 * sizeof *bits);
    struct matcher m;
    matcher_start(&m, s->matching);
    for (size_t i = 0; i < times && !m.failed; i++) {
        if (i % mask_every == 0) {
            memset(bits, 0xFF, (t->n_vocab + 31) / 32 * sizeof *bits);
            matcher_mask(&m, bits);
        }
        matcher_read(&m, piece, strlen(piece));
    }
    CHECK(matching_bytes(s->matching) < (size_t)300 << 20);
    matcher_stop(&m);
    free(bits);
}

static char *repeated(const char *head, const char *piece, size_t n, const char *tail)
{
    struct buf b = {0};
    buf_puts(&b, head);
    for (size_t i = 0; i < n; i++)
        buf_puts(&b, piece);
    buf_puts(&b, tail);
    return b.data;
}

TEST(grammar_hostile)
{
    double begin = seconds();
    struct subject s;
    char *nested = repeated("", "(a", 250, "");
    struct {
        char *text;
        bool regex, ok;
        const char *feed;
        size_t times;
    } cases[] = {
        {repeated("", "(", 60000, ""), true, false, NULL, 0},
        {repeated("root ::= ", "(", 60000, ""), false, false, NULL, 0},
        {repeated(nested, ")*", 250, ""), true, true, "aaaa", 400},
        {repeated("root ::= (\"a\"*)*", "", 0, ""), false, true, "aaaa", 3000},
        {repeated("root ::= \"a\"{1,1000000000}", "", 0, ""), false, true, "aaaa", 30000},
        {repeated("((a{1,1000}){1,1000}){1,1000}", "", 0, ""), true, true, "aaaa", 300},
        {repeated("(.{1,1000}){1,1000}", "", 0, ""), true, true, "abcd", 100},
        {repeated("((a?){1000}){1000}", "", 0, ""), true, true, "aaaa", 300},
        {repeated("root ::= ", "\"x\" ", 100000, ""), false, true, "xxxx", 25000},
        {repeated("root ::= root \"x\" | \"x\"", "", 0, ""), false, false, NULL, 0},
        {repeated("root ::= a a a\na ::= \"x\" a a | \"x\" a | \"x\"", "", 0, ""), false, true, "xxxx", 200},
        {repeated("root ::= a\na ::= \"a\" a \"b\" | \"a\" a \"c\" | \"a\" a | \"x\"", "", 0, ""), false, true, "aaaa", 1000},
        {repeated("", "a|", 100000, "b"), true, true, "a", 1},
        {repeated("(", "(a|b)?c?", 2000, ")*"), true, true, "abcc", 300},
        {repeated("", "a?", 3000, ""), true, true, "aaaa", 100},
        {repeated("root ::= [\\x00-\\U0010FFFF]*", "", 0, ""), false, true, "\xF0\x9F\x98\x80", 1000},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double start = seconds();
        enum sg_status status = cases[i].regex ? open_regex(&s, cases[i].text, strlen(cases[i].text), false, qwen_vocabulary())
                                               : open_gbnf(&s, cases[i].text, strlen(cases[i].text), qwen_vocabulary());
        CHECKF((status == SG_OK) == cases[i].ok, "case %zu: %s", i, s.err.message);
        if (status == SG_OK && cases[i].times)
            stress(&s, cases[i].feed, cases[i].times, cases[i].times / 20 + 1);
        subject_close(&s);
        CHECKF(seconds() - start < 20, "case %zu took %.1f s", i, seconds() - start);
        free(cases[i].text);
    }
    free(nested);
    /* a chain of 100,000 rules, forwards and backwards */
    for (int forward = 0; forward < 2; forward++) {
        struct buf b = {0};
        buf_puts(&b, "root ::= r0\n");
        for (int i = 0; i < 100000; i++) {
            int n = forward ? i : 99999 - i;
            buf_printf(&b, n == 99999 ? "r%d ::= \"end\"\n" : "r%d ::= r%d\n", n, n + 1);
        }
        if (CHECKF(open_gbnf(&s, b.data, b.len, qwen_vocabulary()) == SG_OK, "%s", s.err.message)) {
            CHECK(accepts(&s, "end", 3) && !accepts(&s, "en", 2));
            stress(&s, "end", 2, 1);
        }
        subject_close(&s);
        buf_free(&b);
    }
    CHECKF(seconds() - begin < 60, "%.1f s", seconds() - begin);
}

/* A list written by recursion comes back to the same place instead of growing a stack. */
TEST(grammar_recursion_at_the_end)
{
    static const char text[] = "root ::= item root | item\nitem ::= [a-c] | \"(\" root \")\"";
    struct subject s;
    if (!CHECK(open_gbnf(&s, text, strlen(text), small_vocabulary()) == SG_OK))
        return;
    struct machine *m = machine_open(&s.a, 4);
    uint32_t set = m ? machine_start(m) : SET_DEAD;
    for (int i = 0; m && i < 2000; i++)
        set = machine_step(m, set, s.a.class_of[(uint8_t) "abc"[test_below(3)]]);
    CHECKF(m && m->n_sets < 20 && m->n_nodes < 20 && m->sets[set].accept, "%zu sets, %zu nodes", m ? m->n_sets : 0, m ? m->n_nodes : 0);
    machine_close(m);
    subject_close(&s);
}

/* Forgetting what is not needed does not change where an answer is. */
TEST(grammar_machine_collects)
{
    static const char text[] = "root ::= (\"a\" [b-z]{0,100000} \"(\" root \")\")? \"x\"{1,1000}";
    struct subject s;
    if (!CHECK(open_gbnf(&s, text, strlen(text), small_vocabulary()) == SG_OK))
        return;
    struct machine *m = machine_open(&s.a, 4), *fresh = machine_open(&s.a, 4);
    for (int round = 0; m && fresh && round < 200; round++) {
        uint32_t set[2] = {machine_start(m), machine_start(m)}, other[2] = {machine_start(fresh), machine_start(fresh)};
        for (int step = 0; step < 60; step++) {
            size_t which = test_below(2);
            uint8_t byte = (uint8_t) "abcx()x"[test_below(7)];
            uint32_t to = machine_step(m, set[which], s.a.class_of[byte]);
            uint32_t to_other = machine_step(fresh, other[which], s.a.class_of[byte]);
            CHECK((to == SET_DEAD) == (to_other == SET_DEAD) && m->sets[to].accept == fresh->sets[to_other].accept);
            if (to != SET_DEAD) {
                set[which] = to;
                other[which] = to_other;
            }
            if (test_below(7) == 0)
                CHECK(machine_collect(m, (uint32_t *[]){&set[0], &set[1]}, 2) && !m->failed);
        }
    }
    CHECK(m->n_nodes < fresh->n_nodes);
    machine_close(m);
    machine_close(fresh);
    subject_close(&s);
}
