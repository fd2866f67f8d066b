#include "matcher.h"

#include <stdlib.h>
#include <string.h>

#include "grow.h"

enum {
    WHOLE_MASKS = 64, /* masks kept for reuse: 19 KB each with 152 k tokens */
    LOCAL_MASKS = 128,
    WIDE = 64, /* a set that goes on with so many different bytes is worth splitting */
};
/* Elementary steps, some 0.2 and 0.02 s: then the grammar is hopeless. */
static const uint64_t WORK_PER_MASK = 4000000, WORK_PER_TOKEN = 400000;
static const size_t KEEP_BYTES = (size_t)32 << 20;   /* above this the machine forgets what no answer needs */
static const size_t LIMIT_BYTES = (size_t)256 << 20; /* above this it gives up */

struct mask {
    uint32_t owner;    /* set; SET_DEAD: slot is empty */
    uint32_t *bits;    /* (n_words) */
    uint32_t *escapes; /* trie nodes where the unknown part of the stack goes on */
    size_t n_escapes, escapes_cap;
};

struct matching {
    struct machine *machine;
    const struct trie *trie;
    struct matcher *first;
    size_t n_words; /* of a mask */
    size_t next_whole, next_local;
    struct mask masks[WHOLE_MASKS + LOCAL_MASKS];
};

enum sg_status matching_open(struct matching **out, const struct automaton *a, const struct trie *t, struct sg_error *err)
{
    struct matching *g = *out = calloc(1, sizeof *g);
    if (g) {
        g->trie = t;
        g->n_words = DIV_UP(t->n_vocab, (size_t)32);
        g->machine = machine_open(a, t->longest);
    }
    if (!g || !g->machine) {
        free(g);
        *out = NULL;
        return fail(err, SG_NO_MEMORY, "out of memory for the grammar");
    }
    return SG_OK;
}

void matching_close(struct matching *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < ARRAY_LEN(g->masks); i++) {
        free(g->masks[i].bits);
        free(g->masks[i].escapes);
    }
    machine_close(g->machine);
    free(g);
}

size_t matching_bytes(const struct matching *g)
{
    size_t bytes = sizeof *g + machine_bytes(g->machine);
    for (size_t i = 0; i < ARRAY_LEN(g->masks); i++)
        bytes += (g->masks[i].bits ? g->n_words * sizeof *g->masks[i].bits : 0) + g->masks[i].escapes_cap * sizeof *g->masks[i].escapes;
    return bytes;
}

/* --------------------------------------------------------------------- masks */

static void allow_words(const struct trie *t, uint32_t node, uint32_t *bits)
{
    for (uint32_t w = t->first_word[node]; w < t->first_word[node + 1]; w++)
        bits[t->words[w] / 32] |= (uint32_t)1 << t->words[w] % 32;
}

/* Walks the trie nodes begin..end, descendants of a node that leads to `set`, and sets the
 * bits of the tokens that survive. escapes (if not NULL) collects nodes where the stack's
 * unknown part is reached. */
static void walk(struct matching *g, uint32_t set, uint32_t begin, uint32_t end, uint32_t *bits, struct mask *escapes)
{
    const struct trie *t = g->trie;
    struct machine *m = g->machine;
    uint32_t sets[TRIE_MAX_TOKEN + 1];
    if (begin < end)
        sets[t->depth[begin] - 1] = set;
    for (uint32_t i = begin; i < end && !m->failed;) {
        size_t depth = t->depth[i];
        uint32_t to = machine_step(m, sets[depth - 1], m->a->class_of[t->byte[i]]);
        if (to == SET_DEAD) {
            i = t->end[i];
            continue;
        }
        sets[depth] = to;
        allow_words(t, i, bits);
        if (escapes && m->sets[to].escapes) {
            uint32_t *grew = grown(escapes->escapes, &escapes->escapes_cap, escapes->n_escapes, 1, sizeof *grew);
            if (!grew) {
                m->failed = true;
                return;
            }
            escapes->escapes = grew;
            escapes->escapes[escapes->n_escapes++] = i;
        }
        i++;
    }
}

