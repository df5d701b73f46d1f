/* binary128 in the compiler's own routines, which read the rounding mode and raise flags through the registers. */
#include "report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};

static void quad(long double x)
{
    uint64_t halves[2];
    memcpy(halves, &x, sizeof halves);
    value(halves[0]);
    value(halves[1]);
    flags();
}

static void operations(size_t mode)
{
    row("operations mode %zu", mode);
    for (size_t i = 0; i < double_count; i += 2)
        for (size_t j = 0; j < double_count; j++) {
            long double a = (long double)double_of(doubles[i]) + 0x1p-90L, b = (long double)double_of(doubles[j]) * 3;
            quad(a + b);
            quad(a - b);
            quad(a * b);
            quad(a / b);
            value((uint64_t)((a < b) | (a == b) << 1));
            flags();
        }
    row("conversions mode %zu", mode);
    for (size_t i = 0; i < double_count; i++) {
        long double x = (long double)double_of(doubles[i]) * (1 + 0x1p-60L);
        value(bits_of((double)x));
        flags();
        value(bits_of_float((float)x));
        flags();
        quad(sqrtl(x));
        if (fabsl(x) < 0x1p62L) {
            value((uint64_t)(int64_t)x);
            value((uint64_t)(int32_t)fmodl(x, 0x1p30L));
            flags();
        }
    }
    for (size_t i = 0; i < integer_count; i++) {
        quad((long double)(int64_t)integers[i]);
        quad((long double)integers[i]);
    }
}

int long_double(void)
{
    char line[80];
    long double sum = 0;
    for (size_t mode = 0; mode < COUNT(modes); mode++) {
        fesetround(modes[mode]);
        operations(mode);
        fesetround(FE_TONEAREST);
    }
    row("series");
    for (int n = 1; n < 300; n++) {
        sum += 1 / ((long double)n * n);
        quad(sum);
    }
    quad(expl(1));
    quad(sinl(1e10L));
    quad(strtold("0.1", NULL));
    snprintf(line, sizeof line, "%.33Lg %La", sum, sum);
    text(line);
    return 128;
}
