"""Pointers, structs, arrays, unaligned access, copying: both ways on the same memory."""

from __future__ import annotations

import ctypes
import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.native import (
    NativeFunction,
    array,
    boolean,
    cast,
    copy,
    ctype_of,
    f32,
    fill,
    i16,
    i64,
    length,
    native,
    native_from_source,
    null,
    ptr,
    ref,
    sizeof,
    struct,
    u8,
    u16,
    u32,
    u64,
    u128,
)
from gasang.native.types import StructType, bits_of, from_bits
from support.native_twins import INTEGERS, NAMESPACE, NUMBERS, Memory, compiled, same


@struct
class Point:
    x: i16
    y: f32
    tags: array[u8] = length(3)


@struct
class Node:
    """With everything that a field can be, itself by pointer included."""

    flag: boolean
    wide: u128
    here: Point
    points: array[Point] = length(2)
    following: ptr[Node]
    others: array[ptr[Node]] = length(2)
    count: u32


@native
def walk(node: ptr[Node], n: u64) -> u64:
    """Through pointers to pointers, nested structs and arrays of structs."""
    steps: u64 = 0
    while node != null and steps < 10:
        node.count += 1
        node.here.x = node.here.x - i16(n)
        node.points[n & 1].tags[n % 3] = u8(steps)
        node.points[(n + 1) & 1].y = node.here.y + 0.5
        node.wide = node.wide * u128(n) + 1
        node.flag = not node.flag
        node.others[1] = node.following
        node = node.others[n & 1]
        steps += 1
    return steps


@native
def addresses(node: ptr[Node], p: ptr[ptr[u16]], n: i64) -> u64:
    """Sums of addresses, the ways to get them."""
    total: u64 = u64(ref(node.points[n].tags)) + u64(ref(node.here)) + u64(node.here) + u64(ref(node.points[n])) + u64(node.points)
    total += u64(p[0] + n) + u64(p[0] - n) + u64(ref(p[0][n])) + u64(ref(p[n])) + u64(cast(ptr[u8], p) + u8(200))
    moved = node + n
    moved += n
    moved -= 1
    back = cast(ptr[Node], u64(moved))
    return total ^ (u64(back) << 1) ^ (u64(moved == back) + u64(moved != node) + u64(moved < node))


@given(st.integers(1, 5), st.integers(0, 2**64 - 1))
def test_structs(count: int, n: int) -> None:
    size = ctypes.sizeof(ctype_of(Node))
    memory = Memory(size * count)
    outcomes = []
    for run in (walk, walk.python):
        memory.write(bytes(memory.size))
        nodes = [ctype_of(Node).from_address(memory.address + index * size) for index in range(count)]
        for index, node in enumerate(nodes):
            node.others[0] = memory.address + (index * 7 + 3) % count * size
            node.following = memory.address + (index + 1) * size if index + 1 < count else 0
            node.here.x, node.here.y, node.count, node.flag = index * 1000, index / 3, index, index % 2
        outcomes.append((run(nodes[0], n), memory.read()))
    assert outcomes[0] == outcomes[1]


@given(st.integers(-(2**63), 2**63 - 1))
def test_addresses(n: int) -> None:
    pointer = (ctypes.c_uint64 * 1)(0x1234_5678)
    assert addresses(0x7000, pointer, n) == addresses.python(0x7000, pointer, n)


def declared(fields: list[tuple[str, int]], nested: list[Any]) -> tuple[StructType, Any]:
    """A struct of ours and the same one of ctypes."""
    annotations: dict[str, Any] = {}
    body: dict[str, Any] = {"__annotations__": annotations}
    for number, (kind_name, count) in enumerate(fields):
        kind: Any = nested[number % len(nested)] if kind_name == "nested" and nested else NAMESPACE.get(kind_name, u64)
        annotations[f"f{number}"] = NAMESPACE["array"][kind] if count else kind
        if count:
            body[f"f{number}"] = length(count)
    ours: Any = struct(type("Made", (), body))
    theirs = []
    for name, field in ours.fields.items():
        count = fields[int(name[1:])][1]
        plain = ctype_of(field.type.element if count else field.type)
        theirs.append((name, plain * count if count else plain))
    return ours, type("Made", (ctypes.Structure,), {"_fields_": theirs})


