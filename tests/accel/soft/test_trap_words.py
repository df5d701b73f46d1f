from __future__ import annotations

from gasang.accel.soft.trap_words import trap_text
from gasang.cpus.riscv64.trap import INTERRUPT


def test_traps_in_words() -> None:
    assert trap_text(INTERRUPT | 5, 0) == "timer interrupt"
    assert trap_text(INTERRUPT | 60, 0) == "number 60 interrupt"
    assert trap_text(13, 0x10) == "load page fault, stval 0x10"
    assert trap_text(63, 0) == "exception 63, stval 0x0"
