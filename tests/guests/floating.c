/* Floating point: results and accrued flags in all five rounding modes, NaN boxing, conversions out of range, classes, FS. */
#include "traps.h"

enum { NX = 1, UF = 2, OF = 4, DZ = 8, NV = 16 };
enum { RNE, RTZ, RDN, RUP, RMM };
enum op { ADD_D, SUB_D, MUL_D, DIV_D, SQRT_D, MIN_D, MAX_D, FMA_D, ADD_S, MUL_S, DIV_S, D_TO_S, S_TO_D, D_TO_W, D_TO_WU, D_TO_L, D_TO_LU, L_TO_D, LU_TO_S, EQ_D, LT_D, SGNJN_S,
          CLASS_D, CLASS_S };

#define NAN_D 0x7FF8000000000000
#define SIGNALING_D 0x7FF0000000000001
#define INFINITY_D 0x7FF0000000000000
#define LARGEST_D 0x7FEFFFFFFFFFFFFF
#define ONE_D 0x3FF0000000000000
#define THREE_D 0x4008000000000000
#define HALF_D 0x3FE0000000000000
#define MINUS 0x8000000000000000
#define BOX(bits) (0xFFFFFFFF00000000 | (bits))
#define ONE_S 0x3F800000
#define NAN_S 0x7FC00000

