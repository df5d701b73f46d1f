"""The loop: frames are read, sent where they go, or held until they may; Python is called when something about the ports changes."""

from __future__ import annotations

from typing import Final

from gasang.native import (
    boolean,
    cast,
    copy,
    ctz,
    fill,
    i32,
    i64,
    load_unaligned,
    native,
    null,
    ptr,
    ref,
    store_unaligned,
    syscall,
    u8,
    u32,
    u64,
)
from gasang.network.switch.calls import Call
from gasang.network.switch.fields import le16, put16, put_le16
from gasang.network.switch.forwarding import TAG, decide
from gasang.network.switch.offloads import (
    ECN,
    NEEDS_CHECKSUM,
    NO_SEGMENTS,
    TAKES_CHECKSUM,
    TAKES_TCP4,
    TAKES_TCP6,
    TCP4,
    TCP6,
    completed,
    headers_of,
    segment,
)
from gasang.network.switch.shaping import charge, drop_first, first, hold, may_pass, ready_at, waits
from gasang.network.switch.state import BUFFER, HEADER, Port, Switch
from gasang.network.switch.tunnel import PREFIX, accepted, peers_for

CONTROL, CLOSED, BROKEN = 0, 1, 2
"""Why the loop ends: it was told to, a port's other end is gone, the kernel refuses to wait."""
_BURST: Final = 64
_MONOTONIC: Final = 1
_READABLE: Final = 1
_AGAIN, _INTERRUPTED, _DOWN, _PIPE = -11, -4, -100, -32
_TAKES_BYTES: Final = 4
_TAG_BYTES: Final = 4
_SECOND: Final = 1_000_000_000


@native
def moment(s: ptr[Switch]) -> u64:
    """Nanoseconds of the monotonic clock."""
    syscall(Call.clock_gettime, _MONOTONIC, u64(ref(s.clock)))
    return s.clock[0] * _SECOND + s.clock[1]


@native
def encapsulate(p: ptr[Port], data: ptr[u8], size: u64, now: u64) -> i64:
    """Send a frame to the peers that it concerns; below zero where none got it. The header's last bytes are VXLAN's meanwhile."""
    t = p.tunnel
    at = cast(ptr[u64], data + (HEADER - PREFIX))
    kept = load_unaligned(at)
    store_unaligned(at, t.header)
    peers = peers_for(t, data + HEADER, now)
    done: i64 = -1
    while peers != 0:
        peer = ref(t.peers[ctz(peers)])
        if syscall(Call.sendto, u64(p.descriptor), u64(at), size - (HEADER - PREFIX), 0, u64(ref(peer.name)), peer.size) >= 0:
            done = 0
        peers &= peers - 1
    store_unaligned(at, kept)
    return done


@native
def write(p: ptr[Port], data: ptr[u8], size: u64, now: u64) -> None:
    """Send a frame now, or lose it."""
    done = encapsulate(p, data, size, now) if p.tunnel != null else syscall(Call.write, u64(p.descriptor), u64(data), size)
    if done < 0:
        p.full += 1
    else:
        p.frames_out += 1
        p.bytes_out += size - HEADER


@native
def emit(p: ptr[Port], data: ptr[u8], size: u64, now: u64) -> None:
    """Send a frame of `size` bytes, its header in front, when it may leave."""
    if p.ring_head == p.ring_tail and not waits(p):
        write(p, data, size + HEADER, now)
    elif not hold(p, data, size + HEADER, now):
        p.full += 1


@native
def shift(data: ptr[u8], by: i32) -> None:
    """The header's places are so many bytes further on, as a tag has come or gone."""
    if data[0] & NEEDS_CHECKSUM != 0:
        put_le16(data + 6, u32(i32(le16(data + 6)) + by))
    if data[1] != NO_SEGMENTS:
        put_le16(data + 2, u32(i32(le16(data + 2)) + by))


@native
def tag(s: ptr[Switch], size: u64) -> u64:
    """The frame in `buffer` with a tag, in `other`; its size."""
    copy(s.other, s.buffer, HEADER + 12)
    put16(s.other + HEADER + 12, TAG)
    put16(s.other + HEADER + 14, u32(s.vlan))
    copy(s.other + HEADER + 16, s.buffer + HEADER + 12, size - 12)
    shift(s.other, _TAG_BYTES)
    return size + _TAG_BYTES


@native
def untag(s: ptr[Switch], size: u64) -> u64:
    """The frame in `buffer` without its tag, in `other`; its size."""
    copy(s.other, s.buffer, HEADER + 12)
    copy(s.other + HEADER + 12, s.buffer + HEADER + 16, size - 16)
    shift(s.other, -_TAG_BYTES)
    return size - _TAG_BYTES


@native
def takes(p: ptr[Port], data: ptr[u8]) -> boolean:
    """Whether the other end takes a frame as it is."""
    if p.software == 0:
        return True
    kind = u32(data[1]) & ~u32(ECN)
    if kind == TCP4:
        return p.takes & TAKES_TCP4 != 0
    if kind == TCP6:
        return p.takes & TAKES_TCP6 != 0
    return kind == NO_SEGMENTS and (data[0] & NEEDS_CHECKSUM == 0 or p.takes & TAKES_CHECKSUM != 0)


@native
def cut(s: ptr[Switch], p: ptr[Port], data: ptr[u8], size: u64, now: u64) -> None:
    """Send the segments of a frame one by one."""
    done = headers_of(data, size)
    if done == 0:
        p.full += 1
        return
    left = size - done
    number: u32 = 0
    while left != 0:
        long = segment(data, size, size - done - left, number, s.third)
        left -= long - done
        number += 1
        emit(p, s.third, long, now)


