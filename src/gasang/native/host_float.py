"""The thread's floating-point control word, reached through compiled code (plain Python cannot)."""

from __future__ import annotations

from gasang.native.function import native
from gasang.native.names import float_flags, set_float_control
from gasang.native.types import u32


@native
def read_flags() -> u32:
    """The accrued flags."""
    return float_flags()


@native
def write_control(rounding: u32, flags: u32) -> None:
    """Set rounding mode and accrued flags."""
    set_float_control(rounding, flags)
