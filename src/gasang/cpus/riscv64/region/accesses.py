"""Loads and stores of a region: through windows, one look for all accesses near each other that a straight line makes by one register.

    address in the window? ──yes──► the host's load or store at address + addend
          │ no                          ▲
          ▼                             │
    on a page the TLB knows? ──yes──────┘  (a window over one page is moved there)
          │ no, or for the last time
          ▼
    the line's other text: load_beyond, store_beyond: done, the window moved ──► go on, with calls until the line's last access
          │ not done
          ▼
    the region is left before the instruction

Accesses of a line by the same register, or by what differs from it by a known number, share the first one's look: it asks for the whole
stretch they lie in.
What follows a look has not to ask again whether it succeeded, since where one did not, all that follows in the line is written twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gasang.cpus.instruction_set import NO_REGISTER
from gasang.cpus.riscv64 import memory
from gasang.cpus.riscv64.i import add, addi
from gasang.cpus.riscv64.mmu import LOAD, STORE
from gasang.cpus.riscv64.region.layout import CPU, GUEST, HART, field_offset, offset_of
from gasang.cpus.riscv64.region.pages import Step
from gasang.cpus.riscv64.regions import LOAD_BEYOND, STORE_BEYOND
from gasang.cpus.riscv64.reservation import LINE
from gasang.cpus.riscv64.state import (
    LONGEST,
    PAGE_MASK,
    PAGE_SHIFT,
    PAGE_SIZE,
    RESERVATION_SLOTS,
    SPANS,
    TLB_ENTRIES,
    WIDEST,
    TlbEntry,
    Window,
    Windows,
)
from gasang.cpus.riscv64.windows import WINDOWS
from gasang.native import NativeFunction
from gasang.native.emit_function import FunctionEmitter

WINDOW_SIZE = 64
TLB_ENTRY_SIZE = 32
WINDOWS_SIZE = offset_of(Windows, "window") + WINDOWS * WINDOW_SIZE
OURS = "%windows"
"""The windows of the privilege that the region was begun in."""
COUNTS = "%counts"
"""The table of live reservations, where the machine has several harts."""
_REGISTERS = NO_REGISTER + 1
OFTEN_ON_TWO_PAGES = 16
"""Bytes of a stretch; of longer ones each access asks the TLB in place where the stretch is on two pages, before it is a call."""
FIELDS = ("first", "addend", "patience")


@dataclass(frozen=True)
class Access:
    """What a function of memory.py does."""

    size: int
    kind: int


ACCESSES: dict[Any, Access] = {
    getattr(memory, f"{verb}_u{8 * size}"): Access(size, kind)
    for verb, kind in (("load", LOAD), ("store", STORE)) for size in (1, 2, 4, 8)
}  # fmt: skip


@dataclass(eq=False)
class Group:
    """Accesses that share a look at a window."""

    kind: int
    low: int
    high: int
    """The stretch, from the value that a register had."""
    register: int | None = None
    """Which register it was when the line began, if it was one."""
    host: str = ""
    """Where the look found the stretch, once it is made."""
    window: int | None = None
    """Its number, given with the first look."""


@dataclass(frozen=True)
class Planned:
    """An instruction's access: its group, and its distance from the value that the group goes by."""

    group: Group
    distance: int


def plan(line: Iterable[Step], *, apart: bool = False) -> dict[int, Planned]:
    """The accesses of a straight line, by place; `apart` where loads and stores have no group in common."""
    open_groups: dict[tuple[int, int], Group] = {}
    values = {register: (register, 0) for register in range(_REGISTERS)}
    """To each register which of the values met so far it is, and how much more."""
    planned: dict[int, Planned] = {}
    for number, step in enumerate(line):
        instruction, slots = step.decoded.instruction, step.decoded.slots
        access = next((ACCESSES[callee] for callee in _callees(instruction.function) if callee in ACCESSES), None)
        if access is not None:
            value, more = values[slots["rs1"]]
            distance = slots["imm"] + more
            key = value, access.kind if apart else LOAD
            group = open_groups.get(key)
            if group is None or max(group.high, distance + access.size) - min(group.low, distance) > LONGEST:
                register = value if value < _REGISTERS else None
                group = open_groups[key] = Group(access.kind, distance, distance + access.size, register)
            group.low, group.high = min(group.low, distance), max(group.high, distance + access.size)
            group.kind = max(group.kind, access.kind)
            planned[step.place] = Planned(group, distance)
        if "rd" in instruction.wants:
            values[slots["rd"]] = _written(step, values) or (_REGISTERS + number, 0)
    return planned


def _written(step: Step, values: dict[int, tuple[int, int]]) -> tuple[int, int] | None:
    """Which value an instruction writes, and how much more; None if it is none that was met before."""
    function, slots = step.decoded.instruction.function, step.decoded.slots
    if function is addi:
        value, more = values[slots["rs1"]]
        return value, more + slots["imm"]
    return values[slots["rs2"]] if function is add and slots["rs1"] == 0 else None


