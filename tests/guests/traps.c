/* Every exception that needs no paging, with the exact scause, stval and sepc. */
#include "traps.h"

#define NOWHERE (1UL << 40) /* no memory and no device there */
static uint64_t words[4] = {0x1122334455667788, 0x99AABBCCDDEEFF00, 0, 0};

#define AT(function) ((uint64_t)(function))

static int illegal_instructions(void)
{
    int wrong = 0;
    probe_illegal();
    wrong += check_trap("all ones", ILLEGAL, 0xFFFFFFFF, AT(probe_illegal));
    probe_illegal_compressed();
    wrong += check_trap("all zeros", ILLEGAL, 0, AT(probe_illegal_compressed));
    probe_missing_csr();
    wrong += check_trap("missing csr", ILLEGAL, 0x5C002573, AT(probe_missing_csr));
    probe_machine_csr();
    wrong += check_trap("mstatus from S-mode", ILLEGAL, 0x30002573, AT(probe_machine_csr));
    probe_read_only_csr();
    wrong += check_trap("write to cycle", ILLEGAL, 0xC0051073, AT(probe_read_only_csr));
    probe_mret();
    wrong += check_trap("mret from S-mode", ILLEGAL, 0x30200073, AT(probe_mret));
    csr_write(frm, 5);
    probe_dynamic_rounding();
    wrong += check_trap("reserved rounding mode", ILLEGAL, 0x02A57553 | 7 << 12, AT(probe_dynamic_rounding));
    csr_write(frm, 0);
    csr_clear(sstatus, 3 << 13);
    probe_dynamic_rounding();
    wrong += check_trap("floating point turned off", ILLEGAL, 0x02A57553 | 7 << 12, AT(probe_dynamic_rounding));
    csr_set(sstatus, 3 << 13);
    return wrong;
}

static int access_faults(void)
{
    int wrong = 0;
    probe_ld(NOWHERE + 8);
    wrong += check_trap("load from nowhere", LOAD_ACCESS, NOWHERE + 8, AT(probe_ld));
    probe_lbu(NOWHERE + 3);
    wrong += check_trap("byte from nowhere", LOAD_ACCESS, NOWHERE + 3, AT(probe_lbu));
    probe_sd(NOWHERE + 16, 1);
    wrong += check_trap("store to nowhere", STORE_ACCESS, NOWHERE + 16, AT(probe_sd));
    probe_lr_d(NOWHERE + 32);
    wrong += check_trap("lr from nowhere", LOAD_ACCESS, NOWHERE + 32, AT(probe_lr_d));
    probe_fld(NOWHERE + 40);
    wrong += check_trap("fld from nowhere", LOAD_ACCESS, NOWHERE + 40, AT(probe_fld));
    probe_jump(NOWHERE);
    wrong += check_trap("jump to nowhere", INSTRUCTION_ACCESS, NOWHERE, NOWHERE);
    return wrong;
}

static int misaligned(void)
{
    int wrong = 0;
    uint64_t at = (uint64_t)words;
    wrong += check("misaligned ld", probe_ld(at + 3), 0xEEFF001122334455);
    wrong += check("misaligned lw", probe_lw(at + 6), 0xFFFFFFFFFF001122);
    probe_sd(at + 13, 0x0102030405060708);
    wrong += check("misaligned sd, low", words[1], 0x060708CCDDEEFF00);
    wrong += check("misaligned sd, high", words[2], 0x0102030405);
    wrong += check_no_trap("misaligned loads and stores");
    probe_lr_d(at + 1);
    wrong += check_trap("misaligned lr.d", LOAD_MISALIGNED, at + 1, AT(probe_lr_d));
    return wrong;
}

int guest(uint64_t hart, const void *device_tree)
{
    (void)hart, (void)device_tree;
    catch_traps();
    int wrong = illegal_instructions();
    probe_ebreak();
    wrong += check_trap("ebreak", BREAKPOINT, caught.stval ? AT(probe_ebreak) : 0, AT(probe_ebreak)); /* stval: the address, or zero */
    wrong += access_faults();
    return wrong + misaligned();
}
