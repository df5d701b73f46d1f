"""A machine's compiled regions: which code is to be compiled, what has come back, and where it is placed.

A region is placed by the thread of the hart that will execute it, between two instructions: it is valid for pages of just the content that
it was compiled from, wherever they lie, which is looked at then. What a store changes later, the processor itself notices
(cpus/riscv64/code.py, rule 5).
"""

from __future__ import annotations

import ctypes
import threading
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol

from gasang.accel.soft.jit.messages import Answer, Page, Request
from gasang.accel.soft.jit.report import Report, report_of
from gasang.accel.soft.jit.service import CompileService
from gasang.core.errors import OutOfSpaceError, PermissionDeniedError
from gasang.cpus.riscv64.region.symbol import SYMBOL
from gasang.cpus.riscv64.state import HOT_PLACES, PAGE_SIZE, STRETCH_SHIFT
from gasang.host.code import CodeMemory
from gasang.native.image import unpack

if TYPE_CHECKING:
    from gasang.accel.soft.hart import Hart
    from gasang.accel.soft.jit.check import Checks
    from gasang.accel.soft.machine import SoftMachine

HOT_AFTER = 256
"""Samples (one in 900 instructions) after which a stretch of code is compiled."""
SOON = 8
"""Samples after which code is looked at again that was compiled, and was not mapped when it came back."""
NEAR = 64
"""Pages to each side that are looked at for code."""
MOST_PAGES = 12
MOST_CODE = 64 << 20
"""Bytes of machine code kept: beyond that nothing more is compiled until all is forgotten."""
MOST_TRIES = 4
"""How often code of the same content is compiled: each time it has found further places to begin at."""
PLACES = PAGE_SIZE // 2


class Service(Protocol):
    """Compiles: see CompileService."""

    def start(self) -> None:
        """Begin to serve."""
        ...

    def ask(self, heat: int, request: Request) -> list[int]:
        """Have something compiled; the numbers of requests that are forgotten for it."""
        ...

    def forget(self, numbers: Collection[int]) -> list[int]:
        """Have these not compiled any more; those for which it was not too late."""
        ...

    def hotter(self, number: int, heat: int) -> None:
        """What a request is about has become hotter."""
        ...

    def close(self) -> None:
        """End."""
        ...

    def forget_parent(self) -> None:
        """In a forked process: serve no more."""
        ...


@dataclass(frozen=True)
class Placed:
    """A compiled region: its address, where it can be begun, and the pages it is valid for."""

    address: int
    entries: tuple[int, ...]
    stamps: dict[int, int]
    places: tuple[int, ...]
    """Of its instructions."""

    @property
    def steps(self) -> int:
        """How many instructions it has."""
        return len(self.places)


@dataclass
class Statistics:
    """What has been done."""

    regions: int = 0
    steps: int = 0
    code_bytes: int = 0
    seconds: float = 0.0
    placed: int = 0


@dataclass
class _Asked:
    """A request under way: for whom, the address of its page 0, the place on it, and the stretch of code in `Cpu.hot`."""

    hart: Hart
    page: int
    place: int
    tries: tuple[int, int]
    stretch: int


