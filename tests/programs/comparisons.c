/* Comparisons, quiet and signaling, and classes, on all pairs of corner values, with the flags. */
#include "report.h"

#include <math.h>

#define COMPARE(name, s, type) \
    static uint64_t name##_##s(type a, type b) \
    { \
        uint64_t result; \
        __asm__ volatile(#name "." #s " %0, %1, %2" : "=r"(result) : "f"(a), "f"(b)); \
        return result; \
    }
COMPARE(feq, d, double) COMPARE(flt, d, double) COMPARE(fle, d, double)
COMPARE(feq, s, float) COMPARE(flt, s, float) COMPARE(fle, s, float)

static uint64_t relations(double a, double b)
{
    uint64_t result = (a < b) | (a <= b) << 1 | (a > b) << 2 | (a >= b) << 3 | (a == b) << 4 | (a != b) << 5;
    result |= (uint64_t)(isless(a, b) | islessequal(a, b) << 1 | isgreater(a, b) << 2 | isunordered(a, b) << 3 | islessgreater(a, b) << 4) << 8;
    return result;
}

static void pairs(void)
{
    row("doubles");
    for (size_t i = 0; i < double_count; i++)
        for (size_t j = 0; j < double_count; j++) {
            double a = double_of(doubles[i]), b = double_of(doubles[j]);
            value(feq_d(a, b) | flt_d(a, b) << 1 | fle_d(a, b) << 2);
            flags();
            value(relations(a, b));
            flags();
            value(bits_of(fmin(a, b)));
            value(bits_of(fmax(a, b)));
            value(bits_of(fdim(a, b)));
            value(bits_of(copysign(a, b)));
            flags();
        }
    row("floats");
    for (size_t i = 0; i < float_count; i++)
        for (size_t j = 0; j < float_count; j++) {
            float a = float_of(floats[i]), b = float_of(floats[j]);
            value(feq_s(a, b) | flt_s(a, b) << 1 | fle_s(a, b) << 2);
            flags();
            value(bits_of_float(fminf(a, b)));
            value(bits_of_float(fmaxf(a, b)));
            flags();
        }
}

int comparisons(void)
{
    pairs();
    row("classes");
    for (size_t i = 0; i < double_count; i++) {
        uint64_t class;
        double x = double_of(doubles[i]);
        __asm__ volatile("fclass.d %0, %1" : "=r"(class) : "f"(x));
        value(class);
        value((uint64_t)(fpclassify(x) | !!signbit(x) << 4 | !!isnan(x) << 5 | !!isfinite(x) << 6 | !!isnormal(x) << 7 | !!isinf(x) << 8));
    }
    for (size_t i = 0; i < float_count; i++) {
        uint64_t class;
        float x = float_of(floats[i]);
        __asm__ volatile("fclass.s %0, %1" : "=r"(class) : "f"(x));
        value(class);
        value((uint64_t)(fpclassify(x) | !!signbit(x) << 4 | !!isnan(x) << 5 | !!isfinite(x) << 6 | !!isnormal(x) << 7));
    }
    flags();
    return 4;
}
