"""What goes wrong in a running machine and does not end it, told to the person at its console: a line each.

A guest decides how often its devices fail, so each subject (what stands before the first colon) is told of `MOST` times only.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

MOST = 4


class Warnings:
    """Writes warnings with `write`; a terminal in raw mode needs a `newline` of two characters. Safe from any thread."""

    def __init__(self, write: Callable[[bytes], None], newline: str = "\n") -> None:
        self._write = write
        self._newline = newline
        self._lock = threading.Lock()
        self._told: Counter[str] = Counter()

    def __call__(self, sentence: str) -> None:
        """Tell of something: "SUBJECT: CAUSE"."""
        subject = sentence.partition(":")[0]
        with self._lock:
            self._told[subject] += 1
            count = self._told[subject]
        if count > MOST:
            return
        more = "; no more is told of it" if count == MOST else ""
        text = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in sentence)
        self._write(f"gasang: warning: {text}{more}{self._newline}".encode("utf-8", "backslashreplace"))
