"""Binds, mounts and volumes as clients write them."""

from __future__ import annotations

from typing import Any

import pytest

from gasang.core.errors import UsageError
from gasang.daemon.containers.binds import mounts_of, of_bind, of_mount, of_tmpfs
from gasang.daemon.containers.record import Mount


def host(**said: Any) -> dict[str, Any]:
    return {"Binds": None, "Mounts": None, "Tmpfs": None, **said}


def test_a_bind_and_a_named_volume() -> None:
    bind = of_bind("/srv/a/:/data:ro,rslave")
    assert (bind.kind, bind.source, bind.target, bind.writable, bind.propagation) == ("bind", "/srv/a", "/data", False, "rslave")
    volume = of_bind("name:/data/")
    assert (volume.kind, volume.name, volume.target, volume.writable) == ("volume", "name", "/data", True)


@pytest.mark.parametrize("text", ["/a", "", ":/b", "/a:b", "/a:/", "/a:/b:rx", "/a:/b:ro:rw", "a b:/c", "/a:/b\0"])
def test_binds_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        of_bind(text)


def test_mounts_of_three_kinds() -> None:
    assert of_mount({"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True}).writable is False
    assert of_mount({"Type": "volume", "Target": "/b"}).name == ""
    tmpfs = of_mount({"Type": "tmpfs", "Target": "/b", "TmpfsOptions": {"SizeBytes": 4096, "Mode": 0o1777}})
    assert tmpfs.options == ["size=4096", "mode=1777"]
    for wrong in ({"Type": "x", "Target": "/b"}, {"Type": "bind", "Source": "a", "Target": "/b"}, {"Type": "bind", "Source": "/a"}):
        with pytest.raises(UsageError):
            of_mount(wrong)


def volume(source: str = "name", **options: Any) -> Mount:
    return of_mount({"Type": "volume", "Source": source, "Target": "/b", "VolumeOptions": options})


def test_options_of_volumes() -> None:
    plain = volume()
    assert (plain.subpath, plain.copies) == ("", True)
    assert volume(NoCopy=True).copies is False
    assert of_bind("name:/data:ro,nocopy").copies is False
    assert volume(Subpath="a//b/../c/").subpath == "a/c"
    assert volume(Subpath="./").subpath == ""
    for path in ("/a", "..", "a/../../b"):
        with pytest.raises(UsageError, match="subpath must be a relative path within the volume"):
            volume(Subpath=path)
    with pytest.raises(UsageError, match="must not set Subpath when using anonymous volumes"):
        volume("", Subpath="a")
    with pytest.raises(UsageError, match="field NoCopy is not true or false"):
        volume(NoCopy="yes")
    with pytest.raises(UsageError, match="field Subpath is not a text"):
        volume(Subpath=1)


def test_tmpfs_options() -> None:
    assert of_tmpfs("/t", "size=1m,noexec,ro").writable is False
    with pytest.raises(UsageError):
        of_tmpfs("/t", "lowerdir=/etc")


def test_one_mount_a_target() -> None:
    config = {"Volumes": {"/v": {}, "/x": {}}}
    inherited = [Mount("volume", "/s", "/v", name="old"), Mount("bind", "/i", "/i")]
    made = {mount.target: mount for mount in mounts_of(config, host(Binds=["/a:/x"]), inherited)}
    assert (made["/x"].kind, made["/v"].name, made["/i"].source) == ("bind", "old", "/i")
    with pytest.raises(UsageError, match="twice"):
        mounts_of({"Volumes": None}, host(Binds=["/a:/x", "/b:/x"]), [])
