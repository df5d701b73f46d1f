"""What a daemon that begins anew tells the host of who is in its networks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gasang.core.errors import NotFoundError
from gasang.daemon.containers.record import Container, Status
from gasang.daemon.events import Events
from gasang.daemon.folders import Folders
from gasang.daemon.networks.joining import ContainerNetworks
from gasang.daemon.records import Database


def container(name: str) -> Container:
    return Container(name * 16, name, "", "", "", {}, {}, {}, status=Status(status="running"))


def nobody(name: str) -> Container:
    raise NotFoundError("No such container", name)


def test_who_has_ended_meanwhile_is_in_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may end at any time: also between the look at who runs and this."""
    database = Database(tmp_path)
    networks = ContainerNetworks(database, Events(), Folders(tmp_path, tmp_path / "run"), "test", nobody, lambda _: -1)
    told: list[list[str]] = []
    monkeypatch.setattr(networks.host, "reconcile", lambda held: told.append(sorted(held)))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    try:
        networks.reconcile([(container("gone"), ended.pid), (container("web"), os.getpid())])
    finally:
        networks.close()
        database.close()
    assert told == [["web" * 16]]
