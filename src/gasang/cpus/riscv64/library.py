"""The compiled processor: handlers, the functions Python calls, the decoder's tables. From the cache where nothing has changed.

Then nothing of what the processor is made of is imported: a start has no time for it.
"""

from __future__ import annotations

import ctypes
import os
import threading
from functools import cache
from typing import TYPE_CHECKING

from gasang.cpus.placed_tables import PlacedTables
from gasang.cpus.riscv64.state import FUSIONS, Fusion
from gasang.native.library import load_library
from gasang.native.types import size_of

if TYPE_CHECKING:
    from gasang.native.library import Library, Parts

STENCILS = ("stencils", "holes", "code", "rows", "rows_alone")
_lock = threading.Lock()


class Processor:
    """`functions` by name (ENTRIES of parts.py), the tables of addresses of parts.py, and the decoder's tables."""

    def __init__(self) -> None:
        here = os.path.dirname(__file__)
        library = load_library("riscv64", [here, os.path.dirname(here)], _make)
        self.functions = library.functions
        self.dispatch = (ctypes.c_uint64 * len(library.tables["dispatch"]))(*library.tables["dispatch"])
        self.helpers = (ctypes.c_uint64 * len(library.tables["helpers"]))(*library.tables["helpers"])
        self.miss = library.tables["miss"][0]
        self.noting = (ctypes.c_uint64 * len(library.tables["noting"]))(*library.tables["noting"])
        self.decoder = PlacedTables(library.data)
        self.stencils = StencilTables(library)
        self.fusions = (ctypes.c_uint64 * (FUSIONS * size_of(Fusion) // 8))()
        for name, records in (("fused_2", 1), ("fused_4", 2)):
            rows = (ctypes.c_uint64 * len(library.tables[name]))(*library.tables[name])
            self.functions["enter_fusions"](ctypes.addressof(self.fusions), ctypes.addressof(rows), len(rows) // 3, records)


class StencilTables:
    """The stencils in memory, and which handler each is of."""

    def __init__(self, library: Library) -> None:
        content = {name: library.data[name] for name in STENCILS}
        self.exist = bool(content["stencils"])
        """Whether there are any: not for every host's processor."""
        self._memory = {name: ctypes.create_string_buffer(each, len(each)) for name, each in content.items()}
        self.addresses = [ctypes.addressof(self._memory[name]) for name in ("stencils", "holes", "code")]
        """Of the tables of struct Stencil and struct Hole, and of the code."""
        self._enter = library.functions["enter_stencils"]
        self._rows = (ctypes.c_uint64 * len(library.tables["dispatch"]))(*library.tables["dispatch"])
        self._tables: dict[bool, ctypes.Array[ctypes.c_uint64]] = {}

    def table(self, *, alone: bool) -> int:
        """The address of the table of struct StencilOf, for a machine with one hart or with several."""
        if alone not in self._tables:
            from gasang.cpus.riscv64.stitcher import STENCIL_PLACES, StencilOf  # only who stitches has time for it

            made = self._tables[alone] = (ctypes.c_uint64 * (STENCIL_PLACES * size_of(StencilOf) // 8))()
            numbers = self._memory["rows_alone" if alone else "rows"]
            self._enter(ctypes.addressof(made), ctypes.addressof(self._rows), ctypes.addressof(numbers), len(self._rows))
        return ctypes.addressof(self._tables[alone])


def _make() -> Parts:
    from gasang.cpus.riscv64.parts import make_parts

    return make_parts()


@cache
def _load() -> Processor:
    return Processor()


def load() -> Processor:
    """The process's compiled processor; the first call in a process links it, the first ever compiles it."""
    with _lock:
        return _load()
