"""Whose users containers have: what is refused, and how numbers are told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gasang.core.errors import NotFoundError, StateError, UnsupportedError, UsageError
from gasang.daemon.containers.record import Container
from gasang.daemon.containers.users import Mapped, Users
from gasang.daemon.remap import Remap
from gasang.host.trees import overlay
from gasang.kinds.container.config.linux import IdMapping
from support.privileges import needs_root

REMAP = Remap((IdMapping(0, 1000, 10), IdMapping(10, 5000, 10)), (IdMapping(0, 2000, 20),))


def container(name: str = "box", **host: Any) -> Container:
    """A container of this host configuration."""
    usual = {"UsernsMode": "", "Privileged": False, "NetworkMode": "default", "PidMode": "", "IpcMode": "private"}
    return Container(name, name, "", "", "", {}, {**usual, **host})


def users(remap: Remap | None = REMAP, *known: Container) -> Users:
    """With these containers to be found."""
    return Users(remap, {entry.name: entry for entry in known}.__getitem__)


@pytest.mark.parametrize("host", [{"Privileged": True}, {"NetworkMode": "host"}, {"PidMode": "host"}, {"IpcMode": "host"}])
def test_what_is_the_hosts_is_refused_unless_the_users_are_too(host: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--userns=host"):
        users().check(container(**host))
    users().check(container(UsernsMode="host", **host))
    users(None).check(container(**host))


def test_without_a_mapping_there_are_none() -> None:
    assert users(None).begin(container()) is None
    assert users().begin(container(UsernsMode="host")) is None


@needs_root
def test_a_container_gets_users_and_a_network_of_theirs() -> None:
    found = users()
    box = container()
    mapped = found.begin(box)
    assert mapped is not None
    assert os.stat(mapped.path).st_ino != os.stat("/proc/self/ns/user").st_ino
    network = found.network(box)
    assert os.fstat(network).st_ino != os.stat("/proc/self/ns/net").st_ino
    os.close(network)
    found.end(box)
    found.end(box)
    assert not os.path.exists(mapped.path)


@needs_root
def test_who_shares_a_namespace_shares_the_users() -> None:
    other = container("other")
    other.status.status, other.status.pid = "running", os.getpid()
    with pytest.raises(StateError, match="has the host's users"):
        users(REMAP, other).begin(container(PidMode="container:other"))
    other.status.pid = 1 << 22
    with pytest.raises(NotFoundError, match="has ended"):
        users(REMAP, other).of(other)


@needs_root
def test_a_host_that_cannot_is_told_at_the_start(tmp_path: Path) -> None:
    users().probe(tmp_path)
    assert not list(tmp_path.iterdir())
    layers = [tmp_path / name for name in ("one", "two", "upper", "work")]
    for folder in layers:
        folder.mkdir()
    root = overlay(layers[:2], layers[2], layers[3])  # overlayfs itself knows nothing of other owners
    try:
        with pytest.raises(UnsupportedError, match=r"userns-remap: this host cannot .*; it takes Linux 6\.15"):
            users().probe(Path(f"/proc/self/fd/{root}"))
        users(None).probe(Path(f"/proc/self/fd/{root}"))
        assert not os.listdir(f"/proc/self/fd/{root}")
    finally:
        os.close(root)


def test_only_root_maps_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(UnsupportedError, match="only root may map users"):
        users().probe(tmp_path)


def test_numbers_inside_and_outside() -> None:
    mapped = Mapped("", REMAP.uids, REMAP.gids)
    assert mapped.outside(0, 0) == (1000, 2000)
    assert mapped.outside(12, 19) == (5002, 2019)
    assert mapped.inside(5002, 2019) == (12, 19)
    assert mapped.inside(0, 3000) == (0, 3000)


def test_users_that_a_container_will_have() -> None:
    found = users().intended(container())
    assert found is not None
    assert (found.outside(0, 0), found.outside(12, 3), found.inside(5002, 2003)) == ((1000, 2000), (5002, 2003), (12, 3))
    assert users().intended(container(UsernsMode="host")) is None
    assert users(None).intended(container()) is None
