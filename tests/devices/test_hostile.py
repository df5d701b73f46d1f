"""Guests that do their worst: whatever they write, a device answers, ignores it or fails alone; the host raises nothing."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import StateError
from gasang.core.protocols import GuestMemoryFault
from gasang.devices.virtio.balloon import VirtioBalloon
from gasang.devices.virtio.console import VirtioConsole
from gasang.devices.virtio.device import VirtioDevice
from gasang.devices.virtio.net import VirtioNet
from gasang.devices.virtio.queue import QueueError, Virtqueue
from gasang.devices.virtio.vsock import VirtioVsock
from gasang.devices.virtio.vsock_stream import Peer
from support.board_parts import RAM_BASE, FakeMemory
from support.device_makers import MAKERS, VIRTIO_MAKERS, Surroundings
from support.pci_driver import PciDriver
from support.virtio_driver import CONFIG, QUEUE_READY, QUEUE_SEL, STATUS, Driver

RAM_SIZE = 1 << 16
RAM_END = RAM_BASE + RAM_SIZE
NUMBERS = st.one_of(
    st.integers(0, 20),
    st.integers(0, (1 << 64) - 1),
    st.sampled_from([0x5555, 0x7777, 0xFFFF, 0x10000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 32, 1 << 63, (1 << 64) - 1]),
)
ACCESS = st.tuples(st.integers(0, 0x200) | st.integers(0, 1 << 23), st.sampled_from([1, 2, 4, 8]), NUMBERS | st.none())

ADDRESSES = st.one_of(
    st.integers(RAM_BASE, RAM_END),
    st.sampled_from([0, 1, RAM_BASE - 1, RAM_END - 1, RAM_END - 16, RAM_END, (1 << 63), (1 << 64) - 16, (1 << 64) - 1]),
)
LENGTHS = st.one_of(st.integers(0, 64), st.sampled_from([512, 513, 4096, 1 << 16, 1 << 20, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF]))
DESCRIPTOR = st.builds(
    lambda address, length, flags, following: struct.pack("<QIHH", address, length, flags, following),
    ADDRESSES,
    LENGTHS,
    st.integers(0, 7) | st.integers(0, 0xFFFF),
    st.integers(0, 8) | st.integers(0, 0xFFFF),
)
HEADER = st.builds(
    lambda kind, sector: struct.pack("<IIQ", kind, 0, sector), st.integers(0, 15) | NUMBERS.map(lambda n: n & 0xFFFF_FFFF), NUMBERS
)
CONTROL = st.builds(
    lambda port, event, value: struct.pack("<IHH", port, event, value), st.integers(0, 3), st.integers(0, 9), st.integers(0, 2)
)
STEP = st.one_of(
    st.tuples(st.just("descriptor"), st.integers(0, 7), DESCRIPTOR),
    st.tuples(st.just("available"), st.integers(0, 7), st.lists(st.integers(0, 8) | st.integers(0, 0xFFFF), max_size=4)),
    st.tuples(st.just("index"), st.integers(0, 7), st.integers(0, 12) | st.integers(0, 0xFFFF)),
    st.tuples(st.just("memory"), st.integers(0, RAM_SIZE - 64), HEADER | CONTROL | DESCRIPTOR | st.binary(max_size=64)),
    st.tuples(st.just("notify"), st.integers(0, 7), st.none()),
    st.tuples(st.just("register"), st.integers(0, 0x60), NUMBERS),
    st.tuples(st.just("configuration"), st.integers(0, 0x40), NUMBERS),
    st.tuples(st.just("function"), st.integers(0, 0xFF), NUMBERS),
    st.tuples(st.just("indirect"), st.integers(0, 7), st.lists(DESCRIPTOR, max_size=6)),
    st.tuples(st.just("host"), st.integers(0, 3), st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("restart"), st.integers(0, 1), st.none()),
)


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=50)
@given(accesses=st.lists(ACCESS, max_size=50))
def test_any_access_is_taken(name: str, accesses: list[tuple[int, int, int | None]]) -> None:
    device = MAKERS[name](Surroundings())
    for offset, width, value in accesses:
        offset = min(offset, device.size - width)
        if value is None:
            assert isinstance(device.read(offset, width), int)
        else:
            device.write(offset, width, value & ((1 << 8 * width) - 1))


class MmioGuest:
    """A guest that reaches the device by virtio-mmio."""

    def __init__(self, device: VirtioDevice, memory: FakeMemory) -> None:
        self.driver = Driver(device, memory)
        self.start(8, without=0)

    def start(self, size: int, without: int = 0) -> None:
        self.driver.start(size=size, without=without)

    def status(self) -> int:
        return self.driver.read(STATUS)

    def register(self, where: int, value: int) -> None:
        self.driver.write(4 * where, value & 0xFFFF_FFFF)

    def configuration(self, where: int, value: int) -> None:
        for width in (1, 2, 4, 8):
            self.driver.transport.write(CONFIG + where, width, value & ((1 << 8 * width) - 1))
            self.driver.transport.read(CONFIG + where, width)

    def function(self, where: int, value: int) -> None:
        """There is no configuration space of a PCI function."""

    def place(self, index: int, size: int, areas: tuple[int, int, int]) -> None:
        self.driver.write(QUEUE_SEL, index)
        self.driver.write(QUEUE_READY, 0)
        self.driver.write(0x38, size)
        for register, address in zip((0x80, 0x90, 0xA0), areas, strict=True):
            self.driver.write(register, address & 0xFFFF_FFFF)
            self.driver.write(register + 4, address >> 32)
        self.driver.write(QUEUE_READY, 1)


class PciGuest:
    """A guest that reaches the device by virtio-pci."""

    def __init__(self, device: VirtioDevice, memory: FakeMemory) -> None:
        self.driver = PciDriver(device, memory)
        self.start(8, without=0)

    def start(self, size: int, without: int = 0) -> None:
        self.driver.transport.reset()
        self.driver.start(size=size, without=without)

    def status(self) -> int:
        return self.driver.status()

    def register(self, where: int, value: int) -> None:
        for page, width in ((0x0000, 4), (0x0000, 2), (0x1000, 1), (0x3000, 2), (0x4000, 4), (0x5000, 4)):
            self.driver.transport.write(page + where // width * width, width, value & ((1 << 8 * width) - 1))
            self.driver.transport.read(page + where, width)

    def configuration(self, where: int, value: int) -> None:
        for width in (1, 2, 4, 8):
            self.driver.transport.write(0x2000 + where, width, value & ((1 << 8 * width) - 1))
            self.driver.transport.read(0x2000 + where, width)

    def function(self, where: int, value: int) -> None:
        for width in (1, 2, 4):
            self.driver.transport.write_config(where, width, value & ((1 << 8 * width) - 1))
            self.driver.transport.read_config(where, width)

    def place(self, index: int, size: int, areas: tuple[int, int, int]) -> None:
        if not index:
            self.driver.put(0x14, 1, 0)
            for status in (1, 3):
                self.driver.put(0x14, 1, status)
            offered = self.driver.offered()
            for word in (0, 1):
                self.driver.put(8, 4, word)
                self.driver.put(0xC, 4, offered >> 32 * word & 0xFFFF_FFFF)
            self.driver.put(0x14, 1, 11)
            self.driver.put(0x14, 1, 15)
        self.driver.put(0x16, 2, index)
        self.driver.put(0x18, 2, size & 0xFFFF)
        for register, address in zip((0x20, 0x28, 0x30), areas, strict=True):
            self.driver.put(register, 8, address)
        self.driver.put(0x1C, 2, 1)


GUESTS: dict[str, type[MmioGuest] | type[PciGuest]] = {"mmio": MmioGuest, "pci": PciGuest}


class Attack:
    """A started device, whose rings and memory the steps then spoil."""

    def __init__(self, name: str, transport: str) -> None:
        self.around = Surroundings()
        self.device = VIRTIO_MAKERS[name](self.around)
        self.guest = GUESTS[transport](self.device, FakeMemory(RAM_SIZE))

    @property
    def memory_of(self) -> FakeMemory:
        return self.guest.driver.memory

    def step(self, kind: str, where: int, what: object) -> None:
        getattr(self, kind)(where, what)
        while self.around.jobs:
            self.around.jobs.pop(0)()
        if len(self.around.events) > 1000:
            self.around.events.clear()

    def descriptor(self, where: int, what: object) -> None:
        assert isinstance(what, bytes)
        for ring in self.guest.driver.rings:
            self.memory_of.write(ring.descriptors + 16 * where, what)

    def indirect(self, where: int, what: object) -> None:
        """A table somewhere in memory, a descriptor that leads there, and it is available."""
        assert isinstance(what, list)
        table = b"".join(what)
        address = RAM_END - 4096 + 64 * where
        self.memory_of.write(address, table)
        for ring in self.guest.driver.rings:
            ring.descriptor(where, address, len(table), 4, 0)
            ring.publish(where)

    def available(self, where: int, what: object) -> None:
        assert isinstance(what, list)
        rings = self.guest.driver.rings
        for head in what:
            rings[where % len(rings)].publish(head)

    def index(self, where: int, what: object) -> None:
        rings = self.guest.driver.rings
        self.memory_of.write(rings[where % len(rings)].available + 2, struct.pack("<H", what))

    def memory(self, where: int, what: object) -> None:
        assert isinstance(what, bytes)
        self.memory_of.write(RAM_BASE + where, what)

    def notify(self, where: int, what: object) -> None:
        self.guest.driver.notify(where)

    def register(self, where: int, what: object) -> None:
        assert isinstance(what, int)
        self.guest.register(where, what)

    def configuration(self, where: int, what: object) -> None:
        assert isinstance(what, int)
        self.guest.configuration(where, what)

    def function(self, where: int, what: object) -> None:
        assert isinstance(what, int)
        self.guest.function(where, what)

    def host(self, where: int, what: object) -> None:
        """What the host does meanwhile, of its own accord."""
        assert isinstance(what, bytes)
        for kind, act in HOST.items():
            if isinstance(self.device, kind):
                act(self.device, where, what)

    def restart(self, where: int, what: object) -> None:
        if where:
            self.memory_of.content[:] = bytes(RAM_SIZE)
            self.guest.start(8)
        else:
            self.guest.driver.transport.load(self.guest.driver.transport.save())


def _at_the_console(console: VirtioConsole, where: int, what: bytes) -> None:
    [
        lambda: console.send("stdin", what, timeout=0),
        lambda: console.send("console", what, timeout=0),
        lambda: console.close("stdin"),
        lambda: console.resize(*what[:1] * 2),
    ][where]()


def _at_the_balloon(balloon: VirtioBalloon, where: int, what: bytes) -> None:
    balloon.set_target(what[0] << 20)
    balloon.ask()


def _on_the_wire(card: VirtioNet, where: int, what: bytes) -> None:
    card.receive([bytes(12) + what * 30] * where)
    card.set_link(up=bool(where))


class Deaf(Peer):
    """A host's end of a connection that listens to nothing."""

    def opened(self) -> None: ...

    def received(self, data: bytes) -> None: ...

    def room(self) -> None: ...

    def finished(self) -> None: ...

    def closed(self) -> None: ...


