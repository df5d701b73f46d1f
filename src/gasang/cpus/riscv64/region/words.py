"""Which registers hold words where: 32 bits with their sign above, as the instructions for words leave them.

A host computes with 32 bits as they are. A register that is known to hold a word is kept as one, so that nothing is extended behind each
instruction, and LLVM sees what instructions for words are made of: two shifts and an `or` are a rotation.

From outside anything may come. A way in at the head of a circle takes for words what the circle itself writes and brings there as words,
and what is read inside; the region is begun only if it is so. Where a function begins nothing is assumed: its callers' registers are
nobody's words.

Sets of registers are as in homes.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gasang.cpus.riscv64 import i, m, zbb, zbs
from gasang.cpus.riscv64.region.homes import Homes
from gasang.cpus.riscv64.region.pages import Step, guest_place
from gasang.cpus.riscv64.region.shape import Region

_ALL = (1 << 32) - 2
ALWAYS = frozenset({
    i.lui, i.lb, i.lh, i.lw, i.lbu, i.lhu, i.addiw, i.slliw, i.srliw, i.sraiw, i.addw, i.subw, i.sllw, i.srlw, i.sraw,
    i.slt, i.slti, i.sltu, i.sltiu, m.mulw, m.divw, m.divuw, m.remw, m.remuw, zbb.rolw, zbb.rorw, zbb.roriw,
    zbb.clz, zbb.clzw, zbb.ctz, zbb.ctzw, zbb.cpop, zbb.cpopw, zbb.sext_b, zbb.sext_h, zbb.zext_h, zbs.bext, zbs.bexti,
})  # fmt: skip
"""Their results are words whatever they are given."""
OF_WORDS = frozenset({
    i.and_, i.or_, i.xor, i.andi, i.ori, i.xori, zbb.andn, zbb.orn, zbb.xnor, zbb.max_, zbb.min_, zbb.maxu, zbb.minu,
})  # fmt: skip
"""Their results are words if the registers they read hold words."""


class Words:
    """The registers that hold words, in one region."""

    def __init__(self, region: Region, homes: Homes) -> None:
        self._region = region
        called = {guest_place(step.target) for step in region.steps.values() if step.is_call and step.target is not None}
        self._unknown = {place for place in region.entries if place not in region.heads or place in called}
        self._entries = {place: homes.live(place) for place in region.entries}
        self._find()

    def at(self, leader: int) -> int:
        """What holds words when a line begins."""
        return self._at[leader]

    def _find(self) -> None:
        """Forwards: what every way to a line brings as words, from the most that may be."""
        lines = {leader: self._region.line(leader) for leader in sorted(self._region.leaders)}
        brought = self._brought(lines)
        at = self._at = {leader: self._most(leader) & brought[leader] for leader in lines}
        changed = True
        while changed:
            changed = False
            for leader, line in lines.items():
                words = at[leader]
                for step in line:
                    words = after(step, words)
                for place in self._region.goes_on(line[-1]):
                    if place in at and at[place] & ~words:
                        at[place] &= words
                        changed = True

    def _brought(self, lines: Mapping[int, list[Step]]) -> dict[int, int]:
        """What some way inside has written when a line begins: of what goes round a circle unchanged nothing can be expected."""
        brought = dict.fromkeys(lines, 0)
        changed = True
        while changed:
            changed = False
            for leader, line in lines.items():
                written = brought[leader]
                for step in line:
                    written |= step.writes & _ALL
                for place in self._region.goes_on(line[-1]):
                    if place in brought and written & ~brought[place]:
                        brought[place] |= written
                        changed = True
        return brought

    def _most(self, leader: int) -> int:
        return 0 if leader in self._unknown else _ALL & self._entries.get(leader, _ALL)


def after(step: Step, words: int) -> int:
    """What holds words behind an instruction."""
    return words | step.writes & _ALL if makes_word(step, words) else words & ~step.writes


def makes_word(step: Step, words: int) -> bool:
    """Whether an instruction writes a word, before which these registers hold some."""
    function: Any = step.decoded.instruction.function
    return function in ALWAYS or (is_of_registers(step) and not step.reads & ~words)


def is_of_registers(step: Step) -> bool:
    """Whether an instruction's result is a word if what it reads are words."""
    function, slots = step.decoded.instruction.function, step.decoded.slots
    if function is i.addi:
        return slots["imm"] == 0 or slots["rs1"] == 0
    return function in OF_WORDS or (function is i.add and 0 in (slots["rs1"], slots["rs2"]))


def is_copy(step: Step, words: int) -> bool:
    """Whether an instruction only copies a register."""
    function, slots = step.decoded.instruction.function, step.decoded.slots
    if function is i.addiw:
        return slots["imm"] == 0 and slots["rs1"] != 0 and not step.reads & ~words
    return (function is i.addi and slots["imm"] == 0 and slots["rs1"] != 0) or (
        function is i.add and (slots["rs1"] == 0) != (slots["rs2"] == 0)
    )
