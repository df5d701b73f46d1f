/* The console both ways through SBI: writes back each line it reads, until it reads "quit". */
#include "runtime.h"

int guest(uint64_t hart, const void *device_tree)
{
    (void)hart, (void)device_tree;
    char line[80];
    size_t length = 0;
    print("ready\n");
    for (;;) {
        int byte = console_read();
        if (byte < 0)
            continue;
        if (byte != '\n' && byte != '\r') {
            if (length + 1 < sizeof line)
                line[length++] = (char)byte;
            continue;
        }
        line[length] = 0;
        if (line[0] == 'q' && line[1] == 'u' && line[2] == 'i' && line[3] == 't' && length == 4)
            return PASSED;
        print("echo: ");
        print(line);
        print("\n");
        length = 0;
    }
}
