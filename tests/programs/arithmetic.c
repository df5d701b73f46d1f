/* Arithmetic of 64 and 32 bits on all pairs of corner values: wrap-around, signed and unsigned division with its corners, shifts, comparisons. */
#include "report.h"

/* As the instructions have it, by zero included, which C leaves undefined. */
#define INSTRUCTION(name) \
    static uint64_t name(uint64_t a, uint64_t b) \
    { \
        uint64_t result; \
        __asm__(#name " %0, %1, %2" : "=r"(result) : "r"(a), "r"(b)); \
        return result; \
    }
INSTRUCTION(div) INSTRUCTION(divu) INSTRUCTION(rem) INSTRUCTION(remu)
INSTRUCTION(divw) INSTRUCTION(divuw) INSTRUCTION(remw) INSTRUCTION(remuw)
INSTRUCTION(mulh) INSTRUCTION(mulhu) INSTRUCTION(mulhsu)

#define EXPRESSION(name, type, expression) \
    static uint64_t name(uint64_t left, uint64_t right) \
    { \
        type a = (type)left, b = (type)right; \
        return (uint64_t)(int64_t)(expression); \
    }
EXPRESSION(add64, uint64_t, a + b)
EXPRESSION(sub64, uint64_t, a - b)
EXPRESSION(mul64, uint64_t, a * b)
EXPRESSION(add32, uint32_t, a + b)
EXPRESSION(sub32, uint32_t, (int32_t)(a - b))
EXPRESSION(mul32, uint32_t, (int32_t)(a * b))
EXPRESSION(wide32, int32_t, (int64_t)a * b)
EXPRESSION(shift_left64, uint64_t, a << (b & 63))
EXPRESSION(shift_right64, uint64_t, a >> (b & 63))
EXPRESSION(shift_signed64, int64_t, a >> (b & 63))
EXPRESSION(shift_left32, uint32_t, a << (b & 31))
EXPRESSION(shift_right32, uint32_t, a >> (b & 31))
EXPRESSION(shift_signed32, int32_t, a >> (b & 31))
EXPRESSION(less, int64_t, a < b)
EXPRESSION(less_unsigned, uint64_t, a < b)
EXPRESSION(less32, int32_t, a < b)
EXPRESSION(less_equal_u32, uint32_t, a <= b)
EXPRESSION(greatest, int64_t, a > b ? a : b)
EXPRESSION(least_unsigned, uint64_t, a < b ? a : b)
EXPRESSION(half, int16_t, (int16_t)(a + b))
EXPRESSION(byte, uint8_t, (uint8_t)(a * b))
EXPRESSION(sign_extended_byte, int8_t, a ^ b)
EXPRESSION(and_not, uint64_t, a & ~b)
EXPRESSION(or_not, uint64_t, a | ~b)
EXPRESSION(equivalence, uint64_t, ~(a ^ b))
EXPRESSION(chosen, uint64_t, b ? a : 5)
EXPRESSION(by_constants, int64_t, a / 10 + b % 7 - a / -3 + b / 1024)
EXPRESSION(by_constants32, uint32_t, a / 10 + b % 7 - a / 641 + b % 1000000007)

static uint64_t overflows(uint64_t a, uint64_t b)
{
    int64_t wide;
    int32_t narrow;
    return __builtin_add_overflow((int64_t)a, (int64_t)b, &wide) | __builtin_mul_overflow((int64_t)a, (int64_t)b, &wide) << 1 |
           __builtin_sub_overflow((int32_t)a, (int32_t)b, &narrow) << 2 | __builtin_mul_overflow((int32_t)a, (int32_t)b, &narrow) << 3;
}

#define ENTRY(name) {#name, name}
static const struct {
    const char *name;
    uint64_t (*operate)(uint64_t a, uint64_t b);
} operations[] = {
    ENTRY(div), ENTRY(divu), ENTRY(rem), ENTRY(remu), ENTRY(divw), ENTRY(divuw), ENTRY(remw), ENTRY(remuw), ENTRY(mulh), ENTRY(mulhu), ENTRY(mulhsu),
    ENTRY(add64), ENTRY(sub64), ENTRY(mul64), ENTRY(add32), ENTRY(sub32), ENTRY(mul32), ENTRY(wide32), ENTRY(shift_left64), ENTRY(shift_right64),
    ENTRY(shift_signed64), ENTRY(shift_left32), ENTRY(shift_right32), ENTRY(shift_signed32), ENTRY(less), ENTRY(less_unsigned), ENTRY(less32),
    ENTRY(less_equal_u32), ENTRY(greatest), ENTRY(least_unsigned), ENTRY(half), ENTRY(byte), ENTRY(sign_extended_byte), ENTRY(and_not), ENTRY(or_not),
    ENTRY(equivalence), ENTRY(chosen), ENTRY(by_constants), ENTRY(by_constants32), ENTRY(overflows),
};

int arithmetic(void)
{
    uint64_t state = 1;
    for (size_t i = 0; i < COUNT(operations); i++) {
        row("%s", operations[i].name);
        for (size_t a = 0; a < integer_count; a++)
            for (size_t b = 0; b < integer_count; b++)
                value(operations[i].operate(integers[a], integers[b]));
        for (int n = 0; n < 500; n++) {
            uint64_t a = random_next(&state), b = random_next(&state);
            value(operations[i].operate(a >> (b & 63), b));
        }
    }
    return 17;
}
