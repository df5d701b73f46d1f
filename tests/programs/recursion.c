/* Recursion: deep, mutual, branching, through pointers, with many arguments and large frames. */
#include "report.h"

#define APART __attribute__((noinline, noclone))

static APART uint64_t fibonacci(unsigned n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static APART unsigned ackermann(unsigned m, unsigned n)
{
    return !m ? n + 1 : !n ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

static APART int is_odd(unsigned n);
static APART int is_even(unsigned n)
{
    return n ? is_odd(n - 1) : 1;
}
static APART int is_odd(unsigned n)
{
    return n ? is_even(n - 1) : 0;
}

static APART unsigned queens(unsigned all, unsigned columns, unsigned left, unsigned right)
{
    unsigned found = columns == all;
    for (unsigned free = all & ~(columns | left | right); free; free &= free - 1) {
        unsigned place = free & -free;
        found += queens(all, columns | place, (left | place) << 1, (right | place) >> 1);
    }
    return found;
}

static APART void hanoi(int disks, int from, int to, int over)
{
    if (!disks)
        return;
    hanoi(disks - 1, from, over, to);
    value((uint64_t)(disks * 16 + from * 4 + to));
    hanoi(disks - 1, over, to, from);
}

static APART long many(long a, int b, short c, char d, long e, int f, long g, int h, long on_stack, signed char narrow, double real)
{
    return a <= 0 ? (long)(real * 4) + b + c + d + e + f + g + h + on_stack + narrow
                  : many(a - 1, b + 1, (short)(c * 3), (char)(d ^ 1), on_stack, f - b, e, h + 7, g + a, (signed char)(narrow + 101), real * 1.5) ^ a;
}

static APART uint64_t deep(unsigned depth)
{
    volatile uint64_t frame[32];
    frame[depth & 31] = depth;
    uint64_t below = depth ? deep(depth - 1) : 1;
    return below * 3 + frame[depth & 31];
}

typedef uint64_t step(void *self, unsigned n);
static APART uint64_t collatz(void *self, unsigned n)
{
    step *again = *(step **)self;
    return n == 1 ? 0 : 1 + again(self, n & 1 ? 3 * n + 1 : n / 2);
}

int recursion(void)
{
    step *pointer = collatz;
    row("functions");
    value(fibonacci(21));
    value(ackermann(2, 60));
    value((uint64_t)is_even(4001));
    value(queens((1 << 8) - 1, 0, 0, 0));
    value(deep(3000));
    value((uint64_t)many(20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0.25));
    row("hanoi");
    hanoi(10, 0, 1, 2);
    row("collatz");
    for (unsigned n = 1; n < 2000; n++)
        value(collatz(&pointer, n));
    return 255;
}
