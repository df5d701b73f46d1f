/* An idle machine: sleeps in wfi between timer interrupts and counts the instructions it ran. Boot argument: seconds=N. */
#include "runtime.h"

enum { STIE = 1 << 5, SIE = 1 << 1, WAKES = 10 };

static volatile uint64_t interrupts;

static void take(struct trap_frame *frame)
{
    (void)frame;
    interrupts++;
    csr_write(0x14D, ~0UL); /* stimecmp */
}

int guest(uint64_t hart, const void *device_tree)
{
    (void)hart;
    uint64_t step = timebase(device_tree) * boot_number(device_tree, "seconds", 1) / WAKES, start = csr_read(time), loops = 0;
    on_trap = take;
    csr_write(0x14D, ~0UL);
    csr_set(sie, STIE);
    csr_set(sstatus, SIE);
    print("idle\n");
    for (uint64_t i = 1; i <= WAKES; i++) {
        csr_write(0x14D, start + i * step);
        for (; interrupts < i; loops++)
            __asm__ volatile("wfi");
    }
    /* wfi may return early, but a machine that never sleeps there spins millions of times */
    int wrong = check("wfi slept", loops < 100000, 1);
    return wrong + check("guest time passed", csr_read(time) - start >= WAKES * step, 1);
}
