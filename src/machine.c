#include "machine.h"

#include <stdlib.h>
#include <string.h>

#include "grow.h"

/* While a set is being computed, calls made at this byte have nodes that do not exist yet:
 * PENDING + rule stands for the node of that rule. */
#define PENDING ((uint32_t)1 << 31)
/* A call that is its rule's last act returns where the rule returns. */
#define INHERIT UINT32_MAX

/* More than this and the grammar's states at one place of the text, and it is too ambiguous to be followed. */
enum {
    MAX_ITEMS = 30000
};

struct item {
    uint32_t state, count, node;
};
struct call {
    uint32_t rank, rule; /* called; sorted by rank, callers come before callees */
    uint32_t ret, count, node;
};
struct slot {
    struct item item;
    uint32_t stamp;
};

/* Scratch of one computation. */
struct closure {
    struct item *items; /* found so far; those before `done` are worked off */
    size_t n_items, items_cap, done;
    struct slot *slots; /* hash table over items; a slot is in use if its stamp is today's */
    size_t n_slots;
    uint32_t stamp;
    struct call *calls;
    size_t n_calls, calls_cap;
    uint32_t *rule_stamp, *rule_node; /* (n_rules) */
    uint64_t *configs;
    size_t n_configs, configs_cap;
    struct frame *frames, *clamped;
    size_t n_frames, frames_cap, n_clamped, clamped_cap;
    bool accept, escapes;
};

