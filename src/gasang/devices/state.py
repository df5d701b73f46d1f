"""Saved device states: one place that says what a state must look like."""

from __future__ import annotations

from gasang.core.errors import BadInputError
from gasang.core.protocols import State


def check_version(state: State, device: str, newest: int) -> int:
    """The version of `state`, 1 to `newest`; raise BadInputError for a state this build does not know."""
    version = state.get("version")
    if not isinstance(version, int) or not 1 <= version <= newest:
        raise BadInputError(
            f"saved state of {device}",
            f"its version is {version!r}, this build knows 1 to {newest}",
            "restore it with the gasang that saved it",
        )
    return version
