/* Copies of many lengths and alignments, as a C library would make them: words where it can, bytes where it must. */
#include "bench.h"

enum { AREA = 256 << 10 };

static __attribute__((noinline)) void copy(unsigned char *to, const unsigned char *from, size_t length)
{
    if ((((uintptr_t)to ^ (uintptr_t)from) & 7) == 0) {
        for (; length && ((uintptr_t)to & 7); length--)
            *to++ = *from++;
        for (; length >= 64; length -= 64, to += 64, from += 64) {
            uint64_t *t = (uint64_t *)to;
            const uint64_t *f = (const uint64_t *)from;
            uint64_t a = f[0], b = f[1], c = f[2], d = f[3];
            t[0] = a, t[1] = b, t[2] = c, t[3] = d;
            a = f[4], b = f[5], c = f[6], d = f[7];
            t[4] = a, t[5] = b, t[6] = c, t[7] = d;
        }
        for (; length >= 8; length -= 8, to += 8, from += 8)
            *(uint64_t *)to = *(const uint64_t *)from;
    }
    for (; length; length--)
        *to++ = *from++;
}

static void setup(void)
{
    uint64_t state = 9;
    for (size_t i = 0; i < 2 * AREA; i += 8)
        *(uint64_t *)(arena + i) = random_next(&state);
}

static uint64_t run(uint64_t rounds)
{
    uint64_t state = 11, checksum = 0;
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t dice = random_next(&state);
        size_t from = dice % (AREA / 2), to = AREA + (dice >> 20) % (AREA / 2);
        copy(arena + (to & ~7UL), arena + (from & ~7UL), 4096 + (dice >> 44) % 65536); /* big and aligned */
        for (int i = 0; i < 16; i++) {
            dice = random_next(&state);
            from = dice % (AREA / 2), to = AREA + (dice >> 20) % (AREA / 2);
            copy(arena + to, arena + from, (dice >> 44) % 64); /* short, as they come */
        }
        copy(arena, arena + AREA, 8192);
        checksum = mix(checksum, *(uint64_t *)(arena + (to & ~7UL)));
    }
    return checksum;
}

const struct program copying = {"copying", setup, run, 100000};