#define RESERVE(m, owner, field, more)                                                                                 \
    (((room = grown((owner)->field, &(owner)->field##_cap, (owner)->n_##field, more, sizeof *(owner)->field)) != NULL) \
         ? ((owner)->field = room, true)                                                                               \
         : ((m)->failed = true, false))

/* ----------------------------------------------------------------- interning */

static uint32_t hash_words(const void *data, size_t bytes, uint32_t h)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < bytes; i += 4) {
        uint32_t word;
        memcpy(&word, p + i, 4);
        h = (h ^ word) * 0x9E3779B1u;
        h ^= h >> 15;
    }
    return h;
}

static int compare_frames(const void *a, const void *b)
{
    const struct frame *x = a, *y = b;
    if (x->parent != y->parent)
        return x->parent < y->parent ? -1 : 1;
    if (x->ret != y->ret)
        return x->ret < y->ret ? -1 : 1;
    return (x->count > y->count) - (x->count < y->count);
}

static size_t sort_frames(struct frame *f, size_t n)
{
    if (n < 2)
        return n;
    qsort(f, n, sizeof *f, compare_frames);
    size_t out = 1;
    for (size_t i = 1; i < n; i++) {
        if (compare_frames(&f[i], &f[out - 1]) != 0)
            f[out++] = f[i];
    }
    return out;
}

static int compare_configs(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static size_t sort_configs(uint64_t *c, size_t n)
{
    if (n > 24) {
        qsort(c, n, sizeof *c, compare_configs);
    } else {
        for (size_t i = 1; i < n; i++) {
            uint64_t x = c[i];
            size_t k = i;
            for (; k > 0 && c[k - 1] > x; k--)
                c[k] = c[k - 1];
            c[k] = x;
        }
    }
    size_t out = 0;
    for (size_t i = 0; i < n; i++) {
        if (out == 0 || c[i] != c[out - 1])
            c[out++] = c[i];
    }
    return out;
}

static void rehash(struct machine *m, uint32_t **heads, size_t *buckets, bool nodes)
{
    size_t n = nodes ? m->n_nodes : m->n_sets, want = *buckets ? *buckets : 256;
    while (want < n + 1)
        want *= 2;
    if (want == *buckets)
        return;
    uint32_t *table = malloc(want * sizeof *table);
    if (!table) {
        m->failed = true;
        return;
    }
    memset(table, 0xFF, want * sizeof *table);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t h = nodes ? hash_words(m->frames + m->nodes[i].first, m->nodes[i].n * sizeof *m->frames, 1)
                           : hash_words(m->configs + m->sets[i].first, m->sets[i].n * sizeof *m->configs, 1);
        uint32_t *head = &table[h & (want - 1)];
        if (nodes)
            m->nodes[i].next = *head;
        else
            m->sets[i].next = *head;
        *head = i;
    }
    free(*heads);
    *heads = table;
    *buckets = want;
}

/* How often a loop's rule was read, with distances to its limits cut at what a token can bridge. */
static uint32_t clamp_count(const struct machine *m, uint32_t ret, uint32_t count)
{
    const struct automaton *a = m->a;
    if (count == 0 || ret >= a->n_states)
        return count;
    const struct loop *loop = &a->loops[a->edges[a->states[ret].first_edge].rule];
    uint32_t far = m->reach + 1;
    if (count < loop->min)
        return loop->min - count > far ? loop->min - far : count;
    if (loop->max == EXPR_UNLIMITED || loop->max - count <= far)
        return count;
    return MAX(loop->min, loop->max - far);
}

static uint32_t intern_node(struct machine *m, const struct frame *f, size_t n)
{
    void *room;
    uint32_t h = hash_words(f, n * sizeof *f, 1);
    if (m->failed)
        return NODE_BOTTOM;
    for (uint32_t i = m->node_heads[h & (m->node_buckets - 1)]; i != UINT32_MAX; i = m->nodes[i].next) {
        if (m->nodes[i].n == n && memcmp(m->frames + m->nodes[i].first, f, n * sizeof *f) == 0)
            return i;
    }
    m->work += 8 + n;
    if (m->n_nodes >= PENDING || m->n_frames + n >= UINT32_MAX || !RESERVE(m, m, nodes, 1) || !RESERVE(m, m, frames, n)) {
        m->failed = true;
        return NODE_BOTTOM;
    }
    uint32_t id = (uint32_t)m->n_nodes++;
    memcpy(m->frames + m->n_frames, f, n * sizeof *f);
    uint32_t *head = &m->node_heads[h & (m->node_buckets - 1)];
    m->nodes[id] = (struct node){.first = (uint32_t)m->n_frames, .n = (uint32_t)n, .shape = id, .next = *head};
    *head = id;
    m->n_frames += n;
    rehash(m, &m->node_heads, &m->node_buckets, true);
    return id;
}

/* intern_node, and the node's shape: itself unless a count or a parent's shape differs. */
static uint32_t node_with_shape(struct machine *m, struct frame *f, size_t n)
{
    void *room;
    struct closure *c = m->closure;
    m->work += 4 * n;
    n = sort_frames(f, n);
    size_t before = m->n_nodes;
    uint32_t id = intern_node(m, f, n);
    if (m->failed || m->n_nodes == before)
        return id;
    c->n_clamped = 0;
    if (!RESERVE(m, c, clamped, n))
        return id;
    bool differs = false;
    for (size_t i = 0; i < n; i++) {
        c->clamped[i] = (struct frame){f[i].ret, clamp_count(m, f[i].ret, f[i].count), m->nodes[f[i].parent].shape};
        differs |= c->clamped[i].count != f[i].count || c->clamped[i].parent != f[i].parent;
    }
    if (differs) {
        uint32_t shape = intern_node(m, c->clamped, sort_frames(c->clamped, n));
        m->nodes[id].shape = shape;
    }
    return id;
}

/* configs: sorted and unique, not inside m->configs. */
static uint32_t intern_set(struct machine *m, const uint64_t *configs, size_t n, bool accept, bool escapes)
{
    void *room;
    uint32_t h = hash_words(configs, n * sizeof *configs, 1);
    if (m->failed)
        return SET_DEAD;
    for (uint32_t i = m->set_heads[h & (m->set_buckets - 1)]; i != UINT32_MAX; i = m->sets[i].next) {
        const struct set *s = &m->sets[i];
        if (s->n == n && s->accept == accept && s->escapes == escapes &&
            (n == 0 || memcmp(m->configs + s->first, configs, n * sizeof *configs) == 0))
            return i;
    }
    size_t n_classes = m->a->n_classes;
    m->work += 32 + n + n_classes / 4;
    if (m->n_sets >= SET_UNKNOWN || m->n_configs + n >= UINT32_MAX || !RESERVE(m, m, sets, 1) || !RESERVE(m, m, configs, n + 1) ||
        !RESERVE(m, m, steps, n_classes)) {
        m->failed = true;
        return SET_DEAD;
    }
    uint32_t id = (uint32_t)m->n_sets++;
    if (n)
        memcpy(m->configs + m->n_configs, configs, n * sizeof *configs);
    memset(m->steps + m->n_steps, n ? 0xFF : 0, n_classes * sizeof *m->steps); /* without configurations: dead */
    uint32_t *head = &m->set_heads[h & (m->set_buckets - 1)];
    m->sets[id] = (struct set){.first = (uint32_t)m->n_configs,
                               .n = (uint32_t)n,
                               .shape = SET_UNKNOWN,
                               .next = *head,
                               .mask = -1,
                               .accept = accept,
                               .escapes = escapes};
    *head = id;
    m->n_configs += n;
    m->n_steps += n_classes;
    rehash(m, &m->set_heads, &m->set_buckets, false);
    return id;
}

/* ------------------------------------------------------------------- closure */

static void begin(struct machine *m)
{
    struct closure *c = m->closure;
    c->n_items = c->done = c->n_calls = c->n_configs = 0;
    c->accept = c->escapes = false;
    if (++c->stamp == 0) { /* once in 2^32: forget the stamps of the previous round */
        memset(c->slots, 0, c->n_slots * sizeof *c->slots);
        memset(c->rule_stamp, 0, m->a->n_rules * sizeof *c->rule_stamp);
        c->stamp = 1;
    }
}

static struct slot *find_slot(struct slot *slots, size_t n, struct item item, uint32_t stamp)
{
    size_t at = hash_words(&item, sizeof item, 7) & (n - 1);
    while (slots[at].stamp == stamp && memcmp(&slots[at].item, &item, sizeof item) != 0)
        at = (at + 1) & (n - 1);
    return &slots[at];
}

static void push(struct machine *m, uint32_t state, uint32_t count, uint32_t node)
{
    void *room;
    struct closure *c = m->closure;
    struct item item = {state, count, node};
    if (++m->work > m->budget || c->n_items >= MAX_ITEMS + m->a->n_states)
        m->failed = true;
    if (m->failed)
        return;
    struct slot *slot = find_slot(c->slots, c->n_slots, item, c->stamp);
    if (slot->stamp == c->stamp || !RESERVE(m, c, items, 1))
        return;
    *slot = (struct slot){item, c->stamp};
    c->items[c->n_items++] = item;
    if (c->n_items * 2 > c->n_slots) {
        struct slot *slots = calloc(c->n_slots * 4, sizeof *slots);
        if (!slots) {
            m->failed = true;
            return;
        }
        free(c->slots);
        c->slots = slots;
        c->n_slots *= 4;
        for (size_t i = 0; i < c->n_items; i++)
            *find_slot(slots, c->n_slots, c->items[i], c->stamp) = (struct slot){c->items[i], c->stamp};
    }
}

static void call_rule(struct machine *m, uint32_t rule, uint32_t ret, uint32_t count, uint32_t node)
{
    void *room;
    struct closure *c = m->closure;
    const struct rule *r = &m->a->rules[rule];
    if (!RESERVE(m, c, calls, 1))
        return;
    c->calls[c->n_calls++] = (struct call){r->rank, rule, ret, count, node};
    if (c->rule_stamp[rule] != c->stamp) {
        c->rule_stamp[rule] = c->stamp;
        push(m, r->start, 0, PENDING + rule);
    }
}

/* Everything that an item leads to without a byte. */
static void expand(struct machine *m, struct item item)
{
    void *room;
    struct closure *c = m->closure;
    const struct automaton *a = m->a;
    if (item.state >= a->n_states) {
        c->accept |= item.state == a->n_states;
        c->escapes |= item.state == a->n_states + 1;
        return;
    }
    if (a->states[item.state].final) {
        /* A rule that ends at the byte where it was called matched nothing: its caller has
         * been continued already, because the rule is nullable. */
        if (item.node & PENDING)
            return;
        for (uint32_t i = 0; i < m->nodes[item.node].n; i++) {
            struct frame f = m->frames[m->nodes[item.node].first + i];
            push(m, f.ret, f.count, f.parent);
        }
        return;
    }
    bool reads = false;
    for (uint32_t i = a->states[item.state].first_edge; i < a->states[item.state + 1].first_edge; i++) {
        const struct edge *e = &a->edges[i];
        if (e->kind == EDGE_BYTES) {
            reads = true;
        } else if (e->kind == EDGE_EPSILON) {
            push(m, e->to, 0, item.node);
        } else if (e->kind == EDGE_CALL) {
            call_rule(m, e->rule, a->states[e->to].final ? INHERIT : e->to, 0, item.node);
            if (a->rules[e->rule].nullable)
                push(m, e->to, 0, item.node);
        } else {
            const struct loop *loop = &a->loops[e->rule];
            if (item.count >= loop->min)
                push(m, e->to, 0, item.node);
            if (item.count < loop->max) /* without a maximum, nothing needs counting beyond the minimum */
                call_rule(m, loop->rule, item.state, loop->max == EXPR_UNLIMITED ? MIN(item.count + 1, loop->min) : item.count + 1,
                          item.node);
        }
    }
    if (reads && RESERVE(m, c, configs, 1))
        c->configs[c->n_configs++] = (uint64_t)item.node << 32 | item.state;
}

static int compare_calls(const void *a, const void *b)
{
    const struct call *x = a, *y = b;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static uint32_t resolved(const struct machine *m, uint32_t node) { return node & PENDING ? m->closure->rule_node[node - PENDING] : node; }

/* Makes the nodes of the rules that were called. A caller ranks below what it calls, so
 * that its node exists when it is needed. */
static void resolve_calls(struct machine *m)
{
    void *room;
    struct closure *c = m->closure;
    if (c->n_calls > 1)
        qsort(c->calls, c->n_calls, sizeof *c->calls, compare_calls);
    for (size_t i = 0, k; i < c->n_calls && !m->failed; i = k) {
        c->n_frames = 0;
        for (k = i; k < c->n_calls && c->calls[k].rule == c->calls[i].rule; k++) {
            uint32_t node = resolved(m, c->calls[k].node);
            size_t n = c->calls[k].ret == INHERIT ? m->nodes[node].n : 1;
            m->work += n;
            if (!RESERVE(m, c, frames, n))
                return;
            if (c->calls[k].ret == INHERIT)
                memcpy(c->frames + c->n_frames, m->frames + m->nodes[node].first, n * sizeof *c->frames);
            else
                c->frames[c->n_frames] = (struct frame){c->calls[k].ret, c->calls[k].count, node};
            c->n_frames += n;
        }
        c->rule_node[c->calls[i].rule] = node_with_shape(m, c->frames, c->n_frames);
    }
}

/* The set of everything that was pushed. */
static uint32_t finish(struct machine *m)
{
    struct closure *c = m->closure;
    while (c->done < c->n_items && !m->failed)
        expand(m, c->items[c->done++]);
    resolve_calls(m);
    m->work += 4 * c->n_configs;
    if (m->failed)
        return SET_DEAD;
    for (size_t i = 0; i < c->n_configs; i++)
        c->configs[i] = (uint64_t)resolved(m, (uint32_t)(c->configs[i] >> 32)) << 32 | (uint32_t)c->configs[i];
    return intern_set(m, c->configs, sort_configs(c->configs, c->n_configs), c->accept, c->escapes);
}

uint32_t machine_start(struct machine *m)
{
    if (m->start == SET_UNKNOWN) {
        begin(m);
        call_rule(m, m->a->root, INHERIT, 0, NODE_BOTTOM);
        m->closure->accept = m->a->rules[m->a->root].nullable;
        uint32_t start = finish(m);
        if (m->failed)
            return SET_DEAD;
        m->start = start;
    }
    return m->start;
}

uint32_t machine_compute(struct machine *m, uint32_t set, size_t byte_class)
{
    const struct automaton *a = m->a;
    uint8_t byte = a->class_byte[byte_class];
    begin(m);
    for (uint32_t i = 0; i < m->sets[set].n; i++) {
        uint64_t config = m->configs[m->sets[set].first + i];
        uint32_t state = (uint32_t)config;
        m->work += 2;
        for (uint32_t k = a->states[state].first_edge; k < a->states[state + 1].first_edge; k++) {
            const struct edge *e = &a->edges[k];
            if (e->kind == EDGE_BYTES && byte >= e->lo && byte <= e->hi)
                push(m, e->to, 0, (uint32_t)(config >> 32));
        }
    }
    uint32_t to = finish(m);
    if (!m->failed)
        m->steps[set * a->n_classes + byte_class] = to;
    return to;
}

/* ---------------------------------------------------------- shapes, splitting */

uint32_t machine_shape(struct machine *m, uint32_t set)
{
    void *room;
    struct closure *c = m->closure;
    if (m->sets[set].shape != SET_UNKNOWN)
        return m->sets[set].shape;
    c->n_configs = 0;
    if (!RESERVE(m, c, configs, m->sets[set].n))
        return set;
    for (uint32_t i = 0; i < m->sets[set].n; i++) {
        uint64_t config = m->configs[m->sets[set].first + i];
        c->configs[i] = (uint64_t)m->nodes[config >> 32].shape << 32 | (uint32_t)config;
    }
    uint32_t shape = intern_set(m, c->configs, sort_configs(c->configs, m->sets[set].n), m->sets[set].accept, m->sets[set].escapes);
    if (m->failed)
        return set;
    m->sets[set].shape = shape;
    m->sets[shape].shape = shape;
    return shape;
}

enum {
    SPLIT_NODES = 32
};

/* The only parent of a node, or NODE_BOTTOM. */
static uint32_t only_parent(const struct machine *m, uint32_t node)
{
    const struct frame *f = m->frames + m->nodes[node].first;
    for (uint32_t i = 1; i < m->nodes[node].n; i++) {
        if (f[i].parent != f[0].parent)
            return NODE_BOTTOM;
    }
    return f[0].parent;
}

/* The nodes of a set, then of what is below them, until there is one: the newest is
 * replaced by its parent each time. Parents are older than their children, so none is met
 * after it was passed. Returns it, and in chain (newest first) those above it; NODE_BOTTOM: none. */
static uint32_t common_node(const struct machine *m, const struct set *s, uint32_t chain[SPLIT_NODES], size_t *n_chain)
{
    uint32_t open[SPLIT_NODES] = {0};
    size_t n = 0;
    *n_chain = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t node = (uint32_t)(m->configs[s->first + i] >> 32);
        if (n && open[n - 1] == node)
            continue;
        if (n == SPLIT_NODES)
            return NODE_BOTTOM;
        open[n++] = node;
    }
    while (n > 1) {
        /* open is ascending */
        uint32_t node = open[--n], parent = only_parent(m, node);
        if (*n_chain == SPLIT_NODES || parent < open[0])
            return NODE_BOTTOM;
        chain[(*n_chain)++] = node;
        size_t at = n;
        while (open[at - 1] > parent)
            at--;
        if (open[at - 1] == parent)
            continue;
        memmove(open + at + 1, open + at, (n - at) * sizeof *open);
        open[at] = parent;
        n++;
    }
    return n ? open[0] : NODE_BOTTOM;
}

bool machine_split(struct machine *m, uint32_t set, uint32_t *local, uint32_t *below)
{
    struct closure *c = m->closure;
    void *room;
    uint32_t chain[SPLIT_NODES], image[SPLIT_NODES];
    size_t n;
    const struct set *s = &m->sets[set];
    uint32_t common = common_node(m, s, chain, &n);
    if (common == NODE_BOTTOM || common == NODE_TOP)
        return false;
    for (size_t i = n; i-- > 0;) {
        const struct node node = m->nodes[chain[i]];
        c->n_frames = 0;
        if (!RESERVE(m, c, frames, node.n))
            return false;
        for (uint32_t j = 0; j < node.n; j++) {
            struct frame f = m->frames[node.first + j];
            uint32_t parent = NODE_TOP;
            for (size_t other = i + 1; other < n; other++)
                parent = chain[other] == f.parent ? image[other] : parent;
            c->frames[j] = (struct frame){f.ret, f.count, parent};
        }
        image[i] = node_with_shape(m, c->frames, node.n);
    }
    s = &m->sets[set];
    c->n_configs = 0;
    if (!RESERVE(m, c, configs, s->n))
        return false;
    for (uint32_t i = 0; i < s->n; i++) {
        uint64_t config = m->configs[s->first + i];
        uint32_t node = NODE_TOP;
        for (size_t other = 0; other < n; other++)
            node = chain[other] == config >> 32 ? image[other] : node;
        c->configs[i] = (uint64_t)node << 32 | (uint32_t)config;
    }
    *local = intern_set(m, c->configs, sort_configs(c->configs, s->n), false, false);
    begin(m);
    for (uint32_t i = 0; i < m->nodes[common].n; i++) {
        struct frame f = m->frames[m->nodes[common].first + i];
        push(m, f.ret, f.count, f.parent);
    }
    *below = finish(m);
    return !m->failed;
}

/* ----------------------------------------------------------------- life time */

/* The fixed nodes and sets of an empty machine. */
static void plant(struct machine *m)
{
    uint32_t end = (uint32_t)m->a->n_states;
    m->start = SET_UNKNOWN;
    rehash(m, &m->node_heads, &m->node_buckets, true);
    rehash(m, &m->set_heads, &m->set_buckets, false);
    if (m->failed)
        return;
    intern_node(m, &(struct frame){end, 0, 0}, 1);
    intern_node(m, &(struct frame){end + 1, 0, 0}, 1);
    intern_set(m, NULL, 0, false, false);
}

struct machine *machine_open(const struct automaton *a, size_t reach)
{
    struct machine *m = calloc(1, sizeof *m);
    struct closure *c = calloc(1, sizeof *c);
    if (!m || !c) {
        free(m);
        free(c);
        return NULL;
    }
    *m = (struct machine){.a = a, .reach = (uint32_t)reach, .closure = c, .budget = UINT64_MAX};
    c->n_slots = 256;
    c->slots = calloc(c->n_slots, sizeof *c->slots);
    c->rule_stamp = calloc(a->n_rules, sizeof *c->rule_stamp);
    c->rule_node = calloc(a->n_rules, sizeof *c->rule_node);
    m->failed = !c->slots || !c->rule_stamp || !c->rule_node;
    plant(m);
    if (m->failed) {
        machine_close(m);
        return NULL;
    }
    return m;
}

static void free_tables(struct machine *m)
{
    free(m->nodes);
    free(m->frames);
    free(m->sets);
    free(m->configs);
    free(m->steps);
    free(m->node_heads);
    free(m->set_heads);
}

void machine_close(struct machine *m)
{
    if (!m)
        return;
    struct closure *c = m->closure;
    free_tables(m);
    free(c->items);
    free(c->slots);
    free(c->calls);
    free(c->rule_stamp);
    free(c->rule_node);
    free(c->configs);
    free(c->frames);
    free(c->clamped);
    free(c);
    free(m);
}

size_t machine_bytes(const struct machine *m)
{
    return m->nodes_cap * sizeof *m->nodes + m->frames_cap * sizeof *m->frames + m->sets_cap * sizeof *m->sets +
           m->configs_cap * sizeof *m->configs + m->steps_cap * sizeof *m->steps + (m->node_buckets + m->set_buckets) * sizeof(uint32_t);
}

/* Copies what `moved` marks (1: needed) from old into the empty m, and turns moved into new numbers. */
static void copy_nodes(struct machine *m, const struct machine *old, uint32_t *moved)
{
    void *room;
    struct closure *c = m->closure;
    moved[NODE_BOTTOM] = NODE_BOTTOM;
    moved[NODE_TOP] = NODE_TOP;
    for (uint32_t i = 2; i < old->n_nodes && !m->failed; i++) {
        const struct node *node = &old->nodes[i];
        c->n_frames = 0;
        if (!moved[i] || !RESERVE(m, c, frames, node->n))
            continue;
        for (uint32_t k = 0; k < node->n; k++) {
            c->frames[k] = old->frames[node->first + k];
            c->frames[k].parent = moved[c->frames[k].parent];
        }
        moved[i] = node_with_shape(m, c->frames, node->n);
    }
}

static uint32_t copy_set(struct machine *m, const struct machine *old, const struct set *s, const uint32_t *moved)
{
    void *room;
    struct closure *c = m->closure;
    c->n_configs = 0;
    if (!RESERVE(m, c, configs, s->n))
        return SET_DEAD;
    for (uint32_t k = 0; k < s->n; k++) {
        uint64_t config = old->configs[s->first + k];
        c->configs[k] = (uint64_t)moved[config >> 32] << 32 | (uint32_t)config;
    }
    return intern_set(m, c->configs, sort_configs(c->configs, s->n), s->accept, s->escapes);
}

bool machine_collect(struct machine *m, uint32_t *const *keep, size_t n_keep)
{
    struct machine old = *m;
    uint32_t *moved = calloc(old.n_nodes, sizeof *moved), *sets = malloc((n_keep + 1) * sizeof *sets);
    if (!moved || !sets) {
        free(moved);
        free(sets);
        return false;
    }
    for (size_t i = 0; i < n_keep; i++) {
        const struct set *s = &old.sets[*keep[i]];
        for (uint32_t k = 0; k < s->n; k++)
            moved[old.configs[s->first + k] >> 32] = 1;
    }
    for (size_t i = old.n_nodes; i-- > 2;) {
        for (uint32_t k = 0; moved[i] && k < old.nodes[i].n; k++)
            moved[old.frames[old.nodes[i].first + k].parent] = 1;
    }
    *m = (struct machine){.a = old.a, .reach = old.reach, .closure = old.closure, .budget = UINT64_MAX};
    plant(m);
    copy_nodes(m, &old, moved);
    for (size_t i = 0; i < n_keep; i++)
        sets[i] = copy_set(m, &old, &old.sets[*keep[i]], moved);
    bool ok = !m->failed;
    if (ok) {
        for (size_t i = 0; i < n_keep; i++)
            *keep[i] = sets[i];
        m->work = old.work;
        m->budget = old.budget;
        free_tables(&old);
    } else {
        free_tables(m);
        *m = old;
    }
    free(moved);
    free(sets);
    return ok;
}
