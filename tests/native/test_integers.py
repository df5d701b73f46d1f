"""Integer arithmetic, both ways, and against the rules written down once more in Python's own numbers."""

from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

from hypothesis import given, settings

from gasang.native.types import boolean
from support.native_twins import INTEGERS, Row, Rows, corner_bits, operands

Rule = Callable[[Any, int, int], Any]


def truncated(kind: Any, a: int, b: int) -> tuple[int, int]:
    if b == 0:
        return -1, a
    quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return quotient, a - quotient * b


def unsigned(kind: Any, value: int) -> int:
    return int(value % (1 << kind.bits))


def signed(kind: Any, value: int) -> int:
    return int((unsigned(kind, value) + (1 << (kind.bits - 1))) % (1 << kind.bits) - (1 << (kind.bits - 1)))


def turned(kind: Any, value: int, count: int) -> int:
    digits = format(unsigned(kind, value), f"0{kind.bits}b")
    return int(digits[count % kind.bits :] + digits[: count % kind.bits], 2)


def zeros(digits: str) -> int:
    return (digits + "1").index("1")


RULES: dict[str, Rule] = {
    "a[0] + b[0]": lambda kind, a, b: a + b,
    "a[0] - b[0]": lambda kind, a, b: a - b,
    "a[0] * b[0]": lambda kind, a, b: a * b,
    "a[0] // b[0]": lambda kind, a, b: a // b if b else -1,
    "a[0] % b[0]": lambda kind, a, b: a % b if b else a,
    "a[0] & b[0]": lambda kind, a, b: a & b,
    "a[0] | b[0]": lambda kind, a, b: a | b,
    "a[0] ^ b[0]": lambda kind, a, b: a ^ b,
    "a[0] << b[0]": lambda kind, a, b: a << b % kind.bits,
    "a[0] >> b[0]": lambda kind, a, b: a >> b % kind.bits,
    "-a[0]": lambda kind, a, b: -a,
    "~a[0]": lambda kind, a, b: ~a,
    "divide(a[0], b[0])": lambda kind, a, b: truncated(kind, a, b)[0],
    "remainder(a[0], b[0])": lambda kind, a, b: truncated(kind, a, b)[1],
    "minimum(a[0], b[0])": lambda kind, a, b: min(a, b),
    "maximum(a[0], b[0])": lambda kind, a, b: max(a, b),
    "high_u(a[0], b[0])": lambda kind, a, b: unsigned(kind, a) * unsigned(kind, b) >> kind.bits,
    "high_s(a[0], b[0])": lambda kind, a, b: signed(kind, a) * signed(kind, b) >> kind.bits,
    "rotl(a[0], b[0])": turned,
    "rotr(a[0], b[0])": lambda kind, a, b: turned(kind, a, -b),
    "popcount(a[0])": lambda kind, a, b: format(unsigned(kind, a), "b").count("1"),
    "clz(a[0])": lambda kind, a, b: zeros(format(unsigned(kind, a), f"0{kind.bits}b")),
    "ctz(a[0])": lambda kind, a, b: zeros(format(unsigned(kind, a), f"0{kind.bits}b")[::-1]),
    "bswap(a[0])": lambda kind, a, b: int.from_bytes(unsigned(kind, a).to_bytes(kind.size, "big"), "little"),
}
COMPARISONS: dict[str, Rule] = {
    "a[0] == b[0]": lambda kind, a, b: a == b,
    "a[0] != b[0]": lambda kind, a, b: a != b,
    "a[0] < b[0]": lambda kind, a, b: a < b,
    "a[0] <= b[0]": lambda kind, a, b: a <= b,
    "a[0] > b[0]": lambda kind, a, b: a > b,
    "a[0] >= b[0]": lambda kind, a, b: a >= b,
}


@cache
def rows() -> Rows:
    return Rows(
        [Row(text, kind, kind) for kind in INTEGERS for text in RULES]
        + [Row(text, kind, boolean) for kind in INTEGERS for text in COMPARISONS]
    )


@cache
def literal_rows() -> Rows:
    """With literals on either side, which LLVM replaces by other operations."""
    made = []
    for kind in INTEGERS:
        least, greatest = (-1 << (kind.bits - 1), (1 << (kind.bits - 1)) - 1) if kind.signed else (0, (1 << kind.bits) - 1)
        for literal in (1, 7, 10, 64, greatest, *((-1, -3, least) if kind.signed else (0,))):
            made += [Row(f"a[0] {symbol} {literal}", kind, kind) for symbol in ("//", "%", "*", ">>")]
            made += [Row(f"{literal} {symbol} a[0]", kind, kind) for symbol in ("//", "%", "-", "<<")]
    return Rows(made)


def check(index: int, bits: tuple[int, ...]) -> None:
    row = rows().rows[index]
    value = rows().check(index, bits)
    a, b = (row.kind.wrap(operand) for operand in bits)
    expected = {**RULES, **COMPARISONS}[row.text](row.kind, a, b)
    assert value == row.result.wrap(int(expected)), (row, a, b)


@settings(max_examples=15, deadline=None)
@given(operands(2))
def test_operators(choose: Callable[[Any], tuple[int, ...]]) -> None:
    for index, row in enumerate(rows().rows):
        check(index, choose(row.kind))


def test_operators_on_corners() -> None:
    for index, row in enumerate(rows().rows):
        corners = corner_bits(row.kind)
        for pair in product(corners, corners if "b[0]" in row.text else [0]):
            check(index, pair)


@settings(max_examples=5, deadline=None)
@given(operands(1))
def test_literals(choose: Callable[[Any], tuple[int, ...]]) -> None:
    for index, row in enumerate(literal_rows().rows):
        literal_rows().check(index, choose(row.kind))


def test_literals_with_corners() -> None:
    for index, row in enumerate(literal_rows().rows):
        for bits in corner_bits(row.kind):
            literal_rows().check(index, (bits,))
