"""What tests of snapshots share."""

from __future__ import annotations

from pathlib import Path

import pytest

from gasang.kinds.vm.machine import VirtualMachine
from gasang.kinds.vm.snapshot.snapshot import Snapshot
from support.computing import KEPT_ROUNDS, mixing, parts_of


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A folder for snapshots that is not there yet."""
    return tmp_path / "snapshots"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A snapshot of a machine in the middle of a computation."""
    with VirtualMachine(parts_of(mixing(KEPT_ROUNDS), bytearray())) as vm:
        vm.start()
        return vm.snapshot(tmp_path_factory.mktemp("kept"), "middle")
