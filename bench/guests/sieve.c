/* The sieve of Eratosthenes over a megabyte of flags, then over as many bits. */
#include "bench.h"

enum { LIMIT = 1 << 20 };

static uint64_t byte_sieve(uint8_t *flags)
{
    for (uint64_t i = 0; i < LIMIT; i += 8)
        *(uint64_t *)(flags + i) = 0x0101010101010101u;
    uint64_t count = 0;
    for (uint64_t i = 2; i < LIMIT; i++) {
        if (!flags[i])
            continue;
        count++;
        for (uint64_t j = i * i; j < LIMIT; j += i)
            flags[j] = 0;
    }
    return count;
}

static uint64_t bit_sieve(uint64_t *words)
{
    for (uint64_t i = 0; i < LIMIT / 64; i++)
        words[i] = ~0UL;
    uint64_t sum = 0;
    for (uint64_t i = 2; i < LIMIT; i++) {
        if (!(words[i >> 6] >> (i & 63) & 1))
            continue;
        sum += i;
        for (uint64_t j = i * i; j < LIMIT; j += i)
            words[j >> 6] &= ~(1UL << (j & 63));
    }
    return sum;
}

static uint64_t run(uint64_t rounds)
{
    uint64_t checksum = 0;
    for (uint64_t round = 0; round < rounds; round++) {
        checksum = mix(checksum, byte_sieve(arena));
        checksum = mix(checksum, bit_sieve((uint64_t *)(arena + LIMIT)));
    }
    return checksum;
}

const struct program sieve = {"sieve", NULL, run, 70};
