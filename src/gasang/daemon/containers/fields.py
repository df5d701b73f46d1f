"""Documents of clients, field by field: what each may hold, what it is where nobody says. One table a document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gasang.core.errors import UsageError

Check = Callable[[Any], bool]
WHOLE_MAX = (1 << 63) - 1


class Field(NamedTuple):
    """What a field may hold, in words and as a check, and its value where it is missing or null."""

    words: str
    check: Check
    default: Any


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -WHOLE_MAX <= value <= WHOLE_MAX


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_text(key) and _is_text(entry) for key, entry in value.items())


def _is_truths(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, bool) for entry in value)


def _is_set(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value)) and all(entry is None or entry == {} for entry in value.values())


def _is_list_of_maps(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def text(default: str | None = "") -> Field:
    """A text without NUL."""
    return Field("a text", _is_text, default)


def whole(default: int | None = 0) -> Field:
    """A whole number of 64 bits."""
    return Field("a whole number", _is_whole, default)


def truth(default: bool | None = False) -> Field:
    """True or false."""
    return Field("true or false", lambda value: isinstance(value, bool), default)


def truths(default: list[bool] | None = None) -> Field:
    """A list of them."""
    return Field("a list of true and false", _is_truths, default)


def texts(default: list[str] | None = None) -> Field:
    """A list of texts."""
    return Field("a list of texts", _is_texts, default)


def text_map(default: dict[str, str] | None = None) -> Field:
    """Texts by name."""
    return Field("an object of texts", _is_text_map, default)


def name_set(default: dict[str, Any] | None = None) -> Field:
    """Names, each with an empty object."""
    return Field("an object of empty objects", _is_set, default)


def maps(default: list[Any] | None = None) -> Field:
    """A list of objects, whose fields are looked at where they are used."""
    return Field("a list of objects", _is_list_of_maps, default)


def mapping(default: dict[str, Any] | None = None) -> Field:
    """An object, whose fields are looked at where they are used."""
    return Field("an object", lambda value: isinstance(value, dict), default)


def text_or_texts() -> Field:
    """A text, or a list of texts: a command as a client may write it."""
    return Field("a text or a list of texts", lambda value: _is_text(value) or _is_texts(value), None)


def read(document: Any, table: Mapping[str, Field], subject: str) -> dict[str, Any]:
    """The fields of `table` out of a client's document, in full; others are left out. Raises UsageError for a wrong type.

    Names are matched as Docker's own decoder matches them: exactly, or else without regard to case.
    """
    if not isinstance(document, dict):
        raise UsageError(subject, "it is not a JSON object", "send an object")
    lower = {name.lower(): value for name, value in document.items() if isinstance(name, str)}
    result: dict[str, Any] = {}
    for name, field in table.items():
        value = document[name] if name in document else lower.get(name.lower())
        if value is None:
            default = field.default
            value = default.copy() if isinstance(default, dict | list) else default
        elif not field.check(value):
            raise UsageError(subject, f"field {name} is not {field.words}", "correct it")
        result[name] = value
    return result
