"""TCP between a guest and the host without privilege: our network in user space against QEMU's, same kernel, same initrd, taking turns.

`python bench/usernet.py [--bytes N] [--runs N] [--write-readme]`. The guest (bench/guests/usernet.c) sends to a socket of the host's, then
reads from another; the host tells the time from the first byte to the last. Needs the image debian:trixie (gasang pull) for kernel and
modules, a compiler for riscv64, and qemu-system-riscv64 for the comparison.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0:1] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "src")]

from bench import figures, peers, readme  # noqa: E402
from bench.assets import SOURCES, USER_FLAGS  # noqa: E402
from bench.figures import Figure, Target, middle, quotient  # noqa: E402
from bench.peers import Peer  # noqa: E402
from bench.processes import run  # noqa: E402

from gasang.core.progress import Silent  # noqa: E402
from gasang.images.cpio import archive  # noqa: E402
from gasang.kinds.vm.pull import boot_files  # noqa: E402
from gasang.storage.tree import Entry, Kind  # noqa: E402
from guests.build import compile_program  # noqa: E402

IMAGE = "debian:trixie"
LIMIT = 180.0
CHUNK = 1 << 20
CARDS = {
    "qemu": ("-netdev", "user,id=net", "-device", "virtio-net-device,netdev=net"),
    "gasang": ("--network", "user,host=allow"),
}


class Ends:
    """The host's two sockets: one takes what the guest sends, one gives it so many bytes. Mbit/s of each, once the guest is gone."""

    def __init__(self, size: int) -> None:
        self.rates: list[float] = []
        self._size = size
        self._servers = self._neighbours()
        self.port = self._servers[0].getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @staticmethod
    def _neighbours() -> list[socket.socket]:
        """Two servers at ports one behind the other."""
        while True:
            first = socket.create_server(("127.0.0.1", 0))
            try:
                return [first, socket.create_server(("127.0.0.1", first.getsockname()[1] + 1))]
            except OSError:
                first.close()

    def _serve(self) -> None:
        connection, _ = self._servers[0].accept()
        with connection:
            count, begin = len(connection.recv(CHUNK)), time.monotonic()
            while data := connection.recv(CHUNK):
                count += len(data)
            self.rates.append(count * 8e-6 / (time.monotonic() - begin))
        connection, _ = self._servers[1].accept()
        with connection:
            begin = time.monotonic()
            connection.sendall(bytes(self._size))
            connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                connection.recv(1)  # the guest has read all and hangs up
            self.rates.append(self._size * 8e-6 / (time.monotonic() - begin))

    def finish(self) -> list[float]:
        """Close, and the two rates."""
        self._thread.join(10)
        for server in self._servers:
            server.close()
        return self.rates


def initrd(stored: Path, folder: Path) -> Path:
    """The image's own, for its modules, and our program in it."""
    program = compile_program("bench-usernet", [SOURCES / "usernet.c"], USER_FLAGS)
    made = folder / "initrd"
    entry = Entry(path="bench-usernet", kind=Kind.FILE, mode=0o755, data=program.read_bytes())
    made.write_bytes(stored.read_bytes() + archive([entry]))
    return made


def once(peer: Peer, kernel: Path, small: Path, size: int) -> list[float]:
    """Mbit/s from the guest and to it. Raises MachineError."""
    ends = Ends(size)
    command = peer.boot(kernel, small, f"console=ttyS0 quiet rdinit=/bench-usernet bench.port={ends.port} bench.bytes={size}")
    run([*command, *CARDS[peer.name]], LIMIT)
    return ends.finish()


def measure(size: int, runs: int) -> list[Figure]:
    """Both directions, the peers in turn."""
    found = [peer for peer in (peers.qemu(), peers.gasang()) if peer is not None]
    taken: dict[str, list[list[float]]] = {peer.name: [] for peer in found}
    files = boot_files(IMAGE, Silent())
    with tempfile.TemporaryDirectory() as folder:
        small = initrd(files.initrd, Path(folder))
        for _ in range(runs):
            for peer in found:
                taken[peer.name].append(once(peer, files.kernel, small, size))
    made = []
    for index, name in enumerate(("guest to host, TCP", "host to guest, TCP")):
        rates = {peer: middle([rate[index] for rate in its]) for peer, its in taken.items()}
        theirs, ours = rates.get("qemu"), rates.get("gasang")
        spread = ", ".join(f"{peer} {min(r[index] for r in its):.0f} to {max(r[index] for r in its):.0f}" for peer, its in taken.items())
        made.append(Figure(name, "Mbit/s", theirs, ours, quotient(ours, theirs), Target("≥", 1.0), spread))
    return made


def main(arguments: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.usernet", description=__doc__)
    parser.add_argument("--bytes", type=int, default=200_000_000, help="each way")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write-readme", action="store_true", help="put the table into bench/README.md")
    options = parser.parse_args(arguments)
    facts = peers.machine()
    table = figures.as_markdown(measure(options.bytes, options.runs), "QEMU")
    print(table)
    if options.write_readme:
        readme.write("bench/usernet.py", table, {**facts, "load after": peers.load()})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
