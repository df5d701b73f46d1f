"""Twins: they go on where the machine stood, each in a process of its own, and neither sees what the other does."""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gasang.accel.soft.jit import store
from gasang.core.errors import StateError, UnsupportedError
from gasang.host.pages import PAGE
from gasang.kinds.vm.board import GENERATION_BASE, RAM_BASE
from gasang.kinds.vm.machine import VirtualMachine
from gasang.kinds.vm.snapshot import working_set
from gasang.kinds.vm.snapshot.identity import Identity
from gasang.kinds.vm.snapshot.snapshot import Snapshot, Wiring
from gasang.native.target import machine
from gasang.storage.overlay import Overlay
from gasang.storage.raw import Raw
from support.assembler import T0, T1, addi, assemble, jump
from support.computing import BUFFER, KEPT_ROUNDS, MIB, counting, letters, mixed, mixing, number, parts_of
from support.disk_machines import machine_with
from support.supervised import eventually

PLACE = RAM_BASE + 50 * MIB
FOREVER = assemble(jump(0))
COUNTING_FOR_EVER = assemble(*number(T0, BUFFER), addi(T1, T1, 1), ("sd", {"rs1": T0, "rs2": T1, "imm": 0}), jump(-8))

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this host has no fork")

Body = Callable[[VirtualMachine], int]


def into(pipe: int, said: bytearray) -> Body:
    """A twin that lets its guest finish and sends what it has said in all."""

    def body(vm: VirtualMachine) -> int:
        vm.start()
        vm.join()
        os.write(pipe, bytes(said))
        return 0 if vm.power is not None else 1

    return body


@pytest.mark.parametrize(
    ("program", "harts", "says"),
    [(mixing(KEPT_ROUNDS), 1, mixed(KEPT_ROUNDS)), (counting(6_000_000), 2, letters(12_000_000))],
)
def test_a_machine_and_its_twins_compute_the_same(program: bytes, harts: int, says: bytes) -> None:
    said = bytearray()
    read, write = os.pipe()
    try:
        with VirtualMachine(parts_of(program, said, harts)) as vm:
            vm.start()
            twins = [vm.fork(into(write, said)) for _ in range(3)]
            vm.join()
            assert said == says
            assert [twin.wait() for twin in twins] == [0, 0, 0]
            assert os.read(read, 1000) == 3 * says
    finally:
        os.close(read)
        os.close(write)


def counted(vm: VirtualMachine) -> int:
    """How far COUNTING_FOR_EVER has come."""
    return int.from_bytes(vm.machine.ram.read(BUFFER, 8), "little")


@pytest.mark.skipif(machine() != "x86_64", reason="this host's processor has no stencils")
def test_a_machine_whose_code_was_stitched_and_its_twins_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "default_folder", lambda: tmp_path)  # a region of an earlier machine would leave nothing to be stitched

    def goes_on(vm: VirtualMachine) -> int:
        before = counted(vm)
        vm.start()
        eventually(lambda: counted(vm) > before + 1_000_000)
        return 0

    with VirtualMachine(replace(parts_of(COUNTING_FOR_EVER, bytearray()), jit="on")) as vm:
        code = vm.machine.harts[0].stitched
        assert code is not None
        vm.start()
        eventually(lambda: code.stretches > 0)
        twins = [vm.fork(goes_on) for _ in range(3)]
        before, made = counted(vm), code.stretches
        assert [twin.wait() for twin in twins] == [0, 0, 0]
        eventually(lambda: counted(vm) > before + 1_000_000)
        assert code.stretches == made


def test_a_twin_of_a_restored_machine_and_a_twin_of_a_twin(kept: Snapshot) -> None:
    with kept.restore(Wiring(bytearray().extend)) as vm:
        vm.start()

        def grandchild(twin: VirtualMachine) -> int:
            return int.from_bytes(twin.machine.ram.read(PLACE, 1), "little")

        def child(twin: VirtualMachine) -> int:
            twin.machine.ram.write(PLACE, b"\x07")
            twin.start()
            with twin.fork(grandchild) as made:
                return made.wait() + 1

        with vm.fork(child) as made:
            assert made.wait() == 8
        assert vm.machine.ram.read(PLACE, 1) == b"\0"


PAGES = 1024


