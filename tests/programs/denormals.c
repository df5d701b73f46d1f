/* Gradual underflow: sums, products and quotients around the least normal number, where tininess and inexactness part. */
#include "report.h"

#include <float.h>
#include <math.h>

static void around_least_double(unsigned mode)
{
    row("products double %s", rounding_names[mode]);
    set_rounding(mode);
    for (uint64_t a = 0; a < 24; a++)
        for (uint64_t b = 0; b < 24; b++) {
            double x = HIDDEN(double_of(0x0010000000000000 - 12 + a)), y = HIDDEN(double_of(0x3FF0000000000000 - 12 + b));
            value(bits_of(x * y));
            flags();
            value(bits_of(-x / y));
            flags();
            value(bits_of(fma(x, y, double_of(b & 1))));
            flags();
            value(bits_of(fma(x, 0.5, -x * y)));
            flags();
        }
    set_rounding(0);
}

static void around_least_float(unsigned mode)
{
    row("products float %s", rounding_names[mode]);
    set_rounding(mode);
    for (uint32_t a = 0; a < 24; a++)
        for (uint32_t b = 0; b < 24; b++) {
            float x = HIDDEN(float_of(0x00800000 - 12 + a)), y = HIDDEN(float_of(0x3F800000 - 12 + b));
            value(bits_of_float(x * y));
            flags();
            value(bits_of_float(-x / y));
            flags();
            value(bits_of_float((float)((double)x * y)));
            flags();
        }
    set_rounding(0);
}

static void down_to_zero(unsigned mode)
{
    static const double factors[] = {0.5, 0.75, 0.1, 1 / 3.0, 0.999};
    row("down to zero %s", rounding_names[mode]);
    set_rounding(mode);
    for (size_t i = 0; i < COUNT(factors); i++) {
        double x = HIDDEN(DBL_MIN * 16);
        float y = HIDDEN(FLT_MIN * 16);
        for (int n = 0; n < 90; n++) {
            x *= factors[i];
            y *= (float)factors[i];
            value(bits_of(x));
            value(bits_of_float(y));
            flags();
        }
    }
    set_rounding(0);
}

int denormals(void)
{
    for (unsigned mode = 0; mode < ROUNDINGS; mode++) {
        around_least_double(mode);
        around_least_float(mode);
        down_to_zero(mode);
    }
    row("sums");
    for (uint64_t a = 0; a < 64; a++)
        for (uint64_t b = 0; b < 64; b++) {
            double x = HIDDEN(double_of(1UL << a % 54 | a << 48 >> 10)), y = HIDDEN(double_of(0x8000000000000000 | 1UL << b % 54));
            value(bits_of(x + y));
            value(bits_of(sqrt(fabs(x - y))));
            flags();
        }
    return 21;
}
