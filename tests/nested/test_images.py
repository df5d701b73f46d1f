"""Debian from an image on our PC, as `gasang run --vm --arch amd64` boots it: how it ends; and kept, restored and forked while it runs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from gasang.accel.kvm.machine import KvmMachine
from gasang.accel.kvm.reality import Kind, reality
from gasang.core.errors import BadInputError, MachineDiedError, NotFoundError
from gasang.images.control import ControlPort
from gasang.kinds.vm.base import AnyMachine
from gasang.kinds.vm.platforms import choose
from gasang.kinds.vm.snapshot.document import decode, encode
from gasang.kinds.vm.snapshot.folder import DOCUMENT
from gasang.kinds.vm.snapshot.guest import restored_guest
from gasang.kinds.vm.snapshot.snapshot import Snapshot
from gasang.kinds.vm.x86 import machine
from support.nested.images import Heard, Run, run_in, running

COUNTING = r"""
i=0
while :; do
    i=$((i + 1))
    echo "count $i forks $(dmesg | grep -c 'virtual machine fork')"
    echo "$i" > /root/count
    sleep 0.05
done
"""
COUNT = re.compile(r"^count (\d+) forks (\d+)$", re.MULTILINE)


def test_the_host_is_a_real_one_and_machines_are_amd64() -> None:
    assert reality().kind is Kind.REAL
    platform = choose(None, None)
    assert (platform.architecture, platform.accelerator) == ("amd64", "kvm")


def test_what_was_written_went_with_the_machine() -> None:
    """Another one has written there (test_debian.py); the command's exit code is ours."""
    assert run_in("cloud", "test ! -e /root/file && exit 7").control.code == 7


@pytest.mark.parametrize(("key", "says"), [("c", r"by a kernel panic \(sysrq triggered crash\)"), ("b", "its machine ended too early")])
def test_a_machine_that_dies_is_told(key: str, says: str) -> None:
    with pytest.raises(MachineDiedError, match=says):
        run_in("cloud", f"echo 1 > /proc/sys/kernel/sysrq; echo {key} > /proc/sysrq-trigger; sleep 60")


def counted(text: str) -> list[tuple[int, int]]:
    """(count, forks) of each line."""
    return [(int(count), int(forks)) for count, forks in COUNT.findall(text)]


def _last(text: str) -> int:
    return counted(text)[-1][0]


def follows(numbers: list[tuple[int, int]]) -> bool:
    """Whether none is left out and none comes twice."""
    first = numbers[0][0]
    return [count for count, _ in numbers] == list(range(first, first + len(numbers)))


class Restored:
    """What was kept: the store with two snapshots, and what the guest had said by then."""

    def __init__(self, store: Path, said: str) -> None:
        self.store = store
        self.said = said


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Restored:
    """One boot, kept twice while it runs: a second snapshot shares with the first."""
    store = tmp_path_factory.mktemp("store")
    with running("cloud", COUNTING, b"count 3 ") as run:
        run.vm.snapshot(store, "first")
        run.screen.wait_for(f"count {_last(run.screen.text()) + 3} ".encode())
        run.vm.snapshot(store, "second")
        said = run.screen.text()
        run.screen.wait_for(f"count {_last(said) + 3} ".encode())
        assert follows(counted(run.screen.text())), "the one it is of goes on"
    return Restored(store, said)


@pytest.mark.parametrize("name", ["first", "second"])
def test_it_goes_on_where_it_stood(name: str, kept: Restored) -> None:
    screen = Heard()
    with restored_guest(Snapshot.open(kept.store / name), screen, ControlPort(lambda stage: None), speaks=False) as (vm, _):
        vm.start()
        screen.wait_for(f"count {_last(kept.said) + 3} ".encode(), 60)
        vm.pause()
        after = counted(screen.text())
        vm.stop()
        vm.join()
    assert follows(after)
    assert 3 <= after[0][0] <= _last(kept.said) + 1


