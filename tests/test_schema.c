/* JSON schemas: what is sampled through the masks satisfies them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "automaton.h"
#include "check.h"
#include "matcher.h"
#include "schema.h"
#include "validator.h"
#include "vocabulary.h"

struct subject {
    struct exprs g;
    struct automaton a;
    struct matching *matching;
    struct sg_error err;
};

static enum sg_status subject_open(struct subject *s, const char *text, size_t len, const struct trie *t)
{
    uint32_t root = 0;
    *s = (struct subject){0};
    enum sg_status status = schema_parse(&s->g, text, len, &root, &s->err);
    if (status == SG_OK)
        status = automaton_build(&s->a, &s->g, root, &s->err);
    if (status == SG_OK)
        status = matching_open(&s->matching, &s->a, t, &s->err);
    return status;
}

static void subject_close(struct subject *s)
{
    matching_close(s->matching);
    automaton_free(&s->a);
    exprs_free(&s->g);
}

/* One of the allowed tokens, all equally probable; -1: none. */
static int32_t choose(const struct trie *t, const uint32_t *bits)
{
    size_t n = 0, n_words = (t->n_vocab + 31) / 32;
    for (size_t i = 0; i < n_words; i++)
        n += (size_t)__builtin_popcount(bits[i]);
    size_t rank = test_below(n);
    for (size_t i = 0; i < n_words; i++) {
        size_t here = (size_t)__builtin_popcount(bits[i]);
        if (rank >= here) {
            rank -= here;
            continue;
        }
        for (uint32_t rest = bits[i];; rest &= rest - 1)
            if (rank-- == 0)
                return (int32_t)(i * 32 + (size_t)__builtin_ctz(rest));
    }
    return -1;
}

/* Appends the shortest text that makes out complete, found by trying all. */
static bool complete(const struct automaton *a, struct buf *out)
{
    enum {
        LIMIT = 30000
    };
    struct machine *m = machine_open(a, 0);
    struct visit {
        uint32_t set, from;
        char byte;
    } *queue = calloc(LIMIT, sizeof *queue);
    char *seen = calloc(1, 1 << 20);
    uint32_t set = machine_start(m);
    for (size_t i = 0; i < out->len; i++)
        set = machine_step(m, set, a->class_of[(uint8_t)out->data[i]]);
    size_t n = 1;
    bool found = false;
    queue[0].set = set;
    for (size_t i = 0; i < n && !found; i++) {
        found = m->sets[queue[i].set].accept;
        if (found) {
            size_t len = 0, begin = out->len;
            for (size_t at = i; at; at = queue[at].from)
                len++;
            for (size_t k = 0; k < len; k++)
                buf_putc(out, 0);
            for (size_t at = i; at; at = queue[at].from)
                out->data[begin + --len] = queue[at].byte;
        }
        for (size_t c = 0; c < a->n_classes && !found && n < LIMIT; c++) {
            uint32_t to = machine_step(m, queue[i].set, c);
            if (to == SET_DEAD || to >= 1 << 20 || seen[to])
                continue;
            seen[to] = 1;
            queue[n++] = (struct visit){to, (uint32_t)i, (char)a->class_byte[c]};
        }
    }
    free(seen);
    free(queue);
    machine_close(m);
    return found;
}

/* Writes one random answer into out; false: no end was found. */
static bool sample(struct subject *s, const struct trie *t, struct buf *out)
{
    size_t n_words = (t->n_vocab + 31) / 32, most = 4 + test_below(60);
    uint32_t *bits = malloc(n_words * sizeof *bits);
    struct matcher m;
    bool done = false;
    matcher_start(&m, s->matching);
    for (size_t step = 0; step < most && !done; step++) {
        memset(bits, 0xFF, n_words * sizeof *bits);
        bool any = matcher_mask(&m, bits);
        for (size_t i = 0; any && i < t->n_ends; i++) {
            CHECK((bits[t->ends[i] / 32] >> t->ends[i] % 32 & 1) == matcher_complete(&m));
            done |= matcher_complete(&m) && test_below(4) == 0;
            bits[t->ends[i] / 32] &= ~(1u << t->ends[i] % 32);
        }
        int32_t id = any && !done ? choose(t, bits) : -1;
        if (id < 0) {
            CHECKF(matcher_complete(&m), "nothing may follow %.300s", out->len ? out->data : "");
            done = true;
            break;
        }
        matcher_accept(&m, id);
        buf_append(out, t->bytes + t->begin[id], t->begin[id + 1] - t->begin[id]);
        CHECK(matcher_alive(&m));
    }
    matcher_stop(&m);
    free(bits);
    return done || complete(&s->a, out);
}

