"""The tiny guests are right: each passes under QEMU, where QEMU itself is right."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from guests.build import BuildError, build_guest, compile_bare, compiler_available
from guests.catalogue import GUESTS
from guests.running import QEMU, failures, qemu_command, run_guest

HERE = Path(__file__).resolve().parent

needs_compiler = pytest.mark.skipif(not compiler_available(), reason="no riscv64-linux-gnu-gcc (Debian: gcc-riscv64-linux-gnu)")
needs_qemu = pytest.mark.skipif(shutil.which(QEMU) is None, reason="no qemu-system-riscv64 (Debian: qemu-system-misc)")


@needs_compiler
@needs_qemu
@pytest.mark.parametrize("name", [name for name, guest in GUESTS.items() if guest.ends and not guest.qemu_differs])
def test_passes_under_qemu(name: str) -> None:
    """The guest prints what the catalogue says, then PASS, and powers off."""
    guest = GUESTS[name]
    assert not failures(guest, run_guest(qemu_command(guest, build_guest(name)), guest))


@needs_compiler
@pytest.mark.parametrize("name", GUESTS)
def test_builds_where_a_kernel_is_loaded(name: str) -> None:
    """A riscv64 executable whose first segment and entry are 2 MiB into RAM."""
    header = build_guest(name).read_bytes()[:0x78]
    assert header[:6] == b"\x7fELF\x02\x01"
    assert int.from_bytes(header[18:20], "little") == 243
    assert int.from_bytes(header[24:32], "little") == 0x80200000


@needs_compiler
def test_a_source_that_does_not_compile_says_so(tmp_path: Path) -> None:
    """The compiler's words reach the caller and nothing is cached."""
    source = tmp_path / "broken.c"
    source.write_text("int guest(void) { return nothing_of_that_name; }\n")
    with pytest.raises(BuildError, match="nothing_of_that_name"):
        compile_bare("broken", source)


def test_every_source_is_in_the_catalogue() -> None:
    """A guest that nobody runs is no test."""
    assert {guest.source for guest in GUESTS.values()} == {path.name for path in HERE.glob("*.c")}
