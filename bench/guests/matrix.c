/* Products of double-precision matrices, rows by columns. */
#include "bench.h"

enum { N = 96 };
typedef double matrix_t[N][N];

static void setup(void)
{
    matrix_t *m = (matrix_t *)arena;
    uint64_t state = 13;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            m[0][i][j] = (double)(int64_t)(random_next(&state) >> 44) * 0x1p-19 - 1.0;
            m[1][i][j] = (double)(int64_t)(random_next(&state) >> 44) * 0x1p-19 - 1.0;
        }
}

static __attribute__((noinline)) void multiply(matrix_t c, matrix_t a, matrix_t b)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0;
            for (int k = 0; k < N; k++)
                sum += a[i][k] * b[k][j];
            c[i][j] = sum;
        }
}

static uint64_t run(uint64_t rounds)
{
    matrix_t *m = (matrix_t *)arena;
    uint64_t checksum = 0;
    for (uint64_t round = 0; round < rounds; round++) {
        multiply(m[2], m[0], m[1]);
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++)
                m[0][i][j] = m[2][i][j] * (1.0 / 16); /* stays in range */
        checksum = mix(checksum, bits_of(m[2][round % N][round * 7 % N]));
    }
    return checksum;
}

const struct program matrix = {"matrix", setup, run, 130};
