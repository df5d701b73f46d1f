"""Loads and stores of a region: through windows, one look for all accesses near each other that a straight line makes by one register.

    address in the window? ──yes──► the host's load or store at address + addend
          │ no
          ▼
    load_beyond, store_beyond: done, the window moved ──► go on
          │ not done
          ▼
    the region is left before the instruction

Accesses of a line by the same register, unchanged between them, share the first one's look: it asks for the whole stretch they lie in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gasang.cpus.riscv64 import memory
from gasang.cpus.riscv64.mmu import LOAD, STORE
from gasang.cpus.riscv64.region.layout import CPU, GUEST, HART, field_offset, offset_of
from gasang.cpus.riscv64.region.pages import Step
from gasang.cpus.riscv64.regions import LOAD_BEYOND, STORE_BEYOND
from gasang.cpus.riscv64.reservation import contended
from gasang.cpus.riscv64.state import WIDEST, Window, Windows
from gasang.cpus.riscv64.windows import WINDOWS
from gasang.native import NativeFunction
from gasang.native.emit_function import FunctionEmitter

WINDOW_SIZE = 32
WINDOWS_SIZE = offset_of(Windows, "window") + WINDOWS * WINDOW_SIZE
OURS = "%windows"
"""The windows of the privilege that the region was begun in."""
NEAR = 512
"""Bytes of the longest stretch that is looked at as one."""
FIELDS = ("first", "limit", "addend")


@dataclass(frozen=True)
class Access:
    """What a function of memory.py does."""

    size: int
    kind: int


ACCESSES: dict[Any, Access] = {
    getattr(memory, f"{verb}_u{8 * size}"): Access(size, kind)
    for verb, kind in (("load", LOAD), ("store", STORE)) for size in (1, 2, 4, 8)
}  # fmt: skip


@dataclass
class Group:
    """Accesses that share a look at a window."""

    kind: int
    low: int
    high: int
    """The stretch, from the register."""
    inside: str = ""
    addend: str = ""
    """Values of the look, once it is made."""
    window: int = 0
    """Its number, given with the look."""


@dataclass(frozen=True)
class Planned:
    """An instruction's access: its group, and its distance from the register."""

    group: Group
    distance: int


def plan(line: Iterable[Step]) -> dict[int, Planned]:
    """The accesses of a straight line, by place."""
    open_groups: dict[int, Group] = {}
    planned: dict[int, Planned] = {}
    for step in line:
        instruction, slots = step.decoded.instruction, step.decoded.slots
        access = next((ACCESSES[callee] for callee in _callees(instruction.function) if callee in ACCESSES), None)
        if access is not None:
            register, distance = slots["rs1"], slots["imm"]
            group = open_groups.get(register)
            if group is None or max(group.high, distance + access.size) - min(group.low, distance) > NEAR:
                group = open_groups[register] = Group(access.kind, distance, distance + access.size)
            group.low, group.high = min(group.low, distance), max(group.high, distance + access.size)
            group.kind = max(group.kind, access.kind)
            planned[step.place] = Planned(group, distance)
        if "rd" in instruction.wants:
            open_groups.pop(slots["rd"], None)
    return planned


def _callees(function: Any) -> list[NativeFunction]:
    return list(function.tree.callees)


class AccessEmitter(FunctionEmitter):
    """Emits accesses. The instruction's plan is in `planned`."""

    planned: Planned | None
    way_out: str
    multi: int
    windows: int
    """The number of the next window."""

    def of_cpu(self, field: str) -> str:
        """The address of a field of Cpu."""
        return self.value(f"getelementptr i8, ptr {CPU}, i64 {field_offset(field)}")

    def helper(self, number: int) -> str:
        """The address of one of regions.HELPERS."""
        helpers = self.value(f"load ptr, ptr {self.of_cpu('helpers')}{HART}")
        return self.value(f"load ptr, ptr {self.value(f'getelementptr i8, ptr {helpers}, i64 {8 * number}')}{HART}")

    def accessed(self, access: Access, arguments: list[str]) -> str:
        """Emit a load or store; the value of a load."""
        address, *values = arguments
        planned = self.planned or Planned(Group(access.kind, 0, access.size), 0)
        group = planned.group
        if not group.inside:
            self._look(group, address, planned.distance)
        near, beyond, done = self.label("near"), self.label("beyond"), self.label("done")
        self.branch(group.inside, near, beyond)
        kind = f"i{8 * access.size}"
        self.begin(beyond)
        other = self._beyond(access, 2 * group.window + group.kind, address, values)
        if not values and kind != "i64":
            other = self.value(f"trunc i64 {other} to {kind}")
        came_from = self.block
        self.jump(done)
        self.begin(near)
        host = self.value(f"add i64 {address}, {group.addend}")
        if values and self.multi:
            self._unless_contended(host)
        place = self.value(f"inttoptr i64 {host} to ptr")
        if values:
            self.line(f"store {kind} {values[0]}, ptr {place}, align 1{GUEST}")
            self.jump(done)
            self.begin(done)
            return ""
        loaded = self.value(f"load {kind}, ptr {place}, align 1{GUEST}")
        self.jump(done)
        self.begin(done)
        return self.value(f"phi {kind} [ {loaded}, %{near} ], [ {other}, %{came_from} ]")

    def _look(self, group: Group, address: str, distance: int) -> None:
        """Whether the stretch of a group is in its window."""
        group.window, self.windows = self.windows, (self.windows + 1) % WINDOWS
        at = offset_of(Windows, "window") + WINDOW_SIZE * group.window
        places = [self.value(f"getelementptr i8, ptr {OURS}, i64 {at + offset_of(Window, field)}") for field in FIELDS]
        first, limit, group.addend = [self.value(f"load i64, ptr {place}{HART}") for place in places]
        ahead = group.high - group.low - WIDEST
        if ahead > 0:
            limit = self.value(f"call i64 @llvm.usub.sat.i64(i64 {limit}, i64 {ahead})")
        low = self.value(f"add i64 {address}, {group.low - distance}") if group.low != distance else address
        inside = self.value(f"icmp ult i64 {self.value(f'sub i64 {low}, {first}')}, {limit}")
        group.inside = self.value(f"call i1 @llvm.expect.i1(i1 {inside}, i1 true)")

    def _beyond(self, access: Access, window: int, address: str, values: list[str]) -> str:
        if values:
            wide = values[0] if access.size == WIDEST else self.value(f"zext i{8 * access.size} {values[0]} to i64")
            operands = f"(ptr {CPU}, i64 {address}, i64 {access.size}, i64 {window}, i64 {wide})"
            found = done = self.value(f"call preserve_mostcc i64 {self.helper(STORE_BEYOND)}{operands}")
        else:
            operands = f"(ptr {CPU}, i64 {address}, i64 {access.size}, i64 {window})"
            found = self.value(f"call preserve_mostcc i64 {self.helper(LOAD_BEYOND)}{operands}")
            done = self.value(f"load i64, ptr {self.of_cpu('refilled')}{HART}")
        accessed = self.label("accessed")
        self.branch(self.value(f"icmp ne i64 {done}, 0"), accessed, self.way_out)
        self.begin(accessed)
        return found

    def _unless_contended(self, host: str) -> None:
        """Leave the region where another hart has reserved the line."""
        watched = self.inline(contended, [CPU, host])
        free = self.label("free")
        self.branch(self.value(f"icmp eq i64 {watched}, 0"), free, self.way_out)
        self.begin(free)

    def inline(self, function: NativeFunction, given: list[Any]) -> str:
        """The result of a function that cannot fault, expanded here."""
        raise NotImplementedError
