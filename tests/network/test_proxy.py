"""The proxy, between sockets of this process: no privilege needed."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from gasang.network import streams
from gasang.network.ports import Held, hold
from gasang.network.proxy import Proxy
from gasang.network.spec import PortSpec


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.close()


def publish(proxy: Proxy, port: int, protocol: str = "tcp") -> Held:
    (held,) = hold(PortSpec(port, protocol), ("127.0.0.1",), ["127.0.0.1"])
    proxy.serve([held])
    return held


def call(held: Held) -> socket.socket:
    return socket.create_connection(("127.0.0.1", held.port.host_port), 5)


def test_bytes_pass_both_ways_and_ends_pass_one_by_one(proxy: Proxy) -> None:
    data = os.urandom(3_000_000)
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = publish(proxy, server.getsockname()[1])
        with call(held) as client:
            machine, _ = server.accept()
            with machine:
                sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
                sender.start()
                assert received(machine) == data
                sender.join()
                # The client has ended; the machine still answers.
                back = threading.Thread(target=lambda: (machine.sendall(data[::-1]), machine.shutdown(socket.SHUT_WR)))
                back.start()
                assert received(client) == data[::-1]
                back.join()


def received(end: socket.socket) -> bytes:
    end.settimeout(30)
    parts = []
    while part := end.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def test_a_slow_reader_holds_back_the_writer(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = publish(proxy, server.getsockname()[1])
        with call(held) as client:
            machine, _ = server.accept()
            with machine:
                client.settimeout(0.5)
                sent = 0
                with contextlib.suppress(TimeoutError):
                    while sent < 1 << 28:
                        sent += client.send(bytes(1 << 16))
                assert sent < 1 << 26
                client.settimeout(30)


def test_a_machine_that_does_not_listen_ends_the_call(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    held = publish(proxy, port)
    with call(held) as client:
        client.settimeout(30)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""


def test_a_flood_of_calls_holds_so_many_and_other_ports_are_served(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_MOST_CONNECTIONS", 8)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as flooded, socket.create_server(("127.0.0.1", 0)) as other:
        target, quiet = publish(proxy, flooded.getsockname()[1]), publish(proxy, other.getsockname()[1])
        before = len(os.listdir("/proc/self/fd"))
        with contextlib.ExitStack() as callers:
            calls = [callers.enter_context(call(target)) for _ in range(40)]
            for each in calls[8:]:
                each.settimeout(5)
                with contextlib.suppress(ConnectionResetError):
                    assert each.recv(1) == b""
            assert len(os.listdir("/proc/self/fd")) - before <= 40 + 2 * 8
            with call(quiet) as client, other.accept()[0] as machine:
                machine.sendall(b"served")
                client.settimeout(5)
                assert client.recv(6) == b"served"
        for _ in range(8):  # those that were let in are over now
            with flooded.accept()[0] as machine:
                assert received(machine) == b""
        with call(target) as client, flooded.accept()[0] as machine:
            machine.sendall(b"again")
            client.settimeout(5)
            assert client.recv(5) == b"again"


def test_a_released_port_is_closed_with_its_connections(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = publish(proxy, server.getsockname()[1])
        with call(held) as client:
            machine, _ = server.accept()
            with machine:
                client.sendall(b"x")
                assert machine.recv(1) == b"x"
                proxy.release([held.port])
                client.settimeout(30)
                with contextlib.suppress(ConnectionResetError):
                    assert client.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            call(held)


def test_datagrams_find_their_way_back_to_each_caller(proxy: Proxy) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(30)
        held = publish(proxy, server.getsockname()[1], "udp")
        callers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(5)]
        for number, caller in enumerate(callers):
            caller.settimeout(30)
            caller.sendto(bytes([number]), ("127.0.0.1", held.port.host_port))
        for _ in callers:
            data, sender = server.recvfrom(10)
            server.sendto(data * 3, sender)
        for number, caller in enumerate(callers):
            assert caller.recv(10) == bytes([number]) * 3
            caller.close()
        proxy.release([held.port])


def test_closing_without_ever_serving_is_quiet() -> None:
    Proxy().close()


def test_a_flood_costs_the_flooder_and_not_others(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """All places are taken by two callers' addresses: a third gets in at the cost of who has most, whose idlest connection ends."""
    monkeypatch.setattr(streams, "_MOST_CONNECTIONS", 8)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server, contextlib.ExitStack() as cleanup:
        server.settimeout(5)
        held = publish(proxy, server.getsockname()[1])

        def calls(source: str) -> tuple[socket.socket, socket.socket]:
            client = socket.create_connection(("127.0.0.1", held.port.host_port), 5, (source, 0))
            ends = client, server.accept()[0]
            for end in ends:
                end.settimeout(5)
                cleanup.enter_context(end)
            return ends

        quiet = [calls("127.0.0.2") for _ in range(2)]
        flood = [calls("127.0.0.3") for _ in range(6)]
        for client, machine in (quiet[0], flood[0]):  # the flooder's first one is not the idlest any more
            client.sendall(b"hello")
            assert machine.recv(10) == b"hello"
        late = calls("127.0.0.4")
        assert flood[1][0].recv(1) == b""
        for client, machine in (*quiet, flood[0], *flood[2:], late):
            machine.sendall(b"here")
            assert client.recv(10) == b"here"
        again = socket.create_connection(("127.0.0.1", held.port.host_port), 5, ("127.0.0.3", 0))
        cleanup.enter_context(again)
        again.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert again.recv(1) == b""  # none of its own is idle
        monkeypatch.setattr(streams, "_IDLE", 0.0)
        replaced = calls("127.0.0.3")
        replaced[0].sendall(b"new")
        assert replaced[1].recv(10) == b"new"
        assert flood[0][0].recv(1) == b""  # the idlest one has made room for it
        for client, machine in quiet:
            machine.sendall(b"still")
            assert client.recv(10) == b"still"
