"""Names of registers by their address, and of firmware calls."""

from __future__ import annotations

import pytest

from gasang.devices.virtio.block import VirtioBlock
from gasang.devices.virtio.rng import VirtioRng
from gasang.kinds.vm.board import RTC_BASE, SERIAL_BASE, VIRTIO_BASE, BoardConfig, VirtBoard, Wires
from gasang.kinds.vm.names import CALLS, BoardNames, call_name
from gasang.kinds.vm.sbi import LEGACY_GETCHAR, LEGACY_PUTCHAR, LEGACY_SHUTDOWN, TABLE
from support.board_parts import FakeMemory, MemoryBlock

ARGUMENTS = (0x4442434E, 1, 2, 3, 4, 5)


@pytest.fixture
def names() -> BoardNames:
    wires = Wires([lambda level: None], lambda request: None, lambda data: None)
    board = VirtBoard(BoardConfig(1, 1 << 30, ("i", "m", "a")), FakeMemory(), wires, [VirtioRng(bytes), VirtioBlock(MemoryBlock())])
    return BoardNames(board.bus)


@pytest.mark.parametrize(
    ("address", "is_write", "name"),
    [
        (SERIAL_BASE + 5, False, "serial LSR"),
        (SERIAL_BASE + 0x40, False, "serial +0x40"),
        (RTC_BASE, False, "rtc TIME_LOW"),
        (VIRTIO_BASE + 0x1050, True, "virtio1 (block) QueueNotify"),
        (VIRTIO_BASE + 0x70, True, "virtio0 (rng) Status"),
        (VIRTIO_BASE + 0x2000, True, ""),
        (0, False, ""),
        ((1 << 64) - 1, False, ""),
    ],
)
def test_places(names: BoardNames, address: int, is_write: bool, name: str) -> None:
    assert names.place(address, is_write=is_write) == name


@pytest.mark.parametrize(
    ("extension", "function", "text"),
    [
        (0x10, 3, "BASE probe_extension(extension_id=DBCN)"),
        (0x52464E43, 2, "RFENCE remote_sfence_vma_asid(hart_mask=0x4442434e, hart_mask_base=0x1, start_addr=0x2, size=0x3, asid=0x4)"),
        (0x48534D, 1, "HSM hart_stop()"),
        (0x48534D, 9, "HSM function 9, a0 0x4442434e, a1 0x1"),
        (8, 77, "legacy shutdown()"),
        (0x1234, 5, "0x1234 function 5, a0 0x4442434e, a1 0x1"),
        ((1 << 64) - 1, 0, "0xffffffffffffffff function 0, a0 0x4442434e, a1 0x1"),
    ],
)
def test_calls(names: BoardNames, extension: int, function: int, text: str) -> None:
    assert names.call(extension, function, ARGUMENTS) == text


def test_every_call_that_is_answered_has_a_name() -> None:
    legacy = {LEGACY_PUTCHAR, LEGACY_GETCHAR, LEGACY_SHUTDOWN}
    assert {key for key in TABLE if key[0] not in legacy} <= set(CALLS)
    assert all("function" not in call_name(extension, function, ARGUMENTS) for extension, function in TABLE)
