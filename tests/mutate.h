/* mutate.h: random damage to a file, of the kinds that break parsers. For tests and tests/fuzz. */
#ifndef SIGNUM_MUTATE_H
#define SIGNUM_MUTATE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Changes data[0..n) in place in one to four random ways, favouring the first `head` bytes; below(k)
 * gives random numbers under k. Returns the new size, between 0 and cap. */
static inline size_t mutate(uint8_t *data, size_t n, size_t cap, size_t head, uint64_t (*below)(uint64_t))
{
    static const uint64_t numbers[] = {0,
                                       1,
                                       2,
                                       3,
                                       8,
                                       9,
                                       31,
                                       32,
                                       63,
                                       64,
                                       127,
                                       128,
                                       255,
                                       256,
                                       0x7FFF,
                                       0xFFFF,
                                       0x10000,
                                       0x7FFFFFFF,
                                       0x80000000,
                                       0xFFFFFFFF,
                                       0x100000000,
                                       0x7FFFFFFFFFFFFFFF,
                                       0x8000000000000000,
                                       0xFFFFFFFFFFFFFFF8,
                                       0xFFFFFFFFFFFFFFFF};
    for (uint64_t changes = 1 + below(4); changes; changes--) {
        size_t area = below(4) && head < n ? head : n, at = (size_t)below(area + 1), left = n - at;
        switch (below(7)) {
        case 0: /* flip a bit */
            if (left)
                data[at] ^= (uint8_t)(1 << below(8));
            break;
        case 1: /* another byte */
            if (left)
                data[at] = (uint8_t)below(256);
            break;
        case 2: { /* a number that is often wrong, 1 to 8 bytes wide */
            size_t width = (size_t)1 << below(4);
            if (left >= width)
                memcpy(data + at, &numbers[below(sizeof numbers / sizeof *numbers)], width);
            break;
        }
        case 3: { /* copy a piece over another place */
            size_t from = (size_t)below(n + 1), length = (size_t)below(64);
            if (length <= left && length <= n - from)
                memmove(data + at, data + from, length);
            break;
        }
        case 4: { /* remove a piece */
            size_t length = (size_t)below(below(4) ? 16 : left + 1);
            if (length <= left) {
                memmove(data + at, data + at + length, left - length);
                n -= length;
            }
            break;
        }
        case 5: { /* insert a piece */
            size_t length = (size_t)below(16);
            if (length <= cap - n && length <= left) {
                memmove(data + at + length, data + at, left);
                n += length;
            }
            break;
        }
        default: /* cut */
            if (below(8) == 0)
                n = at;
        }
    }
    return n;
}

#endif
