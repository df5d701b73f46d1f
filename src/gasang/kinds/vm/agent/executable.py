"""The agent's program as bytes, compiled for a guest's processor family: kept in the cache, made of this folder's files."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gasang import host
from gasang.core.progress import Progress
from gasang.native.kept_program import kept_program

if TYPE_CHECKING:
    from gasang.native import NativeFunction

_HERE: Final = Path(__file__).parent
_SOURCES: Final = tuple(map(str, (_HERE, _HERE / "guest", Path(host.__file__).parent)))
"""Folders of the files that decide the program."""

_FAMILIES: Final = {"amd64": "x86_64"}


def _entry() -> NativeFunction:
    from gasang.kinds.vm.agent.guest.main import serve_guest

    return serve_guest


def _given(family: str) -> bytes:
    from gasang.kinds.vm.agent.guest.calls import given_for

    return given_for(family)


def prepare_agent(architecture: str, progress: Progress) -> None:
    """Have the executable, which the first machine of an architecture has to wait for. Raises what `kept_program` raises."""
    with progress.step("compiling the guest's agent"):
        agent_program(architecture)


@cache
def agent_program(architecture: str) -> bytes:
    """The executable for guests of an architecture, as Debian or `uname -m` name it. Raises what `kept_program` raises."""
    family = _FAMILIES.get(architecture, architecture)
    return kept_program("agent", _SOURCES, _entry, data=_given(family), family=family)
