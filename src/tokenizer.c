/* tokenizer.c: the vocabulary of a GGUF file, added tokens, and the way from text to ids:
 *
 *   raw text -> added tokens found in it -> between them: U+FFFD for what is not UTF-8, NFC ->
 *   words (pretokenize.c) -> byte pairs merged (bpe.c)
 *
 * which is what the Hugging Face tokenizer of Qwen does. Whatever a file may get wrong is refused
 * here, once, so that encoding and decoding need no checks: every byte has an ordinary token,
 * texts are unique, merges join tokens into tokens and never make a control token. */
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "bpe.h"
#include "pretokenize.h"
#include "unicode.h"
#include "utf8.h"

enum {
    SPECIAL_MAX = 255,     /* bytes of an added token: finding them takes time in proportion */
    TEXT_MAX = 1 << 30,    /* bytes of a text: places fit 32 bits even when NFC makes it three times as long */
    ALPHABET = 0x100 + 68, /* code points that stand for bytes are below this */
};

struct special { /* an added token */
    const char *text;
    size_t len;
    int32_t id;
};

struct tokenizer {
    const uint8_t *strings; /* the array of tokens in the file */
    uint32_t *offsets;      /* (n) where in it a token's text begins; the 8 bytes before are its length */
    uint8_t *types;         /* (n) enum token_type */
    size_t n;
    struct bpe bpe;
    struct special *specials; /* (n_specials) sorted by text: a trie, walked by narrowing a range */
    size_t n_specials;
    size_t first[257]; /* the specials that begin with byte b are first[b] .. first[b + 1] */
    int32_t eos, pad;  /* -1: none */
    int32_t eog[6];
    size_t n_eog;
    int16_t byte_of[ALPHABET]; /* the byte that a code point stands for in ordinary tokens, or -1 */
};

static struct sg_str token_text(const struct tokenizer *t, int32_t id)
{
    const uint8_t *text = t->strings + t->offsets[id];
    uint64_t len;
    memcpy(&len, text - sizeof len, sizeof len);
    return (struct sg_str){(const char *)text, (size_t)len};
}

/* ------------------------------------------------------------ text to token
 *
 * A hash table that exists only while a vocabulary is opened. */

struct lookup {
    const struct tokenizer *t;
    struct hash_index index;
};

/* Reads overlap instead of looping over the last few bytes: most texts have 3 to 10. */
static uint64_t hash_text(struct sg_str s)
{
    uint64_t h = s.len, word;
    uint32_t head, tail;
    if (s.len >= 8) {
        for (size_t i = 0; i + 8 < s.len; i += 8) {
            memcpy(&word, s.data + i, 8);
            h = hash_mix(h ^ word);
        }
        memcpy(&word, s.data + s.len - 8, 8);
    } else if (s.len >= 4) {
        memcpy(&head, s.data, 4);
        memcpy(&tail, s.data + s.len - 4, 4);
        word = (uint64_t)head << 32 | tail;
    } else if (s.len > 0) {
        const unsigned char *u = (const unsigned char *)s.data;
        word = (uint64_t)u[0] << 16 | (uint64_t)u[s.len / 2] << 8 | u[s.len - 1];
    } else {
        word = 0;
    }
    return hash_mix(h ^ word);
}

/* The token with this text, or -1; *p is then where it would belong. */
static int32_t lookup_probe(const struct lookup *l, struct sg_str s, uint64_t hash, struct probe *p)
{
    *p = hash_index_probe(&l->index, hash);
    for (uint32_t id; hash_index_next(&l->index, p, &id);) {
        struct sg_str other = token_text(l->t, (int32_t)id);
        if (other.len == s.len && memcmp(other.data, s.data, s.len) == 0)
            return (int32_t)id;
    }
    return -1;
}

static int32_t lookup_id(const struct lookup *l, struct sg_str s, uint64_t hash)
{
    struct probe p;
    return lookup_probe(l, s, hash, &p);
}