INDEXED = """
def f(p: ptr[{element}], n: {kind}) -> u64:
    q = p
    q += n
    r = p
    r -= n
    return (u64(p + n) << 1) ^ (u64(p - n) << 2) ^ (u64(ref(p[n])) << 3) ^ (u64(q) << 4) ^ (u64(r) << 5)
"""


def test_an_index_may_be_of_any_integer_type() -> None:
    for kind in INTEGERS:
        if kind.bits > 64:
            continue
        for element, size in (("u8", 1), ("f64", 8), ("u128", 16)):
            function = native_from_source(INDEXED.format(kind=kind, element=element), NAMESPACE)
            for n in (0, 1, 5, kind.wrap(-1), kind.wrap(1 << (kind.bits - 1)), kind.wrap((1 << (kind.bits - 1)) - 1)):
                on, back = (1 << 40) + n * size, (1 << 40) - n * size
                expected = (on << 1 ^ back << 2 ^ on << 3 ^ on << 4 ^ back << 5) % 2**64
                assert function(1 << 40, n) == function.python(1 << 40, n) == expected, (kind, n)


FIELDS = st.lists(
    st.tuples(st.sampled_from(["u8", "u16", "u32", "u64", "i8", "i64", "f32", "f64", "boolean", "nested"]), st.integers(0, 3)),
    min_size=1,
    max_size=8,
)


@settings(deadline=None)
@given(st.lists(FIELDS, min_size=1, max_size=3))
def test_layout_is_that_of_c(declarations: list[list[tuple[str, int]]]) -> None:
    nested: list[StructType] = []
    for fields in declarations:
        ours, theirs = declared(fields, nested)
        assert (ours.size, ours.alignment) == (ctypes.sizeof(theirs), ctypes.alignment(theirs))
        assert {name: field.offset for name, field in ours.fields.items()} == {
            name: getattr(theirs, name).offset for name, _ in theirs._fields_
        }
        assert ctypes.sizeof(ours.ctype) == ours.size
        nested.append(ours)


def test_numbers_of_128_bits_are_aligned_to_16_bytes() -> None:
    @struct
    class Wide:
        first: u8
        wide: u128
        last: u8

    kind: Any = Wide
    assert (kind.size, kind.alignment, kind.fields["wide"].offset, kind.fields["last"].offset) == (48, 16, 16, 32)
    assert (ctypes.sizeof(kind.ctype), kind.ctype.wide.offset, kind.ctype.last.offset) == (48, 16, 32)


SIZES = "def f() -> u64:\n    return " + " | ".join(f"sizeof({kind}) << {5 * place}" for place, kind in enumerate(NUMBERS))


@native
def size_of_node() -> u64:
    return sizeof(Node) + (sizeof(ptr[Node]) << 32)


def test_sizeof() -> None:
    function = native_from_source(SIZES, NAMESPACE)
    assert function() == function.python() == sum(kind.size << (5 * place) for place, kind in enumerate(NUMBERS)) % 2**64
    assert size_of_node() == size_of_node.python() == ctypes.sizeof(ctype_of(Node)) + (8 << 32)


UNALIGNED = "def f(to: ptr[{kind}], from_: ptr[{kind}]) -> None:\n    store_unaligned(to, load_unaligned(from_))"


def test_unaligned_access() -> None:
    functions = [native_from_source(UNALIGNED.format(kind=kind), NAMESPACE) for kind in NUMBERS]
    pairs = list(zip(NUMBERS, functions, compiled(functions), strict=True))

    @settings(deadline=None)
    @given(st.binary(min_size=32, max_size=32), st.integers(0, 15))
    def check(data: bytes, offset: int) -> None:
        memory = Memory(64)
        for kind, function, entry in pairs:
            bits = int.from_bytes(data[offset : offset + kind.size], "little")
            for run in (entry, function.python):
                memory.write(data + bytes(32))
                run(memory.address + 32 + offset, memory.address + offset)
                moved = int.from_bytes(memory.read(kind.size, 32 + offset), "little")
                assert moved == (bits != 0 if kind is boolean else bits), kind

    check()


