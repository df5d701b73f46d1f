"""futex(2), for native code that sleeps and wakes by itself."""

from __future__ import annotations

import platform
import sys

_NUMBERS = {"x86_64": 202, "aarch64": 98, "riscv64": 98}
"""By machine: asm/unistd_64.h of x86, asm-generic/unistd.h of the others."""


def futex_call() -> int:
    """The number of the system call; 0 where the host has none."""
    return _NUMBERS.get(platform.machine(), 0) if sys.platform == "linux" else 0
