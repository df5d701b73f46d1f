"""Builds bare-metal guests with the cross compiler, once for each state of their sources.

The cache is keyed by the compiler's version, its flags and every file that goes in; an object appears there whole or not at all.
Run as a program it builds the guests named (all of the catalogue if none) and prints where they lie.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
RUNTIME = HERE / "runtime"
COMPILER = "riscv64-linux-gnu-gcc"
FLAGS = (
    *("-O2", "-march=rv64gc", "-mabi=lp64d", "-mcmodel=medany", "-ffreestanding", "-fno-pic", "-no-pie", "-nostdlib", "-static"),
    *("-fno-stack-protector", "-fno-tree-loop-distribute-patterns", "-fno-strict-aliasing", "-fno-math-errno", "-ffunction-sections"),
    *("-Wall", "-Wextra", "-Wl,--gc-sections", "-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments"),
)


class BuildError(Exception):
    """A guest that cannot be built: the compiler's own words, or that there is none."""


def compiler_available() -> bool:
    """Whether the cross compiler is installed."""
    return shutil.which(COMPILER) is not None


@cache
def compiler_version(compiler: str = COMPILER) -> str:
    """The compiler's name and version, a part of every cache key; raises BuildError without a compiler."""
    if not shutil.which(compiler):
        package = "gcc-riscv64-linux-gnu" if compiler == COMPILER else "gcc"
        raise BuildError(f"{compiler} is not installed; install Debian's package {package}")
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def cache_directory() -> Path:
    """Where built programs are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    directory = Path(base) / "gasang" / "guests"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def compile_program(
    name: str,
    sources: Sequence[Path],
    flags: Sequence[str],
    read_too: Sequence[Path] = (),
    libraries: Sequence[str] = (),
    compiler: str = COMPILER,
) -> Path:
    """The program `name` made from `sources` and `libraries`; `read_too` are files the sources or flags refer to. Raises BuildError."""
    key = hashlib.sha256()
    for part in (compiler_version(compiler), name, *flags, *libraries):
        key.update(part.encode() + b"\0")
    for path in (*sources, *read_too):
        key.update(path.name.encode() + b"\0" + path.read_bytes())
    built = cache_directory() / f"{name}-{key.hexdigest()[:16]}.elf"
    if built.exists():
        return built
    with tempfile.TemporaryDirectory(dir=built.parent) as scratch:
        out = Path(scratch) / "out"
        command = [compiler, *flags, *map(str, sources), *libraries, "-o", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(f"{name}: {done.stderr}")
        out.replace(built)
    return built


def compile_bare(name: str, source: Path, defines: Sequence[str] = (), more: Sequence[Path] = (), headers: Sequence[Path] = ()) -> Path:
    """A bare-metal guest from `source`, `more` sources beside it and the runtime; `headers` are what those include. Raises BuildError."""
    runtime = [*sorted(RUNTIME.glob("*.S")), *sorted(RUNTIME.glob("*.c"))]
    includes = (f"-I{RUNTIME}", f"-I{source.parent}", f"-T{RUNTIME / 'link.ld'}")
    read_too = [*sorted(RUNTIME.glob("*.h")), RUNTIME / "link.ld", *headers]
    return compile_program(name, [*runtime, source, *more], [*FLAGS, *includes, *(f"-D{d}" for d in defines)], read_too)


def build_guest(name: str) -> Path:
    """The ELF of the catalogue's guest `name`; raises KeyError if there is none, BuildError if it cannot be built."""
    from guests.catalogue import GUESTS

    guest = GUESTS[name]
    return compile_bare(name, HERE / guest.source, guest.defines)


def main(names: Sequence[str]) -> int:
    """Build the guests named, or all, and print their paths."""
    from guests.catalogue import GUESTS

    for name in names or GUESTS:
        try:
            print(name, build_guest(name))
        except KeyError:
            print(f"{name}: no such guest; there are {', '.join(GUESTS)}", file=sys.stderr)
            return 2
        except BuildError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    sys.exit(main(sys.argv[1:]))
