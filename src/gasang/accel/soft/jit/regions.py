"""A machine's compiled regions: which code is to be compiled, what has come back, and where it is placed.

A region is placed by the thread of the hart that will execute it, between two instructions: it is valid for pages of just the content that
it was compiled from, wherever they lie, which is looked at then. What a store changes later, the processor itself notices
(cpus/riscv64/code.py, rule 5).
"""

from __future__ import annotations

import threading
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from gasang.accel.soft.jit.compiler import Service
from gasang.accel.soft.jit.decoded import DecodedPages
from gasang.accel.soft.jit.jumps import Jumps
from gasang.accel.soft.jit.messages import Answer, Request
from gasang.accel.soft.jit.pack import Entry
from gasang.accel.soft.jit.report import Report, report_of
from gasang.accel.soft.jit.service import CompileService
from gasang.accel.soft.jit.shelf import Placed, Shelf
from gasang.accel.soft.jit.store import RegionStore
from gasang.cpus.riscv64.block import RECORDS
from gasang.cpus.riscv64.state import PAGE_SIZE
from gasang.host.code import CodeMemory

if TYPE_CHECKING:
    from gasang.accel.soft.hart import Hart
    from gasang.accel.soft.jit.check import Checks
    from gasang.accel.soft.machine import SoftMachine

HOT_AFTER = 512
"""Samples (one in 900 instructions) after which a stretch of code is asked for: it is compiled when it is worth that (price.py).

With fewer a small region is not worth it even to later starts, and to ask takes as long as interpreting 150 samples.
"""
AGAIN = 16
"""Times as many samples after which code is asked for that a region has already, but that is interpreted all the same: what was executed
by then may make a larger one."""
ANEW = 4
"""The same of code that a brief region has: samples of it are interpreted or compiled."""
SOON = 8
"""Samples after which code is looked at again: when its jumps were watched, or that was compiled, and was not mapped when it came back."""
FREE_TRIES = 4
"""How often code of the same content is asked for as soon as it is hot: each time more of it has been executed."""
RARER = 4
"""Times as hot as before it must be for each further time."""
MOST_REST = 512
"""Polls without a look at code met for the first time, at most: where nothing was found, looks become rarer."""


@dataclass
class Statistics:
    """What has been done."""

    regions: int = 0
    """Compiled here."""
    steps: int = 0
    code_bytes: int = 0
    seconds: float = 0.0
    placed: int = 0
    loaded: int = 0
    """Regions that came from the code cache on disk."""
    dropped: int = 0
    """Regions that had to make room."""


@dataclass
class _Asked:
    """A request under way: for whom, the address of its page 0, the place on it, and the stretch of code in `Cpu.hot`; jumps near it."""

    number: int
    hart: Hart
    page: int
    place: int
    tries: tuple[int, int]
    stretch: int
    jumps: tuple[tuple[int, int], ...]
    heat: int
    again: bool
    """Whether there was a region already."""
    full: bool
    """Whether all that there was is brief."""


