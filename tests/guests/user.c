/* U-mode: what it may do, what traps, and what S-mode sees of it (SPP, SUM, MXR, counters). */
#include "paging.h"
#include "traps.h"

enum { CODE = 0x1000000, DATA = 0x2000000, SUM = 1 << 18, MXR = 1 << 19 };

/* Copied to the user's page. */
__asm__(".balign 8\n.option push\n.option norvc\n"
        "user_code: addi a0, a0, 1\n ecall\n"          /* 0: a call */
        "ld a0, 0(a0)\n ecall\n"                       /* 8: a load */
        "csrr a0, sstatus\n ecall\n"                   /* 16: a register of S-mode */
        "sret\n sfence.vma\n"                          /* 24, 28: instructions of S-mode */
        "wfi\n ecall\n"                                /* 32 */
        "sd a1, 0(a0)\n ecall\n"                       /* 40: a store */
        "rdinstret a0\n ecall\n"                          /* 48: a counter */
        "user_code_end:\n.option pop\n");
extern const uint32_t user_code[], user_code_end[];

int guest(uint64_t hart, const void *device_tree)
{
    (void)hart, (void)device_tree;
    int wrong = 0;
    struct space space = new_space(SV39);
    uint32_t *code = new_page();
    uint64_t *data = new_page();
    for (int i = 0; user_code + i < user_code_end; i++)
        code[i] = user_code[i];
    data[1] = 0x123456789;
    map_page(space, CODE, (uint64_t)code, 0, PTE_V | PTE_X | PTE_U | PTE_A);
    map_page(space, DATA, (uint64_t)data, 0, PTE_RW | PTE_U);
    __asm__ volatile("fence.i" ::: "memory");
    wrong += check("satp", (uint64_t)activate(space, 0), 0);
    fence_all();
    catch_traps();

    wrong += check("result of the call", run_user(CODE, 41, 0, 0), 42);
    wrong += check_trap("ecall from U-mode", ECALL_U, 0, CODE + 4);
    wrong += check("user load", run_user(CODE + 8, DATA + 8, 0, 0), 0x123456789);
    wrong += check_trap("ecall after load", ECALL_U, 0, CODE + 12);
    run_user(CODE + 8, 0x80200000, 0, 0);
    wrong += check_trap("user load of S-mode's page", LOAD_PAGE, 0x80200000, CODE + 8);
    run_user(CODE + 40, CODE, 0, 0);
    wrong += check_trap("user store to its code", STORE_PAGE, CODE, CODE + 40);
    run_user(CODE + 16, 0, 0, 0);
    wrong += check_trap("csrr sstatus", ILLEGAL, 0x10002573, CODE + 16);
    run_user(CODE + 24, 0, 0, 0);
    wrong += check_trap("sret", ILLEGAL, 0x10200073, CODE + 24);
    run_user(CODE + 28, 0, 0, 0);
    wrong += check_trap("sfence.vma", ILLEGAL, 0x12000073, CODE + 28);
    csr_write(scounteren, 3);
    run_user(CODE + 48, 0, 0, 0);
    wrong += check_trap("rdinstret without leave", ILLEGAL, 0xC0202573, CODE + 48);
    csr_write(scounteren, 4);
    run_user(CODE + 48, 0, 0, 0);
    wrong += check_trap("rdinstret with leave", ECALL_U, 0, CODE + 52);
    run_user(0x80200000, 0, 0, 0);
    wrong += check_trap("user jump to S-mode's page", INSTRUCTION_PAGE, 0x80200000, 0x80200000);

    csr_clear(sstatus, SUM | MXR);
    probe_ld(DATA + 8);
    wrong += check_trap("load of U without SUM", LOAD_PAGE, DATA + 8, (uint64_t)probe_ld);
    csr_set(sstatus, SUM);
    wrong += check("load of U with SUM", probe_ld(DATA + 8), 0x123456789);
    probe_ld(CODE);
    wrong += check_trap("load of X without MXR", LOAD_PAGE, CODE, (uint64_t)probe_ld);
    csr_set(sstatus, MXR);
    wrong += check("load of X with MXR", probe_ld(CODE), *(const uint64_t *)user_code);
    wrong += check_no_trap("MXR");
    fence_all();
    probe_jump(CODE);
    wrong += check_trap("S-mode jump to U's page, even with SUM", INSTRUCTION_PAGE, CODE, CODE);
    csr_clear(sstatus, SUM | MXR);
    return wrong;
}
