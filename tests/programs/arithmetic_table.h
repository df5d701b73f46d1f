/* The operations of float_arithmetic.c and double_arithmetic.c, of REAL (float or double) with the suffix S of its instructions (s or d):
 * each in all rounding modes on all pairs of corner values and on random bits, with the flags it leaves. */
#define UNARY(name, s) static REAL name##_(REAL a, REAL b) { REAL r; (void)b; __asm__ volatile(#name "." #s " %0, %1" : "=f"(r) : "f"(a)); return r; }
#define BINARY(name, s) static REAL name##_(REAL a, REAL b) { REAL r; __asm__ volatile(#name "." #s " %0, %1, %2" : "=f"(r) : "f"(a), "f"(b)); return r; }
#define TABLE(s) \
    BINARY(fadd, s) BINARY(fsub, s) BINARY(fmul, s) BINARY(fdiv, s) UNARY(fsqrt, s) \
    BINARY(fmin, s) BINARY(fmax, s) BINARY(fsgnj, s) BINARY(fsgnjn, s) BINARY(fsgnjx, s)
TABLE(SUFFIX)

typedef REAL operation(REAL a, REAL b);
static const struct {
    const char *name;
    operation *operate;
} operations[] = {
    {"add", fadd_}, {"subtract", fsub_}, {"multiply", fmul_}, {"divide", fdiv_}, {"root", fsqrt_},
    {"least", fmin_}, {"greatest", fmax_}, {"sign", fsgnj_}, {"sign not", fsgnjn_}, {"sign xor", fsgnjx_},
};

static void all_operations(void)
{
    uint64_t state = sizeof(REAL);
    for (size_t i = 0; i < COUNT(operations); i++)
        for (unsigned mode = 0; mode < ROUNDINGS; mode++) {
            operation *operate = operations[i].operate;
            row("%s %s", operations[i].name, rounding_names[mode]);
            set_rounding(mode);
            for (size_t a = 0; a < CORNER_COUNT; a++)
                for (size_t b = 0; b < CORNER_COUNT; b++) {
                    value(TO_BITS(operate(FROM_BITS(CORNERS[a]), FROM_BITS(CORNERS[b]))));
                    flags();
                }
            for (int n = 0; n < 1500; n++) {
                BITS a = (BITS)random_next(&state), b = (BITS)random_next(&state);
                b = n & 1 ? b : (b & ~EXPONENT) | (a & EXPONENT); /* near each other, or anywhere */
                value(TO_BITS(operate(FROM_BITS(a), FROM_BITS(b))));
                flags();
            }
            set_rounding(0);
        }
}
