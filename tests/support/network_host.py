"""A host of one's own: a network namespace that stands for the host, machines, and a world outside."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from gasang.host import netns, rtnetlink, sysctls
from gasang.host.netlink import ROUTE, Socket
from gasang.host.nftables import Netfilter
from gasang.network.names import tag_of
from gasang.network.networks import Networks

T = TypeVar("T")
OUTSIDE = "192.0.2.2"
OUTSIDE6 = "2001:db8::2"
_WATCHED = (
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/default/forwarding",
    "net/ipv4/conf/all/forwarding",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv6/conf/up0/accept_ra",
    "net/ipv4/conf/up0/forwarding",
    "net/ipv6/conf/up0/forwarding",
)


class Host:
    """The namespace that stands for the host. `up0` leads to `outside` (192.0.2.2, 2001:db8::2); the host is .1."""

    def __init__(self, folder: Path) -> None:
        self.namespaces: list[int] = []
        self.folder = folder
        self.opened: list[Networks] = []
        self.stack = contextlib.ExitStack()
        self.resolv_conf = folder / "resolv.conf"
        self.resolv_conf.write_text(f"nameserver {OUTSIDE}\n")
        # A new namespace begins with what the machine's first one has.
        for name in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            sysctls.write(name, "0")
        with Socket(ROUTE) as route:
            route.send([rtnetlink.set_up(rtnetlink.LOOPBACK_INDEX)])
            self.outside = self.namespace()
            route.send([rtnetlink.new_veth("up0", 0, "out0", b"\x02\0\0\0\0\1", self.outside)])
        self._address("up0", "192.0.2.1", "2001:db8::1")
        self.inside(self.outside, lambda: self._address("out0", OUTSIDE, OUTSIDE6))
        with Socket(ROUTE) as route:
            route.send([rtnetlink.settle_link(socket.if_nametoindex("up0"))])
        self._until(lambda: "2001:db8::1/128" in self.snapshot()["routes"])

    @staticmethod
    def _address(name: str, *addresses: str) -> None:
        with Socket(ROUTE) as route:
            index = socket.if_nametoindex(name)
            route.send([rtnetlink.set_up(rtnetlink.LOOPBACK_INDEX), rtnetlink.without_link_local(index), rtnetlink.set_up(index)])
            for text in addresses:
                family = socket.AF_INET6 if ":" in text else socket.AF_INET
                route.send([rtnetlink.new_address(index, socket.inet_pton(family, text), 64 if ":" in text else 24)])

    def namespace(self) -> int:
        """A new namespace, empty."""
        self.namespaces.append(netns.create())
        return self.namespaces[-1]

    def end(self, namespace: int) -> None:
        """The machine whose namespace it is dies."""
        self.namespaces.remove(namespace)
        os.close(namespace)

    @staticmethod
    def inside(namespace: int, action: Callable[[], T]) -> T:
        """What `action` returns when done inside."""
        with netns.entered(namespace):
            return action()

    def networks(self, state: Mapping[str, Mapping[str, Any]] | None = None, store: Callable[..., None] = lambda *_: None) -> Networks:
        """The networks of this host."""
        made = Networks(
            state or {}, tag=tag_of(str(self.folder)), store=store, resolv_conf=str(self.resolv_conf), folder=self.folder / "switches"
        )
        self.opened.append(made)
        return made

    def snapshot(self) -> dict[str, Any]:
        """Everything of the host that we might have changed."""
        with Socket(ROUTE) as route, Netfilter() as netfilter:
            links = [rtnetlink.link_of(answer) for answer in route.dump(rtnetlink.all_links())]
            return {
                "links": sorted(link.name for link in links),
                "addresses": sorted(str(rtnetlink.network_of(answer)) for answer in route.dump(rtnetlink.all_addresses())),
                "routes": sorted(str(rtnetlink.network_of(answer)) for answer in route.dump(rtnetlink.all_routes())),
                "tables": netfilter.tables(),
                "chains": netfilter.counted("chains"),
                "rules": netfilter.counted("rules"),
                "iptables": self._iptables(),
                "parameters": {name: sysctls.read(name) for name in _WATCHED},
            }

    @staticmethod
    def _iptables() -> list[str]:
        saved = ""
        for program in ("iptables-legacy-save", "ip6tables-legacy-save"):
            if shutil.which(program):
                saved += subprocess.run([program], capture_output=True, text=True, check=True).stdout
        return [line for line in saved.splitlines() if line.startswith(("-A", ":GASANG"))]

    def serve(self, namespace: int | None, address: str, port: int, *, kind: int = socket.SOCK_STREAM) -> None:
        """Answer whoever calls there with the address he calls from."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def bound() -> socket.socket:
            made = socket.socket(family, kind)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((address, port))
            if kind == socket.SOCK_STREAM:
                made.listen()
            return made

        server = bound() if namespace is None else self.inside(namespace, bound)
        stop = threading.Event()
        thread = threading.Thread(target=_answer, args=(server, kind, stop))
        thread.start()

        def end() -> None:
            stop.set()
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
            thread.join()

        self.stack.callback(end)

    def call(self, namespace: int | None, address: str, port: int, *, kind: int = socket.SOCK_STREAM, patience: float = 20.0) -> str:
        """What the server there answers; raises OSError if it cannot be reached."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = (lambda: socket.socket(family, kind))() if namespace is None else self.inside(namespace, lambda: socket.socket(family, kind))
        with made:
            made.settimeout(patience)
            made.connect((address, port))
            made.send(b"who?")
            return made.recv(200).decode()

    def reaches(self, namespace: int | None, address: str, port: int, *, kind: int = socket.SOCK_STREAM) -> bool:
        """Whether anybody answers there at all: who does may take his time."""
        return bool(self.call(namespace, address, port, kind=kind))

    def is_barred(self, namespace: int | None, address: str, port: int, *, kind: int = socket.SOCK_STREAM) -> bool:
        """Whether nobody answers there, for as long as it is worth waiting for nothing."""
        try:
            self.call(namespace, address, port, kind=kind, patience=0.4)
        except OSError:
            return True
        return False

    def settled(self, expected: dict[str, Any], patience: float = 20.0) -> dict[str, Any]:
        """The snapshot, as soon as it is as expected (the kernel takes dead namespaces away in its own time)."""
        self._until(lambda: self.snapshot() == expected, patience)
        return self.snapshot()

    @staticmethod
    def _until(condition: Callable[[], bool], patience: float = 20.0) -> None:
        end = time.monotonic() + patience
        while not condition() and time.monotonic() < end:
            time.sleep(0.01)


def _answer(server: socket.socket, kind: int, stop: threading.Event) -> None:
    server.settimeout(0.1)
    while not stop.is_set():
        with contextlib.suppress(OSError):
            if kind == socket.SOCK_DGRAM:
                _, caller = server.recvfrom(200)
                server.sendto(caller[0].encode(), caller)
                continue
            client, caller = server.accept()
            with client:
                client.settimeout(20)
                client.recv(200)
                client.sendall(caller[0].encode())
