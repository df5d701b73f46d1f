"""A decoder's tables in memory, from the bytes that `DecoderTables` made of an instruction set once."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

TABLES = ("nodes", "children", "recipes", "parts")
"""The fields of the struct DecodeTables, in its order."""


class PlacedTables:
    """The tables; `pointer` is laid out like DecodeTables, goes to `decode_into` and lives as long as this object."""

    def __init__(self, content: Mapping[str, bytes]) -> None:
        self.content = {name: content[name] for name in TABLES}
        self._memory = [ctypes.create_string_buffer(each, len(each)) for each in self.content.values()]
        self.pointer = (ctypes.c_uint64 * len(TABLES))(*map(ctypes.addressof, self._memory))
