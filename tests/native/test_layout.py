"""Declarations of types that cannot be: the error names file, line and rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gasang.native import NativeError, array, function_type, i8, length, ptr, struct, u8, u64
from gasang.native.types import ctype_of


def no_fields() -> None:
    @struct
    class Broken:
        pass


def no_type() -> None:
    @struct
    class Broken:
        x: int


def unknown_type() -> None:
    @struct
    class Broken:
        x: Nowhere  # type: ignore[name-defined] # noqa: F821


def itself() -> None:
    @struct
    class Broken:
        x: Broken


def array_of_itself() -> None:
    @struct
    class Broken:
        x: array[Broken] = length(2)


def no_length() -> None:
    @struct
    class Broken:
        x: array[u8]


def length_of_nothing() -> None:
    @struct
    class Broken:
        x: array[u8] = length(0)


def array_of_no_type() -> None:
    @struct
    class Broken:
        x: array[int] = length(2)


def default() -> None:
    @struct
    class Broken:
        x: u8 = 5


def pointer_to_no_type() -> None:
    @struct
    class Broken:
        x: ptr[int]


def parameter_of_no_type() -> None:
    function_type([int], u64)


def whole_struct_as_result() -> None:
    @struct
    class Fine:
        x: u8

    function_type([u64], Fine)


def unknown_convention() -> None:
    function_type([u64], u64, "fast")


BROKEN: list[tuple[Callable[[], None], str]] = [
    (no_fields, "Broken: a struct has at least one field"),
    (no_type, "Broken.x: 'int' is no native type"),
    (unknown_type, "Broken.x: Nowhere is no native type: name 'Nowhere' is not defined"),
    (itself, r"Broken.x: a struct cannot hold itself: use ptr\[Broken\]"),
    (array_of_itself, r"Broken.x: a struct cannot hold itself: use array\[ptr\[Broken\]\]"),
    (no_length, r"Broken.x: an array needs = length\(n\), n at least 1"),
    (length_of_nothing, r"Broken.x: an array needs = length\(n\), n at least 1"),
    (array_of_no_type, "Broken.x: an array is of numbers, pointers or structs"),
    (default, "Broken.x: a field has no default"),
    (pointer_to_no_type, r"Broken.x: ptr\[int\] is no native type: ptr\[<class 'int'>\]: <class 'int'> is no native type"),
    (parameter_of_no_type, "<class 'int'> is no type that a parameter or result can have"),
    (whole_struct_as_result, "Fine is no type that a parameter or result can have"),
    (unknown_convention, "no calling convention 'fast': there are c, preserve_none"),
]


@pytest.mark.parametrize(("declare", "rule"), BROKEN, ids=[declare.__name__ for declare, _ in BROKEN])
def test_declarations_that_cannot_be(declare: Callable[[], None], rule: str) -> None:
    with pytest.raises(NativeError, match=rf"test_layout\.py:\d+: {rule}") as caught:
        declare()
    first = declare.__code__.co_firstlineno
    assert first < int(caught.value.subject.rsplit(":", 1)[1]) < first + 7


def test_types_are_values() -> None:
    one: Any = ptr[u8]
    assert one is ptr[u8]
    assert one != ptr[i8]
    assert function_type([u8], u64) == function_type([u8], u64) != function_type([u8], u64, "preserve_none")
    assert repr(function_type([u8, one])) == "function[[u8, ptr[u8]], None]"


def test_structs_declared_in_a_function_find_its_types() -> None:
    @struct
    class Inner:
        x: u8

    @struct
    class Outer:
        inner: Inner
        inners: array[Inner] = length(3)
        outer: ptr[Outer]

    kind: Any = Outer
    assert kind.size == 16
    assert kind.fields["outer"].type is ptr[kind]
    assert ctype_of(kind)().inners[2].x == 0
    assert repr(kind) == "Outer"
