"""A riscv64 virtual machine: the software machine, the virt board, firmware, and a loaded kernel or a saved state."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gasang.accel.soft.decoded import Marks, decode_again, join, marks_of
from gasang.accel.soft.machine import OFF, SoftMachine
from gasang.core.errors import BadInputError, UsageError
from gasang.core.protocols import State
from gasang.devices.state import check_version
from gasang.kinds.vm.base import Machine
from gasang.kinds.vm.board import RAM_BASE, SERIAL_BASE, BoardConfig, VirtBoard, Wires
from gasang.kinds.vm.loader import Kernel
from gasang.kinds.vm.parts import Parts
from gasang.kinds.vm.sbi import Sbi

if TYPE_CHECKING:
    from gasang.accel.soft.jit.store import RegionStore

EXTENSIONS = (
    "i", "m", "a", "f", "d", "c", "zicsr", "zifencei", "zicntr", "zba", "zbb", "zbs", "zicbom", "zicboz", "sstc",
)  # fmt: skip
"""What cpus/riscv64 has, as the device tree announces it."""

DEVICE_TREE_SPACE = 2 << 20
PAGE = 4096


class VirtualMachine(Machine[SoftMachine, VirtBoard]):
    """A machine on the software processor."""

    architecture: ClassVar[str] = "riscv64"

    def __init__(self, parts: Parts[Kernel]) -> None:
        software = SoftMachine(RAM_BASE, parts.memory, parts.cpus, parts.jit, parts.compiler, _code_cache(parts))
        software.warn = parts.warn
        super().__init__(software, parts)
        try:
            self._entry, self._tree = self._assemble(parts)
        except BaseException:
            self.machine.close()
            raise

    def _assemble(self, parts: Parts[Kernel]) -> tuple[int, int]:
        """Connect board and firmware, and place the kernel. (entry, address of the device tree)."""
        machine = self.machine
        interrupts = [hart.external_interrupt for hart in machine.harts]
        wires = Wires(interrupts, self._power_request, parts.serial, on_fault=self._device_failed)
        self.board = VirtBoard(BoardConfig(parts.cpus, parts.memory, EXTENSIONS), machine.ram, wires, parts.virtio)
        machine.bus = self.board.bus
        machine.serial.connect(SERIAL_BASE)
        self.board.serial.lend(machine.serial)
        machine.settle = self.board.settle_serial
        machine.firmware = Sbi(machine, parts.serial, self._typed, self._power_request)
        return self._place(parts, parts.kernel) if parts.kernel is not None else (0, 0)

    def _place(self, parts: Parts[Kernel], kernel: Kernel) -> tuple[int, int]:
        """Kernel low, initrd and device tree at the top of memory. (entry, address of the device tree)."""
        ram = self.machine.ram
        top = RAM_BASE + parts.memory
        tree_address = (top - DEVICE_TREE_SPACE) & ~(DEVICE_TREE_SPACE - 1)
        initrd_address = (tree_address - len(parts.initrd)) & ~(PAGE - 1)
        lowest = min(piece.address for piece in kernel.pieces)
        if lowest < RAM_BASE or kernel.end > initrd_address:
            needed = (kernel.end - RAM_BASE + len(parts.initrd) + 2 * DEVICE_TREE_SPACE + (64 << 20)) >> 20
            raise UsageError(f"{parts.memory >> 20} MiB of memory", "kernel and initrd do not fit", f"give at least --memory {needed}M")
        try:
            for piece in kernel.pieces:
                ram.write(piece.address, piece.data)
        except OSError as error:
            raise BadInputError("kernel", f"its file was changed while it was read ({error.strerror})", "start it again") from error
        if parts.initrd:
            ram.write(initrd_address, parts.initrd)
        initrd = (initrd_address, initrd_address + len(parts.initrd)) if parts.initrd else None
        ram.write(tree_address, self.board.device_tree(parts.append, initrd, os.urandom(64)))
        return kernel.entry, tree_address

    def _typed(self, length: int) -> bytes:
        with self.board.bus.lock:
            return self.board.serial.take(length)

    def _boot(self) -> None:
        self.machine.start(self._entry, self._tree)

    def compiled(self) -> dict[str, Any] | None:
        """What is compiled of its hot code (accel/soft/jit/report.py); None where nothing is."""
        return None if self.machine.regions is None else self.machine.regions.report().totals()

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

    def _revived(self) -> None:
        self._begin = self.machine.revive

    def stand(self) -> None:
        """Begin, and be paused before the first instruction: so a restored machine waits for being forked."""
        self.machine.stand()

    def copy_ahead(self) -> None:
        """As for any machine; and what its harts write while they execute."""
        super().copy_ahead()
        for hart in self.machine.harts:
            hart.copy_ahead()

    def before_fork(self) -> None:
        """The harts' code that no fork copies is given up."""
        for hart in self.machine.harts:
            hart.before_fork()

    def note_code(self, known: dict[int, Marks]) -> None:
        """Add to `known`, by harts, what is decoded now, and what was before it was given back; from any thread."""
        for hart in self.machine.harts:
            marks = known.setdefault(hart.number, {})
            join(marks, hart.forgotten)
            join(marks, marks_of(hart))

    def decode_again(self, known: Mapping[int, Marks]) -> None:
        """Have decoded what was known of a machine in this one's state; the harts stand still."""
        for hart in self.machine.harts:
            decode_again(hart, known.get(hart.number, {}))


def _code_cache(parts: Parts[Kernel]) -> Path | RegionStore | None:
    """Where code that is compiled for one machine lies for the next."""
    if parts.jit == OFF or parts.compiler is not None:  # a compiler in its jail reaches no folder
        return parts.known_code
    from gasang.accel.soft.jit.store import default_folder  # a start without has no time for it

    return default_folder()
