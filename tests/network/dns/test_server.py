"""Machines that ask: by UDP and TCP, for each other and for the world."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from gasang.core.errors import UsageError
from gasang.network.dns import exchange, message
from gasang.network.networks import Networks
from gasang.network.spec import EndpointSpec, NetworkSpec
from support.network_host import OUTSIDE, Host

Answer = Callable[[message.Query, bool], bytes | None]


def query(name: str, kind: int = message.A, identity: int = 7, edns: bool = False) -> bytes:
    extra = b"\0" + struct.pack(">HHIH", message.OPT, 1232, 0, 0) if edns else b""
    head = struct.pack(">HHHHHH", identity, 0x0100, 1, 0, 0, 1 if edns else 0)
    return head + message.encode_name(name) + struct.pack(">HH", kind, 1) + extra


def ask(host: Host, namespace: int, data: bytes, *, stream: bool = False, patience: float = 5) -> bytes:
    kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
    with host.inside(namespace, lambda: socket.socket(socket.AF_INET, kind)) as asker:
        asker.settimeout(patience)
        asker.connect(("127.0.0.11", 53))
        if not stream:
            asker.send(data)
            return asker.recv(65535)
        asker.sendall(len(data).to_bytes(2, "big") + data)
        return received(asker)


def received(asker: socket.socket) -> bytes:
    size = int.from_bytes(asker.recv(2, socket.MSG_WAITALL), "big")
    return asker.recv(size, socket.MSG_WAITALL)


class World:
    """The host's resolver, outside: it answers as told and counts."""

    def __init__(self, host: Host) -> None:
        self.asked: list[tuple[str, bool]] = []
        self.answer: Answer = lambda query, stream: message.reply(query, 0, [message.address_record("198.51.100.7", 60)])
        self.datagrams, self.connections = host.inside(host.outside, self._open)
        self.sender: object = None
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._serve_datagrams), threading.Thread(target=self._serve_connections)]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def _open() -> tuple[socket.socket, socket.socket]:
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind((OUTSIDE, 53))
        return datagrams, socket.create_server((OUTSIDE, 53))

    def close(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()
        self.datagrams.close()
        self.connections.close()

    def _reply(self, data: bytes, stream: bool) -> bytes | None:
        asked = message.read_query(data)
        self.asked.append((asked.name, stream))
        return self.answer(asked, stream)

    def _serve_datagrams(self) -> None:
        self.datagrams.settimeout(0.05)
        while not self.stop.is_set():
            with contextlib.suppress(TimeoutError):
                data, self.sender = self.datagrams.recvfrom(4096)
                answer = self._reply(data, False)
                if answer is not None:
                    self.datagrams.sendto(answer, self.sender)  # type: ignore[arg-type]

    def _serve_connections(self) -> None:
        self.connections.settimeout(0.05)
        while not self.stop.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = self.connections.accept()
                with client:
                    client.settimeout(2)
                    answer = self._reply(received(client), True)
                    if answer is not None:
                        client.sendall(len(answer).to_bytes(2, "big") + answer)


@pytest.fixture
def world(host: Host) -> Iterator[World]:
    made = World(host)
    yield made
    made.close()


def lan(host: Host, networks: Networks, *names: str, **wishes: bool) -> list[int]:
    networks.create(NetworkSpec("lan", ipv6=True, **wishes))
    spaces = [host.namespace() for _ in names]
    for name, space in zip(names, spaces, strict=True):
        endpoint = networks.connect("lan", space, EndpointSpec(f"{name}id", name=name, aliases=("all",)))
        assert endpoint.dns == ("127.0.0.11",)
    return spaces


@pytest.mark.parametrize("stream", [False, True])
def test_machines_know_each_other(host: Host, world: World, stream: bool) -> None:
    networks = host.networks()
    one, _ = lan(host, networks, "one", "two")
    answer = ask(host, one, query("two"), stream=stream)
    assert answer.endswith(socket.inet_aton("172.17.0.3"))
    assert ask(host, one, query("TWO.lan", message.AAAA), stream=stream)[-2:] == b"\0\3"
    assert int.from_bytes(ask(host, one, query("all"), stream=stream)[6:8], "big") == 2
    assert world.asked == []


def test_what_nobody_here_is_called_the_world_is_asked_once(host: Host, world: World) -> None:
    networks = host.networks()
    one, two = lan(host, networks, "one", "two")
    for space in (one, two, one):
        assert ask(host, space, query("example.org", edns=True))[:4] != b""
        assert socket.inet_aton("198.51.100.7") in ask(host, space, query("example.org", edns=True))
    assert world.asked == [("example.org", False)]


def test_a_no_is_remembered_too(host: Host, world: World) -> None:
    soa = b"\xc0\x0c" + struct.pack(">HHIH", message.SOA, 1, 900, 22) + b"\0\0" + struct.pack(">IIIII", 1, 2, 3, 4, 120)

    def no(query: message.Query, stream: bool) -> bytes:
        return struct.pack(">HHHHHH", query.id, 0x8183, 1, 0, 1, 0) + query.question + soa

    world.answer = no
    (one,) = lan(host, host.networks(), "one")
    for _ in range(3):
        assert ask(host, one, query("nowhere.example"))[3] & 15 == message.NO_SUCH_NAME
    assert len(world.asked) == 1


def test_a_long_answer_comes_by_tcp(host: Host, world: World) -> None:
    records = [message.address_record(f"198.51.100.{number}", 60) for number in range(100)]
    world.answer = lambda query, stream: message.reply(query, 0, records, limit=65535 if stream else 512)
    (one,) = lan(host, host.networks(), "one")
    short = ask(host, one, query("long.example"))
    assert short[2] & 2
    assert int.from_bytes(ask(host, one, query("long.example"), stream=True)[6:8], "big") == 100
    assert world.asked == [("long.example", False), ("long.example", True)]


def test_a_forged_answer_is_passed_over(host: Host, world: World) -> None:
    def forge(query: message.Query, stream: bool) -> bytes:
        right = message.reply(query, 0, [message.address_record("198.51.100.7", 60)])
        for wrong in (b"\0", right[:-3], message.renumbered(right, query.id ^ 1)):
            world.datagrams.sendto(wrong, world.sender)  # type: ignore[arg-type]
        return right

    world.answer = forge
    (one,) = lan(host, host.networks(), "one")
    assert ask(host, one, query("example.org")).endswith(socket.inet_aton("198.51.100.7"))


def test_aliases_in_a_circle_are_passed_on_and_harm_nobody(host: Host, world: World) -> None:
    """Who asked follows them, or not (RFC 1034, 5.2.2); we do not."""

    def circle(query: message.Query, stream: bool) -> bytes:
        other = {"a.example": "b.example", "b.example": "a.example"}.get(query.name, "")
        alias = b"\xc0\x0c" + struct.pack(">HHIH", 5, 1, 60, len(message.encode_name(other))) + message.encode_name(other)
        return struct.pack(">HHHHHH", query.id, 0x8180, 1, 1, 0, 0) + query.question + alias

    world.answer = circle
    (one,) = lan(host, host.networks(), "one")
    for name in ("a.example", "b.example", "a.example"):
        assert int.from_bytes(ask(host, one, query(name))[6:8], "big") == 1
    assert world.asked == [("a.example", False), ("b.example", False)]


def test_a_resolver_that_asks_us_again_ends_in_a_failure(host: Host, world: World) -> None:
    """A machine is the host's resolver, and has us for its own: each question would go round for ever."""
    networks = host.networks()
    one, two = lan(host, networks, "one", "two")
    with host.inside(one, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as again:
        again.connect(("127.0.0.11", 53))
        again.settimeout(10)

        def asks_again(query_: message.Query, stream: bool) -> None:
            again.send(query(query_.name, identity=len(world.asked) & 0xFFFF))

        world.answer = asks_again
        again.send(query("round.example"))
        answer = again.recv(65535)  # the first that is refused, when so many are under way
        assert answer[3] & 15 == message.SERVER_FAILURE
        assert ask(host, two, query("one")).endswith(socket.inet_aton("172.17.0.2"))
        assert len(world.asked) <= 4 * exchange._MOST_UNDER_WAY
        world.answer = lambda query, stream: message.reply(query, 0, [message.address_record("198.51.100.7", 60)])
        assert ask(host, two, query("example.org"), patience=20).endswith(socket.inet_aton("198.51.100.7"))


def test_a_dead_resolver_is_passed_over_and_none_is_told(host: Host, world: World) -> None:
    host.resolv_conf.write_text(f"nameserver 192.0.2.1\nnameserver {OUTSIDE}\n")
    (one,) = lan(host, host.networks(), "one")
    assert ask(host, one, query("example.org")).endswith(socket.inet_aton("198.51.100.7"))
    world.answer = lambda query, stream: message.reply(query, message.SERVER_FAILURE)
    assert ask(host, one, query("broken.example"))[3] & 15 == message.SERVER_FAILURE


def test_a_machine_may_have_resolvers_of_its_own(host: Host, world: World) -> None:
    networks = host.networks()
    (one,) = lan(host, networks, "one")
    host.resolv_conf.write_text("nameserver 192.0.2.1\n")
    other = host.namespace()
    endpoint = networks.connect("lan", other, EndpointSpec("other", resolvers=(OUTSIDE,)))
    assert (endpoint.dns, endpoint.resolvers) == (("127.0.0.11",), (OUTSIDE,))
    assert ask(host, other, query("example.org")).endswith(socket.inet_aton("198.51.100.7"))
    # What its resolvers say is not told to those who ask others.
    assert ask(host, one, query("example.org"))[3] & 15 == message.SERVER_FAILURE
    direct = networks.connect(networks.default().name, host.namespace(), EndpointSpec("direct", resolvers=("198.51.100.53",)))
    assert direct.dns == ("198.51.100.53",)
    with pytest.raises(UsageError, match="no IP address"):
        networks.connect("bridge", host.namespace(), EndpointSpec("wrong", resolvers=("dns.example",)))


def test_a_machine_that_is_renamed_is_known_by_its_new_name(host: Host, world: World) -> None:
    networks = host.networks()
    one, _ = lan(host, networks, "one", "two")
    networks.rename("twoid", "deux")
    assert ask(host, one, query("deux")).endswith(socket.inet_aton("172.17.0.3"))
    assert ask(host, one, query("two")).endswith(socket.inet_aton("198.51.100.7"))


def test_without_a_resolver_it_says_so(host: Host) -> None:
    host.resolv_conf.write_text("# nobody\n")
    (one,) = lan(host, host.networks(), "one")
    assert ask(host, one, query("example.org"))[3] & 15 == message.SERVER_FAILURE


def test_from_an_internal_network_the_world_is_not_asked(host: Host, world: World) -> None:
    one, _ = lan(host, host.networks(), "one", "two", internal=True)
    assert ask(host, one, query("two")).endswith(socket.inet_aton("172.17.0.3"))
    assert ask(host, one, query("example.org"))[3] & 15 == message.NO_SUCH_NAME
    assert world.asked == []


def test_noise_is_answered_as_such_and_harms_nobody(host: Host, world: World) -> None:
    one, two = lan(host, host.networks(), "one", "two")
    assert ask(host, one, b"\1\2" + bytes(10))[:4] == b"\1\2\x80\1"
    with host.inside(one, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as noisy:
        noisy.connect(("127.0.0.11", 53))
        for number in range(500):
            noisy.send(bytes([number & 255]) * (number % 60 + 1))
    streams = []
    for _ in range(30):
        stream = host.inside(one, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        stream.settimeout(2)
        with contextlib.suppress(OSError):
            stream.connect(("127.0.0.11", 53))
            stream.send(b"\xff\xff half")
        streams.append(stream)
    assert ask(host, two, query("one")).endswith(socket.inet_aton("172.17.0.2"))
    assert ask(host, two, query("one"), stream=True).endswith(socket.inet_aton("172.17.0.2"))
    for stream in streams:
        stream.close()


def test_a_machine_may_have_port_53_for_itself(host: Host, world: World) -> None:
    (one,) = lan(host, host.networks(), "one")
    host.serve(one, "0.0.0.0", 53, kind=socket.SOCK_DGRAM)
    assert host.call(one, "172.17.0.2", 53, kind=socket.SOCK_DGRAM) == "172.17.0.2"
    assert ask(host, one, query("one")).endswith(socket.inet_aton("172.17.0.2"))


def test_a_machine_that_left_frees_its_namespace_and_the_next_daemon_answers(host: Host, world: World) -> None:
    state: dict[str, dict[str, object]] = {}
    networks = host.networks(store=lambda kind, identity, value: state.setdefault(kind, {}).__setitem__(identity, value))
    before = host.snapshot()
    one, two = lan(host, networks, "one", "two")
    networks.close()
    again = host.networks(state)  # type: ignore[arg-type]
    again.reconcile({"oneid": one, "twoid": two})
    assert ask(host, one, query("two")).endswith(socket.inet_aton("172.17.0.3"))
    for endpoint in again.endpoints():
        again.disconnect(endpoint, dying=True)
    host.end(one)
    host.end(two)
    again.tidy(linger=0)
    # The cables go with the namespaces, which no socket of ours keeps.
    assert host.settled(before) == before


def test_on_the_default_network_the_hosts_own_resolver_stands_behind_us_when_it_is_on_loopback(host: Host, world: World) -> None:
    host.resolv_conf.write_text(f"nameserver 127.0.0.53\nnameserver {OUTSIDE}\nsearch example.org\noptions edns0\n")
    networks = host.networks()
    space = host.namespace()
    direct = networks.connect(networks.default().name, space, EndpointSpec("m1"))
    assert direct.dns == (OUTSIDE,)
    assert networks.resolv_conf(direct) == f"nameserver {OUTSIDE}\nsearch example.org\noptions edns0\n"
    host.resolv_conf.write_text("nameserver 127.0.0.1\n")
    other = host.namespace()
    behind = networks.connect("bridge", other, EndpointSpec("m2"))
    assert behind.dns == ("127.0.0.11",)
    assert networks.resolv_conf(behind) == "nameserver 127.0.0.11\noptions ndots:0\n"