static void check_answers(const char *text, size_t len, const struct trie *t, int n)
{
    struct subject s;
    struct json schema, answer;
    struct sg_error err;
    if (!CHECKF(subject_open(&s, text, len, t) == SG_OK, "%.*s: %s", (int)len, text, s.err.message)) {
        subject_close(&s);
        return;
    }
    json_parse(&schema, text, len, NULL);
    for (int i = 0; i < n; i++) {
        struct buf out = {0};
        const char *why = "";
        if (CHECKF(sample(&s, t, &out), "%.*s: no end: %.300s", (int)len, text, out.len ? out.data : "")) {
            bool valid = json_parse(&answer, out.data, out.len, &err) == SG_OK;
            if (CHECKF(valid, "%.*s: %s: %s", (int)len, text, out.data, err.message)) {
                valid = validate(&schema, &schema.nodes[0], &answer, &answer.nodes[0], &why);
                CHECKF(valid, "%.*s: %s: %s", (int)len, text, out.data, why);
            }
            json_free(&answer);
        }
        buf_free(&out);
    }
    json_free(&schema);
    subject_close(&s);
}

/* Calls fn for every line of a golden file. */
static size_t each_line(const char *name, void (*fn)(const char *line, size_t len))
{
    size_t len, n = 0;
    const char *text = test_golden(name, &len);
    for (const char *end, *at = text; at < text + len; at = end + 1, n++) {
        end = memchr(at, '\n', (size_t)(text + len - at));
        fn(at, (size_t)(end - at));
    }
    return n;
}

static void check_good(const char *line, size_t len) { check_answers(line, len, qwen_vocabulary(), 5); }

TEST(schema_answers_are_valid) { CHECK(each_line("schemas/good.jsonl", check_good) >= 150); }

static void check_bad(const char *line, size_t len)
{
    struct subject s;
    CHECKF(subject_open(&s, line, len, qwen_vocabulary()) == SG_USAGE, "%.*s", (int)len, line);
    CHECKF(s.err.message[0] && strlen(s.err.message) < 400, "%.*s", (int)len, line);
    subject_close(&s);
}

TEST(schema_errors) { CHECK(each_line("schemas/bad.jsonl", check_bad) > 50); }

static void check_size(struct buf *text, enum sg_status expected)
{
    struct subject s;
    CHECKF(subject_open(&s, text->data, text->len, qwen_vocabulary()) == expected, "%.60s: %s", text->data, s.err.message);
    subject_close(&s);
    buf_free(text);
}

static void append(struct buf *b, const char *piece, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_puts(b, piece);
}

