/* Self-modifying code: after fence.i the new instruction runs, on this page, across pages, and when code writes itself in a loop. */
#include "runtime.h"

enum { PAGE = 4096, LI_A0 = 0x00000513, RET = 0x00008067, ADDI_A0_A0 = 0x00050513 };

static uint32_t buffer[3 * PAGE / 4] __attribute__((aligned(4096)));

static void fence_i(void)
{
    __asm__ volatile("fence.i" ::: "memory");
}

static uint64_t call(void *code)
{
    return ((uint64_t(*)(void))code)();
}

static int replace(uint32_t *at)
{
    int wrong = 0;
    for (uint32_t value = 0; value < 500; value++) {
        at[0] = LI_A0 | value << 20;
        at[1] = RET;
        fence_i();
        wrong += check("replaced instruction", call(at), value);
    }
    return wrong;
}

/* One halfword of an instruction at a time, at an address that is not a multiple of 4. */
static int replace_half(uint16_t *at)
{
    int wrong = 0;
    for (uint32_t value = 1; value < 100; value++) {
        uint32_t instruction = LI_A0 | value << 20;
        at[0] = (uint16_t)instruction;
        at[1] = (uint16_t)(instruction >> 16);
        at[2] = 0x8082; /* c.ret */
        fence_i();
        wrong += check("halves", call(at), value);
        at[1] = (uint16_t)((instruction + (1u << 20)) >> 16);
        fence_i();
        wrong += check("second half replaced", call(at), value + 1);
    }
    return wrong;
}

/* A loop that raises the immediate of its own addi each time round: 1 + 2 + … */
static uint64_t self_raising(uint64_t rounds)
{
    uint64_t sum = 0, one = 1UL << 20;
    __asm__ volatile(".option push\n.option norvc\n"
                     ".balign 8\n"
                     "la t0, 2f\n"
                     "1: lw t1, 0(t0)\n"
                     "add t1, t1, %2\n"
                     "sw t1, 0(t0)\n"
                     "fence.i\n"
                     "2: addi %0, %0, 0\n"
                     "addi %1, %1, -1\n"
                     "bnez %1, 1b\n"
                     ".option pop\n"
                     : "+r"(sum), "+r"(rounds)
                     : "r"(one)
                     : "t0", "t1", "memory");
    return sum;
}

int guest(uint64_t hart, const void *device_tree)
{
    (void)hart, (void)device_tree;
    int wrong = replace(buffer);
    wrong += replace(&buffer[PAGE / 4 - 1]); /* two instructions on two pages */
    wrong += replace_half((uint16_t *)buffer + 1);
    wrong += replace_half((uint16_t *)buffer + PAGE - 1); /* one instruction on two pages */
    for (int i = 0; i < PAGE / 4; i++) /* a whole page of code at once */
        buffer[i] = i ? ADDI_A0_A0 | 1u << 20 : LI_A0;
    buffer[PAGE / 4] = RET;
    fence_i();
    wrong += check("a page of code", call(buffer), PAGE / 4 - 1);
    wrong += check("self-raising loop", self_raising(100), 100 * 101 / 2);
    return wrong;
}
