"""Stencils: the machine code of an instruction with holes for its operands, made from its description.

A stencil is a handler (handlers.py) that knows its operands: what a handler reads from its record is a constant here, what it leads to is
left open. Each is compiled twice, with other constants, and where the two differ is a hole (stencil_holes.py). Code that differs in any
other way, or that needs anything of the processor's but its own bytes, is no stencil: its instruction is left to the interpreter.
"""

from __future__ import annotations

import ast
import struct
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gasang.cpus.instruction_set import Instruction, InstructionSet, Result
from gasang.cpus.riscv64.fast import FAST, FAST_ALONE, STORES
from gasang.cpus.riscv64.handlers import FAR, NAMESPACE, NEAR, arguments_of, fast_half, is_floating, is_relative
from gasang.cpus.riscv64.stencil_holes import FIRST, SECOND, Code, Constants, stencil_of
from gasang.cpus.riscv64.stitcher import (
    BEGIN,
    BRANCHES,
    BRANCHES_FAR,
    FALLS,
    FAULT,
    GO_ON,
    INDIRECT,
    JUMPS,
    JUMPS_FAR,
    LEAVE,
    MOST_BYTES,
    MOST_JUMPS,
    NEXT,
    NO_STENCIL,
    SHORT,
    TAKEN,
    Stitcher,
)
from gasang.native import NativeFunction, native_from_source
from gasang.native.build import emit_object
from gasang.native.elf_object import ElfObject, Section, read_object
from gasang.native.llvm import ModuleEmitter
from gasang.native.relocate import MACHINES
from gasang.native.target import machine

_HEAD = """
def {name}(cpu: ptr[Cpu], record: ptr[Record], budget: u64) -> None:
    here = cast(ptr[Record], u64(record) + {place})
"""
_FLOAT_GUARD = """
    if unlikely(cpu.fs == 0):
        return tail_call(fault, cpu, record, budget)
"""
_PLAIN = """
    body({arguments})
    return tail_call(next, cpu, record, budget)
"""
_TRIED = """
    if unlikely(not attempt(body, {arguments})):
        return tail_call(fault, cpu, record, budget)
    return tail_call(next, cpu, record, budget)
"""
_BRANCH = """
    if body({arguments}):
        return tail_call(taken, cpu, record, budget)
    return tail_call(next, cpu, record, budget)
"""
_JUMP = """
    left = budget - {steps}
    target = body({arguments})
    place = u64(cpu) + ((target >> CODE_SHIFT) & CODE_INDEX)
    if likely(cast(ptr[u64], place + CODE_TAG)[0] == (target & PAGE_MASK) | cpu.context):
        base = cast(ptr[u64], place + CODE_BASE)[0]
        cpu.code_base = base
        cpu.code_bias = cast(ptr[u64], place + CODE_BIAS)[0]
        destination = cast(ptr[Record], base + ((target & 0xFFE) << 3))
        return tail_call(cast(Handler, destination.handler), cpu, destination, left)
    cpu.pc = target
    return tail_call(cast(Handler, u64({target})), cpu, record, left)
"""
_BODIES = {FALLS: _PLAIN, BRANCHES: _BRANCH, BRANCHES_FAR: _BRANCH, JUMPS: _PLAIN, JUMPS_FAR: _JUMP, INDIRECT: _JUMP}
_WAYS = {
    BEGIN: """
    if unlikely(budget < {steps}):
        return tail_call(fault, cpu, record, budget)
    return tail_call(next, cpu, record, budget)
""",
    LEAVE: """
    return tail_call(cast(Handler, u64({target})), cpu, here, budget - {steps})
""",
    GO_ON: """
    return tail_call(cast(Handler, here.handler), cpu, here, budget - {steps})
""",
    SHORT: """
    stitcher = cast(ptr[Stitcher], cpu.stitcher)
    stitcher.tail = 1
    return tail_call(cast(Handler, u64({target})), cpu, record, budget)
""",
}
"""The stencils that stand for no instruction."""
_KINDS = {"stencil.next": NEXT, "stencil.fault": FAULT, "stencil.taken": TAKEN}
_DISTANCE, _ADDEND = 4, -4
"""R_X86_64_PLT32 (System V ABI, AMD64 supplement, 4.4.1): where a jump leads, from behind it."""
_STENCIL = struct.Struct("<IHBBII")
_HOLE = struct.Struct("<HBBi")
_NUMBER = struct.Struct("<H")
_WORD = 8
"""Code is copied by words."""

Key = tuple[Any, int, int, bool]
"""An instruction's function and length, how execution goes on, and whether it is for a machine with one hart."""


class Stencils(NamedTuple):
    """Tables of struct Stencil and struct Hole, the code, and the stencil's number of each row of the dispatch table.

    `rows_alone` are for machines with one hart, whose stores nobody watches. All are empty for a host with other instructions.
    """

    stencils: bytes
    holes: bytes
    code: bytes
    rows: bytes
    rows_alone: bytes


class _Text(NamedTuple):
    """What a stencil is compiled from."""

    text: str
    names: Mapping[str, Any]


