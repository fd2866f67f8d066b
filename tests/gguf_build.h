/* gguf_build.h: GGUF files made in memory, right or wrong, for tests. */
#ifndef SIGNUM_GGUF_BUILD_H
#define SIGNUM_GGUF_BUILD_H

#include "buf.h"
#include "gguf.h"

struct build {
    struct buf values, infos, data;
    uint64_t n_values, n_tensors;
    uint32_t version;
    size_t alignment; /* of the layout; no key is written for it */
};

void build_begin(struct build *b); /* version 3, alignment 32 */

/* A key with a raw value (for arrays: element type, count, elements). */
void build_value(struct build *b, const char *key, uint32_t type, const void *value, size_t bytes);
void build_uint32(struct build *b, const char *key, uint32_t value);
void build_float(struct build *b, const char *key, float value);
void build_text(struct build *b, const char *key, const char *value);

/* A tensor at the next aligned offset with so many zero bytes; returns its offset. */
uint64_t build_tensor(struct build *b, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type_id, size_t bytes);
/* Only the entry in the list of tensors. */
void build_info(struct build *b, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type_id, uint64_t offset);

/* A key of another file. */
void build_copy_value(struct build *b, const struct gguf_value *v);
/* Everything from a file but one key and one tensor (either may be NULL), whose place is left open. */
void build_copy(struct build *b, const struct gguf *g, const char *but_key, const char *but_tensor);

/* The file, in memory that ends at an inaccessible page and lives until the group ends. Empties b. */
struct file_map build_end(struct build *b);

#endif
