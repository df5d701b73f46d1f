"""Devices that containers ask for: nodes, folders of them, what is none; rules; and what nobody can give."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from gasang.core.errors import GasangError, UsageError
from gasang.daemon.containers.devices import asked, block_rates, check_requests, host_devices, rules
from support.privileges import needs_root


def host(*devices: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"Devices": list(devices), "Privileged": False, "DeviceCgroupRules": None, "DeviceRequests": None, **more}


def test_a_node_under_another_name() -> None:
    (found,) = asked(host({"PathOnHost": "/dev/null", "PathInContainer": "/dev/mine", "CgroupPermissions": "r"}))
    assert (found.source, found.access) == ("/dev/null", "r")
    assert {name: found.device[name] for name in ("path", "type", "major", "minor")} == {
        "path": "/dev/mine", "type": "c", "major": 1, "minor": 3,
    }  # fmt: skip
    assert asked(host({"PathOnHost": "/dev/zero"}))[0].device["path"] == "/dev/zero"


def test_a_link_to_a_node(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/null")
    (found,) = asked(host({"PathOnHost": str(tmp_path / "link")}))
    assert (found.device["path"], found.device["minor"]) == (str(tmp_path / "link"), 3)


@needs_root
def test_a_folder_with_nodes(tmp_path: Path) -> None:
    (tmp_path / "real" / "in").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    os.mknod(tmp_path / "real" / "zero", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    os.mknod(tmp_path / "real" / "in" / "null", 0o640 | stat.S_IFCHR, os.makedev(1, 3))
    (tmp_path / "real" / "file").touch()
    found = asked(host({"PathOnHost": str(tmp_path / "link"), "PathInContainer": "/dev/mine"}))
    shown = {one.device["path"]: (one.source, one.device["minor"], one.device["fileMode"]) for one in found}
    assert shown == {
        "/dev/mine/zero": (str(tmp_path / "real" / "zero"), 5, 0o600),
        "/dev/mine/in/null": (str(tmp_path / "real" / "in" / "null"), 3, 0o640),
    }


def test_what_is_none(tmp_path: Path) -> None:
    missing, none = "no such file or directory", "not a device node"
    for path, words in {"/dev/nope": missing, "/etc/passwd": none, str(tmp_path): none}.items():
        with pytest.raises(GasangError, match=f'custom device "{path}": {words}'):
            asked(host({"PathOnHost": path}))
    with pytest.raises(GasangError, match="null"):
        asked(host({"PathOnHost": "/dev/\0"}))
    for wrong in ({}, {"PathOnHost": 1}, {"PathOnHost": "/dev/null", "PathInContainer": 1}):
        with pytest.raises(UsageError):
            asked(host(wrong))


def test_rules() -> None:
    made = rules(host({"PathOnHost": "/dev/null"}, DeviceCgroupRules=["b 8:* rw"]))
    assert made == [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
        {"allow": True, "type": "b", "major": 8, "access": "rw"},
    ]
    assert rules(host(Privileged=True)) == [{"allow": True, "access": "rwm"}]
    with pytest.raises(UsageError, match="TYPE MAJOR:MINOR ACCESS"):
        rules(host(DeviceCgroupRules=["x"]))


def test_rates_of_block_devices() -> None:
    assert block_rates([{"Path": "/dev/null", "Rate": 5}], "Rate", "rate") == [{"major": 1, "minor": 3, "rate": 5}]
    assert block_rates(None, "Rate", "rate") is None
    with pytest.raises(GasangError, match="stat /dev/nope: no such file or directory"):
        block_rates([{"Path": "/dev/nope", "Rate": 5}], "Rate", "rate")
    with pytest.raises(UsageError):
        block_rates([{"Path": "/dev/null"}], "Rate", "rate")


def test_all_of_the_host() -> None:
    paths = {entry["path"] for entry in host_devices()}
    assert {"/dev/null", "/dev/zero"} <= paths
    assert not any(path.startswith(("/dev/pts/", "/dev/shm/")) or path == "/dev/console" for path in paths)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"Capabilities": [["gpu"]]}, r'could not select device driver "" with capabilities: \[\[gpu\]\]'),
        ({"Driver": "x", "Capabilities": [["a", "b"], ["c"]]}, r'driver "x" with capabilities: \[\[a b\] \[c\]\]'),
        ({"Driver": 5, "Capabilities": "gpu"}, r'driver "5" with capabilities: \[\]'),
    ],
)
def test_requests_that_nobody_can_fulfil(request_: dict[str, Any], words: str) -> None:
    with pytest.raises(GasangError, match=words):
        check_requests(host(DeviceRequests=[request_]))
    check_requests(host())
    check_requests(host(DeviceRequests=[]))
