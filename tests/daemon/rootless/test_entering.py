"""What keeps a user from having containers, each with a sentence that says who can change it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gasang.core.errors import PermissionDeniedError, UnsupportedError
from gasang.daemon.rootless import entering


@pytest.mark.parametrize(
    ("name", "value", "number", "sentence"),
    [
        ("clone", "0", errno.EPERM, "clone says that only root makes user namespaces; have root do: sysctl -w kernel.clone=1"),
        ("apparmor", "1", errno.EACCES, "apparmor says that only root makes user namespaces; have root do: sysctl -w kernel.apparmor=0"),
        ("most", "0", errno.ENOSPC, "there are no user namespaces; have root do: sysctl -w user.max_user_namespaces=10000"),
        ("most", "5", errno.ENOSPC, "no more namespaces are to be had"),
        ("most", "5", errno.EPERM, r"gives this user no namespaces \(Operation not permitted\); have root allow it"),
    ],
)
def test_why_there_are_no_namespaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, number: int, sentence: str
) -> None:
    switches = {tmp_path / "clone": ("0", "kernel.clone=1"), tmp_path / "apparmor": ("1", "kernel.apparmor=0")}
    monkeypatch.setattr(entering, "_SWITCHES", switches)
    monkeypatch.setattr(entering, "_MOST", tmp_path / "most")
    (tmp_path / name).write_text(f"{value}\n")

    def refuse() -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(entering, "Beginning", refuse)
    with pytest.raises(UnsupportedError, match=f"containers without root: .*{sentence}"):
        entering._made(tmp_path)


def test_folders_that_others_may_write_to_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o770)
    with pytest.raises(PermissionDeniedError, match="it is not this user's alone; XDG_RUNTIME_DIR names it"):
        entering._own(tmp_path / "gasang")
    tmp_path.chmod(0o700)
    entering._own(tmp_path / "gasang")
    (tmp_path / "gasang").chmod(0o722)
    with pytest.raises(PermissionDeniedError, match="gasang: it is not this user's alone; make it your own with mode 700"):
        entering._own(tmp_path / "gasang")
    (tmp_path / "file").write_text("")
    with pytest.raises(PermissionDeniedError, match="file: it cannot be used"):
        entering._own(tmp_path / "file")
