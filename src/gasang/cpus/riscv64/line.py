"""A serial line's two busiest registers, answered without leaving the run loop: a kernel's boot asks for little else of its devices.

A 16550's driver looks into the line status before each byte that it sends. What the machine offers here (Shared.line_at and what follows)
is that status, and room where bytes wait for the device. Everything else of the device, and these two wherever nothing is offered, asks the
machine as any device does. A hart that has left bytes here leaves its run loop LINE_POLLS polls later, or where it would wait: so a line is
sent as one, and none waits longer than some thirty thousand instructions.
"""

from __future__ import annotations

from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.code import lock, unlock
from gasang.cpus.riscv64.state import LINE_ROOM, Cpu
from gasang.native import atomic_or, boolean, copy, native, ptr, ref, u8, u64, unlikely

LINE_POLLS = 32
SEND, STATUS = 0, 5
"""The registers' offsets (PC16550D data sheet, table II)."""


@native(inline=False)
def line_status(cpu: ptr[Cpu], physical: u64, size: u64) -> u64:
    """What a load of `size` bytes at a guest-physical address finds, if it is of the line status; 0 if the device is to be asked."""
    shared = cpu.shared
    return shared.line_status if size == 1 and physical == shared.line_at + STATUS else u64(0)


@native(inline=False)
def line_takes(cpu: ptr[Cpu], physical: u64, value: u64, size: u64) -> boolean:
    """Whether a store was of a byte to be sent, which waits now. The device is asked otherwise, and where there is no more room."""
    shared = cpu.shared
    if size != 1 or physical != shared.line_at + SEND:
        return False
    lock(shared)
    count = shared.line_count
    takes = shared.line_open != 0 and count < u64(LINE_ROOM)
    if takes:
        shared.line[count] = u8(value)
        shared.line_count = count + 1
    unlock(shared)
    if takes and cpu.line_polls == 0:
        cpu.line_polls = LINE_POLLS
    return takes


@native(inline=True)
def line_is_due(cpu: ptr[Cpu]) -> None:
    """A poll has come: bytes that wait have waited for one more."""
    if unlikely(cpu.line_polls != 0):
        cpu.line_polls = cpu.line_polls - 1
        if cpu.line_polls == 0:
            atomic_or(ref(cpu.requests), exits.REQUEST_STOP)


@native(inline=True)
def hasten_line(cpu: ptr[Cpu]) -> None:
    """The hart would wait: bytes that wait are not to wait for that."""
    if cpu.line_polls != 0:
        cpu.line_polls = 0
        atomic_or(ref(cpu.requests), exits.REQUEST_STOP)


@native
def take_line(cpu: ptr[Cpu], out: ptr[u8]) -> u64:
    """Move what waits to `out` (LINE_ROOM bytes); how many. From any thread."""
    shared = cpu.shared
    lock(shared)
    count = shared.line_count
    copy(out, ref(shared.line[0]), count)
    shared.line_count = 0
    unlock(shared)
    return count
