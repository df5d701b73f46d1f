"""Amounts that options take besides plain numbers and sizes: limits, rates, times. Raises UsageError for what is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gasang.cli.containers.values import size, whole_number
from gasang.core.errors import UsageError

UNLIMITED: Final = -1
_NANOSECONDS: Final = 1_000_000_000


def integer(text: str, subject: str) -> int:
    """A number that may be negative."""
    return -whole_number(text[1:], subject) if text.startswith("-") else whole_number(text, subject)


def percent(text: str, subject: str) -> int:
    """A number from 0 to 100."""
    number = whole_number(text, subject)
    if number > 100:
        raise UsageError(subject, f"{text} is more than 100", "write a number from 0 to 100")
    return number


def size_or_unlimited(text: str, subject: str) -> int:
    """Bytes, or -1 for no limit."""
    return UNLIMITED if text == "-1" else size(text, subject)


def number_or_unlimited(text: str, subject: str) -> int:
    """A number, or -1 for no limit."""
    return UNLIMITED if text == "-1" else whole_number(text, subject)


def nanoseconds(text: str, subject: str) -> int:
    """A time such as 30s or 1m30s."""
    from gasang.core.units import parse_duration

    return round(parse_duration(text, subject) * _NANOSECONDS)


def resource_limit(text: str, subject: str) -> dict[str, Any]:
    """``NAME=SOFT[:HARD]``, -1 for no limit; HARD is SOFT where it is not given."""
    name, equals, limits = text.partition("=")
    if not (name and equals):
        raise UsageError(f"{subject} {text!r}", "it is not NAME=SOFT[:HARD]", f"write it as in {subject} nofile=1024:4096")
    soft, colon, hard = limits.partition(":")
    named = f"{subject} {name}"
    low = number_or_unlimited(soft, named)
    high = number_or_unlimited(hard, named) if colon else low
    if high != UNLIMITED and (low == UNLIMITED or low > high):
        raise UsageError(f"{subject} {text!r}", "the soft limit is above the hard one", "write the smaller one first")
    return {"Name": name, "Soft": low, "Hard": high}


def rate(amount: Callable[[str, str], int]) -> Callable[[str, str], dict[str, Any]]:
    """``DEVICE:AMOUNT`` of a second."""

    def convert(text: str, subject: str) -> dict[str, Any]:
        path, _, much = text.rpartition(":")
        if not path.startswith("/"):
            raise UsageError(f"{subject} {text!r}", "it is not DEVICE:AMOUNT", f"write it as in {subject} /dev/sda:10M")
        return {"Path": path, "Rate": amount(much, f"{subject} {path}")}

    return convert
