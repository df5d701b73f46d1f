"""The PCI bus: its functions by memory and by ports, windows that move, and guests that put them anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.devices.pci.config import BARS, COMMAND, MEMORY_SPACE, SIZE, ConfigSpace, Identity
from gasang.devices.pci.host import BUS_SIZE, SLOTS, Bridge, ConfigPorts, Ecam, PciBus, Window
from gasang.devices.table import VIRTIO_DEVICES
from gasang.devices.virtio.pci import WINDOW
from support.device_makers import PCI_BASE, VIRTIO_MAKERS, Surroundings, pci_bus

SLOT = 8 * SIZE
BLOCK = 1 + list(VIRTIO_MAKERS).index("block")
"""The slot of the disk; the console follows."""


@pytest.fixture
def bus() -> PciBus:
    return pci_bus(Surroundings())


def test_functions_are_found_by_memory_and_by_ports(bus: PciBus) -> None:
    ecam, ports = Ecam(bus), ConfigPorts(bus)
    found = []
    for number in range(256):
        ports.write(0, 4, 1 << 31 | number << 8)
        value = ports.read(4, 4)
        assert value == ecam.read(number * SIZE, 4)
        found += [(number, value)] if value != 0xFFFF_FFFF else []
    kinds = [0x1040 + VIRTIO_DEVICES[name].device_id for name in VIRTIO_MAKERS]
    assert found == [(0, 0x0008_1B36), *((8 * slot, kind << 16 | 0x1AF4) for slot, kind in enumerate(kinds, 1))]
    assert ecam.read(0xA, 2) == 0x0600, "the first is the host bridge, for which kernels look"


def test_the_ports_have_parts(bus: PciBus) -> None:
    ports = ConfigPorts(bus)
    ports.write(0, 4, 0xFFFF_FFFF)
    assert ports.read(0, 4) == 0x80FF_FFFC
    assert [ports.read(offset, width) for offset, width in ((0, 1), (4, 4), (6, 4))] == [0xFF, 0xFFFF_FFFF, 0xFFFF_FFFF]
    ports.write(0, 4, 1 << 31 | BLOCK * 8 << 8)
    assert [ports.read(offset, width) for offset, width in ((4, 2), (6, 2), (7, 1))] == [0x1AF4, 0x1042, 0x10]
    ports.write(0, 1, 0)
    ports.write(0, 4, BLOCK * 8 << 8)
    assert ports.read(4, 4) == 0xFFFF_FFFF
    ports.write(4, 4, 0)
    ports.reset()
    assert ports.read(0, 4) == 0


def test_windows_follow_their_registers(bus: PciBus) -> None:
    ecam, window = Ecam(bus), Window(bus, PCI_BASE, 1 << 20)
    own = (BLOCK - 1) * WINDOW
    assert window.read(own + 0x12, 2) == 1
    assert window.read(own + WINDOW + 0x12, 2) == 6
    ecam.write(BLOCK * SLOT + BARS, 4, PCI_BASE + 0x8_0000)
    assert window.read(own + 0x12, 2) == 0xFFFF
    assert window.read(0x8_0012, 2) == 1
    ecam.write(BLOCK * SLOT + COMMAND, 2, 0)
    window.write(0x8_0014, 1, 1)
    ecam.write(BLOCK * SLOT + COMMAND, 2, MEMORY_SPACE)
    assert window.read(0x8_0014, 1) == 0
    ecam.reset()
    assert bus.at(PCI_BASE, 4) is None


def test_a_full_bus_takes_no_more() -> None:
    bus = PciBus()
    assert [bus.plug(Bridge()) for _ in range(SLOTS - 1)] == list(range(1, SLOTS))
    with pytest.raises(ValueError, match="32 slots"):
        bus.plug(Bridge())


def test_capabilities_have_their_room() -> None:
    space = ConfigSpace(Identity(1, 2, 3))
    first, second = space.capability(9, b"abc"), space.capability(9, b"")
    assert (space.read(0x34, 1), space.read(first + 1, 1), space.read(second + 1, 1)) == (first, second, 0)
    with pytest.raises(ValueError, match="no room"):
        space.capability(9, bytes(200))


def test_the_state_of_another_function_is_refused() -> None:
    space = ConfigSpace(Identity(1, 2, 3), 0x1000)
    state = space.save()
    for wrong in ({**state, "bytes": b""}, {**state, "bytes": b"\xff" + state["bytes"][1:]}, {**state, "version": 3}):
        with pytest.raises(BadInputError):
            space.load(wrong)


OFFSETS = st.integers(0, 5 * SLOT) | st.integers(0, BUS_SIZE - 1)
ACCESS = st.tuples(OFFSETS, st.sampled_from([1, 2, 4, 8]), st.integers(0, (1 << 64) - 1) | st.none())


@given(st.lists(ACCESS, max_size=60))
def test_any_configuration_access_is_taken(accesses: list[tuple[int, int, int | None]]) -> None:
    bus = pci_bus(Surroundings())
    ecam, window = Ecam(bus), Window(bus, PCI_BASE, 1 << 20)
    fixed = [ecam.read(slot * SLOT, 4) for slot in range(SLOTS)]
    for offset, width, value in accesses:
        if value is None:
            assert 0 <= ecam.read(offset, width) < 1 << 8 * width
            assert 0 <= window.read(min(offset, (1 << 20) - width), width) < 1 << 8 * width
        else:
            ecam.write(offset, width, value & (1 << 8 * width) - 1)
    assert [ecam.read(slot * SLOT, 4) for slot in range(SLOTS)] == fixed