def faults_of_writing(vm: VirtualMachine) -> int:
    """How many pages the host had to give this process while it wrote to each of PAGES pages of the guest's, in percent of them."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for page in range(PAGES):
        vm.machine.ram.write(PLACE + page * PAGE, b"x")
    return min((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * 100 // PAGES, 255)


def test_what_is_written_first_is_copied_ahead(kept: Snapshot) -> None:
    note = kept.path / working_set.NAME
    before = note.read_bytes() if note.exists() else None
    note.write_text(json.dumps([[(PLACE - RAM_BASE) // PAGE, PAGES, 1]]))
    try:
        with kept.restore(Wiring(bytearray().extend)) as vm:
            vm.stand()

            def ahead(twin: VirtualMachine) -> int:
                twin.copy_ahead()
                return faults_of_writing(twin)

            with vm.fork(faults_of_writing) as one, vm.fork(ahead) as other:
                assert one.wait() >= 100
                assert other.wait() < 30
            assert vm.machine.ram.read(PLACE, 1) == b"\0"
    finally:
        note.unlink() if before is None else note.write_bytes(before)


def test_neither_sees_what_the_other_writes(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.write_bytes(bytes(MIB))
    told_read, told_write = os.pipe()
    go_read, go_write = os.pipe()
    with machine_with(Overlay(Raw.open(base, read_only=True), str(tmp_path))) as (vm, _):
        disk = vm.disks()[0].block
        disk.write(100, b"before")
        vm.machine.ram.write(PLACE, b"before")

        def body(twin: VirtualMachine) -> int:
            os.read(go_read, 1)
            mine = twin.disks()[0].block
            os.write(told_write, mine.read(100, 6) + twin.machine.ram.read(PLACE, 6))
            mine.write(100, b"child!")
            twin.machine.ram.write(PLACE, b"child!")
            os.write(told_write, mine.read(100, 6) + mine.read(0, 6))
            return 0

        with vm.fork(body) as twin:
            disk.write(100, b"parent")
            vm.machine.ram.write(PLACE, b"parent")
            os.write(go_write, b"x")
            assert twin.wait() == 0
        assert os.read(told_read, 100) == b"beforebeforechild!" + bytes(6)
        assert disk.read(100, 6) == vm.machine.ram.read(PLACE, 6) == b"parent"
        vm.disks()[0].block.write(200, b"again")
        assert disk.read(98, 10) == b"\0\0parent\0\0"
    for descriptor in (told_read, told_write, go_read, go_write):
        os.close(descriptor)


def test_each_has_an_identity_of_its_own() -> None:
    read, write = os.pipe()
    with VirtualMachine(parts_of(FOREVER, bytearray())) as vm:
        vm.start()

        def body(twin: VirtualMachine) -> int:
            os.write(write, b"".join(twin.board.bus.read(GENERATION_BASE + at, 8).to_bytes(8, "little") for at in (0, 8)))
            return 0

        chosen = Identity.fresh("chosen")
        for identity in (chosen, None, None):
            with vm.fork(body, identity) as twin:
                assert twin.wait() == 0
        assert vm.board.bus.read(GENERATION_BASE, 8) == 0
    numbers = os.read(read, 100)
    os.close(read)
    os.close(write)
    assert numbers[:16] == chosen.generation
    assert len({numbers[at : at + 16] for at in (0, 16, 32)}) == 3
    first, second = Identity.fresh(), Identity.fresh()
    assert len({first.mac, second.mac, chosen.mac}) == len({first.name, second.name, "chosen"}) == 3
    assert all(identity.mac[0] & 3 == 2 and len(identity.mac) == 6 for identity in (first, second, chosen))


def test_what_goes_wrong_in_a_twin_stays_there(capfd: pytest.CaptureFixture[str]) -> None:
    with VirtualMachine(parts_of(FOREVER, bytearray())) as vm:
        vm.start()

        def broken(twin: VirtualMachine) -> int:
            raise ZeroDivisionError("on purpose")

        def refused(twin: VirtualMachine) -> int:
            twin.snapshot(Path("/"), "impossible name")
            return 0

        def killed(twin: VirtualMachine) -> int:
            os.kill(os.getpid(), signal.SIGKILL)
            return 0

        assert [vm.fork(body).wait() for body in (broken, refused, killed)] == [125, 125, -signal.SIGKILL]
        assert not vm.paused
        vm.pause()
        vm.resume()
    told = capfd.readouterr().err
    assert "ZeroDivisionError: on purpose" in told
    assert "gasang: snapshot 'impossible name': it has characters" in told


def test_leaving_the_block_ends_the_twin() -> None:
    with VirtualMachine(parts_of(FOREVER, bytearray())) as vm:
        vm.start()

        def body(twin: VirtualMachine) -> int:
            twin.start()
            twin.join()
            return 0

        with vm.fork(body) as twin:
            pass
        assert twin.wait() == -signal.SIGKILL
        with pytest.raises(ProcessLookupError):
            os.kill(twin.pid, 0)


def test_the_pause_of_a_machine_that_stays_paused_is_kept() -> None:
    with VirtualMachine(parts_of(FOREVER, bytearray())) as vm:
        vm.start()
        vm.pause()
        with vm.fork(lambda twin: 3) as twin:
            assert twin.wait() == 3
        assert vm.paused
        vm.resume()


def test_other_threads_of_the_parent_do_not_hold_up_the_twin() -> None:
    """Locks that they hold in the moment of the fork are not held in the twin."""
    with VirtualMachine(parts_of(FOREVER, bytearray(), harts=2)) as vm:
        vm.start()
        stop = threading.Event()

        def read_registers() -> None:
            while not stop.is_set():
                vm.board.bus.read(GENERATION_BASE, 8)

        threads = [threading.Thread(target=read_registers) for _ in range(3)]
        for thread in threads:
            thread.start()

        def body(twin: VirtualMachine) -> int:
            twin.start()
            twin.pause()
            twin.resume()
            return twin.board.bus.read(GENERATION_BASE + 16, 8)

        try:
            assert [vm.fork(body).wait() for _ in range(5)] == [0] * 5
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def test_what_cannot_be_forked_says_so(tmp_path: Path) -> None:
    with VirtualMachine(parts_of(FOREVER, bytearray())) as vm, pytest.raises(StateError, match="does not run"):
        vm.fork(lambda twin: 0)
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(MIB))
    with machine_with(Raw.open(disk)) as (vm, _), pytest.raises(UnsupportedError, match="two cannot write to one disk"):
        vm.fork(lambda twin: 0)
