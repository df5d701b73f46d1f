"""A tiny guest that drives a disk on PCI: it asks for one sector after the other, for ever."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gasang.devices.virtio import pci
from gasang.devices.virtio.block import SECTOR, VirtioBlock
from gasang.devices.virtio.pci import VirtioPci
from gasang.kinds.vm.base import AnyMachine
from gasang.kinds.vm.x86 import layout
from gasang.kinds.vm.x86.machine import PcMachine
from gasang.storage.raw import Raw
from support.pci_driver import PciDriver
from support.pcs import MIB, booted

WAIT = 20.0
RINGS, ROOM = 32 * MIB, 2 * MIB
ENTRIES = 16
COUNT = 0x60000
"""Where the guest counts its requests, 8 bytes."""
CONTENT = bytes(range(256)) * 16


def loop(notify: int, available: int, used: int) -> bytes:
    """Ask for one request more and notify, wait until it is used, count, and again for ever.

    mov ebx, notify; mov esi, available; mov edi, used; mov ebp, COUNT
    again: inc word [rsi]; mov ax, [rsi]; mov [rbx], ax; wait: pause; cmp [rdi], ax; jne wait; inc qword [rbp]; jmp again
    """
    begin = b"".join(bytes([code]) + struct.pack("<I", value) for code, value in ((0xBB, notify), (0xBE, available), (0xBF, used)))
    body = bytes.fromhex("66ff06 668b06 668903 f390 663907 75f9 48ff4500")
    return begin + b"\xbd" + struct.pack("<I", COUNT) + body + b"\xeb" + struct.pack("<b", -len(body) - 2)


@dataclass
class Driven:
    """The machine, and how many stores to a notification's address were exits."""

    vm: PcMachine
    told: list[str]
    exits: list[int]

    def count(self) -> int:
        """Requests answered, as the guest saw it."""
        return counted(self.vm)

    def used(self) -> int:
        """The index of the ring of those that were served."""
        return int.from_bytes(self.vm.machine.ram.read(Layout().used, 2), "little")

    def set_up(self) -> None:
        """Have the driver ready."""
        ready(self)

    @property
    def transport(self) -> VirtioPci:
        """The disk's."""
        (found,) = self.vm.board.pci_functions
        return found


def counted(vm: AnyMachine) -> int:
    return int.from_bytes(vm.machine.ram.read(COUNT, 8), "little")


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@contextmanager
def driven(folder: Path, code: bytes = b"", set_up: bool = True) -> Iterator[Driven]:
    """A disk whose driver is ready; every buffer of its ring reads the first sector. The guest begins to ask when it is started."""
    path = folder / "disk"
    path.write_bytes(CONTENT)
    raw = Raw.open(path, read_only=True)
    told: list[str] = []
    try:
        probe = Layout()
        with booted(code or loop(probe.notify, probe.available, probe.used), pci=[VirtioBlock(raw, read_only=True)], warn=told.append) as (
            vm,
            _,
        ):
            made = Driven(vm, told, exits_to_notify(vm))
            if set_up:
                made.set_up()
            yield made
    finally:
        raw.close()


class Layout:
    """Where the driver has things: the first function's notification of queue 0, and its ring."""

    def __init__(self) -> None:
        self.notify = layout.PCI_WINDOW + pci.NOTIFY
        self.available = RINGS + 16 * ENTRIES + 2
        self.used = ((RINGS + 18 * ENTRIES + 16) & ~15) + 2


def ready(made: Driven) -> None:
    """As a driver's probe does it; then buffers, which the guest makes available one by one."""
    vm = made.vm
    driver = PciDriver.of(made.transport, vm.machine.ram, RINGS, ROOM).start(ENTRIES)
    ring = driver.rings[0]
    assert (driver.transport.config.base() or 0) + driver.where[2] == Layout().notify
    for _ in range(ENTRIES // 4):
        ring.add([struct.pack("<IIQ", 0, 0, 0)], [SECTOR, 1])
    heads = list(ring.taken) * 4
    vm.machine.ram.write(ring.available + 4, struct.pack(f"<{ENTRIES}H", *heads))
    vm.machine.ram.write(ring.available + 2, bytes(2))
    assert (ring.available + 2, ring.used + 2) == (Layout().available, Layout().used)


def exits_to_notify(vm: PcMachine) -> list[int]:
    """Addresses of stores to the pages of notifications that are exits from now on."""
    exits: list[int] = []
    window: Any = next(region.device for region in vm.machine.bus.regions if region.name == "pci window")
    write = window.write

    def noted(offset: int, width: int, value: int) -> None:
        if offset % pci.WINDOW // pci.PAGE == pci.NOTIFY // pci.PAGE:
            exits.append(offset)
        write(offset, width, value)

    window.write = noted
    return exits
