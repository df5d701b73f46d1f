"""Our own 128-bit operations, called as LLVM calls them: divisions and conversions at every rounding mode."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.native import builtins
from gasang.native import native_from_source as from_source
from gasang.native.types import f32, f64, i128, u128
from support.native_twins import NAMESPACE, Memory, Row, Rows, compiled, operands

DIVISIONS = "def f(p: ptr[u128], s: ptr[i128]) -> None:\n" + "\n".join(
    [
        "    p[2] = udivti3(p[0], p[1])",
        "    p[3] = umodti3(p[0], p[1])",
        "    s[2] = divti3(s[0], s[1])",
        "    s[3] = modti3(s[0], s[1])",
    ]
)
WIDE = st.integers(0, 2**128 - 1).flatmap(lambda bits: st.integers(0, 127).map(lambda shift: bits >> shift))


@cache
def divisions() -> tuple[Callable[..., None], Callable[..., None]]:
    function = from_source(DIVISIONS, {**NAMESPACE, **vars(builtins)})
    return compiled([function])[0], function.python


@settings(max_examples=150, deadline=None)
@given(WIDE, WIDE.filter(bool))
def test_divisions(a: int, b: int) -> None:
    for run in divisions():
        unsigned, signed = Memory(64), Memory(64)
        for memory in (unsigned, signed):
            memory.write(a.to_bytes(16, "little") + b.to_bytes(16, "little"))
        run(unsigned.address, signed.address)
        assert (unsigned.get(2, u128), unsigned.get(3, u128)) == divmod(a, b)
        x, y = i128.wrap(a), i128.wrap(b)
        quotient = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
        assert i128.wrap(signed.get(2, u128)) == i128.wrap(quotient)
        assert i128.wrap(signed.get(3, u128)) == x - quotient * y


@cache
def conversions() -> Rows:
    return Rows([Row(f"{to}(a[0])", source, to) for source in (u128, i128) for to in (f32, f64)], flags=True)


@settings(max_examples=300, deadline=None)
@given(operands(1), st.integers(0, 3))
def test_conversions_round_once(choose: Callable[[object], tuple[int, ...]], rounding: int) -> None:
    for index, row in enumerate(conversions().rows):
        conversions().check(index, choose(row.kind), rounding)


def test_the_greatest_do_not_fit_binary32() -> None:
    index = conversions().rows.index(Row("f32(a[0])", u128, f32))
    for rounding, expected in enumerate([float("inf"), 3.4028234663852886e38, 3.4028234663852886e38, float("inf")]):
        assert conversions().check(index, (2**128 - 1,), rounding) == expected
