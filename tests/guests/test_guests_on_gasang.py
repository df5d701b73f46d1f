"""Every tiny guest on the software machine, through the command line a user has."""

from __future__ import annotations

from pathlib import Path

import pytest

from gasang.kinds.vm.warnings import MOST
from guests.build import build_guest, compiler_available
from guests.catalogue import GUESTS, Guest
from guests.running import failures, gasang_command, run_guest


def _disks(guest: Guest, folder: Path) -> list[Path]:
    """The disk that the guest wants, if it does."""
    if "blk" not in guest.devices:
        return []
    disk = folder / "disk"
    disk.write_bytes(b"d" * (1 << 20))
    return [disk]


needs_compiler = pytest.mark.skipif(not compiler_available(), reason="no riscv64-linux-gnu-gcc (Debian: gcc-riscv64-linux-gnu)")


@needs_compiler
@pytest.mark.parametrize("name", [name for name, guest in GUESTS.items() if guest.ends])
def test_passes(name: str, tmp_path: Path) -> None:
    """The guest prints what the catalogue says, then PASS, and powers off with exit code 0."""
    guest = GUESTS[name]
    outcome = run_guest(gasang_command(guest, build_guest(name), *_disks(guest, tmp_path)), guest)
    assert not failures(guest, outcome)
    assert outcome.exit_code == 0


@needs_compiler
@pytest.mark.parametrize("name", [name for name, guest in GUESTS.items() if not guest.ends and not guest.dies])
def test_a_lost_guest_harms_nobody(name: str) -> None:
    """It ends by itself with a message, or runs on until asked to end; there is never a traceback and never need of force."""
    guest = GUESTS[name]
    outcome = run_guest(gasang_command(guest, build_guest(name)), guest, limit=4)
    assert not failures(guest, outcome)
    assert outcome.ended_by != "kill"
    assert "Traceback" not in outcome.stderr
    assert outcome.exit_code != 0
    assert not outcome.orphans


@needs_compiler
@pytest.mark.parametrize("name", [name for name, guest in GUESTS.items() if guest.dies])
def test_a_guest_that_can_never_go_on_ends_its_machine(name: str) -> None:
    """With one sentence, exit code 125, and nothing left behind."""
    guest = GUESTS[name]
    outcome = run_guest(gasang_command(guest, build_guest(name)), guest)
    assert not failures(guest, outcome)
    assert outcome.ended_by == "itself"
    assert outcome.exit_code == 125
    assert not outcome.orphans
    said = [line for line in outcome.stderr.splitlines() if "compiling the processor" not in line]
    assert len(said) == 1
    assert said[0].startswith("gasang: guest, hart ")
    assert guest.dies in said[0]


@needs_compiler
def test_hostile_queues_are_told_and_harm_their_device_alone(tmp_path: Path) -> None:
    """A few warnings a device, each naming it and the cause; the disk is as it was."""
    guest = GUESTS["virtio_strict"]
    (disk,) = _disks(guest, tmp_path)
    outcome = run_guest(gasang_command(guest, build_guest("virtio_strict"), disk), guest)
    assert outcome.exit_code == 0
    warnings = [line for line in outcome.stderr.splitlines() if line.startswith("gasang: warning: virtio ")]
    for name in ("virtio disk at 0x10001000: ", "virtio entropy source at 0x10002000: "):
        told = [line for line in warnings if name in line]
        assert len(told) == MOST
        assert all("it stands still until the guest resets it" in line for line in told)
    assert len(warnings) == 2 * MOST
    assert any("is not RAM" in line for line in warnings)
    assert disk.read_bytes() == b"d" * disk.stat().st_size
    assert not outcome.orphans


@needs_compiler
def test_a_guest_that_fails_fails_the_command() -> None:
    """The board's failure code becomes the exit code."""
    guest = GUESTS["syscon"]
    outcome = run_guest([*gasang_command(guest, build_guest("syscon")), "--append", "code=7"], guest)
    assert outcome.ended_by == "itself"
    assert outcome.exit_code == 7
