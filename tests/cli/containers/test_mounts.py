from __future__ import annotations

import os
from typing import Any

import pytest

from gasang.cli.containers.mounts import mount
from gasang.core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("target=/d", {"Type": "volume", "Target": "/d"}),
        ("type=volume,src=data,dst=/d,ro", {"Type": "volume", "Source": "data", "Target": "/d", "ReadOnly": True}),
        ("type=volume,source=data,target=/d,readonly=false", {"Type": "volume", "Source": "data", "Target": "/d", "ReadOnly": False}),
        (
            "type=bind,source=/a,destination=/b,bind-propagation=rslave",
            {"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": {"Propagation": "rslave"}},
        ),
        ("type=bind,src=./a,dst=/b", {"Type": "bind", "Source": f"{os.getcwd()}/a", "Target": "/b"}),
        (
            "src=data,dst=/d,volume-subpath=a/b,volume-nocopy",
            {"Type": "volume", "Source": "data", "Target": "/d", "VolumeOptions": {"Subpath": "a/b", "NoCopy": True}},
        ),
        (
            "type=tmpfs,dst=/t,tmpfs-size=1M,tmpfs-mode=1770",
            {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o1770}},
        ),
    ],
)
def test_mounts(text: str, made: dict[str, Any]) -> None:
    assert mount(text, "--mount") == made


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "value is empty"),
        ("/d", "'/d'.* has none of this name; use type, source, target"),
        ("type=nfs,target=/d", "type=nfs: there is no such type; choose one of volume, bind, tmpfs"),
        ("source=a", "its target is missing; write it as in"),
        ("type=tmpfs,target=/t,source=a", "--mount source: a tmpfs has none; it goes with type=volume"),
        ("type=bind,target=/t,source=/a,ro=perhaps", "--mount readonly: 'perhaps' is neither true nor false"),
        ("type=tmpfs,target=/t,tmpfs-mode=999", "'999' are no permissions"),
        ("target=", "--mount target: its value is empty"),
    ],
)
def test_what_mounts_nothing(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        mount(text, "--mount")
