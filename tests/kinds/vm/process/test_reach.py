"""What a machine's process must reach, of its settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError
from gasang.host.confining import Place
from gasang.kinds.vm.process.reach import KVM_NODE, prepare
from gasang.kinds.vm.process.settings import MachineSettings


def settings(tmp_path: Path, **more: object) -> MachineSettings:
    (tmp_path / "kernel").write_bytes(b"kernel")
    return MachineSettings.of_document({"kernel": str(tmp_path / "kernel"), "architecture": "riscv64", **more})


def test_a_kernels_machine(tmp_path: Path) -> None:
    (tmp_path / "disk").touch()
    disks = [[str(tmp_path / "disk"), False], [str(tmp_path / "other"), True]]
    found = prepare(tmp_path / "machines" / "one", settings(tmp_path, initrd=str(tmp_path / "initrd"), disks=disks))
    own = {place for place in found if place.path.is_relative_to(tmp_path)}
    assert own == {
        Place(tmp_path / "kernel"), Place(tmp_path / "initrd"), Place(tmp_path / "disk", writable=True), Place(tmp_path / "other"),
        Place(tmp_path / "machines", writable=True),
    }  # fmt: skip
    assert KVM_NODE not in found
    assert Path("/") not in {place.path for place in found}


def test_a_disk_that_is_a_device_stays_one(tmp_path: Path) -> None:
    found = prepare(tmp_path / "machines" / "one", settings(tmp_path, disks=[[os.devnull, True]]))
    assert Place(Path(os.devnull), device=True) in found


def test_what_is_among_the_machines_is_in_their_mount(tmp_path: Path) -> None:
    found = prepare(tmp_path / "one", settings(tmp_path))
    assert Place(tmp_path / "kernel") not in found
    assert Place(tmp_path, writable=True) in found


def test_a_kernel_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="kernel"):
        prepare(tmp_path / "one", MachineSettings(kernel=str(tmp_path / "none")))
