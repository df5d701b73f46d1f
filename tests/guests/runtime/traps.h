/* Traps that a guest provokes and looks at. */
#ifndef TRAPS_H
#define TRAPS_H
#include "runtime.h"

/* The last trap caught, and how many there were since catch_traps(). */
struct caught {
    uint64_t count, scause, stval, sepc;
};
extern volatile struct caught caught;

/* From now on a trap of S-mode ends the function it happened in: it returns to its ra. */
void catch_traps(void);

/* Says and counts what differs from the one trap expected since the last call; clears `caught`. */
int check_trap(const char *what, uint64_t scause, uint64_t stval, uint64_t sepc);
int check_no_trap(const char *what);

uint64_t probe_lbu(uint64_t address), probe_lw(uint64_t address), probe_ld(uint64_t address);
void probe_sb(uint64_t address, uint64_t value), probe_sw(uint64_t address, uint64_t value), probe_sd(uint64_t address, uint64_t value);
uint64_t probe_lr_w(uint64_t address), probe_lr_d(uint64_t address), probe_sc_d(uint64_t address, uint64_t value);
uint64_t probe_amoadd_w(uint64_t address, uint64_t value), probe_amoadd_d(uint64_t address, uint64_t value);
void probe_fld(uint64_t address), probe_fsd(uint64_t address);
void probe_ebreak(void), probe_illegal(void), probe_illegal_compressed(void), probe_missing_csr(void), probe_machine_csr(void);
void probe_read_only_csr(void), probe_dynamic_rounding(void), probe_mret(void);
uint64_t probe_jump(uint64_t address);

/* Runs U-mode code at pc until it traps; `caught` tells why, the result is its a0. */
uint64_t run_user(uint64_t pc, uint64_t a0, uint64_t a1, uint64_t stack);
#endif
