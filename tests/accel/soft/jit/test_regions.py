"""A machine that compiles its hot code while it runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from gasang.accel.soft.jit.regions import HOT_AFTER, MOST_TRIES, stamp_of
from gasang.accel.soft.machine import ON, SoftMachine
from gasang.core.errors import PermissionDeniedError
from gasang.cpus.riscv64 import exits
from gasang.host.code import CodeMemory
from support.bare import CODE, Bare, asm
from support.machines import bare_machine
from support.regions import Compiling
from support.supervised import eventually

PATIENCE = 120
LOOP = [asm("add", rd=10, rs1=10, rs2=5), asm("addi", rd=5, rs1=5, imm=1), asm("jal", rd=0, imm=-8)]


@pytest.fixture
def machine() -> Iterator[SoftMachine]:
    """A machine that counts for ever."""
    made = bare_machine(b"".join(LOOP), jit=ON)
    yield made
    made.stop()
    made.join()
    made.close()


def is_exact(machine: SoftMachine) -> bool:
    """Whether the registers of a paused machine are what so many instructions make of them."""
    rounds, more = divmod(machine.instructions, 3)
    begun = rounds * (rounds - 1) // 2 + (rounds if more else 0)
    return (machine.harts[0].cpu.x[5], machine.harts[0].cpu.x[10]) == (rounds + (more == 2), begun % (1 << 64))


def test_a_machine_goes_over_to_compiled_code_and_is_exact_whenever_it_is_paused(machine: SoftMachine) -> None:
    regions = machine.regions
    assert regions is not None
    machine.start(machine.ram.base, 0)
    for _ in range(3):
        eventually(lambda: regions.statistics.placed > 0, PATIENCE)
        machine.pause(PATIENCE)
        assert is_exact(machine)
        machine.resume()
    assert regions.statistics.regions >= 1
    assert regions.statistics.code_bytes > 0


def test_a_machine_goes_on_when_its_compiler_is_killed(machine: SoftMachine) -> None:
    regions = machine.regions
    assert regions is not None
    assert regions.service.process is not None  # type: ignore[attr-defined]
    os.kill(regions.service.process, signal.SIGKILL)  # type: ignore[attr-defined]
    machine.start(machine.ram.base, 0)
    before = machine.instructions
    eventually(lambda: machine.instructions > before + 10_000_000, PATIENCE)
    machine.pause(PATIENCE)
    assert is_exact(machine)
    machine.resume()


@pytest.fixture
def bare() -> Iterator[Bare]:
    """A hart without a thread."""
    made = Bare()
    yield made
    made.close()


def test_regions_are_placed_again_without_compiling(bare: Bare) -> None:
    compiling = Compiling(bare)
    bare.put(CODE, *LOOP)
    compiling.run(10_000)
    asked, placed = len(compiling.regions.service.asked), compiling.regions.statistics.placed  # type: ignore[attr-defined]
    assert placed > 0
    bare.machine.processor.functions["forget_all_blocks"](bare.hart.address)
    compiling.run(10_000)
    assert compiling.regions.statistics.placed > placed
    assert len(compiling.regions.service.asked) == asked  # type: ignore[attr-defined]


def test_code_that_changes_for_ever_is_compiled_a_few_times_only(bare: Bare) -> None:
    compiling = Compiling(bare)
    bare.put(CODE, *LOOP)
    for _ in range(MOST_TRIES + 3):
        compiling.run(10_000)
        bare.machine.processor.functions["forget_all_blocks"](bare.hart.address)
    assert len(compiling.regions.service.asked) <= MOST_TRIES  # type: ignore[attr-defined]


def test_code_that_is_in_a_region_is_not_compiled_once_more(bare: Bare) -> None:
    compiling = Compiling(bare)
    bare.put(CODE, *LOOP)
    compiling.run(10_000)
    asked = len(compiling.regions.service.asked)  # type: ignore[attr-defined]
    compiling.regions._known.clear()  # as if it could not be placed
    bare.machine.processor.functions["forget_all_blocks"](bare.hart.address)
    compiling.run(10_000)
    assert len(compiling.regions.service.asked) == asked  # type: ignore[attr-defined]


def test_a_host_that_forbids_new_code_interprets(bare: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(memory: CodeMemory, content: bytes, executable: int) -> None:
        raise PermissionDeniedError("compiled code", "the host forbids to execute it")

    monkeypatch.setattr(CodeMemory, "seal", forbidden)
    compiling = Compiling(bare)
    bare.put(CODE, *LOOP)
    assert compiling.run(10_000) == exits.LIMIT
    assert (compiling.regions.statistics.placed, bare.hart.instructions) == (0, 10_000)


def test_a_fork_keeps_what_is_compiled_and_asks_for_no_more(bare: Bare) -> None:
    compiling = Compiling(bare)
    bare.put(CODE, *LOOP)
    compiling.run(10_000)
    compiling.regions.forget_parent()
    assert bare.cpu.hot_after == 0
    assert compiling.run(100_000) == exits.LIMIT
    assert bare.hart.instructions == 110_000


def test_nothing_is_hot_before_it_was_met_so_often(bare: Bare) -> None:
    compiling = Compiling(bare, HOT_AFTER)
    bare.put(CODE, *LOOP)
    compiling.run(900 * (HOT_AFTER - 1))
    assert not compiling.regions.service.asked  # type: ignore[attr-defined]
    compiling.run(900 * 3)
    assert len(compiling.regions.service.asked) == 1  # type: ignore[attr-defined]


def test_pages_are_known_by_their_content() -> None:
    assert stamp_of(bytes(4096)) == stamp_of(bytes(4096)) != stamp_of(b"\1" * 4096)
    assert stamp_of(bytes(4096)) != 0
