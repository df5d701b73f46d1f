/* How the Linux programs run and report one benchmark program. */
#ifndef MEASURE_H
#define MEASURE_H
#include "bench.h"

/* The program of that name, or NULL. */
const struct program *find_program(const char *name);
extern const struct program *const all_programs[]; /* ends with NULL */

/* Sets the program up, runs it at scale percent, prints "name checksum nanoseconds instructions" (-1 where user mode may not count).
 * Before that it is run for `warm` seconds, untimed. */
void measure(const struct program *program, uint64_t scale, uint64_t warm);

/* The same of the program of two threads (crew.c). */
void measure_crew(uint64_t scale, uint64_t warm);
#endif
