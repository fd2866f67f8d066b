/* DRY with sequence breakers, against the definition followed token by token. (Without
 * breakers test_sampler.c compares it too.) */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "dry.h"

enum {
    WINDOW = 24
};

static const struct tokenizer *tokens;

static struct buf text_of(int32_t id)
{
    struct buf b = {0};
    tokenizer_decode(tokens, id, true, &b);
    return b;
}

/* Whether breaker s begins at the token `back` tokens before the newest one, and with how many
 * tokens after that it is complete (-1: it does not). */
static int breaker_at(const int32_t *newest, size_t back, const char *s)
{
    struct buf word = text_of(newest[-(ptrdiff_t)back]);
    int longest = strstr(word.data, s) ? 0 : -1;
    for (size_t k = 1; longest != 0 && k < strlen(s) && k <= word.len; k++) {
        struct ids rest = {0};
        CHECK(tokenizer_encode(tokens, s + k, strlen(s) - k, false, &rest, NULL) == SG_OK);
        if (memcmp(word.data + word.len - k, s, k) == 0 && rest.len <= back &&
            memcmp(newest - back + 1, rest.data, rest.len * sizeof *rest.data) == 0 && (int)rest.len > longest)
            longest = (int)rest.len;
        ids_free(&rest);
    }
    buf_free(&word);
    return longest;
}

TEST(dry_breakers)
{
    struct gguf g = {0};
    struct tokenizer *t;
    struct sg_error err = {0};
    if (!CHECKF(gguf_open(&g, test_path("tokenizer/qwen3.gguf"), &err) == SG_OK && tokenizer_open(&t, &g, &err) == SG_OK, "%s",
                err.message))
        return;
    tokens = t;
    static const char *const breakers[] = {":\n", "the end", "*", "<|im_end|>"};
    struct sg_str list[5] = {{"", 0}};
    for (size_t i = 0; i < 4; i++)
        list[i + 1] = (struct sg_str){breakers[i], strlen(breakers[i])};
    struct ids pool = {0}; /* the tokens to play with: some hold a breaker, some begin or end one */
    CHECK(tokenizer_encode(t, "a b c:\n**the end; bathe endings :\n\nthe <|im_end|> end", 54, true, &pool, NULL) == SG_OK);
    size_t found = 0, cut = 0;
    for (int round = 0; round < 6; round++) {
        struct dry *d;
        size_t allowed = test_below(3), n = 0;
        int32_t history[300];
        CHECK(dry_open(&d, WINDOW, allowed, list, round ? 5 : 1, tokenizer_size(t), t, &err) == SG_OK);
        for (; n < 150; n++) {
            history[n] = n > 5 && test_below(3) ? history[n - 5] : pool.data[test_below(pool.len)];
            dry_accept(d, history[n]);
            const int32_t *newest = history + n, *ids;
            size_t have = n + 1 < WINDOW ? n + 1 : WINDOW, limit = have;
            for (size_t back = 0; back < limit && round; back++) {
                int longest = -1;
                for (size_t b = 0; b < 4; b++) {
                    int tail = breaker_at(newest, back, breakers[b]);
                    longest = tail > longest ? tail : longest;
                }
                if (longest >= 0)
                    limit = back - (size_t)longest;
            }
            cut += limit < have;
            size_t n_ids = dry_find(d, &ids);
            found += n_ids;
            for (size_t k = 0; k < pool.len; k++) {
                int32_t id = pool.data[k];
                size_t length, expected = 0;
                bool any = false, whole = false;
                struct buf word = text_of(id);
                for (size_t b = 0; b < 4; b++)
                    whole |= round && strstr(word.data, breakers[b]);
                buf_free(&word);
                for (size_t back = 0; back + 1 < have && have > allowed && limit >= allowed && !whole; back++) {
                    size_t same = 0; /* the repetition ends just before newest[-back] */
                    while (back + 1 + same < have && newest[-(ptrdiff_t)(back + 1 + same)] == newest[-(ptrdiff_t)same])
                        same++;
                    same = same < limit ? same : limit;
                    if (newest[-(ptrdiff_t)back] == id && same >= allowed) {
                        any = true;
                        expected = same > expected ? same : expected;
                    }
                }
                CHECKF(dry_length(d, id, &length) == any && length == expected, "round %d token %zu: %zu, expected %zu", round, n, length,
                       expected);
                bool listed = false;
                for (size_t i = 0; i < n_ids; i++)
                    listed |= ids[i] == id;
                CHECK(listed == any);
            }
        }
        dry_close(d);
    }
    CHECK(found > 100 && cut > 100);
    ids_free(&pool);
    tokenizer_close(t);
    gguf_close(&g);
}
