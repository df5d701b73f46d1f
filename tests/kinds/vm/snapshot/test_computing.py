"""Guests saved in the middle of a computation and restored in another process say what they say when nobody disturbs them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gasang
from gasang.core.errors import StateError
from gasang.core.protocols import Forkable, Pausable, Snapshottable
from gasang.devices.virtio import transport
from gasang.devices.virtio.rng import VirtioRng
from gasang.devices.virtio.transport import Transport
from gasang.kinds.vm.machine import VirtualMachine
from gasang.kinds.vm.snapshot import memory, take
from gasang.kinds.vm.snapshot.folder import names
from gasang.kinds.vm.snapshot.guest import serial_of
from gasang.kinds.vm.snapshot.memory import Copied
from gasang.kinds.vm.snapshot.snapshot import Snapshot, Wiring
from support import restoring
from support.assembler import T0, addi, assemble, jump
from support.computing import BUFFER, KEPT_ROUNDS, MIB, counting, letters, mixed, mixing, parts_of

ROUNDS = 60_000
COUNT = 20_000


def in_another_process(*folders: Path) -> list[str]:
    """What restoring.py prints of them."""
    places = Path(gasang.__file__).parent.parent, Path(restoring.__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
    command = [sys.executable, "-W", "error", restoring.__file__, *map(str, folders)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def undisturbed(program: bytes, harts: int) -> str:
    said = bytearray()
    with VirtualMachine(parts_of(program, said, harts)) as vm:
        vm.start()
        vm.join()
    return said.decode()


def test_the_programs_say_what_python_computes() -> None:
    assert undisturbed(mixing(ROUNDS), 1) == mixed(ROUNDS).decode()
    assert undisturbed(counting(COUNT), 2) == letters(2 * COUNT).decode()


def saved_at(program: bytes, harts: int, moments: list[float], store: Path) -> tuple[dict[Path, int], str]:
    """Snapshots of one run at these moments (seconds after one another), each with how much was said by then; and all."""
    said = bytearray()
    folders: dict[Path, int] = {}
    with VirtualMachine(parts_of(program, said, harts)) as vm:
        vm.start()
        for number, moment in enumerate(moments):
            if vm.ended.wait(moment):
                break
            try:
                vm.pause()
            except StateError:
                break
            folders[vm.snapshot(store, f"s{number}").path] = len(said)
            vm.resume()
        vm.join()
    return folders, said.decode()


@pytest.mark.parametrize(("program", "harts", "says"), [(mixing(ROUNDS), 1, mixed(ROUNDS)), (counting(COUNT), 2, letters(2 * COUNT))])
@settings(max_examples=6, deadline=None)
@given(moments=st.lists(st.floats(0, 0.004), min_size=2, max_size=5))
def test_the_point_of_the_pause_makes_no_difference(
    program: bytes, harts: int, says: bytes, moments: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folders, said = saved_at(program, harts, moments, tmp_path_factory.mktemp("store"))
    assert said == says.decode()
    assert in_another_process(*folders) == [f"{said[already:]} OFF" for already in folders.values()]


def test_it_is_what_the_protocols_ask_for() -> None:
    with VirtualMachine(parts_of(mixing(1), bytearray())) as vm:
        assert isinstance(vm, Pausable)
        assert isinstance(vm, Snapshottable)
        assert isinstance(vm, Forkable)


def test_a_paused_machine_stays_paused_and_one_that_runs_goes_on(store: Path) -> None:
    with VirtualMachine(parts_of(assemble(addi(T0, T0, 1), jump(-4)), bytearray())) as vm:
        vm.start()
        vm.snapshot(store, "running")
        assert not vm.paused
        vm.pause()
        vm.snapshot(store, "paused")
        assert vm.paused
        first, second = (Snapshot.open(store / name).document.state for name in ("running", "paused"))
        assert second == vm.save() != first
        vm.resume()
    with pytest.raises(StateError, match="ended"):
        vm.snapshot(store, "late")
    assert sorted(path.name for path in store.iterdir()) == ["paused", "running"]


class LastJob:
    """A worker whose last job leaves a device more to serve than one batch."""

    def __init__(self, link: Transport) -> None:
        self.link = link

    def hold(self) -> None:
        self.link.serve(lambda: setattr(self.link.queues[0], "budget", -1))

    def release(self) -> None:
        """Nothing."""


def test_nothing_is_served_any_more_when_the_workers_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Transport, "_running", lambda self: True)
    monkeypatch.setattr(transport, "BREATH", 0.1)
    with VirtualMachine(replace(parts_of(assemble(addi(T0, T0, 1), jump(-4)), bytearray()), virtio=(VirtioRng(),))) as vm:
        [link] = vm.board.virtio
        vm.workers = (LastJob(link),)
        vm.start()
        vm.pause()
        assert link._follower is not None
        assert not link._follower.is_alive()
        vm.resume()


def test_what_is_typed_while_it_is_kept_comes_behind_it(kept: Snapshot, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Input goes to devices and to memory: a snapshot that had the one without the other would be of no moment."""
    with kept.restore(Wiring(bytearray().extend)) as vm:
        typist = threading.Thread(target=serial_of(vm), args=(b"typed",))

        def copy_memory(*words: Any) -> Copied:
            typist.start()
            typist.join(0.3)
            assert typist.is_alive()
            return memory.copy_memory(*words)

        monkeypatch.setattr(take, "memory", SimpleNamespace(copy_memory=copy_memory, settle=memory.settle, gather=memory.gather))
        vm.start()
        vm.pause()
        before = vm.save()
        assert vm.snapshot(store, "one").document.state == before
        typist.join(20)
        assert vm.save() != before


