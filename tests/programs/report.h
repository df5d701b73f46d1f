/* What all programs share: a report of rows, each a title, a count of values and a hash over them; the table of corner values; the modes. */
#ifndef REPORT_H
#define REPORT_H

#include <fenv.h>
#include <stdint.h>
#include <string.h>

/* Ends the row before and begins one. Started with a second argument a program prints each value too. */
void row(const char *format, ...) __attribute__((format(printf, 1, 2)));
void value(uint64_t bits);
void text(const char *string);
/* The accrued exception flags as a value; clears them. */
void flags(void);
/* Ends the last row. */
void finish(void);

/* The same numbers at every start, spread over all 64 bits. */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static inline uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline uint32_t bits_of_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double double_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* The compiler must not know the value. */
#define HIDDEN(x) ({ __typeof__((x) + 0) hidden = (x); __asm__ volatile("" : "+r"(hidden)); hidden; })

/* Rounding modes as the register frm has them; the last, to nearest with ties away from zero, is one that C has no name for. */
enum { ROUNDINGS = 5 };
static const char *const rounding_names[ROUNDINGS] = {"nearest", "zero", "down", "up", "away"};
static inline void set_rounding(unsigned mode)
{
    __asm__ volatile("fsrm %0" : : "r"((uint64_t)mode) : "memory");
}

extern const uint64_t integers[], doubles[];
extern const uint32_t floats[];
extern const size_t integer_count, double_count, float_count;

#endif
