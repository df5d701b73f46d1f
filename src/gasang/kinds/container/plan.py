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
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple

from gasang.host.syscalls import native_table
from gasang.kinds.container import layout
from gasang.kinds.container.target import SCRATCH_SIZE
from gasang.native import ctype_of


class Offset(int):
    """A place in the buffer."""


class Slot(int):
    """A cell that keeps a result."""


Word = int | Offset | Slot

ANY: Final = -1
_KINDS: Final = {int: layout.LITERAL, Offset: layout.OFFSET, Slot: layout.SLOT}
_ZEROES: Final[tuple[list[int], ...]] = tuple([0] * (6 - count) for count in range(7))
_NUMBERS: Final = native_table()
_MASK: Final = (1 << 64) - 1
_OPERATION: Final = Struct("<IIIi2iII6Q")
_DESCRIPTOR: Final = Struct("<iiii")
_RELOCATION: Final = Struct("<II")
_ALIGN: Final = 8
_HEADER: Final = ctype_of(layout.Header)
_HEADER_SIZE: Final = layout.Header.size


class Descriptor(NamedTuple):
    """A descriptor for the child: here, there, and whether the program keeps it."""

    source: int
    target: int
    keep: bool


class Operations:
    """One list of a plan: packed records, and their phrases."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.phrases: list[str] = []

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
        self._add(layout.SYSCALL, _NUMBERS[name], arguments, into, ignore, skip_done, skip_ignored, what)

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
        self._add(code, 0, arguments, into, ignore, skip_done, skip_ignored, what)

    def _add(
        self,
        code: int,
        number: int,
        arguments: tuple[Word, ...],
        into: Slot | None,
        ignore: Sequence[int],
        skip_done: int,
        skip_ignored: int,
        what: str,
    ) -> None:
        kinds = shift = 0
        for word in arguments:
            kinds |= _KINDS[type(word)] << shift
            shift += 4
        words = [word & _MASK for word in arguments]
        words += _ZEROES[len(words)]
        first, second = (*ignore, 0, 0)[:2] if ignore else (0, 0)
        result = -1 if into is None else into
        self.data += _OPERATION.pack(code, number, kinds, result, first, second, skip_done, skip_ignored, *words)
        self.phrases.append(what)


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
        self._texts: dict[str | bytes, Offset] = {}
        self._relocations: list[tuple[int, int]] = []
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
        known = self._texts.get(value)
        if known is None:
            data = value if isinstance(value, bytes) else os.fsencode(value)
            if b"\0" in data:
                raise ValueError("a text with a NUL character")
            known = Offset(len(self._data))
            self._data += data + b"\0"
            self._texts[value] = known
        return known

    def pointers(self, texts: Sequence[str | bytes], more: Sequence[Offset] = ()) -> Offset:
        """An array of addresses of texts, ended by 0, as argv and envp are; `more` are places of further texts."""
        places = [*(self.text(text) for text in texts), *more]
        offset = self.blob(bytes(8 * (len(places) + 1)))
        self._relocations += [(offset + 8 * index, place) for index, place in enumerate(places)]
        return offset

    def room(self, text: str, size: int) -> Offset:
        """A text in memory of its own, which an operation may replace by one of `size` bytes and a NUL."""
        data = os.fsencode(text)
        return self.blob(data + bytes(size + 1 - len(data)))

    def candidates(self, texts: Sequence[str | bytes]) -> Offset:
        """What FIND takes: the places of paths plus one, ended by 0."""
        places = [self.text(text) for text in texts]
        return self.blob(b"".join((place + 1).to_bytes(8, "little") for place in places) + bytes(8))

    def address(self, place: Offset, target: Offset) -> None:
        """Have the word at `place` be the address of `target` when the plan runs."""
        self._relocations.append((place, target))

    def hand(self, source: int, target: int, *, keep: bool = False) -> int:
        """Give the child a descriptor of ours under a number; the number."""
        self.descriptors.append(Descriptor(source, target, keep))
        return target

    def build(self, flags: int) -> Built:
        """The buffer. `flags` are the namespaces to make."""
        lists = (self.before, self.child, self.parent)
        parts = [
            b"".join(_DESCRIPTOR.pack(item.source, item.target, -1, item.keep) for item in self.descriptors),
            b"".join(_RELOCATION.pack(place, target) for place, target in self._relocations),
            bytes(8 * self._slots),
            bytes(self._data) + bytes(-len(self._data) % _ALIGN),
            *(bytes(operations.data) for operations in lists),
        ]
        places, at = [], _HEADER_SIZE
        for part in parts:
            places.append(at)
            at += len(part)
        size = at + SCRATCH_SIZE
        header = _HEADER()
        header.magic, header.version, header.size, header.flags = layout.MAGIC, layout.VERSION, size, flags
        header.cgroup, header.launcher, header.plan, header.status = self.cgroup, self.launcher, self.plan, self.status
        header.descriptors.offset, header.descriptors.count = places[0], len(self.descriptors)
        header.relocations.offset, header.relocations.count = places[1], len(self._relocations)
        header.slots.offset, header.slots.count = places[2], self._slots
        header.data.offset, header.data.count = places[3], len(parts[3])
        for index, operations in enumerate(lists):
            header.lists[index].offset, header.lists[index].count = places[4 + index], len(operations.phrases)
        header.scratch.offset, header.scratch.count = at, SCRATCH_SIZE
        header.first_free = 1 + max([2, *(descriptor.target for descriptor in self.descriptors)])
        header.joined = int(bool(self.before.phrases))
        data = b"".join([bytes(header), *parts, bytes(SCRATCH_SIZE)])
        return Built(data, tuple(tuple(operations.phrases) for operations in lists))
