"""A guest's network with its real sockets; the guest is a stack of the test's own, at the other end of the cable."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from gasang.host.tap import Tap
from gasang.network import ports
from gasang.network.dns import message
from gasang.network.spec import PortSpec
from gasang.network.user import calls, flows, packets
from gasang.network.user.checksum import checksum, pseudo, total
from gasang.network.user.packets import HEADER, ICMP, IPV4, TCP, UDP, Packet
from gasang.network.user.plan import Places, Plan
from gasang.network.user.service import UserNetwork, cable
from gasang.network.user.tcp import segment as wire
from gasang.network.user.tcp.connection import WINDOW, Connection, Ends, Phase
from gasang.network.user.tcp.segment import ACK, RST, SYN, Segment

MAC = b"\x02\0\0\0\0\7"
MSS = 1460
PLACES = Places(Plan())
SECONDS = 20.0


class Guest:
    """A guest's kernel, as far as tests need one; `others` are the packets that were for no connection."""

    def __init__(self, descriptor: int, *published: int) -> None:
        self.tap = Tap.taken(descriptor)
        self.published = published
        self.others: list[Packet] = []
        self.connections: dict[int, Connection] = {}
        self.got: dict[int, bytearray] = {}
        self.answers: Callable[[Segment], Connection | None] = lambda segment: None
        self.tap.join(7)

    def frame(self, kind: int, body: bytes) -> None:
        self.tap.send([memoryview(bytes(HEADER) + PLACES.mac + MAC + kind.to_bytes(2, "big") + body)])

    def packet(self, target: bytes, protocol: int, payload: bytes, source: bytes = PLACES.guest) -> None:
        self.frame(IPV4, packets.ip_header(source, target, protocol, len(payload)) + payload)

    def datagram(self, target: str, port: int, data: bytes, source: int = 4000) -> None:
        to = ip_address(target).packed
        head = source.to_bytes(2, "big") + port.to_bytes(2, "big") + (8 + len(data)).to_bytes(2, "big")
        right = checksum(head + b"\0\0" + data, pseudo(PLACES.guest, to, UDP, 8 + len(data)))
        self.packet(to, UDP, head + right.to_bytes(2, "big") + data)

    def segment(self, target: str, segment: Segment, options: bytes = b"") -> None:
        to = ip_address(target).packed
        head, data = wire.header(segment, options), bytes(segment.payload)
        right = checksum(head + data, pseudo(PLACES.guest, to, TCP, len(head) + len(data)))
        self.packet(to, TCP, head[:16] + right.to_bytes(2, "big") + head[18:] + data)

    def call(self, target: str, port: int, ours: int = 1000) -> Connection:
        made = self._connection(target, port, ours)
        made.call(time.monotonic())
        return made

    def _connection(self, target: str, port: int, ours: int) -> Connection:
        made = Connection(Ends(ours, port, MSS), 77, lambda segment, options: self.segment(target, segment, options), lambda: 0)
        self.connections[ours] = made
        self.got[ours] = bytearray()
        return made

    def accept(self, ours: int) -> None:
        """Answer calls from the gateway to this port."""

        def answer(syn: Segment) -> Connection | None:
            return self._connection(PLACES.plan.gateway, syn.source, ours) if syn.target == ours else None

        self.answers = answer

    def until(self, condition: Callable[[], object]) -> None:
        """Take what comes until that is so."""
        end = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < end
            if select.select([self.tap.descriptor], [], [], 0.02)[0]:
                for frame in self.tap.receive(16):
                    self._arrived(frame)
            for connection in list(self.connections.values()):
                if connection.deadline is not None and connection.deadline <= time.monotonic():
                    connection.expire(time.monotonic())
                connection.flush()

    def _arrived(self, frame: bytes) -> None:
        if frame[HEADER + 12 : HEADER + 14] == b"\x08\x06" and frame[HEADER + 20 : HEADER + 22] == b"\0\1":
            ours = frame[HEADER + 14 : HEADER + 20] + b"\0\2" + MAC + PLACES.guest + frame[HEADER + 22 : HEADER + 32]
            self.frame(0x0806, ours)
        read = packets.read(memoryview(frame))
        if read is None or read.source == PLACES.link_local:
            return
        segment = wire.read(read.payload) if read.protocol == TCP else None
        if segment is not None and segment.flags & (SYN | ACK) == SYN and segment.target not in self.connections:
            answered = self.answers(segment)
            if answered is not None:
                answered.answer(segment, time.monotonic())
            return
        connection = self.connections.get(segment.target) if segment is not None else None
        if segment is None or connection is None:
            self.others.append(read)
            return
        for data in connection.receive(segment, time.monotonic()):
            self.got[segment.target] += data


