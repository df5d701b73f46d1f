"""A riscv64 virtual machine: the software machine, the virt board, firmware, and a loaded kernel or a saved state.

It is `Pausable`, `Snapshottable` and `Forkable` (core.protocols).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gasang.accel.soft.machine import SoftMachine
from gasang.core.errors import BadInputError, StateError, UsageError
from gasang.core.protocols import CharacterSink, State
from gasang.devices.state import check_version
from gasang.devices.syscon import PowerRequest
from gasang.devices.virtio.device import Renewable, VirtioDevice
from gasang.devices.worker import Worker
from gasang.kinds.vm.board import RAM_BASE, BoardConfig, VirtBoard, Wires
from gasang.kinds.vm.loader import Kernel
from gasang.kinds.vm.sbi import Sbi

if TYPE_CHECKING:  # a start has no time for what few machines need
    from gasang.devices.virtio.block import VirtioBlock
    from gasang.kinds.vm.snapshot.fork import Twin
    from gasang.kinds.vm.snapshot.identity import Identity
    from gasang.kinds.vm.snapshot.snapshot import Snapshot

EXTENSIONS = (
    "i", "m", "a", "f", "d", "c", "zicsr", "zifencei", "zicntr", "zba", "zbb", "zbs", "zicbom", "zicboz", "sstc",
)  # fmt: skip
"""What cpus/riscv64 has, as the device tree announces it."""

DEVICE_TREE_SPACE = 2 << 20
PAGE = 4096


@dataclass
class Parts:
    """What a machine is put together from. Without a kernel it is started by loading a state. `workers` do the devices' slow work."""

    cpus: int
    memory: int
    kernel: Kernel | None
    initrd: bytes
    append: str
    serial: CharacterSink
    virtio: Sequence[VirtioDevice] = field(default_factory=tuple)
    warn: Callable[[str], None] = field(default=lambda sentence: None)
    """Hears what goes wrong in the machine without ending it: a sentence each, from any thread."""
    workers: Sequence[Worker] = field(default_factory=tuple)


