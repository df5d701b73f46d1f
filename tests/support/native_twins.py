"""Native functions made from tables of expressions, compiled many at a time, and run both ways on the same memory."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

import gasang.native
from gasang.native import NativeFunction, native_from_source
from gasang.native.build import build
from gasang.native.function import python_entry
from gasang.native.types import FloatType, IntType, Type, boolean, f32, f64, from_bits, i8, i16, i32, i64, i128, u8, u16, u32, u64, u128

INTEGERS: tuple[IntType, ...] = (u8, u16, u32, u64, u128, i8, i16, i32, i64, i128)
FLOATS: tuple[FloatType, ...] = (f32, f64)
NUMBERS: tuple[Any, ...] = (*INTEGERS, *FLOATS, boolean)
NAMESPACE: dict[str, Any] = {name: getattr(gasang.native, name) for name in gasang.native.__all__}
SLOT = 16
_ALIGNMENT = 64


def compiled(functions: Iterable[NativeFunction], optimise: int = 2) -> list[Callable[..., Any]]:
    """Python callables for the functions' machine code, all in one module."""
    chosen = list(functions)
    entries = build(chosen, optimise=optimise).entries
    return [python_entry(function, entry) for function, entry in zip(chosen, entries, strict=True)]


class Memory:
    """Zeroed bytes at an address aligned for everything."""

    def __init__(self, size: int) -> None:
        self._buffer = ctypes.create_string_buffer(size + _ALIGNMENT)
        self.address = -(-ctypes.addressof(self._buffer) // _ALIGNMENT) * _ALIGNMENT
        self.size = size

    def write(self, data: bytes, offset: int = 0) -> None:
        """Put bytes at an offset."""
        assert offset + len(data) <= self.size
        ctypes.memmove(self.address + offset, data, len(data))

    def read(self, size: int | None = None, offset: int = 0) -> bytes:
        """The bytes at an offset, all of them if no size is given."""
        return ctypes.string_at(self.address + offset, self.size - offset if size is None else size)

    def put(self, slot: int, kind: Any, bits: int) -> None:
        """Put a number, given by its bits, into a slot of 16 bytes."""
        self.write((bits & ((1 << kind.bits) - 1)).to_bytes(kind.size, "little"), slot * SLOT)

    def get(self, slot: int, kind: Any) -> int:
        """The bits of a number in a slot."""
        return int.from_bytes(self.read(kind.size, slot * SLOT), "little")


@dataclass(frozen=True)
class Row:
    """An expression of `a[0]`, `b[0]`, `c[0]`, all of one type, and the type of its value."""

    text: str
    kind: Any
    result: Any


class Rows:
    """Rows as native functions `f(out, a, b, c, rounding)`, which give the flags that the expression raised."""

    def __init__(self, rows: list[Row], flags: bool = False) -> None:
        self.rows = rows
        self.functions = [native_from_source(function_text(row, flags), NAMESPACE, file=f"<{row.text} of {row.kind}>") for row in rows]
        self.entries = compiled(self.functions)
        self.memory = Memory(4 * SLOT)

    def run(self, index: int, bits: tuple[int, ...], rounding: int = 0) -> list[tuple[int, int]]:
        """Flags and bits of the value: compiled, then as plain Python."""
        row, base = self.rows[index], self.memory.address
        image = bytes(SLOT) + b"".join(operand.to_bytes(SLOT, "little") for operand in bits)
        outcomes = []
        for function in (self.entries[index], self.functions[index].python):
            self.memory.write(image)
            flags = function(base, base + SLOT, base + 2 * SLOT, base + 3 * SLOT, rounding)
            outcomes.append((flags, self.memory.get(0, row.result)))
        return outcomes

    def check(self, index: int, bits: tuple[int, ...], rounding: int = 0) -> Any:
        """Assert that both agree; the value."""
        row = self.rows[index]
        (flags, one), (twin_flags, other) = self.run(index, bits, rounding)
        subject = f"{row.text} for {row.kind}: {', '.join(map(hex, bits))}, rounding {rounding}"
        assert flags == twin_flags, f"{subject}: flags {flags:#x} compiled, {twin_flags:#x} in Python"
        assert same(row.result, one, other), f"{subject}: {one:#x} compiled, {other:#x} in Python"
        return from_bits(row.result, one)


def function_text(row: Row, flags: bool) -> str:
    """The text of a row's function."""
    kind = row.kind.name
    head = f"def f(out: ptr[{row.result.name}], a: ptr[{kind}], b: ptr[{kind}], c: ptr[{kind}], rounding: u32) -> u32:\n"
    if not flags:
        return f"{head}    out[0] = {row.text}\n    return 0\n"
    return (
        f"{head}    set_float_control(rounding, 0)\n    out[0] = {row.text}\n    raised: u32 = float_flags()\n"
        "    set_float_control(0, 0)\n    return raised\n"
    )


def same(kind: Type, one: int, other: int) -> bool:
    """Whether two bit patterns are the same number; any NaN is any other."""
    if isinstance(kind, FloatType) and math.isnan(from_bits(kind, one)):
        return math.isnan(from_bits(kind, other))
    return one == other


def corner_bits(kind: Any) -> list[int]:
    """Bit patterns where something is most likely to go wrong."""
    if isinstance(kind, FloatType):
        exponents, fraction = (8, 23) if kind.bits == 32 else (11, 52)
        ones = (1 << exponents) - 1
        bias = ones >> 1
        tops = [0, 1, bias - 1, bias, bias + 1, bias + 7, bias + 31, bias + 32, bias + 63, bias + 64, bias + fraction, ones - 1, ones]
        lows = [0, 1, (1 << fraction) - 1, 1 << (fraction - 1), (1 << (fraction - 1)) + 1]
        positive = [top << fraction | low for top in tops for low in lows]
        return [*positive, *(1 << (kind.bits - 1) | bits for bits in positive)]
    middle = 1 << (kind.bits - 1)
    return [0, 1, 2, 3, 7, 10, 2 * middle - 1, 2 * middle - 2, 2 * middle - 3, middle, middle + 1, middle - 1, middle - 2, middle >> 1]


def operands(count: int) -> st.SearchStrategy[Callable[[Any], tuple[int, ...]]]:
    """Functions from a type to that many operands of it: one draw serves all types."""
    one = st.tuples(st.booleans(), st.integers(0, (1 << 128) - 1), st.integers(0, 127))

    def of_type(draws: list[tuple[bool, int, int]]) -> Callable[[Any], tuple[int, ...]]:
        def choose(kind: Any) -> tuple[int, ...]:
            corners = corner_bits(kind)
            mask = (1 << kind.bits) - 1
            return tuple(corners[bits % len(corners)] if corner else (bits >> shift) & mask for corner, bits, shift in draws)

        return choose

    return st.lists(one, min_size=count, max_size=count).map(of_type)
