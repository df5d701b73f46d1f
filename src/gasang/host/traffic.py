"""How fast an interface sends, and how late: queueing disciplines as rtnetlink messages.

A token bucket (tc-tbf(8)) lets so many bytes a second through and holds the rest in a short queue; `netem` (tc-netem(8)) keeps each frame
for a while, and does both where it has to. Only bytes here; `gasang.host.netlink.Socket` carries them.

Reference: linux/pkt_sched.h (tc_tbf_qopt, tc_netem_qopt), linux/rtnetlink.h (tcmsg).
"""

from __future__ import annotations

import struct
from typing import Final

from gasang.host.netlink import CREATE, REPLACE, Message, attribute, nested, text

NEW_DISCIPLINE: Final = 36
_TRAFFIC = struct.Struct("=BxxxiIII")
_ROOT: Final = 0xFFFFFFFF
_KIND, _OPTIONS = 1, 2
_TBF_PARAMETERS, _TBF_RATE64, _TBF_BURST = 1, 4, 6
_NETEM_DELAY64, _NETEM_RATE, _NETEM_RATE64 = 10, 6, 8
# tc_ratespec: cell_log, linklayer, overhead i16, cell_align i16, mpu u16, rate u32
_RATE = struct.Struct("=BBhhHI")
_ETHERNET: Final = 1
_TBF = struct.Struct("=III")
"""tc_tbf_qopt behind its two tc_ratespecs: limit, buffer, mtu."""
# latency, limit, loss, gap, duplicate, jitter: all u32; the netem rate: rate u32, packet_overhead i32, cell_size u32, cell_overhead i32
_NETEM = struct.Struct("=IIIIII")
_NETEM_RATESPEC = struct.Struct("=IiIi")
_LARGEST_RATE32: Final = 0xFFFFFFFF
_TICK_NANOSECONDS: Final = 64
"""The kernel's unit of time in a bucket (PSCHED_SHIFT)."""
_SEGMENTS: Final = 65_550
"""A frame of joined segments passes whole, if the bucket holds it; else the kernel cuts it up first."""
_BURST_SECONDS: Final = 0.005
_QUEUE_SECONDS: Final = 0.05
_QUEUED_FRAMES: Final = 10_000


def shaped(index: int, bandwidth: int, latency: int) -> Message:
    """Interface `index` sends so many bits a second at most (0: any), `latency` microseconds late; not both may be 0.

    The kernel refuses what it has no discipline for with ENOENT.
    """
    name, options = ("netem", _delayed(bandwidth // 8, latency)) if latency else ("tbf", _bucket(bandwidth // 8))
    body = _TRAFFIC.pack(0, index, 1 << 16, _ROOT, 0) + text(_KIND, name) + options
    return Message(NEW_DISCIPLINE, CREATE | REPLACE, body, f"discipline {name} of interface {index}")


def _bucket(rate: int) -> bytes:
    """A token bucket of `rate` bytes a second."""
    burst = max(_SEGMENTS, int(rate * _BURST_SECONDS))
    limit = burst + max(_SEGMENTS, int(rate * _QUEUE_SECONDS))
    spec = _RATE.pack(0, _ETHERNET, 0, -1, 0, min(rate, _LARGEST_RATE32))
    peak = _RATE.pack(0, 0, 0, 0, 0, 0)
    ticks = min(burst * 1_000_000_000 // rate // _TICK_NANOSECONDS, 0xFFFFFFFF)
    parameters = spec + peak + _TBF.pack(min(limit, 0xFFFFFFFF), ticks, 0)
    parts = [attribute(_TBF_PARAMETERS, parameters), attribute(_TBF_BURST, struct.pack("=I", burst))]
    if rate > _LARGEST_RATE32:
        parts.append(attribute(_TBF_RATE64, struct.pack("=Q", rate)))
    return nested(_OPTIONS, *parts)


def _delayed(rate: int, latency: int) -> bytes:
    """Each frame kept for `latency` microseconds, and `rate` bytes a second (0: any)."""
    fixed = _NETEM.pack(0, _QUEUED_FRAMES, 0, 0, 0, 0)
    parts = [attribute(_NETEM_DELAY64, struct.pack("=q", latency * 1000))]
    if rate:
        parts.append(attribute(_NETEM_RATE, _NETEM_RATESPEC.pack(min(rate, _LARGEST_RATE32), 0, 0, 0)))
    if rate > _LARGEST_RATE32:
        parts.append(attribute(_NETEM_RATE64, struct.pack("=Q", rate)))
    # As the kernel has it, the fixed structure comes first in the nest, and attributes follow it.
    return attribute(_OPTIONS, fixed + b"".join(parts))