TEST(schema_hostile)
{
    struct buf b = {0};
    append(&b, "{\"items\":", 100000);
    append(&b, "true", 1);
    append(&b, "}", 100000);
    check_size(&b, SG_USAGE);
    append(&b, "{\"items\":", 200);
    append(&b, "{\"type\":\"null\"}", 1);
    append(&b, "}", 200);
    check_size(&b, SG_OK);
    append(&b, "{\"allOf\":[", 1);
    for (int i = 0; i < 20; i++)
        append(&b, "{\"anyOf\":[{\"minimum\":1},{\"minimum\":2},{\"minimum\":3},{\"minimum\":4},{\"minimum\":5},{\"minimum\":6}]},", 1);
    append(&b, "{\"type\":\"integer\"}]}", 1);
    check_size(&b, SG_USAGE);
    append(&b, "{\"enum\":[0", 1);
    for (int i = 0; i < 100000; i++)
        buf_printf(&b, ",\"value %d\"", i);
    append(&b, "]}", 1);
    check_size(&b, SG_OK);
    append(&b, "{\"properties\":{\"x\":{}", 1);
    for (int i = 0; i < 20000; i++)
        buf_printf(&b, ",\"p%d\":{\"type\":\"null\"}", i);
    append(&b, "},\"additionalProperties\":{\"type\":\"null\"}}", 1);
    check_size(&b, SG_OK);
    append(&b, "{\"$ref\":\"#/$defs/r0\",\"$defs\":{", 1);
    for (int i = 0; i < 100000; i++)
        buf_printf(&b, "\"r%d\":{\"$ref\":\"#/$defs/r%d\"},", i, i + 1);
    append(&b, "\"r100000\":{}}}", 1);
    check_size(&b, SG_USAGE);
    append(&b,
           "{\"type\":\"array\",\"minItems\":1000000000,\"maxItems\":1000000000,\"items\":{\"type\":\"array\",\"maxItems\":1000000000}}",
           1);
    check_size(&b, SG_OK);
    append(&b, "{\"type\":\"string\",\"pattern\":\"^((a{1000}){1000}){1000}$\",\"maxLength\":5}", 1);
    check_size(&b, SG_USAGE);
    append(&b, "{\"type\":\"string\",\"pattern\":\"^(.|a)*(b|.)*(c|.)*$\",\"maxLength\":100000}", 1);
    check_size(&b, SG_USAGE);
    append(&b, "{\"type\":\"string\",\"pattern\":\"^((((){1000000000}){1000000000}){1000000000}){1000000000}$\",\"maxLength\":5}", 1);
    check_size(&b, SG_USAGE);
}

static void check_mutated(const char *line, size_t len)
{
    char *text = malloc(len + 1);
    for (int round = 0; text && round < 30; round++) {
        struct subject s;
        memcpy(text, line, len + 1);
        for (uint64_t i = 0, n = 1 + test_below(3); i < n; i++) {
            size_t at = test_below(len), from = test_below(len), size = 1 + test_below(8);
            if (test_below(2))
                text[at] = "\"{}[]:,0139-.\\$#/^*+?|()"[test_below(24)];
            else if (at + size <= len && from + size <= len)
                memmove(text + at, text + from, size);
        }
        enum sg_status status = subject_open(&s, text, len, qwen_vocabulary());
        CHECKF(status == SG_OK || (status == SG_USAGE && s.err.message[0]), "%.*s", (int)len, text);
        subject_close(&s);
    }
    free(text);
}

TEST(schema_survives_mutation)
{
    each_line("schemas/good.jsonl", check_mutated);
    each_line("schemas/bad.jsonl", check_mutated);
}

