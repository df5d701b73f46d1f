"""A disk image as a block device of a host that has such devices."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gasang.core.errors import StateError
from gasang.host.nbd import NetworkDevice
from gasang.storage.images.table import create_image, open_image
from gasang.storage.nbd.attached import Attached
from gasang.storage.nbd.server import Offer

SIZE = (8 << 20) + 512
WHERE = 1 << 20


def attached(path: Path, warnings: list[str], *, read_only: bool = False) -> Attached:
    image = open_image(path, read_only=read_only, form="qcow2")
    return Attached(Offer(image, "", read_only=read_only), NetworkDevice.free(), warnings.append)


def test_an_image_is_a_block_device(tmp_path: Path) -> None:
    path, warnings = tmp_path / "disk.qcow2", list[str]()
    create_image(path, "qcow2", SIZE).close()
    written = os.urandom(1 << 20)
    first = attached(path, warnings)
    try:
        second = NetworkDevice.free()
        second.close()
        assert second.path != first.device.path
        with pytest.raises(StateError, match="somebody uses it"):
            NetworkDevice(first.device.path)
        with open(first.device.path, "r+b", buffering=0) as device:
            assert device.seek(0, os.SEEK_END) == SIZE
            device.seek(WHERE)
            device.write(written)
    finally:
        first.close()  # what was written goes to the image
    image = open_image(path, read_only=True, form="qcow2")
    assert image.read(WHERE, len(written)) == written
    assert image.read(0, WHERE) == bytes(WHERE)
    assert image.check().error_count == 0
    image.close()
    again = attached(path, warnings, read_only=True)
    try:
        with open(again.device.path, "rb", buffering=0) as device:
            device.seek(WHERE)
            assert device.read(len(written)) == written
        with pytest.raises(PermissionError), open(again.device.path, "r+b", buffering=0) as device:
            device.write(written)
    finally:
        again.close()
    assert not warnings
