/* Init of a guest that moves bytes over TCP: the words of its kernel's command line tell how many and where.
   bench.port=N: to 10.0.2.2 port N it sends bench.bytes=N bytes, from port N + 1 it reads until the end, and then it powers off. */

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char block[1 << 17];

static void end(const char *why)
{
    if (why)
        perror(why);
    sync();
    reboot(RB_POWER_OFF);
    for (;;)
        pause();
}

static void load_modules(void)
{
    FILE *order = fopen("/modules/order", "r");
    char name[200], path[256];
    while (order && fscanf(order, "%199s", name) == 1) {
        snprintf(path, sizeof path, "/modules/%s.ko", name);
        int file = open(path, O_RDONLY);
        if (file >= 0) {
            syscall(SYS_finit_module, file, "", 0);
            close(file);
        }
    }
}

static void configure(int with, const char *name, const char *address)
{
    struct ifreq request = {0};
    struct sockaddr_in *place = (struct sockaddr_in *)&request.ifr_addr;
    strcpy(request.ifr_name, name);
    place->sin_family = AF_INET;
    inet_aton(address, &place->sin_addr);
    for (int tries = 0; ioctl(with, SIOCSIFADDR, &request) < 0; tries++) {
        if (tries == 100)
            end("the card has no address");
        usleep(50000);
    }
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(with, SIOCSIFFLAGS, &request) < 0)
        end("the card does not go up");
}

static long word(const char *line, const char *name)
{
    const char *found = strstr(line, name);
    return found ? atol(found + strlen(name)) : 0;
}

static int call(long port)
{
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_aton("10.0.2.2", &place.sin_addr);
    int made = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(made, (struct sockaddr *)&place, sizeof place) < 0)
        end("nobody answers");
    return made;
}

int main(void)
{
    char line[4096] = {0};
    mkdir("/proc", 0755);
    mount("proc", "/proc", "proc", 0, 0);
    int file = open("/proc/cmdline", O_RDONLY);
    if (file < 0 || read(file, line, sizeof line - 1) < 0)
        end("no command line");
    load_modules();
    int with = socket(AF_INET, SOCK_DGRAM, 0);
    configure(with, "eth0", "10.0.2.15");
    long port = word(line, "bench.port="), left = word(line, "bench.bytes=");
    int to = call(port);
    while (left > 0) {
        ssize_t count = write(to, block, left < (long)sizeof block ? left : (long)sizeof block);
        if (count <= 0)
            end("it does not take more");
        left -= count;
    }
    close(to);
    int from = call(port + 1);
    while (read(from, block, sizeof block) > 0)
        ;
    close(from);
    end(0);
}
