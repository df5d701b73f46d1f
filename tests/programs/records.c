/* Layout: bit fields, packed and over-aligned structures, unions, structures by value, variable arguments, flexible arrays. */
#include "report.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#define APART __attribute__((noinline, noclone))

struct fields {
    unsigned a : 3;
    int b : 5;
    unsigned long c : 41;
    signed char d : 4;
    unsigned : 0;
    int e : 31;
    _Bool f : 1;
};

struct __attribute__((packed)) packed {
    uint8_t tag;
    uint64_t word;
    uint16_t half;
    double real;
    uint32_t tail;
};

struct small { float x, y; };
struct mixed { double real; int number; };
struct large { uint64_t words[5]; };

union either {
    double real;
    uint64_t bits;
    struct { uint32_t low, high; } halves;
    unsigned char bytes[8];
};

static APART struct fields changed(struct fields x, int by)
{
    x.a += (unsigned)by;
    x.b = (x.b ^ by) & 15;
    x.c *= 3;
    x.d = (signed char)-x.d & 7;
    x.e -= by;
    x.f = !x.f;
    return x;
}

static APART struct small swapped(struct small x) { return (struct small){x.y * 2, x.x - 1}; }
static APART struct mixed stepped(struct mixed x, struct small y) { return (struct mixed){x.real * y.x, x.number + (int)y.y}; }
static APART struct large rotated(struct large x, uint64_t by)
{
    struct large result;
    for (size_t i = 0; i < COUNT(x.words); i++)
        result.words[(i + by) % COUNT(x.words)] = x.words[i] + by;
    return result;
}

static APART uint64_t summed(const char *kinds, ...)
{
    uint64_t sum = 0;
    va_list arguments;
    va_start(arguments, kinds);
    for (; *kinds; kinds++)
        switch (*kinds) {
        case 'i': sum = sum * 31 + (uint64_t)va_arg(arguments, int); break;
        case 'l': sum = sum * 31 + va_arg(arguments, uint64_t); break;
        case 'd': sum = sum * 31 + bits_of(va_arg(arguments, double)); break;
        case 's': sum = sum * 31 + strlen(va_arg(arguments, char *)); break;
        case 'm': sum = sum * 31 + (uint64_t)va_arg(arguments, struct mixed).number; break;
        case 'L': sum = sum * 31 + va_arg(arguments, struct large).words[3]; break;
        }
    va_end(arguments);
    return sum;
}

struct flexible {
    uint16_t length;
    uint16_t items[];
};

static void layouts(void)
{
    row("layouts");
    value(sizeof(struct fields));
    value(sizeof(struct packed));
    value(offsetof(struct packed, real));
    value(_Alignof(struct mixed));
    struct packed packed[3];
    for (size_t i = 0; i < COUNT(packed); i++)
        packed[i] = (struct packed){(uint8_t)i, integers[20 + i], (uint16_t)(i * 999), 1.5 / (double)(i + 1), 0xCAFE0000 + (uint32_t)i};
    for (size_t i = 0; i < sizeof packed; i++)
        value(((unsigned char *)packed)[i]);
    for (size_t i = 0; i < COUNT(packed); i++)
        value(packed[i].word + packed[i].half + bits_of(packed[i].real) + packed[i].tail);
}

int records(void)
{
    layouts();
    row("bit fields");
    struct fields x = {1, -2, 0x1FFFFFFFFFF, -3, -5, 1};
    for (int n = 0; n < 200; n++) {
        x = changed(x, n);
        value(x.a);
        value((uint64_t)x.b);
        value(x.c);
        value((uint64_t)x.d);
        value((uint64_t)x.e);
        value(x.f);
    }
    row("by value");
    struct small small = {1.25f, -3};
    struct mixed mixed = {1, 7};
    struct large large = {{1, 2, 3, 4, 5}};
    for (unsigned n = 0; n < 50; n++) {
        small = swapped(small);
        mixed = stepped(mixed, small);
        large = rotated(large, n);
        value(bits_of_float(small.x));
        value(bits_of(mixed.real));
        value((uint64_t)mixed.number);
        value(large.words[n % 5]);
        value(summed("ildsmLdildi", (int)n, integers[n % integer_count], 0.5 * n, "text", mixed, large, 2.5, -1, 1UL << n, -0.0, 9));
    }
    row("unions");
    for (size_t i = 0; i < double_count; i++) {
        union either either = {.bits = doubles[i]};
        either.halves.low ^= either.halves.high;
        either.bytes[6] += 1;
        value(either.bits);
    }
    row("flexible");
    struct flexible *flexible = calloc(1, sizeof *flexible + 100 * sizeof flexible->items[0]);
    for (flexible->length = 0; flexible->length < 100; flexible->length++)
        flexible->items[flexible->length] = (uint16_t)(flexible->length * flexible->length * 7);
    for (size_t i = 0; i < flexible->length; i++)
        value(flexible->items[i]);
    free(flexible);
    return 1;
}