/* Enters all tokens but those without text, which nothing can refer to. */
static enum sg_status lookup_open(struct lookup *l, const struct tokenizer *t, const char *path, struct sg_error *err)
{
    l->t = t;
    if (!hash_index_init(&l->index, t->n))
        return fail_memory(err, l->index.n_slots * sizeof *l->index.slots, "the vocabulary");
    for (int32_t id = 0; (size_t)id < t->n; id++) {
        struct sg_str text = token_text(t, id);
        if (text.len == 0)
            continue;
        struct probe p;
        int32_t other = lookup_probe(l, text, hash_text(text), &p);
        char name[ESCAPED_MAX];
        if (other >= 0)
            return fail(err, SG_BAD_MODEL, "%s: tokens %d and %d have the same text, \"%s\"", path, (int)other, (int)id,
                        escaped(name, text.data, text.len));
        if (!hash_index_put(&l->index, &p, (uint32_t)id))
            return fail(err, SG_BAD_MODEL, "%s: the vocabulary is built to make lookups slow", path);
    }
    return SG_OK;
}

/* ----------------------------------------------------------------- opening */

static enum sg_status get_array(const struct gguf *g, const char *key, const struct gguf_value **out, struct sg_error *err)
{
    *out = gguf_find(g, key);
    if (!*out)
        return fail(err, SG_BAD_MODEL, "%s: no %s", g->path, key);
    if ((*out)->type != GGUF_ARRAY)
        return fail(err, SG_BAD_MODEL, "%s: %s is not an array", g->path, key);
    if ((*out)->bytes > UINT32_MAX || (*out)->count > INT32_MAX)
        return fail(err, SG_BAD_MODEL, "%s: %s is too large", g->path, key);
    return SG_OK;
}

static enum sg_status get_strings(const struct gguf *g, const char *key, const struct gguf_value **out, struct sg_error *err)
{
    TRY(get_array(g, key, out, err));
    if ((*out)->element != GGUF_STRING)
        return fail(err, SG_BAD_MODEL, "%s: %s is not an array of strings", g->path, key);
    return SG_OK;
}

/* Refuses what would be tokenized wrongly. */
static enum sg_status check_kind(const struct gguf *g, struct sg_error *err)
{
    static const char model_key[] = "tokenizer.ggml.model", pre_key[] = "tokenizer.ggml.pre";
    struct sg_str s = {0};
    char name[ESCAPED_MAX];
    bool found, add_bos = false;
    TRY(gguf_get_string(g, model_key, &s, &found, err));
    if (!found)
        return fail(err, SG_BAD_MODEL, "%s: no %s", g->path, model_key);
    if (s.len != 4 || memcmp(s.data, "gpt2", 4) != 0)
        return fail(err, SG_BAD_MODEL, "%s: %s is \"%s\", only \"gpt2\" (byte-level BPE) is supported", g->path, model_key,
                    escaped(name, s.data, s.len));
    /* A file without the key says nothing about how words are cut; guessing may be wrong. */
    TRY(gguf_get_string(g, pre_key, &s, &found, err));
    if (!found)
        return fail(err, SG_BAD_MODEL, "%s: no %s (a Qwen3 file says \"qwen2\")", g->path, pre_key);
    if (s.len != 5 || memcmp(s.data, "qwen2", 5) != 0)
        return fail(err, SG_BAD_MODEL, "%s: %s is \"%s\", only \"qwen2\" is supported", g->path, pre_key, escaped(name, s.data, s.len));
    /* signum adds no token to a text. A model that wants one in front would answer worse without. */
    TRY(gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &add_bos, NULL, err));
    if (add_bos)
        return fail(err, SG_BAD_MODEL, "%s: wants a begin token before every text (tokenizer.ggml.add_bos_token), which is not supported",
                    g->path);
    return SG_OK;
}

static enum sg_status load_tokens(struct tokenizer *t, const struct gguf *g, struct sg_error *err)
{
    static const char type_key[] = "tokenizer.ggml.token_type";
    const struct gguf_value *tokens, *types;
    TRY(get_strings(g, "tokenizer.ggml.tokens", &tokens, err));
    TRY(get_array(g, type_key, &types, err));
    if (types->element != GGUF_INT32 && types->element != GGUF_UINT32)
        return fail(err, SG_BAD_MODEL, "%s: %s is not an array of 32-bit integers", g->path, type_key);
    t->n = (size_t)tokens->count;
    if (types->count != t->n)
        return fail(err, SG_BAD_MODEL, "%s: %zu tokens but %llu types in %s", g->path, t->n, (unsigned long long)types->count, type_key);

