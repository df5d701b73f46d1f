"""The types of `native` Python: sizes, alignment and layout as the host's C ABI has them.

A type is a value: `u64` in an annotation is the object defined here. Integer and float types can be called in plain Python to
convert a number the way compiled code does (`u8(300) == 44`).
"""

from __future__ import annotations

import ctypes
import math
import struct as _struct
from dataclasses import dataclass
from typing import Any

POINTER_SIZE = 8


@dataclass(frozen=True)
class Type:
    """A machine type: its name, size and alignment in bytes, and its spelling in LLVM IR."""

    name: str
    size: int
    alignment: int
    llvm: str

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, repr=False)
class IntType(Type):
    """An integer of `bits` bits, two's complement where signed."""

    bits: int = 0
    signed: bool = False

    def wrap(self, value: int) -> int:
        """`value` modulo 2**bits, in the type's range."""
        value &= (1 << self.bits) - 1
        if self.signed and value >> (self.bits - 1):
            value -= 1 << self.bits
        return value

    def contains(self, value: int) -> bool:
        """Whether `value` is representable."""
        return self.wrap(value) == value

    def __call__(self, value: Any = 0) -> int:
        """Convert as compiled code does: wrap integers; saturate floats, NaN becoming 0."""
        if isinstance(value, float):
            return saturate(self, value)
        return self.wrap(int(value))


@dataclass(frozen=True, repr=False)
class FloatType(Type):
    """An IEEE 754 binary interchange format."""

    bits: int = 0

    def wrap(self, value: float) -> float:
        """The nearest value of this format (ties to even)."""
        if self.bits == 64:
            return float(value)
        try:
            return float(ctypes.c_float(value).value)
        except OverflowError:
            return math.copysign(math.inf, value)

    def __call__(self, value: Any = 0.0) -> float:
        """Convert as compiled code does."""
        if isinstance(value, int) and self.bits == 32:
            return _int_to_f32(value)
        return self.wrap(float(value))


@dataclass(frozen=True, repr=False)
class PointerType(Type):
    """The address of a `target`."""

    target: Any = None


@dataclass(frozen=True, repr=False)
class ArrayType(Type):
    """`count` elements side by side, inside a struct."""

    element: Any = None
    count: int = 0


@dataclass(frozen=True, repr=False)
class FunctionType(Type):
    """A pointer to native code taking `parameters` and giving `result` (None for nothing)."""

    parameters: tuple[Type, ...] = ()
    result: Type | None = None
    convention: str = "c"


@dataclass(frozen=True)
class Field:
    """A field of a struct at a byte offset."""

    name: str
    type: Type
    offset: int


class StructType(Type):
    """A record laid out in declaration order with natural alignment."""

    def __init__(self, name: str, fields: tuple[Field, ...], size: int, alignment: int) -> None:
        super().__init__(name, size, alignment, f"[{size} x i8]")
        object.__setattr__(self, "fields", {field.name: field for field in fields})
        object.__setattr__(self, "_ctype", None)

    fields: dict[str, Field]

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    @property
    def ctype(self) -> Any:
        """The ctypes.Structure of the same layout, for use from Python."""
        if self._ctype is None:
            body = {"_fields_": [(field.name, ctype_of(field.type)) for field in self.fields.values()]}
            object.__setattr__(self, "_ctype", type(self.name, (ctypes.Structure,), body))
            assert ctypes.sizeof(self._ctype) == self.size, self.name
        return self._ctype

    _ctype: Any


def _integer(bits: int, signed: bool) -> IntType:
    size = bits // 8
    return IntType(("i" if signed else "u") + str(bits), size, size, f"i{bits}", bits, signed)


u8, u16, u32, u64, u128 = (_integer(bits, False) for bits in (8, 16, 32, 64, 128))
i8, i16, i32, i64, i128 = (_integer(bits, True) for bits in (8, 16, 32, 64, 128))
f32 = FloatType("f32", 4, 4, "float", 32)
f64 = FloatType("f64", 8, 8, "double", 64)
boolean = IntType("boolean", 1, 1, "i1", 1, False)
null_type = PointerType("null", POINTER_SIZE, POINTER_SIZE, "ptr", None)


class _PointerMaker:
    """`ptr[T]`."""

    def __init__(self) -> None:
        self._made: dict[Any, PointerType] = {}

    def __getitem__(self, target: Type) -> PointerType:
        found = self._made.get(target)
        if found is None:
            found = PointerType(f"ptr[{target.name}]", POINTER_SIZE, POINTER_SIZE, "ptr", target)
            self._made[target] = found
        return found