@contextlib.contextmanager
def network(plan: Plan = Plan(reaches_host=True), *published: PortSpec, resolv: str = "/nowhere") -> Iterator[Guest]:  # noqa: B008
    threads = [thread.name for thread in threading.enumerate()].count("user-network")
    held = ports.hold_all(published, ("127.0.0.1",), (plan.guest,))
    ours, guests = cable()
    service = UserNetwork(plan, ours, held, resolv)
    guest = Guest(guests, *(each.port.host_port for each in held))
    try:
        yield guest
    finally:
        service.close()
        guest.tap.close()
        assert [thread.name for thread in threading.enumerate()].count("user-network") <= threads


@pytest.fixture
def guest() -> Iterator[Guest]:
    before = len(os.listdir("/proc/self/fd"))
    with network() as made:
        yield made
    assert len(os.listdir("/proc/self/fd")) <= before


def answering(server: socket.socket, work: Callable[[socket.socket], None]) -> threading.Thread:
    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(SECONDS)
            work(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_a_call_goes_out_and_both_halves_end(guest: Guest) -> None:
    data = os.urandom(1_500_000)
    heard = bytearray()

    def work(connection: socket.socket) -> None:
        while part := connection.recv(1 << 16):
            heard.extend(part)
        connection.sendall(bytes(heard[::-1]))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = answering(server, work)
        call = guest.call("10.0.2.2", server.getsockname()[1])
        guest.until(lambda: call.phase is Phase.OPEN)
        rest = memoryview(data)
        while rest:
            guest.until(lambda: call.room)
            room = call.room
            call.send(bytes(rest[:room]), time.monotonic())
            rest = rest[room:]
        call.finish(time.monotonic())
        guest.until(lambda: call.guest_has_finished)
        thread.join()
    assert heard == data
    assert guest.got[1000] == data[::-1]


def test_who_is_not_there_refuses_and_the_host_is_not_there_unless_allowed(guest: Guest) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        call = guest.call("10.0.2.2", bound.getsockname()[1])
        guest.until(lambda: call.phase is Phase.GONE)
        assert call.was_reset
    with socket.create_server(("127.0.0.1", 0)) as server, network(Plan()) as stranger:
        call = stranger.call("10.0.2.2", server.getsockname()[1])
        other = stranger.call("127.0.0.1", server.getsockname()[1], 1001)
        stranger.until(lambda: call.phase is Phase.GONE and other.phase is Phase.GONE)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_reset_goes_both_ways(guest: Guest) -> None:
    gone = threading.Event()

    def work(connection: socket.socket) -> None:
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        gone.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = answering(server, work)
        call = guest.call("10.0.2.2", server.getsockname()[1])
        guest.until(lambda: call.phase is Phase.OPEN)
        guest.connections.clear()
        call.reset()
        guest.until(gone.is_set)
        thread.join()
        guest.segment("10.0.2.2", Segment(1000, 5, 9, 9, ACK, 100))
        guest.until(lambda: guest.others)
    segment = wire.read(guest.others[-1].payload)
    assert segment is not None
    assert segment.flags == RST
    assert segment.sequence == 9


def test_a_slow_reader_holds_the_guest_back_and_nobody_else(guest: Guest) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        slow = guest.call("10.0.2.2", server.getsockname()[1])
        accepted, _ = server.accept()
        guest.until(lambda: slow.phase is Phase.OPEN)
        sent = 0
        end = time.monotonic() + 2.0
        while time.monotonic() < end and sent < 64 << 20:
            if room := slow.room:
                slow.send(bytes(room), time.monotonic())
                sent += room
            until = time.monotonic() + 0.05
            guest.until(lambda: slow.room or time.monotonic() > until)  # noqa: B023
        assert sent < 32 << 20  # what the host's kernel takes, and our windows
        quick = guest.call("10.0.2.2", server.getsockname()[1], 1001)
        other, _ = server.accept()
        guest.until(lambda: quick.phase is Phase.OPEN)
        quick.send(b"quick", time.monotonic())
        other.settimeout(SECONDS)
        guest.until(lambda: quick.room == WINDOW)
        assert other.recv(10) == b"quick"
        other.close()
        accepted.close()


def test_a_flood_of_calls_takes_no_more_than_its_share(guest: Guest) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)  # the host's kernel answers one or two, the others wait
        before = len(os.listdir("/proc/self/fd"))
        for number in range(2000):
            guest.segment("10.0.2.2", Segment(1 + number, server.getsockname()[1], number, 0, SYN, 1000))
        assert calls.MOST_CONNECTING // 2 < len(os.listdir("/proc/self/fd")) - before <= calls.MOST_CONNECTING + 8
    message_ = b"\x08\0\0\0\1\2\3\4hello"
    guest.packet(PLACES.gateway, ICMP, message_[:2] + checksum(message_).to_bytes(2, "big") + message_[4:])
    guest.until(lambda: any(other.protocol == ICMP and other.payload[0] == 0 and total(other.payload) == 0 for other in guest.others))


