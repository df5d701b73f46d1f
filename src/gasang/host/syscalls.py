"""Names and numbers of Linux system calls, for this machine and for those whose programs it may run."""

from __future__ import annotations

import platform
from functools import cache
from typing import Final

from gasang.core.errors import UnsupportedError
from gasang.host import _generated_syscalls as generated

TABLES: Final[dict[str, str]] = {
    "x86_64": generated.X86_64,
    "x86": generated.X86,
    "x32": generated.X32,
    "aarch64": generated.AARCH64,
    "riscv64": generated.RISCV64,
}
"""Architecture → its table as text; the names are those of `uname -m`, and x86 and x32 for the two others an x86_64 kernel has."""

X32_BIT: Final = 0x40000000
"""What tells calls of the x32 interface from those of x86_64."""

_SAME: Final = {"amd64": "x86_64", "arm64": "aarch64"}


@cache
def table(architecture: str) -> dict[str, int]:
    """Name → number. Raises UnsupportedError for an architecture that has no table here."""
    text = TABLES.get(_SAME.get(architecture, architecture))
    if text is None:
        raise UnsupportedError(f"architecture {architecture}", "its system calls are not known here", f"known are {', '.join(TABLES)}")
    bit = X32_BIT if architecture == "x32" else 0
    return {name: int(number) | bit for name, _, number in (cell.partition("=") for cell in text.split())}


@cache
def machine_name() -> str:
    """The architecture here; where it has no table x86_64, so that plans can still be made and read."""
    machine = platform.machine().lower()
    machine = _SAME.get(machine, machine)
    return machine if machine in TABLES else "x86_64"


@cache
def native_table() -> dict[str, int]:
    """The table of this machine."""
    return table(machine_name())


def number(name: str) -> int:
    """The number of a system call here. Raises KeyError where this architecture does not have it."""
    return native_table()[name]
