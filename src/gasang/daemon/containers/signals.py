"""Signals as clients name them: "TERM", "SIGTERM", "15", "SIGRTMIN+3"."""

from __future__ import annotations

import re
import signal

from gasang.core.errors import UsageError

HIGHEST = 64


def number_of(text: str) -> int:
    """The number of a signal. Raises UsageError where there is none."""
    word = text.strip().upper()
    if word.isascii() and word.isdecimal() and len(word) < 4 and 0 < int(word) <= HIGHEST:
        return int(word)
    bare = word.removeprefix("SIG")
    found = re.fullmatch(r"RT(MIN|MAX)(?:([+-])(\d{1,2}))?", bare)
    if found:
        base = int(signal.SIGRTMIN if found[1] == "MIN" else signal.SIGRTMAX)
        number = base + (int(found[3]) * (1 if found[2] == "+" else -1) if found[3] else 0)
        if int(signal.SIGRTMIN) <= number <= HIGHEST:
            return number
    try:
        return int(signal.Signals[f"SIG{bare}"])
    except KeyError:
        raise UsageError(f"Invalid signal: {text[:40]}", "there is none of this name or number", "signal(7) lists them") from None
