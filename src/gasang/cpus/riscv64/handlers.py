"""Interpreter handlers, made from the descriptions: one native function for each instruction, length, and distance of a branch.

A handler checks the budget, runs the described body (inlined), and tail-calls the handler of the next record. What differs is only
how the next record is
found, which follows from the body's result: None the next one, boolean a branch, u64 a jump.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from gasang.cpus.instruction_set import SLOTS, Instruction, InstructionSet, Result
from gasang.cpus.record import Record
from gasang.cpus.riscv64 import execute
from gasang.cpus.riscv64.fast import FAST
from gasang.cpus.riscv64.jumps import note_jump
from gasang.cpus.riscv64.state import CODE_TLB_ENTRIES, PAGE_MASK, PAGE_SHIFT, CodeTlbEntry, Cpu
from gasang.cpus.riscv64.trap import ILLEGAL_INSTRUCTION
from gasang.native import NativeFunction, attempt, cast, i64, likely, native_from_source, ptr, tail_call, u8, u32, u64, unlikely
from gasang.native.types import offset_of, size_of

NEAR, FAR = 0, 1
RECORD_BYTES_PER_CODE_BYTE = 8
FLOATING = ("F", "D")
"""Extensions whose instructions are illegal while sstatus.FS is off."""

_ENTRY_SHIFT = size_of(CodeTlbEntry).bit_length() - 1
_CODE_TLB = offset_of(Cpu, "code_tlb")
NAMESPACE: dict[str, Any] = {
    "note_jump": note_jump,
    "Cpu": Cpu, "Record": Record, "Handler": execute.Handler, "pc_of": execute.pc_of, "poll": execute.poll, "trap_exit": execute.trap_exit,
    "miss": execute.miss, "resume": execute.resume, "attempt": attempt, "cast": cast, "likely": likely, "unlikely": unlikely,
    "ptr": ptr,
    "tail_call": tail_call, "u8": u8, "u32": u32, "u64": u64, "i64": i64, "PAGE_MASK": PAGE_MASK,
    "CODE_SHIFT": PAGE_SHIFT - _ENTRY_SHIFT, "CODE_INDEX": CODE_TLB_ENTRIES - 1 << _ENTRY_SHIFT,
    "CODE_TAG": _CODE_TLB + offset_of(CodeTlbEntry, "tag"), "CODE_BASE": _CODE_TLB + offset_of(CodeTlbEntry, "base"),
    "CODE_BIAS": _CODE_TLB + offset_of(CodeTlbEntry, "bias"), "ILLEGAL_INSTRUCTION": ILLEGAL_INSTRUCTION,
}  # fmt: skip

_HEAD = """
def {name}(cpu: ptr[Cpu], record: ptr[Record], budget: u64) -> None:
    if unlikely(budget == 0):
        return tail_call(poll, cpu, record, budget)
"""
_FLOAT_GUARD = """
    if unlikely(cpu.fs == 0):
        cpu.cause = ILLEGAL_INSTRUCTION
        return tail_call(trap_exit, cpu, record, budget)
"""
_NEXT = """
    following = record + {records}
    return tail_call(cast(Handler, following.handler), cpu, following, budget - 1)
"""
_PLAIN = """
    {body}({arguments})
"""
_FAULTING = """
    if unlikely(not attempt({body}, {arguments})):
        return tail_call({on_fault}, cpu, record, budget)
"""
_SYSTEM_BEFORE = """
    cpu.budget = budget
    cpu.pc = pc_of(cpu, record) + {length}
"""
_SYSTEM_AFTER = """
    cpu.budget = budget - 1
    return tail_call(resume, cpu, record, budget - 1)
"""
_TAKEN_NEAR = """
{indent}    destination = cast(ptr[Record], u64(record) + u64(i64(record.imm) * 8))
{indent}    return tail_call(cast(Handler, destination.handler), cpu, destination, budget - 1)
"""
_TAKEN_FAR = """
{indent}    place = u64(cpu) + ((target >> CODE_SHIFT) & CODE_INDEX)
{indent}    if likely(cast(ptr[u64], place + CODE_TAG)[0] == (target & PAGE_MASK) | cpu.context):
{indent}        base = cast(ptr[u64], place + CODE_BASE)[0]
{indent}        cpu.code_base = base
{indent}        cpu.code_bias = cast(ptr[u64], place + CODE_BIAS)[0]
{indent}        destination = cast(ptr[Record], base + ((target & 0xFFE) << 3))
{indent}        return tail_call(cast(Handler, destination.handler), cpu, destination, budget - 1)
{indent}    cpu.pc = target
{indent}    return tail_call(miss, cpu, record, budget - 1)
"""
_NOTE = """
    note_jump(cpu, pc_of(cpu, record), target)
"""
_BRANCH = """
    if {body}({arguments}):
"""
_FAR_TARGET = """
        target = pc_of(cpu, record) + u64(record.imm)
"""
_JUMP_NEAR = """
    {body}({arguments})
"""
_JUMP_FAR = """
    target = {body}({arguments})
"""


def arguments_of(instruction: Instruction, record: str = "record", register: str = "record.{slot}") -> str:
    """The body's arguments: where `record` is the name of the instruction's, and `register` says what a register's number is."""
    function: Any = instruction.function
    given = {"pc": f"pc_of(cpu, {record})", "next_pc": f"pc_of(cpu, {record}) + {instruction.length}"}
    parts = ["cpu"]
    for name, kind in function.parameters[1:]:
        slot = SLOTS.get(name, "")
        parts.append(given.get(name) or (f"{kind}({record}.imm)" if slot == "imm" else register.format(slot=slot)))
    return ", ".join(parts)


