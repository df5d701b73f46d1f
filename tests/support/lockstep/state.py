"""What is compared after every block of instructions."""

from __future__ import annotations

import struct
from functools import cache
from typing import NamedTuple

from gasang.cpus.riscv64.csr import CYCLE, FCSR, INSTRET, NAMES, SIP, TIME

PAGE = 4096
RAM_BASE = 0x8000_0000
RAM_SIZE = 1 << 20

NOT_COMPARED = (
    (TIME, "follows the host's clock here, a counter of steps there"),
    (CYCLE, "the same as instret here; read by instructions instead"),
    (INSTRET, "its difference is compared, not its value"),
    (SIP, "STIP follows the time"),
    (FCSR, "is fflags and frm"),
)
"""CSRs the two machines cannot agree on, and why."""


@cache
def csr_numbers() -> tuple[int, ...]:
    """The CSRs compared."""
    left_out = {number for number, _ in NOT_COMPARED}
    return tuple(number for number in NAMES if number not in left_out)


class Vector(NamedTuple):
    """A hart's architectural state."""

    pc: int
    privilege: int
    x: bytes
    f: bytes
    csrs: tuple[int, ...]


def differences(ours: Vector, golden: Vector) -> list[str]:
    """What differs, a line each."""
    lines = []
    if ours.pc != golden.pc:
        lines.append(f"pc is {ours.pc:#x}, golden {golden.pc:#x}")
    if ours.privilege != golden.privilege:
        lines.append(f"privilege is {ours.privilege}, golden {golden.privilege}")
    for letter, mine, theirs in (("x", ours.x, golden.x), ("f", ours.f, golden.f)):
        pairs = zip(struct.unpack("<32Q", mine), struct.unpack("<32Q", theirs), strict=True)
        lines += [f"{letter}{index} is {a:#018x}, golden {b:#018x}" for index, (a, b) in enumerate(pairs) if a != b]
    for number, a, b in zip(csr_numbers(), ours.csrs, golden.csrs, strict=True):
        if a != b:
            lines.append(f"{NAMES[number]} is {a:#x}, golden {b:#x}")
    return lines
