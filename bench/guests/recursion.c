/* Calls and returns: Fibonacci, Ackermann, the towers of Hanoi, and queens on a board. */
#include "bench.h"

#define CALLED __attribute__((noinline, noclone, optimize("no-optimize-sibling-calls")))

static CALLED uint64_t fibonacci(uint64_t n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static CALLED uint64_t ackermann(uint64_t m, uint64_t n)
{
    if (m == 0)
        return n + 1;
    if (n == 0)
        return ackermann(m - 1, 1);
    return ackermann(m - 1, ackermann(m, n - 1));
}

static CALLED uint64_t hanoi(unsigned disks, unsigned from, unsigned to, unsigned spare)
{
    if (!disks)
        return 0;
    uint64_t before = hanoi(disks - 1, from, spare, to);
    return before + from * 3 + to + hanoi(disks - 1, spare, to, from);
}

static CALLED uint64_t queens(uint32_t columns, uint32_t left, uint32_t right, uint32_t all)
{
    if (columns == all)
        return 1;
    uint64_t found = 0;
    for (uint32_t free = all & ~(columns | left | right); free; free &= free - 1) {
        uint32_t here = free & -free;
        found += queens(columns | here, (left | here) << 1, (right | here) >> 1, all);
    }
    return found;
}

static uint64_t run(uint64_t rounds)
{
    uint64_t checksum = 0;
    for (uint64_t round = 0; round < rounds; round++) {
        checksum = mix(checksum, fibonacci(20 + (round & 3)));
        checksum = mix(checksum, ackermann(2, 60 + (round & 7)));
        checksum = mix(checksum, hanoi(13, 1, 2, 3));
        checksum = mix(checksum, queens(0, 0, 0, 0xFF));
    }
    return checksum;
}

const struct program recursion = {"recursion", NULL, run, 1200};
