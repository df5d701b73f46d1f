/* Guests that can never go on; the machine ends with a message, the host lives. Without a define: jumps into nowhere with a trap vector
 * in nowhere, a trap that can never be taken. NESTED: a handler whose third instruction traps. RETURNING: a handler that returns
 * to what trapped. PAGED: a vector on a page that is not mapped. SECOND: it is the second hart that is lost. */
#include "runtime.h"

#ifdef NESTED
__asm__(".balign 4\nvector: csrrw sp, sscratch, sp\n bnez sp, 1f\n1: ebreak\n");
#else
__asm__(".balign 4\nvector: sret\n");
#endif
extern const char vector[];

#ifdef PAGED
static uint64_t table[512] __attribute__((aligned(4096))); /* nothing is mapped, not even what comes next */
#endif

static void lose(void)
{
#if defined(NESTED) || defined(RETURNING)
    csr_write(stvec, (uint64_t)vector);
#else
    csr_write(stvec, 1UL << 40);
#endif
#ifdef PAGED
    csr_write(satp, 8UL << 60 | (uint64_t)table >> 12);
#endif
    __asm__ volatile("jr %0" ::"r"(1UL << 41));
    __builtin_unreachable();
}

#ifdef SECOND
static void second(uint64_t hart, void *argument)
{
    (void)hart, (void)argument;
    lose();
}
#endif

int guest(uint64_t hart, const void *device_tree)
{
    (void)hart, (void)device_tree, (void)vector;
    print("jumping into nowhere\n");
#ifdef SECOND
    start_hart(other_hart(hart), second, NULL);
    for (;;)
        ;
#else
    lose();
    return 0;
#endif
}
