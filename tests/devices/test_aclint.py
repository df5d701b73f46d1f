"""The counter and the supervisor software interrupts."""

from __future__ import annotations

from gasang.devices.aclint import Mtimer, Sswi


def test_mtime_is_read_whole_or_by_halves_and_never_written() -> None:
    timer = Mtimer(lambda: 0x1122_3344_5566_7788)
    timer.write(0x7FF8, 8, 0)
    assert timer.read(0x7FF8, 8) == 0x1122_3344_5566_7788
    assert [timer.read(0x7FF8, 4) & 0xFFFF_FFFF, timer.read(0x7FFC, 4)] == [0x5566_7788, 0x1122_3344]
    assert [timer.read(0x7FFA, 4), timer.read(0x7FF8, 2)] == [0, 0]


def test_machine_mode_compares_with_never() -> None:
    timer = Mtimer(lambda: 0)
    timer.write(0, 8, 0)
    assert timer.read(0, 8) == (1 << 64) - 1


def test_sswi_interrupts_the_hart_of_the_register() -> None:
    seen: list[tuple[int, bool]] = []
    sswi = Sswi([lambda level, hart=hart: seen.append((hart, level)) for hart in range(3)])  # type: ignore[misc]
    sswi.write(8, 4, 0xFFFF_FFFF)
    sswi.write(0, 4, 1)
    assert seen == [(2, True), (0, True)]
    for offset, width, value in ((4, 4, 0), (4, 4, 2), (12, 4, 1), (0x3FFC, 4, 1), (4, 2, 1), (5, 4, 1)):
        sswi.write(offset, width, value)
    assert len(seen) == 2
    assert sswi.read(8, 4) == 0
