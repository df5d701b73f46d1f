/* Runs one program on the bare machine in S-mode: PROGRAM names it; with PAGED under an identity mapping of 4 KiB pages.
 * Prints "name checksum nanoseconds instructions". Boot arguments: scale=PERCENT, and warm=SECONDS,
 * which it runs before it is timed. */
#include "bench.h"
#include "runtime.h"

extern const struct program PROGRAM;

unsigned char arena[ARENA_SIZE] __attribute__((aligned(4096), section(".arena,\"aw\",@nobits#")));

#ifdef PAGED
enum { RAM = 0x80000000, MAPPED = 128 << 20, PAGE = 4096 };
static uint64_t root[512] __attribute__((aligned(PAGE)));
static uint64_t middle[512] __attribute__((aligned(PAGE)));
static uint64_t leaves[MAPPED / PAGE] __attribute__((aligned(PAGE), section(".arena,\"aw\",@nobits#")));

static void turn_on_paging(void)
{
    enum { VALID = 1, READ_WRITE_EXECUTE = 14, ACCESSED_DIRTY = 0xC0 };
    for (uint64_t page = 0; page < MAPPED / PAGE; page++)
        leaves[page] = ((uint64_t)RAM / PAGE + page) << 10 | ACCESSED_DIRTY | READ_WRITE_EXECUTE | VALID;
    for (uint64_t i = 0; i < MAPPED / PAGE / 512; i++)
        middle[i] = (uint64_t)&leaves[i * 512] / PAGE << 10 | VALID;
    root[(uint64_t)RAM >> 30] = (uint64_t)middle / PAGE << 10 | VALID;
    __asm__ volatile("sfence.vma" ::: "memory");
    csr_write(satp, 8UL << 60 | (uint64_t)root / PAGE);
    __asm__ volatile("sfence.vma" ::: "memory");
}
#endif

int guest(uint64_t hart, const void *device_tree)
{
    (void)hart;
    uint64_t frequency = timebase(device_tree);
    uint64_t rounds = PROGRAM.rounds * boot_number(device_tree, "scale", 100) / 100;
#ifdef PAGED
    turn_on_paging();
#endif
    uint64_t warm = boot_number(device_tree, "warm", 0) * frequency, begin = csr_read(time);
    if (warm && PROGRAM.setup)
        PROGRAM.setup();
    while (csr_read(time) - begin < warm)
        PROGRAM.run(warming_rounds(&PROGRAM));
    if (PROGRAM.setup)
        PROGRAM.setup();
    uint64_t start = csr_read(time), first = csr_read(instret);
    uint64_t checksum = PROGRAM.run(rounds ? rounds : 1);
    uint64_t last = csr_read(instret), ticks = csr_read(time) - start;
    print("\n");
    print(PROGRAM.name);
    print(" ");
    print_hex(checksum);
    print(" ");
    print_decimal(ticks / frequency * 1000000000 + ticks % frequency * 1000000000 / frequency);
    print(" ");
    print_decimal(last - first);
    print("\n");
    return PASSED;
}
