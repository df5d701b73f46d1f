/* What every bare-metal guest may call: console, traps, harts, time, shutdown. All through SBI calls. */
#ifndef RUNTIME_H
#define RUNTIME_H

#include <stddef.h>
#include <stdint.h>

struct sbi_result {
    long error;
    long value;
};

struct trap_frame {
    uint64_t x[32]; /* x[0] is unused */
    uint64_t sepc, scause, stval, sstatus;
};

enum { PASSED = 0, FAILED = 1 };

enum cause {
    INSTRUCTION_MISALIGNED = 0,
    INSTRUCTION_ACCESS = 1,
    ILLEGAL = 2,
    BREAKPOINT = 3,
    LOAD_MISALIGNED = 4,
    LOAD_ACCESS = 5,
    STORE_MISALIGNED = 6,
    STORE_ACCESS = 7,
    ECALL_U = 8,
    INSTRUCTION_PAGE = 12,
    LOAD_PAGE = 13,
    STORE_PAGE = 15,
};
#define INTERRUPT (1UL << 63)
enum { SOFTWARE_INTERRUPT = 1, TIMER_INTERRUPT = 5, EXTERNAL_INTERRUPT = 9 };

#define csr_read(name) ({ uint64_t v_; __asm__ volatile("csrr %0, " #name : "=r"(v_)::"memory"); v_; })
#define csr_write(name, value) __asm__ volatile("csrw " #name ", %0" ::"r"((uint64_t)(value)) : "memory")
#define csr_set(name, bits) __asm__ volatile("csrs " #name ", %0" ::"r"((uint64_t)(bits)) : "memory")
#define csr_clear(name, bits) __asm__ volatile("csrc " #name ", %0" ::"r"((uint64_t)(bits)) : "memory")

/* The guest's own entry: what it returns is printed as PASS or FAIL. */
int guest(uint64_t hart, const void *device_tree);

struct sbi_result sbi_call(uint64_t extension, uint64_t function, uint64_t a0, uint64_t a1, uint64_t a2);
int sbi_has(uint64_t extension);

void print(const char *text);
void print_hex(uint64_t value);
void print_decimal(uint64_t value);
int console_read(void); /* a byte, or -1 if none waits */
void shut_down(int failed) __attribute__((noreturn));

/* Says what differed and returns 1 if it did; a guest adds these up. */
int check(const char *what, uint64_t found, uint64_t expected);

extern void (*on_trap)(struct trap_frame *frame);

/* Runs function(hart, argument) on another hart, on a stack of its own; 0 or the SBI error. */
typedef void (*hart_function)(uint64_t hart, void *argument);
long start_hart(uint64_t hart, hart_function function, void *argument);
uint64_t other_hart(uint64_t self);
void send_ipi(uint64_t hart);

uint64_t timebase(const void *device_tree); /* ticks a second */

/* N where the kernel's command line holds "key=N". */
uint64_t boot_number(const void *device_tree, const char *key, uint64_t otherwise);
#endif
