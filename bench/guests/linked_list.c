/* Singly linked lists in memory order and out of it: build, reverse, merge sort, filter, sum. */
#include "bench.h"

struct node {
    struct node *next;
    uint64_t key;
};

enum { NODES = 8192 };

static struct node *reverse(struct node *list)
{
    struct node *done = NULL;
    while (list) {
        struct node *next = list->next;
        list->next = done;
        done = list;
        list = next;
    }
    return done;
}

static struct node *merge(struct node *a, struct node *b)
{
    struct node *head = NULL, **tail = &head;
    while (a && b) {
        struct node **least = a->key <= b->key ? &a : &b;
        *tail = *least;
        tail = &(*tail)->next;
        *least = (*least)->next;
    }
    *tail = a ? a : b;
    return head;
}

static struct node *sort(struct node *list)
{
    if (!list || !list->next)
        return list;
    struct node *slow = list, *fast = list->next;
    while (fast && fast->next) {
        slow = slow->next;
        fast = fast->next->next;
    }
    struct node *half = slow->next;
    slow->next = NULL;
    return merge(sort(list), sort(half));
}

static struct node *without_multiples(struct node *list, uint64_t divisor)
{
    struct node **link = &list;
    while (*link)
        if ((*link)->key % divisor == 0)
            *link = (*link)->next;
        else
            link = &(*link)->next;
    return list;
}

static uint64_t run(uint64_t rounds)
{
    struct node *nodes = (struct node *)arena;
    uint64_t state = 1, checksum = 0;
    for (uint64_t round = 0; round < rounds; round++) {
        for (int i = 0; i < NODES; i++) {
            nodes[i].key = random_next(&state) >> 40;
            nodes[i].next = i + 1 < NODES ? &nodes[i + 1] : NULL;
        }
        struct node *list = sort(nodes);
        for (int pass = 0; pass < 20; pass++) {
            list = reverse(list);
            uint64_t place = 0;
            for (struct node *n = list; n; n = n->next)
                checksum += n->key ^ place++;
        }
        list = without_multiples(list, 3);
        list = without_multiples(list, 5);
        for (struct node *n = list; n; n = n->next)
            checksum = mix(checksum, n->key);
    }
    return checksum;
}

const struct program linked_list = {"linked_list", NULL, run, 350};