/* A slot for a new mask of `owner`, cleared; the oldest one of its kind is given up for it. */
static struct mask *take_slot(struct matching *g, uint32_t owner, bool local)
{
    struct machine *m = g->machine;
    size_t slot = local ? WHOLE_MASKS + g->next_local : g->next_whole;
    if (local)
        g->next_local = (g->next_local + 1) % LOCAL_MASKS;
    else
        g->next_whole = (g->next_whole + 1) % WHOLE_MASKS;
    struct mask *mask = &g->masks[slot];
    if (mask->owner != SET_DEAD)
        m->sets[mask->owner].mask = -1;
    mask->owner = SET_DEAD;
    mask->n_escapes = 0;
    if (!mask->bits)
        mask->bits = malloc(g->n_words * sizeof *mask->bits);
    if (!mask->bits) {
        m->failed = true;
        return NULL;
    }
    memset(mask->bits, 0, g->n_words * sizeof *mask->bits);
    mask->owner = owner;
    m->sets[owner].mask = (int32_t)slot;
    return mask;
}

static void give_up_slot(struct matching *g, struct mask *mask)
{
    g->machine->sets[mask->owner].mask = -1;
    mask->owner = SET_DEAD;
}

static bool is_wide(struct machine *m, uint32_t set)
{
    size_t n = 0;
    for (size_t c = 0; c < m->a->n_classes && n < WIDE; c++) {
        if (machine_step(m, set, c) != SET_DEAD)
            n += (c + 1 < m->a->n_classes ? m->a->class_byte[c + 1] : 256) - (size_t)m->a->class_byte[c];
    }
    return n >= WIDE;
}

/* The mask of a set whose stacks all go through one node: what is decided above that node is
 * the same for everything below it, and is computed once. In a JSON string that is all but
 * the few tokens that hold the closing quote. */
static bool mask_by_parts(struct matching *g, uint32_t set, struct mask *mask)
{
    const struct trie *t = g->trie;
    struct machine *m = g->machine;
    uint32_t local, below;
    if (!is_wide(m, set) || !machine_split(m, set, &local, &below))
        return false;
    struct mask *part;
    if (m->sets[local].mask >= 0) {
        part = &g->masks[m->sets[local].mask];
    } else {
        part = take_slot(g, local, true);
        if (!part)
            return false;
        walk(g, local, 0, (uint32_t)t->n_nodes, part->bits, part);
        if (m->failed) {
            give_up_slot(g, part);
            return false;
        }
    }
    memcpy(mask->bits, part->bits, g->n_words * sizeof *mask->bits);
    for (size_t i = 0; i < part->n_escapes; i++) {
        uint32_t node = part->escapes[i];
        walk(g, below, node + 1, t->end[node], mask->bits, NULL);
    }
    return true;
}

static const uint32_t *mask_of(struct matching *g, uint32_t set)
{
    struct machine *m = g->machine;
    uint32_t shape = machine_shape(m, set);
    if (m->failed)
        return NULL;
    if (m->sets[shape].mask >= 0)
        return g->masks[m->sets[shape].mask].bits;
    struct mask *mask = take_slot(g, shape, false);
    if (!mask)
        return NULL;
    if (!mask_by_parts(g, shape, mask) && !m->failed)
        walk(g, shape, 0, (uint32_t)g->trie->n_nodes, mask->bits, NULL);
    if (m->failed) {
        give_up_slot(g, mask);
        return NULL;
    }
    for (size_t i = 0; i < g->trie->n_ends; i++) {
        uint32_t id = (uint32_t)g->trie->ends[i], bit = (uint32_t)1 << id % 32;
        mask->bits[id / 32] = m->sets[shape].accept ? mask->bits[id / 32] | bit : mask->bits[id / 32] & ~bit;
    }
    return mask->bits;
}

/* ------------------------------------------------------------------ matchers */

/* Drops what no answer needs, when that is much. */
static void tidy(struct matching *g)
{
    size_t n = 0, i = 0;
    if (machine_bytes(g->machine) < KEEP_BYTES)
        return;
    for (const struct matcher *m = g->first; m; m = m->next)
        n++;
    uint32_t **sets = malloc((n + 1) * sizeof *sets);
    if (!sets)
        return;
    for (struct matcher *m = g->first; m; m = m->next)
        sets[i++] = &m->set;
    if (machine_collect(g->machine, sets, n)) {
        for (i = 0; i < ARRAY_LEN(g->masks); i++)
            g->masks[i].owner = SET_DEAD;
    }
    free(sets);
}