static const struct {
    enum op op;
    int rounding;
    uint64_t a, b, c, result;
    uint64_t flags;
} cases[] = {
    {ADD_D, RNE, ONE_D, ONE_D, 0, 0x4000000000000000, 0},
    {ADD_D, RNE, ONE_D, 0x3CA0000000000000, 0, ONE_D, NX}, /* 1 + 2^-53: a tie, to even */
    {ADD_D, RTZ, ONE_D, 0x3CA0000000000000, 0, ONE_D, NX},
    {ADD_D, RDN, ONE_D, 0x3CA0000000000000, 0, ONE_D, NX},
    {ADD_D, RUP, ONE_D, 0x3CA0000000000000, 0, ONE_D + 1, NX},
    {ADD_D, RMM, ONE_D, 0x3CA0000000000000, 0, ONE_D + 1, NX},
    {ADD_D, RMM, MINUS | ONE_D, MINUS | 0x3CA0000000000000, 0, MINUS | (ONE_D + 1), NX},
    {SUB_D, RNE, ONE_D, ONE_D, 0, 0, 0},
    {SUB_D, RDN, ONE_D, ONE_D, 0, MINUS, 0}, /* x - x is -0 only when rounding down */
    {SUB_D, RNE, INFINITY_D, INFINITY_D, 0, NAN_D, NV},
    {MUL_D, RNE, LARGEST_D, THREE_D, 0, INFINITY_D, OF | NX},
    {MUL_D, RTZ, LARGEST_D, THREE_D, 0, LARGEST_D, OF | NX},
    {MUL_D, RDN, LARGEST_D, THREE_D, 0, LARGEST_D, OF | NX},
    {MUL_D, RDN, MINUS | LARGEST_D, THREE_D, 0, MINUS | INFINITY_D, OF | NX},
    {MUL_D, RUP, MINUS | LARGEST_D, THREE_D, 0, MINUS | LARGEST_D, OF | NX},
    {MUL_D, RNE, 0x0010000000000000, HALF_D, 0, 0x0008000000000000, 0}, /* subnormal but exact: no underflow */
    {MUL_D, RNE, 0x0010000000000001, HALF_D, 0, 0x0008000000000000, UF | NX},
    {MUL_D, RNE, 0x001FFFFFFFFFFFFF, HALF_D, 0, 0x0010000000000000, UF | NX}, /* tininess is judged after rounding with unbounded exponent */
    {MUL_D, RNE, 1, 1, 0, 0, UF | NX},
    {MUL_D, RUP, 1, 1, 0, 1, UF | NX},
    {DIV_D, RNE, ONE_D, THREE_D, 0, 0x3FD5555555555555, NX},
    {DIV_D, RUP, ONE_D, THREE_D, 0, 0x3FD5555555555556, NX},
    {DIV_D, RNE, MINUS | ONE_D, 0, 0, MINUS | INFINITY_D, DZ},
    {DIV_D, RNE, 0, 0, 0, NAN_D, NV},
    {SQRT_D, RNE, 0x4000000000000000, 0, 0, 0x3FF6A09E667F3BCD, NX},
    {SQRT_D, RTZ, 0x4000000000000000, 0, 0, 0x3FF6A09E667F3BCC, NX},
    {SQRT_D, RNE, MINUS | ONE_D, 0, 0, NAN_D, NV},
    {SQRT_D, RNE, MINUS, 0, 0, MINUS, 0},
    {MIN_D, RNE, MINUS, 0, 0, MINUS, 0},
    {MAX_D, RNE, MINUS, 0, 0, 0, 0},
    {MIN_D, RNE, NAN_D, ONE_D, 0, ONE_D, 0},
    {MIN_D, RNE, SIGNALING_D, ONE_D, 0, ONE_D, NV},
    {MAX_D, RNE, 0xFFF8000000000123, NAN_D, 0, NAN_D, 0}, /* two NaNs: the canonical one */
    {FMA_D, RNE, ONE_D + 1, ONE_D + 1, MINUS | (ONE_D + 2), 0x3970000000000000, 0}, /* one rounding only */
    {FMA_D, RNE, INFINITY_D, 0, NAN_D, NAN_D, NV}, /* invalid even when the addend is a quiet NaN */
    {ADD_D, RNE, 0x7FF8000000000123, ONE_D, 0, NAN_D, 0}, /* payloads are lost */
    {ADD_D, RNE, SIGNALING_D, ONE_D, 0, NAN_D, NV},
    {ADD_S, RNE, BOX(ONE_S), BOX(ONE_S), 0, BOX(0x40000000), 0},
    {ADD_S, RNE, ONE_S, BOX(ONE_S), 0, BOX(NAN_S), 0}, /* not boxed: a quiet NaN */
    {ADD_S, RNE, 0xFFFFFFFE3F800000, BOX(ONE_S), 0, BOX(NAN_S), 0},
    {MUL_S, RNE, BOX(0x7F7FFFFF), BOX(0x40000000), 0, BOX(0x7F800000), OF | NX},
    {MUL_S, RNE, BOX(0x00FFFFFF), BOX(0x3F000000), 0, BOX(0x00800000), UF | NX},
    {DIV_S, RMM, BOX(ONE_S), BOX(0x40400000), 0, BOX(0x3EAAAAAB), NX},
    {D_TO_S, RNE, ONE_D + 1, 0, 0, BOX(ONE_S), NX},
    {D_TO_S, RUP, ONE_D + 1, 0, 0, BOX(ONE_S + 1), NX},
    {D_TO_S, RNE, LARGEST_D, 0, 0, BOX(0x7F800000), OF | NX},
    {D_TO_S, RNE, SIGNALING_D, 0, 0, BOX(NAN_S), NV},
    {S_TO_D, RNE, BOX(1), 0, 0, 0x36A0000000000000, 0},
    {S_TO_D, RNE, 1, 0, 0, NAN_D, 0},
    {D_TO_W, RNE, 0x4004000000000000, 0, 0, 2, NX}, /* 2.5 */
    {D_TO_W, RMM, 0x4004000000000000, 0, 0, 3, NX},
    {D_TO_W, RDN, 0xC004000000000000, 0, 0, (uint64_t)-3, NX},
    {D_TO_W, RTZ, 0x41E0000000000000, 0, 0, 0x7FFFFFFF, NV}, /* 2^31 */
    {D_TO_W, RTZ, NAN_D, 0, 0, 0x7FFFFFFF, NV},
    {D_TO_W, RTZ, MINUS | INFINITY_D, 0, 0, 0xFFFFFFFF80000000, NV},
    {D_TO_WU, RTZ, MINUS | HALF_D, 0, 0, 0, NX},
    {D_TO_WU, RDN, MINUS | HALF_D, 0, 0, 0, NV},
    {D_TO_WU, RTZ, NAN_D, 0, 0, ~0UL, NV},
    {D_TO_WU, RTZ, 0x41EFFFFFFFE00000, 0, 0, ~0UL, 0}, /* 2^32 - 1, sign-extended */
    {D_TO_L, RTZ, 0x43E0000000000000, 0, 0, 0x7FFFFFFFFFFFFFFF, NV}, /* 2^63 */
    {D_TO_LU, RTZ, 0x43E0000000000000, 0, 0, 1UL << 63, 0},
    {D_TO_LU, RTZ, MINUS | ONE_D, 0, 0, 0, NV},
    {L_TO_D, RNE, 0x7FFFFFFFFFFFFFFF, 0, 0, 0x43E0000000000000, NX},
    {L_TO_D, RTZ, 0x7FFFFFFFFFFFFFFF, 0, 0, 0x43DFFFFFFFFFFFFF, NX},
    {LU_TO_S, RNE, ~0UL, 0, 0, BOX(0x5F800000), NX},
    {EQ_D, RNE, NAN_D, ONE_D, 0, 0, 0},
    {EQ_D, RNE, SIGNALING_D, ONE_D, 0, 0, NV},
    {LT_D, RNE, NAN_D, ONE_D, 0, 0, NV},
    {LT_D, RNE, MINUS, 0, 0, 0, 0},
    {SGNJN_S, RNE, BOX(ONE_S), BOX(ONE_S), 0, BOX(0xBF800000), 0},
    {SGNJN_S, RNE, ONE_S, BOX(ONE_S), 0, BOX(0xFFC00000), 0},
    {CLASS_D, RNE, MINUS | INFINITY_D, 0, 0, 1 << 0, 0},
    {CLASS_D, RNE, MINUS | ONE_D, 0, 0, 1 << 1, 0},
    {CLASS_D, RNE, MINUS | 1, 0, 0, 1 << 2, 0},
    {CLASS_D, RNE, MINUS, 0, 0, 1 << 3, 0},
    {CLASS_D, RNE, 0, 0, 0, 1 << 4, 0},
    {CLASS_D, RNE, 1, 0, 0, 1 << 5, 0},
    {CLASS_D, RNE, ONE_D, 0, 0, 1 << 6, 0},
    {CLASS_D, RNE, INFINITY_D, 0, 0, 1 << 7, 0},
    {CLASS_D, RNE, SIGNALING_D, 0, 0, 1 << 8, 0},
    {CLASS_D, RNE, NAN_D, 0, 0, 1 << 9, 0},
    {CLASS_S, RNE, ONE_S, 0, 0, 1 << 9, 0},
    {CLASS_S, RNE, BOX(ONE_S), 0, 0, 1 << 6, 0},
};

