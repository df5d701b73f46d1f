"""Libraries: sets of functions, tables and data that source files alone decide, kept with all that a start needs of them.

An entry of the cache holds an index (how Python calls each function, how long each table is), data, and the object. Its key is the content
of the sources and of the compiler's own files: a warm start reads these, the entry, and imports nothing of what made it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from gasang.native.apart import made_apart
from gasang.native.border import Border, border_from, border_of, callable_at
from gasang.native.build import compile_object, object_key
from gasang.native.cache import ObjectCache, key_of
from gasang.native.loading import built, linked, place, symbols_of

if TYPE_CHECKING:
    from gasang.native.function import NativeFunction

OPTIMISE = 2
_SEPARATOR = b"\n\n"
_ENTRY, _TABLE, _DATA = "entry", "table", "data"


class Parts(NamedTuple):
    """What a library is made of."""

    entries: list[NativeFunction]
    """Functions for Python to call, each of another name."""
    tables: dict[str, list[NativeFunction]]
    data: dict[str, bytes]
    """Whatever else was made of the sources."""


class Library:
    """A library in this process: `functions` by name, `tables` of code addresses, `data`."""

    def __init__(self, raw: bytes) -> None:
        borders, counts, lengths, rest = _index(raw)
        self.data: dict[str, bytes] = {}
        for name, length in lengths.items():
            self.data[name], rest = rest[:length], rest[length:]
        code = built(place(rest, symbols_of(len(borders), counts)), counts)
        self.tables = code.tables
        self.functions: dict[str, Callable[..., Any]] = {
            border.name: callable_at(border, address) for border, address in zip(borders, code.entries, strict=True)
        }


def load_library(name: str, folders: Iterable[str], make: Callable[[], Parts], cache: ObjectCache | None = None) -> Library:
    """The library made of the Python files in `folders`.

    `make` is called only where the cache has no sound entry for what they say now: in another process if it can be imported there by name.
    """
    cache = cache or ObjectCache()
    key = object_key(key_of(name, *sources(folders), *own_sources()), OPTIMISE)
    found = cache.load(key)
    if found is not None:
        try:
            return Library(found)
        except ValueError:
            pass  # an entry that does not fit together is as good as none
    raw = made_apart(compile_library, make) or compile_library(make())
    cache.store(key, raw)
    return Library(raw)


def sources(folders: Iterable[str]) -> list[bytes]:
    """Names and contents of the Python files that lie in each folder."""
    found: list[bytes] = []
    for folder in folders:
        found.append(b"")  # so that a file cannot move to the next folder unnoticed
        for name in sorted(os.listdir(folder)):
            if name.endswith(".py"):
                with open(os.path.join(folder, name), "rb", buffering=0) as file:
                    found += [name.encode(), file.read()]
    return found


def own_sources() -> list[bytes]:
    """Names and contents of the compiler's own files: a change of the compiler is a change of everything compiled."""
    return sources([os.path.dirname(__file__)])


def compile_library(parts: Parts, _: bytes = b"") -> bytes:
    """A library's entry for the cache."""
    from gasang.native.llvm import ModuleEmitter

    lines = [f"{_ENTRY} {border_of(function).line()}" for function in parts.entries]
    lines += [f"{_TABLE} {name} {len(rows)}" for name, rows in parts.tables.items()]
    lines += [f"{_DATA} {name} {len(data)}" for name, data in parts.data.items()]
    compiled = compile_object(ModuleEmitter(parts.entries, parts.tables).emit(), OPTIMISE)
    code = linked(compiled, symbols_of(len(parts.entries), {name: len(rows) for name, rows in parts.tables.items()}))
    return b"".join(["\n".join(lines).encode(), _SEPARATOR, *parts.data.values(), code])


def _index(raw: bytes) -> tuple[list[Border], dict[str, int], dict[str, int], bytes]:
    """An entry's index and what follows it. Raises ValueError if it has none."""
    text, separator, rest = raw.partition(_SEPARATOR)
    if not separator:
        raise ValueError("no index")
    borders: list[Border] = []
    sizes: dict[str, dict[str, int]] = {_TABLE: {}, _DATA: {}}
    for line in text.decode().split("\n"):
        what, _, more = line.partition(" ")
        if what == _ENTRY:
            borders.append(border_from(more))
        elif what in sizes:
            name, _, size = more.rpartition(" ")
            sizes[what][name] = int(size)
        else:
            raise ValueError(f"no such line: {what}")
    return borders, sizes[_TABLE], sizes[_DATA], rest