@dataclass
class _Arrived:
    """Regions that wait for a hart to place them."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    regions: list[tuple[Placed, _Asked]] = field(default_factory=list)


class Regions:
    """The regions of one machine. `look` and `place` are called by a hart's own thread."""

    def __init__(
        self, machine: SoftMachine, make_service: Callable[[Callable[[Answer], None]], Service] = CompileService, *, checked: bool = False
    ) -> None:
        self._machine = machine
        self.checks = _checks(machine) if checked else None
        self.service = make_service(self._answered)
        self._known: dict[int, dict[int, tuple[Placed, int]]] = {}
        """To a page's stamp where regions begin on it: offset → the region, and the page's distance from the region's page 0."""
        self._covered: dict[int, set[int]] = {}
        """To a page's stamp the offsets of instructions that are in some region."""
        self._asked: dict[int, _Asked] = {}
        self._tries: Counter[tuple[int, int]] = Counter()
        self._arrived = {hart.number: _Arrived() for hart in machine.harts}
        self._number = 0
        self._lock = threading.Lock()
        self.statistics = Statistics()
        for hart in machine.harts:
            hart.cpu.hot_after = HOT_AFTER

    def start(self) -> None:
        """Begin to compile."""
        self.service.start()

    def close(self) -> None:
        """End the service."""
        self.service.close()

    def forget_parent(self) -> None:
        """In a forked process: what is compiled stays, no more comes."""
        self.service.forget_parent()
        for hart in self._machine.harts:
            hart.cpu.hot_after = 0

    def look(self, hart: Hart) -> None:
        """The hart's run loop was left with exits.HOT: place what is known of the code at its pc, else have it compiled."""
        pc = int(hart.cpu.pc)
        pages = self._pages(hart, pc & -PAGE_SIZE)
        if 0 not in pages:
            return
        stamp, place = pages[0].stamp, pc % PAGE_SIZE
        if self._place_known(hart, pc & -PAGE_SIZE, stamp):
            return
        tries = (stamp, place >> 7)
        stretch = int(hart.cpu.code_base) + ((place & -2) << 3) >> STRETCH_SHIFT
        heat = int(_hot_place(hart, stretch).count)
        with self._lock:
            waiting = [number for number, asked in self._asked.items() if asked.tries == tries]
            full = place in self._covered.get(stamp, ()) or self._tries[tries] >= MOST_TRIES or self.statistics.code_bytes >= MOST_CODE
            if not waiting and not full:
                self._tries[tries] += 1
                self._number += 1
                number = self._number
                self._asked[number] = _Asked(hart, pc & -PAGE_SIZE, place, tries, stretch)
        if waiting:
            self.service.hotter(waiting[0], heat)
        elif not full:
            self._forget(self.service.ask(heat, Request(number, place, self._machine.hart_count > 1, (place,), (), pages)))

    def _forget(self, numbers: list[int]) -> None:
        """Requests that will not be answered."""
        with self._lock:
            for number in numbers:
                self._tries[self._asked.pop(number).tries] -= 1

    def _pages(self, hart: Hart, page: int) -> dict[int, Page]:
        """The page and code near it that the hart has executed lately, by distance."""
        find = self._machine.processor.functions["code_place"]
        found: dict[int, Page] = {}
        for delta in sorted(range(-NEAR, NEAR + 1), key=abs):
            number = find(hart.address, page + delta * PAGE_SIZE & (1 << 64) - 1)
            if number:
                found[delta] = self._page(hart, number)
            if len(found) == MOST_PAGES or 0 not in found:
                break
        return found

    def _page(self, hart: Hart, number: int) -> Page:
        executed = (ctypes.c_uint8 * PLACES)()
        host = self._machine.processor.functions["executed_places"](hart.address, number, ctypes.addressof(executed))
        content = ctypes.string_at(host, PAGE_SIZE)
        return Page(content, bytes(executed), stamp_of(content))

    def _answered(self, answer: Answer) -> None:
        """The service's thread: make the code executable, and tell the hart."""
        with self._lock:
            asked = self._asked.pop(answer.number, None)
        if asked is None or not answer.image:
            return
        try:
            image = unpack(answer.image)
            memory = CodeMemory(len(image.content))
            memory.seal(image.at(memory.address, {}), image.executable)
        except (OutOfSpaceError, PermissionDeniedError, ValueError):  # interpreted it is as right, only slower
            return
        region = Placed(memory.address + image.symbols[SYMBOL], answer.entries, dict(answer.stamps), answer.places)
        with self._lock:
            for place in region.entries:
                delta = place // PAGE_SIZE
                begins = self._known.setdefault(region.stamps[delta], {})
                other = begins.get(place % PAGE_SIZE)
                if other is None or other[0].steps <= region.steps:  # answers do not come in the order of what they cover
                    begins[place % PAGE_SIZE] = region, delta
            for place in answer.places:
                self._covered.setdefault(region.stamps[place // PAGE_SIZE], set()).add(place % PAGE_SIZE)
            needless = [number for number, other in self._asked.items() if other.place in self._covered.get(other.tries[0], ())]
            done = self.statistics
            done.regions, done.steps, done.seconds = done.regions + 1, done.steps + region.steps, done.seconds + answer.seconds
            done.code_bytes += memory.size
        self._forget(self.service.forget(needless))
        arrived = self._arrived[asked.hart.number]
        with arrived.lock:
            arrived.regions.append((region, asked))
        asked.hart.has_arrived = True
        asked.hart.nudge()

    def report(self) -> Report:
        """What is compiled, and what became of it; from any thread."""
        return report_of(self.statistics, self.checks, self._machine)

    def place(self, hart: Hart) -> None:
        """Place what has arrived for a hart, where its pages are still what they were."""
        arrived = self._arrived[hart.number]
        with arrived.lock:
            regions, arrived.regions = arrived.regions, []
            hart.has_arrived = False
        for region, asked in regions:
            if not self._place(hart, region, asked.page):
                hot = _hot_place(hart, asked.stretch)  # another address space, perhaps: as soon as the code goes on it is looked at
                hot.stretch, hot.count = asked.stretch, max(hart.cpu.hot_after - SOON, 0)

    def _place_known(self, hart: Hart, page: int, stamp: int) -> bool:
        """Place the regions known to begin on a page of this content; whether that changed anything."""
        with self._lock:
            known = list(self._known.get(stamp, {}).items())
        changed = False
        for region, delta in {region.address: (region, delta) for _, (region, delta) in known}.values():
            numbers = self._valid(hart, region, page - delta * PAGE_SIZE)
            if numbers:
                entries = [offset for offset, (its, _) in known if its is region]
                changed |= self._begin(hart, region, [(numbers[delta], offset, delta) for offset in entries])
        return changed

    def _place(self, hart: Hart, region: Placed, page: int) -> bool:
        """Place a region, page 0 at `page`; whether the code there is what it was compiled from."""
        numbers = self._valid(hart, region, page)
        with self._lock:
            wanted = [place for place in region.entries if self._known[region.stamps[place // PAGE_SIZE]][place % PAGE_SIZE][0] is region]
        if numbers:
            self._begin(hart, region, [(numbers[place // PAGE_SIZE], place % PAGE_SIZE, place // PAGE_SIZE) for place in wanted])
        return bool(numbers)

    def _valid(self, hart: Hart, region: Placed, page: int) -> dict[int, int]:
        """The blocks of a region's pages, stamped, if all have the content it was compiled from, page 0 at `page`; else nothing."""
        functions = self._machine.processor.functions
        numbers: dict[int, int] = {}
        for delta, stamp in region.stamps.items():
            number = functions["code_place"](hart.address, page + delta * PAGE_SIZE & (1 << 64) - 1)
            if not number or (functions["block_stamp"](hart.address, number) != stamp and self._page(hart, number).stamp != stamp):
                return {}
            numbers[delta] = number
        for delta, number in numbers.items():
            functions["stamp_block"](hart.address, number, region.stamps[delta])
        return numbers

    def _begin(self, hart: Hart, region: Placed, places: list[tuple[int, int, int]]) -> bool:
        """Put a region where records of (block, offset, distance of the page) are; whether any was not there yet."""
        if self.checks is not None:
            begun = sum(self.checks.begin(hart, region, *place) for place in places)
        else:
            begin = self._machine.processor.functions["begin_region"]
            begun = sum(int(begin(hart.address, number, offset >> 1, region.address)) for number, offset, _ in places)
        self.statistics.placed += begun
        return begun > 0


def _checks(machine: SoftMachine) -> Checks:
    from gasang.accel.soft.jit.check import Checks  # a machine that is not checked has no time for it

    return Checks(machine)


def _hot_place(hart: Hart, stretch: int) -> Any:
    """Where samples of a stretch are counted (cpus/riscv64/hot.py)."""
    return hart.cpu.hot[(stretch ^ stretch >> 10) & HOT_PLACES - 1]


def stamp_of(content: bytes) -> int:
    """What a page's content is known by: never 0."""
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little") | 1
