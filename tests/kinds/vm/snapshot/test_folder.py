"""A snapshot is there whole or not at all, whatever happens while it is made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import gasang
from gasang.core.errors import GasangError, NotFoundError, OutOfSpaceError, StateError, UsageError
from gasang.kinds.vm.machine import VirtualMachine
from gasang.kinds.vm.snapshot import folder
from gasang.kinds.vm.snapshot.folder import names, new_folder, remove
from gasang.kinds.vm.snapshot.snapshot import Snapshot, Wiring
from support import small_disk as small
from support.assembler import assemble, jump
from support.computing import parts_of

KILLED = """
import os, signal, sys
from pathlib import Path
from gasang.kinds.vm.machine import VirtualMachine
from gasang.kinds.vm.snapshot import take
from support.assembler import assemble, jump
from support.computing import parts_of

def die(*words):
    os.kill(os.getpid(), signal.SIGKILL)

place, name = ("gasang.kinds.vm.snapshot." + sys.argv[2]).rsplit(".", 1)
setattr(sys.modules.get(place) or __import__(place, fromlist=["x"]), name, die)
with VirtualMachine(parts_of(assemble(jump(0)), bytearray())) as vm:
    vm.start()
    vm.snapshot(Path(sys.argv[1]), "second")
"""
WHERE = ("disks.capture", "memory.settle", "take.encode", "folder._settle", "folder._sync_folder", "folder._check_free")


@pytest.mark.parametrize("where", WHERE)
def test_a_process_killed_in_the_middle_leaves_the_former_intact(where: str, kept: Snapshot, store: Path) -> None:
    with kept.restore(Wiring(bytearray().extend)) as vm:
        vm.start()
        vm.pause()
        first = vm.snapshot(store, "first")
    places = Path(gasang.__file__).parent.parent, Path(small.__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
    done = subprocess.run([sys.executable, "-c", KILLED, store, where], env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert names(store) == ["first"]
    first.verify()
    with kept.restore(Wiring(bytearray().extend)) as vm:
        vm.start()
        vm.pause()
        vm.snapshot(store, "second").verify()
    left = sorted(path.name for path in store.iterdir())
    assert left == ["first", "second"]


def test_a_full_disk_leaves_the_machine_running_and_the_former_intact(tmp_path: Path) -> None:
    place = tmp_path / "small"
    with small.small_disk(place, 1500):
        with VirtualMachine(parts_of(assemble(jump(0)), bytearray())) as vm:
            vm.start()
            first = vm.snapshot(place, "first")
            vm.machine.ram.write(vm.machine.ram.base + (48 << 20), os.urandom(2 << 20))
            with pytest.raises(OutOfSpaceError, match="no space is left"):
                vm.snapshot(place, "second")
            assert not vm.paused
            vm.pause()
            vm.resume()
        assert names(place) == ["first"]
        assert [path.name for path in place.iterdir()] == ["first"]
        first.verify()


def test_a_name_is_taken_once(store: Path) -> None:
    def late() -> None:
        with new_folder(store, "a.b-c_1"):
            os.mkdir(store / "a.b-c_1")

    with pytest.raises(StateError, match="there is one"):
        late()
    os.rmdir(store / "a.b-c_1")
    with new_folder(store, "a.b-c_1") as made:
        (made / "snapshot.json").write_bytes(b"x")
    with pytest.raises(StateError, match="there is one"), new_folder(store, "a.b-c_1"):
        pytest.fail("it began")
    assert names(store) == ["a.b-c_1"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", ".new-x", "a\0b", "x" * 129, "ü"])
def test_an_impossible_name_is_refused(name: str, store: Path) -> None:
    with pytest.raises(UsageError, match="such a name cannot have"), new_folder(store, name):
        pytest.fail("it began")
    with pytest.raises(UsageError):
        remove(store, name)
    assert not store.exists()


def test_an_error_leaves_nothing(store: Path) -> None:
    def fail() -> None:
        with new_folder(store, "x") as made:
            (made / "file").write_bytes(b"x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(store.iterdir()) == []


def test_somebody_elses_work_is_left_alone(store: Path) -> None:
    with new_folder(store, "one") as first:
        with new_folder(store, "two"):
            assert first.exists()
        assert first.exists()
        (store / ".new-nobody").mkdir()
        os.utime(store / ".new-nobody", (0, 0))
        (store / ".new-just-begun").mkdir()
        with new_folder(store, "three"):
            pass
        assert not (store / ".new-nobody").exists()
        assert (store / ".new-just-begun").exists()
    (store / ".new-just-begun").rmdir()


def test_many_begin_at_once(store: Path) -> None:
    """None takes what another has just begun for abandoned."""
    failed: list[BaseException] = []

    def make(name: str) -> None:
        try:
            for number in range(20):
                with new_folder(store, f"{name}-{number}") as made:
                    (made / "snapshot.json").write_bytes(b"x")
        except (GasangError, OSError) as error:
            failed.append(error)

    threads = [threading.Thread(target=make, args=(name,)) for name in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(names(store)) == 120


def test_removed_snapshots_are_gone_and_those_that_shared_with_them_stay(kept: Snapshot, store: Path) -> None:
    with kept.restore(Wiring(bytearray().extend)) as vm:
        vm.start()
        vm.pause()
        vm.snapshot(store, "first")
        second = vm.snapshot(store, "second")
    remove(store, "first")
    assert names(store) == ["second"]
    assert [path.name for path in store.iterdir()] == ["second"]
    second.verify()
    with pytest.raises(NotFoundError, match="there is none"):
        remove(store, "first")
    with pytest.raises(NotFoundError, match=r"no snapshot\.json"):
        Snapshot.open(store / "first")


def test_where_nothing_can_be_written_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(GasangError, match="writing failed"), new_folder(tmp_path / "file" / "store", "x"):
        pytest.fail("it began")
    assert folder.names(tmp_path / "nowhere") == []
