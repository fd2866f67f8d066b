/* The GGUF file, version 2 and 3, little endian:
 *
 *   OFFSET  SIZE  DESCRIPTION
 *        0     4  "GGUF"
 *        4     4  version
 *        8     8  number of tensors
 *       16     8  number of keys
 *       24        keys, each: string name; u32 type; value
 *                 tensors, each: string name; u32 n_dims; n_dims x u64, innermost first;
 *                   u32 type id; u64 offset in the data section
 *                 zeros up to a multiple of general.alignment (32 without that key)
 *                 data section
 *
 * string: u64 length, bytes.  array: u32 element type, u64 count, elements.  Nothing is aligned
 * before the data section. Every number below comes from the file and is hostile until checked. */
#include "gguf.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant.h"
#include "r64.h"

enum {
    MAX_ENTRIES = 1 << 16,  /* keys; tensors */
    MAX_ELEMENTS = 1 << 24, /* of an array; the largest known has 280,147 */
    MAX_STRING = 64 << 20,
    MAX_KEY = (1 << 16) - 1, /* as the specification says */
    MAX_TENSOR_NAME = 64,    /* likewise */
    MAX_ALIGNMENT = 64 << 10,
    MIN_KEY_BYTES = 8 + 1 + 4 + 1, /* the smallest key and tensor: bounds the counts by the file's size */
    MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8,
    MAX_PROBES = 1024, /* honest names need far fewer; more means a file built to be slow */
    Q2_0_ID = 42,
    PQ2_0_ID = 142,
};

static const char *const type_names[] = {"uint8", "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
                                         "bool",  "string", "array",  "uint64", "int64",  "float64"};
static const uint8_t type_bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/* ------------------------------------------------------------------ cursor */

struct cursor {
    const char *path;
    const uint8_t *at;
    size_t left;
};

/* Copies n >= 1 bytes and advances; false: the file ends before. */
static bool take(struct cursor *c, void *out, size_t n)
{
    if (c->left < n)
        return false;
    memcpy(out, c->at, n);
    c->at += n;
    c->left -= n;
    return true;
}

static enum sg_status cut_short(const struct cursor *c, const char *where, struct sg_error *err)
{
    return fail(err, SG_BAD_MODEL, "%s: the file ends inside %s: it is truncated or damaged", c->path, where);
}

static enum sg_status take_string(struct cursor *c, size_t max, const char *what, struct sg_str *out, struct sg_error *err)
{
    uint64_t len;
    if (!take(c, &len, sizeof len))
        return cut_short(c, what, err);
    if (len > c->left)
        return fail(err, SG_BAD_MODEL, "%s: %s claims %" PRIu64 " bytes where the file has %zu left: it is truncated or damaged", c->path,
                    what, len, c->left);
    if (len > max)
        return fail(err, SG_BAD_MODEL, "%s: %s has %" PRIu64 " bytes, more than the %zu that signum accepts", c->path, what, len, max);
    *out = (struct sg_str){(const char *)c->at, (size_t)len};
    c->at += len;
    c->left -= (size_t)len;
    return SG_OK;
}

/* ------------------------------------------------------------- hash tables */

/* Slots hold index + 1 of an entry, 0 = empty. Both kinds of entry begin with their name. */
struct table {
    const void *entries;
    size_t stride;
    uint32_t *slots;
    size_t n_slots; /* a power of two, at most three quarters full */
};

static struct table values_of(const struct gguf *g)
{
    return (struct table){g->values, sizeof *g->values, g->value_slots, g->n_value_slots};
}

static struct table tensors_of(const struct gguf *g)
{
    return (struct table){g->tensors, sizeof *g->tensors, g->tensor_slots, g->n_tensor_slots};
}

static size_t slots_for(size_t entries)
{
    size_t n = 4;
    while (n / 4 * 3 < entries)
        n *= 2;
    return n;
}

static uint64_t hash(const char *text, size_t len)
{
    uint64_t h = 0xCBF29CE484222325u; /* FNV-1a */
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)text[i]) * 0x100000001B3u;
    return h ^ h >> 32;
}