@dataclass
class _Arrived:
    """Regions that wait for a hart to place them, and whether it is to forget where any are."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    regions: list[tuple[Placed, _Asked]] = field(default_factory=list)
    forget: bool = False


class Regions:
    """The regions of one machine. `look` and `place` are called by a hart's own thread."""

    def __init__(
        self,
        machine: SoftMachine,
        make_service: Callable[[Callable[[Answer], None]], Service] = CompileService,
        *,
        store: RegionStore | None = None,
        checked: bool = False,
    ) -> None:
        self._machine = machine
        self.checks = _checks(machine) if checked else None
        self._jumps = Jumps(machine.processor)
        self._decoded = DecodedPages(machine.processor)
        self.service = make_service(self._answered)
        self.shelf = Shelf(store, multi=machine.hart_count > 1)
        self._asked: dict[int, _Asked] = {}
        self._waiting: dict[tuple[int, int], int] = {}
        """The numbers of what is asked, by page and stretch."""
        self._tries: Counter[tuple[int, int]] = Counter()
        self._arrived = {hart.number: _Arrived() for hart in machine.harts}
        self._dropped: list[CodeMemory] = []
        """Code that some hart may still execute."""
        self._is_swept = False
        self._rest = 0
        self._number = 0
        self._lock = threading.Lock()
        self.statistics = Statistics()
        for hart in machine.harts:
            hart.cpu.hot_after = HOT_AFTER
        self._look_early()

    def start(self) -> None:
        """Begin to compile."""
        self.service.start()

    def close(self) -> None:
        """End the service; the harts have ended."""
        self.service.close()
        self.shelf.close()

    def forget_parent(self) -> None:
        """In a forked process: what is compiled stays, no more comes."""
        self.service.forget_parent()
        for hart in self._machine.harts:
            hart.cpu.hot_after = 0

    def _look_early(self) -> None:
        """As soon as there are regions, code is looked at when it is met first."""
        if self.shelf.knows_some:
            for hart in self._machine.harts:
                hart.cpu.looks = 1

    def look(self, hart: Hart) -> None:
        """The hart's run loop was left with exits.HOT: place what is known of the code at its pc, else have it compiled."""
        pc, functions = int(hart.cpu.pc), self._machine.processor.functions
        number = self._decoded.find(hart, pc & -PAGE_SIZE)
        if not number:
            return
        stamp, place = self._decoded.stamp(hart, number), pc % PAGE_SIZE
        found = self.shelf.knows(stamp) and self._place_known(hart, pc & -PAGE_SIZE, stamp)
        self._rest = self._rest // 4 if found else min(2 * self._rest + 1, MOST_REST)
        hart.cpu.look_rest = self._rest
        stretch = functions["stretch_of"](hart.address, number, place)
        heat = self._heat(stretch)
        if found:
            self._cool(stretch)
        elif heat >= hart.cpu.hot_after:
            self._have_compiled(hart, pc & -PAGE_SIZE, place, stamp, heat, stretch)

    def _heat(self, stretch: int) -> int:
        """The samples of a stretch by all harts: what they execute together is as hot as if one did."""
        heat_of = self._machine.processor.functions["heat_of"]
        return sum(int(heat_of(hart.address, stretch)) for hart in self._machine.harts)

    def _cool(self, stretch: int) -> None:
        """A region has its place: every hart counts anew."""
        functions = self._machine.processor.functions
        for hart in self._machine.harts:
            if functions["heat_of"](hart.address, stretch):
                functions["set_heat"](hart.address, stretch, 0)

    def _have_compiled(self, hart: Hart, page: int, place: int, stamp: int, heat: int, stretch: int) -> None:
        tries = (stamp, place >> 7)
        with self._lock:
            asked = self._asked.get(self._waiting.get(tries, 0))
            again, brief = self.shelf.covers(stamp, place), self.shelf.covers_briefly(stamp, place)
            enough = hart.cpu.hot_after * (ANEW if brief else AGAIN if again else 1) * RARER ** max(self._tries[tries] - FREE_TRIES + 1, 0)
            full = heat < enough or self.shelf.is_full
        if asked is not None:
            if heat > asked.heat:  # else it has lost samples to another place meanwhile
                asked.heat = heat
                number, jumps, multi, near = asked.number, asked.jumps, self._machine.hart_count > 1, self._decoded.near
                self.service.hotter(heat, number, lambda: Request(number, place, multi, jumps, near(hart, page), full=asked.full))
            return
        if full or not self.service.takes(heat):
            return
        if self._jumps.watch(hart, page, place >> 7):
            self._count_again(hart, stretch)
            return
        decoded = self._decoded
        pages = decoded.near(hart, page) if self.service.may_be_worth(heat) else {0: decoded.page(hart, decoded.find(hart, page))}
        jumps = self._jumps.seen(hart, page)
        with self._lock:
            self._tries[tries] += 1
            self._number += 1
            number = self._number
            self._asked[number] = _Asked(number, hart, page, place, tries, stretch, jumps, heat, again, brief)
            self._waiting[tries] = number
        self._forget(self.service.ask(heat, Request(number, place, self._machine.hart_count > 1, jumps, pages, full=brief)))

    def _forget(self, numbers: list[int]) -> None:
        """Requests that will not be answered."""
        with self._lock:
            for number in numbers:
                self._tries[self._take(number).tries] -= 1

    def _take(self, number: int) -> _Asked:
        """A request that is over. The lock is held."""
        asked = self._asked.pop(number)
        if self._waiting.get(asked.tries) == number:
            del self._waiting[asked.tries]
        return asked

    def _count_again(self, hart: Hart, stretch: int) -> None:
        """Have a stretch of code looked at soon."""
        self._machine.processor.functions["set_heat"](hart.address, stretch, max(hart.cpu.hot_after - SOON, 0))

    def _answered(self, answer: Answer) -> None:
        """The service's thread: make the code executable, and tell the hart."""
        with self._lock:
            asked = self._take(answer.number) if answer.number in self._asked else None
        if asked is None or not answer.image:
            return
        region = self.shelf.take(answer)
        self._make_room()
        if region is None:
            return
        with self._lock:
            needless = [number for number, other in self._asked.items() if self._is_needless(other)]
            done = self.statistics
            done.regions, done.steps, done.seconds = done.regions + 1, done.steps + region.steps, done.seconds + answer.seconds
            done.code_bytes = self.shelf.code_bytes
        self._forget(self.service.forget(needless))
        self._look_early()
        arrived = self._arrived[asked.hart.number]
        with arrived.lock:
            arrived.regions.append((region, asked))
        _call(asked.hart)

    def _is_needless(self, asked: _Asked) -> bool:
        """Whether there is a region by now where there was none when it was asked for."""
        return not asked.again and self.shelf.covers(asked.tries[0], asked.place)

    def _make_room(self) -> None:
        """Where code fills its room, see what is still in use; where there is none left, drop what is not."""
        with self._lock:
            if self.checks is not None:  # which keep what they know of a region for good
                return
            if self._dropped or not self.shelf.is_filling or (self._is_swept and not self.shelf.is_full):
                return
            self._is_swept = not self.shelf.is_full
            if self.shelf.is_full:
                self._dropped = self.shelf.drop()
                self.statistics.dropped += len(self._dropped)
                self._tries.clear()
        for hart in self._machine.harts:
            with self._arrived[hart.number].lock:
                self._arrived[hart.number].forget = True
            _call(hart)

    def report(self) -> Report:
        """What is compiled, and what became of it; from any thread."""
        return report_of(self.statistics, self.checks, self._machine)

    def place(self, hart: Hart) -> None:
        """Place what has arrived for a hart, where its pages are still what they were."""
        arrived = self._arrived[hart.number]
        with arrived.lock:
            regions, arrived.regions = arrived.regions, []
            forget, arrived.forget = arrived.forget, False
            hart.has_arrived = False
        if forget:
            self._machine.processor.functions["forget_all_blocks"](hart.address)
            self._free()
        for region, asked in regions:
            begun = self._place(hart, region, asked.page)
            if begun is None:
                self._count_again(hart, asked.stretch)  # another address space, perhaps: as soon as the code goes on it is looked at
            elif begun:
                self._cool(asked.stretch)

    def _free(self) -> None:
        """Give back the code that was dropped, if every hart has forgotten where it was."""
        with self._lock:
            if any(hart.running and self._arrived[hart.number].forget for hart in self._machine.harts):
                return  # one that does not run comes to `place` before it does
            gone, self._dropped = self._dropped, []
        self.shelf.freed(gone)

    def _place_known(self, hart: Hart, page: int, stamp: int) -> bool:
        """Place the regions known to lie on a page of this content; whether that changed anything."""
        read = self.shelf.read(stamp, partial(self._mapped, hart, page))
        if read:
            self.statistics.loaded += read
            self.statistics.code_bytes = self.shelf.code_bytes
            self._make_room()
        begun, taken = 0, set[tuple[int, int]]()
        for region, delta in self.shelf.near(stamp):
            numbers = self._decoded.stamped(hart, region.stamps, page - delta * PAGE_SIZE)
            if numbers and self.shelf.meets(region):
                free = [place for place in _records(region.entries, numbers) if place[:2] not in taken]
                taken.update(place[:2] for place in free)
                begun += self._begin(hart, region, free)
        return begun > 0

    def _mapped(self, hart: Hart, page: int, entry: Entry, at: int) -> dict[int, bytes] | None:
        """The contents of an entry's pages, the one `at` this distance at `page`; None if they are not all decoded."""
        contents: dict[int, bytes] = {}
        for known in entry.pages:
            number = self._decoded.find(hart, page + (known.delta - at) * PAGE_SIZE)
            if not number:
                return None
            contents[known.delta] = self._decoded.content(hart, number)
        return contents

    def _place(self, hart: Hart, region: Placed, page: int) -> int | None:
        """Place a region, page 0 at `page`: at how many places it was not yet; None if the code there is not what it was compiled from."""
        numbers = self._decoded.stamped(hart, region.stamps, page)
        if not numbers:
            return None
        return self._begin(hart, region, _records(self.shelf.begins(region), numbers))

    def _begin(self, hart: Hart, region: Placed, places: list[tuple[int, int, int]]) -> int:
        """Put a region where records of (block, offset, distance of the page) are; at how many it was not there yet."""
        if self.checks is not None:
            begun = sum(self.checks.begin(hart, region, *place) for place in places)
        else:
            words = array("Q", [number * RECORDS + (offset >> 1) for number, offset, _ in places])
            begin = self._machine.processor.functions["begin_region"]
            begun = int(begin(hart.address, words.buffer_info()[0], len(words), region.address))
        self.statistics.placed += begun
        return begun


def _records(places: Iterable[int], numbers: dict[int, int]) -> list[tuple[int, int, int]]:
    """Where places of a region lie whose pages have these blocks: (block, offset, distance of the page)."""
    return [(numbers[place // PAGE_SIZE], place % PAGE_SIZE, place // PAGE_SIZE) for place in places]


def _call(hart: Hart) -> None:
    """Have a hart's thread come to `place`."""
    hart.has_arrived = True
    hart.nudge()


def _checks(machine: SoftMachine) -> Checks:
    from gasang.accel.soft.jit.check import Checks  # a machine that is not checked has no time for it

    return Checks(machine)
