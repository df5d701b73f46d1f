/* LR and SC on one hart, and counters that two harts raise with them. */
#include "runtime.h"

enum { ROUNDS = 100000 };

static uint64_t lr(volatile uint64_t *at)
{
    uint64_t value;
    __asm__ volatile("lr.d.aq %0, (%1)" : "=r"(value) : "r"(at) : "memory");
    return value;
}

static uint64_t sc(volatile uint64_t *at, uint64_t value)
{
    uint64_t failed;
    __asm__ volatile("sc.d.rl %0, %2, (%1)" : "=r"(failed) : "r"(at), "r"(value) : "memory");
    return failed;
}

static uint64_t raise_d(volatile uint64_t *at)
{
    uint64_t old, scratch;
    __asm__ volatile("1: lr.d.aqrl %0, (%2)\naddi %1, %0, 1\nsc.d.aqrl %1, %1, (%2)\nbnez %1, 1b" : "=&r"(old), "=&r"(scratch) : "r"(at) : "memory");
    return old;
}

static uint64_t raise_w(volatile uint32_t *at)
{
    uint64_t old, scratch;
    __asm__ volatile("1: lr.w.aqrl %0, (%2)\naddi %1, %0, 1\nsc.w.aqrl %1, %1, (%2)\nbnez %1, 1b" : "=&r"(old), "=&r"(scratch) : "r"(at) : "memory");
    return old;
}

static volatile uint64_t word, far_words[1024], ready, done, wide;
static volatile uint32_t narrow[2];

static int alone(void)
{
    int wrong = 0;
    word = 5;
    lr(&word);
    while (sc(&word, 6)) /* may fail for no reason, but not for ever */
        lr(&word);
    wrong += check("after sc", word, 6);
    wrong += check("second sc fails", sc(&word, 7), 1);
    wrong += check("and stores nothing", word, 6);
    lr(&word);
    wrong += check("sc elsewhere fails", sc(&far_words[600], 1), 1);
    wrong += check("and stores nothing there", far_words[600], 0);
    wrong += check("and ends the reservation", sc(&word, 8), 1);
    narrow[1] = 0xFFFFFFFF;
    wrong += check("lr.w extends the sign, sc.w stores a word", raise_w(&narrow[1]), ~0UL);
    wrong += check("beside it", narrow[0], 0);
    return wrong + check("itself", narrow[1], 0);
}

static void raise_counters(void)
{
    raise_d(&ready);
    while (ready != 2)
        ;
    for (int i = 0; i < ROUNDS; i++) {
        raise_d(&wide);
        raise_w(&narrow[0]);
        raise_w(&narrow[1]);
    }
    raise_d(&done);
}

static void second(uint64_t hart, void *argument)
{
    (void)hart, (void)argument;
    raise_counters();
}

int guest(uint64_t hart, const void *device_tree)
{
    (void)device_tree;
    int wrong = alone();
    wrong += check("start", (uint64_t)start_hart(other_hart(hart), second, NULL), 0);
    raise_counters();
    while (done != 2)
        ;
    wrong += check("lr.d", wide, 2 * ROUNDS);
    wrong += check("lr.w", narrow[0], 2 * ROUNDS);
    return wrong + check("lr.w next to it", narrow[1], 2 * ROUNDS);
}
