"""Loads and stores of a region: through windows, one look for all accesses near each other that a straight line makes by one register.

    address in the window? ──yes──► the host's load or store at address + addend
          │ no                          ▲
          ▼                             │
    on a page the TLB knows? ──yes──────┘
          │ no, or for the last time
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
from gasang.cpus.riscv64.state import LONGEST, PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, TLB_ENTRIES, WIDEST, TlbEntry, Window, Windows
from gasang.cpus.riscv64.windows import WINDOWS
from gasang.native import NativeFunction
from gasang.native.emit_function import FunctionEmitter

WINDOW_SIZE = 32
TLB_ENTRY_SIZE = 32
ALIGNED = (1, 2, 4, 8)
"""Bytes that lie on one page where they are aligned."""
WINDOWS_SIZE = offset_of(Windows, "window") + WINDOWS * WINDOW_SIZE
OURS = "%windows"
"""The windows of the privilege that the region was begun in."""
FIELDS = ("first", "limit", "addend", "patience")


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
    host: str = ""
    """Where the look found the stretch, once it is made; 0 where it is not known."""
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
            if group is None or max(group.high, distance + access.size) - min(group.low, distance) > LONGEST:
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
        near, beyond, done = self.label("near"), self.label("beyond"), self.label("done")
        is_first = not group.host
        if is_first:
            self._look(group, address, planned.distance, near, beyond)
        else:
            self.branch(self._likely(self.value(f"icmp ne i64 {group.host}, 0")), near, beyond)
            self.begin(near)
        found, went_near = self._near(access, planned, values), self.block
        self.jump(done)
        self.begin(beyond)
        other = self._beyond(access, 2 * group.window + group.kind, address, values)
        kind = f"i{8 * access.size}"
        if not values and kind != "i64":
            other = self.value(f"trunc i64 {other} to {kind}")
        went_beyond = self.block
        self.jump(done)
        self.begin(done)
        if is_first:
            group.host = self.value(f"phi i64 [ {group.host}, %{went_near} ], [ 0, %{went_beyond} ]")
        return "" if values else self.value(f"phi {kind} [ {found}, %{went_near} ], [ {other}, %{went_beyond} ]")

    def _near(self, access: Access, planned: Planned, values: list[str]) -> str:
        """The access itself, where its group was found; the value of a load."""
        host, further = planned.group.host, planned.distance - planned.group.low
        if further:
            host = self.value(f"add nuw i64 {host}, {further}")
        if values and self.multi:
            self._unless_contended(host)
        place, kind = self.value(f"inttoptr i64 {host} to ptr"), f"i{8 * access.size}"
        if not values:
            return self.value(f"load {kind}, ptr {place}, align 1{GUEST}")
        self.line(f"store {kind} {values[0]}, ptr {place}, align 1{GUEST}")
        return ""

    def _likely(self, condition: str) -> str:
        return self.value(f"call i1 @llvm.expect.i1(i1 {condition}, i1 true)")

    def _look(self, group: Group, address: str, distance: int, near: str, beyond: str) -> None:
        """Go to `near`, and begin it, where the group's stretch is in its window, or else on a page that the TLB knows."""
        group.window, self.windows = self.windows, (self.windows + 1) % WINDOWS
        at = offset_of(Windows, "window") + WINDOW_SIZE * group.window
        places = {field: self.value(f"getelementptr i8, ptr {OURS}, i64 {at + offset_of(Window, field)}") for field in FIELDS}
        first, limit, addend = [self.value(f"load i64, ptr {places[field]}{HART}") for field in ("first", "limit", "addend")]
        low = self.value(f"add i64 {address}, {group.low - distance}") if group.low != distance else address
        inside = self.value(f"icmp ult i64 {self.value(f'sub i64 {low}, {first}')}, {limit}")
        came_from, outside = self.block, self.label("outside")
        self.branch(self._likely(inside), near, outside)
        self.begin(outside)
        known, other = self._known(group, low, places["patience"])
        went = self.block
        self.branch(self._likely(known), near, beyond)
        self.begin(near)
        addend = self.value(f"phi i64 [ {addend}, %{came_from} ], [ {other}, %{went} ]")
        group.host = self.value(f"add i64 {low}, {addend}")

    def _known(self, group: Group, low: str, patience: str) -> tuple[str, str]:
        """Whether the TLB knows the page of a stretch from `low`, and the window may stay where it is; the TLB's addend."""
        left = self.value(f"sub i64 {self.value(f'load i64, ptr {patience}{HART}')}, 1")
        self.line(f"store i64 {left}, ptr {patience}{HART}")
        number = self.value(f"and i64 {self.value(f'lshr i64 {low}, {PAGE_SHIFT}')}, {TLB_ENTRIES - 1}")
        at = self.value(f"add i64 {self.value(f'mul i64 {number}, {TLB_ENTRY_SIZE}')}, {field_offset('tlb')}")
        entry = self.value(f"getelementptr i8, ptr {CPU}, i64 {at}")
        tag, addend = [
            self.value(f"load{how} i64, ptr {self.value(f'getelementptr i8, ptr {entry}, i64 {offset_of(TlbEntry, field)}')}{HART}")
            for how, field in (("", "write_tag" if group.kind == STORE else "read_tag"), (" volatile", "addend"))
        ]  # volatile, or LLVM makes one load of this and the window's, from either address
        size = group.high - group.low
        aligned = size in ALIGNED
        page = self.value(f"and i64 {low}, {PAGE_MASK + size - 1 if aligned else PAGE_MASK}")
        known = self.value(f"icmp eq i64 {tag}, {self.value(f'or i64 {page}, %known.context')}")
        if not aligned:
            room = self.value(f"icmp ule i64 {self.value(f'and i64 {low}, {PAGE_SIZE - 1}')}, {PAGE_SIZE - size}")
            known = self.value(f"and i1 {known}, {room}")
        return self.value(f"and i1 {known}, {self.value(f'icmp sge i64 {left}, 0')}"), addend

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
