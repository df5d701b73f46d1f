/* What a guest asks of a flattened device tree (Devicetree Specification 0.4, chapter 5). */
#include "runtime.h"

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

/* The first property of that name anywhere in the tree, or NULL. */
static const uint8_t *find_property(const void *device_tree, const char *name)
{
    enum { BEGIN_NODE = 1, END_NODE = 2, PROPERTY = 3, NOP = 4 };
    const uint8_t *tree = device_tree;
    if (!tree || big_endian(tree) != 0xD00DFEED)
        return NULL;
    const uint8_t *at = tree + big_endian(tree + 8);
    const char *names = (const char *)tree + big_endian(tree + 12);
    for (;;) {
        uint32_t token = big_endian(at);
        at += 4;
        if (token == BEGIN_NODE) {
            size_t length = 0;
            while (at[length])
                length++;
            at += (length + 4) & ~3UL;
        } else if (token == PROPERTY) {
            uint32_t length = big_endian(at);
            if (equal(names + big_endian(at + 4), name))
                return at + 8;
            at += 8 + ((length + 3) & ~3U);
        } else if (token != END_NODE && token != NOP) {
            return NULL;
        }
    }
}

uint64_t timebase(const void *device_tree)
{
    const uint8_t *p = find_property(device_tree, "timebase-frequency");
    return p ? big_endian(p) : 10000000;
}

uint64_t boot_number(const void *device_tree, const char *key, uint64_t otherwise)
{
    const char *at = (const char *)find_property(device_tree, "bootargs");
    for (; at && *at; at++) {
        size_t length = 0;
        while (key[length] && at[length] == key[length])
            length++;
        if (key[length] || at[length] != '=')
            continue;
        uint64_t number = 0;
        for (at += length + 1; *at >= '0' && *at <= '9'; at++)
            number = number * 10 + (uint64_t)(*at - '0');
        return number;
    }
    return otherwise;
}
