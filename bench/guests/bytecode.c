/* An interpreter of a stack machine's bytecode running two small programs: what a language runtime does all day. */
#include "bench.h"

enum op { PUSH, LOAD, STORE, ADD, SUB, MUL, MOD, AND, SHR, LESS, EQUAL, JUMP, JUMP_IF, JUMP_IF_NOT, INDEX, SET_INDEX, CALL, RETURN, HALT };

struct instruction {
    uint8_t op;
    int32_t operand;
};

/* variables: 0 limit, 1 n, 2 steps, 3 total. Sums the lengths of the Collatz sequences below limit. */
static const struct instruction collatz[] = {
    {PUSH, 1},      {STORE, 1},                                                       /* 0 */
    {LOAD, 1},      {LOAD, 0},  {LESS, 0},    {JUMP_IF_NOT, 13},                      /* 2 */
    {LOAD, 1},      {CALL, 15},                                                       /* 6 */
    {LOAD, 1},      {PUSH, 1},  {ADD, 0},     {STORE, 1},        {JUMP, 2},           /* 8 */
    {LOAD, 3},      {HALT, 0},                                                        /* 13 */
    {STORE, 2},                                                                       /* 15 */
    {LOAD, 2},      {PUSH, 1},  {EQUAL, 0},   {JUMP_IF, 37},                          /* 16 */
    {LOAD, 3},      {PUSH, 1},  {ADD, 0},     {STORE, 3},                             /* 20 */
    {LOAD, 2},      {PUSH, 1},  {AND, 0},     {JUMP_IF, 32},                          /* 24 */
    {LOAD, 2},      {PUSH, 1},  {SHR, 0},     {JUMP, 15},                             /* 28 */
    {LOAD, 2},      {PUSH, 3},  {MUL, 0},     {PUSH, 1},         {JUMP, 38},          /* 32 */
    {RETURN, 0},                                                                      /* 37 */
    {ADD, 0},       {JUMP, 15},                                                       /* 38 */
};

/* variables: 0 limit, 1 i, 2 j, 3 sum. Fills array[i] = i * i mod 1009, then sums it with a stride. */
static const struct instruction arrays[] = {
    {PUSH, 0},  {STORE, 1},                                                           /* 0 */
    {LOAD, 1},  {LOAD, 0},  {LESS, 0},  {JUMP_IF_NOT, 18},                            /* 2 */
    {LOAD, 1},  {LOAD, 1},  {LOAD, 1},  {MUL, 0},    {PUSH, 1009}, {MOD, 0}, {SET_INDEX, 0}, /* 6 */
    {LOAD, 1},  {PUSH, 1},  {ADD, 0},   {STORE, 1},  {JUMP, 2},                       /* 13 */
    {PUSH, 0},  {STORE, 2},                                                           /* 18 */
    {LOAD, 2},  {LOAD, 0},  {LESS, 0},  {JUMP_IF_NOT, 34},                            /* 20 */
    {LOAD, 3},  {LOAD, 2},  {INDEX, 0}, {ADD, 0},    {STORE, 3},                      /* 24 */
    {LOAD, 2},  {PUSH, 3},  {ADD, 0},   {STORE, 2},  {JUMP, 20},                      /* 29 */
    {LOAD, 3},  {HALT, 0},                                                            /* 34 */
};

static int64_t stack[64], variables[8], array[1024];

static __attribute__((noinline)) int64_t interpret(const struct instruction *code, int64_t limit)
{
    const struct instruction *at = code, *returns[8];
    int64_t *top = stack; /* the next free slot */
    int depth = 0;
    for (int i = 0; i < 8; i++)
        variables[i] = 0;
    variables[0] = limit;
    for (;;) {
        const struct instruction *i = at++;
        switch ((enum op)i->op) {
        case PUSH: *top++ = i->operand; break;
        case LOAD: *top++ = variables[i->operand]; break;
        case STORE: variables[i->operand] = *--top; break;
        case ADD: top--; top[-1] += top[0]; break;
        case SUB: top--; top[-1] -= top[0]; break;
        case MUL: top--; top[-1] *= top[0]; break;
        case MOD: top--; top[-1] %= top[0]; break;
        case AND: top--; top[-1] &= top[0]; break;
        case SHR: top--; top[-1] >>= top[0]; break;
        case LESS: top--; top[-1] = top[-1] < top[0]; break;
        case EQUAL: top--; top[-1] = top[-1] == top[0]; break;
        case JUMP: at = code + i->operand; break;
        case JUMP_IF: if (*--top) at = code + i->operand; break;
        case JUMP_IF_NOT: if (!*--top) at = code + i->operand; break;
        case INDEX: top[-1] = array[top[-1] & 1023]; break;
        case SET_INDEX: top -= 2; array[top[0] & 1023] = top[1]; break;
        case CALL: returns[depth++] = at; at = code + i->operand; break;
        case RETURN: at = returns[--depth]; break;
        case HALT: return top[-1];
        }
    }
}

static uint64_t run(uint64_t rounds)
{
    uint64_t checksum = 0;
    for (uint64_t round = 0; round < rounds; round++) {
        checksum = mix(checksum, (uint64_t)interpret(collatz, 300));
        checksum = mix(checksum, (uint64_t)interpret(arrays, 1000 + (int64_t)(round & 15)));
    }
    return checksum;
}

const struct program bytecode = {"bytecode", NULL, run, 250};
