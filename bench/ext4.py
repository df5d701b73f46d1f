"""Making an ext4 image from a directory: `write_ext4` against `mke2fs -d`, in turn, each in a process of its own.

python bench/ext4.py [TREE] [--runs N]      # without TREE: 10,000 files of 250 MB in all, sized as a small Debian's are
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from uuid import UUID

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from gasang.storage.ext4 import size_needed, write_ext4
from gasang.storage.tree import read_tree

FILES = 10_000
TOTAL = 250 << 20
PER_FOLDER = 12
UUID_HERE = UUID("8a1f4a52-3a5d-4bb0-9d3a-6f1c1d8f5d10")


def make_tree(root: Path) -> None:
    """Files whose sizes are spread log-normally, most of them small, every eighth a symbolic link."""
    rng = random.Random(2)
    sizes = [rng.lognormvariate(8, 2) for _ in range(FILES)]
    scale = TOTAL / sum(sizes)
    noise = rng.randbytes(64 << 20)
    for i, size in enumerate(sizes):
        folder = root / f"folder{i // (PER_FOLDER * 20)}" / f"sub{i // PER_FOLDER}"
        folder.mkdir(parents=True, exist_ok=True)
        if i % 8 == 7:
            (folder / f"link-{i}").symlink_to(f"file-{i - 1}")
        else:
            (folder / f"file-{i}").write_bytes(noise[: int(size * scale)])


def timed(command: list[str], image: Path) -> float:
    """Seconds from start to end of a command that makes `image` anew."""
    image.unlink(missing_ok=True)
    begin = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def compare(tree: Path, runs: int, scratch: Path) -> None:
    """Print both medians and their ratio."""
    size = max(size_needed(read_tree(tree)) * 3 // 2, 512 << 20)
    ours, theirs = scratch / "ours.img", scratch / "mke2fs.img"
    commands = {
        ours: [sys.executable, __file__, str(tree), "--write", str(ours), "--size", str(size)],
        theirs: [program("mke2fs"), "-q", "-F", "-t", "ext4", "-d", str(tree), str(theirs), f"{size >> 10}k"],
    }
    taken: dict[Path, list[float]] = {ours: [], theirs: []}
    for _ in range(runs):
        for image, command in commands.items():
            taken[image].append(timed(command, image))
    for image in taken:
        subprocess.run([program("e2fsck"), "-fn", str(image)], check=True, capture_output=True)
    ratio = median(taken[ours]) / median(taken[theirs])
    print(f"write_ext4 {median(taken[ours]):.2f} s   mke2fs -d {median(taken[theirs]):.2f} s   ratio {ratio:.2f}   ({runs} runs, {tree})")


def program(name: str) -> str:
    """Where e2fsprogs put it."""
    found = shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin")
    if not found:
        sys.exit(f"{name} is missing: install e2fsprogs")
    return found


def main() -> None:
    """Compare, or write one image where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", type=Path, nargs="?", help="a directory (default: one is made)")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write_ext4(options.write, read_tree(options.tree), options.size, uuid=UUID_HERE)
        return
    with tempfile.TemporaryDirectory() as scratch:
        tree = options.tree or Path(scratch) / "tree"
        if not options.tree:
            make_tree(tree)
        compare(tree, options.runs, Path(scratch))


if __name__ == "__main__":
    main()
