"""Traps in words."""

from __future__ import annotations

from gasang.cpus.riscv64.trap import INTERRUPT

EXCEPTIONS = {
    0: "misaligned fetch", 1: "fetch access fault", 2: "illegal instruction", 3: "breakpoint", 4: "misaligned load", 5: "load access fault",
    6: "misaligned store", 7: "store access fault", 8: "call from U-mode", 9: "call from S-mode", 12: "fetch page fault",
    13: "load page fault", 15: "store page fault",
}  # fmt: skip
"""scause to words (privileged specification, table of supervisor cause values)."""
INTERRUPTS = {1: "software", 5: "timer", 9: "external"}


def trap_text(cause: int, value: int) -> str:
    """A trap in words."""
    if cause & INTERRUPT:
        number = cause & ~INTERRUPT
        return f"{INTERRUPTS.get(number, f'number {number}')} interrupt"
    return f"{EXCEPTIONS.get(cause, f'exception {cause}')}, stval {value:#x}"
