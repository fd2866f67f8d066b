/* Answers of a given form: from flags and request bodies, through a real engine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cli/constraint.h"
#include "validator.h"

static struct sg_engine *open_engine(void)
{
    struct sg_engine *engine = NULL;
    struct sg_error err;
    struct sg_options o = {.model_path = test_path("tokenizer/qwen3.gguf"), .n_threads = 1};
    CHECKF(sg_open(&engine, &o, &err) == SG_OK, "%s", err.message);
    return engine;
}

static bool collect(void *arg, const struct sg_step *step)
{
    buf_append(arg, step->text.data, step->text.len);
    return true;
}

/* Writes an answer under a grammar; the status is the verdict on it. */
static enum sg_status answer(struct sg_engine *engine, struct sg_grammar *grammar, enum sg_think think, int64_t n_predict, uint64_t seed,
                             struct buf *out)
{
    struct sg_message message = {.role = {"user", 4}, .content = {"Hi", 2}};
    struct sg_conversation c = {.messages = &message, .n_messages = 1, .think = think, .add_generation_prompt = true};
    struct sg_session *session = NULL;
    struct sg_matcher *matcher = NULL;
    struct sg_reply *reply = NULL;
    struct sg_draft_counts counts;
    struct sg_reply_counts reply_counts;
    int32_t *ids = NULL;
    size_t n = 0;
    struct sg_error err = {0};
    out->len = 0;
    CHECK(sg_render(engine, &c, NULL, NULL, &ids, &n, &err) == SG_OK);
    CHECK(sg_matcher_open(&matcher, grammar, &err) == SG_OK);
    struct sg_reply_options o = {.n_predict = n_predict, .think_budget = 12, .constraint = sg_matcher_constraint(matcher)};
    sg_sampling_defaults(engine, &o.sampling);
    o.sampling.seed = seed;
    o.sampling.temperature = 2; /* a random model repeats itself otherwise */
    CHECK(sg_reply_open(&reply, engine, &o, ids, n, &err) == SG_OK);
    CHECK(sg_session_open(&session, engine, 1000, &err) == SG_OK);
    struct sg_feed feed = {.session = session, .ids = ids, .n = n, .n_logits = 1};
    CHECKF(sg_eval(engine, &feed, 1, &err) == SG_OK && sg_generate(session, reply, NULL, collect, out, &counts, &err) == SG_OK, "%s",
           err.message);
    sg_reply_counts(reply, &reply_counts);
    enum sg_status status = constraint_verdict(matcher, &reply_counts, &err);
    CHECK(status == SG_OK || err.message[0]);
    sg_reply_close(reply);
    sg_matcher_close(matcher);
    sg_session_close(session);
    free(ids);
    return status;
}

TEST(constraint_of_a_reply)
{
    static const char schema[] = "{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":300},\"s\":{"
                                 "\"type\":\"string\",\"maxLength\":9},"
                                 "\"l\":{\"type\":\"array\",\"items\":{\"enum\":[\"\\u65e5\\u672c\",\"\\ud83d\\ude00\",null]},\"minItems\":"
                                 "2,\"maxItems\":4}},\"required\":[\"n\",\"s\",\"l\"]}";
    struct sg_engine *engine = open_engine();
    struct sg_grammar *grammar = NULL;
    struct sg_error err;
    struct json s, j;
    struct buf out = {0}, again = {0};
    if (!engine ||
        !CHECKF(sg_grammar_open(&grammar, engine, SG_GRAMMAR_SCHEMA, &(struct sg_str){schema, sizeof schema - 1}, 1, &err) == SG_OK, "%s",
                err.message))
        return;
    CHECK(json_parse(&s, schema, sizeof schema - 1, NULL) == SG_OK);
    for (uint64_t seed = 0; seed < 24; seed++) {
        enum sg_think think = seed % 2 ? SG_THINK_ON : SG_THINK_OFF;
        const char *why = "";
        CHECK(answer(engine, grammar, think, -1, seed, &out) == SG_OK);
        bool valid = json_parse(&j, out.data, out.len, &err) == SG_OK;
        valid = valid && validate(&s, &s.nodes[0], &j, &j.nodes[0], &why);
        CHECKF(valid, "%s: %s", out.data, why);
        json_free(&j);
        /* what a grammar has learned changes nothing */
        struct sg_grammar *fresh = NULL;
        sg_grammar_open(&fresh, engine, SG_GRAMMAR_SCHEMA, &(struct sg_str){schema, sizeof schema - 1}, 1, &err);
        CHECK(answer(engine, fresh, think, -1, seed, &again) == SG_OK && again.len == out.len &&
              memcmp(again.data, out.data, out.len) == 0);
        sg_grammar_close(fresh);
    }
    CHECK(answer(engine, grammar, SG_THINK_OFF, 3, 1, &out) == SG_FAIL); /* cut off */
    json_free(&s);
    sg_grammar_close(grammar);
    sg_close(engine);
    buf_free(&out);
    buf_free(&again);
}

