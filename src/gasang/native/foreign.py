"""System calls of programs for another processor family than the host's.

LLVM, as llvmlite has it, reads assembly of the host's family alone. So such a program calls a routine whose instructions stand here, as a
function of the number and six arguments, under the family's usual calling convention.
"""

from __future__ import annotations

import struct
from dataclasses import replace

from gasang.native.elf_object import ElfObject, Section, Symbol
from gasang.native.relocate import MACHINES

SYSTEM_CALL = "native.system_call"
ARGUMENTS = 7
"""The number and six."""
DECLARATION = f'declare i64 @"{SYSTEM_CALL}"({", ".join(["i64"] * ARGUMENTS)})\n'
_INDEX = -2  # no section of an object has it
_ALLOCATED_CODE = 2 | 4


def _riscv64_move(to: int, source: int) -> int:
    return source << 15 | to << 7 | 0x13  # addi to, source, 0


def _aarch64_move(to: int, source: int) -> int:
    return 0xAA00_03E0 | source << 16 | to  # orr to, xzr, source


_ROUTINES = {
    MACHINES["x86_64"]: (
        b"\x48\x89\xf8"  # mov rax, rdi
        b"\x48\x89\xf7"  # mov rdi, rsi
        b"\x48\x89\xd6"  # mov rsi, rdx
        b"\x48\x89\xca"  # mov rdx, rcx
        b"\x4d\x89\xc2"  # mov r10, r8
        b"\x4d\x89\xc8"  # mov r8, r9
        b"\x4c\x8b\x4c\x24\x08"  # mov r9, [rsp + 8]
        b"\x0f\x05\xc3"  # syscall; ret
    ),
    MACHINES["aarch64"]: struct.pack("<9I", _aarch64_move(8, 0), *(_aarch64_move(to, to + 1) for to in range(6)), 0xD400_0001, 0xD65F_03C0),
    MACHINES["riscv64"]: struct.pack("<9I", _riscv64_move(17, 10), *(_riscv64_move(to, to + 1) for to in range(10, 16)), 0x73, 0x8067),
}


def with_system_calls(made: ElfObject) -> ElfObject:
    """The object with the routine added, where it calls it."""
    if all(symbol.name != SYSTEM_CALL for symbol in made.symbols):
        return made
    code = _ROUTINES[made.machine]
    symbol = Symbol(SYSTEM_CALL, _INDEX, 0)
    relocations = [replace(entry, symbol=symbol) if entry.symbol.name == SYSTEM_CALL else entry for entry in made.relocations]
    section = Section(_INDEX, SYSTEM_CALL, _ALLOCATED_CODE, 16, len(code), code)
    return replace(made, sections={**made.sections, _INDEX: section}, symbols=[*made.symbols, symbol], relocations=relocations)
