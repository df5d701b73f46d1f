/* Page strides through 64 MiB: every step reads and writes a word on the next page, every pass another word of it. */
#include "bench.h"

enum { AREA = 64 << 20, PAGE = 4096 };

static void setup(void)
{
    for (uint64_t at = 0; at < AREA; at += 8)
        *(uint64_t *)(arena + at) = at;
}

static uint64_t run(uint64_t rounds)
{
    uint64_t checksum = 0;
    for (uint64_t round = 0; round < rounds; round++) {
        unsigned char *word = arena + (round * 72) % PAGE;
        for (uint64_t page = 0; page < AREA / PAGE; page++, word += PAGE) {
            uint64_t value = *(uint64_t *)word;
            checksum += value;
            *(uint64_t *)word = value + round;
        }
    }
    return mix(checksum, arena[0]);
}

const struct program strides = {"strides", setup, run, 250};
