"""TCP segments on the wire: headers and options (RFC 9293, section 3.1; RFC 7323, section 2; RFC 2018)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gasang.network.user.checksum import Data

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
HEADER: Final = 20
CHECKSUM_AT: Final = 16
WRAP: Final = 0xFFFFFFFF
LARGEST_SCALE: Final = 14
_END, _NOTHING, _MSS, _SCALE, _SACK_PERMITTED, _SACK = 0, 1, 2, 3, 4, 5
_FIXED: Final = struct.Struct(">HHIIBBHHH")
_DEFAULT_MSS: Final = 536
_SMALLEST_MSS: Final = 88


@dataclass(slots=True)
class Segment:
    """One segment; `window` as it stands in the header. `mss`, `scale` (-1: none) and `takes_sacks` mean something with SYN."""

    source: int
    target: int
    sequence: int
    acknowledgement: int
    flags: int
    window: int
    payload: Data = b""
    mss: int = _DEFAULT_MSS
    scale: int = -1
    takes_sacks: bool = False
    sacks: tuple[tuple[int, int], ...] = ()


def read(data: Data) -> Segment | None:
    """A segment whose checksum has been looked at; None: it is none. Options that make no sense are passed over."""
    if len(data) < HEADER:
        return None
    source, target, sequence, acknowledgement, size, flags, window, _, _ = _FIXED.unpack_from(data)
    size = (size >> 4) * 4
    if not HEADER <= size <= len(data):
        return None
    segment = Segment(source, target, sequence, acknowledgement, flags & 0x3F, window, data[size:])
    if size > HEADER:
        _read_options(segment, bytes(data[HEADER:size]))
    return segment


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data) and data[at] != _END:
        if data[at] == _NOTHING:
            at += 1
            continue
        length = data[at + 1] if at + 1 < len(data) else 0
        if length < 2 or at + length > len(data):
            return
        yield data[at], data[at + 2 : at + length]
        at += length


def _read_options(segment: Segment, data: bytes) -> None:
    for kind, value in _options(data):
        if kind == _MSS and len(value) == 2:
            segment.mss = max(_SMALLEST_MSS, int.from_bytes(value, "big"))
        elif kind == _SCALE and len(value) == 1:
            segment.scale = min(value[0], LARGEST_SCALE)
        elif kind == _SACK_PERMITTED and not value:
            segment.takes_sacks = True
        elif kind == _SACK and len(value) % 8 == 0:
            edges = struct.unpack(f">{len(value) // 4}I", value)
            segment.sacks = tuple(zip(edges[::2], edges[1::2], strict=True))


def opening_options(mss: int, scale: int, *, sacks: bool) -> bytes:
    """The options of a SYN; scale -1: the other end has none, so we have none (RFC 7323, section 2.2)."""
    made = struct.pack(">BBH", _MSS, 4, mss)
    if scale >= 0:
        made += struct.pack(">BBBB", _NOTHING, _SCALE, 3, scale)
    return made + (struct.pack(">BBBB", _NOTHING, _NOTHING, _SACK_PERMITTED, 2) if sacks else b"")


def sack_option(blocks: Sequence[tuple[int, int]]) -> bytes:
    """The option that tells of at most four blocks that have come."""
    if not blocks:
        return b""
    edges = [edge & WRAP for block in blocks[:4] for edge in block]
    return struct.pack(f">BBBB{len(edges)}I", _NOTHING, _NOTHING, _SACK, 2 + 4 * len(edges), *edges)


def header(segment: Segment, options: bytes = b"") -> bytes:
    """Its bytes up to the payload, checksum 0; `options` are a multiple of four bytes."""
    size = (HEADER + len(options)) // 4 << 4
    return _FIXED.pack(
        segment.source, segment.target, segment.sequence & WRAP, segment.acknowledgement & WRAP, size, segment.flags, segment.window, 0, 0
    ) + options  # fmt: skip


def distance(later: int, earlier: int) -> int:
    """How far one sequence number is ahead of the other, -2^31 to 2^31 - 1."""
    return ((later - earlier + 0x80000000) & WRAP) - 0x80000000
