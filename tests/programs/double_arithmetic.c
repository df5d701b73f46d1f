/* Arithmetic of binary64: see arithmetic_table.h. */
#include "report.h"

#define REAL double
#define SUFFIX d
#define BITS uint64_t
#define EXPONENT 0x7FF0000000000000u
#define CORNERS doubles
#define CORNER_COUNT double_count
#define FROM_BITS double_of
#define TO_BITS bits_of
#include "arithmetic_table.h"

int double_arithmetic(void)
{
    all_operations();
    return 64;
}
