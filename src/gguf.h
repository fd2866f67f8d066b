/* gguf.h: the GGUF container: header, metadata, tensor directory. Checks every
 * length, count, offset and type before it is used; copies nothing. Knows
 * nothing of models. Layer: compute. */
#ifndef SIGNUM_GGUF_H
#define SIGNUM_GGUF_H

#include "error.h"
#include "file.h"

enum gguf_type {
    GGUF_UINT8,
    GGUF_INT8,
    GGUF_UINT16,
    GGUF_INT16,
    GGUF_UINT32,
    GGUF_INT32,
    GGUF_FLOAT32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_UINT64,
    GGUF_INT64,
    GGUF_FLOAT64,
};

struct gguf_value {
    struct sg_str key;
    enum gguf_type type;
    enum gguf_type element; /* of an array */
    uint64_t count;         /* elements of an array, else 1 */
    const uint8_t *data;    /* first byte of the value or first element, unaligned; a string's is its length */
    size_t bytes;           /* of all of it */
};

struct gguf_tensor {
    struct sg_str name;
    uint32_t n_dims;
    uint64_t dims[4]; /* innermost first; missing ones are 1 */
    int type;         /* enum quant_type (quant.h), Q2_0's layout already resolved */
    uint32_t type_id; /* as in the file */
    uint64_t offset;  /* in the data section */
    uint64_t bytes;
    const uint8_t *data;
};

struct gguf {
    const char *path; /* for messages; the caller's */
    struct file_map map;
    bool owns_map; /* gguf_close unmaps it */
    uint32_t version;
    size_t n_values, n_tensors, alignment, data_start;
    struct gguf_value *values;
    struct gguf_tensor *tensors;
    uint32_t *value_slots, *tensor_slots; /* hash tables: index + 1, 0 = empty */
    size_t n_value_slots, n_tensor_slots;
};

/* Maps and validates. gguf_close is safe after failure and on a zeroed struct.
 * gguf_parse is the same on memory (tests, fuzzing): map is not owned then.
 * Errors: SG_FAIL (cannot be read), SG_BAD_MODEL, SG_NO_MEMORY. */
enum sg_status gguf_open(struct gguf *g, const char *path, struct sg_error *err);
enum sg_status gguf_parse(struct gguf *g, const char *path, struct file_map map, struct sg_error *err);
void gguf_close(struct gguf *g);

const struct gguf_value *gguf_find(const struct gguf *g, const char *key);          /* or NULL */
const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name); /* or NULL */

/* What people call the tensor's type: "Q1_0", "Q2_0 (groups of 128)" ... */
const char *gguf_type_name(const struct gguf_tensor *t);

/* Typed getters: any integer width is accepted for integers that fit. An absent
 * key leaves *out as it is and sets *found (if not NULL) to false; a present key of
 * the wrong type, out of [min, max], or not finite is SG_BAD_MODEL. */
enum sg_status gguf_get_uint(const struct gguf *g, const char *key, uint64_t min, uint64_t max, uint64_t *out, bool *found,
                             struct sg_error *err);
enum sg_status gguf_get_float(const struct gguf *g, const char *key, double *out, bool *found, struct sg_error *err);
enum sg_status gguf_get_bool(const struct gguf *g, const char *key, bool *out, bool *found, struct sg_error *err);
enum sg_status gguf_get_string(const struct gguf *g, const char *key, struct sg_str *out, bool *found, struct sg_error *err);

/* Walks the strings of an array<string> value: start with *cursor = value->data,
 * call at most value->count times. The lengths were checked by gguf_open. */
struct sg_str gguf_next_string(const uint8_t **cursor);

#endif
