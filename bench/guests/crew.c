/* A program of two threads: each works on its half of the memory, and they meet after each round. Under Linux only; not in programs.h.
 * The work is the same on one processor or two: the time tells what the second is worth. */
#include "measure.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

enum { THREADS = 2, WORDS = 1 << 16, ROUNDS = 2000 };

struct half {
    uint64_t *words, rounds, checksum;
};

static pthread_barrier_t meeting;

static void *work(void *given)
{
    struct half *half = given;
    uint64_t checksum = half->checksum; /* of its own: the two halves' lie in one line of the processors' caches */
    for (uint64_t round = 0; round < half->rounds; round++) {
        for (size_t i = 0; i < WORDS; i++) {
            uint64_t word = half->words[i];
            half->words[i] = word + (word >> 7) * 0xD1342543DE82EF95u + round;
            checksum = mix(checksum, word);
        }
        pthread_barrier_wait(&meeting);
    }
    half->checksum = checksum;
    return NULL;
}

static uint64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* The checksum of both halves after so many rounds; 0 where there are no threads. */
static uint64_t together(uint64_t rounds)
{
    struct half halves[THREADS];
    pthread_t threads[THREADS];
    uint64_t checksum = 0;
    pthread_barrier_init(&meeting, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        halves[i] = (struct half){(uint64_t *)arena + (size_t)i * WORDS, rounds, (uint64_t)i};
        if (pthread_create(&threads[i], NULL, work, &halves[i]))
            return 0;
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        checksum = mix(checksum, halves[i].checksum);
    }
    pthread_barrier_destroy(&meeting);
    return checksum;
}

void measure_crew(uint64_t scale, uint64_t warm)
{
    uint64_t state = 11, rounds = ROUNDS * scale / 100, end = nanoseconds() + warm * 1000000000;
    while (warm && nanoseconds() < end)
        together(ROUNDS / 32);
    for (size_t i = 0; i < THREADS * WORDS; i++)
        ((uint64_t *)arena)[i] = random_next(&state);
    uint64_t start = nanoseconds();
    uint64_t checksum = together(rounds ? rounds : 1);
    printf("crew %016lx %lu -1\n", checksum, nanoseconds() - start);
    fflush(stdout);
}
