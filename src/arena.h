/* arena.h: one allocation, carved. The layout function of a part runs twice: on
 * an arena that only measures, then on one that has the memory, so that a size
 * can be printed before it is spent and is exact. Layer: base. */
#ifndef SIGNUM_ARENA_H
#define SIGNUM_ARENA_H

#include "base.h"

struct arena {
    uint8_t *base; /* NULL: measuring */
    size_t used, size;
};

enum {
    ARENA_ALIGN = 64
}; /* a cache line; also a zmm register */

/* Returns aligned, uninitialized memory, or NULL while measuring. Going over the
 * measured size is a programming error and aborts. */
void *arena_take(struct arena *a, size_t bytes);
#define ARENA_ARRAY(arena, type, n) ((type *)arena_take(arena, sizeof(type) * (n)))

/* Maps `size` bytes (zeroed, huge pages asked for above 2 MiB); false: out of memory. */
bool arena_map(struct arena *a, size_t size);
void arena_unmap(struct arena *a);

/* Zeroed memory straight from the system, huge pages asked for when it is 2 MiB or more. */
void *pages_map(size_t bytes);
void pages_unmap(void *p, size_t bytes);

#endif
