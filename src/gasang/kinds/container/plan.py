"""Building a plan: operations in order, their texts and blobs placed in one buffer, and for each a phrase that says what it is.

    plan = Plan()
    child = plan.lists[IN_CHILD]
    root = plan.slot()
    child.call("openat", AT_FDCWD, plan.text("/srv/root"), O_PATH, 0, into=root, what="open the root file system /srv/root")
    ...
    built = plan.build(flags=CLONE_NEWNS)

Argument words are numbers, or what `text`, `blob`, `pointers` and `slot` give. The phrases stay in Python: a failed operation is known by
its list and index, and `Built.explain` makes the sentence.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import Final, NamedTuple

from gasang.host.syscalls import number
from gasang.kinds.container import layout
from gasang.kinds.container.target import SCRATCH_SIZE
from gasang.native import ctype_of


class Offset(int):
    """A place in the buffer."""


class Slot(int):
    """A cell that keeps a result."""


Word = int | Offset | Slot

ANY: Final = -1
_MASK: Final = (1 << 64) - 1
_OPERATION: Final = Struct("<IIIi2iII6Q")
_DESCRIPTOR: Final = Struct("<iiii")
_RELOCATION: Final = Struct("<II")
_ALIGN: Final = 8
_HEADER: Final = ctype_of(layout.Header)
_HEADER_SIZE: Final = layout.Header.size


class Operation(NamedTuple):
    """One operation before it is packed."""

    code: int
    number: int
    arguments: tuple[Word, ...]
    result: int
    ignore: tuple[int, ...]
    skip_done: int
    skip_ignored: int
    what: str


class Descriptor(NamedTuple):
    """A descriptor for the child: here, there, and whether the program keeps it."""

    source: int
    target: int
    keep: bool


@dataclass
class Operations:
    """One list of a plan."""

    items: list[Operation] = field(default_factory=list)

    def call(
        self,
        name: str,
        *arguments: Word,
        what: str,
        into: Slot | None = None,
        ignore: Sequence[int] = (),
        skip_done: int = 0,
        skip_ignored: int = 0,
    ) -> None:
        """Add a system call. `ignore` are at most two error numbers (or ANY) that do not end the plan; `skip_…` pass over operations."""
        result = -1 if into is None else int(into)
        self.items.append(
            Operation(layout.SYSCALL, number(name), arguments, result, tuple(ignore), skip_done, skip_ignored, what)
        )

    def do(
        self,
        code: int,
        *arguments: Word,
        what: str,
        into: Slot | None = None,
        ignore: Sequence[int] = (),
        skip_done: int = 0,
        skip_ignored: int = 0,
    ) -> None:
        """Add a composite operation, by its code of layout.py."""
        result = -1 if into is None else int(into)
        self.items.append(Operation(code, 0, arguments, result, tuple(ignore), skip_done, skip_ignored, what))


@dataclass(frozen=True)
class Built:
    """A plan as bytes, and the phrases of its operations, by list and index."""

    data: bytes
    phrases: tuple[tuple[str, ...], ...]

    def phrase(self, which: int, index: int) -> str:
        """What the operation was to do."""
        if which < len(self.phrases) and index < len(self.phrases[which]):
            return self.phrases[which][index]
        return "create the process" if index == 0 else "start the launcher"


class Plan:
    """A plan in the making."""

    def __init__(self) -> None:
        self.before = Operations()
        self.child = Operations()
        self.parent = Operations()
        self._data = bytearray()
        self._texts: dict[bytes, int] = {}
        self._relocations: list[tuple[int, int]] = []
        self._offsets: list[int] = []
        self._slots = 3
        self.descriptors: list[Descriptor] = []
        self.launcher = -1
        self.plan = -1
        self.status = -1
        self.cgroup = -1
        self.pid_slot = Slot(layout.PID_SLOT)
        self.pidfd_slot = Slot(layout.PIDFD_SLOT)
        self.control_slot = Slot(layout.CONTROL_SLOT)

    def slot(self) -> Slot:
        """A new cell, 0 at first."""
        self._slots += 1
        return Slot(self._slots - 1)

    def bytes_of(self, data: bytes) -> tuple[Offset, int]:
        """Bytes in the buffer, and their number: two words of an operation."""
        return self.blob(data), len(data)

    def blob(self, data: bytes) -> Offset:
        """Bytes in the buffer, aligned to eight."""
        self._data += bytes(-len(self._data) % _ALIGN)
        offset = len(self._data)
        self._data += data
        return Offset(offset)

    def text(self, value: str | bytes) -> Offset:
        """A text with its NUL; equal texts share a place. Raises ValueError for a text with a NUL in it."""
        data = value if isinstance(value, bytes) else os.fsencode(value)
        known = self._texts.get(data)
        if known is None:
            if b"\0" in data:
                raise ValueError("a text with a NUL character")
            known = len(self._data)
            self._data += data + b"\0"
            self._texts[data] = known
        return Offset(known)

    def pointers(self, texts: Sequence[str | bytes]) -> Offset:
        """An array of addresses of texts, ended by 0, as argv and envp are."""
        places = [self.text(text) for text in texts]
        offset = self.blob(bytes(8 * (len(places) + 1)))
        self._relocations += [(offset + 8 * index, place) for index, place in enumerate(places)]
        return offset

    def candidates(self, texts: Sequence[str | bytes]) -> Offset:
        """What FIND takes: offsets of paths, ended by 0."""
        places = [self.text(text) for text in texts]
        offset = self.blob(b"".join(place.to_bytes(8, "little") for place in places) + bytes(8))
        self._offsets += [offset + 8 * index for index in range(len(places))]
        return offset

    def address(self, place: Offset, target: Offset) -> None:
        """Have the word at `place` be the address of `target` when the plan runs."""
        self._relocations.append((place, target))

    def hand(self, source: int, target: int, *, keep: bool = False) -> int:
        """Give the child a descriptor of ours under a number; the number."""
        self.descriptors.append(Descriptor(source, target, keep))
        return target

    def build(self, flags: int) -> Built:
        """The buffer. `flags` are the namespaces to make."""
        lists = [self.before.items, self.child.items, self.parent.items]
        header_size = _HEADER_SIZE
        at = header_size
        descriptors_at, at = at, at + _DESCRIPTOR.size * len(self.descriptors)
        relocations_at, at = at, at + _RELOCATION.size * len(self._relocations)
        list_at = []
        for items in lists:
            list_at.append(at)
            at += _OPERATION.size * len(items)
        slots_at, at = at, at + 8 * self._slots
        scratch_at, at = at, at + SCRATCH_SIZE + 4096
        data_at = at
        for place in self._offsets:
            moved = int.from_bytes(self._data[place : place + 8], "little") + data_at
            self._data[place : place + 8] = moved.to_bytes(8, "little")
        size = data_at + len(self._data) + (-len(self._data) % 8)
        out = bytearray(size)
        header = _HEADER.from_buffer(out)
        header.magic, header.version, header.size, header.flags = layout.MAGIC, layout.VERSION, size, flags
        header.cgroup, header.launcher, header.plan, header.status = self.cgroup, self.launcher, self.plan, self.status
        for index, items in enumerate(lists):
            header.lists[index].offset, header.lists[index].count = list_at[index], len(items)
        header.descriptors.offset, header.descriptors.count = descriptors_at, len(self.descriptors)
        header.relocations.offset, header.relocations.count = relocations_at, len(self._relocations)
        header.slots.offset, header.slots.count = slots_at, self._slots
        header.scratch.offset, header.scratch.count = scratch_at, SCRATCH_SIZE + 4096
        header.first_free = 1 + max([2, *(descriptor.target for descriptor in self.descriptors)])
        header.joined = int(bool(self.before.items))
        del header
        for index, descriptor in enumerate(self.descriptors):
            _DESCRIPTOR.pack_into(out, descriptors_at + index * _DESCRIPTOR.size, descriptor.source, descriptor.target, -1, descriptor.keep)
        for index, (place, target) in enumerate(self._relocations):
            _RELOCATION.pack_into(out, relocations_at + index * _RELOCATION.size, place + data_at, target + data_at)
        for start, items in zip(list_at, lists, strict=True):
            _pack(out, start, items, data_at)
        out[data_at : data_at + len(self._data)] = self._data
        return Built(bytes(out), tuple(tuple(item.what for item in items) for items in lists))


def _pack(out: bytearray, start: int, items: list[Operation], data_at: int) -> None:
    """Write the records of a list."""
    at = start
    for item in items:
        kinds = 0
        words = [0] * 6
        shift = 0
        for index, word in enumerate(item.arguments):
            kind = type(word)
            if kind is Offset:
                kinds |= layout.OFFSET << shift
                words[index] = word + data_at
            elif kind is Slot:
                kinds |= layout.SLOT << shift
                words[index] = int(word)
            else:
                words[index] = word & _MASK
            shift += 4
        ignore = (*item.ignore, 0, 0)
        _OPERATION.pack_into(
            out, at, item.code, item.number, kinds, item.result, ignore[0], ignore[1], item.skip_done, item.skip_ignored, *words
        )
        at += _OPERATION.size