def test_the_second_holds_what_changed(kept: Restored) -> None:
    first, second = (Snapshot.open(kept.store / name) for name in ("first", "second"))
    assert second.document.parent == first.digest
    own = set(second.document.memory.layers) - set(first.document.memory.layers)
    assert len(own) == 1 < len(second.document.memory.layers)
    whole, more = (sum(path.stat().st_blocks * 512 for path in snapshot.path.glob("memory-*")) for snapshot in (first, second))
    assert more - whole < whole // 2


MUCH = r"""
i=0
while :; do
    i=$((i + 1))
    head -c 6291456 /dev/urandom > /dev/shm/much
    sha256sum /dev/shm/much > /dev/shm/sum
    sha256sum -c --quiet /dev/shm/sum && echo "count $i forks 0"
done
"""
"""More than a small ring has room for, and whether it is what was written."""


def test_a_guest_that_fills_its_ring_is_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "ENTRIES", 1024)
    with running("cloud", MUCH, b"count 1 ") as run:
        inner = run.vm.machine
        assert isinstance(inner, KvmMachine)
        assert inner.rings is not None
        first = run.vm.snapshot(tmp_path, "first")
        run.screen.wait_for(f"count {_last(run.screen.text()) + 3} ".encode())
        second = run.vm.snapshot(tmp_path, "second")
        said = _last(run.screen.text())
        assert inner.rings.stops >= 3
    assert second.document.parent == first.digest
    assert set(second.document.memory.layers) & set(first.document.memory.layers)
    screen = Heard()
    with restored_guest(second, screen, ControlPort(lambda stage: None), speaks=False) as (vm, _):
        vm.start()
        screen.wait_for(f"count {said + 3} ".encode(), 60)
        vm.stop()
        vm.join()
    assert follows(counted(screen.text()))


def test_one_of_a_restored_machine_holds_what_it_wrote(kept: Restored) -> None:
    screen = Heard()
    with restored_guest(Snapshot.open(kept.store / "second"), screen, ControlPort(lambda stage: None), speaks=False) as (vm, _):
        vm.start()
        screen.wait_for(b"count ", 60)
        third = vm.snapshot(kept.store, "third")
        vm.stop()
        vm.join()
    assert third.document.parent == Snapshot.open(kept.store / "second").digest
    again = Heard()
    with restored_guest(third, again, ControlPort(lambda stage: None), speaks=False) as (vm, _):
        vm.start()
        again.wait_for(b"count ", 60)
        vm.stop()
        vm.join()


def test_a_damaged_one_is_refused(kept: Restored, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"there is no snapshot\.json"):
        Snapshot.open(kept.store / "never")
    path = tmp_path / "odd"
    path.mkdir()
    content = (kept.store / "first" / DOCUMENT).read_bytes()
    (path / DOCUMENT).write_bytes(content[:-20] + b"0" + content[-19:])
    with pytest.raises(BadInputError, match="its document is damaged"):
        Snapshot.open(path)
    assert json.loads(encode(decode(content, "it")).partition(b"\n")[2])["architecture"] == "amd64"


def twin_of(run: Run) -> list[tuple[int, int]]:
    """Fork the machine; what its twin says after the fork until its kernel has heard of it."""
    read, write = os.pipe()

    def body(vm: AnyMachine) -> int:
        run.screen.renew()
        vm.start()
        run.screen.wait_for(b"forks 1", 60)
        vm.stop()
        vm.join()
        os.write(write, run.screen.text().encode())
        return 3

    try:
        with run.vm.fork(body) as twin:
            assert twin.wait() == 3
        return counted(os.read(read, 1 << 16).decode())
    finally:
        os.close(read)
        os.close(write)


def test_a_twin_goes_on_beside_it() -> None:
    """With the generic kernel: Debian's cloud kernel has no driver of the generation ID, by which it hears of what it is."""
    with running("generic", COUNTING, b"count 3 ") as run:
        before = _last(run.screen.text())
        twin = twin_of(run)
        assert follows(twin)
        assert before <= twin[0][0]
        run.screen.wait_for(f"count {twin[0][0] + 5} ".encode())
        mine = counted(run.screen.text())
        assert follows(mine)
        assert all(forks == 0 for _, forks in mine), "the one it is of stays what it is"
