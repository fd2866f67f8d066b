/* act16_tables.h: how nibble tables hold activations in two planes, on AVX2 and NEON alike.
 * Layer: compute.
 *
 * A sum of four activations lies in -65532..65532; 65536 more makes it 4..131068, 17 bits, which
 * are split into parts of 6, 6 and 5: four lookups of 6 bits or eight of 5 fit a byte when added.
 * Three tables thus do what two times two of one plane each would. For every weight byte k: the
 * low parts of its lower nibble and of its upper one, the middle ones, the high ones: 96 bytes.
 * Then the scales, [group][token]. */
#ifndef SIGNUM_ACT16_TABLES_H
#define SIGNUM_ACT16_TABLES_H

#include "kernels.h"

enum {
    WIDE_BYTE = 96,              /* of tables for one weight byte */
    WIDE_GROUP = 16 * WIDE_BYTE, /* for one group and token */
    WIDE_BIAS = 32 * 65536,      /* what 32 lookups are too large by */
};

static size_t wide_tables_bytes(size_t groups, size_t tokens) { return groups * tokens * (WIDE_GROUP + sizeof(float)); }

#endif
