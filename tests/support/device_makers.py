"""One of every device in the table, connected to stand-ins: what suites over all devices start from."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from gasang.core.protocols import MmioDevice
from gasang.devices.aclint import Mtimer, Sswi
from gasang.devices.acpi_power import AcpiPower
from gasang.devices.cmos import Cmos
from gasang.devices.generation_id import GenerationId
from gasang.devices.goldfish_rtc import GoldfishRtc
from gasang.devices.i8042 import I8042
from gasang.devices.plic import Plic
from gasang.devices.serial16550 import Serial16550
from gasang.devices.syscon import Syscon
from gasang.devices.virtio.block import VirtioBlock
from gasang.devices.virtio.console import Port, VirtioConsole
from gasang.devices.virtio.device import VirtioDevice
from gasang.devices.virtio.rng import VirtioRng
from support.board_parts import FakeIrq, MemoryBlock
from support.virtio_driver import Driver


@dataclass
class Surroundings:
    """What the makers' devices are connected to. `jobs` are a disk's long requests, run by whoever wants to."""

    irq: FakeIrq = field(default_factory=FakeIrq)
    lock: threading.RLock = field(default_factory=threading.RLock)
    output: bytearray = field(default_factory=bytearray)
    events: list[object] = field(default_factory=list)
    jobs: list[Callable[[], None]] = field(default_factory=list)


def _rtc(around: Surroundings) -> GoldfishRtc:
    return GoldfishRtc(around.irq, around.lock, lambda: 1_700_000_000_000_000_000, lambda seconds, function: lambda: None)


def _console(around: Surroundings) -> VirtioConsole:
    return VirtioConsole(
        [
            Port("console", around.output.extend, around.events.append, is_console=True),
            Port("stdin", around.output.extend, around.events.append),
        ]
    )


VIRTIO_MAKERS: dict[str, Callable[[Surroundings], VirtioDevice]] = {
    "block": lambda around: VirtioBlock(MemoryBlock(), around.jobs.append, serial="disk"),
    "console": _console,
    "rng": lambda around: VirtioRng(bytes),
}

MAKERS: dict[str, Callable[[Surroundings], MmioDevice]] = {
    "aclint-mtimer": lambda around: Mtimer(lambda: 12345),
    "aclint-sswi": lambda around: Sswi([around.irq.set] * 2),
    "acpi-power": lambda around: AcpiPower(5, 1, around.events.append),
    "cmos": lambda around: Cmos(lambda: 1_700_000_000.0),
    "generation-id": lambda around: GenerationId(around.irq),
    "goldfish-rtc": _rtc,
    "i8042": lambda around: I8042(around.events.append),
    "plic": lambda around: Plic(40, [around.irq.set, None]),
    "serial-16550a": lambda around: Serial16550(around.irq, around.output.extend),
    "syscon": lambda around: Syscon(around.events.append),
    "virtio-mmio": lambda around: Driver(_console(around)).transport,
}
