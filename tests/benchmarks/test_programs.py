"""The benchmark programs: built, listed, correct, and their results understood."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess

import pytest
from bench.assets import SOURCES, initrd, programs, user_program
from bench.measures.programs import Result, results

from guests.build import compiler_available
from support.cpio_reader import unpack

QEMU_USER = shutil.which("qemu-riscv64") or shutil.which("qemu-riscv64-static")
needs_compiler = pytest.mark.skipif(not compiler_available(), reason="no riscv64-linux-gnu-gcc (Debian: gcc-riscv64-linux-gnu)")
needs_user_qemu = pytest.mark.skipif(QEMU_USER is None, reason="no qemu-riscv64 (Debian: qemu-user)")


def test_every_program_is_in_the_table() -> None:
    """programs.h names each source that defines a program, and no other."""
    defining = {path.stem for path in SOURCES.glob("*.c") if f"const struct program {path.stem} =" in path.read_text()}
    assert set(programs()) == defining
    assert set(programs().values()) == {"integer", "floating", "tlb"}


def test_results_are_found_among_kernel_messages() -> None:
    """Only whole lines of the agreed form count."""
    console = "[ 1.0] Run /init\n\nbench begin\nsieve 384d85c0aadb5bb8 1859 42\nnbody c226122c33a54334 7 -1\nchase failed 9\n"
    assert results(console) == [Result("sieve", "384d85c0aadb5bb8", 1859, 42), Result("nbody", "c226122c33a54334", 7, -1)]


def _run(*arguments: str) -> list[Result]:
    assert QEMU_USER is not None
    return results(subprocess.run([QEMU_USER, str(user_program()), *arguments], capture_output=True, text=True, check=True).stdout)


WARM = {"nbody": "1", "sha256": "1"}
"""Those that change what was set up, which must be set up again after a warm-up: seconds of one."""


@needs_compiler
@needs_user_qemu
@pytest.mark.parametrize("name", [name for name, group in programs().items() if group != "tlb"])
def test_a_program_gives_the_same_checksum_twice(name: str) -> None:
    """At one percent; a checksum of zero would mean that nothing was computed."""
    (first,), (second,) = _run(name, "1"), _run(name, "1", WARM.get(name, "0"))
    assert first.name == name
    assert first.checksum == second.checksum
    assert int(first.checksum, 16)


@needs_compiler
@needs_user_qemu
def test_sha256_is_sha256() -> None:
    """Ten rounds, each over the data with the last digest put in front."""
    data = bytearray((i * 7 + (i >> 8)) & 255 for i in range(64 << 10))
    for _ in range(10):
        data[:32] = digest = hashlib.sha256(data).digest()
    assert _run("sha256", "1")[0].checksum == digest[:8].hex()


@needs_compiler
def test_the_initrd_holds_the_init_and_a_console() -> None:
    """And nothing else."""
    entries = unpack(gzip.decompress(initrd().read_bytes()))
    assert set(entries) == {b"dev", b"dev/console", b"init"}
    assert entries[b"init"].data == user_program().read_bytes()
    assert entries[b"init"].mode & 0o111
