"""Stable storage for a whole file system, and the name of the host's present start."""

from __future__ import annotations

from pathlib import Path

import pytest

from gasang.host.durable import boot_id, sync_file_system


def test_syncing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    sync_file_system(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_file_system(tmp_path / "nothing")


def test_the_present_start_has_one_name() -> None:
    assert boot_id() == boot_id() != ""
    assert "." not in boot_id()
