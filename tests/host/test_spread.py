"""Directories spread over the disk, where the file system knows how."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gasang.host.spread import spread_children


def test_a_folder_is_marked(tmp_path: Path) -> None:
    spread_children(tmp_path)
    spread_children(tmp_path)
    spread_children(tmp_path / "nothing")
    (tmp_path / "child").mkdir()
    if shutil.which("lsattr") is None:
        pytest.skip("lsattr shows the mark, and it is not installed (Debian package e2fsprogs)")
    shown = subprocess.run(["lsattr", "-d", str(tmp_path)], capture_output=True, text=True, check=False)
    if shown.returncode or not sys.platform.startswith("linux"):
        pytest.skip("the file system knows no such attributes")
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(tmp_path)], capture_output=True, text=True, check=True).stdout.strip()
    if kind == "ext2/ext3":
        assert "T" in shown.stdout.split()[0]
