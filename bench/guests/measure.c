#include "measure.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

unsigned char arena[ARENA_SIZE] __attribute__((aligned(4096)));

#define PROGRAM(name, group) extern const struct program name;
#include "programs.h"
#undef PROGRAM
#define PROGRAM(name, group) &name,
const struct program *const all_programs[] = {
#include "programs.h"
    NULL};

const struct program *find_program(const char *name)
{
    for (size_t i = 0; all_programs[i]; i++)
        if (!strcmp(all_programs[i]->name, name))
            return all_programs[i];
    return NULL;
}

static sigjmp_buf refused;

static void on_refusal(int signal)
{
    (void)signal;
    siglongjmp(refused, 1);
}

/* The kernel may forbid the counter: reading it is then an illegal instruction. */
static int may_count(void)
{
    struct sigaction action = {.sa_handler = on_refusal}, before;
    int may = 0;
    sigaction(SIGILL, &action, &before);
    if (!sigsetjmp(refused, 1)) {
        uint64_t count;
        __asm__ volatile("rdinstret %0" : "=r"(count));
        may = 1;
    }
    sigaction(SIGILL, &before, NULL);
    return may;
}

static uint64_t instructions(void)
{
    uint64_t count;
    __asm__ volatile("rdinstret %0" : "=r"(count)::"memory");
    return count;
}

static uint64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void set_up(const struct program *program)
{
    if (program->setup)
        program->setup();
}

static void warm_up(const struct program *program, uint64_t seconds)
{
    uint64_t end = nanoseconds() + seconds * 1000000000;
    set_up(program);
    while (nanoseconds() < end)
        program->run(warming_rounds(program));
}

void measure(const struct program *program, uint64_t scale, uint64_t warm)
{
    if (warm)
        warm_up(program, warm);
    int counts = may_count();
    uint64_t rounds = program->rounds * scale / 100;
    set_up(program);
    uint64_t start = nanoseconds(), first = counts ? instructions() : 0;
    uint64_t checksum = program->run(rounds ? rounds : 1);
    uint64_t last = counts ? instructions() : 0, end = nanoseconds();
    printf("%s %016lx %lu %ld\n", program->name, checksum, end - start, counts ? (long)(last - first) : -1L);
    fflush(stdout);
}
