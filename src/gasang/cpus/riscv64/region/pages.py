"""Guest code as a graph: which instructions of some pages were executed, and where each leads.

A place is an instruction's distance in bytes from the start of the page that was asked about, so that it means the same wherever the pages
lie. Only instructions that were executed exist here: what a program never does is never compiled.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gasang.cpus.instruction_set import NO_REGISTER, SLOTS, Decoded, Result
from gasang.cpus.riscv64.isa import rv64
from gasang.cpus.riscv64.state import PAGE_SIZE

LINKS = (1, 5)
"""Registers that hold return addresses (unprivileged specification, 2.5.1)."""
FIRST_FLOAT = 32
"""The bit of f0 in a set of registers; that of x1 is 1. x0 is in none."""
COPY = 1 << 24
"""How far apart copies of an instruction are, as multiples: farther than any place of a region from another."""
LEFT_OUT = frozenset({"Zicsr", "S", "Zicbo"})
"""Extensions that the interpreter executes: they see or change more than a region keeps. LR and SC leave by themselves."""
LEFT_OUT_ONE_BY_ONE = frozenset({"lr.w", "lr.d", "sc.w", "sc.d"})


@dataclass(frozen=True)
class CodePage:
    """A page of guest code: `delta` pages from the one asked about; `executed` has a byte for each two bytes of the page."""

    delta: int
    content: bytes
    executed: bytes


def guest_place(place: int) -> int:
    """Where the guest has an instruction, of which a region may have copies elsewhere."""
    return (place + COPY // 2) % COPY - COPY // 2


@dataclass(frozen=True)
class Step:
    """An instruction at a place."""

    place: int
    decoded: Decoded
    to: int | None = None
    """Where a call leads, if not to where the guest has what it calls."""

    @property
    def after(self) -> int:
        """The place behind it."""
        return self.place + self.decoded.instruction.length

    @cached_property
    def target(self) -> int | None:
        """The place that a branch or a direct jump leads to."""
        if self.to is not None:
            return self.to
        instruction = self.decoded.instruction
        direct = instruction.result is Result.BRANCH or (instruction.result is Result.JUMP and "rs1" not in instruction.wants)
        return self.place + self.decoded.slots["imm"] if direct else None

    @cached_property
    def reads(self) -> int:
        """The registers that it reads, as a set of bits."""
        return self._set(("rs1", "rs2")) & ~1 | self._set(("fs1", "fs2", "fs3")) << FIRST_FLOAT

    @cached_property
    def writes(self) -> int:
        """The register that it writes, as a set of bits."""
        return self._set(("rd",)) & ~(1 | 1 << NO_REGISTER) | self._set(("fd",)) << FIRST_FLOAT

    def _set(self, operands: tuple[str, ...]) -> int:
        found = 0
        for name in operands:
            if name in self.decoded.instruction.wants:
                found |= 1 << self.decoded.slots[SLOTS[name]]
        return found

    @property
    def is_jump(self) -> bool:
        """Whether it never falls through."""
        return self.decoded.instruction.result is Result.JUMP

    @property
    def is_call(self) -> bool:
        """Whether it jumps and notes where to return to."""
        return self.is_jump and self.decoded.slots["rd"] in LINKS

    @property
    def is_return(self) -> bool:
        """Whether it jumps to where a call has said."""
        return self.is_jump and self.target is None and not self.is_call and self.decoded.slots["rs1"] in LINKS

    @property
    def is_indirect(self) -> bool:
        """Whether its target is in a register."""
        return self.is_jump and self.target is None


@dataclass
class Graph:
    """The executed instructions of some pages, decoded as they are asked for."""

    pages: dict[int, CodePage]
    jumps: Mapping[int, Collection[int]] = field(default_factory=dict)
    """Where indirect jumps were seen to lead, by place."""
    _steps: dict[int, dict[int, Step]] = field(default_factory=dict)
    _before: dict[int, set[int]] = field(default_factory=dict)

    def at(self, place: int) -> Step | None:
        """The instruction at a place; None if none was executed there, or a region cannot have it."""
        return self._page(place // PAGE_SIZE).get(place)

    def _page(self, delta: int) -> dict[int, Step]:
        if delta not in self._steps:
            page = self.pages.get(delta)
            steps = self._steps[delta] = {} if page is None else _decode(page)
            for step in steps.values():
                for place in self.leads_to(step):
                    self._before.setdefault(place, set()).add(step.place)
        return self._steps[delta]

    def leads_to(self, step: Step) -> list[int]:
        """Where it may go on; of a call both the callee and what follows the return."""
        places = [step.target] if step.target is not None else [*self.jumps.get(step.place, ())]
        if not step.is_jump or step.is_call:
            places.append(step.after)
        return places

    def before(self, place: int) -> set[int]:
        """Where it may come from, in the pages decoded so far."""
        self._page(place // PAGE_SIZE)
        return self._before.get(place, set())


def _decode(page: CodePage) -> dict[int, Step]:
    steps: dict[int, Step] = {}
    for offset in range(0, PAGE_SIZE, 2):
        if not page.executed[offset >> 1]:
            continue
        decoded = rv64.decode(int.from_bytes(page.content[offset : offset + 4], "little"))
        if decoded is None or offset + decoded.instruction.length > PAGE_SIZE:
            continue
        base = decoded.instruction.base or decoded.instruction
        if base.extension not in LEFT_OUT and base.name not in LEFT_OUT_ONE_BY_ONE:
            place = page.delta * PAGE_SIZE + offset
            steps[place] = Step(place, decoded)
    return steps


def is_plain(step: Step) -> bool:
    """Whether an instruction does nothing but with integer registers, by host instructions alone."""
    function: Any = step.decoded.instruction.function
    return not function.may_fault and not list(function.tree.callees) and not (step.reads | step.writes) >> FIRST_FLOAT


def is_computation(step: Step) -> bool:
    """Whether it does that, and the next instruction follows it."""
    return is_plain(step) and step.decoded.instruction.result is Result.FALLTHROUGH
