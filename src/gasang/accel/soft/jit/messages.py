"""What machine and compile service say to each other: a length, a line of JSON, raw bytes.

The guest decides the pages in a request, and whoever has taken a machine's process over may send anything: numbers are checked where they
are read, and nothing here is executed but what the service itself made.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

from gasang.cpus.riscv64.state import PAGE_SIZE, STRETCHES

PLACES = PAGE_SIZE // 2
MOST_PAGES = 64
MOST_BYTES = 1 << 24
FARTHEST = 1 << 9
"""Pages between the one asked about and another: no direct jump reaches further."""
_LENGTHS = struct.Struct("<II")


class Page(NamedTuple):
    """A page of guest code, which places of it were executed (a byte for each two), its stamp, and how hot each stretch of it is."""

    content: bytes
    executed: bytes
    stamp: int
    heats: tuple[int, ...] = ()
    """Samples of each of its STRETCHES; none if nobody knows."""


class Request(NamedTuple):
    """Compile what is around the place `hot` of page 0; `pages` by their distance from that."""

    number: int
    hot: int
    multi: bool
    jumps: tuple[tuple[int, int], ...]
    """Places of indirect jumps, and where they were seen to lead."""
    pages: Mapping[int, Page]
    most: int = 0
    """Instructions that the region may have to be worth compiling, if only the hot place's stretch were hot; 0 for any number."""
    full: bool = False
    """Whether the code is worth all effort, later too: it is hot though a brief region has it."""


class Answer(NamedTuple):
    """What came of a request: `image` is empty where there was nothing to compile."""

    number: int
    entries: tuple[int, ...]
    stamps: Mapping[int, int]
    places: tuple[int, ...]
    """Of each guest instruction in it."""
    seconds: float
    """Of processor time."""
    image: bytes
    steps: int = 0
    """Instructions of a region that was not compiled, since it has too many: the hot place's share of them, as `Request.most` counts."""
    brief: bool = False
    """Whether LLVM was to have little to do with it: what is found hot is compiled anew."""


def pack_request(request: Request) -> bytes:
    """A request as bytes."""
    head = {
        "number": request.number, "hot": request.hot, "multi": request.multi, "jumps": request.jumps, "most": request.most,
        "full": request.full,
        "pages": [[delta, page.stamp, *page.heats] for delta, page in request.pages.items()],
    }  # fmt: skip
    return _framed(head, b"".join(page.content + page.executed for page in request.pages.values()))


def read_request(stream: BinaryIO) -> Request | None:
    """The next request; None at the end. Raises ValueError for what is none."""
    frame = _read(stream)
    if frame is None:
        return None
    head, raw = frame
    listed = head["pages"]
    if len(listed) > MOST_PAGES or len(raw) != len(listed) * (PAGE_SIZE + PLACES):
        raise ValueError(f"{len(listed)} pages in {len(raw)} bytes")
    pages: dict[int, Page] = {}
    for index, (delta, stamp, *given) in enumerate(listed):
        start = index * (PAGE_SIZE + PLACES)
        content = raw[start : start + PAGE_SIZE]
        heats = tuple(_number(heat, 0, _MOST_HEAT) for heat in given[:STRETCHES])
        executed = raw[start + PAGE_SIZE : start + PAGE_SIZE + PLACES]
        pages[_number(delta, -FARTHEST, FARTHEST)] = Page(content, executed, _stamp(stamp), heats)
    jumps = tuple((_place(place), _place(target)) for place, target in head["jumps"][:PLACES])
    most = _number(head["most"], 0, _MOST_STEPS)
    hot, multi, full = _number(head["hot"], 0, PAGE_SIZE - 1), bool(head["multi"]), bool(head["full"])
    return Request(int(head["number"]), hot, multi, jumps, pages, most, full)


def pack_answer(answer: Answer) -> bytes:
    """An answer as bytes."""
    head = {
        "number": answer.number, "entries": answer.entries, "stamps": list(answer.stamps.items()), "places": answer.places,
        "seconds": answer.seconds, "steps": answer.steps,
    }  # fmt: skip
    return _framed(head, answer.image)


def read_answer(stream: BinaryIO) -> Answer | None:
    """The next answer; None at the end. Raises ValueError for what is none."""
    frame = _read(stream)
    if frame is None:
        return None
    head, raw = frame
    entries: Sequence[int] = head["entries"]
    stamps = {int(delta): int(stamp) for delta, stamp in head["stamps"]}
    places, steps = tuple(map(int, head["places"])), _number(head["steps"], 0, _MOST_STEPS)
    return Answer(int(head["number"]), tuple(map(int, entries)), stamps, places, float(head["seconds"]), raw, steps)


_MOST_STEPS = 1 << 32
_MOST_HEAT = 1 << 63
_REACH = (FARTHEST + 1) * PAGE_SIZE


def _number(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value!r} is not between {least} and {most}")
    return value


def _place(value: Any) -> int:
    return _number(value, -_REACH, _REACH)


def _stamp(value: Any) -> int:
    return _number(value, 1, (1 << 64) - 1)


def _framed(head: dict[str, Any], raw: bytes) -> bytes:
    line = json.dumps(head).encode()
    return _LENGTHS.pack(len(line), len(raw)) + line + raw


def _read(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    first, second = _LENGTHS.unpack(lengths)
    if first + second > MOST_BYTES:
        raise ValueError(f"a message of {first + second} bytes")
    line, raw = stream.read(first), stream.read(second)
    if len(line) + len(raw) < first + second:
        return None
    head = json.loads(line)
    if not isinstance(head, dict):
        raise ValueError("a message without a head")
    return head, raw
