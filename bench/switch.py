"""The switch in user space: frames between two of its ports, and TCP between two network namespaces.

`python bench/switch.py [--seconds N] [--write-readme]`, as root for the second part. A thread of compiled code sends as fast as the switch
takes frames, another counts what arrives; the switch's own is the third. For TCP, iperf3 in two namespaces whose veths are ports of the
switch is compared with the same two behind a bridge of the kernel.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0:1] = [str(ROOT), str(ROOT / "src")]

from bench import figures, peers, readme  # noqa: E402
from bench.figures import Figure, Target, middle, quotient  # noqa: E402

from gasang.host import netns, rtnetlink  # noqa: E402
from gasang.host.netlink import ROUTE, Socket  # noqa: E402
from gasang.host.syscalls import number  # noqa: E402
from gasang.native import i64, native, ptr, syscall, u8, u64  # noqa: E402
from gasang.network.switch.ports import veth  # noqa: E402
from gasang.network.switch.state import HEADER  # noqa: E402
from gasang.network.switch.switch import Switch  # noqa: E402
from gasang.network.user.service import cable  # noqa: E402

WRITE, READ, CLOCK = number("write"), number("read"), number("clock_gettime")
SECOND = 1_000_000_000
SIZES = {
    "64-byte frames": (64, None),
    "1500-byte frames": (1500, Target("≥", 1.0, "ours")),
    "64 KiB segments": (65549, Target("≥", 10.0, "ours")),
}
RUNS = 3


@native
def send(descriptor: i64, frame: ptr[u8], size: u64, clock: ptr[u64], nanoseconds: u64) -> u64:
    """Send a frame again and again for that long; how often."""
    syscall(CLOCK, 1, u64(clock))
    end = clock[0] * SECOND + clock[1] + nanoseconds
    count: u64 = 0
    while clock[0] * SECOND + clock[1] < end:
        for _ in range(u64(64)):
            if syscall(WRITE, u64(descriptor), u64(frame), size) < 0:
                return count
            count += 1
        syscall(CLOCK, 1, u64(clock))
    return count


@native
def receive(descriptor: i64, buffer: ptr[u8], size: u64) -> u64:
    """Count frames until there are no more."""
    count: u64 = 0
    while syscall(READ, u64(descriptor), u64(buffer), size) > 0:
        count += 1
    return count


def once(size: int, seconds: float) -> tuple[float, float]:
    """Frames of that size a second through the switch, and the share of those sent that were lost."""
    switch = Switch()
    ends = [cable(), cable()]
    for ours, _theirs in ends:
        switch.add(ours)
    for _ours, theirs in ends:
        os.set_blocking(theirs, True)
    (_, sender), (_, receiver) = ends
    frame = (bytes(HEADER) + b"\2\0\0\0\0\2" + b"\2\0\0\0\0\1" + b"\x88\xb5").ljust(HEADER + size, b"x")
    known = bytes(HEADER) + b"\xff" * 6 + b"\2\0\0\0\0\2" + b"\x88\xb5" + bytes(46)
    os.write(receiver, known)
    os.read(sender, 100)  # now the switch knows where the frames are to go
    got: list[int] = []
    buffer, data, clock = ctypes.create_string_buffer(1 << 17), ctypes.create_string_buffer(frame), (ctypes.c_uint64 * 2)()
    counting = threading.Thread(target=lambda: got.append(receive(receiver, ctypes.addressof(buffer), len(buffer))))
    counting.start()
    sent = send(sender, ctypes.addressof(data), len(frame), ctypes.addressof(clock), int(seconds * SECOND))
    os.close(sender)
    switch.close()
    counting.join()
    os.close(receiver)
    return got[0] / seconds, 1 - got[0] / sent


def frames(seconds: float) -> list[Figure]:
    """A line for each size: Gbit/s of frames, the middle of some runs."""
    made = []
    for name, (size, target) in SIZES.items():
        taken = [once(size, seconds) for _ in range(RUNS)]
        rates = [rate * size * 8e-9 for rate, _ in taken]
        count, lost = middle([rate for rate, _ in taken]), max(loss for _, loss in taken)
        note = f"{count:,.0f} frames/s, {lost:.1%} lost, {min(rates):.2f} to {max(rates):.2f}"
        made.append(Figure(name, "Gbit/s", None, middle(rates), None, target, note))
    return made


def address(namespace: int, name: str, text: str) -> None:
    """Give an interface in a namespace an address, and set it up."""
    with netns.entered(namespace), Socket(ROUTE) as inside:
        index = socket.if_nametoindex(name)
        inside.send([rtnetlink.set_up(index), rtnetlink.new_address(index, socket.inet_aton(text), 24)])


def iperf(ends: list[int], seconds: float) -> float:
    """Gbit/s of TCP from the first namespace to the second."""
    with netns.entered(ends[1]):
        server = subprocess.Popen(["iperf3", "-s", "-1", "--forceflush", "-B", "10.9.0.2"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    while "listening" not in server.stdout.readline():
        pass
    with netns.entered(ends[0]):
        words = ["iperf3", "-c", "10.9.0.2", "-t", str(max(1, int(seconds))), "-J"]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    server.communicate(timeout=20)
    return float(json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]) * 1e-9


def tcp(seconds: float) -> list[Figure]:
    """One line: over the switch, and over a bridge of the kernel, in turn."""
    taken: dict[str, list[float]] = {"kernel": [], "gasang": []}
    with contextlib.ExitStack() as cleanup:
        host, *ends = (netns.create() for _ in range(3))
        for each in (host, *ends):
            cleanup.callback(os.close, each)
        cleanup.enter_context(netns.entered(host))
        route = cleanup.enter_context(Socket(ROUTE))
        route.send([rtnetlink.new_bridge("br0", b"\x02\0\0\0\0\1")])
        bridge = socket.if_nametoindex("br0")
        for at, end in enumerate(ends):
            route.send([rtnetlink.new_veth(f"v{at}", 0, "eth0", bytes((2, 0, 0, 0, 1, at)), end)])
            address(end, "eth0", f"10.9.0.{at + 1}")
        for _ in range(RUNS):
            for at in range(2):
                route.send([rtnetlink.join_bridge(socket.if_nametoindex(f"v{at}"), bridge)])
            taken["kernel"].append(iperf(ends, seconds))
            for at in range(2):
                route.send([rtnetlink.join_bridge(socket.if_nametoindex(f"v{at}"), 0)])
            switch = Switch()
            for at in range(2):
                switch.add(veth(f"v{at}"))
            taken["gasang"].append(iperf(ends, seconds))
            switch.close()
    theirs, ours = middle(taken["kernel"]), middle(taken["gasang"])
    note = ", ".join(f"{name} {min(rates):.1f} to {max(rates):.1f}" for name, rates in taken.items())
    return [Figure("TCP between two namespaces", "Gbit/s", theirs, ours, quotient(ours, theirs), None, note)]


def main(arguments: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.switch", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run")
    parser.add_argument("--write-readme", action="store_true", help="put the table into bench/README.md")
    options = parser.parse_args(arguments)
    facts = peers.machine()
    lines = frames(options.seconds)
    if os.geteuid() == 0 and shutil.which("iperf3"):
        lines += tcp(options.seconds)
    table = figures.as_markdown(lines, "bridge")
    print(table)
    if options.write_readme:
        readme.write("bench/switch.py", table, {**facts, "load after": peers.load()})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
