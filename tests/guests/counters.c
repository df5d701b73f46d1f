/* The instruction count is exact: each instruction counts once, a taken trap's instruction does not. */
#include "traps.h"

#define COUNT(body) \
    ({ \
        uint64_t before, after; \
        __asm__ volatile(".balign 8\nrdinstret %0\n" body "\nrdinstret %1" : "=&r"(before), "=&r"(after)::"t0", "t1", "t2", "memory"); \
        after - before; \
    })

int guest(uint64_t hart, const void *device_tree)
{
    (void)hart, (void)device_tree;
    int wrong = 0;
    catch_traps();
    wrong += check("nothing between", COUNT(""), 1);
    wrong += check("ten nops", COUNT(".rept 10\nnop\n.endr"), 11);
    wrong += check("compressed and not", COUNT("c.nop\n.option push\n.option norvc\nnop\n.option pop\nc.nop"), 4);
    wrong += check("a loop", COUNT("li t0, 1000\n1: addi t0, t0, -1\nbnez t0, 1b"), 2002);
    wrong += check("a jump", COUNT("j 1f\nnop\nnop\n1:"), 2);
    wrong += check("memory", COUNT("addi sp, sp, -16\nsd t0, 0(sp)\nld t0, 0(sp)\naddi sp, sp, 16"), 5);
    wrong += check("a csr and a fence", COUNT("csrr t0, sstatus\nfence.i\ncsrr t1, time"), 4);
    uint64_t far = COUNT("li t0, 3000000\n1: addi t1, t0, 1\naddi t2, t1, 1\naddi t0, t0, -1\nbnez t0, 1b");
    wrong += check("twelve million", far - 12000000 < 4, 1);
    uint64_t first = csr_read(cycle), then = csr_read(cycle);
    wrong += check("cycles go on", then > first, 1);
    return wrong;
}
