/* What the kernel makes of a program's exceptions: signals with their addresses, handled on another stack and stepped over; exits of children. */
#include "report.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum { PAGE = 4096 };
static unsigned char *pages; /* one that can be read, then one that cannot be used at all */
static volatile int seen_signal, seen_code;
static volatile uint64_t seen_offset, seen_f;

static void on_signal(int number, siginfo_t *information, void *context)
{
    mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
    uint64_t pc = machine->__gregs[REG_PC];
    uint16_t first;
    memcpy(&first, (void *)pc, 2);
    seen_signal = number;
    seen_code = information->si_code;
    seen_offset = (uint64_t)information->si_addr - (number == SIGSEGV ? (uint64_t)pages : pc);
    seen_f = machine->__fpregs.__d.__f[8];
    machine->__gregs[REG_PC] = pc + ((first & 3) == 3 ? 4 : 2);
    machine->__gregs[REG_A0] = 77;
}

static void told(uint64_t result)
{
    value((uint64_t)seen_signal);
    value((uint64_t)seen_code);
    value(seen_offset);
    value(result);
    seen_signal = seen_code = 0;
    seen_offset = 0;
}

/* Executes one instruction that faults, with a0 = its operand and s0 kept by the signal's frame. */
#define FAULTING(text, operand) ({ \
        register uint64_t a0 __asm__("a0") = (uint64_t)(operand); \
        __asm__ volatile(text : "+r"(a0) : : "memory", "t0"); \
        a0; \
    })

static void exceptions(void)
{
    row("exceptions");
    told(FAULTING("ebreak", 1));
    told(FAULTING(".option push\n\t.option rvc\n\tc.ebreak\n\tc.nop\n\t.option pop", 1));
    told(FAULTING(".word 0", 1));
    told(FAULTING(".word 0xffffffff", 1));
    told(FAULTING("csrr a0, sstatus", 1));
    told(FAULTING("csrw cycle, zero", 1));
    told(FAULTING("sret", 1));
    told(FAULTING("sd zero, 0(a0)", pages + 8));
    told(FAULTING("ld a0, 0(a0)", pages + 8));
    told(FAULTING("ld a0, 0(a0)", pages + PAGE + 16));
    told(FAULTING("lbu a0, -1(a0)", pages + PAGE + 1));
    told(FAULTING("ld a0, 0(a0)", pages + PAGE - 3)); /* over the border: the second part faults */
    told(FAULTING("sw a0, 0(a0)", pages + PAGE + 4));
    told(FAULTING("amoadd.w a0, zero, (a0)", pages + 4));
    told(FAULTING("lr.d a0, (a0)", pages + PAGE));
    told(FAULTING("fld f1, 0(a0)", pages + PAGE + 8));
    told(FAULTING("fsd f1, 0(a0)", pages));
}

static void kept_registers(void)
{
    row("registers over a signal");
    for (size_t i = 0; i < double_count; i++) {
        double x = double_of(doubles[i]), y;
        __asm__ volatile("fmv.d fs0, %1\n\t.word 0\n\tfmv.d %0, fs0" : "=f"(y) : "f"(x) : "fs0", "a0", "memory");
        value(bits_of(y));
        value(seen_f);
    }
    fesetround(FE_UPWARD);
    feraiseexcept(FE_DIVBYZERO);
    raise(SIGUSR1);
    value((uint64_t)fegetround());
    flags();
    fesetround(FE_TONEAREST);
}

static void children(void)
{
    static const char *const names[] = {"exits", "killed", "aborted", "faulted"};
    for (size_t i = 0; i < COUNT(names); i++) {
        int status = 0, ends[2];
        char message[32] = "";
        finish();
        fflush(stdout);
        if (pipe(ends))
            exit(1);
        pid_t child = fork();
        if (!child) {
            if (write(ends[1], names[i], strlen(names[i])) < 0)
                _exit(1);
            if (i == 1)
                raise(SIGKILL);
            if (i == 2)
                abort();
            if (i == 3) {
                signal(SIGSEGV, SIG_DFL);
                *(volatile int *)(pages + PAGE) = 1;
            }
            _exit(123);
        }
        close(ends[1]);
        row("child %s", names[i]);
        value((uint64_t)read(ends[0], message, sizeof message - 1));
        text(message);
        close(ends[0]);
        value((uint64_t)(waitpid(child, &status, 0) == child));
        value((uint64_t)(WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status)));
    }
}

int faults(void)
{
    static unsigned char stack[65536];
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    static const int numbers[] = {SIGILL, SIGTRAP, SIGSEGV, SIGBUS};
    sigaltstack(&other, NULL);
    for (size_t i = 0; i < COUNT(numbers); i++)
        sigaction(numbers[i], &action, NULL);
    signal(SIGUSR1, SIG_IGN);
    pages = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + PAGE, PAGE, PROT_NONE))
        return 1;
    exceptions();
    kept_registers();
    children();
    finish();
    fflush(stdout);
    signal(SIGTERM, SIG_DFL);
    raise(SIGTERM); /* this program ends by a signal */
    return 0;
}