    t->strings = tokens->data;
    t->offsets = malloc((t->n + 1) * sizeof *t->offsets);
    t->types = malloc(t->n + 1);
    if (!t->offsets || !t->types)
        return fail_memory(err, t->n * (sizeof *t->offsets + 1), "the vocabulary");
    const uint8_t *cursor = tokens->data;
    for (size_t id = 0; id < t->n; id++) {
        t->offsets[id] = (uint32_t)(cursor - tokens->data + (ptrdiff_t)sizeof(uint64_t));
        gguf_next_string(&cursor);
        int32_t type;
        memcpy(&type, types->data + id * sizeof type, sizeof type);
        if (type < TOKEN_NORMAL || type > TOKEN_BYTE)
            return fail(err, SG_BAD_MODEL, "%s: token %zu has the unknown type %d", g->path, id, (int)type);
        t->types[id] = (uint8_t)type;
    }
    return SG_OK;
}

/* Ordinary tokens are written in an alphabet in which every byte is a printable character: bytes
 * that are not become U+0100, U+0101 ... (GPT-2's way). */
static enum sg_status load_bytes(struct tokenizer *t, const struct lookup *l, const char *path, struct sg_error *err)
{
    memset(t->byte_of, 0xFF, sizeof t->byte_of);
    uint32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
        uint32_t c = printable ? byte : next++;
        char bytes[4];
        struct sg_str text = {bytes, utf8_encode(c, bytes)};
        int32_t id = lookup_id(l, text, hash_text(text));
        if (id < 0 || (t->types[id] != TOKEN_NORMAL && t->types[id] != TOKEN_BYTE))
            return fail(err, SG_BAD_MODEL, "%s: the vocabulary has no ordinary token for byte 0x%02X", path, byte);
        t->bpe.bytes[byte] = id;
        t->byte_of[c] = (int16_t)byte;
    }
    return SG_OK;
}

/* A merge as the file has it, "LEFT RIGHT". */
struct merge_text {
    struct sg_str left, right;
    uint64_t hash_left, hash_right;
};

/* False when it is not two texts. Asks for the memory that looking them up will read. */
static bool read_merge(const struct lookup *l, struct merge_text *m, struct sg_str s)
{
    const char *space = s.len > 2 ? memchr(s.data + 1, ' ', s.len - 2) : NULL;
    if (!space)
        return false;
    m->left = (struct sg_str){s.data, (size_t)(space - s.data)};
    m->right = (struct sg_str){space + 1, s.len - m->left.len - 1};
    m->hash_left = hash_text(m->left);
    m->hash_right = hash_text(m->right);
    hash_index_prefetch(&l->index, m->hash_left);
    hash_index_prefetch(&l->index, m->hash_right);
    return true;
}

/* The second step of that: the text of the token that most likely has this hash. */
static void prefetch_text(const struct lookup *l, uint64_t hash)
{
    struct probe p = hash_index_probe(&l->index, hash);
    uint32_t id;
    if (hash_index_next(&l->index, &p, &id))
        __builtin_prefetch(token_text(l->t, (int32_t)id).data);
}

/* The token that a merge makes, or -1. Vocabularies usually list these in the order of the merges,
 * so `guess` is tried first. */
static int32_t merge_result(const struct lookup *l, const struct merge_text *m, int32_t guess, struct buf *scratch)
{
    if ((size_t)guess < l->t->n) {
        struct sg_str s = token_text(l->t, guess);
        if (s.len == m->left.len + m->right.len && memcmp(s.data, m->left.data, m->left.len) == 0 &&
            memcmp(s.data + m->left.len, m->right.data, m->right.len) == 0)
            return guess;
    }
    scratch->len = 0;
    buf_append(scratch, m->left.data, m->left.len);
    buf_append(scratch, m->right.data, m->right.len);
    struct sg_str joined = {scratch->data, scratch->len};
    return scratch->failed ? -1 : lookup_id(l, joined, hash_text(joined));
}

