/* Replies: what is shown, held back, counted and forced, driven by logits that say exactly
 * which token comes next. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "check.h"
#include "engine.h"
#include "gguf_build.h"
#include "stop.h"
#include "utf8.h"

/* ---------------------------------------------------------------- a stage to play on */

static int64_t plain_argmax(const float *x, size_t n)
{
    int64_t best = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return -1;
        if (x[i] > x[best])
            best = (int64_t)i;
    }
    return best;
}

/* An engine that has a vocabulary and nothing else. */
static struct sg_engine engine;
static float *logits;
static int32_t byte_id[256]; /* tokens of one byte */
static int32_t start, end, think, end_think, newline, blank_line;

static int32_t special(const char *text) { return tokenizer_special(engine.tokenizer, text, strlen(text)); }

static struct ids encoded(const char *text)
{
    struct ids ids = {0};
    CHECK(tokenizer_encode(engine.tokenizer, text, strlen(text), true, &ids, NULL) == SG_OK);
    return ids;
}

static bool set_stage(void)
{
    struct sg_error err = {0};
    memset(&engine, 0, sizeof engine);
    if (!CHECKF(gguf_open(&engine.gguf, test_path("tokenizer/qwen3.gguf"), &err) == SG_OK &&
                    tokenizer_open(&engine.tokenizer, &engine.gguf, &err) == SG_OK,
                "%s", err.message))
        return false;
    engine.kernels.argmax = plain_argmax;
    engine.has_weights = true;
    engine.info.n_vocab = tokenizer_size(engine.tokenizer);
    engine.info.template_recognised = true;
    engine.chat = CHAT_QWEN3;
    logits = calloc(engine.info.n_vocab, sizeof *logits);
    for (int32_t id = 0; id < 1000; id++) {
        struct buf b = {0};
        tokenizer_decode(engine.tokenizer, id, true, &b);
        if (b.len == 1)
            byte_id[(unsigned char)b.data[0]] = id;
        buf_free(&b);
    }
    start = special("<|im_start|>");
    end = special("<|im_end|>");
    think = special("<think>");
    end_think = special("</think>");
    struct ids ids = encoded("\n");
    newline = ids.data[0];
    ids_free(&ids);
    ids = encoded("\n\n");
    blank_line = ids.data[0];
    CHECK(ids.len == 1);
    ids_free(&ids);
    return true;
}

static void clear_stage(void)
{
    free(logits);
    tokenizer_close(engine.tokenizer);
    gguf_close(&engine.gguf);
}

static struct sg_reply_options greedy(void)
{
    return (struct sg_reply_options){.sampling = {.top_p = 1, .typical_p = 1, .repeat_penalty = 1}, .n_predict = -1, .think_budget = -1};
}

/* A reply and all that it has shown. */
struct play {
    struct sg_reply *reply;
    struct buf text, thinking;
    struct sg_step step;
    struct sg_reply_counts counts;
};

static struct play begin(const struct sg_reply_options *o, const char *prompt)
{
    struct play p = {0};
    struct sg_error err = {0};
    struct ids ids = encoded(prompt);
    CHECKF(sg_reply_open(&p.reply, &engine, o, ids.data, ids.len, &err) == SG_OK, "%s", err.message);
    ids_free(&ids);
    return p;
}

static void show(struct play *p)
{
    CHECK(utf8_valid(p->step.text.data, p->step.text.len) && utf8_valid(p->step.thinking.data, p->step.thinking.len));
    buf_append(&p->text, p->step.text.data, p->step.text.len);
    buf_append(&p->thinking, p->step.thinking.data, p->step.thinking.len);
    sg_reply_counts(p->reply, &p->counts);
    CHECK(p->counts.finish == p->step.finish);
}

/* The model wants to say this token; returns the one that came. */
static int32_t want(struct play *p, int32_t id)
{
    struct sg_error err = {0};
    logits[id] = 10;
    CHECKF(sg_reply_next(p->reply, logits, &p->step, &err) == SG_OK, "%s", err.message);
    logits[id] = 0;
    show(p);
    return p->step.id;
}

/* Says tokens until the answer ends; true: all were said. */
static bool say(struct play *p, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n && p->step.finish == SG_FINISH_NONE; i++)
        CHECK(want(p, ids[i]) == ids[i]);
    return p->step.finish == SG_FINISH_NONE;
}

