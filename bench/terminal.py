"""A terminal as far as systemd asks one: where its cursor is (ECMA-48, 8.3.35 DSR and 8.3.14 CPR), after it was sent to a far corner."""

from __future__ import annotations

import re

ROWS, COLUMNS = 24, 80
_SEQUENCE = re.compile(rb"\x1b\[(?:(\d{1,5});(\d{1,5})H|6n)")
_BEGUN = re.compile(rb"\x1b(?:\[[\d;]{0,11})?\Z")


class Terminal:
    """What a guest at `ROWS` by `COLUMNS` is answered. Text moves the cursor on the last line only, as far as anybody asks."""

    def __init__(self) -> None:
        self._at = ROWS, 1
        self._rest = b""

    def answers(self, output: bytes) -> bytes:
        """What the terminal sends upon what it is sent."""
        text = self._rest + output
        said, end = b"", 0
        for found in _SEQUENCE.finditer(text):
            end = found.end()
            if found[1] is None:
                said += b"\x1b[%d;%dR" % self._at
            else:
                self._at = min(max(int(found[1]), 1), ROWS), min(max(int(found[2]), 1), COLUMNS)
        begun = _BEGUN.search(text, end)
        self._rest = begun[0] if begun else b""
        return said