/* Begins an operation: fresh budget, and room below the limit. */
static void prepare(struct matching *g, uint64_t budget)
{
    tidy(g);
    g->machine->failed = false;
    g->machine->work = 0;
    g->machine->budget = budget;
}

/* Ends it: a failure belongs to the matcher, the machine goes on. */
static void conclude(struct matcher *m)
{
    struct machine *machine = m->matching->machine;
    if (machine->failed || machine_bytes(machine) > LIMIT_BYTES)
        m->failed = true;
    machine->failed = false;
}

void matcher_start(struct matcher *m, struct matching *g)
{
    *m = (struct matcher){.matching = g, .next = g->first, .set = SET_DEAD};
    if (g->first)
        g->first->previous = m;
    g->first = m;
    prepare(g, WORK_PER_MASK);
    m->set = machine_start(g->machine);
    conclude(m);
}

void matcher_stop(struct matcher *m)
{
    if (m->previous)
        m->previous->next = m->next;
    else if (m->matching)
        m->matching->first = m->next;
    if (m->next)
        m->next->previous = m->previous;
    *m = (struct matcher){0};
}

bool matcher_mask(struct matcher *m, uint32_t *bits)
{
    struct matching *g = m->matching;
    if (m->failed || m->ended || g->machine->sets[m->set].n == 0)
        return false;
    prepare(g, WORK_PER_MASK);
    const uint32_t *mask = mask_of(g, m->set);
    conclude(m);
    if (m->failed || !mask)
        return false;
    uint32_t any = 0;
    for (size_t i = 0; i < g->n_words; i++)
        any |= bits[i] &= mask[i];
    return any != 0;
}

void matcher_read(struct matcher *m, const char *text, size_t len)
{
    struct matching *g = m->matching;
    if (m->failed)
        return;
    prepare(g, WORK_PER_TOKEN);
    struct machine *machine = g->machine;
    for (size_t i = 0; i < len && !machine->failed; i++)
        m->set = machine_step(machine, m->set, machine->a->class_of[(uint8_t)text[i]]);
    if (len > 0)
        m->last = text[len - 1];
    conclude(m);
}

void matcher_accept(struct matcher *m, int32_t id)
{
    const struct trie *t = m->matching->trie;
    if (id < 0 || (size_t)id >= t->n_vocab)
        return;
    for (size_t i = 0; i < t->n_ends; i++)
        m->ended |= t->ends[i] == id;
    if (!m->ended)
        matcher_read(m, t->bytes + t->begin[id], t->begin[id + 1] - t->begin[id]);
}

static bool is_space(int byte) { return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r'; }

/* The byte that is likely to follow in a set, where it is as good as the only one; -1: there is no telling. */
static int likely_byte(struct machine *m, uint32_t set, char last)
{
    const struct automaton *a = m->a;
    bool alive[256];
    int only = -1, space = -1, n = 0, n_spaces = 0;
    for (size_t class = 0; class < a->n_classes; class ++)
        alive[class] = machine_step(m, set, class) != SET_DEAD;
    for (int byte = 0; byte < 256; byte++) {
        bool possible = alive[a->class_of[byte]];
        if (possible && is_space(byte)) {
            space = byte;
            n_spaces++;
        } else if (possible) {
            only = byte;
            n++;
        }
    }
    if (n == 1)
        return (last == ':' || last == ',') && alive[a->class_of[' ']] ? ' ' : only;
    return n == 0 && n_spaces == 1 ? space : -1;
}

size_t matcher_expect(struct matcher *m, char *text, size_t max)
{
    struct matching *g = m->matching;
    struct machine *machine = g->machine;
    if (m->failed || m->ended)
        return 0;
    prepare(g, WORK_PER_TOKEN);
    uint32_t set = m->set;
    char last = m->last;
    size_t n = 0;
    while (n < max && !machine->sets[set].accept) {
        int byte = likely_byte(machine, set, last);
        if (byte < 0 || machine->failed)
            break;
        set = machine_step(machine, set, machine->a->class_of[byte]);
        text[n++] = last = (char)byte;
    }
    bool failed = machine->failed;
    machine->failed = false; /* only a guess is lost */
    return failed ? 0 : n;
}

bool matcher_alive(const struct matcher *m) { return !m->failed && m->set != SET_DEAD; }

bool matcher_complete(const struct matcher *m) { return !m->failed && m->matching && m->matching->machine->sets[m->set].accept; }
