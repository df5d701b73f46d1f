/* Sorting and searching by several methods, with comparisons through function pointers; all must give the same order. */
#include "report.h"

#include <stdlib.h>

enum { SIZE = 3000 };
struct item {
    int64_t key;
    uint32_t place;
    uint16_t tag;
};
static struct item items[SIZE], reference[SIZE];

static int by_key(const void *left, const void *right)
{
    const struct item *a = left, *b = right;
    int order = (a->key > b->key) - (a->key < b->key);
    return order ? order : (a->place > b->place) - (a->place < b->place);
}

static int by_tag(const void *left, const void *right)
{
    const struct item *a = left, *b = right;
    int order = a->tag - b->tag;
    return order ? order : by_key(left, right);
}

static void library_sort(struct item *array, size_t count, int (*compare)(const void *, const void *))
{
    qsort(array, count, sizeof *array, compare);
}

static void heap_sort(struct item *array, size_t count, int (*compare)(const void *, const void *))
{
    for (size_t end = count, start = count / 2; end > 1;) {
        struct item moving;
        if (start > 0) {
            moving = array[--start];
        } else {
            moving = array[--end];
            array[end] = array[0];
        }
        size_t hole = start;
        for (size_t child = 2 * hole + 1; child < end; child = 2 * hole + 1) {
            if (child + 1 < end && compare(&array[child], &array[child + 1]) < 0)
                child++;
            if (compare(&moving, &array[child]) >= 0)
                break;
            array[hole] = array[child];
            hole = child;
        }
        array[hole] = moving;
    }
}

static void shell_sort(struct item *array, size_t count, int (*compare)(const void *, const void *))
{
    for (size_t gap = count / 2; gap; gap = gap == 2 ? 1 : gap * 5 / 11)
        for (size_t i = gap; i < count; i++) {
            struct item moving = array[i];
            size_t at = i;
            for (; at >= gap && compare(&array[at - gap], &moving) > 0; at -= gap)
                array[at] = array[at - gap];
            array[at] = moving;
        }
}

static void merge_sort(struct item *array, size_t count, int (*compare)(const void *, const void *))
{
    if (count < 2)
        return;
    size_t half = count / 2;
    merge_sort(array, half, compare);
    merge_sort(array + half, count - half, compare);
    struct item *left = malloc(half * sizeof *left);
    memcpy(left, array, half * sizeof *left);
    for (size_t i = 0, j = half, k = 0; i < half; k++)
        array[k] = j < count && compare(&array[j], &left[i]) < 0 ? array[j++] : left[i++];
    free(left);
}

static void fill(uint64_t seed)
{
    for (uint32_t i = 0; i < SIZE; i++) {
        uint64_t bits = random_next(&seed);
        items[i] = (struct item){(int64_t)bits >> (bits & 63), i, (uint16_t)(bits >> 40 & 255)};
    }
}

int sorting(void)
{
    static void (*const methods[])(struct item *, size_t, int (*)(const void *, const void *)) = {library_sort, heap_sort, shell_sort, merge_sort};
    static int (*const orders[])(const void *, const void *) = {by_key, by_tag};
    int wrong = 0;
    for (size_t order = 0; order < COUNT(orders); order++)
        for (size_t method = 0; method < COUNT(methods); method++) {
            row("order %zu method %zu", order, method);
            fill(order);
            methods[method](items, SIZE, orders[order]);
            if (!method)
                memcpy(reference, items, sizeof items);
            for (size_t i = 0; i < SIZE; i++) {
                value((uint64_t)items[i].key);
                wrong += items[i].place != reference[i].place;
            }
            for (size_t i = 0; i < SIZE; i += 7) {
                struct item wanted = items[i], *found;
                found = bsearch(&wanted, items, SIZE, sizeof wanted, orders[order]);
                value(found ? (uint64_t)(found - items) : SIZE);
            }
        }
    return wrong ? 1 : 0;
}
