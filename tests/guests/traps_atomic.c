/* Exceptions of atomic memory operations are those of stores, whatever they read (unprivileged specification, 13.4). */
#include "traps.h"

#define NOWHERE (1UL << 40) /* no memory and no device there */
#define AT(function) ((uint64_t)(function))
static uint64_t words[2] = {0x1122334455667788, 0x99AABBCCDDEEFF00};

int guest(uint64_t hart, const void *device_tree)
{
    (void)hart, (void)device_tree;
    int wrong = 0;
    uint64_t at = (uint64_t)words;
    catch_traps();
    probe_amoadd_d(NOWHERE + 24, 1);
    wrong += check_trap("amo on nowhere", STORE_ACCESS, NOWHERE + 24, AT(probe_amoadd_d));
    probe_amoadd_d(at + 4, 1);
    wrong += check_trap("misaligned amoadd.d", STORE_MISALIGNED, at + 4, AT(probe_amoadd_d));
    probe_amoadd_w(at + 2, 1);
    wrong += check_trap("misaligned amoadd.w", STORE_MISALIGNED, at + 2, AT(probe_amoadd_w));
    probe_sc_d(at + 1, 0);
    wrong += check_trap("misaligned sc.d", STORE_MISALIGNED, at + 1, AT(probe_sc_d));
    wrong += check("memory, low", words[0], 0x1122334455667788);
    return wrong + check("memory, high", words[1], 0x99AABBCCDDEEFF00);
}