def test_a_flood_from_outside_takes_no_more_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest answers none of those who call its published port; its own calls are put through all the same, at once."""
    for name, most in (("MOST", 24), ("MOST_CALLERS", 12), ("MOST_CONNECTING", 8)):
        monkeypatch.setattr(calls, name, most)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with network(Plan(reaches_host=True), PortSpec(80, "tcp", "127.0.0.1", port)) as guest, contextlib.ExitStack() as cleanup:
        callers = [cleanup.enter_context(socket.create_connection(("127.0.0.1", port), SECONDS)) for _ in range(60)]
        for each in callers[8:]:
            with contextlib.suppress(ConnectionResetError):
                assert each.recv(1) == b""
        with socket.create_server(("127.0.0.1", 0)) as server:
            begun = time.monotonic()
            own = guest.call("10.0.2.2", server.getsockname()[1], 2000)
            guest.until(lambda: own.phase is Phase.OPEN)
            assert time.monotonic() - begun < calls._PATIENCE
        for each in callers[:8]:
            each.setblocking(False)
            with pytest.raises(BlockingIOError):
                each.recv(1)


def test_callers_that_were_answered_leave_the_guest_its_half(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("MOST", 8), ("MOST_CALLERS", 4)):
        monkeypatch.setattr(calls, name, most)
    with contextlib.ExitStack() as cleanup:
        free = [cleanup.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(5)]
        numbers = [each.getsockname()[1] for each in free]
        cleanup.pop_all().close()
        specs = [PortSpec(80 + step, "tcp", "127.0.0.1", number) for step, number in enumerate(numbers)]
        guest = cleanup.enter_context(network(Plan(reaches_host=True), *specs))
        for step, number in enumerate(numbers[:4]):
            guest.accept(80 + step)
            cleanup.enter_context(socket.create_connection(("127.0.0.1", number), SECONDS))
            guest.until(lambda step=step: 80 + step in guest.connections and guest.connections[80 + step].phase is Phase.OPEN)
        late = cleanup.enter_context(socket.create_connection(("127.0.0.1", numbers[4]), SECONDS))
        with contextlib.suppress(ConnectionResetError):
            assert late.recv(1) == b""
        with socket.create_server(("127.0.0.1", 0)) as server:
            own = guest.call("10.0.2.2", server.getsockname()[1], 2000)
            guest.until(lambda: own.phase is Phase.OPEN)


def test_datagrams_find_their_way_and_back(guest: Guest) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(SECONDS)
        guest.datagram("10.0.2.2", server.getsockname()[1], b"x" * 1200)
        data, client = server.recvfrom(65535)
        server.sendto(data * 10, client)
        guest.until(lambda: len(guest.others) == 9)  # an answer of 12008 bytes in pieces
        free = server.getsockname()[1]
    assert sum(len(each.payload) for each in guest.others) == 12008
    guest.others.clear()
    guest.datagram("10.0.2.2", free, b"nobody")
    guest.until(lambda: guest.others)
    assert guest.others[0].protocol == ICMP
    assert bytes(guest.others[0].payload[:2]) == b"\3\3"


def test_so_many_flows_are_kept(guest: Guest) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(SECONDS)
        for source in range(2000, 2000 + 3 * flows.MOST):
            guest.datagram("10.0.2.2", server.getsockname()[1], b"x", source)
            server.recv(10)
    assert len(os.listdir("/proc/self/fd")) - before <= flows.MOST


def test_one_stack_for_many_is_bounded_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "MOST", 4)
    monkeypatch.setattr(calls, "MOST", 4)
    with network(Plan(reaches_host=True, machines=3)) as guest, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        before = len(os.listdir("/proc/self/fd"))
        server.bind(("127.0.0.1", 0))
        server.settimeout(SECONDS)
        for source in range(2000, 2030):
            guest.datagram("10.0.2.2", server.getsockname()[1], b"x", source)
            server.recv(10)
        assert len(os.listdir("/proc/self/fd")) - before == 12
        with socket.create_server(("127.0.0.1", 0)) as called:
            own = [guest.call("10.0.2.2", called.getsockname()[1], source) for source in range(3000, 3012)]
            guest.until(lambda: all(each.phase is Phase.OPEN for each in own))


def test_published_ports_lead_to_the_guest() -> None:
    with network(Plan(), PortSpec(80), PortSpec(53, "udp")) as guest:
        guest.accept(80)
        tcp, udp = guest.published
        with socket.create_connection(("127.0.0.1", tcp), SECONDS) as client:
            client.settimeout(SECONDS)
            client.sendall(b"hello")
            guest.until(lambda: bytes(guest.got.get(80, b"")) == b"hello")
            guest.connections[80].send(b"world", time.monotonic())
            guest.until(lambda: guest.connections[80].room == WINDOW)
            assert client.recv(10) == b"world"
            client.close()
            guest.until(lambda: guest.connections[80].guest_has_finished)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.connect(("127.0.0.1", udp))
            asker.settimeout(SECONDS)
            asker.send(b"question")
            guest.until(lambda: guest.others)
            (packet,) = guest.others
            source, target = (int.from_bytes(packet.payload[at : at + 2], "big") for at in (0, 2))
            assert (packet.source, target, bytes(packet.payload[8:])) == (PLACES.gateway, 53, b"question")
            guest.datagram("10.0.2.2", source, b"answer", 53)
            assert asker.recv(100) == b"answer"


def test_names_are_asked_of_the_hosts_resolvers_and_failure_is_told(tmp_path: Path) -> None:
    question = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\4host\4test\0\0\1\0\1"
    empty = tmp_path / "resolv.conf"
    empty.write_text("")
    with network(resolv=str(empty)) as guest:
        guest.datagram("10.0.2.3", 53, question)
        guest.until(lambda: guest.others)
        answer = bytes(guest.others[0].payload[8:])
        assert answer[:2] == b"\x12\x34"
        assert answer[3] & 15 == message.SERVER_FAILURE
        guest.datagram("10.0.2.3", 53, b"\x12\x35\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1")  # a name that leads to itself
        guest.until(lambda: len(guest.others) == 2)
        assert bytes(guest.others[1].payload[8:])[3] & 15 == 1
        call = guest.call("10.0.2.3", 53)
        guest.until(lambda: call.phase is Phase.OPEN)
        call.send(len(question).to_bytes(2, "big") + question, time.monotonic())
        guest.until(lambda: len(guest.got[1000]) > 14)
        assert guest.got[1000][2:4] == b"\x12\x34"


def test_frames_that_are_none_are_nothing(guest: Guest) -> None:
    for size in (1, 3, 5, 11, 26, 70000):
        guest.tap.send([memoryview(bytes(size))])
    call = guest.call("10.0.2.2", 1)
    guest.until(lambda: call.phase is Phase.GONE)


def test_an_end_that_is_closed_ends_nothing_else() -> None:
    ours, guests = cable()
    service = UserNetwork(Plan(), ours)
    os.close(guests)
    service.close()
    service = UserNetwork(Plan(), cable_of_one())
    service.close()


def cable_of_one() -> int:
    ours, guests = cable()
    os.close(guests)
    return ours
