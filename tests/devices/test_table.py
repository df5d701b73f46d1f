"""Every device model is in the table."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

import gasang.devices
import gasang.devices.virtio
from gasang.devices.table import DEVICES, VIRTIO_DEVICES


def classes(package: ModuleType, attributes: set[str]) -> set[type]:
    """The classes defined in the package's files that have all of `attributes`."""
    found = set()
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        content = vars(importlib.import_module(module.name))
        found |= {
            value
            for value in content.values()
            if isinstance(value, type)
            and value.__module__ == module.name
            and attributes <= set(dir(value))
            and not hasattr(value, "_is_protocol")
        }
    return found


def test_every_mmio_device_is_in_the_table() -> None:
    assert classes(gasang.devices, {"read", "write", "reset", "save", "load", "size"}) == set(DEVICES.values())


def test_every_virtio_device_is_in_the_table() -> None:
    assert classes(gasang.devices.virtio, {"config", "start", "notify", "reset", "save", "load"}) == set(VIRTIO_DEVICES.values())
