/* To whole numbers and apart: rint, lrint, floor, round, modf, frexp, ldexp, nextafter, fmod, remainder, in the four modes of fesetround. */
#include "report.h"

#include <math.h>

static const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};

static const struct { const char *name; double (*of)(double); } whole[] = {
    {"rint", rint}, {"nearbyint", nearbyint}, {"floor", floor}, {"ceil", ceil}, {"trunc", trunc}, {"round", round}, {"roundeven", roundeven}, {"logb", logb},
};
static const struct { const char *name; float (*of)(float); } whole_floats[] = {
    {"rintf", rintf}, {"nearbyintf", nearbyintf}, {"floorf", floorf}, {"ceilf", ceilf}, {"truncf", truncf}, {"roundf", roundf}, {"logbf", logbf},
};
static const double halves[] = {0.25, 0.5, 0.75, 1.5, 2.5, 3.5, 1e15 + 0.5, 4503599627370495.5, 4503599627370497.5, 9007199254740993.0, 1e18, 0x1p31, 0x1p31 - 0.5, 0x1p63};

static void to_whole(size_t mode)
{
    for (size_t f = 0; f < COUNT(whole); f++) {
        row("%s mode %zu", whole[f].name, mode);
        for (size_t i = 0; i < double_count; i++) {
            value(bits_of(whole[f].of(double_of(doubles[i]))));
            flags();
        }
        for (size_t i = 0; i < 2 * COUNT(halves); i++) {
            value(bits_of(whole[f].of(i & 1 ? -halves[i / 2] : halves[i / 2])));
            flags();
        }
    }
    for (size_t f = 0; f < COUNT(whole_floats); f++) {
        row("%s mode %zu", whole_floats[f].name, mode);
        for (size_t i = 0; i < float_count; i++) {
            value(bits_of_float(whole_floats[f].of(float_of(floats[i]))));
            flags();
        }
    }
    row("to integers mode %zu", mode);
    for (size_t i = 0; i < double_count + COUNT(halves); i++) {
        double x = i < double_count ? double_of(doubles[i]) : halves[i - double_count];
        value((uint64_t)lrint(x));
        flags();
        value((uint64_t)llround(x));
        flags();
        value((uint64_t)lrintf((float)x));
        flags();
    }
}

static void apart(size_t mode)
{
    row("apart mode %zu", mode);
    for (size_t i = 0; i < double_count; i++) {
        double x = double_of(doubles[i]), integral;
        int exponent = 0;
        value(bits_of(modf(x, &integral)));
        value(bits_of(integral));
        value(bits_of(frexp(x, &exponent)));
        value(isfinite(x) ? (uint64_t)exponent : 0);
        value((uint64_t)ilogb(x));
        for (int by = -1100; by <= 1100; by += 137)
            value(bits_of(ldexp(x, by)));
        flags();
        value(bits_of(nextafter(x, 1)));
        value(bits_of(nextafter(x, -INFINITY)));
        value(bits_of_float(nextafterf((float)x, 0)));
        flags();
    }
    row("remainders mode %zu", mode);
    for (size_t i = 0; i < double_count; i++)
        for (size_t j = 0; j < double_count; j++) {
            int quotient = 0;
            double a = double_of(doubles[i]), b = double_of(doubles[j]);
            value(bits_of(fmod(a, b)));
            value(bits_of(remainder(a, b)));
            flags();
            value(bits_of(remquo(a, b, &quotient)));
            value((uint64_t)(quotient & 7));
            flags();
        }
}

int rounding(void)
{
    for (size_t mode = 0; mode < COUNT(modes); mode++) {
        if (fesetround(modes[mode]))
            return 1;
        to_whole(mode);
        apart(mode);
        fesetround(FE_TONEAREST);
    }
    return 44;
}
