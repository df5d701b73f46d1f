/* The first process of the machine that runs the programs. /programs/list has a line "FILE NAME" for each run; each runs alone, with its
 * output in a file, and is then told on the console:
 *   == begin FILE NAME
 *   (its output)
 *   == end FILE NAME CODE      CODE as a shell has it: the exit code, or 128 + the signal's number
 * At the end the machine powers off. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { LIMIT = 60 }; /* seconds of a program that hangs */

static void open_console(void)
{
    mkdir("/dev", 0755);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    int console = open("/dev/console", O_RDWR);
    struct termios raw;
    for (int fd = 0; console >= 0 && fd < 3; fd++)
        dup2(console, fd);
    if (!tcgetattr(1, &raw)) {
        cfmakeraw(&raw);
        tcsetattr(1, TCSANOW, &raw);
    }
}

static void execute(const char *file, const char *name)
{
    int output = open("/output", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(output, 1);
    dup2(output, 2);
    close(output);
    alarm(LIMIT);
    execl(file, file, name, (char *)NULL);
    perror(file);
    _exit(127);
}

static int run(const char *file, const char *name)
{
    int status = -1;
    pid_t child = fork();
    if (!child)
        execute(file, name);
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 126;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void show(const char *path)
{
    char piece[4096];
    ssize_t length;
    int file = open(path, O_RDONLY);
    while ((length = read(file, piece, sizeof piece)) > 0)
        fwrite(piece, 1, (size_t)length, stdout);
    close(file);
    unlink(path);
}

int main(void)
{
    char file[64], name[64], path[96];
    open_console();
    chdir("/programs");
    FILE *list = fopen("list", "r");
    while (list && fscanf(list, "%63s %63s", file, name) == 2) {
        snprintf(path, sizeof path, "/programs/%s", file);
        printf("\n== begin %s %s\n", file, name);
        fflush(stdout);
        int code = run(path, name);
        show("/output");
        printf("\n== end %s %s %d\n", file, name, code);
        fflush(stdout);
    }
    sync();
    reboot(RB_POWER_OFF);
    return 1;
}