def _from_the_host(vsock: VirtioVsock, where: int, what: bytes) -> None:
    with suppress(StateError):  # there may be no driver
        vsock.connect(what[0], Deaf())


HOST: dict[type, Callable[..., None]] = {
    VirtioConsole: _at_the_console,
    VirtioBalloon: _at_the_balloon,
    VirtioNet: _on_the_wire,
    VirtioVsock: _from_the_host,
}


@pytest.mark.parametrize("transport", GUESTS)
@pytest.mark.parametrize("name", VIRTIO_MAKERS)
@settings(max_examples=100)
@given(steps=st.lists(STEP, max_size=30))
def test_spoilt_rings_fail_the_device_at_worst(name: str, transport: str, steps: list[tuple[str, int, object]]) -> None:
    attack = Attack(name, transport)
    for step in steps:
        attack.step(*step)
    attack.memory_of.content[:] = bytes(RAM_SIZE)
    attack.guest.start(8)
    assert attack.guest.status() == 15, "a reset brings every device back"


@pytest.mark.parametrize("transport", GUESTS)
@pytest.mark.parametrize("name", VIRTIO_MAKERS)
@settings(max_examples=100)
@given(
    areas=st.tuples(ADDRESSES, ADDRESSES, ADDRESSES),
    size=st.sampled_from([0, 1, 2, 3, 8, 255, 256, 1 << 15, 1 << 16, 0xFFFF_FFFF]),
    noise=st.binary(min_size=64, max_size=512),
)
def test_rings_anywhere_fail_the_device_at_worst(name: str, transport: str, areas: tuple[int, int, int], size: int, noise: bytes) -> None:
    attack = Attack(name, transport)
    attack.memory_of.content[:] = (noise * (RAM_SIZE // len(noise) + 1))[:RAM_SIZE]
    for index in range(len(attack.guest.driver.transport.queues)):
        attack.guest.place(index, size, areas)
        attack.step("notify", index, None)
    assert attack.guest.status() in {15, 15 | 64}


RING_SIZE = 8
AVAILABLE, USED = RAM_BASE + 0x1000, RAM_BASE + 0x2000


@settings(max_examples=200)
@given(
    start=st.sampled_from([0, 1, 0xFFF0, 0xFFFF]) | st.integers(0, 0xFFFF),
    batches=st.lists(st.integers(0, RING_SIZE), max_size=20),
    event_index=st.booleans(),
)
def test_indices_that_wrap_lose_and_repeat_nothing(start: int, batches: list[int], event_index: bool) -> None:
    """Against a model: every buffer is popped and returned once, in order, past index 65535 too."""
    memory = FakeMemory(RAM_SIZE)
    queue = Virtqueue(memory, RING_SIZE)
    queue.load([RING_SIZE, RAM_BASE, AVAILABLE, USED, int(event_index), start, start, start, 1])
    for ring in (AVAILABLE, USED):
        memory.write(ring + 2, struct.pack("<H", start))
    for number in range(RING_SIZE):
        memory.write(RAM_BASE + 16 * number, struct.pack("<QIHH", RAM_BASE + 0x3000, number + 1, 0, 0))
    made = 0
    for batch in batches:
        heads = [(made + number) % RING_SIZE for number in range(batch)]
        for number, head in enumerate(heads):
            memory.write(AVAILABLE + 4 + 2 * ((start + made + number) % RING_SIZE), struct.pack("<H", head))
        made += batch
        memory.write(AVAILABLE + 2, struct.pack("<H", (start + made) & 0xFFFF))
        popped = []
        while (chain := queue.pop()) is not None:
            assert chain.readable == [(RAM_BASE + 0x3000, chain.head + 1)]
            popped.append(chain.head)
            queue.push(chain, chain.head)
        assert popped == heads
        assert struct.unpack("<H", memory.read(USED + 2, 2))[0] == (start + made) & 0xFFFF
        if event_index:
            assert struct.unpack("<H", memory.read(USED + 4 + 8 * RING_SIZE, 2))[0] == (start + made) & 0xFFFF
        for number, head in enumerate(heads):
            slot = USED + 4 + 8 * ((start + made - batch + number) % RING_SIZE)
            assert struct.unpack("<II", memory.read(slot, 8)) == (head, head)


@settings(max_examples=300)
@given(
    table=st.lists(DESCRIPTOR, min_size=RING_SIZE, max_size=RING_SIZE),
    inner=st.lists(DESCRIPTOR, max_size=RING_SIZE),
    head=st.integers(0, 10),
)
def test_a_chain_is_segments_within_its_table_or_an_error(table: list[bytes], inner: list[bytes], head: int) -> None:
    memory = FakeMemory(RAM_SIZE)
    memory.write(RAM_BASE, b"".join(table))
    memory.write(RAM_BASE + 0x4000, b"".join(inner))
    queue = Virtqueue(memory, RING_SIZE)
    queue.load([RING_SIZE, RAM_BASE, AVAILABLE, USED, 0, 0, 0, 0, 1])
    try:
        chain = queue.chain(head)
    except (QueueError, GuestMemoryFault):
        return
    assert len(chain.readable) + len(chain.writable) <= 2 * RING_SIZE
    assert all(length for _, length in [*chain.readable, *chain.writable])
