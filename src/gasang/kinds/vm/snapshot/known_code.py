"""What a restored machine's processors decode first: noted in its first second, for machines that are made ready before they are wanted.

The note lies beside the snapshot. It is advice, in no digest: by a wrong one code is decoded that nobody executes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gasang.accel.soft.decoded import Marks, packed, unpacked

NAME: Final = "known-code"
MOMENT: Final = 1.0
"""Seconds after its start at which it is looked at."""
_MOST: Final = 4 << 20


def note(folder: Path, known: Mapping[int, Marks]) -> None:
    """Keep it; where nothing can be written, it is noted another time. Nothing is kept of what decodes nothing."""
    content = packed(known)
    if not content or len(content) > _MOST:
        return
    with contextlib.suppress(OSError):
        new = folder / f"{NAME}.{os.urandom(4).hex()}"
        new.write_bytes(content)
        new.replace(folder / NAME)


def noted(folder: Path) -> dict[int, Marks]:
    """What was kept, if anything was."""
    try:
        content = (folder / NAME).read_bytes()
    except OSError:
        return {}
    return unpacked(content) if len(content) <= _MOST else {}