static enum sg_status bad_merge(const char *path, size_t rank, struct sg_str s, const char *problem, struct sg_error *err)
{
    char shown[ESCAPED_MAX];
    return fail(err, SG_BAD_MODEL, "%s: tokenizer.ggml.merges[%zu], \"%s\", %s", path, rank, escaped(shown, s.data, s.len), problem);
}

/* Adds the merges in batches, so that the memory that a batch needs is fetched all at once: waiting
 * for it is what takes long when other processes fill the caches (the 151,936 tokens of Qwen3 open
 * in 21 ms instead of 27; 15 ms either way on a quiet machine). */
static enum sg_status add_merges(struct tokenizer *t, const struct lookup *l, const char *path, const struct gguf_value *merges,
                                 struct buf *scratch, struct sg_error *err)
{
    enum {
        BATCH = 64
    };
    struct merge_text batch[BATCH];
    const uint8_t *cursor = merges->data;
    int32_t result = -1;
    for (size_t begin = 0; begin < merges->count; begin += BATCH) {
        size_t n = MIN((size_t)merges->count - begin, (size_t)BATCH);
        for (size_t i = 0; i < n; i++) {
            struct sg_str s = gguf_next_string(&cursor);
            if (!read_merge(l, &batch[i], s))
                return bad_merge(path, begin + i, s, "is not two texts with a space between them", err);
        }
        for (size_t i = 0; i < n; i++) {
            prefetch_text(l, batch[i].hash_left);
            prefetch_text(l, batch[i].hash_right);
        }
        for (size_t i = 0; i < n; i++) {
            const struct merge_text *m = &batch[i];
            struct sg_str both = {m->left.data, m->left.len + 1 + m->right.len};
            int32_t left = lookup_id(l, m->left, m->hash_left), right = lookup_id(l, m->right, m->hash_right);
            result = merge_result(l, m, result + 1, scratch);
            if (scratch->failed)
                return fail_memory(err, both.len, "the merges");
            if (left < 0 || right < 0 || result < 0)
                return bad_merge(path, begin + i, both, "joins what is not a token, or makes what is not a token", err);
            if (t->types[result] == TOKEN_CONTROL)
                return bad_merge(path, begin + i, both, "would make a control token out of ordinary text", err);
            if (!bpe_add(&t->bpe, left, right, (uint32_t)(begin + i), result))
                return fail(err, SG_BAD_MODEL, "%s: the merges are built to make lookups slow", path);
        }
    }
    return SG_OK;
}

static enum sg_status load_merges(struct tokenizer *t, const struct lookup *l, const struct gguf *g, struct sg_error *err)
{
    const struct gguf_value *merges;
    TRY(get_strings(g, "tokenizer.ggml.merges", &merges, err));
    if (!bpe_init(&t->bpe, (size_t)merges->count))
        return fail_memory(err, (size_t)merges->count * sizeof *t->bpe.merges, "the merges");
    struct buf scratch = {0};
    enum sg_status status = add_merges(t, l, g->path, merges, &scratch, err);
    buf_free(&scratch);
    return status;
}

static int compare_specials(const void *a, const void *b)
{
    const struct special *x = a, *y = b;
    int order = memcmp(x->text, y->text, MIN(x->len, y->len));
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

static enum sg_status load_specials(struct tokenizer *t, const char *path, struct sg_error *err)
{
    for (size_t id = 0; id < t->n; id++)
        t->n_specials += t->types[id] == TOKEN_CONTROL || t->types[id] == TOKEN_USER;
    t->specials = malloc((t->n_specials + 1) * sizeof *t->specials);
    if (!t->specials)
        return fail_memory(err, t->n_specials * sizeof *t->specials, "the added tokens");
    t->n_specials = 0;
    for (int32_t id = 0; (size_t)id < t->n; id++) {
        if (t->types[id] != TOKEN_CONTROL && t->types[id] != TOKEN_USER)
            continue;
        struct sg_str text = token_text(t, id);
        char name[ESCAPED_MAX];
        if (text.len > SPECIAL_MAX || !utf8_valid(text.data, text.len))
            return fail(err, SG_BAD_MODEL, "%s: the added token %d, \"%s\", is %s", path, (int)id, escaped(name, text.data, text.len),
                        text.len > SPECIAL_MAX ? "too long" : "not UTF-8");
        if (text.len > 0)
            t->specials[t->n_specials++] = (struct special){text.data, text.len, id};
    }
    qsort(t->specials, t->n_specials, sizeof *t->specials, compare_specials);
    size_t at = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        t->first[byte] = at;
        while (at < t->n_specials && (unsigned char)t->specials[at].text[0] == byte)
            at++;
    }
    t->first[256] = at;
    return SG_OK;
}

