/* Matrix products of the trainer in bf16 (AVX512_BF16): twice the rate of fp32 and, blocked for these narrow matrices,
 * more than twice what OpenBLAS reaches on them. Operands are rounded to bf16, sums stay fp32. The int8 activations have
 * seven bits and the weights one bit and a scale, so little is lost; scoring and perplexity use fp32 (net_exact).
 */
#include <immintrin.h>
#include <stdint.h>

enum {
    MR = 12,
    NR = 32,
    KB = 256
}; /* 24 accumulators of 16 floats; a B panel of 16 KB stays in L1 */

typedef struct {
    const float *p;
    size_t row, k;
} Operand; /* element (row, k) is p[row * row_stride + k * k_stride] */

static inline uint32_t round_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    return u + 0x7fff + (u >> 16 & 1);
}

static inline uint32_t pair(float lo, float hi) { return round_bits(lo) >> 16 | (round_bits(hi) & 0xffff0000u); }

/* Panel of `wide` rows from row r: for each pair of k, `wide` words. Beyond `rows` and `depth` there are zeros. */
static void pack_panel(Operand o, int r, int wide, int rows, int k0, int depth, uint32_t *out)
{
    int n = rows - r < wide ? rows - r : wide, half = depth / 2;
    if (o.k == 1) {
        for (int b = 0; b < half; b += 16) {
            uint32_t t[NR][16];
            int e = half - b < 16 ? half - b : 16;
            for (int i = 0; i < n; i++) {
                const float *x = o.p + (r + i) * o.row + k0 + 2 * b;
                if (e == 16)
                    for (int j = 0; j < 16; j++)
                        t[i][j] = pair(x[2 * j], x[2 * j + 1]);
                else
                    for (int j = 0; j < e; j++)
                        t[i][j] = pair(x[2 * j], x[2 * j + 1]);
            }
            for (int j = 0; j < e; j++) {
                for (int i = 0; i < n; i++)
                    out[(b + j) * wide + i] = t[i][j];
                for (int i = n; i < wide; i++)
                    out[(b + j) * wide + i] = 0;
            }
        }
        if (depth & 1)
            for (int i = 0; i < wide; i++)
                out[half * wide + i] = i < n ? pair(o.p[(r + i) * o.row + k0 + depth - 1], 0) : 0;
    } else { /* rows are contiguous */
        for (int j = 0; j < (depth + 1) / 2; j++) {
            const float *x = o.p + (k0 + 2 * j) * o.k + r, *y = x + o.k;
            int last = 2 * j + 1 == depth;
            if (n == wide && !last)
                for (int i = 0; i < wide; i++)
                    out[j * wide + i] = pair(x[i], y[i]);
            else
                for (int i = 0; i < wide; i++)
                    out[j * wide + i] = i < n ? pair(x[i], last ? 0 : y[i]) : 0;
        }
    }
}

static void tile(const uint32_t *a, const uint32_t *b, int pairs, float *c, size_t ldc, int rows, int add)
{
    __m512 s[MR][2];
    for (int i = 0; i < MR; i++)
        s[i][0] = s[i][1] = _mm512_setzero_ps();
    for (int k = 0; k < pairs; k++, a += MR, b += NR) {
        __m512bh b0 = (__m512bh)_mm512_load_si512(b), b1 = (__m512bh)_mm512_load_si512(b + 16);
#pragma GCC unroll 12
        for (int i = 0; i < MR; i++) {
            __m512bh x = (__m512bh)_mm512_set1_epi32(a[i]);
            s[i][0] = _mm512_dpbf16_ps(s[i][0], x, b0);
            s[i][1] = _mm512_dpbf16_ps(s[i][1], x, b1);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < MR; i++) {
        if (i >= rows)
            break;
        float *o = c + i * ldc;
        if (add) {
            s[i][0] = _mm512_add_ps(s[i][0], _mm512_loadu_ps(o));
            s[i][1] = _mm512_add_ps(s[i][1], _mm512_loadu_ps(o + 16));
        }
        _mm512_storeu_ps(o, s[i][0]);
        _mm512_storeu_ps(o + 16, s[i][1]);
    }
}

/* c[m][n] = (add ? c : 0) + a b^T for a of m rows and b of n rows; n is a multiple of 32, c has n columns. */
static void bf16_mm(Operand a, Operand b, int m, int n, int k, float *c, int add)
{
    static uint32_t *pa, *pb;
    static size_t ca, cb;
    int mp = (m + MR - 1) / MR, np = n / NR, half = (k + 1) / 2;
    size_t na = (size_t)mp * MR * half, nb = (size_t)np * NR * half;
    if (na > ca) {
        free(pa);
        pa = aligned_alloc(64, (na * 4 + 63) / 64 * 64);
        ca = na;
    }
    if (nb > cb) {
        free(pb);
        pb = aligned_alloc(64, (nb * 4 + 63) / 64 * 64);
        cb = nb;
    }
    uint32_t *qa = pa, *qb = pb;
#pragma omp parallel
    {
#pragma omp for schedule(static) nowait
        for (int p = 0; p < np; p++)
            for (int k0 = 0; k0 < k; k0 += KB)
                pack_panel(b, p * NR, NR, n, k0, k - k0 < KB ? k - k0 : KB, qb + (size_t)NR * half * p + (size_t)NR * k0 / 2);
#pragma omp for schedule(static)
        for (int p = 0; p < mp; p++)
            for (int k0 = 0; k0 < k; k0 += KB)
                pack_panel(a, p * MR, MR, m, k0, k - k0 < KB ? k - k0 : KB, qa + (size_t)MR * half * p + (size_t)MR * k0 / 2);
#pragma omp for schedule(dynamic, 1)
        for (int block = 0; block < mp; block += 8)
            for (int k0 = 0; k0 < k; k0 += KB) {
                int pairs = ((k - k0 < KB ? k - k0 : KB) + 1) / 2;
                for (int q = 0; q < np; q++)
                    for (int p = block; p < mp && p < block + 8; p++)
                        tile(qa + (size_t)MR * half * p + (size_t)MR * k0 / 2, qb + (size_t)NR * half * q + (size_t)NR * k0 / 2, pairs,
                             c + (size_t)p * MR * n + q * NR, n, m - p * MR, add || k0);
            }
    }
}
