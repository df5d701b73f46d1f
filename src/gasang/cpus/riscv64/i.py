"""RV64I: the base integer instructions (unprivileged specification, chapters 2 and 4)."""

from __future__ import annotations

from gasang.cpus.instruction_set import Extension
from gasang.cpus.riscv64.memory import (
    load_u8,
    load_u16,
    load_u32,
    load_u64,
    store_u8,
    store_u16,
    store_u32,
    store_u64,
)
from gasang.cpus.riscv64.state import Cpu
from gasang.native import boolean, i8, i16, i32, i64, native, ptr, u8, u16, u32, u64
from gasang.native import fence as host_fence

rv64i = Extension("I", "Base integer instructions")


@rv64i.instruction("imm[31:12] rd 0110111", "rd, upper")
@native
def lui(cpu: ptr[Cpu], rd: u8, imm: u64) -> None:
    """rd = imm, whose lower 12 bits are zero (2.4.1)."""
    cpu.x[rd] = imm


@rv64i.instruction("imm[31:12] rd 0010111", "rd, upper")
@native
def auipc(cpu: ptr[Cpu], rd: u8, imm: u64, pc: u64) -> None:
    """rd = pc + imm, whose lower 12 bits are zero (2.4.1)."""
    cpu.x[rd] = pc + imm


@rv64i.instruction("imm[20|10:1|11|19:12] rd 1101111", "rd, target")
@native
def jal(cpu: ptr[Cpu], rd: u8, imm: u64, pc: u64, next_pc: u64) -> u64:
    """Jump to pc + imm and link: rd = the next instruction's address (2.5.1)."""
    cpu.x[rd] = next_pc
    return pc + imm


@rv64i.instruction("imm[11:0] rs1 000 rd 1100111", "rd, imm(rs1)")
@native
def jalr(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64, next_pc: u64) -> u64:
    """Jump to rs1 + imm, its lowest bit cleared, and link (2.5.1)."""
    target: u64 = (cpu.x[rs1] + imm) & 0xFFFFFFFFFFFFFFFE
    cpu.x[rd] = next_pc
    return target


@rv64i.instruction("imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011", "rs1, rs2, target")
@native
def beq(cpu: ptr[Cpu], rs1: u8, rs2: u8) -> boolean:
    """Branch if rs1 = rs2 (2.5.2)."""
    return cpu.x[rs1] == cpu.x[rs2]


@rv64i.instruction("imm[12|10:5] rs2 rs1 001 imm[4:1|11] 1100011", "rs1, rs2, target")
@native
def bne(cpu: ptr[Cpu], rs1: u8, rs2: u8) -> boolean:
    """Branch unless rs1 = rs2 (2.5.2)."""
    return cpu.x[rs1] != cpu.x[rs2]


@rv64i.instruction("imm[12|10:5] rs2 rs1 100 imm[4:1|11] 1100011", "rs1, rs2, target")
@native
def blt(cpu: ptr[Cpu], rs1: u8, rs2: u8) -> boolean:
    """Branch if rs1 < rs2, both signed (2.5.2)."""
    return i64(cpu.x[rs1]) < i64(cpu.x[rs2])


@rv64i.instruction("imm[12|10:5] rs2 rs1 101 imm[4:1|11] 1100011", "rs1, rs2, target")
@native
def bge(cpu: ptr[Cpu], rs1: u8, rs2: u8) -> boolean:
    """Branch if rs1 >= rs2, both signed (2.5.2)."""
    return i64(cpu.x[rs1]) >= i64(cpu.x[rs2])


@rv64i.instruction("imm[12|10:5] rs2 rs1 110 imm[4:1|11] 1100011", "rs1, rs2, target")
@native
def bltu(cpu: ptr[Cpu], rs1: u8, rs2: u8) -> boolean:
    """Branch if rs1 < rs2, both unsigned (2.5.2)."""
    return cpu.x[rs1] < cpu.x[rs2]


@rv64i.instruction("imm[12|10:5] rs2 rs1 111 imm[4:1|11] 1100011", "rs1, rs2, target")
@native
def bgeu(cpu: ptr[Cpu], rs1: u8, rs2: u8) -> boolean:
    """Branch if rs1 >= rs2, both unsigned (2.5.2)."""
    return cpu.x[rs1] >= cpu.x[rs2]


