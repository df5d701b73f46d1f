/* The floating-point environment: flags raised, tested, held, merged and kept over calls; each mode's effect on plain expressions. */
#include "report.h"

#include <math.h>

static const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};

static void expressions(size_t mode)
{
    double one = HIDDEN(1.0), three = HIDDEN(3.0), tenth = HIDDEN(0.1), huge = HIDDEN(1e308), sum = 0;
    row("expressions mode %zu", mode);
    value((uint64_t)fegetround());
    feclearexcept(FE_ALL_EXCEPT);
    value(bits_of(one / three));
    value((uint64_t)fetestexcept(FE_ALL_EXCEPT));
    value(bits_of(-one / three));
    value(bits_of(huge * 10));
    value((uint64_t)fetestexcept(FE_OVERFLOW | FE_INEXACT));
    value(bits_of(-huge * 10));
    value(bits_of(one / (one - one)));
    value((uint64_t)fetestexcept(FE_DIVBYZERO));
    value(bits_of(sqrt(-one)));
    value((uint64_t)fetestexcept(FE_INVALID));
    value((uint64_t)fetestexcept(FE_ALL_EXCEPT));
    for (int i = 0; i < 1000; i++)
        sum += tenth;
    value(bits_of(sum));
    value(bits_of(one - one));
    value((uint64_t)(int64_t)(sum * 1e10));
    value(bits_of_float((float)sum));
    value(bits_of(huge - huge * (one + 0x1p-52)));
}

static void held(void)
{
    row("held");
    for (int all = 0; all < 32; all++)
        for (int other = 0; other < 32; other += 3) {
            fenv_t before, now;
            fexcept_t some;
            feclearexcept(FE_ALL_EXCEPT);
            feraiseexcept(all);
            value((uint64_t)fetestexcept(FE_ALL_EXCEPT));
            fegetexceptflag(&some, other);
            feholdexcept(&before);
            value((uint64_t)fetestexcept(FE_ALL_EXCEPT));
            feraiseexcept(other);
            fesetround(modes[other & 3]);
            fegetenv(&now);
            value((uint64_t)now);
            feupdateenv(&before);
            value((uint64_t)fetestexcept(FE_ALL_EXCEPT));
            value((uint64_t)fegetround());
            fesetexceptflag(&some, FE_ALL_EXCEPT);
            feclearexcept(other);
            value((uint64_t)fetestexcept(FE_ALL_EXCEPT));
            fesetenv(FE_DFL_ENV);
            value((uint64_t)fetestexcept(FE_ALL_EXCEPT));
        }
}

/* fcsr, frm and fflags are views of one register, written in whole or in part. */
static void registers(void)
{
    row("registers");
    for (uint64_t written = 0; written < 256; written += 5) {
        uint64_t old, mode, accrued, cleared = written ^ 0x5A;
        __asm__ volatile("fscsr %0, %1" : "=r"(old) : "r"(written));
        __asm__ volatile("frrm %0\n\tfrflags %1" : "=r"(mode), "=r"(accrued));
        value(old << 16 | mode << 8 | accrued);
        __asm__ volatile("fsrmi %0, 2\n\tcsrrs %1, fflags, %2" : "=r"(mode), "=r"(accrued) : "r"(written >> 1));
        value(mode << 8 | accrued);
        __asm__ volatile("csrrc %0, fcsr, %1\n\tfrcsr %1" : "=r"(mode), "+r"(cleared));
        value(mode << 8 | cleared);
    }
    __asm__ volatile("fscsr zero");
}

int environment(void)
{
    for (size_t mode = 0; mode < COUNT(modes); mode++) {
        fesetround(modes[mode]);
        expressions(mode);
        fesetenv(FE_DFL_ENV);
    }
    held();
    registers();
    return 6;
}
