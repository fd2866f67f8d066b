/* The loop guard: honest texts that repeat a lot pass, endless repetition does not. */
#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "check.h"
#include "loop_guard.h"
#include "tokenizer.h"

static struct gguf vocabulary;
static struct tokenizer *tokenizer;

/* Feeds a text; how many tokens went by until the guard fired, 0: it did not. */
static size_t fires(const struct buf *text)
{
    struct loop_guard guard;
    struct ids ids = {0};
    size_t fired = 0;
    struct buf token = {0};
    loop_guard_start(&guard);
    CHECK(tokenizer_encode(tokenizer, text->data, text->len, false, &ids, NULL) == SG_OK);
    for (size_t i = 0; i < ids.len && !fired; i++) {
        token.len = 0;
        tokenizer_decode(tokenizer, ids.data[i], false, &token);
        if (loop_guard_add(&guard, ids.data[i], token.data, token.len))
            fired = i + 1;
    }
    buf_free(&token);
    ids_free(&ids);
    return fired;
}

static void passes(struct buf *text, const char *what)
{
    size_t at = fires(text);
    CHECKF(at == 0, "%s: fired after %zu tokens", what, at);
    buf_free(text);
}

static void repeat(struct buf *b, const char *text, int n)
{
    while (n-- > 0)
        buf_puts(b, text);
}

TEST(loop_guard_honest_texts)
{
    struct sg_error err = {0};
    if (!CHECKF(gguf_open(&vocabulary, test_path("tokenizer/qwen3.gguf"), &err) == SG_OK &&
                    tokenizer_open(&tokenizer, &vocabulary, &err) == SG_OK,
                "%s", err.message))
        return;
    struct buf b = {0};
    for (int i = 0; i < 3000; i++)
        buf_printf(&b, "%d\n", i);
    passes(&b, "numbers");
    for (int i = 0; i < 40; i++)
        for (int j = 0; j < 40; j++)
            buf_printf(&b, "%d x %d = %d\n", i, j, i * j);
    passes(&b, "multiplication table");
    repeat(&b, "|---", 60);
    buf_puts(&b, "|\n");
    for (int i = 0; i < 100; i++)
        buf_printf(&b, "| Row %d | yes | no | n/a | %d%% | | |\n", i, i * 7 % 100);
    passes(&b, "table");
    repeat(&b, "| n/a | n/a | 0 | 0 | - | - |\n", 60);
    passes(&b, "table of nothing");
    for (int i = 0; i < 32; i++) {
        buf_puts(&b, "    ");
        repeat(&b, "0, ", 32);
        buf_puts(&b, "\n");
    }
    passes(&b, "matrix of zeros");
    for (int i = 0; i < 32; i++) {
        repeat(&b, "0x00, ", 16);
        buf_puts(&b, "\n");
    }
    passes(&b, "512 zero bytes in hexadecimal");
    for (int i = 0; i < 32; i++)
        repeat(&b, i % 2 ? "NULL, " : "NULL,\n", 8);
    passes(&b, "256 null pointers");
    repeat(&b, "I will not talk in class.\n", 100);
    passes(&b, "lines to be written a hundred times");
    for (int i = 99; i > 0; i--)
        buf_printf(
            &b,
            "%d bottles of beer on the wall, %d bottles of beer.\nTake one down and pass it around, %d bottles of beer on the wall.\n\n", i,
            i, i - 1);
    passes(&b, "bottles of beer");
    for (int i = 0; i < 12; i++) {
        for (int j = 0; j < 4; j++)
            buf_printf(&b, "A line of verse number %d, which goes on with line %d\n", i, j);
        repeat(&b, "\nOh, the wind and the rain,\nOh, the wind and the rain,\nFor the rain it raineth every day.\n\n", 2);
    }
    passes(&b, "poem with a refrain");
    repeat(&b, "na ", 200);
    buf_puts(&b, "hey Jude");
    repeat(&b, " ha", 300);
    passes(&b, "singing and laughing");
    for (int i = 0; i < 300; i++)
        buf_printf(&b, "    case %d:\n        return \"%d\";\n", i, i);
    passes(&b, "switch");
    repeat(&b, "    {\"x\": 0, \"y\": 0, \"name\": \"\"},\n", 60);
    passes(&b, "equal objects");
    repeat(&b, "A", 4000);
    buf_puts(&b, "\n");
    repeat(&b, "=", 4000);
    buf_puts(&b, "\n");
    repeat(&b, "\xe2\x94\x80", 300);
    repeat(&b, "AAAA", 500);
    repeat(&b, ". ", 400);
    passes(&b, "rulers, filler");
    repeat(&b, "\n", 200);
    repeat(&b, "    \n", 60);
    repeat(&b, "\t", 150);
    passes(&b, "empty lines");
    repeat(&b, "}\n", 40);
    repeat(&b, ")", 300);
    passes(&b, "closing brackets");
    tokenizer_close(tokenizer);
    gguf_close(&vocabulary);
}

/* When a cycle of so many tokens, all with this text, is noticed; 0: not in 10,000. */
static size_t noticed(size_t period, const char *text, size_t before)
{
    struct loop_guard guard;
    loop_guard_start(&guard);
    for (size_t i = 0; i < before; i++)
        if (loop_guard_add(&guard, (int32_t)(1000 + test_below(1 << 20)), "word", 4))
            return i;
    for (size_t i = 0; i < 10000; i++)
        if (loop_guard_add(&guard, (int32_t)(i % period), text, strlen(text)))
            return i + 1;
    return 0;
}

TEST(loop_guard_loops)
{
    for (size_t period = 1; period <= LOOP_PERIOD_MAX; period += period < 12 ? 1 : 47) {
        static const struct {
            const char *text;
            size_t base, per_period;
        } kinds[] = {
            {" \n", 256, 2}, {"0", 3000, 16}, {"0x", 3000, 16}, {" the", 1000, 10}, {"\xe6\x97\xa5", 1000, 10}, {"\xe2\x94\x80", 3000, 16},
            {"", 256, 2}};
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            size_t expected = period + kinds[k].base + kinds[k].per_period * period;
            for (size_t before = 0; before < 600; before += 299) {
                size_t at = noticed(period, kinds[k].text, before);
                CHECKF(at == expected, "period %zu of \"%s\": %zu, expected %zu", period, kinds[k].text, at, expected);
            }
        }
    }
    CHECK(noticed(LOOP_PERIOD_MAX + 1, "word", 0) == 0);

    /* One word in a cycle of digits makes it one of words; a token out of line starts it anew. */
    struct loop_guard guard;
    loop_guard_start(&guard);
    size_t at = 0;
    for (size_t i = 0; i < 5000 && !at; i++) {
        bool odd = i == 900;
        if (loop_guard_add(&guard, odd ? 77 : (int32_t)(i % 5), i % 5 == 3 ? "word" : "7", i % 5 == 3 ? 4 : 1))
            at = i + 1;
    }
    CHECKF(at == 901 + 5 + 1050, "%zu", at);
}
