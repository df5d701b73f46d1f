"""How RISC-V instructions are written: register names, immediates, and the pseudo-instructions that people expect to read.

Operands in a syntax: registers by their operand names; `imm` decimal; `shamt` and `upper` the immediate as a shift amount or as
the upper 20 bits, hexadecimal; `target` pc + imm; `csr` by name; `zimm` decimal; `rm` unless dynamic; `pred` and `succ` of a fence.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from gasang.cpus.disassembler import Alias, Dialect, Disassembler, Operands, Writer
from gasang.cpus.riscv64.csr_names import CSR_NAMES
from gasang.cpus.riscv64.isa import rv64

X_NAMES = (
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2",
    "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5",
    "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7",
    "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
)  # fmt: skip
F_NAMES = (
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7",
    "fs0", "fs1", "fa0", "fa1", "fa2", "fa3", "fa4", "fa5",
    "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7",
    "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
)  # fmt: skip
X_NUMBERS = tuple(f"x{number}" for number in range(32))
F_NUMBERS = tuple(f"f{number}" for number in range(32))

ROUNDING_MODES = {0: "rne", 1: "rtz", 2: "rdn", 3: "rup", 4: "rmm", 7: ""}
"""7 means "the dynamic mode" and is not written."""

Symbolizer = Callable[[int], str]
"""How an address is written."""

ALIASES = (
    Alias("addi", {"rd": 0, "rs1": 0, "imm": 0}, "nop"),
    Alias("addi", {"rs1": 0}, "li", "rd, imm"),
    Alias("addi", {"imm": 0}, "mv", "rd, rs1"),
    Alias("c.mv", {}, "mv", "rd, rs2"),
    Alias("xori", {"imm": -1}, "not", "rd, rs1"),
    Alias("andi", {"imm": 255}, "zext.b", "rd, rs1"),
    Alias("sub", {"rs1": 0}, "neg", "rd, rs2"),
    Alias("subw", {"rs1": 0}, "negw", "rd, rs2"),
    Alias("addiw", {"imm": 0}, "sext.w", "rd, rs1"),
    Alias("add.uw", {"rs2": 0}, "zext.w", "rd, rs1"),
    Alias("sltiu", {"imm": 1}, "seqz", "rd, rs1"),
    Alias("sltu", {"rs1": 0}, "snez", "rd, rs2"),
    Alias("slt", {"rs2": 0}, "sltz", "rd, rs1"),
    Alias("slt", {"rs1": 0}, "sgtz", "rd, rs2"),
    Alias("beq", {"rs2": 0}, "beqz", "rs1, target"),
    Alias("bne", {"rs2": 0}, "bnez", "rs1, target"),
    Alias("bge", {"rs1": 0}, "blez", "rs2, target"),
    Alias("bge", {"rs2": 0}, "bgez", "rs1, target"),
    Alias("blt", {"rs2": 0}, "bltz", "rs1, target"),
    Alias("blt", {"rs1": 0}, "bgtz", "rs2, target"),
    Alias("jal", {"rd": 0}, "j", "target"),
    Alias("jal", {"rd": 1}, "jal", "target"),
    Alias("jalr", {"rd": 0, "rs1": 1, "imm": 0}, "ret"),
    Alias("jalr", {"rd": 0, "imm": 0}, "jr", "rs1"),
    Alias("jalr", {"rd": 0}, "jr", "imm(rs1)"),
    Alias("jalr", {"rd": 1, "imm": 0}, "jalr", "rs1"),
    Alias("jalr", {"rd": 1}, "jalr", "imm(rs1)"),
    Alias("jalr", {"imm": 0}, "jalr", "rd, rs1"),
    Alias("fence", {"fm": 0, "pred": 15, "succ": 15}, "fence"),
    Alias("csrrs", {"csr": 0xC00, "rs1": 0}, "rdcycle", "rd"),
    Alias("csrrs", {"csr": 0xC01, "rs1": 0}, "rdtime", "rd"),
    Alias("csrrs", {"csr": 0xC02, "rs1": 0}, "rdinstret", "rd"),
    Alias("csrrs", {"csr": 0x001, "rs1": 0}, "frflags", "rd"),
    Alias("csrrs", {"csr": 0x002, "rs1": 0}, "frrm", "rd"),
    Alias("csrrs", {"csr": 0x003, "rs1": 0}, "frcsr", "rd"),
    *(
        alias
        for number, name in ((0x001, "fsflags"), (0x002, "fsrm"), (0x003, "fscsr"))
        for alias in (Alias("csrrw", {"csr": number, "rd": 0}, name, "rs1"), Alias("csrrw", {"csr": number}, name, "rd, rs1"))
    ),
    *(
        alias
        for number, name in ((0x001, "fsflagsi"), (0x002, "fsrmi"))
        for alias in (Alias("csrrwi", {"csr": number, "rd": 0}, name, "zimm"), Alias("csrrwi", {"csr": number}, name, "rd, zimm"))
    ),
    Alias("csrrs", {"rs1": 0}, "csrr", "rd, csr"),
    Alias("csrrw", {"rd": 0}, "csrw", "csr, rs1"),
    Alias("csrrs", {"rd": 0}, "csrs", "csr, rs1"),
    Alias("csrrc", {"rd": 0}, "csrc", "csr, rs1"),
    Alias("csrrwi", {"rd": 0}, "csrwi", "csr, zimm"),
    Alias("csrrsi", {"rd": 0}, "csrsi", "csr, zimm"),
    Alias("csrrci", {"rd": 0}, "csrci", "csr, zimm"),
    Alias("sfence.vma", {"rs1": 0, "rs2": 0}, "sfence.vma"),
    Alias("sfence.vma", {"rs2": 0}, "sfence.vma", "rs1"),
    *(
        Alias(f"{of}.{width}", {"fs2": "fs1"}, f"{mnemonic}.{width}", "fd, fs1")
        for width in "sd"
        for of, mnemonic in (("fsgnj", "fmv"), ("fsgnjn", "fneg"), ("fsgnjx", "fabs"))
    ),
)
"""Spellings by the assembly programmer's manual, for each instruction the more special ones first."""

