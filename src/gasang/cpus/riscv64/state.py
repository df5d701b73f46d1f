"""The state of one hart as native code sees it."""

from __future__ import annotations

from gasang.native import array, length, struct, u64


@struct
class Cpu:
    """Registers of one hart; `x[32]` takes the writes to x0."""

    x: array[u64] = length(33)
    f: array[u64] = length(32)
    pc: u64
