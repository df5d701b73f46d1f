"""Where a stencil's operands stand in its machine code: found by comparing what two compilations with other operands gave.

Nothing here knows the host's instructions but for four shapes of x86-64: a jump at the end, which falls away where it leads to what
follows; a branch around such a jump, which takes its place; and two loads of an immediate operand from its record, which become the
operand.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from gasang.cpus.record import Record
from gasang.cpus.riscv64.stitcher import COUNT, IMM, MINUS_COUNT, NEXT, PLACE, RD, RS1, RS2, RS3, TARGET
from gasang.native.types import offset_of

REGISTER_BYTES = 8


class Constants(NamedTuple):
    """What stands for a stencil's operands while it is compiled."""

    rd: int
    rs1: int
    rs2: int
    rs3: int
    place: int
    """A distance between records, in bytes."""
    steps: int
    """One between budgets."""
    target: int
    """The address of code."""


FIRST = Constants(201, 211, 221, 231, 0x0123_4560, 0x00AB_CD01, 0x0123_4567_4433_2211)
SECOND = Constants(203, 214, 225, 236, 0x0234_5790, 0x00BC_DF42, 0x0234_5678_5544_3388)
"""Registers that no hart has, and numbers of which every two differ in their lowest byte, and by another difference than any others."""


class Code(NamedTuple):
    """Compiled code: its bytes, and its jumps to elsewhere as (offset of the distance, kind)."""

    content: bytes
    jumps: list[tuple[int, int]]


class Placed(NamedTuple):
    """A hole: at an offset, of a kind, with what is added to the operand."""

    at: int
    kind: int
    base: int


_WORDS = (
    (RD, FIRST.rd * REGISTER_BYTES, SECOND.rd * REGISTER_BYTES),
    (RS1, FIRST.rs1 * REGISTER_BYTES, SECOND.rs1 * REGISTER_BYTES),
    (RS2, FIRST.rs2 * REGISTER_BYTES, SECOND.rs2 * REGISTER_BYTES),
    (RS3, FIRST.rs3 * REGISTER_BYTES, SECOND.rs3 * REGISTER_BYTES),
    (PLACE, FIRST.place, SECOND.place),
    (COUNT, FIRST.steps, SECOND.steps),
    (MINUS_COUNT, -FIRST.steps, -SECOND.steps),
)
_WORD, _ADDRESS = 4, 8
_IMMEDIATE = offset_of(Record, "imm")
_JUMP, _JUMP_SIZE = 0xE9, 5
_BRANCH_PREFIX, _BRANCH, _BRANCH_SIZE = 0x0F, 0x80, 6
_FROM_RECORD, _FORM = 0x85, 0xC7
"""ModRM of r13, which the record is in, and a distance of 32 bits; what of it is not the other register."""


def stencil_of(first: Code, second: Code) -> tuple[bytes, list[Placed]] | None:
    """The code with its holes, compiled with FIRST and with SECOND; None where the two differ in more than their operands."""
    if len(first.content) != len(second.content) or first.jumps != second.jumps:
        return None
    code, other = bytearray(first.content), second.content
    holes = [Placed(at, kind, 0) for at, kind in first.jumps]
    jumps = {at for at, _ in first.jumps}
    at = 0
    while at < len(code):
        if at in jumps:
            at += _WORD
        elif code[at] == other[at]:
            at += 1
        else:
            hole = _hole(first.content, other, at)
            if hole is None:
                return None
            holes.append(hole)
            at += _ADDRESS if hole.kind == TARGET else _WORD
    _immediates(code, holes)
    _fall_through(code, holes)
    return bytes(code), sorted(holes)


def _hole(code: bytes, other: bytes, at: int) -> Placed | None:
    """The hole that begins at the first byte that differs."""
    if code[at : at + _ADDRESS] == struct.pack("<Q", FIRST.target) and other[at : at + _ADDRESS] == struct.pack("<Q", SECOND.target):
        return Placed(at, TARGET, 0)
    if at + _WORD > len(code):
        return None
    mine, its = (struct.unpack_from("<i", each, at)[0] for each in (code, other))
    for kind, one, two in _WORDS:
        if mine - one == its - two:
            return Placed(at, kind, mine - one)
    return None


def _immediates(code: bytearray, holes: list[Placed]) -> None:
    """An immediate operand that is loaded from its record as a word stands in the code instead."""
    for index, (at, kind, base) in enumerate(holes):
        if kind != PLACE or base != _IMMEDIATE or at < 3 or code[at - 1] & _FORM != _FROM_RECORD:
            continue
        rex, opcode, register = code[at - 3], code[at - 2], code[at - 1] >> 3 & 7
        if rex in (0x49, 0x4D) and opcode == 0x63:  # movsxd: a mov that extends it, too
            code[at - 3 : at] = bytes([0x48 | rex >> 2 & 1, 0xC7, 0xC0 | register])
        elif rex == 0x41 and opcode == 0x8B:  # mov of 32 bits: a nop of two bytes and a mov
            code[at - 3 : at] = bytes([0x66, 0x90, 0xB8 | register])
        else:
            continue
        holes[index] = Placed(at, IMM, 0)


def _fall_through(code: bytearray, holes: list[Placed]) -> None:
    """A last jump to what follows falls away; one that leads out takes the place of a branch around it."""
    kinds = {hole.at: hole.kind for hole in holes}
    end, around = len(code) - _WORD, len(code) - _JUMP_SIZE - _WORD
    if end not in kinds or code[-_JUMP_SIZE] != _JUMP:
        return
    branch = len(code) - _JUMP_SIZE - _BRANCH_SIZE
    is_branch = branch >= 0 and code[branch] == _BRANCH_PREFIX and code[branch + 1] & 0xF0 == _BRANCH and kinds.get(around) == NEXT
    if kinds[end] != NEXT and not is_branch:
        return
    del code[-_JUMP_SIZE:]
    holes.remove(Placed(end, kinds[end], 0))
    if kinds[end] != NEXT:
        code[branch + 1] ^= 1  # branches where it did not
        holes[holes.index(Placed(around, NEXT, 0))] = Placed(around, kinds[end], 0)
