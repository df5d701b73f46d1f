"""Programs for tests, assembled by hand from the descriptions: lists of ("addi", {"rd": 5, …})."""

from __future__ import annotations

from gasang.cpus.riscv64.isa import rv64

Line = tuple[str, dict[str, int]]

ZERO, RA, SP, GP, TP, T0, T1, T2, S0, S1, A0, A1, A2, A3, A4, A5, A6, A7 = range(18)
SSTATUS, SIE, STVEC, SEPC, SCAUSE, STVAL, STIMECMP, TIME = 0x100, 0x104, 0x105, 0x141, 0x142, 0x143, 0x14D, 0xC01

ECALL: Line = ("ecall", {})
WFI: Line = ("wfi", {})


def addi(rd: int, rs1: int, imm: int) -> Line:
    """Add: rd = rs1 + imm, imm of 12 bits."""
    return "addi", {"rd": rd, "rs1": rs1, "imm": imm}


def lui(rd: int, imm: int) -> Line:
    """Load: rd = imm, a multiple of 4096 of 32 bits."""
    return "lui", {"rd": rd, "imm": imm}


def auipc(rd: int, imm: int = 0) -> Line:
    """Where am I: rd = pc + imm."""
    return "auipc", {"rd": rd, "imm": imm}


def jump(offset: int) -> Line:
    """Go on at pc + offset."""
    return "jal", {"rd": 0, "imm": offset}


def write_csr(csr: int, rs1: int) -> Line:
    """Set a CSR: csr = rs1."""
    return "csrrw", {"rd": 0, "rs1": rs1, "csr": csr}


def read_csr(rd: int, csr: int) -> Line:
    """Get a CSR: rd = csr."""
    return "csrrs", {"rd": rd, "rs1": 0, "csr": csr}


def assemble(*lines: Line) -> bytes:
    """The bytes of a program."""
    words = [rv64.by_name[name].encode(**operands).to_bytes(rv64.by_name[name].length, "little") for name, operands in lines]
    return b"".join(words)
