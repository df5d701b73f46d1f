"""What a guest knows of a shared folder: its nodes by number, each with the place where it was seen last.

A node has no descriptor of its own. It is found by its place whenever it is needed, below the folder and through no symbolic link
(openat2(2)), and is the same only if device and inode are: what is moved out of the folder, or replaced, is out of the guest's reach.
So the guest can have as many nodes as `MOST_NODES`, and the host's descriptors are spent on open files alone.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from gasang.storage.share.wire import LONGEST_PATH, Refusal

ROOT: Final = 1
MOST_NODES: Final = 1 << 19
"""Linux forgets inodes only when it is short of memory itself; a node costs the host some 300 bytes."""

Key = tuple[int, int]
"""Device and inode."""


@dataclass(eq=False, slots=True)
class Node:
    """A file or directory; `lookups` counts how often the guest was told of it, `handles` are its open files."""

    number: int
    key: Key
    parent: Node | None
    name: str
    lookups: int = 0
    handles: list[int] = field(default_factory=list)

    def path(self) -> str:
        """From the folder on; "." for itself. Refused with ENAMETOOLONG where it is longer than the host allows."""
        names: list[str] = []
        node: Node | None = self
        length = 0
        while node is not None and node.parent is not None:
            names.append(node.name)
            length += len(node.name.encode("utf-8", "surrogateescape")) + 1
            node = node.parent
            if length > LONGEST_PATH:
                raise Refusal(errno.ENAMETOOLONG)
        return "/".join(reversed(names)) or "."


class Nodes:
    """The table. Number 1 is the folder itself, which is never forgotten."""

    def __init__(self, root: Key) -> None:
        self._root = root
        self.clear()

    def clear(self) -> None:
        """As at the beginning."""
        self._next = ROOT + 1
        node = Node(ROOT, self._root, None, "", 1)
        self._by_number: dict[int, Node] = {ROOT: node}
        self._by_key: dict[Key, Node] = {self._root: node}

    def __len__(self) -> int:
        return len(self._by_number)

    def get(self, number: int) -> Node:
        """The node of that number; refused with ESTALE where there is none."""
        node = self._by_number.get(number)
        if node is None:
            raise Refusal(errno.ESTALE)
        return node

    def seen(self, parent: Node, name: str, status: os.stat_result) -> Node:
        """The node of what was seen in a directory, which the guest is told of now. Refused with ENFILE for one too many."""
        key = (status.st_dev, status.st_ino)
        node = self._by_key.get(key)
        if node is None:
            if len(self._by_number) >= MOST_NODES:
                raise Refusal(errno.ENFILE)
            node = Node(self._next, key, parent, name)
            self._next += 1
            self._by_number[node.number] = self._by_key[key] = node
        elif node.number != ROOT and not _is_above(node, parent):
            node.parent, node.name = parent, name
        node.lookups += 1
        return node

    def known(self, key: Key) -> Node | None:
        """The node of a file, if the guest knows it."""
        return self._by_key.get(key)

    def forget(self, number: int, count: int) -> None:
        """The guest lets go of a node so many times; of one it does not have, nothing happens."""
        node = self._by_number.get(number)
        if node is None or number == ROOT:
            return
        node.lookups -= count
        if node.lookups <= 0:
            del self._by_number[number]
            self.gone(node)

    def gone(self, node: Node) -> None:
        """The file is no more: another may have its inode's number from now on."""
        if self._by_key.get(node.key) is node:
            del self._by_key[node.key]

    def moved(self, node: Node, parent: Node, name: str) -> None:
        """The guest has renamed it."""
        if node.number != ROOT and not _is_above(node, parent):
            node.parent, node.name = parent, name

    # State.

    def save(self) -> list[list[Any]]:
        """[number, parent's number, name, device, inode, lookups] of each node, parents first."""
        return [
            [node.number, node.parent.number if node.parent else 0, node.name.encode("utf-8", "surrogateescape"), *node.key, node.lookups]
            for node in self._with_parents()
        ]

    def load(self, saved: list[list[Any]]) -> None:
        """Become the saved table. The folder's device may have another number now; others are looked up by the guest anew."""
        self.clear()
        made: dict[int, Node] = {ROOT: self._by_number[ROOT]}
        device = next((row[3] for row in saved if row[0] == ROOT), -1)
        for number, parent, name, *key, lookups in saved:
            if number == ROOT:
                continue
            now = (self._root[0] if key[0] == device else key[0], key[1])
            node = Node(number, now, made[parent], name.decode("utf-8", "surrogateescape"), lookups)
            made[number] = node
            self._next = max(self._next, number + 1)
            if lookups > 0:
                self._by_number[number] = node
                self._by_key.setdefault(now, node)

    def _with_parents(self) -> Iterator[Node]:
        done: set[int] = set()
        for node in self._by_number.values():
            line: list[Node] = []
            each: Node | None = node
            while each is not None and each.number not in done:
                line.append(each)
                done.add(each.number)
                each = each.parent
            yield from reversed(line)


def _is_above(node: Node, other: Node | None) -> bool:
    """Whether `other` is `node` or lies in it: a place it cannot have. The host may have moved things about meanwhile."""
    while other is not None:
        if other is node:
            return True
        other = other.parent
    return False
