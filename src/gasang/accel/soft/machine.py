"""The software machine: harts that share RAM, each on a host thread of its own without the GIL.

It knows the processor and memory; devices are behind `bus`, firmware calls behind `firmware`.

`pause` has every hart stop between two instructions (accel/soft/gate.py) and guest time stand still: `save` then gives all that is not
memory as plain data, and a fork(2) of the process has the whole machine.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gasang.accel.soft.clock import GuestClock, first_moment, moment
from gasang.accel.soft.gate import Gate
from gasang.accel.soft.gathering import Gathering
from gasang.accel.soft.hart import Hart
from gasang.accel.soft.line import SerialShortcut
from gasang.accel.soft.memory import GuestRam
from gasang.core.errors import BadInputError, StateError, TimedOutError
from gasang.core.protocols import State
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.library import Processor, load
from gasang.cpus.riscv64.state import MAX_HARTS, RESERVATION_SLOTS, Shared
from gasang.host.memory import LazyMemory
from gasang.native.types import instance

if TYPE_CHECKING:
    from gasang.accel.soft.jit.regions import Regions
    from gasang.accel.soft.jit.service import Launch
    from gasang.accel.soft.jit.store import RegionStore

VERSION = 1
OFF, ON, CHECK = "off", "on", "check"
JIT = (OFF, ON, CHECK)
"""Whether hot code is compiled; checked, everything it does is repeated by the interpreter."""
PATIENCE = 10.0
"""Seconds a pause waits for the harts: a device may be in the middle of something."""


class Bus(Protocol):
    """The physical address space outside RAM. Raises BusError where nothing answers."""

    def read(self, address: int, width: int) -> int:
        """What the guest reads."""
        ...

    def write(self, address: int, width: int, value: int) -> None:
        """Take what the guest stores."""
        ...


class SoftMachine:
    """Harts and RAM. `bus` and `firmware` (which answers environment calls) are set before `start`.

    `settle` is called, without the bus lock, when bytes wait in the serial line's shortcut, which is connected by whoever has such a line.

    `compiler` starts the process that compiles hot code, where that is not just any process. `code_cache` is a folder where compiled code
    outlives the machine, for compilers that reach it; for others what was found there.
    """

    def __init__(
        self,
        ram_base: int,
        ram_size: int,
        harts: int,
        jit: str = OFF,
        compiler: Launch | None = None,
        code_cache: Path | RegionStore | None = None,
    ) -> None:
        assert 1 <= harts <= MAX_HARTS
        self.processor: Processor = load()
        self.ram = GuestRam(ram_base, ram_size)
        self.hart_count = harts
        self.stitches = jit == ON
        """Whether what its harts execute often is stitched: not where compiled code is compared with the interpreter."""
        self.shared = instance(Shared)
        self._page_flags = LazyMemory(max(4096, ram_size >> 12), "gasang-page-flags")
        self.reservations = (ctypes.c_uint32 * RESERVATION_SLOTS)()
        shared = self.shared
        shared.ram, shared.ram_base, shared.ram_size = self.ram.memory.address, ram_base, ram_size
        shared.page_flags = self._page_flags.address
        shared.reservation_counts = ctypes.addressof(self.reservations)
        shared.hart_count = harts
        self.bus: Bus
        self.firmware: Callable[[Hart], None]
        self.harts = [Hart(self, number) for number in range(harts)]
        for hart in self.harts:
            shared.harts[hart.number] = hart.address
        self.serial = SerialShortcut(self)
        self.settle: Callable[[], None] = lambda: None
        self.warn: Callable[[str], None] = lambda sentence: None
        """Hears what goes wrong without ending the machine."""
        self.clock = self._make_clock()
        self._gathering = Gathering(self.ram.memory)
        self.ram.on_change(self._ram_changed)
        self.stopping = threading.Event()
        self.answered = threading.Condition()
        self.gate = Gate(harts)
        self.failure: BaseException | None = None
        self._time = 0
        self.regions = self._make_regions(compiler, code_cache, checked=jit == CHECK) if jit != OFF else None

    def _make_regions(self, compiler: Launch | None, code_cache: Path | RegionStore | None, *, checked: bool) -> Regions:
        from gasang.accel.soft.jit.assembly import make_regions  # a start without has no time for it

        regions = make_regions(self, compiler, code_cache, checked=checked)
        regions.start()
        return regions

    def _make_clock(self) -> GuestClock:
        ticks, steer, address = self.processor.functions["host_ticks"], self.processor.functions["steer_clock"], self.harts[0].address
        return GuestClock(self.shared, lambda scale, step: steer(address, scale, step), lambda: moment(ticks), first_moment())

    def _ram_changed(self, first: int, last: int) -> None:
        self.processor.functions["host_wrote"](self.harts[0].address, first, last)

    def start(self, pc: int, a1: int) -> None:
        """Let hart 0 begin at `pc` with its number in a0 and `a1`; the others wait for the guest to start them."""
        self.clock.begin(self.stopping)
        self._gathering.begin(self.stopping)
        self.harts[0].begin(pc, 0, a1)
        self._begin_threads()

    def go_on(self) -> None:
        """Let a machine that was loaded go on where it was saved."""
        self.clock.begin(self.stopping, self._time)
        self._begin_threads()

    def stand(self) -> None:
        """Be as one that went on where it was saved and was paused before its first instruction: for being forked."""
        self.gate.close()
        self.go_on()
        self.gate.wait_for_all(self.stopping, PATIENCE)
        self._time = self.clock.hold()

    def _begin_threads(self) -> None:
        for hart in self.harts:
            hart.thread = threading.Thread(target=self._live, args=(hart,), name=f"hart {hart.number}", daemon=True)
        for hart in self.harts:
            assert hart.thread is not None
            hart.thread.start()

    @property
    def is_begun(self) -> bool:
        """Whether it has been started."""
        return self.harts[0].thread is not None

    @property
    def paused(self) -> bool:
        """Whether the harts stand still, or are to."""
        return self.gate.closed

    def pause(self, patience: float = PATIENCE) -> None:
        """Return when every hart stands between two instructions and guest time stands still; from any thread but a hart's own.

        The bus lock is not held. Raises StateError for a machine that has ended or not begun, is paused already, or where a hart asks;
        TimedOutError if a hart does not stop within `patience` seconds: all go on then.
        """
        if self.stopping.is_set() or not self.is_begun:
            raise StateError("machine", "it does not run", "start it first")
        if any(hart.thread is threading.current_thread() for hart in self.harts):
            raise StateError("machine", "it cannot be paused by one of its own processors", "ask from another thread")
        self.gate.close()
        for hart in self.harts:
            hart.request(exits.REQUEST_STOP)
        everybody = self.gate.wait_for_all(self.stopping, patience)
        if self.stopping.is_set():
            self._open()
            raise StateError("machine", "it has ended", "start it first")
        if not everybody:
            self._open()
            raise TimedOutError("machine", f"a processor did not stop within {patience:g} s", "see whether its console is read")
        self._time = self.clock.hold()

    def resume(self) -> None:
        """Let a paused machine go on. Raises StateError for one that is not paused."""
        if not self.gate.closed:
            raise StateError("machine", "it is not paused", "pause it first")
        self.clock.go_on()
        self._open()

    def _open(self) -> None:
        self.gate.open()
        for hart in self.harts:
            hart.wakeup.set()

    def _live(self, hart: Hart) -> None:
        try:
            while not self.stopping.is_set():
                if self.gate.closed:
                    self._stand_still(hart)
                else:
                    self._turn(hart)
        except BaseException as error:  # the thread's only handler: whatever it is ends the machine and is told by `join`
            self.failure = error
            self.stop()
        finally:
            self._settle()

    def _stand_still(self, hart: Hart) -> None:
        """At the gate: first the instruction that is half done, then nothing but answers to other harts' requests."""
        while hart.cpu.mmio_state != exits.MMIO_IDLE:
            hart.last_one()
            self._turn(hart)
        hart.answer_requests()
        with self.gate.standing():
            while self.gate.closed and not self.stopping.is_set():
                hart.wakeup.wait()
                hart.wakeup.clear()
                hart.answer_requests()

    def _turn(self, hart: Hart) -> None:
        if not hart.running:
            hart.wakeup.wait()
            hart.wakeup.clear()
            hart.answer_requests()
            return
        if hart.has_arrived and self.regions is not None:
            self.regions.place(hart)
        after = _AFTER.get(hart.step())
        if after is not None:
            after(self, hart)

    def _settle(self) -> None:
        if self.serial.has_some:
            self.settle()

    def answer(self, hart: Hart) -> None:
        """A hart was asked to leave its run loop, by somebody or for what it has sent."""
        self._settle()
        hart.answer()

    def call_firmware(self, hart: Hart) -> None:
        """The guest asks its firmware, which may write to the same line."""
        self._settle()
        self.firmware(hart)

    def look_at_hot(self, hart: Hart) -> None:
        """A hart has found hot code."""
        if self.regions is not None:
            self.regions.look(hart)

    def tell_difference(self, hart: Hart) -> None:
        """A compiled region did not do what the interpreter does. Raises RegionDifferenceError."""
        from gasang.accel.soft.jit.difference import difference_of

        assert self.regions is not None
        raise difference_of(self.regions, hart)

    def ask_all(self, harts: list[Hart], request: int, caller: Hart) -> None:
        """Have other harts do something and return when all have; the caller goes on serving what they ask of it meanwhile."""
        others = [hart for hart in harts if hart is not caller]
        tickets = [(hart, hart.ask_answer(request)) for hart in others]
        with self.answered:
            while not self.stopping.is_set() and any(hart.answers < ticket for hart, ticket in tickets):
                caller.answer_requests()
                self.answered.wait(timeout=0.001)

    def stop(self) -> None:
        """End all harts; may be called from a hart's own thread."""
        self.stopping.set()
        self.gate.tell()
        for hart in self.harts:
            hart.request(exits.REQUEST_STOP)

    def save(self) -> State:
        """The harts and the time of a machine that is paused."""
        from gasang.accel.soft.state import save_hart  # knows the CSRs: a start has no time for it

        if not self.gate.closed:
            raise StateError("machine", "its state changes while it runs", "pause it first")
        return {"version": VERSION, "time": self._time, "harts": [save_hart(hart) for hart in self.harts]}

    def load(self, state: State) -> None:
        """Become the saved machine, which `go_on` lets go on; memory is restored already. Raises BadInputError for no machine's state."""
        from gasang.accel.soft.state import load_hart

        subject = "saved state of the processors"
        if state.get("version") != VERSION:
            cause = f"its version is {state.get('version')!r}, this build knows {VERSION}"
            raise BadInputError(subject, cause, "restore it with the gasang that saved it")
        harts, time = state.get("harts"), state.get("time")
        if not isinstance(harts, list) or len(harts) != self.hart_count or not all(isinstance(hart, dict) for hart in harts):
            raise BadInputError(subject, f"it is not of a machine with {self.hart_count} processors", "restore it to one of the same shape")
        if type(time) is not int or not 0 <= time < 1 << 63:
            raise BadInputError(subject, f"its time {time!r} makes no sense", "make the snapshot again")
        self._time = time
        for hart, saved in zip(self.harts, harts, strict=True):
            load_hart(hart, saved)

    def make_private(self) -> None:
        """Have a fork of this process copy the machine's memory when it is written. The bus lock is held; the harts may run.

        A store of theirs goes to the memory as it was or as it is then, which begins with the content of the former: the host puts the
        one in the other's place at once (mmap(2), MAP_FIXED). Only `LazyMemory.write` must not be under way: who calls it has the lock.

        Raises UnsupportedError or OutOfSpaceError where the host cannot.
        """
        for memory in (self.ram.memory, self._page_flags):
            memory.make_private()
        for hart in self.harts:
            hart.make_private()

    def revive(self) -> None:
        """In a forked process: the machine paused before the fork goes on here too, its harts on new threads."""
        self.stopping = threading.Event()
        self.answered = threading.Condition()
        self.gate = Gate(self.hart_count)
        for hart in self.harts:
            hart.renew()
        self._gathering = Gathering(self.ram.memory)
        if self.regions is not None:
            self.regions.forget_parent()
        self.clock.keep_again(self.stopping)
        self._begin_threads()

    def wait(self) -> None:
        """Return when no hart's thread runs any more, whatever ended them; `stop` was called."""
        for hart in self.harts:
            if hart.thread is not None and hart.thread.ident is not None:
                hart.thread.join()

    def join(self) -> None:
        """Wait until every hart's thread has ended. Raises what ended a hart by accident."""
        for hart in self.harts:
            if hart.thread is not None:
                hart.thread.join()
        self.clock.join()
        self._gathering.join()
        if self.failure is not None:
            raise self.failure

    @property
    def instructions(self) -> int:
        """Instructions retired by all harts; exact once they are stopped."""
        return sum(hart.instructions for hart in self.harts)

    def close(self) -> None:
        """Give the memory back; the harts have ended."""
        self.clock.join()
        self._gathering.join()
        for hart in self.harts:
            hart.close()
        self._page_flags.close()
        giving = threading.Thread(target=self.ram.close, name="giving back")  # which the host takes page by page
        giving.start()
        try:
            if self.regions is not None:
                self.regions.close()
        finally:
            giving.join()


_AFTER: Mapping[int, Callable[[SoftMachine, Hart], None]] = {
    exits.SBI: lambda machine, hart: machine.call_firmware(hart),
    exits.WAIT: lambda machine, hart: hart.wait(),
    exits.STOPPED: lambda machine, hart: machine.answer(hart),
    exits.LOST: lambda machine, hart: hart.judge(),
    exits.HOT: lambda machine, hart: machine.look_at_hot(hart),
    exits.DIFFERENCE: lambda machine, hart: machine.tell_difference(hart),
}
"""What follows when a hart leaves its run loop; for the other reasons it just goes on."""
