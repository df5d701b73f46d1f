/* Conversions between all widths of integers, float and double: in all rounding modes and by static ones, out of range, of NaNs, boxed or not. */
#include "report.h"

#define TO_INTEGER(to, from, type) \
    static uint64_t to##_##from(type x) \
    { \
        uint64_t result; \
        __asm__ volatile("fcvt." #to "." #from " %0, %1" : "=r"(result) : "f"(x)); \
        return result; \
    } \
    static uint64_t to##_##from##_zero(type x) \
    { \
        uint64_t result; \
        __asm__ volatile("fcvt." #to "." #from " %0, %1, rtz" : "=r"(result) : "f"(x)); \
        return result; \
    }
#define FROM_INTEGER(to, from, type, bits) \
    static uint64_t to##_##from(uint64_t x) \
    { \
        type result; \
        __asm__ volatile("fcvt." #to "." #from " %0, %1" : "=f"(result) : "r"(x)); \
        return bits(result); \
    }
#define EACH(s, type, bits) \
    TO_INTEGER(w, s, type) TO_INTEGER(wu, s, type) TO_INTEGER(l, s, type) TO_INTEGER(lu, s, type) \
    FROM_INTEGER(s, w, type, bits) FROM_INTEGER(s, wu, type, bits) FROM_INTEGER(s, l, type, bits) FROM_INTEGER(s, lu, type, bits)
EACH(d, double, bits_of)
EACH(s, float, bits_of_float)

#define NAMED(f) {#f, f}
static const struct { const char *name; uint64_t (*convert)(double); } from_doubles[] = {
    NAMED(w_d), NAMED(wu_d), NAMED(l_d), NAMED(lu_d), NAMED(w_d_zero), NAMED(wu_d_zero), NAMED(l_d_zero), NAMED(lu_d_zero),
};
static const struct { const char *name; uint64_t (*convert)(float); } from_floats[] = {
    NAMED(w_s), NAMED(wu_s), NAMED(l_s), NAMED(lu_s), NAMED(w_s_zero), NAMED(wu_s_zero), NAMED(l_s_zero), NAMED(lu_s_zero),
};
static const struct { const char *name; uint64_t (*convert)(uint64_t); } from_integers[] = {
    NAMED(d_w), NAMED(d_wu), NAMED(d_l), NAMED(d_lu), NAMED(s_w), NAMED(s_wu), NAMED(s_l), NAMED(s_lu),
};

static void to_integers(unsigned mode)
{
    uint64_t state = mode;
    for (size_t i = 0; i < COUNT(from_doubles); i++) {
        row("%s %s", from_doubles[i].name, rounding_names[mode]);
        for (size_t a = 0; a < double_count; a++) {
            value(from_doubles[i].convert(double_of(doubles[a])));
            flags();
        }
        for (int n = 0; n < 600; n++) { /* exponents around those of the limits */
            value(from_doubles[i].convert(double_of((random_next(&state) & 0x803FFFFFFFFFFFFF) + 0x3FC0000000000000 + ((uint64_t)n << 53))));
            flags();
        }
    }
    for (size_t i = 0; i < COUNT(from_floats); i++) {
        row("%s %s", from_floats[i].name, rounding_names[mode]);
        for (size_t a = 0; a < float_count; a++) {
            value(from_floats[i].convert(float_of(floats[a])));
            flags();
        }
        for (int n = 0; n < 600; n++) {
            value(from_floats[i].convert(float_of((uint32_t)random_next(&state))));
            flags();
        }
    }
}

static void of_integers(unsigned mode)
{
    uint64_t state = mode;
    for (size_t i = 0; i < COUNT(from_integers); i++) {
        row("%s %s", from_integers[i].name, rounding_names[mode]);
        for (size_t a = 0; a < integer_count; a++) {
            value(from_integers[i].convert(integers[a]));
            flags();
        }
        for (int n = 0; n < 600; n++) {
            value(from_integers[i].convert(random_next(&state) >> (n & 63)));
            flags();
        }
    }
}

static void between(unsigned mode)
{
    uint64_t state = mode;
    row("double to float %s", rounding_names[mode]);
    for (size_t a = 0; a < double_count; a++) {
        value(bits_of_float((float)HIDDEN(double_of(doubles[a]))));
        flags();
    }
    for (int n = 0; n < 2000; n++) {
        uint64_t bits = random_next(&state);
        value(bits_of_float((float)double_of(n & 1 ? bits : (bits & 0x8FFFFFFFFFFFFFFF) | 0x3000000000000000)));
        flags();
    }
    row("float to double %s", rounding_names[mode]);
    for (size_t a = 0; a < float_count; a++) {
        value(bits_of((double)HIDDEN(float_of(floats[a]))));
        flags();
    }
}

/* A float of which the upper half of its register is not all ones counts as the canonical NaN; moves see its bits. */
static void boxes(void)
{
    row("boxes");
    for (size_t a = 0; a < integer_count; a++)
        for (size_t b = 0; b < 4; b++) {
            uint64_t bits = integers[a] ^ integers[b] << 13, moved, sum;
            __asm__ volatile("fmv.d.x f0, %2\n\tfmv.x.w %0, f0\n\tfadd.s f0, f0, f0\n\tfmv.x.d %1, f0" : "=r"(moved), "=r"(sum) : "r"(bits) : "f0");
            value(moved);
            value(sum);
            __asm__ volatile("fmv.w.x f0, %2\n\tfmv.x.d %0, f0\n\tfsgnjn.s f0, f0, f0\n\tfmv.x.d %1, f0" : "=r"(moved), "=r"(sum) : "r"(bits) : "f0");
            value(moved);
            value(sum);
            flags();
        }
}

int conversions(void)
{
    for (unsigned mode = 0; mode < ROUNDINGS; mode++) {
        set_rounding(mode);
        to_integers(mode);
        of_integers(mode);
        between(mode);
        set_rounding(0);
    }
    boxes();
    return 33;
}
