"""What a twin has had to decode is told to its parent, which decodes it, too: the twins that follow share it with their parent.

A twin's first seconds are full of code that its parent has never executed: it hears who it is, its card gets another address. And its
parent may have been idle, and have forgotten the rest. The first twins pay for that with time and with memory of their own; the next do
not. It is advice (accel/soft/decoded.py): a page of memory may be another in the parent, and is then decoded for nothing.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Final, NamedTuple

from gasang.accel.soft.decoded import ENTRY_SIZE, Marks, packed, unpacked
from gasang.core.errors import GasangError, OutOfSpaceError
from gasang.kinds.vm.base import AnyMachine
from gasang.kinds.vm.process.control import begin

TEACHERS: Final = 2
"""How many of a machine's twins tell it."""
MOMENTS: Final = (0.1, 0.3, 1.0, 3.0)
"""Seconds after its start at which a twin tells what is new."""
_AT_ONCE: Final = 48
"""Pages decoded while the machine stands still, some 50 µs each."""
_BETWEEN: Final = 0.02
"""Seconds that it runs until the next."""


class Lesson(NamedTuple):
    """The two ends of a link, made before the fork."""

    told: socket.socket
    heard: socket.socket


def teach(vm: AnyMachine, lesson: Lesson) -> None:
    """In a twin that is about to go on: tell what it decodes in its first seconds, and close the link. Does not wait."""
    lesson.heard.close()
    inherited: dict[int, Marks] = {}
    vm.note_code(inherited)

    def tell() -> None:
        told = inherited
        before = 0.0
        with lesson.told as link, suppress(OSError):  # its parent has ended
            for moment in MOMENTS:
                if vm.ended.wait(moment - before):
                    return
                known: dict[int, Marks] = {}
                vm.note_code(known)
                link.sendall(packed(_new(known, told)))
                told, before = known, moment

    vm.beside(threading.Thread(target=tell, name="lesson", daemon=True))


def learn(vm: AnyMachine, lesson: Lesson, *, recalls: bool = True) -> None:
    """In the parent: decode what it has forgotten, if it `recalls`, and then what a twin tells. Does not wait.

    One that was forked before has nothing to recall: it forgets no more (accel/soft/hart.py), and each part is a pause of its guest.
    """
    lesson.told.close()

    def hear() -> None:
        own: dict[int, Marks] = {}
        if recalls:
            vm.note_code(own)
        with lesson.heard as link, suppress(GasangError, OSError, MemoryError):  # the machine has ended; and it can do without
            _decode(vm, own)
            content = b""
            while data := link.recv(1 << 16):
                content += data
                whole = len(content) // ENTRY_SIZE * ENTRY_SIZE
                _decode(vm, unpacked(content[:whole]))
                content = content[whole:]

    try:
        begin(hear)
    except OutOfSpaceError:
        lesson.heard.close()


def _decode(vm: AnyMachine, known: Mapping[int, Marks]) -> None:
    """A little at a time. Raises StateError for a machine that has ended."""
    pages = ((number, page, bits) for number, marks in known.items() for page, bits in marks.items())
    for part in _parts(pages):
        with vm.standing_still():
            vm.decode_again(part)
        vm.ended.wait(_BETWEEN)


def _parts(pages: Iterator[tuple[int, int, int]]) -> Iterator[dict[int, Marks]]:
    while some := list(islice(pages, _AT_ONCE)):
        part: dict[int, Marks] = {}
        for number, page, bits in some:
            part.setdefault(number, {})[page] = bits
        yield part


def _new(known: Mapping[int, Marks], told: Mapping[int, Marks]) -> dict[int, Marks]:
    """What is known and was not told, by processors."""
    found = {}
    for number, marks in known.items():
        before = told.get(number, {})
        found[number] = {page: bits for page, bits in marks.items() if bits & ~before.get(page, 0)}
    return found
