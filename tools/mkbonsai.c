/* mkbonsai: writes GGUF files in the exact shape of the Bonsai models, with random signs.
 *
 * Geometry, tensor names and order, metadata, vocabulary and alignment are those of the
 * published files, so that speed, memory and the handling of large files can be tested
 * without a download. Q1_0 files even have the published size to the byte: the part of the
 * published header that is not known, some 300 bytes of general.* strings, is taken by a
 * name and a description that say what the file is (ternary files are 160 to 192 bytes
 * shorter than the published ones). Scales are such that activations keep their size from
 * layer to layer and the logits spread like a real model's; still, all the text that comes
 * out is noise.
 *
 * Vocabulary and chat template come from another GGUF file, by default the repository's copy
 * of Qwen3's; Bonsai's template differs from that in one place. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base.h"

static const char usage[] = "usage: mkbonsai SHAPE OUT [options]     write a model with random signs\n"
                            "       mkbonsai SHAPE --size [options]  print how many bytes that would be\n"
                            "\n"
                            "SHAPE: 1.7b, 4b, 8b, or tiny (2 layers, the same vocabulary; for tests)\n"
                            "  --type TYPE   q1_0 (default); ternary: q2_0 (groups of 64), q2_0_g128, pq2_0\n"
                            "  --seed N      other random numbers (default 1)\n"
                            "  --vocab FILE  where vocabulary and template come from\n"
                            "                (default tests/golden/tokenizer/qwen3.gguf)\n"
                            "  --force       overwrite OUT\n";

enum {
    N_TOKENS = 151669,
    HEAD_DIM = 128,
    ALIGNMENT = 32
};

static const struct shape {
    const char *option, *name;
    uint32_t layers, embd, heads, kv_heads, ff, context;
    float rope_base;
    uint32_t yarn_original; /* stretched by 4 */
    bool own_output;        /* else the head is token_embd */
} shapes[] = {
    {"1.7b", "Bonsai 1.7B", 28, 2048, 16, 8, 6144, 32768, 1e6f, 8192, false},
    {"4b", "Bonsai 4B", 36, 2560, 32, 8, 9728, 32768, 5e6f, 8192, false},
    {"8b", "Bonsai 8B", 36, 4096, 32, 8, 12288, 65536, 1e6f, 16384, true},
    {"tiny", "Bonsai tiny", 2, 128, 2, 1, 256, 4096, 1e6f, 1024, false},
};

static const struct type {
    const char *option;
    uint32_t id, file_type, block, block_bytes;
} types[] = {
    {"q1_0", 41, 40, 128, 18},
    {"q2_0", 42, 41, 64, 18},
    {"q2_0_g128", 42, 41, 128, 34},
    {"pq2_0", 142, 141, 128, 34},
};

static const char *unfinished; /* file to remove when something fails */

