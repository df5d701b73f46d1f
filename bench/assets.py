"""What is booted: the initrd with the benchmark programs, and each program as a bare-metal guest. Built once, then cached."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from gasang.images.cpio import archive
from gasang.storage.tree import Entry, Kind
from guests.build import cache_directory, compile_bare, compile_program

SOURCES = Path(__file__).resolve().parent / "guests"
USER_FLAGS = ("-O2", "-static", "-s", "-fno-tree-loop-distribute-patterns", "-fno-strict-aliasing", "-fno-math-errno", "-Wall", "-Wextra")


def programs() -> dict[str, str]:
    """Each program's group, in the order of the table programs.h."""
    return dict(re.findall(r"^PROGRAM\((\w+), (\w+)\)$", (SOURCES / "programs.h").read_text(), re.MULTILINE))


def user_program() -> Path:
    """All programs in one static riscv64 Linux executable, which is also the initrd's init. Raises guests.build.BuildError."""
    sources = [SOURCES / "init.c", SOURCES / "measure.c", SOURCES / "crew.c", *(SOURCES / f"{name}.c" for name in programs())]
    return compile_program("bench-init", sources, USER_FLAGS, sorted(SOURCES.glob("*.h")))


def crew_here() -> Path:
    """The program of two threads, for this host. Raises guests.build.BuildError."""
    sources = [SOURCES / "crew.c", SOURCES / "crew_here.c"]
    return compile_program("bench-crew-here", sources, ("-O2", "-pthread"), sorted(SOURCES.glob("*.h")), compiler="gcc")


def bare_program(name: str, paging: bool = False) -> Path:
    """One program for the bare machine, with Sv39 on if `paging`. Raises guests.build.BuildError."""
    defines = [f"PROGRAM={name}", *(["PAGED"] if paging else [])]
    return compile_bare(
        f"bench-{name}{'-sv39' if paging else ''}", SOURCES / "bare.c", defines, [SOURCES / f"{name}.c"], [SOURCES / "bench.h"]
    )


def initrd() -> Path:
    """The gzipped initrd, whose only program is init. Raises guests.build.BuildError."""
    program = user_program()
    made = cache_directory() / f"{program.stem}.cpio.gz"
    if not made.exists():
        entries = (
            Entry(path="dev", kind=Kind.DIRECTORY, mode=0o755),
            Entry(path="dev/console", kind=Kind.CHARACTER, mode=0o600, device=(5, 1)),
            Entry(path="init", kind=Kind.FILE, mode=0o755, data=program.read_bytes()),
        )
        scratch = made.with_suffix(".part")
        scratch.write_bytes(gzip.compress(archive(entries), mtime=0))
        scratch.replace(made)
    return made
