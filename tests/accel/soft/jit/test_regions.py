"""A machine that compiles its hot code while it runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gasang.accel.soft.jit.messages import Answer, Request
from gasang.accel.soft.jit.pack import stamp_of
from gasang.accel.soft.jit.regions import AGAIN, FREE_TRIES, HOT_AFTER
from gasang.accel.soft.jit.shelf import Shelf
from gasang.accel.soft.jit.store import RegionStore
from gasang.accel.soft.jit.worker import answer
from gasang.accel.soft.machine import ON, SoftMachine
from gasang.core.errors import PermissionDeniedError
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.execute import QUANTUM
from gasang.cpus.riscv64.regions import QUANTUM as REGION_QUANTUM
from gasang.cpus.riscv64.state import PAGE_SIZE
from gasang.host.code import CodeMemory
from support.bare import CODE, Bare, asm
from support.machines import bare_machine
from support.regions import KEY, AtOnce, Briefly, Compiling, everything, prepare
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
    machine.start(machine.ram.base, 0)
    eventually(lambda: regions.service.process is not None, PATIENCE)  # type: ignore[attr-defined]
    os.kill(regions.service.process, signal.SIGKILL)  # type: ignore[attr-defined]
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


class Nothing(AtOnce):
    """A service that finds nothing to compile."""

    def ask(self, heat: int, request: Request) -> list[int]:
        """Say so."""
        self.asked.append(request)
        self._answered(Answer(request.number, (), {}, (), 0.0, b""))
        return []


def test_what_does_not_get_compiled_is_asked_for_ever_more_rarely(bare: Bare) -> None:
    compiling = Compiling(bare, service=Nothing)
    bare.put(CODE, *LOOP)
    counts = []
    for _ in range(4):
        compiling.run(1_000_000)
        counts.append(asked(compiling))
    assert FREE_TRIES < counts[0] < FREE_TRIES + 6
    assert counts[3] - counts[1] <= 1


class Waiting(AtOnce):
    """A service for which nothing is hot enough, but what has become hotter."""

    def ask(self, heat: int, request: Request) -> list[int]:
        """Have it wait."""
        self.asked.append(request)
        return []

    def may_be_worth(self, heat: int) -> bool:
        """Not yet."""
        return False

    def hotter(self, heat: int, number: int, request: Callable[[], Request]) -> None:
        """Be told all of it."""
        self.asked.append(request())


def test_what_is_not_hot_enough_yet_is_asked_for_without_the_pages_near(bare: Bare) -> None:
    compiling = Compiling(bare, service=Waiting)
    last = PAGE_SIZE - 4
    bare.put(CODE + last, asm("addi", rd=5, rs1=5, imm=1))
    bare.put(CODE + PAGE_SIZE, asm("addi", rd=6, rs1=6, imm=1), asm("jal", rd=0, imm=-8))
    bare.cpu.pc = CODE + last
    compiling.run(100_000)
    first, *others = compiling.regions.service.asked  # type: ignore[attr-defined]
    page = first.pages[0]
    assert set(first.pages) == {0}
    assert others
    assert all(len(other.pages) == 2 and other.number == first.number for other in others)
    assert others[0].pages[0].content == page.content


def test_what_two_harts_execute_is_as_hot_as_both_have_made_it() -> None:
    heats: list[int] = []

    class Hears(AtOnce):
        def ask(self, heat: int, request: Request) -> list[int]:
            heats.append(heat)
            return super().ask(heat, request)

    bare = Bare(harts=2)
    compiling = Compiling(bare, service=Hears)
    functions, stretch = bare.machine.processor.functions, (CODE - bare.machine.ram.base) // 128
    for hart in bare.machine.harts:
        functions["set_heat"](hart.address, stretch, 100)
    bare.put(CODE, *LOOP)
    assert compiling.run(100_000) == exits.LIMIT
    assert heats[0] > 200
    assert functions["heat_of"](bare.machine.harts[1].address, stretch) == 0  # there is a region now
    bare.close()


def test_code_that_is_in_a_region_is_not_compiled_once_more(bare: Bare) -> None:
    compiling = Compiling(bare)
    bare.put(CODE, *LOOP)
    compiling.run(10_000)
    asked = len(compiling.regions.service.asked)  # type: ignore[attr-defined]
    compiling.regions.shelf._near.clear()  # as if it could not be placed
    bare.machine.processor.functions["forget_all_blocks"](bare.hart.address)
    compiling.run(10_000)
    assert len(compiling.regions.service.asked) == asked  # type: ignore[attr-defined]


def test_code_that_is_in_a_region_but_interpreted_all_the_same_is_asked_for_again(bare: Bare) -> None:
    """What comes back is what is there, and takes no second place in memory."""
    compiling = Compiling(bare)
    bare.put(CODE, *LOOP)
    compiling.run(10_000)
    before, size = asked(compiling), compiling.regions.shelf.code_bytes
    compiling.regions.shelf._near.clear()  # as if it could not be placed
    bare.machine.processor.functions["forget_all_blocks"](bare.hart.address)
    compiling.run(900 * (2 * AGAIN + 4))
    assert asked(compiling) == before + 1
    assert compiling.regions.shelf.code_bytes == size


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


def test_what_is_met_at_the_end_of_a_regions_quantum_counts_for_all_of_it(bare: Bare) -> None:
    """Code between regions is met where a region's polls leave it, which are rarer."""
    compiling = Compiling(bare, hot_after=1 << 40)
    bare.put(CODE, *LOOP)
    bare.cpu.budget = bare.cpu.quantum = REGION_QUANTUM
    assert compiling.run(QUANTUM) == exits.LIMIT
    functions = bare.machine.processor.functions
    stretch = functions["stretch_of"](bare.hart.address, functions["code_place"](bare.hart.address, CODE), CODE % PAGE_SIZE)
    assert functions["heat_of"](bare.hart.address, stretch) == -(-REGION_QUANTUM // QUANTUM)


def test_where_the_largest_region_lacks_a_page_a_smaller_one_begins(bare: Bare) -> None:
    compiling = Compiling(bare)
    last = PAGE_SIZE - 12
    bare.put(CODE + last, asm("addi", rd=5, rs1=5, imm=1), asm("bne", rs1=9, rs2=0, imm=8), asm("jal", rd=0, imm=-8))
    bare.put(CODE + PAGE_SIZE, asm("addi", rd=10, rs1=10, imm=1), asm("jal", rd=0, imm=-16))
    bare.cpu.pc = CODE + last
    compiling.run(9)  # all of it is executed once, so that later nothing is asked for anew
    bare.cpu.x[9] = 1
    compiling.run(30_000)
    request = compiling.regions.service.asked[-1]  # type: ignore[attr-defined]
    assert len(request.pages) == 2
    shelf = compiling.regions.shelf
    assert shelf.take(answer(request._replace(pages={0: request.pages[0]}))) is not None
    assert [len(region.stamps) for region, _ in shelf.near(request.pages[0].stamp)] == [2, 1]
    bare.machine.processor.functions["forget_all_blocks"](bare.hart.address)
    bare.cpu.x[9], before, asked_before = 0, compiling.regions.statistics.placed, asked(compiling)
    compiling.run(30_000)
    assert asked(compiling) == asked_before
    assert compiling.regions.statistics.placed == before + 1


def asked(compiling: Compiling) -> int:
    """How much was to be compiled."""
    return len(compiling.regions.service.asked)  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", [3, 4])
def test_another_machine_finds_compiled_code_ready(seed: int, bare: Bare, tmp_path: Path) -> None:
    """And does with it what the interpreter does, wherever the code lies."""
    prepare(bare, seed)
    first = Compiling(bare, folder=tmp_path)
    first.run(200_000)
    assert asked(first) > 0
    other, plain = Bare(), Bare()
    second = Compiling(other, hot_after=1 << 40, folder=tmp_path)
    for machine in (other, plain):
        prepare(machine, seed, code=CODE + 0x3000)
    second.run(200_000)
    plain.cpu.remaining = 200_000
    assert plain.run(200_000) == exits.LIMIT or plain.cpu.exit == exits.SBI
    assert second.regions.statistics.loaded > 0
    assert asked(second) == 0
    assert everything(other) == everything(plain)
    for compiling in (first, second):
        compiling.regions.close()
    other.close()
    plain.close()


def test_a_brief_region_that_is_hot_is_compiled_anew_and_makes_place(bare: Bare, tmp_path: Path) -> None:
    bare.put(CODE, *LOOP)
    first = Compiling(bare, folder=tmp_path, service=Briefly)
    first.run(10_000)
    other, plain = Bare(), Bare()
    second = Compiling(other, 32, folder=tmp_path)
    for machine in (other, plain):
        machine.put(CODE, *LOOP)
    second.run(100_000)
    shelf, stamp = second.regions.shelf, stamp_of(other.machine.ram.read(CODE & -PAGE_SIZE, PAGE_SIZE))
    assert [region.brief for region, _ in shelf.near(stamp)] == [True]
    assert asked(second) == 0
    placed = second.regions.statistics.placed
    for _ in range(20):  # the last quantum of each is interpreted
        second.run(1_000_000)
    assert [region.brief for region, _ in shelf.near(stamp)] == [False, True]
    assert asked(second) > 0
    assert (first.regions.service.asked[0].full, second.regions.service.asked[0].full) == (False, True)  # type: ignore[attr-defined]
    assert second.regions.statistics.placed > placed
    for _ in range(20):
        plain.run(1_000_000)
    plain.run(100_000)
    assert everything(other) == everything(plain)
    for compiling in (first, second):
        compiling.regions.close()
    other.close()
    plain.close()


def test_damaged_code_is_compiled_anew(bare: Bare, tmp_path: Path) -> None:
    bare.put(CODE, *LOOP)
    first = Compiling(bare, folder=tmp_path)
    first.run(10_000)
    (file,) = tmp_path.glob("*.regions")
    raw = bytearray(file.read_bytes())
    store = RegionStore(tmp_path, KEY)
    for entry in store.about(stamp_of(bare.machine.ram.read(CODE, 4096))):
        raw[entry.offset + entry.size - 4096] ^= 1  # of the code
    file.write_bytes(raw)
    other = Bare()
    other.put(CODE, *LOOP)
    second = Compiling(other, folder=tmp_path)
    second.run(10_000)
    assert second.regions.statistics.loaded == 0
    assert asked(second) > 0
    assert second.regions.statistics.placed > 0
    other.close()


def test_where_there_is_no_room_old_code_is_dropped_and_the_machine_goes_on(bare: Bare, tmp_path: Path) -> None:
    compiling = Compiling(bare, folder=tmp_path)
    compiling.regions.shelf = Shelf(RegionStore(tmp_path, KEY), multi=False, most=6 * 4096)
    for turn in range(40):
        base = CODE + 4096 * (turn % 20)
        bare.put(base, asm("addi", rd=6, rs1=0, imm=turn % 20), *LOOP)
        bare.cpu.pc, bare.cpu.x[5], bare.cpu.x[10] = base, 0, 0
        compiling.run(10_000)
        assert (bare.cpu.x[5], bare.cpu.x[6]) == (3333, turn % 20)
        assert compiling.regions.shelf.code_bytes <= 6 * 4096
    done = compiling.regions.statistics
    assert done.dropped > 0
    assert done.placed > 6
