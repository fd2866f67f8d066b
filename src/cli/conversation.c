#include "conversation.h"

#include <stdlib.h>
#include <string.h>

void conversation_set_system(struct conversation *c, const char *text, size_t len)
{
    c->system.len = 0;
    c->has_system = text != NULL;
    if (text)
        buf_append(&c->system, text, len);
    c->failed |= c->system.failed;
}

struct message *conversation_add(struct conversation *c, bool from_user, const char *text, size_t len)
{
    if (c->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 16, bytes;
        struct message *grown = mul_size(cap, sizeof *grown, &bytes) ? realloc(c->messages, bytes) : NULL;
        if (!grown) {
            c->failed = true;
            return NULL;
        }
        c->messages = grown;
        c->cap = cap;
    }
    struct message *m = &c->messages[c->n];
    *m = (struct message){.from_user = from_user};
    buf_append(&m->content, text, len);
    if (m->content.failed) {
        buf_free(&m->content);
        c->failed = true;
        return NULL;
    }
    c->n++;
    if (from_user)
        c->attempt = 0;
    else
        m->attempt = c->attempt;
    return m;
}

static struct message *last(const struct conversation *c, bool from_user)
{
    struct message *m = c->n > 0 ? &c->messages[c->n - 1] : NULL;
    return m && m->from_user == from_user ? m : NULL;
}

struct message *conversation_answer(const struct conversation *c) { return last(c, false); }
struct message *conversation_question(const struct conversation *c) { return last(c, true); }

static size_t count_turns(const struct conversation *c, size_t from)
{
    size_t turns = 0;
    for (size_t i = from; i < c->n; i++)
        turns += c->messages[i].from_user;
    return turns;
}

size_t conversation_turns(const struct conversation *c) { return count_turns(c, 0); }
size_t conversation_live_turns(const struct conversation *c) { return count_turns(c, c->first); }

static void truncate(struct conversation *c, size_t n)
{
    while (c->n > n) {
        struct message *m = &c->messages[--c->n];
        buf_free(&m->content);
        buf_free(&m->reasoning);
    }
    if (c->first >= c->n)
        c->first = 0; /* the older ones have room again */
}

size_t conversation_undo(struct conversation *c, size_t n)
{
    size_t removed = 0, keep = c->n;
    while (removed < n && keep > 0) {
        keep--;
        removed += c->messages[keep].from_user;
    }
    if (removed < n)
        keep = 0;
    truncate(c, keep);
    c->attempt = 0;
    return removed;
}

bool conversation_drop_answer(struct conversation *c)
{
    size_t keep = c->n;
    while (keep > 0 && !c->messages[keep - 1].from_user)
        keep--;
    if (keep == c->n || keep == 0)
        return false;
    c->attempt = c->messages[c->n - 1].attempt + 1;
    truncate(c, keep);
    return true;
}

size_t conversation_forget(struct conversation *c, size_t n)
{
    size_t live = conversation_live_turns(c), forgotten = 0;
    n = MIN(n, live ? live - 1 : 0);
    for (size_t i = c->first + 1; forgotten < n; i++) {
        if (c->messages[i].from_user) {
            c->first = i;
            forgotten++;
        }
    }
    return forgotten;
}

void conversation_clear(struct conversation *c)
{
    truncate(c, 0);
    c->attempt = 0;
}

void conversation_free(struct conversation *c)
{
    truncate(c, 0);
    free(c->messages);
    buf_free(&c->system);
    *c = (struct conversation){0};
}
