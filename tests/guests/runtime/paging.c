#include "paging.h"

enum { POOL = 96 };
static unsigned char pool[POOL][PAGE] __attribute__((aligned(PAGE)));
static int taken;

void *new_page(void)
{
    if (taken == POOL) {
        print("the guest's own page pool is exhausted\nFAIL\n");
        shut_down(FAILED);
    }
    return pool[taken++];
}

struct space new_space(uint64_t mode)
{
    struct space space = {new_page(), mode};
    map_page(space, 0x80000000, 0x80000000, 2, PTE_RWX | PTE_G);
    return space;
}

uint64_t *map_page(struct space space, uint64_t address, uint64_t physical, int level, uint64_t flags)
{
    uint64_t *table = space.root;
    for (int at = (int)space.mode - SV39 + 2;; at--) {
        uint64_t *entry = &table[address >> (12 + 9 * at) & 511];
        if (at == level) {
            *entry = physical >> 12 << 10 | flags;
            return entry;
        }
        if (!(*entry & PTE_V))
            *entry = (uint64_t)new_page() >> 12 << 10 | PTE_V;
        table = (uint64_t *)(*entry >> 10 << 12);
    }
}

int activate(struct space space, uint64_t asid)
{
    uint64_t satp = space.mode << 60 | asid << 44 | (uint64_t)space.root >> 12;
    csr_write(satp, satp);
    return csr_read(satp) != satp;
}
