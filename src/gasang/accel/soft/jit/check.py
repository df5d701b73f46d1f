"""`--jit check`: the native check's memory (cpus/riscv64/check.py), and what harts and devices keep to while it is on.

The harts execute one at a time: a check compares what one of them does with what it does again, and another's stores would be a difference.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from gasang.accel.soft.jit.report import RegionReport
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.block import Block
from gasang.cpus.riscv64.check_state import MOST_COPIES, REGION_PAGES, Check, CheckedRegion, CheckGate, CheckPlace
from gasang.cpus.riscv64.state import PAGE_SIZE, Cpu
from gasang.native.library import Library, Parts, load_library
from gasang.native.types import instance, size_of

if TYPE_CHECKING:
    from gasang.accel.soft.hart import Hart
    from gasang.accel.soft.jit.shelf import Placed
    from gasang.accel.soft.machine import SoftMachine

PLACES = 1 << 16
"""Records that a region can stand at, a power of two; half are used at most."""
SLICE = 0.005
"""Seconds a hart executes while another waits."""
REASONS = ("elsewhere", "far", "poll", "load", "store", "atomic", "float", "system", "passed")
"""Why runs of regions end: the reasons of check_shadow.py by number."""


def _make() -> Parts:
    from gasang.cpus.riscv64.check_parts import make_parts

    return make_parts()


@cache
def load_checks() -> Library:
    """The compiled check; the first call ever compiles it."""
    here = os.path.dirname(exits.__file__)
    return load_library("riscv64-check", [here, os.path.dirname(here)], _make)


class Turn:
    """One hart executes at a time, in the order in which they ask."""

    def __init__(self, nudge: Callable[[Hart], None]) -> None:
        self._nudge = nudge
        self._changed = threading.Condition()
        self._asked: deque[Hart] = deque()

    def take(self, hart: Hart) -> None:
        """Return when it is `hart`'s turn; who has it longer than SLICE is nudged."""
        with self._changed:
            self._asked.append(hart)
            while self._asked[0] is not hart:
                if not self._changed.wait_for(lambda: self._asked[0] is hart, SLICE):
                    self._nudge(self._asked[0])

    def give(self) -> None:
        """The turn is the next one's."""
        with self._changed:
            self._asked.popleft()
            self._changed.notify_all()


class HartCheck:
    """The check of one hart: its memory, which a fork of the process has a copy of."""

    def __init__(self, machine: SoftMachine, hart: Hart, gate: Any, helpers: Any) -> None:
        library = load_checks()
        self.state = instance(Check)
        self.shadow = instance(Cpu)
        self._places = ctypes.create_string_buffer(PLACES * size_of(CheckPlace))
        self._blocks = ctypes.create_string_buffer(REGION_PAGES * size_of(Block))
        self._copies = ctypes.create_string_buffer(2 * MOST_COPIES * PAGE_SIZE)
        caught = library.tables["caught"][0]
        self._dispatch = (ctypes.c_uint64 * len(machine.processor.dispatch))(*[caught] * len(machine.processor.dispatch))
        check, shadow = self.state, self.shadow
        check.cpu, check.shadow, check.gate = hart.address, ctypes.addressof(shadow), ctypes.addressof(gate)
        check.blocks, check.places, check.place_mask = ctypes.addressof(self._blocks), ctypes.addressof(self._places), PLACES - 1
        for index in range(MOST_COPIES):
            check.copy[index].content = ctypes.addressof(self._copies) + 2 * index * PAGE_SIZE
            check.copy[index].before = check.copy[index].content + PAGE_SIZE
        shadow.check = self.address = ctypes.addressof(check)
        shadow.shared, shadow.multi = hart.cpu.shared, hart.cpu.multi
        shadow.dispatch, shadow.helpers = ctypes.addressof(self._dispatch), ctypes.addressof(helpers)
        library.functions["prepare_shadow"](self.address, caught)
        machine.processor.functions["wipe_tlb"](hart.address)
        machine.processor.functions["enter_context"](hart.address)
        hart.cpu.check = self.address


class Checks:
    """The checks of one machine's harts, made before it begins."""

    def __init__(self, machine: SoftMachine) -> None:
        functions = load_checks().functions
        self._begin = functions["begin_checked"]
        self._gate = instance(CheckGate)
        self._helpers = (ctypes.c_uint64 * len(load_checks().tables["helpers"]))(*load_checks().tables["helpers"])
        self._turn = Turn(lambda hart: hart.nudge())
        self.regions: list[Placed] = []
        """Those that were placed, by number."""
        self._described: dict[int, Any] = {}
        self.harts = {hart.number: HartCheck(machine, hart, self._gate, self._helpers) for hart in machine.harts}
        for hart in machine.harts:
            hart.run_in_turn(self._turn)
        machine.ram.guard_writes(lambda: functions["begin_write"](self.gate), lambda: functions["end_write"](self.gate))

    @property
    def gate(self) -> int:
        """Where devices wait."""
        return ctypes.addressof(self._gate)

    def begin(self, hart: Hart, region: Placed, number: int, offset: int, delta: int) -> int:
        """Have a region begin, checked, where a record is; whether it did not yet. `delta` is the distance of its page."""
        if len(region.stamps) > REGION_PAGES:
            return 0
        described = self._described.get(id(region)) or self._describe(region)
        return int(self._begin(hart.address, number, offset >> 1, ctypes.addressof(described), delta & (1 << 64) - 1))

    def _describe(self, region: Placed) -> Any:
        described = instance(CheckedRegion)
        described.address, described.number, described.pages = region.address, len(self.regions), len(region.stamps)
        for index, (delta, stamp) in enumerate(region.stamps.items()):
            described.deltas[index], described.stamps[index] = delta & (1 << 64) - 1, stamp
        self.regions.append(region)  # and so its id stays its own
        self._described[id(region)] = described
        return described

    def figures(self) -> list[RegionReport]:
        """What became of each region."""
        return [
            RegionReport(
                number,
                int(found.at),
                region.steps,
                int(found.entered),
                int(found.executed),
                dict(zip(REASONS, map(int, found.exits), strict=False)),
            )
            for number, region in enumerate(list(self.regions))
            for found in (self._described[id(region)],)
        ]

    def number_of(self, description: int) -> int:
        """The number of the region that the native check knows by the address of its description."""
        return next(int(found.number) for found in self._described.values() if ctypes.addressof(found) == description)
