"""How a PC ends: by ACPI's registers, by the keyboard controller, by a panic that is told."""

from __future__ import annotations

import pytest

from gasang.devices.acpi_power import AcpiPower
from gasang.devices.i8042 import I8042
from gasang.devices.pvpanic import Pvpanic
from gasang.devices.syscon import PowerAction, PowerRequest

OFF, RESET, PANIC = PowerRequest(PowerAction.OFF), PowerRequest(PowerAction.RESET), PowerRequest(PowerAction.FAIL, 1)


@pytest.mark.parametrize(
    ("offset", "value", "asked"),
    [
        (0, 5 << 2 | 1 << 5, [OFF]),
        (0, 5 << 2, []),
        (0, 3 << 2 | 1 << 5, []),
        (1, 0xFF, []),
        (2, 1, [RESET]),
        (2, 2, []),
    ],
)
def test_acpi(offset: int, value: int, asked: list[PowerRequest]) -> None:
    heard: list[PowerRequest] = []
    device = AcpiPower(5, 1, heard.append)
    device.write(offset, 1, value)
    assert heard == asked
    assert [device.read(number, 1) for number in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(("offset", "value", "asked"), [(4, 0xFE, [RESET]), (4, 0xAA, []), (0, 0xFE, [])])
def test_keyboard_controller(offset: int, value: int, asked: list[PowerRequest]) -> None:
    heard: list[PowerRequest] = []
    device = I8042(heard.append)
    device.write(offset, 1, value)
    assert heard == asked
    assert (device.read(4, 1), device.read(0, 1)) == (0, 0xFF)


@pytest.mark.parametrize(("value", "asked"), [(1, [PANIC]), (3, [PANIC]), (2, []), (0, [])])
def test_a_panic_is_a_failure(value: int, asked: list[PowerRequest]) -> None:
    heard: list[PowerRequest] = []
    device = Pvpanic(heard.append)
    assert device.read(0, 1) == 1
    device.write(0, 1, value)
    assert heard == asked
