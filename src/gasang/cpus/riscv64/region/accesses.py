"""Loads and stores of a region: through windows, one look for all accesses near each other that a straight line makes by one register.

    address in the window? ──yes──► the host's load or store at address + addend
          │ no                          ▲
          ▼                             │
    on a page the TLB knows? ──yes──────┘  (a window over one page is moved there, if accesses stay on pages)
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

from functools import reduce

from gasang.cpus.riscv64.mmu import STORE
from gasang.cpus.riscv64.region.layout import CPU, GUEST, HART, field_offset
from gasang.cpus.riscv64.region.plans import Access, Group, Planned, Whole
from gasang.cpus.riscv64.regions import LOAD_BEYOND, STORE_BEYOND, STORE_WATCHED
from gasang.cpus.riscv64.reservation import LINE
from gasang.cpus.riscv64.state import (
    PAGE_MASK,
    PAGE_SHIFT,
    PAGE_SIZE,
    RESERVATION_SLOTS,
    SPANS,
    TLB_ENTRIES,
    WIDEST,
    Shared,
    TlbEntry,
    Window,
    Windows,
)
from gasang.cpus.riscv64.windows import NOWHERE, WINDOWS
from gasang.native.emit_function import FunctionEmitter
from gasang.native.types import offset_of

WINDOW_SIZE = 64
TLB_ENTRY_SIZE = 32
WINDOWS_SIZE = offset_of(Windows, "window") + WINDOWS * WINDOW_SIZE
OURS = "%windows"
"""The windows of the privilege that the region was begun in."""
SHARED = "%shared"
"""What harts share, where the machine has several."""
RESERVATIONS = "%reservations"
"""Where it is how many reservations are live."""
OFTEN_ON_TWO_PAGES = 16
"""Bytes of a stretch; of longer ones each access asks the TLB in place where the stretch is on two pages, before it is a call."""
FIELDS = ("first", "addend", "patience", "met")


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

    def of_hart(self, place: str, kind: str = "i64") -> str:
        """A word of the hart's, at its address."""
        return self.value(f"load {kind}, ptr {place}{HART}")

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
            low = self.value(f"add i64 {address}, {group.low - planned.distance}")
            known = group.addend and self.value(f"load i64, ptr {group.addend}")
            group.host = self.value(f"add i64 {low}, {known}") if known else self.look(group, low, self.apart())
        return self._near(access, planned, values)

    def way_out(self) -> str:
        """The label that leaves the region before the instruction being emitted."""
        raise NotImplementedError

    def apart(self) -> str:
        """The label of the instruction where each access is a call, and so are those behind it."""
        raise NotImplementedError

    def _near(self, access: Access, planned: Planned, values: list[str]) -> str:
        """The access itself, where its group was found; the value of a load."""
        whole = planned.whole
        if whole is not None and not (values and self.multi and not planned.group.is_alone):
            return self._piece(planned, whole, values)
        host = self._host_of(planned.group, planned.distance)
        place, kind = self.value(f"inttoptr i64 {host} to ptr"), f"i{8 * access.size}"
        if not values:
            return self.value(f"load {kind}, ptr {place}, align 1{GUEST}")
        store = f"store {kind} {values[0]}, ptr {place}, align 1{GUEST}"
        if self.multi and not planned.group.is_alone:
            self._watching(access, host, values[0], store)
        else:
            self.line(store)
        return ""

    def _piece(self, planned: Planned, whole: Whole, values: list[str]) -> str:
        """A byte of a word: loaded with the first one, stored with the last; the value of a load."""
        group, bits, shift = planned.group, 8 * whole.size, 8 * (planned.distance - whole.low)
        kind = f"i{bits}"
        if values:
            whole.stored[shift] = self.value(f"shl {kind} {self.value(f'zext i8 {values[0]} to {kind}')}, {shift}")
            if planned.is_last:
                parts = [whole.stored[part] for part in range(0, bits, 8)]
                word = reduce(lambda one, other: self.value(f"or {kind} {one}, {other}"), parts)
                place = self.value(f"inttoptr i64 {self._host_of(group, whole.low)} to ptr")
                self.line(f"store {kind} {word}, ptr {place}, align 1{GUEST}")
                whole.stored.clear()
            return ""
        if not whole.word:
            place = self.value(f"inttoptr i64 {self._host_of(group, whole.low)} to ptr")
            whole.word = self.value(f"load {kind}, ptr {place}, align 1{GUEST}")
        found = self.value(f"trunc {kind} {self.value(f'lshr {kind} {whole.word}, {shift}')} to i8")
        if planned.is_last:
            whole.word = ""
        return found

    def _host_of(self, group: Group, distance: int) -> str:
        """The host address of a part of a group's stretch, which was found."""
        further = distance - group.low
        return self.value(f"add nuw i64 {group.host}, {further}") if further else group.host

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
        places["limit"] = self.limit_at(number, group.high - group.low)
        first, limit, addend = [self.of_hart(places[field]) for field in ("first", "limit", "addend")]
        inside = self.value(f"icmp ult i64 {self.value(f'sub i64 {low}, {first}')}, {limit}")
        came_from, outside, known = self.block, self.label("outside"), self.label("known")
        self.branch(self.likely(inside), near, outside)
        self.begin(outside)
        found, page, other = self.page_known(group.kind, low, group.high - group.low)
        self.branch(self.likely(found), known, apart)
        self.begin(known)
        limit = self.value(f"load volatile i64, ptr {places['limit']}{HART}")  # once more: so the host compares with memory above
        somewhere, waits, follow, followed = self.label("somewhere"), self.label("waits"), self.label("follow"), self.label("followed")
        self.branch(self.value(f"icmp eq i64 {limit}, {NOWHERE}"), near, somewhere)
        self.begin(somewhere)
        left = self.value(f"sub i64 {self.of_hart(places['patience'])}, 1")
        self.line(f"store i64 {left}, ptr {places['patience']}{HART}")
        self.branch(self.likely(self.value(f"icmp sge i64 {left}, 0")), waits, apart)
        self.begin(waits)
        self.branch(self.value(f"icmp ugt i64 {limit}, {PAGE_SIZE}"), near, follow)
        self.begin(follow)
        self._follow(number, limit, page, places)
        self.line(f"store i64 {other}, ptr {places['addend']}{HART}")
        self.jump(followed)
        self.begin(followed)
        self.jump(near)
        self.begin(near)
        ways = ", ".join(f"[ {other}, %{block} ]" for block in (known, waits, followed))
        addend = self.value(f"phi i64 [ {addend}, %{came_from} ], {ways}")
        return self.value(f"add i64 {low}, {addend}")

    def limit_at(self, window: int, span: int) -> str:
        """The address of a window's limit for stretches of `span` bytes."""
        row = next(row for row, longest in enumerate(SPANS) if span <= longest)
        at = offset_of(Windows, "window") + WINDOW_SIZE * window + offset_of(Window, "limits") + 8 * row
        return self.value(f"getelementptr i8, ptr {OURS}, i64 {at}")

    def _follow(self, window: int, limit: str, page: str, places: dict[str, str]) -> None:
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
        for span in SPANS:
            self.line(f"store i64 {PAGE_SIZE - (span - 1)}, ptr {self.limit_at(window, span)}{HART}")
        self.jump(opened)
        self.begin(opened)
        again = self.value(f"icmp eq i64 {self.of_hart(places['first'])}, {page}")
        met = self.value(f"add i64 {self.of_hart(places['met'])}, {self.value(f'zext i1 {again} to i64')}")
        self.line(f"store i64 {met}, ptr {places['met']}{HART}")
        self.line(f"store i64 {page}, ptr {places['first']}{HART}")

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

    def _watching(self, access: Access, host: str, value: str, store: str) -> None:
        """Store; by a function where another hart may have reserved the line (reservation.contended).

        The store depends on what is read before it: order enough.
        """
        free, asked, watched, stored = [self.label(name) for name in ("free", "asked", "watched", "stored")]
        live = self.value(f"load atomic i64, ptr {RESERVATIONS} monotonic, align 8{HART}")
        self.branch(self.likely(self.value(f"icmp eq i64 {live}, 0")), free, asked)
        self.begin(asked)
        number = self.value(f"and i64 {self.value(f'lshr i64 {host}, {LINE}')}, {RESERVATION_SLOTS - 1}")
        counts = self.of_hart(self.value(f"getelementptr i8, ptr {SHARED}, i64 {offset_of(Shared, 'reservation_counts')}"), "ptr")
        cell = self.value(f"getelementptr i32, ptr {counts}, i64 {number}")
        of_line = self.value(f"load atomic i32, ptr {cell} monotonic, align 4{HART}")
        self.branch(self.likely(self.value(f"icmp eq i32 {of_line}, 0")), free, watched)
        self.begin(watched)
        wide = value if access.size == WIDEST else self.value(f"zext i{8 * access.size} {value} to i64")
        operands = f"(ptr {CPU}, i64 {host}, i64 {access.size}, i64 {wide})"
        self.value(f"call preserve_mostcc i64 {self.helper(STORE_WATCHED)}{operands}")
        self.jump(stored)
        self.begin(free)
        self.line(store)
        self.jump(stored)
        self.begin(stored)