@native
def deliver(s: ptr[Switch], number: u32, size: u64, now: u64) -> None:
    """Send the frame in `buffer` out of a port, with a tag or without, and as its other end takes it."""
    p = ref(s.ports[number])
    tagged: u64 = 1 if p.trunk != 0 and s.vlan != u64(p.vlan) else 0
    data = s.buffer
    here = size
    if tagged != s.tagged:
        data = s.other
        here = tag(s, size) if tagged != 0 else untag(s, size)
    if takes(p, data):
        emit(p, data, here, now)
    elif data[1] != NO_SEGMENTS:
        cut(s, p, data, here, now)
    else:
        if data != s.other:
            copy(s.other, s.buffer, HEADER + size)
        if completed(s.other, here):
            emit(p, s.other, here, now)
        else:
            p.full += 1


@native
def show(s: ptr[Switch], size: u64) -> None:
    """Give the frame in `buffer` to the mirrors; one whose other end is gone gets no more."""
    left = s.mirroring
    while left != 0:
        at = ctz(left)
        done = syscall(Call.write, u64(s.mirrors[at]), u64(s.buffer), size)
        if done == _PIPE:
            s.mirroring &= ~(u64(1) << at)
        elif done < 0:
            s.mirror_lost[at] += 1
        left &= left - 1


@native
def arrived(s: ptr[Switch], number: u32, size: u64, now: u64) -> None:
    """A frame of `size` bytes, its header in front, is in `buffer`."""
    p = ref(s.ports[number])
    charge(ref(p.arriving), size - HEADER, now)
    ports = decide(s, number, s.buffer + HEADER, size - HEADER, now)
    if s.mirroring != 0 and ports != 0:
        show(s, size)
    while ports != 0:
        deliver(s, u32(ctz(ports)), size - HEADER, now)
        ports &= ports - 1


@native
def take_packets(s: ptr[Switch], number: u32, now: u64) -> None:
    """Read what peers have sent, so many packets at most; what is no frame of theirs is refused, and nothing closes a tunnel."""
    p = ref(s.ports[number])
    t = p.tunnel
    packet = s.buffer + (HEADER - PREFIX)
    for _ in range(u32(_BURST)):
        if not may_pass(ref(p.arriving), now):
            return
        t.size = 32
        size = syscall(Call.recvfrom, u64(p.descriptor), u64(packet), BUFFER - HEADER, 0, u64(ref(t.source)), u64(ref(t.size)))
        if size < 0:
            return
        if accepted(t, packet, u64(size), now):
            fill(s.buffer, 0, HEADER)
            arrived(s, number, u64(size) + (HEADER - PREFIX), now)
        else:
            p.refused += 1


@native
def take(s: ptr[Switch], number: u32, now: u64) -> None:
    """Read what is there, so many frames at most."""
    p = ref(s.ports[number])
    for _ in range(u32(_BURST)):
        if not may_pass(ref(p.arriving), now):
            return
        size = syscall(Call.read, u64(p.descriptor), u64(s.buffer), BUFFER)
        if size == _AGAIN or size == _INTERRUPTED or size == _DOWN:
            return
        if size <= 0:
            p.closed = 1
            return
        if size == _TAKES_BYTES and p.software != 0:
            p.takes = le16(s.buffer)
        elif size < HEADER:
            p.refused += 1
        else:
            arrived(s, number, u64(size), now)


@native
def release(s: ptr[Switch], now: u64) -> u64:
    """Send what has waited long enough; when the next may leave, 0: none waits."""
    soonest: u64 = 0
    for i in range(s.count):
        p = ref(s.ports[i])
        while p.ring_head != p.ring_tail:
            record = first(p)
            if record.due > now:
                if soonest == 0 or record.due < soonest:
                    soonest = record.due
                break
            write(p, cast(ptr[u8], record + 1), record.size, now)
            drop_first(p)
    return soonest


@native
def watch(s: ptr[Switch], now: u64, soonest: u64) -> u64:
    """Say whom to wait for; until when, 0: for ever. Who has sent too much waits, and so do those who send to him."""
    until = soonest
    for i in range(s.count):
        p = ref(s.ports[i])
        s.polls[i] = 0xFFFFFFFF
        if p.descriptor < 0 or p.closed != 0:
            continue
        if may_pass(ref(p.arriving), now):
            s.polls[i] = u64(p.descriptor) | u64(_READABLE) << 32
        else:
            ready = ready_at(ref(p.arriving))
            until = ready if until == 0 or ready < until else until
    s.polls[s.count] = u64(s.control) | u64(_READABLE) << 32
    return until


@native
def run(s: ptr[Switch]) -> u32:
    """Serve until something is Python's: CONTROL, CLOSED or BROKEN."""
    while True:
        now = moment(s)
        until = watch(s, now, release(s, now))
        limit: u64 = 0
        if until != 0:
            left = until - now if until > now else 0
            s.clock[0] = left // _SECOND
            s.clock[1] = left % _SECOND
            limit = u64(ref(s.clock))
        count = syscall(Call.ppoll, u64(ref(s.polls)), u64(s.count) + 1, limit, 0, 8)
        if count < 0 and count != _INTERRUPTED:
            return BROKEN
        if count <= 0:
            continue
        if s.polls[s.count] >> 48 != 0:
            return CONTROL
        now = moment(s)
        gone = False
        for i in range(s.count):
            if s.polls[i] >> 48 != 0:
                if s.ports[i].tunnel != null:
                    take_packets(s, i, now)
                else:
                    take(s, i, now)
                gone = gone or s.ports[i].closed != 0
        if gone:
            return CLOSED
