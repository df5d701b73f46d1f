"""From the command to the first guest instruction: with an empty cache, as on a new machine, and with a filled one.

What is booted is a stock kernel and an initrd, for reading them is part of a start; but the kernel's first instructions are replaced by
a few that tell the serial line, so that the moment is seen from outside.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.assets import initrd as small_initrd
from bench.figures import Figure, Target, middle
from bench.peers import Peer, environment
from bench.processes import cpu_seconds, running

WORD = "~begun~"
LIMIT = 300.0
SERIAL_PAGE, TEXT = 0x10000, 0x1000
"""Page number of the serial line's registers, and where in an Image its text section begins."""
T0, T1 = 5, 6

Start = Callable[[Peer], tuple[float, float]]
"""Starts a peer's machine: seconds of wall time and of CPU until its first instruction."""


def first_instruction(peers: list[Peer], kernel: Path, initrd: Path | None, runs: int) -> list[Figure]:
    """Seconds until the kernel's first instruction: the first start of all, then `runs` more."""
    first: dict[str, float] = {}
    wall: dict[str, list[float]] = {"qemu": [], "gasang": []}
    cpu: dict[str, list[float]] = {"qemu": [], "gasang": []}
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "Image"
        image.write_bytes(telling(kernel.read_bytes()))
        start = _starter(image, initrd or small_initrd(), _new_home(folder))
        for peer in peers:
            first[peer.name], _ = start(peer)
        for _ in range(runs):
            for peer in peers:
                elapsed, used = start(peer)
                wall[peer.name].append(elapsed)
                cpu[peer.name].append(used)
    limit = Target("≤", 0.5, "ours")
    return [
        Figure.of_peers("first start of all to first instruction", "s", first, Target("≤", 20, "ours")),
        Figure.of_peers("later start to first instruction: wall", "s", {name: middle(each) for name, each in wall.items()}, limit),
        Figure.of_peers("later start: wall, best", "s", {name: min(each, default=None) for name, each in wall.items()}),
        Figure.of_peers("later start: CPU, best", "s", {name: min(each, default=None) for name, each in cpu.items()}),
    ]


def telling(image: bytes) -> bytes:
    """A riscv64 Image whose first instructions send WORD to the serial line and then wait for ever; the rest as it was."""
    start = 2  # behind "MZ", which is an instruction without effect
    code = [_store_upper(T0, SERIAL_PAGE)]
    for letter in WORD.encode() + b"\n":
        code += [letter << 20 | T1 << 7 | 0x13, T1 << 20 | T0 << 15 | 0x23]  # addi t1, zero, letter; sb t1, 0(t0)
    code += [0x10500073, _jump(-4)]  # wfi, again and again
    told = bytearray(image)
    told[start : start + 4] = _jump(TEXT - start).to_bytes(4, "little")
    told[TEXT : TEXT + 4 * len(code)] = b"".join(word.to_bytes(4, "little") for word in code)
    return bytes(told)


def _store_upper(register: int, page: int) -> int:
    """The instruction lui (RISC-V unprivileged specification, 2.4)."""
    return page << 12 | register << 7 | 0x37


def _jump(distance: int) -> int:
    """The instruction jal without a link (2.5)."""
    bits = distance & 0x1FFFFF
    return bits >> 20 << 31 | (bits >> 1 & 0x3FF) << 21 | (bits >> 11 & 1) << 20 | (bits >> 12 & 0xFF) << 12 | 0x6F


def _new_home(folder: str) -> dict[str, str]:
    """An environment in which nothing is compiled yet, and what is compiled is kept: machine code and Python's own."""
    env = environment(GASANG_HOME=folder, PYTHONPYCACHEPREFIX=f"{folder}/bytecode")
    return {name: text for name, text in env.items() if name != "GASANG_NATIVE_CACHE"}


def _starter(image: Path, initrd: Path, env: dict[str, str]) -> Start:
    def start(peer: Peer) -> tuple[float, float]:
        with running(peer.boot(image, initrd), env) as machine:
            return machine.wait_for(WORD, LIMIT), cpu_seconds(machine.pid)

    return start