ptr = _PointerMaker()


class _ArrayMaker:
    """`array[T]` in a struct, completed by `length(n)`."""

    def __getitem__(self, element: Type) -> ArrayType:
        return ArrayType(f"array[{element.name}]", 0, element.alignment, "", element, 0)


array = _ArrayMaker()


@dataclass(frozen=True)
class _Length:
    count: int


def length(count: int) -> Any:
    """How many elements an array field has, as in `x: array[u64] = length(33)`."""
    return _Length(count)


def function_type(parameters: list[Any], result: Any = None, convention: str = "c") -> FunctionType:
    """The type of a pointer to native code."""
    text = ", ".join(parameter.name for parameter in parameters)
    return FunctionType(f"function[[{text}], {result}]", POINTER_SIZE, POINTER_SIZE, "ptr", tuple(parameters), result, convention)


def struct(declaration: type) -> Any:
    """Lay out a class of annotations as a StructType."""
    namespace = vars(__import__("sys").modules[declaration.__module__])
    fields: list[Field] = []
    offset, alignment = 0, 1
    for name, annotation in declaration.__annotations__.items():
        kind = eval(annotation, namespace, dict(vars(declaration))) if isinstance(annotation, str) else annotation  # noqa: S307 - our own source
        if isinstance(kind, ArrayType):
            count = getattr(declaration, name).count
            kind = ArrayType(f"{kind.name}*{count}", kind.element.size * count, kind.alignment, "", kind.element, count)
        if not isinstance(kind, Type):
            raise TypeError(f"{declaration.__name__}.{name}: {annotation!r} is no native type")
        offset = -(-offset // kind.alignment) * kind.alignment
        fields.append(Field(name, kind, offset))
        offset += kind.size
        alignment = max(alignment, kind.alignment)
    return StructType(declaration.__name__, tuple(fields), -(-offset // alignment) * alignment, alignment)


_CTYPES: dict[str, Any] = {
    "u8": ctypes.c_uint8, "u16": ctypes.c_uint16, "u32": ctypes.c_uint32, "u64": ctypes.c_uint64,
    "i8": ctypes.c_int8, "i16": ctypes.c_int16, "i32": ctypes.c_int32, "i64": ctypes.c_int64,
    "f32": ctypes.c_float, "f64": ctypes.c_double, "boolean": ctypes.c_bool,
}  # fmt: skip


def ctype_of(kind: Type) -> Any:
    """The ctypes type that has the same layout."""
    if isinstance(kind, (PointerType, FunctionType)):
        return ctypes.c_uint64
    if isinstance(kind, ArrayType):
        return ctype_of(kind.element) * kind.count
    if isinstance(kind, StructType):
        return kind.ctype
    if kind.name not in _CTYPES:
        raise TypeError(f"{kind.name} cannot cross the border to Python")
    return _CTYPES[kind.name]


def saturate(kind: IntType, value: float) -> int:
    """Float to integer: toward zero, out of range to the nearest end, NaN to 0."""
    low, high = (-(1 << (kind.bits - 1)), (1 << (kind.bits - 1)) - 1) if kind.signed else (0, (1 << kind.bits) - 1)
    if math.isnan(value):
        return 0
    if math.isinf(value):
        return high if value > 0 else low
    return max(low, min(high, int(value)))


def _int_to_f32(value: int) -> float:
    """Integer to binary32 rounded once (through binary64 would round twice)."""
    magnitude = abs(value)
    excess = magnitude.bit_length() - 24
    if excess <= 0:
        return float(value)
    quotient, rest = magnitude >> excess, magnitude & ((1 << excess) - 1)
    half = 1 << (excess - 1)
    if rest > half or (rest == half and quotient & 1):
        quotient += 1
    result = math.ldexp(float(quotient), excess)
    return math.copysign(result if result <= 3.4028234663852886e38 else math.inf, value)


def bits_of(kind: Type, value: Any) -> int:
    """The bit pattern of a number, unsigned."""
    if isinstance(kind, FloatType):
        return int.from_bytes(_struct.pack("<f" if kind.bits == 32 else "<d", value), "little")
    assert isinstance(kind, IntType)
    return int(value) & ((1 << kind.bits) - 1)


def from_bits(kind: Type, bits: int) -> Any:
    """The number that has this bit pattern."""
    if isinstance(kind, FloatType):
        return _struct.unpack("<f" if kind.bits == 32 else "<d", bits.to_bytes(kind.size, "little"))[0]
    assert isinstance(kind, IntType)
    return kind.wrap(bits)
