/* libm in double precision: every function on corner values and on a range, in the four modes of fesetround. */
#include "report.h"

#include <math.h>

static const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};

#define NAMED(f) {#f, f}
static const struct { const char *name; double (*of)(double); } unary[] = {
    NAMED(sin), NAMED(cos), NAMED(tan), NAMED(asin), NAMED(acos), NAMED(atan), NAMED(sinh), NAMED(cosh), NAMED(tanh), NAMED(asinh), NAMED(acosh),
    NAMED(atanh), NAMED(exp), NAMED(exp2), NAMED(expm1), NAMED(log), NAMED(log2), NAMED(log10), NAMED(log1p), NAMED(sqrt), NAMED(cbrt), NAMED(erf),
    NAMED(erfc), NAMED(tgamma), NAMED(lgamma), NAMED(j0), NAMED(j1), NAMED(y0), NAMED(y1),
};
static const struct { const char *name; double (*of)(double, double); } binary[] = {NAMED(pow), NAMED(atan2), NAMED(hypot), NAMED(fmod)};

static void of_one(size_t which, size_t mode)
{
    row("%s mode %zu", unary[which].name, mode);
    for (size_t i = 0; i < double_count; i++) {
        value(bits_of(unary[which].of(double_of(doubles[i]))));
        flags();
    }
    for (int n = -60; n < 60; n++)
        value(bits_of(unary[which].of(n * 0.173 + n * n * n * 1e-3)));
    for (int n = 0; n < 40; n++)
        value(bits_of(unary[which].of(ldexp(1.0 + n / 41.0, n * 25 - 500))));
    flags();
}

static void of_two(size_t which, size_t mode)
{
    row("%s mode %zu", binary[which].name, mode);
    for (size_t a = 0; a < double_count; a++)
        for (size_t b = a & 1; b < double_count; b += 2) {
            value(bits_of(binary[which].of(double_of(doubles[a]), double_of(doubles[b]))));
            flags();
        }
    for (int n = 1; n < 200; n++)
        value(bits_of(binary[which].of(n * 0.37, 20.5 - n * 0.21)));
}

int functions(void)
{
    for (size_t mode = 0; mode < COUNT(modes); mode++) {
        fesetround(modes[mode]);
        for (size_t i = 0; i < COUNT(unary); i++)
            of_one(i, mode);
        for (size_t i = 0; i < COUNT(binary); i++)
            of_two(i, mode);
        fesetround(FE_TONEAREST);
    }
    return 0;
}
