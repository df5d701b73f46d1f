/* Bit tricks in plain C: with Zba, Zbb and Zbs each becomes an instruction or two, without them a few shifts and masks. */
#include "report.h"

static uint64_t reversed(uint64_t x)
{
    static const uint64_t masks[] = {0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F};
    for (int i = 0; i < 3; i++)
        x = (x >> (1 << i) & masks[i]) | (x & masks[i]) << (1 << i);
    return __builtin_bswap64(x);
}

static uint64_t gathered(uint64_t x, uint64_t mask)
{
    uint64_t result = 0;
    for (int at = 0; mask; mask &= mask - 1)
        result |= (x >> __builtin_ctzl(mask) & 1) << at++;
    return result;
}

static void counts(uint64_t x)
{
    value((uint64_t)__builtin_popcountl(x));
    value((uint64_t)__builtin_popcount((uint32_t)x));
    value((uint64_t)__builtin_parityl(x));
    value((uint64_t)__builtin_ffsl((long)x));
    value((uint64_t)__builtin_clrsbl((long)x));
    value(x ? (uint64_t)__builtin_clzl(x) : 64);
    value(x ? (uint64_t)__builtin_ctzl(x) : 64);
    value((uint32_t)x ? (uint64_t)__builtin_clz((uint32_t)x) : 32);
    value((uint32_t)x ? (uint64_t)__builtin_ctz((uint32_t)x) : 32);
}

static void rearranged(uint64_t x)
{
    value(__builtin_bswap64(x));
    value(__builtin_bswap32((uint32_t)x));
    value(__builtin_bswap16((uint16_t)x));
    value(reversed(x));
    value((uint64_t)(int64_t)(int8_t)x);
    value((uint64_t)(int64_t)(int16_t)x);
    value((uint16_t)x);
    value((uint32_t)x);
    value(x ^ x >> 1);
}

static void pairs(uint64_t x, uint64_t y)
{
    unsigned by = y & 63;
    value(x << by | x >> (-by & 63));
    value(x >> by | x << (-by & 63));
    value((uint64_t)(int32_t)((uint32_t)x << (y & 31) | (uint32_t)x >> (-y & 31)));
    value(x | 1UL << by);
    value(x & ~(1UL << by));
    value(x ^ 1UL << by);
    value(x >> by & 1);
    value(x + y * 2);
    value(x + y * 4);
    value(x + y * 8);
    value(x + (uint64_t)(uint32_t)y * 8);
    value((uint64_t)(uint32_t)x << 3);
    value((int64_t)x < (int64_t)y ? x : y);
    value(x > y ? x : y);
    value((int32_t)x < (int32_t)y ? x : y);
    value(x & ~y);
    value(~(x ^ y));
    value(gathered(x, y));
}

int bits(void)
{
    uint64_t state = 3;
    row("counts");
    for (size_t a = 0; a < integer_count; a++)
        counts(integers[a]);
    for (int n = 0; n < 2000; n++)
        counts(random_next(&state) >> (n & 63));
    row("single bits");
    for (int at = 0; at < 64; at++) {
        counts(1UL << at);
        counts(~(1UL << at));
        rearranged(1UL << at);
    }
    row("rearranged");
    for (size_t a = 0; a < integer_count; a++)
        rearranged(integers[a]);
    for (int n = 0; n < 2000; n++)
        rearranged(random_next(&state));
    row("pairs");
    for (size_t a = 0; a < integer_count; a++)
        for (size_t b = 0; b < integer_count; b++)
            pairs(integers[a], integers[b]);
    for (int n = 0; n < 1000; n++)
        pairs(random_next(&state), random_next(&state));
    return 0;
}