ALWAYS = (
    Alias("fence", {"fm": 8, "pred": 3, "succ": 3, "rs1": 0, "rd": 0}, "fence.tso"),
    Alias("fence", {"fm": 0, "pred": 1, "succ": 0, "rs1": 0, "rd": 0}, "pause"),
)
"""Encodings with a name of their own, which is no alias."""


def disassemble(word: int, pc: int = 0, *, aliases: bool = True, numeric: bool = False, symbolize: Symbolizer = hex) -> str:
    """The RISC-V instruction in the lower bits of `word` at address `pc` as text.

    Without `aliases` pseudo-instructions are not used and compressed instructions are named as such; `numeric` writes registers
    as x10 and f10; `symbolize` writes jump targets.
    """
    return _cached(aliases, numeric, symbolize).text(word, pc)


def disassembler(aliases: bool = True, numeric: bool = False, symbolize: Symbolizer = hex) -> Disassembler:
    """What writes many instructions the way `disassemble` writes one."""
    integers, floats = (X_NUMBERS, F_NUMBERS) if numeric else (X_NAMES, F_NAMES)
    writers: dict[str, Writer] = {
        "imm": lambda operands, pc: str(operands["imm"]),
        "shamt": lambda operands, pc: hex(operands["imm"]),
        "upper": lambda operands, pc: hex(operands["imm"] >> 12 & 0xFFFFF),
        "target": lambda operands, pc: symbolize(pc + operands["imm"] & 0xFFFFFFFFFFFFFFFF),
        "csr": lambda operands, pc: CSR_NAMES.get(operands["csr"], hex(operands["csr"])),
        "zimm": lambda operands, pc: str(operands["zimm"]),
        "rm": lambda operands, pc: ROUNDING_MODES.get(operands["rm"], "unknown"),
        "pred": lambda operands, pc: _ordering(operands["pred"]),
        "succ": lambda operands, pc: _ordering(operands["succ"]),
    }
    writers |= {name: _register(name, integers) for name in ("rd", "rs1", "rs2")}
    writers |= {name: _register(name, floats) for name in ("fd", "fs1", "fs2", "fs3")}
    return Disassembler(rv64, Dialect(writers, _ordering_suffix, frozenset({"target"}), ALIASES if aliases else (), ALWAYS))


_cached = cache(disassembler)


def _register(name: str, names: tuple[str, ...]) -> Writer:
    return lambda operands, pc: names[operands[name]]


def _ordering(bits: int) -> str:
    """The accesses that a fence orders: `iorw` or a part of it."""
    return "".join(letter for place, letter in enumerate("iorw") if bits >> 3 - place & 1) or "unknown"


def _ordering_suffix(operands: Operands) -> str:
    """`.aq`, `.rl` or `.aqrl` of atomic instructions."""
    letters = ("aq" if operands.get("aq") else "") + ("rl" if operands.get("rl") else "")
    return f".{letters}" if letters else ""
