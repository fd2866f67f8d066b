/* repack.h: a model's Q1_0 matrices in memory as Q1_0_R64 (r64.h). Layer: model. */
#ifndef SIGNUM_REPACK_H
#define SIGNUM_REPACK_H

#include "arena.h"
#include "model.h"
#include "pool.h"

/* Bytes that repack_model will take; 0: the model has no Q1_0 matrices. */
size_t repack_bytes(const struct model *m);

/* Copies all Q1_0 matrices of m, rearranged, into *out on all threads and lets m use the
 * copies. map is the file that they come from: what was read of it is given back to the
 * system piece by piece, so that both are never in this process's memory. The caller frees
 * *out with arena_unmap. SG_NO_MEMORY, SG_INTERRUPTED. */
enum sg_status repack_model(struct arena *out, struct model *m, const struct file_map *map, struct pool *pool,
                            const volatile sig_atomic_t *interrupt, struct sg_error *err);

#endif
