/* Numerical programs: a Fourier transform, linear equations, a polynomial's roots, orbits, a sum kept exact, Mandelbrot's set, in both widths. */
#include "report.h"

#include <complex.h>
#include <math.h>

enum { POINTS = 256, ORDER = 24 };

static void transform(double complex *x, int count, double sign)
{
    for (int i = 1, j = 0; i < count; i++) {
        int bit = count >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            double complex other = x[i];
            x[i] = x[j];
            x[j] = other;
        }
    }
    for (int length = 2; length <= count; length *= 2)
        for (int start = 0; start < count; start += length)
            for (int k = 0; k < length / 2; k++) {
                double complex low = x[start + k], high = x[start + k + length / 2] * cexp(sign * 2 * M_PI * I * k / length);
                x[start + k] = low + high;
                x[start + k + length / 2] = low - high;
            }
}

static void fourier(void)
{
    static double complex x[POINTS];
    uint64_t state = 10;
    for (int i = 0; i < POINTS; i++)
        x[i] = CMPLX(sin(i * 0.1) + (double)(random_next(&state) >> 40) * 0x1p-24, 0);
    transform(x, POINTS, -1);
    row("transform");
    for (int i = 0; i < POINTS; i++) {
        value(bits_of(creal(x[i])));
        value(bits_of(cimag(x[i])));
    }
    transform(x, POINTS, 1);
    row("transform and back");
    for (int i = 0; i < POINTS; i++)
        value(bits_of(creal(x[i]) / POINTS));
}

static void equations(void)
{
    static float a[ORDER][ORDER + 1];
    uint64_t state = 11;
    for (int i = 0; i < ORDER; i++)
        for (int j = 0; j <= ORDER; j++)
            a[i][j] = (float)(int32_t)random_next(&state) * 0x1p-28f;
    for (int column = 0; column < ORDER; column++) {
        int best = column;
        for (int i = column + 1; i < ORDER; i++)
            best = fabsf(a[i][column]) > fabsf(a[best][column]) ? i : best;
        for (int j = 0; j <= ORDER; j++) {
            float other = a[column][j];
            a[column][j] = a[best][j];
            a[best][j] = other;
        }
        for (int i = 0; i < ORDER; i++)
            for (int j = ORDER; i != column && j >= column; j--)
                a[i][j] -= a[i][column] / a[column][column] * a[column][j];
    }
    row("equations");
    for (int i = 0; i < ORDER; i++)
        value(bits_of_float(a[i][ORDER] / a[i][i]));
}

static void orbits(void)
{
    double place[3][2] = {{1, 0}, {-1, 0.25}, {0, 0.5}}, speed[3][2] = {{0.3, 0.4}, {0.2, -0.4}, {-0.5, 0.1}};
    row("orbits");
    for (int step = 0; step < 1500; step++) {
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++)
                if (i != j) {
                    double dx = place[j][0] - place[i][0], dy = place[j][1] - place[i][1], square = dx * dx + dy * dy + 0.01;
                    double pull = 0.001 / (square * sqrt(square));
                    speed[i][0] += dx * pull;
                    speed[i][1] += dy * pull;
                }
        for (int i = 0; i < 3; i++)
            for (int axis = 0; axis < 2; axis++)
                place[i][axis] += speed[i][axis] * 0.001;
        if (step % 50 == 0)
            for (int i = 0; i < 3; i++)
                value(bits_of(hypot(place[i][0], place[i][1])));
    }
}

static void sums(void)
{
    uint64_t state = 12;
    double plain = 0, kept = 0, lost = 0;
    float narrow = 0;
    row("sums");
    for (int n = 0; n < 5000; n++) {
        double x = double_of((random_next(&state) & 0x800FFFFFFFFFFFFF) | (0x3E0 + (random_next(&state) & 63)) << 52);
        plain += x;
        narrow += (float)x;
        volatile double total = kept + x, back = total - kept;
        lost += x - back;
        kept = total;
    }
    value(bits_of(plain));
    value(bits_of_float(narrow));
    value(bits_of(kept + lost));
}

int numerics(void)
{
    fourier();
    equations();
    orbits();
    sums();
    row("mandelbrot");
    for (int y = -20; y < 20; y++)
        for (int x = -40; x < 20; x++) {
            float complex z = 0, c = CMPLXF((float)x / 20, (float)y / 20);
            unsigned n = 0;
            while (n < 60 && cabsf(z) < 2) {
                z = z * z + c;
                n++;
            }
            value(n);
        }
    row("roots");
    for (int i = 0; i < 200; i++) {
        double x = 1 + i;
        for (int n = 0; n < 12; n++)
            x -= (x * x * x - i) / (3 * x * x + 1e-9);
        value(bits_of(x));
    }
    return 90;
}
