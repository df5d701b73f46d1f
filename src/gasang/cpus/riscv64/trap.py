"""Exceptions: what an instruction's function leaves for the run loop before it ends with `raise Fault`."""

from __future__ import annotations

from gasang.cpus.riscv64.state import Cpu
from gasang.native import native, ptr, u64

ILLEGAL_INSTRUCTION = 2


@native
def raise_exception(cpu: ptr[Cpu], cause: u64, tval: u64) -> None:
    """Say why the instruction cannot be executed, in the terms of scause and stval; `raise Fault` must follow."""
    cpu.cause = cause
    cpu.tval = tval