/* The slot of the entry with this name, or the empty one where it belongs; NULL: too many collisions. */
static uint32_t *find_slot(struct table t, const char *name, size_t len)
{
    uint64_t at = hash(name, len);
    for (size_t probe = 0; probe < MIN(t.n_slots, (size_t)MAX_PROBES); probe++, at++) {
        uint32_t *slot = t.slots + (at & (t.n_slots - 1));
        if (*slot == 0)
            return slot;
        const struct sg_str *other = (const void *)((const char *)t.entries + (*slot - 1) * t.stride);
        if (other->len == len && memcmp(other->data, name, len) == 0)
            return slot;
    }
    return NULL;
}

/* Enters entry number `index`, whose name is given; refuses a second one of that name. */
static enum sg_status enter(const char *path, struct table t, size_t index, struct sg_str name, const char *what, struct sg_error *err)
{
    char shown[ESCAPED_MAX];
    uint32_t *slot = find_slot(t, name.data, name.len);
    if (!slot)
        return fail(err, SG_BAD_MODEL, "%s: too many %s names collide: the file was made to be slow", path, what);
    if (*slot)
        return fail(err, SG_BAD_MODEL, "%s: %s %s occurs twice", path, what, escaped(shown, name.data, name.len));
    *slot = (uint32_t)index + 1;
    return SG_OK;
}

/* ------------------------------------------------------------------- parse */

/* Things that people take for a model, by how they begin. */
static enum sg_status wrong_magic(const struct gguf *g, struct sg_error *err)
{
    static const struct {
        const char *begin, *what;
    } known[] = {
        {"version https://git-lfs", "a Git LFS pointer, not the model itself: download the file that it names"},
        {"<", "a web page or XML: the download went wrong"},
        {"PK\3\4", "a ZIP archive, perhaps a PyTorch checkpoint: convert it to GGUF first"},
        {"lmgg", "a GGML file from before GGUF: convert the model again"},
        {"fmgg", "a GGML file from before GGUF: convert the model again"},
        {"tjgg", "a GGML file from before GGUF: convert the model again"},
        {"algg", "a GGML adapter from before GGUF"},
        {"\x93NUMPY", "a NumPy array"},
        {"{", "a JSON file"},
        {"\x1f\x8b", "compressed with gzip: decompress it first"},
        {"\x28\xb5\x2f\xfd", "compressed with zstd: decompress it first"},
        {"\xfd\x37zXZ", "compressed with xz: decompress it first"},
    };
    const uint8_t *data = g->map.data;
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        size_t len = strlen(known[i].begin);
        if (g->map.size >= len && memcmp(data, known[i].begin, len) == 0)
            return fail(err, SG_BAD_MODEL, "%s: not a GGUF file but %s", g->path, known[i].what);
    }
    if (g->map.size > 9 && data[8] == '{') /* eight bytes of length, then JSON */
        return fail(err, SG_BAD_MODEL, "%s: not a GGUF file but safetensors: convert it to GGUF first", g->path);
    return fail(err, SG_BAD_MODEL, "%s: not a GGUF file", g->path);
}

static enum sg_status parse_header(struct gguf *g, struct cursor *c, struct sg_error *err)
{
    uint64_t n_tensors, n_values;
    char magic[4];
    if (g->map.size == 0)
        return fail(err, SG_BAD_MODEL, "%s: the file is empty", g->path);
    if (!take(c, magic, sizeof magic) || memcmp(magic, "GGUF", 4) != 0)
        return wrong_magic(g, err);
    if (!take(c, &g->version, sizeof g->version))
        return cut_short(c, "its header", err);
    if (g->version != 0 && (g->version & 0xFFFF) == 0)
        return fail(err, SG_BAD_MODEL, "%s: a big-endian GGUF file; signum reads little-endian ones", g->path);
    if (g->version != 2 && g->version != 3)
        return fail(err, SG_BAD_MODEL, "%s: GGUF version %" PRIu32 "; signum reads versions 2 and 3", g->path, g->version);
    if (!take(c, &n_tensors, sizeof n_tensors) || !take(c, &n_values, sizeof n_values))
        return cut_short(c, "its header", err);
    if (n_tensors > c->left / MIN_TENSOR_BYTES || n_values > c->left / MIN_KEY_BYTES)
        return fail(err, SG_BAD_MODEL,
                    "%s: claims %" PRIu64 " tensors and %" PRIu64 " keys, more than fit into its %zu bytes: it is truncated or damaged",
                    g->path, n_tensors, n_values, g->map.size);
    if (n_tensors > MAX_ENTRIES || n_values > MAX_ENTRIES)
        return fail(err, SG_BAD_MODEL, "%s: has %" PRIu64 " tensors and %" PRIu64 " keys; signum accepts %d of each", g->path, n_tensors,
                    n_values, MAX_ENTRIES);
    g->n_tensors = (size_t)n_tensors;
    g->n_values = (size_t)n_values;
    return SG_OK;
}

