"""A program's first instructions: hand over the stack pointer and the data, call the entry, and exit_group with its result."""

from __future__ import annotations

import struct
from dataclasses import replace

from gasang.native.elf_object import ElfObject, Relocation, Section, Symbol
from gasang.native.relocate import MACHINES

START = "_start"
_INDEX = -1  # no section of an object has it
_ALLOCATED_CODE = 2 | 4

_X86_64 = (
    b"\x31\xed"  # xor ebp, ebp
    b"\x48\x89\xe7"  # mov rdi, rsp
    b"\x48\x8d\x35\0\0\0\0"  # lea rsi, [rip + data]
    b"\x48\x83\xe4\xf0"  # and rsp, -16
    b"\xe8\0\0\0\0"  # call entry
    b"\x89\xc7\xb8\xe7\0\0\0\x0f\x05"  # mov edi, eax; mov eax, 231; syscall
    b"\x0f\x0b"  # ud2
)
_AARCH64 = struct.pack(
    "<9I",
    0xD280_001D,  # mov x29, #0
    0xD280_001E,  # mov x30, #0
    0x9100_03E0,  # mov x0, sp
    0x9000_0001,  # adrp x1, data
    0x9100_0021,  # add x1, x1, :lo12:data
    0x9400_0000,  # bl entry
    0xD280_0BC8,  # mov x8, #94
    0xD400_0001,  # svc #0
    0xD420_0000,  # brk #0
)
_RISCV64 = struct.pack(
    "<9I",
    0x0001_0513,  # mv a0, sp
    0x0000_0597,  # auipc a1, data
    0x0005_8593,  # addi a1, a1, data
    0xFF01_7113,  # andi sp, sp, -16
    0x0000_0097,  # auipc ra, entry
    0x0000_80E7,  # jalr ra, entry(ra)
    0x05E0_0893,  # li a7, 94
    0x0000_0073,  # ecall
    0x0010_0073,  # ebreak
)
_STARTS = {
    MACHINES["x86_64"]: (_X86_64, [(8, 2, "data", -4), (17, 4, "entry", -4)]),
    MACHINES["aarch64"]: (_AARCH64, [(12, 275, "data", 0), (16, 277, "data", 0), (20, 283, "entry", 0)]),
    MACHINES["riscv64"]: (_RISCV64, [(4, 23, "data", 0), (8, 24, "data", 4), (16, 19, "entry", 0)]),
}
"""The instructions, and what is filled in: offset, kind of relocation, what it refers to, addend."""


def with_start(made: ElfObject, entry: str, data: str) -> ElfObject:
    """The object with its first instructions added, which call `entry` with the stack pointer and the address of `data`."""
    code, places = _STARTS[made.machine]
    symbols = {symbol.name: symbol for symbol in made.symbols}
    meant = {"entry": symbols[entry], "data": symbols[data]}
    section = Section(_INDEX, START, _ALLOCATED_CODE, 16, len(code), code)
    return replace(
        made,
        sections={_INDEX: section, **made.sections},
        symbols=[*made.symbols, Symbol(START, _INDEX, 0)],
        relocations=[*made.relocations, *(Relocation(_INDEX, at, kind, meant[name], addend) for at, kind, name, addend in places)],
    )
