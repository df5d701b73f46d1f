"""Converting disk images: `gasang image convert` against `qemu-img convert`, in turn, each in a process of its own.

python bench/disks.py [--size 2048] [--runs N] [--write-readme]

A disk of 2 GiB, a quarter noise, a quarter text, half of it empty, goes from qcow2 to every other format and back. A ratio is our time
over qemu-img's, the start of both programs included: less is better.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import figures
import peers
import readme
from figures import Figure, Target

FORMATS = {"raw": "raw", "vmdk": "vmdk", "vdi": "vdi", "vhdx": "vhdx", "vhd": "vpc"}
"""Our names and theirs."""
AT_MOST = Target("≤", 1.2)
GASANG = [sys.executable, "-m", "gasang"]
ENVIRONMENT = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {
    "PYTHONPATH": str(Path(__file__).resolve().parent.parent / "src")
}
"""With compiled modules kept, as an installed gasang has them."""


def make_disk(path: Path, mebibytes: int) -> None:
    """Noise, text and holes, a MiB of each in turn."""
    noise = random.Random(6)
    text = b"what a disk holds is mostly text, programs and nothing at all. " * (1 << 15)
    with path.open("wb") as file:
        for start in range(0, mebibytes, 4):
            file.seek(start << 20)
            file.write(noise.randbytes(1 << 20) + text[: 1 << 20])
        file.truncate(mebibytes << 20)


def seconds(command: list[str], made: Path) -> float:
    """How long a command takes that makes the file `made` anew."""
    for old in made.parent.glob(f"{made.stem}*"):
        old.unlink()
    os.sync()  # what is written of one run must not hold up the next
    begin = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    return time.monotonic() - begin


def measure(scratch: Path, mebibytes: int, runs: int, formats: list[str]) -> list[Figure]:
    """All conversions, judged: the two results must hold the same disk."""
    make_disk(scratch / "disk.raw", mebibytes)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", scratch / "disk.raw", scratch / "disk.qcow2"], check=True)
    found = []
    for name in formats:
        theirs = FORMATS[name]
        source = scratch / f"disk.{name}"
        if name != "raw":
            subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", theirs, scratch / "disk.raw", source], check=True)
        ways = (("qcow2", "qcow2", name, theirs, scratch / "disk.qcow2"), (name, theirs, "qcow2", "qcow2", source))
        for ours_from, theirs_from, ours_to, theirs_to, image in ways:
            mine, other = scratch / f"ours.{ours_to}", scratch / f"peer.{ours_to}"
            commands = {
                "gasang": ([*GASANG, "image", "convert", "--from", ours_from, "--to", ours_to, str(image), str(mine)], mine),
                "qemu": (["qemu-img", "convert", "-f", theirs_from, "-O", theirs_to, str(image), str(other)], other),
            }
            taken: dict[str, list[float]] = {peer: [] for peer in commands}
            for _ in range(runs):
                for peer, (command, made) in commands.items():
                    taken[peer].append(seconds(command, made))
            subprocess.run(["qemu-img", "compare", "-q", "-f", theirs_to, "-F", theirs_to, mine, other], check=True)
            values = {peer: figures.middle(times) for peer, times in taken.items()}
            found.append(Figure.of_peers(f"{ours_from} to {ours_to}, {mebibytes} MiB", "s", values, AT_MOST))
        if name != "raw":
            source.unlink()
    return found


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, help="MiB of the disk")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), help="some of them")
    parser.add_argument("--scratch", type=Path, help="where the files lie (default: the temporary folder)")
    parser.add_argument("--write-readme", action="store_true")
    options = parser.parse_args()
    if not shutil.which("qemu-img"):
        sys.exit("qemu-img is missing: install qemu-utils")
    machine = {**peers.host(), "load before": peers.load()}
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        found = measure(Path(scratch), options.size, options.runs, options.formats)
    print(figures.as_text(found, "qemu-img"))
    if options.write_readme:
        readme.write("bench/disks.py", figures.as_markdown(found, "qemu-img"), {**machine, "load after": peers.load()})


if __name__ == "__main__":
    main()