static enum sg_status parse_array(struct cursor *c, struct gguf_value *v, const char *key, struct sg_error *err)
{
    uint32_t element;
    if (!take(c, &element, sizeof element) || !take(c, &v->count, sizeof v->count))
        return cut_short(c, "the metadata", err);
    if (element > GGUF_FLOAT64)
        return fail(err, SG_BAD_MODEL, "%s: key %s is an array of the unknown value type %" PRIu32, c->path, key, element);
    if (element == GGUF_ARRAY)
        return fail(err, SG_BAD_MODEL, "%s: key %s is an array of arrays, which signum does not read", c->path, key);
    v->element = (enum gguf_type)element;
    size_t least = element == GGUF_STRING ? 8 : type_bytes[element];
    if (v->count > c->left / least)
        return fail(err, SG_BAD_MODEL, "%s: key %s claims %" PRIu64 " elements, more than the file has left: it is truncated or damaged",
                    c->path, key, v->count);
    if (v->count > MAX_ELEMENTS)
        return fail(err, SG_BAD_MODEL, "%s: key %s has %" PRIu64 " elements; signum accepts %d", c->path, key, v->count, MAX_ELEMENTS);
    v->data = c->at;
    if (element == GGUF_STRING) {
        struct sg_str ignored;
        for (uint64_t i = 0; i < v->count; i++)
            TRY(take_string(c, MAX_STRING, key, &ignored, err));
    } else {
        c->at += v->count * least;
        c->left -= (size_t)v->count * least;
    }
    v->bytes = (size_t)(c->at - v->data);
    return SG_OK;
}

static enum sg_status parse_value(struct cursor *c, struct gguf_value *v, struct sg_error *err)
{
    uint32_t type;
    TRY(take_string(c, MAX_KEY, "the name of a key", &v->key, err));
    if (v->key.len == 0)
        return fail(err, SG_BAD_MODEL, "%s: a key has no name", c->path);
    char key[ESCAPED_MAX];
    escaped(key, v->key.data, v->key.len);
    if (!take(c, &type, sizeof type))
        return cut_short(c, "the metadata", err);
    if (type > GGUF_FLOAT64)
        return fail(err, SG_BAD_MODEL, "%s: key %s has the unknown value type %" PRIu32, c->path, key, type);
    v->type = (enum gguf_type)type;
    v->count = 1;
    if (type == GGUF_ARRAY)
        return parse_array(c, v, key, err);
    v->data = c->at;
    if (type == GGUF_STRING) {
        struct sg_str ignored;
        TRY(take_string(c, MAX_STRING, key, &ignored, err));
    } else {
        if (c->left < type_bytes[type])
            return cut_short(c, "the metadata", err);
        c->at += type_bytes[type];
        c->left -= type_bytes[type];
    }
    v->bytes = (size_t)(c->at - v->data);
    return SG_OK;
}

static enum sg_status parse_values(struct gguf *g, struct cursor *c, struct sg_error *err)
{
    g->n_value_slots = slots_for(g->n_values);
    g->values = calloc(MAX(g->n_values, (size_t)1), sizeof *g->values);
    g->value_slots = calloc(g->n_value_slots, sizeof *g->value_slots);
    if (!g->values || !g->value_slots)
        return fail_memory(err, g->n_values * sizeof *g->values, "the metadata");
    for (size_t i = 0; i < g->n_values; i++) {
        TRY(parse_value(c, &g->values[i], err));
        TRY(enter(g->path, values_of(g), i, g->values[i].key, "key", err));
    }
    return SG_OK;
}

