"""Floating-point instructions, one by one, against the golden model: registers, flags, boxing, rounding modes."""

from __future__ import annotations

import ctypes

from gasang.cpus.instruction_set import Instruction
from gasang.cpus.riscv64.d import rv64d
from gasang.cpus.riscv64.f import rv64f
from gasang.cpus.riscv64.state import Cpu
from gasang.native import boolean, float_flags, i32, native, native_from_source, ptr, set_float_control, struct, u8, u32, u64
from support.float_golden import Cases, consult, draw, draw_integer, draw_operands

INSTRUCTIONS = [entry for entry in (*rv64f.described, *rv64d.described) if isinstance(entry, Instruction)]
NUMBERS = {instruction.name: number for number, instruction in enumerate(INSTRUCTIONS)}

FS1, FS2, FS3, FD, RD, RS1 = 0, 1, 2, 3, 5, 6
REGISTERS = {"fs1": FS1, "fs2": FS2, "fs3": FS3, "fd": FD, "rd": RD, "rs1": RS1, "imm": 0, "rm": "rm"}
"""The operands that every instruction is tried with."""

BOXED = 0xFFFF_FFFF_0000_0000


def _dispatcher() -> str:
    """The source of a function that executes the instruction with a number and tells whether it faulted."""
    lines = ["def execute(cpu: ptr[Cpu], number: u64, rm: u8) -> boolean:"]
    for number, instruction in enumerate(INSTRUCTIONS):
        operands = ", ".join(["cpu", *(str(REGISTERS[want]) for want in instruction.wants)])
        lines.append(f"    if number == {number}:")
        if instruction.function.may_fault:  # type: ignore[attr-defined]
            lines.append(f"        return not attempt(function_{number}, {operands})")
        else:
            lines += [f"        function_{number}({operands})", "        return False"]
    return "\n".join([*lines, "    return True"])


def _namespace() -> dict[str, object]:
    from gasang.native import attempt

    functions = {f"function_{number}": instruction.function for number, instruction in enumerate(INSTRUCTIONS)}
    return {**functions, "attempt": attempt, "Cpu": Cpu, "ptr": ptr, "u8": u8, "u64": u64, "boolean": boolean}


execute = native_from_source(_dispatcher(), _namespace())


@struct
class Subject:
    """An instruction and how the golden model's function for it is called."""

    number: u64
    rounds: u64
    """Whether it has a rounding mode."""
    integer_operand: u64
    to_integer: u64
    minus_product: u64
    minus_addend: u64
    result_width: u64
    """32 or 64 in fd; in rd: 1, 31 (32 bits to be sign-extended) or 63."""


@native
def place(cases: ptr[Cases], cpu: ptr[Cpu], register: u64, bits: u64) -> u64:
    """Put a number into a register, now and then without its box; what the instruction reads there."""
    if cases.width == 64:
        cpu.f[register] = bits
        return bits
    if draw(cases) & 15 != 0:
        cpu.f[register] = bits | BOXED
        return bits
    cpu.f[register] = bits | (draw(cases) << 32)
    return bits if cpu.f[register] >= BOXED else 0x7FC00000


@native
def run_case(cases: ptr[Cases], cpu: ptr[Cpu], subject: ptr[Subject]) -> boolean:
    """Execute the instruction in one of the ways to ask for the case's rounding mode; whether it faulted."""
    choice: u64 = draw(cases)
    rm: u8 = 7
    cpu.frm = cases.rounding
    if subject.rounds == 0:
        cpu.frm = choice % 8
    elif choice & 1 == 1:
        rm = u8(cases.rounding)
        cpu.frm = (choice >> 8) % 8 if choice & 2 == 0 else cases.rounding
    cpu.fs = 1
    before: u64 = 0
    if choice & 0x30 == 0:
        before = (choice >> 16) & 31
    set_float_control(u32(cpu.frm), u32(before))
    faulted: boolean = execute(cpu, subject.number, rm)
    cases.got_flags = u64(float_flags())
    set_float_control(0, 0)
    cases.want_flags |= before
    return faulted


