"""What every device model promises of its state: save, change, load, and it is the device it was."""

from __future__ import annotations

import copy
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.core.protocols import MmioDevice
from gasang.devices.table import DEVICES, VIRTIO_DEVICES
from gasang.devices.virtio.console import VirtioConsole
from gasang.devices.virtio.vsock_packet import HOST, STREAM, Operation, Packet
from support.board_parts import FakeMemory
from support.device_makers import MAKERS, VIRTIO_MAKERS, Surroundings
from support.virtio_driver import Driver

ACCESS = st.tuples(st.integers(0, 0x5F) | st.integers(0, 0x60_0000), st.sampled_from([1, 2, 4, 8]), st.integers(0, 0xFFFF_FFFF) | st.none())
ACCESSES = st.lists(ACCESS, max_size=30)


def plain(value: object) -> bool:
    """Whether a state is made of plain values only."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and plain(item) for key, item in value.items())
    return all(map(plain, value)) if isinstance(value, list) else value is None or isinstance(value, int | str | bytes)


def stir(device: MmioDevice, accesses: list[tuple[int, int, int | None]]) -> None:
    for offset, width, value in accesses:
        offset %= device.size
        if value is None:
            device.read(offset, width)
        else:
            device.write(offset, width, value)


def test_every_device_of_the_table_is_here() -> None:
    assert set(MAKERS) == set(DEVICES)
    assert set(VIRTIO_MAKERS) == set(VIRTIO_DEVICES)


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=40)
@given(before=ACCESSES, after=ACCESSES)
def test_save_change_load_is_the_same_device(
    name: str, before: list[tuple[int, int, int | None]], after: list[tuple[int, int, int | None]]
) -> None:
    device = MAKERS[name](Surroundings())
    stir(device, before)
    state = device.save()
    kept = copy.deepcopy(state)
    stir(device, after)
    assert state == kept, "a saved state does not change with the device"
    assert plain(state)
    device.load(state)
    assert device.save() == kept
    fresh = MAKERS[name](Surroundings())
    fresh.load(copy.deepcopy(state))
    assert fresh.save() == kept


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=40)
@given(accesses=ACCESSES)
def test_a_loaded_device_drives_its_line_as_the_saved_one(name: str, accesses: list[tuple[int, int, int | None]]) -> None:
    around, other = Surroundings(), Surroundings()
    device, fresh = MAKERS[name](around), MAKERS[name](other)
    if name == "aclint-sswi":
        return
    stir(device, accesses)
    fresh.load(device.save())
    assert other.irq.level == around.irq.level


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=40)
@given(accesses=ACCESSES)
def test_reset_twice_is_reset_once(name: str, accesses: list[tuple[int, int, int | None]]) -> None:
    device = MAKERS[name](Surroundings())
    stir(device, accesses)
    device.reset()
    once = device.save()
    device.reset()
    assert device.save() == once


@pytest.mark.parametrize("name", MAKERS)
def test_a_state_of_an_unknown_version_is_refused(name: str) -> None:
    device = MAKERS[name](Surroundings())
    with pytest.raises(BadInputError, match="version"):
        device.load(device.save() | {"version": 1000})


def busy(name: str, memory: FakeMemory) -> Driver:
    """A virtio device with work done, work waiting and work begun."""
    device = VIRTIO_MAKERS[name](Surroundings())
    driver = Driver(device, memory).start()
    if isinstance(device, VirtioConsole):
        device.resize(80, 25)
        driver.request(3, [struct.pack("<IHH", 0, 0, 1)])
        driver.request(3, [struct.pack("<IHH", 1, 3, 1)])
        device.send("stdin", b"waits for a reader")
    elif name == "block":
        driver.rings[0].add([struct.pack("<IIQ", 4, 0, 0)], [1])
        driver.notify(0)
    elif name == "fs":
        driver.rings[1].add([bytes(44)], [100])
        driver.notify(1)
    elif name == "net":
        driver.rings[0].add(writable=[100])
        driver.request(1, [bytes(60)])
    elif name == "vsock":
        driver.rings[1].add([Packet(3, HOST, 9, 1, 0, STREAM, Operation.REQUEST, 0, 1000, 0).pack()])
        driver.notify(1)
    else:
        driver.request(0, writable=[8])
    return driver


@pytest.mark.parametrize("name", VIRTIO_MAKERS)
def test_a_virtio_device_and_its_transport_come_back(name: str) -> None:
    memory = FakeMemory()
    driver = busy(name, memory)
    state = driver.transport.save()
    kept = copy.deepcopy(state)
    driver.write(0x70, 0)
    assert driver.transport.save() != kept
    assert state == kept
    assert plain(state)
    driver.transport.load(state)
    assert driver.transport.save() == kept
    other = Surroundings()
    fresh = Driver(VIRTIO_MAKERS[name](other), memory)
    fresh.transport.load(state)
    assert fresh.transport.save() == kept
    assert fresh.irq.level == driver.irq.level


@pytest.mark.parametrize("name", VIRTIO_MAKERS)
def test_a_virtio_device_refuses_a_state_of_an_unknown_version(name: str) -> None:
    device = VIRTIO_MAKERS[name](Surroundings())
    with pytest.raises(BadInputError, match="version"):
        device.load(device.save() | {"version": 0})
