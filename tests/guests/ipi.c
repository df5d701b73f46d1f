/* Two harts: HSM starts, reports and stops the second; software interrupts wake each in turn. */
#include "runtime.h"

enum { SSIE = 1 << 1, SIE = 1 << 1, SBI_HSM = 0x48534D, SBI_IPI = 0x735049, ROUNDS = 1000 };
enum { STARTED = 0, STOPPED = 1 };
enum { INVALID_PARAMETER = -3, ALREADY_AVAILABLE = -6 };

static volatile uint64_t received[8], first_hart, wrong_cause;

static uint64_t hart_id(void)
{
    uint64_t tp;
    __asm__("mv %0, tp" : "=r"(tp));
    return tp;
}

static void take(struct trap_frame *frame)
{
    if (frame->scause != (INTERRUPT | SOFTWARE_INTERRUPT))
        wrong_cause = frame->scause;
    csr_clear(sip, SSIE);
    received[hart_id()]++;
}

static void accept_interrupts(uint64_t hart)
{
    __asm__ volatile("mv tp, %0" ::"r"(hart));
    csr_set(sie, SSIE);
    csr_set(sstatus, SIE);
}

static void wait_for(uint64_t hart, uint64_t count)
{
    csr_clear(sstatus, SIE);
    while (received[hart] < count) {
        __asm__ volatile("wfi");
        csr_set(sstatus, SIE);
        csr_clear(sstatus, SIE);
    }
    csr_set(sstatus, SIE);
}

static uint64_t status(uint64_t hart)
{
    return (uint64_t)sbi_call(SBI_HSM, 2, hart, 0, 0).value;
}

/* Answers every interrupt with one, then stops itself. */
static void answer(uint64_t hart, void *argument)
{
    accept_interrupts(hart);
    *(volatile uint64_t *)argument = 1;
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        wait_for(hart, i);
        send_ipi(first_hart);
    }
    sbi_call(SBI_HSM, 1, 0, 0, 0);
    print("a stopped hart went on\n");
}

int guest(uint64_t hart, const void *device_tree)
{
    (void)device_tree;
    int wrong = 0;
    volatile uint64_t ready = 0;
    uint64_t other = other_hart(hart);
    first_hart = hart;
    on_trap = take;
    accept_interrupts(hart);
    wrong += check("status of this hart", status(hart), STARTED);
    wrong += check("status before", status(other), STOPPED);
    wrong += check("start of this hart", (uint64_t)start_hart(hart, answer, NULL), (uint64_t)ALREADY_AVAILABLE);
    wrong += check("start", (uint64_t)start_hart(other, answer, (void *)&ready), 0);
    while (!ready)
        ;
    wrong += check("status while it runs", status(other), STARTED);
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        send_ipi(other);
        wait_for(hart, i);
    }
    while (status(other) != STOPPED)
        ;
    wrong += check("received", received[other], ROUNDS);
    wrong += check("answers", received[hart], ROUNDS);
    wrong += check("other causes", wrong_cause, 0);
    send_ipi(hart); /* to itself */
    wait_for(hart, ROUNDS + 1);
    wrong += check("ipi to no hart", (uint64_t)sbi_call(SBI_IPI, 0, 1, 1000, 0).error, (uint64_t)INVALID_PARAMETER);
    received[other] = 0;
    ready = 0;
    wrong += check("start again", (uint64_t)start_hart(other, answer, (void *)&ready), 0);
    while (!ready)
        ;
    return wrong;
}