/* Types that other programs write and signum does not read. One id may mean several things. */
static enum sg_status refuse_type(const struct gguf *g, const char *tensor, uint32_t id, struct sg_error *err)
{
    static const char activations[] = "a format for activations, not for weights", retired[] = "retired since 2024",
                      integers[] = "plain numbers, not weights";
    static const struct {
        uint32_t id;
        const char *name, *note, *instead;
    } known[] = {
        {4, "Q4_2", "removed in 2023", "Q4_0 or Q4_K"},
        {5, "Q4_3", "removed in 2023", "Q4_1 or Q4_K"},
        {6, "Q5_0", NULL, "Q5_K or Q8_0"},
        {7, "Q5_1", NULL, "Q5_K or Q8_0"},
        {9, "Q8_1", activations, "Q8_0"},
        {10, "Q2_K", NULL, "Q4_K"},
        {11, "Q3_K", NULL, "Q4_K"},
        {15, "Q8_K", activations, "Q8_0"},
        {16, "IQ2_XXS", NULL, "Q4_K"},
        {17, "IQ2_XS", NULL, "Q4_K"},
        {18, "IQ3_XXS", NULL, "Q4_K"},
        {19, "IQ1_S", NULL, "Q4_K, or a model trained for Q1_0"},
        {20, "IQ4_NL", NULL, "Q4_0 or Q4_K"},
        {21, "IQ3_S", NULL, "Q4_K"},
        {22, "IQ2_S", NULL, "Q4_K"},
        {23, "IQ4_XS", NULL, "Q4_K"},
        {24, "I8", integers, "Q8_0"},
        {25, "I16", integers, "F16"},
        {26, "I32", integers, "F32"},
        {27, "I64", integers, "F32"},
        {28, "F64", NULL, "F32"},
        {29, "IQ1_M", NULL, "Q4_K, or a model trained for Q1_0"},
        {31, "Q4_0_4_4", retired, "Q4_0"},
        {32, "Q4_0_4_8", retired, "Q4_0"},
        {33, "Q4_0_8_8", retired, "Q4_0"},
        {36, "I2_S of bitnet.cpp, or the retired IQ4_NL_4_4", "its byte order depends on the machine that wrote it", "TQ2_0 or TQ1_0"},
        {37, "I8_S of bitnet.cpp, or the retired IQ4_NL_4_8", NULL, "Q8_0"},
        {38, "TL1 of bitnet.cpp, or the retired IQ4_NL_8_8", NULL, "TQ2_0 or TQ1_0"},
        {39, "MXFP4, or TL2 of bitnet.cpp", NULL, "Q4_K, or TQ2_0 for ternary weights"},
        {40, "NVFP4, or one-bit weights in groups of 32 of an early Prism program", NULL, "Q4_K, or Q1_0 (id 41) for one-bit weights"},
        {134, "IQ1_BN of ik_llama.cpp", NULL, "TQ1_0"},
        {135, "IQ2_BN of ik_llama.cpp", NULL, "TQ2_0"},
        {143, "PTQ1_0", NULL, "the PQ2_0 file of the same model"},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].id == id)
            return fail(err, SG_BAD_MODEL,
                        "%s: tensor %s has type %" PRIu32 " (%s%s%s), which signum does not read: use a file with %s instead", g->path,
                        tensor, id, known[i].name, known[i].note ? "; " : "", known[i].note ? known[i].note : "", known[i].instead);
    return fail(
        err, SG_BAD_MODEL,
        "%s: tensor %s has type %" PRIu32 ", which is no weight type that signum knows: the file is damaged, or made for "
        "another program; use one with Q1_0, Q2_0, PQ2_0, TQ1_0, TQ2_0, Q4_0, Q4_1, Q4_K, Q5_K, Q6_K, Q8_0, BF16, F16 or F32 instead",
        g->path, tensor, id);
}

/* Q2_0 is entered as QUANT_Q2_0_G64 until resolve_q2_0 has seen all offsets; -1: not read by signum. */
static int type_of_id(uint32_t id)
{
    static const struct {
        uint32_t id;
        enum quant_type type;
    } known[] = {
        {0, QUANT_F32},
        {1, QUANT_F16},
        {30, QUANT_BF16},
        {8, QUANT_Q8_0},
        {2, QUANT_Q4_0},
        {3, QUANT_Q4_1},
        {12, QUANT_Q4_K},
        {13, QUANT_Q5_K},
        {14, QUANT_Q6_K},
        {41, QUANT_Q1_0},
        {Q2_0_ID, QUANT_Q2_0_G64},
        {PQ2_0_ID, QUANT_Q2_0_G128},
        {34, QUANT_TQ1_0},
        {35, QUANT_TQ2_0},
        {R64_TYPE_ID, QUANT_Q1_0_R64},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].id == id)
            return (int)known[i].type;
    return -1;
}