def make_stencils(instruction_set: InstructionSet) -> Stencils:
    """Of all instructions that can have one."""
    if machine() != "x86_64":
        return Stencils(b"", b"", b"", b"", b"")
    texts: dict[int | Key, _Text] = {number: _Text(text, {}) for number, text in _WAYS.items()}
    rows: dict[bool, list[Key | None]] = {}
    systems = {extension.name for extension in instruction_set.extensions if extension.system}
    for alone in (False, True):
        rows[alone] = [None, None]
        for instruction in instruction_set:
            for distance in (NEAR, FAR):
                key = _key(instruction, distance, alone)
                text = None if instruction.extension in systems else _text_of(instruction, key)
                if text is not None:
                    texts.setdefault(key, text)
                rows[alone].append(None if text is None else key)
    first, second = (_compiled(texts, constants) for constants in (FIRST, SECOND))
    numbers: dict[int | Key, int] = {}
    stencils, holes, code = [_STENCIL.pack(0, 0, 0, 0, 0, 0)], b"", b""
    for which in texts:
        found = stencil_of(first[which], second[which]) if which in first and which in second else None
        if found is None:
            continue
        content, its = found
        if len(content) > MOST_BYTES or sum(hole.kind > NEXT for hole in its) > MOST_JUMPS:
            continue
        step, flow = (0, FALLS) if isinstance(which, int) else (which[1] // 2, which[2])
        numbers[which] = len(stencils)
        stencils.append(_STENCIL.pack(len(code), len(content), step, flow, len(holes) // _HOLE.size, len(its)))
        holes += b"".join(_HOLE.pack(hole.at, hole.kind, 0, hole.base) for hole in its)
        code += content + bytes(-len(content) % _WORD)
    assert all(numbers.get(way) == way for way in _WAYS), "the ways have no stencils"
    return Stencils(b"".join(stencils), holes, code, _numbers(rows[False], numbers), _numbers(rows[True], numbers))


def _numbers(rows: Iterable[Key | None], numbers: Mapping[int | Key, int]) -> bytes:
    return b"".join(_NUMBER.pack(NO_STENCIL if key is None else numbers.get(key, NO_STENCIL)) for key in rows)


def _key(instruction: Instruction, distance: int, alone: bool) -> Key:
    return instruction.function, instruction.length, _flow_of(instruction, distance), alone and _stores(instruction.function)


def _flow_of(instruction: Instruction, distance: int) -> int:
    """How execution goes on behind an instruction."""
    if instruction.result is Result.FALLTHROUGH:
        return FALLS
    if instruction.result is Result.BRANCH:
        return BRANCHES if distance == NEAR else BRANCHES_FAR
    if not is_relative(instruction):
        return INDIRECT
    return JUMPS if distance == NEAR else JUMPS_FAR


def _stores(function: Any) -> bool:
    """Whether an instruction's function stores to memory."""
    names = {node.id for node in ast.walk(function.definition) if isinstance(node, ast.Name)}
    meant = [function.namespace.get(name) for name in names]
    return any(isinstance(each, NativeFunction) and each in STORES for each in meant)


def _text_of(instruction: Instruction, key: Key) -> _Text | None:
    """A stencil's text, and its body; None where it cannot be tried and then left to the interpreter."""
    function: Any = instruction.function
    tried = fast_half(function, FAST_ALONE if key[3] else FAST)
    if tried is None and function.may_fault:
        return None
    text = (_FLOAT_GUARD if is_floating(instruction) else "") + (_BODIES[key[2]] if tried is None else _TRIED)
    return _Text(text.replace("{arguments}", arguments_of(instruction, "here", "{{{slot}}}")), {"body": tried or function})


def _outside(name: str) -> NativeFunction:
    """Where a stencil leads: the code that it is copied into tells."""
    text = f"def {name}(cpu: ptr[Cpu], record: ptr[Record], budget: u64) -> None:\n    pass\n"
    options = {"convention": "preserve_none", "inline": False, "external_name": f"stencil.{name}", "elsewhere": True}
    return native_from_source(text, NAMESPACE, file="<way out of a stencil>", **options)


def _compiled(texts: Mapping[int | Key, _Text], constants: Constants) -> dict[int | Key, Code]:
    """The code of each text with such operands; without those that need more than their own bytes."""
    namespace = {**NAMESPACE, "Stitcher": Stitcher, **{name: _outside(name) for name in ("next", "fault", "taken")}}
    functions = [
        native_from_source(
            (_HEAD + text).format(name=f"stencil{index}", **constants._asdict()),
            {**namespace, **names},
            file=f"<stencil {index}>",
            convention="preserve_none",
            section=f"stencil.{index}",
        )
        for index, (text, names) in enumerate(texts.values())
    ]
    made = read_object(emit_object([ModuleEmitter([], {"stencils": functions}).emit()], 2))
    assert made.machine == MACHINES["x86_64"]
    sections = {section.name: section for section in made.sections.values()}
    codes = {key: _code(made, sections[f"stencil.{index}"]) for index, key in enumerate(texts)}
    return {key: code for key, code in codes.items() if code is not None}


def _code(made: ElfObject, section: Section) -> Code | None:
    """A section's bytes and its jumps out; None where it refers to anything else."""
    jumps: list[tuple[int, int]] = []
    for relocation in made.relocations:
        if relocation.section == section.index:
            kind = _KINDS.get(relocation.symbol.name)
            if kind is None or relocation.kind != _DISTANCE or relocation.addend != _ADDEND:
                return None
            jumps.append((relocation.offset, kind))
    return Code(section.data, sorted(jumps))
