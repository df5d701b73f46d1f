"""Disks of snapshots: what was written comes back, requests that were under way are served, and nothing of a snapshot is ever written."""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, NotFoundError, UnsupportedError
from gasang.core.protocols import Block
from gasang.kinds.vm.board import RAM_BASE, VIRTIO_BASE
from gasang.kinds.vm.machine import VirtualMachine
from gasang.storage.memory import Memory
from gasang.storage.overlay import Overlay
from gasang.storage.raw import Raw
from support.computing import MIB
from support.disk_machines import machine_with, restored

QUEUE, DATA = RAM_BASE + 40 * MIB, RAM_BASE + 41 * MIB
SIZE = 4 * MIB
OUT, FLUSH = 1, 4


class Held(Overlay):
    """A disk that does not flush before it is told."""

    def __init__(self, base: Block, folder: Path) -> None:
        super().__init__(base, str(folder))
        self.go = threading.Event()
        self.flushes = threading.Event()

    def __enter__(self) -> None:
        """A test that fails does not keep the disk's worker waiting."""

    def __exit__(self, *reason: object) -> None:
        self.go.set()

    def flush(self) -> None:
        self.flushes.set()
        assert self.go.wait(20)


def drive(vm: VirtualMachine) -> None:
    """Set the first disk's queue up, as a driver does."""
    for offset, value in (
        (0x70, 0), (0x70, 3), (0x24, 1), (0x20, 1), (0x24, 0), (0x20, 0x200), (0x70, 11), (0x30, 0), (0x38, 8), (0x80, QUEUE & 0xFFFF_FFFF),
        (0x90, QUEUE + 0x1000 & 0xFFFF_FFFF), (0xA0, QUEUE + 0x2000 & 0xFFFF_FFFF), (0x44, 1), (0x70, 15),
    ):  # fmt: skip
        vm.board.bus.write(VIRTIO_BASE + offset, 4, value)


def ask(vm: VirtualMachine, number: int, kind: int, sector: int, data: bytes = b"") -> None:
    """Make the `number`th request, two or three descriptors each."""
    ram, place = vm.machine.ram, DATA + 0x4000 * number
    ram.write(place, struct.pack("<IIQ", kind, 0, sector) + bytes([0xEE]))
    ram.write(place + 0x1000, data)
    first = 3 * number % 8
    chain = [(place, 16, 1), *([(place + 0x1000, len(data), 1)] if data else []), (place + 16, 1, 2)]
    for position, (address, length, flags) in enumerate(chain):
        ram.write(QUEUE + 16 * ((first + position) % 8), struct.pack("<QIHH", address, length, flags, (first + position + 1) % 8))
    ram.write(QUEUE + 0x1004 + 2 * number, struct.pack("<H", first))
    ram.write(QUEUE + 0x1002, struct.pack("<H", number + 1))
    vm.board.bus.write(VIRTIO_BASE + 0x50, 4, 0)


def answers(vm: VirtualMachine) -> int:
    return int.from_bytes(vm.machine.ram.read(QUEUE + 0x2002, 2), "little")


def wait_for_answers(vm: VirtualMachine, count: int) -> None:
    deadline = threading.Event()
    for _ in range(2000):
        if answers(vm) == count:
            return
        deadline.wait(0.005)
    pytest.fail(f"{answers(vm)} answers, not {count}")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base"
    path.write_bytes(b"base" * (SIZE // 4))
    return path


def test_requests_that_were_under_way_are_served_by_the_restored_machine(base: Path, store: Path, tmp_path: Path) -> None:
    disk = Held(Raw.open(base, read_only=True), tmp_path)
    with machine_with(disk) as (vm, worker), disk:
        drive(vm)
        ask(vm, 0, FLUSH, 0)
        assert disk.flushes.wait(10)
        ask(vm, 1, OUT, 8, b"written" * 100 + bytes(324))
        taker = threading.Thread(target=vm.pause)
        taker.start()
        while not worker._held:
            assert answers(vm) == 0
        disk.go.set()
        taker.join()
        snapshot = vm.snapshot(store, "busy")
        before = answers(vm)
        vm.resume()
        wait_for_answers(vm, 2)
    assert before == 1
    assert snapshot.document.state["board"]["devices"]["virtio0"]["device"]["in_flight"] == [[0, 3]]
    with restored(snapshot, tmp_path) as vm:
        wait_for_answers(vm, 2)
        assert vm.disks()[0].block.read(8 * 512, 700) == b"written" * 100
        assert vm.machine.ram.read(DATA + 0x4000 + 16, 1) == b"\0"


def test_what_was_written_comes_back_and_generations_do_not_disturb_each_other(base: Path, store: Path, tmp_path: Path) -> None:
    with machine_with(Overlay(Raw.open(base, read_only=True), str(tmp_path))) as (vm, _):
        vm.disks()[0].block.write(5000, b"first")
        first = vm.snapshot(store, "first")
        vm.disks()[0].block.write(5000, b"later")
    with restored(first, tmp_path) as vm:
        block = vm.disks()[0].block
        assert block.read(4998, 10) == b"se" + b"first" + b"ase"
        block.write(SIZE - 3, b"end")
        second = vm.snapshot(store, "second")
        block.write(5000, b"third")
    for snapshot, ends in ((first, b"ase"), (second, b"end")):
        snapshot.verify()
        with restored(snapshot, tmp_path) as vm:
            assert vm.disks()[0].block.read(5000, 5) == b"first"
            assert vm.disks()[0].block.read(SIZE - 3, 3) == ends
    assert base.read_bytes() == b"base" * (SIZE // 4)


def test_a_disk_that_the_guest_writes_directly_is_kept_whole_and_shared(base: Path, store: Path, tmp_path: Path) -> None:
    with machine_with(Raw.open(base)) as (vm, _):
        vm.disks()[0].block.write(0, b"direct")
        first = vm.snapshot(store, "first")
    base.write_bytes(bytes(SIZE))
    with restored(first, tmp_path) as vm:
        assert vm.disks()[0].block.read(0, 8) == b"directba"[:6] + b"se"
        vm.disks()[0].block.write(6, b"!")
        second = vm.snapshot(store, "second")
    (record,) = first.document.disks
    name = f"disk-{record.base}"
    assert os.path.samefile(first.path / name, second.path / name)
    with restored(second, tmp_path) as vm:
        assert vm.disks()[0].block.read(0, 8) == b"direct!e"


def test_a_disk_that_is_only_read_is_named_and_must_be_what_it_was(base: Path, store: Path, tmp_path: Path) -> None:
    with machine_with(Raw.open(base, read_only=True), read_only=True) as (vm, _):
        snapshot = vm.snapshot(store, "reading")
    assert not [path for path in snapshot.path.iterdir() if path.name.startswith("disk")]
    with restored(snapshot, tmp_path) as vm:
        assert vm.disks()[0].block.read(0, 4) == b"base"
    base.write_bytes(b"fish" * (SIZE // 4))
    with pytest.raises(BadInputError, match="has been changed since"):
        snapshot.check()
    base.unlink()
    with pytest.raises(NotFoundError, match="cannot be read"):
        snapshot.check()


def test_a_disk_of_another_form_is_refused_and_nothing_is_left(store: Path) -> None:
    with machine_with(Memory(content=bytes(SIZE))) as (vm, _):
        with pytest.raises(UnsupportedError, match="disk of Memory"):
            vm.snapshot(store, "none")
        assert not vm.paused
    assert list(store.iterdir()) == []
