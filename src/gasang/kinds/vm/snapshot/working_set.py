"""The pages that a restored machine needs first: noted in its first second, fetched before it starts from then on.

The note is advice. It is in no digest, and whatever it says, the worst is that pages are fetched for nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gasang.host.memory import LazyMemory
from gasang.host.pages import PAGE, page_runs

NAME: Final = "working-set"
_MOST: Final = 128 << 20
"""Bytes fetched at most."""
_NOTE_MAX: Final = 4 << 20


def is_noted(folder: Path) -> bool:
    """Whether there is a note."""
    return (folder / NAME).exists()


def note(folder: Path, memory: LazyMemory) -> None:
    """Note what of `memory` has been touched since it was restored; where nothing can be written, it is noted another time."""
    runs = [[run.offset // PAGE, run.length // PAGE, int(run.own)] for run in page_runs(memory.address, memory.size)]
    with contextlib.suppress(OSError):
        new = folder / f"{NAME}.{os.urandom(4).hex()}"
        new.write_text(json.dumps(runs, separators=(",", ":")), encoding="ascii")
        new.replace(folder / NAME)


def fetch(folder: Path, memory: LazyMemory, most: int = _MOST) -> None:
    """Fetch what was noted, if anything was, up to `most` bytes."""
    left = most
    for offset, length, write in _noted(folder, memory.size):
        left -= length
        if left < 0:
            return
        memory.prefetch(offset, length, write=write)


def _noted(folder: Path, size: int) -> Iterator[tuple[int, int, bool]]:
    try:
        content = (folder / NAME).read_bytes()
        runs: Any = json.loads(content) if len(content) <= _NOTE_MAX else []
    except (OSError, ValueError):
        return
    for run in runs if isinstance(runs, list) else []:
        if isinstance(run, list) and len(run) == 3 and all(type(number) is int and number >= 0 for number in run):
            offset, length = run[0] * PAGE, run[1] * PAGE
            if length > 0 and offset + length <= size:
                yield offset, length, bool(run[2])
