"""Where gasang keeps things: $GASANG_HOME, or the folders of the XDG Base Directory Specification."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def _folder(environment: Mapping[str, str], own: str, variable: str, otherwise: str) -> Path:
    home = environment.get("GASANG_HOME", "")
    if os.path.isabs(home):
        return Path(home) / own
    base = environment.get(variable, "")
    return (Path(base) if os.path.isabs(base) else Path.home() / otherwise) / "gasang"


def data_folder(environment: Mapping[str, str]) -> Path:
    """What must be kept: images. It need not exist."""
    return _folder(environment, "data", "XDG_DATA_HOME", ".local/share")


def cache_folder(environment: Mapping[str, str]) -> Path:
    """What can be made again: unpacked disks, downloads. It need not exist."""
    return _folder(environment, "cache", "XDG_CACHE_HOME", ".cache")