/* Loads the operands, runs the instruction with the dynamic rounding mode, hands back the result's bits. */
#define TO_F(text) __asm__ volatile("fmv.d.x fa1, %1\nfmv.d.x fa2, %2\nfmv.d.x fa3, %3\n" text "\nfmv.x.d %0, fa0" : "=r"(r) : "r"(a), "r"(b), "r"(c) : "fa0", "fa1", "fa2", "fa3")
#define TO_X(text) __asm__ volatile("fmv.d.x fa1, %1\nfmv.d.x fa2, %2\n" text : "=r"(r) : "r"(a), "r"(b) : "fa1", "fa2")
#define FROM_X(text) __asm__ volatile(text "\nfmv.x.d %0, fa0" : "=r"(r) : "r"(a) : "fa0")

static uint64_t run(enum op op, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t r = 0;
    switch (op) {
    case ADD_D: TO_F("fadd.d fa0, fa1, fa2"); break;
    case SUB_D: TO_F("fsub.d fa0, fa1, fa2"); break;
    case MUL_D: TO_F("fmul.d fa0, fa1, fa2"); break;
    case DIV_D: TO_F("fdiv.d fa0, fa1, fa2"); break;
    case SQRT_D: TO_F("fsqrt.d fa0, fa1"); break;
    case MIN_D: TO_F("fmin.d fa0, fa1, fa2"); break;
    case MAX_D: TO_F("fmax.d fa0, fa1, fa2"); break;
    case FMA_D: TO_F("fmadd.d fa0, fa1, fa2, fa3"); break;
    case ADD_S: TO_F("fadd.s fa0, fa1, fa2"); break;
    case MUL_S: TO_F("fmul.s fa0, fa1, fa2"); break;
    case DIV_S: TO_F("fdiv.s fa0, fa1, fa2"); break;
    case D_TO_S: TO_F("fcvt.s.d fa0, fa1"); break;
    case S_TO_D: TO_F("fcvt.d.s fa0, fa1"); break;
    case D_TO_W: TO_X("fcvt.w.d %0, fa1"); break;
    case D_TO_WU: TO_X("fcvt.wu.d %0, fa1"); break;
    case D_TO_L: TO_X("fcvt.l.d %0, fa1"); break;
    case D_TO_LU: TO_X("fcvt.lu.d %0, fa1"); break;
    case L_TO_D: FROM_X("fcvt.d.l fa0, %1"); break;
    case LU_TO_S: FROM_X("fcvt.s.lu fa0, %1"); break;
    case EQ_D: TO_X("feq.d %0, fa1, fa2"); break;
    case LT_D: TO_X("flt.d %0, fa1, fa2"); break;
    case SGNJN_S: TO_F("fsgnjn.s fa0, fa1, fa2"); break;
    case CLASS_D: TO_X("fclass.d %0, fa1"); break;
    case CLASS_S: TO_X("fclass.s %0, fa1"); break;
    }
    return r;
}

static int state_of_registers(void)
{
    enum { FS = 3 << 13, CLEAN = 2 << 13 };
    csr_clear(sstatus, FS);
    csr_set(sstatus, CLEAN);
    __asm__ volatile("fmv.d.x fa0, zero" ::: "fa0");
    int wrong = check("a written register makes FS dirty", csr_read(sstatus) & FS, FS);
    wrong += check("and SD says so", csr_read(sstatus) >> 63, 1);
    csr_clear(sstatus, FS);
    csr_set(sstatus, CLEAN);
    csr_write(fflags, 0);
    return wrong + check("written flags make FS dirty", csr_read(sstatus) & FS, FS);
}

int guest(uint64_t hart, const void *device_tree)
{
    (void)hart, (void)device_tree;
    int wrong = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        csr_write(fcsr, cases[i].rounding << 5);
        uint64_t result = run(cases[i].op, cases[i].a, cases[i].b, cases[i].c);
        uint64_t flags = csr_read(fflags);
        int differs = check("result", result, cases[i].result) + check("flags", flags, cases[i].flags);
        if (differs) {
            print("  in case ");
            print_decimal(i);
            print("\n");
        }
        wrong += differs;
    }
    csr_write(fcsr, 0);
    run(DIV_D, ONE_D, 0, 0);
    run(DIV_D, ONE_D, THREE_D, 0);
    wrong += check("flags accrue", csr_read(fcsr), DZ | NX);
    return wrong + state_of_registers();
}
