/* Random instructions in S-mode with nothing to hold them: registers, satp, stvec and memory become what they become.
 * The machine may end or hang; the host lives. Boot argument: seed=N. */
#include "runtime.h"

static uint32_t code[65536] __attribute__((aligned(4096)));

int guest(uint64_t hart, const void *device_tree)
{
    (void)hart;
    uint64_t state = boot_number(device_tree, "seed", 1) * 2685821657736338717u + 1;
    for (size_t i = 0; i < sizeof code / sizeof *code; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        code[i] = (uint32_t)(state >> 20) | (state & 1 ? 3 : 0);
    }
    print("running garbage\n");
    __asm__ volatile("fence.i" ::: "memory");
    csr_write(stvec, (uint64_t)code + 4096 * 8); /* traps lead into more of it */
    __asm__ volatile("jr %0" ::"r"(code) : "memory");
    __builtin_unreachable();
}