TEST(schema_in_short)
{
    static const struct {
        const char *text, *schema;
    } cases[] = {
        {"name, age int", "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":\"integer\"}},"
                          "\"required\":[\"name\",\"age\"],\"additionalProperties\":false}"},
        {"\n  good bool: is it \"good\"?\n\n  score float\n",
         "{\"type\":\"object\",\"properties\":{\"good\":{\"type\":\"boolean\",\"description\":\"is it "
         "\\\"good\\\"?\"},\"score\":{\"type\":\"number\"}},\"required\":[\"good\",\"score\"],\"additionalProperties\":false}"},
        {"x-1 str,",
         "{\"type\":\"object\",\"properties\":{\"x-1\":{\"type\":\"string\"}},\"required\":[\"x-1\"],\"additionalProperties\":false}"},
        {"", NULL},
        {"a,,b", NULL},
        {"a long", NULL},
        {"1a", NULL},
        {": x", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out = {0};
        struct sg_error err;
        enum sg_status status = schema_expand(cases[i].text, strlen(cases[i].text), &out, &err);
        if (cases[i].schema && CHECKF(status == SG_OK, "%s: %s", cases[i].text, err.message)) {
            CHECKF(strcmp(out.data, cases[i].schema) == 0, "%s: %s", cases[i].text, out.data);
            check_answers(out.data, out.len, qwen_vocabulary(), 3);
        } else {
            CHECKF(cases[i].schema || status == SG_USAGE, "%s", cases[i].text);
        }
        buf_free(&out);
    }
}

/* What is accepted and what is not, text by text. */
TEST(schema_accepts)
{
    static const struct {
        const char *schema, *yes[4], *no[4];
    } cases[] = {
        {"{\"type\":\"string\",\"minLength\":1,\"maxLength\":1}",
         {"\"a\"", "\"\\u00e9\"", "\"\\ud83d\\ude00\"", "\"\\n\""},
         {"\"ab\"", "\"\\ud800\"", "\"\\ude00\"", "\"\n\""}},
        {"{\"type\":\"string\"}",
         {"\"\"", "\"\\/\"", "\"\\uD7FF\"", "\"\xF0\x9F\x98\x80\""},
         {"\"\\ud83d\\u0041\"", "\"\\x\"", "\"\\u12g4\"", "\"\xED\xA0\x80\""}},
        {"{\"type\":\"integer\",\"minimum\":-5,\"maximum\":120}", {"0", "-5", "120", "99"}, {"-6", "121", "007", "-0"}},
        {"{\"type\":\"number\",\"exclusiveMinimum\":0,\"maximum\":1.5}", {"0.1", "1", "1.5", "1.50"}, {"0", "0.0", "1.51", "1."}},
        {"{\"type\":\"number\",\"multipleOf\":0.25,\"minimum\":0}", {"0.25", "0.5", "3", "1.50"}, {"0.2", "0.26", "-0.25", "1."}},
        {"{\"type\":\"integer\",\"multipleOf\":12,\"maximum\":100,\"minimum\":13}", {"24", "96", "36", "48"}, {"12", "108", "25", "0"}},
        {"{\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2}},\"required\":[\"b\"]}",
         {"{\"b\":2}", "{\"a\": 1, \"b\": 2}", "{ \"b\":2 }", "{\n  \"a\": 1,\n  \"b\": 2\n}"},
         {"{}", "{\"a\":1}", "{\"b\":2,\"a\":1}", "{\"b\":2,}"}},
        {"{\"properties\":{\"ab\":{\"const\":1}},\"additionalProperties\":{\"const\":2}}",
         {"{}", "{\"ab\":1,\"abc\":2,\"a\":2}", "{\"\":2}", "{\"b\\n\":2}"},
         {"{\"ab\":2}", "{\"x\":1}", "{\"\\u0061b\":2}", "{\"ab\":1,\"ab\":2}"}},
        {"{\"items\":{\"type\":\"null\"},\"minItems\":1,\"maxItems\":2}",
         {"[null]", "[null,null]", "[ null, null ]", "[\n\tnull\n]"},
         {"[]", "[null,null,null]", "[null,]", "[,null]"}},
        {"{}", {"{\"a\":[1,{\"b\":null}]}", "-1.5e-7", "[[[[]]]]", "\"x\""}, {"", "01", "1e999", "tru"}},
        {"{\"type\":\"string\",\"format\":\"date\"}",
         {"\"2024-02-29\"", "\"2000-02-29\"", "\"1999-12-31\"", "\"0001-01-01\""},
         {"\"2023-02-29\"", "\"1900-02-29\"", "\"2024-04-31\"", "\"2024-13-01\""}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct subject s;
        if (!CHECKF(subject_open(&s, cases[i].schema, strlen(cases[i].schema), qwen_vocabulary()) == SG_OK, "%s: %s", cases[i].schema,
                    s.err.message))
            continue;
        for (size_t k = 0; k < 8; k++) {
            const char *text = k < 4 ? cases[i].yes[k] : cases[i].no[k - 4];
            struct matcher m;
            matcher_start(&m, s.matching);
            matcher_read(&m, text, strlen(text));
            CHECKF(matcher_complete(&m) == (k < 4), "%s: %s", cases[i].schema, text);
            matcher_stop(&m);
        }
        subject_close(&s);
    }
}
