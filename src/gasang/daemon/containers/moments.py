"""Times as filters name them: a moment, or a duration before now ("24h", "1h30m")."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Final

from gasang.core.errors import UsageError

_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|us|µs|ns|m|s))+")


def duration(text: str) -> float:
    """Seconds of a Go duration. Raises UsageError."""
    if not _DURATION.fullmatch(text) or len(text) > 40:
        raise UsageError(f"duration {text[:40]!r}", "it is no duration", "for example 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)", text))


def moment(text: str) -> int:
    """A time in nanoseconds: clients write seconds since 1970, RFC 3339, or a duration before now. Raises UsageError."""
    if not text or text == "0":
        return 0
    whole, _, fraction = text.partition(".")
    if whole.lstrip("-").isdecimal() and (not fraction or fraction.isdecimal()) and len(whole) < 14:
        return int(whole) * 1_000_000_000 + int((fraction + "0" * 9)[:9] or 0)
    if _DURATION.fullmatch(text):
        return time.time_ns() - int(duration(text) * 1e9)
    try:
        parsed = datetime.fromisoformat(text if "-" in text else "")
    except ValueError:
        raise UsageError(
            f"time {text[:40]!r}", "it is neither seconds, RFC 3339 nor a duration", "for example 2026-01-31T10:00:00Z"
        ) from None
    return int(parsed.timestamp() * 1_000_000) * 1000


def before(stamp: str, text: str) -> bool:
    """Whether an RFC 3339 stamp of ours lies before the time that `text` names. Raises UsageError."""
    return int(datetime.fromisoformat(f"{stamp[:19]}+00:00").timestamp()) * 1_000_000_000 < moment(text)
