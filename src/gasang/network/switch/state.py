"""What the switch's compiled code and Python share. All numbers are the host's; hardware addresses are the low 48 bits of a u64.

`Switch` is changed by Python while the loop does not run, and read at any time: counters are words that only grow.
"""

from __future__ import annotations

from typing import Final

from gasang.native import array, i64, length, ptr, struct, u8, u32, u64

PORTS: Final = 64
STATIONS: Final = 4096
PEERS: Final = 32
MIRRORS: Final = 8
REMOTES: Final = 1024
VLAN_WORDS: Final = 64
HEADER: Final = 12
"""struct virtio_net_hdr_v1, in front of each frame (virtio 1.2, section 5.1.6)."""
LARGEST: Final = 14 + 4 + 65535
BUFFER: Final = HEADER + LARGEST + 64
"""Room for a frame, its header, a tag, and what a frame that is too large needs to be seen to be so."""


@struct
class Station:
    """A hardware address in a VLAN (`key`: VLAN << 48 | address, 0: a free place), at which port it was, and when (nanoseconds)."""

    key: u64
    seen: u64
    port: u32


@struct
class Peer:
    """Another end of a tunnel: its socket's name (struct sockaddr_in or sockaddr_in6), and how long that is."""

    name: array[u64] = length(4)
    size: u64


@struct
class Tunnel:
    """One network of VXLAN (tunnel.py): `header` is what stands in front of each frame, as a word in memory."""

    header: u64
    vni: u32
    count: u32  # peers
    aging: u64
    size: u32  # of the name in `source`, as recvfrom(2) has it
    source: array[u64] = length(4)  # whose the packet is that is being looked at
    remotes: array[Station] = length(REMOTES)  # who was heard from which peer
    peers: array[Peer] = length(PEERS)


@struct
class Bucket:
    """A rate: `cost` is nanoseconds a byte, times 65536 (0: any rate); `until`: what was let through so far lasts until then."""

    cost: u64
    burst: u64
    until: u64


@struct
class Held:
    """The head of a frame that waits in a port's ring; `size` 0: nothing follows until the ring's end."""

    due: u64
    size: u64


@struct
class Port:
    """A place in the switch. `descriptor` below zero: nobody is there."""

    descriptor: i64
    isolated: u32  # bits: reaches no other port that has one of them
    guarded: u32  # speaks with `address`, `ipv4` and `ipv6` alone
    trunk: u32  # frames of `allowed` VLANs bear tags; else it is in `vlan` alone, without
    vlan: u32  # of frames without a tag; 0 is a VLAN like others
    software: u32  # whether the other end is a program, and `takes` what it can take (TUNSETOFFLOAD); else it is a kernel
    takes: u32
    closed: u32  # the other end is gone
    loss: u32  # of a million frames that arrive
    learned: u32
    ipv4: u32
    address: u64
    ipv6_high: u64
    ipv6_low: u64
    latency: u64  # nanoseconds that a frame waits before it leaves
    tunnel: ptr[Tunnel]  # null: a port that carries frames as they are
    arriving: Bucket
    leaving: Bucket
    ring: ptr[u8]  # of frames that wait, or null
    ring_size: u64
    ring_head: u64  # both only grow; modulo the size they are places
    ring_tail: u64
    frames_in: u64
    bytes_in: u64
    frames_out: u64
    bytes_out: u64
    refused: u64  # malformed, of a VLAN that is not its own, or in another's name
    lost: u64  # as was asked for
    full: u64  # because the other end, or the ring, had no room
    allowed: array[u64] = length(VLAN_WORDS)


@struct
class Switch:
    """All of a switch."""

    control: i64  # an eventfd that ends the loop
    mirroring: u64  # which of `mirrors` are in use, a bit each
    aging: u64  # nanoseconds after which a station is forgotten
    most_learned: u32  # stations at one port
    count: u32  # ports up to the last that is in use
    seed: u64
    vlan: u64  # of the frame that is being looked at, from here on
    tagged: u64
    buffer: ptr[u8]  # BUFFER bytes: its header and the frame
    other: ptr[u8]  # as much again, for what becomes of it at a port
    third: ptr[u8]  # and for one of the segments that it is cut into
    mirrors: array[i64] = length(MIRRORS)  # sockets that get a copy of every frame that is let in
    mirror_lost: array[u64] = length(MIRRORS)
    clock: array[u64] = length(2)
    polls: array[u64] = length(PORTS + 1)  # struct pollfd
    stations: array[Station] = length(STATIONS)
    ports: array[Port] = length(PORTS)