static uint64_t tensor_elements(const struct gguf_tensor *t) { return t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3]; }

/* Bytes if the tensor had this type; 0: its rows are not whole blocks. Elements are below 2^48, so nothing wraps. */
static uint64_t bytes_as(const struct gguf_tensor *t, enum quant_type type)
{
    if (t->dims[0] % quant_traits[type].block != 0)
        return 0;
    if (type == QUANT_Q1_0_R64)
        return r64_bytes(t->dims[1], t->dims[0]);
    return tensor_elements(t) / quant_traits[type].block * quant_traits[type].block_bytes;
}

static enum sg_status parse_tensor(struct gguf *g, struct cursor *c, struct gguf_tensor *t, struct sg_error *err)
{
    TRY(take_string(c, MAX_TENSOR_NAME, "the name of a tensor", &t->name, err));
    if (t->name.len == 0)
        return fail(err, SG_BAD_MODEL, "%s: a tensor has no name", g->path);
    char name[ESCAPED_MAX];
    escaped(name, t->name.data, t->name.len);
    if (!take(c, &t->n_dims, sizeof t->n_dims))
        return cut_short(c, "the list of tensors", err);
    if (t->n_dims < 1 || t->n_dims > 4)
        return fail(err, SG_BAD_MODEL, "%s: tensor %s has %" PRIu32 " dimensions; 1 to 4 are possible", g->path, name, t->n_dims);
    uint64_t elements = 1;
    for (uint32_t i = 0; i < 4; i++) {
        t->dims[i] = 1;
        if (i < t->n_dims && !take(c, &t->dims[i], sizeof t->dims[i]))
            return cut_short(c, "the list of tensors", err);
        if (t->dims[i] == 0)
            return fail(err, SG_BAD_MODEL, "%s: tensor %s has a dimension of 0", g->path, name);
        if (__builtin_mul_overflow(elements, t->dims[i], &elements) || elements >> 48)
            return fail(err, SG_BAD_MODEL, "%s: tensor %s is impossibly large", g->path, name);
    }
    if (!take(c, &t->type_id, sizeof t->type_id) || !take(c, &t->offset, sizeof t->offset))
        return cut_short(c, "the list of tensors", err);
    t->type = type_of_id(t->type_id);
    if (t->type < 0)
        return refuse_type(g, name, t->type_id, err);
    if (t->type == QUANT_Q1_0_R64 && (t->dims[2] != 1 || t->dims[3] != 1))
        return fail(err, SG_BAD_MODEL, "%s: tensor %s has type %s and %" PRIu32 " dimensions, but only matrices can be repacked", g->path,
                    name, quant_traits[t->type].name, t->n_dims);
    t->bytes = bytes_as(t, (enum quant_type)t->type);
    if (t->bytes == 0)
        return fail(err, SG_BAD_MODEL, "%s: tensor %s has rows of %" PRIu64 " weights, not a multiple of the %zu in a block of %s", g->path,
                    name, t->dims[0], quant_traits[t->type].block, quant_traits[t->type].name);
    if (t->offset % g->alignment != 0)
        return fail(err, SG_BAD_MODEL, "%s: tensor %s begins at offset %" PRIu64 ", not a multiple of the alignment %zu", g->path, name,
                    t->offset, g->alignment);
    return SG_OK;
}

static enum sg_status parse_tensors(struct gguf *g, struct cursor *c, struct sg_error *err)
{
    if (g->n_tensors > c->left / MIN_TENSOR_BYTES)
        return cut_short(c, "the list of tensors", err);
    g->n_tensor_slots = slots_for(g->n_tensors);
    g->tensors = calloc(MAX(g->n_tensors, (size_t)1), sizeof *g->tensors);
    g->tensor_slots = calloc(g->n_tensor_slots, sizeof *g->tensor_slots);
    if (!g->tensors || !g->tensor_slots)
        return fail_memory(err, g->n_tensors * sizeof *g->tensors, "the list of tensors");
    for (size_t i = 0; i < g->n_tensors; i++) {
        TRY(parse_tensor(g, c, &g->tensors[i], err));
        TRY(enter(g->path, tensors_of(g), i, g->tensors[i].name, "tensor", err));
    }
    return SG_OK;
}

