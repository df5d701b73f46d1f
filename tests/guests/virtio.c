/* A driver with hostile virtqueues: addresses outside memory, loops of descriptors, absurd sizes, on every virtio-mmio device.
 * A device may break (DEVICE_NEEDS_RESET) or ignore them; after a reset it answers again, and nothing is written elsewhere.
 * STRICT: what cannot be followed at all must break it, and it stands still until the reset. */
#include "traps.h"

enum { FIRST = 0x10001000, STEP = 0x1000, SLOTS = 8, MAGIC_VALUE = 0x74726976 };
enum { MAGIC = 0, VERSION = 4, DEVICE_ID = 8, DEVICE_FEATURES = 0x10, DEVICE_FEATURES_SELECT = 0x14, DRIVER_FEATURES = 0x20, DRIVER_FEATURES_SELECT = 0x24 };
enum { QUEUE_SELECT = 0x30, QUEUE_SIZE_MAX = 0x34, QUEUE_SIZE = 0x38, QUEUE_READY = 0x44, NOTIFY = 0x50, STATUS = 0x70 };
enum { DESCRIPTORS = 0x80, AVAILABLE = 0x90, USED = 0xA0 };
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, NEEDS_RESET = 64 };
enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

static struct {
    struct descriptor table[8];
    struct {
        uint16_t flags, index, ring[8];
    } available;
    struct {
        uint16_t flags, index;
        struct {
            uint32_t id, length;
        } ring[8];
    } used __attribute__((aligned(8)));
} queue __attribute__((aligned(4096)));

static const struct descriptor hostile[] = {
    {1UL << 40, 512, 0, 0},                             /* nowhere, read by the device */
    {1UL << 40, 512, WRITE, 0},                         /* nowhere, written by it */
    {0, 4096, WRITE, 0},                                /* no memory at 0 */
    {~0UL - 15, 32, WRITE, 0},                          /* wraps */
    {0x80200000 - 8 + (1UL << 45), 0xFFFFFFFF, WRITE, 0},
    {0x87FFFFF0, 0xFFFFFFFF, 0, 0},                     /* runs off the end */
    {0x0C000000, 64, WRITE, 0},                         /* the interrupt controller */
    {0x10000000, 64, 0, 0},                             /* a device's registers */
    {(uint64_t)&queue, 0, 0, 0},                        /* empty */
    {(uint64_t)&queue, 16, NEXT, 0},                    /* a loop of one */
    {(uint64_t)&queue, 16, NEXT, 9999},                 /* next outside the table */
    {(uint64_t)&queue, 15, INDIRECT, 0},                /* a table of no whole entry */
    {1UL << 40, 1 << 20, INDIRECT, 0},                  /* a table in nowhere */
    {(uint64_t)&queue, 128, INDIRECT | NEXT | WRITE, 0}, /* flags that exclude each other */
};

static volatile uint32_t *reg(uint64_t device, uint64_t offset)
{
    return (volatile uint32_t *)(device + offset);
}

static void write_address(uint64_t device, uint64_t offset, uint64_t address)
{
    *reg(device, offset) = (uint32_t)address;
    *reg(device, offset + 4) = (uint32_t)(address >> 32);
}

static void negotiate(uint64_t device)
{
    *reg(device, STATUS) = 0;
    *reg(device, STATUS) = ACKNOWLEDGE;
    *reg(device, STATUS) = ACKNOWLEDGE | DRIVER;
    *reg(device, DRIVER_FEATURES_SELECT) = 1;
    *reg(device, DRIVER_FEATURES) = 1; /* VIRTIO_F_VERSION_1 */
    *reg(device, DRIVER_FEATURES_SELECT) = 0;
    *reg(device, DRIVER_FEATURES) = 0;
    *reg(device, STATUS) = ACKNOWLEDGE | DRIVER | FEATURES_OK;
}

