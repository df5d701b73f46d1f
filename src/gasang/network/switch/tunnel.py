"""Frames between hosts: VXLAN (RFC 7348). Which peers a frame is for, and whether a packet brings one. No I/O; the time is given.

A tunnel is a port of the switch whose other end are peers, each a socket of UDP. It joins one network, named by a number of 24 bits.
There is no multicast: what is for everybody, or for a station that nobody knows, goes to each peer. Packets of others than the peers are
refused, as nothing in VXLAN tells who sent them; the port that they came from need not be the peer's, since others choose it by the frame
(section 5). What came by a tunnel does not go back into it, so peers that all know each other make no loop.
"""

from __future__ import annotations

from typing import Final

from gasang.native import boolean, native, null, ptr, ref, rotl, u8, u32, u64
from gasang.network.switch.fields import be16, be32, be48
from gasang.network.switch.state import PEERS, REMOTES, Station, Tunnel

PREFIX: Final = 8
"""Bytes of VXLAN's header: flags, 3 reserved, the network's number, 1 reserved."""
VALID: Final = 0x08
"""The one flag: the number holds."""
NOBODY: Final = PEERS
_LEAST: Final = PREFIX + 14
_PROBES: Final = 8
_GROUP: Final = 1 << 40
_MIX: Final = 0x9E3779B97F4A7C15
_TAG, _SERVICE_TAG = 0x8100, 0x88A8
_INET6: Final = 10


@native
def station_of(t: ptr[Tunnel], key: u64, now: u64, wanted: boolean) -> ptr[Station]:
    """Where a station is; null where it is not known. With `wanted`: where it may be put, too, null where there is no place."""
    home = rotl(key * _MIX, 20)
    best: ptr[Station] = null
    for i in range(u64(_PROBES)):
        station = ref(t.remotes[(home + i) % REMOTES])
        is_old = station.key == 0 or now - station.seen >= t.aging
        if station.key == key and (wanted or not is_old):
            return station
        if wanted and best == null and is_old:
            best = station
    return best


@native
def peers_for(t: ptr[Tunnel], frame: ptr[u8], now: u64) -> u64:
    """The peers that a frame is sent to, a bit each."""
    to = be48(frame)
    if to & _GROUP == 0:
        station = station_of(t, to, now, False)
        if station != null:
            return u64(1) << u64(station.port)
    return (u64(1) << u64(t.count)) - 1


@native
def same_host(t: ptr[Tunnel], number: u32) -> boolean:
    """Whether the packet in `source` is from where that peer is."""
    peer = ref(t.peers[number])
    if t.source[0] & 0xFFFF != peer.name[0] & 0xFFFF:
        return False
    if t.source[0] & 0xFFFF == _INET6:
        return t.source[1] == peer.name[1] and t.source[2] == peer.name[2]
    return t.source[0] >> 32 == peer.name[0] >> 32


@native
def peer_from(t: ptr[Tunnel]) -> u32:
    """Whose packet it is: of several peers on one host his whose port it is, or else the first of them; NOBODY: none of the peers'."""
    found: u32 = NOBODY
    for i in range(t.count):
        if same_host(t, i):
            if t.source[0] >> 16 & 0xFFFF == t.peers[i].name[0] >> 16 & 0xFFFF:
                return i
            if found == NOBODY:
                found = i
    return found


@native
def accepted(t: ptr[Tunnel], packet: ptr[u8], size: u64, now: u64) -> boolean:
    """Whether a packet brings a frame, which begins behind PREFIX; who speaks in it is learned. Tags do not pass (section 6.1)."""
    if size < _LEAST or packet[0] & VALID == 0 or be32(packet + 4) >> 8 != t.vni:
        return False
    peer = peer_from(t)
    if peer == NOBODY:
        return False
    frame = packet + PREFIX
    kind = be16(frame + 12)
    if kind == _SERVICE_TAG or kind == _TAG:
        return False
    source = be48(frame + 6)
    if source & _GROUP != 0 or source == 0:
        return False
    station = station_of(t, source, now, True)
    if station != null:
        station.key = source
        station.port = peer
        station.seen = now
    return True