def test_a_machine_that_ended_while_it_stood_still_is_not_kept(kept: Snapshot, store: Path) -> None:
    with kept.restore(Wiring(bytearray().extend)) as vm:
        vm.start()
        vm.pause()
        vm.stop()
        vm.join()
        with pytest.raises(StateError, match="it has ended"):
            vm.snapshot(store, "ended")
        with pytest.raises(StateError, match="it has ended"):
            vm.fork(lambda twin: 0)
    assert list(store.iterdir()) == []


def test_what_did_not_change_is_shared_with_the_one_before(kept: Snapshot) -> None:
    store = kept.path.parent
    with kept.restore(Wiring(bytearray().extend)) as vm:
        vm.start()
        vm.pause()
        vm.machine.ram.write(BUFFER + MIB, b"of the child")
        child = vm.snapshot(store, "child")
        grandchild = vm.snapshot(store, "grandchild")
    assert child.document.parent == kept.digest
    assert grandchild.document.parent == child.digest
    kernel = min(kept.index())
    shared = child.layers()[child.index()[kernel].layer]
    assert os.path.samefile(shared, kept.layers()[0])
    assert 0 < len([place for place in child.index().values() if place.layer == len(child.layers()) - 1]) < 10
    assert len(grandchild.layers()) <= 3
    grandchild.verify()
    with grandchild.restore(Wiring(bytearray().extend)) as vm:
        assert vm.machine.ram.read(BUFFER + MIB, 12) == b"of the child"


def test_snapshots_are_taken_from_any_threads_at_once(kept: Snapshot, store: Path) -> None:
    said = bytearray()
    with kept.restore(Wiring(said.extend)) as vm:
        vm.start()
        def take(name: str) -> None:
            with suppress(StateError):  # it may have ended before
                vm.snapshot(store, name)

        threads = [threading.Thread(target=take, args=(f"of-{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        vm.join()
    assert said == mixed(KEPT_ROUNDS)
    for name in names(store):
        Snapshot.open(store / name).verify()
        assert restoring.restored(store / name) == f"{mixed(KEPT_ROUNDS).decode()} OFF"
