"""What was verified since the host was started: a restore need not read a snapshot's whole content to believe it.

Beside a snapshot lies a note of the boot in which all its files were read and their digests compared, with each file's inode, size and
time of change. A file that was written since has another time; one written so shortly before the note that its time could be the same makes
the note worthless. Only the host's memory and disk stand between: whoever can set times of files can write digests as well.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gasang.host.durable import boot_id

NAME: Final = "verified"
_MARGIN: Final = 100_000_000
"""Nanoseconds: the coarsest step of a file's time, and more."""


def is_verified(folder: Path, files: Sequence[Path]) -> bool:
    """Whether `files` were verified since the host was started and not been changed since."""
    try:
        note = json.loads((folder / NAME).read_bytes())
        return bool(note == {"boot": boot_id(), "files": _identities(files)})
    except (OSError, ValueError):
        return False


def note_verified(folder: Path, files: Sequence[Path], begun: int) -> None:
    """Note that they were, beginning at `begun` (time.time_ns()). Where nothing can be written, they are verified again next time."""
    with contextlib.suppress(OSError):
        if all(path.stat().st_mtime_ns < begun - _MARGIN for path in files):
            new = folder / f"{NAME}.{os.urandom(4).hex()}"
            new.write_text(json.dumps({"boot": boot_id(), "files": _identities(files)}), encoding="ascii")
            new.replace(folder / NAME)


def now() -> int:
    """The present time, as files' times are counted."""
    return time.time_ns()


def _identities(files: Sequence[Path]) -> dict[str, list[int]]:
    found = {}
    for path in files:
        info = path.stat()
        found[path.name] = [info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns]
    return found
