"""What a machine's network costs: joined and left again, ours against the same done with pyroute2, one request a call, if it is installed.

`python bench/network.py [--machines N] [--write-readme]`, as root. Everything happens in a network namespace of the measurement's own. Both
sides take turns; minimum and median in milliseconds of wall-clock time and, for the calling thread, of CPU time.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from bench import figures, peers, readme
from bench.figures import Figure, quotient

from gasang.host import netns
from gasang.network.cables import loopback
from gasang.network.names import tag_of
from gasang.network.networks import Networks
from gasang.network.spec import EndpointSpec, NetworkSpec, PortSpec

SETTLE_LIMIT = 10.0
PEER = "pyroute2"


@dataclass(frozen=True)
class Cost:
    """One line: milliseconds, and of how many."""

    name: str
    least: float
    middle: float
    cpu: float
    count: int


class Timer:
    """Collects one action's costs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.wall: list[float] = []
        self.cpu: list[float] = []

    @contextlib.contextmanager
    def once(self) -> Iterator[None]:
        """Time what is done meanwhile."""
        wall, cpu = time.perf_counter(), time.thread_time()
        yield
        self.cpu.append((time.thread_time() - cpu) * 1e3)
        self.wall.append((time.perf_counter() - wall) * 1e3)

    def cost(self) -> Cost:
        """The sum of it."""
        return Cost(self.name, min(self.wall), median(self.wall), median(self.cpu), len(self.wall))


class Ours:
    """gasang's own way."""

    def __init__(self) -> None:
        self.networks = Networks({}, tag=tag_of("bench"))
        self.networks.create(NetworkSpec("named"))
        self.default = self.networks.default().name

    def first(self) -> Cost:
        """The first machine: bridge, rules and forwarding too; and when they go with the last one."""
        timer = Timer("ours: the first machine (bridge, rules, forwarding)")
        for _ in range(5):
            namespace = netns.create()
            with timer.once():
                endpoint = self.networks.connect(self.default, namespace, EndpointSpec("first"))
            self.networks.disconnect(endpoint)
            self.networks.tidy(linger=0)
            os.close(namespace)
        return timer.cost()

    def cycle(self, network: str, join: Timer, leave: Timer, publish: Timer | None = None) -> None:
        """One machine comes and dies."""
        namespace = netns.create()
        with join.once():
            endpoint = self.networks.connect(network, namespace, EndpointSpec("machine", name="machine"))
        if publish:
            with publish.once():
                self.networks.publish(endpoint, [PortSpec(80)])
        os.close(namespace)
        with leave.once():
            self.networks.disconnect(endpoint, dying=True)


class Library:
    """The same with pyroute2's everyday interface."""

    def __init__(self) -> None:
        from pyroute2 import IPRoute  # the peer, if it is installed

        self._make: Callable[..., Any] = IPRoute
        self.route: Any = IPRoute()
        self.route.link("add", ifname="peer0", kind="bridge")
        self.bridge = self.route.link_lookup(ifname="peer0")[0]
        self.route.addr("add", index=self.bridge, address="10.99.0.1", prefixlen=16)
        self.route.link("set", index=self.bridge, state="up")
        self.number = 1

    def cycle(self, join: Timer, leave: Timer) -> None:
        """One machine comes and leaves."""
        namespace = netns.create()
        self.number += 1
        name = f"peer{self.number}"
        with join.once():
            self.route.link("add", ifname=name, kind="veth", peer={"ifname": f"x{name}", "net_ns_fd": namespace})
            end = self.route.link_lookup(ifname=name)[0]
            self.route.link("set", index=end, master=self.bridge, state="up")
            with netns.entered(namespace), self._make() as inner:
                far = inner.link_lookup(ifname=f"x{name}")[0]
                inner.link("set", index=1, state="up")
                inner.link("set", index=far, ifname="eth0")
                inner.link("set", index=far, state="up")
                inner.addr("add", index=far, address=f"10.99.0.{self.number % 250 + 2}", prefixlen=16)
                inner.route("add", dst="default", gateway="10.99.0.1")
        with leave.once():
            self.route.link("del", index=end)
        os.close(namespace)


def at_once(ours: Ours, count: int) -> Cost:
    """So many machines, with making their namespaces, one behind the other while those before them die."""
    timer = Timer(f"ours: {count} machines come and go, namespaces made and ended too")
    for _ in range(5):
        with timer.once():
            for _ in range(count):
                ours.cycle(ours.default, Timer(""), Timer(""))
        settled(2)
    return timer.cost()


def settled(kept: int) -> None:
    """Wait until the kernel has taken away what has died, all cables but `kept`."""
    end = time.monotonic() + SETTLE_LIMIT
    while sum(name.startswith("gv") for _, name in socket.if_nameindex()) > kept and time.monotonic() < end:
        time.sleep(0.005)


def measure(machines: int) -> list[Cost]:
    """All lines."""
    ours = Ours()
    costs = [ours.first()]
    keeper = [netns.create(), netns.create()]
    for network, namespace in zip((ours.default, "named"), keeper, strict=True):
        ours.networks.connect(network, namespace, EndpointSpec(f"keeper of {network}"))
    peer = Library() if importlib.util.find_spec("pyroute2") else None
    names = ("join", "leave", "join a network with names", "leave it", "publish a port", "pyroute2: join", "pyroute2: leave")
    timers = [Timer(name if ":" in name else f"ours: {name}") for name in names]
    for _ in range(machines):
        ours.cycle(ours.default, timers[0], timers[1])
        settled(2)
        ours.cycle("named", timers[2], timers[3], timers[4])
        settled(2)
        if peer:
            peer.cycle(timers[5], timers[6])
    costs += [timer.cost() for timer in timers if timer.wall]
    costs.append(at_once(ours, 20))
    for namespace in keeper:
        os.close(namespace)
    ours.networks.close()
    return costs


def as_figures(costs: list[Cost]) -> list[Figure]:
    """The lines of the report: ours, beside the peer's of the same name."""
    by_name = {cost.name: cost for cost in costs}
    lines = []
    for cost in costs:
        side, _, name = cost.name.partition(": ")
        if side == "ours":
            peer = by_name.get(f"{PEER}: {name}")
            theirs = peer.middle if peer else None
            note = f"least {cost.least:.2f}, CPU {cost.cpu:.2f}"
            lines.append(Figure(name, "ms", theirs, cost.middle, quotient(cost.middle, theirs), None, note))
    return lines


def main(arguments: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.network", description=__doc__)
    parser.add_argument("--machines", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write-readme", action="store_true", help="put the table into bench/README.md")
    options = parser.parse_args(arguments)
    facts = peers.host()
    namespace = netns.create()
    loopback(namespace)
    with netns.entered(namespace):
        costs = measure(options.machines)
    os.close(namespace)
    if options.json:
        print(json.dumps([asdict(cost) for cost in costs]))
        return 0
    print(f"{'milliseconds':62} {'least':>8} {'median':>8} {'CPU':>8}")
    for cost in costs:
        print(f"{cost.name:62} {cost.least:8.2f} {cost.middle:8.2f} {cost.cpu:8.2f}")
    if options.write_readme:
        readme.write("bench/network.py", figures.as_markdown(as_figures(costs), PEER), {**facts, "load after": peers.load()})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
