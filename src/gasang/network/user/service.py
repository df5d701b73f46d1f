"""The network of one guest: a thread with the stack, its sockets, and one descriptor that carries frames.

ours, guests = cable()
network = UserNetwork(Plan(), ours, published)
…                                        # `guests` is as good as a tap's descriptor (host.tap.Tap.taken)
network.close()
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from time import monotonic
from typing import Final

from gasang.core.errors import UnsupportedError
from gasang.network.dns.directory import Directory
from gasang.network.dns.exchange import Asker
from gasang.network.dns.resolver import Resolver
from gasang.network.dns.upstream import PATH, Watched
from gasang.network.loop import Loop
from gasang.network.ports import Held
from gasang.network.spec import Endpoint
from gasang.network.user.calls import Calls
from gasang.network.user.flows import Flows
from gasang.network.user.packets import Packet
from gasang.network.user.plan import Places, Plan
from gasang.network.user.port import Port
from gasang.network.user.stack import Stack
from gasang.network.user.tcp.segment import Segment

_MACHINE: Final = "guest"
_ADVERTISES_EVERY: Final = 600.0
_BUFFER: Final = 4 << 20


def cable() -> tuple[int, int]:
    """Two descriptors that carry frames to each other, ours and the guest's. Raises UnsupportedError."""
    try:
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError as error:
        raise UnsupportedError("network in user space", f"this host lacks its sockets ({error.strerror})", "use a Linux host") from error
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    return ends[0].detach(), ends[1].detach()


class UserNetwork:
    """The descriptor and the sockets of `published` ports are its own now. `takes` is what a tap there takes (TUNSETOFFLOAD).

    `ended` is set when nobody has the cable's other end any more.
    """

    def __init__(self, plan: Plan, descriptor: int, published: Sequence[Held] = (), resolv_conf: str = PATH, takes: int = 0) -> None:
        self.ended = threading.Event()
        self._loop = Loop("user-network")
        self._resolvers = Watched(resolv_conf)
        directory = Directory()
        directory.add(Endpoint(_MACHINE, "user", _MACHINE, "", "", ""), "user", internal=False, named=False)
        self._asker = Asker(_MACHINE, Resolver(directory), threading.Lock(), self._loop, lambda: self._resolvers.now().servers)
        self._stack = Stack(Places(plan), self, self._emit)
        self._stack.takes = takes
        self._calls = Calls(self._loop, self._stack, self._asker)
        self._flows = Flows(self._loop, self._stack, self._asker)
        self._port: Port | None = None
        self._loop.call(lambda: self._begin(descriptor, published))

    def close(self) -> None:
        """Break off what is open, and end."""
        self._loop.close(self._end)

    # In the thread.

    def _begin(self, descriptor: int, published: Sequence[Held]) -> None:
        self._port = Port(self._loop, descriptor, self._arrived, self._calls.rest, self._agree, self.ended.set)
        for held in published:
            (self._calls if held.port.protocol == "tcp" else self._flows).publish(held)
        self._advertise()

    def _end(self) -> None:
        self._calls.close()
        self._flows.close()
        self._asker.close()
        if self._port is not None:
            self._port.close()

    def _advertise(self) -> None:
        """Tell of the router before its lifetime is over."""
        self._emit([self._stack.neighbours.advertise()])
        self._loop.deadlines.after(_ADVERTISES_EVERY, self._advertise)

    def _arrived(self, frame: bytes) -> None:
        self._stack.receive(frame, monotonic())

    def _agree(self, takes: int) -> None:
        self._stack.takes = takes

    def _emit(self, pieces: list[bytes]) -> None:
        if self._port is not None:
            self._port.send(pieces)

    def on_segment(self, packet: Packet, segment: Segment) -> None:
        """A TCP segment of the guest's."""
        self._calls.on_segment(packet, segment)

    def on_datagram(self, packet: Packet, source: int, target: int, data: bytes) -> None:
        """A datagram of the guest's."""
        self._flows.on_datagram(packet, source, target, data)

    def on_echo(self, packet: Packet, identity: int, data: bytes) -> None:
        """An echo request of the guest's to somebody outside."""
        self._flows.on_echo(packet, identity, data)
