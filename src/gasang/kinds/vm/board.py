"""The `virt` RISC-V board as stock kernels know it: where its devices are, and how they are wired.

    0x0010_0000  syscon: reset and power-off          0x0c00_0000  PLIC
    0x0010_1000  Goldfish RTC, interrupt 11           0x1000_0000  16550A UART, interrupt 10
    0x0010_2000  generation id, interrupt 9           0x1000_1000  virtio-mmio, one window each, interrupts 1 to 8, then 12 …
    0x0200_4000  ACLINT MTIMER (only if asked for)    0x8000_0000  RAM
    0x02f0_0000  ACLINT SSWI (only if asked for)

The device tree (`board_tree`) announces what a board has, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gasang.core.errors import BadInputError, UsageError
from gasang.core.protocols import CharacterSink, GuestMemory, Interrupt, MmioDevice, State
from gasang.devices.aclint import Mtimer, Sswi
from gasang.devices.bus import Bus
from gasang.devices.generation_id import GenerationId
from gasang.devices.goldfish_rtc import GoldfishRtc
from gasang.devices.plic import Plic
from gasang.devices.serial16550 import Serial16550
from gasang.devices.state import check_version
from gasang.devices.syscon import PowerRequest, Syscon
from gasang.devices.virtio.device import KINDS, VirtioDevice
from gasang.devices.virtio.mmio import VirtioMmio
from gasang.kinds.vm.board_tree import Machine, Placement, device_tree
from gasang.kinds.vm.isa_string import ordered

RAM_BASE = 0x8000_0000
SYSCON_BASE, RTC_BASE, PLIC_BASE, SERIAL_BASE, VIRTIO_BASE = 0x10_0000, 0x10_1000, 0xC00_0000, 0x1000_0000, 0x1000_1000
GENERATION_BASE = 0x10_2000
MTIMER_BASE, SSWI_BASE = 0x200_4000, 0x2F0_0000
GENERATION_IRQ, SERIAL_IRQ, RTC_IRQ = 9, 10, 11
INTERRUPT_SOURCES = 96
MAX_HARTS = 512
"""A PLIC of the stock size has 1024 contexts, two a hart."""
MAX_VIRTIO = 32
PAGE = 4096


def virtio_irq(slot: int) -> int:
    """The interrupt of virtio window `slot`: the first eight as everywhere, the others behind UART and RTC."""
    return 1 + slot if slot < 8 else 4 + slot


@dataclass(frozen=True)
class BoardConfig:
    """What the board is made of; sizes in bytes, `extensions` are names such as "m" or "zicbom"."""

    harts: int
    memory_size: int
    extensions: Sequence[str]
    mmu_type: str = "riscv,sv57"
    timebase: int = 10_000_000
    cache_block: int = 64

    def __post_init__(self) -> None:
        """Raise UsageError for what no board can have."""
        if not 1 <= self.harts <= MAX_HARTS:
            raise UsageError(f"{self.harts} processors", f"this board has 1 to {MAX_HARTS}", "give another --cpus")
        if self.memory_size < PAGE or self.memory_size % PAGE:
            raise UsageError(f"{self.memory_size} bytes of memory", "it must be whole pages of 4 KiB", "give another --memory")
        ordered(self.extensions)


@dataclass(frozen=True)
class Wires:
    """What the board is connected to. `interrupts` has one callable a hart; the optional parts exist only if given.

    `software_interrupts` (one a hart) brings an ACLINT SSWI, `mtime` (timebase ticks) an ACLINT MTIMER. `on_fault` hears what a guest did
    wrong to a virtio device, which then needs a reset: a sentence that names the device.
    """

    interrupts: Sequence[Interrupt]
    on_power: Callable[[PowerRequest], None]
    serial_sink: CharacterSink
    software_interrupts: Sequence[Interrupt] | None = None
    mtime: Callable[[], int] | None = None
    on_fault: Callable[[str], None] = field(default=lambda sentence: None)


class VirtBoard:
    """The board: a bus full of devices. `virtio` devices get their windows in the order given."""

    def __init__(self, config: BoardConfig, memory: GuestMemory, wires: Wires, virtio: Sequence[VirtioDevice] = ()) -> None:
        if len(wires.interrupts) != config.harts:
            raise ValueError(f"{config.harts} harts with {len(wires.interrupts)} interrupt wires")
        if len(virtio) > MAX_VIRTIO:
            raise UsageError(f"{len(virtio)} virtio devices", f"this board has room for {MAX_VIRTIO}", "attach fewer disks")
        self.config = config
        self.bus = Bus()
        # Context 2 h is hart h's machine mode, which no guest has; 2 h + 1 is its supervisor mode. Guests that know the
        # numbers without reading the device tree expect this order.
        self.plic = Plic(INTERRUPT_SOURCES, [target for wire in wires.interrupts for target in (None, wire)])
        self.serial = Serial16550(self.plic.line(SERIAL_IRQ), wires.serial_sink)
        self.rtc = GoldfishRtc(self.plic.line(RTC_IRQ), self.bus.lock)
        self.generation = GenerationId(self.plic.line(GENERATION_IRQ))
        self.syscon = Syscon(wires.on_power)
        self.virtio: list[VirtioMmio] = []
        self._placements: list[Placement] = []
        self._attach("plic", PLIC_BASE, self.plic)
        self._attach("serial", SERIAL_BASE, self.serial, SERIAL_IRQ)
        self._attach("rtc", RTC_BASE, self.rtc, RTC_IRQ)
        self._attach("syscon", SYSCON_BASE, self.syscon)
        self._attach("generation", GENERATION_BASE, self.generation, GENERATION_IRQ)
        if wires.mtime is not None:
            self._attach("mtimer", MTIMER_BASE, Mtimer(wires.mtime))
        if wires.software_interrupts is not None:
            self._attach("sswi", SSWI_BASE, Sswi(wires.software_interrupts))
        for slot, device in enumerate(virtio):
            irq = virtio_irq(slot)
            base = VIRTIO_BASE + slot * VirtioMmio.size
            name = f"virtio {KINDS.get(device.device_id, f'device {device.device_id}')} at {base:#x}"
            transport = VirtioMmio(device, memory, self.plic.line(irq), self.bus.lock, partial(_tell, wires.on_fault, name))
            self.virtio.append(transport)
            self._attach(f"virtio{slot}", base, transport, irq)

    def device_tree(self, bootargs: str = "", initrd: tuple[int, int] | None = None, rng_seed: bytes = b"") -> bytes:
        """The blob for the kernel. `initrd` is its guest-physical (start, end); `rng_seed` is entropy for the early kernel."""
        config = self.config
        machine = Machine(
            harts=config.harts,
            ram=(RAM_BASE, config.memory_size),
            extensions=config.extensions,
            mmu_type=config.mmu_type,
            timebase=config.timebase,
            cache_block=config.cache_block,
            interrupt_sources=INTERRUPT_SOURCES,
        )
        return device_tree(machine, self._placements, bootargs, initrd, rng_seed)

    @property
    def devices(self) -> Sequence[VirtioDevice]:
        """The virtio devices, in the order they were given in."""
        return [transport.device for transport in self.virtio]

    def document(self) -> dict[str, Any]:
        """What a machine must be made of to take over the state of one on this board; plain values."""
        config = self.config
        return {
            "name": "virt",
            "harts": config.harts,
            "memory": config.memory_size,
            "extensions": sorted(config.extensions),
            "mmu": config.mmu_type,
            "timebase": config.timebase,
            "virtio": [device.device_id for device in self.devices],
        }

    def become(self, generation: bytes) -> None:
        """The generation id is another from now on, and the guest is told; the bus lock is held."""
        self.generation.renew(generation)

    def settle(self) -> None:
        """Return when nothing is served beside the harts, which stand still; without the bus lock."""
        self.settle_serial()
        for transport in self.virtio:
            transport.settle()

    def settle_serial(self) -> None:
        """What the guest has sent over its serial line is in the sink; without the bus lock."""
        with self.bus.lock:
            self.serial.settle()

    def renew(self) -> None:
        """In a forked process: the clock's timer is made anew."""
        self.rtc.renew()

    def reset(self) -> None:
        """Return every device to its power-on state, as a guest's reboot does; guest memory may be closed then."""
        self.bus.reset()

    def save(self) -> State:
        """The state of every device by name. The vCPUs stand still meanwhile."""
        with self.bus.lock:
            return {"version": 1, "devices": {region.name: region.device.save() for region in self.bus.regions}}

    def load(self, state: State) -> None:
        """Become the saved board of the same shape; guest memory is restored already. Raise BadInputError if the shape differs."""
        check_version(state, "board", 1)
        saved = state["devices"]
        names = {region.name for region in self.bus.regions}
        if set(saved) != names:
            different = ", ".join(sorted(set(saved) ^ names))
            raise BadInputError("saved state of board", f"the two differ in {different}", "restore it to a machine with the same devices")
        for number, transport in enumerate(self.virtio):
            kind = saved[f"virtio{number}"].get("device_id")
            if kind != transport.device.device_id:
                cause = f"the two differ in virtio{number} ({KINDS.get(kind, kind)} and {KINDS.get(transport.device.device_id)})"
                raise BadInputError("saved state of board", cause, "restore it to a machine with the same devices")
        with self.bus.lock:
            # The interrupt controller comes first: the others drive their lines as they load.
            for region in sorted(self.bus.regions, key=lambda region: region.device is not self.plic):
                region.device.load(saved[region.name])

    def _attach(self, name: str, base: int, device: MmioDevice, irq: int = 0) -> None:
        self.bus.attach(name, base, device)
        self._placements.append(Placement(name, base, device.size, irq))


def _tell(on_fault: Callable[[str], None], name: str, cause: str) -> None:
    on_fault(f"{name}: {cause}")
