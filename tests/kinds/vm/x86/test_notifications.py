"""A tiny guest drives a disk on PCI: it notifies, and sees the answers, without one exit to us for it; also in a twin and once restored."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gasang.accel.kvm.dirty import PIECE
from gasang.accel.kvm.messages import OFTEN
from gasang.devices.pci.config import BARS
from gasang.devices.virtio import pci
from gasang.devices.virtio.block import SECTOR
from gasang.host.kvm import ioctls
from gasang.kinds.vm.base import AnyMachine
from gasang.kinds.vm.x86 import layout
from support.disk_guests import CONTENT, COUNT, ENTRIES, RINGS, ROOM, counted, driven, until
from support.kvm_guests import needs_kvm

pytestmark = needs_kvm


def served(vm: AnyMachine) -> int:
    """Notifications that the interpreter was needed for."""
    return int(vm.machine.bells.answered)


def test_neither_a_notification_nor_its_interrupt_needs_the_interpreter(tmp_path: Path) -> None:
    with driven(tmp_path) as made:
        assert made.vm.machine.bells.pump is not None
        made.vm.start()
        until(lambda: made.count() > 100 * OFTEN)
        made.vm.pause()
        assert made.exits == []
        assert 1 <= served(made.vm) <= OFTEN, "those whose interrupt was rare"
        assert len(made.vm.machine.messages.routed) == 1
        assert made.vm.machine.ram.read(RINGS, ROOM).count(CONTENT[:SECTOR]) == ENTRIES // 4
        state = made.vm.save()["bus"]["pci"]["slots"]["1"]
        assert state["queues"][0][5:8] == [made.used()] * 3
        made.vm.resume()
        before = made.count()
        until(lambda: made.count() > before)
        assert made.told == []


def test_without_a_compiled_loop_no_notification_is_an_exit(tmp_path: Path) -> None:
    with driven(tmp_path) as made:
        made.vm.machine.bells.pump = None
        made.vm.start()
        until(lambda: made.count() > 3 * OFTEN and bool(made.vm.machine.messages.routed))
        made.vm.pause()
        assert made.exits == []
        assert served(made.vm) >= OFTEN, "one answer may be to several"
        made.vm.resume()


def test_what_is_read_into_memory_is_told_to_a_snapshot(tmp_path: Path) -> None:
    with driven(tmp_path) as made:
        vm = made.vm
        vm.start()
        until(lambda: made.count() > 2 * OFTEN)
        vm.pause()
        first = vm.moment()
        before = made.count()
        vm.resume()
        until(lambda: made.count() > before + 4 * ENTRIES)
        vm.pause()
        vm.moment()
        written = {offset // PIECE for offset, _ in vm.written_since(first) or ()}
        assert {RINGS // PIECE, COUNT // PIECE} <= written
        assert len(written) < 10
        vm.resume()


def test_a_host_that_refuses_has_exits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ioctls, "IOEVENTFD", ioctls.Ioctl("KVM_IOEVENTFD", 0x79))  # no structure: no such ioctl
    with driven(tmp_path) as made:
        made.vm.start()
        until(lambda: made.count() > OFTEN)
        made.vm.pause()
        assert made.vm.machine.bells.answered == 0
        assert len(made.exits) >= made.count()
        (sentence,) = made.told
        assert "refuses KVM_IOEVENTFD" in sentence
        made.vm.resume()


def test_a_window_that_moves_takes_its_bells_along(tmp_path: Path) -> None:
    """Moved away while the guest goes on to notify where it was: nothing answers there. Moved back, the next one is answered."""
    with driven(tmp_path) as made:
        vm = made.vm
        vm.start()
        until(lambda: made.count() > 5)
        vm.pause()
        with vm.machine.lock:
            made.transport.write_config(BARS, 4, layout.PCI_WINDOW + 4 * pci.WINDOW)
        used = made.used()
        vm.resume()
        until(lambda: vm.machine.unanswered + len(made.exits) > 0)
        vm.pause()
        assert made.used() == used
        with vm.machine.lock:
            made.transport.write_config(BARS, 4, layout.PCI_WINDOW)
        made.transport.write(pci.NOTIFY, 2, 0)  # for the one that went astray
        before = made.count()
        vm.resume()
        exits = len(made.exits)
        until(lambda: made.count() > before + 5)
        assert len(made.exits) == exits


def test_a_reset_takes_the_bells_down(tmp_path: Path) -> None:
    with driven(tmp_path, b"\xeb\xfe") as made:
        assert len(made.vm.machine.bells.places) == 1
        made.transport.write(pci.COMMON + 0x14, 1, 0)
        assert made.vm.machine.bells.places == ()


def test_a_restored_one_goes_on_where_it_stood(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with driven(tmp_path / "first") as first, driven(tmp_path / "second", set_up=False) as second:
        first.vm.start()
        until(lambda: first.count() > 2 * OFTEN)
        first.vm.pause()
        before = first.count()
        second.vm.machine.ram.memory.write(0, first.vm.machine.ram.memory.view)
        second.vm.load(first.vm.save())
        assert first.vm.machine.messages.routed == (), "what was sent has arrived"
        second.vm.start()
        until(lambda: second.count() > before + 2 * OFTEN)
        assert second.exits == []
        first.vm.resume()
        until(lambda: first.count() > before + 2 * OFTEN)
        assert first.exits == []


def test_a_twin_has_bells_of_its_own(tmp_path: Path) -> None:
    with driven(tmp_path) as made:
        vm = made.vm
        vm.start()
        until(lambda: made.count() > OFTEN)

        def body(twin: AnyMachine) -> int:
            before = counted(twin)
            twin.start()
            until(lambda: counted(twin) > before + 2 * OFTEN and bool(twin.machine.messages.routed))
            twin.stop()
            twin.join()
            return len(made.exits)

        descriptors = len(os.listdir("/proc/self/fd"))
        with vm.fork(body) as twin:
            assert twin.wait() == 0
        before = made.count()
        until(lambda: made.count() > before + 2 * OFTEN)
        assert made.exits == []
        assert len(os.listdir("/proc/self/fd")) <= descriptors + 2
