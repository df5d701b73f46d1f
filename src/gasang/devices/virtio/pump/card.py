"""Frames that a guest sends (virtio 1.2, section 5.1.6), into a tap; what that does not take is lost, as in devices/virtio/net.py."""

from __future__ import annotations

from gasang.devices.virtio.pump.calls import Call
from gasang.devices.virtio.pump.disk import ODD, total
from gasang.devices.virtio.pump.state import Pump, Queue
from gasang.native import native, ptr, ref, syscall, u32, u64

SMALLEST, LARGEST = 12 + 14, 12 + 14 + 4 + 65535
"""Bytes of a frame with its header (devices/virtio/net.py)."""


@native
def card(p: ptr[Pump], q: ptr[Queue]) -> u32:
    """Send the chain: the bytes written to it, which are none."""
    if p.count != p.readable:
        return ODD
    size = total(p, 0, p.readable)
    if size >= SMALLEST and size <= LARGEST:
        syscall(Call.writev, u64(q.files[0]), u64(ref(p.vectors)), u64(p.readable))
    return 0
