"""By which numbers a region's divisions divide, as far as its instructions let expect it: a host divides by a known number much faster.

It is an expectation, and what divides by something else is as right, only slower: the way in from outside, through a call or through a
place that was not executed before may bring any number.
"""

from __future__ import annotations

import ctypes
from typing import Any

from gasang.cpus.instruction_set import SLOTS, Result
from gasang.cpus.riscv64 import m
from gasang.cpus.riscv64.region.pages import Graph, Step

DIVISIONS = frozenset({m.div, m.divu, m.rem, m.remu, m.divw, m.divuw, m.remw, m.remuw})
MOST_LOOKED_AT = 400
"""Instructions looked at to find where a register was written."""
MOST_DEEP = 3
"""Instructions that make a number: lui, addi, a shift."""
REGISTERS = 33
KNOWN_OPERANDS = frozenset({"rd", "rs1", "rs2", "imm"})
"""Of instructions whose result follows from registers alone."""


def expected_divisors(graph: Graph, steps: dict[int, Step]) -> dict[int, int]:
    """The number that each division divides by, by place; those that have none are absent."""
    found: dict[int, int] = {}
    for place, step in steps.items():
        if step.decoded.instruction.function in DIVISIONS:
            number = _number(graph, steps, place, step.decoded.slots["rs2"], MOST_DEEP)
            if number is not None:
                found[place] = number
    return found


def _number(graph: Graph, steps: dict[int, Step], place: int, register: int, deep: int) -> int | None:
    """What a register is before the instruction at a place, if all that write it before agree."""
    if register == 0:
        return 0
    numbers = {_result(graph, steps, writer, deep - 1) for writer in _writers(graph, steps, place, register)} if deep else {None}
    return numbers.pop() if len(numbers) == 1 else None


def _writers(graph: Graph, steps: dict[int, Step], place: int, register: int) -> list[int]:
    """The places that write a register last before a place. A call is taken to come back with registers as they were."""
    pending, seen, found = [place], {place}, []
    while pending and len(seen) < MOST_LOOKED_AT:
        for before in graph.before(pending.pop()):
            if before in seen or before not in steps:
                continue
            seen.add(before)
            if _writes(steps[before]) == register:
                found.append(before)
            else:
                pending.append(before)
    return found


def _writes(step: Step) -> int | None:
    return step.decoded.slots["rd"] if "rd" in step.decoded.instruction.wants else None


def _result(graph: Graph, steps: dict[int, Step], place: int, deep: int) -> int | None:
    """What an instruction writes, if its operands are known."""
    instruction, slots = steps[place].decoded.instruction, steps[place].decoded.slots
    function: Any = instruction.function
    if instruction.result is not Result.FALLTHROUGH or function.may_fault or not set(instruction.wants) <= KNOWN_OPERANDS:
        return None
    known = {slots[name]: _number(graph, steps, place, slots[name], deep) for name in ("rs1", "rs2") if name in instruction.wants}
    registers = (ctypes.c_uint64 * REGISTERS)()  # where a Cpu begins
    for register, number in known.items():
        if number is None:
            return None
        registers[register] = number
    function.python(registers, *(slots[SLOTS[name]] for name in instruction.wants))
    return int(registers[slots["rd"]])
