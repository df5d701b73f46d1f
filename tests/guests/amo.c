/* Every atomic memory operation's result, then counters that two harts raise at once and must not lose. */
#include "runtime.h"

enum { ROUNDS = 100000 };

#define AMO(name, type) \
    static uint64_t name(volatile void *at, uint64_t value) \
    { \
        uint64_t old; \
        __asm__ volatile(#type ".aqrl %0, %2, (%1)" : "=r"(old) : "r"(at), "r"(value) : "memory"); \
        return old; \
    }
AMO(swap_w, amoswap.w) AMO(add_w, amoadd.w) AMO(xor_w, amoxor.w) AMO(and_w, amoand.w) AMO(or_w, amoor.w)
AMO(min_w, amomin.w) AMO(max_w, amomax.w) AMO(minu_w, amominu.w) AMO(maxu_w, amomaxu.w)
AMO(swap_d, amoswap.d) AMO(add_d, amoadd.d) AMO(xor_d, amoxor.d) AMO(and_d, amoand.d) AMO(or_d, amoor.d)
AMO(min_d, amomin.d) AMO(max_d, amomax.d) AMO(minu_d, amominu.d) AMO(maxu_d, amomaxu.d)

static const struct {
    const char *what;
    uint64_t (*function)(volatile void *, uint64_t);
    uint64_t before, operand, after, result;
} cases[] = {
    {"amoswap.w", swap_w, 0x11111111F0000000, 0x2222222212345678, 0x1111111112345678, 0xFFFFFFFFF0000000},
    {"amoadd.w", add_w, 0x111111117FFFFFFF, 1, 0x1111111180000000, 0x7FFFFFFF},
    {"amoadd.w wraps", add_w, 0x11111111FFFFFFFF, 2, 0x1111111100000001, ~0UL},
    {"amoxor.w", xor_w, 0x11111111FF00FF00, 0x0FF00FF0, 0x11111111F0F0F0F0, 0xFFFFFFFFFF00FF00},
    {"amoand.w", and_w, 0x11111111FF00FF00, 0x0FF00FF0, 0x111111110F000F00, 0xFFFFFFFFFF00FF00},
    {"amoor.w", or_w, 0x11111111FF00FF00, 0x0FF00FF0, 0x11111111FFF0FFF0, 0xFFFFFFFFFF00FF00},
    {"amomin.w", min_w, 0x1111111100000001, 0xFFFFFFFF, 0x11111111FFFFFFFF, 1},
    {"amomax.w", max_w, 0x1111111180000000, 0, 0x1111111100000000, 0xFFFFFFFF80000000},
    {"amominu.w", minu_w, 0x1111111180000000, 0x1234567800000001, 0x1111111100000001, 0xFFFFFFFF80000000},
    {"amomaxu.w", maxu_w, 0x1111111100000001, 0x80000000, 0x1111111180000000, 1},
    {"amoswap.d", swap_d, 5, 0x123456789ABCDEF0, 0x123456789ABCDEF0, 5},
    {"amoadd.d", add_d, ~0UL, 3, 2, ~0UL},
    {"amoxor.d", xor_d, 0xFF00FF00FF00FF00, 0x0FF00FF00FF00FF0, 0xF0F0F0F0F0F0F0F0, 0xFF00FF00FF00FF00},
    {"amoand.d", and_d, 0xFF00FF00FF00FF00, 0x0FF00FF00FF00FF0, 0x0F000F000F000F00, 0xFF00FF00FF00FF00},
    {"amoor.d", or_d, 0xFF00FF00FF00FF00, 0x0FF00FF00FF00FF0, 0xFFF0FFF0FFF0FFF0, 0xFF00FF00FF00FF00},
    {"amomin.d", min_d, 1, ~0UL, ~0UL, 1},
    {"amomax.d", max_d, 1UL << 63, 7, 7, 1UL << 63},
    {"amominu.d", minu_d, 1UL << 63, 7, 7, 1UL << 63},
    {"amomaxu.d", maxu_d, 7, ~0UL, ~0UL, 7},
};

static int results(void)
{
    static uint64_t word;
    int wrong = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        word = cases[i].before;
        uint64_t result = cases[i].function(&word, cases[i].operand);
        int differs = check("result", result, cases[i].result) + check("memory", word, cases[i].after);
        if (differs) {
            print("  of ");
            print(cases[i].what);
            print("\n");
        }
        wrong += differs;
    }
    word = 0; /* the upper half of a doubleword */
    add_w((uint32_t *)&word + 1, 9);
    return wrong + check("upper half", word, 9UL << 32);
}

static struct {
    volatile uint64_t sum, bits, largest;
    volatile uint32_t narrow[2];
    volatile uint64_t swapped, swapped_out[2];
} shared __attribute__((aligned(64)));
static volatile uint64_t ready, done;

static void raise_counters(uint64_t me)
{
    add_d(&ready, 1);
    while (ready != 2)
        ;
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        add_d(&shared.sum, i);
        add_w(&shared.narrow[0], 1);
        add_w(&shared.narrow[1], (uint64_t)-1);
        xor_d(&shared.bits, 1UL << (i % 64));
        max_d(&shared.largest, i * 2 + me);
        shared.swapped_out[me] += swap_d(&shared.swapped, i);
    }
    add_d(&done, 1);
}

static void second(uint64_t hart, void *argument)
{
    (void)hart, (void)argument;
    raise_counters(1);
}

int guest(uint64_t hart, const void *device_tree)
{
    (void)device_tree;
    int wrong = results();
    wrong += check("start", (uint64_t)start_hart(other_hart(hart), second, NULL), 0);
    raise_counters(0);
    while (done != 2)
        ;
    uint64_t sum = (uint64_t)ROUNDS * (ROUNDS + 1);
    wrong += check("amoadd.d", shared.sum, sum);
    wrong += check("amoadd.w", shared.narrow[0], 2 * ROUNDS);
    wrong += check("amoadd.w next to it", shared.narrow[1], (uint32_t)(-2 * ROUNDS));
    wrong += check("amoxor.d", shared.bits, 0);
    wrong += check("amomax.d", shared.largest, ROUNDS * 2 + 1);
    return wrong + check("amoswap.d", shared.swapped + shared.swapped_out[0] + shared.swapped_out[1], sum);
}
