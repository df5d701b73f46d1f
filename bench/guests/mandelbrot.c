/* The Mandelbrot set in double precision. */
#include "bench.h"

enum { WIDTH = 128, HEIGHT = 96, DEPTH = 250 };

static unsigned depth_at(double cx, double cy)
{
    double x = 0, y = 0;
    for (unsigned n = 0; n < DEPTH; n++) {
        double xx = x * x, yy = y * y;
        if (xx + yy > 4.0)
            return n;
        y = 2 * x * y + cy;
        x = xx - yy + cx;
    }
    return DEPTH;
}

static uint64_t run(uint64_t rounds)
{
    uint64_t checksum = 0;
    for (uint64_t round = 0; round < rounds; round++) {
        double shift = (double)round * 0.001;
        for (int row = 0; row < HEIGHT; row++)
            for (int column = 0; column < WIDTH; column++)
                checksum = mix(checksum, depth_at(column * (3.0 / WIDTH) - 2.2 + shift, row * (2.4 / HEIGHT) - 1.2));
    }
    return checksum;
}

const struct program mandelbrot = {"mandelbrot", NULL, run, 50};
