/* SBI: what is announced, and what wrong arguments get (SBI 2.0, chapters 3 to 12). Built with STRICT, all of SBI 2.0 must be there. */
#include "runtime.h"

enum { BASE = 0x10, TIME = 0x54494D45, IPI = 0x735049, RFENCE = 0x52464E43, HSM = 0x48534D, RESET = 0x53525354, CONSOLE = 0x4442434E };
enum { NOT_SUPPORTED = -2, INVALID_PARAMETER = -3, INVALID_ADDRESS = -5 };

static int error_of(const char *what, uint64_t extension, uint64_t function, uint64_t a0, uint64_t a1, uint64_t a2, long expected)
{
    return check(what, (uint64_t)sbi_call(extension, function, a0, a1, a2).error, (uint64_t)expected);
}

static int is_failure(const char *what, uint64_t extension, uint64_t function, uint64_t a0, uint64_t a1, uint64_t a2)
{
    return check(what, sbi_call(extension, function, a0, a1, a2).error < 0, 1);
}

static int announced(void)
{
    static const uint64_t extensions[] = {BASE, TIME, IPI, RFENCE, HSM, RESET};
    int wrong = 0;
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++)
        wrong += check("extension announced", sbi_has(extensions[i]) != 0, 1);
    wrong += check("unknown extension", sbi_has(0x0A0B0C0D) != 0, 0);
    uint64_t version = (uint64_t)sbi_call(BASE, 0, 0, 0, 0).value;
    print("SBI ");
    print_decimal(version >> 24);
    print(".");
    print_decimal(version & 0xFFFFFF);
    print("\n");
#ifdef STRICT
    wrong += check("console announced", sbi_has(CONSOLE) != 0, 1);
    wrong += check("at least 2.0", version >= 2 << 24, 1);
#endif
    for (uint64_t function = 0; function < 7; function++)
        wrong += error_of("base function", BASE, function, BASE, 0, 0, 0);
    return wrong;
}

static int hostile_console(void)
{
    static char byte = '.';
    int wrong = error_of("console write of nothing", CONSOLE, 0, 0, (uint64_t)&byte, 0, 0);
    wrong += is_failure("console write from nowhere", CONSOLE, 0, 16, 1UL << 40, 0);
    wrong += is_failure("console write across the end of memory", CONSOLE, 0, ~0UL, (uint64_t)&byte, 0);
    wrong += is_failure("console write that wraps", CONSOLE, 0, 1UL << 63, 1UL << 63, 0);
    wrong += is_failure("console write from the upper half", CONSOLE, 0, 1, (uint64_t)&byte, 1);
    wrong += is_failure("console read to nowhere", CONSOLE, 1, 16, 1UL << 40, 0);
    wrong += is_failure("console read across the end of memory", CONSOLE, 1, ~0UL >> 1, (uint64_t)&byte, 0);
    return wrong + error_of("console function", CONSOLE, 99, 0, 0, 0, NOT_SUPPORTED);
}

int guest(uint64_t hart, const void *device_tree)
{
    (void)device_tree;
    int wrong = announced();
    wrong += check("U-mode may read cycle, time and instret", csr_read(scounteren) & 7, 7); /* Linux leaves it as the firmware had it */
    wrong += error_of("unknown extension", 0x0A0B0C0D, 0, 0, 0, 0, NOT_SUPPORTED);
    wrong += error_of("unknown base function", BASE, 99, 0, 0, 0, NOT_SUPPORTED);
    wrong += error_of("unknown hsm function", HSM, 99, 0, 0, 0, NOT_SUPPORTED);
    wrong += error_of("start of no hart", HSM, 0, 4096, 0x80200000, 0, INVALID_PARAMETER);
    wrong += error_of("start of a huge hart", HSM, 0, ~0UL, 0x80200000, 0, INVALID_PARAMETER);
    wrong += error_of("status of no hart", HSM, 2, 4096, 0, 0, INVALID_PARAMETER);
    wrong += error_of("status of this hart", HSM, 2, hart, 0, 0, 0);
    wrong += error_of("ipi to no hart", IPI, 0, 1, 4096, 0, INVALID_PARAMETER);
    wrong += error_of("ipi to this hart", IPI, 0, 1, hart, 0, 0);
    wrong += error_of("reset of no such type", RESET, 0, 0x1000, 0, 0, INVALID_PARAMETER);
    if (sbi_has(CONSOLE))
        wrong += hostile_console();
    return wrong;
}
