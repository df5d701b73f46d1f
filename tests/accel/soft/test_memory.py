"""Guest RAM: what is not RAM is refused, and it costs what is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.accel.soft.machine import SoftMachine
from gasang.accel.soft.memory import GuestRam
from gasang.core.errors import OutOfSpaceError
from gasang.core.protocols import GuestMemoryFault

BASE, SIZE = 0x8000_0000, 1 << 16
GIB = 1 << 30


@pytest.fixture(scope="module")
def ram() -> Iterator[GuestRam]:
    made = GuestRam(BASE, SIZE)
    yield made
    made.close()


NEAR = st.sampled_from([0, BASE, BASE + SIZE, 1 << 63, 1 << 64]).flatmap(lambda edge: st.integers(edge - 5000, edge + 5000))
ADDRESSES = NEAR | st.integers(-(1 << 64), 1 << 65)
LENGTHS = st.integers(-10, 10) | st.integers(-(1 << 64), 1 << 65) | st.integers(SIZE - 10, SIZE + 10)


@given(address=ADDRESSES, length=LENGTHS)
@settings(max_examples=500, deadline=None)
def test_what_is_not_ram_is_refused(ram: GuestRam, address: int, length: int) -> None:
    inside = length >= 0 and address >= BASE and address + length <= BASE + SIZE
    for access in (ram.read, ram.view):
        if inside:
            assert len(access(address, length)) == length
        else:
            with pytest.raises(GuestMemoryFault):
                access(address, length)


@given(address=st.integers(BASE - 100, BASE + 100) | st.integers(BASE + SIZE - 100, BASE + SIZE + 100), data=st.binary(max_size=150))
@settings(max_examples=300, deadline=None)
def test_a_store_is_done_whole_or_not_at_all(ram: GuestRam, address: int, data: bytes) -> None:
    before = ram.read(BASE, SIZE)
    start = address - BASE
    if start >= 0 and start + len(data) <= SIZE:
        ram.write(address, data)
        assert ram.read(BASE, SIZE) == before[:start] + data + before[start + len(data) :]
    else:
        with pytest.raises(GuestMemoryFault):
            ram.write(address, data)
        assert ram.read(BASE, SIZE) == before


@given(address=ADDRESSES, length=LENGTHS)
@settings(max_examples=300, deadline=None)
def test_only_ram_is_discarded(ram: GuestRam, address: int, length: int) -> None:
    ram.write(BASE, bytes(range(256)) * (SIZE // 256))
    if length >= 0 and address >= BASE and address + length <= BASE + SIZE:
        ram.discard(address, length)
        first, last = -(-address // 4096) * 4096 - BASE, (address + length) // 4096 * 4096 - BASE
        whole = range(first, max(first, last))
        assert all(ram.read(BASE + page, 1)[0] == 0 and ram.read(BASE + page + 255, 1)[0] == 0 for page in whole[::4096])
        assert sum(byte != 0 for byte in ram.read(BASE, SIZE)) == (SIZE - len(whole)) // 256 * 255
    else:
        with pytest.raises(GuestMemoryFault):
            ram.discard(address, length)


def test_a_window_shows_ram_and_cannot_change_it(ram: GuestRam) -> None:
    window = ram.view(BASE + 8, 4)
    ram.write(BASE + 8, memoryview(b"abcd"))
    assert bytes(window) == b"abcd"
    assert window.readonly


def test_stores_are_told_by_page() -> None:
    made = GuestRam(BASE, SIZE)
    told: list[tuple[int, int]] = []
    made.on_change(lambda first, last: told.append((first, last)))
    made.write(BASE, b"x")
    made.write(BASE + 4095, b"xy")
    made.write(BASE + SIZE - 1, b"x")
    made.write(BASE + 4096, b"")
    made.read(BASE, 100)
    made.discard(BASE + 4096, 8192)
    made.discard(BASE, 0)
    made.close()
    assert told == [(0, 0), (0, 1), (15, 15), (1, 2)]


def test_memory_costs_what_is_touched() -> None:
    made = GuestRam(BASE, 100 * GIB)
    made.write(BASE + 100 * GIB - 5, b"there")
    made.write(BASE + 50 * GIB, b"here")
    assert made.read(BASE + 100 * GIB - 5, 5) == b"there"
    assert made.read(BASE + 99 * GIB, 4096) == bytes(4096)
    touched = made.memory.touched()
    made.close()
    assert 0 <= touched <= 4 << 20


def test_a_machine_of_100_gib_costs_what_is_touched(make_machine: Callable[..., SoftMachine]) -> None:
    machine = make_machine(memory=100 * GIB)
    parts = [machine.ram.memory, machine._page_flags, machine.harts[0]._blocks, machine.harts[0]._code_map]
    assert sum(part.touched() for part in parts) <= 8 << 20


def test_more_than_the_host_can_map_is_told() -> None:
    with pytest.raises(OutOfSpaceError, match="ask for less with --memory"):
        GuestRam(BASE, 1 << 62)
