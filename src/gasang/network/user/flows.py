"""UDP and echoes of a guest: each pair of ends has a socket of the host's, which is forgotten after a while of silence.

Echo requests leave by sockets that the host allows or not (net.ipv4.ping_group_range); where it does not, nobody outside answers.
"""

from __future__ import annotations

import errno
import secrets
import selectors
import socket
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Final

from gasang.network.dns.exchange import Asker
from gasang.network.loop import Loop
from gasang.network.ports import Held
from gasang.network.user.packets import Packet
from gasang.network.user.stack import HOST_UNREACHABLE, NET_UNREACHABLE, PORT_UNREACHABLE, Stack

MOST: Final = 256
IDLE_SECONDS: Final = 60.0
_ROUND: Final = 15.0
_DNS: Final = 53
_BURST: Final = 64
_DATAGRAM: Final = 65507
_FIRST_PORT: Final = 49152
_PORTS: Final = 16384
_ECHO_REQUEST: Final = {4: 8, 16: 128}
Key = tuple[bytes, int, bytes, int]
"""The guest's address and port, and the other's; an echo has its identity and port -1."""


@dataclass(slots=True)
class Flow:
    """One pair of ends: the socket, the guest's last packet, and when it was used."""

    socket: socket.socket
    packet: Packet
    used: float


