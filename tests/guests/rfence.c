/* What one hart does to the code and page tables of another: remote fence.i and remote sfence.vma.
 * Built with SPINNING, the other hart runs the code all the time, also while it changes, on one page with variables that both write. */
#include "paging.h"

enum { SBI_RFENCE = 0x52464E43, FENCE_I = 0, SFENCE_VMA = 1, SFENCE_VMA_ASID = 2, INVALID_PARAMETER = -3 };
enum { WINDOW = 0x40000000, ROUNDS = 300, LI_A0 = 0x00000513, RET = 0x00008067 };

#ifdef SPINNING
static uint32_t code[16];
#else
static uint32_t code[PAGE / 4] __attribute__((aligned(4096)));
#endif
static struct space space;
static volatile uint64_t asked, answered, kind, answer, finished;

static uint64_t now_there(void)
{
    return kind ? *(volatile uint64_t *)WINDOW : ((uint64_t(*)(void))code)();
}

/* Runs the code or reads the window on demand, often enough that both are cached. */
static void reader(uint64_t hart, void *argument)
{
    (void)hart, (void)argument;
    activate(space, 0);
    fence_all();
    uint64_t seen = 0;
    while (!finished) {
#ifdef SPINNING
        now_there();
#endif
        uint64_t round = __atomic_load_n(&asked, __ATOMIC_ACQUIRE);
        if (round == seen)
            continue;
        seen = round;
        answer = now_there();
        __atomic_store_n(&answered, round, __ATOMIC_RELEASE);
    }
    finished = 2;
}

static uint64_t ask(uint64_t round)
{
    __atomic_store_n(&asked, round, __ATOMIC_RELEASE);
    while (__atomic_load_n(&answered, __ATOMIC_ACQUIRE) != round)
        ;
    return answer;
}

/* The SBI's error; start and size in bytes, ASID 0. */
static uint64_t remote(uint64_t function, uint64_t hart, uint64_t start, uint64_t size)
{
    register uint64_t a0 __asm__("a0") = 1;
    register uint64_t a1 __asm__("a1") = hart;
    register uint64_t a2 __asm__("a2") = start;
    register uint64_t a3 __asm__("a3") = size;
    register uint64_t a4 __asm__("a4") = 0; /* the ASID */
    register uint64_t a6 __asm__("a6") = function;
    register uint64_t a7 __asm__("a7") = SBI_RFENCE;
    __asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a3), "r"(a4), "r"(a6), "r"(a7) : "memory");
    return a0;
}

static void set_code(uint32_t value)
{
    *(volatile uint32_t *)code = LI_A0 | value << 20;
    __asm__ volatile("fence rw, rw\nfence.i" ::: "memory");
}

int guest(uint64_t hart, const void *device_tree)
{
    (void)device_tree;
    int wrong = 0;
    uint64_t other = other_hart(hart), round = 0, *pages[2] = {new_page(), new_page()};
    pages[0][0] = 1000, pages[1][0] = 1001;
    space = new_space(SV39);
    uint64_t *entry = map_page(space, WINDOW, (uint64_t)pages[0], 0, PTE_RW);
    code[1] = RET;
    set_code(0);
    wrong += check("start", (uint64_t)start_hart(other, reader, NULL), 0);
    for (uint32_t i = 1; i <= ROUNDS && !wrong; i++) {
        set_code(i);
        wrong += check("remote fence.i", remote(FENCE_I, other, 0, 0), 0);
        wrong += check("code seen there", ask(++round), i);
    }
    kind = 1;
    for (uint32_t i = 1; i <= ROUNDS && !wrong; i++) {
        *(volatile uint64_t *)entry = (uint64_t)pages[i & 1] >> 12 << 10 | PTE_RW;
        __asm__ volatile("fence rw, rw" ::: "memory");
        uint64_t all = i % 3 == 0;
        wrong += check("remote sfence", remote(i % 2 ? SFENCE_VMA : SFENCE_VMA_ASID, other, all ? 0 : WINDOW, all ? ~0UL : PAGE), 0);
        wrong += check("page seen there", ask(++round), 1000 + (i & 1));
    }
    wrong += check("no such hart", remote(FENCE_I, 1000, 0, 0), (uint64_t)INVALID_PARAMETER);
    finished = 1;
    while (finished != 2)
        ;
    return wrong;
}
