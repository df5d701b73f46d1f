/* Between a hart's LR and SC another hart changes the word and changes it back: the SC must fail. Then two harts pop from and push
 * to one lock-free stack, which comes apart where an SC is a mere compare-and-swap. */
#include "runtime.h"

enum { NODES = 8, ROUNDS = 200000, CHECKS = 2000 };

struct node {
    struct node *volatile next;
    volatile uint64_t owned;
};

static struct node nodes[NODES];
static struct node *volatile head;
static volatile uint64_t word, turn, ready, done, twice_owned, popped[2];

static uint64_t lr(volatile void *at)
{
    uint64_t value;
    __asm__ volatile("lr.d.aqrl %0, (%1)" : "=r"(value) : "r"(at) : "memory");
    return value;
}

static uint64_t sc(volatile void *at, uint64_t value)
{
    uint64_t failed;
    __asm__ volatile("sc.d.aqrl %0, %2, (%1)" : "=r"(failed) : "r"(at), "r"(value) : "memory");
    return failed;
}

static void push(struct node *node)
{
    do
        node->next = (struct node *)lr(&head);
    while (sc(&head, (uint64_t)node));
}

static struct node *pop(void)
{
    struct node *top;
    do {
        top = (struct node *)lr(&head);
        if (!top)
            return NULL;
    } while (sc(&head, (uint64_t)top->next));
    return top;
}

static void stress(uint64_t me)
{
    __atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
    while (ready != 2)
        ;
    struct node *mine[2];
    for (uint64_t i = 0; i < ROUNDS && !twice_owned; i++) {
        for (int k = 0; k < 2; k++) {
            mine[k] = pop();
            if (!mine[k])
                continue;
            popped[me]++;
            if (__atomic_exchange_n(&mine[k]->owned, 1, __ATOMIC_SEQ_CST))
                twice_owned++;
        }
        for (int k = 0; k < 2; k++)
            if (mine[k]) {
                __atomic_store_n(&mine[k]->owned, 0, __ATOMIC_SEQ_CST);
                push(mine[k]);
            }
    }
    __atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
}

static void second(uint64_t hart, void *argument)
{
    (void)hart, (void)argument;
    for (uint64_t i = 0; i < CHECKS; i++) {
        while (turn != 2 * i + 1)
            ;
        word = 77;
        __asm__ volatile("fence rw, rw" ::: "memory");
        word = 55;
        __asm__ volatile("fence rw, rw" ::: "memory");
        turn = 2 * i + 2;
    }
    stress(1);
}

int guest(uint64_t hart, const void *device_tree)
{
    (void)device_tree;
    uint64_t succeeded = 0;
    word = 55;
    int wrong = check("start", (uint64_t)start_hart(other_hart(hart), second, NULL), 0);
    for (uint64_t i = 0; i < CHECKS; i++) {
        lr(&word);
        turn = 2 * i + 1;
        while (turn != 2 * i + 2)
            ;
        succeeded += !sc(&word, 55);
    }
    wrong += check("SC that succeeded after A, B, A", succeeded, 0);
    for (int i = 0; i < NODES; i++)
        push(&nodes[i]);
    stress(0);
    while (done != 2)
        ;
    wrong += check("nodes owned twice", twice_owned, 0);
    uint64_t left = 0;
    for (struct node *n = head; n && left <= NODES; n = n->next)
        left++;
    wrong += check("nodes left", left, NODES);
    return wrong + check("pops on both harts", popped[0] && popped[1], 1);
}
