/* The fused multiply-add and its three relations, in both widths and all rounding modes, with the flags. */
#include "report.h"

#include <math.h>

#define FUSED(name, type, s) \
    static type name##_##s(type a, type b, type c) \
    { \
        type result; \
        __asm__ volatile(#name "." #s " %0, %1, %2, %3" : "=f"(result) : "f"(a), "f"(b), "f"(c)); \
        return result; \
    }
#define FOUR(type, s) FUSED(fmadd, type, s) FUSED(fmsub, type, s) FUSED(fnmadd, type, s) FUSED(fnmsub, type, s)
FOUR(double, d)
FOUR(float, s)

static double (*const of_doubles[])(double, double, double) = {fmadd_d, fmsub_d, fnmadd_d, fnmsub_d, fma};
static float (*const of_floats[])(float, float, float) = {fmadd_s, fmsub_s, fnmadd_s, fnmsub_s, fmaf};
static const char *const names[] = {"a*b+c", "a*b-c", "-(a*b)-c", "-(a*b)+c", "library"};

static void in_doubles(size_t which, uint64_t *state)
{
    for (size_t a = 0; a < double_count; a++)
        for (size_t b = a % 3; b < double_count; b += 3)
            for (size_t c = (a + b) % 7; c < double_count; c += 7) {
                value(bits_of(of_doubles[which](double_of(doubles[a]), double_of(doubles[b]), double_of(doubles[c]))));
                flags();
            }
    for (int n = 0; n < 1000; n++) {
        double a = double_of(random_next(state) >> 12 | 0x3FF0000000000000), b = double_of(random_next(state) >> 12 | 0x3FE0000000000000);
        double c = -(a * b) * (n & 1 ? 1 : double_of(0x3CB0000000000000 + (random_next(state) & 0x0300000000000000))); /* most of it cancels */
        value(bits_of(of_doubles[which](a, b, c)));
        flags();
    }
}

static void in_floats(size_t which, uint64_t *state)
{
    for (size_t a = 0; a < float_count; a++)
        for (size_t b = a % 3; b < float_count; b += 3)
            for (size_t c = (a + b) % 7; c < float_count; c += 7) {
                value(bits_of_float(of_floats[which](float_of(floats[a]), float_of(floats[b]), float_of(floats[c]))));
                flags();
            }
    for (int n = 0; n < 1000; n++) {
        float a = float_of((uint32_t)random_next(state)), b = float_of((uint32_t)random_next(state));
        value(bits_of_float(of_floats[which](a, b, n & 1 ? -(a * b) : float_of((uint32_t)random_next(state)))));
        flags();
    }
}

int fused(void)
{
    uint64_t state = 9;
    for (size_t which = 0; which < COUNT(names); which++)
        for (unsigned mode = 0; mode < ROUNDINGS; mode++) {
            row("double %s %s", names[which], rounding_names[mode]);
            set_rounding(mode);
            in_doubles(which, &state);
            set_rounding(0);
            row("float %s %s", names[which], rounding_names[mode]);
            set_rounding(mode);
            in_floats(which, &state);
            set_rounding(0);
        }
    return 12;
}