static bool say_text(struct play *p, const char *text)
{
    struct ids ids = encoded(text);
    bool all = say(p, ids.data, ids.len);
    ids_free(&ids);
    return all;
}

static void finish(struct play *p, enum sg_finish how)
{
    sg_reply_end(p->reply, how, &p->step);
    show(p);
}

static bool equal(const char *what, const struct buf *b, const char *expected)
{
    const char *text = b->data ? b->data : "";
    return CHECKF(b->len == strlen(expected) && memcmp(text, expected, b->len) == 0, "%s \"%s\", expected \"%s\"", what, text, expected);
}

static bool shown(const struct play *p, const char *text, const char *thinking)
{
    bool same = equal("text", &p->text, text);
    return equal("thinking", &p->thinking, thinking) && same;
}

static void leave(struct play *p)
{
    sg_reply_close(p->reply);
    buf_free(&p->text);
    buf_free(&p->thinking);
    *p = (struct play){0};
}

#define CHAT_PROMPT "<|im_start|>user\nWhat does <think> mean?<|im_end|>\n<|im_start|>assistant\n"

/* ---------------------------------------------------------------------- the text */

TEST(reply_text)
{
    if (!set_stage())
        return;
    struct sg_reply_options o = greedy();
    struct play p = begin(&o, "");
    say_text(&p, "Hello, w\xc3\xb6rld \xf0\x9f\xa6\x99! ");
    shown(&p, "Hello, w\xc3\xb6rld \xf0\x9f\xa6\x99! ", "");
    CHECK(want(&p, end) == end && p.step.finish == SG_FINISH_STOP && p.counts.answer_tokens > 3 && p.counts.thinking_tokens == 0);
    shown(&p, "Hello, w\xc3\xb6rld \xf0\x9f\xa6\x99! ", "");
    struct sg_error err;
    CHECK(sg_reply_next(p.reply, logits, &p.step, &err) == SG_USAGE && p.step.id == -1);
    finish(&p, SG_FINISH_LENGTH); /* too late: the first end counts */
    CHECK(p.counts.finish == SG_FINISH_STOP && p.step.text.len == 0);
    leave(&p);

    /* Control tokens are shown on request only. */
    for (int on = 0; on < 2; on++) {
        o.special = on;
        p = begin(&o, "");
        want(&p, start);
        say_text(&p, "x");
        want(&p, end);
        shown(&p, on ? "<|im_start|>x<|im_end|>" : "x", "");
        leave(&p);
    }
    o.special = false;

    /* Any bytes, one token each: what comes out in the end is the whole, mended. */
    for (int round = 0; round < 50; round++) {
        char bytes[40];
        size_t n = test_below(sizeof bytes);
        for (size_t i = 0; i < n; i++)
            bytes[i] = (char)(test_below(4) ? 0x80 | test_random() : test_random());
        struct buf whole = {0};
        buf_append_utf8(&whole, bytes, n);
        buf_putc(&whole, 0);
        p = begin(&o, "");
        for (size_t i = 0; i < n; i++) {
            want(&p, byte_id[(unsigned char)bytes[i]]);
            size_t complete = utf8_complete(bytes, i + 1);
            struct buf now = {0};
            buf_append_utf8(&now, bytes, complete);
            CHECK(p.text.len == now.len); /* nothing is held longer than needed */
            buf_free(&now);
        }
        finish(&p, SG_FINISH_LENGTH);
        CHECK(p.text.len == whole.len - 1 && memcmp(p.text.data ? p.text.data : "", whole.data, p.text.len) == 0);
        CHECK(!p.counts.length_in_thinking);
        buf_free(&whole);
        leave(&p);
    }
    clear_stage();
}

/* Where the earliest stop string ends, and how long it is (the longest of those). */
static bool first_stop(const char *text, size_t n, char stops[][8], size_t n_stops, size_t *at, size_t *len)
{
    for (size_t i = 1; i <= n; i++) {
        *len = 0;
        for (size_t s = 0; s < n_stops; s++) {
            size_t l = strlen(stops[s]);
            if (l && l <= i && l > *len && memcmp(text + i - l, stops[s], l) == 0)
                *len = l;
        }
        *at = i;
        if (*len)
            return true;
    }
    return false;
}

