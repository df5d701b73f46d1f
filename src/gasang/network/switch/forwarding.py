"""Where a frame goes: VLANs (IEEE 802.1Q), stations learned and forgotten, isolation, guards, loss. No I/O; the time is given.

A frame is hostile: its size is checked before any of it is looked at.
"""

from __future__ import annotations

from typing import Final

from gasang.native import boolean, native, null, ptr, ref, rotl, u8, u32, u64
from gasang.network.switch.fields import be16, be48, put16
from gasang.network.switch.guard import honest
from gasang.network.switch.state import LARGEST, STATIONS, Port, Station, Switch

TAG, SERVICE_TAG = 0x8100, 0x88A8
PROBES: Final = 8
MILLION: Final = 1_000_000
_GROUP: Final = 1 << 40
_RESERVED: Final = 0x0180C2000000
"""01-80-C2-00-00-00 to -0F: of the link alone, never forwarded (IEEE 802.1Q, 8.6.3)."""
_MIX: Final = 0x9E3779B97F4A7C15


@native
def random(s: ptr[Switch]) -> u64:
    """The next of xorshift64*."""
    x = s.seed
    x ^= x >> 12
    x ^= x << 25
    x ^= x >> 27
    s.seed = x
    return x * 0x2545F4914F6CDD1D


@native
def carries(p: ptr[Port], vlan: u64) -> boolean:
    """Whether frames of a VLAN pass a port."""
    if u64(p.vlan) == vlan:
        return True
    return p.trunk != 0 and p.allowed[vlan >> 6] >> (vlan & 63) & 1 != 0


@native
def found(s: ptr[Switch], key: u64, now: u64) -> ptr[Station]:
    """The station that is known and not too old, or null."""
    home = rotl(key * _MIX, 20)
    for i in range(u64(PROBES)):
        station = ref(s.stations[(home + i) % STATIONS])
        if station.key == key:
            return station if now - station.seen < s.aging else null
    return null


@native
def forget(s: ptr[Switch], station: ptr[Station]) -> None:
    """Make its place free."""
    if station.key != 0:
        s.ports[station.port].learned -= 1
        station.key = 0


@native
def place_for(s: ptr[Switch], key: u64, now: u64) -> ptr[Station]:
    """Where a station is or may be put: its own place, a free one, or one whose station is too old; null: there is none."""
    home = rotl(key * _MIX, 20)
    best: ptr[Station] = null
    for i in range(u64(PROBES)):
        station = ref(s.stations[(home + i) % STATIONS])
        if station.key == key:
            return station
        if best == null and (station.key == 0 or now - station.seen >= s.aging):
            best = station
    return best


@native
def learn(s: ptr[Switch], number: u32, key: u64, now: u64) -> boolean:
    """A station spoke at a port; False if it is a guarded port's, which nobody takes away."""
    station = place_for(s, key, now)
    if station == null:
        return True
    if station.key == key and station.port != number and s.ports[station.port].guarded != 0 and now - station.seen < s.aging:
        return False
    if station.key != key or station.port != number:
        forget(s, station)
        if s.ports[number].learned >= s.most_learned:
            return True
        station.key = key
        station.port = number
        s.ports[number].learned += 1
    station.seen = now
    return True


@native
def leave(s: ptr[Switch], number: u32) -> None:
    """Forget who was at a port."""
    for i in range(u64(STATIONS)):
        if s.stations[i].key != 0 and s.stations[i].port == number:
            forget(s, ref(s.stations[i]))


@native
def flood(s: ptr[Switch], number: u32) -> u64:
    """All ports that a frame may leave by."""
    ports: u64 = 0
    for i in range(s.count):
        other = ref(s.ports[i])
        apart = s.ports[number].isolated & other.isolated != 0
        if i != number and other.descriptor >= 0 and not apart and carries(other, s.vlan):
            ports |= u64(1) << u64(i)
    return ports


@native
def vlan_of(s: ptr[Switch], p: ptr[Port], frame: ptr[u8], size: u64) -> boolean:
    """Say in `vlan` and `tagged` what the frame is; False where it may not come by this port."""
    kind = be16(frame + 12)
    s.vlan = u64(p.vlan)
    s.tagged = 0
    if kind == SERVICE_TAG:
        return False
    if kind == TAG:
        if size < 18:
            return False
        s.tagged = 1
        word = be16(frame + 14)
        if word & 0xFFF == 0:  # a priority, and no VLAN
            put16(frame + 14, word | p.vlan)
        else:
            s.vlan = u64(word & 0xFFF)
    return s.vlan != 0xFFF and carries(p, s.vlan)


@native
def decide(s: ptr[Switch], number: u32, frame: ptr[u8], size: u64, now: u64) -> u64:
    """The ports that a frame goes to, a bit each; none for one that is refused, lost, or for where it comes from."""
    p = ref(s.ports[number])
    p.frames_in += 1
    p.bytes_in += size
    if size < 14 or size > LARGEST or not vlan_of(s, p, frame, size):
        p.refused += 1
        return 0
    to = be48(frame)
    source = be48(frame + 6)
    if source & _GROUP != 0 or source == 0 or to & ~u64(15) == _RESERVED:
        p.refused += 1
        return 0
    if p.guarded != 0 and not honest(p, frame, size, 14 + 4 * s.tagged):
        p.refused += 1
        return 0
    if p.loss != 0 and (random(s) >> 32) % MILLION < u64(p.loss):
        p.lost += 1
        return 0
    if not learn(s, number, s.vlan << 48 | source, now):
        p.refused += 1
        return 0
    ports = flood(s, number)
    if to & _GROUP == 0:
        station = found(s, s.vlan << 48 | to, now)
        if station != null:
            return ports & u64(1) << u64(station.port)
    return ports
