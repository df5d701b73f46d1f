"""The one checked accessor to a configuration that somebody else has written.

A Node is a value and where it stands (``process.user.uid``). Its methods give plain values of the kind and range asked for, or raise
BadInputError with a sentence that names the place. Members that are missing or null are "not there"; members nobody asks for are
passed over, as the specification says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NoReturn, TypeVar

from gasang.core.errors import BadInputError

T = TypeVar("T")
MOST_BYTES: Final = 16 << 20
MOST_ITEMS: Final = 65536
U32: Final = (1 << 32) - 1
I64: Final = (1 << 63) - 1
U64: Final = (1 << 64) - 1


class Node:
    """A value of the configuration."""

    __slots__ = ("document", "path", "value")

    def __init__(self, value: Any, path: str, document: str) -> None:
        self.value = value
        self.path = path
        self.document = document

    def refuse(self, cause: str, hint: str = "") -> NoReturn:
        """Raise BadInputError about this place."""
        raise BadInputError(self.document, f"{self.path or 'the whole'} {cause}", hint)

    def here(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    def __getitem__(self, name: str) -> Node:
        """A member, which may be missing. Raises BadInputError if this is no object."""
        path = f"{self.path}.{name}" if self.path else name
        if self.value is None:
            return Node(None, path, self.document)
        if not isinstance(self.value, dict):
            self.refuse("must be an object")
        return Node(self.value.get(name), path, self.document)

    def items(self) -> Iterator[Node]:
        """The elements of an array; none where it is missing."""
        if self.value is None:
            return
        if not isinstance(self.value, list) or len(self.value) > MOST_ITEMS:
            self.refuse("must be an array" if not isinstance(self.value, list) else f"has more than {MOST_ITEMS} elements")
        for index, value in enumerate(self.value):
            yield Node(value, f"{self.path}[{index}]", self.document)

    def each(self, read: Callable[[Node], T]) -> tuple[T, ...]:
        """The elements, each through `read`."""
        return tuple(read(item) for item in self.items())

    def text(self, default: str | None = None, *, empty: bool = True) -> str:
        """A text without NUL; raise BadInputError if it is missing and there is no default."""
        value = self.value
        if value is None:
            if default is None:
                self.refuse("is missing")
            return default
        if not isinstance(value, str):
            self.refuse("must be a text")
        if "\0" in value:
            self.refuse("has a NUL character")
        if not empty and not value:
            self.refuse("is empty")
        try:
            value.encode()
        except UnicodeEncodeError:
            self.refuse("is no valid Unicode")
        return value

    def absolute(self) -> str:
        """An absolute path."""
        path = self.text(empty=False)
        if not path.startswith("/"):
            self.refuse(f"must be an absolute path, not {path!r}")
        if len(path.encode()) >= 4096:
            self.refuse("is longer than a path can be")
        return path

    def number(self, low: int, high: int, default: int | None = None) -> int:
        """A whole number from `low` to `high`."""
        value = self.value
        if value is None:
            if default is None:
                self.refuse("is missing")
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse("must be a whole number")
        if not low <= value <= high:
            self.refuse(f"must be from {low} to {high}, not {value}")
        return value

    def optional(self, low: int, high: int) -> int | None:
        """A whole number, or None where it is missing."""
        return None if self.value is None else self.number(low, high)

    def flag(self, default: bool = False) -> bool:
        """True or false."""
        if self.value is None:
            return default
        if not isinstance(self.value, bool):
            self.refuse("must be true or false")
        return self.value

    def texts(self) -> tuple[str, ...]:
        """An array of texts."""
        return self.each(lambda item: item.text())

    def mapping(self) -> Mapping[str, str]:
        """An object whose members are texts."""
        if self.value is None:
            return {}
        if not isinstance(self.value, dict) or len(self.value) > MOST_ITEMS:
            self.refuse("must be an object of texts")
        for name in self.value:
            Node(name, f"{self.path}: the name {name!r}", self.document).text(empty=False)
        return {name: self[name].text() for name in self.value}

    def choice(self, table: Mapping[str, T], default: str | None = None) -> T:
        """What the table has under this text."""
        word = self.text(default)
        if word not in table:
            self.refuse(f"is {word!r}", f"known are {', '.join(table)}")
        return table[word]


def parse(data: bytes | str, document: str) -> Node:
    """The root of a JSON document. Raises BadInputError if it is none, or larger than any configuration."""
    if len(data) > MOST_BYTES:
        raise BadInputError(document, f"it has {len(data)} bytes, which no configuration has", f"the most is {MOST_BYTES}")
    try:
        value = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadInputError(document, f"it is no JSON ({error})", "check that the file is whole") from error
    if not isinstance(value, dict):
        raise BadInputError(document, "it is no JSON object", "check that it is a container's configuration")
    return Node(value, "", document)


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")