TEST(reply_stop)
{
    if (!set_stage())
        return;
    static const char *const letters[] = {"a", "b", "\xc3\xa4", "\xc3\xb6", "\xf0\x9f\xa6\x99"};
    for (int round = 0; round < 80; round++) {
        char text[200] = "", stops[4][8] = {""};
        struct sg_str list[4];
        size_t n_stops = test_below(4), kinds = 2 + test_below(4), at, len;
        for (size_t s = 0; s < n_stops; s++) {
            for (size_t k = test_below(4); k > 0 && strlen(stops[s]) < 4; k--)
                strcat(stops[s], letters[test_below(kinds)]);
            list[s] = (struct sg_str){stops[s], strlen(stops[s])};
        }
        for (size_t k = test_below(30); k > 0; k--)
            strcat(text, letters[test_below(kinds)]);
        size_t n = strlen(text);
        bool stopped = first_stop(text, n, stops, n_stops, &at, &len);
        struct sg_reply_options o = greedy();
        o.stop = list;
        o.n_stop = n_stops;
        struct play p = begin(&o, "");
        if (round % 2) { /* tokens of one byte: every place is a boundary */
            for (size_t i = 0; i < n && p.step.finish == SG_FINISH_NONE; i++) {
                want(&p, byte_id[(unsigned char)text[i]]);
                if (p.step.finish != SG_FINISH_NONE)
                    break;
                /* All is shown but the longest end that begins a stop string, or a character. */
                size_t known = utf8_complete(text, i + 1), held = 0;
                for (size_t h = 1; h <= known; h++)
                    for (size_t s = 0; s < n_stops; s++)
                        if (h < strlen(stops[s]) && memcmp(text + known - h, stops[s], h) == 0)
                            held = h;
                CHECKF(p.text.len == known - held, "%zu of %zu shown, %zu expected", p.text.len, i + 1, known - held);
            }
        } else {
            say_text(&p, text);
        }
        if (p.step.finish == SG_FINISH_NONE)
            finish(&p, SG_FINISH_LENGTH);
        CHECK(p.counts.finish == (stopped ? SG_FINISH_STOP : SG_FINISH_LENGTH));
        text[stopped ? at - len : n] = 0;
        shown(&p, text, "");
        CHECK(p.counts.stop.len == (stopped ? len : 0));
        leave(&p);
    }

    /* A stop string that is not UTF-8 matches the text as it is shown, and its last character may
     * come from what was held back. */
    struct sg_reply_options o = greedy();
    o.stop = &(struct sg_str){"b\xff", 2};
    o.n_stop = 1;
    struct play p = begin(&o, "");
    say_text(&p, "ab");
    want(&p, byte_id[0xE2]);
    shown(&p, "a", "");
    finish(&p, SG_FINISH_LENGTH);
    CHECK(p.counts.finish == SG_FINISH_STOP);
    shown(&p, "a", "");
    leave(&p);
    clear_stage();
}

/* -------------------------------------------------------------------- thinking */

TEST(reply_stop_ids_and_minimum)
{
    if (!set_stage())
        return;
    struct ids x = encoded("x"), dot = encoded(".");
    struct sg_reply_options o = greedy();
    int32_t stops[] = {start, dot.data[0]};
    o.stop_ids = stops;
    o.n_stop_ids = 2;
    for (int which = 0; which < 2; which++) { /* they end the answer, are not part of it, and do not count */
        struct play p = begin(&o, "");
        say_text(&p, "x");
        CHECK(want(&p, stops[which]) == stops[which] && p.step.finish == SG_FINISH_STOP && p.counts.answer_tokens == 1);
        shown(&p, "x", "");
        leave(&p);
    }
    struct play p = begin(&o, CHAT_PROMPT "<think>\n"); /* in thinking they mean nothing */
    say_text(&p, "y.z");
    CHECK(p.step.finish == SG_FINISH_NONE);
    leave(&p);

    /* Before the minimum neither the end of the turn nor a stop token can be chosen, and stop
     * strings are not looked for. */
    o.min_predict = 3;
    o.stop = &(struct sg_str){"xx", 2};
    o.n_stop = 1;
    p = begin(&o, "");
    CHECK(want(&p, end) != end && p.step.finish == SG_FINISH_NONE);
    CHECK(want(&p, x.data[0]) == x.data[0] && want(&p, x.data[0]) == x.data[0] && p.step.finish == SG_FINISH_NONE);
    CHECK(p.counts.answer_tokens == 3 && want(&p, dot.data[0]) == dot.data[0] && p.step.finish == SG_FINISH_STOP);
    leave(&p);
    p = begin(&o, "");
    CHECK(want(&p, dot.data[0]) != dot.data[0]);
    say_text(&p, "y");
    say_text(&p, "x");
    say_text(&p, "x");
    CHECK(p.counts.answer_tokens == 4 && p.step.finish == SG_FINISH_STOP && p.counts.stop.len == 2);
    leave(&p);

    struct sg_reply *reply;
    struct sg_error err;
    o.n_predict = 2;
    CHECK(sg_reply_open(&reply, &engine, &o, NULL, 0, &err) == SG_USAGE && !reply);
    o.n_predict = 3;
    stops[0] = -1;
    CHECK(sg_reply_open(&reply, &engine, &o, NULL, 0, &err) == SG_USAGE && !reply);
    ids_free(&x);
    ids_free(&dot);
    clear_stage();
}