def is_relative(instruction: Instruction) -> bool:
    """Whether a jump's distance is its immediate, so that its record can be found without its address."""
    return instruction.result is Result.JUMP and "imm" in instruction.wants and "rs1" not in instruction.wants


def is_floating(instruction: Instruction) -> bool:
    """Whether an instruction is illegal while sstatus.FS is off."""
    return instruction.extension in FLOATING or (instruction.base is not None and instruction.base.extension in FLOATING)


def text_of(
    instruction: Instruction,
    name: str,
    distance: int = NEAR,
    *,
    system: bool = False,
    noting: bool = False,
    head: str = _HEAD,
    body: str = "body",
    on_fault: str = "on_fault",
) -> str:
    """A handler's text; `body` and `on_fault` are the names of its functions there."""
    template = head
    if is_floating(instruction):
        template += _FLOAT_GUARD
    if system:
        template += _SYSTEM_BEFORE + at_once(instruction) + _SYSTEM_AFTER
    elif instruction.result is Result.FALLTHROUGH:
        template += at_once(instruction) + _NEXT
    elif instruction.result is Result.BRANCH:
        taken = _TAKEN_NEAR if distance == NEAR else _FAR_TARGET + _TAKEN_FAR
        template += _BRANCH + taken.replace("{indent}", "    ") + _NEXT
    elif distance == NEAR and is_relative(instruction):
        template += _JUMP_NEAR + _TAKEN_NEAR.replace("{indent}", "")
    else:
        template += _JUMP_FAR + (_NOTE if noting else "") + _TAKEN_FAR.replace("{indent}", "")
    return filled(template, instruction, name, body, on_fault)


def at_once(instruction: Instruction) -> str:
    """What an instruction does that neither jumps nor is looked after: a template for `filled`."""
    function: Any = instruction.function
    return _FAULTING if function.may_fault else _PLAIN


def filled(template: str, instruction: Instruction, name: str = "", body: str = "body", on_fault: str = "on_fault") -> str:
    """A template with what an instruction says; `body` and `on_fault` are the names of its functions there."""
    sizes = {"records": instruction.length // 2, "length": instruction.length}
    return template.format(name=name, arguments=arguments_of(instruction), body=body, on_fault=on_fault, **sizes)


def handler_name(instruction: Instruction, distance: int) -> str:
    """The handler's name: of the base instruction, so that a compressed form shares its base's body."""
    base = instruction.base or instruction
    return f"{base.name.replace('.', '_')}_{instruction.length}{'_far' if distance == FAR else ''}"


def noting_handlers(instruction_set: InstructionSet, rows: list[NativeFunction]) -> list[NativeFunction]:
    """Pairs: each handler of indirect jumps in a dispatch table, and one that does the same and notes where it leads."""
    pairs: list[NativeFunction] = []
    for instruction in instruction_set:
        plain = rows[2 * instruction_set.numbers[instruction]]
        if instruction.result is Result.JUMP and not is_relative(instruction) and plain not in pairs:
            text = text_of(instruction, f"{handler_name(instruction, NEAR)}_noting", FAR, noting=True)
            pairs += [plain, compiled(text, instruction, body=instruction.function, on_fault=execute.trap_exit)]
    return pairs


def make_handlers(instruction_set: InstructionSet) -> list[NativeFunction]:
    """The dispatch table: row 0 decode_here, row 1 cross_page, then rows 2n and 2n + 1: the near and far handler of instruction n."""
    systems = {extension.name for extension in instruction_set.extensions if extension.system}
    made: dict[tuple[Callable[..., Any], int, int], NativeFunction] = {}
    table: list[NativeFunction] = [execute.decode_here, execute.cross_page]
    for instruction in instruction_set:
        for distance in (NEAR, FAR):
            varies = instruction.result is Result.BRANCH or is_relative(instruction)
            key = (instruction.function, instruction.length, distance if varies else NEAR)
            if key not in made:
                made[key] = _handler(instruction, key[2], instruction.extension in systems)
            table.append(made[key])
    return table


def _handler(instruction: Instruction, distance: int, system: bool) -> NativeFunction:
    """The handler, and behind one with a fast half the slow twin that it falls back to."""
    text = text_of(instruction, handler_name(instruction, distance), distance, system=system)
    body, on_fault = halves(instruction, distance, system=system)
    return compiled(text, instruction, body=body, on_fault=on_fault)


@cache
def halves(instruction: Instruction, distance: int = NEAR, *, system: bool = False) -> tuple[Any, NativeFunction]:
    """The body that a handler tries, and where it goes on if that faults."""
    fast = fast_half(instruction.function)
    if fast is None:
        return instruction.function, execute.trap_exit
    text = text_of(instruction, f"{handler_name(instruction, distance)}_slow", distance, system=system)
    return fast, compiled(text, instruction, body=instruction.function, on_fault=execute.trap_exit)


def compiled(text: str, instruction: Instruction, **names: Any) -> NativeFunction:
    """The function of a handler's text, `names` among what its free names mean."""
    file = f"<handler of {instruction.name}>"
    return native_from_source(text, {**NAMESPACE, **names}, file=file, convention="preserve_none")


def fast_half(function: Any, fast: Mapping[Any, NativeFunction] = FAST) -> NativeFunction | None:
    """The same body with every memory access replaced by its fast half; None if it has none."""
    replaced = {name: fast[value] for name, value in function.namespace.items() if isinstance(value, NativeFunction) and value in fast}
    used = {node.id for node in ast.walk(function.definition) if isinstance(node, ast.Name)} & replaced.keys()
    if not used:
        return None
    namespace = {**function.namespace, **replaced}
    file = f"<fast half of {function.name}>"
    return NativeFunction(function.definition, namespace, file, name=f"{function.name}_fast", may_fault=True, inline=True)
