"""The C programs: their names, how they are compiled, and how one is run by QEMU's user mode."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from guests.build import compile_program

HERE = Path(__file__).resolve().parent
QEMU = shutil.which("qemu-riscv64-static") or shutil.which("qemu-riscv64")
COMMON = ("-static", "-s", "-pthread", "-frounding-math", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wno-unused-value")
VARIANTS: dict[str, tuple[str, ...]] = {
    "O2": ("-O2", "-march=rv64gc"),
    "O0": ("-O0", "-march=rv64gc"),
    "Os": ("-Os", "-march=rv64gc"),
    "O3-bitmanip": ("-O3", "-march=rv64gc_zba_zbb_zbs"),
    "O2-uncompressed": ("-O2", "-march=rv64g"),
}
LIMIT = 60.0
"""Seconds of one program under QEMU."""


@dataclass(frozen=True)
class Run:
    """What a program did: its output's lines, and its exit code or 128 + the number of the signal that ended it."""

    lines: list[str]
    code: int


def names() -> list[str]:
    """The programs, in the order of the table programs.h."""
    return re.findall(r"^PROGRAM\((\w+)\)$", (HERE / "programs.h").read_text(), re.MULTILINE)


def build(variant: str) -> Path:
    """All programs compiled in one way, in one executable that takes a program's name. Raises guests.build.BuildError."""
    sources = [HERE / "report.c", *(HERE / f"{name}.c" for name in names())]
    return compile_program(f"programs-{variant}", sources, [*VARIANTS[variant], *COMMON], sorted(HERE.glob("*.h")), ["-lm"])


def build_init() -> Path:
    """The first process of the machine the programs run in. Raises guests.build.BuildError."""
    return compile_program("programs-init", [HERE / "guest_init.c"], ["-O2", "-static", "-s", "-Wall", "-Wextra", "-Wno-unused-result"])


def run_by_qemu(executable: Path, name: str) -> Run:
    """The program under QEMU's user mode; raises subprocess.TimeoutExpired."""
    assert QEMU is not None
    command = [QEMU, str(executable), name]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False)
    return Run(done.stdout.splitlines() + done.stderr.splitlines(), 128 - done.returncode if done.returncode < 0 else done.returncode)
