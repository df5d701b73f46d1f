/* Faults of translation under Sv39, and of accesses that straddle two pages, with the exact scause, stval and sepc. */
#include "paging.h"
#include "traps.h"

#define AT(function) ((uint64_t)(function))
#define NON_CANONICAL (1UL << 38) /* bit 38 set, the bits above it clear */
enum { RW = 0x1000000, HOLE = RW + PAGE, READ_ONLY = RW + 2 * PAGE, CODE = RW + 3 * PAGE, AFTER_CODE = CODE + PAGE, RESERVED = RW + 8 * PAGE };

static void map_all(struct space space, void *page, uint32_t *code)
{
    map_page(space, RW, (uint64_t)page, 0, PTE_RW);
    map_page(space, READ_ONLY, (uint64_t)page, 0, PTE_V | PTE_R | PTE_A | PTE_D);
    map_page(space, CODE, (uint64_t)code, 0, PTE_V | PTE_R | PTE_X | PTE_A);
    map_page(space, RESERVED, (uint64_t)page, 0, PTE_V | PTE_W | PTE_A | PTE_D);              /* W without R is reserved */
    map_page(space, RESERVED + PAGE, (uint64_t)page, 0, PTE_RW | 1UL << 60);                  /* a reserved bit */
    map_page(space, RESERVED + 2 * PAGE, (uint64_t)page, 0, PTE_V);                           /* a pointer on the last level */
    map_page(space, 0x40000000, (uint64_t)page, 1, PTE_RW);                                   /* a misaligned superpage */
}

static int missing(void)
{
    int wrong = 0;
    probe_ld(HOLE + 8);
    wrong += check_trap("load", LOAD_PAGE, HOLE + 8, AT(probe_ld));
    probe_sd(HOLE + 16, 0);
    wrong += check_trap("store", STORE_PAGE, HOLE + 16, AT(probe_sd));
    probe_amoadd_w(READ_ONLY + 4, 1);
    wrong += check_trap("amo on a read-only page", STORE_PAGE, READ_ONLY + 4, AT(probe_amoadd_w));
    probe_lr_w(HOLE + 4);
    wrong += check_trap("lr", LOAD_PAGE, HOLE + 4, AT(probe_lr_w));
    probe_fsd(HOLE + 24);
    wrong += check_trap("fsd", STORE_PAGE, HOLE + 24, AT(probe_fsd));
    probe_jump(HOLE + 32);
    wrong += check_trap("jump", INSTRUCTION_PAGE, HOLE + 32, HOLE + 32);
    probe_jump(RW);
    wrong += check_trap("jump to data", INSTRUCTION_PAGE, RW, RW);
    probe_sd(READ_ONLY, 0);
    wrong += check_trap("store to a read-only page", STORE_PAGE, READ_ONLY, AT(probe_sd));
    probe_ld(NON_CANONICAL);
    wrong += check_trap("non-canonical load", LOAD_PAGE, NON_CANONICAL, AT(probe_ld));
    probe_jump(NON_CANONICAL);
    return wrong + check_trap("non-canonical jump", INSTRUCTION_PAGE, NON_CANONICAL, NON_CANONICAL);
}

static int reserved(void)
{
    int wrong = 0;
    for (uint64_t address = RESERVED; address < RESERVED + 3 * PAGE; address += PAGE) {
        probe_ld(address);
        wrong += check_trap("reserved entry", LOAD_PAGE, address, AT(probe_ld));
    }
    probe_ld(0x40000008);
    return wrong + check_trap("misaligned superpage", LOAD_PAGE, 0x40000008, AT(probe_ld));
}

static int straddling(uint8_t *page, uint32_t *code)
{
    int wrong = 0;
    probe_ld(HOLE - 4);
    wrong += check_trap("load into a hole", LOAD_PAGE, HOLE, AT(probe_ld));
    probe_ld(READ_ONLY - 4);
    wrong += check_trap("load out of a hole", LOAD_PAGE, READ_ONLY - 4, AT(probe_ld));
    page[PAGE - 2] = page[PAGE - 1] = 0x5A;
    probe_sw(HOLE - 2, 0x01020304);
    wrong += check_trap("store into a hole", STORE_PAGE, HOLE, AT(probe_sw));
    wrong += check("nothing stored", (uint64_t)page[PAGE - 2] << 8 | page[PAGE - 1], 0x5A5A);
    uint64_t last = CODE + PAGE - 2; /* the first half of a 4-byte instruction, addi a0, a0, 1 */
    ((uint16_t *)code)[PAGE / 2 - 1] = 0x0513;
    __asm__ volatile("fence.i" ::: "memory");
    probe_jump(last);
    return wrong + check_trap("instruction into a hole", INSTRUCTION_PAGE, AFTER_CODE, last);
}

int guest(uint64_t hart, const void *device_tree)
{
    (void)hart, (void)device_tree;
    struct space space = new_space(SV39);
    uint8_t *page = new_page();
    uint32_t *code = new_page();
    map_all(space, page, code);
    int wrong = check("satp", (uint64_t)activate(space, 0), 0);
    fence_all();
    catch_traps();
    wrong += missing();
    wrong += reserved();
    return wrong + straddling(page, code);
}
