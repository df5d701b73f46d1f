"""Every device has names for its registers, and the drivers' registers have the manuals' names."""

from __future__ import annotations

import pytest

from gasang.devices.plic import Plic
from gasang.devices.register_names import REGISTERS, register_name
from gasang.devices.serial16550 import Serial16550
from gasang.devices.syscon import Syscon
from gasang.devices.table import DEVICES
from gasang.devices.virtio.mmio import VirtioMmio


def test_every_device_is_named() -> None:
    assert set(REGISTERS) == set(DEVICES.values())


@pytest.mark.parametrize(
    ("device", "offset", "is_write", "name"),
    [
        (Serial16550, 0, False, "RBR/DLL"),
        (Serial16550, 0, True, "THR/DLL"),
        (Serial16550, 2, True, "FCR"),
        (Serial16550, 5, False, "LSR"),
        (Serial16550, 8, False, ""),
        (Plic, 4 * 10, True, "priority of source 10"),
        (Plic, 0x1004, False, "pending of sources 32 to 63"),
        (Plic, 0x2080, True, "enable of context 1, sources 0 to 31"),
        (Plic, 0x20_1004, False, "claim of context 1"),
        (Plic, 0x20_1004, True, "complete of context 1"),
        (Plic, 0x20_3000, True, "threshold of context 3"),
        (Plic, 0x20_3008, True, ""),
        (VirtioMmio, 0x50, True, "QueueNotify"),
        (VirtioMmio, 0x54, True, ""),
        (VirtioMmio, 0x104, False, "Config+0x4"),
    ],
)
def test_names(device: type, offset: int, is_write: bool, name: str) -> None:
    assert REGISTERS[device](offset, is_write) == name


@pytest.mark.parametrize("device", list(REGISTERS))
def test_any_offset_has_an_answer(device: type) -> None:
    """A guest may access any offset of the window, whatever is there."""
    size = device.size  # type: ignore[attr-defined]
    for offset in (*range(min(size, 0x300)), *range(0, size, 0x3FD), size - 1):
        assert isinstance(REGISTERS[device](offset, False), str)


def test_a_device_is_asked_by_its_class() -> None:
    assert register_name(Syscon(lambda request: None), 0, is_write=True) == "request"
