"""Sockets in folders whose names are too long for an address."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gasang.host.short_paths import short_path


def test_a_socket_in_a_folder_with_a_long_name(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 200)
    folder.mkdir()
    before = len(os.listdir("/proc/self/fd"))
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as other:
        with pytest.raises(OSError, match="path too long"):
            listener.bind(os.fspath(folder / "name"))
        with short_path(folder) as short:
            listener.bind(f"{short}/name")
        listener.listen()
        with short_path(folder) as short:
            other.connect(f"{short}/name")
    assert (folder / "name").is_socket()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), short_path(tmp_path / "nowhere"):
        pass
