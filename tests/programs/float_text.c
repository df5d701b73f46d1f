/* Floating point to text and back: %a %e %f %g with widths and precisions, strtod and strtof, in the four modes of fesetround. */
#include "report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
static const char *const formats[] = {"%a", "%.3a", "%A", "%e", "%.0e", "%.17g", "%g", "%G", "%f", "%.30f", "%+.2f", "%#.0f", "%030.5f", "%-24.8e|", "% .1f"};
static const char *const inputs[] = {
    "0", "-0", "1", "0.1", "1e23", "8.5e22", "9007199254740993", "1.7976931348623157e308", "1.7976931348623159e308", "2.2250738585072011e-308",
    "4.9406564584124654e-324", "2.4703282292062327e-324", "2.4703282292062328e-324", "0x1p-1074", "0x1.8p-1075", "0x1.fffffffffffff8p1023", "inf", "-Infinity",
    "nan", "nan(0x123)", "1e400", "1e-400", "3.4028235677973366e38", "1.17549429e-38", "0x1.000001p0", "123456789012345678901234567890", ".5e1x", "1e", "e5",
    "5e-324", "0.500000000000000166533453693773481063544750213623046875", "3.518437208883201171875e13",
};

static void printed(size_t mode)
{
    char line[512];
    for (size_t f = 0; f < COUNT(formats); f++) {
        row("%s mode %zu", formats[f], mode);
        for (size_t i = 0; i < double_count; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            snprintf(line, sizeof line, formats[f], double_of(doubles[i]));
            text(line);
            snprintf(line, sizeof line, formats[f], (double)float_of(floats[i % float_count]));
            text(line);
#pragma GCC diagnostic pop
        }
    }
}

static void parsed(size_t mode)
{
    row("parsed mode %zu", mode);
    for (size_t i = 0; i < COUNT(inputs); i++) {
        char *end;
        feclearexcept(FE_ALL_EXCEPT);
        value(bits_of(strtod(inputs[i], &end)));
        value((uint64_t)(end - inputs[i]));
        flags();
        value(bits_of_float(strtof(inputs[i], &end)));
        flags();
    }
}

static void there_and_back(void)
{
    uint64_t state = 8;
    row("there and back");
    for (int n = 0; n < 400; n++) {
        char line[64];
        double x = double_of(random_next(&state));
        snprintf(line, sizeof line, "%.17g", x);
        text(line);
        value(isnan(x) ? 0 : bits_of(strtod(line, NULL)) ^ bits_of(x));
    }
}

int float_text(void)
{
    for (size_t mode = 0; mode < COUNT(modes); mode++) {
        fesetround(modes[mode]);
        printed(mode);
        parsed(mode);
        fesetround(FE_TONEAREST);
    }
    there_and_back();
    printf("%a %a %.3f %g %s\n", 1.0 / 3, (double)(1.0f / 3), M_PI, HUGE_VAL, isnan(nan("")) ? "nan" : "number");
    return 10;
}
