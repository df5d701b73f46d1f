/* Jumps into nowhere with a trap vector in nowhere: a trap that can never be taken. The machine ends or is ended, the host lives. */
#include "runtime.h"

int guest(uint64_t hart, const void *device_tree)
{
    (void)hart, (void)device_tree;
    print("jumping into nowhere\n");
    csr_write(stvec, 1UL << 40);
    __asm__ volatile("jr %0" ::"r"(1UL << 41));
    __builtin_unreachable();
}