TEST(reply_thinking)
{
    if (!set_stage())
        return;
    static const struct {
        const char *prompt, *said, *text, *thinking;
        size_t answer_tokens; /* 0: any */
    } cases[] = {
        {CHAT_PROMPT, "<think>\nfoo\n\nbar\n</think>\n\nYes", "Yes", "foo\n\nbar", 1},
        {CHAT_PROMPT, "<think>\n\n</think>\n\nYes", "Yes", "", 1},
        {CHAT_PROMPT, "<think></think>Yes", "Yes", "", 1},
        {CHAT_PROMPT, "<think>\n\n\nfoo\n\n\n</think>\n\n\n\nYes\n\n", "Yes\n\n", "foo", 2},
        {CHAT_PROMPT, "Yes, <think> and </think> are tags\n", "Yes, <think> and </think> are tags\n", "", 0},
        {CHAT_PROMPT, "<think>a</think>b<think>c</think>", "b<think>c</think>", "a", 0},
        {CHAT_PROMPT, "<think>a<think>b</think>c", "c", "a<think>b", 1},
        {CHAT_PROMPT, "\n\nYes", "\n\nYes", "", 2},
        {CHAT_PROMPT "<think>\n\n</think>\n\n", "\n\nYes", "\n\nYes", "", 2},
        {CHAT_PROMPT "<think>\n", "foo\n</think>\n\nYes", "Yes", "foo", 1},
        {CHAT_PROMPT "<think>\nI wonder", " whether\n</think>\n\n\nYes", "Yes", " whether", 1},
        {CHAT_PROMPT "<think>\nfoo\n</think>\n\nYes", ", sure", ", sure", "", 2},
        {"<think>a</think> <think>", "b</think>c", "c", "b", 1},
        {"<think>", "b", "", "b", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sg_reply_options o = greedy();
        struct play p = begin(&o, cases[i].prompt);
        struct ids ids = encoded(cases[i].said);
        say(&p, ids.data, ids.len);
        finish(&p, SG_FINISH_LENGTH);
        CHECKF(shown(&p, cases[i].text, cases[i].thinking), "case %zu", i);
        CHECKF(p.counts.answer_tokens + p.counts.thinking_tokens == ids.len, "case %zu", i);
        CHECKF(cases[i].answer_tokens == 0 || p.counts.answer_tokens == cases[i].answer_tokens, "case %zu: %zu", i, p.counts.answer_tokens);
        CHECK(p.counts.length_in_thinking == (i == sizeof cases / sizeof *cases - 1));
        ids_free(&ids);
        leave(&p);
    }

    /* A character that the end of the block cuts off, an end of turn inside of the block. */
    struct sg_reply_options o = greedy();
    struct play p = begin(&o, CHAT_PROMPT);
    const int32_t cut[] = {think, byte_id['x'], byte_id[0xE2], end_think, byte_id['y']};
    say(&p, cut, 5);
    shown(&p, "y", "x\xef\xbf\xbd");
    leave(&p);
    p = begin(&o, CHAT_PROMPT);
    say_text(&p, "<think>\nHm\n<|im_end|>");
    shown(&p, "", "Hm");
    CHECK(p.counts.finish == SG_FINISH_STOP && p.counts.thinking_tokens >= 4 && p.counts.answer_tokens == 0);
    leave(&p);

    /* Stop strings are for the answer. */
    o.stop = &(struct sg_str){"\n\n", 2};
    o.n_stop = 1;
    p = begin(&o, CHAT_PROMPT);
    CHECK(!say_text(&p, "<think>\na\n\nb\n</think>\n\nYes\n\nNo"));
    shown(&p, "Yes", "a\n\nb");
    leave(&p);
    clear_stage();
}

TEST(reply_budget)
{
    if (!set_stage())
        return;
    int32_t x = byte_id['x'];
    const int32_t closing[] = {newline, end_think, blank_line};
    for (int opened = 0; opened < 2; opened++) {
        for (int64_t budget = 0; budget < 5; budget++) {
            struct sg_reply_options o = greedy();
            o.think_budget = budget;
            o.n_predict = 2;
            struct play p = begin(&o, opened ? CHAT_PROMPT "<think>\n" : CHAT_PROMPT);
            if (!opened)
                CHECK(want(&p, think) == think && !p.step.forced);
            for (int64_t i = 0; i < budget; i++)
                CHECK(want(&p, x) == x && !p.step.forced);
            for (int i = 0; i < 3; i++)
                CHECK(want(&p, x) == closing[i] && p.step.forced && p.step.finish == SG_FINISH_NONE);
            CHECK(want(&p, x) == x && !p.step.forced);
            CHECK(want(&p, x) == x && p.step.finish == SG_FINISH_LENGTH && !p.counts.length_in_thinking);
            shown(&p, "xx", &"xxxx"[4 - budget]);
            CHECK(p.counts.answer_tokens == 2 && p.counts.thinking_tokens == (size_t)budget + 3 + !opened);
            leave(&p);
        }
    }
    /* A block that ends in time is left alone, and so is a second one. */
    struct sg_reply_options o = greedy();
    o.think_budget = 2;
    struct play p = begin(&o, CHAT_PROMPT);
    const int32_t in_time[] = {think, x, x};
    say(&p, in_time, 3);
    CHECK(want(&p, end_think) == newline); /* too late by one */
    CHECK(want(&p, x) == end_think && want(&p, x) == blank_line);
    const int32_t again[] = {think, x, x, x, x, x};
    say(&p, again, 6);
    CHECK(p.step.finish == SG_FINISH_NONE);
    shown(&p, "<think>xxxxx", "xx");
    leave(&p);
    p = begin(&o, CHAT_PROMPT);
    const int32_t early[] = {think, x, end_think, x, x, x};
    say(&p, early, 6);
    shown(&p, "xxx", "x");
    leave(&p);

    /* Nothing to say: no token at all. */
    o.n_predict = 0;
    p = begin(&o, CHAT_PROMPT);
    want(&p, x);
    CHECK(p.step.id == -1 && p.step.finish == SG_FINISH_LENGTH);
    shown(&p, "", "");
    leave(&p);
    p = begin(&o, CHAT_PROMPT "<think>\n");
    say(&p, (const int32_t[]){x, x, newline, end_think, blank_line}, 2);
    for (int i = 0; i < 3; i++)
        CHECK(want(&p, x) == closing[i]);
    want(&p, x);
    CHECK(p.step.id == -1 && p.step.finish == SG_FINISH_LENGTH && !p.counts.length_in_thinking);
    leave(&p);
    clear_stage();
}

/* ------------------------------------------------------------------ constraint */

/* Lets through the bytes of `text` one by one, then an end of turn. */
struct script {
    const char *text;
    size_t at, masks, accepts;
    bool then_nothing; /* instead of the end of turn */
};

static bool script_mask(void *arg, uint32_t *bits)
{
    struct script *s = arg;
    int32_t id = s->text[s->at] ? byte_id[(unsigned char)s->text[s->at]] : end;
    s->masks++;
    size_t set = 0;
    for (size_t i = 0; i < engine.info.n_vocab; i++)
        set += bits[i / 32] >> i % 32 & 1;
    CHECK(set == engine.info.n_vocab);
    CHECK(engine.info.n_vocab % 32 == 0 || bits[engine.info.n_vocab / 32] >> engine.info.n_vocab % 32 == 0);
    if (!s->text[s->at] && s->then_nothing)
        return false;
    bool keep = bits[id / 32] >> id % 32 & 1;
    memset(bits, 0, (engine.info.n_vocab + 31) / 32 * sizeof *bits);
    bits[id / 32] |= (uint32_t)keep << id % 32;
    return true;
}

static void script_accept(void *arg, int32_t id)
{
    struct script *s = arg;
    CHECK(id == (s->text[s->at] ? byte_id[(unsigned char)s->text[s->at]] : end));
    s->accepts++;
    s->at += s->text[s->at] != 0;
}

TEST(reply_constraint)
{
    if (!set_stage())
        return;
    int32_t x = byte_id['x'];
    for (int mode = 0; mode < 8; mode++) {
        struct script script = {.text = "{}", .then_nothing = mode & 1};
        struct sg_constraint constraint = {.arg = &script, .mask = script_mask, .accept = script_accept};
        struct sg_reply_options o = greedy();
        o.constraint = &constraint;
        o.think_budget = mode & 4 ? 1 : -1;
        bool thinks = mode & 2;
        struct play p = begin(&o, thinks ? CHAT_PROMPT : CHAT_PROMPT "<think>\n\n</think>\n\n");
        if (thinks) { /* the constraint waits until the block is closed, and the empty line behind it */
            say(&p, (const int32_t[]){think, x}, 2);
            if (mode & 4) {
                CHECK(want(&p, x) == newline && p.step.forced);
                CHECK(want(&p, x) == end_think && p.step.forced);
            } else {
                want(&p, end_think);
                CHECK(!p.step.forced);
            }
            CHECK(want(&p, x) == blank_line && p.step.forced);
            CHECK(script.accepts == 0);
        }
        CHECK(want(&p, x) == byte_id['{'] && want(&p, think) == byte_id['}']);
        want(&p, x);
        CHECK(p.step.id == (script.then_nothing ? -1 : end) && p.step.finish == SG_FINISH_STOP);
        shown(&p, "{}", thinks ? "x" : "");
        CHECK(p.counts.answer_tokens == 2 && script.accepts == (script.then_nothing ? 2 : 3));
        leave(&p);
    }
    /* A model that does not think has nothing to wait for. */
    engine.chat = CHAT_CHATML;
    struct script script = {.text = "{}"};
    struct sg_constraint constraint = {.arg = &script, .mask = script_mask, .accept = script_accept};
    struct sg_reply_options o = greedy();
    o.constraint = &constraint;
    o.ignore_eos = true;
    struct play p = begin(&o, CHAT_PROMPT);
    CHECK(want(&p, think) == byte_id['{'] && want(&p, think) == byte_id['}']);
    want(&p, x); /* only an end of turn may follow, which is ignored */
    CHECK(p.step.id == -1 && p.step.finish == SG_FINISH_STOP);
    leave(&p);
    clear_stage();
}

/* ------------------------------------------------------------------ limits, errors */

TEST(reply_limits)
{
    if (!set_stage())
        return;
    struct sg_error err;
    struct sg_reply_options o = greedy();
    int32_t x = byte_id['x'], y = byte_id['y'];
    o.n_predict = 3;
    struct play p = begin(&o, CHAT_PROMPT);
    say(&p, (const int32_t[]){x, byte_id[0xE2], x, y}, 4);
    CHECK(p.step.finish == SG_FINISH_LENGTH && p.counts.answer_tokens == 3);
    shown(&p, "x\xef\xbf\xbdx", "");
    leave(&p);

    o.n_predict = -1;
    o.ignore_eos = true;
    p = begin(&o, "");
    logits[y] = 1;
    CHECK(want(&p, end) == y && want(&p, special("<|endoftext|>")) == y);
    logits[y] = 0;
    leave(&p);
    o.ignore_eos = false;

    p = begin(&o, "");
    logits[5] = NAN;
    CHECK(sg_reply_next(p.reply, logits, &p.step, &err) == SG_FAIL);
    logits[5] = 0;
    CHECK(sg_reply_next(p.reply, NULL, &p.step, &err) == SG_USAGE);
    leave(&p);

    struct sg_reply *r;
    CHECK(sg_reply_open(&r, &engine, &o, (const int32_t[]){-1}, 1, &err) == SG_USAGE && !r);
    CHECK(sg_reply_open(&r, &engine, &o, (const int32_t[]){(int32_t)engine.info.n_vocab}, 1, &err) == SG_USAGE && !r);
    o.sampling.mirostat = 7;
    CHECK(sg_reply_open(&r, &engine, &o, NULL, 0, &err) == SG_USAGE && !r);
    o.sampling.mirostat = 0;
    engine.has_weights = false;
    CHECK(sg_reply_open(&r, &engine, &o, NULL, 0, &err) == SG_USAGE && !r);
    engine.has_weights = true;
    sg_reply_close(NULL);

    static const char *const names[] = {"", "stop", "length", "loop"};
    for (int i = 0; i < 4; i++)
        CHECK(strcmp(sg_finish_name((enum sg_finish)i), names[i]) == 0);
    clear_stage();
}

TEST(reply_sampled)
{
    /* The same seed gives the same answer, another attempt another one; forced tokens count as
     * positions; penalties see the prompt. */
    if (!set_stage())
        return;
    struct sg_reply_options o = greedy();
    o.sampling.temperature = 1;
    o.sampling.top_k = 40;
    o.sampling.seed = 99;
    for (size_t i = 0; i < engine.info.n_vocab; i++)
        logits[i] = test_normal();
    int32_t first[25];
    int same = 0;
    for (int round = 0; round < 3; round++) {
        o.attempt = round == 2;
        struct play p = begin(&o, "A prompt");
        sg_reply_want_logprobs(p.reply, round == 1);
        for (int i = 0; i < 25; i++) {
            CHECK(sg_reply_next(p.reply, logits, &p.step, NULL) == SG_OK);
            if (round == 0)
                first[i] = p.step.id;
            else if (round == 1)
                CHECK(p.step.id == first[i] && p.step.logprob == sg_logprob_of(&engine, logits, p.step.id) && p.step.logprob < 0);
            else
                same += p.step.id == first[i];
        }
        leave(&p);
    }
    CHECK(same < 15);

    struct ids prompt = encoded("A prompt");
    o = greedy();
    o.sampling.penalty_last_n = -1;
    o.sampling.presence_penalty = 5;
    logits[prompt.data[0]] = 12;
    logits[7] = 10;
    struct play p = begin(&o, "A prompt");
    CHECK(sg_reply_next(p.reply, logits, &p.step, NULL) == SG_OK && p.step.id == 7);
    CHECK(sg_reply_next(p.reply, logits, &p.step, NULL) == SG_OK && p.step.id == prompt.data[0]);
    leave(&p);
    ids_free(&prompt);
    clear_stage();
}

/* ------------------------------------------------------------- signum.h's sampling */

TEST(sampling_logprobs)
{
    enum {
        N = 500
    };
    float l[N];
    struct sg_logprob top[N + 1];
    memset(&engine, 0, sizeof engine);
    engine.info.n_vocab = N;
    double sum = 0, all = 0;
    for (int i = 0; i < N; i++) {
        l[i] = (float)rint((double)(test_normal() * 3)) + 700;
        sum += exp((double)l[i] - 700);
    }
    for (size_t n = 0; n <= N + 1; n += n < 5 ? 1 : 62)
        CHECK(sg_top_logprobs(&engine, l, n, top) == (n < N ? n : N));
    CHECK(sg_top_logprobs(&engine, l, N + 1, top) == N);
    for (int i = 0; i < N; i++) {
        double expected = (double)l[top[i].id] - 700 - log(sum);
        CHECKF(fabs(top[i].logprob - expected) < 1e-12, "%.17g, expected %.17g", top[i].logprob, expected);
        CHECK(sg_logprob_of(&engine, l, top[i].id) == top[i].logprob);
        CHECK(i == 0 || l[top[i].id] < l[top[i - 1].id] || (l[top[i].id] <= l[top[i - 1].id] && top[i].id > top[i - 1].id));
        all += exp(top[i].logprob);
    }
    CHECK(fabs(all - 1) < 1e-12);
    CHECK(sg_logprob_of(&engine, l, -1) < -DBL_MAX && sg_logprob_of(&engine, l, N) < -DBL_MAX);
}

TEST(sampling_seeds)
{
    static const char key[] = "request-1 with more than eight bytes";
    uint64_t seen[200];
    size_t n = 0;
    for (size_t len = 0; len < sizeof key; len++)
        seen[n++] = sg_derive_seed(1, key, len, 0);
    for (uint32_t choice = 1; choice < 50; choice++)
        seen[n++] = sg_derive_seed(1, key, 5, choice);
    for (uint64_t seed = 2; seed < 52; seed++)
        seen[n++] = sg_derive_seed(seed, key, 5, 0);
    seen[n++] = sg_derive_seed(1, "request-1\0", 10, 0);
    seen[n++] = sg_derive_seed(1, "request-1\0\0", 11, 0);
    for (size_t i = 0; i < n; i++) {
        CHECK(seen[i] < (uint64_t)1 << 53);
        for (size_t j = 0; j < i; j++)
            CHECK(seen[i] != seen[j]);
    }
    /* Part of what SIGNUM_NUMERICS promises. */
    CHECKF(sg_derive_seed(42, "request-1", 9, 0) == 7918536376781051u, "%llu", (unsigned long long)sg_derive_seed(42, "request-1", 9, 0));
}

/* A file with these values, and a template if there is one. */
static const char *defaults(struct build *b, const char *name, const char *chat_template, struct sg_sampling *out)
{
    struct sg_error err = {0};
    memset(&engine, 0, sizeof engine);
    build_text(b, "general.name", name);
    struct file_map map = build_end(b);
    CHECKF(gguf_parse(&engine.gguf, "made", map, &err) == SG_OK, "%s", err.message);
    engine.info.name = (struct sg_str){name, strlen(name)};
    engine.chat = chat_recognise(chat_template, strlen(chat_template), &engine.info.template_recognised);
    const char *source = sg_sampling_defaults(&engine, out);
    gguf_close(&engine.gguf);
    return source;
}

static bool about(float a, double b) { return fabs((double)a - b) < 1e-6; }

TEST(sampling_defaults)
{
    const char *qwen3 = test_golden("chat/template.jinja", NULL);
    struct sg_sampling s;
    struct build b;
    build_begin(&b);
    CHECK(strcmp(defaults(&b, "Some model", "", &s), "generic") == 0);
    CHECK(about(s.temperature, 0.8) && s.top_k == 40 && about(s.top_p, 0.95) && about(s.min_p, 0.05) && s.seed == 0 &&
          s.penalty_last_n == 64);
    build_begin(&b);
    CHECK(strcmp(defaults(&b, "Some model", qwen3, &s), "preset") == 0);
    CHECK(about(s.temperature, 0.6) && s.top_k == 20 && about(s.top_p, 0.95) && about(s.min_p, 0));
    build_begin(&b);
    CHECK(strcmp(defaults(&b, "Qwen3 4B Instruct 2507", "", &s), "preset") == 0);
    CHECK(about(s.temperature, 0.7) && s.top_k == 20 && about(s.top_p, 0.8) && about(s.min_p, 0));
    build_begin(&b);
    CHECK(strcmp(defaults(&b, "Bonsai 1.7B", qwen3, &s), "preset") == 0);
    CHECK(about(s.temperature, 0.5) && s.top_k == 20 && about(s.top_p, 0.85) && about(s.min_p, 0));
    build_begin(&b);
    CHECK(strcmp(defaults(&b, "Ternary-BONSAI-27B", "", &s), "preset") == 0);
    CHECK(about(s.temperature, 0.7) && about(s.top_p, 0.95));

    build_begin(&b); /* the file first, in whatever types; the preset for the rest */
    build_float(&b, "general.sampling.temp", 0.25f);
    build_uint32(&b, "general.sampling.top_k", 33);
    build_value(&b, "general.sampling.top_p", GGUF_FLOAT64, &(double){0.5}, 8);
    build_value(&b, "general.sampling.penalty_last_n", GGUF_INT8, &(int8_t){-1}, 1);
    build_value(&b, "general.sampling.mirostat", GGUF_UINT64, &(uint64_t){2}, 8);
    build_text(&b, "general.sampling.sequence", "top_k;nonsense;temperature;;min_p");
    CHECK(strcmp(defaults(&b, "Bonsai", "", &s), "file") == 0);
    CHECK(about(s.temperature, 0.25) && s.top_k == 33 && about(s.top_p, 0.5) && about(s.min_p, 0) && s.penalty_last_n == -1 &&
          s.mirostat == 2);
    CHECKF(strcmp(s.samplers, "ktm") == 0, "%s", s.samplers);

    build_begin(&b); /* nonsense is passed over */
    build_float(&b, "general.sampling.temp", NAN);
    build_float(&b, "general.sampling.top_p", 7);
    build_text(&b, "general.sampling.top_k", "20");
    build_value(&b, "general.sampling.mirostat", GGUF_INT64, &(int64_t){-1}, 8);
    build_float(&b, "general.sampling.penalty_repeat", 0);
    build_uint32(&b, "general.sampling.sequence", 1);
    CHECK(strcmp(defaults(&b, "", "", &s), "generic") == 0);
    CHECK(about(s.temperature, 0.8) && s.top_k == 40 && about(s.top_p, 0.95) && s.mirostat == 0 && about(s.repeat_penalty, 1));
}
