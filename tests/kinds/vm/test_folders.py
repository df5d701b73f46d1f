"""Folders of the host that a machine mounts."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from gasang.core.errors import NotFoundError, UsageError
from gasang.kinds.vm.folders import SharedFolder, attach, mounts


@pytest.mark.parametrize("target", ["", "/", "//", "data", "./data", "/a/../b", "/a\nb", "/a ", "/\x1b[2J"])
def test_a_target_is_a_path_below_the_root(target: str) -> None:
    with pytest.raises(UsageError, match="mount target"):
        SharedFolder(Path("/"), target)


def test_the_guest_is_told_what_to_mount_where() -> None:
    folders = [SharedFolder(Path("/x"), "/a b"), SharedFolder(Path("/y"), "/c", read_only=True)]
    assert mounts(folders) == ("gasang0 rw,nodev /a b", "gasang1 ro,nodev /c")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this host shares no folders")
def test_each_folder_is_a_device_and_one_worker_answers(tmp_path: Path) -> None:
    with ExitStack() as cleanup:
        devices, workers = attach([SharedFolder(tmp_path, "/a"), SharedFolder(tmp_path, "/b")], cleanup)
        assert [device.config()[:8] for device in devices] == [b"gasang0\0", b"gasang1\0"]
        assert len(workers) == 1
        assert attach([], cleanup) == ([], [])


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with ExitStack() as cleanup, pytest.raises(NotFoundError, match="does not exist"):
        attach([SharedFolder(tmp_path / "none", "/a")], cleanup)