static struct sg_grammar *borrow(struct constraints *c, const char *body, enum sg_status expected)
{
    struct json j;
    struct sg_grammar *grammar = NULL;
    struct form_name name;
    struct sg_error err = {0};
    CHECK(json_parse(&j, body, strlen(body), NULL) == SG_OK);
    enum sg_status status = constraints_borrow(c, &j, &j.nodes[0], &grammar, &name, &err);
    CHECKF(status == expected, "%s: %s", body, err.message);
    CHECKF(status == SG_OK || (err.message[0] && !grammar), "%s", body);
    CHECKF(status != SG_OK || !grammar == !name.text[0], "%s: \"%s\"", body, name.text);
    json_free(&j);
    return grammar;
}

TEST(constraint_of_a_request)
{
    static const struct {
        const char *body, *first; /* "": no grammar; NULL: an error; else how each answer begins */
    } cases[] = {
        {"{}", ""},
        {"{\"response_format\":null,\"grammar\":null}", ""},
        {"{\"response_format\":{\"type\":\"text\"}}", ""},
        {"{\"response_format\":{\"type\":\"json_object\"}}", "{"},
        {"{\"response_format\":{\"type\":\"json_object\",\"schema\":{\"const\":\"a\"}}}", "\"a\""},
        {"{\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"strict\":true,\"schema\":{\"const\":[1]}}}}",
         "[1]"},
        {"{\"json_schema\":{\"const\":7}}", "7"},
        {"{\"guided_json\":\"{\\\"const\\\":8}\"}", "8"},
        {"{\"guided_json\":{\"const\":9}}", "9"},
        {"{\"guided_regex\":\"ab{2}c\"}", "abbc"},
        {"{\"guided_choice\":[\"only\"]}", "only"},
        {"{\"guided_grammar\":\"root ::= \\\"g\\\"\"}", "g"},
        {"{\"grammar\":\"root ::= \\\"h\\\" x\\nx ::= \\\"i\\\"\"}", "hi"},
        {"{\"structured_outputs\":{\"regex\":\"r\"}}", "r"},
        {"{\"structured_outputs\":{\"choice\":[\"c\"]}}", "c"},
        {"{\"structured_outputs\":{\"json\":{\"const\":1}}}", "1"},
        {"{\"structured_outputs\":{\"json_object\":true}}", "{"},
        {"{\"response_format\":{\"type\":\"xml\"}}", NULL},
        {"{\"response_format\":\"json\"}", NULL},
        {"{\"response_format\":{\"type\":\"json_schema\"}}", NULL},
        {"{\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{\"nope\":1}}}}", NULL},
        {"{\"guided_regex\":5}", NULL},
        {"{\"guided_regex\":\"(\"}", NULL},
        {"{\"guided_choice\":[]}", NULL},
        {"{\"guided_choice\":[1]}", NULL},
        {"{\"guided_choice\":\"a\"}", NULL},
        {"{\"guided_choice\":[\"\"]}", NULL},
        {"{\"structured_outputs\":[]}", NULL},
        {"{\"guided_regex\":\"a\",\"json_schema\":{}}", NULL},
        {"{\"grammar\":\"\"}", NULL},
    };
    struct sg_engine *engine = open_engine();
    struct constraints c;
    struct buf out = {0};
    if (!engine)
        return;
    constraints_init(&c, engine);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sg_grammar *grammar = borrow(&c, cases[i].body, cases[i].first ? SG_OK : SG_USAGE);
        CHECKF((grammar != NULL) == (cases[i].first && *cases[i].first), "%s", cases[i].body);
        if (grammar) {
            enum sg_status status = answer(engine, grammar, SG_THINK_OFF, 40, i, &out);
            size_t len = strlen(cases[i].first);
            CHECKF(out.len >= len && memcmp(out.data, cases[i].first, len) == 0, "%s: %s", cases[i].body, out.data);
            CHECK(status == SG_OK || *cases[i].first == '{');
        }
        constraints_return(&c, grammar);
    }
    /* the same wish is one grammar, also after others; unused ones do not pile up */
    struct sg_grammar *first = borrow(&c, "{\"guided_regex\":\"x+\"}", SG_OK),
                      *second = borrow(&c, "{\"x\":1,\"structured_outputs\":{\"regex\":\"x+\"}}", SG_OK);
    CHECK(first && first == second);
    for (int i = 0; i < 100; i++) {
        char body[64];
        snprintf(body, sizeof body, "{\"guided_regex\":\"y{%d}\"}", i + 1);
        constraints_return(&c, borrow(&c, body, SG_OK));
    }
    CHECKF(c.n <= 20, "%zu grammars", c.n);
    CHECK(borrow(&c, "{\"guided_regex\":\"x+\"}", SG_OK) == first);
    for (int i = 0; i < 3; i++)
        constraints_return(&c, first);
    constraints_close(&c);
    sg_close(engine);
    buf_free(&out);
}
