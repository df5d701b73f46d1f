"""The software machine: harts that share RAM, each on a host thread of its own without the GIL.

It knows the processor and memory; devices are behind `bus`, firmware calls behind `firmware`.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from gasang.accel.soft.clock import GuestClock, first_moment, moment
from gasang.accel.soft.hart import Hart
from gasang.accel.soft.memory import GuestRam
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.library import Processor, load
from gasang.cpus.riscv64.state import MAX_HARTS, RESERVATION_SLOTS, Shared
from gasang.host.memory import LazyMemory
from gasang.native.types import instance


class Bus(Protocol):
    """The physical address space outside RAM. Raises BusError where nothing answers."""

    def read(self, address: int, width: int) -> int:
        """What the guest reads."""
        ...

    def write(self, address: int, width: int, value: int) -> None:
        """Take what the guest stores."""
        ...


class SoftMachine:
    """Harts and RAM. `bus` and `firmware` (which answers environment calls) are set before `start`."""

    def __init__(self, ram_base: int, ram_size: int, harts: int) -> None:
        assert 1 <= harts <= MAX_HARTS
        self.processor: Processor = load()
        self.ram = GuestRam(ram_base, ram_size)
        self.hart_count = harts
        self.shared = instance(Shared)
        self._page_flags = LazyMemory(max(4096, ram_size >> 12), "gasang-page-flags")
        self._reservations = (ctypes.c_uint32 * RESERVATION_SLOTS)()
        shared = self.shared
        shared.ram, shared.ram_base, shared.ram_size = self.ram.memory.address, ram_base, ram_size
        shared.page_flags = self._page_flags.address
        shared.reservation_counts = ctypes.addressof(self._reservations)
        shared.hart_count = harts
        self.bus: Bus
        self.firmware: Callable[[Hart], None]
        self.harts = [Hart(self, number) for number in range(harts)]
        for hart in self.harts:
            shared.harts[hart.number] = hart.address
        self.clock = self._make_clock()
        self.ram.on_change(self._ram_changed)
        self.stopping = threading.Event()
        self.answered = threading.Condition()
        self.failure: BaseException | None = None

    def _make_clock(self) -> GuestClock:
        ticks, steer, address = self.processor.functions["host_ticks"], self.processor.functions["steer_clock"], self.harts[0].address
        return GuestClock(self.shared, lambda scale, step: steer(address, scale, step), lambda: moment(ticks), first_moment())

    def _ram_changed(self, first: int, last: int) -> None:
        self.processor.functions["host_wrote"](self.harts[0].address, first, last)

    def start(self, pc: int, a1: int) -> None:
        """Let hart 0 begin at `pc` with its number in a0 and `a1`; the others wait for the guest to start them."""
        for hart in self.harts:
            hart.thread = threading.Thread(target=self._live, args=(hart,), name=f"hart {hart.number}", daemon=True)
        self.clock.begin(self.stopping)
        self.harts[0].begin(pc, 0, a1)
        for hart in self.harts:
            assert hart.thread is not None
            hart.thread.start()

    def _live(self, hart: Hart) -> None:
        try:
            while not self.stopping.is_set():
                self._turn(hart)
        except BaseException as error:  # the thread's only handler: whatever it is ends the machine and is told by `join`
            self.failure = error
            self.stop()

    def _turn(self, hart: Hart) -> None:
        if not hart.running:
            hart.wakeup.wait()
            hart.wakeup.clear()
            hart.answer_requests()
            return
        after = _AFTER.get(hart.step())
        if after is not None:
            after(self, hart)

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
        for hart in self.harts:
            hart.request(exits.REQUEST_STOP)

    def join(self) -> None:
        """Wait until every hart's thread has ended. Raises what ended a hart by accident."""
        for hart in self.harts:
            if hart.thread is not None:
                hart.thread.join()
        self.clock.join()
        if self.failure is not None:
            raise self.failure

    @property
    def instructions(self) -> int:
        """Instructions retired by all harts; exact once they are stopped."""
        return sum(hart.instructions for hart in self.harts)

    def close(self) -> None:
        """Give the memory back; the harts have ended."""
        self.clock.join()
        for hart in self.harts:
            hart.close()
        self._page_flags.close()
        self.ram.close()


_AFTER: Mapping[int, Callable[[SoftMachine, Hart], None]] = {
    exits.SBI: lambda machine, hart: machine.firmware(hart),
    exits.WAIT: lambda machine, hart: hart.wait(),
    exits.STOPPED: lambda machine, hart: hart.answer(),
    exits.LOST: lambda machine, hart: hart.judge(),
}
"""What follows when a hart leaves its run loop; for the other reasons it just goes on."""