class VirtualMachine:
    """Started once, ended once, then closed: use it as a context manager. `power` holds the guest's last power request."""

    def __init__(self, parts: Parts) -> None:
        self.machine = SoftMachine(RAM_BASE, parts.memory, parts.cpus)
        self.power: PowerRequest | None = None
        self.ended = threading.Event()
        self.last_snapshot: Snapshot | None = None
        """What the next snapshot shares its unchanged parts with."""
        self.is_restored = False
        self._begin: Callable[[], None] = self._boot
        self._workers = tuple(parts.workers)
        self._beside: list[threading.Thread] = []
        self._still = threading.RLock()
        """Held by who needs the machine to stand still for a while, so that nobody lets it go on meanwhile."""
        self._closed = False
        try:
            self._entry, self._tree = self._assemble(parts)
        except BaseException:
            self.machine.close()
            raise

    def _assemble(self, parts: Parts) -> tuple[int, int]:
        """Connect board and firmware, and place the kernel. (entry, address of the device tree)."""
        machine = self.machine
        interrupts = [hart.external_interrupt for hart in machine.harts]
        wires = Wires(interrupts, self._power_request, parts.serial, on_fault=self._device_failed)
        self._warn = parts.warn
        self.board = VirtBoard(BoardConfig(parts.cpus, parts.memory, EXTENSIONS), machine.ram, wires, parts.virtio)
        machine.bus = self.board.bus
        machine.firmware = Sbi(machine, parts.serial, self._typed, self._power_request)
        return self._place(parts, parts.kernel) if parts.kernel is not None else (0, 0)

    def _place(self, parts: Parts, kernel: Kernel) -> tuple[int, int]:
        """Kernel low, initrd and device tree at the top of memory. (entry, address of the device tree)."""
        ram = self.machine.ram
        top = RAM_BASE + parts.memory
        tree_address = (top - DEVICE_TREE_SPACE) & ~(DEVICE_TREE_SPACE - 1)
        initrd_address = (tree_address - len(parts.initrd)) & ~(PAGE - 1)
        lowest = min(piece.address for piece in kernel.pieces)
        if lowest < RAM_BASE or kernel.end > initrd_address:
            needed = (kernel.end - RAM_BASE + len(parts.initrd) + 2 * DEVICE_TREE_SPACE + (64 << 20)) >> 20
            raise UsageError(f"{parts.memory >> 20} MiB of memory", "kernel and initrd do not fit", f"give at least --memory {needed}M")
        for piece in kernel.pieces:
            ram.write(piece.address, piece.data)
        if parts.initrd:
            ram.write(initrd_address, parts.initrd)
        initrd = (initrd_address, initrd_address + len(parts.initrd)) if parts.initrd else None
        ram.write(tree_address, self.board.device_tree(parts.append, initrd, os.urandom(64)))
        return kernel.entry, tree_address

    def _typed(self, length: int) -> bytes:
        with self.board.bus.lock:
            return self.board.serial.take(length)

    def _device_failed(self, sentence: str) -> None:
        self._warn(f"{sentence}; it stands still until the guest resets it")

    def _power_request(self, request: PowerRequest) -> None:
        self.power = request
        self.machine.stop()
        self.ended.set()

    def start(self) -> None:
        """Begin execution, or go on where the machine was that this one is of."""
        self._begin()

    def _boot(self) -> None:
        self.machine.start(self._entry, self._tree)

    @property
    def paused(self) -> bool:
        """Whether it stands still, or is about to."""
        return self.machine.paused

    def pause(self) -> None:
        """Return when harts, guest time and the devices' workers stand still; from any thread but a hart's, without the bus lock.

        Raises StateError where its state does not allow that, TimedOutError where a processor or a device does not come to a stop.
        """
        with self._still:
            if self.ended.is_set():
                raise StateError("machine", "it has ended", "start another")
            self.machine.pause()
            for transport in self.board.virtio:
                transport.settle()
            for worker in self._workers:
                worker.hold()

    def resume(self) -> None:
        """Go on as if nothing had been, behind a snapshot or a fork under way. Raises StateError where it is not paused."""
        with self._still:
            for worker in self._workers:
                worker.release()
            self.machine.resume()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """The machine is paused in the block, one such block at a time, and goes on after it if it ran before. Raises as `pause` does."""
        with self._still:
            if self.paused and not self.ended.is_set():
                yield
                return
            self.pause()
            try:
                yield
            finally:
                self.resume()

    def disks(self) -> list[VirtioBlock]:
        """Its disks, in the order of its devices."""
        from gasang.devices.virtio.block import VirtioBlock

        return [transport.device for transport in self.board.virtio if isinstance(transport.device, VirtioBlock)]

    def save(self) -> State:
        """All of a paused machine but its memory and disks, as plain data. Raises StateError for one that runs."""
        return {"version": 1, "machine": self.machine.save(), "board": self.board.save()}

    def load(self, state: State) -> None:
        """Become the saved machine, memory being restored already; `start` lets it go on. Raises BadInputError for no such state."""
        check_version(state, "machine", 1)
        if not all(isinstance(state.get(name), dict) for name in ("machine", "board")):
            raise BadInputError("saved state of machine", "a part of it is missing", "make the snapshot again")
        self.machine.load(state["machine"])
        self.board.load(state["board"])
        self.is_restored = True
        self._begin = self.machine.go_on

    def become(self, identity: Identity) -> None:
        """Be another machine than the one this was made of: the guest's kernel hears of it and seeds its random numbers anew."""
        with self.board.bus.lock:
            self.board.generation.renew(identity.generation)

    def snapshot(self, store: Path, name: str) -> Snapshot:
        """Keep the present state as `name` in the folder `store`, and go on if it ran. Raises what `snapshot.take.take` raises."""
        from gasang.kinds.vm.snapshot.take import take

        return take(self, store, name)

    def fork(self, body: Callable[[VirtualMachine], int], identity: Identity | None = None) -> Twin:
        """A running twin in a process of its own, where `body` is called with it. Raises what `snapshot.fork.fork` raises."""
        from gasang.kinds.vm.snapshot.fork import fork

        return fork(self, body, identity)

    def revive(self, identity: Identity) -> None:
        """In a process forked while it stood still, the bus lock held: a machine of its own, which `start` lets go on."""
        self.ended = threading.Event()
        self._still = threading.RLock()
        self._beside = []
        for transport in self.board.virtio:
            if isinstance(transport.device, Renewable):
                transport.device.renew()
        self.board.rtc.renew()
        for worker in self._workers:
            worker.renew()
        self.become(identity)
        self._begin = self.machine.revive

    def beside(self, thread: threading.Thread) -> None:
        """Start a thread that ends soon after `ended` is set; closing waits for it."""
        self._beside.append(thread)
        thread.start()

    def stop(self) -> None:
        """End the machine from outside."""
        self.machine.stop()
        self.ended.set()

    def join(self) -> None:
        """Wait for the machine's end. Raises what ended it by accident."""
        self.machine.join()
        self.ended.set()

    def close(self) -> None:
        """End the machine if it runs and give its memory back; what the devices are connected to stays open. Twice is once."""
        if self._closed:
            return
        self._closed = True
        self.stop()
        self.wait_for_harts()
        for thread in self._beside:
            thread.join()
        self.board.reset()  # the devices let go of guest memory
        self.machine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def wait_for_harts(self) -> None:
        """Return when no hart's thread runs any more, whatever ended them; `stop` was called."""
        for hart in self.machine.harts:
            if hart.thread is not None and hart.thread.ident is not None:
                hart.thread.join()
