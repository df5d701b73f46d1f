/* Atomic operations of all sizes, alone and from four threads: AMOs, LR/SC loops, and those of one and two bytes, which are masked LR/SC. */
#include "report.h"

#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 4, TURNS = 3000 };

#define ALONE(type) \
    static void alone_##type(uint64_t a, uint64_t b) \
    { \
        _Atomic type cell[2] = {(type)a, (type)~a}; \
        type expected = (type)b; \
        value((uint64_t)atomic_fetch_add(&cell[0], (type)b)); \
        value((uint64_t)atomic_fetch_sub(&cell[1], (type)b)); \
        value((uint64_t)atomic_fetch_and(&cell[0], (type)(b | 0x55))); \
        value((uint64_t)atomic_fetch_or(&cell[1], (type)(b & 0x33))); \
        value((uint64_t)atomic_fetch_xor(&cell[0], (type)b)); \
        value((uint64_t)atomic_exchange(&cell[1], (type)(b - a))); \
        value(atomic_compare_exchange_strong(&cell[0], &expected, (type)a)); \
        value((uint64_t)expected); \
        value(atomic_compare_exchange_strong(&cell[0], &expected, (type)(a + 1))); \
        value((uint64_t)atomic_load(&cell[0])); \
        value((uint64_t)atomic_load(&cell[1])); \
    }
typedef int8_t byte;
typedef uint16_t half;
typedef int32_t word;
typedef uint64_t doubleword;
ALONE(byte)
ALONE(half)
ALONE(word)
ALONE(doubleword)

/* What C has no operation for. */
#define AMO(instruction, type) \
    static uint64_t instruction##_##type(uint64_t a, uint64_t b) \
    { \
        type cell = (type)a; \
        uint64_t old; \
        __asm__ volatile(#instruction "." #type " %0, %2, %1" : "=r"(old), "+A"(cell) : "r"(b)); \
        return old * 3 ^ (uint64_t)cell; \
    }
typedef int32_t w;
typedef int64_t d;
AMO(amomin, w) AMO(amomax, w) AMO(amominu, w) AMO(amomaxu, w)
AMO(amomin, d) AMO(amomax, d) AMO(amominu, d) AMO(amomaxu, d)

static struct {
    _Atomic uint64_t sum, changes;
    _Atomic uint32_t bits;
    _Atomic uint8_t small[4];
    _Atomic int64_t balance;
    pthread_mutex_t lock;
    uint64_t locked;
    atomic_flag spin;
    uint64_t spun;
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER, .spin = ATOMIC_FLAG_INIT};

static void *work(void *argument)
{
    uint64_t number = (uint64_t)argument;
    for (uint64_t turn = 0; turn < TURNS; turn++) {
        atomic_fetch_add_explicit(&shared.sum, turn ^ number, memory_order_relaxed);
        atomic_fetch_xor(&shared.bits, (uint32_t)(turn * 0x9E3779B9 << number));
        atomic_fetch_add(&shared.small[number], 3);
        atomic_fetch_sub(&shared.balance, (int64_t)(turn * number));
        uint64_t old = atomic_load(&shared.changes);
        while (!atomic_compare_exchange_weak(&shared.changes, &old, old * 1 + number + 1))
            ;
        if (turn % 16 == 0) {
            pthread_mutex_lock(&shared.lock);
            shared.locked += turn;
            pthread_mutex_unlock(&shared.lock);
        }
        if (turn % 64 == 0) {
            while (atomic_flag_test_and_set(&shared.spin))
                sched_yield();
            shared.spun += number + 1;
            atomic_flag_clear(&shared.spin);
        }
    }
    return (void *)(number * 10);
}

static void together(void)
{
    pthread_t threads[THREADS];
    row("threads");
    for (uint64_t i = 0; i < THREADS; i++)
        value((uint64_t)pthread_create(&threads[i], NULL, work, (void *)i));
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        value((uint64_t)result);
    }
    value(shared.sum);
    value(shared.bits);
    for (int i = 0; i < THREADS; i++)
        value(shared.small[i]);
    value((uint64_t)shared.balance);
    value(shared.changes);
    value(shared.locked);
    value(shared.spun);
}

int atomics(void)
{
    static const struct {
        const char *name;
        uint64_t (*operate)(uint64_t a, uint64_t b);
    } more[] = {
        {"amomin.w", amomin_w}, {"amomax.w", amomax_w}, {"amominu.w", amominu_w}, {"amomaxu.w", amomaxu_w},
        {"amomin.d", amomin_d}, {"amomax.d", amomax_d}, {"amominu.d", amominu_d}, {"amomaxu.d", amomaxu_d},
    };
    static void (*const alone[])(uint64_t, uint64_t) = {alone_byte, alone_half, alone_word, alone_doubleword};
    for (size_t size = 0; size < COUNT(alone); size++) {
        row("of %d bytes", 1 << size);
        for (size_t a = 0; a < integer_count; a++)
            for (size_t b = 0; b < integer_count; b++)
                alone[size](integers[a], integers[b]);
    }
    for (size_t i = 0; i < COUNT(more); i++) {
        row("%s", more[i].name);
        for (size_t a = 0; a < integer_count; a++)
            for (size_t b = 0; b < integer_count; b++)
                value(more[i].operate(integers[a], integers[b]));
    }
    together();
    return 8;
}