@rv64i.instruction("imm[11:0] rs1 000 rd 0000011", "rd, imm(rs1)")
@native(may_fault=True)
def lb(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = the byte at rs1 + imm, sign-extended (2.6)."""
    cpu.x[rd] = u64(i8(load_u8(cpu, cpu.x[rs1] + imm)))


@rv64i.instruction("imm[11:0] rs1 001 rd 0000011", "rd, imm(rs1)")
@native(may_fault=True)
def lh(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = the 16-bit value at rs1 + imm, sign-extended (2.6)."""
    cpu.x[rd] = u64(i16(load_u16(cpu, cpu.x[rs1] + imm)))


@rv64i.instruction("imm[11:0] rs1 010 rd 0000011", "rd, imm(rs1)")
@native(may_fault=True)
def lw(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = the 32-bit value at rs1 + imm, sign-extended (2.6)."""
    cpu.x[rd] = u64(i32(load_u32(cpu, cpu.x[rs1] + imm)))


@rv64i.instruction("imm[11:0] rs1 011 rd 0000011", "rd, imm(rs1)")
@native(may_fault=True)
def ld(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = the 64-bit value at rs1 + imm (4.3)."""
    cpu.x[rd] = load_u64(cpu, cpu.x[rs1] + imm)


@rv64i.instruction("imm[11:0] rs1 100 rd 0000011", "rd, imm(rs1)")
@native(may_fault=True)
def lbu(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = the byte at rs1 + imm, zero-extended (2.6)."""
    cpu.x[rd] = u64(load_u8(cpu, cpu.x[rs1] + imm))


@rv64i.instruction("imm[11:0] rs1 101 rd 0000011", "rd, imm(rs1)")
@native(may_fault=True)
def lhu(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = the 16-bit value at rs1 + imm, zero-extended (2.6)."""
    cpu.x[rd] = u64(load_u16(cpu, cpu.x[rs1] + imm))


@rv64i.instruction("imm[11:0] rs1 110 rd 0000011", "rd, imm(rs1)")
@native(may_fault=True)
def lwu(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = the 32-bit value at rs1 + imm, zero-extended (4.3)."""
    cpu.x[rd] = u64(load_u32(cpu, cpu.x[rs1] + imm))


@rv64i.instruction("imm[11:5] rs2 rs1 000 imm[4:0] 0100011", "rs2, imm(rs1)")
@native(may_fault=True)
def sb(cpu: ptr[Cpu], rs1: u8, rs2: u8, imm: u64) -> None:
    """Store the lowest byte of rs2 at rs1 + imm (2.6)."""
    store_u8(cpu, cpu.x[rs1] + imm, u8(cpu.x[rs2]))


@rv64i.instruction("imm[11:5] rs2 rs1 001 imm[4:0] 0100011", "rs2, imm(rs1)")
@native(may_fault=True)
def sh(cpu: ptr[Cpu], rs1: u8, rs2: u8, imm: u64) -> None:
    """Store the lower 16 bits of rs2 at rs1 + imm (2.6)."""
    store_u16(cpu, cpu.x[rs1] + imm, u16(cpu.x[rs2]))


@rv64i.instruction("imm[11:5] rs2 rs1 010 imm[4:0] 0100011", "rs2, imm(rs1)")
@native(may_fault=True)
def sw(cpu: ptr[Cpu], rs1: u8, rs2: u8, imm: u64) -> None:
    """Store the lower 32 bits of rs2 at rs1 + imm (2.6)."""
    store_u32(cpu, cpu.x[rs1] + imm, u32(cpu.x[rs2]))


@rv64i.instruction("imm[11:5] rs2 rs1 011 imm[4:0] 0100011", "rs2, imm(rs1)")
@native(may_fault=True)
def sd(cpu: ptr[Cpu], rs1: u8, rs2: u8, imm: u64) -> None:
    """Store rs2 at rs1 + imm (4.3)."""
    store_u64(cpu, cpu.x[rs1] + imm, cpu.x[rs2])


@rv64i.instruction("imm[11:0] rs1 000 rd 0010011", "rd, rs1, imm")
@native
def addi(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = rs1 + imm (2.4.1)."""
    cpu.x[rd] = cpu.x[rs1] + imm


@rv64i.instruction("imm[11:0] rs1 010 rd 0010011", "rd, rs1, imm")
@native
def slti(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = 1 if rs1 < imm, both signed, else 0 (2.4.1)."""
    cpu.x[rd] = u64(i64(cpu.x[rs1]) < i64(imm))


@rv64i.instruction("imm[11:0] rs1 011 rd 0010011", "rd, rs1, imm")
@native
def sltiu(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = 1 if rs1 < imm (sign-extended), both unsigned, else 0 (2.4.1)."""
    cpu.x[rd] = u64(cpu.x[rs1] < imm)


@rv64i.instruction("imm[11:0] rs1 100 rd 0010011", "rd, rs1, imm")
@native
def xori(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = rs1 ^ imm (2.4.1)."""
    cpu.x[rd] = cpu.x[rs1] ^ imm


@rv64i.instruction("imm[11:0] rs1 110 rd 0010011", "rd, rs1, imm")
@native
def ori(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = rs1 | imm (2.4.1)."""
    cpu.x[rd] = cpu.x[rs1] | imm


@rv64i.instruction("imm[11:0] rs1 111 rd 0010011", "rd, rs1, imm")
@native
def andi(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = rs1 & imm (2.4.1)."""
    cpu.x[rd] = cpu.x[rs1] & imm


@rv64i.instruction("000000 uimm[5:0] rs1 001 rd 0010011", "rd, rs1, shamt")
@native
def slli(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = rs1 << imm (4.2.1)."""
    cpu.x[rd] = cpu.x[rs1] << imm


@rv64i.instruction("000000 uimm[5:0] rs1 101 rd 0010011", "rd, rs1, shamt")
@native
def srli(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = rs1 >> imm, zeroes shifted in (4.2.1)."""
    cpu.x[rd] = cpu.x[rs1] >> imm


@rv64i.instruction("010000 uimm[5:0] rs1 101 rd 0010011", "rd, rs1, shamt")
@native
def srai(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = rs1 >> imm, the sign shifted in (4.2.1)."""
    cpu.x[rd] = u64(i64(cpu.x[rs1]) >> i64(imm))


@rv64i.instruction("0000000 rs2 rs1 000 rd 0110011", "rd, rs1, rs2")
@native
def add(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1 + rs2 (2.4.2)."""
    cpu.x[rd] = cpu.x[rs1] + cpu.x[rs2]


@rv64i.instruction("0100000 rs2 rs1 000 rd 0110011", "rd, rs1, rs2")
@native
def sub(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1 - rs2 (2.4.2)."""
    cpu.x[rd] = cpu.x[rs1] - cpu.x[rs2]


@rv64i.instruction("0000000 rs2 rs1 001 rd 0110011", "rd, rs1, rs2")
@native
def sll(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1 << the lower 6 bits of rs2 (4.2.2)."""
    cpu.x[rd] = cpu.x[rs1] << cpu.x[rs2]


@rv64i.instruction("0000000 rs2 rs1 010 rd 0110011", "rd, rs1, rs2")
@native
def slt(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = 1 if rs1 < rs2, both signed, else 0 (2.4.2)."""
    cpu.x[rd] = u64(i64(cpu.x[rs1]) < i64(cpu.x[rs2]))


@rv64i.instruction("0000000 rs2 rs1 011 rd 0110011", "rd, rs1, rs2")
@native
def sltu(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = 1 if rs1 < rs2, both unsigned, else 0 (2.4.2)."""
    cpu.x[rd] = u64(cpu.x[rs1] < cpu.x[rs2])


@rv64i.instruction("0000000 rs2 rs1 100 rd 0110011", "rd, rs1, rs2")
@native
def xor(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1 ^ rs2 (2.4.2)."""
    cpu.x[rd] = cpu.x[rs1] ^ cpu.x[rs2]


@rv64i.instruction("0000000 rs2 rs1 101 rd 0110011", "rd, rs1, rs2")
@native
def srl(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1 >> the lower 6 bits of rs2, zeroes shifted in (4.2.2)."""
    cpu.x[rd] = cpu.x[rs1] >> cpu.x[rs2]


@rv64i.instruction("0100000 rs2 rs1 101 rd 0110011", "rd, rs1, rs2")
@native
def sra(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1 >> the lower 6 bits of rs2, the sign shifted in (4.2.2)."""
    cpu.x[rd] = u64(i64(cpu.x[rs1]) >> i64(cpu.x[rs2]))


@rv64i.instruction("0000000 rs2 rs1 110 rd 0110011", "rd, rs1, rs2")
@native
def or_(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1 | rs2 (2.4.2)."""
    cpu.x[rd] = cpu.x[rs1] | cpu.x[rs2]


@rv64i.instruction("0000000 rs2 rs1 111 rd 0110011", "rd, rs1, rs2")
@native
def and_(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = rs1 & rs2 (2.4.2)."""
    cpu.x[rd] = cpu.x[rs1] & cpu.x[rs2]


@rv64i.instruction("imm[11:0] rs1 000 rd 0011011", "rd, rs1, imm")
@native
def addiw(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = the lower 32 bits of rs1 + imm, sign-extended (4.2.1)."""
    cpu.x[rd] = u64(i32(cpu.x[rs1] + imm))


@rv64i.instruction("0000000 uimm[4:0] rs1 001 rd 0011011", "rd, rs1, shamt")
@native
def slliw(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = the lower 32 bits of rs1 << imm, sign-extended (4.2.1)."""
    cpu.x[rd] = u64(i32(cpu.x[rs1] << imm))


@rv64i.instruction("0000000 uimm[4:0] rs1 101 rd 0011011", "rd, rs1, shamt")
@native
def srliw(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = the lower 32 bits of rs1 >> imm, zeroes shifted in, then sign-extended (4.2.1)."""
    cpu.x[rd] = u64(i32(u32(cpu.x[rs1]) >> u32(imm)))


@rv64i.instruction("0100000 uimm[4:0] rs1 101 rd 0011011", "rd, rs1, shamt")
@native
def sraiw(cpu: ptr[Cpu], rd: u8, rs1: u8, imm: u64) -> None:
    """rd = the lower 32 bits of rs1 >> imm, bit 31 shifted in (4.2.1)."""
    cpu.x[rd] = u64(i32(cpu.x[rs1]) >> i32(imm))


@rv64i.instruction("0000000 rs2 rs1 000 rd 0111011", "rd, rs1, rs2")
@native
def addw(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the lower 32 bits of rs1 + rs2, sign-extended (4.2.2)."""
    cpu.x[rd] = u64(i32(cpu.x[rs1] + cpu.x[rs2]))


@rv64i.instruction("0100000 rs2 rs1 000 rd 0111011", "rd, rs1, rs2")
@native
def subw(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the lower 32 bits of rs1 - rs2, sign-extended (4.2.2)."""
    cpu.x[rd] = u64(i32(cpu.x[rs1] - cpu.x[rs2]))


@rv64i.instruction("0000000 rs2 rs1 001 rd 0111011", "rd, rs1, rs2")
@native
def sllw(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the lower 32 bits of rs1 << the lower 5 bits of rs2, sign-extended (4.2.2)."""
    cpu.x[rd] = u64(i32(u32(cpu.x[rs1]) << u32(cpu.x[rs2])))


@rv64i.instruction("0000000 rs2 rs1 101 rd 0111011", "rd, rs1, rs2")
@native
def srlw(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the lower 32 bits of rs1 >> the lower 5 bits of rs2, zeroes shifted in, then sign-extended (4.2.2)."""
    cpu.x[rd] = u64(i32(u32(cpu.x[rs1]) >> u32(cpu.x[rs2])))


@rv64i.instruction("0100000 rs2 rs1 101 rd 0111011", "rd, rs1, rs2")
@native
def sraw(cpu: ptr[Cpu], rd: u8, rs1: u8, rs2: u8) -> None:
    """rd = the lower 32 bits of rs1 >> the lower 5 bits of rs2, bit 31 shifted in (4.2.2)."""
    cpu.x[rd] = u64(i32(cpu.x[rs1]) >> i32(cpu.x[rs2]))


@rv64i.instruction("fm:4 pred:4 succ:4 rs1 000 rd 0001111", "pred, succ")
@native
def fence(cpu: ptr[Cpu]) -> None:
    """Order all memory accesses before with all after: stronger than any pred and succ ask for (2.7)."""
    host_fence()
