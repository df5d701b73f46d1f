"""What doctor says of the host's means for containers."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from gasang.cli.checks import isolation
from gasang.cli.checks.finding import Host, Status
from gasang.core.config import Config
from gasang.core.errors import GasangError, UnsupportedError
from gasang.host import trees
from gasang.kinds.container.cgroups import hierarchies
from gasang.kinds.container.cgroups.hierarchies import Hierarchies, Hierarchy

PR_SET_DUMPABLE = 4


def host(root: Path = Path("/"), **environment: str) -> Host:
    return Host(environment, Config([]), root)


def world(root: Path, **files: str) -> Host:
    """A host whose /proc/sys has these, "__" for a slash."""
    for name, text in files.items():
        path = root / "proc/sys" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return host(root, PATH=str(root))


@pytest.fixture
def unified(tmp_path: Path) -> Hierarchies:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    return Hierarchies((), Hierarchy("", (), str(tmp_path), "/"))


def test_control_groups_of_version_2(unified: Hierarchies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hierarchies, "find_hierarchies", lambda: unified)
    monkeypatch.setattr(hierarchies, "may_make_groups", lambda: True)
    found = isolation.check_cgroups(host())
    assert (found.status, found.text) == (Status.OK, "version 2: memory, cpu, cpuset, pids, io, devices, freezer")
    monkeypatch.setattr(hierarchies, "may_make_groups", lambda: False)
    assert isolation.check_cgroups(host()).status is Status.NOTE


def test_control_groups_that_lack_something(monkeypatch: pytest.MonkeyPatch) -> None:
    legacy = Hierarchies((Hierarchy("cpu", ("cpu", "cpuacct"), "/nowhere", "/"), Hierarchy("blkio", ("blkio",), "/nowhere", "/")), None)
    monkeypatch.setattr(hierarchies, "find_hierarchies", lambda: legacy)
    found = isolation.check_cgroups(host())
    assert found.status is Status.WARNING
    assert found.text == "version 1: cpu, io; not memory, cpuset, pids, devices, freezer"

    def none() -> Hierarchies:
        raise UnsupportedError("control groups", "this host has none mounted")

    monkeypatch.setattr(hierarchies, "find_hierarchies", none)
    found = isolation.check_cgroups(host())
    assert (found.status, found.text) == (Status.WARNING, "no control groups (this host has none mounted)")


def test_layers_are_put_together_where_images_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = isolation.check_overlay(host(XDG_DATA_HOME=str(tmp_path)))
    assert (found.status, found.text) == (Status.OK, f"overlayfs works at {tmp_path}")

    def refuse(*layers: object) -> int:
        raise GasangError("layers of a container", "they cannot be put together (Invalid argument)")

    monkeypatch.setattr(trees, "overlay", refuse)
    found = isolation.check_overlay(host(XDG_DATA_HOME=str(tmp_path)))
    assert found.status is Status.WARNING
    assert "(they cannot be put together (Invalid argument)): every container gets a copy" in found.text
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*, prefix: str, dir: Path) -> None:  # noqa: A002 - as tempfile has it
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(isolation.tempfile, "TemporaryDirectory", full)
    found = isolation.check_overlay(host(XDG_DATA_HOME=str(tmp_path)))
    assert (found.status, found.text) == (Status.WARNING, f"{tmp_path} cannot be written (No space left on device)")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user for a moment")
def test_layers_of_a_user(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (own := tmp_path / "own").mkdir()
    os.chown(own, 65534, 65534)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)

    def as_user() -> str:
        os.setgid(65534)
        os.setuid(65534)
        assert ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0  # as a process is that began as this user
        return isolation.check_overlay(host(XDG_DATA_HOME=str(own))).text

    assert isolation._in_a_child(as_user) == f"overlayfs works at {own}"


def test_user_namespaces(tmp_path: Path) -> None:
    assert isolation.check_users(world(tmp_path, user__max_user_namespaces="0\n")).status is Status.WARNING
    here = world(tmp_path, user__max_user_namespaces="100\n")
    assert "without newuidmap" in isolation.check_users(here).text
    (tmp_path / "newuidmap").write_text("#!/bin/sh\n")
    (tmp_path / "newuidmap").chmod(0o755)
    assert isolation.check_users(here).status is Status.OK
    found = isolation.check_users(world(tmp_path, kernel__unprivileged_userns_clone="0\n"))
    assert (found.status, "kernel.unprivileged_userns_clone=1 gives them to all" in found.text) == (Status.NOTE, True)


def test_filters_of_system_calls(tmp_path: Path) -> None:
    assert isolation.check_seccomp(host(tmp_path)).status is Status.WARNING
    found = isolation.check_seccomp(world(tmp_path, kernel__seccomp__actions_avail="kill_process errno allow\n"))
    assert (found.status, found.text) == (Status.OK, "filters of system calls (kill_process, errno, allow)")


def test_on_another_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation.sys, "platform", "darwin")
    checks = (isolation.check_cgroups, isolation.check_overlay, isolation.check_users, isolation.check_seccomp)
    assert {check(host()) for check in checks} == {isolation.ELSEWHERE}
