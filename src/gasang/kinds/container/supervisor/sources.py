"""The files that decide the supervisor's program."""

from __future__ import annotations

from pathlib import Path


def sources() -> list[Path]:
    """Every file whose change changes the program."""
    return sorted(Path(__file__).parent.glob("*.py"))
