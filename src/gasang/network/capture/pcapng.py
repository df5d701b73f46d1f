"""pcapng: the file that captures are kept in, made block by block. No I/O.

A block is {type u32, length u32, body padded to 4 bytes, length u32}. A section begins with a header that tells the byte order (ours:
little), then come interfaces, numbered from 0, packets that name their interface, and in the end what was lost. Options are {code u16,
length u16, value padded to 4 bytes}.

Reference: draft-ietf-opsawg-pcapng, sections 3.1, 3.5 and 4.1 to 4.6.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from gasang.core.errors import BadInputError

MEDIA_TYPE: Final = "application/x-pcapng"
_SECTION, _INTERFACE, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 5, 6
_MAGIC, _MAJOR, _MINOR, _UNKNOWN_LENGTH = 0x1A2B3C4D, 1, 0, -1
_ETHERNET: Final = 1
_OPERATING_SYSTEM, _PROGRAM = 3, 4
_NAME, _RESOLUTION, _FILTER = 2, 9, 11
_AS_TEXT: Final = b"\0"
"""A filter in libpcap's words."""
_NANOSECONDS: Final = b"\x09"
_RECEIVED, _DROPPED = 4, 5
_FRAME = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_OPTION = struct.Struct("<HH")
_SECTION_BODY = struct.Struct("<IHHq")
_INTERFACE_BODY = struct.Struct("<HHI")
_STATISTICS_BODY = struct.Struct("<III")
_PACKET_BODY = struct.Struct("<IIIII")
_LONGEST_OPTION: Final = 0xFFFF
MOST_BLOCK: Final = 1 << 20
"""Larger than the largest frame's."""
Options = Sequence[tuple[int, bytes]]


def section(program: str, system: str) -> bytes:
    """The beginning of a file: what wrote it, on what."""
    options = ((_OPERATING_SYSTEM, system.encode()), (_PROGRAM, program.encode()))
    return _block(_SECTION, _SECTION_BODY.pack(_MAGIC, _MAJOR, _MINOR, _UNKNOWN_LENGTH) + _options(options))


def interface(name: str, most: int, wanted: str = "") -> bytes:
    """An Ethernet interface whose times are nanoseconds, of whose frames `most` bytes are kept; `wanted` is the filter's text."""
    options = [(_NAME, name.encode()), (_RESOLUTION, _NANOSECONDS)]
    if wanted:
        options.append((_FILTER, _AS_TEXT + wanted.encode()))
    return _block(_INTERFACE, _INTERFACE_BODY.pack(_ETHERNET, 0, most) + _options(options))


def packet(number: int, moment: int, data: bytes, length: int) -> bytes:
    """A frame of interface `number`, `moment` nanoseconds after 1970, `length` bytes long, of which `data` was kept."""
    return _block(_PACKET, _PACKET_BODY.pack(number, moment >> 32, moment & 0xFFFFFFFF, len(data), length) + _padded(data))


def statistics(number: int, moment: int, received: int, dropped: int) -> bytes:
    """How many frames interface `number` has had in all until then, and how many of them were lost to us."""
    options = ((_RECEIVED, received.to_bytes(8, "little")), (_DROPPED, dropped.to_bytes(8, "little")))
    return _block(_STATISTICS, _STATISTICS_BODY.pack(number, moment >> 32, moment & 0xFFFFFFFF) + _options(options))


def whole(data: bytes) -> int:
    """How many bytes of the blocks at the beginning of `data` are there as a whole; the rest is still to come.

    Raises BadInputError for what is no block.
    """
    at = 0
    while len(data) - at >= _FRAME.size:
        _kind, length = _FRAME.unpack_from(data, at)
        if length < 12 or length % 4 or length > MOST_BLOCK:
            raise BadInputError("capture", f"a block of {length} bytes is none", "capture again")
        if at + length > len(data):
            break
        at += length
    return at


def packets(data: bytes) -> int:
    """How many packets there are among whole blocks."""
    at = count = 0
    while at < len(data):
        kind, length = _FRAME.unpack_from(data, at)
        count += kind == _PACKET
        at += length
    return count


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return _FRAME.pack(kind, length) + body + _LENGTH.pack(length)


def _options(options: Options) -> bytes:
    made = [_OPTION.pack(code, len(value[:_LONGEST_OPTION])) + _padded(value[:_LONGEST_OPTION]) for code, value in options]
    return b"".join(made) + _OPTION.pack(0, 0)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) & 3)
