"""How much memory a kernel needs, asked before it is started: one that has too little panics before it can say so, or loops for ever."""

from __future__ import annotations

from gasang.core.errors import UsageError
from gasang.kinds.vm.loader import Kernel

_GRAIN = 16 << 20
"""People do not give memory in smaller steps."""
_DEVICE_TREE = 4 << 20
"""It takes 2 MiB at a multiple of 2 MiB."""

DEBIAN = 64 << 20
"""What Debian's kernel needs for its own tables, its modules and the first programs (116 MiB in all were enough, 112 were not)."""


def check_room(memory: int, kernel: Kernel, ram_base: int, initrd: bytes, unpacked: int, working: int, what: str) -> None:
    """Raise UsageError unless `memory` bytes from `ram_base` on hold the kernel, its initrd, its unpacked files, and `working` bytes.

    `what` is the thing that needs them, as a sentence names it.
    """
    needed = kernel.end - ram_base + len(initrd) + unpacked + working + _DEVICE_TREE
    if memory < needed:
        enough = -(-needed // _GRAIN) * _GRAIN
        raise UsageError(f"{memory >> 20} MiB of memory", f"too little for {what}", f"give at least --memory {enough >> 20}M")
