"""The compiler of a machine in the background: it answers from its jail, and ends without a signal."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.accel.soft.jit.messages import PLACES, Answer, Page, Request, pack_request, read_answer
from gasang.accel.soft.jit.service import CompileService
from gasang.cpus.riscv64.state import PAGE_SIZE
from gasang.kinds.vm.process.compiler import JailedCompiler
from gasang.kinds.vm.process.entries import _compiler_of
from gasang.kinds.vm.process.settings import MachineSettings
from support.bare import asm
from support.supervised import eventually

PATIENCE = 120
LOOP = asm("addi", rd=5, rs1=5, imm=1) + asm("jal", rd=0, imm=-4)
REQUEST = Request(7, 0, False, (), {0: Page(LOOP.ljust(PAGE_SIZE, b"\0"), (b"\1" * 4).ljust(PLACES, b"\0"), 9)})


@pytest.fixture
def compiler(tmp_path: Path) -> Iterator[JailedCompiler]:
    """One that demands its jail, ended at the end."""
    made = JailedCompiler(tmp_path, demands_jail=True)
    yield made
    made.kill()
    made.wait(PATIENCE)
    for stream in (made.stdin, made.stdout):
        assert stream is not None
        stream.close()


def test_it_compiles_in_a_jail(compiler: JailedCompiler) -> None:
    assert compiler.stdin is not None
    assert compiler.stdout is not None
    compiler.stdin.write(pack_request(REQUEST))
    compiler.stdin.flush()
    answer = read_answer(compiler.stdout)  # type: ignore[arg-type]
    assert answer is not None
    assert (answer.number, answer.places) == (7, (0, 4))
    assert answer.image
    status = Path("/proc", str(compiler.pid), "status").read_text()
    assert "Seccomp:\t2\n" in status
    assert "CapEff:\t0000000000000000\n" in status
    assert os.getpriority(os.PRIO_PROCESS, compiler.pid) > 0
    assert os.readlink(f"/proc/{compiler.pid}/ns/net") != os.readlink("/proc/self/ns/net")
    assert not Path("/proc", str(compiler.pid), "root", "etc").exists()


def test_it_ends_at_once_when_it_is_let_go(compiler: JailedCompiler) -> None:
    status = Path("/proc", str(compiler.pid), "status")
    eventually(lambda: "Seccomp:\t2\n" in status.read_text(), PATIENCE)
    compiler.kill()
    assert compiler.wait(PATIENCE) < 0  # by the signal, not because it had nothing more to read


def test_it_ends_though_it_was_not_ready_yet(compiler: JailedCompiler) -> None:
    compiler.kill()
    compiler.wait(PATIENCE)


def test_a_machine_has_it_once(tmp_path: Path) -> None:
    answers: queue.Queue[Answer] = queue.Queue()
    made = [JailedCompiler(tmp_path, demands_jail=False)]
    service = CompileService(answers.put, launch=lambda: made.pop() if made else None)
    service.start()
    service.ask(1, REQUEST)
    assert answers.get(timeout=PATIENCE).image
    process = service._process
    assert process is not None
    process.kill()
    service.ask(1, REQUEST)
    eventually(lambda: service.process is None, PATIENCE)
    service.close()
    assert answers.empty()


@pytest.mark.parametrize("settings", [{}, {"jit": "off"}, {"jit": "on", "snapshot": "/s"}])
def test_who_compiles_nothing_has_none(tmp_path: Path, settings: dict[str, str]) -> None:
    assert _compiler_of(tmp_path, MachineSettings.of_document({"image": "debian:trixie", **settings})) == (None, None)