static void give(uint64_t device, uint32_t number, uint64_t table, uint64_t available, uint64_t used)
{
    negotiate(device);
    *reg(device, QUEUE_SELECT) = number;
    *reg(device, QUEUE_SIZE) = 8;
    write_address(device, DESCRIPTORS, table);
    write_address(device, AVAILABLE, available);
    write_address(device, USED, used);
    *reg(device, QUEUE_READY) = 1;
    *reg(device, STATUS) = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
    __asm__ volatile("fence" ::: "memory");
    *reg(device, NOTIFY) = number;
}

#ifdef STRICT
static int broke(uint64_t device, const char *what)
{
    int wrong = check(what, *reg(device, STATUS) & NEEDS_RESET, NEEDS_RESET);
    queue.used.index = 0;
    *reg(device, NOTIFY) = 0;
    return wrong + check("buffers used by a broken device", queue.used.index, 0);
}
#endif

static int attack(uint64_t device, uint32_t number)
{
    int wrong = 0;
    static const uint64_t places[] = {1UL << 40, ~0UL - 64, 0, 0x0C000000, 0x10000000, 0x87FFFFFC};
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        for (int k = 0; k < 8; k++)
            queue.table[k] = hostile[i];
        for (int k = 0; k < 8; k++)
            queue.available.ring[k] = (uint16_t)k;
        queue.available.index = 2;
        queue.used.index = 0;
        give(device, number, (uint64_t)queue.table, (uint64_t)&queue.available, (uint64_t)&queue.used);
#ifdef STRICT
        if (hostile[i].flags == WRITE || hostile[i].next == 9999 || hostile[i].flags & INDIRECT)
            wrong += broke(device, "a buffer that cannot be followed");
#endif
    }
    queue.available.index = 0x7FFF; /* far more than the ring holds */
    give(device, number, (uint64_t)queue.table, (uint64_t)&queue.available, (uint64_t)&queue.used);
#ifdef STRICT
    wrong += broke(device, "more buffers than the ring holds");
#endif
    queue.available.index = 1;
    queue.available.ring[0] = 0xFFFF; /* a head outside the table */
    give(device, number, (uint64_t)queue.table, (uint64_t)&queue.available, (uint64_t)&queue.used);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        give(device, number, places[i], (uint64_t)&queue.available, (uint64_t)&queue.used);
        give(device, number, (uint64_t)queue.table, places[i], (uint64_t)&queue.used);
        give(device, number, (uint64_t)queue.table, (uint64_t)&queue.available, places[i]);
    }
    for (uint32_t size = 0; size < 100000; size = size * 3 + 7) { /* sizes that are no power of two, or too large */
        negotiate(device);
        *reg(device, QUEUE_SELECT) = number;
        *reg(device, QUEUE_SIZE) = size;
        *reg(device, QUEUE_READY) = 1;
        *reg(device, NOTIFY) = number;
    }
    *reg(device, QUEUE_SELECT) = 0xFFFFFFFF;
    *reg(device, QUEUE_READY) = 1;
    *reg(device, NOTIFY) = 0xFFFFFFFF;
    return wrong;
}

int guest(uint64_t hart, const void *device_tree)
{
    (void)hart, (void)device_tree;
    int wrong = 0, devices = 0;
    catch_traps();
    for (int slot = 0; slot < SLOTS; slot++) {
        uint64_t device = FIRST + (uint64_t)slot * STEP;
        uint64_t magic = probe_lw(device + MAGIC);
        if (caught.count || magic != MAGIC_VALUE) { /* an empty slot may fault */
            caught.count = 0;
            continue;
        }
        if (*reg(device, VERSION) != 2 || !*reg(device, DEVICE_ID))
            continue;
        devices++;
        uint32_t id = *reg(device, DEVICE_ID);
        for (uint32_t number = 0; number < 3; number++) {
            negotiate(device);
            *reg(device, QUEUE_SELECT) = number;
            if (*reg(device, QUEUE_SIZE_MAX) >= 8)
                wrong += attack(device, number);
        }
        *reg(device, STATUS) = 0;
        wrong += check("status after a reset", *reg(device, STATUS), 0);
        wrong += check("device", *reg(device, DEVICE_ID), id);
    }
    wrong += check_no_trap("registers of a device");
    print("devices attacked\n");
    return wrong + check("devices found", devices > 0, 1);
}
