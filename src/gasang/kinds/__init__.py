"""The kinds of machines: one line each. A kind is a folder here; adding one is a folder and a line.

What a kind can do is what its folder holds: a kind that cannot pause has no file for it. Nothing is imported to find out.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final, NamedTuple


class Kind(NamedTuple):
    """A kind of machine: its name (also its folder's), what it is, and what its machines start from."""

    name: str
    summary: str
    starts_from: str


class Capability(NamedTuple):
    """Something a machine may be able to do: the verb, and the module of a kind's folder that does it."""

    verb: str
    module: str


KINDS: Final = (Kind("vm", "a whole computer with its own kernel, on a processor described in Python", "debian:SUITE, a riscv64 kernel"),)

CAPABILITIES: Final = (
    Capability("run", "launch"),
    Capability("pause", "pause"),
    Capability("snapshot", "snapshot"),
    Capability("fork", "fork"),
    Capability("exec", "exec"),
    Capability("stats", "stats"),
)


def can(kind: Kind, capability: Capability) -> bool:
    """Whether machines of `kind` have `capability`."""
    return find_spec(f"gasang.kinds.{kind.name}.{capability.module}") is not None
