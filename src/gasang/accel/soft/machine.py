"""The software machine: harts that share RAM, each on a host thread of its own.

It knows the processor and memory; devices are behind `bus`, firmware calls behind `firmware`.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from gasang.accel.soft.memory import GuestRam
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.clock import TIMEBASE
from gasang.cpus.riscv64.code import Block
from gasang.cpus.riscv64.library import Processor, load
from gasang.cpus.riscv64.state import MAX_HARTS, RESERVATION_SLOTS, SUPERVISOR, Cpu, Shared
from gasang.cpus.riscv64.trap import SEIP
from gasang.host.memory import LazyMemory

UNLIMITED = 1 << 62
BLOCKS = 1024
"""Code pages a hart keeps decoded (32 KiB each): beyond that all are forgotten and decoded anew."""
_SIZE_MASK = (1 << 64) - 1


class BusFault(Exception):  # noqa: N818
    """No device answers at the address."""


class Bus(Protocol):
    """The physical address space outside RAM. Raises BusFault where nothing answers."""

    def read(self, address: int, width: int) -> int:
        """What the guest reads."""
        ...

    def write(self, address: int, width: int, value: int) -> None:
        """Take what the guest stores."""
        ...


class Clock:
    """Guest time for the harts: the host's constant-rate counter scaled to 10 MHz, tied to the host's monotonic clock."""

    def __init__(self, shared: Any, ticks: Callable[[], int]) -> None:
        self._shared = shared
        self._ticks = ticks
        self._first = (self._ticks(), time.monotonic_ns())
        frequency = _tick_frequency(ticks)
        shared.clock_ticks, shared.clock_time = self._first[0], 0
        shared.clock_scale = int(TIMEBASE * 2**32 / frequency)


_frequency: list[float] = []


def _tick_frequency(ticks: Callable[[], int]) -> float:
    """Ticks a second, measured once a process over 20 ms."""
    if not _frequency:
        first, begin = ticks(), time.perf_counter_ns()
        deadline = begin + 20_000_000
        while time.perf_counter_ns() < deadline:
            pass
        last, end = ticks(), time.perf_counter_ns()
        _frequency.append((last - first) * 1e9 / (end - begin))
    return _frequency[0]


class Hart:
    """One vCPU: its native state, its decoded code, and its thread."""

    def __init__(self, machine: SoftMachine, number: int) -> None:
        self.machine = machine
        self.number = number
        self.cpu = Cpu.ctype()
        self.address = ctypes.addressof(self.cpu)
        self.started = threading.Event()
        self.wakeup = threading.Event()
        self.thread: threading.Thread | None = None
        functions = machine.processor.functions
        self._run, self._post, self._retract = functions["run"], functions["post"], functions["retract"]
        self._ask, self._pending, self._time = functions["ask"], functions["pending"], functions["time_of"]
        self._prepare(number)

    def _prepare(self, number: int) -> None:
        cpu, machine = self.cpu, self.machine
        self._blocks = LazyMemory(BLOCKS * Block.size, "gasang-decoded")
        self._code_map = LazyMemory(max(4096, (machine.ram.size >> 12) * 4), "gasang-code-map")
        cpu.hart = number
        cpu.multi = int(machine.hart_count > 1)
        cpu.shared = ctypes.addressof(machine.shared)
        cpu.code_map, cpu.blocks, cpu.block_count = self._code_map.address, self._blocks.address, BLOCKS
        cpu.decode_tables = ctypes.addressof(machine.processor.decoder.pointer)
        cpu.dispatch = ctypes.addressof(machine.processor.dispatch)
        cpu.stimecmp = _SIZE_MASK
        cpu.privilege = SUPERVISOR
        cpu.remaining = UNLIMITED
        machine.processor.functions["wipe_tlb"](self.address)
        machine.processor.functions["enter_context"](self.address)

    def reset(self, pc: int, a0: int, a1: int) -> None:
        """The state in which SBI starts a hart (SBI 2.0, chapter 9): S-mode, paging off, interrupts off."""
        cpu = self.cpu
        cpu.pc, cpu.privilege, cpu.satp, cpu.status, cpu.sie = pc, SUPERVISOR, 0, 0, 0
        cpu.exit = exits.NONE
        cpu.mmio_state = exits.MMIO_IDLE
        cpu.reservation_live = 0
        cpu.x[10], cpu.x[11] = a0, a1
        self.machine.processor.functions["enter_context"](self.address)

    @property
    def instructions(self) -> int:
        """Instructions retired; exact while the hart is stopped."""
        return int(self.machine.processor.functions["instructions"](self.address))

    def interrupt(self, bits: int, level: bool) -> None:
        """Set or clear bits of sip, waking the hart if it waits."""
        if level:
            self._post(self.address, bits)
            self.wakeup.set()
        else:
            self._retract(self.address, bits)

    def external_interrupt(self, level: bool) -> None:
        """The interrupt controller's line (core.protocols.Interrupt)."""
        self.interrupt(SEIP, level)

    def request(self, bits: int) -> None:
        """Ask the hart for something at its next poll."""
        self._ask(self.address, bits)
        self.wakeup.set()

    def wait(self) -> None:
        """Sleep until an interrupt, a request, or the timer."""
        self.wakeup.clear()
        if self._pending(self.address):
            return
        left = self.cpu.stimecmp - self._time(self.address)
        self.wakeup.wait(None if left > 3600 * TIMEBASE else max(left, 0) / TIMEBASE)

    def step(self) -> int:
        """Run until the processor needs something; do it where that is a device access. The reason (exits.py)."""
        cpu = self.cpu
        self._run(self.address)
        reason = int(cpu.exit)
        if reason in (exits.MMIO_READ, exits.MMIO_WRITE):
            self._device_access(reason)
        return reason

    def _device_access(self, reason: int) -> None:
        cpu = self.cpu
        size = int(cpu.mmio_size)
        try:
            if reason == exits.MMIO_READ:
                cpu.mmio_value = self.machine.bus.read(int(cpu.mmio_address), size) & ((1 << (8 * size)) - 1)
            else:
                self.machine.bus.write(int(cpu.mmio_address), size, int(cpu.mmio_value) & ((1 << (8 * size)) - 1))
            cpu.mmio_state = exits.MMIO_DONE
        except BusFault:
            cpu.mmio_state = exits.MMIO_FAULT


class SoftMachine:
    """Harts, RAM and the way out. `firmware(hart)` answers environment calls."""

    def __init__(self, ram_base: int, ram_size: int, harts: int) -> None:
        assert 1 <= harts <= MAX_HARTS
        self.processor: Processor = load()
        self.ram = GuestRam(ram_base, ram_size)
        self.hart_count = harts
        self.shared = Shared.ctype()
        self._page_flags = LazyMemory(max(4096, ram_size >> 12), "gasang-page-flags")
        self._reservations = (ctypes.c_uint32 * RESERVATION_SLOTS)()
        shared = self.shared
        shared.ram, shared.ram_base, shared.ram_size = self.ram.memory.address, ram_base, ram_size
        shared.page_flags = self._page_flags.address
        shared.reservation_counts = ctypes.addressof(self._reservations)
        shared.hart_count = harts
        self.bus: Bus
        self.harts = [Hart(self, number) for number in range(harts)]
        for hart in self.harts:
            shared.harts[hart.number] = hart.address
        self.clock = Clock(shared, self._ticks)
        self.ram.on_change(self._ram_changed)

    def _ticks(self) -> int:
        return int(self.processor.functions["host_ticks"]())

    def _ram_changed(self, first: int, last: int) -> None:
        self.processor.functions["host_wrote"](self.harts[0].address, first, last)


