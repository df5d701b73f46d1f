"""Cross-compiled C programs do under Linux in our machine what they do in QEMU's user mode: the same output, the same exit code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gasang.core.paths import cache_folder
from gasang.core.progress import Silent
from guests.build import compiler_available
from guests.running import Outcome
from programs.catalogue import HERE, QEMU, VARIANTS, Run, build, build_init, names, run_by_qemu
from programs.machine import Key, boot, difference, initramfs, runs_in
from support.stock_kernel import stock_kernel

needs_compiler = pytest.mark.skipif(not compiler_available(), reason="no riscv64-linux-gnu-gcc (Debian: gcc-riscv64-linux-gnu)")
needs_user_qemu = pytest.mark.skipif(QEMU is None, reason="no qemu-riscv64 (Debian: qemu-user-static)")
RUNS: list[Key] = [(variant, name) for variant in VARIANTS for name in names()]


@pytest.fixture(scope="module")
def executables() -> dict[str, Path]:
    """All programs, compiled in all ways."""
    return {variant: build(variant) for variant in VARIANTS}


@pytest.fixture(scope="module")
def outcome(executables: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """One boot in which all programs run. The kernel is that of the image the other tests keep; without it, it needs a Debian mirror."""
    home = {**os.environ, "GASANG_HOME": str(cache_folder(os.environ) / "tests")}
    initrd = tmp_path_factory.mktemp("programs") / "initrd"
    initrd.write_bytes(initramfs(build_init(), executables, RUNS))
    return boot(stock_kernel(home, Silent()), initrd)


@needs_compiler
@needs_user_qemu
@pytest.mark.parametrize(("variant", "name"), RUNS, ids=[f"{name}-{variant}" for variant, name in RUNS])
def test_does_what_it_does_under_qemu(variant: str, name: str, outcome: Outcome, executables: dict[str, Path]) -> None:
    ours = runs_in(outcome.lines).get((variant, name))
    assert ours is not None, "it did not end; the machine's last words:\n" + "\n".join([*outcome.lines[-20:], outcome.stderr[-2000:]])
    differs = difference(ours, run_by_qemu(executables[variant], name))
    assert not differs, f"{differs}\nall values: {executables[variant]} {name} all"


@needs_compiler
@needs_user_qemu
def test_the_machine_powers_off(outcome: Outcome) -> None:
    assert (outcome.ended_by, outcome.exit_code) == ("itself", 0), outcome.stderr


@needs_compiler
@needs_user_qemu
def test_every_program_says_something(executables: dict[str, Path]) -> None:
    """Rows with values in them, and each program other ones."""
    said = [run_by_qemu(executables["O2"], name).lines for name in names()]
    assert all(" values, " in "".join(lines) for lines in said)
    assert not any(": 0 values" in line for lines in said for line in lines)
    assert len({"".join(lines) for lines in said}) == len(said)


def test_every_source_is_in_the_table() -> None:
    helpers = {"report", "guest_init"}
    assert set(names()) == {path.stem for path in HERE.glob("*.c")} - helpers


def test_the_console_is_understood() -> None:
    console = ["noise", "", "== begin O2 bits", "counts: 1", "", "== end O2 bits 0", "== begin O2 wide", "== end O2 bits 3", "half a li"]
    assert runs_in(console) == {("O2", "bits"): Run(["counts: 1"], 0)}


def test_differences_are_named() -> None:
    one = Run(["a: 1", "b: 2"], 0)
    assert difference(one, Run(["a: 1", "b: 2"], 0)) == ""
    assert difference(one, Run(["a: 1", "b: 3"], 0)) == "line 2: b: 2\nunder QEMU: b: 3"
    assert difference(one, Run(["a: 1"], 0)) == "line 2: b: 2\nunder QEMU: (no line)"
    assert difference(one, Run(["a: 1", "b: 2"], 9)) == "exit code 0, under QEMU 9"
