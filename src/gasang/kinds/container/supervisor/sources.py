"""The files that decide the supervisor's program."""

from __future__ import annotations

from pathlib import Path

from gasang import host


def sources() -> list[Path]:
    """Every file whose change changes the program."""
    here = Path(__file__).parent
    return sorted(path for folder in (here, here.parent, Path(host.__file__).parent) for path in folder.glob("*.py"))
