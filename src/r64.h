/* r64.h: Q1_0_R64, one-bit matrices with 64 rows side by side: the same bits and scales as
 * Q1_0, rearranged so that decoding reads strictly ascending addresses and a vector
 * register receives one byte of every row without a transpose. Layer: compute.
 *
 *   block: 64 rows x 128 columns, 1152 bytes
 *
 *   OFFSET  SIZE  DESCRIPTION
 *        0   128  64 scales, binary16: of rows 0, 4, 8 .. 60, then 1, 5 .. 61, then 2 .., 3 ..
 *      128    64  byte 0 (weights 0 to 7 of the group) of rows 0, 1 .. 63
 *      192    64  byte 1 of the same, and so on to byte 15
 *
 * Blocks follow each other as they are read: the groups of 64 rows in ascending order, then
 * those of the next 64 rows. The last rows of a matrix are padded with zeros to 64.
 *
 * The order of the scales is that in which sums of rows come out of byte lanes: 32-bit lane
 * j of the i-th quarter of every lane is row 4 j + i. */
#ifndef SIGNUM_R64_H
#define SIGNUM_R64_H

#include "quant.h"

enum {
    R64_ROWS = 64,
    R64_SCALE_BYTES = 128,
    R64_BLOCK_BYTES = 1152,
    R64_TYPE_ID = 0x34364753, /* "SG64" in the file: no other program knows it, so none misreads it */
    R64_ALIGN = 64,           /* of a matrix in its file */
};

/* Bytes of a matrix; cols is a multiple of 128. */
static inline uint64_t r64_bytes(uint64_t rows, uint64_t cols) { return DIV_UP(rows, R64_ROWS) * (cols / GROUP) * R64_BLOCK_BYTES; }

/* 64 rows (or n < 64: the last ones of a matrix) from Q1_0 and back. rows: n x groups x 18
 * bytes; blocks: groups x 1152 bytes. */
void r64_from_rows(uint8_t *blocks, const uint8_t *rows, size_t n, size_t groups);
void r64_to_rows(uint8_t *rows, const uint8_t *blocks, size_t n, size_t groups);

/* One row of a matrix as floats. */
void r64_dequantize_row(float *dst, const uint8_t *matrix, size_t row, size_t cols);

/* Whether all that belongs to no row is 0, as it should be. */
bool r64_padding_is_zero(const uint8_t *matrix, size_t rows, size_t cols);

#endif