static enum sg_status load_id(const struct tokenizer *t, const struct gguf *g, const char *key, int32_t *out, struct sg_error *err)
{
    uint64_t id = 0;
    bool found;
    *out = -1;
    TRY(gguf_get_uint(g, key, 0, t->n - 1, &id, &found, err));
    if (found)
        *out = (int32_t)id;
    return SG_OK;
}

/* Generation ends at the token that the file names, and at those that end a turn or a document in
 * every file of the family. */
static void load_ends(struct tokenizer *t)
{
    static const char *const texts[] = {"<|im_end|>", "<|endoftext|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"};
    _Static_assert(ARRAY_LEN(t->eog) == ARRAY_LEN(texts) + 1, "room for all");
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        int32_t id = tokenizer_special(t, texts[i], strlen(texts[i]));
        if (id >= 0 && t->types[id] == TOKEN_CONTROL)
            t->eog[t->n_eog++] = id;
    }
    if (t->eos >= 0 && !tokenizer_is_eog(t, t->eos))
        t->eog[t->n_eog++] = t->eos;
}

static enum sg_status load(struct tokenizer *t, const struct gguf *g, struct sg_error *err)
{
    TRY(check_kind(g, err));
    TRY(load_tokens(t, g, err));
    struct lookup l = {0};
    enum sg_status status = lookup_open(&l, t, g->path, err);
    if (status == SG_OK)
        status = load_bytes(t, &l, g->path, err);
    if (status == SG_OK)
        status = load_merges(t, &l, g, err);
    hash_index_free(&l.index);
    TRY(status);
    TRY(load_specials(t, g->path, err));
    TRY(load_id(t, g, "tokenizer.ggml.eos_token_id", &t->eos, err));
    TRY(load_id(t, g, "tokenizer.ggml.padding_token_id", &t->pad, err));
    load_ends(t);
    return SG_OK;
}

enum sg_status tokenizer_open(struct tokenizer **out, const struct gguf *g, struct sg_error *err)
{
    *out = NULL;
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return fail_memory(err, sizeof *t, "the tokenizer");
    enum sg_status status = load(t, g, err);
    if (status == SG_OK)
        *out = t;
    else
        tokenizer_close(t);
    return status;
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t)
        return;
    bpe_free(&t->bpe);
    free(t->offsets);
    free(t->types);
    free(t->specials);
    free(t);
}

size_t tokenizer_size(const struct tokenizer *t) { return t->n; }

size_t tokenizer_merges(const struct tokenizer *t) { return t->bpe.n_merges; }

size_t tokenizer_bytes(const struct tokenizer *t)
{
    return sizeof *t + t->n * (sizeof *t->offsets + sizeof *t->types) + t->n_specials * sizeof *t->specials +
           t->bpe.n_merges * sizeof *t->bpe.merges + t->bpe.index.n_slots * sizeof *t->bpe.index.slots;
}

int32_t tokenizer_eos(const struct tokenizer *t) { return t->eos; }

int32_t tokenizer_pad(const struct tokenizer *t) { return t->pad; }

const char *tokenizer_pre(const struct tokenizer *t)
{
    (void)t;
    return "qwen2"; /* the only one that check_kind accepts */
}

bool tokenizer_is_eog(const struct tokenizer *t, int32_t id)
{
    for (size_t i = 0; i < t->n_eog; i++)
        if (t->eog[i] == id)
            return true;
    return false;
}

