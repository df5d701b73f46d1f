/* A pointer chase through 64 MiB: one cycle over all cache lines in random order, so almost every step is on another page. */
#include "bench.h"

enum { AREA = 64 << 20, LINE = 64, LINES = AREA / LINE };

struct line {
    struct line *next;
    uint64_t number;
    unsigned char rest[LINE - 16];
};

/* Sattolo's shuffle makes a permutation of one cycle. */
static void setup(void)
{
    struct line *lines = (struct line *)arena;
    uint64_t state = 19;
    for (uint64_t i = 0; i < LINES; i++) {
        lines[i].next = &lines[i];
        lines[i].number = i;
    }
    for (uint64_t i = LINES - 1; i > 0; i--) {
        uint64_t j = random_next(&state) % i;
        struct line *swapped = lines[i].next;
        lines[i].next = lines[j].next;
        lines[j].next = swapped;
    }
}

static uint64_t run(uint64_t rounds)
{
    const struct line *at = (struct line *)arena;
    uint64_t checksum = 0;
    for (uint64_t round = 0; round < rounds * 1000; round++) {
        checksum += at->number;
        at = at->next;
    }
    return mix(checksum, at->number);
}

const struct program chase = {"chase", setup, run, 4000};
