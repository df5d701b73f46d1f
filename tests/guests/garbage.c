/* Random instructions in U-mode, thousands of snippets: each ends in a trap or by the timer, and the machine lives on.
 * Boot arguments: seed=N, snippets=N. */
#include "paging.h"
#include "traps.h"

enum { CODE = 0x1000000, DATA = 0x2000000, STIE = 1 << 5, ECALL = 0x73, SNIPPET = 16 };

static uint64_t state;

static uint64_t random_next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* Half of all words get a major opcode that exists, so that more than the illegal one is met. */
static uint32_t random_instruction(void)
{
    static const uint8_t opcodes[] = {0x03, 0x07, 0x0F, 0x13, 0x17, 0x1B, 0x23, 0x27, 0x2F, 0x33, 0x37, 0x3B, 0x43, 0x47, 0x4B, 0x4F, 0x53, 0x63, 0x67, 0x6F, 0x73};
    uint64_t dice = random_next();
    uint32_t word = (uint32_t)(dice >> 16);
    if (dice & 1)
        return word;
    return (word & ~0x7Fu) | opcodes[(dice >> 1 & 0x7FFF) % sizeof opcodes];
}

int guest(uint64_t hart, const void *device_tree)
{
    (void)hart;
    state = boot_number(device_tree, "seed", 1) * 2685821657736338717u + 1;
    uint64_t snippets = boot_number(device_tree, "snippets", 5000), slice = timebase(device_tree) / 10000;
    struct space space = new_space(SV39);
    uint32_t *code = new_page();
    uint64_t *data = new_page(), causes[16] = {0}, timeouts = 0, others = 0;
    map_page(space, CODE, (uint64_t)code, 0, PTE_RWX | PTE_U);
    map_page(space, DATA, (uint64_t)data, 0, PTE_RW | PTE_U);
    activate(space, 0);
    fence_all();
    catch_traps();
    csr_set(sie, STIE);
    for (uint64_t i = 0; i < snippets; i++) {
        for (int k = 0; k < SNIPPET; k++)
            code[k] = random_instruction();
        code[SNIPPET] = ECALL;
        __asm__ volatile("fence.i" ::: "memory");
        csr_write(0x14D, csr_read(time) + slice); /* stimecmp; U-mode cannot hold it back */
        run_user(CODE, DATA + random_next() % PAGE, random_next(), DATA + PAGE);
        csr_write(0x14D, ~0UL);
        csr_set(sstatus, 3 << 13);
        csr_write(frm, random_next() % 5);
        if (caught.scause >> 63)
            timeouts++;
        else if (caught.scause < 16)
            causes[caught.scause]++;
        else
            others++;
    }
    int wrong = check("unknown causes", others, 0);
    wrong += check("illegal instructions met", causes[ILLEGAL] > 0, 1);
    wrong += check("page faults met", causes[LOAD_PAGE] > 0 && causes[STORE_PAGE] > 0 && causes[INSTRUCTION_PAGE] > 0, 1);
    wrong += check("all snippets ended", caught.count, snippets);
    print("timeouts ");
    print_decimal(timeouts);
    print(", calls ");
    print_decimal(causes[ECALL_U]);
    print("\n");
    return wrong;
}
