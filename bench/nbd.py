"""A qcow2 image over NBD: `gasang nbd serve` against `qemu-storage-daemon`, in turn, on a Unix socket, with one and the same client.

python bench/nbd.py [--size 1024] [--rounds N] [--write-readme]

Every cluster of the image has bytes of its own, and all of it is in the host's page cache: what is measured is the way through the server.
A ratio is our rate over the peer's: more is better.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import disks
import figures
import peers
import readme
from figures import Figure, Target

AT_LEAST = Target("≥", 0.8)
MEASURES = {
    "4 KiB random reads, one at a time": (4096, 1, False, 6000),
    "4 KiB random reads, 16 under way": (4096, 16, False, 12000),
    "1 MiB reads in order, one at a time": (1 << 20, 1, True, 500),
    "1 MiB reads in order, 4 under way": (1 << 20, 4, True, 500),
}
"""Bytes of a request, how many are under way, whether they follow one another, and how many there are."""


@contextmanager
def serving(words: list[str], path: Path) -> Iterator[None]:
    """A server that listens on the socket `path`."""
    path.unlink(missing_ok=True)
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, env=disks.ENVIRONMENT) as server:
        try:
            end = time.monotonic() + 20
            while not path.exists():
                if server.poll() is not None or time.monotonic() > end:
                    sys.exit(f"{words[0]} does not serve")
                time.sleep(0.02)
            yield
        finally:
            server.send_signal(signal.SIGTERM)


def rate(path: Path, length: int, under_way: int, in_order: bool, count: int) -> float:
    """Requests a second. The oldest way to choose an export is enough, and every server knows it."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.recv(18, socket.MSG_WAITALL)
        client.sendall(struct.pack(">IQII", 3, 0x49484156454F5054, 1, 4) + b"disk")
        size, _ = struct.unpack(">QH", client.recv(10, socket.MSG_WAITALL))
        chance = random.Random(1)
        places = [(number if in_order else chance.randrange(size // length)) * length % (size - length) for number in range(count)]
        sent = got = 0
        memory = memoryview(bytearray(length + 16))
        begin = time.monotonic()
        while got < count:
            while sent < count and sent - got < under_way:
                client.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, sent, places[sent], length))
                sent += 1
            have = 0
            while have < len(memory):
                have += client.recv_into(memory[have:])
            if memory[4:8] != bytes(4):
                sys.exit("a read failed")
            got += 1
        return count / (time.monotonic() - begin)


def measure(scratch: Path, mebibytes: int, rounds: int) -> list[Figure]:
    """All measures, both servers in turn in each round."""
    image, place = scratch / "disk.qcow2", scratch / "nbd.sock"
    with (scratch / "disk.raw").open("wb") as file:
        noise = random.Random(6).randbytes(1 << 20)
        for _ in range(mebibytes):
            file.write(noise)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", scratch / "disk.raw", image], check=True)
    ours = [*disks.GASANG, "nbd", "serve", "--read-only", "--unix", str(place), "--name", "disk", str(image)]
    blockdev = f"driver=qcow2,node-name=disk,read-only=on,file.driver=file,file.filename={image}"
    theirs = ["qemu-storage-daemon", "--blockdev", blockdev, "--nbd-server", f"addr.type=unix,addr.path={place}"]
    theirs += ["--export", "type=nbd,id=disk,node-name=disk,name=disk"]
    found: dict[str, dict[str, list[float]]] = {name: {"gasang": [], "qemu": []} for name in MEASURES}
    for _ in range(rounds):
        for peer, words in (("gasang", ours), ("qemu", theirs)):
            with serving(words, place):
                time.sleep(0.2)  # the socket is there before somebody listens
                rate(place, 1 << 20, 1, True, 200)
                for name, how in MEASURES.items():
                    found[name][peer].append(rate(place, *how))
    made = []
    for name, rates in found.items():
        ratio = figures.middle([one / other for one, other in zip(rates["gasang"], rates["qemu"], strict=True)])
        made.append(Figure(name, "1/s", figures.middle(rates["qemu"]), figures.middle(rates["gasang"]), ratio, AT_LEAST))
    return made


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="MiB of the disk")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scratch", type=Path, help="where the files lie (default: the temporary folder)")
    parser.add_argument("--write-readme", action="store_true")
    options = parser.parse_args()
    if not shutil.which("qemu-storage-daemon"):
        sys.exit("qemu-storage-daemon is missing: install qemu-system-common")
    machine = {**peers.host(), "load before": peers.load()}
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        found = measure(Path(scratch), options.size, options.rounds)
    print(figures.as_text(found, "qemu-storage-daemon"))
    if options.write_readme:
        readme.write("bench/nbd.py", figures.as_markdown(found, "qemu-storage-daemon"), {**machine, "load after": peers.load()})


if __name__ == "__main__":
    main()
