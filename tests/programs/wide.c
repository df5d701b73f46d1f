/* 128-bit integers: the compiler's own routines for them are long chains of carries, high products and shifts. */
#include "report.h"

typedef unsigned __int128 wide_t;
typedef __int128 signed_wide;

static void wide_value(wide_t x)
{
    value((uint64_t)x);
    value((uint64_t)(x >> 64));
}

static wide_t of(size_t high, size_t low)
{
    return (wide_t)integers[high] << 64 | integers[low];
}

static wide_t power(wide_t base, unsigned exponent, wide_t modulus)
{
    wide_t result = 1;
    for (; exponent; exponent >>= 1, base = base * base % modulus)
        if (exponent & 1)
            result = result * base % modulus;
    return result;
}

int wide(void)
{
    row("products");
    for (size_t a = 0; a < integer_count; a++)
        for (size_t b = 0; b < integer_count; b++) {
            wide_value((wide_t)integers[a] * integers[b]);
            wide_value((wide_t)((signed_wide)(int64_t)integers[a] * (int64_t)integers[b]));
            wide_value(of(a, b) * of(b, a));
        }
    row("quotients");
    for (size_t a = 0; a < integer_count; a++)
        for (size_t b = 1; b < integer_count; b++) {
            wide_t above = HIDDEN(integers[a]), below = HIDDEN(integers[b]);
            above = above << 64 | integers[b];
            wide_value(above / below);
            wide_value(above % below);
            wide_value((wide_t)((signed_wide)above / (signed_wide)below));
            wide_value((wide_t)((signed_wide)above % -(signed_wide)below));
            below |= (wide_t)integers[a] << 64;
            wide_value(above / below);
        }
    row("shifts");
    for (size_t a = 0; a < integer_count; a++)
        for (int by = 0; by < 128; by++) {
            wide_t x = of(a, integer_count - 1 - a);
            wide_value(x << by);
            wide_value(x >> by);
            wide_value((wide_t)((signed_wide)x >> by));
        }
    row("sums and comparisons");
    for (size_t a = 0; a < integer_count; a++)
        for (size_t b = 0; b < integer_count; b++) {
            wide_t x = of(a, b), y = of(b, a);
            wide_value(x + y);
            wide_value(x - y);
            value((x < y) | ((signed_wide)x < (signed_wide)y) << 1 | (x == y) << 2);
            value((uint64_t)__builtin_add_overflow(x, y, &x));
        }
    row("powers");
    for (unsigned n = 2; n < 80; n++)
        wide_value(power(n, 65537 * n, ((wide_t)1 << 61) - 1));
    return 3;
}
