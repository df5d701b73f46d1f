/* Pages of every size in the address space MODE: 8 is Sv39, 9 Sv48, 10 Sv57. */
#include "paging.h"
#include "traps.h"

enum { LEVELS = MODE - SV39 + 3, WIDTH = 12 + 9 * LEVELS };
#define AT(function) ((uint64_t)(function))

static uint64_t size_of(int level)
{
    return 1UL << (12 + 9 * level);
}

/* An address in the upper half too: bits above WIDTH copy the highest. */
static uint64_t high(uint64_t address)
{
    return address | ~0UL << (WIDTH - 1);
}

static int one_size(struct space space, int level, uint64_t *word)
{
    /* RAM begins at 2 GiB: larger superpages begin at 0 and hold it at the same offset. */
    uint64_t physical = (uint64_t)word & ~(size_of(level) - 1), offset = (uint64_t)word - physical;
    uint64_t top = size_of(LEVELS - 1);
    uint64_t low = level == LEVELS - 1 ? 9 * top : 9 * top + 5 * size_of(level);
    int wrong = 0;
    map_page(space, low, physical, level, PTE_RW);
    map_page(space, high(low), physical, level, PTE_V | PTE_R | PTE_A);
    fence_all();
    *word = 0x1000 + (uint64_t)level;
    wrong += check("read", probe_ld(low + offset), *word);
    wrong += check("read in the upper half", probe_ld(high(low) + offset), *word);
    probe_sd(low + offset, 0x2000 + (uint64_t)level);
    wrong += check("written", *(volatile uint64_t *)word, 0x2000 + (uint64_t)level);
    wrong += check_no_trap("allowed accesses");
    probe_sd(high(low) + offset, 0);
    wrong += check_trap("store to a read-only page", STORE_PAGE, high(low) + offset, AT(probe_sd));
    if (wrong) {
        print("  on level ");
        print_decimal((uint64_t)level);
        print("\n");
    }
    return wrong;
}

/* Either the machine sets A and D itself, or it faults (Svade): never neither. */
static int accessed_and_dirty(struct space space, uint64_t *page)
{
    enum { WHERE = 0x123 << 12 };
    int wrong = 0;
    uint64_t *entry = map_page(space, WHERE, (uint64_t)page, 0, PTE_V | PTE_R | PTE_W);
    fence_all();
    probe_ld(WHERE);
    int faulted = caught.count != 0;
    wrong += faulted ? check_trap("A clear", LOAD_PAGE, WHERE, AT(probe_ld)) : check("A was set", *entry & (PTE_A | PTE_D), PTE_A);
    *entry |= PTE_A;
    fence_all();
    wrong += check("read", probe_ld(WHERE), page[0]);
    probe_sd(WHERE, 42);
    wrong += faulted ? check_trap("D clear", STORE_PAGE, WHERE, AT(probe_sd)) : check("D was set", *entry & PTE_D, PTE_D);
    *entry |= PTE_D;
    fence_all();
    probe_sd(WHERE, 43);
    wrong += check("stored", *(volatile uint64_t *)page, 43);
    return wrong + check_no_trap("A and D set");
}

static int wrong_addresses(struct space space, uint64_t *page)
{
    int wrong = 0;
    uint64_t beyond = 1UL << WIDTH;
    map_page(space, 0x1000, (uint64_t)page, 0, PTE_RW);
    fence_all();
    probe_ld(0x1000);
    wrong += check_no_trap("below");
    if (MODE != SV57 || WIDTH < 64) {
        probe_ld(beyond | 0x1000);
        wrong += check_trap("a bit above the space", LOAD_PAGE, beyond | 0x1000, AT(probe_ld));
        probe_sd(1UL << 63 | 0x1000, 0);
        wrong += check_trap("the highest bit alone", STORE_PAGE, 1UL << 63 | 0x1000, AT(probe_sd));
    }
    return wrong;
}

int guest(uint64_t hart, const void *device_tree)
{
    (void)hart, (void)device_tree;
    uint64_t *page = new_page();
    struct space space = new_space(MODE);
    int wrong = check("satp takes the mode", (uint64_t)activate(space, 0), 0);
    if (wrong)
        return wrong;
    fence_all();
    catch_traps();
    for (int level = 0; level < LEVELS; level++)
        wrong += one_size(space, level, page);
    wrong += accessed_and_dirty(space, page);
    wrong += wrong_addresses(space, page);
    csr_write(satp, 11UL << 60); /* a mode that does not exist: the write has no effect */
    return wrong + check("satp keeps its mode", csr_read(satp) >> 60, MODE);
}
