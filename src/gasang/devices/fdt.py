"""Flattened device trees (Devicetree Specification 0.4, chapter 5), version 17: from a tree of nodes to bytes and back.

Knows the format, not what the properties mean.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gasang.core.errors import BadInputError

MAGIC = 0xD00DFEED
VERSION, LAST_COMPATIBLE = 17, 16
BEGIN_NODE, END_NODE, PROPERTY, NOP, END = 1, 2, 3, 4, 9
HEADER = struct.Struct(">10I")
MAX_DEPTH = 64
"""Nesting a reader follows; real trees have five or six levels."""

Value = bool | int | str | bytes | Sequence[int] | Sequence[str]
"""A property: True is an empty one, an int a 32-bit cell, a list of int cells, a str (or list of them) NUL-terminated text."""


@dataclass
class Node:
    """A node: its name with the unit address, its properties and its children, in order."""

    name: str
    properties: dict[str, Value] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)

    def child(self, name: str) -> Node:
        """The child so named; raise KeyError without one."""
        for node in self.children:
            if node.name == name:
                return node
        raise KeyError(name)

    def find(self, path: str) -> Node:
        """The node at `path`, such as "/cpus/cpu@0"; raise KeyError without one."""
        node = self
        for name in filter(None, path.split("/")):
            node = node.child(name)
        return node


def reg(*ranges: tuple[int, int]) -> list[int]:
    """The cells of a `reg` property under two address and two size cells, from (base, size) pairs."""
    return [cell for pair in ranges for number in pair for cell in u64(number)]


def u64(number: int) -> list[int]:
    """A 64-bit number as two cells."""
    return [number >> 32, number & 0xFFFF_FFFF]


def encode(root: Node, reservations: Sequence[tuple[int, int]] = (), boot_hart: int = 0) -> bytes:
    """The blob of the tree under `root`; `reservations` are (address, size) pairs of memory the guest must leave alone."""
    strings = _Strings()
    structure = b"".join(_encode_node(root, strings)) + struct.pack(">I", END)
    reserved = b"".join(struct.pack(">QQ", *pair) for pair in (*reservations, (0, 0)))
    reserved_at = HEADER.size
    structure_at = reserved_at + len(reserved)
    strings_at = structure_at + len(structure)
    total = strings_at + len(strings.block)
    header = HEADER.pack(
        MAGIC, total, structure_at, strings_at, reserved_at, VERSION, LAST_COMPATIBLE, boot_hart, len(strings.block), len(structure)
    )
    return header + reserved + structure + bytes(strings.block)


def decode(blob: bytes) -> Node:
    """The tree in `blob`, every property as raw bytes; raise BadInputError for anything that is no well-formed blob."""
    if len(blob) < HEADER.size:
        raise _bad("it is shorter than its header")
    magic, total, structure_at, strings_at, _, version, compatible, _, strings_size, structure_size = HEADER.unpack_from(blob)
    if magic != MAGIC:
        raise _bad(f"it starts with {magic:#010x}, not {MAGIC:#x}")
    if compatible > VERSION or version < VERSION:
        raise _bad(f"it has version {version} (compatible down to {compatible}), not {VERSION}")
    if total > len(blob) or structure_at + structure_size > total or strings_at + strings_size > total:
        raise _bad("its header points beyond its end")
    reader = _Reader(blob[structure_at : structure_at + structure_size], blob[strings_at : strings_at + strings_size])
    return reader.tree()


def text(value: Value) -> list[str]:
    """The strings of a property read by `decode`; raise BadInputError where it holds none."""
    if not isinstance(value, bytes) or not value.endswith(b"\0"):
        raise _bad("a property that should be text is none")
    try:
        return value[:-1].decode("utf-8").split("\0")
    except UnicodeDecodeError as error:
        raise _bad("a property that should be text is none") from error


def cells(value: Value) -> list[int]:
    """The 32-bit cells of a property read by `decode`; raise BadInputError where it holds none."""
    if not isinstance(value, bytes) or len(value) % 4:
        raise _bad("a property that should be cells is none")
    return [number for (number,) in struct.iter_unpack(">I", value)]


class _Strings:
    """The strings block: every property name once."""

    def __init__(self) -> None:
        self.block = bytearray()
        self._offsets: dict[str, int] = {}

    def offset(self, name: str) -> int:
        if name not in self._offsets:
            self._offsets[name] = len(self.block)
            self.block += name.encode("ascii") + b"\0"
        return self._offsets[name]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _encode_node(node: Node, strings: _Strings) -> Iterator[bytes]:
    yield struct.pack(">I", BEGIN_NODE) + _padded(node.name.encode("ascii") + b"\0")
    for name, value in node.properties.items():
        data = _encode_value(value)
        yield struct.pack(">III", PROPERTY, len(data), strings.offset(name)) + _padded(data)
    for child in node.children:
        yield from _encode_node(child, strings)
    yield struct.pack(">I", END_NODE)


def _encode_value(value: Value) -> bytes:
    if value is True:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8") + b"\0"
    if isinstance(value, int):
        return struct.pack(">I", value)
    return b"".join(_encode_value(item) for item in value)


class _Reader:
    """Walks a structure block that may be hostile."""

    def __init__(self, structure: bytes, strings: bytes) -> None:
        self._structure = structure
        self._strings = strings
        self._at = 0

    def tree(self) -> Node:
        if self._token() != BEGIN_NODE:
            raise _bad("its structure does not start with a node")
        root = Node(self._name())
        open_nodes = [root]
        while open_nodes:
            token = self._token()
            if token == BEGIN_NODE:
                if len(open_nodes) == MAX_DEPTH:
                    raise _bad(f"it nests deeper than {MAX_DEPTH} nodes")
                child = Node(self._name())
                open_nodes[-1].children.append(child)
                open_nodes.append(child)
            elif token == END_NODE:
                open_nodes.pop()
            elif token == PROPERTY:
                name, data = self._property()
                open_nodes[-1].properties[name] = data
            else:
                raise _bad(f"its structure holds the unknown token {token}")
        return root

    def _word(self) -> int:
        if self._at + 4 > len(self._structure):
            raise _bad("its structure ends in the middle of a node")
        (word,) = struct.unpack_from(">I", self._structure, self._at)
        self._at += 4
        return int(word)

    def _token(self) -> int:
        token = self._word()
        while token == NOP:
            token = self._word()
        return token

    def _name(self) -> str:
        end = self._structure.find(b"\0", self._at)
        if end < 0:
            raise _bad("a node's name does not end")
        name = self._structure[self._at : end]
        self._at = (end + 4) & ~3
        return _ascii(name)

    def _property(self) -> tuple[str, bytes]:
        length, name_at = self._word(), self._word()
        if length > len(self._structure) - self._at:
            raise _bad("a property reaches beyond the structure")
        data = self._structure[self._at : self._at + length]
        self._at += (length + 3) & ~3
        end = self._strings.find(b"\0", name_at)
        if name_at >= len(self._strings) or end < 0:
            raise _bad("a property's name lies outside the strings")
        return _ascii(self._strings[name_at:end]), data


def _ascii(name: bytes) -> str:
    try:
        return name.decode("ascii")
    except UnicodeDecodeError as error:
        raise _bad(f"the name {name!r} is no ASCII text") from error


def _bad(cause: str) -> BadInputError:
    return BadInputError("device tree blob", cause, "build it again with dtc")


def as_properties(properties: Mapping[str, Value | None]) -> dict[str, Value]:
    """`properties` without those that are None: for nodes whose properties depend on the machine."""
    return {name: value for name, value in properties.items() if value is not None}
