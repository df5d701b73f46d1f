/* Loads and stores of every size at every offset, also over the border of two pages and of two cache lines. */
#include "report.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { PAGE = 4096 };

#define ACCESS(type, instruction, store) \
    static void type##_at(unsigned char *place, uint64_t seed) \
    { \
        uint64_t got; \
        __asm__ volatile(#instruction " %0, 0(%1)" : "=r"(got) : "r"(place) : "memory"); \
        value(got); \
        __asm__ volatile(#store " %0, 0(%1)" : : "r"(got + seed), "r"(place) : "memory"); \
    }
ACCESS(byte, lb, sb)
ACCESS(half, lh, sh)
ACCESS(half_unsigned, lhu, sh)
ACCESS(word, lw, sw)
ACCESS(word_unsigned, lwu, sw)
ACCESS(doubleword, ld, sd)

static void float_at(unsigned char *place, uint64_t seed)
{
    float x;
    __asm__ volatile("flw %0, 0(%1)" : "=f"(x) : "r"(place) : "memory");
    value(bits_of_float(x) + seed);
    __asm__ volatile("fsw %0, 3(%1)" : : "f"(x), "r"(place) : "memory");
}

static void double_at(unsigned char *place, uint64_t seed)
{
    double x;
    __asm__ volatile("fld %0, 0(%1)" : "=f"(x) : "r"(place) : "memory");
    value(bits_of(x) + seed);
    __asm__ volatile("fsd %0, 5(%1)" : : "f"(x), "r"(place) : "memory");
}

static void round_trip(unsigned char *memory, size_t border)
{
    static void (*const accesses[])(unsigned char *, uint64_t) = {byte_at, half_at, half_unsigned_at, word_at, word_unsigned_at, doubleword_at, float_at, double_at};
    uint64_t seed = border;
    for (size_t i = border - 64; i < border + 64; i++)
        memory[i] = (unsigned char)random_next(&seed);
    for (size_t i = 0; i < COUNT(accesses); i++)
        for (size_t at = border - 12; at < border + 12; at++)
            accesses[i](memory + at, at * 0x0101010101010101);
    for (size_t i = border - 64; i < border + 64; i += 8) {
        uint64_t bits;
        memcpy(&bits, memory + i, 8);
        value(bits);
    }
}

int misaligned(void)
{
    unsigned char *memory = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return 1;
    for (size_t line = 1; line < 4; line++) {
        row("line %zu", line);
        round_trip(memory, line * 64);
    }
    for (size_t page = 1; page < 8; page++) {
        row("page %zu", page);
        round_trip(memory, page * PAGE);
    }
    munmap(memory, 8 * PAGE);
    return 0;
}
