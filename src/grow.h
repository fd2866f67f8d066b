/* grow.h: growing an array of any type. Layer: base. */
#ifndef SIGNUM_GROW_H
#define SIGNUM_GROW_H

#include <stdlib.h>

#include "base.h"

/* The array, moved if it had to be, with room for n + more elements of `size` bytes and
 * *cap raised to match; NULL when that is too much, and then the old one is still good:
 *     void *p = grown(v->items, &v->cap, v->n, 1, sizeof *v->items); */
static inline void *grown(void *array, size_t *cap, size_t n, size_t more, size_t size)
{
    size_t need, bytes;
    if (!add_size(n, more, &need))
        return NULL;
    if (need <= *cap && array)
        return array;
    size_t want = MAX(need, *cap + *cap / 2 + 16);
    void *moved = mul_size(want, size, &bytes) ? realloc(array, bytes) : NULL;
    if (moved)
        *cap = want;
    return moved;
}

#endif
