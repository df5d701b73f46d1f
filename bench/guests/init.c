/* The first and only program of the benchmark's initrd. What it does stands on the kernel's command line:
 *   bench=off             powers off at once
 *   bench=prompt          prints a prompt and waits for input, as a shell does
 *   bench=NAME,… or all   runs these programs one after the other, then powers off
 *   bench=crew            runs the program of two threads, then powers off
 *   scale=PERCENT         of each program's usual work
 *   warm=SECONDS          that each program runs before it is timed
 * Between "bench begin" and "bench end" each line is a result. Started as an ordinary program it takes NAME, PERCENT and SECONDS. */
#include "measure.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Seconds in which the kernel's own threads finish what they put off during the boot: self-tests, random numbers. */
enum { SETTLE = 3 };

static char command_line[4096];

static void read_command_line(void)
{
    int file = open("/proc/cmdline", O_RDONLY);
    ssize_t length = file < 0 ? 0 : read(file, command_line, sizeof command_line - 1);
    command_line[length < 0 ? 0 : length] = 0;
    close(file);
}

/* What follows "key=" on the command line, up to the next blank; otherwise `otherwise`. */
static const char *option(const char *key, const char *otherwise)
{
    static char values[4][1024];
    static int used;
    size_t length = strlen(key);
    for (const char *at = command_line; (at = strstr(at, key)); at += length)
        if ((at == command_line || at[-1] == ' ') && at[length] == '=') {
            char *value = values[used++ % 4];
            snprintf(value, sizeof values[0], "%.*s", (int)strcspn(at + length + 1, " \n"), at + length + 1);
            return value;
        }
    return otherwise;
}

static void set_up_machine(void)
{
    mkdir("/proc", 0755);
    mkdir("/dev", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    int console = open("/dev/console", O_RDWR);
    for (int fd = 0; console >= 0 && fd < 3; fd++)
        dup2(console, fd);
    int permission = open("/proc/sys/kernel/perf_user_access", O_WRONLY); /* 2: user mode may read cycle and instret */
    if (permission >= 0 && write(permission, "2", 1) != 1)
        perror("perf_user_access");
    close(permission);
}

/* In a process of its own, so that each begins with untouched memory. */
static void run_apart(const struct program *program, uint64_t scale, uint64_t warm)
{
    pid_t child = fork();
    if (child == 0) {
        measure(program, scale, warm);
        _exit(0);
    }
    int status = -1;
    if (child < 0 || waitpid(child, &status, 0) != child || status)
        printf("%s failed %d\n", program->name, status);
}

static void run_list(const char *list, uint64_t scale, uint64_t warm)
{
    static char names[1024];
    snprintf(names, sizeof names, "%s", list);
    if (!strcmp(names, "all")) {
        for (size_t i = 0; all_programs[i]; i++)
            run_apart(all_programs[i], scale, warm);
        return;
    }
    for (char *name = strtok(names, ","); name; name = strtok(NULL, ",")) {
        const struct program *program = find_program(name);
        if (program)
            run_apart(program, scale, warm);
        else
            printf("%s unknown\n", name);
    }
}

static void wait_at_prompt(void)
{
    char line[256];
    for (;;) {
        printf("guest# ");
        fflush(stdout);
        if (!fgets(line, sizeof line, stdin) || !strcmp(line, "exit\n"))
            return;
    }
}

static int run_as_program(int count, char **arguments)
{
    const struct program *program = count > 1 ? find_program(arguments[1]) : NULL;
    if (!program) {
        fprintf(stderr, "usage: %s PROGRAM [PERCENT [SECONDS]]\n", arguments[0]);
        return 2;
    }
    measure(program, count > 2 ? strtoul(arguments[2], NULL, 10) : 100, count > 3 ? strtoul(arguments[3], NULL, 10) : 0);
    return 0;
}

int main(int count, char **arguments)
{
    if (getpid() != 1)
        return run_as_program(count, arguments);
    set_up_machine();
    read_command_line();
    const char *what = option("bench", "off");
    if (!strcmp(what, "prompt")) {
        wait_at_prompt();
    } else if (strcmp(what, "off")) {
        sleep(SETTLE);
        printf("\nbench begin\n");
        fflush(stdout);
        uint64_t scale = strtoul(option("scale", "100"), NULL, 10), warm = strtoul(option("warm", "0"), NULL, 10);
        if (strcmp(what, "crew"))
            run_list(what, scale, warm);
        else
            measure_crew(scale, warm);
        printf("bench end\n");
    }
    fflush(stdout);
    reboot(RB_POWER_OFF);
    return 1;
}
