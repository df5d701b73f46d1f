/* Page tables of Sv39, Sv48 and Sv57 (privileged specification, 12.3 to 12.6). */
#ifndef PAGING_H
#define PAGING_H
#include "runtime.h"

enum { SV39 = 8, SV48 = 9, SV57 = 10 };
enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_G = 32, PTE_A = 64, PTE_D = 128 };
enum { PTE_RW = PTE_V | PTE_R | PTE_W | PTE_A | PTE_D, PTE_RWX = PTE_RW | PTE_X };
enum { PAGE = 4096 };

struct space {
    uint64_t *root;
    uint64_t mode;
};

/* A space where RAM's gigabyte is mapped to itself, for S-mode, as one global superpage. */
struct space new_space(uint64_t mode);

/* Maps a page of level 0 (4 KiB), 1 (2 MiB), 2 (1 GiB), … and returns its entry. */
uint64_t *map_page(struct space space, uint64_t address, uint64_t physical, int level, uint64_t flags);

/* Turns the space on; returns 0 if satp took the mode. No fence. */
int activate(struct space space, uint64_t asid);

static inline void fence_all(void)
{
    __asm__ volatile("sfence.vma" ::: "memory");
}

static inline void fence_address(uint64_t address)
{
    __asm__ volatile("sfence.vma %0, zero" ::"r"(address) : "memory");
}

/* Fresh, zeroed, page-aligned memory. */
void *new_page(void);
#endif
