"""A guest of 100 GiB on a host that has less: it costs what is touched, running, kept, restored and forked."""

from __future__ import annotations

from pathlib import Path

from gasang.kinds.vm.board import RAM_BASE
from gasang.kinds.vm.machine import VirtualMachine
from gasang.kinds.vm.snapshot.snapshot import Wiring
from support.computing import KEPT_ROUNDS, mixed, mixing, parts_of

SIZE = 100 << 30
LAST = RAM_BASE + SIZE - 4096
LITTLE = 64 << 20


def space(path: Path) -> int:
    return sum(each.stat().st_blocks * 512 for each in path.rglob("*") if each.is_file())


def test_it_costs_what_is_touched(store: Path) -> None:
    with VirtualMachine(parts_of(mixing(KEPT_ROUNDS), bytearray(), memory=SIZE)) as vm:
        assert vm.machine.ram.size == SIZE
        vm.machine.ram.write(LAST, b"the end")
        vm.start()
        first = vm.snapshot(store, "first")
        with vm.fork(lambda twin: twin.machine.ram.read(LAST, 7) == b"the end") as twin:
            assert twin.wait() == 1
        vm.machine.ram.write(LAST, b"another")
        second = vm.snapshot(store, "second")
        assert vm.machine.ram.memory.touched() < LITTLE
    assert space(store) < LITTLE
    for snapshot, end in ((first, b"the end"), (second, b"another")):
        snapshot.verify()
        heard = bytearray()
        with snapshot.restore(Wiring(heard.extend)) as again:
            assert again.machine.ram.read(LAST, 7) == end
            again.start()
            again.join()
            assert again.machine.ram.memory.touched() < LITTLE
        assert bytes(heard) == mixed(KEPT_ROUNDS)
