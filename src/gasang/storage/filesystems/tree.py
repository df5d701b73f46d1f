"""What every file system that is read offers, and how a path leads to something in it, symbolic links included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from gasang.core.errors import BadInputError
from gasang.storage.tree import Kind

LINKS_MOST: Final = 40
"""Symbolic links on the way to one thing, as Linux counts them."""
_PARTS_MOST: Final = 4096


@dataclass(frozen=True, slots=True)
class Node:
    """Something in a file system: what it is, how many bytes it has, and the number that its file system knows it by."""

    kind: Kind
    size: int
    number: int


class FileSystem(Protocol):
    """A file system that is only read. Everything raises BadInputError where it is damaged."""

    form: ClassVar[str]
    """What mount calls it."""
    uuid: str
    """As UUID= names it."""
    label: str

    @property
    def root(self) -> Node:
        """The root folder."""
        ...

    def entries(self, folder: Node) -> dict[bytes, int]:
        """What is in a folder but itself and the one above: names, as `key` makes them, and numbers."""
        ...

    def node(self, number: int) -> Node:
        """What a number stands for."""
        ...

    def read(self, node: Node) -> bytes:
        """All of a file, or a symbolic link's target."""
        ...

    def key(self, name: bytes) -> bytes:
        """A name as `entries` has it, where case does not count."""
        ...


class Files:
    """The files of a file system by path. A path is resolved as if the root were that of all."""

    def __init__(self, system: FileSystem) -> None:
        self.system = system
        self._entries: dict[int, dict[bytes, int]] = {}

    def find(self, path: str) -> Node | None:
        """What a path leads to; None where nothing is, and where links lead in circles. Raises BadInputError for what is damaged."""
        trail = [self.system.root]
        pending = _parts(path)
        links = 0
        while pending:
            part = pending.pop()
            if part == b"..":
                del trail[max(1, len(trail) - 1) :]
                continue
            number = self._of(trail[-1]).get(self.system.key(part)) if trail[-1].kind is Kind.DIRECTORY else None
            if number is None:
                return None
            node = self.system.node(number)
            if node.kind is not Kind.SYMLINK:
                trail.append(node)
                continue
            links += 1
            target = self.system.read(node)
            pending += _parts(target.decode("utf-8", "surrogateescape"))
            if links > LINKS_MOST or len(pending) > _PARTS_MOST:
                return None
            if target.startswith(b"/"):
                del trail[1:]
        return trail[-1]

    def read(self, path: str, most: int) -> bytes | None:
        """A file of at most so many bytes, None where there is none. Raises BadInputError for one larger and what is damaged."""
        node = self.find(path)
        if node is None or node.kind is not Kind.FILE:
            return None
        if node.size > most:
            raise BadInputError(f"file {path}", f"it has {node.size} bytes, and at most {most} are taken", "choose another with --kernel")
        return self.system.read(node)

    def names(self, path: str) -> list[str]:
        """What is in a folder, in order; nothing where there is none."""
        node = self.find(path)
        if node is None or node.kind is not Kind.DIRECTORY:
            return []
        return sorted(name.decode("utf-8", "surrogateescape") for name in self._of(node))

    def _of(self, folder: Node) -> dict[bytes, int]:
        if folder.number not in self._entries:
            self._entries[folder.number] = self.system.entries(folder)
        return self._entries[folder.number]


def _parts(path: str) -> list[bytes]:
    """The last first."""
    return [part for part in reversed(path.encode("utf-8", "surrogateescape").split(b"/")) if part not in (b"", b".")]
