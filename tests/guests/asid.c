/* Address-space identifiers: spaces switched without a fence, global pages, and fences for one space or one address. */
#include "paging.h"

enum { WINDOW = 0x1000000, OTHER = WINDOW + 3 * PAGE, SPACES = 4 };

static uint64_t read(uint64_t address)
{
    return *(volatile uint64_t *)address;
}

int guest(uint64_t hart, const void *device_tree)
{
    (void)hart, (void)device_tree;
    int wrong = 0;
    struct space spaces[SPACES];
    uint64_t *pages[SPACES], *entries[SPACES], *spare = new_page();
    for (uint64_t i = 0; i < SPACES; i++) {
        spaces[i] = new_space(SV39);
        pages[i] = new_page();
        pages[i][0] = 100 + i;
        entries[i] = map_page(spaces[i], WINDOW, (uint64_t)pages[i], 0, PTE_RW);
        map_page(spaces[i], OTHER, (uint64_t)pages[i], 0, PTE_RW);
    }
    spare[0] = 999;
    csr_write(satp, (uint64_t)SV39 << 60 | 0xFFFFUL << 44 | (uint64_t)spaces[0].root >> 12);
    uint64_t largest = csr_read(satp) >> 44 & 0xFFFF;
    print("asids 0 to ");
    print_decimal(largest);
    print("\n");
    wrong += check("asid bits are the low ones", largest & (largest + 1), 0);
    if (largest < SPACES)
        return wrong;
    fence_all();

    for (int round = 0; round < 50; round++) /* no fence between */
        for (uint64_t i = 0; i < SPACES; i++) {
            wrong += check("satp", (uint64_t)activate(spaces[i], i + 1), 0);
            wrong += check("own page", read(WINDOW), 100 + i);
            *(volatile uint64_t *)(OTHER + 8) = i;
            wrong += check("own page written", pages[i][1], i);
        }
    for (uint64_t i = 0; i < SPACES; i++) {
        activate(spaces[i], i + 1);
        read(WINDOW);
    }
    *(volatile uint64_t *)entries[1] = (uint64_t)spare >> 12 << 10 | PTE_RW;
    __asm__ volatile("sfence.vma zero, %0" ::"r"(2UL) : "memory"); /* from another space */
    activate(spaces[1], 2);
    wrong += check("after a fence for the space", read(WINDOW), 999);
    wrong += check("other page of the space", read(OTHER), 101);
    *(volatile uint64_t *)entries[1] = (uint64_t)pages[2] >> 12 << 10 | PTE_RW;
    __asm__ volatile("sfence.vma %0, %1" ::"r"((uint64_t)WINDOW), "r"(2UL) : "memory");
    wrong += check("after a fence for the address and space", read(WINDOW), 102);
    *(volatile uint64_t *)entries[1] = (uint64_t)pages[3] >> 12 << 10 | PTE_RW;
    fence_address(WINDOW + 2048);
    wrong += check("after a fence for an address on the page", read(WINDOW), 103);
    *(volatile uint64_t *)entries[1] = 0;
    map_page(spaces[1], WINDOW, (uint64_t)pages[0], 0, PTE_RW | PTE_G);
    fence_all();
    wrong += check("a global page", read(WINDOW), 100);
    *(volatile uint64_t *)entries[1] = (uint64_t)spare >> 12 << 10 | PTE_RW | PTE_G;
    fence_address(WINDOW);
    wrong += check("a global page after a fence for its address", read(WINDOW), 999);
    csr_write(satp, 0); /* bare, then back, without a fence */
    wrong += check("bare", read((uint64_t)pages[2]), 102);
    activate(spaces[2], 3);
    return wrong + check("back", read(WINDOW), 102);
}
