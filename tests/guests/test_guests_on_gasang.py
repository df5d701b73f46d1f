"""Every tiny guest on the software machine, through the command line a user has."""

from __future__ import annotations

import pytest

from guests.build import build_guest, compiler_available
from guests.catalogue import GUESTS
from guests.running import failures, gasang_command, run_guest

needs_compiler = pytest.mark.skipif(not compiler_available(), reason="no riscv64-linux-gnu-gcc (Debian: gcc-riscv64-linux-gnu)")


@needs_compiler
@pytest.mark.parametrize("name", [name for name, guest in GUESTS.items() if guest.ends])
def test_passes(name: str) -> None:
    """The guest prints what the catalogue says, then PASS, and powers off with exit code 0."""
    guest = GUESTS[name]
    outcome = run_guest(gasang_command(guest, build_guest(name)), guest)
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
def test_a_guest_that_fails_fails_the_command() -> None:
    """The board's failure code becomes the exit code."""
    guest = GUESTS["syscon"]
    outcome = run_guest([*gasang_command(guest, build_guest("syscon")), "--append", "code=7"], guest)
    assert outcome.ended_by == "itself"
    assert outcome.exit_code == 7
