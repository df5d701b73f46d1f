# One access a function: the function's address is the access's, and catch_traps() returns to the caller's ra.

    .text
    .macro probe name, instruction:vararg
    .balign 4
    .globl \name
\name:
    \instruction
    ret
    .endm

    probe probe_lbu, lbu a0, 0(a0)
    probe probe_lw, lw a0, 0(a0)
    probe probe_ld, ld a0, 0(a0)
    probe probe_sb, sb a1, 0(a0)
    probe probe_sw, sw a1, 0(a0)
    probe probe_sd, sd a1, 0(a0)
    probe probe_lr_w, lr.w a0, (a0)
    probe probe_lr_d, lr.d a0, (a0)
    probe probe_sc_d, sc.d a0, a1, (a0)
    probe probe_amoadd_w, amoadd.w a0, a1, (a0)
    probe probe_amoadd_d, amoadd.d a0, a1, (a0)
    probe probe_fld, fld fa0, 0(a0)
    probe probe_fsd, fsd fa0, 0(a0)
    .option push
    .option norvc
    probe probe_ebreak, ebreak
    probe probe_illegal, .word 0xffffffff
    probe probe_missing_csr, .word 0x5c002573      # csrr a0, 0x5c0: no such register
    probe probe_machine_csr, .word 0x30002573      # csrr a0, mstatus: M-mode's
    probe probe_read_only_csr, .word 0xc0051073    # csrw cycle, a0: a counter is read-only
    probe probe_dynamic_rounding, fadd.d fa0, fa0, fa0
    probe probe_mret, mret
    .option pop
    .balign 4
    .globl probe_illegal_compressed
probe_illegal_compressed:
    .half 0
    ret

# Calls a0, wherever that leads: a fault of the fetch returns here through ra.
    .balign 4
    .globl probe_jump
probe_jump:
    jr a0

# void enter_user(pc, a0, a1, sp): runs U-mode until its first trap, which leave_user() ends.
    .globl enter_user
enter_user:
    addi sp, sp, -112
    sd ra, 0(sp)
    sd gp, 8(sp)
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11
    sd s\n, 16+8*\n(sp)
    .endr
    la t0, user_stack_frame
    sd sp, 0(t0)
    csrw sepc, a0
    li t0, 0x120
    csrc sstatus, t0                # SPP = U, SPIE = 0: interrupts stay off in S-mode
    csrw sscratch, sp
    mv a0, a1
    mv a1, a2
    mv sp, a3
    sret

    .globl user_return
user_return:
    ld ra, 0(sp)
    ld gp, 8(sp)
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11
    ld s\n, 16+8*\n(sp)
    .endr
    addi sp, sp, 112
    ret