/* -------------------------------------------------- layout of the data section */

static int by_offset(const void *a, const void *b)
{
    const struct gguf_tensor *x = *(struct gguf_tensor *const *)a, *y = *(struct gguf_tensor *const *)b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

enum fit {
    FIT_WRONG,
    FIT_POSSIBLE,
    FIT_EXACT
};

/* Whether a tensor of this type would end where the next one begins. After the last one a file may hold
 * anything, so there a surplus says nothing; the usual end, after its padding, does. */
static enum fit fits(const struct gguf *g, const struct gguf_tensor *t, enum quant_type type, uint64_t room, bool last)
{
    uint64_t bytes = bytes_as(t, type);
    if (bytes == 0 || bytes > room)
        return FIT_WRONG;
    if (room <= ROUND_UP(bytes, (uint64_t)g->alignment))
        return last || room == ROUND_UP(bytes, (uint64_t)g->alignment) ? FIT_EXACT : FIT_WRONG;
    return last ? FIT_POSSIBLE : FIT_WRONG;
}

/* Type id 42 names two layouts: groups of 64 weights (llama.cpp) and of 128 (older Prism files). Nothing in
 * the file says which, but the offsets do: the right size fills the space up to the next tensor, for every
 * tensor; the wrong one misses by 5.9 %. order: tensors by ascending offset. */
static enum sg_status resolve_q2_0(struct gguf *g, struct gguf_tensor **order, uint64_t data_bytes, struct sg_error *err)
{
    static const enum quant_type layouts[2] = {QUANT_Q2_0_G64, QUANT_Q2_0_G128};
    bool possible[2] = {true, true}, exact[2] = {false, false}, any = false;
    for (size_t i = 0; i < g->n_tensors; i++) {
        struct gguf_tensor *t = order[i];
        if (t->type_id != Q2_0_ID)
            continue;
        any = true;
        bool last = i + 1 == g->n_tensors;
        uint64_t end = last ? data_bytes : order[i + 1]->offset, room = end > t->offset ? end - t->offset : 0;
        bool was_possible = possible[0] || possible[1];
        for (int k = 0; k < 2; k++) {
            enum fit fit = fits(g, t, layouts[k], room, last);
            possible[k] &= fit != FIT_WRONG;
            exact[k] |= fit == FIT_EXACT;
        }
        if (was_possible && !possible[0] && !possible[1]) {
            char name[ESCAPED_MAX];
            return fail(err, SG_BAD_MODEL,
                        "%s: ambiguous Q2_0 layout: tensor %s (type 42) has %" PRIu64
                        " bytes up to %s, where groups of 64 weights need %" PRIu64 " and groups of 128 need %" PRIu64
                        ", and all tensors must agree: the file is damaged, or use a PQ2_0 or Q1_0 file instead",
                        g->path, escaped(name, t->name.data, t->name.len), room, last ? "the end of the file" : "the next tensor",
                        bytes_as(t, QUANT_Q2_0_G64), bytes_as(t, QUANT_Q2_0_G128));
        }
    }
    if (!any)
        return SG_OK;
    for (int k = 0; k < 2; k++)
        possible[k] &= exact[k];
    if (possible[0] == possible[1])
        return fail(
            err, SG_BAD_MODEL,
            "%s: ambiguous Q2_0 layout: type 42 stands for groups of 64 weights (18 bytes) or of 128 (34 bytes), and the offsets of the "
            "tensors fit both: use a PQ2_0 or Q1_0 file instead",
            g->path);
    for (size_t i = 0; i < g->n_tensors; i++) {
        if (g->tensors[i].type_id == Q2_0_ID) {
            g->tensors[i].type = (int)layouts[possible[1]];
            g->tensors[i].bytes = bytes_as(&g->tensors[i], layouts[possible[1]]);
        }
    }
    return SG_OK;
}

/* Every tensor inside the file, no two sharing a byte. Order in the file and gaps are free. */
static enum sg_status place_tensors(struct gguf *g, struct gguf_tensor **order, struct sg_error *err)
{
    char name[ESCAPED_MAX], other[ESCAPED_MAX];
    uint64_t data_bytes = g->map.size > g->data_start ? g->map.size - g->data_start : 0;
    for (size_t i = 0; i < g->n_tensors; i++)
        order[i] = &g->tensors[i];
    qsort(order, g->n_tensors, sizeof *order, by_offset);
    TRY(resolve_q2_0(g, order, data_bytes, err));
    for (size_t i = 0; i < g->n_tensors; i++) {
        struct gguf_tensor *t = order[i];
        escaped(name, t->name.data, t->name.len);
        if (t->offset > data_bytes || t->bytes > data_bytes - t->offset)
            return fail(err, SG_BAD_MODEL,
                        "%s: tensor %s needs %" PRIu64 " bytes at offset %" PRIu64 " of the data, which has %" PRIu64
                        ": the file is truncated (an interrupted download?) or damaged",
                        g->path, name, t->bytes, t->offset, data_bytes);
        if (t->type == QUANT_Q1_0_R64 && (g->data_start + t->offset) % R64_ALIGN != 0)
            return fail(err, SG_BAD_MODEL, "%s: tensor %s has type %s but does not begin at a multiple of %d bytes: the file is damaged",
                        g->path, name, quant_traits[t->type].name, R64_ALIGN);
        if (i > 0 && order[i - 1]->offset + order[i - 1]->bytes > t->offset)
            return fail(err, SG_BAD_MODEL, "%s: tensors %s and %s overlap: the file is damaged, or made for another program", g->path,
                        escaped(other, order[i - 1]->name.data, order[i - 1]->name.len), name);
        t->data = g->map.data + g->data_start + t->offset;
    }
    return SG_OK;
}

static enum sg_status parse(struct gguf *g, struct sg_error *err)
{
    struct cursor c = {g->path, g->map.data, g->map.size};
    TRY(parse_header(g, &c, err));
    TRY(parse_values(g, &c, err));

    uint64_t parts = 1, alignment = 32;
    TRY(gguf_get_uint(g, "split.count", 0, UINT16_MAX, &parts, NULL, err));
    if (parts > 1)
        return fail(err, SG_BAD_MODEL, "%s: one of %" PRIu64 " parts of a split model: join them first (llama-gguf-split --merge)", g->path,
                    parts);
    TRY(gguf_get_uint(g, "general.alignment", 1, MAX_ALIGNMENT, &alignment, NULL, err));
    if ((alignment & (alignment - 1)) != 0)
        return fail(err, SG_BAD_MODEL, "%s: general.alignment is %" PRIu64 ", not a power of two", g->path, alignment);
    g->alignment = (size_t)alignment;

    TRY(parse_tensors(g, &c, err));
    g->data_start = ROUND_UP(g->map.size - c.left, g->alignment);
    struct gguf_tensor **order = malloc(MAX(g->n_tensors, (size_t)1) * sizeof *order);
    if (!order)
        return fail_memory(err, g->n_tensors * sizeof *order, "the list of tensors");
    enum sg_status status = place_tensors(g, order, err);
    free(order);
    return status;
}

enum sg_status gguf_parse(struct gguf *g, const char *path, struct file_map map, struct sg_error *err)
{
    *g = (struct gguf){.path = path, .map = map};
    enum sg_status status = parse(g, err);
    if (status != SG_OK)
        gguf_close(g);
    return status;
}

enum sg_status gguf_open(struct gguf *g, const char *path, struct sg_error *err)
{
    struct file_map map;
    *g = (struct gguf){.path = path};
    TRY(file_map(&map, path, err));
    enum sg_status status = gguf_parse(g, path, map, err);
    if (status == SG_OK)
        g->owns_map = true;
    else
        file_unmap(&map);
    return status;
}

void gguf_close(struct gguf *g)
{
    free(g->values);
    free(g->tensors);
    free(g->value_slots);
    free(g->tensor_slots);
    if (g->owns_map)
        file_unmap(&g->map);
    *g = (struct gguf){0};
}

/* ----------------------------------------------------------------- look-up */

const struct gguf_value *gguf_find(const struct gguf *g, const char *key)
{
    const uint32_t *slot = find_slot(values_of(g), key, strlen(key));
    return slot && *slot ? &g->values[*slot - 1] : NULL;
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name)
{
    const uint32_t *slot = find_slot(tensors_of(g), name, strlen(name));
    return slot && *slot ? &g->tensors[*slot - 1] : NULL;
}

const char *gguf_type_name(const struct gguf_tensor *t) { return t->type_id == PQ2_0_ID ? "PQ2_0" : quant_traits[t->type].name; }

/* The value of a key, with *found filled in. */
static const struct gguf_value *look_up(const struct gguf *g, const char *key, bool *found)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (found)
        *found = v != NULL;
    return v;
}

