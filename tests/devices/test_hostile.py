"""Guests that do their worst: whatever they write, a device answers, ignores it or fails alone; the host raises nothing."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.devices.virtio.console import VirtioConsole
from support.board_parts import RAM_BASE, FakeMemory
from support.device_makers import MAKERS, VIRTIO_MAKERS, Surroundings
from support.virtio_driver import QUEUE_READY, QUEUE_SEL, STATUS, Driver

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


class Attack:
    """A started device, whose rings and memory the steps then spoil."""

    def __init__(self, name: str) -> None:
        self.around = Surroundings()
        self.device = VIRTIO_MAKERS[name](self.around)
        self.driver = Driver(self.device, FakeMemory(RAM_SIZE)).start(size=8, without=0)

    def step(self, kind: str, where: int, what: object) -> None:
        getattr(self, kind)(where, what)
        while self.around.jobs:
            self.around.jobs.pop(0)()

    def descriptor(self, where: int, what: object) -> None:
        assert isinstance(what, bytes)
        for ring in self.driver.rings:
            self.driver.memory.write(ring.descriptors + 16 * where, what)

    def available(self, where: int, what: object) -> None:
        assert isinstance(what, list)
        ring = self.driver.rings[where % len(self.driver.rings)]
        for head in what:
            ring.publish(head)

    def index(self, where: int, what: object) -> None:
        ring = self.driver.rings[where % len(self.driver.rings)]
        self.driver.memory.write(ring.available + 2, struct.pack("<H", what))

    def memory(self, where: int, what: object) -> None:
        assert isinstance(what, bytes)
        self.driver.memory.write(RAM_BASE + where, what)

    def notify(self, where: int, what: object) -> None:
        self.driver.notify(where)

    def register(self, where: int, what: object) -> None:
        assert isinstance(what, int)
        self.driver.write(4 * where, what & 0xFFFF_FFFF)

    def host(self, where: int, what: object) -> None:
        if isinstance(self.device, VirtioConsole):
            assert isinstance(what, bytes)
            [
                lambda: self.device.send("stdin", what, timeout=0),
                lambda: self.device.send("console", what, timeout=0),
                lambda: self.device.close("stdin"),
                lambda: self.device.resize(*what[:1] * 2),
            ][where]()

    def restart(self, where: int, what: object) -> None:
        if where:
            self.driver.memory.content[:] = bytes(RAM_SIZE)
            self.driver.start(size=8, without=0)
        else:
            self.driver.transport.load(self.driver.transport.save())


@pytest.mark.parametrize("name", VIRTIO_MAKERS)
@settings(max_examples=150)
@given(steps=st.lists(STEP, max_size=30))
def test_spoilt_rings_fail_the_device_at_worst(name: str, steps: list[tuple[str, int, object]]) -> None:
    attack = Attack(name)
    for step in steps:
        attack.step(*step)
    attack.driver.memory.content[:] = bytes(RAM_SIZE)
    attack.driver.start(size=8)
    assert attack.driver.read(STATUS) == 15, "a reset brings every device back"


@pytest.mark.parametrize("name", VIRTIO_MAKERS)
@settings(max_examples=150)
@given(
    areas=st.tuples(ADDRESSES, ADDRESSES, ADDRESSES),
    size=st.sampled_from([0, 1, 2, 3, 8, 255, 256, 1 << 15, 1 << 16, 0xFFFF_FFFF]),
    noise=st.binary(min_size=64, max_size=512),
)
def test_rings_anywhere_fail_the_device_at_worst(name: str, areas: tuple[int, int, int], size: int, noise: bytes) -> None:
    attack = Attack(name)
    driver = attack.driver
    driver.memory.content[:] = (noise * (RAM_SIZE // len(noise) + 1))[:RAM_SIZE]
    for index in range(len(driver.transport.queues)):
        driver.write(QUEUE_SEL, index)
        driver.write(QUEUE_READY, 0)
        driver.write(0x38, size)
        for register, address in zip((0x80, 0x90, 0xA0), areas, strict=True):
            driver.write(register, address & 0xFFFF_FFFF)
            driver.write(register + 4, address >> 32)
        driver.write(QUEUE_READY, 1)
        attack.step("notify", index, None)
    assert driver.read(STATUS) in {15, 15 | 64}
