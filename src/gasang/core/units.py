"""Sizes and durations as people write them, to numbers and back.

A size is a count of bytes: ``512M``, ``1.5GiB``, ``4096``. Letters alone and the ``iB`` forms are powers of 1024, as in every
tool that takes a memory size; ``kB``, ``MB``, ``GB`` … are powers of 1000, as the International System of Units has them.
A duration is a number of seconds: ``90``, ``1m30s``, ``250ms``, ``2h``.
"""

from __future__ import annotations

from typing import Final

from gasang.core.errors import UsageError

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

_LETTERS: Final = "KMGTPE"
_SIZE_UNITS: Final[dict[str, int]] = {
    "": 1,
    "b": 1,
    **{letter.lower(): 1024 ** (power + 1) for power, letter in enumerate(_LETTERS)},
    **{f"{letter.lower()}ib": 1024 ** (power + 1) for power, letter in enumerate(_LETTERS)},
    **{f"{letter.lower()}b": 1000 ** (power + 1) for power, letter in enumerate(_LETTERS)},
}
_LARGEST_SIZE: Final = 1 << 63
_DURATION_UNITS: Final[dict[str, int]] = {"ms": 1, "s": 1000, "": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
"""In milliseconds."""
_LARGEST_DURATION: Final = 10 * 365 * 86_400_000
_MOST_DIGITS: Final = 400
"""Of a number; far more than anybody has a use for."""


def _split_number(text: str) -> tuple[str, str]:
    """The leading ASCII digits and points of `text`, and the rest."""
    end = 0
    while end < len(text) and text[end] in "0123456789.":
        end += 1
    return text[:end], text[end:]


def _number(digits: str) -> tuple[int, int] | None:
    """A number without a loss: what it is of, and how many of these make one. None if it is none, or too long."""
    whole, _, fraction = digits.partition(".")
    if "." in fraction or not (whole or fraction) or len(digits) > _MOST_DIGITS:
        return None
    return int(whole + fraction), 10 ** len(fraction)


def parse_size(text: str, subject: str = "size") -> int:
    """The number of bytes that `text` says.

    Raise UsageError, about `subject`, unless it is a number with a known unit that makes a whole number of bytes below 2**63.
    """
    digits, unit = _split_number(text.strip())
    number = _number(digits)
    scale = _SIZE_UNITS.get(unit.strip().lower())
    if number is None or scale is None:
        raise UsageError(subject, f"{text!r} is no size", "write a number and a unit, as in 512M or 1.5G")
    total, rest = divmod(number[0] * scale, number[1])
    if rest or total >= _LARGEST_SIZE:
        raise UsageError(subject, f"{text!r} is no whole number of bytes below 8 EiB", "write a size as in 512M or 1.5G")
    return total


def format_size(count: int) -> str:
    """`count` bytes in the largest binary unit that leaves at least 1, with one decimal where it matters: ``1.5 GiB``."""
    if abs(count) < KIB:
        return f"{count} B"
    value = float(count)
    unit = ""
    for letter in _LETTERS:
        value /= 1024
        unit = f"{letter}iB"
        if round(abs(value), 1) < 1024:
            break
    shown = f"{value:.1f}".removesuffix(".0")
    return f"{shown} {unit}"


def counted(number: int, what: str) -> str:
    """So many of something: "1 disk", "2 disks"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def parse_duration(text: str, subject: str = "duration") -> float:
    """The seconds that `text` says: parts such as ``1h 30m 5s 250ms``, or a bare number of seconds.

    Raise UsageError, about `subject`, for anything else and for more than ten years.
    """
    rest = text.strip()
    total, parts = 0, 1  # milliseconds, and how many parts one of them has
    refusal = UsageError(subject, f"{text!r} is no duration", "write a number and a unit, as in 90s, 1m30s or 250ms")
    if not rest:
        raise refusal
    while rest:
        digits, rest = _split_number(rest)
        number = _number(digits)
        letters = len(rest) - len(rest.lstrip("abcdefghijklmnopqrstuvwxyz"))
        unit, rest = rest[:letters], rest[letters:].lstrip()
        if number is None or unit not in _DURATION_UNITS or (unit == "" and rest):
            raise refusal
        finer = max(parts, number[1])
        total = total * (finer // parts) + number[0] * (finer // number[1]) * _DURATION_UNITS[unit]
        parts = finer
    if total > _LARGEST_DURATION * parts:
        raise UsageError(subject, f"{text!r} is longer than ten years", "write a shorter duration")
    return total / (1000 * parts)


def format_duration(seconds: float) -> str:
    """`seconds` with the two units that matter: ``0.4 s``, ``45 s``, ``1 min 30 s``, ``2 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(whole / 60)
    return f"{minutes // 60} h {minutes % 60} min"
