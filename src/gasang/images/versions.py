"""Versions of Debian packages and their order (Debian Policy 5.6.12): [epoch:]upstream[-revision]."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import zip_longest
from operator import eq, ge, gt, le, lt

_PARTS = re.compile(r"([^0-9]*)([0-9]*)")
_END = 0
"""The weight of a part's end: after "~", before everything else."""

RELATIONS: dict[str, Callable[[int, int], bool]] = {"<<": lt, "<=": le, "=": eq, ">=": ge, ">>": gt, "<": le, ">": ge}
"""What a version relation means for the result of `compare` and 0. "<" and ">" are the old spellings of "<=" and ">="."""

Number = tuple[int, str]
"""A number as its count of digits and the digits: that sorts as the number does, and no length of it is too much for `int`."""

Key = tuple[tuple[tuple[int, ...], Number], ...]
_ZERO: Number = (0, "")


def _weight(sign: str) -> int:
    """Tilde sorts before the end, letters before all other characters."""
    if sign == "~":
        return -1
    return ord(sign) if sign.isalpha() else ord(sign) + 256


def _number(digits: str) -> Number:
    plain = digits.lstrip("0")
    return len(plain), plain


@lru_cache(maxsize=4096)
def _key(part: str) -> Key:
    """A part as pairs: the weights of what is no digit, and the number after it."""
    pairs = (match.groups() for match in _PARTS.finditer(part))
    return tuple((tuple(_weight(sign) for sign in text), _number(digits)) for text, digits in pairs if text or digits)


def _compare_parts(one: str, other: str) -> int:
    for (text, number), (other_text, other_number) in zip_longest(_key(one), _key(other), fillvalue=((), _ZERO)):
        for weight, other_weight in zip_longest(text, other_text, fillvalue=_END):
            if weight != other_weight:
                return -1 if weight < other_weight else 1
        if number != other_number:
            return -1 if number < other_number else 1
    return 0


def split(version: str) -> tuple[Number, str, str]:
    """Epoch, upstream version and revision; an epoch that is no number counts as 0."""
    epoch, colon, rest = version.partition(":")
    if not colon or not epoch.isdecimal():
        epoch, rest = "", version
    upstream, dash, revision = rest.rpartition("-")
    return (_number(epoch), upstream, revision) if dash else (_number(epoch), rest, "")


def compare(one: str, other: str) -> int:
    """Below 0, 0 or above 0 as `one` is older than, equal to or newer than `other`."""
    epoch, upstream, revision = split(one)
    other_epoch, other_upstream, other_revision = split(other)
    epochs = (epoch > other_epoch) - (epoch < other_epoch)
    return epochs or _compare_parts(upstream, other_upstream) or _compare_parts(revision, other_revision)


def satisfies(version: str, relation: str, wanted: str) -> bool:
    """Whether `version` stands in `relation` ("<<", "<=", "=", ">=", ">>") to `wanted`."""
    return RELATIONS[relation](compare(version, wanted), 0)
