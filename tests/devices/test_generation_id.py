"""The generation of a machine: a number to read, and an interrupt that lasts until it is read."""

from __future__ import annotations

import pytest

from gasang.core.errors import BadInputError
from gasang.devices.generation_id import GenerationId
from support.board_parts import FakeIrq

NUMBER = bytes(range(1, 17))


def made() -> tuple[GenerationId, FakeIrq]:
    irq = FakeIrq()
    return GenerationId(irq), irq


def read_all(device: GenerationId, width: int) -> bytes:
    return b"".join(device.read(offset, width).to_bytes(width, "little") for offset in range(0, 16, width))


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_new_number_interrupts_until_it_is_read(width: int) -> None:
    device, irq = made()
    assert read_all(device, width) == bytes(16)
    device.renew(NUMBER)
    assert irq.level
    assert device.read(0, width) == int.from_bytes(NUMBER[:width], "little")
    assert irq.level
    assert read_all(device, width) == NUMBER
    assert not irq.level
    assert irq.rises == 1


def test_it_cannot_be_written_and_survives_a_reset() -> None:
    device, irq = made()
    device.renew(NUMBER)
    device.write(0, 8, 0)
    device.reset()
    assert not irq.level
    assert read_all(device, 8) == NUMBER
    assert device.read(16, 8) == 0


@pytest.mark.parametrize("number", [b"", bytes(15), "x" * 16, None])
def test_a_state_without_a_number_is_refused(number: object) -> None:
    device, _ = made()
    with pytest.raises(BadInputError, match="16 bytes"):
        device.load({"version": 1, "number": number, "changed": 0})
