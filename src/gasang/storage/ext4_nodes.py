"""The tree under construction: one node an inode, numbered as entries arrive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gasang.core.errors import BadInputError
from gasang.storage.ext4_directory import Name
from gasang.storage.ext4_inode import TYPE_CODES
from gasang.storage.ext4_layout import FIRST_INODE, ROOT_INODE, Run
from gasang.storage.ext4_xattr import Attribute, parse
from gasang.storage.tree import Entry, Kind, check, encode, shown, split_path

LINK_MAX = 65000
"""Names of one inode; a directory of more subdirectories counts as having 1 (dir_nlink)."""

LOST_FOUND = b"lost+found"


@dataclass(slots=True, eq=False)
class Node:
    """An inode to be: what its entry said, the names that lead to it, and the blocks it got."""

    number: int
    kind: Kind
    mode: int
    uid: int = 0
    gid: int = 0
    time: int = 0
    size: int = 0
    links: int = 1
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    attributes: list[Attribute] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    children: dict[bytes, Node] = field(default_factory=dict)
    parent: int = ROOT_INODE

    def names(self) -> Iterator[Name]:
        """What a directory lists."""
        code = TYPE_CODES[Kind.DIRECTORY]
        yield b".", self.number, code
        yield b"..", self.parent, code
        for name, child in self.children.items():
            yield name, child.number, TYPE_CODES[child.kind]


class Nodes:
    """All nodes; `root` and lost+found are there from the start, with `time` as their time stamp, as are parents nobody mentions."""

    def __init__(self, time: int) -> None:
        self._time = time
        self.root = Node(ROOT_INODE, Kind.DIRECTORY, 0o755, time=time)
        self.all = [self.root]
        self._next = FIRST_INODE
        self._hard_links: list[tuple[bytes, Node, bytes, tuple[bytes, ...]]] = []
        self.lost_found = self._new(self.root, LOST_FOUND, Kind.DIRECTORY, 0o700)

    @property
    def last(self) -> int:
        """The highest inode number given."""
        return self._next - 1

    def _new(self, parent: Node, name: bytes, kind: Kind, mode: int) -> Node:
        node = Node(self._next, kind, mode, time=self._time, parent=parent.number)
        self._next += 1
        self.all.append(node)
        parent.children[name] = node
        return node

    def add(self, entry: Entry) -> Node | None:
        """The node of an entry, None for a hard link (they are joined by `link`); raise BadInputError where it cannot stand."""
        path = encode(entry.path)
        parts = split_path(path)
        check(entry)
        if not parts:
            if entry.kind is not Kind.DIRECTORY:
                raise BadInputError("the root of the tree", f"it is given as a {entry.kind.value}", "make it a directory")
            node = self.root
        else:
            parent = self._directory(parts[:-1], path)
            if entry.kind is Kind.HARDLINK:
                self._hard_links.append((path, parent, parts[-1], split_path(entry.target)))
                return None
            node = self._place(parent, parts[-1], entry.kind, path)
        node.mode, node.uid, node.gid, node.time = entry.mode, entry.uid, entry.gid, entry.mtime
        node.attributes = parse(path, entry.xattrs)
        node.device = entry.device
        node.target = encode(entry.target)
        node.size = entry.length if entry.kind is Kind.FILE else len(node.target)
        return node

    def _directory(self, parts: tuple[bytes, ...], path: bytes) -> Node:
        node = self.root
        for part in parts:
            child = node.children.get(part)
            if child is None:
                child = self._new(node, part, Kind.DIRECTORY, 0o755)
            elif child.kind is not Kind.DIRECTORY:
                raise BadInputError(
                    f"path {shown(path)}", f"{shown(part)} in it is a {child.kind.value}", "its parents must be directories"
                )
            node = child
        return node

    def _place(self, parent: Node, name: bytes, kind: Kind, path: bytes) -> Node:
        present = parent.children.get(name)
        if present is None:
            return self._new(parent, name, kind, 0)
        if kind is Kind.DIRECTORY and present.kind is Kind.DIRECTORY:
            return present
        raise BadInputError(f"path {shown(path)}", "it is there twice", "keep one of the two entries")

    def link(self) -> None:
        """Join the hard links to their targets and count the links of all; raise BadInputError for a link to nothing."""
        for path, parent, name, target in self._hard_links:
            node: Node | None = self.root
            for part in target:
                node = node.children.get(part) if node else None
            if node is None or node.kind is Kind.DIRECTORY:
                raise BadInputError(
                    f"hard link {shown(path)}", f"its target {shown(b'/'.join(target))} is no file of the tree", "add the file it names"
                )
            if name in parent.children:
                raise BadInputError(f"path {shown(path)}", "it is there twice", "keep one of the two entries")
            parent.children[name] = node
            node.links += 1
            if node.links > LINK_MAX:
                raise BadInputError(f"file {shown(b'/'.join(target))}", f"it has more than {LINK_MAX} hard links", "copy it instead")
        for node in self.all:
            if node.kind is Kind.DIRECTORY:
                below = sum(child.kind is Kind.DIRECTORY for child in node.children.values())
                node.links = below + 2 if below + 2 <= LINK_MAX else 1