def test_any_byte_but_0_is_true() -> None:
    @native
    def truth(p: ptr[boolean]) -> u64:
        return u64(p[0]) + (2 if p[0] else 0)

    for byte in range(256):
        place = (ctypes.c_uint8 * 1)(byte)
        assert truth(place) == truth.python(place) == (3 if byte else 0)


@native
def move(p: ptr[u8], to: u64, from_: u64, count: u64, value: u8, filled: u64) -> None:
    copy(p + to, p + from_, count)
    fill(p + filled, value, count)


@given(st.binary(min_size=64, max_size=64), *[st.integers(0, 32)] * 4, st.integers(0, 255))
def test_copy_and_fill(data: bytes, to: int, from_: int, count: int, filled: int, value: int) -> None:
    expected = bytearray(data)
    expected[to : to + count] = data[from_ : from_ + count]
    expected[filled : filled + count] = bytes([value]) * count
    for run in (move, move.python):
        memory = (ctypes.c_uint8 * 64)(*data)
        run(memory, to, from_, count, value, filled)
        assert bytes(memory) == bytes(expected)


def exchange(kind: str) -> NativeFunction:
    text = f"def f(p: ptr[{kind}], n: u64) -> {kind}:\n    old = p[n]\n    p[n] = p[n + 1]\n    p[n + 1] = old\n    return old"
    return native_from_source(text, NAMESPACE)


def test_elements_of_every_type() -> None:
    kinds = [kind for kind in NUMBERS if kind.size < 16]
    functions = [exchange(kind.name) for kind in kinds]
    for kind, function, entry in zip(kinds, functions, compiled(functions), strict=True):
        for run in (entry, function.python):
            values = [from_bits(kind, 0x0102_0304_0506_0708 >> (64 - kind.bits) if kind is not boolean else n % 2) for n in range(3)]
            memory = Memory(48)
            for number, value in enumerate(values):
                memory.write(bits_of(kind, value).to_bytes(kind.size, "little"), number * kind.size)
            result = run(memory.address, 1)
            assert same(kind, bits_of(kind, result), bits_of(kind, values[1]))
            assert memory.read(3 * kind.size) == b"".join(bits_of(kind, values[n]).to_bytes(kind.size, "little") for n in (0, 2, 1))


def test_null() -> None:
    @native
    def which(p: ptr[u8], q: ptr[Node]) -> u64:
        r: ptr[u8] = null
        s = p if q == null else null
        return u64(p == null) | u64(null != q) << 1 | u64(r == p) << 2 | u64(s == null) << 3 | u64(u64(null) == u64(r)) << 4

    for p in (0, 5):
        for q in (0, 7):
            expected = (p == 0) | (q != 0) << 1 | (p == 0) << 2 | (p == 0 or q != 0) << 3 | 1 << 4
            assert which(p, q) == which.python(p, q) == expected


def test_python_passes_pointers_as_it_likes() -> None:
    @native
    def first(p: ptr[u32]) -> u32:
        return p[0]

    @native
    def second(p: ptr[u32]) -> ptr[u32]:
        return p + 1

    numbers = (ctypes.c_uint32 * 2)(5, 6)
    address = ctypes.addressof(numbers)
    for run in (first, first.python):
        assert run(numbers) == run(address) == run(address - 2**64) == 5
    for step in (second, second.python):
        moved: Any = step(numbers)
        assert moved == address + 4


def test_floats_cross_the_border() -> None:
    @native
    def half(x: f32) -> f32:
        return x * 0.5

    for value in (1.0, 0.1, 1e300, -1e300, math.inf, 2**-149):
        assert half(value) == half.python(value)
    assert math.isnan(half(math.nan))
