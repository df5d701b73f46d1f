/* Arithmetic of binary32: see arithmetic_table.h. */
#include "report.h"

#define REAL float
#define SUFFIX s
#define BITS uint32_t
#define EXPONENT 0x7F800000u
#define CORNERS floats
#define CORNER_COUNT float_count
#define FROM_BITS float_of
#define TO_BITS bits_of_float
#include "arithmetic_table.h"

int float_arithmetic(void)
{
    all_operations();
    return 32;
}