static enum sg_status wrong_type(const struct gguf *g, const struct gguf_value *v, const char *key, const char *expected,
                                 struct sg_error *err)
{
    return fail(err, SG_BAD_MODEL, "%s: key %s has type %s, expected %s", g->path, key, type_names[v->type], expected);
}

/* An integer of any width as sign and magnitude; false: some other type. */
static bool read_integer(const struct gguf_value *v, bool *negative, uint64_t *magnitude)
{
    bool is_signed = v->type == GGUF_INT8 || v->type == GGUF_INT16 || v->type == GGUF_INT32 || v->type == GGUF_INT64;
    bool is_unsigned = v->type == GGUF_UINT8 || v->type == GGUF_UINT16 || v->type == GGUF_UINT32 || v->type == GGUF_UINT64;
    if (!is_signed && !is_unsigned)
        return false;
    uint64_t n = 0;
    memcpy(&n, v->data, v->bytes); /* little endian: the low bytes come first */
    *negative = is_signed && n >> (8 * v->bytes - 1) != 0;
    if (*negative)
        n |= ~(uint64_t)0 << (8 * v->bytes - 1); /* extends the sign */
    *magnitude = *negative ? 0 - n : n;
    return true;
}

enum sg_status gguf_get_uint(const struct gguf *g, const char *key, uint64_t min, uint64_t max, uint64_t *out, bool *found,
                             struct sg_error *err)
{
    const struct gguf_value *v = look_up(g, key, found);
    bool negative;
    uint64_t n;
    if (!v)
        return SG_OK;
    if (!read_integer(v, &negative, &n))
        return wrong_type(g, v, key, "an integer", err);
    if (negative || n < min || n > max)
        return fail(err, SG_BAD_MODEL, "%s: key %s is %s%" PRIu64 ", expected %" PRIu64 " to %" PRIu64, g->path, key, negative ? "-" : "",
                    n, min, max);
    *out = n;
    return SG_OK;
}

