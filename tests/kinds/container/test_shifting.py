"""Mounts made beforehand for users of their own: what they show, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gasang.core.errors import NotFoundError, UnsupportedError, UsageError
from gasang.host.idmapped import cloned
from gasang.kinds.container.config.config import Config, Mount, read_config
from gasang.kinds.container.config.linux import IdMapping
from gasang.kinds.container.idmap import user_namespace
from gasang.kinds.container.planning.order import MadeRoot, Order
from gasang.kinds.container.planning.planner import Planner
from gasang.kinds.container.shifting import MOST, Shifting, has_users, joined_users
from gasang.kinds.container.template import template
from support.privileges import needs_root

pytestmark = needs_root
BASE = 100000


@pytest.fixture
def users() -> Iterator[str]:
    """The path of a user namespace."""
    mapping = [IdMapping(0, BASE, 65536)]
    descriptor = user_namespace(mapping, mapping)
    yield f"/proc/self/fd/{descriptor}"
    os.close(descriptor)


def configured(path: str, *mounts: dict[str, Any]) -> Config:
    """A configuration that joins these users."""
    data = template()
    data["linux"]["namespaces"].append({"type": "user", "path": path})
    data["linux"]["uidMappings"] = data["linux"]["gidMappings"] = [{"containerID": 0, "hostID": BASE, "size": 65536}]
    data["mounts"] = list(mounts)
    return read_config(json.dumps(data), "the configuration")


def bound(source: Path | str, *options: str) -> dict[str, Any]:
    """A bind mount."""
    return {"destination": "/there", "type": "bind", "source": str(source), "options": ["rbind", *options]}


def whole(mount: Mount) -> int:
    """What a mount binds."""
    return cloned(mount.source, recursive=True)


def owners(shifting_of: Config, path: str) -> list[int]:
    """Whose the roots of its binds are."""
    made: list[int] = []

    def hand(descriptor: int) -> int:
        made.append(descriptor)
        return descriptor

    try:
        Shifting(shifting_of, "box", path, hand, whole).binds()
        return [os.fstat(descriptor).st_uid for descriptor in made]
    finally:
        for descriptor in made:
            os.close(descriptor)


def test_who_has_users_of_their_own(users: str) -> None:
    assert (joined_users(configured(users)), has_users(configured(users))) == (users, True)
    plain = read_config(json.dumps(template()), "the configuration")
    assert (joined_users(plain), has_users(plain)) == ("", False)


def test_binds_are_shifted_where_that_is_said(users: str, tmp_path: Path) -> None:
    config = configured(users, bound(tmp_path), bound(tmp_path, "idmap"), {"destination": "/t", "type": "tmpfs", "source": "tmpfs"})
    assert owners(config, users) == [0, BASE]


def test_a_root_in_one_folder(users: str, tmp_path: Path) -> None:
    root = Shifting(configured(users), "box", users, lambda descriptor: descriptor, whole).folder(tmp_path, "/target")
    try:
        assert (os.fstat(root.descriptor).st_uid, root.path) == (BASE, "/target")
    finally:
        os.close(root.descriptor)


def test_what_cannot_be_bound_is_named(users: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"source .*/none of the mount on /there: no such file"):
        owners(configured(users, bound(tmp_path / "none")), users)
    with pytest.raises(UnsupportedError, match=r"mount /proc/sys: its owners cannot be shifted .*--userns=host"):
        owners(configured(users, bound("/proc/sys", "idmap")), users)
    with pytest.raises(UnsupportedError, match="container box: this host cannot give its files other owners"):
        Shifting(configured(users), "box", users, lambda descriptor: descriptor, whole).folder(Path("/proc/sys"), "/target")
    with pytest.raises(UsageError, match=f"at most {MOST} bound mounts"):
        owners(configured(users, *[bound(tmp_path)] * (MOST + 1)), users)


def test_what_only_the_hosts_root_may_do_comes_before_the_users_are_joined(users: str) -> None:
    config = configured(users)
    assert config.process is not None
    built = Planner(Order(config, MadeRoot(0, "/target"), "box", owned=(1, 2)), config.process).build()
    before = list(built.phrases[0])
    assert before == [
        f"join the user namespace {users}",  # it is opened
        "keep the container from looking into us",
        *["give the standard streams to the container's root"] * 2,
        "change to the root folder /target",
        f"join the user namespace {users}",
    ]
    assert built.phrases[1].index("become the container's root") < built.phrases[1].index("mount the root file system /target")