class Flows:
    """The table, as stack.Handlers has it for datagrams and echoes."""

    def __init__(self, loop: Loop, stack: Stack, asker: Asker) -> None:
        self._loop = loop
        self._stack = stack
        self._asker = asker
        self._machines = stack.places.plan.machines
        self._flows: OrderedDict[Key, Flow] = OrderedDict()
        self._held: list[Held] = []
        self._clients: OrderedDict[tuple[int, int], tuple[Held, Any, float]] = OrderedDict()  # by our port and the guest's
        self._ports: dict[tuple[int, Any], int] = {}  # by the socket they came to and the client's address
        self._round = -1

    def __len__(self) -> int:
        """How many sockets there are."""
        return len(self._flows)

    def close(self) -> None:
        """Forget all, and close published ports."""
        self._loop.deadlines.cancel(self._round)
        for key in list(self._flows):
            self._forget(key)
        for held in self._held:
            self._loop.selector.unregister(held.socket)
            held.socket.close()

    # The guest's.

    def on_datagram(self, packet: Packet, source: int, target: int, data: bytes) -> None:
        """A datagram."""
        places = self._stack.places
        if packet.target in places.nameservers and target == _DNS:
            back = partial(self._stack.send_datagram, packet.target, target, packet.source, source)
            self._asker.ask(data, back, stream=False)
        elif packet.target == places.gateway and (client := self._clients.get((target, source))) is not None:
            self._back_to_client(client[0], client[1], data)
        elif packet.target[0] != 0xFF and (len(packet.target) == 16 or packet.target[0] < 0xE0):
            self._send((packet.source, source, packet.target, target), packet, data)

    def on_echo(self, packet: Packet, identity: int, data: bytes) -> None:
        """An echo request; the host's kernel numbers the socket, so the guest's own identity is put back into the answer."""
        request = bytes((_ECHO_REQUEST[len(packet.source)], 0, 0, 0)) + data
        self._send((packet.source, identity, packet.target, -1), packet, request)

    def _send(self, key: Key, packet: Packet, data: bytes) -> None:
        try:
            flow = self._flow(key, packet)
        except OSError as error:
            self._refuse(packet, error.errno, is_echo=key[3] < 0)
            return
        flow.packet, flow.used = packet, monotonic()
        try:
            flow.socket.send(data)
        except BlockingIOError:
            return
        except OSError as error:
            self._refuse(packet, error.errno, is_echo=key[3] < 0)

    def _flow(self, key: Key, packet: Packet) -> Flow:
        """The flow, which becomes the last to be forgotten. Raises OSError."""
        flow = self._flows.get(key)
        if flow is not None:
            self._flows.move_to_end(key)
            return flow
        address = self._stack.places.outside(packet.target)
        if address is None:
            raise OSError(errno.ECONNREFUSED, "nobody is there")
        while len(self._flows) >= MOST * self._machines:
            self._forget(next(iter(self._flows)))
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        protocol = 0 if key[3] >= 0 else socket.IPPROTO_ICMPV6 if ":" in address else socket.IPPROTO_ICMP
        made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
        try:
            made.connect((address, max(0, key[3])))
        except OSError:
            made.close()
            raise
        flow = self._flows[key] = Flow(made, packet, monotonic())
        self._loop.selector.register(made, selectors.EVENT_READ, lambda _events: self._answered(key, flow))
        self._look_later()
        return flow

    def _answered(self, key: Key, flow: Flow) -> None:
        guest, guest_port, other, port = key
        for _ in range(_BURST):
            try:
                data = flow.socket.recv(_DATAGRAM)
            except BlockingIOError:
                return
            except OSError as error:
                self._refuse(flow.packet, error.errno, is_echo=port < 0)
                return
            flow.used = monotonic()
            if port >= 0:
                self._stack.send_datagram(other, port, guest, guest_port, data)
            elif len(data) >= 8:
                self._stack.send_echo(other, guest, guest_port.to_bytes(2, "big") + data[6:])

    def _refuse(self, packet: Packet, reason: int | None, *, is_echo: bool) -> None:
        """What the host's kernel says of a packet, as an ICMP error. Of an echo that the host does not allow, nothing is said."""
        size = len(packet.source)
        if reason == errno.ECONNREFUSED and not is_echo:
            self._stack.refuse(packet, PORT_UNREACHABLE[size])
        elif reason == errno.EHOSTUNREACH:
            self._stack.refuse(packet, HOST_UNREACHABLE[size])
        elif reason in (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            self._stack.refuse(packet, NET_UNREACHABLE[size])

    # Published ports.

    def publish(self, held: Held) -> None:
        """Lead those who send to that port to the guest; its socket is ours."""
        self._held.append(held)
        self._loop.selector.register(held.socket, selectors.EVENT_READ, lambda _events: self._came(held))

    def _came(self, held: Held) -> None:
        places = self._stack.places
        for _ in range(_BURST):
            try:
                data, client = held.socket.recvfrom(_DATAGRAM)
            except OSError:
                return
            port = self._port_for(held, client)
            self._stack.send_datagram(places.gateway, port, places.guest, held.port.machine_port, data)

    def _port_for(self, held: Held, client: Any) -> int:
        """The port of ours that stands for a client."""
        name = id(held), client
        port = self._ports.get(name)
        inner = held.port.machine_port
        if port is None:
            while len(self._clients) >= MOST * self._machines:
                self._forget_client(next(iter(self._clients)))
            port = _FIRST_PORT + secrets.randbelow(_PORTS)
            while (port, inner) in self._clients:
                port = _FIRST_PORT + secrets.randbelow(_PORTS)
            self._ports[name] = port
        self._clients[port, inner] = held, client, monotonic()
        self._clients.move_to_end((port, inner))
        self._look_later()
        return port

    def _forget_client(self, key: tuple[int, int]) -> None:
        held, client, _ = self._clients.pop(key)
        del self._ports[id(held), client]

    def _back_to_client(self, held: Held, client: Any, data: bytes) -> None:
        try:
            held.socket.sendto(data, client)
        except OSError:
            return  # as any datagram may be lost

    # Silence.

    def _look_later(self) -> None:
        if self._round < 0:
            self._round = self._loop.deadlines.after(_ROUND, lambda: self.expire(monotonic()))

    def expire(self, now: float) -> None:
        """Forget who has been silent, and look again later if there are others."""
        self._round = -1
        for key in [key for key, flow in self._flows.items() if flow.used + IDLE_SECONDS <= now]:
            self._forget(key)
        for name in [name for name, (_, _, used) in self._clients.items() if used + IDLE_SECONDS <= now]:
            self._forget_client(name)
        if self._flows or self._clients:
            self._look_later()

    def _forget(self, key: Key) -> None:
        flow = self._flows.pop(key)
        self._loop.selector.unregister(flow.socket)
        flow.socket.close()
