"""The proxy, between sockets of this process: no privilege needed."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator

import pytest

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
    end.settimeout(5)
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
                client.settimeout(5)


def test_a_machine_that_does_not_listen_ends_the_call(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    held = publish(proxy, port)
    with call(held) as client:
        client.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""


def test_a_released_port_is_closed_with_its_connections(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = publish(proxy, server.getsockname()[1])
        with call(held) as client:
            machine, _ = server.accept()
            with machine:
                client.sendall(b"x")
                assert machine.recv(1) == b"x"
                proxy.release([held.port])
                client.settimeout(5)
                with contextlib.suppress(ConnectionResetError):
                    assert client.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            call(held)


def test_datagrams_find_their_way_back_to_each_caller(proxy: Proxy) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        held = publish(proxy, server.getsockname()[1], "udp")
        callers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(5)]
        for number, caller in enumerate(callers):
            caller.settimeout(5)
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