enum sg_status gguf_get_float(const struct gguf *g, const char *key, double *out, bool *found, struct sg_error *err)
{
    const struct gguf_value *v = look_up(g, key, found);
    double n;
    if (!v)
        return SG_OK;
    if (v->type == GGUF_FLOAT32) {
        float single;
        memcpy(&single, v->data, sizeof single);
        n = (double)single;
    } else if (v->type == GGUF_FLOAT64) {
        memcpy(&n, v->data, sizeof n);
    } else {
        return wrong_type(g, v, key, "a floating-point number", err);
    }
    if (!isfinite(n))
        return fail(err, SG_BAD_MODEL, "%s: key %s is not a finite number", g->path, key);
    *out = n;
    return SG_OK;
}

enum sg_status gguf_get_bool(const struct gguf *g, const char *key, bool *out, bool *found, struct sg_error *err)
{
    const struct gguf_value *v = look_up(g, key, found);
    if (!v)
        return SG_OK;
    if (v->type != GGUF_BOOL)
        return wrong_type(g, v, key, "a bool", err);
    *out = v->data[0] != 0;
    return SG_OK;
}

enum sg_status gguf_get_string(const struct gguf *g, const char *key, struct sg_str *out, bool *found, struct sg_error *err)
{
    const struct gguf_value *v = look_up(g, key, found);
    if (!v)
        return SG_OK;
    if (v->type != GGUF_STRING)
        return wrong_type(g, v, key, "a string", err);
    const uint8_t *at = v->data;
    *out = gguf_next_string(&at);
    return SG_OK;
}

struct sg_str gguf_next_string(const uint8_t **cursor)
{
    uint64_t len;
    memcpy(&len, *cursor, sizeof len);
    struct sg_str s = {(const char *)*cursor + sizeof len, (size_t)len};
    *cursor += sizeof len + len;
    return s;
}
