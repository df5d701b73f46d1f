"""What a check finds, and what it may look at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from gasang.core.config import Config


class Status(Enum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"
    """Good to know; nothing is missing."""
    WARNING = "warning"
    """Something will not work or will be slow."""
    FAILED = "failed"
    """No machine can run before this is mended."""


class Finding(NamedTuple):
    """What a check found; `remedy` is what to do, "" where nothing is to be done."""

    status: Status
    text: str
    remedy: str = ""


class Host:
    """What checks look at, in one place, so that tests can give them another world."""

    def __init__(self, environment: Mapping[str, str], config: Config, root: Path = Path("/")) -> None:
        self.environment = environment
        self.config = config
        self.root = root

    def program(self, *names: str) -> str:
        """The path of the first of these programs on PATH, or ""."""
        path = self.environment.get("PATH", os.defpath)
        return next((found for name in names if (found := shutil.which(name, path=path))), "")

    def path(self, absolute: str) -> Path:
        """A file of the host, below `root`."""
        return self.root / absolute.lstrip("/")


Check = Callable[[Host], Finding]
