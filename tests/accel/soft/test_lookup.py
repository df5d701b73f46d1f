"""Page tables walked from outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gasang.accel.soft.lookup import instruction_at, physical_address
from gasang.accel.soft.memory import GuestRam

BASE = 0x8000_0000


@pytest.fixture
def ram() -> Iterator[GuestRam]:
    made = GuestRam(BASE, 1 << 16)
    yield made
    made.close()


def test_page_tables_are_walked_without_a_trace(ram: GuestRam) -> None:
    root, middle, leaf = BASE + 0x1000, BASE + 0x2000, BASE + 0x3000
    for table, index, target, flags in ((root, 1, middle, 1), (middle, 2, leaf, 1), (leaf, 3, BASE + 0x5000, 0xF)):
        ram.write(table + 8 * index, (target >> 12 << 10 | flags).to_bytes(8, "little"))
    ram.write(middle + 8 * 4, (0x8020_0000 >> 12 << 10 | 0xF).to_bytes(8, "little"))
    satp = 8 << 60 | root >> 12
    address = 1 << 30 | 2 << 21 | 3 << 12
    assert physical_address(ram, satp, address | 0x123) == BASE + 0x5123
    assert physical_address(ram, satp, 1 << 30 | 4 << 21 | 0x12345) == 0x8021_2345
    assert physical_address(ram, satp, address + 0x1000) is None
    assert physical_address(ram, 8 << 60 | 1, address) is None
    assert physical_address(ram, 0, 0x1234) == 0x1234
    ram.write(BASE + 0x5FFE, (0x13).to_bytes(2, "little"))
    assert instruction_at(ram, satp, address | 0xFFE) is None  # its other half is on a page that is not there
    ram.write(BASE + 0x5FFE, (0x4501).to_bytes(2, "little"))
    assert instruction_at(ram, satp, address | 0xFFE) == 0x4501
    assert instruction_at(ram, 0, 0x1234) is None
