/* Quicksort of 64-bit numbers with insertion sort for short runs. */
#include "bench.h"

enum { COUNT = 1 << 16, SHORT = 12 };

static void insertion_sort(int64_t *low, int64_t *high)
{
    for (int64_t *p = low + 1; p < high; p++) {
        int64_t value = *p, *q = p;
        for (; q > low && q[-1] > value; q--)
            *q = q[-1];
        *q = value;
    }
}

static int64_t middle(int64_t a, int64_t b, int64_t c)
{
    if (a < b)
        return b < c ? b : a < c ? c : a;
    return a < c ? a : b < c ? c : b;
}

static void quicksort_range(int64_t *low, int64_t *high)
{
    while (high - low > SHORT) {
        int64_t pivot = middle(low[0], low[(high - low) / 2], high[-1]);
        int64_t *i = low, *j = high - 1;
        for (;;) {
            while (*i < pivot)
                i++;
            while (*j > pivot)
                j--;
            if (i >= j)
                break;
            int64_t swapped = *i;
            *i++ = *j;
            *j-- = swapped;
        }
        quicksort_range(low, j + 1);
        low = j + 1;
    }
    insertion_sort(low, high);
}

static uint64_t run(uint64_t rounds)
{
    int64_t *numbers = (int64_t *)arena;
    uint64_t state = 5, checksum = 0;
    for (uint64_t round = 0; round < rounds; round++) {
        for (int i = 0; i < COUNT; i++)
            numbers[i] = (int64_t)random_next(&state);
        quicksort_range(numbers, numbers + COUNT);
        for (int i = 1; i < COUNT; i++)
            checksum += (uint64_t)(numbers[i - 1] <= numbers[i]);
        checksum = mix(checksum, (uint64_t)numbers[round % COUNT]);
    }
    return checksum;
}

const struct program quicksort = {"quicksort", NULL, run, 180};