enum token_type tokenizer_type(const struct tokenizer *t, int32_t id) { return (enum token_type)t->types[id]; }

int32_t tokenizer_special(const struct tokenizer *t, const char *text, size_t len)
{
    struct special wanted = {text, len, -1};
    const struct special *found = bsearch(&wanted, t->specials, t->n_specials, sizeof wanted, compare_specials);
    return found ? found->id : -1;
}

/* ---------------------------------------------------------------- encoding */

/* The first of specials low..high whose byte at depth is at least `byte`. All are longer than depth
 * and equal before it, so they are sorted by that byte. */
static size_t narrow(const struct tokenizer *t, size_t low, size_t high, size_t depth, unsigned byte)
{
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if ((unsigned char)t->specials[mid].text[depth] < byte)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The longest added token that text begins with: its length, or 0. */
static size_t special_at(const struct tokenizer *t, const char *text, size_t len, bool control, int32_t *id)
{
    unsigned byte = (unsigned char)text[0];
    size_t low = t->first[byte], high = t->first[byte + 1], found = 0;
    for (size_t depth = 1; low < high; depth++) {
        const struct special *s = &t->specials[low];
        if (s->len == depth) { /* the only one so short, and first */
            if (control || t->types[s->id] == TOKEN_USER) {
                found = depth;
                *id = s->id;
            }
            low++;
        }
        if (depth == len)
            break;
        byte = (unsigned char)text[depth];
        low = narrow(t, low, high, depth, byte);
        high = narrow(t, low, high, depth, byte + 1);
    }
    return found;
}

struct work { /* memory of one call */
    struct buf nfc;
    struct bpe_scratch bpe;
};

/* Text without added tokens. */
static void encode_piece(const struct tokenizer *t, const char *text, size_t len, struct work *w, struct ids *out)
{
    if (unicode_nfc_prefix(text, len) < len) {
        w->nfc.len = 0;
        unicode_nfc(&w->nfc, text, len);
        out->failed |= w->nfc.failed;
        text = w->nfc.data;
        len = w->nfc.len;
    }
    for (size_t i = 0; i < len && !out->failed;) {
        size_t n = pretokenize(text + i, len - i);
        bpe_encode(&t->bpe, text + i, n, &w->bpe, out);
        i += n;
    }
}

enum sg_status tokenizer_encode(const struct tokenizer *t, const char *text, size_t len, bool parse_control, struct ids *out,
                                struct sg_error *err)
{
    if (len > TEXT_MAX)
        return fail(err, SG_USAGE, "a text of %zu bytes is too long (at most %d)", len, (int)TEXT_MAX);
    struct work w = {0};
    size_t begin = 0, i = 0; /* text before begin is done */
    while (i < len) {
        int32_t id;
        size_t n = special_at(t, text + i, len - i, parse_control, &id);
        if (n == 0) {
            i++;
            continue;
        }
        encode_piece(t, text + begin, i - begin, &w, out);
        ids_push(out, id);
        begin = i += n;
    }
    encode_piece(t, text + begin, len - begin, &w, out);
    buf_free(&w.nfc);
    bpe_scratch_free(&w.bpe);
    return out->failed ? fail_memory(err, len, "a text and its tokens") : SG_OK;
}

void tokenizer_decode(const struct tokenizer *t, int32_t id, bool special, struct buf *out)
{
    struct sg_str text = token_text(t, id);
    enum token_type type = (enum token_type)t->types[id];
    if (type == TOKEN_USER || (special && type != TOKEN_NORMAL && type != TOKEN_BYTE)) {
        buf_append(out, text.data, text.len);
    } else if (type == TOKEN_NORMAL || type == TOKEN_BYTE) {
        for (size_t i = 0; i < text.len;) {
            uint32_t c;
            size_t n = utf8_decode(text.data + i, text.len - i, &c);
            if (c < ALPHABET && t->byte_of[c] >= 0)
                buf_putc(out, (char)t->byte_of[c]);
            else /* stands for no byte: as it is written */
                buf_append(out, text.data + i, n);
            i += n;
        }
    }
}
