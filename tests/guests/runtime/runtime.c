#include "runtime.h"

enum {
    SBI_BASE = 0x10,
    SBI_IPI = 0x735049,
    SBI_HSM = 0x48534D,
    SBI_RESET = 0x53525354,
    SBI_CONSOLE = 0x4442434E,
    LEGACY_PUT = 1,
    LEGACY_GET = 2,
    LEGACY_SHUTDOWN = 8,
};

struct sbi_result sbi_call(uint64_t extension, uint64_t function, uint64_t a0, uint64_t a1, uint64_t a2)
{
    register uint64_t r0 __asm__("a0") = a0;
    register uint64_t r1 __asm__("a1") = a1;
    register uint64_t r2 __asm__("a2") = a2;
    register uint64_t r6 __asm__("a6") = function;
    register uint64_t r7 __asm__("a7") = extension;
    __asm__ volatile("ecall" : "+r"(r0), "+r"(r1) : "r"(r2), "r"(r6), "r"(r7) : "memory");
    return (struct sbi_result){(long)r0, (long)r1};
}

int sbi_has(uint64_t extension)
{
    return sbi_call(SBI_BASE, 3, extension, 0, 0).value != 0;
}

/* 0 unknown, 1 the debug console of SBI 2, 2 the legacy calls of SBI 0.1 */
static int console_kind;

static int console(void)
{
    if (!console_kind)
        console_kind = sbi_has(SBI_CONSOLE) ? 1 : 2;
    return console_kind;
}

static void write_bytes(const char *bytes, size_t length)
{
    if (console() == 2) {
        for (size_t i = 0; i < length; i++)
            sbi_call(LEGACY_PUT, 0, (unsigned char)bytes[i], 0, 0);
        return;
    }
    while (length) {
        struct sbi_result r = sbi_call(SBI_CONSOLE, 0, length, (uint64_t)bytes, 0);
        if (r.error || r.value < 0 || (size_t)r.value > length)
            return;
        bytes += r.value;
        length -= (size_t)r.value;
    }
}

void print(const char *text)
{
    size_t length = 0;
    while (text[length])
        length++;
    write_bytes(text, length);
}

void print_hex(uint64_t value)
{
    char text[16];
    for (int i = 15; i >= 0; i--, value >>= 4)
        text[i] = "0123456789abcdef"[value & 15];
    write_bytes(text, sizeof text);
}

void print_decimal(uint64_t value)
{
    char text[20];
    int at = 20;
    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    write_bytes(text + at, (size_t)(20 - at));
}

int console_read(void)
{
    static char byte;
    if (console() == 2)
        return (int)sbi_call(LEGACY_GET, 0, 0, 0, 0).error;
    struct sbi_result r = sbi_call(SBI_CONSOLE, 1, 1, (uint64_t)&byte, 0);
    __asm__ volatile("" ::: "memory");
    return r.error || r.value != 1 ? -1 : (unsigned char)byte;
}

void shut_down(int failed)
{
    sbi_call(SBI_RESET, 0, 0, failed ? 1 : 0, 0);
    sbi_call(LEGACY_SHUTDOWN, 0, 0, 0, 0);
    for (;;)
        __asm__ volatile("wfi");
}

int check(const char *what, uint64_t found, uint64_t expected)
{
    if (found == expected)
        return 0;
    print(what);
    print(": found ");
    print_hex(found);
    print(", expected ");
    print_hex(expected);
    print("\n");
    return 1;
}

static void unexpected_trap(struct trap_frame *frame)
{
    print("TRAP scause ");
    print_hex(frame->scause);
    print(" stval ");
    print_hex(frame->stval);
    print(" sepc ");
    print_hex(frame->sepc);
    print("\nFAIL\n");
    shut_down(FAILED);
}

void (*on_trap)(struct trap_frame *frame) = unexpected_trap;

void start(uint64_t hart, const void *device_tree)
{
    int failed = guest(hart, device_tree);
    print(failed ? "FAIL\n" : "PASS\n");
    shut_down(failed);
}

struct hart_start {
    uint64_t stack;
    hart_function function;
    void *argument;
};
void secondary_entry(void);

enum { MAX_HARTS = 8, STACK = 16384 };
static struct hart_start hart_starts[MAX_HARTS];
static unsigned char stacks[MAX_HARTS][STACK] __attribute__((aligned(16), section(".arena,\"aw\",@nobits#")));

long start_hart(uint64_t hart, hart_function function, void *argument)
{
    if (hart >= MAX_HARTS)
        return -3;
    hart_starts[hart] = (struct hart_start){(uint64_t)stacks[hart] + STACK, function, argument};
    __asm__ volatile("fence rw, rw" ::: "memory");
    return sbi_call(SBI_HSM, 0, hart, (uint64_t)secondary_entry, (uint64_t)&hart_starts[hart]).error;
}

uint64_t other_hart(uint64_t self)
{
    return self == 0 ? 1 : 0;
}

void send_ipi(uint64_t hart)
{
    sbi_call(SBI_IPI, 0, 1, hart, 0);
}

/* gcc turns assignments of structures and loops into calls of these. */
void *memcpy(void *to, const void *from, size_t length)
{
    unsigned char *t = to;
    const unsigned char *f = from;
    while (length--)
        *t++ = *f++;
    return to;
}

void *memset(void *to, int byte, size_t length)
{
    unsigned char *t = to;
    while (length--)
        *t++ = (unsigned char)byte;
    return to;
}
