/* Numbers of thousands of digits: multiplication with carries, division by small numbers, Fibonacci numbers, the digits of e and pi. */
#include "report.h"

#include <stdio.h>
#include <stdlib.h>

enum { WORDS = 256, DIGITS = 400 };
struct big {
    uint32_t word[WORDS]; /* least significant first */
};

static void add(struct big *to, const struct big *other)
{
    uint64_t carry = 0;
    for (int i = 0; i < WORDS; i++, carry >>= 32)
        to->word[i] = (uint32_t)(carry += (uint64_t)to->word[i] + other->word[i]);
}

static void multiply(struct big *by, uint32_t factor)
{
    uint64_t carry = 0;
    for (int i = 0; i < WORDS; i++, carry >>= 32)
        by->word[i] = (uint32_t)(carry += (uint64_t)by->word[i] * factor);
}

static uint32_t divide(struct big *x, uint32_t divisor)
{
    uint64_t rest = 0;
    for (int i = WORDS; i--; rest %= divisor) {
        rest = rest << 32 | x->word[i];
        x->word[i] = (uint32_t)(rest / divisor);
    }
    return (uint32_t)rest;
}

static void product(struct big *result, const struct big *a, const struct big *b)
{
    memset(result, 0, sizeof *result);
    for (int i = 0; i < WORDS; i++) {
        uint64_t carry = 0;
        for (int j = 0; i + j < WORDS; j++, carry >>= 32)
            result->word[i + j] = (uint32_t)(carry += (uint64_t)a->word[i] * b->word[j] + result->word[i + j]);
    }
}

static void decimal(const struct big *x)
{
    struct big rest = *x;
    char line[WORDS * 10 + 1], *at = line + sizeof line - 1;
    *at = 0;
    do {
        uint32_t digits = divide(&rest, 1000000000);
        for (int i = 0; i < 9; i++, digits /= 10)
            *--at = (char)('0' + digits % 10);
    } while (at - line >= 9 && memcmp(&rest, &(struct big){{0}}, sizeof rest));
    text(at + strspn(at, "0"));
}

/* Digits by the spigot of Rabinowitz and Wagon, with a mixed radix of i/(2i+1) (pi) or 1/i (e). */
static void spigot(int of_pi)
{
    static uint32_t a[DIGITS * 10 / 3 + 2];
    const int length = COUNT(a) - 1;
    for (int i = 0; i <= length; i++)
        a[i] = of_pi ? 2 : 1;
    for (int digit = 0; digit < DIGITS; digit++) {
        uint32_t carry = 0;
        for (int i = length; i > 0; i--) {
            uint32_t below = of_pi ? 2 * (uint32_t)i + 1 : (uint32_t)i + 1, x = a[i] * 10 + carry;
            a[i] = x % below;
            carry = x / below * (of_pi ? (uint32_t)i : 1);
        }
        uint32_t x = a[0] * 10 + carry;
        a[0] = x % 10;
        value(x / 10);
    }
}

int big_numbers(void)
{
    static struct big a, b, c;
    row("factorials");
    a.word[0] = 1;
    for (uint32_t n = 2; n <= 400; n++) {
        multiply(&a, n);
        if (n % 50 == 0)
            decimal(&a);
    }
    row("fibonacci");
    memset(&a, 0, sizeof a);
    b = a;
    b.word[0] = 1;
    for (int n = 0; n < 2000; n++) {
        add(&a, &b);
        c = a, a = b, b = c;
        if (n % 250 == 0)
            decimal(&a);
    }
    row("squares");
    memset(&a, 0, sizeof a);
    a.word[0] = 0xFFFFFFFB;
    for (int n = 0; n < 6; n++) {
        product(&b, &a, &a);
        decimal(&b);
        a = b;
    }
    row("pi");
    spigot(1);
    row("e");
    spigot(0);
    return 11;
}
