"""What a kernel's interfaces do by themselves, for programs that cannot take it: checksums filled in, joined segments of TCP cut.

In front of a frame is a struct virtio_net_hdr_v1 (virtio 1.2, section 5.1.6): flags, kind of segments, and as 16-bit words the length of
the headers, that of a segment, where the checksum begins, and where in that it is. All of it is a guest's; nothing is believed.
"""

from __future__ import annotations

from typing import Final

from gasang.native import boolean, cast, copy, fill, load_unaligned, minimum, native, ptr, u8, u16, u32, u64
from gasang.network.switch.fields import be16, be32, le16, put16, put32
from gasang.network.switch.state import HEADER

NEEDS_CHECKSUM: Final = 1
NO_SEGMENTS, TCP4, TCP6, ECN = 0, 1, 4, 0x80
TAKES_CHECKSUM, TAKES_TCP4, TAKES_TCP6 = 1, 2, 4
"""As TUNSETOFFLOAD has them."""
LEAST_SEGMENT: Final = 48
"""What Linux takes at least (TCP_MIN_SND_MSS): a frame becomes 1366 at most."""
_TCP: Final = 6
_FIN_PSH, _CWR = 0x09, 0x80


@native
def summed(data: ptr[u8], size: u64, begun: u64) -> u64:
    """The sum of the 16-bit words, in the host's order, and what was `begun` (RFC 1071)."""
    total = begun
    words = size // 4
    for i in range(words):
        total += u64(load_unaligned(cast(ptr[u32], data + i * 4)))
    at = words * 4
    if size - at >= 2:
        total += u64(load_unaligned(cast(ptr[u16], data + at)))
        at += 2
    if at < size:
        total += u64(data[at])
    return total


@native
def folded(total: u64) -> u32:
    """The checksum that a sum makes, as its two bytes lie in memory read big-endian."""
    x = (total & 0xFFFFFFFF) + (total >> 32)
    x = (x & 0xFFFF) + (x >> 16 & 0xFFFF) + (x >> 32)
    x = (x & 0xFFFF) + (x >> 16)
    x = (x & 0xFFFF) + (x >> 16)
    swapped = (x & 0xFF) << 8 | x >> 8
    return u32(swapped ^ 0xFFFF) & 0xFFFF


@native
def completed(data: ptr[u8], size: u64) -> boolean:
    """Fill in the checksum that was left out of a frame, whose header is at `data` and which is `size` bytes; False where it cannot be."""
    frame = data + HEADER
    start = u64(le16(data + 6))
    place = start + u64(le16(data + 8))
    if start < 14 or place + 2 > size:
        return False
    value = folded(summed(frame + start, size - start, 0))
    put16(frame + place, value if value != 0 else 0xFFFF)
    fill(data, 0, HEADER)
    return True


@native
def tcp_at(data: ptr[u8], size: u64) -> u64:
    """Where TCP's header begins in a frame of joined segments; 0 where that is none."""
    frame = data + HEADER
    at: u64 = 18 if be16(frame + 12) == 0x8100 else 14
    kind = u32(data[1]) & ~u32(ECN)
    if kind == TCP4 and size >= at + 20 and frame[at + 9] == _TCP and frame[at] >> 4 == 4:
        here = at + u64(frame[at] & 15) * 4
        return here if frame[at] & 15 >= 5 and size >= here + 20 else 0
    if kind == TCP6 and size >= at + 60 and frame[at + 6] == _TCP:
        return at + 40
    return 0


@native
def headers_of(data: ptr[u8], size: u64) -> u64:
    """Bytes of the headers of a frame of joined segments; 0 where it is none that can be cut."""
    at = tcp_at(data, size)
    if at == 0 or le16(data + 4) < LEAST_SEGMENT:
        return 0
    long = at + u64(data[HEADER + at + 12] >> 4) * 4
    return long if long >= at + 20 and long < size else 0


@native
def segment(data: ptr[u8], size: u64, done: u64, number: u32, out: ptr[u8]) -> u64:
    """Make segment `number`, which begins `done` bytes behind the headers, at `out`, its own header in front; the bytes of its frame."""
    long = headers_of(data, size)
    at = tcp_at(data, size)
    part = minimum(size - long - done, u64(le16(data + 4)))
    fill(out, 0, HEADER)
    frame = out + HEADER
    copy(frame, data + HEADER, long)
    copy(frame + long, data + HEADER + long + done, part)
    put32(frame + at + 4, be32(frame + at + 4) + u32(done))
    if long + done + part < size:
        frame[at + 13] = frame[at + 13] & ~u8(_FIN_PSH)
    if number != 0:
        frame[at + 13] = frame[at + 13] & ~u8(_CWR)
    numbered(frame, at, long - at + part, number)
    return long + part


@native
def numbered(frame: ptr[u8], at: u64, size: u64, number: u32) -> None:
    """The lengths, the identification and the checksums of a segment whose TCP, of `size` bytes, begins at `at`."""
    ip: u64 = 18 if be16(frame + 12) == 0x8100 else 14
    pseudo = u64(u32(_TCP) << 8) + u64((size & 0xFF) << 8 | size >> 8)
    if frame[ip] >> 4 == 4:
        put16(frame + ip + 2, u32(at - ip + size))
        put16(frame + ip + 4, be16(frame + ip + 4) + number)
        put16(frame + ip + 10, 0)
        put16(frame + ip + 10, folded(summed(frame + ip, at - ip, 0)))
        pseudo = summed(frame + ip + 12, 8, pseudo)
    else:
        put16(frame + ip + 4, u32(size))
        pseudo = summed(frame + ip + 8, 32, pseudo)
    put16(frame + at + 16, 0)
    put16(frame + at + 16, folded(summed(frame + at, size, pseudo)))
