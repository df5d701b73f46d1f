/* The 16550A by its registers, its interrupt through the PLIC: writes back each byte it gets, until a 'q'. */
#include "runtime.h"

enum { UART = 0x10000000, PLIC = 0x0C000000, UART_IRQ = 10, SEIE = 1 << 9, SIE = 1 << 1 };
enum { DATA = 0, INTERRUPT_ENABLE = 1, FIFO = 2, LINE_CONTROL = 3, LINE_STATUS = 5, SCRATCH = 7 };
enum { READY = 1, EMPTY = 0x20 };

static volatile uint64_t received, interrupts, spurious;
static volatile char last;
static uint64_t context; /* of the hart's S-mode in the PLIC */

static volatile uint8_t *uart(int reg)
{
    return (volatile uint8_t *)(uint64_t)(UART + reg);
}

static volatile uint32_t *plic(uint64_t offset)
{
    return (volatile uint32_t *)(PLIC + offset);
}

static void put(char byte)
{
    while (!(*uart(LINE_STATUS) & EMPTY))
        ;
    *uart(DATA) = (uint8_t)byte;
}

static void put_all(const char *text)
{
    while (*text)
        put(*text++);
}

static void take(struct trap_frame *frame)
{
    if (frame->scause != (INTERRUPT | EXTERNAL_INTERRUPT))
        spurious++;
    uint32_t source = *plic(0x200004 + 0x1000 * context);
    if (source == UART_IRQ) {
        interrupts++;
        while (*uart(LINE_STATUS) & READY) {
            last = (char)*uart(DATA);
            received++;
            put(last);
        }
    } else if (source) {
        spurious++;
    }
    if (source)
        *plic(0x200004 + 0x1000 * context) = source;
}

int guest(uint64_t hart, const void *device_tree)
{
    (void)device_tree;
    int wrong = 0;
    context = 2 * hart + 1;
    on_trap = take;
    *uart(SCRATCH) = 0x5A;
    wrong += check("scratch register", *uart(SCRATCH), 0x5A);
    *uart(INTERRUPT_ENABLE) = 0;
    *uart(FIFO) = 1;
    *uart(LINE_CONTROL) = 3; /* 8 bits, no parity */
    *plic(4 * UART_IRQ) = 1; /* its priority */
    *plic(0x2000 + 0x80 * context) = 1u << UART_IRQ;
    *plic(0x200000 + 0x1000 * context) = 0; /* the threshold */
    *uart(INTERRUPT_ENABLE) = 1;
    csr_set(sie, SEIE);
    put_all("ready\n");
    while (last != 'q') { /* looked at with interrupts off, or the last one might come between the look and the wait */
        __asm__ volatile("wfi");
        csr_set(sstatus, SIE);
        csr_clear(sstatus, SIE);
    }
    *uart(INTERRUPT_ENABLE) = 0;
    put_all("\n");
    wrong += check("interrupts came", interrupts > 0, 1);
    return wrong + check("spurious interrupts", spurious, 0);
}