def _callees(function: Any) -> list[NativeFunction]:
    return list(function.tree.callees)


class AccessEmitter(FunctionEmitter):
    """Emits accesses. The instruction's plan is in `planned`."""

    planned: Planned | None
    is_apart: bool
    """Whether the text is where each access is a call."""
    multi: int
    windows: int
    """Half the number of the next window."""

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
        if self.is_apart:
            is_long = group.high - group.low > OFTEN_ON_TWO_PAGES and not (values and self.multi)
            return (self._served if is_long else self._beyond)(access, group, address, values)
        if not group.host:
            group.host = self.look(group, self.value(f"add i64 {address}, {group.low - planned.distance}"), self.apart())
        return self._near(access, planned, values)

    def way_out(self) -> str:
        """The label that leaves the region before the instruction being emitted."""
        raise NotImplementedError

    def apart(self) -> str:
        """The label of the instruction where each access is a call, and so are those behind it."""
        raise NotImplementedError

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

    def likely(self, condition: str) -> str:
        """A condition that LLVM takes to be true nearly always."""
        return self.value(f"call i1 @llvm.expect.i1(i1 {condition}, i1 true)")

    def window_of(self, group: Group) -> int:
        """The number of a group's window: even for loads, which may be over what is not to be stored to, odd for stores."""
        if group.window is None:
            group.window, self.windows = 2 * self.windows + group.kind, (self.windows + 1) % (WINDOWS // 2)
        return group.window

    def look(self, group: Group, low: str, apart: str) -> str:
        """Where a group's stretch from `low` is: in its window, or else on a page that the TLB knows; if it is not, go to `apart`."""
        near = self.label("near")
        number = self.window_of(group)
        at = offset_of(Windows, "window") + WINDOW_SIZE * number
        places = {field: self.value(f"getelementptr i8, ptr {OURS}, i64 {at + offset_of(Window, field)}") for field in FIELDS}
        places["limit"] = self._limit_at(number, next(row for row, span in enumerate(SPANS) if group.high - group.low <= span))
        first, limit, addend = [self.value(f"load i64, ptr {places[field]}{HART}") for field in ("first", "limit", "addend")]
        inside = self.value(f"icmp ult i64 {self.value(f'sub i64 {low}, {first}')}, {limit}")
        came_from, outside, known = self.block, self.label("outside"), self.label("known")
        self.branch(self.likely(inside), near, outside)
        self.begin(outside)
        found, page, other = self._known(group, low, places["patience"])
        self.branch(self.likely(found), known, apart)
        self.begin(known)
        limit = self.value(f"load volatile i64, ptr {places['limit']}{HART}")  # once more: so the host compares with memory above
        waits, follow = self.block, self.label("follow")
        self.branch(self.value(f"icmp ugt i64 {limit}, {PAGE_SIZE}"), near, follow)
        self.begin(follow)
        self._follow(number, limit, {places["first"]: page, places["addend"]: other})
        followed = self.block
        self.jump(near)
        self.begin(near)
        addend = self.value(f"phi i64 [ {addend}, %{came_from} ], [ {other}, %{waits} ], [ {other}, %{followed} ]")
        return self.value(f"add i64 {low}, {addend}")

    def _limit_at(self, window: int, row: int) -> str:
        """The address of one of a window's limits."""
        at = offset_of(Windows, "window") + WINDOW_SIZE * window + offset_of(Window, "limits") + 8 * row
        return self.value(f"getelementptr i8, ptr {OURS}, i64 {at}")

    def _follow(self, window: int, limit: str, changes: dict[str, str]) -> None:
        """Put a window over another page; if it is closed, open it."""
        closed, opened = self.label("closed"), self.label("opened")
        self.branch(self.likely(self.value(f"icmp ne i64 {limit}, 0")), opened, closed)
        self.begin(closed)
        count_at = self.value(f"getelementptr i8, ptr {OURS}, i64 {offset_of(Windows, 'count')}")
        count = self.value(f"load i64, ptr {count_at}{HART}")
        row = self.value(f"getelementptr i64, ptr {OURS}, i64 {count}")
        last = self.value(f"getelementptr i8, ptr {row}, i64 {offset_of(Windows, 'opened')}")
        self.line(f"store i64 {window}, ptr {last}{HART}")
        self.line(f"store i64 {self.value(f'add i64 {count}, 1')}, ptr {count_at}{HART}")
        for which, span in enumerate(SPANS):
            self.line(f"store i64 {PAGE_SIZE - (span - 1)}, ptr {self._limit_at(window, which)}{HART}")
        self.jump(opened)
        self.begin(opened)
        for place, value in changes.items():
            self.line(f"store i64 {value}, ptr {place}{HART}")

    def _known(self, group: Group, low: str, patience: str) -> tuple[str, str, str]:
        """Whether the TLB knows the page of a stretch from `low`, and the window may stay as it is; the page, and the TLB's addend."""
        left = self.value(f"sub i64 {self.value(f'load i64, ptr {patience}{HART}')}, 1")
        self.line(f"store i64 {left}, ptr {patience}{HART}")
        known, page, addend = self.page_known(group.kind, low, group.high - group.low)
        return self.value(f"and i1 {known}, {self.value(f'icmp sge i64 {left}, 0')}"), page, addend

    def page_known(self, kind: int, low: str, size: int) -> tuple[str, str, str]:
        """Whether the TLB knows the page of a stretch of `size` bytes from `low`; the page, and the TLB's addend."""
        number = self.value(f"and i64 {self.value(f'lshr i64 {low}, {PAGE_SHIFT}')}, {TLB_ENTRIES - 1}")
        at = self.value(f"add i64 {self.value(f'mul i64 {number}, {TLB_ENTRY_SIZE}')}, {field_offset('tlb')}")
        entry = self.value(f"getelementptr i8, ptr {CPU}, i64 {at}")
        tag, addend = [
            self.value(f"load{how} i64, ptr {self.value(f'getelementptr i8, ptr {entry}, i64 {offset_of(TlbEntry, field)}')}{HART}")
            for how, field in (("", "write_tag" if kind == STORE else "read_tag"), (" volatile", "addend"))
        ]  # volatile, or LLVM makes one load of this and the window's, from either address
        last = self.value(f"add i64 {low}, {size - 1}")  # on the next page it is not what the entry is of
        page = self.value(f"and i64 {last}, {PAGE_MASK}")
        return self.value(f"icmp eq i64 {tag}, {self.value(f'or i64 {page}, %known.context')}"), page, addend

    def _served(self, access: Access, group: Group, address: str, values: list[str]) -> str:
        """The access where the TLB knows the page and the window may stay as it is, else by a function; the value of a load."""
        at = offset_of(Windows, "window") + WINDOW_SIZE * self.window_of(group) + offset_of(Window, "patience")
        patience = self.value(f"load i64, ptr {self.value(f'getelementptr i8, ptr {OURS}, i64 {at}')}{HART}")
        known, _, addend = self.page_known(access.kind, address, access.size)
        served, called, done = self.label("served"), self.label("called"), self.label("done")
        self.branch(self.likely(self.value(f"and i1 {known}, {self.value(f'icmp sge i64 {patience}, 0')}")), served, called)
        self.begin(served)
        host = self.value(f"inttoptr i64 {self.value(f'add i64 {address}, {addend}')} to ptr")
        kind, found = f"i{8 * access.size}", ""
        if values:
            self.line(f"store {kind} {values[0]}, ptr {host}, align 1{GUEST}")
        else:
            found = self.value(f"load {kind}, ptr {host}, align 1{GUEST}")
        self.jump(done)
        self.begin(called)
        other = self._beyond(access, group, address, values)
        came_from = self.block
        self.jump(done)
        self.begin(done)
        return "" if values else self.value(f"phi {kind} [ {found}, %{served} ], [ {other}, %{came_from} ]")

    def _beyond(self, access: Access, group: Group, address: str, values: list[str]) -> str:
        """The access, by a function; the value of a load."""
        window = 2 * self.window_of(group) + group.kind
        if values:
            wide = values[0] if access.size == WIDEST else self.value(f"zext i{8 * access.size} {values[0]} to i64")
            operands = f"(ptr {CPU}, i64 {address}, i64 {access.size}, i64 {window}, i64 {wide})"
            found = done = self.value(f"call preserve_mostcc i64 {self.helper(STORE_BEYOND)}{operands}")
        else:
            operands = f"(ptr {CPU}, i64 {address}, i64 {access.size}, i64 {window})"
            found = self.value(f"call preserve_mostcc i64 {self.helper(LOAD_BEYOND)}{operands}")
            done = self.value(f"load i64, ptr {self.of_cpu('refilled')}{HART}")
        accessed = self.label("accessed")
        self.branch(self.value(f"icmp ne i64 {done}, 0"), accessed, self.way_out())
        self.begin(accessed)
        return found if values or access.size == WIDEST else self.value(f"trunc i64 {found} to i{8 * access.size}")

    def _unless_contended(self, host: str) -> None:
        """Leave the region where another hart has reserved the line (reservation.contended). The store depends on it: order enough."""
        number = self.value(f"and i64 {self.value(f'lshr i64 {host}, {LINE}')}, {RESERVATION_SLOTS - 1}")
        cell = self.value(f"getelementptr i32, ptr {COUNTS}, i64 {number}")
        watched = self.value(f"load atomic i32, ptr {cell} monotonic, align 4{HART}")
        free = self.label("free")
        self.branch(self.value(f"icmp eq i32 {watched}, 0"), free, self.way_out())
        self.begin(free)
