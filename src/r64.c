#include "r64.h"

#include <string.h>

/* Where the scale of a row is among the 64 of its block. */
static size_t scale_offset(size_t row) { return 2 * (row % 4 * 16 + row / 4); }

void r64_from_rows(uint8_t *blocks, const uint8_t *rows, size_t n, size_t groups)
{
    size_t stride = groups * Q1_BYTES;
    for (size_t g = 0; g < groups; g++, blocks += R64_BLOCK_BYTES) {
        if (n < R64_ROWS)
            memset(blocks, 0, R64_BLOCK_BYTES);
        for (size_t r = 0; r < n; r++) {
            const uint8_t *group = rows + r * stride + g * Q1_BYTES;
            memcpy(blocks + scale_offset(r), group, 2);
            for (size_t k = 0; k < 16; k++)
                blocks[R64_SCALE_BYTES + k * R64_ROWS + r] = group[2 + k];
        }
    }
}

/* Group g of one row. */
static void row_group(uint8_t group[Q1_BYTES], const uint8_t *blocks, size_t row, size_t g)
{
    const uint8_t *block = blocks + g * R64_BLOCK_BYTES;
    memcpy(group, block + scale_offset(row), 2);
    for (size_t k = 0; k < 16; k++)
        group[2 + k] = block[R64_SCALE_BYTES + k * R64_ROWS + row];
}

void r64_to_rows(uint8_t *rows, const uint8_t *blocks, size_t n, size_t groups)
{
    for (size_t g = 0; g < groups; g++)
        for (size_t r = 0; r < n; r++)
            row_group(rows + (r * groups + g) * Q1_BYTES, blocks, r, g);
}

void r64_dequantize_row(float *dst, const uint8_t *matrix, size_t row, size_t cols)
{
    size_t groups = cols / GROUP;
    const uint8_t *blocks = matrix + row / R64_ROWS * groups * R64_BLOCK_BYTES;
    for (size_t g = 0; g < groups; g++) {
        uint8_t group[Q1_BYTES];
        row_group(group, blocks, row % R64_ROWS, g);
        quant_dequantize(QUANT_Q1_0, dst + g * GROUP, group, GROUP);
    }
}

bool r64_padding_is_zero(const uint8_t *matrix, size_t rows, size_t cols)
{
    size_t groups = cols / GROUP, n = rows % R64_ROWS, bits = 0;
    const uint8_t *blocks = matrix + rows / R64_ROWS * groups * R64_BLOCK_BYTES;
    for (size_t g = 0; n > 0 && g < groups; g++) {
        for (size_t r = n; r < R64_ROWS; r++) {
            uint8_t group[Q1_BYTES];
            row_group(group, blocks, r, g);
            for (size_t i = 0; i < Q1_BYTES; i++)
                bits |= group[i];
        }
    }
    return bits == 0;
}
