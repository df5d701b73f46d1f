/* Bodies that attract each other, leapfrog steps in double precision: additions, products, divisions, square roots. */
#include "bench.h"

enum { BODIES = 8 };

struct body {
    double place[3], speed[3], mass;
};

static struct body bodies[BODIES];

static double unit(uint64_t *state)
{
    return (double)(int64_t)(random_next(state) >> 11) * 0x1p-53;
}

static void setup(void)
{
    uint64_t state = 17;
    for (int i = 0; i < BODIES; i++) {
        for (int k = 0; k < 3; k++) {
            bodies[i].place[k] = unit(&state) * 20 - 10;
            bodies[i].speed[k] = unit(&state) - 0.5;
        }
        bodies[i].mass = unit(&state) + 0.1;
    }
}

static void kick(double time)
{
    for (int i = 0; i < BODIES; i++)
        for (int j = i + 1; j < BODIES; j++) {
            double d[3], square = 0.01;
            for (int k = 0; k < 3; k++) {
                d[k] = bodies[i].place[k] - bodies[j].place[k];
                square += d[k] * d[k];
            }
            double pull = time / (square * __builtin_sqrt(square));
            for (int k = 0; k < 3; k++) {
                bodies[i].speed[k] -= d[k] * bodies[j].mass * pull;
                bodies[j].speed[k] += d[k] * bodies[i].mass * pull;
            }
        }
}

static void drift(double time)
{
    for (int i = 0; i < BODIES; i++)
        for (int k = 0; k < 3; k++)
            bodies[i].place[k] += bodies[i].speed[k] * time;
}

static uint64_t run(uint64_t rounds)
{
    for (uint64_t round = 0; round < rounds; round++) {
        drift(0.005);
        kick(0.01);
        drift(0.005);
    }
    uint64_t checksum = 0;
    for (int i = 0; i < BODIES; i++)
        for (int k = 0; k < 3; k++)
            checksum = mix(checksum, bits_of(bodies[i].place[k]));
    return checksum;
}

const struct program nbody = {"nbody", setup, run, 250000};
