/* libm in single precision, and complex functions: on corner values and on a range. */
#include "report.h"

#include <complex.h>
#include <math.h>

#define NAMED(f) {#f, f}
static const struct { const char *name; float (*of)(float); } unary[] = {
    NAMED(sinf), NAMED(cosf), NAMED(tanf), NAMED(asinf), NAMED(acosf), NAMED(atanf), NAMED(sinhf), NAMED(coshf), NAMED(tanhf), NAMED(expf), NAMED(exp2f),
    NAMED(expm1f), NAMED(logf), NAMED(log2f), NAMED(log10f), NAMED(log1pf), NAMED(sqrtf), NAMED(cbrtf), NAMED(erff), NAMED(tgammaf), NAMED(lgammaf), NAMED(j0f),
};
static const struct { const char *name; double complex (*of)(double complex); } of_complex[] = {
    NAMED(csqrt), NAMED(cexp), NAMED(clog), NAMED(csin), NAMED(ctanh), NAMED(cacos), NAMED(casinh),
};

int float_functions(void)
{
    for (unsigned mode = 0; mode < 4; mode++)
        for (size_t which = 0; which < COUNT(unary); which++) {
            row("%s %s", unary[which].name, rounding_names[mode]);
            set_rounding(mode);
            for (size_t i = 0; i < float_count; i++) {
                value(bits_of_float(unary[which].of(float_of(floats[i]))));
                flags();
            }
            for (int n = -100; n < 100; n++)
                value(bits_of_float(unary[which].of((float)n * 0.31f + 1e-4f * (float)(n * n))));
            flags();
            set_rounding(0);
        }
    row("powf");
    for (size_t a = 0; a < float_count; a++)
        for (size_t b = 0; b < float_count; b++) {
            value(bits_of_float(powf(float_of(floats[a]), float_of(floats[b]))));
            value(bits_of_float(atan2f(float_of(floats[a]), float_of(floats[b]))));
            flags();
        }
    for (size_t which = 0; which < COUNT(of_complex); which++) {
        row("%s", of_complex[which].name);
        for (size_t a = 0; a < double_count; a += 3)
            for (size_t b = 0; b < double_count; b += 5) {
                double complex z = of_complex[which].of(CMPLX(double_of(doubles[a]), double_of(doubles[b])));
                value(bits_of(creal(z)));
                value(bits_of(cimag(z)));
            }
        flags();
    }
    return 77;
}
