/* Interpreters: indirect jumps through tables of labels, switches and function pointers. */
#include "report.h"

enum operation { PUSH, ADD, SUBTRACT, MULTIPLY, DUPLICATE, SWAP, DROP, JUMP_IF, JUMP, LESS, LOAD, STORE, OUT, END };
struct instruction {
    enum operation operation;
    int64_t operand;
};

/* Prints the primes below 200, by trial division with remainders made by subtracting. */
static const struct instruction primes[] = {
    {PUSH, 2}, {STORE, 0},                                             /* n = 2 */
    {PUSH, 2}, {STORE, 1},                                             /*  2: d = 2 */
    {LOAD, 1}, {DUPLICATE, 0}, {MULTIPLY, 0}, {LOAD, 0}, {SWAP, 0}, {LESS, 0}, {JUMP_IF, 25}, /*  4: if n < d*d: 25 */
    {LOAD, 0}, {STORE, 2},                                             /* r = n */
    {LOAD, 2}, {LOAD, 1}, {LESS, 0}, {JUMP_IF, 22},                    /* 13: if r < d: 22 */
    {LOAD, 2}, {LOAD, 1}, {SUBTRACT, 0}, {STORE, 2}, {JUMP, 13},       /* r -= d */
    {LOAD, 2}, {JUMP_IF, 34}, {JUMP, 27},                              /* 22: r ? next d : next n */
    {LOAD, 0}, {OUT, 0},                                               /* 25 */
    {LOAD, 0}, {PUSH, 1}, {ADD, 0}, {DUPLICATE, 0}, {STORE, 0}, {PUSH, 200}, {JUMP, 39}, /* 27: n += 1 */
    {LOAD, 1}, {PUSH, 1}, {ADD, 0}, {STORE, 1}, {JUMP, 4},             /* 34: d += 1 */
    {LESS, 0}, {JUMP_IF, 2}, {END, 0},                                 /* 39 */
};

static void with_switch(const struct instruction *code)
{
    int64_t stack[16], *top = stack, variables[4] = {0}, x;
    for (size_t pc = 0;;) {
        const struct instruction *now = &code[pc++];
        switch (now->operation) {
        case PUSH: *++top = now->operand; break;
        case ADD: x = *top--; *top += x; break;
        case SUBTRACT: x = *top--; *top -= x; break;
        case MULTIPLY: x = *top--; *top *= x; break;
        case DUPLICATE: x = *top; *++top = x; break;
        case SWAP: x = *top; *top = top[-1]; top[-1] = x; break;
        case DROP: top--; break;
        case JUMP_IF: if (*top--) pc = (size_t)now->operand; break;
        case JUMP: pc = (size_t)now->operand; break;
        case LESS: x = *top--; *top = *top < x; break;
        case LOAD: *++top = variables[now->operand]; break;
        case STORE: variables[now->operand] = *top--; break;
        case OUT: value((uint64_t)*top--); break;
        case END: return;
        }
    }
}

static void with_labels(const struct instruction *code)
{
    static const void *const labels[] = {&&push, &&add, &&subtract, &&multiply, &&duplicate, &&swap, &&drop, &&jump_if, &&jump, &&less, &&load, &&store, &&out, &&end};
    int64_t stack[16], *top = stack, variables[4] = {0}, x;
#define NEXT goto *labels[(++code)->operation]
    const struct instruction *const start = code;
    goto *labels[code->operation];
push: *++top = code->operand; NEXT;
add: x = *top--; *top += x; NEXT;
subtract: x = *top--; *top -= x; NEXT;
multiply: x = *top--; *top *= x; NEXT;
duplicate: x = *top; *++top = x; NEXT;
swap: x = *top; *top = top[-1]; top[-1] = x; NEXT;
drop: top--; NEXT;
jump_if: if (*top--) code = start + code->operand - 1; NEXT;
jump: code = start + code->operand - 1; NEXT;
less: x = *top--; *top = *top < x; NEXT;
load: *++top = variables[code->operand]; NEXT;
store: variables[code->operand] = *top--; NEXT;
out: value((uint64_t)*top--); NEXT;
end: return;
}

/* A tape of bytes and eight commands, "+-<>[].," without the last. */
static void tape(const char *code)
{
    static unsigned char cells[256];
    unsigned char at = 0;
    memset(cells, 0, sizeof cells);
    for (const char *now = code; *now; now++) {
        int depth = 0, step = *now == '[' && !cells[at] ? 1 : *now == ']' && cells[at] ? -1 : 0;
        if (step)
            for (depth = step; depth;) {
                now += step;
                depth += (*now == '[') - (*now == ']');
            }
        else if (*now == '+' || *now == '-')
            cells[at] += *now == '+' ? 1 : -1;
        else if (*now == '<' || *now == '>')
            at += *now == '>' ? 1 : -1;
        else if (*now == '.')
            value(cells[at]);
    }
}

typedef struct state *handler(struct state *);
struct state {
    handler *next;
    uint64_t seen, left;
};
static struct state *red(struct state *), *green(struct state *), *blue(struct state *);
static handler *const handlers[] = {red, green, blue};
#define HANDLER(name, expression) \
    static struct state *name(struct state *state) \
    { \
        state->seen = expression; \
        state->next = handlers[state->seen % 3]; \
        return state; \
    }
HANDLER(red, state->seen * 6364136223846793005u + state->left)
HANDLER(green, (state->seen ^ state->seen >> 33) * 5)
HANDLER(blue, state->seen << 7 ^ state->seen >> 3 ^ 0x1234567)

int interpreters(void)
{
    row("switch");
    with_switch(primes);
    row("labels");
    with_labels(primes);
    row("tape");
    tape("++++++++[>++++[>++>+++>+++>+<<<<-]>+>+>->>+[<]<-]>>.>---.+++++++..+++.>>.<-.<.+++.------.--------.>>+.>++.");
    tape("+>++++[>++++++<-]>[<+++++>-]<[->+>+<<]>>[-<.>]");
    row("handlers");
    struct state state = {red, 1, 5000};
    for (; state.left; state.left--)
        value(state.next(&state)->seen);
    return 99;
}
