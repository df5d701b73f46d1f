/* What a benchmark program is: setup once (not timed), then run(rounds) (timed), which returns a checksum.
 * No program calls a library: the same source runs under Linux and on the bare machine. */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

struct program {
    const char *name;
    void (*setup)(void);             /* may be NULL */
    uint64_t (*run)(uint64_t rounds);
    uint64_t rounds;                 /* at scale 100 */
};

enum { ARENA_SIZE = 72 << 20 };
extern unsigned char arena[ARENA_SIZE]; /* page-aligned, content undefined */

/* The rounds of one step of a warm-up, which takes a small part of a second. */
static inline uint64_t warming_rounds(const struct program *program)
{
    uint64_t rounds = program->rounds / 32;
    return rounds ? rounds : 1;
}

/* The next of a reproducible sequence of 64-bit numbers (a Weyl sequence through a mixing function). */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += 0xD1342543DE82EF95u);
    z = (z ^ (z >> 32)) * 0xDABA0B6EB09322E3u;
    z = (z ^ (z >> 29)) * 0xDABA0B6EB09322E3u;
    return z ^ (z >> 32);
}

static inline uint64_t mix(uint64_t checksum, uint64_t value)
{
    return (checksum ^ value) * 0x9E3779B97F4A7C15u + (checksum >> 29);
}

/* The bits of a double, for checksums. */
static inline uint64_t bits_of(double value)
{
    uint64_t bits;
    __asm__("fmv.x.d %0, %1" : "=r"(bits) : "f"(value));
    return bits;
}
#endif