@native
def ask(cases: ptr[Cases], cpu: ptr[Cpu], subject: ptr[Subject]) -> None:
    """Set the registers and let the golden model compute."""
    sign: u64 = u64(1) << (cases.width - 1)
    a: u64 = place(cases, cpu, FS1, cases.a)
    b: u64 = place(cases, cpu, FS2, cases.b)
    c: u64 = place(cases, cpu, FS3, cases.c)
    if subject.integer_operand != 0:
        cpu.x[RS1] = draw_integer(cases)
        cases.a = cpu.x[RS1]
        consult(cases, cases.a, 0, 0)
    elif subject.to_integer != 0:
        consult(cases, a, cases.rounding, 1)
    else:
        consult(cases, a ^ (sign * subject.minus_product), b, c ^ (sign * subject.minus_addend))


@native
def expected(subject: ptr[Subject], raw: u64) -> u64:
    """The golden model's result as it stands in a register."""
    if subject.result_width == 32:
        return (raw & 0xFFFFFFFF) | BOXED
    if subject.result_width == 31:
        return u64(i32(raw))
    return raw & 1 if subject.result_width == 1 else raw


@native
def compare_instruction(cases: ptr[Cases], cpu: ptr[Cpu], subject: ptr[Subject]) -> boolean:
    """Whether a case went wrong."""
    while cases.count != 0:
        draw_operands(cases)
        ask(cases, cpu, subject)
        cases.want = expected(subject, cases.want)
        if run_case(cases, cpu, subject):
            return True
        cases.got = cpu.f[FD] if subject.result_width & 31 == 0 else cpu.x[RD]
        if cases.got != cases.want or cases.got_flags != cases.want_flags or cpu.fs != 3:
            return True
        cases.count -= 1
    return False


FAULTED = 1 << 8


@native
def raised_by(cpu: ptr[Cpu], number: u64, rm: u8) -> u32:
    """Execute an instruction under cpu.frm: the flags that it raises and no others, or FAULTED."""
    set_float_control(u32(cpu.frm), 0)
    faulted: boolean = execute(cpu, number, rm)
    flags: u32 = float_flags()
    set_float_control(0, 0)
    return FAULTED if faulted else flags


ARITHMETIC = {"fadd": "add", "fsub": "sub", "fmul": "mul", "fdiv": "div", "fsqrt": "sqrt"}
FUSED = {"fmadd": (0, 0), "fmsub": (0, 1), "fnmsub": (1, 0), "fnmadd": (1, 1)}
COMPARISONS = {"feq": "eq", "flt": "lt", "fle": "le"}
INTEGERS = {"w": "i32", "wu": "ui32", "l": "i64", "lu": "ui64"}
FORMATS = {"s": 32, "d": 64}


def golden_name(name: str) -> tuple[str, int]:
    """The golden model's function for an instruction ("fadd.d"), and the width of the format it takes."""
    stem, *parts = name.split(".")
    if stem != "fcvt":
        width = FORMATS[parts[0]]
        return f"f{width}_{'mulAdd' if stem in FUSED else (ARITHMETIC | COMPARISONS)[stem]}", width
    to, source = parts
    if to in INTEGERS:
        return f"f{FORMATS[source]}_to_{INTEGERS[to]}", FORMATS[source]
    if source in INTEGERS:
        return f"{INTEGERS[source]}_to_f{FORMATS[to]}", FORMATS[to]
    return f"f{FORMATS[source]}_to_f{FORMATS[to]}", FORMATS[source]


def subject(name: str) -> ctypes.Structure:
    """How to try an instruction that the golden model knows."""
    stem, *parts = name.split(".")
    instruction = INSTRUCTIONS[NUMBERS[name]]
    made: ctypes.Structure = Subject.ctype()  # type: ignore[attr-defined]
    made.number = NUMBERS[name]
    made.rounds = "rm" in instruction.pattern.operands
    made.minus_product, made.minus_addend = FUSED.get(stem, (0, 0))
    made.integer_operand = stem == "fcvt" and parts[1] in INTEGERS
    made.to_integer = stem == "fcvt" and parts[0] in INTEGERS
    if stem in COMPARISONS:
        made.result_width = 1
    elif made.to_integer:
        made.result_width = 31 if parts[0] in ("w", "wu") else 63
    else:
        made.result_width = FORMATS[parts[0]]
    return made


def judged_names(extension: str) -> list[str]:
    """The instructions of an extension ("F") that the golden model knows."""
    stems = {*ARITHMETIC, *FUSED, *COMPARISONS, "fcvt"}
    return [entry.name for entry in INSTRUCTIONS if entry.extension == extension and entry.name.split(".")[0] in stems]
