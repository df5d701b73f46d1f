#include "traps.h"

volatile struct caught caught;
uint64_t user_stack_frame;
static volatile uint64_t user_result;

void enter_user(uint64_t pc, uint64_t a0, uint64_t a1, uint64_t stack);
void user_return(void);

static void catch(struct trap_frame *frame)
{
    enum { PREVIOUS_SUPERVISOR = 0x100, PREVIOUS_INTERRUPTS = 0x20 };
    caught.count++;
    caught.scause = frame->scause;
    caught.stval = frame->stval;
    caught.sepc = frame->sepc;
    if (frame->sstatus & PREVIOUS_SUPERVISOR) {
        frame->sepc = frame->x[1];
        return;
    }
    user_result = frame->x[10];
    frame->sstatus = (frame->sstatus | PREVIOUS_SUPERVISOR) & ~(uint64_t)PREVIOUS_INTERRUPTS;
    frame->sepc = (uint64_t)user_return;
    frame->x[2] = user_stack_frame;
}

void catch_traps(void)
{
    caught.count = 0;
    on_trap = catch;
}

int check_trap(const char *what, uint64_t scause, uint64_t stval, uint64_t sepc)
{
    int wrong = check(what, caught.count, 1);
    if (!wrong) {
        wrong += check("scause", caught.scause, scause);
        wrong += check("stval", caught.stval, stval);
        wrong += check("sepc", caught.sepc, sepc);
        if (wrong) {
            print("  in: ");
            print(what);
            print("\n");
        }
    }
    caught.count = 0;
    return wrong;
}

int check_no_trap(const char *what)
{
    int wrong = check(what, caught.count, 0);
    if (wrong) {
        check("  its scause", caught.scause, 0);
        check("  its stval", caught.stval, 0);
    }
    caught.count = 0;
    return wrong;
}

uint64_t run_user(uint64_t pc, uint64_t a0, uint64_t a1, uint64_t stack)
{
    enter_user(pc, a0, a1, stack);
    return user_result;
}
