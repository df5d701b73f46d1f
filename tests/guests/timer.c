/* Timer interrupts: through stimecmp (Sstc) or, built with SBI_TIMER, through the SBI call; pending bits, masking, wfi. */
#include "runtime.h"

enum { STIE = 1 << 5, SIE = 1 << 1, SBI_TIME = 0x54494D45, TICKS = 10 };

static volatile uint64_t interrupts, last_cause, last_sepc;

static void set_timer(uint64_t when)
{
#ifdef SBI_TIMER
    sbi_call(SBI_TIME, 0, when, 0, 0);
#else
    csr_write(0x14D, when); /* stimecmp */
#endif
}

static void take(struct trap_frame *frame)
{
    interrupts++;
    last_cause = frame->scause;
    last_sepc = frame->sepc;
    set_timer(~0UL);
}

int guest(uint64_t hart, const void *device_tree)
{
    (void)hart;
    int wrong = 0;
    uint64_t step = timebase(device_tree) / 500; /* 2 ms */
    set_timer(~0UL);
    wrong += check("pending before", csr_read(sip) & STIE, 0);
    set_timer(csr_read(time) + step);
    while (!(csr_read(sip) & STIE))
        ;
    wrong += check("pending, not enabled: none taken", interrupts, 0);
    set_timer(~0UL);
    wrong += check("pending after the deadline moved", csr_read(sip) & STIE, 0);

    on_trap = take;
    csr_set(sie, STIE);
    csr_set(sstatus, SIE);
    for (uint64_t i = 1; i <= TICKS; i++) {
        uint64_t deadline = csr_read(time) + step;
        set_timer(deadline);
        while (interrupts < i)
            __asm__ volatile("wfi");
        wrong += check("not before its time", csr_read(time) >= deadline, 1);
    }
    wrong += check("scause", last_cause, INTERRUPT | TIMER_INTERRUPT);
    set_timer(0); /* long past: taken at once */
    for (int i = 0; i < 5000 && interrupts == TICKS; i++)
        __asm__ volatile("nop");
    wrong += check("a deadline in the past", interrupts, TICKS + 1);

    csr_clear(sstatus, SIE); /* wfi wakes for an enabled interrupt even when it is not taken */
    set_timer(csr_read(time) + step);
    while (!(csr_read(sip) & STIE))
        __asm__ volatile("wfi");
    wrong += check("none taken with SIE clear", interrupts, TICKS + 1);
    set_timer(~0UL);
    return wrong;
}
