"""Bytes of a straight line that are one word: a compiler that may not take it for aligned loads and stores each by itself.

    lbu a4, 0(a5)                 word = load i64        sb a4, 0(a5)         the word, put together
    lbu a3, 1(a5)                 a4 = word & 255        srli a3, a4, 8       from what the bytes are
    …                     ──►     a3 = word >> 8 & 255   sb a3, 1(a5)   ──►   store i64
    slli a3, a3, 8                …                      …
    or a3, a3, a4

The bytes of a word are loaded with its first one, and stored with its last. What lies between orders nothing and cannot leave the
region but where all registers are right and nothing is to be stored yet: so no one can tell. LLVM makes of shifting and masking what is
left of it, mostly nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from gasang.cpus.riscv64.i import add, fence, srli, srliw
from gasang.cpus.riscv64.mmu import LOAD
from gasang.cpus.riscv64.region.pages import Step, is_plain
from gasang.cpus.riscv64.region.plans import REGISTERS, Planned, Whole, access_of, plan

WHOLES = (8, 4)
"""Bytes of a word that is loaded or stored at once."""
BYTES_OF_A_ROOT = 4
"""To each value that stored bytes are shifted out of, at least: bytes of many values are stored sooner than put together."""


def plan_whole(line: list[Step], *, apart: bool = False) -> dict[int, Planned]:
    """`plan`, and which of the accesses are pieces of a word."""
    planned = plan(line, apart=apart)
    roots = _roots(line)
    for kind, places in _stretches(line, planned):
        by_distance = {planned[place].distance: place for place in places}
        if len(by_distance) < len(places):  # a byte twice
            continue
        for word in _words(sorted(by_distance)):
            members = [by_distance[distance] for distance in word]
            if kind == LOAD or len({roots[place] for place in members} - {0}) * BYTES_OF_A_ROOT <= len(members):
                whole, last = Whole(word[0], len(word)), max(members, key=places.index)
                for place in members:
                    planned[place] = replace(planned[place], whole=whole, is_last=place == last)
    return planned


def _stretches(line: Iterable[Step], planned: dict[int, Planned]) -> Iterator[tuple[int, list[int]]]:
    """The bytes of one group that are loaded, or stored, with nothing between that they must not be moved across."""
    kind, group, places = LOAD, None, list[int]()
    for step in line:
        access = access_of(step)
        if access is None and is_plain(step) and step.decoded.instruction.function is not fence:
            continue
        byte = access if access is not None and access.size == 1 else None
        other = planned[step.place].group if byte is not None else None
        if byte is None or (byte.kind, other) != (kind, group):
            yield kind, places
            kind, group, places = byte.kind if byte is not None else LOAD, other, []
        if byte is not None:
            places.append(step.place)
    yield kind, places


def _words(distances: list[int]) -> Iterator[list[int]]:
    """Neighbours among the distances, as many as a word has."""
    while distances:
        size = next((size for size in WHOLES if distances[size - 1 : size] == [distances[0] + size - 1]), 0)
        if size:
            yield distances[:size]
        distances = distances[size or 1 :]


def _roots(line: Iterable[Step]) -> dict[int, int]:
    """To each store what its value was shifted out of: a register's value before the line, or a number above all registers; 0 of x0."""
    holds = {register: register for register in range(REGISTERS)}
    found = {}
    for number, step in enumerate(line):
        instruction, slots = step.decoded.instruction, step.decoded.slots
        if "rs2" in instruction.wants:
            found[step.place] = holds[slots["rs2"]]
        if "rd" in instruction.wants:
            is_copy = instruction.function is add and slots["rs1"] == 0
            source = "rs2" if is_copy else "rs1" if instruction.function in {srli, srliw} else ""
            holds[slots["rd"]] = holds[slots[source]] if source else REGISTERS + number
    return found
