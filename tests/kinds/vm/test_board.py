"""The board: its address map, its interrupts from device to hart, its state, and any access a guest makes."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, UsageError
from gasang.devices.bus import BusError
from gasang.devices.syscon import PowerAction, PowerRequest
from gasang.devices.virtio.block import VirtioBlock
from gasang.devices.virtio.console import Port, VirtioConsole
from gasang.devices.virtio.device import VirtioDevice
from gasang.devices.virtio.rng import VirtioRng
from gasang.kinds.vm.board import BoardConfig, VirtBoard, Wires, virtio_irq
from support.board_parts import FakeMemory, MemoryBlock

GENERATION = 0x10_2000
PLIC, SERIAL, SYSCON, RTC, VIRTIO, MTIMER, SSWI = 0xC00_0000, 0x1000_0000, 0x10_0000, 0x10_1000, 0x1000_1000, 0x200_4000, 0x2F0_0000
EXTENSIONS = ("i", "m", "a", "f", "d", "c", "zicsr", "sstc")


class Computer:
    """A board with its harts' wires and what came out of it."""

    def __init__(self, harts: int = 2, virtio: tuple[VirtioDevice, ...] = (), aclint: bool = False) -> None:
        self.wires = [False] * harts
        self.software: list[int] = []
        self.power: list[PowerRequest] = []
        self.output = bytearray()
        wires = Wires(
            [lambda level, hart=hart: self.wires.__setitem__(hart, level) for hart in range(harts)],  # type: ignore[misc]
            self.power.append,
            self.output.extend,
            [lambda level, hart=hart: self.software.append(hart) for hart in range(harts)] if aclint else None,  # type: ignore[misc]
            (lambda: 77) if aclint else None,
        )
        self.board = VirtBoard(BoardConfig(harts, 1 << 30, EXTENSIONS), FakeMemory(), wires, virtio)
        self.bus = self.board.bus

    def enable(self, hart: int, source: int) -> None:
        """What Linux does to have an interrupt delivered to a hart's supervisor mode."""
        context = 2 * hart + 1
        self.bus.write(PLIC + 4 * source, 4, 1)
        self.bus.write(PLIC + 0x2000 + 0x80 * context + 4 * (source // 32), 4, 1 << source % 32)
        self.bus.write(PLIC + 0x20_0000 + 0x1000 * context, 4, 0)

    def claim(self, hart: int) -> int:
        return self.bus.read(PLIC + 0x20_1004 + 0x2000 * hart, 4)


def devices() -> tuple[VirtioDevice, ...]:
    return VirtioBlock(MemoryBlock()), VirtioConsole([Port("console", bytearray().extend, is_console=True)]), VirtioRng(bytes)


def test_the_address_map_is_the_one_stock_kernels_know() -> None:
    computer = Computer(virtio=devices())
    assert [(region.name, region.base) for region in computer.bus.regions] == [
        ("syscon", SYSCON),
        ("rtc", RTC),
        ("generation", GENERATION),
        ("plic", PLIC),
        ("serial", SERIAL),
        ("virtio0", VIRTIO),
        ("virtio1", VIRTIO + 0x1000),
        ("virtio2", VIRTIO + 0x2000),
    ]
    assert [computer.bus.read(VIRTIO + 0x1000 * slot + 8, 4) for slot in range(3)] == [2, 3, 4]
    for address in (0, 0x8000_0000, VIRTIO + 0x3000, MTIMER, SSWI, SERIAL + 0x100):
        with pytest.raises(BusError):
            computer.bus.read(address, 4)


def test_the_uart_interrupts_the_hart_that_asked_for_it() -> None:
    computer = Computer()
    computer.enable(1, 10)
    computer.bus.write(SERIAL + 1, 1, 1)
    with computer.bus.lock:
        computer.board.serial.receive(b"x")
    assert computer.wires == [False, True]
    assert computer.claim(1) == 10
    assert computer.bus.read(SERIAL, 1) == ord("x")
    computer.bus.write(PLIC + 0x20_3004, 4, 10)
    assert computer.wires == [False, False]


def test_every_virtio_window_has_its_own_interrupt() -> None:
    computer = Computer(1, tuple(VirtioRng(bytes) for _ in range(32)))
    irqs = [virtio_irq(slot) for slot in range(32)]
    assert irqs[:9] == [1, 2, 3, 4, 5, 6, 7, 8, 12]
    assert len({*irqs, 10, 11}) == 34
    for slot, transport in enumerate(computer.board.virtio):
        computer.enable(0, irqs[slot])
        transport._tell(1, None)
        assert computer.claim(0) == irqs[slot]


def test_the_guest_switches_itself_off() -> None:
    computer = Computer()
    computer.bus.write(SYSCON, 4, 0x5555)
    assert computer.power == [PowerRequest(PowerAction.OFF)]


def test_the_aclint_is_there_when_asked_for() -> None:
    computer = Computer(aclint=True)
    assert computer.bus.read(0x200_BFF8, 8) == 77
    computer.bus.write(SSWI + 4, 4, 1)
    assert computer.software == [1]


def test_a_board_and_its_devices_come_back() -> None:
    computer = Computer(virtio=devices())
    computer.enable(0, 10)
    computer.bus.write(SERIAL + 1, 1, 1)
    with computer.bus.lock:
        computer.board.serial.receive(b"typed before")
    state = computer.board.save()
    twin = Computer(virtio=devices())
    twin.board.load(state)
    assert twin.board.save() == state
    assert twin.wires == [True, False]
    assert [twin.claim(0), twin.bus.read(SERIAL, 1)] == [10, ord("t")]
    computer.board.reset()
    assert computer.wires == [False, False]
    assert computer.board.save() != state


def test_work_that_waited_in_a_restored_queue_still_interrupts() -> None:
    """A buffer made available just before the snapshot is served by the restored device, whose interrupt must not get lost."""
    computer = Computer(1, (VirtioRng(bytes),))
    computer.enable(0, 1)
    ram, memory = 0x8000_0000, computer.board.virtio[0].memory
    for offset, value in (
        (0x70, 1),
        (0x70, 3),
        (0x24, 1),
        (0x20, 1),
        (0x70, 11),
        (0x38, 4),
        (0x80, ram),
        (0x90, ram + 0x100),
        (0xA0, ram + 0x200),
        (0x44, 1),
        (0x70, 15),
    ):
        computer.bus.write(VIRTIO + offset, 4, value)
    memory.write(ram, struct.pack("<QIHH", ram + 0x300, 8, 2, 0))
    memory.write(ram + 0x100, struct.pack("<HHH", 0, 1, 0))
    assert not computer.wires[0]
    state = computer.board.save()
    twin = Computer(1, (VirtioRng(bytes),))
    twin.board.virtio[0].memory.write(ram, memory.read(ram, 0x400))
    twin.board.load(state)
    assert twin.wires == [True]
    assert twin.claim(0) == 1


def test_a_reset_board_holds_no_guest_memory() -> None:
    computer = Computer(1, (VirtioRng(bytes),))
    ram, memory = 0x8000_0000, computer.board.virtio[0].memory
    assert isinstance(memory, FakeMemory)
    for offset, value in ((0x38, 4), (0x80, ram), (0x90, ram + 0x100), (0xA0, ram + 0x200), (0x44, 1)):
        computer.bus.write(VIRTIO + offset, 4, value)
    with pytest.raises(BufferError):
        memory.content.clear()
    computer.board.reset()
    memory.content.clear()


def test_a_state_of_another_board_is_refused() -> None:
    state = Computer(virtio=devices()).board.save()
    with pytest.raises(BadInputError, match="virtio0, virtio1, virtio2"):
        Computer().board.load(state)


@pytest.mark.parametrize(("harts", "memory"), [(0, 1 << 20), (513, 1 << 20), (1, 0), (1, 4097)])
def test_refuses_impossible_machines(harts: int, memory: int) -> None:
    with pytest.raises(UsageError, match="give another"):
        BoardConfig(harts, memory, EXTENSIONS)


def test_refuses_more_devices_than_windows_and_loose_wires() -> None:
    with pytest.raises(UsageError, match="33 virtio devices"):
        Computer(1, tuple(VirtioRng(bytes) for _ in range(33)))
    wires = Wires([], lambda request: None, bytearray().extend)
    with pytest.raises(ValueError, match="1 harts with 0"):
        VirtBoard(BoardConfig(1, 1 << 20, EXTENSIONS), FakeMemory(), wires)


BASES = (SYSCON, RTC, MTIMER, SSWI, PLIC, PLIC + 0x1000, PLIC + 0x2080, PLIC + 0x20_1000, SERIAL, VIRTIO, VIRTIO + 0x1000, VIRTIO + 0x2000)
ADDRESS = st.builds(lambda base, offset: base + offset, st.sampled_from(BASES), st.integers(0, 0x300)) | st.integers(0, (1 << 64) - 1)


@given(
    st.lists(st.tuples(ADDRESS, st.sampled_from([1, 2, 4, 8]), st.integers(0, (1 << 64) - 1) | st.integers(0, 15) | st.none()), max_size=60)
)
def test_any_access_is_an_answer_or_a_bus_error(accesses: list[tuple[int, int, int | None]]) -> None:
    computer = Computer(virtio=devices(), aclint=True)
    for address, width, value in accesses:
        with suppress(BusError):
            if value is None:
                assert 0 <= computer.bus.read(address, width) < 1 << 8 * width
            else:
                computer.bus.write(address, width, value)