_Noreturn static void die(const char *format, ...) PRINTF_LIKE(1, 2);
_Noreturn static void die(const char *format, ...)
{
    va_list args;
    fputs("mkbonsai: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    if (unfinished)
        unlink(unfinished);
    exit(1);
}

static void *allocate(size_t bytes)
{
    void *p = malloc(bytes);
    if (!p)
        die("out of memory: %zu bytes", bytes);
    return p;
}

/* --------------------------------------------------- reading the vocabulary */

struct reader {
    const char *path;
    const uint8_t *at, *end;
};

static const uint8_t *take(struct reader *r, uint64_t n)
{
    if (n > (uint64_t)(r->end - r->at))
        die("%s ends inside its metadata", r->path);
    const uint8_t *p = r->at;
    r->at += n;
    return p;
}

static uint32_t take_u32(struct reader *r)
{
    uint32_t x;
    memcpy(&x, take(r, sizeof x), sizeof x);
    return x;
}

static uint64_t take_u64(struct reader *r)
{
    uint64_t x;
    memcpy(&x, take(r, sizeof x), sizeof x);
    return x;
}

/* Value types of GGUF that need their names. */
enum {
    U32 = 4,
    I32 = 5,
    F32 = 6,
    BOOL = 7,
    STRING = 8,
    ARRAY = 9
};

/* Bytes of a value of any other type than these two; 0: no such type. */
static size_t scalar_bytes(uint32_t type)
{
    static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < sizeof bytes ? bytes[type] : 0;
}

struct bytes {
    const uint8_t *data;
    size_t n;
};

struct vocabulary {
    struct bytes tokens, token_types, merges, template; /* the first three: an array's elements */
    uint64_t n_merges;
};

static bool is(struct bytes s, const char *text) { return s.n == strlen(text) && memcmp(s.data, text, s.n) == 0; }

static struct bytes take_string(struct reader *r)
{
    struct bytes s = {.n = (size_t)take_u64(r)};
    s.data = take(r, s.n);
    return s;
}

static void take_array(struct reader *r, struct bytes key, struct vocabulary *v)
{
    uint32_t element = take_u32(r);
    uint64_t count = take_u64(r);
    bool tokens = is(key, "tokenizer.ggml.tokens"), token_types = is(key, "tokenizer.ggml.token_type");
    if ((tokens || token_types) && count < N_TOKENS)
        die("%s has %llu tokens, fewer than Bonsai's %d", r->path, (unsigned long long)count, N_TOKENS);
    struct bytes all = {.data = r->at};
    for (uint64_t i = 0; i < count; i++) {
        if (element == STRING)
            take_string(r);
        else if (scalar_bytes(element))
            take(r, scalar_bytes(element));
        else
            die("%s: metadata with elements of unknown type %u", r->path, element);
        if (i + 1 == count || ((tokens || token_types) && i + 1 == N_TOKENS))
            all.n = all.n ? all.n : (size_t)(r->at - all.data);
    }
    if (tokens && element == STRING)
        v->tokens = all;
    if (token_types && element == I32)
        v->token_types = all;
    if (is(key, "tokenizer.ggml.merges") && element == STRING) {
        v->merges = all;
        v->n_merges = count;
    }
}

/* Stays allocated: the vocabulary points into it. */
static struct reader read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        die("can not read %s: %s", path, strerror(errno));
    size_t size = 0, cap = (size_t)16 << 20;
    uint8_t *data = allocate(cap);
    for (size_t n; (n = fread(data + size, 1, cap - size, f)) > 0;) {
        size += n;
        if (size == cap)
            break; /* metadata is far below that; the rest is not needed */
    }
    if (ferror(f))
        die("can not read %s: %s", path, strerror(errno));
    fclose(f);
    return (struct reader){path, data, data + size};
}

static struct vocabulary read_vocabulary(const char *path)
{
    struct vocabulary v = {0};
    struct reader r = read_file(path);
    if (r.end - r.at < 24 || memcmp(take(&r, 4), "GGUF", 4) != 0)
        die("%s is not a GGUF file", path);
    take(&r, 4 + 8); /* version, number of tensors */
    for (uint64_t left = take_u64(&r); left > 0; left--) {
        struct bytes key = take_string(&r);
        uint32_t type = take_u32(&r);
        if (type == ARRAY) {
            take_array(&r, key, &v);
        } else if (type == STRING) {
            struct bytes s = take_string(&r);
            if (is(key, "tokenizer.chat_template"))
                v.template = s;
        } else if (scalar_bytes(type)) {
            take(&r, scalar_bytes(type));
        } else {
            die("%s: metadata of unknown type %u", path, type);
        }
    }
    if (!v.tokens.data || !v.token_types.data || !v.merges.data || !v.template.data)
        die("%s has no complete tokenizer: tokens, token_type, merges and chat_template are needed", path);
    return v;
}

/* Bonsai's template: Qwen3's without the switch, its prompt always closes an empty think block. */
static struct bytes bonsai_template(struct bytes qwen3)
{
    static const char switched[] = "    {%- if enable_thinking is defined and enable_thinking is false %}\n"
                                   "        {{- '<think>\\n\\n</think>\\n\\n' }}\n"
                                   "    {%- endif %}\n";
    static const char always[] = "    {{- '<think>\\n\\n</think>\\n\\n' }}\n";
    size_t old = sizeof switched - 1, new = sizeof always - 1;
    for (size_t i = 0; i + old <= qwen3.n; i++) {
        if (memcmp(qwen3.data + i, switched, old) != 0)
            continue;
        uint8_t *text = allocate(qwen3.n - old + new);
        memcpy(text, qwen3.data, i);
        memcpy(text + i, always, new);
        memcpy(text + i + new, qwen3.data + i + old, qwen3.n - i - old);
        return (struct bytes){text, qwen3.n - old + new};
    }
    die("the vocabulary's chat template is not Qwen3's");
}

/* ----------------------------------------------------------------- writing */

/* Buffered output that counts; without a file it only counts. */
struct out {
    int fd; /* -1: none */
    uint64_t total;
    size_t used;
    uint8_t buffer[1 << 20];
};

