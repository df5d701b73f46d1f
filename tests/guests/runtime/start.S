# Entry of a bare-metal guest in S-mode: a0 is the hart, a1 the device tree.
# The boot hart clears .bss (not .arena: programs fill what they read) and runs start(); other harts come in
# through secondary_entry with a1 pointing to their struct hart_start.

    .section .text.start, "ax"
    .globl _start
_start:
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    csrw sie, zero
    csrci sstatus, 2
    csrw satp, zero
    li t0, 3 << 13                  # sstatus.FS = dirty: floating point on
    csrs sstatus, t0
    csrw fcsr, zero
    csrw sscratch, zero
    la t0, trap_vector
    csrw stvec, t0
    la sp, stack_top
    la t0, bss_start
    la t1, bss_end
1:  bgeu t0, t1, 2f
    sd zero, 0(t0)
    addi t0, t0, 8
    j 1b
2:  call start
    j .

    .text
    .globl secondary_entry
secondary_entry:
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    csrw sie, zero
    csrci sstatus, 2
    csrw satp, zero
    li t0, 3 << 13
    csrs sstatus, t0
    csrw fcsr, zero
    csrw sscratch, zero
    la t0, trap_vector
    csrw stvec, t0
    ld sp, 0(a1)
    ld t0, 8(a1)
    ld a1, 16(a1)
    jalr t0                         # function(hart, argument)
1:  wfi
    j 1b

# sscratch is 0 while S-mode runs and the trap stack while U-mode runs.
    .balign 4
    .globl trap_vector
trap_vector:
    csrrw sp, sscratch, sp
    bnez sp, 1f
    csrr sp, sscratch
1:  addi sp, sp, -288
    sd x1, 8(sp)
    sd x3, 24(sp)
    .irp n, 4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    sd x\n, 8*\n(sp)
    .endr
    csrrw t0, sscratch, zero
    csrr t1, sepc
    csrr t2, scause
    csrr t3, stval
    csrr t4, sstatus
    sd t0, 16(sp)
    sd t1, 256(sp)
    sd t2, 264(sp)
    sd t3, 272(sp)
    sd t4, 280(sp)
    mv a0, sp
    la t0, on_trap
    ld t0, 0(t0)
    jalr t0
    ld t1, 256(sp)
    ld t4, 280(sp)
    csrw sepc, t1
    csrw sstatus, t4
    andi t4, t4, 0x100              # SPP: back to S-mode?
    addi t0, sp, 288
    bnez t4, 2f
    csrw sscratch, t0
2:  ld x1, 8(sp)
    ld x3, 24(sp)
    .irp n, 4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    ld x\n, 8*\n(sp)
    .endr
    ld sp, 16(sp)
    sret
