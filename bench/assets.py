"""What is booted: the initrd with the benchmark programs, and each program as a bare-metal guest. Built once, then cached."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from guests.build import cache_directory, compile_bare, compile_program

SOURCES = Path(__file__).resolve().parent / "guests"
USER_FLAGS = ("-O2", "-static", "-s", "-fno-tree-loop-distribute-patterns", "-fno-strict-aliasing", "-fno-math-errno", "-Wall", "-Wextra")


def programs() -> dict[str, str]:
    """Each program's group, in the order of the table programs.h."""
    return dict(re.findall(r"^PROGRAM\((\w+), (\w+)\)$", (SOURCES / "programs.h").read_text(), re.MULTILINE))


def user_program() -> Path:
    """All programs in one static riscv64 Linux executable, which is also the initrd's init. Raises guests.build.BuildError."""
    sources = [SOURCES / "init.c", SOURCES / "measure.c", *(SOURCES / f"{name}.c" for name in programs())]
    return compile_program("bench-init", sources, USER_FLAGS, sorted(SOURCES.glob("*.h")))


def bare_program(name: str, paging: bool = False) -> Path:
    """One program for the bare machine, with Sv39 on if `paging`. Raises guests.build.BuildError."""
    defines = [f"PROGRAM={name}", *(["PAGED"] if paging else [])]
    return compile_bare(
        f"bench-{name}{'-sv39' if paging else ''}", SOURCES / "bare.c", defines, [SOURCES / f"{name}.c"], [SOURCES / "bench.h"]
    )


def _record(name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0), number: int = 0) -> bytes:
    """A member of a cpio archive in the "newc" form (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst)."""
    path = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return header + b"\0" * (-len(header) % 4) + data + b"\0" * (-len(data) % 4)


def initrd() -> Path:
    """The gzipped initrd, whose only program is init."""
    program = user_program()
    made = cache_directory() / f"{program.stem}.cpio.gz"
    if not made.exists():
        members = [
            _record("dev", 0o040755, number=1),
            _record("dev/console", 0o020600, device=(5, 1), number=2),
            _record("init", 0o100755, program.read_bytes(), number=3),
            _record("TRAILER!!!", 0),
        ]
        scratch = made.with_suffix(".part")
        scratch.write_bytes(gzip.compress(b"".join(members), mtime=0))
        scratch.replace(made)
    return made