static void flush(struct out *o)
{
    for (size_t done = 0; o->fd >= 0 && done < o->used;) {
        ssize_t n = write(o->fd, o->buffer + done, o->used - done);
        if (n < 0 && errno != EINTR)
            die("can not write %s: %s", unfinished, strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
    o->used = 0;
}

static void put(struct out *o, const void *data, size_t n)
{
    const uint8_t *from = data;
    o->total += n;
    while (n > 0) {
        size_t part = MIN(n, sizeof o->buffer - o->used);
        memcpy(o->buffer + o->used, from, part);
        o->used += part;
        from += part;
        n -= part;
        if (o->used == sizeof o->buffer)
            flush(o);
    }
}

static void put_u32(struct out *o, uint32_t x) { put(o, &x, sizeof x); }
static void put_u64(struct out *o, uint64_t x) { put(o, &x, sizeof x); }

static void put_string(struct out *o, const void *text, size_t n)
{
    put_u64(o, n);
    put(o, text, n);
}

static void align(struct out *o)
{
    static const uint8_t zeros[ALIGNMENT];
    put(o, zeros, ROUND_UP(o->total, ALIGNMENT) - o->total);
}

static void key(struct out *o, const char *name, uint32_t type)
{
    put_string(o, name, strlen(name));
    put_u32(o, type);
}

static void key_u32(struct out *o, const char *name, uint32_t value)
{
    key(o, name, U32);
    put_u32(o, value);
}

static void key_f32(struct out *o, const char *name, float value)
{
    key(o, name, F32);
    put(o, &value, sizeof value);
}

static void key_string(struct out *o, const char *name, const char *value)
{
    key(o, name, STRING);
    put_string(o, value, strlen(value));
}

static void key_array(struct out *o, const char *name, uint32_t element, uint64_t count, struct bytes elements)
{
    key(o, name, ARRAY);
    put_u32(o, element);
    put_u64(o, count);
    put(o, elements.data, elements.n);
}

static void put_metadata(struct out *o, const struct shape *s, const struct type *t, const struct vocabulary *v)
{
    char name[64];
    snprintf(name, sizeof name, "%s stand-in", s->name);
    key_string(o, "general.architecture", "qwen3");
    key_string(o, "general.type", "model");
    key_string(o, "general.name", name);
    /* The length makes the header as long as the published one. */
    key_string(o, "general.description",
               "Random signs in the shape of a Bonsai model, written by mkbonsai of signum "
               "to test speed, memory and large files. It has learned nothing: expect noise. "
               "The published files hold the model.");
    key_u32(o, "qwen3.block_count", s->layers);
    key_u32(o, "qwen3.context_length", s->context);
    key_u32(o, "qwen3.embedding_length", s->embd);
    key_u32(o, "qwen3.feed_forward_length", s->ff);
    key_u32(o, "qwen3.attention.head_count", s->heads);
    key_u32(o, "qwen3.attention.head_count_kv", s->kv_heads);
    key_u32(o, "qwen3.attention.key_length", HEAD_DIM);
    key_u32(o, "qwen3.attention.value_length", HEAD_DIM);
    key_f32(o, "qwen3.attention.layer_norm_rms_epsilon", 1e-6f);
    key_f32(o, "qwen3.rope.freq_base", s->rope_base);
    key_string(o, "qwen3.rope.scaling.type", "yarn");
    key_f32(o, "qwen3.rope.scaling.factor", 4);
    key_u32(o, "qwen3.rope.scaling.original_context_length", s->yarn_original);
    key_string(o, "tokenizer.ggml.model", "gpt2");
    key_string(o, "tokenizer.ggml.pre", "qwen2");
    key_array(o, "tokenizer.ggml.tokens", STRING, N_TOKENS, v->tokens);
    key_array(o, "tokenizer.ggml.token_type", I32, N_TOKENS, v->token_types);
    key_array(o, "tokenizer.ggml.merges", STRING, v->n_merges, v->merges);
    key_u32(o, "tokenizer.ggml.eos_token_id", 151645);     /* <|im_end|> */
    key_u32(o, "tokenizer.ggml.padding_token_id", 151643); /* <|endoftext|> */
    key(o, "tokenizer.ggml.add_bos_token", BOOL);
    put(o, "", 1);
    key(o, "tokenizer.chat_template", STRING);
    put_string(o, v->template.data, v->template.n);
    key_u32(o, "general.quantization_version", 2);
    key_u32(o, "general.file_type", t->file_type);
}
enum {
    N_KEYS = 28
};

/* ----------------------------------------------------------------- tensors */

struct tensor {
    char name[40];
    uint32_t cols, rows; /* rows 0: a vector in F32 */
    float gain;          /* standard deviation of an output, for inputs of deviation 1 */
};

static uint64_t tensor_bytes(const struct tensor *x, const struct type *t)
{
    return x->rows ? (uint64_t)x->cols / t->block * t->block_bytes * x->rows : (uint64_t)x->cols * sizeof(float);
}

/* In the order of the published files: alphabetic within a layer. Returns how many. */
static size_t list_tensors(struct tensor *list, const struct shape *s)
{
    uint32_t d = s->embd, q = s->heads * HEAD_DIM, kv = s->kv_heads * HEAD_DIM, ff = s->ff;
    const struct {
        const char *name;
        uint32_t cols, rows;
    } layer[] = {
        {"attn_k", d, kv},   {"attn_k_norm", HEAD_DIM, 0}, {"attn_norm", d, 0}, {"attn_output", q, d},
        {"attn_q", d, q},    {"attn_q_norm", HEAD_DIM, 0}, {"attn_v", d, kv},   {"ffn_down", ff, d},
        {"ffn_gate", d, ff}, {"ffn_norm", d, 0},           {"ffn_up", d, ff},
    };
    /* Real logits deviate by about 3; with a tied head the embedding has that size too,
     * which does no harm: it is normed before it is used. */
    const float spread = 3;
    size_t n = 0;
    if (s->own_output)
        list[n++] = (struct tensor){"output.weight", d, N_TOKENS, spread};
    list[n++] = (struct tensor){"output_norm.weight", d, 0, 1};
    list[n++] = (struct tensor){"token_embd.weight", d, N_TOKENS, spread};
    for (uint32_t i = 0; i < s->layers; i++) {
        for (size_t k = 0; k < ARRAY_LEN(layer); k++) {
            struct tensor *x = &list[n++];
            *x = (struct tensor){.cols = layer[k].cols, .rows = layer[k].rows, .gain = 1};
            snprintf(x->name, sizeof x->name, "blk.%u.%s.weight", (unsigned)i, layer[k].name);
        }
    }
    return n;
}

static uint64_t random_state;

static uint64_t draw(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* IEEE binary16 of a normal number in its range, to nearest even. */
static uint16_t half(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits -= (uint32_t)(127 - 15) << 23;
    return (uint16_t)((bits + 0xFFF + (bits >> 13 & 1)) >> 13);
}

static void put_vector(struct out *o, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float x = 0.9f + 0.2f * (float)(draw() >> 40) / (1 << 24);
        put(o, &x, sizeof x);
    }
}

/* 32 ternary codes, two bits each: 0 is -1, 1 is 0, 2 is +1; 5 of 16 are 0. */
static uint64_t draw_codes(void)
{
    const uint64_t low = 0x5555555555555555u; /* the low bit of each code */
    uint64_t a = draw(), b = draw(), sign = draw() & low;
    uint64_t zero = ((a & (a >> 1)) | b) & (b >> 1) & low; /* (1/4 or else 1/2) and 1/2: 5/16 */
    return zero | (sign & ~zero) << 1;
}

static void put_matrix(struct out *o, const struct tensor *x, const struct type *t)
{
    bool ternary = t->id != 41;
    /* A sum of cols random signs deviates by sqrt(cols); with zeros among them by less. */
    double scale = (double)x->gain / sqrt((double)x->cols * (ternary ? 11.0 / 16 : 1));
    uint16_t scales[256];
    for (size_t i = 0; i < ARRAY_LEN(scales); i++)
        scales[i] = half((float)(scale * (0.75 + 0.5 * (double)i / (ARRAY_LEN(scales) - 1))));
    uint64_t blocks = (uint64_t)x->cols / t->block * x->rows, word;
    uint8_t block[34];
    for (uint64_t i = 0; i < blocks; i++) {
        memcpy(block, &scales[draw() >> 56], 2);
        for (size_t at = 2; at < t->block_bytes; at += sizeof word) {
            word = ternary ? draw_codes() : draw();
            memcpy(block + at, &word, sizeof word);
        }
        put(o, block, t->block_bytes);
    }
}

/* ------------------------------------------------------------------- files */

/* The whole file, or with measure only its header; returns the bytes of the file. */
static uint64_t put_model(struct out *o, const struct shape *s, const struct type *t, const struct vocabulary *v, bool measure)
{
    struct tensor list[512];
    size_t n = list_tensors(list, s);
    put(o, "GGUF\3\0\0\0", 8);
    put_u64(o, n);
    put_u64(o, N_KEYS);
    put_metadata(o, s, t, v);
    uint64_t offset = 0;
    for (size_t i = 0; i < n; i++) {
        put_string(o, list[i].name, strlen(list[i].name));
        put_u32(o, list[i].rows ? 2 : 1);
        put_u64(o, list[i].cols);
        if (list[i].rows)
            put_u64(o, list[i].rows);
        put_u32(o, list[i].rows ? t->id : 0);
        put_u64(o, offset);
        offset += ROUND_UP(tensor_bytes(&list[i], t), (uint64_t)ALIGNMENT);
    }
    align(o);
    uint64_t size = o->total + offset;
    for (size_t i = 0; i < n && !measure; i++) {
        if (list[i].rows)
            put_matrix(o, &list[i], t);
        else
            put_vector(o, list[i].cols);
        align(o);
    }
    return size;
}

static struct out out;

static void write_model(const char *path, const struct shape *s, const struct type *t, const struct vocabulary *v)
{
    /* Under another name until it is whole. */
    char *part = allocate(strlen(path) + sizeof ".part");
    sprintf(part, "%s.part", path);
    out.fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (out.fd < 0)
        die("can not write %s: %s", part, strerror(errno));
    unfinished = part;
    uint64_t size = put_model(&out, s, t, v, false);
    flush(&out);
    if (out.total != size)
        die("internal error: wrote %llu bytes instead of %llu", (unsigned long long)out.total, (unsigned long long)size);
    if (close(out.fd) != 0)
        die("can not write %s: %s", part, strerror(errno));
    if (rename(part, path) != 0)
        die("can not rename %s: %s", part, strerror(errno));
    free(part);
    printf("%s: %s, %s, %llu bytes\n", path, s->name, t->option, (unsigned long long)size);
}

_Noreturn static void misuse(const char *what, const char *word)
{
    fprintf(stderr, "mkbonsai: %s%s (--help lists the options)\n", what, word);
    exit(2);
}

int main(int argc, char **argv)
{
    const struct shape *shape = NULL;
    const struct type *type = &types[0];
    const char *path = NULL, *vocab = "tests/golden/tokenizer/qwen3.gguf";
    uint64_t seed = 1;
    bool force = false, size_only = false;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool takes_value = strcmp(a, "--type") == 0 || strcmp(a, "--seed") == 0 || strcmp(a, "--vocab") == 0;
        if (takes_value && !value)
            misuse("a value is missing after ", a);
        i += takes_value;
        if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
            fputs(usage, stdout);
            return 0;
        } else if (strcmp(a, "--force") == 0) {
            force = true;
        } else if (strcmp(a, "--size") == 0) {
            size_only = true;
        } else if (strcmp(a, "--vocab") == 0) {
            vocab = value;
        } else if (strcmp(a, "--seed") == 0) {
            char *end;
            errno = 0;
            seed = strtoull(value, &end, 10);
            if (errno || *end || *value < '0' || *value > '9')
                misuse("not a seed: ", value);
        } else if (strcmp(a, "--type") == 0) {
            type = NULL;
            for (size_t k = 0; k < ARRAY_LEN(types); k++)
                if (strcmp(value, types[k].option) == 0)
                    type = &types[k];
            if (!type)
                misuse("unknown type ", value);
        } else if (a[0] == '-') {
            misuse("unknown option ", a);
        } else if (!shape) {
            for (size_t k = 0; k < ARRAY_LEN(shapes); k++)
                if (strcmp(a, shapes[k].option) == 0)
                    shape = &shapes[k];
            if (!shape)
                misuse("unknown shape ", a);
        } else if (!path) {
            path = a;
        } else {
            misuse("what is ", a);
        }
    }
    if (!shape || !path == !size_only)
        misuse("a shape and an output file are needed", "");
    if (path && !force && access(path, F_OK) == 0)
        die("%s exists; --force overwrites it", path);

    static struct vocabulary v;
    v = read_vocabulary(vocab);
    v.template = bonsai_template(v.template);
    out.fd = -1;
    /* Spread the seed over all bits; xorshift needs a state that is not 0. */
    random_state = (seed + 1) * 0x9E3779B97F4A7C15u;
    random_state += random_state == 0;
    for (int i = 0; i < 16; i++)
        draw();
    if (size_only)
        printf("%llu\n", (unsigned long long)put_model(&out, shape, type, &v, true));
    else
        write_model(path, shape, type, &v);
    return 0;
}
