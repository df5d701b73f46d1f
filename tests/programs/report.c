/* The report, the tables of corner values, and the choice of the program by its name. */
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static int shows_values;
static uint64_t hash, count;
static char title[80];

void finish(void)
{
    if (title[0])
        printf("%s: %lu values, %016lx\n", title, count, hash);
    title[0] = 0;
}

void row(const char *format, ...)
{
    va_list arguments;
    finish();
    va_start(arguments, format);
    vsnprintf(title, sizeof title, format, arguments);
    va_end(arguments);
    hash = count = 0;
}

void value(uint64_t bits)
{
    if (shows_values)
        printf("%s [%lu] %016lx\n", title, count, bits);
    hash = (hash ^ bits) * 0x9FB21C651E98DF25u;
    hash ^= hash >> 29;
    count++;
}

void text(const char *string)
{
    uint64_t bits = strlen(string);
    if (shows_values)
        printf("%s [%lu] \"%s\"\n", title, count, string);
    for (const char *at = string; *at; at++)
        bits = (bits ^ (unsigned char)*at) * 0x100000001B3u;
    hash = (hash ^ bits) * 0x9FB21C651E98DF25u;
    hash ^= hash >> 29;
    count++;
}

void flags(void)
{
    uint64_t accrued;
    __asm__ volatile("fsflags %0, zero" : "=r"(accrued) : : "memory");
    value(accrued);
}

const uint64_t integers[] = {
    0, 1, 2, 3, 7, 10, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFF, 0x100000000,
    0x123456789ABCDEF, 0x5555555555555555, 0xAAAAAAAAAAAAAAAA, 0x7FFFFFFFFFFFFFFE, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0x8000000000000001,
    0xFFFFFFFF00000000, 0xFFFFFFFF7FFFFFFF, 0xFFFFFFFF80000000, 0xFFFFFFFFFFFF8000, 0xFFFFFFFFFFFFFF80, 0xFFFFFFFFFFFFFFFD, 0xFFFFFFFFFFFFFFFF,
};
const size_t integer_count = COUNT(integers);

#define BOTH_SIGNS(bits) bits, 0x8000000000000000 | (bits)
const uint64_t doubles[] = {
    BOTH_SIGNS(0), BOTH_SIGNS(1), BOTH_SIGNS(0x000FFFFFFFFFFFFF), BOTH_SIGNS(0x0010000000000000), BOTH_SIGNS(0x0010000000000001),
    BOTH_SIGNS(0x3690000000000000), BOTH_SIGNS(0x380FFFFFE0000000), BOTH_SIGNS(0x3810000000000000), /* near float's least numbers */
    BOTH_SIGNS(0x3CA0000000000000), BOTH_SIGNS(0x3FE0000000000000), BOTH_SIGNS(0x3FEFFFFFFFFFFFFF), BOTH_SIGNS(0x3FF0000000000000),
    BOTH_SIGNS(0x3FF0000000000001), BOTH_SIGNS(0x3FF0000010000000), BOTH_SIGNS(0x3FF8000000000000), BOTH_SIGNS(0x4004000000000000),
    BOTH_SIGNS(0x400921FB54442D18), BOTH_SIGNS(0x41DFFFFFFFC00000), BOTH_SIGNS(0x41E0000000000000), BOTH_SIGNS(0x41EFFFFFFFE00000),
    BOTH_SIGNS(0x4340000000000001), BOTH_SIGNS(0x43DFFFFFFFFFFFFF), BOTH_SIGNS(0x43E0000000000000), BOTH_SIGNS(0x43F0000000000000),
    BOTH_SIGNS(0x47EFFFFFF0000000), BOTH_SIGNS(0x7FEFFFFFFFFFFFFF), BOTH_SIGNS(0x7FF0000000000000), BOTH_SIGNS(0x7FF0000000000001),
    BOTH_SIGNS(0x7FF8000000000000), BOTH_SIGNS(0x7FFC00000BADCAFE),
};
const size_t double_count = COUNT(doubles);

#undef BOTH_SIGNS
#define BOTH_SIGNS(bits) bits, 0x80000000 | (bits)
const uint32_t floats[] = {
    BOTH_SIGNS(0), BOTH_SIGNS(1), BOTH_SIGNS(0x007FFFFF), BOTH_SIGNS(0x00800000), BOTH_SIGNS(0x00800001), BOTH_SIGNS(0x33800000),
    BOTH_SIGNS(0x3EFFFFFF), BOTH_SIGNS(0x3F000000), BOTH_SIGNS(0x3F7FFFFF), BOTH_SIGNS(0x3F800000), BOTH_SIGNS(0x3F800001), BOTH_SIGNS(0x3FC00000),
    BOTH_SIGNS(0x40200000), BOTH_SIGNS(0x40490FDB), BOTH_SIGNS(0x4B000001), BOTH_SIGNS(0x4EFFFFFF), BOTH_SIGNS(0x4F000000), BOTH_SIGNS(0x4F7FFFFF),
    BOTH_SIGNS(0x5EFFFFFF), BOTH_SIGNS(0x5F000000), BOTH_SIGNS(0x5F800000), BOTH_SIGNS(0x7F7FFFFF), BOTH_SIGNS(0x7F800000), BOTH_SIGNS(0x7F800001),
    BOTH_SIGNS(0x7FC00000), BOTH_SIGNS(0x7FE0CAFE),
};
const size_t float_count = COUNT(floats);

#define PROGRAM(name) int name(void);
#include "programs.h"
#undef PROGRAM
#define PROGRAM(name) {#name, name},
static const struct {
    const char *name;
    int (*run)(void);
} programs[] = {
#include "programs.h"
};

int main(int argument_count, char **arguments)
{
    shows_values = argument_count > 2;
    for (size_t i = 0; argument_count > 1 && i < COUNT(programs); i++)
        if (!strcmp(programs[i].name, arguments[1])) {
            int code = programs[i].run();
            finish();
            return code;
        }
    fprintf(stderr, "usage: %s PROGRAM [all values]; the programs:", arguments[0]);
    for (size_t i = 0; i < COUNT(programs); i++)
        fprintf(stderr, " %s", programs[i].name);
    fprintf(stderr, "\n");
    return 2;
}
