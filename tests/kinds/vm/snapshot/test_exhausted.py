"""A host that runs out of memory or disk in the middle of a snapshot: an error that says so, the former intact, the machine goes on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gasang.core.errors import GasangError, OutOfSpaceError
from gasang.kinds.vm.machine import VirtualMachine
from gasang.kinds.vm.snapshot import disks, folder, memory, take
from gasang.kinds.vm.snapshot.folder import names
from gasang.kinds.vm.snapshot.snapshot import Wiring
from support.computing import KEPT_ROUNDS, mixed, mixing, parts_of

ROUNDS = 2 * KEPT_ROUNDS
"""Of a guest that is not done while snapshots of it fail."""
STEPS: dict[str, tuple[object, str]] = {
    "state": (VirtualMachine, "save"),
    "moment": (VirtualMachine, "moment"),
    "what was written": (VirtualMachine, "written_since"),
    "memory": (memory, "copy_memory"),
    "digests": (memory, "settle"),
    "disks": (disks, "capture"),
    "disks settled": (disks, "settle"),
    "index": (take, "encode_index"),
    "document": (take, "encode"),
    "link": (take.os, "rename"),
    "storage": (folder, "sync"),
    "name": (folder, "_sync_folder"),
}


def failing(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, error: BaseException) -> None:
    def fail(*words: object, **more: object) -> None:
        raise error

    monkeypatch.setattr(owner, name, fail)


FAULTS: dict[str, Callable[[], BaseException]] = {
    "no memory": MemoryError,
    "ENOMEM": lambda: OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    "ENOSPC": lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
}


def refused(vm: VirtualMachine, store: Path, step: str, fault: str) -> None:
    """A snapshot that cannot be made, by that fault at that step."""
    with pytest.MonkeyPatch.context() as patch:
        failing(patch, *STEPS[step], FAULTS[fault]())
        with pytest.raises(GasangError, match=r"no memory|no space|Cannot allocate memory") as caught:
            vm.snapshot(store, "second")
    assert isinstance(caught.value, OutOfSpaceError) or fault == "ENOMEM"
    assert not vm.paused
    assert names(store) == ["first"] if step != "name" else "first" in names(store)
    assert not list(store.glob(".new-*"))


@pytest.mark.parametrize("fault", FAULTS)
def test_at_each_step_nothing_is_left_and_the_machine_goes_on(fault: str, store: Path) -> None:
    with VirtualMachine(parts_of(mixing(ROUNDS), bytearray())) as vm:
        vm.start()
        first = vm.snapshot(store, "first")
        for step in STEPS:
            refused(vm, store, step, fault)
        vm.pause()
        third = vm.snapshot(store, "third")
        assert third.document.parent == first.digest
    for snapshot in (first, third):
        snapshot.verify()
        heard = bytearray()
        with snapshot.restore(Wiring(heard.extend)) as again:
            again.start()
            again.join()
        assert bytes(heard) == mixed(ROUNDS)
