/* The program of two threads on the host itself: what the host's second processor is worth to it. Arguments: scale, warm. */
#include "measure.h"

#include <stdlib.h>

unsigned char arena[ARENA_SIZE] __attribute__((aligned(4096)));

int main(int count, char **words)
{
    if (count != 3)
        return 2;
    measure_crew(strtoul(words[1], NULL, 10), strtoul(words[2], NULL, 10));
    return 0;
}
