"""The compiled processor: handlers and the functions Python calls, linked once a process, from the cache where nothing has changed."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from gasang.cpus.decoder import DecoderTables
from gasang.cpus.riscv64 import clock, code, execute, mmu, outside
from gasang.cpus.riscv64.handlers import make_handlers
from gasang.cpus.riscv64.isa import rv64
from gasang.native import NativeFunction
from gasang.native.build import build_library, own_sources
from gasang.native.function import python_entry
from gasang.native.llvm import ModuleEmitter

ENTRIES: tuple[NativeFunction, ...] = (
    execute.run,
    execute.complete,
    execute.serve_requests,
    mmu.wipe_tlb,
    mmu.enter_context,
    code.forget_all_blocks,
    outside.post,
    outside.retract,
    outside.ask,
    outside.time_of,
    outside.instructions,
    outside.host_wrote,
    outside.pending,
    outside.host_ticks,
    clock.steer_clock,
)  # fmt: skip

_lock = threading.Lock()


class Processor:
    """The functions of ENTRIES as attributes, the dispatch table and the decoder's tables."""

    def __init__(self) -> None:
        rows = 2 + 2 * len(rv64)
        sources = sorted([*Path(__file__).parent.glob("*.py"), *Path(__file__).parent.parent.glob("*.py"), *own_sources()])
        built = build_library("riscv64", sources, self._emitter, (len(ENTRIES), {"dispatch": rows}))
        self.functions: dict[str, Callable[..., Any]] = {
            function.name: python_entry(function, address) for function, address in zip(ENTRIES, built.entries, strict=True)
        }
        self.dispatch = (ctypes.c_uint64 * rows)(*built.tables["dispatch"])
        self.decoder = DecoderTables(rv64)

    @staticmethod
    def _emitter() -> ModuleEmitter:
        return ModuleEmitter(list(ENTRIES), {"dispatch": make_handlers(rv64)})


@cache
def _load() -> Processor:
    return Processor()


def load() -> Processor:
    """The process's compiled processor; the first call in a process links it, the first ever compiles it."""
    with _lock:
        return _load()
