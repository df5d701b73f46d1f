/* The heap: balanced trees with parent-less rotations, hash tables that grow, lists, realloc; many small allocations and frees. */
#include "report.h"

#include <stdlib.h>

struct node {
    struct node *left, *right;
    uint64_t key, priority;
};

static struct node *rotated(struct node *top, struct node **from, struct node **to)
{
    struct node *up = *from;
    *from = *to;
    *to = top;
    return up;
}

static struct node *inserted(struct node *top, uint64_t key, uint64_t priority)
{
    if (!top) {
        struct node *node = malloc(sizeof *node);
        *node = (struct node){NULL, NULL, key, priority};
        return node;
    }
    if (key == top->key)
        return top;
    if (key < top->key) {
        top->left = inserted(top->left, key, priority);
        return top->left->priority > top->priority ? rotated(top, &top->left, &top->left->right) : top;
    }
    top->right = inserted(top->right, key, priority);
    return top->right->priority > top->priority ? rotated(top, &top->right, &top->right->left) : top;
}

static struct node *removed(struct node *top, uint64_t key)
{
    if (!top)
        return NULL;
    if (key != top->key) {
        struct node **side = key < top->key ? &top->left : &top->right;
        *side = removed(*side, key);
        return top;
    }
    if (!top->left || !top->right) {
        struct node *rest = top->left ? top->left : top->right;
        free(top);
        return rest;
    }
    struct node *up = top->left->priority > top->right->priority ? rotated(top, &top->left, &top->left->right) : rotated(top, &top->right, &top->right->left);
    struct node **side = up->left == top ? &up->left : &up->right;
    *side = removed(*side, key);
    return up;
}

static unsigned walked(const struct node *top)
{
    if (!top)
        return 0;
    unsigned left = walked(top->left);
    value(top->key);
    unsigned right = walked(top->right);
    return 1 + (left > right ? left : right);
}

static void treap(void)
{
    uint64_t state = 5;
    struct node *root = NULL;
    for (int i = 0; i < 1500; i++) {
        uint64_t bits = random_next(&state);
        root = inserted(root, bits % 4000, bits >> 20);
        if (i % 3 == 0)
            root = removed(root, bits >> 40 & 4095);
    }
    row("treap");
    value(walked(root));
    while (root)
        root = removed(root, root->key);
}

struct table {
    uint64_t *keys;
    uint32_t *counts;
    size_t capacity, used;
};

static void counted(struct table *table, uint64_t key)
{
    if (table->used * 4 >= table->capacity * 3) {
        struct table larger = {calloc(table->capacity * 2 + 8, 8), calloc(table->capacity * 2 + 8, 4), table->capacity * 2 + 8, 0};
        for (size_t i = 0; i < table->capacity; i++)
            for (uint32_t n = 0; n < table->counts[i]; n++)
                counted(&larger, table->keys[i]);
        free(table->keys);
        free(table->counts);
        *table = larger;
    }
    size_t at = key * 0x9E3779B97F4A7C15u % table->capacity;
    while (table->counts[at] && table->keys[at] != key)
        at = at + 1 == table->capacity ? 0 : at + 1;
    table->used += !table->counts[at];
    table->keys[at] = key;
    table->counts[at]++;
}

static void hash_table(void)
{
    struct table table = {NULL, NULL, 0, 0};
    uint64_t state = 6;
    for (int i = 0; i < 6000; i++)
        counted(&table, random_next(&state) % 2500 << (i & 31));
    row("hash table");
    value(table.used);
    for (size_t i = 0; i < table.capacity; i++)
        value(table.counts[i] ? table.keys[i] ^ table.counts[i] : 0);
    free(table.keys);
    free(table.counts);
}

static void sizes(void)
{
    unsigned char *blocks[200] = {NULL};
    size_t lengths[200] = {0};
    uint64_t state = 7;
    row("blocks");
    for (int i = 0; i < 4000; i++) {
        size_t at = random_next(&state) % COUNT(blocks), length = random_next(&state) % (i % 100 ? 700 : 200000) + 1;
        size_t kept = lengths[at] < length ? lengths[at] : length;
        blocks[at] = realloc(blocks[at], length);
        value(kept ? blocks[at][kept - 1] : 256);
        memset(blocks[at] + kept, i, length - kept);
        lengths[at] = length;
        if (i % 5 == 0) {
            free(blocks[at]);
            blocks[at] = NULL;
            lengths[at] = 0;
        }
    }
    for (size_t i = 0; i < COUNT(blocks); i++)
        free(blocks[i]);
}

int trees(void)
{
    treap();
    hash_table();
    sizes();
    return 64;
}
