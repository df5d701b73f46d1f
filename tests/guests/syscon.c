/* Power-off through the board's own register instead of SBI; boot argument code=N makes it a failure with that exit code. */
#include "runtime.h"

enum { TEST_DEVICE = 0x100000, PASS_CODE = 0x5555, FAIL_CODE = 0x3333 };

int guest(uint64_t hart, const void *device_tree)
{
    (void)hart;
    uint64_t code = boot_number(device_tree, "code", 0);
    print("PASS\n");
    *(volatile uint32_t *)(uint64_t)TEST_DEVICE = (uint32_t)(code ? code << 16 | FAIL_CODE : PASS_CODE);
    for (;;)
        __asm__ volatile("wfi");
}
