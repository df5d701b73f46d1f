"""Runs that look through bytes: sixteen passes of theirs are made at once, as far as none of them leaves.

    as many bytes as there are passes left ──► sixteen bytes of each place ──► the first pass that leaves, or none
                                                                                  │
                      the pass that leaves, instruction by instruction ◄── all before it ──► the next sixteen

Texts are copied, compared and measured byte by byte in most programs, and where such a loop ends is what the host foresees worst.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from gasang.cpus.instruction_set import NO_REGISTER, Result
from gasang.cpus.riscv64.i import add, addi, beq, bne, jal, lb, lbu, sb
from gasang.cpus.riscv64.region.pages import Step
from gasang.cpus.riscv64.region.plans import REGISTERS
from gasang.cpus.riscv64.region.runs import Run
from gasang.cpus.riscv64.region.shape import Region

WIDE: Final = 16
"""Bytes, and passes, at a time."""
MOST_LOADS: Final = 4


@dataclass(frozen=True)
class Address:
    """What a register had at the head, and so much more: `register` 0 is the number alone."""

    register: int
    more: int = 0


@dataclass(frozen=True)
class Byte:
    """What a pass has loaded."""

    number: int
    signed: bool


@dataclass(frozen=True)
class Before:
    """What the pass before has loaded, which `register` has at the head; in the first pass it has what it had."""

    register: int
    byte: Byte


Value = Address | Byte | Before


@dataclass(frozen=True)
class Place:
    """Where a pass loads or stores its byte, which is one further in the next pass; `slot` has the way to the host's memory."""

    address: Address
    slot: str


@dataclass(frozen=True)
class Leave:
    """A pass leaves where two values are equal, or where they are not."""

    left: Value
    right: Value
    equal: bool


@dataclass
class Scan:
    """What a pass does."""

    length: int = 0
    """Its instructions."""
    loads: list[Place] = field(default_factory=list)
    store: tuple[Place, Value] | None = None
    leaves: list[Leave] = field(default_factory=list)
    ends: dict[int, Address | Byte] = field(default_factory=dict)
    """What it leaves in the registers that it writes."""

    def steady(self, value: Value) -> bool:
        """Whether it is the same in every pass."""
        return isinstance(value, Address) and (value.register == 0 or value.register not in self.ends)

    def step(self, register: int) -> int | None:
        """What a pass adds to a register, if it only adds."""
        end = self.ends.get(register, Address(register))
        return end.more if isinstance(end, Address) and end.register == register else None


def scan_of(region: Region, run: Run) -> Scan | None:
    """What a run does in a pass, if it looks through bytes and does nothing else."""
    scan = Scan()
    values: dict[int, Value] = {number: Address(number) for number in range(REGISTERS)}
    for leader, following in zip(run.lines, (*run.lines[1:], run.head), strict=True):
        for step in region.line(leader):
            scan.length += 1
            if not _take(scan, run, leader, step, values):
                return None
        if not _go_on(scan, run, region.line(leader)[-1], following, values):
            return None
    scan.ends = {number: value for number, value in values.items() if value != Address(number) and not isinstance(value, Before)}
    return _told(scan) if scan.loads and scan.leaves and len(scan.loads) <= MOST_LOADS else None


def _take(scan: Scan, run: Run, leader: int, step: Step, values: dict[int, Value]) -> bool:
    """Execute an instruction; False if that is none that may be made for many passes."""
    function: Any = step.decoded.instruction.function
    slots = step.decoded.slots
    if function in (lb, lbu, sb):
        planned = run.plans[leader].get(step.place)
        address = values[slots["rs1"]]
        if planned is None or not isinstance(address, Address) or scan.store is not None:
            return False
        place = Place(replace(address, more=address.more + slots["imm"]), planned.group.addend)
        if function is sb:
            scan.store = place, values[slots["rs2"]]
        else:
            values[slots["rd"]] = Byte(len(scan.loads), function is lb)
            scan.loads.append(place)
    elif function is addi and isinstance(address := values[slots["rs1"]], Address):
        values[slots["rd"]] = replace(address, more=address.more + slots["imm"])
    elif (function is addi and not slots["imm"]) or (function is add and slots["rs1"] == 0):
        values[slots["rd"]] = values[slots["rs1" if function is addi else "rs2"]]
    elif function not in (beq, bne) and not (function is jal and slots["rd"] == NO_REGISTER):
        return False
    values[NO_REGISTER] = Address(NO_REGISTER)
    return True


def _go_on(scan: Scan, run: Run, last: Step, following: int, values: dict[int, Value]) -> bool:
    """Note how a line may leave the circle; False if it goes on otherwise than to the line that follows."""
    if last.decoded.instruction.result is not Result.BRANCH:
        return following in (last.target, last.after)
    assert last.target is not None
    if following not in (last.target, last.after) or last.target == last.after or {last.target, last.after} - {following} & {*run.lines}:
        return False
    slots = last.decoded.slots
    equal = (last.decoded.instruction.function is beq) is (last.target != following)
    scan.leaves.append(Leave(values[slots["rs1"]], values[slots["rs2"]], equal))
    return True


def _told(scan: Scan) -> Scan | None:
    """The scan with values of the pass before known as such; None if there is one that is not known before the passes are made."""
    places = [*scan.loads, *([scan.store[0]] if scan.store else [])]
    if any(scan.step(place.address.register) != 1 for place in places):
        return None
    if any(isinstance(end, Address) and scan.step(end.register) is None for end in scan.ends.values()):
        return None
    if scan.store is not None and not (isinstance(scan.store[1], Byte) or scan.steady(scan.store[1])):
        return None
    scan.leaves = [Leave(_before(scan, one.left), _before(scan, one.right), one.equal) for one in scan.leaves]
    for one in scan.leaves:
        bytes_of = [value for value in (one.left, one.right) if isinstance(value, (Byte, Before))]
        rest = [value for value in (one.left, one.right) if isinstance(value, Address)]
        if not bytes_of or not all(scan.steady(value) for value in rest) or len({_signed(value) for value in bytes_of}) > 1:
            return None
    return scan


def _before(scan: Scan, value: Value) -> Value:
    end = scan.ends.get(value.register) if isinstance(value, Address) and value.more == 0 else None
    return Before(value.register, end) if isinstance(value, Address) and isinstance(end, Byte) else value


def _signed(value: Byte | Before) -> bool:
    return value.signed if isinstance(value, Byte) else value.byte.signed
