"""The kinds of machines: one line each. A kind is a folder here; adding one is a folder and a line.

What a kind can do stands in its line, so that nothing is imported to find out.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Kind(NamedTuple):
    """A kind of machine: its name (also its folder's), what it is, what its machines start from, and the verbs that they have.

    `python` are those that its class has (core.protocols: Pausable, Snapshottable, Forkable) and the command has not yet.
    """

    name: str
    summary: str
    starts_from: str
    verbs: frozenset[str]
    python: frozenset[str] = frozenset()


KINDS: Final = (
    Kind(
        "vm",
        "a whole computer with its own kernel, on a processor described in Python",
        "debian:SUITE, a riscv64 kernel",
        frozenset({"run", "pause", "snapshot", "fork", "exec", "stats"}),
    ),
    Kind(
        "container",
        "processes on this host's kernel, with files, users, limits and a network of their own",
        "an image of a registry, debian:SUITE",
        frozenset({"run", "pause", "exec", "stats"}),
    ),
)

CAPABILITIES: Final = ("run", "pause", "snapshot", "fork", "exec", "stats")
"""Verbs that some kinds have and some may not."""


def can(kind: Kind, verb: str) -> bool:
    """Whether machines of `kind` have the verb."""
    return verb in kind.verbs
