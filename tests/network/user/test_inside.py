"""An interface in a namespace on a network in user space, by each way that there is: bytes both ways; either end goes with the other."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable

import pytest

from gasang.core.errors import PermissionDeniedError, UnsupportedError
from gasang.network.user import inside
from gasang.network.user.plan import Plan
from gasang.network.user.service import UserNetwork
from support.network_host import Host

SECONDS = 20.0
Way = Callable[[int, int, str], int]


@pytest.fixture(params=inside.WAYS, ids=["tap", "veth"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Way:
    """The only one."""
    monkeypatch.setattr(inside, "WAYS", (request.param,))
    found: Way = request.param
    return found


def made(host: Host, plan: Plan) -> tuple[int, int]:
    """A namespace, and the descriptor of its frames."""
    namespace = host.namespace()
    try:
        return namespace, inside.card(namespace, plan)
    except UnsupportedError as error:
        pytest.skip(str(error))


def names(host: Host, namespace: int) -> list[str]:
    return host.inside(namespace, lambda: [name for _, name in socket.if_nameindex()])


@pytest.mark.usefixtures("way")
def test_bytes_go_both_ways_and_names_are_asked(host: Host) -> None:
    data = os.urandom(3 << 20)
    namespace, end = made(host, Plan(reaches_host=True))
    before = host.snapshot()
    network = UserNetwork(Plan(reaches_host=True), end, takes=inside.TAKES)
    try:
        for address, gateway in (("127.0.0.1", "10.0.2.2"), ("::1", "fd00:a00:2::2")):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.create_server((address, 0), family=family) as server:
                server.settimeout(SECONDS)
                caller = host.inside(namespace, lambda family=family: socket.socket(family))  # type: ignore[misc]
                with caller:
                    caller.settimeout(SECONDS)
                    caller.connect((gateway, server.getsockname()[1]))
                    answerer = server.accept()[0]
                    with answerer:
                        answerer.settimeout(SECONDS)
                        for sender, receiver in ((caller, answerer), (answerer, caller)):
                            thread = threading.Thread(target=sender.sendall, args=(data,))
                            thread.start()
                            assert received(receiver, len(data)) == data
                            thread.join()
        assert host.snapshot() == before  # nothing of it is on the host
    finally:
        network.close()


def received(end: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = end.recv(1 << 18)
        assert part
        parts += part
    return bytes(parts)


@pytest.mark.usefixtures("way")
def test_the_network_hears_that_the_namespace_has_ended(host: Host) -> None:
    namespace, end = made(host, Plan())
    network = UserNetwork(Plan(), end, takes=inside.TAKES)
    assert not network.ended.wait(0.05)
    host.end(namespace)
    assert network.ended.wait(SECONDS)
    network.close()


@pytest.mark.usefixtures("way")
def test_the_interface_goes_with_its_descriptor(host: Host) -> None:
    namespace, end = made(host, Plan())
    assert names(host, namespace) == ["lo", "eth0"]
    os.close(end)
    host._until(lambda: names(host, namespace) == ["lo"])
    assert names(host, namespace) == ["lo"]


@pytest.mark.usefixtures("way")
def test_frames_are_heard_with_their_headers(host: Host) -> None:
    namespace, end = made(host, Plan())
    with host.inside(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        sender.sendto(b"hello", ("10.0.2.2", 9))
    assert select.select([end], [], [], SECONDS)[0]
    frame = os.read(end, 1 << 17)
    assert (frame[12:18], frame[24:26]) == (b"\xff" * 6, b"\x08\x06")  # it asks who the gateway is
    os.close(end)


def test_where_there_is_no_way_it_is_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object) -> int:
        raise PermissionDeniedError("network interface eth0", "/dev/net/tun may not be opened", "run as root")

    monkeypatch.setattr(inside, "WAYS", (closed, closed))
    with pytest.raises(PermissionDeniedError, match="may not be opened"):
        inside.card(host.namespace(), Plan())
