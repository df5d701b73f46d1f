"""The border to Python: what a line of text keeps of a function's signature."""

from __future__ import annotations

import pytest

from gasang.native import boolean, f64, function_type, native, ptr, u8, u64, u128
from gasang.native.border import Border, border_from, border_of, callable_at
from gasang.native.build import build
from gasang.native.errors import NativeError

Handler = function_type([u64], None)


@native(may_fault=True)
def everything(p: ptr[u8], q: ptr[u128], handler: Handler, x: u64, y: f64, z: boolean) -> boolean:
    return z and x > 3


@native
def nothing() -> None:
    pass


@native
def wide(x: u128) -> u64:
    return u64(x)


def test_what_a_border_says() -> None:
    assert border_of(everything) == Border("everything", ("address", "address", "function", "u64", "f64", "boolean"), "boolean", True)
    assert border_of(nothing) == Border("nothing", (), "nothing", False)


@pytest.mark.parametrize("function", [everything, nothing])
def test_a_line_keeps_all_of_it(function: object) -> None:
    border = border_of(function)  # type: ignore[arg-type]
    assert border_from(border.line()) == border


@pytest.mark.parametrize("line", ["", "f", "f u64", "f u65 returns", "f u64 returns u128", "f u64 returns  u64", "f u64 sometimes u64"])
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        border_from(line)


def test_what_cannot_cross() -> None:
    with pytest.raises(NativeError, match="u128 cannot cross the border to Python"):
        border_of(wide)


def test_a_callable_needs_the_line_alone() -> None:
    [entry] = build([everything]).entries
    call = callable_at(border_from(border_of(everything).line()), entry)
    assert call(0, 0, 0, 4, 0.5, True) is True
    assert call(0, 0, 0, 3, 0.5, True) is False
